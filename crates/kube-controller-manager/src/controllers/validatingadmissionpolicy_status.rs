//! The status of ValidatingAdmissionPolicies: what the types of the objects that a policy is about have against its
//! expressions.
//!
//! Each generation of a policy is looked at once. Built-in kinds are known; what else its rules and its parameters name is
//! asked of the server's discovery and OpenAPI documents at that moment, so that a kind defined just before is not missed.

use std::sync::Arc;

use api::admissionregistration::type_checking::{self, Published};
use client::{ApiError, BoxFuture, Controller, Intent, Key, Outside, Plan, Sources, View, request};
use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicy;
use serde_json::{Value, json};

/// The controller. Its keys are policies.
pub struct ValidatingAdmissionPolicyStatus;

impl Controller for ValidatingAdmissionPolicyStatus {
    const NAME: &'static str = "validatingadmissionpolicy-status";
    const CONCURRENCY: usize = 5;

    fn sources(&self, sources: &mut Sources<'_>) {
        sources.on_own::<ValidatingAdmissionPolicy>();
    }

    fn observe<'a>(
        &'a self,
        outside: &'a Outside,
        key: &'a Key,
        view: &'a mut View,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async move {
            let policies = view.of::<ValidatingAdmissionPolicy>();
            let Some(policy) = policies.get(key).filter(|policy| is_unseen(policy)) else { return Ok(()) };
            let mut published = Published::default();
            for (group, version) in type_checking::foreign(policy) {
                let path = format!("/apis/{}/{}", request::query_escape(&group), request::query_escape(&version));
                let resources = answered(request::get::<Value>(&outside.client, &path).await)?;
                let document = answered(request::get::<Value>(&outside.client, &format!("/openapi/v3{path}")).await)?;
                if let (Some(resources), Some(document)) = (resources, document) {
                    published.add(&group, &version, resources, document);
                }
            }
            view.put(Arc::new(published));
            Ok(())
        })
    }

    fn reconcile(&self, view: &View, key: &Key, _now: Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        let policies = view.of::<ValidatingAdmissionPolicy>();
        let Some(policy) = policies.get(key).filter(|policy| is_unseen(policy)) else { return plan };
        let published = view.extra::<Published>().unwrap_or_default();
        let warnings = type_checking::check(policy, &published);
        let checking = if warnings.is_empty() { json!({}) } else { json!({"expressionWarnings": warnings}) };
        let status = json!({"observedGeneration": policy.metadata.generation, "typeChecking": checking});
        plan.write(Intent::apply_status(&**policy, Self::NAME, status));
        plan
    }
}

/// Whether nobody has looked at the policy as it is now.
fn is_unseen(policy: &ValidatingAdmissionPolicy) -> bool {
    let seen = policy.status.as_ref().and_then(|status| status.observed_generation).unwrap_or(0);
    policy.metadata.generation.unwrap_or(0) > seen
}

/// What the server refuses to tell is as good as not there; only where it gave no answer it is asked again.
fn answered(answer: Result<Value, ApiError>) -> Result<Option<Value>, ApiError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(ApiError::Status { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, body, lines, object};

    fn policy(
        group: &str,
        resource: &str,
        expression: &str,
        generation: i64,
        seen: Value,
    ) -> ValidatingAdmissionPolicy {
        object(json!({
            "metadata": {"name": "p", "namespace": "", "generation": generation},
            "spec": {
                "matchConstraints": {"resourceRules": [
                    {"apiGroups": [group], "apiVersions": ["v1"], "resources": [resource], "operations": ["*"]}]},
                "validations": [{"expression": expression}],
            },
            "status": {"observedGeneration": seen},
        }))
    }

    fn plan(policy: ValidatingAdmissionPolicy, published: Published) -> Plan {
        let view = View::new().with([policy]).with_extra(published);
        ValidatingAdmissionPolicyStatus.reconcile(&view, &Key::cluster("p"), at(1))
    }

    #[test]
    fn each_generation_is_looked_at_once() {
        let seen = |seen: Value| {
            plan(policy("apps", "deployments", "object.spec.replicas > 1", 2, seen), Published::default())
        };
        for unseen in [seen(Value::Null), seen(json!(1))] {
            assert_eq!(lines(&unseen), ["apply validatingadmissionpolicies/status /p"]);
            assert_eq!(
                body(&unseen, 0),
                json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
                    "metadata": {"name": "p"}, "status": {"observedGeneration": 2, "typeChecking": {}}})
            );
        }
        assert_eq!(seen(json!(2)), Plan::nothing());
    }

    #[test]
    fn warnings_say_where_and_what() {
        let plan = plan(policy("apps", "deployments", "object.bogus == 1", 1, Value::Null), Published::default());
        let warnings = body(&plan, 0)["status"]["typeChecking"]["expressionWarnings"].clone();
        assert_eq!(warnings[0]["fieldRef"], "spec.validations[0].expression");
        let text = warnings[0]["warning"].as_str().unwrap_or_default();
        assert!(text.starts_with("apps/v1, Kind=Deployment: ERROR: <input>:1:7: undefined field 'bogus'\n"), "{text}");
    }

    #[tokio::test]
    async fn other_kinds_are_asked_of_the_server() {
        let server = client::fake::FakeServer::new();
        server.put(
            "/apis/example.com",
            json!({"metadata": {"name": "v1"},
            "resources": [{"name": "widgets", "kind": "Widget"}]}),
        );
        let widget = json!({"type": "object", "properties": {"spec": {"type": "object"}},
            "x-kubernetes-group-version-kind": [{"group": "example.com", "version": "v1", "kind": "Widget"}]});
        server.put(
            "/openapi/v3/apis/example.com",
            json!({"metadata": {"name": "v1"},
            "components": {"schemas": {"Widget": widget}}}),
        );
        for (group, found) in [("example.com", 1), ("example.org", 0)] {
            let policy = policy(group, "widgets", "object.spec.bogus == 1", 1, Value::Null);
            let mut view = View::new().with([policy]);
            let outside = Outside { client: server.client(), now: at(1) };
            let key = Key::cluster("p");
            ValidatingAdmissionPolicyStatus.observe(&outside, &key, &mut view).await.unwrap();
            let plan = ValidatingAdmissionPolicyStatus.reconcile(&view, &key, at(1));
            let warnings = body(&plan, 0)["status"]["typeChecking"]["expressionWarnings"].clone();
            assert_eq!(warnings.as_array().map_or(0, Vec::len), found, "{group}");
        }
    }
}
