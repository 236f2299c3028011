//! Files that the API writes into a pod's volumes: fields of the pod, and projections of several sources into one folder.

use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, ProjectedVolumeSource, VolumeProjection};
use machinery::field::{Error, ErrorList, Path};

use super::env;
use super::volumes::{Sources, items, local_non_reserved_path, mode, required};
use crate::checks;

/// A file that shows a field of the pod.
pub fn downward_file(file: &DownwardAPIVolumeFile, path: &Path) -> ErrorList {
    let mut errors = required(path, &[("path", &file.path)]);
    errors.extend(local_non_reserved_path(&file.path, &path.child("path")));
    match (&file.field_ref, &file.resource_field_ref) {
        (Some(field), other) => {
            errors.extend(env::field_ref(field, env::VOLUME_FIELDS, &path.child("fieldRef")));
            if other.is_some() {
                let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
                errors.push(Error::invalid(path, "resource", detail));
            }
        }
        (None, Some(resource)) => {
            errors.extend(env::resource_field_ref(resource, true, &path.child("resourceFieldRef")));
        }
        (None, None) => errors.push(Error::required(path, "one of fieldRef and resourceFieldRef is required")),
    }
    errors.extend(mode(file.mode, &path.child("mode")));
    errors
}

/// A folder of files from several sources, each file from one.
pub fn projected(volume: &ProjectedVolumeSource, path: &Path) -> ErrorList {
    let mut errors: ErrorList = mode(volume.default_mode, &path.child("defaultMode")).into_iter().collect();
    let list = path.child("sources");
    let mut files: Vec<String> = Vec::new();
    for (i, source) in volume.sources.iter().flatten().enumerate() {
        errors.extend(projection(source, &mut files, &list.index(i)));
    }
    errors
}

fn projection(source: &VolumeProjection, files: &mut Vec<String>, path: &Path) -> ErrorList {
    let mut sources = Sources::new(path);
    // Each file may come from one source only.
    let mut claim = |file: &str, path: &Path| -> Option<Error> {
        if file.is_empty() {
            return None;
        }
        if files.iter().any(|other| other == file) {
            return Some(Error::invalid(path, file, "conflicting duplicate paths"));
        }
        files.push(file.to_string());
        None
    };
    sources.take(source.secret.as_ref(), "secret", |v, path| {
        let mut errors = required(path, &[("name", &v.name)]);
        errors.extend(items(v.items.as_deref(), &path.child("items")));
        for (i, item) in v.items.iter().flatten().enumerate() {
            let list = path.child("items");
            errors.extend(claim(&item.path, &list.index(i).child("path")));
        }
        errors
    });
    sources.take(source.config_map.as_ref(), "configMap", |v, path| {
        let mut errors = required(path, &[("name", &v.name)]);
        errors.extend(items(v.items.as_deref(), &path.child("items")));
        for (i, item) in v.items.iter().flatten().enumerate() {
            let list = path.child("items");
            errors.extend(claim(&item.path, &list.index(i).child("path")));
        }
        errors
    });
    sources.take(source.downward_api.as_ref(), "downwardAPI", |v, path| {
        let mut errors = ErrorList::new();
        for file in v.items.iter().flatten() {
            errors.extend(downward_file(file, path));
            errors.extend(claim(&file.path, path));
        }
        errors
    });
    sources.take(source.service_account_token.as_ref(), "serviceAccountToken", |v, path| {
        let mut errors = ErrorList::new();
        let seconds = v.expiration_seconds.unwrap_or(3600);
        let at = path.child("expirationSeconds");
        if seconds < 600 {
            errors.push(Error::invalid(&at, seconds, "may not specify a duration less than 10 minutes"));
        } else if seconds > 1 << 32 {
            errors.push(Error::invalid(&at, seconds, "may not specify a duration larger than 2^32 seconds"));
        }
        let at = path.child("path");
        if v.path.is_empty() {
            errors.push(Error::required(&at, ""));
        } else {
            errors.extend(local_non_reserved_path(&v.path, &at));
        }
        errors.extend(claim(&v.path, &at));
        errors
    });
    sources.take(source.cluster_trust_bundle.as_ref(), "clusterTrustBundle", |v, path| {
        let mut errors = ErrorList::new();
        match (&v.name, &v.signer_name) {
            (Some(_), Some(_)) => errors.push(Error::invalid(path, "", "only one of name and signerName may be used")),
            (None, None) => errors.push(Error::required(path, "either name or signerName must be specified")),
            (Some(name), None) if name.is_empty() => {
                errors.push(Error::required(&path.child("name"), "must be a valid object name"));
            }
            (Some(_), None) if v.label_selector.is_some() => {
                errors.push(Error::invalid(path, "labelSelector", "labelSelector must be unset if name is specified"));
            }
            (None, Some(signer)) if signer.is_empty() => {
                errors.push(Error::required(&path.child("signerName"), "must be a valid signer name"));
            }
            _ => {}
        }
        errors.extend(required(path, &[("path", &v.path)]));
        errors.extend(local_non_reserved_path(&v.path, &path.child("path")));
        errors.extend(claim(&v.path, &path.child("path")));
        errors
    });
    sources.take(source.pod_certificate.as_ref(), "podCertificate", |v, path| {
        let mut errors = required(path, &[("signerName", &v.signer_name)]);
        let kinds = ["ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519", "RSA3072", "RSA4096"];
        errors.extend(checks::one_of(Some(&v.key_type), &kinds, &path.child("keyType")));
        let places = [
            ("credentialBundlePath", &v.credential_bundle_path),
            ("keyPath", &v.key_path),
            ("certificateChainPath", &v.certificate_chain_path),
        ];
        if places.iter().all(|(_, place)| place.as_deref().unwrap_or("").is_empty()) {
            errors.push(Error::required(
                path,
                "specify at least one of credentialBundlePath, keyPath, and certificateChainPath",
            ));
        }
        for (field, place) in places {
            let place = place.as_deref().unwrap_or("");
            errors.extend(local_non_reserved_path(place, &path.child(field)));
            errors.extend(claim(place, &path.child(field)));
        }
        errors
    });
    sources.errors
}
