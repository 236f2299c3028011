use machinery::gvk::GroupResource;
use machinery::status::Status;
use parking_lot::Mutex;
use serde_json::json;

use super::*;
use crate::admission::Operation;

/// Somebody who may do what is listed: verb, subresource, namespace, name.
struct Asked {
    user: UserInfo,
    may: Vec<[&'static str; 4]>,
    questions: Mutex<Vec<String>>,
}

impl Asked {
    fn by(user: UserInfo, may: Vec<[&'static str; 4]>) -> Self {
        Self { user, may, questions: Mutex::default() }
    }
}

#[async_trait]
impl Admit for Asked {
    fn user(&self) -> Option<&UserInfo> {
        Some(&self.user)
    }

    fn verb(&self) -> &str {
        "update"
    }

    async fn check_access(&self, verb: &str, subresource: &str, namespace: &str, name: &str) -> Result<(), Status> {
        self.questions.lock().push(format!("{verb} {subresource} {namespace:?} {name:?}"));
        if self.may.contains(&[verb, subresource, namespace, name]) {
            return Ok(());
        }
        let resource = GroupResource { group: "resource.k8s.io".into(), resource: "resourceclaims".into() };
        Err(Status::forbidden(&resource, name, "no"))
    }

    async fn mutate(
        &self,
        _: &'static api::Kind,
        _: Operation,
        _: &mut Value,
        _: Option<&Value>,
    ) -> Result<(), Status> {
        Ok(())
    }

    async fn validate(
        &self,
        _: &'static api::Kind,
        _: Operation,
        _: Option<&Value>,
        _: Option<&Value>,
    ) -> Result<(), Status> {
        Ok(())
    }
}

fn driver_on(node: &str) -> UserInfo {
    let mut user = UserInfo::service_account("kube-system", "driver", None);
    user.extra.insert(NODE_NAME.to_owned(), vec![node.to_owned()]);
    user
}

fn claim(devices: Value) -> Value {
    let on_n1 = json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]});
    let allocation = json!({"nodeSelector": {"nodeSelectorTerms": [on_n1]}});
    json!({"metadata": {"name": "a", "namespace": "ns"}, "status": {"allocation": allocation, "devices": devices}})
}

fn device(driver: &str, condition: &str) -> Value {
    json!({"driver": driver, "pool": "p", "device": "d", "conditions": [{"type": condition}]})
}

fn texts(errors: impl IntoIterator<Item = Error>) -> Vec<String> {
    errors.into_iter().map(|error| error.to_string()).collect()
}

#[tokio::test]
async fn who_allocates_or_reserves_needs_binding() {
    let (old, mut new) = (json!({"status": {}}), json!({"status": {"devices": []}}));
    let nobody = Asked::by(UserInfo::new("bob", ["x"]), vec![]);
    assert_eq!(binding(&nobody, &new, &old).await, None);
    new["status"]["reservedFor"] = json!([{"uid": "u"}]);
    assert_eq!(
        texts(binding(&nobody, &new, &old).await),
        [
            "status: Forbidden: changing status.allocation or status.reservedFor requires resource=\"resourceclaims/binding\", verb=\"update\" permission: resourceclaims.resource.k8s.io is forbidden: no"
        ]
    );
    let scheduler = Asked::by(UserInfo::new("bob", ["x"]), vec![["update", "binding", "", ""]]);
    assert_eq!(binding(&scheduler, &new, &old).await, None);
}

#[tokio::test]
async fn a_driver_speaks_of_its_own_devices_on_its_own_node() {
    let old = claim(json!([device("a.io", "Ready"), device("b.io", "Ready"), device("c.io", "Ready")]));
    let new = claim(json!([device("a.io", "Ready"), device("b.io", "Broken")]));
    let near = Asked::by(driver_on("n1"), vec![["associated-node:update", "driver", "ns", "b.io"]]);
    assert_eq!(
        texts(drivers(&near, &new, &old).await),
        [
            "status.devices: Forbidden: changing status.devices requires resource=\"resourceclaims/driver\", verb=\"[associated-node:update arbitrary-node:update]\" permission: resourceclaims.resource.k8s.io \"c.io\" is forbidden: no"
        ]
    );
    assert_eq!(
        *near.questions.lock(),
        [
            "associated-node:update driver \"ns\" \"b.io\"",
            "associated-node:update driver \"ns\" \"c.io\"",
            "arbitrary-node:update driver \"ns\" \"c.io\"",
        ]
    );
    let may = || vec![["associated-node:update", "driver", "ns", "b.io"]];
    for elsewhere in [driver_on("n2"), UserInfo::new("bob", ["x"])] {
        let errors = drivers(&Asked::by(elsewhere, may()), &new, &old).await;
        assert!(texts(errors)[0].contains("verb=\"[arbitrary-node:update]\""));
    }
    let everywhere =
        vec![["arbitrary-node:update", "driver", "ns", "b.io"], ["arbitrary-node:update", "driver", "ns", "c.io"]];
    assert_eq!(drivers(&Asked::by(driver_on("n2"), everywhere), &new, &old).await, []);
}
