//! The server as a whole with an encrypted store: what its folder holds, a restart, a reload.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::Server;
use crate::testing::{Pki, admin, call};

fn write(path: &Path, key: &str, secret: char) {
    let secret = secret.to_string().repeat(43);
    let text = format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n- resources: [secrets]\n  \
         providers:\n  - secretbox: {{keys: [{{name: {key}, secret: {secret}=}}]}}\n  - identity: {{}}\n"
    );
    std::fs::write(path, text).unwrap();
}

fn holds(folder: &Path, text: &str) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        // A snapshot's temporary file may just have got its name.
        let bytes = std::fs::read(entry.unwrap().path()).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_encrypted_on_the_disk_and_again_when_the_key_changes() {
    let pki = Pki::new();
    let (file, folder) = (pki.path().join("encryption.yaml"), pki.path().join("store"));
    write(&file, "one", 'A');
    let mut config = pki.config();
    config.store_dir = Some(folder.clone());
    config.encryption_provider_config = Some(file.clone());
    config.encryption_provider_config_automatic_reload = true;
    let server = Server::open(config.clone()).unwrap();
    server.start().await.unwrap();
    let secrets = "/api/v1/namespaces/default/secrets";
    let secret = |name: &str| json!({"metadata": {"name": name}, "data": {"password": "aHVudGVyMg=="}}).to_string();
    assert_eq!(call(&server, admin(), "POST", secrets, &secret("a")).await.0, 201);
    assert!(holds(&folder, "k8s:enc:secretbox:v1:one:") && !holds(&folder, "aHVudGVyMg=="));
    assert_eq!(call(&server, admin(), "GET", "/readyz/kms-providers", "").await.0, 200);
    assert_eq!(call(&server, admin(), "GET", &format!("{secrets}/a"), "").await.1["data"]["password"], "aHVudGVyMg==");
    write(&file, "two", 'B');
    let limit = Instant::now() + Duration::from_secs(60);
    for at in 0.. {
        assert_eq!(call(&server, admin(), "POST", secrets, &secret(&format!("b{at}"))).await.0, 201);
        if holds(&folder, "k8s:enc:secretbox:v1:two:") && !holds(&folder, "k8s:enc:secretbox:v1:one:") {
            break;
        }
        assert!(Instant::now() < limit, "the values are kept under the old key");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    server.shutdown.cancel();
    server.registry.store().close().await;
    drop(server);
    let server = Server::open(config).unwrap();
    assert_eq!(call(&server, admin(), "GET", &format!("{secrets}/a"), "").await.1["data"]["password"], "aHVudGVyMg==");
    assert!(!holds(&folder, "aHVudGVyMg=="));
}
