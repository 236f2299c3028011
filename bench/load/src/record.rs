//! Raw results as lines of JSON, and a table for people.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::Args;
use crate::measure::Rate;

pub struct Recorder {
    file: File,
    common: Value,
    only: String,
    /// By measure, in the order of their first appearance: own values, and those of the yardstick.
    rows: Vec<(String, &'static str)>,
    values: BTreeMap<String, (Vec<f64>, Vec<f64>)>,
}

impl Recorder {
    pub fn create(args: &Args) -> Result<Self> {
        if let Some(folder) = args.out.parent() {
            fs::create_dir_all(folder).with_context(|| format!("failed to make {}", folder.display()))?;
        }
        let file = File::create(&args.out).with_context(|| format!("failed to make {}", args.out.display()))?;
        let commit = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
        let commit = commit.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
        let common = json!({
            "commit": commit, "seconds": args.seconds, "nproc": std::thread::available_parallelism()?.get(),
            "profile": if args.canopus.to_string_lossy().contains("release") { "release" } else { "other" },
        });
        Ok(Self { file, common, only: args.only.clone(), rows: Vec::new(), values: BTreeMap::new() })
    }

    pub fn wants(&self, measure: &str) -> bool {
        measure.contains(&self.only)
    }

    /// Requests or events a second, beside what the yardstick did.
    pub fn rate(&mut self, measure: &str, own: &Rate, yardstick: f64) -> Result<()> {
        let more = json!({ "p50_ms": own.p50_ms, "p99_ms": own.p99_ms, "count": own.count });
        self.add(measure, "1/s", own.per_second, yardstick, &more)?;
        println!(
            "{measure}: {:.0}/s, p50 {:.2} ms, p99 {:.2} ms; yardstick {yardstick:.0}/s",
            own.per_second, own.p50_ms, own.p99_ms
        );
        Ok(())
    }

    /// One value. A yardstick of zero is none.
    pub fn add(&mut self, measure: &str, unit: &'static str, own: f64, yardstick: f64, more: &Value) -> Result<()> {
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let mut line = self.common.clone();
        line["measure"] = measure.into();
        line["unit"] = unit.into();
        line["value"] = own.into();
        line["yardstick"] = yardstick.into();
        line["load"] = load.split_whitespace().take(3).collect::<Vec<_>>().join(" ").into();
        if let (Some(line), Some(more)) = (line.as_object_mut(), more.as_object()) {
            line.extend(more.clone());
        }
        writeln!(self.file, "{line}")?;
        if !self.values.contains_key(measure) {
            self.rows.push((measure.to_owned(), unit));
        }
        let (all, yardsticks) = self.values.entry(measure.to_owned()).or_default();
        all.push(own);
        yardsticks.push(yardstick);
        Ok(())
    }

    /// Prints the medians.
    pub fn finish(mut self) -> Result<()> {
        println!("\n{:<34} {:>3} {:>12} {:>12} {:>7}  unit", "measure", "n", "median", "yardstick", "ratio");
        for (measure, unit) in &self.rows {
            let Some((own, yardsticks)) = self.values.get_mut(measure) else { continue };
            let (value, yardstick) = (median(own), median(yardsticks));
            let (yardstick, ratio) = match yardstick {
                0.0 => (String::new(), String::new()),
                _ => (format!("{yardstick:.1}"), format!("{:.2}", value / yardstick)),
            };
            println!("{measure:<34} {:>3} {value:>12.1} {yardstick:>12} {ratio:>7}  {unit}", own.len());
        }
        Ok(())
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
