//! Match conditions of an authorization webhook: expressions over the question, all of which must hold for the webhook to
//! be asked.

use std::sync::LazyLock;

use cel::{Activation, Budget, CALL_COST_MAX, Declaration, Env, ListKind, ObjectType, Program, Type};
use machinery::field::{Error, ErrorList, Path};
use tokio::time::Instant;

use super::metrics::AuthorizationMetrics;
use super::{Attributes, review_spec};

pub const CONDITIONS_MAX: usize = 64;
const REQUEST: &str = "request";

#[derive(Default)]
pub struct MatchConditions(Vec<Program>);

impl MatchConditions {
    /// Compiles the expressions. What is wrong with them is reported at their place below `path`.
    pub fn compile<'e>(
        expressions: impl ExactSizeIterator<Item = &'e str>,
        path: &Path,
        errors: &mut ErrorList,
    ) -> Self {
        if expressions.len() > CONDITIONS_MAX {
            errors.push(Error::too_many(path, expressions.len(), CONDITIONS_MAX));
            return Self::default();
        }
        let (mut programs, mut seen) = (Vec::new(), Vec::new());
        for (at, expression) in expressions.enumerate() {
            let path = path.index(at);
            let path = path.child("expression");
            if expression.trim().is_empty() {
                errors.push(Error::required(&path, ""));
            } else if seen.contains(&expression) {
                errors.push(Error::duplicate(&path, expression));
            } else {
                seen.push(expression);
                match compile(expression) {
                    Ok(program) => programs.push(program),
                    Err(detail) => errors.push(Error::invalid(&path, expression, detail)),
                }
            }
        }
        Self(programs)
    }

    /// Whether all hold. One that is false is enough for no, whatever else fails.
    pub fn hold(
        &self,
        attributes: &Attributes<'_>,
        name: &str,
        metrics: &AuthorizationMetrics,
    ) -> Result<bool, String> {
        if self.0.is_empty() {
            return Ok(true);
        }
        let begun = Instant::now();
        let held = self.evaluate(attributes);
        metrics.conditions_evaluated(name, begun.elapsed(), &held);
        held
    }

    fn evaluate(&self, attributes: &Attributes<'_>) -> Result<bool, String> {
        let shown = review_spec::shown(attributes);
        let mut variables = Activation::new();
        variables.set_json(REQUEST, &shown, &DECLARATION).map_err(|error| error.to_string())?;
        let mut errors: Vec<String> = Vec::new();
        for program in &self.0 {
            match program.evaluate(&variables, &mut Budget::new(CALL_COST_MAX)) {
                Ok(value) if value.as_bool() == Some(false) => return Ok(false),
                Ok(_) => {}
                Err(error) => {
                    let source = program.source();
                    let text = format!("cel evaluation error: expression '{source}' resulted in error: {error}");
                    if !errors.contains(&text) {
                        errors.push(text);
                    }
                }
            }
        }
        match &errors[..] {
            [] => Ok(true),
            [one] => Err(one.clone()),
            many => Err(format!("[{}]", many.join(", "))),
        }
    }
}

fn compile(expression: &str) -> Result<Program, String> {
    let program = ENVIRONMENT.compile(expression).map_err(|error| format!("compilation failed: {error}"))?;
    match program.output_type() {
        Type::Bool => Ok(program),
        other => Err(format!("must evaluate to bool but got {other}")),
    }
}

static DECLARATION: LazyLock<Declaration> = LazyLock::new(declaration);
static ENVIRONMENT: LazyLock<Env> = LazyLock::new(|| Env::builder().variable(REQUEST, DECLARATION.clone()).build());

/// `SubjectAccessReviewSpec` of authorization.k8s.io/v1.
fn declaration() -> Declaration {
    let text = || Declaration::from(Type::String);
    let list = |element: Declaration| Declaration::list(element, None, ListKind::Atomic);
    let selector = |name: &str| {
        let requirement = ObjectType::builder(format!("kubernetes.{name}Requirement"))
            .field("key", text(), false)
            .field("operator", text(), false)
            .field("values", list(text()), false)
            .declaration();
        ObjectType::builder(format!("kubernetes.{name}Attributes"))
            .field("rawSelector", text(), false)
            .field("requirements", list(requirement), false)
            .declaration()
    };
    let resource = ["namespace", "verb", "group", "version", "resource", "subresource", "name"]
        .into_iter()
        .fold(ObjectType::builder("kubernetes.ResourceAttributes"), |object, field| object.field(field, text(), false))
        .field("fieldSelector", selector("FieldSelector"), false)
        .field("labelSelector", selector("LabelSelector"), false)
        .declaration();
    let path = ObjectType::builder("kubernetes.NonResourceAttributes")
        .field("path", text(), false)
        .field("verb", text(), false)
        .declaration();
    ObjectType::builder("kubernetes.SubjectAccessReviewSpec")
        .field("resourceAttributes", resource, false)
        .field("nonResourceAttributes", path, false)
        .field("user", text(), false)
        .field("groups", list(text()), false)
        .field("extra", Declaration::map(list(text()), None), false)
        .field("uid", text(), false)
        .declaration()
}

#[cfg(test)]
mod tests {
    use machinery::{fields, labels};

    use super::*;
    use crate::UserInfo;

    fn conditions(expressions: &[&str]) -> Result<MatchConditions, Vec<String>> {
        let mut errors = ErrorList::new();
        let path = Path::new("matchConditions");
        let conditions = MatchConditions::compile(expressions.iter().copied(), &path, &mut errors);
        if errors.is_empty() { Ok(conditions) } else { Err(errors.iter().map(ToString::to_string).collect()) }
    }

    #[test]
    fn conditions_see_the_question() {
        let user = UserInfo::new("jane", ["dev"]);
        let fields = fields::Selector::parse("spec.nodeName=n").unwrap();
        let labels = labels::Selector::parse("a in (x,y)").unwrap();
        let attributes = Attributes {
            namespace: "ns",
            field_selector: fields.requirements(),
            label_selector: labels.requirements(),
            ..Attributes::resource(&user, "list", "", "pods")
        };
        let holds = |expression: &str| {
            let metrics = AuthorizationMetrics::default();
            conditions(&[expression]).unwrap().hold(&attributes, "w", &metrics)
        };
        for expression in [
            "has(request.resourceAttributes) && !has(request.nonResourceAttributes)",
            "request.resourceAttributes.namespace == 'ns' && request.resourceAttributes.subresource == ''",
            "'dev' in request.groups && request.uid == '' && request.extra.size() == 0",
            "request.user.startsWith('ja')",
            "request.resourceAttributes.fieldSelector.requirements.exists(r, r.key == 'spec.nodeName' && r.operator == 'In' && 'n' in r.values)",
            "request.resourceAttributes.labelSelector.requirements[0].values == ['x', 'y']",
        ] {
            assert_eq!(holds(expression), Ok(true), "{expression}");
        }
        assert_eq!(holds("request.user == 'joe'"), Ok(false));
        let error = "cel evaluation error: expression 'request.nonResourceAttributes.path == \\'/\\'' resulted in error: no such key: nonResourceAttributes";
        assert_eq!(holds("request.nonResourceAttributes.path == '/'"), Err(error.replace("\\'", "'")));
        let metrics = AuthorizationMetrics::default();
        let both = conditions(&["request.nonResourceAttributes.path == '/'", "request.user == 'joe'"]).unwrap();
        assert_eq!(both.hold(&attributes, "w", &metrics), Ok(false), "false is stronger than failure");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let wrong = |expressions: &[&str]| conditions(expressions).err().unwrap();
        assert_eq!(wrong(&["true", " "]), ["matchConditions[1].expression: Required value"]);
        assert_eq!(wrong(&["true", "true"]), ["matchConditions[1].expression: Duplicate value: \"true\""]);
        let typed =
            "matchConditions[0].expression: Invalid value: \"request.user\": must evaluate to bool but got string";
        assert_eq!(wrong(&["request.user"]), [typed]);
        let unknown = wrong(&["request.nobody == ''"]);
        assert!(unknown[0].contains("compilation failed: ERROR: <input>:1:8: undefined field 'nobody'"), "{unknown:?}");
        let many: Vec<String> = (0..65).map(|number| format!("{number} == 0")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(wrong(&many), ["matchConditions: Too many: 65: must have at most 64 items"]);
    }
}
