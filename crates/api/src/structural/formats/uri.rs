//! What a request line may name: an absolute URI, an absolute path, or `*`.

/// Whether a text is one of them.
pub fn is_request_uri(text: &str) -> bool {
    if text.is_empty() || text.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
        return false;
    }
    if text == "*" {
        return true;
    }
    let Some((scheme, rest)) = split_scheme(text) else { return false };
    let (rest, _query) = rest.split_once('?').unwrap_or((rest, ""));
    if !rest.starts_with('/') {
        // What follows a scheme without a slash is opaque.
        return scheme;
    }
    let path = match rest.strip_prefix("//").filter(|_| scheme) {
        Some(rest) => {
            let end = rest.find('/').unwrap_or(rest.len());
            if !is_authority(&rest[..end]) {
                return false;
            }
            &rest[end..]
        }
        None => rest,
    };
    has_whole_escapes(path)
}

/// Whether a text is a URL with a scheme and a host.
pub fn is_absolute_url(text: &str) -> bool {
    is_request_uri(text) && split_url(text).is_ok_and(|parts| !parts.scheme.is_empty() && !parts.host.is_empty())
}

/// The parts of a URL that rules look at.
#[derive(Debug, PartialEq, Eq)]
pub struct UrlParts<'t> {
    pub scheme: String,
    pub user: Option<&'t str>,
    pub host: &'t str,
    pub query: &'t str,
    pub fragment: &'t str,
}

/// Takes a URL or a reference apart; the error is in upstream's words.
pub fn split_url(text: &str) -> Result<UrlParts<'_>, String> {
    let refused = |reason: &str| Err(format!("parse {}: {reason}", machinery::go_text::quote(text)));
    if text.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
        return refused("net/url: invalid control character in URL");
    }
    let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
    let Some((has_scheme, after)) = split_scheme(rest) else { return refused("missing protocol scheme") };
    let scheme = if has_scheme { rest[..rest.len() - after.len() - 1].to_lowercase() } else { String::new() };
    let (after, query) = after.split_once('?').unwrap_or((after, ""));
    let Some(authority) = after.strip_prefix("//") else {
        return Ok(UrlParts { scheme, user: None, host: "", query, fragment });
    };
    let authority = authority.split('/').next().unwrap_or_default();
    if !is_authority(authority) {
        return refused("invalid character in host name");
    }
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    Ok(UrlParts { scheme, user, host, query, fragment })
}

/// Whether there is a scheme, and what follows it; nothing when the text begins with a colon.
fn split_scheme(text: &str) -> Option<(bool, &str)> {
    for (at, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at == 0 => return None,
            ':' => return Some((true, &text[at + 1..])),
            _ => return Some((false, text)),
        }
    }
    Some((false, text))
}

fn is_authority(text: &str) -> bool {
    let (user, host) = match text.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, text),
    };
    let is_user_char = |c: char| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c);
    if user.is_some_and(|user| !user.chars().all(is_user_char) || !has_whole_escapes(user)) {
        return false;
    }
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.rsplit_once(']') {
            Some((address, port)) => (address, port),
            None => return false,
        },
        None => match host.rfind(':') {
            Some(at) => host.split_at(at),
            None => (host, ""),
        },
    };
    let port_fits =
        port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()));
    let is_name_char = |c: char| !c.is_ascii() || c.is_ascii_alphanumeric() || "-_.~!$&'()*+,;=:[]<>\"%".contains(c);
    port_fits && name.chars().all(is_name_char) && has_whole_escapes(name)
}

/// Every `%` is followed by two hexadecimal digits.
fn has_whole_escapes(text: &str) -> bool {
    text.split('%').skip(1).all(|part| {
        let digits = part.as_bytes();
        digits.len() >= 2 && digits[..2].iter().all(u8::is_ascii_hexdigit)
    })
}
