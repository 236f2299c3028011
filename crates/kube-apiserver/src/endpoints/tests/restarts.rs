//! What clients hold in their hands when the server is started anew.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::testing::{Pki, admin, call};
use crate::{Config, Server};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn start(config: &Config) -> Arc<Server> {
    let server = Server::open(config.clone()).unwrap();
    server.start().await.unwrap();
    server
}

async fn restart(server: Arc<Server>, config: &Config) -> Arc<Server> {
    server.shutdown.cancel();
    server.registry.store().close().await;
    drop(server);
    start(config).await
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn continue_tokens_survive_or_say_that_they_have_not() {
    let pki = Pki::new();
    let mut config = pki.config();
    config.etcd = None;
    config.store_dir = Some(pki.path().join("store"));
    let server = start(&config).await;
    let post = async |server: &Arc<Server>, name: &str| {
        let body = json!({ "metadata": { "name": name } }).to_string();
        assert_eq!(call(server, admin(), "POST", MAPS, &body).await.0, 201);
    };
    for name in ["a", "b", "d"] {
        post(&server, name).await;
    }
    let (_, first) = call(&server, admin(), "GET", &format!("{MAPS}?limit=1"), "").await;
    let next = format!("{MAPS}?limit=500&continue={}", first["metadata"]["continue"].as_str().unwrap());
    post(&server, "c").await;

    let server = restart(server, &config).await;
    let (code, rest) = call(&server, admin(), "GET", &next, "").await;
    assert_eq!((code, names(&rest)), (200, vec!["b", "d"]), "{rest}");
    assert_eq!(rest["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);

    let store = server.registry.store();
    store.compact(store.revision()).await.unwrap();
    let server = restart(server, &config).await;
    let (code, gone) = call(&server, admin(), "GET", &next, "").await;
    assert_eq!((code, &gone["reason"]), (410, &json!("Expired")), "{gone}");
    let message = gone["message"].as_str().unwrap();
    assert!(
        message.starts_with("The provided continue parameter is too old to display a consistent list result."),
        "{message}"
    );
    // The way on that the answer gives leads to the rest as it is now.
    let on = format!("{MAPS}?limit=500&continue={}", gone["metadata"]["continue"].as_str().unwrap());
    let (code, rest) = call(&server, admin(), "GET", &on, "").await;
    assert_eq!((code, names(&rest)), (200, vec!["b", "c", "d"]), "{rest}");
}
