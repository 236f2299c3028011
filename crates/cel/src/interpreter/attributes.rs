//! Names, and chains of fields and indexes behind values.

use super::{Machine, Slot};
use crate::errors::EvalError;
use crate::plan::{Attribute, Base, Qualifier, QualifierKey};
use crate::value::{EvalResult, List, Value};

impl<'r, 'a> Machine<'r, 'a> {
    /// The value of an attribute: one for it and one for each qualifier. A choice between two is free, as is asking whether
    /// something is there.
    #[inline(never)]
    pub(super) fn attribute(&mut self, attribute: &'r Attribute) -> EvalResult<'a> {
        let value = self.resolve(attribute);
        if !attribute.test_only && !matches!(attribute.base, Base::Conditional(_)) {
            match &value {
                Err(error) if error.is_cancelled() => {}
                _ => self.charge(1)?,
            }
        }
        match (value, attribute.test_only) {
            (Ok(Value::Optional(value)), true) => Ok(Value::Bool(value.is_some())),
            (value, _) => value,
        }
    }

    /// The value without the cost of the attribute itself.
    fn resolve(&mut self, attribute: &'r Attribute) -> EvalResult<'a> {
        let base = match &attribute.base {
            Base::Variable(name) => match self.activation.get(name) {
                Some(value) => value.clone(),
                None => return Err(EvalError::new(format!("no such attribute(s): {name}"))),
            },
            Base::Slot(slot) => self.slot(*slot)?,
            Base::Value(node) => self.eval(node)?,
            Base::Conditional(parts) => self.conditional(parts)?,
        };
        if attribute.qualifiers.is_empty() {
            return Ok(base);
        }
        self.qualify(base, attribute)
    }

    #[inline(never)]
    fn conditional(&mut self, parts: &'r (crate::plan::Node, Attribute, Attribute)) -> EvalResult<'a> {
        let (condition, truthy, falsy) = parts;
        match self.eval(condition)? {
            Value::Bool(true) => self.resolve(truthy),
            Value::Bool(false) => self.resolve(falsy),
            _ => Err(EvalError::no_such_overload()),
        }
    }

    fn slot(&mut self, slot: usize) -> EvalResult<'a> {
        let node = match &self.slots[slot] {
            Slot::Known(value) => return value.clone(),
            Slot::Pending(node) => *node,
        };
        let value = self.eval(node);
        self.slots[slot] = Slot::Known(value.clone());
        value
    }

    #[inline(never)]
    fn qualify(&mut self, base: Value<'a>, attribute: &'r Attribute) -> EvalResult<'a> {
        let (mut value, mut optional) = match base {
            Value::Optional(None) => return Ok(Value::none()),
            Value::Optional(Some(value)) => (Value::clone(&value), true),
            value => (value, false),
        };
        let last = attribute.qualifiers.len() - 1;
        for (index, qualifier) in attribute.qualifiers.iter().enumerate() {
            optional = optional || qualifier.optional;
            let tests = attribute.test_only && index == last;
            let found = self.step(&value, qualifier, optional, tests)?;
            match found {
                Some(_) if tests && !optional => return Ok(Value::Bool(true)),
                None if tests && !optional => return Ok(Value::Bool(false)),
                Some(found) => value = found,
                None => return Ok(Value::none()),
            }
        }
        Ok(if optional { Value::some(value) } else { value })
    }

    /// What a qualifier leads to. Nothing costs nothing where it is allowed.
    fn step(
        &mut self,
        value: &Value<'a>,
        qualifier: &'r Qualifier,
        optional: bool,
        tests: bool,
    ) -> Result<Option<Value<'a>>, EvalError> {
        let key = match &qualifier.key {
            QualifierKey::Const(key) => key.clone(),
            QualifierKey::Attribute(attribute) => self.resolve(attribute)?,
            QualifierKey::Value(node) => self.eval(node)?,
        };
        let found = self.lookup(value, &key);
        let (found, charged) = match found {
            Err(error) if error.is_cancelled() => return Err(error),
            Err(error) => (Err(error), !optional),
            Ok(Some(found)) => (Ok(Some(found)), true),
            Ok(None) if optional => (Ok(None), false),
            Ok(None) if tests => (Ok(None), true),
            Ok(None) => (Err(missing(value, &key)), true),
        };
        if charged {
            self.charge(1)?;
        }
        found
    }

    fn lookup(&mut self, value: &Value<'a>, key: &Value<'a>) -> Result<Option<Value<'a>>, EvalError> {
        match value {
            Value::Map(map) => map.get(key).transpose(),
            Value::List(list) => match index_of(list, key)? {
                Some(index) => list.get(index).transpose(),
                None => Ok(None),
            },
            Value::Fields(index) => match key.as_str() {
                Some(name) => self.activation.field(*index, name, self.budget).transpose(),
                None => Ok(None),
            },
            Value::Object(object) => Ok(key.as_str().and_then(|name| object.fields.get(name)).cloned()),
            _ => Ok(None),
        }
    }
}

fn missing(value: &Value<'_>, key: &Value<'_>) -> EvalError {
    match value {
        Value::List(_) => EvalError::new(format!("index out of bounds: {key}")),
        _ => EvalError::new(format!("no such key: {key}")),
    }
}

/// The place that an index means, if the list has it.
fn index_of(list: &List<'_>, key: &Value<'_>) -> Result<Option<usize>, EvalError> {
    let index = match key {
        Value::Int(index) => usize::try_from(*index).ok(),
        Value::Uint(index) => usize::try_from(*index).ok(),
        Value::Double(index) if index.fract() == 0.0 && *index >= 0.0 && *index < 9.0e15 => Some(*index as usize),
        Value::Double(index) if index.fract() == 0.0 => None,
        Value::Double(index) => {
            return Err(EvalError::new(format!("unsupported index value {} in list", Value::Double(*index))));
        }
        other => {
            let name = other.type_of().runtime_name().to_owned();
            return Err(EvalError::new(format!("unsupported index type '{name}' in list")));
        }
    };
    Ok(index.filter(|index| *index < list.len()))
}
