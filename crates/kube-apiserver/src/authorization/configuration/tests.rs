use super::*;

fn config(authorizers: &str) -> Result<Settings, String> {
    let text = format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers:\n{authorizers}"
    );
    Settings::of_text(text.as_bytes())
}

/// A webhook whose kubeconfig is this very file, with other fields of one's choice.
fn webhook(fields: &str) -> String {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let good = [
        ("timeout", "3s"),
        ("subjectAccessReviewVersion", "v1"),
        ("failurePolicy", "Deny"),
        ("connectionInfo", &format!("{{type: KubeConfigFile, kubeConfigFile: {file}}}")),
    ];
    let kept = good.iter().filter(|(name, _)| !fields.contains(name));
    let kept: Vec<String> = kept.map(|(name, value)| format!("{name}: {value}")).collect();
    let all = [kept.join(", "), fields.to_owned()].join(", ");
    format!("- type: Webhook\n  name: w\n  webhook: {{{all}}}\n")
}

#[test]
fn a_good_file_is_read_with_defaults() {
    for version in ["v1", "v1beta1", "v1alpha1"] {
        let text = format!(
            "{{apiVersion: apiserver.config.k8s.io/{version}, kind: AuthorizationConfiguration, authorizers: [{{type: Node, name: node}}]}}"
        );
        assert_eq!(Settings::of_text(text.as_bytes()).unwrap().own_types(), ["Node"]);
    }
    let settings =
        config(&format!("- {{type: RBAC, name: rbac}}\n{}", webhook("cacheUnauthorizedRequests: false"))).unwrap();
    assert_eq!(settings.own_types(), ["RBAC"]);
    let options = settings.authorizers[1].webhook.as_ref().unwrap().options();
    assert_eq!((options.timeout, options.authorized_ttl), (Duration::from_secs(3), Duration::from_secs(300)));
    assert_eq!((options.unauthorized_ttl, options.decision_on_error), (Duration::ZERO, Decision::Deny));
}

#[test]
fn what_is_wrong_with_authorizers_is_said_in_upstreams_words() {
    let missing = "authorizers: Required value: at least one authorization mode must be defined";
    assert_eq!(config("  []").unwrap_err(), missing);
    for (authorizers, wanted) in [
        ("- {name: x}", "authorizers[0].type: Required value"),
        (
            "- {type: Magic, name: x}",
            "authorizers[0].type: Unsupported value: \"Magic\": supported values: \"ABAC\", \"AlwaysAllow\", \"AlwaysDeny\", \"Node\", \"RBAC\", \"Webhook\"",
        ),
        ("- {type: RBAC, name: rbac}\n- {type: RBAC, name: other}", "authorizers[1].type: Duplicate value: \"RBAC\""),
        ("- {type: RBAC, name: same}\n- {type: Node, name: same}", "authorizers[1].name: Duplicate value: \"same\""),
        ("- {type: RBAC}", "authorizers[0].name: Required value"),
        ("- {type: Webhook, name: w}", "authorizers[0].webhook: Required value: required when type=Webhook"),
        ("- {type: RBAC, name: mine}", "expected name rbac for authorizer RBAC instead of mine"),
        (
            "- {type: RBAC, name: rbac, webhook: {}}",
            "authorizers[0].webhook: Invalid value: \"non-null\": may only be specified when type=Webhook",
        ),
    ] {
        assert_eq!(config(authorizers).unwrap_err(), wanted, "{authorizers}");
    }
    let name = config("- {type: RBAC, name: R_}").unwrap_err();
    assert!(
        name.starts_with(
            "authorizers[0].name: Invalid value: \"R_\": authorizer name is invalid: a lowercase RFC 1123 subdomain"
        ),
        "{name}"
    );
}

#[test]
fn what_is_wrong_with_webhooks_is_said_in_upstreams_words() {
    let file = |rest: &str| format!("connectionInfo: {{type: KubeConfigFile, {rest}}}");
    for (fields, wanted) in [
        ("timeout: 0s", "timeout: Required value"),
        ("timeout: 31s", "timeout: Invalid value: \"31s\": must be > 0s and <= 30s"),
        ("authorizedTTL: -1s", "authorizedTTL: Invalid value: \"-1s\": must be > 0s"),
        ("unauthorizedTTL: -90s", "unauthorizedTTL: Invalid value: \"-1m30s\": must be > 0s"),
        ("subjectAccessReviewVersion: ''", "subjectAccessReviewVersion: Required value"),
        (
            "subjectAccessReviewVersion: v2",
            "subjectAccessReviewVersion: Unsupported value: \"v2\": supported values: \"v1\", \"v1beta1\"",
        ),
        ("failurePolicy: ''", "failurePolicy: Required value"),
        (
            "failurePolicy: Ignore",
            "failurePolicy: Unsupported value: \"Ignore\": supported values: \"NoOpinion\", \"Deny\"",
        ),
        (
            "matchConditions: [{expression: 'true'}]",
            "matchConditionSubjectAccessReviewVersion: Required value: required if match conditions are specified",
        ),
        (
            "matchConditionSubjectAccessReviewVersion: v1beta1",
            "matchConditionSubjectAccessReviewVersion: Unsupported value: \"v1beta1\": supported values: \"v1\"",
        ),
        (
            "matchConditionSubjectAccessReviewVersion: v1, matchConditions: [{expression: '1'}]",
            "matchConditions[0].expression: Invalid value: \"1\": must evaluate to bool but got int",
        ),
        ("connectionInfo: {}", "connectionInfo.type: Required value"),
        (
            "connectionInfo: {type: InClusterConfig, kubeConfigFile: /x}",
            "connectionInfo.kubeConfigFile: Invalid value: \"/x\": can only be set when type=KubeConfigFile",
        ),
        (&file("kubeConfigFile: ''"), "connectionInfo.kubeConfigFile: Required value"),
        (&file("kubeConfigFile: x"), "connectionInfo.kubeConfigFile: Invalid value: \"x\": must be an absolute path"),
        (
            &file("kubeConfigFile: /nowhere/x"),
            "connectionInfo.kubeConfigFile: Invalid value: \"/nowhere/x\": error loading file: stat /nowhere/x: no such file or directory",
        ),
        (&file("kubeConfigFile: /"), "connectionInfo.kubeConfigFile: Invalid value: \"/\": must be a regular file"),
    ] {
        assert_eq!(config(&webhook(fields)).unwrap_err(), format!("authorizers[0].{wanted}"), "{fields}");
    }
}

#[test]
fn files_that_say_something_else_are_refused() {
    let load = "failed to load AuthorizationConfiguration from file: ";
    let error = |text: &str| Settings::of_text(text.as_bytes()).unwrap_err();
    assert_eq!(error("apiVersion: apiserver.config.k8s.io/v1"), format!("{load}Object 'Kind' is missing"));
    let other = "{apiVersion: apiserver.config.k8s.io/v2, kind: AuthorizationConfiguration}";
    let wanted = "no kind \"AuthorizationConfiguration\" is registered for version \"apiserver.config.k8s.io/v2\"";
    assert_eq!(error(other), format!("{load}{wanted}"));
    let misspelt = config("- {type: RBAC, name: rbac, names: x}\n- {type: Webhook, name: w, webhook: {ttl: 1s}}");
    let wanted =
        "strict decoding error: unknown field \"authorizers[0].names\", unknown field \"authorizers[1].webhook.ttl\"";
    assert_eq!(misspelt.unwrap_err(), format!("{load}{wanted}"));
    let duration = config(&webhook("timeout: fast")).unwrap_err();
    assert_eq!(duration, format!("{load}time: invalid duration \"fast\""));
}

#[test]
fn flags_are_checked_and_made_into_the_same() {
    let settings = |change: &dyn Fn(&mut Config)| {
        let mut config = Config::new("", None);
        change(&mut config);
        Settings::open(&config).map(|(settings, _)| settings).map_err(|error| error.to_string())
    };
    let modes = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let good = settings(&|config| {
        config.authorization_mode = modes(&["Node", "Webhook"]);
        config.authorization_webhook.config_file = Some("/etc/w.conf".into());
    });
    let good = good.unwrap();
    let options = good.authorizers[1].webhook.as_ref().unwrap().options();
    assert_eq!((good.authorizers[0].name.as_str(), good.authorizers[1].name.as_str()), ("node", "default"));
    assert_eq!((options.version.as_str(), options.decision_on_error), ("v1beta1", Decision::NoOpinion));
    assert_eq!((options.authorized_ttl, options.unauthorized_ttl), (Duration::from_secs(300), Duration::from_secs(30)));
    for (names, wanted) in [
        (&[][..], "at least one authorization-mode must be passed"),
        (&["RBAC", "Magic"], "authorization-mode \"Magic\" is not a valid mode"),
        (&["RBAC", "RBAC"], "authorization-mode [\"RBAC\" \"RBAC\"] has mode specified more than once"),
        (&["Webhook"], "authorization-mode Webhook's authorization config file not passed"),
        (&["ABAC"], "authorization-mode ABAC's authorization policy file not passed"),
    ] {
        assert_eq!(settings(&|config| config.authorization_mode = modes(names)).unwrap_err(), wanted);
    }
    let unused = settings(&|config| config.authorization_webhook.config_file = Some("/w".into()));
    assert_eq!(unused.unwrap_err(), "cannot specify --authorization-webhook-config-file without mode Webhook");
}
