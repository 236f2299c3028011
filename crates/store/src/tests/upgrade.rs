//! A folder that an earlier version wrote: its segments are of version 1, whose frames have no times.

use std::path::Path;

use super::files::{content, names, open};
use crate::journal::frame::{FRAME_HEADER, put_record, seal};
use crate::journal::segment::{self, HEADER, Header};
use crate::journal::{Record, snapshot};
use crate::tests::value;
use crate::{EventKind, Precondition, Revision};

const STORE_ID: u64 = 7;

/// As version 1 wrote it: frames of one put each, from the revision behind `base` on.
fn write_segment(folder: &Path, number: u64, first_sequence: u64, base: Revision, count: u64) {
    let header = Header { version: 1, store_id: STORE_ID, number, first_sequence, base_revision: base };
    let mut bytes = header.encode().to_vec();
    for at in 0..count {
        let (key, value) = (format!("/registry/pods/a/{}", base + at), format!("old {}", base + at));
        let revision = base + 1 + at;
        let mut frame = vec![0; FRAME_HEADER];
        let record = Record {
            kind: EventKind::Put,
            key: &key,
            create_revision: revision,
            revision,
            value: value.as_bytes(),
            revision_at: None,
            expires_at: 0,
        };
        put_record(&mut frame, &record);
        seal(&mut frame, header.salt(), 1, first_sequence + at, revision, 1);
        bytes.extend_from_slice(&frame);
    }
    bytes.resize(4096, 0);
    assert!(bytes.len() == 4096 && bytes.len() > HEADER, "the frames fit into a segment");
    std::fs::write(folder.join(segment::name(number)), bytes).expect("written");
}

fn version_of(folder: &Path, name: &str) -> u32 {
    let bytes = std::fs::read(folder.join(name)).expect("a segment");
    Header::decode(&bytes, folder.join(name)).expect("a header").version
}

#[tokio::test]
async fn a_folder_of_version_1_is_read_and_gone_on_with_in_segments_of_version_2() {
    let folder = tempfile::tempdir().expect("a folder");
    write_segment(folder.path(), 1, 1, 1, 10);
    write_segment(folder.path(), 2, 11, 11, 5);
    // Its last write was under way when it was stopped.
    let path = folder.path().join(segment::name(2));
    let mut bytes = std::fs::read(&path).expect("the segment");
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("not empty");
    bytes[end] = 0;
    std::fs::write(&path, &bytes).expect("written");

    let store = open(folder.path()).expect("it opens");
    assert_eq!((store.revision(), store.stats().journal.torn_bytes > 0), (15, true));
    assert_eq!(&store.get("/registry/pods/a/3").expect("it is there").value[..], b"old 3");
    store.put("/registry/pods/a/new", value("new"), Precondition::Absent).await.expect("written");
    let before = content(&store);
    drop(store);
    assert_eq!(names(folder.path(), "log-").len(), 3);
    assert_eq!([1, 2, 3].map(|number| version_of(folder.path(), &segment::name(number))), [1, 1, 2]);
    // Nothing was written into what was there but the last whole batch again, which is the same.
    assert_eq!(std::fs::read(&path).expect("the segment"), bytes);

    let store = open(folder.path()).expect("it opens again");
    assert_eq!(content(&store), before);
    store.put("/registry/pods/a/new", value("newer"), Precondition::Any).await.expect("written");
    assert_eq!((store.revision(), names(folder.path(), "log-").len()), (17, 3));
}

#[tokio::test]
async fn a_snapshot_without_a_time_is_read() {
    let header = snapshot::Header { store_id: STORE_ID, revision: 9, compact_revision: 9, first_segment: 4, time: 0 };
    let bytes = header.encode();
    // Where the time stands now there were zeros, and the version is the same.
    assert_eq!((&bytes[8..12], &bytes[48..60]), (&[1, 0, 0, 0][..], &[0; 12][..]));
    let folder = tempfile::tempdir().expect("a folder");
    let disk = crate::journal::disk::Folder::open(folder.path()).expect("a folder");
    assert_eq!(snapshot::header(&bytes, &disk, "x").expect("a header"), header);
}
