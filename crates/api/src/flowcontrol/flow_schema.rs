//! FlowSchema: whose requests for what go to which priority level, and by what they are told apart there.

mod rules;

use k8s_openapi::api::flowcontrol::v1::{FlowSchema, FlowSchemaSpec};
use machinery::field::{Error, ErrorList, Path};
use serde_json::Value;

use super::{GROUP, bootstrap};
use crate::kind::{Column, Deprecated, Kind, Version};
use crate::value::{integer, list, semantically_equal, text};
use crate::{cells, checks, internal, names, strategy};

const SCHEMA: &str = "io.k8s.api.flowcontrol.v1.FlowSchema";
const METHODS: &[&str] = &["ByNamespace", "ByUser"];
const PRECEDENCE: i32 = 1000;
const PRECEDENCE_MAX: i32 = 10_000;

pub static KIND: Kind = Kind {
    group: GROUP,
    kind: "FlowSchema",
    list_kind: "FlowSchemaList",
    plural: "flowschemas",
    singular: "flowschema",
    namespaced: false,
    versions: &[
        Version::stored("v1", SCHEMA),
        old("v1beta3", "1.29", "1.32"),
        old("v1beta2", "1.26", "1.29"),
        old("v1beta1", "1.23", "1.26"),
    ],
    status: true,
    generation: true,
    columns: &[
        Column::NAME,
        Column::new(
            "PriorityLevel",
            "string",
            0,
            "`name` is the name of the priority level configuration being referenced Required.",
        ),
        Column::new(
            "MatchingPrecedence",
            "string",
            0,
            "`matchingPrecedence` is used to choose among the FlowSchemas that match a given request. The chosen FlowSchema is among those with the numerically lowest (which we take to be logically highest) MatchingPrecedence.  Each MatchingPrecedence value must be ranged in [1,10000]. Note that if the precedence is not specified, it will be set to 1000 as default.",
        ),
        Column::new(
            "DistinguisherMethod",
            "string",
            0,
            "`distinguisherMethod` defines how to compute the flow distinguisher for requests that match this schema. `nil` specifies that the distinguisher is disabled and thus will always be the empty string.",
        ),
        Column::AGE,
        Column::new("MissingPL", "string", 0, "references a broken or non-existent PriorityLevelConfiguration"),
    ],
    cells: |v, now| {
        let conditions = list(v, "/status/conditions");
        let dangling = conditions.iter().find(|condition| condition["type"] == "Dangling");
        vec![
            cells::name(v),
            text(v, "/spec/priorityLevelConfiguration/name").into(),
            integer(v, "/spec/matchingPrecedence").into(),
            cells::or_none(text(v, "/spec/distinguisherMethod/type")),
            cells::age(v, now),
            dangling.map_or("?", |condition| text(condition, "/status")).into(),
        ]
    },
    row_rank: Some(|v| integer(v, "/spec/matchingPrecedence")),
    hooks: hooks!(
        FlowSchema,
        false,
        names::subdomain,
        full {
            default: |schema| {
                let spec = schema.spec.get_or_insert_default();
                if spec.matching_precedence.unwrap_or(0) == 0 {
                    spec.matching_precedence = Some(PRECEDENCE);
                }
            },
            prepare_create: strategy::create_with_status,
            prepare_update: strategy::update_spec,
            prepare_status_update: |new: &mut Value, old: &Value| {
                strategy::update_status(new, old);
                strategy::keep_metadata(new, old);
            },
            validate: validate,
            validate_update: |new, _old| validate(new),
            validate_status_update: |new: &FlowSchema, _old: &FlowSchema| {
                let conditions = new.status.iter().flat_map(|status| status.conditions.iter().flatten());
                super::condition_types(conditions.map(|condition| condition.type_.as_ref()))
            },
        }
    ),
    ..Kind::BASE
};

const fn old(name: &'static str, since: &'static str, removed: &'static str) -> Version {
    let replacement = "flowcontrol.apiserver.k8s.io/v1 FlowSchema";
    Version::old(GROUP, name, SCHEMA, Deprecated { since, removed: Some(removed), replacement }, |_| {})
}

fn validate(schema: &FlowSchema) -> ErrorList {
    let nothing = FlowSchemaSpec::default();
    let (spec, path) = (schema.spec.as_ref().unwrap_or(&nothing), Path::new("spec"));
    let name = schema.metadata.name.as_deref().unwrap_or_default();
    let mut errors = validate_spec(name, spec, &path);
    errors.extend(validate_mandatory(name, spec, &path));
    errors
}

fn validate_spec(name: &str, spec: &FlowSchemaSpec, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let precedence = spec.matching_precedence.unwrap_or(0);
    let at = path.child("matchingPrecedence");
    let mut refuse = |when: bool, detail: String| {
        if when {
            errors.push(Error::invalid(&at, precedence, detail));
        }
    };
    refuse(precedence <= 0, "must be a positive value".to_owned());
    refuse(precedence > PRECEDENCE_MAX, format!("must not be greater than {PRECEDENCE_MAX}"));
    let detail = "only the schema named 'exempt' may have matchingPrecedence 1".to_owned();
    refuse(precedence == 1 && name != bootstrap::EXEMPT, detail);
    if let Some(method) = spec.distinguisher_method.as_ref().filter(|method| !METHODS.contains(&method.type_.as_str()))
    {
        let shown = internal::shown("io.k8s.api.flowcontrol.v1.FlowDistinguisherMethod", method);
        let at = path.child("distinguisherMethod");
        errors.push(Error::not_supported(&at.child("type"), shown, METHODS));
    }
    let at = path.child("priorityLevelConfiguration");
    let at = at.child("name");
    match spec.priority_level_configuration.name.as_str() {
        "" => errors.push(Error::required(&at, "must reference a priority level")),
        level => errors.extend(checks::dns_subdomain(level, &at)),
    }
    let at = path.child("rules");
    let rules = spec.rules.iter().flatten().enumerate();
    errors.extend(rules.flat_map(|(i, rule)| rules::validate(rule, &at.index(i))));
    errors
}

fn validate_mandatory(name: &str, spec: &FlowSchemaSpec, path: &Path) -> Option<Error> {
    let wanted = bootstrap::is_mandatory(name).then(bootstrap::flow_schemas)?;
    let wanted = wanted.into_iter().find(|schema| text(schema, "/metadata/name") == name)?;
    // A struct of plain fields always becomes JSON.
    let own = serde_json::to_value(spec).unwrap_or_default();
    if semantically_equal(Some(&own), wanted.get("spec")) {
        return None;
    }
    let shown = internal::shown("io.k8s.api.flowcontrol.v1.FlowSchemaSpec", spec);
    Some(Error::invalid(path, shown, format!("spec of '{name}' must equal the fixed value")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn mandatory_schemas_are_what_they_are() {
        let mut exempt = bootstrap::flow_schemas().pop().unwrap();
        assert_eq!(text(&exempt, "/metadata/name"), "exempt");
        assert_eq!((KIND.hooks.validate)(&exempt), []);
        exempt["spec"]["rules"][0]["subjects"] = json!([{"kind": "User", "user": {"name": "me"}}]);
        let errors: Vec<_> = (KIND.hooks.validate)(&exempt).iter().map(Error::to_string).collect();
        assert!(errors.len() == 1 && errors[0].ends_with("spec of 'exempt' must equal the fixed value"), "{errors:?}");
        assert!(errors[0].starts_with("spec: Invalid value: {\"PriorityLevelConfiguration\":{\"Name\":\"exempt\"}"));
    }

    #[test]
    fn only_the_exempt_come_first() {
        let mut schema = json!({"metadata": {"name": "x"}, "spec": {"priorityLevelConfiguration": {"name": "p"}}});
        (KIND.hooks.default)(&mut schema).unwrap();
        assert_eq!(schema["spec"]["matchingPrecedence"], 1000);
        for (precedence, wrong) in [(1, 1), (2, 0), (-1, 1), (10_001, 1)] {
            schema["spec"]["matchingPrecedence"] = precedence.into();
            assert_eq!((KIND.hooks.validate)(&schema).len(), wrong, "{precedence}");
        }
    }
}
