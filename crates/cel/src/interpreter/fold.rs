//! Loops.

use std::sync::Arc;

use super::{Machine, Slot};
use crate::errors::EvalError;
use crate::plan::{Fold, Node};
use crate::value::{EvalResult, Key, List, Map, Value};

impl<'r, 'a> Machine<'r, 'a> {
    #[inline(never)]
    pub(super) fn fold(&mut self, fold: &'r Fold) -> EvalResult<'a> {
        let range = self.eval(&fold.range)?;
        if fold.is_bind {
            self.slots[fold.accumulator] = Slot::Pending(&fold.init);
        } else {
            let init = self.eval(&fold.init);
            self.slots[fold.accumulator] = Slot::Known(init);
            self.iterate(fold, &range)?;
        }
        let result = self.eval(&fold.result);
        self.slots[fold.accumulator] = Slot::Known(Ok(Value::Null));
        result
    }

    /// Runs the steps; errors become the accumulator's value, which a later step may absorb.
    fn iterate(&mut self, fold: &'r Fold, range: &Value<'a>) -> Result<(), EvalError> {
        match range {
            Value::List(list) => {
                for index in 0..list.len() {
                    let Some(item) = list.get(index) else { break };
                    match fold.second {
                        Some(second) => {
                            self.slots[fold.first] = Slot::Known(Ok(Value::Int(index as i64)));
                            self.slots[second] = Slot::Known(item);
                        }
                        None => self.slots[fold.first] = Slot::Known(item),
                    }
                    if !self.step_of(fold)? {
                        break;
                    }
                }
            }
            Value::Map(map) => {
                for key in map.keys() {
                    if let Some(second) = fold.second {
                        let value = map.get(&key).unwrap_or(Ok(Value::Null));
                        self.slots[second] = Slot::Known(value);
                    }
                    self.slots[fold.first] = Slot::Known(Ok(key));
                    if !self.step_of(fold)? {
                        break;
                    }
                }
            }
            other => {
                let name = other.type_of().runtime_name().to_owned();
                return Err(EvalError::new(format!("got '{name}', expected iterable type")));
            }
        }
        Ok(())
    }

    /// Whether the loop goes on.
    fn step_of(&mut self, fold: &'r Fold) -> Result<bool, EvalError> {
        match self.eval(&fold.condition) {
            Ok(Value::Bool(false)) => return Ok(false),
            Err(error) if error.is_cancelled() => return Err(error),
            _ => {}
        }
        let value = self.eval(&fold.step);
        if let Err(error) = &value
            && error.is_cancelled()
        {
            return Err(error.clone());
        }
        self.slots[fold.accumulator] = Slot::Known(value);
        Ok(true)
    }

    /// Takes the accumulator out of its slot, so that nothing else holds it and it can grow in place.
    fn take(&mut self, slot: usize) -> EvalResult<'a> {
        match std::mem::replace(&mut self.slots[slot], Slot::Known(Ok(Value::Null))) {
            Slot::Known(value) => value,
            Slot::Pending(node) => self.eval(node),
        }
    }

    #[inline(never)]
    pub(super) fn append(&mut self, slot: usize, item: &'r Node) -> EvalResult<'a> {
        let accumulator = self.take(slot);
        let item = self.eval(item);
        // The accumulator's name and the addition.
        self.charge(2)?;
        let (Value::List(accumulator), Value::List(items)) = (accumulator?, item?) else {
            return Err(EvalError::no_such_overload());
        };
        let mut list = match accumulator {
            List::Items(list) => list,
            other => Arc::new(other.items()?),
        };
        let grown = Arc::make_mut(&mut list);
        for item in items.iter() {
            grown.push(item?);
        }
        Ok(Value::List(List::Items(list)))
    }

    #[inline(never)]
    pub(super) fn insert(&mut self, slot: usize, entry: &'r [Node]) -> EvalResult<'a> {
        let accumulator = self.take(slot);
        self.charge(1)?;
        let mut values = Vec::with_capacity(entry.len());
        for node in entry {
            values.push(self.eval(node)?);
        }
        self.charge(1)?;
        let Value::Map(Map::Entries(mut map)) = accumulator? else { return Err(EvalError::no_such_overload()) };
        let grown = Arc::make_mut(&mut map);
        let entries = match values.as_slice() {
            [key, value] => vec![(key.clone(), Ok(value.clone()))],
            [Value::Map(entries)] => entries.entries(),
            _ => return Err(EvalError::no_such_overload()),
        };
        for (key, value) in entries {
            let Some(map_key) = Key::of(&key) else {
                return Err(EvalError::new(format!("unsupported key type: {}", key.type_of().runtime_name())));
            };
            if grown.contains_key(&map_key) {
                return Err(EvalError::new(format!("insert failed: key {key} already exists")));
            }
            grown.insert(map_key, value?);
        }
        Ok(Value::Map(Map::Entries(map)))
    }
}
