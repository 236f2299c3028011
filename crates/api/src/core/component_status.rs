//! ComponentStatus: whether a part of the control plane is well, found out when it is asked for. Read-only and old.

use crate::cells;
use crate::kind::{Column, Deprecated, Kind, Verb, Version};
use crate::value::{list, text};

pub static KIND: Kind = Kind {
    kind: "ComponentStatus",
    list_kind: "ComponentStatusList",
    plural: "componentstatuses",
    singular: "componentstatus",
    short_names: &["cs"],
    namespaced: false,
    verbs: &[Verb::Get, Verb::List],
    is_computed: true,
    versions: &[Version {
        deprecated: Some(Deprecated { since: "1.19", removed: None, replacement: "" }),
        ..Version::stored("v1", "io.k8s.api.core.v1.ComponentStatus")
    }],
    columns: &[
        Column::NAME,
        Column::new("Status", "string", 0, "Status of the component conditions"),
        Column::new("Message", "string", 0, "Message of the component conditions"),
        Column::new("Error", "string", 0, "Error of the component conditions"),
    ],
    cells: |v, _| {
        let healthy = list(v, "/conditions").iter().find(|condition| condition["type"] == "Healthy");
        let word = |field: &str| healthy.map_or("", |condition| text(condition, field)).to_owned();
        let status = match healthy.map(|condition| text(condition, "/status")) {
            Some("True") => "Healthy",
            Some(_) => "Unhealthy",
            None => "Unknown",
        };
        vec![cells::name(v), status.into(), word("/message").into(), word("/error").into()]
    },
    ..Kind::BASE
};

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn cells_say_in_a_word_how_the_component_is() {
        let of = |status: &str| {
            let condition = json!({"type": "Healthy", "status": status, "message": "m", "error": "e"});
            let object = json!({"metadata": {"name": "n"}, "conditions": [condition]});
            (KIND.cells)(&object, jiff::Timestamp::UNIX_EPOCH)
        };
        assert_eq!(of("True"), ["n", "Healthy", "m", "e"]);
        assert_eq!(of("Unknown")[1], Value::from("Unhealthy"));
        let nothing = (KIND.cells)(&json!({"metadata": {"name": "n"}}), jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(nothing, ["n", "Unknown", "", ""]);
    }
}
