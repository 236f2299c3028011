//! What the declaration of a kind consists of. Everything is `'static` data and plain function pointers. A
//! CustomResourceDefinition becomes the same declaration at run time, with a [`Custom`] in place of the functions.

use std::borrow::Cow;

use jiff::Timestamp;
use machinery::field::ErrorList;
use machinery::status::Status;
use serde_json::Value;

use crate::Custom;

/// One kind of object. A declaration starts from [`Kind::BASE`] and names what differs.
pub struct Kind {
    /// The group of its home; "" is the core group.
    pub group: &'static str,
    pub kind: &'static str,
    pub list_kind: &'static str,
    pub plural: &'static str,
    pub singular: &'static str,
    pub short_names: &'static [&'static str],
    pub categories: &'static [&'static str],
    pub namespaced: bool,
    /// All versions that answer, the storage version first.
    pub versions: &'static [Version],
    pub verbs: &'static [Verb],
    /// Answers reviews and never stores: only `create` exists.
    pub is_virtual: bool,
    /// Made when it is read, from what the server sees: nothing of it is stored.
    pub is_computed: bool,
    /// Has a `status` subresource.
    pub status: bool,
    pub scale: Option<Scale>,
    /// Subresources other than `status` and `scale`, as discovery shows them.
    pub subresources: &'static [Subresource],
    /// Labels a field selector may use besides `metadata.name` and `metadata.namespace`.
    pub selectable_fields: &'static [SelectableField],
    /// The one of them that lists and watches ask for all the time.
    pub indexed_field: Option<IndexedField>,
    /// How an unknown field label is answered.
    pub field_selector_style: FieldSelectorStyle,
    pub columns: &'static [Column],
    /// The cells of one row, as many as `columns`.
    pub cells: fn(&Value, Timestamp) -> Vec<Value>,
    /// A row's conditions: `Completed` for what will not run again, else none.
    pub row_conditions: Option<fn(&Value) -> Vec<Value>>,
    /// The rows of a list's table stand by this number, those with the same by name; without it by name alone.
    pub row_rank: Option<fn(&Value) -> i64>,
    pub hooks: Hooks,
    /// Graceful deletion: from the object and the requested seconds to the seconds that apply; 0 deletes at once.
    /// Without it objects are deleted at once (finalizers apart).
    pub grace_period_seconds: Option<fn(&Value, Option<i64>) -> i64>,
    /// Whether a PUT to a missing name creates it.
    pub create_on_update: bool,
    /// Whether an update without a resourceVersion is taken.
    pub unconditional_update: bool,
    /// Objects start at generation 1 and only a change of the desired state moves it.
    pub generation: bool,
    /// The propagation policy of a delete that names none orphans dependents (old versions of ReplicationController).
    pub orphan_by_default: bool,
    /// Told to whoever deletes one without saying what becomes of its dependents.
    pub delete_warning: Option<&'static str>,
    /// Set where the kind was declared at run time: it stands for the hooks and whatever else differs between versions.
    pub custom: Option<&'static dyn Custom>,
}

impl Kind {
    /// What most kinds share.
    pub const BASE: Kind = Kind {
        group: "",
        kind: "",
        list_kind: "",
        plural: "",
        singular: "",
        short_names: &[],
        categories: &[],
        namespaced: true,
        versions: &[],
        verbs: Verb::ALL,
        is_virtual: false,
        is_computed: false,
        status: false,
        scale: None,
        subresources: &[],
        selectable_fields: &[],
        indexed_field: None,
        field_selector_style: FieldSelectorStyle::Known,
        columns: &[],
        cells: |_, _| Vec::new(),
        row_conditions: None,
        row_rank: None,
        hooks: Hooks::NONE,
        grace_period_seconds: None,
        create_on_update: false,
        unconditional_update: true,
        generation: false,
        orphan_by_default: false,
        delete_warning: None,
        custom: None,
    };

    /// The version objects are stored in.
    pub fn storage_version(&self) -> &'static Version {
        // The first one is the storage version; a test over `ALL` holds this.
        &self.versions[0]
    }

    /// `apiVersion` of the stored form.
    pub fn storage_api_version(&self) -> String {
        self.storage_version().api_version(self)
    }

    /// The version served at `group`/`version`.
    pub fn version(&self, group: &str, version: &str) -> Option<&'static Version> {
        self.versions.iter().find(|v| v.served && v.name == version && v.group_of(self) == group)
    }

    /// Looks a subresource other than status and scale up.
    pub fn subresource(&self, name: &str) -> Option<&'static Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }
}

/// One version of a kind.
pub struct Version {
    /// A home other than the kind's group (`extensions`, or `events.k8s.io` for Event).
    pub group: Option<&'static str>,
    pub name: &'static str,
    /// The type's name in the schema table.
    pub schema: &'static str,
    pub storage: bool,
    /// Whether it answers; only the storage version of a custom kind may not.
    pub served: bool,
    /// Left out of discovery's lists though it answers.
    pub hidden: bool,
    pub deprecated: Option<Deprecated>,
    /// Defaults peculiar to this version; run before the kind's own, on the object in storage form.
    pub default: Option<fn(&mut Value)>,
    /// Where the version's shape differs from the storage form.
    pub convert: Option<Convert>,
    /// Checks of this version beside the kind's hooks: (new, old when it is an update), both in storage form.
    pub validate: Option<fn(&Value, Option<&Value>) -> ErrorList>,
    /// All checks of what comes in this version, in place of the kind's hooks: an old version may know fewer rules.
    pub check_instead: Option<fn(&Value, Option<&Value>) -> ErrorList>,
    /// Field labels of this version, when they differ from the kind's.
    pub selectable_fields: Option<&'static [SelectableField]>,
}

impl Version {
    /// A version `name` in the kind's own group, stored, with nothing peculiar.
    pub const fn stored(name: &'static str, schema: &'static str) -> Version {
        Version {
            group: None,
            name,
            schema,
            storage: true,
            served: true,
            hidden: false,
            deprecated: None,
            default: None,
            convert: None,
            validate: None,
            check_instead: None,
            selectable_fields: None,
        }
    }

    /// An old version that stays accepted: not in discovery's lists, answered with a warning.
    pub const fn old(
        group: &'static str,
        name: &'static str,
        schema: &'static str,
        deprecated: Deprecated,
        default: fn(&mut Value),
    ) -> Version {
        Version {
            group: Some(group),
            storage: false,
            hidden: true,
            deprecated: Some(deprecated),
            default: Some(default),
            ..Version::stored(name, schema)
        }
    }

    /// The group this version is served under.
    pub fn group_of(&self, kind: &Kind) -> &'static str {
        self.group.unwrap_or(kind.group)
    }

    /// `v1`, or `apps/v1`.
    pub fn api_version(&self, kind: &Kind) -> String {
        match self.group_of(kind) {
            "" => self.name.to_string(),
            group => format!("{group}/{}", self.name),
        }
    }

    /// The `Warning` header's text for a request to this version, if it is old.
    pub fn warning(&self, kind: &Kind) -> Option<String> {
        if let Some(custom) = kind.custom {
            return custom.deprecation(self.name);
        }
        let old = self.deprecated.as_ref()?;
        let gone = old.removed.map(|removed| format!(", unavailable in v{removed}+")).unwrap_or_default();
        let (version, name) = (self.api_version(kind), kind.kind);
        let instead = if old.replacement.is_empty() { String::new() } else { format!("; use {}", old.replacement) };
        Some(format!("{version} {name} is deprecated in v{}+{gone}{instead}", old.since))
    }

    /// What is wrong with a create (`old` is none) or an update that came in this version.
    pub fn check(&self, kind: &Kind, new: &Value, old: Option<&Value>) -> ErrorList {
        if let Some(check) = self.check_instead {
            return check(new, old);
        }
        let mut errors = self.own_errors(new, old);
        errors.extend(match old {
            None => kind.validate(new),
            Some(old) => kind.validate_update(new, old),
        });
        errors
    }

    /// The selectable fields under this version's names.
    pub fn selectable(&self, kind: &Kind) -> &'static [SelectableField] {
        self.selectable_fields.unwrap_or(kind.selectable_fields)
    }
}

/// Since when a version is old, when upstream took it away (it stays here), and what to use (`apps/v1 Deployment`; empty:
/// there is nothing else).
pub struct Deprecated {
    pub since: &'static str,
    pub removed: Option<&'static str>,
    pub replacement: &'static str,
}

/// Both ways between a version's shape and the storage form; `apiVersion` is set by them as well.
pub struct Convert {
    pub to_storage: fn(&mut Value),
    pub from_storage: fn(&mut Value),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verb {
    Create,
    Delete,
    DeleteCollection,
    Get,
    List,
    Patch,
    Update,
    Watch,
}

impl Verb {
    /// In discovery's (alphabetical) order.
    pub const ALL: &'static [Verb] = &[
        Verb::Create,
        Verb::Delete,
        Verb::DeleteCollection,
        Verb::Get,
        Verb::List,
        Verb::Patch,
        Verb::Update,
        Verb::Watch,
    ];
    pub const GET_PATCH_UPDATE: &'static [Verb] = &[Verb::Get, Verb::Patch, Verb::Update];
    pub const CREATE: &'static [Verb] = &[Verb::Create];
    pub const CREATE_GET: &'static [Verb] = &[Verb::Create, Verb::Get];
    pub const PROXY: &'static [Verb] = &[Verb::Create, Verb::Delete, Verb::Get, Verb::Patch, Verb::Update];

    pub fn as_str(self) -> &'static str {
        match self {
            Verb::Create => "create",
            Verb::Delete => "delete",
            Verb::DeleteCollection => "deletecollection",
            Verb::Get => "get",
            Verb::List => "list",
            Verb::Patch => "patch",
            Verb::Update => "update",
            Verb::Watch => "watch",
        }
    }
}

/// A subresource as discovery lists it. `group` and `version` are set when its body is of another group.
pub struct Subresource {
    /// Set where the subresource updates a part of the object itself (`namespaces/finalize`, `pods/resize`).
    pub update: Option<SubresourceUpdate>,
    pub name: &'static str,
    pub kind: &'static str,
    pub group: &'static str,
    pub version: &'static str,
    pub verbs: &'static [Verb],
}

impl Subresource {
    pub const fn new(name: &'static str, kind: &'static str, verbs: &'static [Verb]) -> Subresource {
        Subresource { update: None, name, kind, group: "", version: "", verbs }
    }
}

/// The hooks of such an update: like prepare_update and validate_update.
pub struct SubresourceUpdate {
    pub prepare: fn(&mut Value, &Value) -> Result<(), Status>,
    pub validate: fn(&Value, &Value) -> ErrorList,
}

/// Where the scale subresource finds its numbers, as JSON pointers, and how to write the selector.
pub struct Scale {
    pub spec_replicas: &'static str,
    pub status_replicas: &'static str,
    /// The selector in Scale.status.selector's string form.
    pub selector: fn(&Value) -> String,
}

/// A label a field selector may use, and its value in an object of the storage form.
pub struct SelectableField {
    pub label: &'static str,
    pub value: fn(&Value) -> String,
}

/// A selectable field by which objects are found without looking at the others.
pub struct IndexedField {
    pub label: &'static str,
    /// Its value in the bytes of the storage form; nothing if they are none.
    pub value: fn(&[u8]) -> Option<Cow<'_, str>>,
}

/// How upstream words "no such field label", which depends on how a kind's conversion is registered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FieldSelectorStyle {
    /// `"spec.x" is not a known field selector: only "metadata.name", "metadata.namespace"`
    Known,
    /// `field label not supported: spec.x`
    NotSupported,
    /// `field label "spec.x" not supported for Kind`
    NotSupportedFor,
}

impl FieldSelectorStyle {
    /// The message of the 400 answer.
    pub fn message(self, kind: &Kind, label: &str) -> String {
        match self {
            Self::Known => {
                format!("{label:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
            }
            Self::NotSupported => format!("field label not supported: {label}"),
            Self::NotSupportedFor => format!("field label {label:?} not supported for {}", kind.kind),
        }
    }
}

/// A column of the kind's table.
pub struct Column {
    pub name: &'static str,
    /// `string`, `integer`, `date` or `boolean`: the column's `type`.
    pub kind: &'static str,
    pub format: &'static str,
    pub description: &'static str,
    pub priority: i32,
}

/// The behaviour of a kind. All work on objects in storage form.
///
/// Order on create: default, (mutating admission), prepare_create, validate, (validating admission).
/// On update: default, prepare_update, validate_update. Metadata is validated inside `validate` and
/// `validate_update`; a caller does not do it again.
pub struct Hooks {
    pub default: fn(&mut Value) -> Result<(), Status>,
    pub prepare_create: fn(&mut Value) -> Result<(), Status>,
    pub validate: fn(&Value) -> ErrorList,
    pub prepare_update: fn(&mut Value, &Value) -> Result<(), Status>,
    pub validate_update: fn(&Value, &Value) -> ErrorList,
    pub prepare_status_update: fn(&mut Value, &Value) -> Result<(), Status>,
    pub validate_status_update: fn(&Value, &Value) -> ErrorList,
    /// Warnings of a create (no old object) or an update.
    pub warnings: fn(&Value, Option<&Value>) -> Vec<String>,
}

impl Hooks {
    /// Does nothing and accepts everything; kinds replace what they have.
    pub const NONE: Hooks = Hooks {
        default: |_| Ok(()),
        prepare_create: |_| Ok(()),
        validate: |_| ErrorList::new(),
        prepare_update: |_, _| Ok(()),
        validate_update: |_, _| ErrorList::new(),
        prepare_status_update: |_, _| Ok(()),
        validate_status_update: |_, _| ErrorList::new(),
        warnings: |_, _| Vec::new(),
    };
}

const NAME_TEXT: &str = "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names";
const CREATED_TEXT: &str = "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

impl Column {
    /// The name, first in nearly every table.
    pub const NAME: Column =
        Column { name: "Name", kind: "string", format: "name", description: NAME_TEXT, priority: 0 };
    /// Time since creation, as people read it.
    pub const AGE: Column = Column::new("Age", "string", 0, CREATED_TEXT);
    /// The creation time itself.
    pub const CREATED_AT: Column = Column::new("Created At", "date", 0, CREATED_TEXT);

    pub const fn new(name: &'static str, kind: &'static str, priority: i32, description: &'static str) -> Column {
        Column { name, kind, format: "", description, priority }
    }
}
