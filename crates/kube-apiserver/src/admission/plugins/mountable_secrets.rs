//! An account may say that its pods use no Secrets but those that it names: in volumes, in variables of any container, as
//! pull secrets.

use serde_json::Value;

use crate::registry::object;

const ANNOTATION: &str = "kubernetes.io/enforce-mountable-secrets";

pub fn are_enforced(account: &Value) -> bool {
    let annotations = account.pointer("/metadata/annotations");
    let value = annotations.and_then(|annotations| annotations.get(ANNOTATION)).and_then(Value::as_str);
    matches!(value, Some("1" | "t" | "T" | "true" | "TRUE" | "True"))
}

/// The first Secret that the pod uses and may not, in words. `added_later`: only ephemeral containers are new.
pub fn fault(account: &Value, pod: &Value, added_later: bool) -> Option<String> {
    let by = object::name(account);
    let mountable: Vec<&str> = names(account, "/secrets");
    let unless = |name: &str, what: String| {
        (!mountable.contains(&name))
            .then(|| format!("{what} is not allowed because service account {by} does not reference that secret"))
    };
    let in_containers = |list: &str, word: &str| {
        let containers = object::list(pod, &format!("/spec/{list}")).iter();
        containers.flat_map(uses_of).find_map(|(container, how, secret)| {
            unless(secret, format!("{word} {container} with {how} referencing secret.secretName=\"{secret}\""))
        })
    };
    if added_later {
        return in_containers("ephemeralContainers", "ephemeral container");
    }
    let volumes = object::list(pod, "/spec/volumes").iter();
    let in_volumes = volumes
        .flat_map(secrets_of_volume)
        .find_map(|secret| unless(secret, format!("volume with secret.secretName=\"{secret}\"")));
    in_volumes
        .or_else(|| in_containers("initContainers", "init container"))
        .or_else(|| in_containers("containers", "container"))
        .or_else(|| {
            let pull = names(account, "/imagePullSecrets");
            let own = names(pod, "/spec/imagePullSecrets");
            let (at, name) = own.iter().enumerate().find(|(_, name)| !pull.contains(name))?;
            Some(format!(
                "imagePullSecrets[{at}].name=\"{name}\" is not allowed because service account {by} does not reference that imagePullSecret"
            ))
        })
}

fn names<'v>(object: &'v Value, list: &str) -> Vec<&'v str> {
    object::list(object, list).iter().map(|reference| object::text(reference, "/name")).collect()
}

fn secrets_of_volume(volume: &Value) -> Vec<&str> {
    let own = volume.pointer("/secret/secretName").and_then(Value::as_str);
    let projected = object::list(volume, "/projected/sources").iter();
    own.into_iter().chain(projected.filter_map(|source| source.pointer("/secret/name")?.as_str())).collect()
}

/// The container's name, the way in which it uses a Secret, the Secret.
fn uses_of(container: &Value) -> Vec<(&str, String, &str)> {
    let name = object::text(container, "/name");
    let env = object::list(container, "/env").iter().filter_map(|env| {
        let secret = env.pointer("/valueFrom/secretKeyRef/name")?.as_str()?;
        Some((name, format!("envVar {}", object::text(env, "/name")), secret))
    });
    let env_from = object::list(container, "/envFrom").iter();
    let env_from =
        env_from.filter_map(|from| Some((name, "envFrom".to_owned(), from.pointer("/secretRef/name")?.as_str()?)));
    env.chain(env_from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn secrets_that_the_account_does_not_name_are_found_wherever_they_are() {
        let account = json!({ "metadata": { "name": "sa", "annotations": { ANNOTATION: "true" } },
            "secrets": [{ "name": "ok" }], "imagePullSecrets": [{ "name": "reg" }] });
        assert!(are_enforced(&account) && !are_enforced(&json!({})));
        let because = "is not allowed because service account sa does not reference that secret";
        let env = |secret: &str| json!([{ "name": "c", "env": [{ "name": "E", "valueFrom": { "secretKeyRef": { "name": secret } } }] }]);
        let from = |secret: &str| json!([{ "name": "c", "envFrom": [{ "secretRef": { "name": secret } }] }]);
        let cases = [
            ("volumes", json!([{ "secret": { "secretName": "no" } }]), "volume with secret.secretName=\"no\""),
            (
                "volumes",
                json!([{ "projected": { "sources": [{ "secret": { "name": "no" } }] } }]),
                "volume with secret.secretName=\"no\"",
            ),
            ("initContainers", env("no"), "init container c with envVar E referencing secret.secretName=\"no\""),
            ("containers", from("no"), "container c with envFrom referencing secret.secretName=\"no\""),
        ];
        for (list, value, what) in cases {
            assert_eq!(fault(&account, &json!({ "spec": { list: value } }), false), Some(format!("{what} {because}")));
        }
        let good = json!({ "spec": { "volumes": [{ "secret": { "secretName": "ok" } }], "containers": env("ok"), "imagePullSecrets": [{ "name": "reg" }] } });
        assert_eq!(fault(&account, &good, false), None);
        let pull = fault(&account, &json!({ "spec": { "imagePullSecrets": [{ "name": "x" }] } }), false).unwrap();
        assert!(pull.starts_with("imagePullSecrets[0].name=\"x\" is not allowed"), "{pull}");
        // CVE-2023-2728: what comes in later is looked at as well, and only that.
        let later = json!({ "spec": { "containers": env("no"), "ephemeralContainers": from("no") } });
        assert_eq!(
            fault(&account, &later, true),
            Some(format!("ephemeral container c with envFrom referencing secret.secretName=\"no\" {because}"))
        );
    }
}
