//! The Common Expression Language as Kubernetes v1.36 uses it: validation rules of CustomResourceDefinitions, admission
//! policies, match conditions, device selectors, mappings of authentication.
//!
//! An expression is parsed and checked against an [`Env`] once, which finds misuse of types before anything is evaluated,
//! and then evaluated any number of times with an [`Activation`], each time within a [`Budget`]. Nothing here does IO, reads
//! a clock or waits. Whatever the input, nothing panics and nothing runs without bounds: expressions have a largest length,
//! depth and number of nodes, evaluations a largest cost, and costs are upstream's figures.

mod activation;
mod ast;
mod checker;
mod cost;
mod env;
mod errors;
mod interpreter;
mod lexer;
mod library;
mod parser;
mod plan;
mod program;
mod stack;
mod types;
mod unify;
mod unquote;
mod value;

#[cfg(test)]
mod tests;

pub use activation::{Activation, Budget, CALL_COST_MAX, REQUEST_COST_MAX};
pub use cost::CostRange;
pub use env::{Env, EnvBuilder};
pub use errors::{CompileError, EvalError, Issue};
pub use library::authorizer::{Authorizer, CheckTarget, Decision, ResourceCheck, Subject};
pub use library::regex::compile as compile_regex;
pub use parser::{EXPRESSION_CHARACTERS_MAX, NESTING_MAX, NODES_MAX};
pub use program::Program;
pub use types::{
    Declaration, Field, ListKind, ObjectBuilder, ObjectType, REQUEST_BYTES_MAX, Shape, Type, declare_builtin,
    declare_builtin_rooted, escape_name, is_reserved, unescape_name,
};
pub use value::{Key, List, Map, Moment, Object, Opaque, Text, Value};
