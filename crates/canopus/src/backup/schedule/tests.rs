use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::path::Path;

use futures::FutureExt as _;

use super::super::s3_server::S3Server;
use super::super::tests::cluster;
use super::*;

/// What was tried when, with a script of what fails. Waiting takes no time; at its end it takes for ever.
struct Script {
    newest: Option<&'static str>,
    /// For each try whether it fails; those after it do not.
    fails: RefCell<VecDeque<bool>>,
    tried: RefCell<Vec<String>>,
    now: Cell<Timestamp>,
    end: Timestamp,
}

impl Script {
    fn next(&self, what: &str) -> Result<()> {
        self.tried.borrow_mut().push(format!("{what} {}", self.now.get()));
        if self.fails.borrow_mut().pop_front().unwrap_or(false) { anyhow::bail!("the bucket is away") } else { Ok(()) }
    }
}

impl Backups for Script {
    async fn newest(&self) -> Result<Option<Timestamp>> {
        self.next("look")?;
        Ok(self.newest.map(|time| time.parse().unwrap()))
    }

    async fn make(&self, _: Timestamp) -> Result<()> {
        self.next("make")
    }

    fn failed(&self, error: &anyhow::Error, again_at: Timestamp) {
        self.tried.borrow_mut().push(format!("failed: {error}, again {again_at}"));
    }

    fn now(&self) -> Timestamp {
        self.now.get()
    }

    async fn wait_until(&self, due: Timestamp) {
        if due > self.end {
            std::future::pending::<()>().await;
        }
        self.now.set(due);
    }
}

/// What happens from the 31st of January, 23:30:00 UTC, to the end.
fn happens(schedule: &str, newest: Option<&'static str>, fails: &[bool], end: &str) -> Vec<String> {
    let script = Script {
        newest,
        fails: RefCell::new(fails.iter().copied().collect()),
        tried: RefCell::default(),
        now: Cell::new("2026-01-31T23:30:00Z".parse().unwrap()),
        end: end.parse().unwrap(),
    };
    let schedule = Schedule::parse(schedule).unwrap();
    assert!(follow(&schedule, &TimeZone::UTC, &script).now_or_never().is_none());
    script.tried.take()
}

#[test]
fn backups_are_made_at_the_times_of_the_schedule() {
    let times = ["look 2026-01-31T23:30:00Z", "make 2026-02-01T00:00:00Z", "make 2026-02-01T01:00:00Z"];
    assert_eq!(happens("@hourly", Some("2026-01-31T23:00:00Z"), &[], "2026-02-01T01:00:00Z"), times);
}

#[test]
fn one_that_was_missed_is_made_up_once() {
    let end = "2026-02-01T00:00:00Z";
    let times = ["look 2026-01-31T23:30:00Z", "make 2026-01-31T23:30:00Z", "make 2026-02-01T00:00:00Z"];
    for newest in [None, Some("2026-01-29T00:00:00Z"), Some("2026-01-31T22:59:59Z")] {
        assert_eq!(happens("@hourly", newest, &[], end), times, "{newest:?}");
    }
    // A clock that was wrong does not hold up what follows.
    assert_eq!(happens("@hourly", Some("2036-01-01T00:00:00Z"), &[], end), [times[0], times[2]]);
}

#[test]
fn one_that_fails_is_tried_again_with_longer_and_longer_pauses() {
    let expected = [
        "look 2026-01-31T23:30:00Z",
        "failed: the bucket is away, again 2026-01-31T23:30:10Z",
        "look 2026-01-31T23:30:10Z",
        "make 2026-01-31T23:30:10Z",
        "failed: the bucket is away, again 2026-01-31T23:30:30Z",
        "make 2026-01-31T23:30:30Z",
        "failed: the bucket is away, again 2026-01-31T23:31:10Z",
        "make 2026-01-31T23:31:10Z",
        "make 2026-02-01T00:00:00Z",
    ];
    let fails = [true, false, true, true];
    assert_eq!(happens("@daily", Some("2026-01-30T00:00:00Z"), &fails, "2026-02-01T00:00:00Z"), expected);
    assert_eq!(backoff(1), SignedDuration::from_secs(10));
    assert_eq!((backoff(7), backoff(u32::MAX)), (BACKOFF_MAX, BACKOFF_MAX));
}

#[test]
fn a_try_is_never_later_than_the_next_time() {
    let expected = [
        "look 2026-01-31T23:30:00Z",
        "make 2026-01-31T23:30:00Z",
        "failed: the bucket is away, again 2026-01-31T23:30:05Z",
        "make 2026-01-31T23:30:05Z",
        "make 2026-01-31T23:30:10Z",
    ];
    let tried = happens("@every 5s", Some("2026-01-31T23:29:00Z"), &[false, true], "2026-01-31T23:30:10Z");
    assert_eq!(tried, expected);
}

fn plan(to: &Path, credentials_file: Option<PathBuf>) -> BackupPlan {
    let (schedule, to) = ("@daily".to_owned(), to.to_owned());
    BackupPlan { schedule, to, retention: 2, include_pki: false, include_config: false, credentials_file }
}

#[tokio::test]
async fn the_newest_are_kept_in_a_bucket_beside_what_others_put_there() {
    let (server, root) = (S3Server::start().await, cluster());
    let credentials = root.path().join("credentials");
    std::fs::write(&credentials, server.lines()).unwrap();
    let other = "kept/canopus-other-20200101T000000Z.tar.gz";
    server.state.lock().unwrap().objects.insert(other.to_owned(), "x".into());
    let layout = Layout::new(root.path()).unwrap();
    let maker = Maker {
        plan: plan(Path::new("s3://bucket/kept"), Some(credentials)),
        names: Names::of("own"),
        prepare: Arc::new(move || Prepared::of(&layout)),
        layout: Layout::new(Path::new("/nowhere")).unwrap(),
        metrics: BackupMetrics::default(),
    };
    assert_eq!(maker.newest().await.unwrap(), None);
    let days = [1, 2, 3].map(|day| format!("2026-01-0{day}T00:00:00Z").parse::<Timestamp>().unwrap());
    for day in days {
        maker.make(day).await.unwrap();
    }
    let own = |day: usize| format!("kept/canopus-own-2026010{day}T000000Z.tar.gz");
    assert_eq!(server.names(), [other.to_owned(), own(2), own(3)]);
    assert_eq!(maker.newest().await.unwrap(), Some(days[2]));

    server.state.lock().unwrap().refused_from = Some(0);
    let error = format!("{:#}", maker.make(days[0]).await.unwrap_err());
    assert!(error.contains("s3://bucket/kept/canopus-own-20260101T000000Z.tar.gz"), "{error}");
    assert!(!error.contains("secret-of-the-test"), "{error}");
    assert_eq!(server.names().len(), 3);
}

#[test]
fn flags_that_make_no_sense_are_refused() {
    #[derive(Debug, clap::Parser)]
    struct Flags {
        #[command(flatten)]
        backups: ScheduleArgs,
    }
    let parse = |line: &str| {
        let words = std::iter::once("x").chain(line.split_whitespace()).map(|word| word.replace('_', " "));
        <Flags as clap::Parser>::try_parse_from(words).map(|flags| flags.backups).map_err(|error| error.to_string())
    };
    assert!(BackupPlan::of(&parse("").unwrap()).unwrap().is_none());
    let asked = parse("--backup-schedule 30_2_*_*_* --backup-to /b").unwrap();
    assert_eq!(BackupPlan::of(&asked).unwrap().unwrap().retention, 7);
    for (line, part) in [
        ("--backup-schedule @often --backup-to /b", "unrecognized descriptor: @often"),
        ("--backup-schedule 0_0_31_2_* --backup-to /b", "there is no such time"),
        ("--backup-schedule @daily", "--backup-to"),
        ("--backup-to /b", "--backup-schedule"),
        ("--backup-schedule @daily --backup-to /b --backup-retention 0", "0 is not in 1.."),
    ] {
        let error = parse(line).unwrap_err();
        assert!(error.contains(part), "{line}: {error}");
    }
    for to in ["-", "gs://b/a", "s3://key:secret@b/a"] {
        let asked = parse(&format!("--backup-schedule @daily --backup-to {to}")).unwrap();
        let error = format!("{:#}", BackupPlan::of(&asked).unwrap_err());
        assert!(error.contains("--backup-to") && !error.contains("secret"), "{to}: {error}");
    }
}
