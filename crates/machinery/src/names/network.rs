//! Addresses, prefixes and ports.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IP address in plain form, as new fields require.
pub fn ip(value: &str) -> Vec<String> {
    let Some(address) = parse_sloppy(value) else {
        return vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()];
    };
    let mut errors = Vec::new();
    if value.parse::<IpAddr>().is_err() {
        errors.push("must not have leading 0s".to_owned());
    }
    if is_mapped(address) {
        errors.push("must not be an IPv4-mapped IPv6 address".to_owned());
    }
    errors
}

/// An IP address as old fields have always taken it: leading zeros are read as decimal.
pub fn ip_legacy(value: &str) -> Vec<String> {
    match parse_sloppy(value) {
        Some(_) => Vec::new(),
        None => ip(value),
    }
}

/// An address and a prefix length, with nothing set beyond the prefix.
pub fn cidr(value: &str) -> Vec<String> {
    let Some((address, length)) = parse_cidr_sloppy(value) else {
        return vec!["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)".to_owned()];
    };
    let mut errors = Vec::new();
    if is_mapped(address) {
        errors.push("must not have an IPv4-mapped IPv6 address".to_owned());
    } else if !is_plain_cidr(value) {
        errors.push("must not have leading 0s in IP or prefix length".to_owned());
    } else if has_bits_beyond(address, length) {
        errors.push("must not have bits set beyond the prefix length".to_owned());
    }
    errors
}

/// An address and a prefix length as old fields have always taken them.
pub fn cidr_legacy(value: &str) -> Vec<String> {
    match parse_cidr_sloppy(value) {
        Some(_) => Vec::new(),
        None => cidr(value),
    }
}

/// The address of an interface with the length of its network's prefix: `10.9.8.7/24`, as it is printed.
pub fn interface_address(value: &str) -> Vec<String> {
    let Some((address, length)) = parse_cidr_sloppy(value) else {
        return vec!["must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)".to_owned()];
    };
    // An IPv4 address within an IPv6 one is printed as what it is.
    let canonical = match address {
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => format!("{v4}/{}", length.saturating_sub(96)),
            None => format!("{v6}/{length}"),
        },
        IpAddr::V4(v4) => format!("{v4}/{length}"),
    };
    if value == canonical { Vec::new() } else { vec![format!("must be in canonical form ({canonical:?})")] }
}

/// A port: 1 to 65535.
pub fn port_number(value: i64) -> Vec<String> {
    super::in_range(value, 1, 65535)
}

fn parse_sloppy(value: &str) -> Option<IpAddr> {
    if let Ok(address) = value.parse::<IpAddr>() {
        return Some(address);
    }
    // Only the decimal numbers of an IPv4 address, alone or at the end of an IPv6 one, may have leading zeros.
    let (head, tail) = value.rsplit_once(':').map_or(("", value), |(head, tail)| (head, tail));
    let address = parse_dotted(tail)?;
    if tail.len() == value.len() { Some(IpAddr::V4(address)) } else { format!("{head}:{address}").parse().ok() }
}

fn parse_dotted(value: &str) -> Option<Ipv4Addr> {
    let mut octets = [0u8; 4];
    let mut parts = value.split('.');
    for octet in &mut octets {
        let part = parts.next().filter(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))?;
        let significant = part.trim_start_matches('0');
        *octet = if significant.is_empty() { 0 } else { significant.parse().ok()? };
    }
    parts.next().is_none().then(|| Ipv4Addr::from(octets))
}

fn parse_cidr_sloppy(value: &str) -> Option<(IpAddr, u32)> {
    let (address, length) = value.split_once('/')?;
    let address = parse_sloppy(address)?;
    if length.is_empty() || length.len() > 10 || !length.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let length = length.parse().ok()?;
    (length <= if address.is_ipv4() { 32 } else { 128 }).then_some((address, length))
}

fn is_plain_cidr(value: &str) -> bool {
    value.split_once('/').is_some_and(|(address, length)| {
        address.parse::<IpAddr>().is_ok() && (length == "0" || !length.starts_with('0'))
    })
}

fn is_mapped(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some())
}

fn has_bits_beyond(address: IpAddr, length: u32) -> bool {
    match address {
        IpAddr::V4(v4) => v4.to_bits() & u32::MAX.checked_shr(length).unwrap_or(0) != 0,
        IpAddr::V6(v6) => Ipv6Addr::to_bits(v6) & u128::MAX.checked_shr(length).unwrap_or(0) != 0,
    }
}
