//! The value of a quoted text: escapes resolved, as characters or (for bytes) as bytes.

/// The value of a STRING token; with `bytes` of what follows the `b` of a BYTES token.
pub(crate) fn unquote(text: &str, bytes: bool) -> Result<Vec<u8>, &'static str> {
    let (raw, text) = match text.strip_prefix(['r', 'R']) {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let quotes = if text.len() >= 6 && (text.starts_with("'''") || text.starts_with("\"\"\"")) { 3 } else { 1 };
    let Some(content) = text.get(quotes..text.len() - quotes) else {
        return Err("unable to unescape string");
    };
    // Line ends are one character.
    let content = content.replace("\r\n", "\n").replace('\r', "\n");
    if raw || !content.contains('\\') {
        return Ok(content.into_bytes());
    }
    let mut out = Vec::with_capacity(content.len());
    let mut rest = content.as_str();
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let (length, code) = escape(&rest[at..])?;
        match code {
            Escape::Byte(byte) if bytes => out.push(byte),
            Escape::Byte(byte) => push_char(&mut out, u32::from(byte))?,
            Escape::Character(_) if bytes && matches!(rest.as_bytes()[at + 1], b'u' | b'U') => {
                return Err("unable to unescape string");
            }
            Escape::Character(code) => push_char(&mut out, code)?,
        }
        rest = &rest[at + length..];
    }
    out.extend_from_slice(rest.as_bytes());
    Ok(out)
}

enum Escape {
    Byte(u8),
    Character(u32),
}

fn escape(rest: &str) -> Result<(usize, Escape), &'static str> {
    const BAD: &str = "unable to unescape string";
    let kind = rest[1..].chars().next().ok_or(BAD)?;
    let simple = |c: char| Ok((2, Escape::Character(u32::from(c))));
    let digits = |from: usize, to: usize, radix: u32| {
        let digits = rest.get(from..to).ok_or(BAD)?;
        u32::from_str_radix(digits, radix).map_err(|_| BAD)
    };
    match kind {
        'a' => simple('\u{7}'),
        'b' => simple('\u{8}'),
        'f' => simple('\u{c}'),
        'n' => simple('\n'),
        'r' => simple('\r'),
        't' => simple('\t'),
        'v' => simple('\u{b}'),
        '\\' | '\'' | '"' | '`' | '?' => simple(kind),
        'x' | 'X' => Ok((4, Escape::Byte(digits(2, 4, 16)? as u8))),
        'u' => Ok((6, Escape::Character(digits(2, 6, 16)?))),
        'U' => Ok((10, Escape::Character(digits(2, 10, 16)?))),
        '0'..='3' => Ok((4, Escape::Byte(digits(1, 4, 8)? as u8))),
        _ => Err(BAD),
    }
}

fn push_char(out: &mut Vec<u8>, code: u32) -> Result<(), &'static str> {
    let c = char::from_u32(code).ok_or("invalid unicode code point")?;
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    Ok(())
}
