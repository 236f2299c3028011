//! `metadata.managedFields`: who manages which fields, by which operation, since when.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::fields_v1;
use super::set::Set;
use crate::time;

const FIELDS_TYPE: &str = "FieldsV1";
/// More entries of updates than this are merged into one, oldest first.
const UPDATERS_MAX: usize = 10;
/// The manager of that one.
const ANCIENT: &str = "ancient-changes";

/// How an entry came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    Apply,
    Update,
}

impl Operation {
    pub fn as_str(self) -> &'static str {
        match self {
            Operation::Apply => "Apply",
            Operation::Update => "Update",
        }
    }
}

/// What tells entries apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ManagerId {
    pub manager: String,
    pub operation: Operation,
    /// "" for those who apply: they stay themselves when they change over to another version.
    pub api_version: String,
    pub subresource: String,
}

impl ManagerId {
    pub fn new(manager: &str, operation: Operation, api_version: &str, subresource: &str) -> Self {
        let api_version = if operation == Operation::Apply { "" } else { api_version };
        let (manager, subresource) = (manager.to_owned(), subresource.to_owned());
        Self { manager, operation, api_version: api_version.to_owned(), subresource }
    }
}

/// What a manager owns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    pub fields: Set,
    /// The version that the paths are of.
    pub api_version: String,
    pub time: Option<String>,
}

/// All entries of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Managed {
    pub entries: BTreeMap<ManagerId, Entry>,
}

impl Managed {
    /// Reads the entries; one that cannot be read spoils them all.
    pub fn decode(list: &[Value]) -> Result<Self, String> {
        let mut managed = Managed::default();
        for (index, entry) in list.iter().enumerate() {
            let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default();
            let operation = match text("operation") {
                "Apply" => Operation::Apply,
                "Update" => Operation::Update,
                _ => return Err("operation must be `Apply` or `Update`".to_owned()),
            };
            let api_version = text("apiVersion").to_owned();
            if api_version.is_empty() {
                return Err("apiVersion must not be empty".to_owned());
            }
            match text("fieldsType") {
                FIELDS_TYPE => {}
                "" => return Err(format!("missing fieldsType in managed fields entry {index}")),
                other => return Err(format!("invalid fieldsType {other:?} in managed fields entry {index}")),
            }
            let fields = match entry.get("fieldsV1") {
                None | Some(Value::Null) => Set::default(),
                Some(tree) => fields_v1::decode(tree)?,
            };
            let time = entry.get("time").and_then(Value::as_str).map(str::to_owned);
            let id = ManagerId::new(text("manager"), operation, &api_version, text("subresource"));
            managed.entries.insert(id, Entry { fields, api_version, time });
        }
        Ok(managed)
    }

    /// The entries as they are stored: by operation and time, then by who they are.
    pub fn encode(&self) -> Vec<Value> {
        let mut entries: Vec<(&ManagerId, &Entry)> = self.entries.iter().collect();
        entries.sort_by_key(|(id, entry)| {
            (id.operation, seconds(entry), &id.manager, &entry.api_version, &id.subresource)
        });
        entries.into_iter().map(|(id, entry)| encode_entry(id, entry)).collect()
    }

    /// Merges the oldest entries of updates, version by version, until few enough are left.
    pub(super) fn limit(&mut self) {
        let updater = |id: &&ManagerId| id.operation == Operation::Update;
        let mut updaters: Vec<ManagerId> = self.entries.keys().filter(updater).cloned().collect();
        let mut left = updaters.len();
        if left <= UPDATERS_MAX {
            return;
        }
        updaters.sort_by_key(|id| (self.entries.get(id).map(seconds), id.clone()));
        let mut first_of_version: BTreeMap<String, ManagerId> = BTreeMap::new();
        for id in updaters {
            if left <= UPDATERS_MAX {
                return;
            }
            let bucket = ManagerId::new(ANCIENT, Operation::Update, &id.api_version, "");
            let Some(first) = first_of_version.get(&id.api_version).cloned() else {
                first_of_version.insert(id.api_version.clone(), id);
                continue;
            };
            let Some(entry) = self.entries.remove(&id) else { continue };
            let known = self.entries.remove(&bucket).or_else(|| self.entries.remove(&first));
            let mut merged = entry;
            merged.fields.add(known.map(|known| known.fields).unwrap_or_default());
            self.entries.insert(bucket, merged);
            left -= 1;
        }
    }
}

/// When the entry came to be; one without a time is the oldest.
fn seconds(entry: &Entry) -> i64 {
    entry.time.as_deref().and_then(|time| time::parse_rfc3339(time).ok()).map_or(0, |time| time.as_second())
}

fn encode_entry(id: &ManagerId, entry: &Entry) -> Value {
    let mut map = Map::new();
    let mut put = |key: &str, text: &str| {
        if !text.is_empty() {
            map.insert(key.to_owned(), text.into());
        }
    };
    put("manager", &id.manager);
    put("operation", id.operation.as_str());
    put("apiVersion", &entry.api_version);
    put("time", entry.time.as_deref().unwrap_or_default());
    put("fieldsType", FIELDS_TYPE);
    map.insert("fieldsV1".to_owned(), fields_v1::encode(&entry.fields));
    if !id.subresource.is_empty() {
        map.insert("subresource".to_owned(), id.subresource.as_str().into());
    }
    Value::Object(map)
}
