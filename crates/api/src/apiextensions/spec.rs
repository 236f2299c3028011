//! The spec of a definition, with what all versions share taken out of them, as upstream's internal form has it.

use machinery::field::{Error, ErrorList, Path};
use machinery::names;
use serde_json::Value;

use super::custom_resource_definition::shown_versions;
use super::options::Options;
use super::{conversion, names as own_names, openapi};
use crate::structural::{Schema, field_path};
use crate::value::{boolean, list, text};

/// The longest warning of a deprecated version.
const WARNING_BYTES_MAX: usize = 256;
const COLUMN_TYPES: &[&str] = &["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: &[&str] = &["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];

/// The strings of a list.
pub fn texts<'v>(value: &'v Value, pointer: &str) -> Vec<&'v str> {
    list(value, pointer).iter().filter_map(Value::as_str).collect()
}

/// The schema of a version as it is written.
pub fn version_schema(version: &Value) -> Option<&Value> {
    version.pointer("/schema/openAPIV3Schema").filter(|schema| schema.is_object())
}

/// A version, with what is not shared.
pub struct VersionView<'v> {
    pub value: &'v Value,
    pub validation: Option<&'v Value>,
    pub subresources: Option<&'v Value>,
    pub columns: Option<&'v [Value]>,
    pub selectable: Option<&'v [Value]>,
}

/// The spec: what all versions share, and the versions.
pub struct Spec<'v> {
    pub value: &'v Value,
    pub validation: Option<&'v Value>,
    pub subresources: Option<&'v Value>,
    pub columns: Option<&'v [Value]>,
    pub selectable: Option<&'v [Value]>,
    pub versions: Vec<VersionView<'v>>,
}

impl<'v> Spec<'v> {
    pub fn of(definition: &'v Value) -> Self {
        let value = definition.get("spec").unwrap_or(&Value::Null);
        let versions = list(value, "/versions");
        let whole = |version: &'v Value| VersionView {
            value: version,
            validation: version.get("schema").filter(|own| !own.is_null()),
            subresources: version.get("subresources").filter(|own| !own.is_null()),
            columns: Some(list(version, "/additionalPrinterColumns")).filter(|own| !own.is_empty()),
            selectable: Some(list(version, "/selectableFields")).filter(|own| !own.is_empty()),
        };
        let mut spec = Self {
            value,
            validation: None,
            subresources: None,
            columns: None,
            selectable: None,
            versions: versions.iter().map(whole).collect(),
        };
        spec.validation = share(&mut spec.versions, |version| &mut version.validation);
        spec.subresources = share(&mut spec.versions, |version| &mut version.subresources);
        spec.columns = share(&mut spec.versions, |version| &mut version.columns);
        spec.selectable = share(&mut spec.versions, |version| &mut version.selectable);
        spec
    }

    /// The versions as they are written.
    pub fn all_versions(&self) -> &'v [Value] {
        list(self.value, "/versions")
    }

    /// The first version, which the internal form knows by itself.
    fn first_version(&self) -> &'v str {
        self.all_versions().first().map_or("", |version| text(version, "/name"))
    }
}

/// Takes what is the same in all versions out of them.
fn share<'v, T: PartialEq + Copy + 'v>(
    versions: &mut [VersionView<'v>],
    part: impl for<'a> Fn(&'a mut VersionView<'v>) -> &'a mut Option<T>,
) -> Option<T> {
    let first = *part(versions.first_mut()?);
    for version in versions.iter_mut() {
        if *part(version) != first {
            return None;
        }
    }
    versions.iter_mut().for_each(|version| *part(version) = None);
    first
}

pub fn validate(spec: &Spec, options: &Options) -> ErrorList {
    let path = Path::new("spec");
    let mut errors = group_and_scope(spec, &path);
    errors.extend(missing_schemas(spec, options, &path));
    errors.extend(versions(spec, options, &path));
    errors.extend(names_of(spec, &path));
    let has_status = spec.all_versions().iter().any(|version| status_of(version.get("subresources")));
    if let Some(own) = spec.validation {
        let path = path.child("validation");
        errors.extend(openapi::validation(own, has_status, options, spec.first_version(), &path));
    }
    errors.extend(subresources(spec.subresources, &path.child("subresources")));
    errors.extend(columns(spec.columns, &path.child("additionalPrinterColumns")));
    if let Some(own) = spec.selectable {
        let path = path.child("selectableFields");
        match spec.validation.and_then(|own| own.get("openAPIV3Schema")) {
            None => {
                errors.push(Error::invalid(&path, "", "may only be set when validations.schema is included"));
            }
            Some(schema) => errors.extend(selectable(own, schema, &path, options, "")),
        }
    }
    errors.extend(conversion_of(spec, options, &path));
    errors
}

fn group_and_scope(spec: &Spec, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let group = text(spec.value, "/group");
    let problems = names::is_dns1123_subdomain(group);
    if group.is_empty() {
        errors.push(Error::required(&path.child("group"), ""));
    } else if !problems.is_empty() {
        errors.push(Error::invalid(&path.child("group"), group, problems.join(",")));
    } else if !group.contains('.') {
        errors.push(Error::invalid(&path.child("group"), group, "should be a domain with at least one dot"));
    }
    match text(spec.value, "/scope") {
        "" => errors.push(Error::required(&path.child("scope"), "")),
        "Cluster" | "Namespaced" => {}
        other => errors.push(Error::not_supported(&path.child("scope"), other, &["Cluster", "Namespaced"])),
    }
    errors
}

fn missing_schemas(spec: &Spec, options: &Options, path: &Path) -> ErrorList {
    let shared = spec.validation.is_some_and(|own| own.get("openAPIV3Schema").is_some());
    let preserves = boolean(spec.value, "/preserveUnknownFields");
    let mut errors = ErrorList::new();
    let list = path.child("versions");
    for (index, view) in spec.versions.iter().enumerate() {
        let (version, item) = (view.value, list.index(index));
        if shared || version_schema(version).is_some() {
            continue;
        }
        let (schema, keyword) = (item.child("schema"), "openAPIV3Schema");
        if options.schema {
            errors.push(Error::required(&schema.child(keyword), ""));
        } else if !preserves && boolean(version, "/served") {
            errors.push(Error::required(&schema.child(keyword), "because otherwise all fields are pruned"));
        }
    }
    errors
}

fn versions(spec: &Spec, options: &Options, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let list = path.child("versions");
    for (index, view) in spec.versions.iter().enumerate() {
        let path = list.index(index);
        let name = text(view.value, "/name");
        let problems = names::is_dns1035_label(name);
        if !problems.is_empty() {
            errors.push(Error::invalid(&path.child("name"), name, problems.join(",")));
        }
        errors.extend(version(view, options, &path));
    }
    let names: Vec<&str> = spec.versions.iter().map(|view| text(view.value, "/name")).collect();
    if names.iter().enumerate().any(|(index, name)| names[..index].contains(name)) {
        errors.push(Error::invalid(&list, shown_versions(spec), "must contain unique version names"));
    }
    if spec.versions.iter().filter(|view| boolean(view.value, "/storage")).count() != 1 {
        let detail = "must have exactly one version marked as storage version";
        errors.push(Error::invalid(&list, shown_versions(spec), detail));
    }
    errors
}

fn version(view: &VersionView, options: &Options, path: &Path) -> ErrorList {
    let name = text(view.value, "/name");
    let mut errors = deprecation_warning(view.value, &path.child("deprecationWarning"));
    let has_status = status_of(view.value.get("subresources"));
    if let Some(own) = view.validation {
        errors.extend(openapi::validation(own, has_status, options, name, &path.child("schema")));
    }
    errors.extend(subresources(view.subresources, &path.child("subresources")));
    errors.extend(columns(view.columns, &path.child("additionalPrinterColumns")));
    if let Some(own) = view.selectable {
        let path = path.child("selectableFields");
        match view.validation.and_then(|own| own.get("openAPIV3Schema")) {
            None => {
                let detail = "may only be set when `version.schema.openAPIV3Schema` is not included";
                errors.push(Error::invalid(&path, "", detail));
            }
            Some(schema) => errors.extend(selectable(own, schema, &path, options, name)),
        }
    }
    errors
}

fn status_of(subresources: Option<&Value>) -> bool {
    subresources.is_some_and(|own| own.get("status").is_some_and(|status| !status.is_null()))
}

fn deprecation_warning(version: &Value, path: &Path) -> ErrorList {
    let Some(warning) = version.get("deprecationWarning").and_then(Value::as_str) else { return ErrorList::new() };
    let mut problems = Vec::new();
    if !boolean(version, "/deprecated") {
        problems.push("can only be set for deprecated versions".to_owned());
    } else {
        if warning.len() > WARNING_BYTES_MAX {
            problems.push(format!("must be <= {WARNING_BYTES_MAX} characters long"));
        }
        if warning.is_empty() {
            problems.push("must not be an empty string".to_owned());
        }
        if let Some((at, _)) = warning.char_indices().find(|(_, c)| c.is_control()) {
            problems.push(format!(
                "must only contain printable UTF-8 characters; non-printable character found at index {at}"
            ));
        }
    }
    problems.into_iter().map(|problem| Error::invalid(path, warning, problem)).collect()
}

fn names_of(spec: &Spec, path: &Path) -> ErrorList {
    let path = path.child("names");
    let names = spec.value.get("names").unwrap_or(&Value::Null);
    let missing = ["plural", "singular", "kind", "listKind"].into_iter();
    let missing = missing.filter(|key| text(names, &format!("/{key}")).is_empty());
    let mut errors: ErrorList = missing.map(|key| Error::required(&path.child(key), "")).collect();
    errors.extend(own_names::validate(names, &path));
    errors
}

fn subresources(value: Option<&Value>, path: &Path) -> ErrorList {
    let Some(scale) = value.and_then(|own| own.get("scale")).filter(|scale| !scale.is_null()) else {
        return ErrorList::new();
    };
    let mut errors = ErrorList::new();
    for (key, root) in [("specReplicasPath", ".spec"), ("statusReplicasPath", ".status")] {
        let own = text(scale, &format!("/{key}"));
        let name = format!("scale.{key}");
        let path = path.child(&name);
        if own.is_empty() {
            errors.push(Error::required(&path, ""));
        } else if let Some(error) = simple_json_path(own, &path) {
            errors.push(error);
        } else if !is_below(own, root) {
            errors.push(Error::invalid(&path, own, format!("should be a json path under {root}")));
        }
    }
    let selector = text(scale, "/labelSelectorPath");
    let path = path.child("scale.labelSelectorPath");
    if !selector.is_empty() {
        if let Some(error) = simple_json_path(selector, &path) {
            errors.push(error);
        } else if !is_below(selector, ".spec") && !is_below(selector, ".status") {
            errors.push(Error::invalid(&path, selector, "should be a json path under either .spec or .status"));
        }
    }
    errors
}

fn is_below(path: &str, root: &str) -> bool {
    path.strip_prefix(root).is_some_and(|rest| rest.starts_with('.'))
}

fn simple_json_path(text: &str, path: &Path) -> Option<Error> {
    (!text.starts_with('.')).then(|| Error::invalid(path, text, "must be a simple json path starting with ."))
}

fn columns(columns: Option<&[Value]>, list: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    for (index, column) in columns.unwrap_or_default().iter().enumerate() {
        let path = list.index(index);
        if text(column, "/name").is_empty() {
            errors.push(Error::required(&path.child("name"), ""));
        }
        let kinds = || format!("must be one of {}", COLUMN_TYPES.join(","));
        match text(column, "/type") {
            "" => errors.push(Error::required(&path.child("type"), kinds())),
            kind if COLUMN_TYPES.contains(&kind) => {}
            other => errors.push(Error::invalid(&path.child("type"), other, kinds())),
        }
        let format = text(column, "/format");
        if !format.is_empty() && !COLUMN_FORMATS.contains(&format) {
            let detail = format!("must be one of {}", COLUMN_FORMATS.join(","));
            errors.push(Error::invalid(&path.child("format"), format, detail));
        }
        let path = path.child("JSONPath");
        match text(column, "/jsonPath") {
            "" => errors.push(Error::required(&path, "")),
            own => errors.extend(simple_json_path(own, &path)),
        }
    }
    errors
}

fn selectable(fields: &[Value], schema: &Value, list: &Path, options: &Options, version: &str) -> ErrorList {
    // What is wrong with the schema is said elsewhere.
    let Ok(schema) = Schema::parse(schema) else { return ErrorList::new() };
    let mut errors = ErrorList::new();
    let mut seen: Vec<&str> = Vec::new();
    for (index, field) in fields.iter().enumerate() {
        let item = list.index(index);
        let path = item.child("jsonPath");
        let own = text(field, "/jsonPath");
        if own.is_empty() {
            errors.push(Error::required(&path, ""));
            continue;
        }
        let (steps, found) = match field_path::resolve(own, &schema, field_path::Brackets::Refused) {
            Ok(found) => found,
            Err(problem) => {
                errors.push(Error::invalid(&path, own, format!("is an invalid path: {problem}")));
                continue;
            }
        };
        if steps.first().is_some_and(|step| step.name() == "metadata") {
            errors.push(Error::invalid(&path, own, "must not point to fields in metadata"));
        }
        if !matches!(found.kind.as_str(), "string" | "boolean" | "integer") {
            let detail = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.";
            errors.push(Error::invalid(&path, own, detail));
        }
        if seen.contains(&own) {
            errors.push(Error::duplicate(&path, own));
        } else {
            seen.push(own);
        }
    }
    if seen.len() > openapi::SELECTABLE_FIELDS_MAX && !options.many_selectable_fields.contains(version) {
        errors.push(Error::too_many(list, seen.len(), openapi::SELECTABLE_FIELDS_MAX));
    }
    errors
}

fn conversion_of(spec: &Spec, options: &Options, path: &Path) -> ErrorList {
    let Some(conversion) = spec.value.get("conversion").filter(|own| !own.is_null()) else { return ErrorList::new() };
    let path = path.child("conversion");
    let mut errors = ErrorList::new();
    let strategy = text(conversion, "/strategy");
    if strategy != "None" && boolean(spec.value, "/preserveUnknownFields") {
        let detail = "must be None if spec.preserveUnknownFields is true";
        errors.push(Error::invalid(&path.child("strategy"), strategy, detail));
    }
    errors.extend(conversion::validate(conversion, &path, options.conversion_review_version));
    errors
}
