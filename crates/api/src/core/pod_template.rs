//! PodTemplate: a template by itself, for controllers that want to share one.

use k8s_openapi::api::core::v1::{PodTemplate, PodTemplateSpec};
use machinery::field::{ErrorList, Path};
use serde_json::Value;

use super::pod;
use crate::kind::{Column, Kind, Version};
use crate::{cells, names, strategy};

pub static KIND: Kind = Kind {
    kind: "PodTemplate",
    list_kind: "PodTemplateList",
    plural: "podtemplates",
    singular: "podtemplate",
    versions: &[Version::stored("v1", "io.k8s.api.core.v1.PodTemplate")],
    generation: true,
    columns: &[
        Column::NAME,
        Column::new("Containers", "string", 0, "Names of each container in the template."),
        Column::new("Images", "string", 0, "Images referenced by each container in the template."),
        Column::new("Pod Labels", "string", 0, "The labels for the pod template."),
    ],
    cells: |v, _now| {
        vec![
            cells::name(v),
            cells::joined(v, "/template/spec/containers", "name"),
            cells::joined(v, "/template/spec/containers", "image"),
            cells::label_set(v.pointer("/template/metadata/labels")),
        ]
    },
    hooks: hooks!(
        PodTemplate,
        true,
        names::subdomain,
        full {
            default: |object| pod::default::template(object.template.get_or_insert_default()),
            prepare_create: |object: &mut Value| strategy::set_generation(object, 1),
            prepare_update: |new: &mut Value, old: &Value| strategy::bump_generation(new, old, &["template"]),
            validate: validate,
            validate_update: |new, _old| validate(new),
            warnings: |new: &PodTemplate, old: Option<&PodTemplate>| {
                pod::warnings::template(&template(new), old.map(template).as_ref(), &Path::new("template"))
            },
        }
    ),
    ..Kind::BASE
};

fn template(object: &PodTemplate) -> PodTemplateSpec {
    object.template.clone().unwrap_or_default()
}

fn validate(object: &PodTemplate) -> ErrorList {
    pod::validate::template(&template(object), &Path::new("template"))
}
