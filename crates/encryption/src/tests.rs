//! The forms that are kept, against what other programs made of the same keys; rotation; reload; a store as a whole.

use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use store::journal::{Transformer, Wal, WalOptions};
use store::{NewValue, Options, Precondition, Store};

use super::*;

const KEY: &str = "/registry/secrets/a/b";
const VALUE: &[u8] = b"top secret value";

fn resource_of(key: &str) -> Option<(String, String)> {
    let mut parts = key.strip_prefix("/registry/")?.split('/');
    let first = parts.next()?;
    match first {
        "deployments" => Some(("apps".into(), first.into())),
        _ if first.contains('.') => Some((first.into(), parts.next()?.into())),
        _ => Some((String::new(), first.into())),
    }
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}

fn counting(length: u8) -> String {
    STANDARD.encode((0..length).collect::<Vec<u8>>())
}

struct Configured {
    folder: tempfile::TempDir,
    encryption: Arc<Encryption>,
}

impl Configured {
    fn new(resources: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), resources);
        let encryption = Encryption::open(&folder.path().join("config.yaml"), resource_of).expect("a configuration");
        Self { folder, encryption }
    }

    fn reload(&self, resources: &str) -> Result<(), ConfigError> {
        write(self.folder.path(), resources);
        self.encryption.reload(&self.folder.path().join("config.yaml"))
    }

    fn opened(&self, kept: &[u8]) -> Result<(Vec<u8>, bool), String> {
        self.encryption.open(KEY, kept).map(|opened| (opened.value.into_owned(), opened.stale))
    }
}

fn write(folder: &Path, resources: &str) {
    let text =
        format!("apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n{resources}");
    std::fs::write(folder.join("config.yaml"), text).expect("written");
}

fn one(cipher: &str, name: &str, secret: &str) -> String {
    format!("- resources: [secrets]\n  providers: [{{{cipher}: {{keys: [{{name: {name}, secret: {secret}}}]}}}}]\n")
}

#[test]
fn values_that_other_programs_encrypted_are_read() {
    let iv = "101112131415161718191a1b1c1d1e1f";
    let nonce = "000102030405060708090a0b";
    // openssl enc -aes-N-cbc; AESGCM of Python's cryptography with the key in the store as associated data.
    for (cipher, length, sealed) in [
        ("aescbc", 16, format!("{iv}81ab77070e744b07b79d1cef834471f10ea9e4f992497d063df45686173be46a")),
        ("aescbc", 24, format!("{iv}7d59e15a1c4cf0c4e11cea3341427d186aab049dca58dc8d950b149effd639c6")),
        ("aescbc", 32, format!("{iv}408ee33b61b454022419a1c6b0a01735763c72b0d0a7ef87b864102b6de33b64")),
        ("aesgcm", 16, format!("{nonce}e703d7ee157e94262ea641fc57cf056d28ea3d6d30f1783c4b8d30b2471067df")),
        ("aesgcm", 24, format!("{nonce}929652bbeadcaa7cb547fcf49ec5a91502118b76c78503c2c4f8fc0000fefbde")),
        ("aesgcm", 32, format!("{nonce}336da63bb680a169e835b7fdd0850d0882813aaae0e569c29ad0d600d4311c6a")),
    ] {
        let configured = Configured::new(&one(cipher, "key1", &counting(length)));
        let kept = [format!("k8s:enc:{cipher}:v1:key1:").as_bytes(), &hex(&sealed)].concat();
        assert_eq!(configured.opened(&kept), Ok((VALUE.to_vec(), false)), "{cipher} {length}");
    }
}

#[test]
fn secretbox_is_that_of_nacl() {
    // The example of NaCl's documentation.
    let key = hex("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389");
    let nonce = "69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37";
    let sealed = "f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce48332ea7164d96a4476fb8c531a1186ac0dfc17c98dc\
                  e87b4da7f011ec48c97271d2c20f9b928fe2270d6fb863d51738b48eeee314a7cc8ab932164548e526ae90224368517acfeabd6bb373\
                  2bc0e9da99832b61ca01b6de56244a9e88d5f9b37973f622a43d14a6599b1f654cb45a74e355a5";
    let plain = "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac728d45e6c61296cdc3c012335\
                 61f41db66cce314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde048977eb48f59ffd4924ca1c\
                 60902e52f0a089bc76897040e082f937763848645e0705";
    let configured = Configured::new(&one("secretbox", "k", &STANDARD.encode(key)));
    let kept = [b"k8s:enc:secretbox:v1:k:".as_slice(), &hex(nonce), &hex(sealed)].concat();
    assert_eq!(configured.opened(&kept), Ok((hex(plain), false)));
}

#[test]
fn what_is_sealed_is_opened_and_damage_is_noticed() {
    for (cipher, length) in [("aescbc", 16), ("aesgcm", 32), ("secretbox", 32)] {
        let configured = Configured::new(&one(cipher, "key1", &counting(length)));
        for size in [0, 1, 15, 16, 17, 5000] {
            let value = vec![0xaa; size];
            let kept = configured.encryption.seal(KEY, &value).expect("sealed").into_owned();
            assert!(kept.starts_with(format!("k8s:enc:{cipher}:v1:key1:").as_bytes()));
            assert_eq!(configured.opened(&kept), Ok((value, false)), "{cipher} {size}");
            let begin = kept.len().min(format!("k8s:enc:{cipher}:v1:key1:").len());
            for cut in begin..kept.len().min(begin + 64) {
                assert!(configured.opened(&kept[..cut]).is_err(), "{cipher} {size} cut at {cut}");
            }
            if cipher != "aescbc" {
                let mut bad = kept.clone();
                *bad.last_mut().expect("bytes") ^= 1;
                assert!(configured.opened(&bad).is_err());
            }
        }
        assert_ne!(
            configured.encryption.seal(KEY, VALUE),
            configured.encryption.seal(KEY, VALUE),
            "a fresh nonce each time"
        );
    }
    let gcm = Configured::new(&one("aesgcm", "key1", &counting(16)));
    let kept = gcm.encryption.seal("/registry/secrets/other/b", VALUE).expect("sealed").into_owned();
    assert_eq!(
        gcm.opened(&kept),
        Err("cipher: message authentication failed".to_owned()),
        "a value moved to another key"
    );
}

#[test]
fn the_first_provider_writes_and_all_read() {
    let plain = Configured::new("- {resources: [secrets], providers: [identity: {}]}\n");
    assert_eq!(&*plain.encryption.seal(KEY, VALUE).expect("kept"), VALUE);
    let key = |name: &str, length| format!("{{name: {name}, secret: {}}}", counting(length));
    let both = format!(
        "- {{resources: [secrets], providers: [aesgcm: {{keys: [{}, {}]}}, identity: {{}}]}}\n",
        key("new", 32),
        key("old", 16)
    );
    let configured = Configured::new(&one("aesgcm", "old", &counting(16)));
    let old = configured.encryption.seal(KEY, VALUE).expect("sealed").into_owned();
    assert_eq!(configured.opened(VALUE), Err("no matching prefix found".to_owned()));
    let before = configured.encryption.generation();
    configured.reload(&both).expect("reloaded");
    assert_ne!(configured.encryption.generation(), before);
    assert_eq!(configured.opened(&old), Ok((VALUE.to_vec(), true)), "the second key still reads");
    assert_eq!(configured.opened(VALUE), Ok((VALUE.to_vec(), true)), "what was never encrypted too");
    let new = configured.encryption.seal(KEY, VALUE).expect("sealed").into_owned();
    assert!(new.starts_with(b"k8s:enc:aesgcm:v1:new:"));
    assert_eq!(
        plain.opened(&new),
        Err("identity transformer tried to read encrypted data".to_owned()),
        "never served as if it were a value"
    );
    assert!(configured.reload("- {resources: [], providers: []}\n").is_err());
    assert_eq!(configured.opened(&new), Ok((VALUE.to_vec(), false)), "a broken file changes nothing");
}

#[test]
fn the_first_entry_that_names_a_resource_counts() {
    let key = |name: &str| format!("providers: [aesgcm: {{keys: [{{name: {name}, secret: {}}}]}}]", counting(16));
    let configured = Configured::new(&format!(
        "- {{resources: [events], providers: [identity: {{}}]}}\n- {{resources: [widgets.example.com, '*.apps'], {}}}\n\
         - {{resources: ['*.'], {}}}\n- {{resources: ['*.*'], {}}}\n",
        key("some"),
        key("core"),
        key("rest")
    ));
    for (key, name) in [
        ("/registry/events/a/b", None),
        ("/registry/deployments/a/b", Some("some")),
        ("/registry/example.com/widgets/a/b", Some("some")),
        ("/registry/example.com/gadgets/a/b", Some("rest")),
        ("/registry/pods/a/b", Some("core")),
        ("/elsewhere", None),
    ] {
        let kept = configured.encryption.seal(key, VALUE).expect("sealed").into_owned();
        let prefix = name.map_or("top secret".to_owned(), |name| format!("k8s:enc:aesgcm:v1:{name}:"));
        assert!(kept.starts_with(prefix.as_bytes()), "{key}");
    }
}

#[tokio::test]
async fn a_store_is_encrypted_anew_when_keys_change() {
    let folder = tempfile::tempdir().expect("a folder");
    let configured = Configured::new(&one("aescbc", "one", &counting(32)));
    let open = |encryption: &Arc<Encryption>| {
        let wal = WalOptions { recycle: false, ..WalOptions::default() };
        let options =
            Options { transformer: Some(encryption.clone()), spawn: Arc::new(|work| work()), ..Options::default() };
        Store::<()>::open(Box::new(Wal::open(folder.path(), wal).expect("a log")), options)
    };
    let holds = |text: &str| {
        std::fs::read_dir(folder.path()).expect("a folder").any(|entry| {
            let bytes = std::fs::read(entry.expect("an entry").path()).expect("a file");
            bytes.windows(text.len()).any(|window| window == text.as_bytes())
        })
    };
    let store = open(&configured.encryption).expect("opens");
    store.put(KEY, NewValue::new(VALUE, None), Precondition::Any).await.expect("written");
    assert!(holds("k8s:enc:aescbc:v1:one:") && !holds("top secret"));
    let keys = format!(
        "- {{resources: [secrets], providers: [aescbc: {{keys: [{{name: two, secret: {}}}, {{name: one, secret: {}}}]}}]}}\n",
        counting(16),
        counting(32)
    );
    configured.reload(&keys).expect("reloaded");
    store.put("/registry/leases/a/b", NewValue::new("tick", None), Precondition::Any).await.expect("written");
    store.close().await;
    assert!(holds("k8s:enc:aescbc:v1:two:") && !holds("k8s:enc:aescbc:v1:one:"), "the old key may go now");
    drop(store);
    configured.reload(&one("aescbc", "two", &counting(16))).expect("reloaded");
    let store = open(&configured.encryption).expect("opens with the new key alone");
    assert_eq!(&store.get(KEY).expect("there").value[..], VALUE);
}
