//! An event as a line of words, the form of `--audit-log-format=legacy`.

use machinery::go_text;
use serde_json::Value;

/// A line with its end.
pub fn line(event: &Value) -> Vec<u8> {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let or = |pointer: &str, otherwise: &'static str| match text(pointer) {
        "" => otherwise.to_owned(),
        text => text.to_owned(),
    };
    let groups = |pointer: &str| {
        let groups = event.pointer(pointer)?.as_array()?;
        let quoted: Vec<String> = groups.iter().filter_map(Value::as_str).map(go_text::quote).collect();
        Some(quoted.join(",")).filter(|groups| !groups.is_empty())
    };
    let own_groups = groups("/user/groups").filter(|_| !text("/user/username").is_empty());
    let response = event.pointer("/responseStatus/code").and_then(Value::as_u64);
    let mut line = format!("{} AUDIT:", received(text("/requestReceivedTimestamp")));
    for (name, value) in [
        ("id", or("/auditID", "")),
        ("stage", or("/stage", "")),
        ("ip", or("/sourceIPs/0", "<unknown>")),
        ("method", or("/verb", "")),
        ("user", or("/user/username", "<none>")),
        ("groups", own_groups.unwrap_or_else(|| "<none>".to_owned())),
        ("as", or("/impersonatedUser/username", "<self>")),
        ("asgroups", groups("/impersonatedUser/groups").unwrap_or_else(|| "<lookup>".to_owned())),
        ("user-agent", or("/userAgent", "")),
        ("namespace", or("/objectRef/namespace", "<none>")),
        ("uri", or("/requestURI", "")),
        ("response", response.map_or_else(|| "<deferred>".to_owned(), |code| code.to_string())),
    ] {
        line.push_str(&format!(" {name}={}", go_text::quote(&value)));
    }
    line.push('\n');
    line.into_bytes()
}

/// Zeros at the end of the second are left out.
fn received(time: &str) -> String {
    match time.strip_suffix('Z') {
        Some(time) => format!("{}Z", time.trim_end_matches('0').trim_end_matches('.')),
        None => time.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_says_who_asked_for_what_and_what_came_of_it() {
        let event = json!({
            "auditID": "a-1", "stage": "ResponseComplete", "requestURI": "/api/v1/namespaces/n/pods?x=\"", "verb": "list",
            "user": { "username": "jane", "groups": ["dev", "system:authenticated"] },
            "impersonatedUser": { "username": "joe" },
            "sourceIPs": ["10.0.0.1", "10.0.0.2"], "userAgent": "kubectl",
            "objectRef": { "namespace": "n" }, "responseStatus": { "code": 200 },
            "requestReceivedTimestamp": "2026-01-02T03:04:05.120000Z",
        });
        let wanted = concat!(
            r#"2026-01-02T03:04:05.12Z AUDIT: id="a-1" stage="ResponseComplete" ip="10.0.0.1" method="list" user="jane" "#,
            r#"groups="\"dev\",\"system:authenticated\"" as="joe" asgroups="<lookup>" user-agent="kubectl" namespace="n" "#,
            r#"uri="/api/v1/namespaces/n/pods?x=\"" response="200""#,
            "\n"
        );
        assert_eq!(String::from_utf8(line(&event)).unwrap(), wanted);
        let bare = json!({ "auditID": "b", "stage": "RequestReceived", "verb": "get", "user": {}, "requestURI": "/",
            "requestReceivedTimestamp": "2026-01-02T03:04:00.000000Z" });
        let wanted = concat!(
            r#"2026-01-02T03:04:00Z AUDIT: id="b" stage="RequestReceived" ip="<unknown>" method="get" user="<none>" "#,
            r#"groups="<none>" as="<self>" asgroups="<lookup>" user-agent="" namespace="<none>" uri="/" "#,
            r#"response="<deferred>""#,
            "\n"
        );
        assert_eq!(String::from_utf8(line(&bare)).unwrap(), wanted);
    }
}
