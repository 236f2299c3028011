//! Authorization checks: `authorizer.group('').resource('pods').namespace('a').check('list').allowed()`.
//!
//! Whoever evaluates lends an `Authorizer`; the expression only builds up what it is asked.

use std::fmt;
use std::sync::Arc;

use super::opaque::{AUTHORIZER, DECISION, GROUP_CHECK, Opaque, PATH_CHECK, RESOURCE_CHECK};
use super::{Feature, Set};
use crate::errors::EvalError;
use crate::types::Type;
use crate::value::{EvalResult, Value};
use Type::{Bool, String as Text};

/// Answers checks. It is asked while an expression is evaluated, so it must not wait long.
pub trait Authorizer: fmt::Debug + Send + Sync {
    /// Whether the subject may do this.
    fn authorize(&self, subject: &Subject, verb: &str, target: &CheckTarget<'_>) -> Decision;
}

/// Who would do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Who makes the request.
    Requester,
    ServiceAccount {
        namespace: Arc<str>,
        name: Arc<str>,
    },
}

/// What would be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckTarget<'c> {
    Path(&'c str),
    Resource(&'c ResourceCheck),
}

/// A resource to be checked; what is not set is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceCheck {
    pub group: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    pub field_selector: String,
    pub label_selector: String,
}

/// The answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    pub allowed: bool,
    pub reason: String,
    pub error: Option<String>,
}

impl<'a> Value<'a> {
    /// The value of the variable `authorizer`.
    pub fn authorizer(host: &'a dyn Authorizer) -> Self {
        Value::Opaque(Opaque::Authorizer { host, subject: Subject::Requester })
    }

    /// The value of the variable `authorizer.requestResource`.
    pub fn request_resource(host: &'a dyn Authorizer, check: ResourceCheck) -> Self {
        Value::Opaque(Opaque::ResourceCheck { host, subject: Subject::Requester, check: Arc::new(check) })
    }
}

impl Type {
    /// The type of the variable `authorizer`.
    pub fn authorizer() -> Self {
        Type::Opaque(AUTHORIZER)
    }

    /// The type of the variable `authorizer.requestResource`.
    pub fn request_resource() -> Self {
        Type::Opaque(RESOURCE_CHECK)
    }
}

pub(super) fn declare(set: &mut Set) {
    let authorizer = || Type::Opaque(AUTHORIZER);
    let (path, group) = (|| Type::Opaque(PATH_CHECK), || Type::Opaque(GROUP_CHECK));
    let (resource, decision) = (|| Type::Opaque(RESOURCE_CHECK), || Type::Opaque(DECISION));
    set.member("path", "authorizer_path", [authorizer(), Text], path(), check_path);
    set.member("group", "authorizer_group", [authorizer(), Text], group(), check_group);
    set.member(
        "serviceAccount",
        "authorizer_serviceaccount",
        [authorizer(), Text, Text],
        authorizer(),
        service_account,
    );
    set.member("resource", "groupcheck_resource", [group(), Text], resource(), check_resource);
    set.member("subresource", "resourcecheck_subresource", [resource(), Text], resource(), |args| {
        narrow(args, |check, text| check.subresource = text)
    });
    set.member("namespace", "resourcecheck_namespace", [resource(), Text], resource(), |args| {
        narrow(args, |check, text| check.namespace = text)
    });
    set.member("name", "resourcecheck_name", [resource(), Text], resource(), |args| {
        narrow(args, |check, text| check.name = text)
    });
    set.member("fieldSelector", "authorizer_fieldselector", [resource(), Text], resource(), |args| {
        narrow(args, |check, text| check.field_selector = text)
    });
    set.only("fieldSelector", Feature::AuthorizerSelectors);
    set.member("labelSelector", "authorizer_labelselector", [resource(), Text], resource(), |args| {
        narrow(args, |check, text| check.label_selector = text)
    });
    set.only("labelSelector", Feature::AuthorizerSelectors);
    set.member("check", "pathcheck_check", [path(), Text], decision(), check);
    set.member("check", "resourcecheck_check", [resource(), Text], decision(), check);
    set.member("errored", "decision_errored", [decision()], Bool, |args| {
        answer(args, |decision| Value::Bool(decision.error.is_some()))
    });
    set.member("error", "decision_error", [decision()], Text, |args| {
        answer(args, |decision| Value::from(decision.error.clone().unwrap_or_default()))
    });
    set.member("allowed", "decision_allowed", [decision()], Bool, |args| {
        answer(args, |decision| Value::Bool(decision.allowed))
    });
    set.member("reason", "decision_reason", [decision()], Text, |args| {
        answer(args, |decision| Value::from(decision.reason.clone()))
    });
}

fn mismatch<'a>() -> EvalResult<'a> {
    Err(EvalError::no_such_overload())
}

fn check_path<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    match (&args[0], args[1].as_str()) {
        (Value::Opaque(Opaque::Authorizer { host, subject }), Some(path)) => {
            Ok(Value::Opaque(Opaque::PathCheck { host: *host, subject: subject.clone(), path: path.into() }))
        }
        _ => mismatch(),
    }
}

fn check_group<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    match (&args[0], args[1].as_str()) {
        (Value::Opaque(Opaque::Authorizer { host, subject }), Some(group)) => {
            Ok(Value::Opaque(Opaque::GroupCheck { host: *host, subject: subject.clone(), group: group.into() }))
        }
        _ => mismatch(),
    }
}

fn service_account<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    let (Value::Opaque(Opaque::Authorizer { host, .. }), Some(namespace), Some(name)) =
        (&args[0], args[1].as_str(), args[2].as_str())
    else {
        return mismatch();
    };
    for (what, value, wrong) in [
        ("namespace", namespace, machinery::names::is_dns1123_label(namespace)),
        ("name", name, machinery::names::is_dns1123_subdomain(name)),
    ] {
        if !wrong.is_empty() {
            return Err(EvalError::new(format!("Invalid service account {what}: {value}")));
        }
    }
    let subject = Subject::ServiceAccount { namespace: namespace.into(), name: name.into() };
    Ok(Value::Opaque(Opaque::Authorizer { host: *host, subject }))
}

fn check_resource<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    match (&args[0], args[1].as_str()) {
        (Value::Opaque(Opaque::GroupCheck { host, subject, group }), Some(resource)) => {
            let check =
                ResourceCheck { group: group.to_string(), resource: resource.to_owned(), ..ResourceCheck::default() };
            Ok(Value::Opaque(Opaque::ResourceCheck { host: *host, subject: subject.clone(), check: Arc::new(check) }))
        }
        _ => mismatch(),
    }
}

fn narrow<'a>(args: &[Value<'a>], set: impl Fn(&mut ResourceCheck, String)) -> EvalResult<'a> {
    match (&args[0], args[1].as_str()) {
        (Value::Opaque(Opaque::ResourceCheck { host, subject, check }), Some(text)) => {
            let mut check = ResourceCheck::clone(check);
            set(&mut check, text.to_owned());
            Ok(Value::Opaque(Opaque::ResourceCheck { host: *host, subject: subject.clone(), check: Arc::new(check) }))
        }
        _ => mismatch(),
    }
}

fn check<'a>(args: &[Value<'a>]) -> EvalResult<'a> {
    let Some(verb) = args[1].as_str() else { return mismatch() };
    let decision = match &args[0] {
        Value::Opaque(Opaque::PathCheck { host, subject, path }) => {
            host.authorize(subject, verb, &CheckTarget::Path(path))
        }
        Value::Opaque(Opaque::ResourceCheck { host, subject, check }) => {
            host.authorize(subject, verb, &CheckTarget::Resource(check))
        }
        _ => return mismatch(),
    };
    Ok(Value::Opaque(Opaque::Decision(Arc::new(decision))))
}

fn answer<'a>(args: &[Value<'a>], of: impl Fn(&Decision) -> Value<'a>) -> EvalResult<'a> {
    match &args[0] {
        Value::Opaque(Opaque::Decision(decision)) => Ok(of(decision)),
        _ => mismatch(),
    }
}
