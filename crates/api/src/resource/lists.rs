//! Lists and maps of bounded size. One that is too long is not looked into.

use std::collections::{BTreeMap, BTreeSet};

use machinery::field::{Error, ErrorList, Path};
use serde::Serialize;

/// A key in a path is cut to no less than this.
const SHOWN_BYTES_MIN: usize = 16;

/// At most `max` items, each of which is checked.
pub fn bounded<T>(
    items: Option<&[T]>,
    max: usize,
    path: &Path,
    mut check: impl FnMut(&T, &Path) -> ErrorList,
) -> ErrorList {
    let items = items.unwrap_or_default();
    if items.len() > max {
        return vec![Error::too_many(path, items.len(), max)];
    }
    items.iter().enumerate().flat_map(|(i, item)| check(item, &path.index(i))).collect()
}

/// The same, where no two items may have the same key.
pub fn unique<'t, T, K: Ord + Serialize>(
    items: Option<&'t [T]>,
    max: usize,
    path: &Path,
    check: impl FnMut(&T, &Path) -> ErrorList,
    key: impl Fn(&'t T) -> K,
) -> ErrorList {
    let mut errors = bounded(items, max, path, check);
    let items = items.unwrap_or_default();
    if items.len() > max {
        return errors;
    }
    let mut seen = BTreeSet::new();
    for (i, item) in items.iter().enumerate() {
        if let Some(again) = seen.replace(key(item)) {
            errors.push(Error::duplicate(&path.index(i), again));
        }
    }
    errors
}

/// At most `max` entries, whose keys and values are checked; a key is shown in paths with `shown` bytes at most.
pub fn entries<T>(
    entries: Option<&BTreeMap<String, T>>,
    (max, shown): (usize, usize),
    path: &Path,
    check_key: impl Fn(&str, &Path) -> ErrorList,
    check: impl Fn(&T, &Path) -> ErrorList,
) -> ErrorList {
    let Some(entries) = entries else { return ErrorList::new() };
    if entries.len() > max {
        return vec![Error::too_many(path, entries.len(), max)];
    }
    let mut errors = ErrorList::new();
    for (key, value) in entries {
        errors.extend(check_key(key, path));
        errors.extend(check(value, &path.key(&shortened(key, shown))));
    }
    errors
}

/// Without its middle where it is too long.
fn shortened(text: &str, max: usize) -> String {
    const ELLIPSIS: &str = "...";
    let max = max.max(SHOWN_BYTES_MIN);
    if text.len() <= max {
        return text.to_owned();
    }
    let rest = max - ELLIPSIS.len();
    let bytes = text.as_bytes();
    let (start, end) = (&bytes[..rest.div_ceil(2)], &bytes[bytes.len() - rest / 2..]);
    format!("{}{ELLIPSIS}{}", String::from_utf8_lossy(start), String::from_utf8_lossy(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_keys_lose_their_middle() {
        assert_eq!(shortened("0123456789abcdef", 4), "0123456789abcdef");
        assert_eq!(shortened("0123456789abcdefg", 4), "0123456...bcdefg");
        assert_eq!(shortened(&"x".repeat(300), 96).len(), 96);
    }

    #[test]
    fn what_is_too_long_is_not_looked_into() {
        let path = Path::new("l");
        let refuse = |_: &u8, path: &Path| vec![Error::required(path, "")];
        let texts = |errors: ErrorList| errors.iter().map(Error::to_string).collect::<Vec<_>>();
        assert_eq!(
            texts(unique(Some(&[1, 1, 1]), 2, &path, refuse, |n| *n)),
            ["l: Too many: 3: must have at most 2 items"]
        );
        assert_eq!(
            texts(unique(Some(&[1, 1]), 2, &path, refuse, |n| *n)),
            ["l[0]: Required value", "l[1]: Required value", "l[1]: Duplicate value: 1"]
        );
    }
}
