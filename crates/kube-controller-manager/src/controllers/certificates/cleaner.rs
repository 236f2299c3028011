//! Throws requests away that nobody needs any more: issued, denied or failed an hour ago, approved an hour ago and never
//! issued, pending for a day, or with a certificate that has expired.

use std::time::Duration;

use client::{Controller, Intent, Key, Plan, Sources, View};
use jiff::Timestamp;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use machinery::certificates::not_after;

use super::{APPROVED, DENIED, FAILED, certificate, condition};

const DECIDED: Duration = Duration::from_secs(3600);
const PENDING: Duration = Duration::from_secs(24 * 3600);

/// The controller. Its keys are requests.
pub struct Cleaner;

impl Controller for Cleaner {
    const NAME: &'static str = "certificatesigningrequest-cleaner";

    fn sources(&self, sources: &mut Sources<'_>) {
        sources.on_own::<CertificateSigningRequest>();
    }

    fn reconcile(&self, view: &View, key: &Key, now: Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        let requests = view.of::<CertificateSigningRequest>();
        let Some(request) = requests.get(key) else { return plan };
        let Some(until) = kept_until(request) else { return plan };
        match u64::try_from(until.as_millisecond() - now.as_millisecond()) {
            Ok(left) if left > 0 => plan.look_again_in(Duration::from_millis(left)),
            _ => plan.write(Intent::delete(&**request)),
        }
        plan
    }
}

/// The earliest of its ends.
fn kept_until(request: &CertificateSigningRequest) -> Option<Timestamp> {
    let decided = [APPROVED, DENIED, FAILED].into_iter().filter_map(|kind| condition(request, kind));
    let decided = decided.filter_map(|condition| condition.last_update_time.as_ref()).map(|time| time.0 + DECIDED);
    let undecided = request.status.as_ref().and_then(|status| status.conditions.as_ref()).is_none_or(Vec::is_empty);
    let created = request.metadata.creation_timestamp.as_ref().filter(|_| undecided);
    let pending = created.map(|created| created.0 + PENDING);
    decided.chain(pending).chain(certificate(request).and_then(not_after)).min()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{JANE, request};
    use super::*;
    use crate::testing::{at, lines};

    #[test]
    fn requests_are_kept_for_a_while_after_they_were_decided() {
        let plan = |conditions: &[&str], now: i64| {
            let view = View::new().with([request("example.com/s", JANE, &["client auth"], conditions)]);
            Cleaner.reconcile(&view, &Key::cluster("c"), at(now))
        };
        assert_eq!(plan(&[], 60).requeue_after, Some(PENDING - Duration::from_secs(60)));
        assert_eq!(plan(&[APPROVED], 60).requeue_after, Some(DECIDED - Duration::from_secs(60)));
        for (conditions, seconds) in [(&[][..], 24 * 3600), (&[APPROVED], 3600), (&[DENIED], 3600), (&[FAILED], 3600)] {
            assert_eq!(lines(&plan(conditions, seconds - 1)), [""; 0]);
            assert_eq!(lines(&plan(conditions, seconds)), ["delete certificatesigningrequests /c"]);
        }
    }
}
