//! Namespaces, quotas, limits, roles and bindings.

use serde_json::Value;

use super::Related;
use super::text::Text;
use crate::value::{self, at, list, show, text};

pub fn namespace(out: &mut Text, namespace: &Value, related: &Related) {
    out.field(0, "Name", value::name(namespace));
    out.labels(0, namespace);
    out.annotations(0, namespace);
    out.field(0, "Status", text(namespace, "status.phase"));
    out.conditions(
        namespace,
        &[
            ("Type", "type"),
            ("Status", "status"),
            ("LastTransitionTime", "lastTransitionTime"),
            ("Reason", "reason"),
            ("Message", "message"),
        ],
        "",
    );
    let (limits, quotas): (Vec<&Value>, Vec<&Value>) =
        related.others.iter().partition(|object| value::kind(object) == "LimitRange");
    out.line(0, "");
    if quotas.is_empty() {
        out.line(0, "No resource quota.");
    } else {
        out.line(0, "Resource Quotas");
        for quota in quotas {
            out.field(1, "Name", value::name(quota));
            usage(out, 1, quota);
        }
    }
    out.line(0, "");
    if limits.is_empty() {
        out.line(0, "No LimitRange resource.");
    } else {
        out.line(0, "Resource Limits");
        out.line(0, " Type\tResource\tMin\tMax\tDefault Request\tDefault Limit\tMax Limit/Request Ratio");
        out.line(0, " ----\t--------\t---\t---\t---------------\t-------------\t-----------------------");
        limits.iter().for_each(|limit| limit_rows(out, " ", limit));
    }
}

fn usage(out: &mut Text, level: usize, quota: &Value) {
    out.line(level, "Resource\tUsed\tHard");
    out.line(level, "--------\t---\t---");
    let mut names: Vec<&String> =
        at(quota, "status.hard").as_object().into_iter().flatten().map(|(name, _)| name).collect();
    names.sort();
    for name in names {
        out.line(
            level,
            format!("{name}\t{}\t{}", show(&at(quota, "status.used")[name]), show(&at(quota, "status.hard")[name])),
        );
    }
}

pub fn quota(out: &mut Text, quota: &Value, _: &Related) {
    out.head(quota, true);
    let scopes: Vec<String> = list(quota, "spec.scopes").iter().map(show).collect();
    out.maybe(0, "Scopes", &scopes.join(", "));
    out.line(0, "Resource\tUsed\tHard");
    out.line(0, "--------\t----\t----");
    let mut names: Vec<&String> =
        at(quota, "status.hard").as_object().into_iter().flatten().map(|(name, _)| name).collect();
    names.sort();
    for name in names {
        out.line(
            0,
            format!("{name}\t{}\t{}", show(&at(quota, "status.used")[name]), show(&at(quota, "status.hard")[name])),
        );
    }
}

pub fn limit_range(out: &mut Text, range: &Value, _: &Related) {
    out.head(range, true);
    out.line(0, "Type\tResource\tMin\tMax\tDefault Request\tDefault Limit\tMax Limit/Request Ratio");
    out.line(0, "----\t--------\t---\t---\t---------------\t-------------\t-----------------------");
    limit_rows(out, "", range);
}

fn limit_rows(out: &mut Text, indent: &str, range: &Value) {
    let fields = ["min", "max", "defaultRequest", "default", "maxLimitRequestRatio"];
    for limit in list(range, "spec.limits") {
        let mut resources: Vec<&String> =
            fields.iter().filter_map(|field| limit[*field].as_object()).flatten().map(|(name, _)| name).collect();
        resources.sort();
        resources.dedup();
        for resource in resources {
            let cells: Vec<String> = fields
                .iter()
                .map(|field| match &limit[*field][resource] {
                    Value::Null => "-".to_owned(),
                    shown => show(shown),
                })
                .collect();
            out.line(0, format!("{indent}{}\t{resource}\t{}", text(limit, "type"), cells.join("\t")));
        }
    }
}

pub fn role(out: &mut Text, role: &Value, _: &Related) {
    out.field(0, "Name", value::name(role));
    out.labels(0, role);
    out.annotations(0, role);
    out.line(0, "PolicyRule:");
    out.line(1, "Resources\tNon-Resource URLs\tResource Names\tVerbs");
    out.line(1, "---------\t-----------------\t--------------\t-----");
    for row in crate::rules::rows(list(role, "rules")) {
        out.line(1, row);
    }
}

pub fn binding(out: &mut Text, binding: &Value, _: &Related) {
    out.field(0, "Name", value::name(binding));
    out.labels(0, binding);
    out.annotations(0, binding);
    out.line(0, "Role:");
    out.field(1, "Kind", text(binding, "roleRef.kind"));
    out.field(1, "Name", text(binding, "roleRef.name"));
    out.line(0, "Subjects:");
    out.line(1, "Kind\tName\tNamespace");
    out.line(1, "----\t----\t---------");
    for subject in list(binding, "subjects") {
        out.line(1, format!("{}\t{}\t{}", text(subject, "kind"), text(subject, "name"), text(subject, "namespace")));
    }
}

pub fn priority_class(out: &mut Text, class: &Value, _: &Related) {
    out.field(0, "Name", value::name(class));
    out.field(0, "Value", show(&class["value"]));
    out.field(0, "GlobalDefault", value::flag(class, "globalDefault").to_string());
    let policy = text(class, "preemptionPolicy");
    out.field(0, "PreemptionPolicy", if policy.is_empty() { "PreemptLowerPriority" } else { policy });
    out.field(0, "Description", text(class, "description"));
    out.annotations(0, class);
}
