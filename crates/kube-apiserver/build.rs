//! Takes what upstream says of each built-in type and field out of the schemas of `k8s-openapi`, so that OpenAPI documents can
//! say it too: a JSON object of `{TYPE: [DESCRIPTION, {FIELD: DESCRIPTION}]}` in gzip. Only this program has those schemas
//! compiled in; the server holds 150 kB that nobody reads before a document is asked for.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use k8s_openapi::schemars::generate::SchemaGenerator;
use k8s_openapi::{api, apiextensions_apiserver, apimachinery, kube_aggregator};
use serde_json::Value;

/// Adds the schemas of types and of all that they refer to.
macro_rules! add {
    ($generator:ident: $($module:path { $($kind:ident),* })*) => {
        $({
            use $module as module;
            $($generator.subschema_for::<module::$kind>();)*
        })*
    };
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let mut generator = SchemaGenerator::default();
    add_kinds(&mut generator);
    let described: BTreeMap<String, (String, BTreeMap<String, String>)> =
        generator.take_definitions(false).into_iter().map(|(name, schema)| (name, describe(&schema))).collect();
    let out = Path::new(&std::env::var("OUT_DIR")?).join("descriptions.json.gz");
    let mut encoder = GzEncoder::new(File::create(out)?, Compression::best());
    serde_json::to_writer(&mut encoder, &described)?;
    encoder.finish()?;
    Ok(())
}

fn describe(schema: &Value) -> (String, BTreeMap<String, String>) {
    let text = |schema: &Value| schema["description"].as_str().unwrap_or_default().to_owned();
    let fields = schema["properties"].as_object().into_iter().flatten();
    (
        text(schema),
        fields.map(|(name, field)| (name.clone(), text(field))).filter(|(_, text)| !text.is_empty()).collect(),
    )
}

fn add_kinds(generator: &mut SchemaGenerator) {
    add!(generator:
        apimachinery::pkg::apis::meta::v1 {
            APIGroup, APIGroupList, APIResourceList, APIVersions, DeleteOptions, ListMeta, MicroTime, Patch, Status, Time
        }
        apimachinery::pkg::version { Info }
        api::core::v1 {
            Binding, ComponentStatus, ConfigMap, Endpoints, Event, LimitRange, Namespace, Node, PersistentVolume,
            PersistentVolumeClaim, Pod, PodTemplate, ReplicationController, ResourceQuota, Secret, Service, ServiceAccount
        }
        api::apps::v1 { ControllerRevision, DaemonSet, Deployment, ReplicaSet, StatefulSet }
        api::batch::v1 { CronJob, Job }
        api::autoscaling::v1 { HorizontalPodAutoscaler, Scale }
        api::autoscaling::v2 { HorizontalPodAutoscaler }
        api::policy::v1 { Eviction, PodDisruptionBudget }
        api::networking::v1 { IPAddress, Ingress, IngressClass, NetworkPolicy, ServiceCIDR }
        api::discovery::v1 { EndpointSlice }
        api::events::v1 { Event }
        api::storage::v1 {
            CSIDriver, CSINode, CSIStorageCapacity, StorageClass, VolumeAttachment, VolumeAttributesClass
        }
        api::scheduling::v1 { PriorityClass }
        api::node::v1 { RuntimeClass }
        api::coordination::v1 { Lease }
        api::certificates::v1 { CertificateSigningRequest }
        api::rbac::v1 { ClusterRole, ClusterRoleBinding, Role, RoleBinding }
        api::authentication::v1 { SelfSubjectReview, TokenRequest, TokenReview }
        api::authorization::v1 {
            LocalSubjectAccessReview, SelfSubjectAccessReview, SelfSubjectRulesReview, SubjectAccessReview
        }
        api::admissionregistration::v1 {
            MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding, MutatingWebhookConfiguration,
            ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding, ValidatingWebhookConfiguration
        }
        api::flowcontrol::v1 { FlowSchema, PriorityLevelConfiguration }
        api::resource::v1 { DeviceClass, ResourceClaim, ResourceClaimTemplate, ResourceSlice }
        apiextensions_apiserver::pkg::apis::apiextensions::v1 { CustomResourceDefinition }
        kube_aggregator::pkg::apis::apiregistration::v1 { APIService }
    );
    generator.subschema_for::<apimachinery::pkg::apis::meta::v1::WatchEvent<api::core::v1::Pod>>();
}
