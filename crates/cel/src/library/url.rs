//! URLs: `url('https://example.com:80/path?k=v').getHost()`.
//!
//! Reading follows upstream's reader step by step, since its errors are in messages: scheme, then authority, then path.

use std::fmt;
use std::sync::Arc;

use indexmap::IndexMap;
use machinery::go_text::quote;

use super::Set;
use super::opaque::{Opaque, URL};
use crate::errors::EvalError;
use crate::types::Type;
use crate::value::{EvalResult, Key, Map, Text, Value};
use Type::{Bool, String as TextType};

/// The parts of a URL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Url {
    scheme: String,
    opaque: String,
    user: Option<String>,
    /// With its port.
    host: String,
    /// Escaped as it was given.
    path: String,
    query: Option<String>,
    fragment: Option<String>,
}

pub(super) fn declare(set: &mut Set) {
    let url = || Type::Opaque(URL);
    set.global("url", "string_to_url", [TextType], url(), |args| {
        let parsed = Url::parse(text(args)?).map(|url| Value::Opaque(Opaque::Url(Arc::new(url))));
        parsed.map_err(|error| EvalError::new(format!("URL parse error during conversion from string: {error}")))
    });
    set.global("isURL", "is_url_string", [TextType], Bool, |args| Ok(Value::Bool(Url::parse(text(args)?).is_ok())));
    set.member("getScheme", "url_get_scheme", [url()], TextType, |args| part(args, |url| url.scheme.clone()));
    set.member("getHost", "url_get_host", [url()], TextType, |args| part(args, |url| url.host.clone()));
    set.member("getHostname", "url_get_hostname", [url()], TextType, |args| part(args, |url| url.split_host().0));
    set.member("getPort", "url_get_port", [url()], TextType, |args| part(args, |url| url.split_host().1));
    set.member("getEscapedPath", "url_get_escaped_path", [url()], TextType, |args| part(args, Url::escaped_path));
    let values = Type::map(TextType, Type::list(TextType));
    set.member("getQuery", "url_get_query", [url()], values, |args| match &args[0] {
        Value::Opaque(Opaque::Url(url)) => Ok(query(url.query.as_deref().unwrap_or_default())),
        _ => Err(EvalError::no_such_overload()),
    });
}

fn text<'v>(args: &'v [Value<'_>]) -> Result<&'v str, EvalError> {
    args[0].as_str().ok_or_else(EvalError::no_such_overload)
}

fn part<'a>(args: &[Value<'a>], of: impl Fn(&Url) -> String) -> EvalResult<'a> {
    match &args[0] {
        Value::Opaque(Opaque::Url(url)) => Ok(Value::from(of(url))),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn query<'a>(text: &str) -> Value<'a> {
    let mut values: IndexMap<String, Vec<Value<'a>>> = IndexMap::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty() && !pair.contains(';')) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        // What cannot be unescaped is left out.
        if let (Ok(name), Ok(value)) = (unescape(name, true), unescape(value, true)) {
            values.entry(name).or_default().push(Value::from(value));
        }
    }
    let entries =
        values.into_iter().map(|(name, values)| (Key::String(Text::Shared(name.into())), Value::list(values)));
    Value::Map(Map::Entries(Arc::new(entries.collect())))
}

impl Url {
    /// Reads an absolute URL or an absolute path; the error is upstream's.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (without_fragment, fragment) = match text.split_once('#') {
            Some((rest, fragment)) => (rest, Some(fragment)),
            None => (text, None),
        };
        // The first check takes a fragment for a part of the path or query.
        parse_parts(text, true).map_err(|why| format!("parse {}: {why}", quote(text)))?;
        let url =
            parse_parts(without_fragment, false).map_err(|why| format!("parse {}: {why}", quote(without_fragment)))?;
        if let Some(fragment) = fragment {
            unescape(fragment, false).map_err(|why| format!("parse {}: {why}", quote(text)))?;
        }
        Ok(Url { fragment: fragment.map(str::to_owned), ..url })
    }

    /// The name and the port of the host.
    fn split_host(&self) -> (String, String) {
        let (name, port) = match self.host.rfind(':') {
            Some(at) if valid_port(&self.host[at..]) => (&self.host[..at], &self.host[at + 1..]),
            _ => (self.host.as_str(), ""),
        };
        let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        (name.to_owned(), port.to_owned())
    }

    fn escaped_path(&self) -> String {
        escape_path(&self.path)
    }
}

/// `uri` of the formats: whether the text is a URL that a request could be for.
pub(super) fn request_uri_error(text: &str) -> Option<String> {
    parse_parts(text, true).err().map(|why| format!("parse {}: {why}", quote(text)))
}

fn parse_parts(text: &str, via_request: bool) -> Result<Url, String> {
    if text.bytes().any(|b| b < b' ' || b == 0x7f) {
        return Err("net/url: invalid control character in URL".to_owned());
    }
    if text.is_empty() && via_request {
        return Err("empty url".to_owned());
    }
    if text == "*" {
        return Ok(Url { path: "*".to_owned(), ..Url::default() });
    }
    let (scheme, rest) = scheme(text)?;
    let mut url = Url { scheme: scheme.to_ascii_lowercase(), ..Url::default() };
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, Some(query.to_owned())),
        None => (rest, None),
    };
    url.query = query;
    if !rest.starts_with('/') {
        if !url.scheme.is_empty() {
            url.opaque = rest.to_owned();
            return Ok(url);
        }
        if via_request {
            return Err("invalid URI for request".to_owned());
        }
        if rest.split('/').next().is_some_and(|segment| segment.contains(':')) {
            return Err("first path segment in URL cannot contain colon".to_owned());
        }
    }
    let mut rest = rest;
    if (!url.scheme.is_empty() || (!via_request && !rest.starts_with("///"))) && rest.starts_with("//") {
        let authority_end = rest[2..].find('/').map_or(rest.len(), |at| at + 2);
        let (authority, path) = (&rest[2..authority_end], &rest[authority_end..]);
        (url.user, url.host) = authority_parts(authority)?;
        rest = path;
    }
    unescape(rest, false)?;
    url.path = rest.to_owned();
    Ok(url)
}

fn scheme(text: &str) -> Result<(&str, &str), String> {
    for (at, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at == 0 => return Err("missing protocol scheme".to_owned()),
            ':' => return Ok((&text[..at], &text[at + 1..])),
            _ => break,
        }
    }
    Ok(("", text))
}

fn authority_parts(authority: &str) -> Result<(Option<String>, String), String> {
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    if let Some(user) = user {
        let valid = |c: char| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c);
        if !user.chars().all(valid) {
            return Err("net/url: invalid userinfo".to_owned());
        }
        unescape(user, false)?;
    }
    if host.starts_with('[') {
        let Some(end) = host.rfind(']') else { return Err("missing ']' in host".to_owned()) };
        let port = &host[end + 1..];
        if !valid_port(port) {
            return Err(format!("invalid port {} after host", quote(port)));
        }
    } else if let Some(at) = host.rfind(':')
        && !valid_port(&host[at..])
    {
        return Err(format!("invalid port {} after host", quote(&host[at..])));
    }
    let host = unescape_host(host)?;
    Ok((user.map(str::to_owned), host))
}

/// Empty, or a colon and digits.
fn valid_port(port: &str) -> bool {
    port.is_empty() || port.strip_prefix(':').is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
}

fn unescape_host(host: &str) -> Result<String, String> {
    for (at, c) in host.char_indices() {
        if c == '%' {
            let escape = host.get(at..at + 3).unwrap_or(&host[at..]);
            let byte = escape.get(1..).and_then(|digits| u8::from_str_radix(digits, 16).ok());
            // Only bytes beyond ASCII may be escaped, and a zone's %25.
            if escape.len() < 3 || byte.is_none_or(|byte| byte < 0x80 && escape != "%25") {
                return Err(format!("invalid URL escape {}", quote(escape)));
            }
        } else if c.is_ascii() && !c.is_ascii_alphanumeric() && !"-_.~!$&'()*+,;=:[]<>\"".contains(c) {
            return Err(format!("invalid character {} in host name", quote(&c.to_string())));
        }
    }
    unescape(host, false)
}

/// Resolves `%41`, and in queries `+`.
fn unescape(text: &str, plus: bool) -> Result<String, String> {
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'%' => {
                let digits = bytes.get(at + 1..at + 3).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
                let Some(digits) = digits else {
                    let end = (at + 3).min(bytes.len());
                    let escape = String::from_utf8_lossy(&bytes[at..end]);
                    return Err(format!("invalid URL escape {}", quote(&escape)));
                };
                let hex = |digit: u8| char::from(digit).to_digit(16).unwrap_or(0) as u8;
                out.push(hex(digits[0]) << 4 | hex(digits[1]));
                at += 3;
            }
            b'+' if plus => {
                out.push(b' ');
                at += 1;
            }
            byte => {
                out.push(byte);
                at += 1;
            }
        }
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// A path with what a path may not hold escaped; escapes that are there stay.
fn escape_path(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => out.push(char::from(byte)),
            _ if b"-_.~$&+,/:;=@!'()*%[]".contains(&byte) => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.scheme.is_empty() {
            write!(f, "{}:", self.scheme)?;
        }
        if !self.opaque.is_empty() {
            f.write_str(&self.opaque)?;
        } else {
            if !self.scheme.is_empty() || !self.host.is_empty() || self.user.is_some() {
                if !self.host.is_empty() || !self.path.is_empty() || self.user.is_some() {
                    f.write_str("//")?;
                }
                if let Some(user) = &self.user {
                    write!(f, "{user}@")?;
                }
                f.write_str(&self.host)?;
            }
            f.write_str(&self.escaped_path())?;
        }
        if let Some(query) = &self.query {
            write!(f, "?{query}")?;
        }
        if let Some(fragment) = &self.fragment {
            write!(f, "#{fragment}")?;
        }
        Ok(())
    }
}
