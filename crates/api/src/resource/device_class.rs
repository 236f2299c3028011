//! DeviceClass: a sort of devices, as claims name it, with what selects them and how they are configured.

use k8s_openapi::api::resource::v1::{DeviceClass, DeviceClassSpec};
use machinery::field::{Error, ErrorList, Path};
use serde_json::Value;

use super::{GROUP, ITEMS_MAX, configuration, lists, selectors};
use crate::core::pod::is_extended_resource;
use crate::kind::{Column, Kind, Version};
use crate::{cells, names, strategy};

pub static KIND: Kind = Kind {
    group: GROUP,
    kind: "DeviceClass",
    list_kind: "DeviceClassList",
    plural: "deviceclasses",
    singular: "deviceclass",
    namespaced: false,
    versions: &[Version::stored("v1", "io.k8s.api.resource.v1.DeviceClass")],
    generation: true,
    columns: &[Column::NAME, Column::AGE],
    cells: |v, now| vec![cells::name(v), cells::age(v, now)],
    hooks: hooks!(
        DeviceClass,
        false,
        names::subdomain,
        full {
            prepare_create: |class: &mut Value| strategy::set_generation(class, 1),
            prepare_update: |new: &mut Value, old: &Value| strategy::bump_generation(new, old, &["spec"]),
            validate: |class: &DeviceClass| validate(&class.spec, None),
            validate_update: |new: &DeviceClass, old: &DeviceClass| validate(&new.spec, Some(&old.spec)),
        }
    ),
    ..Kind::BASE
};

/// What an update leaves as it was has been good once and stays so.
fn validate(spec: &DeviceClassSpec, old: Option<&DeviceClassSpec>) -> ErrorList {
    let path = Path::new("spec");
    let stored = old.is_some_and(|old| same(&spec.selectors, &old.selectors));
    let mut errors = selectors::validate(spec.selectors.as_deref(), stored, &path.child("selectors"));
    let stored = old.is_some_and(|old| same(&spec.config, &old.config));
    errors.extend(lists::bounded(spec.config.as_deref(), ITEMS_MAX, &path.child("config"), |config, path| {
        configuration::validate(config.opaque.as_ref(), stored, path)
    }));
    if let Some(name) = spec.extended_resource_name.as_deref().filter(|name| !is_extended_resource(name)) {
        let at = path.child("extendedResourceName");
        errors.push(Error::invalid(&at, name, "must be a valid extended resource name"));
    }
    errors
}

/// A list that is not there is an empty one.
fn same<T: PartialEq>(a: &Option<Vec<T>>, b: &Option<Vec<T>>) -> bool {
    a.as_deref().unwrap_or_default() == b.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn class(expression: &str, bytes: usize) -> DeviceClassSpec {
        serde_json::from_value(json!({
            "selectors": [{"cel": {"expression": expression}}],
            "config": [{"opaque": {"driver": "d.io", "parameters": {"a": "x".repeat(bytes)}}}],
        }))
        .unwrap()
    }

    #[test]
    fn what_was_stored_is_not_judged_again() {
        let fields = |new: &DeviceClassSpec, old: Option<&DeviceClassSpec>| {
            validate(new, old).iter().map(|error| error.field.clone()).collect::<Vec<_>>()
        };
        let bad = class("nothing", 20_000);
        let both = ["spec.selectors[0].cel.expression", "spec.config[0].opaque.parameters"];
        assert_eq!(fields(&bad, None), both);
        assert_eq!(fields(&bad, Some(&bad)), Vec::<String>::new());
        assert_eq!(fields(&bad, Some(&class("nothing else", 20_000))), both[..1]);
        assert_eq!(fields(&class("true", 1), Some(&bad)), Vec::<String>::new());
    }

    #[test]
    fn an_extended_resource_is_of_somebodys_domain() {
        let fault = |name: &str| {
            let spec = DeviceClassSpec { extended_resource_name: Some(name.to_owned()), ..Default::default() };
            validate(&spec, None).iter().map(Error::to_string).collect::<String>()
        };
        assert_eq!(fault("example.com/gpu"), "");
        assert_eq!(
            fault("cpu"),
            "spec.extendedResourceName: Invalid value: \"cpu\": must be a valid extended resource name"
        );
    }
}
