//! What the types of objects say about the expressions of a ValidatingAdmissionPolicy.
//!
//! A policy is compiled for objects of any type, since its rules may match anything. Where they name resources outright, its
//! expressions can be held against the schemas of those kinds: a field that does not exist or a comparison of a number with
//! a text is then found before any request comes. Worked example: with a rule for `apps/v1 deployments` the expression
//! `object.spec.bogus == 1` is answered with `apps/v1, Kind=Deployment: ERROR: ... undefined field 'bogus'`.
//!
//! What is found is said in the policy's status and stops nobody.

mod published;

use std::collections::BTreeSet;
use std::fmt;

use cel::Declaration;
use k8s_openapi::api::admissionregistration::v1::{
    ExpressionWarning, NamedRuleWithOperations, ValidatingAdmissionPolicy, ValidatingAdmissionPolicySpec,
};
use machinery::schema;

pub use published::Published;

use super::expressions::{Compiler, Fault, Use};

/// More types than these are not looked at, however many a rule names.
const TYPES_MAX: usize = 10;
/// Of more versions of groups than these nobody is asked what they are.
const FOREIGN_MAX: usize = 10;

/// A kind in one version; displays as messages show it: `apps/v1, Kind=Deployment`, `/v1, Kind=Pod`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct TypeName {
    group: String,
    version: String,
    kind: String,
}

impl fmt::Display for TypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}, Kind={}", self.group, self.version, self.kind)
    }
}

/// What is wrong with the policy's validations for the types that its rules name.
pub fn check(policy: &ValidatingAdmissionPolicy, published: &Published) -> Vec<ExpressionWarning> {
    let Some(spec) = &policy.spec else { return Vec::new() };
    let compilers = compilers(spec, published);
    let warning = |text: &str, field_ref: String| {
        let found: Vec<String> = compilers.iter().filter_map(|(name, compiler)| fault(name, compiler, text)).collect();
        (!found.is_empty()).then(|| ExpressionWarning { field_ref, warning: found.join("\n") })
    };
    let mut warnings = Vec::new();
    for (index, validation) in spec.validations.iter().flatten().enumerate() {
        warnings.extend(warning(&validation.expression, format!("spec.validations[{index}].expression")));
        if let Some(text) = validation.message_expression.as_deref().filter(|text| !text.is_empty()) {
            warnings.extend(warning(text, format!("spec.validations[{index}].messageExpression")));
        }
    }
    warnings
}

/// The versions of groups that the policy speaks of and that no built-in kind is in: [`Published`] tells what they are.
pub fn foreign(policy: &ValidatingAdmissionPolicy) -> BTreeSet<(String, String)> {
    let Some(spec) = &policy.spec else { return BTreeSet::new() };
    let params = params_name(spec).map(|name| (name.group, name.version));
    let named =
        rules(spec).flat_map(resources).map(|resource| (resource.group.to_owned(), resource.version.to_owned()));
    let mut foreign = BTreeSet::new();
    for (group, version) in params.into_iter().chain(named) {
        if foreign.len() == FOREIGN_MAX {
            break;
        }
        if !group.is_empty() && !is_builtin(&group, &version) {
            foreign.insert((group, version));
        }
    }
    foreign
}

fn is_builtin(group: &str, version: &str) -> bool {
    let has = |kind: &&crate::Kind| kind.versions.iter().any(|v| v.name == version && v.group_of(kind) == group);
    crate::ALL.iter().any(has)
}

/// A compiler for each type that there is a schema of.
fn compilers(spec: &ValidatingAdmissionPolicySpec, published: &Published) -> Vec<(TypeName, Compiler)> {
    let params = params_name(spec).and_then(|name| declaration(&name, published));
    let typed = |name: TypeName| {
        let object = declaration(&name, published)?;
        let mut compiler = Compiler::typed(&object, params.as_ref());
        for variable in spec.variables.iter().flatten() {
            let compiled = compiler.compile(&variable.expression, Use::Variable);
            compiler.add_variable(&variable.name, compiled.as_ref().ok().map(cel::Program::output_type));
        }
        Some((name, compiler))
    };
    types(spec, published).into_iter().filter_map(typed).collect()
}

/// What a type has against an expression. What the expression yields is not asked here, nor whether its constants have values.
fn fault(name: &TypeName, compiler: &Compiler, text: &str) -> Option<String> {
    match compiler.compile(text, Use::Variable) {
        Err(Fault::Source(error)) if !error.is_instantiation() => Some(format!("{name}: {error}\n")),
        _ => None,
    }
}

/// The kinds behind the resources of all rules, in the order of their names.
fn types(spec: &ValidatingAdmissionPolicySpec, published: &Published) -> BTreeSet<TypeName> {
    let mut types = BTreeSet::new();
    for rule in rules(spec) {
        let found: Vec<TypeName> =
            resources(rule).filter_map(|resource| resource.type_name(published)).take(TYPES_MAX).collect();
        let is_last = found.len() == TYPES_MAX;
        types.extend(found);
        // The rules after one that names so many are not looked at.
        if is_last {
            break;
        }
    }
    types
}

fn rules(spec: &ValidatingAdmissionPolicySpec) -> impl Iterator<Item = &NamedRuleWithOperations> {
    spec.match_constraints.iter().flat_map(|constraints| constraints.resource_rules.iter().flatten())
}

/// A resource that a rule names outright.
struct Resource<'a> {
    group: &'a str,
    version: &'a str,
    name: &'a str,
}

/// The resources of a rule that stand for one kind each. A star among groups or versions leaves none; among resources it and
/// subresources are passed over.
fn resources(rule: &NamedRuleWithOperations) -> impl Iterator<Item = Resource<'_>> {
    let groups = sorted(rule.api_groups.as_deref());
    let versions = sorted(rule.api_versions.as_deref());
    let mut names = sorted(rule.resources.as_deref());
    names.retain(|name| !name.contains(['*', '/']));
    let has_star = groups.iter().chain(&versions).any(|name| name.contains('*'));
    let groups = if has_star { Vec::new() } else { groups };
    groups.into_iter().flat_map(move |group| {
        let names = names.clone();
        versions
            .clone()
            .into_iter()
            .flat_map(move |version| names.clone().into_iter().map(move |name| Resource { group, version, name }))
    })
}

fn sorted(names: Option<&[String]>) -> Vec<&str> {
    let mut names: Vec<&str> = names.into_iter().flatten().map(String::as_str).collect();
    names.sort_unstable();
    names
}

impl Resource<'_> {
    fn type_name(&self, published: &Published) -> Option<TypeName> {
        let builtin = crate::ALL.iter().find(|kind| {
            (kind.plural == self.name || kind.singular == self.name) && kind.version(self.group, self.version).is_some()
        });
        let kind = match builtin {
            Some(kind) => kind.kind,
            None => published.kind_of(self.group, self.version, self.name)?,
        };
        Some(TypeName { group: self.group.to_owned(), version: self.version.to_owned(), kind: kind.to_owned() })
    }
}

fn params_name(spec: &ValidatingAdmissionPolicySpec) -> Option<TypeName> {
    let kind = spec.param_kind.as_ref()?;
    let (group, version) = kind.api_version.as_deref()?.rsplit_once('/').unwrap_or(("", kind.api_version.as_deref()?));
    Some(TypeName { group: group.to_owned(), version: version.to_owned(), kind: kind.kind.clone()? })
}

/// The declaration of objects of a kind; none where there is no schema of it.
fn declaration(name: &TypeName, published: &Published) -> Option<Declaration> {
    match crate::find_kind(&name.group, &name.version, &name.kind) {
        Some((_, version)) => {
            let types = schema::builtin();
            Some(cel::declare_builtin_rooted(types, types.id(version.schema)?, &name.kind))
        }
        None => published.declaration(&name.group, &name.version, &name.kind),
    }
}

#[cfg(test)]
mod tests;
