//! ConfigMaps, Secrets, ServiceAccounts.

use base64::Engine;
use serde_json::Value;

use super::Related;
use super::text::Text;
use crate::value::{at, list, show, text};

pub fn config_map(out: &mut Text, map: &Value, _: &Related) {
    out.head(map, true);
    out.labels(0, map);
    out.annotations(0, map);
    out.line(0, "");
    out.line(0, "Data");
    out.line(0, "====");
    for (key, content) in sorted(map, "data") {
        out.line(0, format!("{key}:"));
        out.line(0, "----");
        out.line(0, show(content));
        out.line(0, "");
    }
    out.line(0, "");
    out.line(0, "BinaryData");
    out.line(0, "====");
    for (key, content) in sorted(map, "binaryData") {
        out.line(0, format!("{key}: {} bytes", decoded_length(content)));
        out.line(0, "");
    }
    out.line(0, "");
}

pub fn secret(out: &mut Text, secret: &Value, _: &Related) {
    out.head(secret, true);
    out.labels(0, secret);
    out.annotations(0, secret);
    out.line(0, "");
    out.field(0, "Type", text(secret, "type"));
    out.line(0, "");
    out.line(0, "Data");
    out.line(0, "====");
    for (key, content) in sorted(secret, "data") {
        // A service account's token is shown, as it is what one looks for.
        if key == "token" && text(secret, "type") == "kubernetes.io/service-account-token" {
            let token =
                base64::engine::general_purpose::STANDARD.decode(content.as_str().unwrap_or("")).unwrap_or_default();
            out.field(0, key, String::from_utf8_lossy(&token));
        } else {
            out.field(0, key, format!("{} bytes", decoded_length(content)));
        }
    }
}

fn sorted<'v>(object: &'v Value, field: &str) -> Vec<(&'v String, &'v Value)> {
    let mut entries: Vec<_> = at(object, field).as_object().into_iter().flatten().collect();
    entries.sort_by_key(|(key, _)| *key);
    entries
}

fn decoded_length(content: &Value) -> usize {
    base64::engine::general_purpose::STANDARD.decode(content.as_str().unwrap_or("")).map_or(0, |bytes| bytes.len())
}

pub fn service_account(out: &mut Text, account: &Value, _: &Related) {
    out.head(account, true);
    out.labels(0, account);
    out.annotations(0, account);
    let names = |field: &str| -> Vec<String> {
        list(account, field).iter().map(|entry| text(entry, "name").to_owned()).collect()
    };
    out.column(0, "Image pull secrets", &names("imagePullSecrets"));
    // Accounts list secrets no more, unless somebody did by hand.
    if !names("secrets").is_empty() {
        out.column(0, "Mountable secrets", &names("secrets"));
    }
}
