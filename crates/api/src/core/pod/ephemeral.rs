//! pods/ephemeralcontainers: containers that join a pod that runs already, to look into it. They can be added, and then
//! neither changed nor taken away.

use k8s_openapi::api::core::v1::{EphemeralContainer, Pod, PodSpec};
use machinery::field::{Error, ErrorList, Path};
use machinery::status::Status;
use serde_json::Value;

use super::validate;
use crate::internal::{self, diff};
use crate::kind::{Subresource, SubresourceUpdate, Verb};
use crate::{erase, strategy};

pub const SUBRESOURCE: Subresource = Subresource {
    update: Some(SubresourceUpdate { prepare, validate }),
    ..Subresource::new("ephemeralcontainers", "Pod", Verb::GET_PATCH_UPDATE)
};

/// Only spec.ephemeralContainers is taken from the new object.
fn prepare(new: &mut Value, old: &Value) -> Result<(), Status> {
    let given = std::mem::replace(new, old.clone());
    strategy::keep_resource_version(new, &given);
    if let (Some(spec), Some(given)) = (new.get_mut("spec"), given.get("spec")) {
        strategy::copy_field(spec, given, "ephemeralContainers");
    }
    strategy::bump_generation(new, old, &["spec"]);
    Ok(())
}

fn validate(new: &Value, old: &Value) -> ErrorList {
    let mut errors = erase::metadata_update(new, old, true, None);
    errors.extend(erase::compare::<Pod>(new, old, compare));
    errors
}

fn compare(new: &Pod, old: &Pod) -> ErrorList {
    if validate::is_mirror(old) {
        return vec![Error::forbidden(&Path::new("[]"), "static pods do not support ephemeral containers")];
    }
    let (none, path) = (PodSpec::default(), Path::new("spec"));
    let (new_spec, old_spec) = (new.spec.as_ref().unwrap_or(&none), old.spec.as_ref().unwrap_or(&none));
    let mut errors = validate::spec(new_spec, &path);
    let at = path.child("ephemeralContainers");
    let new_list = new_spec.ephemeral_containers.as_deref().unwrap_or(&[]);
    for old in old_spec.ephemeral_containers.iter().flatten() {
        errors.extend(kept(new_list.iter().find(|new| new.name == old.name), old, &at));
    }
    errors
}

fn kept(new: Option<&EphemeralContainer>, old: &EphemeralContainer, at: &Path) -> Option<Error> {
    let name = &old.name;
    let Some(new) = new else {
        return Some(Error::forbidden(at, format!("existing ephemeral containers {name:?} may not be removed\n")));
    };
    if new == old {
        return None;
    }
    const TYPE: &str = "io.k8s.api.core.v1.EphemeralContainer";
    let texts = (internal::shown(TYPE, old), internal::shown(TYPE, new));
    let difference = diff::unified(&internal::pretty(&texts.0), &internal::pretty(&texts.1));
    Some(Error::forbidden(at, format!("existing ephemeral containers {name:?} may not be changed\n{difference}")))
}
