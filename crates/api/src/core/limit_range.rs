//! LimitRange: bounds and defaults for what a single pod, container or claim of a namespace asks for.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{LimitRange, LimitRangeItem};
use machinery::field::{Error, ErrorList, Path};
use machinery::quantity::Quantity;

use super::pod::resources::{self, Amounts};
use crate::kind::{Column, Kind, Version};
use crate::{cells, checks, names};

pub static KIND: Kind = Kind {
    kind: "LimitRange",
    list_kind: "LimitRangeList",
    plural: "limitranges",
    singular: "limitrange",
    short_names: &["limits"],
    versions: &[Version::stored("v1", "io.k8s.api.core.v1.LimitRange")],
    create_on_update: true,
    columns: &[Column::NAME, Column::CREATED_AT],
    cells: |v, _| vec![cells::name(v), cells::created_at(v)],
    hooks: hooks!(
        LimitRange,
        true,
        names::subdomain,
        part { default: default, validate: validate, validate_update: |new, _old| validate(new) }
    ),
    ..Kind::BASE
};

/// A container's default limit is its maximum; its default request is its default limit, else its minimum.
fn default(range: &mut LimitRange) {
    let items = range.spec.iter_mut().flat_map(|spec| &mut spec.limits);
    for item in items.filter(|item| item.type_ == "Container") {
        let fill = |target: &mut Option<Amounts>, source: &Option<Amounts>| {
            for (name, amount) in source.iter().flatten() {
                target.get_or_insert_default().entry(name.clone()).or_insert_with(|| amount.clone());
            }
        };
        let (max, min) = (item.max.clone(), item.min.clone());
        fill(&mut item.default, &max);
        let default = item.default.clone();
        fill(&mut item.default_request, &default);
        fill(&mut item.default_request, &min);
    }
}

fn validate(range: &LimitRange) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::new("spec");
    let list = path.child("limits");
    let items = range.spec.as_ref().map_or(&[][..], |spec| &spec.limits);
    for (i, item) in items.iter().enumerate() {
        let at = list.index(i);
        let kind = at.child("type");
        errors.extend(checks::qualified_name(&item.type_, &kind));
        if !item.type_.contains('/') && !matches!(item.type_.as_str(), "Pod" | "Container" | "PersistentVolumeClaim") {
            errors.push(Error::invalid(&kind, &item.type_, "must be a standard limit type or fully qualified"));
        }
        if items[..i].iter().any(|other| other.type_ == item.type_) {
            errors.push(Error::duplicate(&kind, &item.type_));
        }
        errors.extend(validate_item(item, &at));
    }
    errors
}

fn validate_item(item: &LimitRangeItem, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let mut check = |amounts: &Option<Amounts>, field: &str| {
        let at = path.child(field);
        for (name, amount) in amounts.iter().flatten() {
            let at = at.key(name);
            errors.extend(match item.type_.as_str() {
                "Pod" | "Container" => resources::container_name(name, &at),
                _ => resources::name(name, &at),
            });
            errors.extend(resources::amount(name, amount, &at));
        }
    };
    check(&item.max, "max");
    check(&item.min, "min");
    if item.type_ != "Pod" {
        check(&item.default, "default");
        check(&item.default_request, "defaultRequest");
    }
    check(&item.max_limit_request_ratio, "maxLimitRequestRatio");
    if item.type_ == "Pod" {
        for (field, amounts) in [("default", &item.default), ("defaultRequest", &item.default_request)] {
            if amounts.as_ref().is_some_and(|a| !a.is_empty()) {
                let detail = "may not be specified when `type` is 'Pod'";
                errors.push(Error::forbidden(&path.child(field), detail));
            }
        }
    }
    let has_storage = |amounts: &Option<Amounts>| amounts.as_ref().is_some_and(|a| a.contains_key("storage"));
    if item.type_ == "PersistentVolumeClaim" && !has_storage(&item.min) && !has_storage(&item.max) {
        let detail = "either minimum or maximum storage value is required, but neither was provided";
        errors.push(Error::required(&path.child("limits"), detail));
    }
    let all = [&item.max, &item.min, &item.default, &item.default_request, &item.max_limit_request_ratio];
    let names: BTreeSet<&String> = all.into_iter().flatten().flat_map(Amounts::keys).collect();
    for name in names {
        errors.extend(consistent(item, name, path));
    }
    errors
}

/// minimum <= default request <= default <= maximum, and a ratio that can be met.
fn consistent(item: &LimitRangeItem, name: &str, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let of = |amounts: &Option<Amounts>| amounts.as_ref().and_then(|a| a.get(name)).and_then(checks::quantity);
    let (min, max) = (of(&item.min), of(&item.max));
    let (default, request) = (of(&item.default), of(&item.default_request));
    let above = |a: &Option<Quantity>, b: &Option<Quantity>| match (a, b) {
        (Some(a), Some(b)) => (a.cmp(b) == Ordering::Greater).then(|| (a.to_string(), b.to_string())),
        _ => None,
    };
    let mut refuse = |field: &str, value: &Option<Quantity>, detail: String| {
        let at = path.child(field);
        errors.push(Error::invalid(&at.key(name), value.as_ref().map(ToString::to_string), detail));
    };
    if let Some((a, b)) = above(&min, &max) {
        refuse("min", &min, format!("min value {a} is greater than max value {b}"));
    }
    if let Some((a, b)) = above(&min, &request) {
        refuse("defaultRequest", &request, format!("min value {a} is greater than default request value {b}"));
    }
    if let Some((a, b)) = above(&request, &max) {
        refuse("defaultRequest", &request, format!("default request value {a} is greater than max value {b}"));
    }
    if let Some((a, b)) = above(&request, &default) {
        refuse(
            "defaultRequest",
            &request,
            format!("default request value {a} is greater than default limit value {b}"),
        );
    }
    if let Some((a, b)) = above(&min, &default) {
        refuse("default", &min, format!("min value {a} is greater than default value {b}"));
    }
    if let Some((a, b)) = above(&default, &max) {
        refuse("default", &default, format!("default value {a} is greater than max value {b}"));
    }
    let ratio = of(&item.max_limit_request_ratio);
    if let Some(ratio_value) = &ratio {
        if ratio_value.milli_value() < 1000 {
            refuse("maxLimitRequestRatio", &ratio, format!("ratio {ratio_value} is less than 1"));
        }
        if let (Some(min), Some(max)) = (&min, &max)
            && min.signum() > 0
        {
            let most = max.milli_value() as f64 / min.milli_value() as f64;
            if ratio_value.milli_value() as f64 / 1000.0 > most {
                let detail = format!("ratio {ratio_value} is greater than max/min = {most:.6}");
                refuse("maxLimitRequestRatio", &ratio, detail);
            }
        }
    }
    errors
}
