//! The `hooks!` macro and the erasure behind it: a kind writes plain functions over its typed struct, the engine
//! calls functions over `Value`. `managedFields`, which no hook reads and which is the fattest part of an object,
//! stays aside while an object is in its typed form.

/// Builds [`crate::Hooks`] from functions over the typed struct `$t`:
///
/// ```ignore
/// hooks!(ConfigMap, true, names::subdomain, full { validate: validate, validate_update: validate_update })
/// ```
///
/// `true`: namespaced; then the name rule; then what upstream's validation of the kind checks of the metadata in an update, after
/// the checks that every update passes (its errors appear once more): `part` what has changed, `full` everything as well. The
/// `generic` rules know no standard finalizers: `generic_part` what has changed, `generic_full` everything and nothing else,
/// `generic_none` nothing. Metadata is checked first, then the kind's own function is asked.
macro_rules! hooks {
    ($t:ty, $namespaced:expr, $name:path, $update:ident { $($hook:ident: $f:expr),* $(,)? }) => {
        {
            let mut hooks = $crate::Hooks::NONE;
            hooks.validate = |v| created!($update, v, $namespaced, $name);
            hooks.validate_update = |new, old| updated!($update, new, old, $namespaced, $name);
            hooks.validate_status_update = hooks.validate_update;
            hooks.prepare_update = |new, old| {
                $crate::erase::keep_server_fields(new, old);
                Ok(())
            };
            hooks.prepare_status_update = hooks.prepare_update;
            $(hooks.$hook = hook!($hook, $t, $namespaced, $name, $update, $f);)*
            hooks
        }
    };
}

macro_rules! hook {
    (default, $t:ty, $n:expr, $name:path, $u:ident, $f:expr) => {
        |v| $crate::erase::mutate::<$t>(v, $f)
    };
    (prepare_create, $t:ty, $n:expr, $name:path, $u:ident, $f:expr) => {
        |v| {
            ($f)(v);
            Ok(())
        }
    };
    (prepare_update, $t:ty, $n:expr, $name:path, $u:ident, $f:expr) => {
        |new, old| {
            $crate::erase::keep_server_fields(new, old);
            ($f)(new, old);
            Ok(())
        }
    };
    (prepare_status_update, $t:ty, $n:expr, $name:path, $u:ident, $f:expr) => {
        |new, old| {
            $crate::erase::keep_server_fields(new, old);
            ($f)(new, old);
            Ok(())
        }
    };
    (validate, $t:ty, $n:expr, $name:path, $u:ident, $f:expr) => {
        |v| {
            let mut errors = created!($u, v, $n, $name);
            errors.extend($crate::erase::check::<$t>(v, $f));
            errors
        }
    };
    (validate_update, $t:ty, $n:expr, $name:path, $u:ident, $f:expr) => {
        |new, old| {
            let mut errors = updated!($u, new, old, $n, $name);
            errors.extend($crate::erase::compare::<$t>(new, old, $f));
            errors
        }
    };
    (validate_status_update, $t:ty, $n:expr, $name:path, $u:ident, $f:expr) => {
        |new, old| {
            let mut errors = updated!($u, new, old, $n, $name);
            errors.extend($crate::erase::compare::<$t>(new, old, $f));
            errors
        }
    };
    (warnings, $t:ty, $n:expr, $name:path, $u:ident, $f:expr) => {
        |new, old| $crate::erase::warn::<$t>(new, old, $f)
    };
}

macro_rules! created {
    (full, $v:expr, $n:expr, $name:path) => {
        $crate::erase::metadata($v, $n, $name)
    };
    (part, $v:expr, $n:expr, $name:path) => {
        $crate::erase::metadata($v, $n, $name)
    };
    ($generic:ident, $v:expr, $n:expr, $name:path) => {
        $crate::erase::metadata_generic($v, $n, $name)
    };
}

macro_rules! updated {
    (full, $new:expr, $old:expr, $n:expr, $name:path) => {
        $crate::erase::metadata_update($new, $old, $n, Some($name))
    };
    (part, $new:expr, $old:expr, $n:expr, $name:path) => {
        $crate::erase::metadata_update($new, $old, $n, None)
    };
    (generic_part, $new:expr, $old:expr, $n:expr, $name:path) => {
        $crate::erase::metadata_update_generic($new, $old, $n, None)
    };
    (generic_full, $new:expr, $old:expr, $n:expr, $name:path) => {
        $crate::erase::metadata_update_again($new, $old, $n, Some($name))
    };
    (generic_none, $new:expr, $old:expr, $n:expr, $name:path) => {
        $crate::erase::metadata_update_again($new, $old, $n, None)
    };
}

/// From typed functions to functions over `Value`.
pub mod erase {
    use machinery::field::{Error, ErrorList, Path};
    use machinery::meta_validation::{self, NameRule};
    use machinery::status::Status;
    use serde::Serialize;
    use serde::de::DeserializeOwned;
    use serde_json::Value;

    /// Runs `f` over the typed form of `value` and writes the result back.
    pub fn mutate<T: DeserializeOwned + Serialize>(value: &mut Value, f: impl FnOnce(&mut T)) -> Result<(), Status> {
        let managed =
            value.get_mut("metadata").and_then(Value::as_object_mut).and_then(|m| m.shift_remove("managedFields"));
        let mut typed: T = T::deserialize(&*value).map_err(|e| Status::bad_request(e.to_string()))?;
        f(&mut typed);
        let mut written = serde_json::to_value(&typed).map_err(|e| Status::internal(e.to_string()))?;
        drop_added_empty_lists(&mut written, value);
        *value = written;
        if let (Some(managed), Some(metadata)) = (managed, value.get_mut("metadata").and_then(Value::as_object_mut)) {
            metadata.insert("managedFields".to_string(), managed);
        }
        Ok(())
    }

    /// Typed forms write lists that nobody gave as empty ones; stated and left out are not the same to field managers.
    fn drop_added_empty_lists(written: &mut Value, given: &Value) {
        match (written, given) {
            (Value::Object(written), Value::Object(given)) => written.retain(|key, value| match given.get(key) {
                None | Some(Value::Null) => value.as_array().is_none_or(|items| !items.is_empty()),
                Some(given) => {
                    drop_added_empty_lists(value, given);
                    true
                }
            }),
            (Value::Array(written), Value::Array(given)) if written.len() == given.len() => {
                written.iter_mut().zip(given).for_each(|(written, given)| drop_added_empty_lists(written, given));
            }
            _ => {}
        }
    }

    /// Asks `f` about the typed form.
    pub fn check<T: DeserializeOwned>(value: &Value, f: impl FnOnce(&T) -> ErrorList) -> ErrorList {
        match typed::<T>(value) {
            Ok(typed) => f(&typed),
            Err(error) => vec![unreadable(&error)],
        }
    }

    /// Asks `f` about the typed forms of the new and the old object.
    pub fn compare<T: DeserializeOwned>(new: &Value, old: &Value, f: impl FnOnce(&T, &T) -> ErrorList) -> ErrorList {
        match (typed::<T>(new), typed::<T>(old)) {
            (Ok(new), Ok(old)) => f(&new, &old),
            (Err(error), _) | (_, Err(error)) => vec![unreadable(&error)],
        }
    }

    /// Gathers warnings; an object that cannot be read has none (validation says why it cannot).
    pub fn warn<T: DeserializeOwned>(
        new: &Value,
        old: Option<&Value>,
        f: impl FnOnce(&T, Option<&T>) -> Vec<String>,
    ) -> Vec<String> {
        let Ok(new) = typed::<T>(new) else { return Vec::new() };
        let old = old.and_then(|old| typed::<T>(old).ok());
        f(&new, old.as_ref())
    }

    fn typed<T: DeserializeOwned>(value: &Value) -> serde_json::Result<T> {
        T::deserialize(value)
    }

    /// Decoding has let something through that the typed form does not hold.
    fn unreadable(error: &serde_json::Error) -> Error {
        Error::internal(&Path::root(), error.to_string())
    }

    /// The full check of metadata, and that of an update.
    type Rules = (fn(&Value, bool, NameRule, &Path) -> ErrorList, fn(&Value, &Value, &Path) -> ErrorList);

    const BUILT_IN: Rules = (meta_validation::validate_object_meta, meta_validation::validate_object_meta_update);
    /// Upstream keeps some kinds apart (custom ones, definitions, APIServices, leases, budgets, all of admission): their finalizers
    /// need no domain.
    const GENERIC: Rules =
        (meta_validation::validate_object_meta_generic, meta_validation::validate_object_meta_update_generic);

    /// Checks the metadata of a new object.
    pub fn metadata(value: &Value, namespaced: bool, name: NameRule) -> ErrorList {
        BUILT_IN.0(value, namespaced, name, &Path::new("metadata"))
    }

    /// [`metadata`] by the generic rules.
    pub fn metadata_generic(value: &Value, namespaced: bool, name: NameRule) -> ErrorList {
        GENERIC.0(value, namespaced, name, &Path::new("metadata"))
    }

    /// Checks what an update does to the metadata. Upstream checks in three places, and an error shows up once for
    /// each: the generic update (names as path segments), the kind's update, and the kind's full check (`rule`).
    pub fn metadata_update(new: &Value, old: &Value, namespaced: bool, rule: Option<NameRule>) -> ErrorList {
        update_by(BUILT_IN, new, old, namespaced, rule)
    }

    /// [`metadata_update`] by the generic rules.
    pub fn metadata_update_generic(new: &Value, old: &Value, namespaced: bool, rule: Option<NameRule>) -> ErrorList {
        update_by(GENERIC, new, old, namespaced, rule)
    }

    /// What every update passes, and the full check by the generic rules where there is a name rule; the kind itself does not look
    /// at what has changed.
    pub fn metadata_update_again(new: &Value, old: &Value, namespaced: bool, rule: Option<NameRule>) -> ErrorList {
        let mut errors = every_update(new, old, namespaced);
        errors.extend(rule.map(|rule| metadata_generic(new, namespaced, rule)).unwrap_or_default());
        errors
    }

    fn every_update(new: &Value, old: &Value, namespaced: bool) -> ErrorList {
        let path = Path::new("metadata");
        let mut errors = GENERIC.0(new, namespaced, crate::names::path_segment, &path);
        errors.extend(GENERIC.1(new, old, &path));
        errors
    }

    fn update_by(
        (full, update): Rules,
        new: &Value,
        old: &Value,
        namespaced: bool,
        rule: Option<NameRule>,
    ) -> ErrorList {
        let path = Path::new("metadata");
        let mut errors = every_update(new, old, namespaced);
        errors.extend(update(new, old, &path));
        errors.extend(rule.map(|rule| full(new, namespaced, rule, &path)).unwrap_or_default());
        errors
    }

    /// A client never chooses the generation, and may leave out what the server filled in when the object was made.
    pub fn keep_server_fields(new: &mut Value, old: &Value) {
        crate::strategy::set_generation(new, crate::strategy::generation(old));
        let (Some(new), Some(old)) = (new.get_mut("metadata").and_then(Value::as_object_mut), old.get("metadata"))
        else {
            return;
        };
        for field in ["uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
            let absent = new.get(field).is_none_or(|value| value.is_null() || value.as_str() == Some(""));
            if absent && let Some(value) = old.get(field).filter(|value| !value.is_null()) {
                new.insert(field.to_string(), value.clone());
            }
        }
    }
}
