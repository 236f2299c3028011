//! Every active namespace has a ConfigMap "kube-root-ca.crt" with the certificate authority of the API server, so that
//! pods can trust it.

use client::reflector::Collection;
use client::{Controller, Intent, Key, Plan, Sources, View};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::serviceaccount::is_active;

const NAME: &str = "kube-root-ca.crt";
const FIELD: &str = "ca.crt";
const DESCRIPTION: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.";

/// The controller. Its keys are namespaces.
pub struct RootCaCertPublisher {
    /// PEM of the authority.
    pub root_ca: String,
}

impl Controller for RootCaCertPublisher {
    const NAME: &'static str = "root-ca-certificate-publisher";

    fn sources(&self, sources: &mut Sources<'_>) {
        sources.on_own::<Namespace>();
        // The other config maps of the cluster are none of its business and stay out of memory.
        let named = Collection {
            field_selector: Some(format!("metadata.name={NAME}")),
            ..Collection::all("/api/v1/configmaps")
        };
        let maps = sources.reflectors().store_of::<ConfigMap>(named);
        sources.on_store(maps, |_, change| {
            change.latest().map(|map| Key::cluster(map.metadata.namespace.as_deref().unwrap_or_default()))
        });
    }

    fn reconcile(&self, view: &View, key: &Key, _now: Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        if !is_active(view, key) {
            return plan;
        }
        let wanted = [(FIELD.to_owned(), self.root_ca.clone())].into();
        match view.of::<ConfigMap>().find(&key.name, NAME) {
            None => {
                let metadata = ObjectMeta {
                    name: Some(NAME.to_owned()),
                    namespace: Some(key.name.to_string()),
                    annotations: Some([("kubernetes.io/description".to_owned(), DESCRIPTION.to_owned())].into()),
                    ..Default::default()
                };
                plan.write(Intent::create(&ConfigMap { metadata, data: Some(wanted), ..Default::default() }));
            }
            Some(map) if map.data.as_ref() != Some(&wanted) => {
                let mut map = ConfigMap::clone(map);
                map.data = Some(wanted);
                map.metadata
                    .annotations
                    .get_or_insert_default()
                    .insert("kubernetes.io/description".to_owned(), DESCRIPTION.to_owned());
                plan.write(Intent::update(&map));
            }
            Some(_) => {}
        }
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, body, lines, object};
    use serde_json::json;

    #[test]
    fn the_map_is_made_and_mended() {
        let publisher = RootCaCertPublisher { root_ca: "PEM".to_owned() };
        let namespace: Namespace = object(json!({"metadata": {"name": "n", "namespace": ""}}));
        let plan = |maps: Vec<ConfigMap>| {
            publisher.reconcile(&View::new().with([namespace.clone()]).with(maps), &Key::cluster("n"), at(1))
        };
        let made = plan(vec![]);
        assert_eq!(lines(&made), ["create configmaps n/kube-root-ca.crt"]);
        let map: ConfigMap = object(body(&made, 0));
        assert_eq!(plan(vec![map.clone()]), Plan::nothing());
        let mut spoiled = map;
        spoiled.data = None;
        let mended = plan(vec![spoiled]);
        assert_eq!(lines(&mended), ["update configmaps n/kube-root-ca.crt"]);
        assert_eq!(body(&mended, 0)["data"], json!({"ca.crt": "PEM"}));
    }
}
