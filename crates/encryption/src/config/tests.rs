use super::*;

fn fault(resources: &str) -> String {
    let text =
        format!("apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n{resources}");
    parse(text.as_bytes()).map(|_| ()).expect_err(resources)
}

#[test]
fn faults_are_told_in_upstreams_words() {
    let secrets = |provider: &str| format!("- {{resources: [secrets], providers: [{provider}]}}");
    let keys = |keys: &str| secrets(&format!("{{aescbc: {{keys: [{keys}]}}}}"));
    let kms = |fields: &str| secrets(&format!("{{kms: {{{fields}}}}}"));
    for (resources, wanted) in [
        ("  []".to_owned(), "resources: Required value: at least one resources is required"),
        (
            "- {providers: [identity: {}]}".to_owned(),
            "resources[0].resources: Required value: at least one resources[0].resources is required",
        ),
        (
            "- {resources: [secrets]}".to_owned(),
            "resources[0].providers: Required value: at least one resources[0].providers is required",
        ),
        (
            secrets("{}"),
            "resources[0].providers[0]: Invalid value: {}: provider does not contain any of the expected providers: KMS, AESGCM, \
             AESCBC, Secretbox, Identity",
        ),
        (
            secrets("{identity: {}, aesgcm: {keys: []}}"),
            "resources[0].providers[0]: Invalid value: {}: more than one provider specified in a single element, should split into \
             different list elements",
        ),
        (
            keys(""),
            "resources[0].providers[0].aescbc.keys: Required value: at least one resources[0].providers[0].aescbc.keys is required",
        ),
        (
            keys("{name: a}"),
            "resources[0].providers[0].aescbc.keys[0].secret: Required value: secret is a mandatory field for a key",
        ),
        (
            keys("{secret: AAAAAAAAAAAAAAAAAAAAAA==}"),
            "resources[0].providers[0].aescbc.keys[0].name: Required value: name is a mandatory field for a key",
        ),
        (
            keys("{name: a, secret: '***'}"),
            "resources[0].providers[0].aescbc.keys[0].secret: Invalid value: \"REDACTED\": secrets must be base64 encoded",
        ),
        (
            keys("{name: a, secret: cGFzc3dvcmQ=}"),
            "resources[0].providers[0].aescbc.keys[0].secret: Invalid value: \"REDACTED\": secret is not of the expected length, \
             got 8, expected one of [16 24 32]",
        ),
        (
            kms("apiVersion: v2, name: 'a:b', endpoint: 'unix:///s'"),
            "resources[0].providers[0].kms.name: Invalid value: \"a:b\": invalid KMS provider name a:b, must not contain ':'",
        ),
        (
            kms("apiVersion: v2, name: a, endpoint: 'http://s'"),
            "resources[0].providers[0].kms.endpoint: Invalid value: \"http://s\": unsupported scheme \"http\" for KMS provider, only \
             unix is supported",
        ),
        (
            kms("apiVersion: v2, name: a, endpoint: 'unix:///s', timeout: 0s"),
            "resources[0].providers[0].kms.timeout: Invalid value: \"0s\": timeout should be a positive value",
        ),
        (
            "- {resources: [Secrets], providers: [identity: {}]}".to_owned(),
            "resources[0].resources[0]: Invalid value: \"Secrets\": resource name should not contain capital letters",
        ),
        (
            "- {resources: [secrets, '*.'], providers: [identity: {}]}".to_owned(),
            "resources[0].resources[0]: Invalid value: \"secrets\": using overlapping resources such as 'secrets' and '*.' in the \
             same resource list is not allowed as they will be masked",
        ),
    ] {
        assert_eq!(fault(&resources), wanted);
    }
}

#[test]
fn unknown_fields_and_odd_secrets_are_refused_without_showing_them() {
    assert!(fault("- {resources: [secrets], provider: []}").contains("unknown field `provider`"));
    let shown = fault("- {resources: [secrets], providers: [aescbc: {keys: [{name: a, secret: 4711}]}]}");
    assert!(!shown.contains("4711"), "{shown}");
    assert!(parse(b"").is_err());
    assert!(parse(b"apiVersion: v1\nkind: Config\n").is_err());
}

#[test]
fn a_whole_configuration_is_read() {
    let config = parse(
        b"{apiVersion: apiserver.config.k8s.io/v1, kind: EncryptionConfiguration, resources: [{resources: [secrets, widgets.example.com], \
          providers: [{kms: {apiVersion: v2, name: hsm, endpoint: 'unix:///run/kms.sock', timeout: 500ms}}, \
          {secretbox: {keys: [{name: a, secret: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=}]}}, {identity: {}}]}]}",
    )
    .expect("a configuration");
    let [Entry { resources, providers }] = &config.resources[..] else { panic!("one entry") };
    assert_eq!(resources, &["secrets", "widgets.example.com"]);
    assert!(
        matches!(&providers[..], [Provider::Kms(service), Provider::Keys(Cipher::Secretbox, keys), Provider::Identity]
        if service.socket == "/run/kms.sock" && service.timeout == Duration::from_millis(500) && keys.len() == 1)
    );
    assert!(!format!("{config:?}").contains("[0, 0"), "no secret in what is printed");
}
