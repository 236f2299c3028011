//! The recorded conversations with a real v1.36, replayed where the recordings are at hand (`../shared/oracle` beside the
//! checkout): each area must agree in at least as many cases as `recordings.floor` says, a number that only rises.
//!
//! Some cases change what the whole cluster sees (default classes, custom resources in discovery), so a few at a time get
//! a server of their own: control plane alone, as recorded. A step that waits for a controller that does not exist yet
//! takes its 30 s, so several servers run side by side.
//!
//! With `RECORDINGS_ON_ETCD=1` the servers keep their objects in one etcd, each below a prefix of its own.

use std::collections::BTreeMap;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;

use serde_json::Value;

use crate::etcd::{ETCD, etcd};
use crate::harness::{Cluster, Part, wait};

const FLOOR: &str = include_str!("recordings.floor");
/// Cases that one server sees.
const CASES_PER_SERVER: usize = 6;
/// Servers at once.
const SERVERS: u16 = 16;
const TOKEN: &str = "a-token-for-the-replay";

#[derive(Default, Clone, Copy, PartialEq, Eq)]
struct Count {
    cases: u64,
    equal: u64,
    /// Cases whose status codes are all equal.
    statuses: u64,
}

#[test]
fn recorded_conversations_agree_at_least_as_far_as_before() {
    let oracle = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/oracle");
    if !oracle.join("oracle.py").exists() {
        println!("no recordings beside the checkout: nothing is replayed");
        return;
    }
    let cluster = Cluster::prepare(&[]);
    let etcd = std::env::var_os("RECORDINGS_ON_ETCD").map(|_| etcd(&cluster));
    let waiting = Mutex::new(portions(&oracle));
    let counts = Mutex::new(BTreeMap::<String, Count>::new());
    std::thread::scope(|scope| {
        for worker in 0..SERVERS {
            let (cluster, oracle, waiting, counts, on_etcd) = (&cluster, &oracle, &waiting, &counts, etcd.is_some());
            scope.spawn(move || {
                loop {
                    // The lock goes with the statement, so that the others go on meanwhile.
                    let Some((id, cases)) = waiting.lock().unwrap().pop() else { return };
                    let name = format!("portion-{id}");
                    let prefix = format!("--etcd-prefix=/{name}");
                    let store: &[&str] = if on_etcd { &["--etcd-servers", ETCD, &prefix] } else { &[] };
                    let report = replay(cluster, oracle, worker, (&name, store), &cases);
                    count(&report, &mut counts.lock().unwrap());
                }
            });
        }
    });
    let counts = counts.into_inner().unwrap();
    let mut fallen = Vec::new();
    for (area, floor) in floors() {
        let now = counts.get(&area).copied().unwrap_or_default();
        println!(
            "recordings: {area:16} {:3} of {:3} equal (floor {}), status codes in {:3} (floor {})",
            now.equal, now.cases, floor.equal, now.statuses, floor.statuses
        );
        if now.equal < floor.equal || now.statuses < floor.statuses {
            fallen.push(area);
        }
    }
    assert!(fallen.is_empty(), "fewer recorded cases agree than before in {}", fallen.join(", "));
}

/// The cases, an area's in portions; each with a number for its folder.
fn portions(oracle: &Path) -> Vec<(usize, Vec<PathBuf>)> {
    let list = |folder: &Path| {
        let mut entries: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        entries
    };
    let areas = list(&oracle.join("cases"));
    let portions = areas.iter().flat_map(|area| {
        let cases = list(area);
        // Neighbours in the alphabet wait for the same things: they are dealt out.
        let portions = cases.len().div_ceil(CASES_PER_SERVER);
        (0..portions).map(move |first| cases.iter().skip(first).step_by(portions).cloned().collect())
    });
    portions.collect::<Vec<_>>().into_iter().enumerate().collect()
}

/// The replay's report on these cases from a fresh server.
fn replay(cluster: &Cluster, oracle: &Path, worker: u16, (name, store): (&str, &[&str]), cases: &[PathBuf]) -> Value {
    let root = cluster.root().join(name);
    std::fs::create_dir(&root).unwrap();
    let tokens = root.join("tokens.csv");
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&tokens).unwrap();
    std::io::Write::write_all(&mut file, format!("{TOKEN},token-admin,token-admin,\"system:masters\"\n").as_bytes())
        .unwrap();
    let port = (7000 + worker).to_string();
    let log = std::fs::File::create(root.join("server.log")).unwrap();
    let mut server = cluster.canopus();
    server
        .args(["server", "--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1", "--secure-port", &port])
        .args(store)
        .arg("--root-dir")
        .arg(&root)
        .arg("--token-auth-file")
        .arg(&tokens)
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    let server = Part(server.spawn().unwrap());
    let url = format!("https://127.0.0.1:{port}");
    let ready = || {
        let answer = cluster.on_node("curl").args(["-sk", &format!("{url}/readyz")]).output().unwrap();
        answer.stdout == b"ok"
    };
    assert!(wait(ready), "{name}: {}", std::fs::read_to_string(root.join("server.log")).unwrap());
    let report = root.join("report.json");
    let mut replay = cluster.on_node("python3");
    replay
        .arg(oracle.join("oracle.py"))
        .args(["replay", "-v", "--server", &url, "--token", TOKEN, "--ca"])
        .arg(root.join("pki/ca.crt"))
        .arg("--report")
        .arg(&report)
        .args(cases)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let output = replay.output().unwrap();
    drop(server);
    println!("{}", String::from_utf8_lossy(&output.stdout));
    let text = std::fs::read(&report)
        .unwrap_or_else(|error| panic!("{name}: {error}\n{}", String::from_utf8_lossy(&output.stderr)));
    serde_json::from_slice(&text).unwrap()
}

fn count(report: &Value, counts: &mut BTreeMap<String, Count>) {
    for case in report.as_array().unwrap() {
        let path = Path::new(case["case"].as_str().unwrap());
        let area = path.parent().and_then(Path::file_name).unwrap().to_string_lossy().into_owned();
        let count = counts.entry(area).or_default();
        count.cases += 1;
        count.equal += u64::from(case["ok"] == true);
        count.statuses += u64::from(case["status_ok"] == true);
    }
}

/// `area equal statuses`, a line each.
fn floors() -> Vec<(String, Count)> {
    let lines = FLOOR.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    lines
        .map(|line| {
            let mut words = line.split_whitespace();
            let area = words.next().unwrap().to_owned();
            let mut number = || words.next().and_then(|word| word.parse().ok()).expect("a number");
            (area, Count { cases: 0, equal: number(), statuses: number() })
        })
        .collect()
}
