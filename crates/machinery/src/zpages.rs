//! What a component tells of itself at `/statusz` and `/flagz`: text for people; the kinds Statusz and Flagz of config.k8s.io
//! for programs that ask for them by `as`, `v` and `g`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::status::Status;
use crate::time;

pub const STATUSZ: &str = "/statusz";
pub const FLAGZ: &str = "/flagz";
const GROUP: &str = "config.k8s.io";
const VERSIONS: [&str; 2] = ["v1beta1", "v1alpha1"];
/// In the order in which they are told to whoever wants something else.
const ACCEPTED: [&str; 3] = ["application/json", "application/yaml", "text/plain"];
const WARNING: &str = "Warning: This endpoint is not meant to be machine parseable, has no formatting compatibility guarantees and is for debugging purposes only.";

/// A page as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    pub content_type: &'static str,
    pub body: String,
}

/// What there is to tell of a component as it runs.
#[derive(Clone, Debug)]
pub struct Statusz<'a> {
    pub component: &'a str,
    pub started: Timestamp,
    pub go_version: &'a str,
    /// Without a `v` before it.
    pub binary_version: &'a str,
    pub emulation_version: &'a str,
    /// Paths that it serves; what is below them need not be named.
    pub paths: &'a [&'a str],
}

impl Statusz<'_> {
    pub fn page(&self, accept: &str, now: Timestamp) -> Result<Page, Status> {
        let form = Form::negotiate(accept, "Statusz")?;
        let uptime_seconds = now.as_second().saturating_sub(self.started.as_second()).max(0);
        let mut paths = self.paths.to_vec();
        paths.sort_unstable();
        Ok(match form {
            Form::Text => text(format!(
                "\n{component} statusz\n{WARNING}\n\nStarted: {started}\nUp: {up}\nGo version: {go}\nBinary version: {binary}\nEmulation version: {emulation}\nPaths: {paths}\n",
                component = self.component,
                started = self.started.strftime("%a %b %e %H:%M:%S UTC %Y"),
                up = uptime(uptime_seconds),
                go = self.go_version,
                binary = self.binary_version,
                emulation = self.emulation_version,
                paths = paths.join(" "),
            )),
            Form::Object(version, encoding) => encoding.page(&json!({
                "kind": "Statusz",
                "apiVersion": format!("{GROUP}/{version}"),
                "metadata": { "name": self.component },
                "startTime": time::format_rfc3339_seconds(self.started),
                "uptimeSeconds": uptime_seconds,
                "goVersion": self.go_version,
                "binaryVersion": self.binary_version,
                "emulationVersion": self.emulation_version,
                "paths": paths,
            })),
        })
    }
}

/// The flags that a component runs with, by name.
pub fn flagz(component: &str, flags: &BTreeMap<String, String>, accept: &str) -> Result<Page, Status> {
    Ok(match Form::negotiate(accept, "Flagz")? {
        Form::Text => {
            let lines: String = flags.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
            text(format!("\n{component} flagz\n{WARNING}\n{lines}"))
        }
        Form::Object(version, encoding) => encoding.page(&json!({
            "kind": "Flagz",
            "apiVersion": format!("{GROUP}/{version}"),
            "metadata": { "name": component },
            "flags": flags,
        })),
    })
}

fn text(body: String) -> Page {
    Page { content_type: "text/plain; charset=utf-8", body }
}

fn uptime(seconds: i64) -> String {
    format!("{} hr {:02} min {:02} sec", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

enum Form {
    Text,
    Object(&'static str, Encoding),
}

enum Encoding {
    Json,
    Yaml,
}

impl Encoding {
    fn page(&self, object: &Value) -> Page {
        match self {
            Self::Json => Page { content_type: "application/json", body: format!("{object}\n") },
            // JSON is YAML.
            Self::Yaml => Page { content_type: "application/yaml", body: format!("{object:#}\n") },
        }
    }
}

impl Form {
    /// The first that there is, in the client's order; text for whoever does not say.
    fn negotiate(accept: &str, kind: &str) -> Result<Self, Status> {
        let mut ranges: Vec<(u32, Range)> = accept.split(',').map(Range::parse).collect();
        ranges.retain(|(_, range)| !range.media.is_empty());
        if ranges.is_empty() {
            return Ok(Self::Text);
        }
        ranges.sort_by_key(|(quality, _)| std::cmp::Reverse(*quality));
        let mut offers = ranges.iter().filter(|(quality, _)| *quality > 0).filter_map(|(_, range)| range.offer(kind));
        offers.next().ok_or_else(|| Status::not_acceptable(&ACCEPTED))
    }
}

/// One element of an Accept header.
struct Range<'a> {
    media: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
}

impl<'a> Range<'a> {
    /// With its weight in thousandths.
    fn parse(text: &'a str) -> (u32, Self) {
        let mut pieces = text.split(';').map(str::trim);
        let media = pieces.next().unwrap_or_default();
        let pairs = pieces.filter_map(|piece| piece.split_once('='));
        let parameters: Vec<_> = pairs.map(|(name, value)| (name.trim(), value.trim())).collect();
        let range = Self { media, parameters };
        let weight = range.parameter("q").map_or(1.0, |q| q.parse::<f64>().unwrap_or(0.0).clamp(0.0, 1.0));
        ((weight * 1000.0) as u32, range)
    }

    fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters.iter().find(|(own, _)| *own == name).map(|(_, value)| *value)
    }

    fn offer(&self, kind: &str) -> Option<Form> {
        let named = ["as", "v", "g"].map(|name| self.parameter(name));
        let encoding = match self.media {
            "text/plain" | "text/*" | "*/*" if named == [None; 3] => return Some(Form::Text),
            "application/json" => Encoding::Json,
            "application/yaml" => Encoding::Yaml,
            _ => return None,
        };
        let [Some(wanted), Some(version), Some(GROUP)] = named else { return None };
        let version = VERSIONS.into_iter().find(|own| *own == version)?;
        (wanted == kind).then_some(Form::Object(version, encoding))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statusz(accept: &str) -> Result<Page, Status> {
        let started: Timestamp = "2026-01-02T11:37:40Z".parse().unwrap();
        let page = Statusz {
            component: "apiserver",
            started,
            go_version: "go1",
            binary_version: "1.36.2",
            emulation_version: "1.36",
            paths: &["/readyz", "/livez"],
        };
        page.page(accept, started + jiff::SignedDuration::from_secs(3 * 3600 + 61))
    }

    #[test]
    fn people_get_text() {
        for accept in ["", "*/*", "text/plain", "application/json;v=v9;g=config.k8s.io;as=Statusz,*/*"] {
            let page = statusz(accept).unwrap();
            assert_eq!(page.content_type, "text/plain; charset=utf-8");
            let (head, rest) = page.body.split_once("\n\n").unwrap();
            assert_eq!(head, format!("\napiserver statusz\n{WARNING}"));
            assert_eq!(
                rest,
                "Started: Fri Jan  2 11:37:40 UTC 2026\nUp: 3 hr 01 min 01 sec\nGo version: go1\nBinary version: 1.36.2\nEmulation version: 1.36\nPaths: /livez /readyz\n"
            );
        }
    }

    #[test]
    fn programs_get_the_kind_that_they_name() {
        for version in VERSIONS {
            let page = statusz(&format!("application/json;v={version};g=config.k8s.io;as=Statusz")).unwrap();
            let object: Value = serde_json::from_str(&page.body).unwrap();
            assert_eq!(object["apiVersion"], format!("config.k8s.io/{version}"));
            assert_eq!(
                (&object["startTime"], &object["uptimeSeconds"]),
                (&json!("2026-01-02T11:37:40Z"), &json!(10861))
            );
            assert_eq!(object["paths"], json!(["/livez", "/readyz"]));
        }
        let flags = BTreeMap::from([("v".to_owned(), "2".to_owned()), ("a".to_owned(), String::new())]);
        let page = flagz("kubelet", &flags, "application/json;as=Flagz;v=v1beta1;g=config.k8s.io").unwrap();
        let object: Value = serde_json::from_str(&page.body).unwrap();
        assert_eq!(object["flags"], json!({ "a": "", "v": "2" }));
        assert_eq!(flagz("kubelet", &flags, "").unwrap().body, format!("\nkubelet flagz\n{WARNING}\na=\nv=2\n"));
        let yaml = flagz("kubelet", &flags, "application/yaml;as=Flagz;v=v1beta1;g=config.k8s.io").unwrap();
        let parsed = crate::codec::yaml::parse(yaml.body.as_bytes(), crate::codec::Limits::default()).unwrap();
        assert_eq!((yaml.content_type, parsed.value), ("application/yaml", object));
    }

    #[test]
    fn what_there_is_not_is_refused() {
        for accept in [
            "application/json",
            "application/xml",
            "application/json;v=v1beta1;g=config.k8s.io",
            "application/json;v=v1beta1;g=config.k8s.io;as=Flagz",
            "text/plain;q=0",
        ] {
            assert_eq!(statusz(accept).unwrap_err().code(), 406, "{accept}");
        }
    }
}
