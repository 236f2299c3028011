//! What upstream says of the built-in types and their fields. It is read when documents are made and dropped after them.

use std::collections::HashMap;
use std::io::Read as _;

use flate2::read::GzDecoder;

/// See `build.rs`.
const DESCRIPTIONS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptions.json.gz"));
/// Has the fields that each list has.
const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";

/// By the name of the type: its own description and those of its fields.
#[derive(Default)]
pub struct Descriptions(HashMap<String, (String, HashMap<String, String>)>);

impl Descriptions {
    /// All of them. This build made them, so they can be read.
    pub fn read() -> Self {
        let mut text = String::new();
        let read = GzDecoder::new(DESCRIPTIONS).read_to_string(&mut text);
        Self(read.ok().and_then(|_| serde_json::from_str(&text).ok()).unwrap_or_default())
    }

    pub fn of_type(&self, name: &str) -> Option<String> {
        let found = self.0.get(name).map(|(text, _)| text.clone()).filter(|text| !text.is_empty());
        found.or_else(|| listed(name).map(|item| format!("{item}List is a list of {item} objects.")))
    }

    pub fn of_field(&self, name: &str, field: &str) -> Option<String> {
        let of = |name: &str, field: &str| self.0.get(name)?.1.get(field).cloned();
        of(name, field).or_else(|| {
            let item = listed(name)?;
            match field {
                "items" => Some(format!("The {item} objects of the list.")),
                _ => of(STATUS, field),
            }
        })
    }
}

/// The kind of a list's items. The dependency has one type for all lists, which is not described.
fn listed(name: &str) -> Option<&str> {
    let short = name.rsplit('.').next()?;
    short.strip_suffix("List").filter(|item| !item.is_empty())
}

#[cfg(test)]
mod tests {
    use machinery::schema;

    use super::*;

    #[test]
    fn every_current_type_is_described() {
        let descriptions = Descriptions::read();
        let current = |name: &str| name.contains(".v1.") || name.contains(".v2.");
        let types = schema::builtin();
        let silent: Vec<&str> = types
            .iter()
            .map(|(_, ty)| &*ty.name)
            .filter(|name| current(name) && descriptions.of_type(name).is_none())
            .collect();
        assert_eq!(silent, Vec::<&str>::new());
        let of_pods = descriptions.of_field("io.k8s.api.core.v1.PodSpec", "containers").unwrap();
        assert!(of_pods.starts_with("List of containers belonging to the pod."));
        assert_eq!(descriptions.of_type("io.k8s.api.core.v1.PodList").unwrap(), "PodList is a list of Pod objects.");
        assert_eq!(descriptions.of_field("io.k8s.api.core.v1.PodList", "none"), None);
    }
}
