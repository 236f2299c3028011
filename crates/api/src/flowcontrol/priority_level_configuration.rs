//! PriorityLevelConfiguration: how many requests of one level are served at once, and what becomes of those beyond.

use k8s_openapi::api::flowcontrol::v1::{
    ExemptPriorityLevelConfiguration, LimitResponse, LimitedPriorityLevelConfiguration, PriorityLevelConfiguration,
    PriorityLevelConfigurationSpec, QueuingConfiguration,
};
use machinery::field::{Error, ErrorList, Path};
use serde_json::{Map, Value};

use super::{GROUP, bootstrap};
use crate::kind::{Column, Convert, Deprecated, Kind, Version};
use crate::value::{semantically_equal, text};
use crate::{cells, internal, names, strategy};

const SCHEMA: &str = "io.k8s.api.flowcontrol.v1.PriorityLevelConfiguration";
/// Of v1beta1 too: the two differ in nothing.
const SCHEMA_V1BETA2: &str = "io.k8s.api.flowcontrol.v1beta2.PriorityLevelConfiguration";
const TYPES: &[&str] = &["Exempt", "Limited"];
const RESPONSES: &[&str] = &["Queue", "Reject"];
const SHARES: i32 = 30;
const QUEUES: i32 = 64;
const HAND_SIZE: i32 = 8;
const QUEUE_LENGTH: i32 = 50;
const QUEUES_MAX: i32 = 10_000_000;
/// A hand of queues is dealt from a hash of this many bits.
const HASH_BITS: f64 = 60.0;

pub static KIND: Kind = Kind {
    group: GROUP,
    kind: "PriorityLevelConfiguration",
    list_kind: "PriorityLevelConfigurationList",
    plural: "prioritylevelconfigurations",
    singular: "prioritylevelconfiguration",
    namespaced: false,
    versions: &[
        Version::stored("v1", SCHEMA),
        old("v1beta3", SCHEMA, "1.29", "1.32"),
        Version { convert: Some(ASSURED), ..old("v1beta2", SCHEMA_V1BETA2, "1.26", "1.29") },
        Version { convert: Some(ASSURED), ..old("v1beta1", SCHEMA_V1BETA2, "1.23", "1.26") },
    ],
    status: true,
    generation: true,
    columns: COLUMNS,
    cells: |v, now| {
        let limited = |pointer: &str| v.pointer(pointer).cloned().unwrap_or_else(|| "<none>".into());
        let queuing = |field: &str| limited(&format!("/spec/limited/limitResponse/queuing/{field}"));
        vec![
            cells::name(v),
            text(v, "/spec/type").into(),
            limited("/spec/limited/nominalConcurrencyShares"),
            queuing("queues"),
            queuing("handSize"),
            queuing("queueLengthLimit"),
            cells::age(v, now),
        ]
    },
    hooks: hooks!(
        PriorityLevelConfiguration,
        false,
        names::subdomain,
        full {
            default: default,
            prepare_create: strategy::create_with_status,
            prepare_update: strategy::update_spec,
            prepare_status_update: |new: &mut Value, old: &Value| {
                strategy::update_status(new, old);
                strategy::keep_metadata(new, old);
            },
            validate: validate,
            validate_update: |new, _old| validate(new),
            validate_status_update: |new: &PriorityLevelConfiguration, _old: &PriorityLevelConfiguration| {
                let conditions = new.status.iter().flat_map(|status| status.conditions.iter().flatten());
                super::condition_types(conditions.map(|condition| condition.type_.as_ref()))
            },
        }
    ),
    ..Kind::BASE
};

const fn old(name: &'static str, schema: &'static str, since: &'static str, removed: &'static str) -> Version {
    let replacement = "flowcontrol.apiserver.k8s.io/v1 PriorityLevelConfiguration";
    Version::old(GROUP, name, schema, Deprecated { since, removed: Some(removed), replacement }, |_| {})
}

/// Before v1beta3 shares were called assured, and none of them were as good as not said.
const ASSURED: Convert = Convert {
    to_storage: |level| {
        let shares = limited(level).and_then(|limited| limited.shift_remove("assuredConcurrencyShares"));
        if let (Some(limited), Some(shares)) = (limited(level), shares.filter(|shares| shares.as_i64() != Some(0))) {
            limited.insert("nominalConcurrencyShares".to_string(), shares);
        }
    },
    from_storage: |level| {
        if let Some(limited) = limited(level)
            && let Some(shares) = limited.shift_remove("nominalConcurrencyShares")
        {
            limited.insert("assuredConcurrencyShares".to_string(), shares);
        }
    },
};

fn limited(level: &mut Value) -> Option<&mut Map<String, Value>> {
    level.pointer_mut("/spec/limited")?.as_object_mut()
}

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::new(
        "Type",
        "string",
        0,
        "`type` indicates whether this priority level is subject to limitation on request execution.  A value of `\"Exempt\"` means that requests of this priority level are not subject to a limit (and thus are never queued) and do not detract from the capacity made available to other priority levels.  A value of `\"Limited\"` means that (a) requests of this priority level _are_ subject to limits and (b) some of the server's limited capacity is made available exclusively to this priority level. Required.",
    ),
    Column::new(
        "NominalConcurrencyShares",
        "string",
        0,
        "`nominalConcurrencyShares` (NCS) contributes to the computation of the NominalConcurrencyLimit (NominalCL) of this level. This is the number of execution seats available at this priority level. This is used both for requests dispatched from this priority level as well as requests dispatched from other priority levels borrowing seats from this level. The server's concurrency limit (ServerCL) is divided among the Limited priority levels in proportion to their NCS values:\n\nNominalCL(i)  = ceil( ServerCL * NCS(i) / sum_ncs ) sum_ncs = sum[priority level k] NCS(k)\n\nBigger numbers mean a larger nominal concurrency limit, at the expense of every other priority level.\n\nIf not specified, this field defaults to a value of 30.\n\nSetting this field to zero supports the construction of a \"jail\" for this priority level that is used to hold some request(s)",
    ),
    Column::new(
        "Queues",
        "string",
        0,
        "`queues` is the number of queues for this priority level. The queues exist independently at each apiserver. The value must be positive.  Setting it to 1 effectively precludes shufflesharding and thus makes the distinguisher method of associated flow schemas irrelevant.  This field has a default value of 64.",
    ),
    Column::new(
        "HandSize",
        "string",
        0,
        "`handSize` is a small positive number that configures the shuffle sharding of requests into queues.  When enqueuing a request at this priority level the request's flow identifier (a string pair) is hashed and the hash value is used to shuffle the list of queues and deal a hand of the size specified here.  The request is put into one of the shortest queues in that hand. `handSize` must be no larger than `queues`, and should be significantly smaller (so that a few heavy flows do not saturate most of the queues).  See the user-facing documentation for more extensive guidance on setting this field.  This field has a default value of 8.",
    ),
    Column::new(
        "QueueLengthLimit",
        "string",
        0,
        "`queueLengthLimit` is the maximum number of requests allowed to be waiting in a given queue of this priority level at a time; excess requests are rejected.  This value must be positive.  If not specified, it will be defaulted to 50.",
    ),
    Column::AGE,
];

fn default(level: &mut PriorityLevelConfiguration) {
    let Some(spec) = level.spec.as_mut() else { return };
    if let Some(exempt) = &mut spec.exempt {
        exempt.nominal_concurrency_shares.get_or_insert(0);
        exempt.lendable_percent.get_or_insert(0);
    }
    let Some(limited) = &mut spec.limited else { return };
    limited.nominal_concurrency_shares.get_or_insert(SHARES);
    limited.lendable_percent.get_or_insert(0);
    let Some(queuing) = limited.limit_response.as_mut().and_then(|response| response.queuing.as_mut()) else { return };
    for (field, value) in [
        (&mut queuing.queues, QUEUES),
        (&mut queuing.hand_size, HAND_SIZE),
        (&mut queuing.queue_length_limit, QUEUE_LENGTH),
    ] {
        if field.unwrap_or(0) == 0 {
            *field = Some(value);
        }
    }
}

fn validate(level: &PriorityLevelConfiguration) -> ErrorList {
    let nothing = PriorityLevelConfigurationSpec::default();
    let (spec, path) = (level.spec.as_ref().unwrap_or(&nothing), Path::new("spec"));
    let name = level.metadata.name.as_deref().unwrap_or_default();
    let mut errors = ErrorList::new();
    if (name == bootstrap::EXEMPT) != (spec.type_ == "Exempt") {
        let detail = "must be 'Exempt' if and only if `name` is 'exempt'";
        errors.push(Error::invalid(&path.child("type"), &spec.type_, detail));
    }
    match spec.type_.as_str() {
        "Exempt" => {
            if let Some(exempt) = &spec.exempt {
                errors.extend(validate_exempt(exempt, &path.child("exempt")));
            }
            if spec.limited.is_some() {
                let detail = "must be nil if the type is not Limited";
                errors.push(Error::forbidden(&path.child("limited"), detail));
            }
        }
        "Limited" => {
            if spec.exempt.is_some() {
                errors.push(Error::forbidden(&path.child("exempt"), "must be nil if the type is Limited"));
            }
            match &spec.limited {
                Some(limited) => errors.extend(validate_limited(limited, &path.child("limited"))),
                None => {
                    errors.push(Error::required(&path.child("limited"), "must not be empty when type is Limited"));
                }
            }
        }
        other => errors.push(Error::not_supported(&path.child("type"), other, TYPES)),
    }
    errors.extend(validate_mandatory(name, spec, &path));
    errors
}

/// Of the level of those who never wait, what it lends may be chosen; the last resort is as it is.
fn validate_mandatory(name: &str, spec: &PriorityLevelConfigurationSpec, path: &Path) -> Option<Error> {
    let wanted = bootstrap::is_mandatory(name).then(bootstrap::priority_levels)?;
    let wanted = wanted.into_iter().find(|level| text(level, "/metadata/name") == name)?;
    // A struct of plain fields always becomes JSON.
    let own = serde_json::to_value(spec).unwrap_or_default();
    let is_exempt = name == bootstrap::EXEMPT;
    let fields: &[&str] = if is_exempt { &["type", "limited"] } else { &["type", "limited", "exempt"] };
    if fields.iter().all(|field| semantically_equal(own.get(field), wanted["spec"].get(field))) {
        return None;
    }
    let except = if is_exempt { "except the 'spec.exempt' field " } else { "" };
    let shown = internal::shown("io.k8s.api.flowcontrol.v1.PriorityLevelConfigurationSpec", spec);
    Some(Error::invalid(path, shown, format!("spec of '{name}' {except}must equal the fixed value")))
}

fn validate_exempt(exempt: &ExemptPriorityLevelConfiguration, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    errors.extend(not_negative(exempt.nominal_concurrency_shares, &path.child("nominalConcurrencyShares")));
    errors.extend(percent(exempt.lendable_percent, &path.child("lendablePercent")));
    errors
}

fn validate_limited(limited: &LimitedPriorityLevelConfiguration, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    errors.extend(not_negative(limited.nominal_concurrency_shares, &path.child("nominalConcurrencyShares")));
    let response = limited.limit_response.clone().unwrap_or_default();
    errors.extend(validate_response(&response, &path.child("limitResponse")));
    errors.extend(percent(limited.lendable_percent, &path.child("lendablePercent")));
    if let Some(borrowed) = limited.borrowing_limit_percent.filter(|percent| *percent < 0) {
        let detail = "if specified, must be a non-negative integer";
        errors.push(Error::invalid(&path.child("borrowingLimitPercent"), borrowed, detail));
    }
    errors
}

fn not_negative(shares: Option<i32>, path: &Path) -> Option<Error> {
    let shares = shares.filter(|shares| *shares < 0)?;
    Some(Error::invalid(path, shares, "must be a non-negative integer"))
}

fn percent(percent: Option<i32>, path: &Path) -> Option<Error> {
    let percent = percent.filter(|percent| !(0..=100).contains(percent))?;
    Some(Error::invalid(path, percent, "must be between 0 and 100, inclusive"))
}

fn validate_response(response: &LimitResponse, path: &Path) -> ErrorList {
    let at = path.child("queuing");
    match (response.type_.as_str(), &response.queuing) {
        ("Reject", None) => ErrorList::new(),
        ("Reject", Some(_)) => {
            vec![Error::forbidden(&at, "must be nil if limited.limitResponse.type is not Limited")]
        }
        ("Queue", None) => {
            vec![Error::required(&at, "must not be empty if limited.limitResponse.type is Limited")]
        }
        ("Queue", Some(queuing)) => validate_queuing(queuing, &at),
        (other, _) => vec![Error::not_supported(&path.child("type"), other, RESPONSES)],
    }
}

fn validate_queuing(queuing: &QueuingConfiguration, path: &Path) -> ErrorList {
    let (queues, hand) = (queuing.queues.unwrap_or(0), queuing.hand_size.unwrap_or(0));
    let mut errors = ErrorList::new();
    let length = queuing.queue_length_limit.unwrap_or(0);
    if length <= 0 {
        errors.push(Error::invalid(&path.child("queueLengthLimit"), length, "must be positive"));
    }
    let at = path.child("queues");
    if queues <= 0 {
        errors.push(Error::invalid(&at, queues, "must be positive"));
    } else if queues > QUEUES_MAX {
        errors.push(Error::invalid(&at, queues, format!("must not be greater than {QUEUES_MAX}")));
    }
    let at = path.child("handSize");
    if hand <= 0 {
        errors.push(Error::invalid(&at, hand, "must be positive"));
    } else if hand > queues {
        errors.push(Error::invalid(&at, hand, format!("should not be greater than queues ({queues})")));
    } else if !is_dealt_from_hash(queues, hand) {
        let detail = format!(
            "required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {HASH_BITS}"
        );
        errors.push(Error::invalid(&at, hand, detail));
    }
    errors
}

/// Whether a hash has enough bits to deal a hand: log2 of the number of ordered hands.
fn is_dealt_from_hash(queues: i32, hand: i32) -> bool {
    let mut bits = 0.0;
    for dealt in 0..hand {
        bits += f64::from(queues - dealt).log2();
        if bits > HASH_BITS {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn errors(name: &str, spec: Value) -> Vec<String> {
        let mut object = json!({"metadata": {"name": name}, "spec": spec});
        (KIND.hooks.default)(&mut object).unwrap();
        (KIND.hooks.validate)(&object).iter().map(Error::to_string).collect()
    }

    #[test]
    fn of_mandatory_levels_only_what_the_exempt_lend_may_be_chosen() {
        let lending = json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 10, "lendablePercent": 50}});
        assert_eq!(errors("exempt", lending), Vec::<String>::new());
        let bad = json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": -1, "lendablePercent": 101}});
        assert_eq!(
            errors("exempt", bad),
            [
                "spec.exempt.nominalConcurrencyShares: Invalid value: -1: must be a non-negative integer",
                "spec.exempt.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive"
            ]
        );
        let limited = json!({"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}});
        let [wrong_type, wrong_spec] = errors("exempt", limited.clone()).try_into().unwrap();
        assert!(wrong_type.starts_with("spec.type: Invalid value: \"Limited\": must be 'Exempt'"), "{wrong_type}");
        assert!(wrong_spec.ends_with(": spec of 'exempt' except the 'spec.exempt' field must equal the fixed value"));
        assert!(errors("catch-all", limited)[0].ends_with(": spec of 'catch-all' must equal the fixed value"));
    }

    #[test]
    fn hands_are_small_enough_to_be_dealt_from_one_hash() {
        for (queues, hand, fits) in
            [(512, 8, false), (128, 10, false), (10_000_000, 2, true), (512, 4, true), (1, 1, true), (64, 8, true)]
        {
            assert_eq!(is_dealt_from_hash(queues, hand), fits, "{hand} of {queues}");
        }
    }

    #[test]
    fn cells_of_a_level_without_queues_say_so() {
        let level = json!({"metadata": {"name": "exempt"}, "spec": {"type": "Exempt"}});
        let cells = (KIND.cells)(&level, jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(cells[2..6], ["<none>", "<none>", "<none>", "<none>"]);
    }
}
