//! One mutation of a mutating policy: what its expression yields, and the object that comes of it.

use cel::{Activation, Budget, Value as CelValue};
use machinery::patch::PatchError;
use machinery::patch::apply::{Place, merge_unowned};
use machinery::patch::json::Patch;
use serde_json::Value;

use super::validator::Fault;
use crate::admission::expressions::{Expression, Failure};

pub enum Mutation {
    ApplyConfiguration(Expression),
    JsonPatch(Expression),
}

/// Why an object was not mutated.
#[derive(Debug, PartialEq, Eq)]
pub struct Error {
    pub message: String,
    pub fault: Fault,
}

impl From<String> for Error {
    fn from(message: String) -> Self {
        Self { message, fault: Fault::Invalid }
    }
}

impl Mutation {
    /// The mutated object, not yet decoded; none where nothing is to be done. `place` is what the schema says of the object.
    pub fn apply(&self, object: &Value, variables: &Activation<'_>, place: Place<'_>) -> Result<Option<Value>, Error> {
        let (Self::ApplyConfiguration(expression) | Self::JsonPatch(expression)) = self;
        let mut budget = Budget::default();
        let value = expression
            .evaluate(variables, &mut budget)
            .map_err(|failure: Failure| Error { message: failure.to_string(), fault: Fault::from(&failure) })?;
        match self {
            Self::ApplyConfiguration(_) => apply_configuration(object, &value, place).map(Some),
            Self::JsonPatch(_) => json_patch(object, &value),
        }
    }
}

fn apply_configuration(object: &Value, value: &CelValue<'_>, place: Place<'_>) -> Result<Value, Error> {
    value.check_type_names().map_err(|mismatch| format!("type mismatch: {mismatch}"))?;
    let mut config = value.to_json().map_err(|error| error.to_string())?;
    for key in ["apiVersion", "kind"] {
        config[key] = object[key].clone();
    }
    merge_unowned(place, object, &config).map_err(|error| format!("error applying patch: {error}").into())
}

fn json_patch(object: &Value, value: &CelValue<'_>) -> Result<Option<Value>, Error> {
    let CelValue::List(operations) = value else { return Err("JSON Patch: no list".to_owned().into()) };
    let mut listed = Vec::new();
    for operation in operations.iter() {
        let operation = operation.map_err(|error| error.to_string())?;
        let CelValue::Object(fields) = &operation else {
            return Err(format!("type conversion failed: {}", operation.type_of().runtime_name()).into());
        };
        if let Some(value) = fields.fields.get("value") {
            value.check_type_names().map_err(|mismatch| format!("type mismatch: {mismatch}"))?;
        }
        let json = operation.to_json().map_err(|error| {
            format!("JSONPath valueExpression evaluated to a type that could not marshal to JSON: {error}")
        })?;
        listed.push(json);
    }
    if listed.is_empty() {
        return Ok(None);
    }
    let fails = |error: PatchError| Error::from(format!("JSON Patch: {error}"));
    let patch = Patch::parse(Value::Array(listed).to_string().as_bytes()).map_err(fails)?;
    let mut patched = object.clone();
    match patch.apply(&mut patched) {
        Ok(()) => Ok(Some(patched)),
        // A patch whose test fails is not meant for this object.
        Err(PatchError::TestFailed(_)) => Ok(None),
        Err(error) => Err(fails(error)),
    }
}

#[cfg(test)]
mod tests {
    use api::admissionregistration::expressions::{Compiler, Use};
    use serde_json::json;

    use super::*;

    fn mutated(used: Use, text: &str) -> Result<Value, String> {
        let (kind, version) = api::find("apps", "v1", "deployments").unwrap();
        let own = version.type_ref(kind).unwrap();
        let container = json!({ "name": "c", "image": "i", "args": ["a"] });
        let object = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "d" },
            "spec": { "replicas": 1, "template": { "spec": { "containers": [container] } } } });
        let expression = Expression::new(&Compiler::new(false), text, used);
        let mutation = match used {
            Use::JsonPatch => Mutation::JsonPatch(expression),
            _ => Mutation::ApplyConfiguration(expression),
        };
        let result = mutation.apply(&object, &Activation::new(), Place::root(&own.types, own.id));
        match result {
            Ok(Some(new)) => {
                assert_eq!((&new["kind"], &new["metadata"]["name"]), (&object["kind"], &object["metadata"]["name"]));
                Ok(new["spec"].clone())
            }
            Ok(None) => Ok(Value::Null),
            Err(error) => Err(error.message),
        }
    }

    #[test]
    fn configurations_are_merged() {
        let apply = |spec: &str| mutated(Use::ApplyConfiguration, &format!("Object{{spec: {spec}}}"));
        assert_eq!(apply("Object.spec{replicas: 2}").unwrap()["replicas"], 2);
        let containers = "Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{containers: [Object.spec.template.spec.containers{name: 'c', image: 'j'}]}}}";
        let merged = apply(containers).unwrap();
        assert_eq!(merged["template"]["spec"]["containers"], json!([{ "name": "c", "image": "j", "args": ["a"] }]));
        let table = [
            (
                "Object.specx{replicas: 1}",
                "type mismatch: unexpected type name \"Object.specx\", expected \"Object.spec\", which matches field name path from root Object type",
            ),
            (
                "Object.spec{replicasx: 1}",
                "error applying patch: failed to convert patch object to typed object: .spec.replicasx: field not declared in schema",
            ),
            (
                "Object.spec{selector: Object.spec.selector{matchLabels: {'l': 'v'}}}",
                "error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: .spec.selector",
            ),
        ];
        for (spec, wanted) in table {
            assert_eq!(apply(spec), Err(wanted.to_owned()), "{spec}");
        }
    }

    #[test]
    fn patches_are_run() {
        let patch = |operations: &str| mutated(Use::JsonPatch, operations);
        assert_eq!(patch("[JSONPatch{op: 'add', path: '/spec/paused', value: true}]").unwrap()["paused"], true);
        let tested = "[JSONPatch{op: 'test', path: '/spec/replicas', value: 2}, JSONPatch{op: 'remove', path: '/spec/replicas'}]";
        assert_eq!(patch(tested), Ok(Value::Null), "a test that fails means nothing is to be done");
        let wanted = "JSON Patch: remove operation does not apply: doc is missing path: \"/data/nope\": missing value";
        assert_eq!(patch("[JSONPatch{op: 'remove', path: '/data/nope'}]"), Err(wanted.to_owned()));
        let typed =
            "[JSONPatch{op: 'add', path: '/spec/template', value: Object.spec.template{spec: Object.spec.x{}}}]";
        let wanted = "type mismatch: unexpected type name \"Object.spec.x\", expected \"Object.spec.template.spec\", which matches field name path from root Object type";
        assert_eq!(patch(typed), Err(wanted.to_owned()));
    }
}
