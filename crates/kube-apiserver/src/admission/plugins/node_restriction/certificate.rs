//! A node asks for certificates in its own name only.

use serde_json::Value;

use super::super::certificate_requests;
use crate::admission::{Operation, Review};
use crate::registry::object;

const NODE_SIGNERS: [&str; 2] = ["kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet"];

pub(super) fn check(review: &Review<'_>, node: &str, object: Option<&Value>) -> Result<(), String> {
    let Some(request) = object.filter(|_| review.operation == Operation::Create && review.subresource.is_empty())
    else {
        return Ok(());
    };
    if !NODE_SIGNERS.contains(&object::text(request, "/spec/signerName")) {
        return Ok(());
    }
    let subject = certificate_requests::subject(request).map_err(|reason| format!("unable to parse csr: {reason}"))?;
    let own = format!("system:node:{node}");
    if subject.common_name != own {
        return Err(format!("can only create a node CSR with CN={own}"));
    }
    Ok(())
}
