//! Binding: the scheduler's decision that a pod belongs to a node; the body of `pods/binding` and of the older
//! collection `bindings`.

use k8s_openapi::api::core::v1::Binding;
use machinery::field::{Error, ErrorList, Path};

use crate::erase;
use crate::kind::{Hooks, Kind, Verb, Version};

pub static KIND: Kind = Kind {
    kind: "Binding",
    plural: "bindings",
    singular: "binding",
    versions: &[Version::stored("v1", "io.k8s.api.core.v1.Binding")],
    verbs: Verb::CREATE,
    is_virtual: true,
    hooks: Hooks { validate: |binding| erase::check::<Binding>(binding, validate), ..Hooks::NONE },
    ..Kind::BASE
};

fn validate(binding: &Binding) -> ErrorList {
    let path = Path::new("target");
    let mut errors = ErrorList::new();
    let kind = binding.target.kind.as_deref().unwrap_or("");
    if !matches!(kind, "" | "Node") {
        errors.push(Error::not_supported(&path.child("kind"), kind, &["Node", "<empty>"]));
    }
    if binding.target.name.as_deref().unwrap_or("").is_empty() {
        errors.push(Error::required(&path.child("name"), ""));
    }
    errors
}
