//! Before a volume is taken from a claim that the cache does not show, the server is asked whether the claim is there:
//! it may be so new that only its volume has been heard of.

use std::sync::Arc;

use client::volumes::{bound_uid, claim_ref};
use client::{ApiError, Key, Outside, View, request};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};

/// The claim that a volume names, as the server knows it.
struct Live(Option<PersistentVolumeClaim>);

/// Asks where that matters.
pub async fn look(outside: &Outside, key: &Key, view: &mut View) -> Result<(), ApiError> {
    let volumes = view.of::<PersistentVolume>();
    let Some(volume) = volumes.get(key) else { return Ok(()) };
    let (Some(reference), Some(uid)) = (claim_ref(volume), bound_uid(volume)) else { return Ok(()) };
    if cached(view, volume).is_some() {
        return Ok(());
    }
    let (namespace, name) = (reference.namespace.as_deref(), reference.name.as_deref());
    let path = format!(
        "/api/v1/namespaces/{}/persistentvolumeclaims/{}",
        namespace.unwrap_or_default(),
        name.unwrap_or_default()
    );
    let live = match request::get::<PersistentVolumeClaim>(&outside.client, &path).await {
        Ok(claim) => Some(claim).filter(|claim| claim.metadata.uid.as_deref() == Some(uid)),
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(error),
    };
    view.put(Arc::new(Live(live)));
    Ok(())
}

/// The claim that a volume is bound to, if it is still there.
pub fn claim_of(view: &View, volume: &PersistentVolume) -> Option<Arc<PersistentVolumeClaim>> {
    cached(view, volume).or_else(|| view.extra::<Live>()?.0.clone().map(Arc::new))
}

fn cached(view: &View, volume: &PersistentVolume) -> Option<Arc<PersistentVolumeClaim>> {
    let reference = claim_ref(volume)?;
    let claims = view.of::<PersistentVolumeClaim>();
    let claim = claims.find(reference.namespace.as_deref().unwrap_or_default(), reference.name.as_deref()?)?;
    (claim.metadata.uid.as_deref() == bound_uid(volume)).then(|| claim.clone())
}
