//! Indexes of a Job's pods as text: `1,3-5,7` (ascending, without overlap, each below the number of completions).

use std::ops::RangeInclusive;

use machinery::go_text::quote;

/// The number of indexes that the text names. The error is upstream's.
pub fn count(text: &str, completions: i32) -> Result<i32, String> {
    if text.is_empty() {
        return Ok(0);
    }
    let (mut total, mut last) = (0, None);
    for part in text.split(',') {
        let interval = interval(part, completions)?;
        if let Some(last) = last.filter(|last| last >= interval.start()) {
            return Err(format!("non-increasing order, previous: {last}, current: {}", interval.start()));
        }
        total += interval.end() - interval.start() + 1;
        last = Some(*interval.end());
    }
    Ok(total)
}

/// The first index that both texts name. Parts that cannot be read count for nothing here.
pub fn overlap(one: &str, other: &str, completions: i32) -> Option<i32> {
    let read = |text: &str| -> Vec<_> { text.split(',').filter_map(|part| interval(part, completions).ok()).collect() };
    let (one, other) = (read(one), read(other));
    let (mut i, mut j) = (0, 0);
    while let (Some(a), Some(b)) = (one.get(i), other.get(j)) {
        let first = *a.start().max(b.start());
        if first <= *a.end().min(b.end()) {
            return Some(first);
        }
        if a.start() <= b.start() { i += 1 } else { j += 1 }
    }
    None
}

fn interval(text: &str, completions: i32) -> Result<RangeInclusive<i32>, String> {
    let mut limits = text.split('-');
    let (first, last, more) = (limits.next().unwrap_or(""), limits.next(), limits.next());
    if more.is_some() {
        let part = quote(text);
        return Err(format!(
            "the fragment {part} violates the requirement that an index interval can have at most two parts separated by '-'"
        ));
    }
    let read = |text: &str| {
        let index: i64 =
            text.parse().map_err(|_| format!("cannot convert string to integer for index: {}", quote(text)))?;
        let index = i32::try_from(index).ok().filter(|index| *index < completions);
        index.ok_or_else(|| format!("too large index: {}", quote(text)))
    };
    let first = read(first)?;
    let Some(last) = last.map(read).transpose()? else { return Ok(first..=first) };
    if first >= last {
        return Err(format!("non-increasing order, previous: {first}, current: {last}"));
    }
    Ok(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_counted() {
        for (text, expected) in [("", 0), ("0", 1), ("0,2-4", 4), ("0-9", 10)] {
            assert_eq!(count(text, 10), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, expected) in [
            ("10", "too large index: \"10\""),
            ("3-99999999999", "too large index: \"99999999999\""),
            ("x", "cannot convert string to integer for index: \"x\""),
            ("3-3", "non-increasing order, previous: 3, current: 3"),
            ("3,2", "non-increasing order, previous: 3, current: 2"),
            (
                "1-2-3",
                "the fragment \"1-2-3\" violates the requirement that an index interval can have at most two parts separated by '-'",
            ),
        ] {
            assert_eq!(count(text, 10), Err(expected.to_string()), "{text}");
        }
    }

    #[test]
    fn the_first_common_index_is_found() {
        assert_eq!(overlap("0-2,5,8-9", "3-4,9", 10), Some(9));
        assert_eq!(overlap("0-2,5", "x,3-4,6", 10), None);
        assert_eq!(overlap("", "1", 10), None);
    }
}
