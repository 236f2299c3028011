//! Seccomp profiles: `baseline` forbids to do without, `restricted` wants one named. Before 1.19 an annotation said it.

use std::collections::BTreeSet;

use super::checks::{Violation, containers, plural, quoted, setters};
use super::subject::Subject;

const POD_ANNOTATION: &str = "seccomp.security.alpha.kubernetes.io/pod";
const CONTAINER_ANNOTATION: &str = "container.seccomp.security.alpha.kubernetes.io/";

pub fn annotations(pod: &Subject) -> Option<Violation> {
    let mut forbidden = BTreeSet::new();
    let mut look = |key: String| {
        let Some(value) = pod.annotation(&key) else { return };
        if !matches!(value, "runtime/default" | "docker/default") && !value.starts_with("localhost/") {
            forbidden.insert(format!("{key}={}", machinery::go_text::quote(value)));
        }
    };
    look(POD_ANNOTATION.to_owned());
    pod.containers().for_each(|container| look(format!("{CONTAINER_ANNOTATION}{}", container.name)));
    (!forbidden.is_empty()).then(|| Violation {
        reason: "seccompProfile",
        detail: format!(
            "forbidden {} {}",
            plural(forbidden.len(), "annotation", "annotations"),
            forbidden.into_iter().collect::<Vec<_>>().join(", ")
        ),
    })
}

pub fn unconfined(pod: &Subject) -> Option<Violation> {
    Profiles::of(pod).violation()
}

pub fn required(pod: &Subject) -> Option<Violation> {
    let profiles = Profiles::of(pod);
    profiles.violation().or_else(|| {
        let silent = pod.names_of(|container| {
            container.security.and_then(|security| security.seccomp_profile.as_ref()).is_none() && !profiles.pod_has
        });
        (!silent.is_empty()).then(|| Violation {
            reason: "seccompProfile",
            detail: format!(
                "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
                containers(&silent)
            ),
        })
    })
}

/// Who names which profile.
struct Profiles<'a> {
    /// The pod names a good one.
    pod_has: bool,
    pod_is_bad: bool,
    bad: Vec<&'a str>,
    values: BTreeSet<String>,
}

impl<'a> Profiles<'a> {
    fn of(pod: &Subject<'a>) -> Self {
        let is_good = |kind: &str| matches!(kind, "Localhost" | "RuntimeDefault");
        let mut values = BTreeSet::new();
        let of_pod = pod.security().and_then(|security| security.seccomp_profile.as_ref());
        let pod_is_bad = of_pod.is_some_and(|profile| !is_good(&profile.type_));
        values.extend(of_pod.filter(|_| pod_is_bad).map(|profile| profile.type_.clone()));
        let bad = pod.names_of(|container| {
            let profile = container.security.and_then(|security| security.seccomp_profile.as_ref());
            let kind = profile.map(|profile| &profile.type_).filter(|kind| !is_good(kind));
            values.extend(kind.cloned());
            kind.is_some()
        });
        Self { pod_has: of_pod.is_some() && !pod_is_bad, pod_is_bad, bad, values }
    }

    fn violation(&self) -> Option<Violation> {
        let who = setters(self.pod_is_bad, &self.bad)?;
        let values = quoted(&self.values);
        let detail = format!("{who} must not set securityContext.seccompProfile.type to {values}");
        Some(Violation { reason: "seccompProfile", detail })
    }
}
