//! Values inside of messages.

use std::fmt;

use super::{Steps, Value, duration_text, float_text};

/// As upstream prints a value inside of a message (`%v`).
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_value(f, self, &mut Steps::new())
    }
}

fn write_value(f: &mut fmt::Formatter<'_>, value: &Value<'_>, steps: &mut Steps) -> fmt::Result {
    if steps.step().is_err() {
        return f.write_str("...");
    }
    match value {
        Value::Null => f.write_str("null"),
        Value::Bool(value) => write!(f, "{value}"),
        Value::Int(value) => write!(f, "{value}"),
        Value::Uint(value) => write!(f, "{value}"),
        Value::Double(value) => f.write_str(&float_text(*value)),
        Value::String(text) => f.write_str(text),
        Value::Bytes(bytes) => f.write_str(&String::from_utf8_lossy(bytes)),
        Value::Timestamp(time) => write!(f, "{time}"),
        Value::Duration(nanos) => f.write_str(&duration_text(*nanos)),
        Value::List(list) => {
            f.write_str("[")?;
            for (index, item) in list.iter().enumerate() {
                f.write_str(if index > 0 { ", " } else { "" })?;
                match item {
                    Ok(item) => write_value(f, &item, steps)?,
                    Err(error) => write!(f, "{error}")?,
                }
            }
            f.write_str("]")
        }
        Value::Map(map) => {
            f.write_str("{")?;
            for (index, (key, value)) in map.entries().into_iter().enumerate() {
                write!(f, "{}{key}: ", if index > 0 { ", " } else { "" })?;
                match value {
                    Ok(value) => write_value(f, &value, steps)?,
                    Err(error) => write!(f, "{error}")?,
                }
            }
            f.write_str("}")
        }
        Value::Type(ty) => f.write_str(ty.runtime_name()),
        Value::Optional(Some(value)) => {
            f.write_str("optional(")?;
            write_value(f, value, steps)?;
            f.write_str(")")
        }
        Value::Optional(None) => f.write_str("optional.none"),
        Value::Object(object) => f.write_str(&object.ty.name),
        Value::Opaque(opaque) => write!(f, "{opaque}"),
        Value::Fields(_) => f.write_str("variables"),
    }
}
