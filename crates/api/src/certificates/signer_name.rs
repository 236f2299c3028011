//! The name of a signer: a domain of at least two labels, and a path below it.

use machinery::field::{Error, ErrorList, Path};
use machinery::{go_text, names};

const DOMAIN_BYTES_MAX: usize = 253;
/// A domain, a namespace and a name in it: `domain/namespace.name`.
const BYTES_MAX: usize = DOMAIN_BYTES_MAX + 1 + 63 + 1 + 253;

pub fn validate(name: &str, path: &Path) -> ErrorList {
    if name.is_empty() {
        return vec![Error::required(path, "")];
    }
    let Some((domain, rest)) = name.split_once('/').filter(|(_, rest)| !rest.contains('/')) else {
        let detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        return vec![Error::invalid(path, name, detail)];
    };
    let mut errors = ErrorList::new();
    if domain.len() > DOMAIN_BYTES_MAX {
        errors.push(Error::too_long(path, domain, DOMAIN_BYTES_MAX));
    }
    errors.extend(first_bad_label(domain, names::is_dns1123_label, path));
    if !domain.contains('.') {
        let detail = "should be a domain with at least two segments separated by dots";
        errors.push(Error::invalid(path, domain, detail));
    }
    errors.extend(first_bad_label(rest, names::is_dns1123_subdomain, path));
    if name.len() > BYTES_MAX {
        errors.push(Error::too_long(path, name, BYTES_MAX));
    }
    errors
}

/// What is wrong with the first of the labels that has a fault.
fn first_bad_label(labels: &str, rule: fn(&str) -> Vec<String>, path: &Path) -> ErrorList {
    let faults = labels.split('.').map(|label| (label, rule(label))).find(|(_, faults)| !faults.is_empty());
    let (label, faults) = faults.unwrap_or_default();
    let detail = |fault| format!("validating label {}: {fault}", go_text::quote(label));
    faults.into_iter().map(|fault| Error::invalid(path, labels, detail(fault))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signer_has_a_domain_and_a_path() {
        let path = Path::new("s");
        let errors = |name: &str| validate(name, &path).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(errors("example.com/a.b"), [""; 0]);
        assert_eq!(
            errors("example/a"),
            ["s: Invalid value: \"example\": should be a domain with at least two segments separated by dots"]
        );
        let faults = errors("ex_ample.com/a");
        assert!(
            faults.len() == 1
                && faults[0].starts_with("s: Invalid value: \"ex_ample.com\": validating label \"ex_ample\": ")
        );
        assert_eq!(errors(""), ["s: Required value"]);
    }
}
