//! A node gets tokens for the pods bound to it, for the audiences that those pods ask for.

use machinery::go_text::quote;
use machinery::status::Status;
use serde_json::Value;

use crate::admission::{Operation, Review};
use crate::authorization::Attributes;
use crate::registry::{Registry, object};

/// Who has this verb on an audience may ask for it for any pod; image credential providers need it.
const AUDIENCE_VERB: &str = "request-serviceaccounts-token-audience";

pub(super) async fn check(review: &Review<'_>, node: &str, object: Option<&Value>) -> Result<(), Status> {
    let Some(request) = object.filter(|_| review.operation == Operation::Create && review.subresource == "token")
    else {
        return Ok(());
    };
    // The object is a TokenRequest without a name; the refusal is about the account in the path.
    let refuse = |reason: String| Err(review.forbidden(None, reason));
    let bound = |key: &str| object::text(request, &format!("/spec/boundObjectRef/{key}"));
    if bound("apiVersion") != "v1" || bound("kind") != "Pod" || bound("name").is_empty() {
        return refuse("node requested token not bound to a pod".to_owned());
    }
    if bound("uid").is_empty() {
        return refuse("node requested token with a pod binding without a uid".to_owned());
    }
    let (pods, _) = api::find("", "v1", "pods").ok_or_else(Status::not_found_path)?;
    let registry = &review.server.registry;
    let pod = registry.get(pods, review.namespace, bound("name"))?;
    if object::uid(&pod) != bound("uid") {
        return refuse(format!(
            "the UID in the bound object reference ({}) does not match the UID in record. The object might have been deleted and then recreated",
            bound("uid")
        ));
    }
    if object::text(&pod, "/spec/nodeName") != node {
        return refuse("node requested token bound to a pod scheduled on a different node".to_owned());
    }
    let audience = match object::list(request, "/spec/audiences") {
        [] => "",
        [one] => one.as_str().unwrap_or_default(),
        _ => return refuse("node may only request 0 or 1 audiences".to_owned()),
    };
    if pod_asks_for(registry, &pod, audience) || may_request(review, audience).await {
        return Ok(());
    }
    refuse(format!(
        "audience {} not found in pod spec volume, {} is not authorized to request tokens for this audience",
        quote(audience),
        review.user.name
    ))
}

async fn may_request(review: &Review<'_>, audience: &str) -> bool {
    let mut attributes = Attributes::resource(review.user, AUDIENCE_VERB, "", audience);
    (attributes.namespace, attributes.name) = (review.namespace, review.name);
    review.server.authorizer.allows(&attributes).await
}

/// Whether a volume of the pod takes a token for the audience, itself or by its CSI driver.
fn pod_asks_for(registry: &Registry, pod: &Value, audience: &str) -> bool {
    object::list(pod, "/spec/volumes").iter().any(|volume| {
        let mut sources = object::list(volume, "/projected/sources").iter();
        let projected = sources.any(|source| {
            source
                .get("serviceAccountToken")
                .is_some_and(|token| token.is_object() && object::text(token, "/audience") == audience)
        });
        projected || driver_of(registry, pod, volume).is_some_and(|driver| driver_asks_for(registry, &driver, audience))
    })
}

/// The CSI driver of a volume: its own, or that of the PersistentVolume behind its claim.
fn driver_of(registry: &Registry, pod: &Value, volume: &Value) -> Option<String> {
    let own = object::text(volume, "/csi/driver");
    if !own.is_empty() {
        return Some(own.to_owned());
    }
    let claim = match object::text(volume, "/persistentVolumeClaim/claimName") {
        "" if volume.get("ephemeral").is_some_and(Value::is_object) => {
            format!("{}-{}", object::name(pod), object::text(volume, "/name"))
        }
        "" => return None,
        name => name.to_owned(),
    };
    let get =
        |plural: &str, namespace: &str, name: &str| registry.get(api::find("", "v1", plural)?.0, namespace, name).ok();
    let claim = get("persistentvolumeclaims", object::namespace(pod), &claim)?;
    let volume = get("persistentvolumes", "", object::text(&claim, "/spec/volumeName"))?;
    Some(object::text(&volume, "/spec/csi/driver").to_owned()).filter(|driver| !driver.is_empty())
}

fn driver_asks_for(registry: &Registry, driver: &str, audience: &str) -> bool {
    let found =
        api::find("storage.k8s.io", "v1", "csidrivers").and_then(|(kind, _)| registry.get(kind, "", driver).ok());
    found.is_some_and(|driver| {
        object::list(&driver, "/spec/tokenRequests")
            .iter()
            .any(|request| object::text(request, "/audience") == audience)
    })
}
