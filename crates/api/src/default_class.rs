//! Which class an object gets that names none: the newest of those marked as the default, the first by name of several.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// The name of the default among classes, by an annotation that says `true`.
pub fn pick<'a>(classes: impl Iterator<Item = &'a ObjectMeta>, annotations: &[&str]) -> Option<String> {
    let is_default = |metadata: &&ObjectMeta| {
        let own = metadata.annotations.as_ref();
        annotations.iter().any(|key| own.and_then(|own| own.get(*key)).is_some_and(|value| value == "true"))
    };
    let name = |metadata: &ObjectMeta| metadata.name.clone().unwrap_or_default();
    let rank = |metadata: &&ObjectMeta| {
        let created = metadata.creation_timestamp.as_ref().map(|time| time.0);
        (std::cmp::Reverse(created), name(metadata))
    };
    classes.filter(is_default).min_by_key(rank).map(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_wins_and_then_the_first_name() {
        let class = |name: &str, created: i64, value: &str| {
            let metadata = serde_json::json!({ "name": name, "annotations": { "a": value },
                "creationTimestamp": jiff::Timestamp::from_second(created).unwrap().to_string() });
            serde_json::from_value::<ObjectMeta>(metadata).unwrap()
        };
        let pick = |classes: &[ObjectMeta]| pick(classes.iter(), &["b", "a"]);
        let classes = [class("old", 1, "true"), class("c", 5, "true"), class("b", 5, "true"), class("a", 9, "false")];
        assert_eq!(pick(&classes).as_deref(), Some("b"));
        assert_eq!(pick(&classes[3..]), None);
    }
}
