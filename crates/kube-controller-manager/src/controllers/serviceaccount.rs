//! Every active namespace has a ServiceAccount "default".

use client::{Controller, Intent, Key, Plan, Sources, View};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

const NAME: &str = "default";

/// The controller. Its keys are namespaces.
pub struct ServiceAccounts;

impl Controller for ServiceAccounts {
    const NAME: &'static str = "serviceaccount";

    fn sources(&self, sources: &mut Sources<'_>) {
        sources.on_own::<Namespace>();
        sources.on::<ServiceAccount, _>(|_, change| {
            let gone = change.old.filter(|_| change.new.is_none())?;
            (gone.metadata.name.as_deref() == Some(NAME))
                .then(|| Key::cluster(gone.metadata.namespace.as_deref().unwrap_or_default()))
        });
    }

    fn reconcile(&self, view: &View, key: &Key, _now: Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        if is_active(view, key) && view.of::<ServiceAccount>().find(&key.name, NAME).is_none() {
            let metadata =
                ObjectMeta { name: Some(NAME.to_owned()), namespace: Some(key.name.to_string()), ..Default::default() };
            plan.write(Intent::create(&ServiceAccount { metadata, ..Default::default() }));
        }
        plan
    }
}

/// Whether this namespace exists and is not going away.
pub fn is_active(view: &View, key: &Key) -> bool {
    view.of::<Namespace>().get(key).is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, lines, object};
    use serde_json::json;

    #[test]
    fn only_active_namespaces_without_one_get_one() {
        let namespace = |name: &str, more: &str| -> Namespace {
            object(
                json!({"metadata": {"name": name, "namespace": "", "deletionTimestamp": (!more.is_empty()).then_some(more)}}),
            )
        };
        let view = View::new()
            .with([namespace("bare", ""), namespace("done", ""), namespace("going", "1970-01-01T00:00:00Z")])
            .with::<ServiceAccount>([object(json!({"metadata": {"name": "default", "namespace": "done"}}))]);
        let plan = |name| lines(&ServiceAccounts.reconcile(&view, &Key::cluster(name), at(1)));
        assert_eq!(plan("bare"), ["create serviceaccounts bare/default"]);
        assert_eq!([plan("done"), plan("going"), plan("absent")], [Vec::<String>::new(), vec![], vec![]]);
    }
}
