//! Approves the client certificates of kubelets whose users may have them: a node its own next one (`selfnodeclient`), a
//! bootstrap user its first (`nodeclient`).

use std::sync::Arc;

use client::{ApiError, BoxFuture, Controller, Intent, Key, Outside, Plan, Sources, View, request};
use jiff::Timestamp;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use machinery::certificates::{Request, kubelet};

use super::{APPROVED, DENIED, KUBELET_CLIENT, certificate, condition, usages, with_condition};

const REVIEWS: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";

/// The controller. Its keys are requests.
pub struct Approving;

/// A right that gives a user a kubelet's certificate.
struct Right {
    subresource: &'static str,
    message: &'static str,
}

const OWN: Right = Right {
    subresource: "selfnodeclient",
    message: "Auto approving self kubelet client certificate after SubjectAccessReview.",
};
const ANY: Right = Right {
    subresource: "nodeclient",
    message: "Auto approving kubelet client certificate after SubjectAccessReview.",
};

/// What the user of one request turned out to have a right to.
struct Allowed(&'static Right);

impl Controller for Approving {
    const NAME: &'static str = "certificatesigningrequest-approving";

    fn sources(&self, sources: &mut Sources<'_>) {
        sources.on_own::<CertificateSigningRequest>();
    }

    fn observe<'a>(
        &'a self,
        outside: &'a Outside,
        key: &'a Key,
        view: &'a mut View,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async move {
            let requests = view.of::<CertificateSigningRequest>();
            let Some(request) = requests.get(key) else { return Ok(()) };
            for right in rights(request) {
                if is_allowed(outside, request, right).await? {
                    view.put(Arc::new(Allowed(right)));
                    break;
                }
            }
            Ok(())
        })
    }

    fn reconcile(&self, view: &View, key: &Key, now: Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        let requests = view.of::<CertificateSigningRequest>();
        let Some(request) = requests.get(key).filter(|request| !rights(request).is_empty()) else { return plan };
        if let Some(allowed) = view.extra::<Allowed>() {
            let approved = with_condition(request, APPROVED, "AutoApproved", allowed.0.message, now);
            plan.write(Intent::update_approval(&approved));
        }
        plan
    }
}

/// The rights that would do, the narrower one first; none for a request that is decided, or no kubelet's.
fn rights(request: &CertificateSigningRequest) -> Vec<&'static Right> {
    let decided = condition(request, APPROVED).is_some() || condition(request, DENIED).is_some();
    if decided || certificate(request).is_some() || request.spec.signer_name != KUBELET_CLIENT {
        return Vec::new();
    }
    let Ok(parsed) = Request::parse(&request.spec.request.0) else { return Vec::new() };
    if kubelet::client_fault(&parsed, &usages(request)).is_some() {
        return Vec::new();
    }
    let own = request.spec.username.as_deref() == Some(parsed.subject.common_name.as_str());
    if own { vec![&OWN, &ANY] } else { vec![&ANY] }
}

async fn is_allowed(outside: &Outside, asked: &CertificateSigningRequest, right: &Right) -> Result<bool, ApiError> {
    let spec = &asked.spec;
    let attributes = ResourceAttributes {
        group: Some("certificates.k8s.io".to_owned()),
        resource: Some("certificatesigningrequests".to_owned()),
        verb: Some("create".to_owned()),
        subresource: Some(right.subresource.to_owned()),
        version: Some("*".to_owned()),
        ..Default::default()
    };
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: spec.username.clone(),
            uid: spec.uid.clone(),
            groups: spec.groups.clone(),
            extra: spec.extra.clone(),
            resource_attributes: Some(attributes),
            ..Default::default()
        },
        ..Default::default()
    };
    let review = request::post(&outside.client, REVIEWS, &review).await?;
    Ok(review.status.is_some_and(|status| status.allowed))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{CLIENT_OF_NODE, JANE, SERVER_OF_NODE, request};
    use super::*;
    use crate::testing::{at, body, lines};

    const USAGES: [&str; 2] = ["client auth", "digital signature"];

    #[test]
    fn a_node_renews_its_own_and_others_need_the_wider_right() {
        let names = |request: &CertificateSigningRequest| {
            rights(request).iter().map(|right| right.subresource).collect::<Vec<_>>()
        };
        let mut node = request(KUBELET_CLIENT, CLIENT_OF_NODE, &USAGES, &[]);
        assert_eq!(names(&node), ["selfnodeclient", "nodeclient"]);
        node.spec.username = Some("system:bootstrap:abcdef".to_owned());
        assert_eq!(names(&node), ["nodeclient"]);
        for other in [
            request(KUBELET_CLIENT, CLIENT_OF_NODE, &USAGES, &[DENIED]),
            request(KUBELET_CLIENT, CLIENT_OF_NODE, &["server auth"], &[]),
            request(KUBELET_CLIENT, SERVER_OF_NODE, &USAGES, &[]),
            request(KUBELET_CLIENT, JANE, &USAGES, &[]),
            request(super::super::CLIENT, CLIENT_OF_NODE, &USAGES, &[]),
        ] {
            assert_eq!(names(&other), [""; 0]);
        }
    }

    #[test]
    fn nothing_is_approved_without_the_right() {
        let node = request(KUBELET_CLIENT, CLIENT_OF_NODE, &USAGES, &[]);
        let view = || View::new().with([node.clone()]);
        assert_eq!(Approving.reconcile(&view(), &Key::cluster("c"), at(1)), Plan::nothing());
        let plan = Approving.reconcile(&view().with_extra(Allowed(&OWN)), &Key::cluster("c"), at(1));
        assert_eq!(lines(&plan), ["update certificatesigningrequests/approval /c"]);
        let condition = &body(&plan, 0)["status"]["conditions"][0];
        assert_eq!((&condition["type"], &condition["reason"]), (&"Approved".into(), &"AutoApproved".into()));
    }
}
