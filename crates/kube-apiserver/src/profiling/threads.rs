//! The threads of this process, as the kernel knows them.

use std::collections::BTreeMap;

/// Nanoseconds of a clock tick in `/proc`, which Linux has fixed for user space.
const TICK_NANOSECONDS: u64 = 10_000_000;

pub struct Thread {
    pub id: String,
    pub name: String,
    /// Time on a processor so far.
    pub used_nanoseconds: u64,
}

/// Those that there are; one that ends meanwhile is left out.
pub fn read() -> Vec<Thread> {
    let Ok(entries) = std::fs::read_dir("/proc/self/task") else { return Vec::new() };
    entries
        .filter_map(|entry| {
            let folder = entry.ok()?.path();
            let name = std::fs::read_to_string(folder.join("comm")).ok()?.trim_end().to_owned();
            let scheduled = std::fs::read_to_string(folder.join("schedstat")).ok();
            let used = scheduled.and_then(|text| text.split_whitespace().next()?.parse().ok());
            let used_nanoseconds = match used {
                Some(used) => used,
                None => ticks(&std::fs::read_to_string(folder.join("stat")).ok()?)?.saturating_mul(TICK_NANOSECONDS),
            };
            Some(Thread { id: folder.file_name()?.to_string_lossy().into_owned(), name, used_nanoseconds })
        })
        .collect()
}

/// In user mode and in the kernel: fields 14 and 15. The second may hold anything, so counting begins behind it.
fn ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// Sums by name.
pub fn by_name<'t>(values: impl Iterator<Item = (&'t str, i64)>) -> BTreeMap<&'t str, i64> {
    let mut sums = BTreeMap::new();
    for (name, value) in values {
        *sums.entry(name).or_insert(0) += value;
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_counted_behind_any_name() {
        let stat = "7 (a) b) c) S 1 7 7 0 -1 64 0 0 0 0 12 30 0 0 20 0 1 0";
        assert_eq!(ticks(stat), Some(42));
        assert_eq!(ticks("7"), None);
    }
}
