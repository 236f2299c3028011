//! What form of answer the client asks for: `Accept` and what its parameters say.
//!
//! `as=` asks for another shape of the same object: a Table, or only its metadata. Every answer is made in JSON; YAML and
//! protobuf are made from it at the end (`pretty`).

use api::{Kind, Version};
use http::{HeaderMap, header};
use machinery::status::{Status, StatusDetails, reason};
use serde_json::Value;

use super::{Scope, protobuf};
use crate::table::{self, Include};

/// How the answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Json,
    Yaml,
    Protobuf,
}

/// The shape of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    Object,
    /// The meta.k8s.io version asked for.
    Table(String),
    Partial(String),
    PartialList(String),
}

const REPRESENTATIONS: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
const ACCEPTED: [&str; 3] = ["application/json", "application/yaml", protobuf::MEDIA_TYPE];
const META_GROUP: &str = "meta.k8s.io";

/// One element of an Accept header.
struct Range<'a> {
    media: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
}

impl<'a> Range<'a> {
    fn parse_all(text: &'a str) -> Vec<(u32, Range<'a>)> {
        let mut ranges: Vec<(u32, Range)> =
            text.split(',').map(Self::parse).filter(|(_, range)| !range.media.is_empty()).collect();
        // The client's order counts among equals.
        ranges.sort_by_key(|(quality, _)| std::cmp::Reverse(*quality));
        ranges
    }

    fn parse(text: &'a str) -> (u32, Self) {
        let mut pieces = text.split(';').map(str::trim);
        let media = pieces.next().unwrap_or_default();
        let mut quality = 1000;
        let mut parameters = Vec::new();
        for (name, value) in pieces.filter_map(|piece| piece.split_once('=')) {
            match name.trim() {
                "q" => quality = value.trim().parse::<f64>().map_or(0, |q| (q.clamp(0.0, 1.0) * 1000.0) as u32),
                name => parameters.push((name, value.trim())),
            }
        }
        (quality, Self { media, parameters })
    }

    fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters.iter().find(|(own, _)| *own == name).map(|(_, value)| *value)
    }

    /// JSON, or what is made from it for any shape.
    fn is_json(&self) -> bool {
        matches!(self.media, "application/json" | "application/yaml" | "application/*" | "*/*")
    }

    fn is_known(&self) -> bool {
        self.is_json() || ACCEPTED.contains(&self.media)
    }

    /// What can be answered for this range: a Table has no form in protobuf.
    fn offer(&self) -> Option<(Output, Encoding)> {
        match self.media {
            protobuf::MEDIA_TYPE => match Output::of(self)? {
                Output::Table(_) => None,
                output => Some((output, Encoding::Protobuf)),
            },
            "application/yaml" => Output::of(self).map(|output| (output, Encoding::Yaml)),
            _ if self.is_json() => Output::of(self).map(|output| (output, Encoding::Json)),
            _ => None,
        }
    }
}

/// Whether discovery is wanted in its aggregated form, where it has one; an error where it is wanted in none that it has.
pub(crate) fn wants_aggregated(headers: &HeaderMap, has_aggregated: bool) -> Result<bool, Status> {
    let text = accept(headers);
    let ranges = Range::parse_all(&text);
    if ranges.is_empty() {
        return Ok(false);
    }
    let offer = |range: &Range| match range.parameter("as") {
        None => range.is_known().then_some(false),
        Some(kind) => {
            let named = kind == "APIGroupDiscoveryList"
                && range.parameter("v") == Some("v2")
                && range.parameter("g") == Some("apidiscovery.k8s.io");
            (named && has_aggregated && range.is_json()).then_some(true)
        }
    };
    let mut offers = ranges.iter().filter(|(quality, _)| *quality > 0).filter_map(|(_, range)| offer(range));
    offers.next().ok_or_else(|| match ranges.iter().any(|(_, range)| range.is_known()) {
        true => Status::not_acceptable(&ACCEPTED),
        false => not_acceptable(false),
    })
}

impl Encoding {
    /// The one that goes with the shape that `Output::negotiate` finds.
    pub fn of(headers: &HeaderMap) -> Self {
        let text = accept(headers);
        let ranges = Range::parse_all(&text);
        let mut offers = ranges.iter().filter(|(quality, _)| *quality > 0).filter_map(|(_, range)| range.offer());
        offers.next().map_or(Self::Json, |(_, encoding)| encoding)
    }
}

fn accept(headers: &HeaderMap) -> String {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    values.collect::<Vec<_>>().join(",")
}

impl Output {
    /// The first form, in the client's order, that there is. Objects of custom kinds have none in protobuf, their metadata has.
    pub fn negotiate(headers: &HeaderMap, is_list: bool, custom: bool) -> Result<Self, Status> {
        let text = accept(headers);
        let ranges = Range::parse_all(&text);
        if ranges.is_empty() {
            return Ok(Self::Object);
        }
        let known = ranges.iter().any(|(_, range)| range.is_known());
        for (_, range) in ranges.iter().filter(|(quality, _)| *quality > 0) {
            match range.offer() {
                Some((Self::Object, Encoding::Protobuf)) if custom => {}
                Some((output, _)) => return Ok(output),
                None => {}
            }
        }
        if custom && ranges.iter().all(|(_, range)| range.media == protobuf::MEDIA_TYPE) {
            return Err(Status::not_acceptable(&ACCEPTED));
        }
        if known && ranges.iter().any(|(_, range)| range.is_json()) {
            return Err(Status::not_acceptable(&ACCEPTED));
        }
        Err(not_acceptable(is_list))
    }

    fn of(range: &Range) -> Option<Self> {
        let Some(kind) = range.parameter("as") else { return Some(Self::Object) };
        let version = range.parameter("v").filter(|version| matches!(*version, "v1" | "v1beta1"))?;
        if range.parameter("g") != Some(META_GROUP) {
            return None;
        }
        let version = format!("{META_GROUP}/{version}");
        match kind {
            "Table" => Some(Self::Table(version)),
            "PartialObjectMetadata" => Some(Self::Partial(version)),
            "PartialObjectMetadataList" => Some(Self::PartialList(version)),
            _ => None,
        }
    }

    /// A single object in this shape.
    pub fn shape_object(
        &self,
        scope: &Scope,
        of: (&Kind, &Version),
        stored: &Value,
        sent: Value,
    ) -> Result<Value, Status> {
        match self {
            Self::Object => Ok(sent),
            Self::Table(version) => {
                let include = Include::of(&scope.query)?;
                Ok(table::of_object(of, version, (stored, &sent), include, scope.ctx.received))
            }
            Self::Partial(version) => Ok(table::partial(version, &sent)),
            Self::PartialList(_) => Err(not_a_list(scope)),
        }
    }
}

/// A list asked for as the shape of an object.
pub fn is_a_list(scope: &Scope) -> Status {
    Status::failure(
        406,
        reason::NOT_ACCEPTABLE,
        format!(
            "you requested PartialObjectMetadata, but the requested object is a list (*{}.{})",
            internal_package(scope),
            scope.kind.list_kind
        ),
    )
}

fn not_a_list(scope: &Scope) -> Status {
    Status::failure(
        406,
        reason::NOT_ACCEPTABLE,
        format!(
            "you requested PartialObjectMetadataList, but the requested object is not a list (*{}.{})",
            internal_package(scope),
            scope.kind.kind
        ),
    )
}

/// What upstream's messages call the home of a kind: the first word of its group.
fn internal_package(scope: &Scope) -> &'static str {
    match scope.kind.group {
        "" => "core",
        group => group.split('.').next().unwrap_or(group),
    }
}

fn not_acceptable(is_list: bool) -> Status {
    let streams =
        if is_list { ", application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch" } else { "" };
    Status::failure(
        406,
        reason::NOT_ACCEPTABLE,
        format!("406: Not Acceptable\n\nAvailable representations: {REPRESENTATIONS}{streams}"),
    )
    .with_details(StatusDetails::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn negotiate(accept: &str) -> Result<Output, Status> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        Output::negotiate(&headers, false, false)
    }

    #[test]
    fn kubectl_asks_for_tables_first_and_gets_them() {
        let accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(negotiate(accept).unwrap(), Output::Table("meta.k8s.io/v1".to_owned()));
    }

    #[test]
    fn the_clients_order_decides_between_protobuf_and_json() {
        let check = |accept: &str, encoding, output| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            assert_eq!(negotiate(accept).unwrap(), output);
            assert_eq!(Encoding::of(&headers), encoding, "{accept}");
        };
        check("application/vnd.kubernetes.protobuf,application/json", Encoding::Protobuf, Output::Object);
        check("application/vnd.kubernetes.protobuf;stream=watch", Encoding::Protobuf, Output::Object);
        check("application/vnd.kubernetes.protobuf;q=0.1,*/*", Encoding::Json, Output::Object);
        check("application/yaml,application/vnd.kubernetes.protobuf", Encoding::Yaml, Output::Object);
        let partial = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
        check(partial, Encoding::Protobuf, Output::Partial("meta.k8s.io/v1".to_owned()));
        let table = "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io";
        check(&format!("{table},*/*"), Encoding::Json, Output::Object);
        assert_eq!(negotiate(table).unwrap_err().code(), 406);
    }

    #[test]
    fn discovery_comes_in_the_forms_that_there_are_or_not_at_all() {
        let wants = |accept: &str, has_aggregated| {
            let headers = HeaderMap::from_iter([(header::ACCEPT, accept.parse().unwrap())]);
            wants_aggregated(&headers, has_aggregated)
        };
        let aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        let old = aggregated.replace("v2", "v2beta1");
        assert!(wants(aggregated, true).unwrap());
        assert!(wants(&format!("{old},{aggregated},application/json"), true).unwrap());
        assert!(!wants(&format!("application/json,{aggregated}"), true).unwrap());
        assert!(!wants(&format!("{old},application/json"), true).unwrap());
        assert!(!wants("*/*", false).unwrap());
        for (accept, has_aggregated) in [(old.as_str(), true), (aggregated, false)] {
            let refused = wants(accept, has_aggregated).unwrap_err();
            assert!(refused.message().starts_with("only the following media types are accepted:"), "{accept}");
        }
        assert_eq!(wants("text/plain", true).unwrap_err().code(), 406);
    }

    #[test]
    fn cbor_is_not_served() {
        // Upstream's gate for it is off.
        for accept in ["application/cbor", "application/cbor-seq"] {
            let refused = negotiate(accept).unwrap_err();
            assert_eq!(refused.code(), 406);
            assert!(refused.message().starts_with("406: Not Acceptable"), "{accept}");
        }
        assert_eq!(negotiate("application/cbor,application/json").unwrap(), Output::Object);
    }

    #[test]
    fn unknown_shapes_and_types_are_refused_in_upstreams_two_ways() {
        let shape = negotiate("application/json;as=Table;v=v9;g=meta.k8s.io").unwrap_err();
        assert!(shape.message().starts_with("only the following media types are accepted: application/json,"));
        let media = negotiate("text/plain").unwrap_err();
        assert!(media.message().starts_with("406: Not Acceptable\n\nAvailable representations: application/json,"));
    }
}
