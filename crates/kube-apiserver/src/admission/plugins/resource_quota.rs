//! ResourceQuotas: a write that would use more than is left is refused, any other is accounted before it happens.
//!
//! The account is status.used of the quota itself, moved by compare-and-swap, so that two creates at once cannot both
//! take the last place. The controller corrects the account when objects go, or when an accounted write fails after all.

use std::collections::BTreeMap;

use async_trait::async_trait;
use machinery::quantity::Quantity;
use machinery::status::Status;
use serde_json::{Map, Value};

use crate::admission::usage::{self as quota, Usage};
use crate::admission::{Operation, Plugin, Review};
use crate::registry::{NoAdmission, Owner, Part, WriteOptions, object};

/// How often a contested account is tried.
const TRIES: usize = 20;

pub struct ResourceQuota;

#[async_trait]
impl Plugin for ResourceQuota {
    fn name(&self) -> &'static str {
        "ResourceQuota"
    }

    async fn validate(&self, review: &Review<'_>, new: Option<&Value>) -> Result<(), Status> {
        let counts = quota::changes_usage(review.kind, review.subresource) && !review.namespace.is_empty();
        let Some(object) = new.filter(|_| counts) else { return Ok(()) };
        if review.kind.is_virtual || !matches!(review.operation, Operation::Create | Operation::Update) {
            return Ok(());
        }
        let Some((quotas, _)) = api::find("", "v1", "resourcequotas") else { return Ok(()) };
        if std::ptr::eq(review.kind, quotas) && review.operation == Operation::Update {
            return Ok(());
        }
        let registry = &review.server.registry;
        let mut refused = None;
        for _ in 0..TRIES {
            let applicable = registry.list(quotas, review.namespace);
            let mut charges = Vec::new();
            for quota in &applicable {
                if let Some(charge) = charge(review, quota, object)? {
                    charges.push((object::name(quota).to_owned(), object::resource_version(quota).to_owned(), charge));
                }
            }
            if review.dry_run || charges.is_empty() {
                return Ok(());
            }
            match settle(review, quotas, charges).await {
                Ok(()) => return Ok(()),
                Err(status) if status.is_conflict() || status.is_not_found() => refused = Some(status),
                Err(status) => return Err(status),
            }
        }
        Err(refused.unwrap_or_else(|| Status::internal("resource quota evaluation timed out")))
    }
}

/// What the write adds to a quota, if the quota is about it; a refusal if that is too much.
fn charge(review: &Review<'_>, quota: &Value, object: &Value) -> Result<Option<Usage>, Status> {
    let hard = quota::quantities(quota.pointer("/status/hard"));
    let resources: Vec<&str> =
        hard.keys().map(String::as_str).filter(|name| quota::measures(review.kind, name)).collect();
    if resources.is_empty() || !quota::in_scope(quota, review.kind, object) {
        return Ok(None);
    }
    let name = object::name(quota);
    if review.operation == Operation::Create {
        let missing = quota::missing(review.kind, object, &resources);
        if !missing.is_empty() {
            return Err(review.forbidden(Some(object), format!("failed quota: {name}: must specify {missing}")));
        }
    }
    let used = quota::quantities(quota.pointer("/status/used"));
    let unknown: Vec<&str> = resources.iter().copied().filter(|resource| !used.contains_key(*resource)).collect();
    if !unknown.is_empty() {
        let message = format!("status unknown for quota: {name}, resources: {}", unknown.join(","));
        return Err(review.forbidden(Some(object), message));
    }
    let mut delta = measure(review, object);
    if let Some(old) = review.old.filter(|old| quota::in_scope(quota, review.kind, old)) {
        for (resource, before) in measure(review, old) {
            let now = delta.remove(&resource).unwrap_or_default();
            delta.insert(resource, now.sub(&before));
        }
    }
    delta.retain(|resource, amount| resources.contains(&resource.as_str()) && amount.signum() > 0);
    let exceeded: Vec<&String> = delta
        .iter()
        .filter(|(resource, amount)| {
            let total = used.get(*resource).map_or_else(|| (*amount).clone(), |used| used.add(amount));
            hard.get(*resource).is_some_and(|hard| total > *hard)
        })
        .map(|(resource, _)| resource)
        .collect();
    if !exceeded.is_empty() {
        let show = |from: &BTreeMap<String, Quantity>| {
            let pairs = exceeded.iter().filter_map(|resource| Some(format!("{resource}={}", from.get(*resource)?)));
            pairs.collect::<Vec<_>>().join(",")
        };
        let message = format!(
            "exceeded quota: {name}, requested: {}, used: {}, limited: {}",
            show(&delta),
            show(&used),
            show(&hard)
        );
        return Err(review.forbidden(Some(object), message));
    }
    Ok((!delta.is_empty()).then_some(delta))
}

/// What an object uses, also of what device classes stand for.
fn measure(review: &Review<'_>, object: &Value) -> Usage {
    let mut usage = quota::usage(review.kind, object);
    if let Some((classes, _)) = api::find("resource.k8s.io", "v1", "deviceclasses") {
        quota::add_extended(&mut usage, |class| {
            let class = review.server.registry.get(classes, "", class).ok()?;
            Some(object::text(&class, "/spec/extendedResourceName").to_owned()).filter(|name| !name.is_empty())
        });
    }
    usage
}

/// Moves the accounts. When a later one turns out to have moved meanwhile, the earlier stay charged until the controller
/// corrects them: too much is refused for a moment, never too little.
async fn settle(
    review: &Review<'_>,
    quotas: &'static api::Kind,
    charges: Vec<(String, String, Usage)>,
) -> Result<(), Status> {
    let registry = &review.server.registry;
    for (name, version, delta) in charges {
        let mut change = move |current: &Value| {
            let mut new = current.clone();
            // Named, so that another account than the one judged is a conflict and not overwritten.
            object::set_metadata(&mut new, "resourceVersion", Some(version.clone().into()));
            let used = object::map_mut(&mut new, "status").entry("used").or_insert_with(|| Value::Object(Map::new()));
            let before = quota::quantities(Some(used));
            for (resource, amount) in &delta {
                let total = before.get(resource).map_or_else(|| amount.clone(), |used| used.add(amount));
                used[resource] = total.to_string().into();
            }
            Ok(new)
        };
        let owner = Owner { subresource: "status".to_owned(), ..Owner::default() };
        let options = WriteOptions { owner, ..WriteOptions::default() };
        registry.update(quotas, review.namespace, &name, Part::STATUS, &mut change, &options, &NoAdmission).await?;
    }
    Ok(())
}
