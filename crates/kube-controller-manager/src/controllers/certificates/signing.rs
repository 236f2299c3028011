//! Issues what was approved, for the signers of Kubernetes' own names. A request that is not one that its signer issues
//! fails; other signers' requests are none of our business.

use std::sync::Arc;

use client::{ApiError, BoxFuture, Controller, Intent, Key, Outside, Plan, Sources, View};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use machinery::certificates::{Request, kubelet};

use super::{
    APPROVED, CLIENT, DENIED, FAILED, KUBELET_CLIENT, KUBELET_SERVING, LEGACY_UNKNOWN, certificate, condition, usages,
    with_condition,
};

const CLIENT_USAGES: [&str; 3] = ["digital signature", "key encipherment", "client auth"];
/// The shortest time that a certificate is issued for.
const SECONDS_MIN: i64 = 600;

/// Issues the certificate of a request in PEM, for some usages and seconds; gives PEM.
pub type SignCertificate = Arc<dyn Fn(&[u8], &[&str], i64) -> Result<Vec<u8>, String> + Send + Sync>;

/// The controller. Its keys are requests.
pub struct Signing {
    pub sign: SignCertificate,
    /// The longest time that a certificate is issued for (`--cluster-signing-duration`).
    pub seconds_max: i64,
}

/// A certificate made for one request.
struct Issued(Vec<u8>);

/// What is to be done about a request.
#[derive(Debug, PartialEq)]
enum Verdict {
    Nothing,
    Issue,
    Refuse(String),
}

impl Controller for Signing {
    const NAME: &'static str = "certificatesigningrequest-signing";

    fn sources(&self, sources: &mut Sources<'_>) {
        sources.on_own::<CertificateSigningRequest>();
    }

    fn observe<'a>(
        &'a self,
        _outside: &'a Outside,
        key: &'a Key,
        view: &'a mut View,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async move {
            let requests = view.of::<CertificateSigningRequest>();
            let Some(request) = requests.get(key).filter(|request| judge(request) == Verdict::Issue) else {
                return Ok(());
            };
            let wanted = request.spec.expiration_seconds.map_or(self.seconds_max, i64::from);
            let seconds = wanted.clamp(SECONDS_MIN.min(self.seconds_max), self.seconds_max);
            match (self.sign)(&request.spec.request.0, &usages(request), seconds) {
                Ok(issued) => view.put(Arc::new(Issued(issued))),
                Err(error) => tracing::warn!(request = &*key.name, error, "failed to issue a certificate"),
            }
            Ok(())
        })
    }

    fn reconcile(&self, view: &View, key: &Key, now: Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        let requests = view.of::<CertificateSigningRequest>();
        let Some(request) = requests.get(key) else { return plan };
        match judge(request) {
            Verdict::Nothing => {}
            Verdict::Refuse(fault) => {
                let failed = with_condition(request, FAILED, "SignerValidationFailure", &fault, now);
                plan.write(Intent::update_status(&failed));
            }
            Verdict::Issue => {
                if let Some(issued) = view.extra::<Issued>() {
                    let mut request = CertificateSigningRequest::clone(request);
                    request.status.get_or_insert_default().certificate = Some(ByteString(issued.0.clone()));
                    plan.write(Intent::update_status(&request));
                }
            }
        }
        plan
    }
}

fn judge(request: &CertificateSigningRequest) -> Verdict {
    let has = |kind| condition(request, kind).is_some();
    if !has(APPROVED) || has(DENIED) || has(FAILED) || certificate(request).is_some() {
        return Verdict::Nothing;
    }
    let usages = usages(request);
    let parsed = Request::parse(&request.spec.request.0);
    let of_kubelet = |fault: fn(&Request, &[&str]) -> Option<String>| match &parsed {
        Ok(parsed) => fault(parsed, &usages),
        Err(error) => Some((*error).to_owned()),
    };
    let fault = match request.spec.signer_name.as_str() {
        KUBELET_SERVING => of_kubelet(kubelet::serving_fault),
        KUBELET_CLIENT => of_kubelet(kubelet::client_fault),
        CLIENT => client_fault(&usages),
        LEGACY_UNKNOWN => None,
        _ => return Verdict::Nothing,
    };
    fault.map_or(Verdict::Issue, Verdict::Refuse)
}

fn client_fault(usages: &[&str]) -> Option<String> {
    if let Some(usage) = usages.iter().find(|usage| !CLIENT_USAGES.contains(usage)) {
        return Some(format!("invalid usage for client certificate: {usage}"));
    }
    (!usages.contains(&"client auth")).then(|| "missing required usage for client certificate: client auth".to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{CLIENT_OF_NODE, JANE, request};
    use super::*;
    use crate::testing::{at, body, lines};

    fn plan(request: CertificateSigningRequest) -> Plan {
        let signing = Signing { sign: Arc::new(|_, _, _| Ok(b"made".to_vec())), seconds_max: 3600 };
        let view = View::new().with([request]).with_extra(Issued(b"made".to_vec()));
        signing.reconcile(&view, &Key::cluster("c"), at(60))
    }

    #[test]
    fn what_is_approved_is_issued_once() {
        let jane = |conditions: &[&str]| request(CLIENT, JANE, &["client auth"], conditions);
        let issued = plan(jane(&[APPROVED]));
        assert_eq!(lines(&issued), ["update certificatesigningrequests/status /c"]);
        assert_eq!(body(&issued, 0)["status"]["certificate"], "bWFkZQ==");
        let mut done = jane(&[APPROVED]);
        done.status.get_or_insert_default().certificate = Some(ByteString(b"made".to_vec()));
        for nothing in [jane(&[]), jane(&[APPROVED, DENIED]), jane(&[APPROVED, FAILED]), done] {
            assert_eq!(plan(nothing), Plan::nothing());
        }
        assert_eq!(plan(request("example.com/other", JANE, &["client auth"], &[APPROVED])), Plan::nothing());
    }

    #[test]
    fn what_its_signer_does_not_issue_fails() {
        let failed = plan(request(KUBELET_CLIENT, JANE, &["client auth"], &[APPROVED]));
        let condition = &body(&failed, 0)["status"]["conditions"][1];
        assert_eq!((&condition["type"], &condition["reason"]), (&FAILED.into(), &"SignerValidationFailure".into()));
        assert_eq!(condition["message"], "subject organization is not system:nodes");
        assert_eq!(
            judge(&request(CLIENT, JANE, &["server auth"], &[APPROVED])),
            Verdict::Refuse("invalid usage for client certificate: server auth".to_owned())
        );
        let usages = ["client auth", "digital signature"];
        assert_eq!(judge(&request(KUBELET_CLIENT, CLIENT_OF_NODE, &usages, &[APPROVED])), Verdict::Issue);
        assert_eq!(judge(&request(LEGACY_UNKNOWN, JANE, &[], &[APPROVED])), Verdict::Issue);
    }
}
