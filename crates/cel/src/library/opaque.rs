//! Values of libraries: expressions hold them, compare them and call functions on them, but see nothing of their inside.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use machinery::quantity::Quantity;

use super::authorizer::{Authorizer, Decision, ResourceCheck, Subject};
use super::formats::NamedFormat;
use super::network::Cidr;
use super::semver::Semver;
use super::url::Url;
use crate::errors::EvalError;

pub(crate) const URL: &str = "kubernetes.URL";
pub(crate) const IP: &str = "net.IP";
pub(crate) const CIDR: &str = "net.CIDR";
pub(crate) const QUANTITY: &str = "kubernetes.Quantity";
pub(crate) const SEMVER: &str = "kubernetes.Semver";
pub(crate) const FORMAT: &str = "kubernetes.NamedFormat";
pub(crate) const AUTHORIZER: &str = "kubernetes.authorization.Authorizer";
pub(crate) const PATH_CHECK: &str = "kubernetes.authorization.PathCheck";
pub(crate) const GROUP_CHECK: &str = "kubernetes.authorization.GroupCheck";
pub(crate) const RESOURCE_CHECK: &str = "kubernetes.authorization.ResourceCheck";
pub(crate) const DECISION: &str = "kubernetes.authorization.Decision";

/// The names of all library types.
pub(crate) fn type_names() -> &'static [&'static str] {
    &[URL, IP, CIDR, QUANTITY, SEMVER, FORMAT, AUTHORIZER, PATH_CHECK, GROUP_CHECK, RESOURCE_CHECK, DECISION]
}

/// A value of a library.
#[derive(Clone, Debug)]
pub enum Opaque<'a> {
    Quantity(Arc<Quantity>),
    Url(Arc<Url>),
    Ip(IpAddr),
    Cidr(Cidr),
    Semver(Arc<Semver>),
    Format(&'static NamedFormat),
    Authorizer { host: &'a dyn Authorizer, subject: Subject },
    PathCheck { host: &'a dyn Authorizer, subject: Subject, path: Arc<str> },
    GroupCheck { host: &'a dyn Authorizer, subject: Subject, group: Arc<str> },
    ResourceCheck { host: &'a dyn Authorizer, subject: Subject, check: Arc<ResourceCheck> },
    Decision(Arc<Decision>),
}

impl Opaque<'_> {
    /// The name of its type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Opaque::Quantity(_) => QUANTITY,
            Opaque::Url(_) => URL,
            Opaque::Ip(_) => IP,
            Opaque::Cidr(_) => CIDR,
            Opaque::Semver(_) => SEMVER,
            Opaque::Format(_) => FORMAT,
            Opaque::Authorizer { .. } => AUTHORIZER,
            Opaque::PathCheck { .. } => PATH_CHECK,
            Opaque::GroupCheck { .. } => GROUP_CHECK,
            Opaque::ResourceCheck { .. } => RESOURCE_CHECK,
            Opaque::Decision(_) => DECISION,
        }
    }

    /// For costs: the bytes of an address, one for all others.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Opaque::Ip(IpAddr::V4(_)) | Opaque::Cidr(Cidr { address: IpAddr::V4(_), .. }) => 4,
            Opaque::Ip(IpAddr::V6(_)) | Opaque::Cidr(Cidr { address: IpAddr::V6(_), .. }) => 16,
            _ => 1,
        }
    }

    pub(crate) fn equals(&self, other: &Opaque<'_>) -> Result<bool, EvalError> {
        Ok(match (self, other) {
            (Opaque::Quantity(a), Opaque::Quantity(b)) => a == b,
            (Opaque::Url(a), Opaque::Url(b)) => a.to_string() == b.to_string(),
            (Opaque::Ip(a), Opaque::Ip(b)) => a == b,
            (Opaque::Cidr(a), Opaque::Cidr(b)) => a == b,
            (Opaque::Semver(a), Opaque::Semver(b)) => a.compare(b).is_eq(),
            (Opaque::Format(a), Opaque::Format(b)) => a.name == b.name,
            (Opaque::PathCheck { subject: a, path: x, .. }, Opaque::PathCheck { subject: b, path: y, .. }) => {
                a == b && x == y
            }
            (Opaque::GroupCheck { subject: a, group: x, .. }, Opaque::GroupCheck { subject: b, group: y, .. }) => {
                a == b && x == y
            }
            (
                Opaque::ResourceCheck { subject: a, check: x, .. },
                Opaque::ResourceCheck { subject: b, check: y, .. },
            ) => a == b && x == y,
            (Opaque::Authorizer { subject: a, .. }, Opaque::Authorizer { subject: b, .. }) => a == b,
            (Opaque::Decision(a), Opaque::Decision(b)) => a == b,
            _ => false,
        })
    }
}

impl fmt::Display for Opaque<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Opaque::Quantity(quantity) => write!(f, "{quantity}"),
            Opaque::Url(url) => write!(f, "{url}"),
            Opaque::Ip(ip) => write!(f, "{ip}"),
            Opaque::Cidr(cidr) => write!(f, "{cidr}"),
            Opaque::Semver(version) => write!(f, "{version}"),
            Opaque::Format(format) => f.write_str(format.name),
            other => f.write_str(other.type_name()),
        }
    }
}
