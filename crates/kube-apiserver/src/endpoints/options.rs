//! The options of requests: read from the query (and for deletes the body), checked, and refused as upstream words it.

use machinery::field::{Error, ErrorList, Path};
use machinery::go_text;
use machinery::gvk::GroupKind;
use machinery::meta_validation;
use machinery::schema::FieldValidation;
use machinery::status::Status;
use serde_json::Value;

use super::Scope;
use crate::registry::{DeleteOptions, Owner, Propagation, WriteOptions};
use crate::request_info;

const META_GROUP: &str = "meta.k8s.io";

/// A decoded query.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    pub fn parse(query: &str) -> Self {
        Self(request_info::query_pairs(query).collect())
    }

    /// The first value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.all(key).next()
    }

    /// All values of a key.
    pub fn all(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// A boolean parameter: absent is `None`; empty means true.
    pub fn boolean(&self, key: &str) -> Option<bool> {
        self.get(key).map(request_info::is_true)
    }

    pub fn integer(&self, key: &str) -> Result<Option<i64>, Status> {
        let Some(text) = self.get(key).filter(|text| !text.is_empty()) else { return Ok(None) };
        parse_integer(text).map(Some)
    }
}

fn parse_integer(text: &str) -> Result<i64, Status> {
    text.parse().map_err(|_| {
        let digits = text.trim_start_matches(['-', '+']);
        let numeric = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let reason = if numeric { "value out of range" } else { "invalid syntax" };
        Status::bad_request(format!("strconv.ParseInt: parsing {}: {reason}", go_text::quote(text)))
    })
}

fn invalid(kind: &str, errors: ErrorList) -> Result<(), Status> {
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid(&GroupKind::new(META_GROUP, kind), "", errors)) }
}

/// The options of a create, an update or a patch.
pub struct Write {
    pub options: WriteOptions,
    pub field_validation: FieldValidation,
}

impl Write {
    /// `kind` names the options in messages: CreateOptions, UpdateOptions, PatchOptions.
    pub fn parse(scope: &Scope, kind: &str) -> Result<Self, Status> {
        let mut errors = ErrorList::new();
        if kind == "PatchOptions" && scope.query.get("force").is_some() {
            errors.push(Error::forbidden(&Path::new("force"), "may not be specified for non-apply patch"));
        }
        Self::parse_common(scope, kind, errors)
    }

    /// The options of an apply, which needs a name to apply by.
    pub fn parse_apply(scope: &Scope) -> Result<Self, Status> {
        let mut errors = ErrorList::new();
        if scope.query.get("fieldManager").unwrap_or_default().is_empty() {
            errors.push(Error::required(&Path::new("fieldManager"), "is required for apply patch"));
        }
        let mut write = Self::parse_common(scope, "PatchOptions", errors)?;
        write.options.owner.is_settled = true;
        Ok(write)
    }

    fn parse_common(scope: &Scope, kind: &str, mut errors: ErrorList) -> Result<Self, Status> {
        let query = &scope.query;
        let manager = query.get("fieldManager").unwrap_or_default();
        errors.extend(meta_validation::field_manager(manager, &Path::new("fieldManager")));
        let dry_run = dry_run(query.all("dryRun").map(str::to_owned).collect(), &mut errors);
        let given = query.get("fieldValidation").unwrap_or_default();
        let field_validation = FieldValidation::parse(given).unwrap_or_else(|| {
            let path = Path::new("fieldValidation");
            errors.push(Error::not_supported(&path, given, &["", "Ignore", "Strict", "Warn"]));
            FieldValidation::Strict
        });
        invalid(kind, errors)?;
        let owner = Owner {
            manager: manager_name(manager, &scope.ctx.user_agent),
            version: Some(scope.version),
            subresource: scope.ctx.info.subresource.clone(),
            is_settled: false,
        };
        Ok(Self { options: WriteOptions { dry_run, owner }, field_validation })
    }
}

/// The options of a write as admission shows them to others.
pub fn shown(query: &Query) -> Value {
    let mut options = serde_json::Map::new();
    let dry_run: Vec<&str> = query.all("dryRun").collect();
    if !dry_run.is_empty() {
        options.insert("dryRun".to_owned(), dry_run.into());
    }
    for key in ["fieldManager", "fieldValidation"] {
        if let Some(value) = query.get(key).filter(|value| !value.is_empty()) {
            options.insert(key.to_owned(), value.into());
        }
    }
    Value::Object(options)
}

/// Who a writer is: by the name it gives, else by its program's.
fn manager_name(given: &str, user_agent: &str) -> String {
    if !given.is_empty() {
        return given.to_owned();
    }
    let mut name = String::new();
    let program = user_agent.split('/').next().unwrap_or_default();
    for c in program.chars().filter(|c| go_text::is_printable(*c)) {
        if name.len() + c.len_utf8() > meta_validation::FIELD_MANAGER_MAX {
            break;
        }
        name.push(c);
    }
    if name.is_empty() { "unknown".to_owned() } else { name }
}

fn dry_run(given: Vec<String>, errors: &mut ErrorList) -> bool {
    if given.iter().any(|value| value != "All") {
        errors.push(Error::not_supported(&Path::new("dryRun"), &given, &["All"]));
    }
    !given.is_empty()
}

/// The options of a list or a watch.
#[derive(Clone, Debug, Default)]
pub struct List {
    pub limit: usize,
    pub continue_token: String,
    /// "" when not given.
    pub resource_version: String,
    pub version_match: VersionMatch,
    pub timeout_seconds: Option<u64>,
    pub allow_bookmarks: bool,
    pub send_initial_events: Option<bool>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VersionMatch {
    #[default]
    Unset,
    Exact,
    NotOlderThan,
}

impl List {
    pub fn parse(query: &Query, is_watch: bool) -> Result<Self, Status> {
        let text = |key: &str| query.get(key).unwrap_or_default().to_owned();
        let version_match = text("resourceVersionMatch");
        let list = Self {
            limit: query.integer("limit")?.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(0),
            continue_token: text("continue"),
            resource_version: text("resourceVersion"),
            version_match: match version_match.as_str() {
                "Exact" => VersionMatch::Exact,
                "NotOlderThan" => VersionMatch::NotOlderThan,
                _ => VersionMatch::Unset,
            },
            timeout_seconds: query.integer("timeoutSeconds")?.and_then(|seconds| u64::try_from(seconds).ok()),
            allow_bookmarks: query.boolean("allowWatchBookmarks").unwrap_or(false),
            send_initial_events: query.boolean("sendInitialEvents"),
        };
        let errors = if is_watch { list.watch_errors(&version_match) } else { list.list_errors(&version_match) };
        invalid("ListOptions", errors)?;
        Ok(list)
    }

    fn list_errors(&self, given: &str) -> ErrorList {
        let path = Path::new("resourceVersionMatch");
        let mut errors = ErrorList::new();
        if !given.is_empty() {
            if self.resource_version.is_empty() {
                let detail = "resourceVersionMatch is forbidden unless resourceVersion is provided";
                errors.push(Error::forbidden(&path, detail));
            }
            if !self.continue_token.is_empty() {
                errors.push(Error::forbidden(&path, "resourceVersionMatch is forbidden when continue is provided"));
            }
            if !matches!(given, "Exact" | "NotOlderThan") {
                errors.push(Error::not_supported(&path, given, &["Exact", "NotOlderThan", ""]));
            }
            if given == "Exact" && self.resource_version == "0" {
                let detail = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
                errors.push(Error::forbidden(&path, detail));
            }
        }
        if self.send_initial_events.is_some() {
            let path = Path::new("sendInitialEvents");
            errors.push(Error::forbidden(&path, "sendInitialEvents is forbidden for list"));
        }
        errors
    }

    fn watch_errors(&self, given: &str) -> ErrorList {
        let path = Path::new("resourceVersionMatch");
        let mut errors = ErrorList::new();
        if self.send_initial_events.is_none() {
            if !given.is_empty() {
                let detail = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
                errors.push(Error::forbidden(&path, detail));
            }
            return errors;
        }
        if given != "NotOlderThan" {
            let detail = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            errors.push(Error::forbidden(&path, detail));
            if !given.is_empty() {
                errors.push(Error::not_supported(&path, given, &["NotOlderThan"]));
            }
        }
        if !self.continue_token.is_empty() {
            errors.push(Error::forbidden(&path, "resourceVersionMatch is forbidden when continue is provided"));
        }
        errors
    }
}

/// The options of a delete: from the body when there is one, else from the query.
pub fn delete(query: &Query, body: &Value) -> Result<DeleteOptions, Status> {
    let mut errors = ErrorList::new();
    let (dry_run_given, grace, orphan, policy) = if body.is_null() {
        (
            query.all("dryRun").map(str::to_owned).collect(),
            query.integer("gracePeriodSeconds")?,
            query.boolean("orphanDependents"),
            query.get("propagationPolicy").map(str::to_owned),
        )
    } else {
        (
            body.get("dryRun")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
            integer_field(body, "gracePeriodSeconds")?,
            body.get("orphanDependents").and_then(Value::as_bool),
            body.get("propagationPolicy").and_then(Value::as_str).map(str::to_owned),
        )
    };
    let dry_run = dry_run(dry_run_given, &mut errors);
    let path = Path::new("propagationPolicy");
    let propagation = match policy.as_deref() {
        None => None,
        Some("Foreground") => Some(Propagation::Foreground),
        Some("Background") => Some(Propagation::Background),
        Some("Orphan") => Some(Propagation::Orphan),
        Some(other) => {
            errors.push(Error::not_supported(&path, other, &["Foreground", "Background", "Orphan", "nil"]));
            None
        }
    };
    if orphan.is_some() && policy.is_some() {
        let detail = "orphanDependents and deletionPropagation cannot be both set";
        errors.insert(0, Error::invalid(&path, policy.as_deref().unwrap_or_default(), detail));
    }
    invalid("DeleteOptions", errors)?;
    let precondition =
        |name: &str| body.pointer(&format!("/preconditions/{name}")).and_then(Value::as_str).map(str::to_owned);
    Ok(DeleteOptions {
        dry_run,
        grace_period_seconds: grace,
        uid: precondition("uid"),
        resource_version: precondition("resourceVersion"),
        propagation,
        orphan_dependents: orphan,
        orphan_by_default: false,
    })
}

fn integer_field(body: &Value, name: &str) -> Result<Option<i64>, Status> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) if number.is_i64() => Ok(number.as_i64()),
        Some(other) => {
            let what = match other {
                Value::String(_) => "string".to_owned(),
                Value::Bool(_) => "bool".to_owned(),
                Value::Array(_) => "array".to_owned(),
                Value::Object(_) => "object".to_owned(),
                number => format!("number {number}"),
            };
            let message =
                format!("json: cannot unmarshal {what} into Go struct field DeleteOptions.{name} of type int64");
            Err(Status::bad_request(message))
        }
    }
}
