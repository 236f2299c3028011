//! The selectors that a review asks about: may this user list what they select?
//!
//! A requirement that cannot be read is left out. What remains asks for more than was meant, so an answer can only be
//! stricter for it.

use machinery::field::{Error, ErrorList, Path};
use machinery::labels::Operator;
use machinery::{fields, labels};
use serde_json::Value;

use crate::registry::object;

#[derive(Default)]
pub struct Selectors {
    pub fields: Vec<fields::Requirement>,
    pub labels: Vec<labels::Requirement>,
}

impl Selectors {
    /// Those in `spec.resourceAttributes` of a review.
    pub fn of(spec: &Value) -> Self {
        let part = |name: &str| spec.pointer(&format!("/resourceAttributes/{name}")).unwrap_or(&Value::Null);
        let (fields, labels) = (part("fieldSelector"), part("labelSelector"));
        Self {
            fields: match raw(fields) {
                "" => object::list(fields, "/requirements").iter().filter_map(field).collect(),
                raw => fields::Selector::parse(raw).map(|all| all.requirements().to_vec()).unwrap_or_default(),
            },
            labels: match raw(labels) {
                "" => object::list(labels, "/requirements").iter().filter_map(label).collect(),
                raw => labels::Selector::parse(raw).map(|all| all.requirements().to_vec()).unwrap_or_default(),
            },
        }
    }
}

fn raw(selector: &Value) -> &str {
    object::text(selector, "/rawSelector")
}

fn values(requirement: &Value) -> Vec<String> {
    object::texts(requirement, "/values").map(str::to_owned).collect()
}

/// Fields can be compared with one value only.
fn field(requirement: &Value) -> Option<fields::Requirement> {
    let negated = match object::text(requirement, "/operator") {
        "In" => false,
        "NotIn" => true,
        _ => return None,
    };
    let [value] = &values(requirement)[..] else { return None };
    Some(fields::Requirement { field: object::text(requirement, "/key").to_owned(), negated, value: value.clone() })
}

fn label(requirement: &Value) -> Option<labels::Requirement> {
    let operator = match object::text(requirement, "/operator") {
        "In" => Operator::In,
        "NotIn" => Operator::NotIn,
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        _ => return None,
    };
    labels::Requirement::new(object::text(requirement, "/key"), operator, values(requirement)).ok()
}

/// A selector is given in one of its two forms.
pub fn validate(path: &Path, resource: &Value, errors: &mut ErrorList) {
    for name in ["fieldSelector", "labelSelector"] {
        let Some(selector) = resource.get(name).filter(|selector| selector.is_object()) else { continue };
        let path = path.child(name);
        let listed = !object::list(selector, "/requirements").is_empty();
        if listed && !raw(selector).is_empty() {
            let detail = "may not specified at the same time as requirements";
            errors.push(Error::invalid(&path.child("rawSelector"), raw(selector), detail));
        }
        if !listed && raw(selector).is_empty() {
            let detail = format!("when {path} is specified, requirements or rawSelector is required");
            errors.push(Error::required(&path.child("requirements"), detail));
        }
    }
}
