//! The plugins MutatingAdmissionWebhook and ValidatingAdmissionWebhook: writes are shown to servers that somebody else
//! runs, which may change them (one after the other, by the names of their configurations) or refuse them (all at once).
//!
//! Read `hooks` (the configurations), `call` (one question to one webhook), then `mutating` and `validating`.
//!
//! What cannot happen here: a webhook is asked about the configurations themselves; an answer leads to a request to
//! another address; one that changes its answer forever keeps a request going (there are two rounds, each with a time
//! limit); an answer is read beyond its bound.

mod annotations;
mod call;
mod credentials;
mod hooks;
mod metrics;
mod mutating;
mod review;
mod validating;

pub use credentials::Credentials;
pub use metrics::WebhookMetrics;
pub use mutating::MutatingAdmissionWebhook;
pub use validating::ValidatingAdmissionWebhook;

#[cfg(test)]
pub(crate) mod tests;
