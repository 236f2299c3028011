//! Compiles the expressions of one object, of a policy or of a webhook: they share what they may speak of.

use std::fmt;

use cel::{CompileError, Declaration, Env, ObjectType, Program, Type};
use machinery::field::{Error, Path};

use super::{REQUEST_RESOURCE, Use, VARIABLES, types};

/// Environments by what an expression sees.
#[derive(Debug)]
pub struct Compiler {
    /// All but the policy's variables.
    conditions: Env,
    full: Env,
    /// Without the authorizer.
    messages: Env,
    /// With the types of patches.
    mutations: Env,
}

/// Why an expression does not compile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Where it breaks the rules of the language.
    Source(CompileError),
    /// Its value is not of the type that its use wants.
    Type(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Source(error) if error.is_instantiation() => write!(f, "program instantiation failed: {error}"),
            Fault::Source(error) => write!(f, "compilation failed: {error}"),
            Fault::Type(mismatch) => f.write_str(mismatch),
        }
    }
}

impl Compiler {
    /// Expressions about objects of any type; `params` is there if the policy says of which kind it is.
    pub fn new(has_params: bool) -> Self {
        Self::typed(&Declaration::dynamic(), has_params.then(Declaration::dynamic).as_ref())
    }

    /// Expressions about objects of one type.
    pub fn typed(object: &Declaration, params: Option<&Declaration>) -> Self {
        let mut shared = Env::builder()
            .variable("object", object.clone())
            .variable("oldObject", object.clone())
            .variable("request", types::request())
            .variable("namespaceObject", types::namespace());
        if let Some(params) = params {
            shared = shared.variable("params", params.clone());
        }
        let shared = shared.build();
        let variables = || ObjectType::builder("kubernetes.variables").declaration();
        let conditions = shared
            .extend()
            .variable("authorizer", Type::authorizer())
            .variable(REQUEST_RESOURCE, Type::request_resource())
            .build();
        let full = conditions.extend().variable(VARIABLES, variables()).build();
        let messages = shared.extend().variable(VARIABLES, variables()).build();
        let mutations = full.extend().mutation().build();
        Self { conditions, full, messages, mutations }
    }

    pub fn compile(&self, text: &str, used: Use) -> Result<Program, Fault> {
        let env = match used {
            Use::MatchCondition => &self.conditions,
            Use::Message => &self.messages,
            Use::ApplyConfiguration | Use::JsonPatch => &self.mutations,
            Use::Validation | Use::AuditAnnotation | Use::Variable => &self.full,
        };
        let program = env.compile(text).map_err(Fault::Source)?;
        used.mismatch(program.output_type()).map_or(Ok(program), |mismatch| Err(Fault::Type(mismatch)))
    }

    /// Lets the expressions that are compiled from now on use a variable. One that does not compile is there as well: its
    /// users are not at fault.
    pub fn add_variable(&mut self, name: &str, ty: Option<&Type>) {
        let declaration = ty.map_or_else(Declaration::dynamic, types::of_variable);
        for env in [&mut self.full, &mut self.messages, &mut self.mutations] {
            env.add_field(VARIABLES, name, declaration.clone());
        }
    }

    /// What is wrong with an expression in its place.
    pub fn check(&self, text: &str, used: Use, path: &Path<'_>) -> Option<Error> {
        self.compile(text, used).err().map(|fault| fault.at(text, path))
    }
}

impl Fault {
    pub fn at(&self, text: &str, path: &Path<'_>) -> Error {
        match self {
            Fault::Source(error) if error.is_instantiation() => Error::internal(path, self.to_string()),
            _ => Error::invalid(path, text, self.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(used: Use, text: &str) -> String {
        Compiler::new(false).compile(text, used).err().map_or_else(String::new, |fault| fault.to_string())
    }

    #[test]
    fn uses_say_what_an_expression_must_yield() {
        let table = [
            (Use::Validation, "1 == 1", ""),
            (Use::Validation, "'x'", "must evaluate to bool but got string"),
            (Use::Validation, "object.spec", "must evaluate to bool but got dyn"),
            (Use::MatchCondition, "[{'a': [1]}]", "must evaluate to bool but got list(map(string, list(int)))"),
            (Use::Message, "null", "must evaluate to string but got null_type"),
            (Use::AuditAnnotation, "null", ""),
            (Use::AuditAnnotation, "1", "must evaluate to one of [string null_type]"),
            (Use::Variable, "optional.of(1)", ""),
            (Use::ApplyConfiguration, "Object{spec: Object.spec{replicas: 1}}", ""),
            (Use::ApplyConfiguration, "[JSONPatch{op: 'add'}]", "must evaluate to Object but got list(JSONPatch)"),
            (Use::JsonPatch, "[JSONPatch{op: 'add', path: '/' + jsonpatch.escapeKey('a/b')}]", ""),
            (Use::JsonPatch, "[]", "must evaluate to list(JSONPatch) but got list(dyn)"),
        ];
        for (used, text, wanted) in table {
            assert_eq!(fault(used, text), wanted, "{text}");
        }
    }

    #[test]
    fn each_use_sees_its_own() {
        let undeclared = |name: &str| format!("undeclared reference to '{name}' (in container '')");
        let table = [
            (Use::Validation, "authorizer.requestResource.check('get').allowed()", None),
            (Use::Message, "authorizer.path('/x').check('get').reason()", Some(undeclared("authorizer"))),
            (Use::MatchCondition, "variables.x", Some(undeclared("variables"))),
            (Use::Validation, "variables.x", Some("undefined field 'x'".to_owned())),
            (Use::Validation, "Object{} == null", Some(undeclared("Object"))),
            (Use::Validation, "params.x == 1", Some(undeclared("params"))),
            (Use::Validation, "request.namespace == namespaceObject.metadata.name", None),
            (Use::Validation, "request.uid == ''", Some("undefined field 'uid'".to_owned())),
            (
                Use::Validation,
                "int('x') == 1",
                Some("program instantiation failed: type conversion error from".to_owned()),
            ),
        ];
        for (used, text, wanted) in table {
            let found = fault(used, text);
            match wanted {
                None => assert_eq!(found, "", "{text}"),
                Some(wanted) => assert!(found.contains(&wanted), "{text}: {found}"),
            }
        }
        assert!(Compiler::new(true).compile("params.x == 1", Use::Validation).is_ok());
    }

    #[test]
    fn variables_are_typed_by_those_before_them() {
        let mut compiler = Compiler::new(false);
        let first = compiler.compile("[1, 2]", Use::Variable).unwrap();
        compiler.add_variable("numbers", Some(first.output_type()));
        compiler.add_variable("broken__one", None);
        assert!(compiler.compile("variables.numbers[0] > 0 && variables.broken__one", Use::Validation).is_ok());
        let fault = compiler.compile("variables.numbers[0] > 'x'", Use::Validation).unwrap_err().to_string();
        assert!(fault.contains("found no matching overload for '_>_' applied to '(int, string)'"), "{fault}");
    }
}
