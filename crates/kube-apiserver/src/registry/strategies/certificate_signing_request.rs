//! Certificate requests: who asks is written into the request, whatever it says, and the conditions get their times.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Strategy, object};
use crate::UserInfo;

pub struct CertificateSigningRequestStrategy;

impl Strategy for CertificateSigningRequestStrategy {
    fn fill(&self, new: &mut Value, user: Option<&UserInfo>) {
        forget_managers(new);
        let spec = object::map_mut(new, "spec");
        for field in ["username", "uid", "groups", "extra"] {
            spec.shift_remove(field);
        }
        let Some(user) = user else { return };
        spec.insert("username".to_owned(), user.name.as_str().into());
        if let Some(uid) = &user.uid {
            spec.insert("uid".to_owned(), uid.as_str().into());
        }
        spec.insert("groups".to_owned(), json!(user.groups));
        if !user.extra.is_empty() {
            spec.insert("extra".to_owned(), json!(user.extra));
        }
    }

    fn stamp(&self, new: &mut Value, old: &Value, now: Timestamp) {
        forget_managers(new);
        let before = object::list(old, "/status/conditions");
        let conditions = new.pointer_mut("/status/conditions").and_then(Value::as_array_mut);
        for condition in conditions.into_iter().flatten() {
            let same =
                before.iter().find(|old| old["type"] == condition["type"] && old["status"] == condition["status"]);
            let since = same.map(|old| &old["lastTransitionTime"]).filter(|time| !time.is_null()).cloned();
            let Some(condition) = condition.as_object_mut() else { continue };
            let mut fill = |field: &str, time: Value| {
                if condition.get(field).is_none_or(Value::is_null) {
                    condition.insert(field.to_owned(), time);
                }
            };
            fill("lastUpdateTime", object::time(now));
            fill("lastTransitionTime", since.unwrap_or_else(|| object::time(now)));
        }
    }
}

/// Upstream keeps no record of who manages the fields of requests.
fn forget_managers(request: &mut Value) {
    if request.pointer("/metadata/managedFields").is_some() {
        object::set_metadata(request, "managedFields", None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_is_the_one_who_asks() {
        let mut request = json!({"spec": {"username": "root", "groups": ["system:masters"], "extra": {"a": ["b"]}}});
        CertificateSigningRequestStrategy.fill(&mut request, Some(&UserInfo::new("jane", ["devs"])));
        assert_eq!(request, json!({"spec": {"username": "jane", "groups": ["devs"]}}));
    }

    #[test]
    fn a_condition_is_as_old_as_its_status() {
        let old = json!({"status": {"conditions": [{"type": "A", "status": "True", "lastTransitionTime": "then"}]}});
        let mut new =
            json!({"status": {"conditions": [{"type": "A", "status": "True"}, {"type": "B", "status": "True"}]}});
        CertificateSigningRequestStrategy.stamp(&mut new, &old, Timestamp::UNIX_EPOCH);
        let times = |at: usize| {
            (&new["status"]["conditions"][at]["lastTransitionTime"], &new["status"]["conditions"][at]["lastUpdateTime"])
        };
        let now = object::time(Timestamp::UNIX_EPOCH);
        assert_eq!(times(0), (&json!("then"), &now));
        assert_eq!(times(1), (&now, &now));
    }
}
