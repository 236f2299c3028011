//! TokenRequest: asks for a token of a service account. It is the body of `serviceaccounts/token` and has no
//! collection of its own.

use k8s_openapi::api::authentication::v1::TokenRequest;
use machinery::field::{Error, ErrorList, Path};

use super::GROUP;
use crate::erase;
use crate::kind::{Hooks, Kind, Verb, Version};

/// How long a token is good when the request does not say.
pub const EXPIRATION_SECONDS: i64 = 60 * 60;
const EXPIRATION_SECONDS_MIN: i64 = 10 * 60;
const EXPIRATION_SECONDS_MAX: i64 = 1 << 32;

pub static KIND: Kind = Kind {
    group: GROUP,
    kind: "TokenRequest",
    plural: "tokenrequests",
    singular: "tokenrequest",
    versions: &[Version::stored("v1", "io.k8s.api.authentication.v1.TokenRequest")],
    verbs: Verb::CREATE,
    is_virtual: true,
    hooks: Hooks {
        default: |request| erase::mutate::<TokenRequest>(request, default),
        validate: |request| erase::check::<TokenRequest>(request, validate),
        ..Hooks::NONE
    },
    ..Kind::BASE
};

fn default(request: &mut TokenRequest) {
    request.spec.get_or_insert_default().expiration_seconds.get_or_insert(EXPIRATION_SECONDS);
}

fn validate(request: &TokenRequest) -> ErrorList {
    let path = Path::new("spec");
    let path = path.child("expirationSeconds");
    let seconds = request.spec.as_ref().and_then(|spec| spec.expiration_seconds).unwrap_or(EXPIRATION_SECONDS);
    let detail = match seconds {
        ..EXPIRATION_SECONDS_MIN => "may not specify a duration less than 10 minutes",
        EXPIRATION_SECONDS_MIN..=EXPIRATION_SECONDS_MAX => return ErrorList::new(),
        _ => "may not specify a duration larger than 2^32 seconds",
    };
    vec![Error::invalid(&path, seconds, detail)]
}
