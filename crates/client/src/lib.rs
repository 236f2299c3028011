//! The way every component meets the API: a client over any transport, one shared reflector a kind, and the runtime
//! in which a controller is a pure function from a snapshot to a plan.
//!
//! Read in this order: [`transport`] and [`request`] (calls), [`object`], [`snapshot`], [`store`], [`reflector`] and
//! [`reflectors`] (what the process knows), [`view`], [`plan`] and [`controller`] (deciding), [`apply`], [`events`],
//! [`queue`] and [`runtime`] (doing). [`volumes`] holds rules that several components share. [`leader_election`] and [`service_account`] are for components that are processes
//! of their own.
//!
//! Invariant: nothing here knows a server, and nothing reads a clock or a random number but through [`environment`].

pub mod apply;
pub mod controller;
pub mod environment;
pub mod events;
pub mod key;
pub mod labels;
pub mod leader_election;
pub mod object;
pub mod plan;
pub mod queue;
pub mod reflector;
pub mod reflectors;
pub mod request;
pub mod runtime;
pub mod service_account;
pub mod snapshot;
pub mod store;
pub mod transport;
pub mod view;
pub mod volumes;

#[cfg(any(test, feature = "fake"))]
pub mod fake;

pub use controller::{BoxFuture, Controller, Outside, Sources};
pub use environment::{Clock, Environment, ManualClock, SystemClock};
pub use events::EventRecorder;
pub use key::Key;
pub use labels::Selector;
pub use leader_election::LeaderElection;
pub use object::{Index, MetaRef, Object, annotation};
pub use plan::{Action, EventType, Intent, Note, Plan, Propagation, Resource, Target};
pub use queue::WorkQueue;
pub use reflectors::Reflectors;
pub use request::ApiError;
pub use runtime::Runtime;
pub use snapshot::Snapshot;
pub use store::{Change, ChangedKeys, Changes, Store};
pub use transport::for_service;
pub use view::{Failure, View};
