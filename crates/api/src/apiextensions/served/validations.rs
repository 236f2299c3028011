//! `x-kubernetes-validations` at run time: rules are compiled with the schema and evaluated on each write.
//!
//! A rule sees the value at its place as `self`. One that uses `oldSelf` is a transition rule: it is evaluated only where an
//! update finds an old value, which in lists is so only for those of list-type map. A rule about a value that an update does
//! not change is not held against it. All rules of a write share one budget.

use std::collections::BTreeMap;

use cel::{Activation, Budget, Declaration, Env, ObjectType, Program, Type};
use machinery::field::{Error, ErrorKind, ErrorList, Path};
use serde_json::Value;

use crate::structural::field_path::{self, Brackets, Step};
use crate::structural::{Correlated, ListType, Rule, Schema};

/// The rules of a schema node and of those below it.
pub struct Rules {
    kind: String,
    declaration: Declaration,
    own: Vec<Compiled>,
    properties: BTreeMap<String, Rules>,
    additional: Option<Box<Rules>>,
    items: Option<Box<Rules>>,
}

struct Compiled {
    rule: Rule,
    program: Result<Program, String>,
    message: Option<Program>,
    /// Where the error is, below the rule's own place.
    field: Vec<Step>,
}

impl Rules {
    /// The rules of a resource's schema; none when it has none.
    pub fn of(schema: &Schema) -> Option<Self> {
        compile(schema, true)
    }

    /// What breaks a rule. `old` is the object before an update.
    pub fn check(&self, object: &Value, old: Option<&Value>, schema: &Schema) -> ErrorList {
        self.run(object, old, schema, Wanted::Changed)
    }

    /// What breaks a rule in values that an update leaves as they are: it is not refused for that, but told.
    pub fn unchanged(&self, object: &Value, old: &Value, schema: &Schema) -> ErrorList {
        self.run(object, Some(old), schema, Wanted::Unchanged)
    }

    fn run(&self, object: &Value, old: Option<&Value>, schema: &Schema, wanted: Wanted) -> ErrorList {
        let mut run = Run { budget: Budget::default(), errors: ErrorList::new(), over: false, wanted };
        let pair = old.map(|old| Correlated::new(object, old, schema));
        run.node(self, object, pair.as_ref(), &Path::root());
        run.errors
    }
}

fn compile(schema: &Schema, resource: bool) -> Option<Rules> {
    if !schema.has_rules() {
        return None;
    }
    let declaration = declare(schema, resource)?;
    let own = schema.rules.iter().map(|rule| Compiled::new(rule, schema, &declaration)).collect();
    let below = |schema: &Schema| compile(schema, schema.embedded_resource);
    Some(Rules {
        kind: schema.kind.clone(),
        declaration,
        own,
        properties: schema
            .properties
            .iter()
            .filter_map(|(name, property)| Some((name.clone(), below(property)?)))
            .collect(),
        additional: schema.additional_schema().and_then(below).map(Box::new),
        items: schema.items.as_deref().and_then(below).map(Box::new),
    })
}

impl Compiled {
    fn new(rule: &Rule, schema: &Schema, declaration: &Declaration) -> Self {
        let env = environment(rule, declaration);
        let message = rule.message_expression.trim();
        Self {
            program: env.compile(rule.rule.trim()).map_err(|error| error.to_string()),
            message: (!message.is_empty()).then(|| env.compile(message).ok()).flatten(),
            field: field_path::resolve(&rule.field_path, schema, Brackets::Allowed)
                .map(|(steps, _)| steps)
                .unwrap_or_default(),
            rule: rule.clone(),
        }
    }
}

/// What the expressions of a rule may use.
pub fn environment(rule: &Rule, declaration: &Declaration) -> Env {
    let old = match rule.optional_old_self {
        Some(true) => Declaration::from(Type::Optional(std::sync::Arc::new(declaration.ty.clone()))),
        _ => declaration.clone(),
    };
    Env::builder().variable("self", declaration.clone()).variable("oldSelf", old).build()
}

/// The type that rules see; none for what the schema does not tell.
pub fn declare(schema: &Schema, resource: bool) -> Option<Declaration> {
    let limit = |limit: Option<i64>| limit.and_then(|limit| u64::try_from(limit).ok());
    if schema.int_or_string {
        return Some(Declaration::int_or_string(limit(schema.limits.max_length)));
    }
    Some(match schema.kind.as_str() {
        "array" => {
            let kind = match schema.list_type {
                Some(ListType::Set) => cel::ListKind::Set,
                Some(ListType::Map) => cel::ListKind::Map(schema.list_map_keys.clone().into()),
                _ => cel::ListKind::Atomic,
            };
            let item = schema.items.as_deref()?;
            Declaration::list(declare(item, item.embedded_resource)?, limit(schema.limits.max_items), kind)
        }
        "object" => match schema.additional_schema() {
            Some(below) => {
                let value = declare(below, below.embedded_resource)?;
                Declaration::map(value, limit(schema.limits.max_properties))
            }
            None => object(schema, resource || schema.embedded_resource),
        },
        "boolean" => Type::Bool.into(),
        "integer" => Type::Int.into(),
        "number" => Type::Double.into(),
        "string" => match schema.limits.format.as_str() {
            "byte" => Declaration::bytes(limit(schema.limits.max_length)),
            "duration" => Declaration::duration(),
            "date" => Declaration::date(),
            "date-time" => Declaration::date_time(),
            _ => Declaration::string(limit(schema.limits.max_length)),
        },
        _ => return None,
    })
}

fn object(schema: &Schema, resource: bool) -> Declaration {
    let mut builder = ObjectType::builder("object");
    for (name, property) in &schema.properties {
        if resource && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
            continue;
        }
        let required = property.default.is_none() && schema.limits.required.contains(name);
        if let Some(declaration) = declare(property, property.embedded_resource) {
            builder = builder.field(name, declaration, required);
        }
    }
    if resource { builder.type_and_object_meta() } else { builder }.declaration()
}

/// The values whose rules are looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// New and changed ones, and those of transition rules.
    Changed,
    /// The others.
    Unchanged,
}

struct Run {
    wanted: Wanted,
    budget: Budget,
    errors: ErrorList,
    /// Nothing more is evaluated.
    over: bool,
}

impl Run {
    fn node<'v>(&mut self, rules: &Rules, value: &'v Value, pair: Option<&Correlated<'v>>, path: &Path) {
        if value.is_null() {
            return;
        }
        for compiled in &rules.own {
            if !self.over {
                self.rule(rules, compiled, value, pair, path);
            }
        }
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    let pair = pair.and_then(|pair| pair.key(key));
                    if let Some(below) = rules.properties.get(key) {
                        self.node(below, value, pair.as_ref(), &path.child(key));
                    } else if let Some(below) = rules.additional.as_deref() {
                        self.node(below, value, pair.as_ref(), &path.key(key));
                    }
                }
            }
            Value::Array(items) => {
                let Some(below) = rules.items.as_deref() else { return };
                for (index, item) in items.iter().enumerate() {
                    let pair = pair.and_then(|pair| pair.index(index));
                    self.node(below, item, pair.as_ref(), &path.index(index));
                }
            }
            _ => {}
        }
    }

    fn rule<'v>(
        &mut self,
        rules: &Rules,
        compiled: &Compiled,
        value: &'v Value,
        pair: Option<&Correlated<'v>>,
        path: &Path,
    ) {
        let rule = &compiled.rule;
        let program = match &compiled.program {
            Ok(program) => program,
            Err(problem) => {
                let detail = format!("rule compile error: {problem}");
                return self.errors.push(Error::invalid(path, &rules.kind, detail));
            }
        };
        let optional = rule.optional_old_self == Some(true);
        let transition = program.uses("oldSelf");
        if transition && !optional && pair.is_none() {
            return;
        }
        let unchanged = !transition && pair.is_some_and(Correlated::is_unchanged);
        if unchanged != (self.wanted == Wanted::Unchanged) {
            return;
        }
        let mut variables = Activation::new();
        let prepared = set(&mut variables, value, pair, optional, &rules.declaration);
        let text = if rule.message.is_empty() { rule.rule.trim() } else { rule.message.trim() };
        let outcome = prepared.and_then(|()| program.evaluate(&variables, &mut self.budget));
        match outcome {
            Ok(cel::Value::Bool(true)) => {}
            Ok(_) => {
                let computed = compiled.message.as_ref().and_then(|message| {
                    let value = message.evaluate(&variables, &mut self.budget).ok()?;
                    value
                        .as_str()
                        .map(|text| text.trim().to_owned())
                        .filter(|text| !text.is_empty() && !text.contains('\n'))
                });
                let failed = || format!("failed rule: {}", rule.rule.trim());
                let own = Some(rule.message.trim()).filter(|text| !text.is_empty()).map(str::to_owned);
                let detail = computed.or(own).unwrap_or_else(failed);
                self.errors.push(broken(rules, compiled, value, path, detail));
            }
            Err(error) => {
                let detail = format!("{error} evaluating rule: {text}");
                self.errors.push(Error::invalid(path, &rules.kind, detail));
            }
        }
        if self.budget.is_exhausted() {
            self.over = true;
            let detail = "validation failed due to running out of cost budget, no further validation rules will be run";
            self.errors.push(Error::invalid(path, &rules.kind, detail));
        }
    }
}

fn set<'a>(
    variables: &mut Activation<'a>,
    value: &'a Value,
    pair: Option<&Correlated<'a>>,
    optional: bool,
    declaration: &Declaration,
) -> Result<(), cel::EvalError> {
    variables.set_json("self", value, declaration)?;
    match (pair, optional) {
        (Some(pair), false) => {
            variables.set_json("oldSelf", pair.old, declaration)?;
        }
        (Some(pair), true) => {
            let old = cel::Value::from_json(pair.old, declaration)?;
            variables.set("oldSelf", cel::Value::some(old));
        }
        (None, true) => {
            variables.set("oldSelf", cel::Value::none());
        }
        (None, false) => {}
    }
    Ok(())
}

/// The error of a rule that does not hold, of the kind and at the place that it names.
fn broken(rules: &Rules, compiled: &Compiled, value: &Value, path: &Path, detail: String) -> Error {
    // The value at another place is not shown, and of a large one its type alone.
    let shown = match value {
        _ if !compiled.field.is_empty() => None,
        Value::Object(_) | Value::Array(_) => Some(Value::from(rules.kind.as_str())),
        value => Some(value.clone()),
    };
    let (kind, bad_value, detail) = match compiled.rule.reason.as_deref() {
        Some("FieldValueRequired") => (ErrorKind::Required, None, detail),
        Some("FieldValueForbidden") => (ErrorKind::Forbidden, None, detail),
        Some("FieldValueDuplicate") => (ErrorKind::Duplicate, shown, String::new()),
        _ => (ErrorKind::Invalid, shown, detail),
    };
    Error { kind, field: below(path, &compiled.field), bad_value, detail }
}

/// The text of a path and some steps more.
fn below(path: &Path, steps: &[Step]) -> String {
    match steps.split_first() {
        None => path.to_string(),
        Some((Step::Field(name), rest)) => below(&path.child(name), rest),
        Some((Step::Key(name), rest)) => below(&path.key(name), rest),
    }
}

/// What is said where rules were not looked at.
pub fn unchecked() -> Error {
    let detail = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
    Error {
        kind: ErrorKind::Invalid,
        field: crate::structural::NO_FIELD.to_owned(),
        bad_value: Some(Value::Null),
        detail: detail.to_owned(),
    }
}
