//! MutatingWebhookConfiguration: webhooks that may change what is written, asked one after the other.

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use machinery::field::ErrorList;
use serde_json::Value;

use super::webhooks::{self, Hook, Strictness};
use super::{GROUP, first_generation, v1beta1};
use crate::kind::{Column, Kind, Version};
use crate::value::list;
use crate::{cells, erase, names, strategy};

const SCHEMA: &str = "io.k8s.api.admissionregistration.v1.MutatingWebhookConfiguration";
const REPLACEMENT: &str = "admissionregistration.k8s.io/v1 MutatingWebhookConfiguration";

pub static KIND: Kind = Kind {
    group: GROUP,
    kind: "MutatingWebhookConfiguration",
    list_kind: "MutatingWebhookConfigurationList",
    plural: "mutatingwebhookconfigurations",
    singular: "mutatingwebhookconfiguration",
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
        MutatingWebhookConfiguration,
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

fn default(configuration: &mut MutatingWebhookConfiguration) {
    for hook in configuration.webhooks.iter_mut().flatten() {
        webhooks::default_hook!(&mut *hook);
        hook.reinvocation_policy.get_or_insert_with(|| "Never".to_string());
    }
}

fn validate(
    new: &MutatingWebhookConfiguration,
    old: Option<&MutatingWebhookConfiguration>,
    strictness: Strictness,
) -> ErrorList {
    webhooks::validate(&hooks_of(new), old.map(hooks_of).as_deref(), strictness)
}

fn hooks_of(configuration: &MutatingWebhookConfiguration) -> Vec<Hook<'_>> {
    configuration.webhooks.iter().flatten().map(Hook::from).collect()
}

/// v1beta1 knew fewer rules.
fn check_v1beta1(new: &Value, old: Option<&Value>) -> ErrorList {
    let Some(old) = old else {
        let mut errors = erase::metadata_generic(new, false, names::subdomain);
        errors
            .extend(erase::check::<MutatingWebhookConfiguration>(new, |new| validate(new, None, Strictness::V1BETA1)));
        return errors;
    };
    let mut errors = erase::metadata_update_again(new, old, false, Some(names::subdomain));
    errors.extend(erase::compare::<MutatingWebhookConfiguration>(new, old, |new, old| {
        validate(new, Some(old), Strictness::V1BETA1)
    }));
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn configuration(side_effects: &str) -> Value {
        let client = json!({"url": "https://hooks.example.com/"});
        let hook = json!({"name": "w.example.com", "clientConfig": client, "sideEffects": side_effects});
        json!({"metadata": {"name": "c", "resourceVersion": "1"}, "webhooks": [hook]})
    }

    #[test]
    fn v1beta1_has_defaults_and_freedoms_of_its_own() {
        let [v1, v1beta1] = KIND.versions else { panic!("two versions") };
        let mut old = configuration("Some");
        webhooks::default_v1beta1(&mut old);
        (KIND.hooks.default)(&mut old).unwrap();
        let hook = &old["webhooks"][0];
        assert_eq!(hook["failurePolicy"], "Ignore");
        assert_eq!(hook["timeoutSeconds"], 30);
        assert_eq!(hook["admissionReviewVersions"], json!(["v1beta1"]));
        assert_eq!(v1beta1.check(&KIND, &old, None), Vec::new());
        // v1 takes no such object, but lets one that is there be.
        let errors = v1.check(&KIND, &old, None);
        assert_eq!(errors.iter().map(|e| e.field.as_str()).collect::<Vec<_>>(), ["webhooks[0].sideEffects"]);
        assert_eq!(v1.check(&KIND, &old, Some(&old)), Vec::new());
    }

    #[test]
    fn only_changed_webhooks_move_the_generation() {
        let old = configuration("None");
        let mut same = old.clone();
        same["metadata"]["labels"] = json!({"a": "b"});
        (KIND.hooks.prepare_update)(&mut same, &old).unwrap();
        assert_eq!(strategy::generation(&same), 0);
        let mut new = configuration("NoneOnDryRun");
        (KIND.hooks.prepare_update)(&mut new, &old).unwrap();
        assert_eq!(strategy::generation(&new), 1);
    }
}
