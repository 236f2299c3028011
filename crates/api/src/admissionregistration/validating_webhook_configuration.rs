//! ValidatingWebhookConfiguration: webhooks that may refuse what is written, asked all at once.

use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use machinery::field::ErrorList;
use serde_json::Value;

use super::webhooks::{self, Hook, Strictness};
use super::{GROUP, first_generation, v1beta1};
use crate::kind::{Column, Kind, Version};
use crate::value::list;
use crate::{cells, erase, names, strategy};

const SCHEMA: &str = "io.k8s.api.admissionregistration.v1.ValidatingWebhookConfiguration";
const REPLACEMENT: &str = "admissionregistration.k8s.io/v1 ValidatingWebhookConfiguration";

pub static KIND: Kind = Kind {
    group: GROUP,
    kind: "ValidatingWebhookConfiguration",
    list_kind: "ValidatingWebhookConfigurationList",
    plural: "validatingwebhookconfigurations",
    singular: "validatingwebhookconfiguration",
    categories: &["api-extensions"],
    namespaced: false,
    unconditional_update: false,
    versions: &[
        Version::stored("v1", SCHEMA),
        Version {
            check_instead: Some(check_v1beta1),
            ..v1beta1(SCHEMA, "1.16", "1.22", REPLACEMENT, webhooks::default_v1beta1)
        },
    ],
    columns: &[
        Column::NAME,
        Column::new(
            "Webhooks",
            "integer",
            0,
            "Webhooks indicates the number of webhooks registered in this configuration",
        ),
        Column::AGE,
    ],
    cells: |v, now| vec![cells::name(v), list(v, "/webhooks").len().into(), cells::age(v, now)],
    hooks: hooks!(
        ValidatingWebhookConfiguration,
        false,
        names::subdomain,
        generic_full {
            default: default,
            prepare_create: first_generation,
            validate: |new| validate(new, None, Strictness::V1),
            prepare_update: |new: &mut Value, old: &Value| strategy::bump_generation(new, old, &["webhooks"]),
            validate_update: |new, old| validate(new, Some(old), Strictness::V1),
        }
    ),
    ..Kind::BASE
};

fn default(configuration: &mut ValidatingWebhookConfiguration) {
    for hook in configuration.webhooks.iter_mut().flatten() {
        webhooks::default_hook!(&mut *hook);
    }
}

fn validate(
    new: &ValidatingWebhookConfiguration,
    old: Option<&ValidatingWebhookConfiguration>,
    strictness: Strictness,
) -> ErrorList {
    webhooks::validate(&hooks_of(new), old.map(hooks_of).as_deref(), strictness)
}

fn hooks_of(configuration: &ValidatingWebhookConfiguration) -> Vec<Hook<'_>> {
    configuration.webhooks.iter().flatten().map(Hook::from).collect()
}

/// v1beta1 knew fewer rules.
fn check_v1beta1(new: &Value, old: Option<&Value>) -> ErrorList {
    let Some(old) = old else {
        let mut errors = erase::metadata_generic(new, false, names::subdomain);
        errors.extend(erase::check::<ValidatingWebhookConfiguration>(new, |new| {
            validate(new, None, Strictness::V1BETA1)
        }));
        return errors;
    };
    let mut errors = erase::metadata_update_again(new, old, false, Some(names::subdomain));
    errors.extend(erase::compare::<ValidatingWebhookConfiguration>(new, old, |new, old| {
        validate(new, Some(old), Strictness::V1BETA1)
    }));
    errors
}
