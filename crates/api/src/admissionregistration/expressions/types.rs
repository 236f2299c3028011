//! The types of what expressions see of a request besides its objects, and types as messages show them.

use cel::{Declaration, ListKind, ObjectType, Type};

fn text_type() -> Declaration {
    Declaration::from(Type::String)
}

fn texts() -> Declaration {
    Declaration::list(text_type(), None, ListKind::Atomic)
}

fn text_map() -> Declaration {
    Declaration::map(text_type(), None)
}

fn object(name: &str, fields: impl IntoIterator<Item = (&'static str, Declaration)>) -> Declaration {
    let builder = ObjectType::builder(name);
    fields.into_iter().fold(builder, |builder, (name, ty)| builder.field(name, ty, false)).declaration()
}

/// `request`: an AdmissionRequest without its objects.
pub fn request() -> Declaration {
    let kind = || {
        let parts = ["group", "version", "kind"].map(|part| (part, text_type()));
        object("kubernetes.GroupVersionKind", parts)
    };
    let resource = || {
        let parts = ["group", "version", "resource"].map(|part| (part, text_type()));
        object("kubernetes.GroupVersionResource", parts)
    };
    let user = object(
        "kubernetes.UserInfo",
        [
            ("username", text_type()),
            ("uid", text_type()),
            ("groups", texts()),
            ("extra", Declaration::map(texts(), None)),
        ],
    );
    object(
        "kubernetes.AdmissionRequest",
        [
            ("kind", kind()),
            ("resource", resource()),
            ("subResource", text_type()),
            ("requestKind", kind()),
            ("requestResource", resource()),
            ("requestSubResource", text_type()),
            ("name", text_type()),
            ("namespace", text_type()),
            ("operation", text_type()),
            ("userInfo", user),
            ("dryRun", Type::Bool.into()),
            ("options", Declaration::dynamic()),
        ],
    )
}

/// `namespaceObject`: the Namespace that the object is in.
pub fn namespace() -> Declaration {
    let metadata = object(
        "kubernetes.NamespaceMetadata",
        [
            ("name", text_type()),
            ("generateName", text_type()),
            ("namespace", text_type()),
            ("labels", text_map()),
            ("annotations", text_map()),
            ("UID", text_type()),
            ("creationTimestamp", Type::Timestamp.into()),
            ("deletionGracePeriodSeconds", Type::Int.into()),
            ("deletionTimestamp", Type::Timestamp.into()),
            ("generation", Type::Int.into()),
            ("resourceVersion", text_type()),
            ("finalizers", texts()),
        ],
    );
    let condition = object(
        "kubernetes.NamespaceCondition",
        [
            ("status", text_type()),
            ("type", text_type()),
            ("lastTransitionTime", Type::Timestamp.into()),
            ("message", text_type()),
            ("reason", text_type()),
        ],
    );
    let status = object(
        "kubernetes.NamespaceStatus",
        [("conditions", Declaration::list(condition, None, ListKind::Atomic)), ("phase", text_type())],
    );
    let spec = object("kubernetes.NamespaceSpec", [("finalizers", texts())]);
    object("kubernetes.Namespace", [("metadata", metadata), ("spec", spec), ("status", status)])
}

/// What later expressions know of a variable of this type: all but the fields of objects.
pub fn of_variable(ty: &Type) -> Declaration {
    match ty {
        Type::Null
        | Type::Bool
        | Type::Int
        | Type::Uint
        | Type::Double
        | Type::String
        | Type::Bytes
        | Type::Timestamp
        | Type::Duration => ty.clone().into(),
        Type::List(element) => Declaration::list(of_variable(element), None, ListKind::Atomic),
        Type::Map(types) => {
            let (key, value) = (of_variable(&types.0), of_variable(&types.1));
            Type::map(key.ty, value.ty).into()
        }
        _ => Declaration::dynamic(),
    }
}

/// The whole name of a type with its parameters: `map(string, list(int))`.
pub fn text(ty: &Type) -> String {
    match ty {
        Type::List(element) => format!("list({})", text(element)),
        Type::Map(types) => format!("map({}, {})", text(&types.0), text(&types.1)),
        Type::Optional(value) => format!("optional_type({})", text(value)),
        Type::Type(Some(of)) => format!("type({})", text(of)),
        other => other.runtime_name().to_owned(),
    }
}
