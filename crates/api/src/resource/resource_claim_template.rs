//! ResourceClaimTemplate: the claims that a pod gets of its own are made from it.

use k8s_openapi::api::resource::v1::ResourceClaimTemplate;
use machinery::field::{ErrorList, Path};

use super::{GROUP, claim_spec};
use crate::kind::{Column, Kind, Version};
use crate::{cells, checks, internal, names};

pub static KIND: Kind = Kind {
    group: GROUP,
    kind: "ResourceClaimTemplate",
    list_kind: "ResourceClaimTemplateList",
    plural: "resourceclaimtemplates",
    singular: "resourceclaimtemplate",
    versions: &[Version::stored("v1", "io.k8s.api.resource.v1.ResourceClaimTemplate")],
    columns: &[Column::NAME, Column::AGE],
    cells: |v, now| vec![cells::name(v), cells::age(v, now)],
    hooks: hooks!(
        ResourceClaimTemplate,
        true,
        names::subdomain,
        part {
            default: |template| claim_spec::default(&mut template.spec.spec),
            validate: validate,
            validate_update: validate_update,
        }
    ),
    ..Kind::BASE
};

fn validate(template: &ResourceClaimTemplate) -> ErrorList {
    let path = Path::new("spec");
    let metadata = template.spec.metadata.as_ref();
    let mut errors: ErrorList = metadata
        .into_iter()
        .flat_map(|metadata| checks::template_metadata(metadata, &path.child("metadata")))
        .collect();
    errors.extend(claim_spec::validate(&template.spec.spec, &path.child("spec")));
    errors
}

/// Claims that were made are not changed any more, and so the template is not either.
fn validate_update(new: &ResourceClaimTemplate, old: &ResourceClaimTemplate) -> ErrorList {
    const SPEC: &str = "io.k8s.api.resource.v1.ResourceClaimTemplateSpec";
    internal::immutable(SPEC, &new.spec, &old.spec, &Path::new("spec")).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_template_shows_its_labels_when_it_cannot_change() {
        let template = |spec: serde_json::Value| -> ResourceClaimTemplate {
            serde_json::from_value(json!({"metadata": {"name": "a"}, "spec": spec})).unwrap()
        };
        let old = template(json!({"spec": {"devices": {"requests": []}}}));
        assert_eq!(validate_update(&template(json!({"spec": {}})), &old), []);
        let new = template(json!({"metadata": {"labels": {"a": "b"}}, "spec": {}}));
        let texts: Vec<_> = validate_update(&new, &old).iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "spec: Invalid value: {\"labels\":{\"a\":\"b\"},\"Spec\":{\"Devices\":{\"Requests\":null,\"Constraints\":null,\"Config\":null}}}: field is immutable"
            ]
        );
    }
}
