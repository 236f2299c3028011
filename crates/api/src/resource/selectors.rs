//! Device selectors: expressions about one device, of which validation wants that they compile and cannot cost too much.

use std::fmt;
use std::sync::LazyLock;

use cel::{CompileError, Declaration, Env, ObjectType, Program, Type};
use k8s_openapi::api::resource::v1::DeviceSelector;
use machinery::field::{Error, ErrorList, Path};

use super::{ITEMS_MAX, lists};
use crate::admissionregistration::expressions::type_text;

const EXPRESSION_BYTES_MAX: usize = 10 * 1024;
/// What one evaluation may cost.
pub const COST_MAX: u64 = 1_000_000;
/// A device has at most so many attributes and capacities.
const ENTRIES_MAX: u64 = 32;
const ATTRIBUTE_BYTES_MAX: u64 = 64;
const DOMAIN_BYTES_MAX: u64 = 63;
const ID_BYTES_MAX: u64 = 32;

/// What expressions see: `device.attributes["dra.example.com"].size`.
static ENV: LazyLock<Env> = LazyLock::new(|| {
    // An attribute may be a bool, a number, text or a version.
    let attribute = Declaration::from(Type::Any).at_most(ATTRIBUTE_BYTES_MAX);
    let capacity = Declaration::from(Type::Opaque("kubernetes.Quantity")).at_most(0);
    let device = ObjectType::builder("kubernetes.DRADevice")
        .field("driver", Declaration::from(Type::String).at_most(DOMAIN_BYTES_MAX), true)
        .field("allowMultipleAllocations", Declaration::from(Type::Bool).at_most(1), true)
        .field("attributes", by_domain(attribute), true)
        .field("capacity", by_domain(capacity), true)
        .declaration();
    Env::builder().variable("device", device).bindings().build()
});

fn by_domain(value: Declaration) -> Declaration {
    let by_id = Declaration::map(value, Some(ENTRIES_MAX)).with_keys_at_most(ID_BYTES_MAX);
    Declaration::map(by_id, Some(ENTRIES_MAX)).with_keys_at_most(DOMAIN_BYTES_MAX)
}

/// Why an expression is none about devices.
#[derive(Debug)]
pub enum Fault {
    /// A constant in it has no value.
    Constant(CompileError),
    /// It breaks the rules of the language.
    Source(CompileError),
    /// Its value is of this type.
    Type(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(error) => write!(f, "program instantiation failed: {error}"),
            Self::Source(error) => write!(f, "compilation failed: {error}"),
            Self::Type(found) => write!(f, "must evaluate to bool or the unknown type, not {found}"),
        }
    }
}

/// Compiles an expression about a device.
pub fn compile(expression: &str) -> Result<Program, Fault> {
    let program = ENV.compile(expression).map_err(|error| match error.is_instantiation() {
        true => Fault::Constant(error),
        false => Fault::Source(error),
    })?;
    match program.output_type() {
        Type::Bool | Type::Any => Ok(program),
        other => Err(Fault::Type(type_text(other))),
    }
}

/// The selectors of a request or a class. Expressions that were stored before are not looked at again.
pub(super) fn validate(selectors: Option<&[DeviceSelector]>, stored: bool, path: &Path) -> ErrorList {
    lists::bounded(selectors, ITEMS_MAX, path, |selector, path| {
        let path = path.child("cel");
        match &selector.cel {
            None => vec![Error::required(&path, "")],
            Some(_) if stored => ErrorList::new(),
            Some(cel) => check(&cel.expression, &path.child("expression")).into_iter().collect(),
        }
    })
}

fn check(expression: &str, path: &Path) -> Option<Error> {
    if expression.len() > EXPRESSION_BYTES_MAX {
        return Some(Error::too_long(path, expression, EXPRESSION_BYTES_MAX));
    }
    match compile(expression) {
        Ok(program) if program.estimate().max > COST_MAX => {
            Some(Error::forbidden(path, "too complex, exceeds cost limit"))
        }
        Ok(_) => None,
        Err(fault @ Fault::Constant(_)) => Some(Error::internal(path, fault.to_string())),
        Err(fault) => Some(Error::invalid(path, expression, fault.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_follow_from_what_a_device_may_have() {
        for (expression, cost) in [
            ("true", 0),
            (r#""no-such-domain" in device.attributes"#, 3),
            (r#"device.driver == """#, 2),
            (r#"device.driver == "dra.example.com""#, 4),
            (r#"device.attributes["dra.example.com"].name"#, 4),
            (r#"device.attributes["dra.example.com"]["name"]"#, 4),
            (r#"cel.bind(dra, device.attributes["dra.example.com"], dra.name)"#, 15),
            (r#"device.attributes["dra.example.com"].name > 0"#, 5),
            (r#"device.attributes["dra.example.com"].name == "fish""#, 5),
            (r#"device.attributes["dra.example.com"].name.isGreaterThan(semver("0.0.1"))"#, 6),
            (r#"device.capacity["dra.example.com"].name.isGreaterThan(quantity("1Ki"))"#, 6),
            (r#"device.attributes.exists_one(x, x == "dra.example.com")"#, 164),
            (r#"device.attributes["dra.example.com"].exists_one(x, x == "services")"#, 133),
            (r#"device.attributes["dra.example.com"].services.split("example").size() >= 2"#, 19),
            (r#"device.attributes["dra.example.com"].services.matches("[^a]?sym")"#, 18),
            ("device.allowMultipleAllocations == true", 3),
        ] {
            assert_eq!(compile(expression).expect(expression).estimate().max, cost, "{expression}");
        }
    }

    #[test]
    fn an_expression_tells_yes_or_no_at_a_bounded_price() {
        let fault =
            |expression: &str| check(expression, &Path::new("e")).map_or_else(String::new, |error| error.body());
        assert_eq!(fault("device.driver == 'd.example.com'"), "");
        assert_eq!(fault("1"), "Invalid value: \"1\": must evaluate to bool or the unknown type, not int");
        assert!(fault("dyn(true)").ends_with("not dyn"));
        assert!(fault("?!").contains("compilation failed: ERROR: <input>:1:1: Syntax error"));
        assert!(fault("device.speed == 1").contains("undefined field 'speed'"));
        assert!(fault("int('x') == 1").starts_with("Internal error: program instantiation failed: "));
        let ten = "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]";
        let loops = (0..7).fold("true".to_owned(), |inner, i| format!("{ten}.all(x{i}, {inner})"));
        assert_eq!(fault(&loops), "Forbidden: too complex, exceeds cost limit");
        assert_eq!(fault(&"x".repeat(10_241)), "Too long: may not be more than 10240 bytes");
    }
}
