//! What the API's FlowSchemas and PriorityLevelConfigurations ask for. The mandatory ones are there even before (or without)
//! their objects: whoever may do anything is never held up, and what nothing matches is served in one small level.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use api::flowcontrol::bootstrap::{self, CATCH_ALL};
use k8s_openapi::api::flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::level::{Level, Shape};
use super::queues::Queuing;
use super::schema::Schema;
use crate::{RequestInfo, UserInfo};

/// Shares of the levels that do not say how many they have.
const SHARES: i32 = 30;

struct Mandatory {
    levels: Vec<Arc<PriorityLevelConfiguration>>,
    schemas: Vec<Arc<FlowSchema>>,
}

static MANDATORY: LazyLock<Mandatory> = LazyLock::new(|| Mandatory {
    levels: mandatory(bootstrap::priority_levels()),
    schemas: mandatory(bootstrap::flow_schemas()),
});

/// Those without which there would be requests that nothing lets in. They have no uid: nobody has written them.
fn mandatory<T: DeserializeOwned>(objects: Vec<Value>) -> Vec<Arc<T>> {
    let mandatory = objects
        .into_iter()
        .filter(|object| object.pointer("/metadata/name").and_then(Value::as_str).is_some_and(bootstrap::is_mandatory));
    mandatory.filter_map(|object| serde_json::from_value(object).ok()).map(Arc::new).collect()
}

/// The schemas in the order in which they are tried, and the levels by name.
#[derive(Default)]
pub struct Plan {
    /// Of the two kinds' objects that this was made from.
    pub revision: Option<[u64; 2]>,
    schemas: Vec<Schema>,
    pub levels: BTreeMap<String, Arc<Level>>,
}

pub struct Found<'p, 'r> {
    pub schema: &'p Schema,
    pub distinguisher: &'r str,
}

impl Plan {
    /// Levels that were there before are kept, with the requests that wait in them.
    pub fn new(
        revision: [u64; 2],
        schemas: &[Arc<FlowSchema>],
        levels: &[Arc<PriorityLevelConfiguration>],
        seats: usize,
        before: &Self,
    ) -> Self {
        let mut wanted: BTreeMap<&str, (String, Shape, i32)> = BTreeMap::new();
        // The mandatory ones first: what the API holds stands above them.
        for object in MANDATORY.levels.iter().chain(levels) {
            let uid = object.metadata.uid.clone().unwrap_or_default();
            let (shape, shares) = shape(object);
            wanted.insert(object.metadata.name.as_deref().unwrap_or_default(), (uid, shape, shares));
        }
        let sum = wanted.values().map(|(_, _, shares)| i64::from(*shares)).sum::<i64>().max(1);
        let levels: BTreeMap<String, Arc<Level>> = wanted
            .into_iter()
            .map(|(name, (uid, shape, shares))| {
                let level = before.levels.get(name).cloned().unwrap_or_else(|| Arc::new(Level::new(name)));
                let nominal = (seats as i64 * i64::from(shares) + sum - 1) / sum;
                level.configure(uid, shape, nominal as usize, seats);
                (name.to_owned(), level)
            })
            .collect();
        // A schema whose level does not exist is as if it were not there.
        let named = |object: &Arc<FlowSchema>| {
            let level = levels.get(&object.spec.as_ref()?.priority_level_configuration.name)?;
            Some(Schema::new(object, level.clone()))
        };
        let mut schemas: Vec<Schema> = schemas.iter().filter_map(named).collect();
        for object in &MANDATORY.schemas {
            let lacks = schemas.iter().all(|schema| Some(&schema.name) != object.metadata.name.as_ref());
            schemas.extend(named(object).filter(|_| lacks));
        }
        schemas.sort_by(|a, b| (a.precedence, &a.name).cmp(&(b.precedence, &b.name)));
        Self { revision: Some(revision), schemas, levels }
    }

    /// The first schema that matches. What none matches (a request of nobody's group) falls under the last, the catch-all.
    pub fn classify<'p, 'r>(&'p self, user: &'r UserInfo, info: &'r RequestInfo) -> Found<'p, 'r> {
        let matching = self.schemas.iter().find(|schema| schema.matches(user, info));
        let last = || self.schemas.iter().find(|schema| schema.name == CATCH_ALL);
        let schema = matching.or_else(last).unwrap_or(&self.schemas[self.schemas.len() - 1]);
        Found { schema, distinguisher: schema.distinguisher(user, info) }
    }
}

fn shape(object: &PriorityLevelConfiguration) -> (Shape, i32) {
    let Some(spec) = &object.spec else { return (Shape::REJECT, SHARES) };
    if spec.type_ == "Exempt" {
        let exempt = spec.exempt.clone().unwrap_or_default();
        let shares = exempt.nominal_concurrency_shares.unwrap_or(0);
        return (Shape { lendable_percent: exempt.lendable_percent.unwrap_or(0), ..Shape::EXEMPT }, shares);
    }
    let limited = spec.limited.clone().unwrap_or_default();
    let queuing = limited.limit_response.filter(|response| response.type_ == "Queue").map(|response| {
        let queuing = response.queuing.unwrap_or_default();
        let count =
            |value: Option<i32>, default: usize| value.and_then(|value| value.try_into().ok()).unwrap_or(default);
        Queuing {
            queues: count(queuing.queues, 64).max(1),
            hand: count(queuing.hand_size, 8).max(1),
            length_max: count(queuing.queue_length_limit, 50),
        }
    });
    let shape = Shape {
        exempt: false,
        queuing,
        lendable_percent: limited.lendable_percent.unwrap_or(0),
        borrowing_limit_percent: limited.borrowing_limit_percent,
    };
    (shape, limited.nominal_concurrency_shares.unwrap_or(SHARES))
}
