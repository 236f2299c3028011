//! ServiceAccount: whom a pod is at the API.

use crate::kind::{Column, Kind, Subresource, Verb, Version};
use crate::{cells, names};

pub static KIND: Kind = Kind {
    kind: "ServiceAccount",
    list_kind: "ServiceAccountList",
    plural: "serviceaccounts",
    singular: "serviceaccount",
    short_names: &["sa"],
    versions: &[Version::stored("v1", "io.k8s.api.core.v1.ServiceAccount")],
    subresources: &[Subresource {
        group: "authentication.k8s.io",
        version: "v1",
        ..Subresource::new("token", "TokenRequest", Verb::CREATE)
    }],
    columns: &[Column::NAME, Column::AGE],
    cells: |v, now| vec![cells::name(v), cells::age(v, now)],
    hooks: hooks!(k8s_openapi::api::core::v1::ServiceAccount, true, names::subdomain, full {}),
    ..Kind::BASE
};
