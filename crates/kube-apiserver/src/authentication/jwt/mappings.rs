//! From the claims of a good token to a user: by the claims themselves or by expressions over them, and the rules that
//! claims and users must obey.

use std::collections::BTreeMap;

use cel::{Activation, Budget, Declaration, Env, ListKind, ObjectType, Program, Type};
use machinery::field::{Error, ErrorList, Path};
use serde_json::{Map, Value};

use super::settings::{JwtAuthenticator, PrefixedMapping};
use crate::UserInfo;
use crate::authentication::user_info_value;

/// What the claims of one issuer mean.
pub struct Mappings {
    rules: Vec<Rule>,
    username: Source,
    groups: Option<Source>,
    uid: Option<Source>,
    extra: Vec<(String, Program)>,
    user_rules: Vec<Checked>,
}

enum Source {
    Claim { name: String, prefix: String },
    Expression(Box<Program>),
}

enum Rule {
    Claim { name: String, value: String },
    Expression(Box<Checked>),
}

/// An expression that must hold, and what is said when it does not.
struct Checked {
    program: Program,
    message: String,
}

type Claims = Map<String, Value>;

impl Mappings {
    /// Compiles the expressions. What is wrong with them is reported at their place below `path`.
    pub fn compile(one: &JwtAuthenticator, path: &Path) -> Result<Self, ErrorList> {
        let compiler = Compiler::new();
        let mut errors = ErrorList::new();
        let rules_path = path.child("claimValidationRules");
        let mut rules = Vec::new();
        for (at, rule) in one.claim_validation_rules.iter().enumerate() {
            if rule.expression.is_empty() {
                rules.push(Rule::Claim { name: rule.claim.clone(), value: rule.required_value.clone() });
                continue;
            }
            let here = rules_path.index(at);
            let program = compiler.claims(&rule.expression, &[Type::Bool], &here.child("expression"), &mut errors);
            let checked = program.map(|program| Checked { program, message: rule.message.clone() });
            rules.extend(checked.map(|checked| Rule::Expression(Box::new(checked))));
        }
        let mappings = path.child("claimMappings");
        let given = &one.claim_mappings;
        let texts = [Type::String, Type::list(Type::String)];
        let (username_path, groups_path) = (mappings.child("username"), mappings.child("groups"));
        let username = compiler.source(&given.username, &texts[..1], &username_path, &mut errors);
        let groups = compiler.source(&given.groups, &texts, &groups_path, &mut errors);
        let uid =
            PrefixedMapping { claim: given.uid.claim.clone(), prefix: None, expression: given.uid.expression.clone() };
        let uid = compiler.source(&uid, &texts[..1], &mappings.child("uid"), &mut errors);
        let extra_path = mappings.child("extra");
        let mut extra = Vec::new();
        for (at, one) in given.extra.iter().enumerate() {
            let here = extra_path.index(at);
            let program = compiler.claims(&one.value_expression, &texts, &here.child("valueExpression"), &mut errors);
            extra.extend(program.map(|program| (one.key.clone(), program)));
        }
        let rules_path = path.child("userValidationRules");
        let mut user_rules = Vec::new();
        for (at, rule) in one.user_validation_rules.iter().enumerate() {
            let here = rules_path.index(at);
            let program = compiler.user(&rule.expression, &here.child("expression"), &mut errors);
            user_rules.extend(program.map(|program| Checked { program, message: rule.message.clone() }));
        }
        match (errors.is_empty(), username) {
            (true, Some(username)) => Ok(Self { rules, username, groups, uid, extra, user_rules }),
            _ => Err(errors),
        }
    }

    /// The user, or why there is none.
    pub fn user(&self, claims: &Claims) -> Result<UserInfo, String> {
        let shown = Value::Object(claims.clone());
        let mut evaluation = Evaluation { claims, shown: &shown, budget: Budget::default() };
        let name = evaluation.text(&self.username, "username")?;
        if name.is_empty() {
            return Err("oidc: username cannot be empty".to_owned());
        }
        if let Source::Claim { name: claim, .. } = &self.username
            && claim == "email"
        {
            email_is_verified(claims)?;
        }
        let groups = self.groups.as_ref().map(|groups| evaluation.texts(groups, "groups")).transpose()?;
        let uid = self.uid.as_ref().map(|uid| evaluation.text(uid, "uid")).transpose()?;
        let mut extra = BTreeMap::new();
        for (key, program) in &self.extra {
            let values = evaluation.evaluated_texts(program, "extra")?;
            if !values.is_empty() {
                extra.insert(key.clone(), values);
            }
        }
        for rule in &self.rules {
            evaluation.check(rule)?;
        }
        let user = UserInfo { name, uid: uid.filter(|uid| !uid.is_empty()), groups: groups.unwrap_or_default(), extra };
        self.check_user(&user, &mut evaluation.budget)?;
        Ok(user)
    }

    fn check_user(&self, user: &UserInfo, budget: &mut Budget) -> Result<(), String> {
        let fail = |reason: String| format!("oidc: error evaluating user info validation rule: {reason}");
        if self.user_rules.is_empty() {
            return Ok(());
        }
        let shown = user_info_value(user);
        let mut variables = Activation::new();
        variables.set_json("user", &shown, &user_declaration()).map_err(|error| fail(error.to_string()))?;
        for rule in &self.user_rules {
            rule.check(&variables, budget).map_err(fail)?;
        }
        Ok(())
    }
}

impl Checked {
    fn check(&self, variables: &Activation<'_>, budget: &mut Budget) -> Result<(), String> {
        let value = self.program.evaluate(variables, budget).map_err(|error| error.to_string())?;
        if value.as_bool() == Some(true) {
            return Ok(());
        }
        Err(format!("validation expression '{}' failed: {}", self.program.source(), self.message))
    }
}

/// A token's claims as expressions and mappings see them.
struct Evaluation<'c> {
    claims: &'c Claims,
    shown: &'c Value,
    budget: Budget,
}

impl Evaluation<'_> {
    fn check(&mut self, rule: &Rule) -> Result<(), String> {
        match rule {
            Rule::Claim { name, value } => match self.claims.get(name) {
                None => Err(format!("oidc: required claim {name} not present in ID token")),
                Some(Value::String(found)) if found == value => Ok(()),
                Some(Value::String(found)) => {
                    Err(format!("oidc: required claim {name} value does not match. Got = {found}, want = {value}"))
                }
                Some(_) => Err(format!("oidc: parse claim {name}: it is no string")),
            },
            Rule::Expression(checked) => {
                let mut variables = Activation::new();
                variables.set_dynamic("claims", self.shown);
                checked
                    .check(&variables, &mut self.budget)
                    .map_err(|reason| format!("oidc: error evaluating claim validation expression: {reason}"))
            }
        }
    }

    /// One text, which must be there.
    fn text(&mut self, source: &Source, what: &str) -> Result<String, String> {
        match source {
            Source::Claim { name, prefix } => match self.claims.get(name) {
                Some(Value::String(text)) => Ok(format!("{prefix}{text}")),
                Some(_) => Err(format!("oidc: parse {what} claims {name:?}: it is no string")),
                None => Err(format!("oidc: parse {what} claims {name:?}: claim not present")),
            },
            Source::Expression(program) => match self.evaluate(program, what)? {
                Value::String(text) => Ok(text),
                _ => Err(format!(
                    "oidc: error evaluating {what} claim expression: {what} claim expression must return a string"
                )),
            },
        }
    }

    /// Any number of texts.
    fn texts(&mut self, source: &Source, what: &str) -> Result<Vec<String>, String> {
        match source {
            Source::Claim { name, prefix } => {
                let found = self.claims.get(name).cloned().unwrap_or_default();
                let texts = texts(found)
                    .ok_or_else(|| format!("oidc: parse {what} claim {name:?}: neither a string nor strings"))?;
                Ok(texts.into_iter().map(|text| format!("{prefix}{text}")).collect())
            }
            Source::Expression(program) => self.evaluated_texts(program, what),
        }
    }

    fn evaluated_texts(&mut self, program: &Program, what: &str) -> Result<Vec<String>, String> {
        let found = self.evaluate(program, what)?;
        let texts = texts(found);
        let mut texts = texts.ok_or_else(|| {
            format!(
                "oidc: error evaluating {what} claim expression: expression must return a string or a list of strings"
            )
        })?;
        // An expression says by "" that there is none.
        texts.retain(|text| !text.is_empty());
        Ok(texts)
    }

    fn evaluate(&mut self, program: &Program, what: &str) -> Result<Value, String> {
        let mut variables = Activation::new();
        variables.set_dynamic("claims", self.shown);
        let value = program.evaluate(&variables, &mut self.budget).and_then(|value| value.to_json());
        value.map_err(|error| format!("oidc: error evaluating {what} claim expression: {error}"))
    }
}

/// One string or several; null is none.
fn texts(value: Value) -> Option<Vec<String>> {
    match value {
        Value::Null => Some(Vec::new()),
        Value::String(text) => Some(vec![text]),
        Value::Array(items) => items
            .into_iter()
            .map(|item| match item {
                Value::String(text) => Some(text),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

/// Whoever may choose an address freely could choose another's. An issuer that does not say is believed.
fn email_is_verified(claims: &Claims) -> Result<(), String> {
    match claims.get("email_verified") {
        None | Some(Value::Bool(true)) => Ok(()),
        Some(Value::Bool(false)) => Err("oidc: email not verified".to_owned()),
        Some(_) => Err("oidc: parse 'email_verified' claim: it is no boolean".to_owned()),
    }
}

fn user_declaration() -> Declaration {
    let text = || Declaration::from(Type::String);
    let texts = || Declaration::list(text(), None, ListKind::Atomic);
    ObjectType::builder("kubernetes.UserInfo")
        .field("username", text(), false)
        .field("uid", text(), false)
        .field("groups", texts(), false)
        .field("extra", Declaration::map(texts(), None), false)
        .declaration()
}

struct Compiler {
    claims: Env,
    user: Env,
}

impl Compiler {
    fn new() -> Self {
        Self {
            claims: Env::builder().variable("claims", Declaration::map(Declaration::dynamic(), None)).build(),
            user: Env::builder().variable("user", user_declaration()).build(),
        }
    }

    fn source(&self, mapping: &PrefixedMapping, types: &[Type], path: &Path, errors: &mut ErrorList) -> Option<Source> {
        if !mapping.expression.is_empty() {
            return self
                .claims(&mapping.expression, types, &path.child("expression"), errors)
                .map(|program| Source::Expression(Box::new(program)));
        }
        let prefix = mapping.prefix.clone().unwrap_or_default();
        (!mapping.claim.is_empty()).then(|| Source::Claim { name: mapping.claim.clone(), prefix })
    }

    fn claims(&self, source: &str, types: &[Type], path: &Path, errors: &mut ErrorList) -> Option<Program> {
        compile(&self.claims, source, types, path, errors)
    }

    fn user(&self, source: &str, path: &Path, errors: &mut ErrorList) -> Option<Program> {
        compile(&self.user, source, &[Type::Bool], path, errors)
    }
}

fn compile(env: &Env, source: &str, types: &[Type], path: &Path, errors: &mut ErrorList) -> Option<Program> {
    let program = match env.compile(source) {
        Ok(program) => program,
        Err(error) => {
            errors.push(Error::invalid(path, source, format!("compilation failed: {error}")));
            return None;
        }
    };
    let is_one = |wanted: &Type| match (wanted, program.output_type()) {
        (_, Type::Dyn) | (Type::Bool, Type::Bool) | (Type::String, Type::String) => true,
        (Type::List(_), Type::List(element)) => matches!(**element, Type::String | Type::Dyn),
        _ => false,
    };
    if types.iter().any(is_one) {
        return Some(program);
    }
    let detail = match types {
        [Type::Bool] => "must evaluate to bool",
        [Type::String] => "must evaluate to string",
        _ => "must evaluate to one of [string list(string)]",
    };
    errors.push(Error::invalid(path, source, detail));
    None
}
