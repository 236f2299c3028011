//! Profiles in the form of `perftools.profiles.Profile`: a sample for each name of threads, as if it were a function.

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message as _;

use super::threads::{Thread, by_name};

#[derive(Clone, PartialEq, prost::Message)]
pub struct Message {
    #[prost(message, repeated, tag = "1")]
    pub sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    pub sample: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    pub location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    pub function: Vec<Function>,
    /// What the numbers of texts stand for; the first is empty.
    #[prost(string, repeated, tag = "6")]
    pub string_table: Vec<String>,
    #[prost(int64, tag = "9")]
    pub time_nanos: i64,
    #[prost(int64, tag = "10")]
    pub duration_nanos: i64,
    #[prost(message, optional, tag = "11")]
    pub period_type: Option<ValueType>,
    #[prost(int64, tag = "12")]
    pub period: i64,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct ValueType {
    #[prost(int64, tag = "1")]
    pub r#type: i64,
    #[prost(int64, tag = "2")]
    pub unit: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    pub location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    pub value: Vec<i64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Location {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(message, repeated, tag = "4")]
    pub line: Vec<Line>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Line {
    #[prost(uint64, tag = "1")]
    pub function_id: u64,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Function {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(int64, tag = "2")]
    pub name: i64,
}

pub struct Profile(Message);

impl Profile {
    /// How many threads there are of each name.
    pub fn of_threads(threads: &[Thread]) -> Self {
        let counts = by_name(threads.iter().map(|thread| (thread.name.as_str(), 1)));
        let mut profile = Self::new(&[("threadcreate", "count")]);
        for (name, count) in counts {
            profile.add(name, vec![count]);
        }
        profile
    }

    /// How long the threads of each name were on a processor. Each nanosecond is a sample of its own.
    pub fn of_use(before: &[Thread], after: &[Thread], began: jiff::Timestamp, time: Duration) -> Self {
        let known: HashMap<&str, u64> = before.iter().map(|thread| (&*thread.id, thread.used_nanoseconds)).collect();
        let used = after.iter().map(|thread| {
            let before = known.get(&*thread.id).copied().unwrap_or_default();
            let used = thread.used_nanoseconds.saturating_sub(before);
            (thread.name.as_str(), i64::try_from(used).unwrap_or(i64::MAX))
        });
        let used: BTreeMap<&str, i64> = by_name(used);
        let mut profile = Self::new(&[("samples", "count"), ("cpu", "nanoseconds")]);
        for (name, nanoseconds) in used.into_iter().filter(|(_, nanoseconds)| *nanoseconds > 0) {
            profile.add(name, vec![nanoseconds, nanoseconds]);
        }
        profile.0.time_nanos = i64::try_from(began.as_nanosecond()).unwrap_or_default();
        profile.0.duration_nanos = i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
        profile.0.period_type = profile.0.sample_type.last().copied();
        profile.0.period = 1;
        profile
    }

    fn new(values: &[(&str, &str)]) -> Self {
        let mut profile = Self(Message { string_table: vec![String::new()], ..Message::default() });
        for (kind, unit) in values {
            let value = ValueType { r#type: profile.text(kind), unit: profile.text(unit) };
            profile.0.sample_type.push(value);
        }
        profile
    }

    fn add(&mut self, name: &str, value: Vec<i64>) {
        let id = self.0.function.len() as u64 + 1;
        let name = self.text(name);
        self.0.function.push(Function { id, name });
        self.0.location.push(Location { id, line: vec![Line { function_id: id }] });
        self.0.sample.push(Sample { location_id: vec![id], value });
    }

    /// The number that stands for a text.
    fn text(&mut self, text: &str) -> i64 {
        let table = &mut self.0.string_table;
        let at = table.iter().position(|own| own == text).unwrap_or_else(|| {
            table.push(text.to_owned());
            table.len() - 1
        });
        i64::try_from(at).unwrap_or_default()
    }

    /// As pprof reads it.
    pub fn compressed(&self) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        // Writing into memory does not fail.
        let _ = encoder.write_all(&self.0.encode_to_vec());
        encoder.finish().unwrap_or_default()
    }
}
