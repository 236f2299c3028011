//! The names of the backups that a server makes by itself: `canopus-<cluster>-<UTC time>.tar.gz`. Sorted by name they are sorted
//! by time, and a cluster knows its own among those of others, which it leaves alone.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::destination::PARTIAL;

const TIME: &str = "%Y%m%dT%H%M%SZ";
const KIND: &str = ".tar.gz";

/// The names of one cluster's backups.
#[derive(Clone, Debug)]
pub struct Names {
    prefix: String,
}

impl Names {
    /// `cluster` tells this cluster from others that use the same destination.
    pub fn of(cluster: &str) -> Self {
        let plain = |letter: char| if letter.is_ascii_alphanumeric() || ".-".contains(letter) { letter } else { '-' };
        Self { prefix: format!("canopus-{}-", cluster.chars().map(plain).collect::<String>()) }
    }

    /// The name of a backup that is made at a time.
    pub fn at(&self, time: Timestamp) -> String {
        format!("{}{}{KIND}", self.prefix, time.strftime(TIME))
    }

    /// When a backup was made, if the name is one of these.
    pub fn time(&self, name: &str) -> Option<Timestamp> {
        let time = name.strip_prefix(&self.prefix)?.strip_suffix(KIND)?;
        let read = DateTime::strptime(TIME, time).ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp();
        // Only what this cluster would write itself, to the letter.
        (self.at(read) == name).then_some(read)
    }

    /// The time of the newest backup.
    pub fn newest(&self, names: &[String]) -> Option<Timestamp> {
        names.iter().filter_map(|name| self.time(name)).max()
    }

    /// What is to be removed so that the newest `count` backups stay: older ones, and what was left of some that were not
    /// finished.
    pub fn outdated(&self, names: &[String], count: usize) -> Vec<String> {
        let mut own: Vec<&String> = names.iter().filter(|name| self.time(name).is_some()).collect();
        own.sort_unstable();
        own.truncate(own.len().saturating_sub(count));
        let is_left = |name: &&String| {
            let name = name.strip_prefix('.').and_then(|name| name.strip_suffix(PARTIAL));
            let whole = name.and_then(|name| name.rsplit_once('.'));
            whole.is_some_and(|(whole, _)| self.time(whole).is_some())
        };
        own.into_iter().chain(names.iter().filter(is_left)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_cluster_and_time() {
        let (names, time) = (Names::of("Host_1.example"), "2026-03-01T02:03:04.5Z".parse::<Timestamp>().unwrap());
        assert_eq!(names.at(time), "canopus-Host-1.example-20260301T020304Z.tar.gz");
        assert_eq!(names.time(&names.at(time)), Some("2026-03-01T02:03:04Z".parse().unwrap()));
    }

    #[test]
    fn only_own_backups_are_outdated_and_the_oldest_of_them() {
        let names = Names::of("a");
        let others = [
            "canopus-a-b-20200101T000000Z.tar.gz",
            "canopus-b-20200101T000000Z.tar.gz",
            "canopus-a-20200101T000000Z.tar.gz.old",
            "canopus-a-2020.tar.gz",
            "canopus-a-20200101T000060Z.tar.gz",
            "canopus-a-20200230T000000Z.tar.gz",
            "canopus-a-+2020101T000000Z.tar.gz",
            "before-the-upgrade.tar.gz",
            ".canopus-a-b-20200101T000000Z.tar.gz.Xy12ab.partial",
            ".mine.partial",
        ];
        let own = [3, 1, 2].map(|day| format!("canopus-a-2026010{day}T000000Z.tar.gz"));
        let left = ".canopus-a-20260101T000000Z.tar.gz.Xy12ab.partial".to_owned();
        let all: Vec<String> = own.iter().cloned().chain(others.map(str::to_owned)).chain([left.clone()]).collect();
        assert_eq!(names.outdated(&all, 2), [own[1].clone(), left.clone()]);
        assert_eq!(names.outdated(&all, 1), [own[1].clone(), own[2].clone(), left.clone()]);
        assert_eq!(names.outdated(&all, 7), [left]);
        assert_eq!(names.newest(&all), names.time(&own[0]));
    }
}
