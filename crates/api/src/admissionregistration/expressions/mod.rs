//! Expressions in objects of this group: what they may speak of, what they must yield, and what is said about one that does
//! not compile. Whoever writes an object and whoever acts on it ask the same [`Compiler`].

mod compiler;
mod types;

use cel::Type;

pub use compiler::{Compiler, Fault};
pub(crate) use types::text as type_text;

/// The variable whose fields are the variables of a policy.
pub const VARIABLES: &str = "variables";
/// The variable that is an authorization check of the request's own resource.
pub const REQUEST_RESOURCE: &str = "authorizer.requestResource";

/// What an expression is for, which decides what it sees and what it must yield.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// A bool: whether a webhook or a policy is asked at all.
    MatchCondition,
    /// A bool: whether a request passes.
    Validation,
    /// A string: what is said when it does not.
    Message,
    /// A string or null.
    AuditAnnotation,
    /// Whatever later expressions make of it.
    Variable,
    /// An `Object`.
    ApplyConfiguration,
    /// A list of `JSONPatch`.
    JsonPatch,
}

impl Use {
    /// What is wrong with an expression that yields this type.
    fn mismatch(self, found: &Type) -> Option<String> {
        let found = types::text(found);
        let wanted: &[&str] = match self {
            Use::MatchCondition | Use::Validation => &["bool"],
            Use::Message => &["string"],
            Use::AuditAnnotation => &["string", "null_type"],
            Use::Variable => return None,
            Use::ApplyConfiguration => &["Object"],
            Use::JsonPatch => &["list(JSONPatch)"],
        };
        if wanted.contains(&found.as_str()) {
            return None;
        }
        Some(match wanted {
            [one] => format!("must evaluate to {one} but got {found}"),
            many => format!("must evaluate to one of [{}]", many.join(" ")),
        })
    }
}
