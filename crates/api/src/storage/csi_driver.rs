//! CSIDriver: what a storage driver can do and wants to be told.

use k8s_openapi::api::storage::v1::{CSIDriver, CSIDriverSpec, TokenRequest};
use machinery::field::{Error, ErrorList, Path};
use serde_json::Value;

use super::{GROUP, v1beta1};
use crate::kind::{Column, Kind, Version};
use crate::value::{boolean, list};
use crate::{cells, checks, names, strategy};

const SCHEMA: &str = "io.k8s.api.storage.v1.CSIDriver";
const FS_GROUP_POLICIES: &[&str] = &["File", "None", "ReadWriteOnceWithFSType"];
const LIFECYCLE_MODES: &[&str] = &["Ephemeral", "Persistent"];
const TOKEN_SECONDS_MIN: i64 = 600;
const TOKEN_SECONDS_MAX: i64 = 1 << 32;
const UPDATE_PERIOD_SECONDS_MIN: i64 = 10;

pub static KIND: Kind = Kind {
    group: GROUP,
    kind: "CSIDriver",
    list_kind: "CSIDriverList",
    plural: "csidrivers",
    singular: "csidriver",
    namespaced: false,
    versions: &[Version::stored("v1", SCHEMA), v1beta1(SCHEMA, "1.19", "1.22", "storage.k8s.io/v1 CSIDriver", |_| {})],
    unconditional_update: false,
    columns: COLUMNS,
    cells: |v, now| {
        let audiences: Vec<&str> =
            list(v, "/spec/tokenRequests").iter().map(|r| r["audience"].as_str().unwrap_or("")).collect();
        let modes: Vec<&str> = list(v, "/spec/volumeLifecycleModes").iter().filter_map(Value::as_str).collect();
        let attach = v.pointer("/spec/attachRequired").and_then(Value::as_bool).unwrap_or(true);
        vec![
            cells::name(v),
            attach.into(),
            boolean(v, "/spec/podInfoOnMount").into(),
            boolean(v, "/spec/storageCapacity").into(),
            if audiences.is_empty() { "<unset>".into() } else { audiences.join(",").into() },
            boolean(v, "/spec/requiresRepublish").into(),
            cells::or_none(modes.join(",")),
            cells::age(v, now),
        ]
    },
    hooks: hooks!(
        CSIDriver,
        false,
        names::subdomain,
        full {
            default: |driver| default(&mut driver.spec),
            validate: |driver| validate(&driver.spec),
            // Generations count changes only: a driver that never changed has none.
            prepare_update: |new: &mut Value, old: &Value| strategy::bump_generation(new, old, &["spec"]),
            validate_update: |new, old| validate_update(&new.spec, &old.spec),
            warnings: |new, _old| warnings(&new.spec),
        }
    ),
    ..Kind::BASE
};

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::new(
        "AttachRequired",
        "boolean",
        0,
        "attachRequired indicates this CSI volume driver requires an attach operation (because it implements the CSI ControllerPublishVolume() method), and that the Kubernetes attach detach controller should call the attach volume interface which checks the volumeattachment status and waits until the volume is attached before proceeding to mounting. The CSI external-attacher coordinates with CSI volume driver and updates the volumeattachment status when the attach operation is complete. If the value is specified to false, the attach operation will be skipped. Otherwise the attach operation will be called.\n\nThis field is immutable.",
    ),
    Column::new(
        "PodInfoOnMount",
        "boolean",
        0,
        "podInfoOnMount indicates this CSI volume driver requires additional pod information (like podName, podUID, etc.) during mount operations, if set to true. If set to false, pod information will not be passed on mount. Default is false.\n\nThe CSI driver specifies podInfoOnMount as part of driver deployment. If true, Kubelet will pass pod information as VolumeContext in the CSI NodePublishVolume() calls. The CSI driver is responsible for parsing and validating the information passed in as VolumeContext.\n\nThe following VolumeContext will be passed if podInfoOnMount is set to true. This list might grow, but the prefix will be used. \"csi.storage.k8s.io/pod.name\": pod.Name \"csi.storage.k8s.io/pod.namespace\": pod.Namespace \"csi.storage.k8s.io/pod.uid\": string(pod.UID) \"csi.storage.k8s.io/ephemeral\": \"true\" if the volume is an ephemeral inline volume\n                                defined by a CSIVolumeSource, otherwise \"false\"\n\n\"csi.storage.k8s.io/ephemeral\" is a new feature in Kubernetes 1.16. It is only required for drivers which support both the \"Persistent\" and \"Ephemeral\" VolumeLifecycleMode. Other drivers can leave pod info disabled and/or ignore this field. As Kubernetes 1.15 doesn't support this field, drivers can only support one mode when deployed on such a cluster and the deployment determines which mode that is, for example via a command line parameter of the driver.\n\nThis field was immutable in Kubernetes < 1.29 and now is mutable.",
    ),
    Column::new(
        "StorageCapacity",
        "boolean",
        0,
        "storageCapacity indicates that the CSI volume driver wants pod scheduling to consider the storage capacity that the driver deployment will report by creating CSIStorageCapacity objects with capacity information, if set to true.\n\nThe check can be enabled immediately when deploying a driver. In that case, provisioning new volumes with late binding will pause until the driver deployment has published some suitable CSIStorageCapacity object.\n\nAlternatively, the driver can be deployed with the field unset or false and it can be flipped later when storage capacity information has been published.\n\nThis field was immutable in Kubernetes <= 1.22 and now is mutable.",
    ),
    Column::new(
        "TokenRequests",
        "string",
        0,
        "tokenRequests indicates the CSI driver needs pods' service account tokens it is mounting volume for to do necessary authentication. Kubelet will pass the tokens in VolumeContext in the CSI NodePublishVolume calls. The CSI driver should parse and validate the following VolumeContext: \"csi.storage.k8s.io/serviceAccount.tokens\": {\n  \"<audience>\": {\n    \"token\": <token>,\n    \"expirationTimestamp\": <expiration timestamp in RFC3339>,\n  },\n  ...\n}\n\nNote: Audience in each TokenRequest should be different and at most one token is empty string. To receive a new token after expiry, RequiresRepublish can be used to trigger NodePublishVolume periodically.",
    ),
    Column::new(
        "RequiresRepublish",
        "boolean",
        0,
        "requiresRepublish indicates the CSI driver wants `NodePublishVolume` being periodically called to reflect any possible change in the mounted volume. This field defaults to false.\n\nNote: After a successful initial NodePublishVolume call, subsequent calls to NodePublishVolume should only update the contents of the volume. New mount points will not be seen by a running container.",
    ),
    Column::new(
        "Modes",
        "string",
        0,
        "volumeLifecycleModes defines what kind of volumes this CSI volume driver supports. The default if the list is empty is \"Persistent\", which is the usage defined by the CSI specification and implemented in Kubernetes via the usual PV/PVC mechanism.\n\nThe other mode is \"Ephemeral\". In this mode, volumes are defined inline inside the pod spec with CSIVolumeSource and their lifecycle is tied to the lifecycle of that pod. A driver has to be aware of this because it is only going to get a NodePublishVolume call for such a volume.\n\nFor more information about implementing this mode, see https://kubernetes-csi.github.io/docs/ephemeral-local-volumes.html A driver can support one or more of these modes and more modes may be added in the future.\n\nThis field is beta. This field is immutable.",
    ),
    Column::AGE,
];

fn default(spec: &mut CSIDriverSpec) {
    spec.attach_required.get_or_insert(true);
    spec.pod_info_on_mount.get_or_insert(false);
    spec.storage_capacity.get_or_insert(false);
    spec.requires_republish.get_or_insert(false);
    spec.se_linux_mount.get_or_insert(false);
    spec.fs_group_policy.get_or_insert_with(|| "ReadWriteOnceWithFSType".to_string());
    let modes = spec.volume_lifecycle_modes.get_or_insert_default();
    if modes.is_empty() {
        modes.push("Persistent".to_string());
    }
}

fn validate(spec: &CSIDriverSpec) -> ErrorList {
    let path = Path::new("spec");
    let mut errors = ErrorList::new();
    if let Some(policy) = spec.fs_group_policy.as_deref().filter(|p| !FS_GROUP_POLICIES.contains(p)) {
        errors.push(Error::not_supported(&path.child("fsGroupPolicy"), policy, FS_GROUP_POLICIES));
    }
    errors.extend(token_requests(spec.token_requests.as_deref().unwrap_or(&[]), &path.child("tokenRequests")));
    let at = path.child("volumeLifecycleModes");
    for mode in spec.volume_lifecycle_modes.iter().flatten().filter(|m| !LIFECYCLE_MODES.contains(&m.as_str())) {
        errors.push(Error::not_supported(&at, mode, LIFECYCLE_MODES));
    }
    if let Some(seconds) = spec.node_allocatable_update_period_seconds.filter(|s| *s < UPDATE_PERIOD_SECONDS_MIN) {
        let at = path.child("nodeAllocatableUpdatePeriodSeconds");
        errors.push(Error::invalid(&at, seconds, "must be greater than or equal to 10 seconds"));
    }
    errors
}

fn token_requests(requests: &[TokenRequest], path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    for (i, request) in requests.iter().enumerate() {
        let at = path.index(i);
        if requests[..i].iter().any(|other| other.audience == request.audience) {
            errors.push(Error::duplicate(&at.child("audience"), &request.audience));
            continue;
        }
        let at = at.child("expirationSeconds");
        match request.expiration_seconds {
            Some(seconds) if seconds < TOKEN_SECONDS_MIN => {
                errors.push(Error::invalid(&at, seconds, "may not specify a duration less than 10 minutes"));
            }
            Some(seconds) if seconds > TOKEN_SECONDS_MAX => {
                errors.push(Error::invalid(&at, seconds, "may not specify a duration larger than 2^32 seconds"));
            }
            _ => {}
        }
    }
    errors
}

fn validate_update(new: &CSIDriverSpec, old: &CSIDriverSpec) -> ErrorList {
    let path = Path::new("spec");
    let mut errors = validate(new);
    // Upstream reports this one under a name of its own.
    errors.extend(checks::immutable(&new.attach_required, &old.attach_required, &path.child("attachedRequired")));
    let modes = path.child("volumeLifecycleModes");
    errors.extend(checks::immutable(&new.volume_lifecycle_modes, &old.volume_lifecycle_modes, &modes));
    errors
}

fn warnings(spec: &CSIDriverSpec) -> Vec<String> {
    let wants_tokens = spec.token_requests.as_ref().is_some_and(|requests| !requests.is_empty());
    if !wants_tokens || spec.service_account_token_in_secrets.is_some() {
        return Vec::new();
    }
    vec!["spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible logging of tokens in volume attributes".to_string()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tokens_live_between_ten_minutes_and_2_to_the_32_seconds() {
        let errors = |seconds: i64| {
            let request = TokenRequest { audience: "a".to_string(), expiration_seconds: Some(seconds) };
            token_requests(&[request], &Path::new("t")).iter().map(Error::to_string).collect::<Vec<_>>()
        };
        assert_eq!(errors(600), Vec::<String>::new());
        assert_eq!(
            errors(599),
            ["t[0].expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes"]
        );
        assert_eq!(errors((1 << 32) + 1).len(), 1);
    }

    #[test]
    fn the_first_change_is_generation_one() {
        let old = json!({"metadata": {"name": "d"}, "spec": {"storageCapacity": false}});
        let mut new = json!({"metadata": {"name": "d"}, "spec": {"storageCapacity": true}});
        (KIND.hooks.prepare_update)(&mut new, &old).unwrap();
        assert_eq!(strategy::generation(&new), 1);
        let mut same = old.clone();
        (KIND.hooks.prepare_update)(&mut same, &old).unwrap();
        assert_eq!(strategy::generation(&same), 0);
    }
}
