//! Names in this group: of pools, of attributes and capacities, of shares.

use machinery::field::{Error, ErrorList, Path};
use machinery::{go_text, names};

use crate::checks;
use crate::storage::driver_name;

const POOL_BYTES_MAX: usize = 253;
const ID_BYTES_MAX: usize = 32;
/// A domain, a slash and an identifier.
pub const QUALIFIED_BYTES_MAX: usize = 63 + 1 + ID_BYTES_MAX;

/// A pool: DNS subdomains separated by slashes.
pub fn pool(name: &str, path: &Path) -> ErrorList {
    if name.is_empty() {
        return vec![Error::required(path, "")];
    }
    let mut errors = ErrorList::new();
    if name.len() > POOL_BYTES_MAX {
        errors.push(Error::too_long(path, name, POOL_BYTES_MAX));
    }
    errors.extend(name.split('/').flat_map(|part| checks::dns_subdomain(part, path)));
    errors
}

/// An attribute or a capacity: an identifier, of the driver's own domain or after another domain and a slash.
pub fn qualified(name: &str, path: &Path) -> ErrorList {
    match name.split('/').collect::<Vec<_>>()[..] {
        [id] => identifier(id, path),
        [domain, id] => {
            let mut errors = match domain {
                "" => vec![Error::invalid(path, "", "the domain must not be empty")],
                domain => driver_name(domain, path),
            };
            errors.extend(match id {
                "" => vec![Error::invalid(path, "", "the name must not be empty")],
                id => identifier(id, path),
            });
            errors
        }
        _ => vec![Error::invalid(path, name, "must not contain more than one slash")],
    }
}

/// The same, where the domain must be there.
pub fn fully_qualified(name: &str, path: &Path) -> ErrorList {
    let mut errors = qualified(name, path);
    if !name.contains('/') {
        let detail = "a fully qualified name must be a domain and a name separated by a slash";
        errors.push(Error::invalid(path, name, detail));
    }
    errors
}

fn identifier(id: &str, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    if id.len() > ID_BYTES_MAX {
        errors.push(Error::too_long(path, id, ID_BYTES_MAX));
    }
    errors.extend(checks::each(path, id, names::c_identifier(id)));
    errors
}

/// A share of a device: a UUID in its plain form.
pub fn share(id: &str, path: &Path) -> Option<Error> {
    if let Some(fault) = uuid_fault(id) {
        return Some(Error::invalid(path, id, format!("error validating uid: {fault}")));
    }
    let plain = id.len() == 36 && !id.contains(char::is_uppercase);
    let detail = "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase hexadecimal characters";
    (!plain).then(|| Error::invalid(path, id, detail))
}

/// What is wrong with a UUID in any of the forms that are read: plain, `urn:uuid:`, in braces, without hyphens.
fn uuid_fault(id: &str) -> Option<String> {
    const PLAIN: usize = 36;
    const URN: &[u8] = b"urn:uuid:";
    const FORMAT: &str = "invalid UUID format";
    let bytes = id.as_bytes();
    let plain = match bytes.len() {
        PLAIN => bytes,
        32 => return (!bytes.iter().all(u8::is_ascii_hexdigit)).then(|| FORMAT.to_owned()),
        45 if bytes[..9].eq_ignore_ascii_case(URN) => &bytes[9..],
        45 => {
            let prefix = String::from_utf8_lossy(&bytes[..9]).into_owned();
            return Some(format!("invalid urn prefix: {}", go_text::quote(&prefix)));
        }
        38 if bytes[0] == b'{' && bytes[37] == b'}' => &bytes[1..37],
        38 => return Some("invalid bracketed UUID format".to_owned()),
        length => return Some(format!("invalid UUID length: {length}")),
    };
    let fits = plain.iter().enumerate().all(|(i, byte)| match i {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    });
    (!fits).then(|| FORMAT.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(errors: impl IntoIterator<Item = Error>) -> Vec<String> {
        errors.into_iter().map(|error| error.body()).collect()
    }

    #[test]
    fn attributes_have_an_identifier_and_maybe_a_domain() {
        let path = Path::new("a");
        let fault = |name: &str| texts(qualified(name, &path)).concat();
        assert_eq!(fault("size") + &fault("dra.example.com/size") + &fault("Example.com/_s1"), "");
        assert!(fault("").contains("a valid C identifier must start with"));
        assert_eq!(fault("/size"), "Invalid value: \"\": the domain must not be empty");
        assert_eq!(fault("a.b/"), "Invalid value: \"\": the name must not be empty");
        assert_eq!(fault("a/b/c"), "Invalid value: \"a/b/c\": must not contain more than one slash");
        assert_eq!(fault(&"x".repeat(33)), "Too long: may not be more than 32 bytes");
        assert_eq!(
            texts(fully_qualified("size", &path)),
            ["Invalid value: \"size\": a fully qualified name must be a domain and a name separated by a slash"]
        );
    }

    #[test]
    fn pools_are_subdomains_with_slashes() {
        let path = Path::new("p");
        assert_eq!(texts(pool("rack-1/node.a", &path)), Vec::<String>::new());
        assert_eq!(texts(pool("", &path)), ["Required value"]);
        assert_eq!(texts(pool("a//b", &path)).len(), 1);
        assert_eq!(texts(pool(&format!("{}/b", "a".repeat(253)), &path)), ["Too long: may not be more than 253 bytes"]);
    }

    #[test]
    fn shares_are_plain_uuids() {
        let path = Path::new("s");
        let fault = |id: &str| texts(share(id, &path)).concat();
        let id = "6c08695a-0842-4ff1-827c-80e824127d38";
        assert_eq!(fault(id), "");
        assert_eq!(fault("u1"), "Invalid value: \"u1\": error validating uid: invalid UUID length: 2");
        assert!(fault(&id.to_uppercase()).contains("uid must be in RFC 4122 normalized form"));
        assert!(fault(&format!("{{{id}}}")).contains("uid must be in RFC 4122 normalized form"));
        assert!(fault(&id.replace('-', "_")).ends_with("error validating uid: invalid UUID format"));
        assert!(fault(&format!("urm:uuid:{id}")).ends_with("error validating uid: invalid urn prefix: \"urm:uuid:\""));
    }
}
