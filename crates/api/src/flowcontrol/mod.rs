//! flowcontrol.apiserver.k8s.io: which requests wait for which while the server is busy.

pub mod bootstrap;
pub mod flow_schema;
pub mod priority_level_configuration;

use machinery::field::{Error, ErrorList, Path};

pub const GROUP: &str = "flowcontrol.apiserver.k8s.io";

/// One condition a type, and each has one.
fn condition_types<'c>(types: impl Iterator<Item = Option<&'c String>>) -> ErrorList {
    let (status, mut seen, mut errors) = (Path::new("status"), Vec::new(), ErrorList::new());
    let list = status.child("conditions");
    for (i, kind) in types.enumerate() {
        let (at, kind) = (list.index(i), kind.map(String::as_str).unwrap_or_default());
        let at = at.child("type");
        if seen.contains(&kind) {
            errors.push(Error::duplicate(&at, kind));
        }
        seen.push(kind);
        if kind.is_empty() {
            errors.push(Error::required(&at, "must not be empty"));
        }
    }
    errors
}
