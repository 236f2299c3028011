//! A question in the form of a SubjectAccessReview's spec: what webhooks are sent and what their match conditions see.

use machinery::labels::Operator;
use machinery::{fields, labels};
use serde_json::{Map, Value, json};

use super::Attributes;

/// The spec as authorization.k8s.io/v1 writes it: what is empty is left out.
pub fn sent(attributes: &Attributes<'_>) -> Value {
    spec(attributes, false)
}

/// The spec as expressions see it: every text is there, also the empty ones.
pub fn shown(attributes: &Attributes<'_>) -> Value {
    spec(attributes, true)
}

fn spec(attributes: &Attributes<'_>, whole: bool) -> Value {
    let user = attributes.user;
    let mut spec = Map::new();
    let part = if attributes.resource_request { "resourceAttributes" } else { "nonResourceAttributes" };
    spec.insert(part.to_owned(), part_of(attributes, whole).into());
    put(&mut spec, "user", &user.name, whole);
    if whole || !user.groups.is_empty() {
        spec.insert("groups".to_owned(), user.groups.clone().into());
    }
    if whole || !user.extra.is_empty() {
        spec.insert("extra".to_owned(), json!(user.extra));
    }
    put(&mut spec, "uid", user.uid.as_deref().unwrap_or_default(), whole);
    spec.into()
}

fn part_of(attributes: &Attributes<'_>, whole: bool) -> Map<String, Value> {
    let mut part = Map::new();
    if !attributes.resource_request {
        put(&mut part, "path", attributes.path, whole);
        put(&mut part, "verb", attributes.verb, whole);
        return part;
    }
    for (key, text) in [
        ("namespace", attributes.namespace),
        ("verb", attributes.verb),
        ("group", attributes.api_group),
        ("version", attributes.api_version),
        ("resource", attributes.resource),
        ("subresource", attributes.subresource),
        ("name", attributes.name),
    ] {
        put(&mut part, key, text, whole);
    }
    let fields = attributes.field_selector.iter().map(field).collect::<Vec<_>>();
    // A requirement that the API has no word for is left out: the question is then about more.
    let labels = attributes.label_selector.iter().filter_map(label).collect::<Vec<_>>();
    for (key, requirements) in [("fieldSelector", fields), ("labelSelector", labels)] {
        if !requirements.is_empty() {
            part.insert(key.to_owned(), json!({ "requirements": requirements }));
        }
    }
    part
}

fn put(map: &mut Map<String, Value>, key: &str, text: &str, whole: bool) {
    if whole || !text.is_empty() {
        map.insert(key.to_owned(), text.into());
    }
}

fn field(requirement: &fields::Requirement) -> Value {
    let operator = if requirement.negated { "NotIn" } else { "In" };
    json!({ "key": requirement.field, "operator": operator, "values": [requirement.value] })
}

fn label(requirement: &labels::Requirement) -> Option<Value> {
    let operator = match requirement.operator() {
        Operator::In | Operator::Equals | Operator::DoubleEquals => "In",
        Operator::NotIn | Operator::NotEquals => "NotIn",
        Operator::Exists => "Exists",
        Operator::DoesNotExist => "DoesNotExist",
        Operator::GreaterThan | Operator::LessThan => return None,
    };
    let mut label = json!({ "key": requirement.key(), "operator": operator });
    if !requirement.values().is_empty() {
        label["values"] = requirement.values().into();
    }
    Some(label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::UserInfo;

    #[test]
    fn a_question_is_sent_without_what_is_empty_and_shown_with_it() {
        let mut user = UserInfo::new("jane", ["dev"]);
        user.extra.insert("k".to_owned(), vec!["v".to_owned()]);
        let fields = fields::Selector::parse("spec.nodeName=n,status.phase!=Running").unwrap();
        let labels = labels::Selector::parse("a in (y,x),b!=1,c,!d,e>5").unwrap();
        let attributes = Attributes {
            api_version: "v1",
            namespace: "ns",
            field_selector: fields.requirements(),
            label_selector: labels.requirements(),
            ..Attributes::resource(&user, "list", "", "pods")
        };
        let field_selector = json!({ "requirements": [
            { "key": "spec.nodeName", "operator": "In", "values": ["n"] },
            { "key": "status.phase", "operator": "NotIn", "values": ["Running"] },
        ] });
        let label_selector = json!({ "requirements": [
            { "key": "a", "operator": "In", "values": ["x", "y"] },
            { "key": "b", "operator": "NotIn", "values": ["1"] },
            { "key": "c", "operator": "Exists" },
            { "key": "d", "operator": "DoesNotExist" },
        ] });
        let wanted = json!({
            "resourceAttributes": { "namespace": "ns", "verb": "list", "version": "v1", "resource": "pods",
                "fieldSelector": field_selector, "labelSelector": label_selector },
            "user": "jane", "groups": ["dev"], "extra": { "k": ["v"] },
        });
        assert_eq!(sent(&attributes), wanted);
        let whole = shown(&attributes);
        assert_eq!((&whole["uid"], &whole["resourceAttributes"]["subresource"]), (&json!(""), &json!("")));
        let path =
            Attributes { path: "/healthz", resource_request: false, ..Attributes::resource(&user, "get", "", "") };
        assert_eq!(sent(&path)["nonResourceAttributes"], json!({ "path": "/healthz", "verb": "get" }));
    }
}
