//! API priority and fairness: under load, requests wait in the queues of their priority level, so that one client or
//! controller cannot starve the others (KEP-1040).
//!
//! ```text
//! schema.rs   which FlowSchema a request falls under, and to which flow of it
//! plan.rs     the levels and schemas that the API's objects ask for, and the mandatory ones
//! level.rs    one priority level: seats, waiting, rejecting; queues.rs: fairness between its flows
//! borrow.rs   seats that levels lend each other
//! width.rs    how many seats a request takes
//! metrics.rs  what is counted, under upstream's names
//! keeper.rs   the objects that every cluster has are kept; bootstrap.rs: what that takes
//! ```
//!
//! The objects are read from the registry as they are at each request; nothing is copied until one changes.

mod bootstrap;
mod borrow;
mod keeper;
mod level;
mod metrics;
mod plan;
mod queues;
mod schema;
mod width;

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use api::flowcontrol::{flow_schema, priority_level_configuration};
use arc_swap::ArcSwap;
use http::HeaderValue;
use k8s_openapi::api::flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration};
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::registry::{Reflected, Registry};
use crate::{Config, RequestInfo, Response, UserInfo};
pub use keeper::start as keep_objects;
pub use level::{Rejection, Seat, patience};
pub use metrics::FlowMetrics;
use plan::Plan;
pub use width::width;

/// How often the levels' limits follow their demand.
const ADJUST_EVERY: Duration = Duration::from_secs(10);
const SCHEMA_HEADER: &str = "x-kubernetes-pf-flowschema-uid";
const LEVEL_HEADER: &str = "x-kubernetes-pf-prioritylevel-uid";

/// The dispatcher of a server's requests.
pub struct FlowControl {
    schemas: Arc<Reflected<FlowSchema>>,
    levels: Arc<Reflected<PriorityLevelConfiguration>>,
    seats: usize,
    plan: ArcSwap<Plan>,
    planning: Mutex<()>,
    /// Makes the queues of a flow unforeseeable.
    hasher: RandomState,
    metrics: FlowMetrics,
}

/// A request that may be served; its place is given back when this is dropped.
pub struct Admitted {
    pub classified: Classified,
    pub seat: Seat,
}

/// The names that an answer carries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Classified {
    schema_uid: String,
    level_uid: String,
}

impl Classified {
    /// Tells the client where its request fell.
    pub fn mark(&self, response: &mut Response) {
        for (name, uid) in [(SCHEMA_HEADER, &self.schema_uid), (LEVEL_HEADER, &self.level_uid)] {
            if let Ok(uid) = HeaderValue::from_str(uid) {
                response.headers_mut().insert(name, uid);
            }
        }
    }
}

impl FlowControl {
    pub fn new(registry: &Registry, config: &Config, metrics: FlowMetrics) -> Self {
        Self {
            schemas: registry.reflected(&flow_schema::KIND),
            levels: registry.reflected(&priority_level_configuration::KIND),
            seats: config.max_requests_inflight + config.max_mutating_requests_inflight,
            plan: ArcSwap::from_pointee(Plan::default()),
            planning: Mutex::default(),
            hasher: RandomState::new(),
            metrics,
        }
    }

    /// Waits for a place among the requests of its level, until `limit` at the latest.
    pub async fn admit(
        &self,
        user: &UserInfo,
        info: &RequestInfo,
        width: usize,
        limit: Instant,
    ) -> Result<Admitted, (Classified, Rejection)> {
        let plan = self.plan();
        let found = plan.classify(user, info);
        let classified = Classified { schema_uid: found.schema.uid.clone(), level_uid: found.schema.level.uid() };
        let flow = self.hasher.hash_one((&found.schema.name, &found.distinguisher));
        let (level, schema) = (&found.schema.level, &found.schema.name);
        let begun = Instant::now();
        match level.enter(flow, width, limit).await {
            Ok(seat) => {
                self.metrics.dispatched(&level.name, schema, begun.elapsed());
                Ok(Admitted { classified, seat })
            }
            Err(rejection) => {
                self.metrics.rejected(&level.name, schema, rejection, begun.elapsed());
                Err((classified, rejection))
            }
        }
    }

    /// The plan that the objects ask for now.
    fn plan(&self) -> Arc<Plan> {
        let revision = [self.schemas.revision(), self.levels.revision()];
        let plan = self.plan.load_full();
        if plan.revision == Some(revision) {
            return plan;
        }
        let _one = self.planning.lock();
        let before = self.plan.load_full();
        if before.revision == Some(revision) {
            return before;
        }
        let plan = Plan::new(revision, &self.schemas.list(), &self.levels.list(), self.seats, &before);
        let plan = Arc::new(plan);
        self.plan.store(plan.clone());
        plan
    }

    /// Lets levels borrow what others do not use, until `shutdown`.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        while shutdown.run_until_cancelled(tokio::time::sleep(ADJUST_EVERY)).await.is_some() {
            borrow::adjust(&self.plan().levels, self.seats);
        }
    }

    /// Brings the gauges up to date; for `/metrics`.
    pub fn measure(&self) {
        for level in self.plan().levels.values() {
            self.metrics.level(&level.name, &level.counts());
        }
    }
}

#[cfg(test)]
mod tests;
