//! The Kubernetes API server.
//!
//! The way of a request, in the order of the modules: `serving` terminates TLS and HTTP, `chain` turns a request into a
//! [`Context`] (request info, authentication, impersonation, authorization, deadline) and dispatches it: to `endpoints`
//! (resources, discovery, OpenAPI), to `connect` (streams and proxies to kubelets, pods and services) or to the server's
//! own paths (`health`, `metrics`, `version`). `in_process` is the same chain without a socket, for the components that
//! live in this process.

pub mod admission;
pub mod aggregator;
pub mod apiextensions;
pub mod audit;
pub mod authentication;
pub mod authorization;
pub mod body;
pub mod chain;
pub mod components;
pub mod config;
pub mod connect;
pub mod context;
pub mod discovery;
mod encryption_config;
pub mod etcd;
pub mod endpoints;
pub mod flowcontrol;
mod follow;
pub mod health;
pub mod in_process;
pub mod kept;
pub mod metrics;
pub mod openapi;
pub mod outbound;
mod own_client;
pub mod profiling;
pub mod recent;
pub mod registry;
pub mod request_info;
mod server;
mod service_addresses;
pub mod serving;
pub mod table;
pub mod traces;
pub mod user;
pub mod version;
mod zpages;

#[cfg(test)]
mod testing;

pub use body::{Body, BoxError, Response};
pub use config::Config;
pub use context::Context;
pub use in_process::InProcess;
pub use request_info::RequestInfo;
pub use server::{Server, StartError};
pub use user::UserInfo;
