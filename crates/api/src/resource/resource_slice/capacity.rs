//! How much of a capacity a request for a part of a device may take: one of a few amounts, or steps within a range.

use k8s_openapi::api::resource::v1::{CapacityRequestPolicy, CapacityRequestPolicyRange, DeviceCapacity};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use machinery::field::{Error, ErrorList, Path};
use machinery::quantity::Quantity;

use super::super::lists;
use crate::checks;

const VALUES_MAX: usize = 10;

/// Only of a device that several may use at once a request takes a part.
pub fn validate(capacity: &DeviceCapacity, is_shared: bool, path: &Path) -> ErrorList {
    let Some(policy) = &capacity.request_policy else { return ErrorList::new() };
    let path = path.child("requestPolicy");
    if !is_shared {
        return vec![Error::forbidden(&path, "allowMultipleAllocations must be true")];
    }
    let total = given(Some(&capacity.value)).unwrap_or_default();
    validate_policy(policy, &total, &path)
}

/// What is there and can be read; a quantity that is required is empty text where it is missing.
fn given(text: Option<&Text>) -> Option<Quantity> {
    text.and_then(checks::quantity)
}

fn validate_policy(policy: &CapacityRequestPolicy, total: &Quantity, path: &Path) -> ErrorList {
    let values = policy.valid_values.as_deref().filter(|values| !values.is_empty());
    let default = given(policy.default.as_ref());
    let missing =
        |rule: &str| vec![Error::required(&path.child("default"), format!("required when {rule} is defined"))];
    match (values, &policy.valid_range) {
        (Some(_), Some(_)) => {
            let detail = r#"exactly one policy can be specified, cannot specify "validValues" and "validRange" at the same time"#;
            vec![Error::forbidden(path, detail)]
        }
        (Some(texts), None) => match default {
            None => missing("validValues"),
            Some(default) => validate_values(texts, &default, total, &path.child("validValues")),
        },
        (None, Some(range)) => match default {
            None => missing("validRange"),
            Some(default) => validate_range(range, &default, total, &path.child("validRange")),
        },
        (None, None) => ErrorList::new(),
    }
}

fn validate_values(texts: &[Text], default: &Quantity, total: &Quantity, path: &Path) -> ErrorList {
    let values: Vec<Quantity> = texts.iter().map(|text| given(Some(text)).unwrap_or_default()).collect();
    let mut errors = ErrorList::new();
    for (i, pair) in values.windows(2).enumerate() {
        if pair[0] > pair[1] {
            let detail = "values must be sorted in ascending order";
            errors.push(Error::invalid(&path.index(i + 1), pair[1].to_string(), detail));
        }
    }
    let too_large = |value: &Quantity, path: &Path| match value > total {
        true => {
            let detail = format!("option is larger than capacity value: {total}");
            vec![Error::invalid(path, value.to_string(), detail)]
        }
        false => ErrorList::new(),
    };
    // Upstream compares them as whole numbers.
    errors.extend(lists::unique(Some(&values), VALUES_MAX, path, too_large, |value| value.value().to_string()));
    if values.len() > VALUES_MAX || !values.contains(default) {
        let detail = "default value is not valid according to the requestPolicy";
        errors.push(Error::invalid(path, default.to_string(), detail));
    }
    errors
}

fn validate_range(range: &CapacityRequestPolicyRange, default: &Quantity, total: &Quantity, path: &Path) -> ErrorList {
    let (min_at, max_at, step_at) = (path.child("min"), path.child("max"), path.child("step"));
    let Some(min) = given(Some(&range.min)) else {
        return vec![Error::required(&min_at, "required when validRange is defined")];
    };
    let mut errors = ErrorList::new();
    let mut refuse = |when: bool, path: &Path, value: &Quantity, detail: String| {
        if when {
            errors.push(Error::invalid(path, value.to_string(), detail));
        }
    };
    refuse(min > *total, &min_at, &min, format!("min is larger than capacity value: {total}"));
    refuse(*default < min, &min_at, default, format!("default is less than min: {min}"));
    let max = given(range.max.as_ref());
    if let Some(max) = &max {
        refuse(min > *max, &max_at, &min, format!("min is larger than max: {max}"));
        refuse(max > total, &max_at, max, format!("max is larger than capacity value: {total}"));
        refuse(default > max, &max_at, default, format!("default is more than max: {max}"));
    }
    if let Some(step) = given(range.step.as_ref()) {
        let first = min.add(&step);
        let detail = format!("one step {first} is larger than capacity value: {total}");
        refuse(first > *total, &step_at, &step, detail);
        if step.signum() <= 0 || step.value() == 0 {
            refuse(true, &step_at, &step, "must be greater than zero".to_owned());
            return errors;
        }
        let fits = |value: &Quantity| {
            let [value, min, step] = [value, &min, &step].map(|quantity| i128::from(quantity.value()));
            (value - min) % step == 0
        };
        for value in [Some(default), max.as_ref()].into_iter().flatten() {
            let detail = format!("value is not a multiple of a given step ({step}) from ({min})");
            refuse(!fits(value), &step_at, value, detail);
        }
    }
    errors
}
