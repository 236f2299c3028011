//! A mail address, alone or with a name before it in angle brackets.

/// Whether a text is one address.
pub fn is_address(text: &str) -> bool {
    let text = text.trim_matches([' ', '\t']);
    match text.strip_suffix('>') {
        None => is_plain(text),
        Some(text) => {
            let Some((name, address)) = text.rsplit_once('<') else { return false };
            is_name(name.trim_matches([' ', '\t'])) && is_plain(address)
        }
    }
}

/// `local@domain`
fn is_plain(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let literal = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let domain_fits = match literal {
        Some(address) => address.strip_prefix("IPv6:").unwrap_or(address).parse::<std::net::IpAddr>().is_ok(),
        None => is_dotted(domain),
    };
    domain_fits && (is_dotted(local) || is_quoted(local))
}

/// Words, quoted or not.
fn is_name(text: &str) -> bool {
    text.is_empty() || is_quoted(text) || text.chars().all(|c| is_atom_char(c) || matches!(c, ' ' | '\t' | '.'))
}

fn is_dotted(text: &str) -> bool {
    text.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atom_char))
}

fn is_atom_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || !c.is_ascii()
}

fn is_quoted(text: &str) -> bool {
    let Some(inner) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return false };
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        let fits = match c {
            '\\' => chars.next().is_some(),
            '"' => false,
            c => c == ' ' || c == '\t' || !c.is_ascii_control(),
        };
        if !fits {
            return false;
        }
    }
    true
}
