//! Addresses and networks: `ip('10.0.0.1')`, `cidr('10.0.0.0/8').containsIP('10.1.2.3')`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use machinery::go_text::quote;

use super::Set;
use super::opaque::{CIDR, IP, Opaque};
use crate::errors::EvalError;
use crate::types::Type;
use crate::value::{EvalResult, Value};
use Type::{Bool, Int, String as Text};

/// An address with a number of leading bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    pub address: IpAddr,
    pub bits: u8,
}

pub(super) fn declare(set: &mut Set) {
    let (ip, cidr) = (|| Type::Opaque(IP), || Type::Opaque(CIDR));
    set.global("ip", "string_to_ip", [Text], ip(), |args| text(&args[0]).and_then(parse_ip).map(ip_value));
    set.member("ip", "cidr_ip", [cidr()], ip(), |args| Ok(ip_value(cidr_of(&args[0])?.address)));
    set.member("family", "ip_family", [ip()], Int, |args| {
        Ok(Value::Int(if ip_of(&args[0])?.is_ipv4() { 4 } else { 6 }))
    });
    set.global("ip.isCanonical", "ip_is_canonical", [Text], Bool, |args| {
        let text = text(&args[0])?;
        Ok(Value::Bool(parse_ip(text)?.to_string() == text))
    });
    set.member("isUnspecified", "ip_is_unspecified", [ip()], Bool, |args| is(args, |ip| ip.is_unspecified()));
    set.member("isLoopback", "ip_is_loopback", [ip()], Bool, |args| is(args, |ip| ip.is_loopback()));
    set.member("isLinkLocalMulticast", "ip_is_link_local_multicast", [ip()], Bool, |args| {
        is(args, is_link_local_multicast)
    });
    set.member("isLinkLocalUnicast", "ip_is_link_local_unicast", [ip()], Bool, |args| is(args, is_link_local_unicast));
    set.member("isGlobalUnicast", "ip_is_global_unicast", [ip()], Bool, |args| is(args, is_global_unicast));
    set.global("isIP", "is_ip", [Text], Bool, |args| Ok(Value::Bool(parse_ip(text(&args[0])?).is_ok())));
    set.global("string", "ip_to_string", [ip()], Text, |args| Ok(Value::from(ip_of(&args[0])?.to_string())));
    set.global("cidr", "string_to_cidr", [Text], cidr(), |args| {
        let cidr = parse_cidr(text(&args[0])?);
        let prefix = "network address parse error during conversion from string: ";
        cidr.map(cidr_value).map_err(|error| EvalError::new(format!("{prefix}{error}")))
    });
    set.member("containsIP", "cidr_contains_ip_string", [cidr(), Text], Bool, |args| {
        Ok(Value::Bool(cidr_of(&args[0])?.contains(parse_ip(text(&args[1])?)?)))
    });
    set.member("containsIP", "cidr_contains_ip_ip", [cidr(), ip()], Bool, |args| {
        Ok(Value::Bool(cidr_of(&args[0])?.contains(ip_of(&args[1])?)))
    });
    set.member("containsCIDR", "cidr_contains_cidr_string", [cidr(), Text], Bool, |args| {
        let other = parse_cidr(text(&args[1])?)?;
        Ok(Value::Bool(cidr_of(&args[0])?.contains_cidr(other)))
    });
    set.member("containsCIDR", "cidr_contains_cidr", [cidr(), cidr()], Bool, |args| {
        Ok(Value::Bool(cidr_of(&args[0])?.contains_cidr(cidr_of(&args[1])?)))
    });
    set.member("prefixLength", "cidr_prefix_length", [cidr()], Int, |args| {
        Ok(Value::Int(i64::from(cidr_of(&args[0])?.bits)))
    });
    set.member("masked", "cidr_masked", [cidr()], cidr(), |args| Ok(cidr_value(cidr_of(&args[0])?.masked())));
    set.global("isCIDR", "is_cidr", [Text], Bool, |args| Ok(Value::Bool(parse_cidr(text(&args[0])?).is_ok())));
    set.global("string", "cidr_to_string", [cidr()], Text, |args| Ok(Value::from(cidr_of(&args[0])?.to_string())));
}

fn text<'v>(value: &'v Value<'_>) -> Result<&'v str, EvalError> {
    value.as_str().ok_or_else(EvalError::no_such_overload)
}

fn ip_value<'a>(ip: IpAddr) -> Value<'a> {
    Value::Opaque(Opaque::Ip(ip))
}

fn cidr_value<'a>(cidr: Cidr) -> Value<'a> {
    Value::Opaque(Opaque::Cidr(cidr))
}

fn ip_of(value: &Value<'_>) -> Result<IpAddr, EvalError> {
    match value {
        Value::Opaque(Opaque::Ip(ip)) => Ok(*ip),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn cidr_of(value: &Value<'_>) -> Result<Cidr, EvalError> {
    match value {
        Value::Opaque(Opaque::Cidr(cidr)) => Ok(*cidr),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn is<'a>(args: &[Value<'a>], test: impl Fn(IpAddr) -> bool) -> EvalResult<'a> {
    Ok(Value::Bool(test(ip_of(&args[0])?)))
}

/// An address that may be written in only one way: no zone, no IPv4 inside of IPv6, no leading zeros.
fn parse_ip(text: &str) -> Result<IpAddr, EvalError> {
    if let Some((address, _)) = text.split_once('%')
        && address.parse::<Ipv6Addr>().is_ok()
    {
        return Err(EvalError::new(format!("IP address {} with zone value is not allowed", quote(text))));
    }
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V6(ip)) if ip.to_ipv4_mapped().is_some() => {
            Err(EvalError::new(format!("IPv4-mapped IPv6 address {} is not allowed", quote(text))))
        }
        Ok(ip) => Ok(ip),
        Err(_) => Err(EvalError::new(format!(
            "IP Address {} parse error during conversion from string: ParseAddr({}): {}",
            quote(text),
            quote(text),
            address_error(text)
        ))),
    }
}

/// What upstream finds wrong with an address.
fn address_error(text: &str) -> String {
    let Some(first) = text.find(['.', ':', '%']) else { return "unable to parse IP".to_owned() };
    if text.as_bytes()[first] == b'%' {
        return "missing IPv6 address".to_owned();
    }
    if text.as_bytes()[first] == b':' {
        return format!("each group must have at most four hex digits or colons fit (at {})", quote(text));
    }
    let parts: Vec<&str> = text.split('.').collect();
    for part in &parts {
        if part.is_empty() {
            return format!("IPv4 field must have at least one digit (at {})", quote(text));
        }
        if !part.bytes().all(|b| b.is_ascii_digit()) {
            return "unexpected character".to_owned() + &format!(" (at {})", quote(part));
        }
        if part.len() > 1 && part.starts_with('0') {
            return "IPv4 field has octet with leading zero".to_owned();
        }
        if part.parse::<u16>().map_or(true, |octet| octet > 255) {
            return "IPv4 field has value >255".to_owned();
        }
    }
    if parts.len() < 4 { "IPv4 address too short" } else { "IPv4 address too long" }.to_owned()
}

fn parse_cidr(text: &str) -> Result<Cidr, EvalError> {
    let failed = |why: &str| {
        EvalError::new(format!(
            "network address parse error during conversion from string: netip.ParsePrefix({}): {why}",
            quote(text)
        ))
    };
    let Some((address, bits)) = text.rsplit_once('/') else { return Err(failed("no '/'")) };
    let ip: IpAddr = match address.parse() {
        Ok(ip) => ip,
        Err(_) => return Err(failed(&format!("ParseAddr({}): {}", quote(address), address_error(address)))),
    };
    let plain =
        !bits.is_empty() && bits.bytes().all(|b| b.is_ascii_digit()) && !(bits.len() > 1 && bits.starts_with('0'));
    let Some(bits) = plain.then(|| bits.parse::<u16>().ok()).flatten() else {
        return Err(failed(&format!("bad bits after slash: {}", quote(bits))));
    };
    let most = if ip.is_ipv4() { 32 } else { 128 };
    if bits > most {
        return Err(failed("prefix length out of range"));
    }
    if let IpAddr::V6(v6) = ip
        && v6.to_ipv4_mapped().is_some()
    {
        return Err(EvalError::new(format!("IPv4-mapped IPv6 address {} is not allowed", quote(text))));
    }
    Ok(Cidr { address: ip, bits: bits as u8 })
}

fn is_link_local_multicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.octets()[..3] == [224, 0, 0],
        IpAddr::V6(ip) => ip.segments()[0] & 0xff0f == 0xff02,
    }
}

fn is_link_local_unicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.segments()[0] & 0xffc0 == 0xfe80,
    }
}

fn is_global_unicast(ip: IpAddr) -> bool {
    let broadcast = ip == IpAddr::V4(Ipv4Addr::BROADCAST);
    !broadcast && !ip.is_unspecified() && !ip.is_loopback() && !ip.is_multicast() && !is_link_local_unicast(ip)
}

impl Cidr {
    /// The network's own address.
    fn masked(self) -> Cidr {
        let address = match self.address {
            IpAddr::V4(ip) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() & mask))
            }
            IpAddr::V6(ip) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & mask))
            }
        };
        Cidr { address, bits: self.bits }
    }

    fn contains(self, ip: IpAddr) -> bool {
        ip.is_ipv4() == self.address.is_ipv4()
            && Cidr { address: ip, bits: self.bits }.masked().address == self.masked().address
    }

    fn contains_cidr(self, other: Cidr) -> bool {
        self.contains(other.masked().address) && self.bits <= other.bits
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}
