//! JSON to values by its declaration, and back.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use machinery::time::parse_duration_nanos;
use serde_json::{Number, Value as Json};

use super::containers::dynamic;
use super::{EvalResult, List, Map, Moment, Steps, Value, duration_text};
use crate::errors::EvalError;
use crate::library::opaque::Opaque;
use crate::types::{Declaration, Shape, Type};

impl<'a> Value<'a> {
    /// JSON read as what it is declared to be; nothing is copied but small values.
    pub fn from_json(json: &'a Json, declaration: &Declaration) -> EvalResult<'a> {
        match (&declaration.shape, json) {
            (_, Json::Null) => Ok(Value::Null),
            (Shape::List { element, kind }, Json::Array(items)) => {
                Ok(Value::List(List::Json { items, element: element.clone(), kind: kind.clone() }))
            }
            (Shape::Map { value }, Json::Object(map)) => Ok(Value::Map(Map::Json { map, value: value.clone() })),
            (Shape::Object(ty), Json::Object(map)) => Ok(Value::Map(Map::Object { map, ty: ty.clone() })),
            (Shape::Plain, json) => scalar(json, &declaration.ty),
            (_, json) => Ok(Value::dynamic(json)),
        }
    }

    /// JSON read as what it looks like.
    pub fn dynamic(json: &'a Json) -> Self {
        match json {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Bool(*value),
            Json::Number(number) => match number.as_i64() {
                Some(value) => Value::Int(value),
                None => Value::Double(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Value::from(text.as_str()),
            Json::Array(items) => {
                Value::List(List::Json { items, element: dynamic(), kind: crate::types::ListKind::Atomic })
            }
            Json::Object(map) => Value::Map(Map::Json { map, value: dynamic() }),
        }
    }

    /// The value as JSON, or why it has none.
    pub fn to_json(&self) -> Result<Json, EvalError> {
        to_json(self, &mut Steps::new())
    }
}

fn to_json(value: &Value<'_>, steps: &mut Steps) -> Result<Json, EvalError> {
    steps.step()?;
    Ok(match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Int(value) => Json::from(*value),
        Value::Uint(value) => Json::from(*value),
        Value::Double(value) => Number::from_f64(*value).map_or(Json::Null, Json::Number),
        Value::String(text) => Json::String(text.to_string()),
        Value::Bytes(bytes) => Json::String(STANDARD.encode(bytes)),
        Value::Timestamp(time) => Json::String(time.to_string()),
        Value::Duration(nanos) => Json::String(duration_text(*nanos)),
        Value::List(List::Json { items, .. }) => Json::Array(items.to_vec()),
        Value::List(list) => {
            let mut items = Vec::new();
            for item in list.iter() {
                items.push(to_json(&item?, steps)?);
            }
            Json::Array(items)
        }
        Value::Map(map) => match map.json() {
            Some(json) => Json::Object(json.clone()),
            None => Json::Object(entries_to_json(map, steps)?),
        },
        Value::Optional(Some(value)) => to_json(value, steps)?,
        Value::Optional(None) => Json::Null,
        Value::Object(object) => {
            let mut fields = serde_json::Map::with_capacity(object.fields.len());
            for (name, value) in &object.fields {
                fields.insert(object.json_name(name), to_json(value, steps)?);
            }
            Json::Object(fields)
        }
        Value::Opaque(Opaque::Quantity(quantity)) => Json::String(quantity.to_string()),
        Value::Type(_) | Value::Opaque(_) | Value::Fields(_) => {
            return Err(EvalError::new(format!("unsupported type in JSON: {}", value.type_of().runtime_name())));
        }
    })
}

fn entries_to_json(map: &Map<'_>, steps: &mut Steps) -> Result<serde_json::Map<String, Json>, EvalError> {
    let mut out = serde_json::Map::with_capacity(map.len());
    for (key, value) in map.entries() {
        let Some(name) = key.as_str() else {
            return Err(EvalError::new(format!("map key of type {} is no string", key.type_of().runtime_name())));
        };
        out.insert(name.to_owned(), to_json(&value?, steps)?);
    }
    Ok(out)
}

fn scalar<'a>(json: &'a Json, ty: &Type) -> EvalResult<'a> {
    Ok(match (ty, json) {
        (Type::Int, Json::Number(number)) => match (number.as_i64(), number.as_f64()) {
            (Some(value), _) => Value::Int(value),
            (None, Some(value)) if value.fract() == 0.0 && value.abs() < 9.2e18 => Value::Int(value as i64),
            _ => Value::dynamic(json),
        },
        (Type::Uint, Json::Number(number)) => number.as_u64().map_or_else(|| Value::dynamic(json), Value::Uint),
        (Type::Double, Json::Number(number)) => Value::Double(number.as_f64().unwrap_or(f64::NAN)),
        (Type::Bytes, Json::String(text)) => Value::Bytes(
            STANDARD.decode(text).map_err(|error| EvalError::new(format!("invalid data, {error}")))?.into(),
        ),
        (Type::Timestamp, Json::String(text)) => {
            let day;
            let moment = if text.len() == 10 {
                day = format!("{text}T00:00:00Z");
                &day
            } else {
                text
            };
            let time = Moment::parse(moment);
            Value::Timestamp(
                time.ok_or_else(|| EvalError::new(format!("invalid data, expected timestamp, got {text}")))?,
            )
        }
        (Type::Duration, Json::String(text)) => {
            let nanos = parse_duration_nanos(text);
            Value::Duration(
                nanos.ok_or_else(|| EvalError::new(format!("invalid data, expected duration, got {text}")))?,
            )
        }
        _ => Value::dynamic(json),
    })
}
