//! `x-kubernetes-validations`: the form of rules, and that they can be evaluated on every object.

use cel::{CompileError, Declaration, Program, Type};
use machinery::field::{Error, ErrorList, Path};
use serde_json::Value;

use crate::apiextensions::internal;
use crate::apiextensions::served::{declare, environment};
use crate::structural::{ListType, Rule, Schema, field_path};
use crate::value::{list, text};

const REASONS: &[&str] = &["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

/// What is wrong with the form of a schema's own rules.
pub fn form(schema: &Value, path: &Path, errors: &mut ErrorList) {
    let rules = list(schema, "/x-kubernetes-validations");
    if rules.is_empty() {
        return;
    }
    // A schema that cannot be compiled has worse faults, which are said elsewhere.
    let compiled = Schema::parse(schema).ok();
    let path = path.child("x-kubernetes-validations");
    for (index, rule) in rules.iter().enumerate() {
        one(rule, compiled.as_ref(), &path.index(index), errors);
    }
}

fn one(rule: &Value, schema: Option<&Schema>, path: &Path, errors: &mut ErrorList) {
    let message = text(rule, "/message");
    let has_break = |text: &str| text.contains(['\n', '\r']);
    let (expression, trimmed) = (text(rule, "/rule").trim(), message.trim());
    let message_path = path.child("message");
    if expression.is_empty() {
        errors.push(Error::required(&path.child("rule"), "rule is not specified"));
    } else if !message.is_empty() && trimmed.is_empty() {
        errors.push(Error::invalid(&message_path, message, "must be non-empty if specified"));
    } else if has_break(trimmed) {
        errors.push(Error::invalid(&message_path, message, "must not contain line breaks"));
    } else if has_break(expression) && trimmed.is_empty() {
        errors.push(Error::required(&message_path, "message must be specified if rule contains line breaks"));
    }
    let message_expression = text(rule, "/messageExpression");
    if !message_expression.is_empty() && message_expression.trim().is_empty() {
        let detail = "messageExpression must be non-empty if specified";
        errors.push(Error::required(&path.child("messageExpression"), detail));
    }
    if let Some(reason) = rule.get("reason").and_then(Value::as_str).filter(|reason| !REASONS.contains(reason)) {
        errors.push(Error::not_supported(&path.child("reason"), reason, REASONS));
    }
    let field = text(rule, "/fieldPath");
    if field.is_empty() {
        return;
    }
    let path = path.child("fieldPath");
    if field.trim().is_empty() {
        errors.push(Error::invalid(&path, field, "must be non-empty if specified"));
    }
    if has_break(field) {
        errors.push(Error::invalid(&path, field, "must not contain line breaks"));
    }
    let is_known =
        schema.is_none_or(|schema| field_path::resolve(field, schema, field_path::Brackets::Allowed).is_ok());
    if !is_known {
        errors.push(Error::invalid(&path, field, "must be a valid path"));
    }
}

/// What is wrong with the rules themselves: they must compile, be of the right type, reach an old value where they use one,
/// and cost no more than every object can afford. An unchanged schema keeps what it has. `faults` are those found in the schema
/// so far: a rule at or above one is not looked at, since what would be said of it might only follow from the fault.
pub fn validate(raw: &Value, schema: &Schema, unchanged: bool, faults: &[Error], path: &Path) -> ErrorList {
    if unchanged || !schema.has_rules() {
        return ErrorList::new();
    }
    let mut checker = Checker { faults, errors: ErrorList::new(), total: 0, costs: Vec::new() };
    let place = Place { cardinality: 1, uncorrelatable: None, resource: true };
    checker.node(raw, schema, &place, path);
    if checker.total > TOTAL_COST_MAX {
        checker.costs.sort_by_key(|(cost, _)| std::cmp::Reverse(*cost));
        for (_, field) in checker.costs.iter().take(MOST_EXPENSIVE) {
            let detail = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
            let error = Error::forbidden(path, detail);
            checker.errors.push(Error { field: field.clone(), ..error });
        }
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        checker.errors.push(Error::forbidden(path, too_costly(what, checker.total, TOTAL_COST_MAX)));
    }
    checker.errors
}

/// What one rule may cost over all places that it is evaluated at, and all rules of a schema together.
const RULE_COST_MAX: u64 = 10_000_000;
const TOTAL_COST_MAX: u64 = 100_000_000;
/// So many of the most expensive rules are named where all of them are too much.
const MOST_EXPENSIVE: usize = 4;

struct Checker<'f> {
    faults: &'f [Error],
    errors: ErrorList,
    total: u64,
    costs: Vec<(u64, String)>,
}

/// Where a schema stands, as far as rules care.
struct Place {
    /// How many values there can be.
    cardinality: u64,
    /// The list below which no old value can be found for a new one.
    uncorrelatable: Option<String>,
    resource: bool,
}

impl Checker<'_> {
    fn node(&mut self, raw: &Value, schema: &Schema, place: &Place, path: &Path) {
        if !schema.has_rules() {
            return;
        }
        let Some(declaration) = declare(schema, place.resource || schema.embedded_resource) else { return };
        let rules_path = path.child("x-kubernetes-validations");
        let rules = if self.is_faulty(path) { &[][..] } else { &schema.rules };
        for (index, rule) in rules.iter().enumerate() {
            let raw = raw.pointer(&format!("/x-kubernetes-validations/{index}")).unwrap_or(&Value::Null);
            self.rule(raw, rule, &declaration, place, &rules_path.index(index));
        }
        let many = place.cardinality.saturating_mul(declaration.max.unwrap_or(1).max(1));
        let inner = |cardinality, uncorrelatable| Place { cardinality, uncorrelatable, resource: false };
        let properties = path.child("properties");
        for (name, property) in &schema.properties {
            let raw = raw.get("properties").and_then(|own| own.get(name)).unwrap_or(&Value::Null);
            self.node(raw, property, &inner(place.cardinality, place.uncorrelatable.clone()), &properties.key(name));
        }
        if let Some(below) = schema.additional_schema() {
            let raw = raw.get("additionalProperties").unwrap_or(&Value::Null);
            let place = inner(many, place.uncorrelatable.clone());
            self.node(raw, below, &place, &path.child("additionalProperties"));
        }
        if let Some(below) = schema.items.as_deref() {
            let items = path.child("items");
            let lost = (schema.list_type != Some(ListType::Map)).then(|| items.to_string());
            let place = inner(many, place.uncorrelatable.clone().or(lost));
            self.node(raw.get("items").unwrap_or(&Value::Null), below, &place, &items);
        }
    }

    /// Whether there is a fault here or deeper.
    fn is_faulty(&self, path: &Path) -> bool {
        let path = path.to_string();
        let below =
            |field: &str| field.strip_prefix(&path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
        self.faults.iter().any(|fault| below(&fault.field))
    }

    fn rule(&mut self, raw: &Value, rule: &Rule, declaration: &Declaration, place: &Place, path: &Path) {
        if rule.rule.trim().is_empty() {
            return;
        }
        let env = environment(rule, declaration);
        let at = path.child("rule");
        match env.compile(rule.rule.trim()) {
            Err(problem) => self.errors.push(Error::invalid(&at, internal::rule(raw), failed(&problem))),
            Ok(program) if !matches!(program.output_type(), Type::Bool | Type::Dyn) => {
                self.errors.push(Error::invalid(&at, internal::rule(raw), "cel expression must evaluate to a bool"));
            }
            Ok(program) => {
                if let Some(list) = place.uncorrelatable.as_ref().filter(|_| program.uses("oldSelf")) {
                    let detail =
                        format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {list}");
                    self.errors.push(Error::invalid(&at, &rule.rule, detail));
                }
                self.cost("estimated rule cost", &program, place, &at);
            }
        }
        if rule.message_expression.trim().is_empty() {
            return;
        }
        let at = path.child("messageExpression");
        match env.compile(rule.message_expression.trim()) {
            Err(problem) => {
                let detail = format!("messageExpression {}", failed(&problem));
                self.errors.push(Error::invalid(&at, internal::rule(raw), detail));
            }
            Ok(program) if !matches!(program.output_type(), Type::String) => {
                let detail = "messageExpression must evaluate to a string";
                self.errors.push(Error::invalid(&at, internal::rule(raw), detail));
            }
            Ok(program) => self.cost("estimated messageExpression cost", &program, place, &at),
        }
    }

    fn cost(&mut self, what: &str, program: &Program, place: &Place, path: &Path) {
        let cost = program.estimate().max.saturating_mul(place.cardinality);
        if cost > RULE_COST_MAX {
            self.errors.push(Error::forbidden(path, too_costly(what, cost, RULE_COST_MAX)));
        }
        self.total = self.total.saturating_add(cost);
        self.costs.push((cost, path.to_string()));
    }
}

fn failed(problem: &CompileError) -> String {
    let what = if problem.is_instantiation() { "program instantiation failed" } else { "compilation failed" };
    format!("{what}: {problem}")
}

fn too_costly(what: &str, cost: u64, max: u64) -> String {
    let factor = cost as f64 / max as f64;
    let factor = match factor {
        _ if factor > 100.0 => "more than 100x".to_owned(),
        // Rounded it would read as if it were no more than the limit.
        _ if factor < 1.5 => format!("{factor:.6}x"),
        _ => format!("{factor:.1}x"),
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn problems(schema: &Value) -> Vec<String> {
        let errors = validate(schema, &Schema::parse(schema).unwrap(), false, &[], &Path::new("s"));
        errors.iter().map(ToString::to_string).collect()
    }

    fn with(spec: Value) -> Value {
        json!({ "type": "object", "properties": { "spec": spec } })
    }

    #[test]
    fn rules_must_compile_and_be_of_their_type() {
        let rules = |rules: Value| {
            with(json!({ "type": "object", "properties": { "a": { "type": "string", "maxLength": 5 } },
                         "x-kubernetes-validations": rules }))
        };
        assert!(
            problems(&rules(json!([{ "rule": "self.a == 'x'", "messageExpression": "'bad ' + self.a" }]))).is_empty()
        );
        let told =
            problems(&rules(json!([{ "rule": "self.b == 'x'" }, { "rule": "self.a", "messageExpression": "1" }])));
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[0].contains("[0].rule") && told[0].contains("undefined field 'b'"), "{}", told[0]);
        assert!(told[1].ends_with("cel expression must evaluate to a bool"));
        assert!(told[2].ends_with("messageExpression must evaluate to a string"));
    }

    #[test]
    fn rules_at_and_above_a_fault_are_not_looked_at() {
        let rule = || json!([{ "rule": "1" }]);
        let schema = json!({ "type": "object", "x-kubernetes-validations": rule(), "properties": {
            "a": { "type": "string", "x-kubernetes-validations": rule() },
            "ab": { "type": "string", "x-kubernetes-validations": rule() } } });
        let parsed = Schema::parse(&schema).unwrap();
        let fields = |faults: &[Error]| -> Vec<String> {
            validate(&schema, &parsed, false, faults, &Path::new("s")).into_iter().map(|error| error.field).collect()
        };
        let of = |place: &str| format!("{place}.x-kubernetes-validations[0].rule");
        assert_eq!(fields(&[]), [of("s"), of("s.properties[a]"), of("s.properties[ab]")]);
        let (path, fault) = (Path::new("s.properties[a].format"), "odd");
        assert_eq!(fields(&[Error::invalid(&path, "", fault)]), [of("s.properties[ab]")]);
    }

    #[test]
    fn rules_of_boundless_lists_cost_too_much() {
        let list = |max: Value| {
            with(json!({ "type": "array", "maxItems": max, "items": { "type": "string", "maxLength": 10,
                "x-kubernetes-validations": [{ "rule": "self.contains('x')" }] } }))
        };
        assert!(problems(&list(json!(10))).is_empty());
        let told = problems(&list(json!(100_000_000)));
        assert!(told[0].contains("estimated rule cost exceeds budget by factor of"), "{told:?}");
        let lost = with(json!({ "type": "array", "maxItems": 3, "items": { "type": "integer",
            "x-kubernetes-validations": [{ "rule": "self >= oldSelf" }] } }));
        assert!(problems(&lost)[0].ends_with("uncorrelatable portion of the schema within s.properties[spec].items"));
    }
}
