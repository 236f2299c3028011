//! Removing images that no container uses: the longest unused first when the disk of images fills up, and those unused for
//! very long at any time.
//!
//! With the thresholds 85 % and 80 %, a disk of 100 GB that is 90 % full is to have 10 GB freed, and one that is 84 % full
//! is left alone.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};

use crate::{
    cri::{CriError, v1},
    events::Level,
    eviction::Observation,
    kubelet::Kubelet,
};

/// When images go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// From so full a disk on images are removed, in percent; 100 is never.
    pub high_threshold_percent: u64,
    /// Until it is no fuller than this.
    pub low_threshold_percent: u64,
    /// Younger images stay.
    pub minimum_age: Duration,
    /// Images unused for longer go; zero is never.
    pub maximum_age: Duration,
    /// How often this is looked at.
    pub interval: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            high_threshold_percent: 85,
            low_threshold_percent: 80,
            minimum_age: Duration::from_secs(120),
            maximum_age: Duration::ZERO,
            interval: Duration::from_secs(300),
        }
    }
}

/// An image, and when it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    size: u64,
    first_seen: Timestamp,
    last_used: Option<Timestamp>,
    is_used: bool,
    is_pinned: bool,
}

/// What is known of images from look to look.
#[derive(Debug, Default)]
pub struct Records {
    images: HashMap<String, Record>,
    since: Option<Timestamp>,
}

impl Records {
    /// Takes in which images there are and which of them containers use. `kept` are names, or beginnings of names that end
    /// in a slash, that stay whatever happens.
    fn look(&mut self, images: &[v1::Image], used: &HashSet<String>, kept: &[String], now: Timestamp) {
        self.since.get_or_insert(now);
        let before = std::mem::take(&mut self.images);
        for image in images {
            let mut names = image.repo_tags.iter().chain(&image.repo_digests).chain([&image.id]);
            let is_used = names.clone().any(|name| used.contains(name));
            let stays = |name: &String| {
                kept.iter().any(|kept| name == kept || kept.ends_with('/') && name.starts_with(kept.as_str()))
            };
            let is_pinned = image.pinned || names.any(stays);
            let known = before.get(&image.id);
            let record = Record {
                size: image.size,
                first_seen: known.map_or(now, |known| known.first_seen),
                last_used: if is_used { Some(now) } else { known.and_then(|known| known.last_used) },
                is_used,
                is_pinned,
            };
            self.images.insert(image.id.clone(), record);
        }
    }

    /// Images to remove so that `bytes` become free, and how many bytes that makes.
    fn to_free(&self, bytes: u64, minimum_age: Duration, now: Timestamp) -> (Vec<String>, u64) {
        let mut chosen = Vec::new();
        let mut freed = 0u64;
        for (id, record) in self.unused() {
            if freed >= bytes {
                break;
            }
            if now.duration_since(record.first_seen) < signed(minimum_age) {
                continue;
            }
            chosen.push(id.clone());
            freed = freed.saturating_add(record.size);
        }
        (chosen, freed)
    }

    /// Images that nobody has used for `age`. A kubelet that has not looked for so long cannot know.
    fn older_than(&self, age: Duration, now: Timestamp) -> Vec<String> {
        let old = |at: Timestamp| now.duration_since(at) > signed(age);
        if age.is_zero() || !self.since.is_some_and(old) {
            return Vec::new();
        }
        let unused = self.unused().into_iter();
        unused.filter(|(_, r)| old(r.last_used.unwrap_or(r.first_seen))).map(|(id, _)| id.clone()).collect()
    }

    /// The longest unused first, of those the longest known.
    fn unused(&self) -> Vec<(&String, &Record)> {
        let mut unused: Vec<_> = self.images.iter().filter(|(_, r)| !r.is_used && !r.is_pinned).collect();
        unused.sort_by_key(|(id, record)| (record.last_used, record.first_seen, (*id).clone()));
        unused
    }
}

/// How much is to be freed of a disk.
fn excess(seen: Observation, settings: &Settings) -> u64 {
    if seen.capacity == 0 || settings.high_threshold_percent >= 100 {
        return 0;
    }
    let percent = 100 - seen.available.min(seen.capacity) * 100 / seen.capacity;
    if percent < settings.high_threshold_percent {
        return 0;
    }
    (seen.capacity * (100 - settings.low_threshold_percent.min(100)) / 100).saturating_sub(seen.available)
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

/// Looks at images from time to time, for ever.
pub async fn run(kubelet: Arc<Kubelet>) {
    loop {
        tokio::time::sleep(kubelet.config.image_gc.interval).await;
        if let Err(error) = collect(&kubelet).await {
            tracing::warn!(%error, "failed to collect images");
        }
    }
}

async fn collect(kubelet: &Kubelet) -> Result<(), CriError> {
    let settings = &kubelet.config.image_gc;
    let seen = filesystem(kubelet).await?;
    let now = look(kubelet).await?;
    let old = kubelet.image_records.lock().older_than(settings.maximum_age, now);
    remove(kubelet, &old).await?;
    let wanted = excess(seen, settings);
    if wanted == 0 {
        return Ok(());
    }
    look(kubelet).await?;
    let (ids, freed) = kubelet.image_records.lock().to_free(wanted, settings.minimum_age, now);
    tracing::info!(wanted, freed, images = ids.len(), "the disk of images is too full");
    remove(kubelet, &ids).await?;
    if freed < wanted {
        let text = format!(
            "Failed to garbage collect required amount of images. Attempted to free {wanted} bytes, but only found {freed} bytes eligible to free."
        );
        if let Some(node) = kubelet.node.borrow().clone() {
            kubelet.events.node(&node, Level::Warning, "FreeDiskSpaceFailed", text);
        }
    }
    Ok(())
}

/// Removes all images that no container uses: pods are about to be evicted for want of room.
pub async fn remove_unused(kubelet: &Kubelet) {
    let done = async {
        let now = look(kubelet).await?;
        let (ids, _) = kubelet.image_records.lock().to_free(u64::MAX, Duration::ZERO, now);
        remove(kubelet, &ids).await
    };
    if let Err(error) = done.await {
        tracing::warn!(%error, "failed to remove unused images");
    }
}

async fn look(kubelet: &Kubelet) -> Result<Timestamp, CriError> {
    let (images, containers) = tokio::try_join!(kubelet.cri.images(), kubelet.cri.containers(None))?;
    let names = containers.into_iter().flat_map(|container| {
        [Some(container.image_ref), container.image.map(|image| image.image)].into_iter().flatten()
    });
    let now = Timestamp::now();
    kubelet.image_records.lock().look(&images, &names.collect(), &kubelet.config.kept_images, now);
    Ok(now)
}

async fn filesystem(kubelet: &Kubelet) -> Result<Observation, CriError> {
    let dir = kubelet.cri.image_filesystem().await?;
    let found = dir.and_then(|dir| nix::sys::statvfs::statvfs(Path::new(&dir)).ok());
    Ok(found.map_or_else(Observation::default, |found| {
        let block = found.fragment_size();
        Observation { available: found.blocks_available() * block, capacity: found.blocks() * block }
    }))
}

async fn remove(kubelet: &Kubelet, ids: &[String]) -> Result<(), CriError> {
    for id in ids {
        tracing::info!(image = id, "removing an unused image");
        kubelet.cri.remove_image(id).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn image(id: &str, size: u64) -> v1::Image {
        v1::Image { id: id.into(), repo_tags: vec![format!("{id}:1")], size, ..Default::default() }
    }

    fn used(names: &[&str]) -> HashSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn images() -> [v1::Image; 4] {
        [image("a", 10), image("b", 20), image("c", 40), v1::Image { pinned: true, ..image("pinned", 80) }]
    }

    #[test]
    fn the_longest_unused_go_first_and_what_is_used_or_young_or_kept_stays() {
        let mut records = Records::default();
        records.look(&images(), &used(&["a:1", "b"]), &[], at(0));
        records.look(&images(), &used(&["b:1"]), &[], at(100));
        let mut all = images().to_vec();
        all.extend([image("young", 1), image("kept", 5), image("local/x", 9)]);
        records.look(&all, &used(&[]), &["kept:1".into(), "local/".into()], at(200));
        let free = |bytes, age| records.to_free(bytes, Duration::from_secs(age), at(210));
        assert_eq!(free(1, 60), (vec!["c".into()], 40));
        assert_eq!(free(41, 60), (vec!["c".into(), "a".into()], 50));
        assert_eq!(free(1000, 60), (vec!["c".into(), "a".into(), "b".into()], 70));
        assert_eq!(free(1000, 0).0, ["c", "young", "a", "b"]);
    }

    #[test]
    fn very_old_ones_go_once_the_kubelet_can_know() {
        let mut records = Records::default();
        records.look(&images(), &used(&["a"]), &[], at(0));
        let old = |records: &Records, age, now| records.older_than(Duration::from_secs(age), at(now));
        assert!(old(&records, 50, 40).is_empty());
        records.look(&images(), &used(&["b"]), &[], at(60));
        assert_eq!(old(&records, 50, 70), ["c", "a"]);
        assert!(old(&records, 0, 1000).is_empty());
    }

    #[test]
    fn a_full_disk_is_brought_down_to_the_lower_threshold() {
        let settings = Settings::default();
        let seen = |available| Observation { available, capacity: 1000 };
        assert_eq!(
            (excess(seen(160), &settings), excess(seen(150), &settings), excess(seen(100), &settings)),
            (0, 50, 100)
        );
        assert_eq!(excess(Observation::default(), &settings), 0);
        assert_eq!(excess(seen(0), &Settings { high_threshold_percent: 100, ..settings }), 0);
    }
}
