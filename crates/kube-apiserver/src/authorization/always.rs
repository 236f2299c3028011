//! The two authorizers of tests and of clusters whose authorization lies elsewhere.

use k8s_openapi::api::rbac::v1::PolicyRule;

use super::{Attributes, Authorize, Decision};
use crate::UserInfo;

pub struct AlwaysAllow;

impl Authorize for AlwaysAllow {
    fn authorize(&self, _: &Attributes) -> (Decision, String) {
        (Decision::Allow, String::new())
    }

    fn rules_for(&self, _: &UserInfo, _: &str) -> (Vec<PolicyRule>, Vec<String>, bool) {
        let all = || vec!["*".to_owned()];
        let resources =
            PolicyRule { verbs: all(), api_groups: Some(all()), resources: Some(all()), ..PolicyRule::default() };
        let paths = PolicyRule { verbs: all(), non_resource_urls: Some(all()), ..PolicyRule::default() };
        (vec![resources, paths], Vec::new(), false)
    }
}

pub struct AlwaysDeny;

impl Authorize for AlwaysDeny {
    fn authorize(&self, _: &Attributes) -> (Decision, String) {
        (Decision::NoOpinion, "Everything is forbidden.".to_owned())
    }

    fn rules_for(&self, _: &UserInfo, _: &str) -> (Vec<PolicyRule>, Vec<String>, bool) {
        (Vec::new(), Vec::new(), false)
    }
}
