//! Certificates and requests for them, as far as several parts of the cluster read them.

mod issued;
pub mod kubelet;
mod pem;
mod request;

pub use issued::{not_after, only_certificates};
pub use request::{Request, Subject, verify};
