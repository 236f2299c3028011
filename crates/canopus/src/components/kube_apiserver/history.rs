//! The flags about what is kept of the past, of the API server alone and of `canopus server`.

use std::time::Duration;

use anyhow::{Result, bail};
use machinery::quantity::Quantity;
use serde::{Deserialize, Serialize};
use store::journal::Retention;

use crate::components::flags;

/// Without any of them the past is there for five minutes. With several, whichever is reached first ends it.
#[derive(Debug, Clone, Default, clap::Args, Serialize, Deserialize)]
pub struct HistoryFlags {
    /// Keep what objects were for so long (kubectl get --at, history and undelete), such as 168h; it costs no writes, but room
    #[arg(long, value_name = "DURATION", value_parser = flags::duration)]
    history_retention: Option<Duration>,
    /// Keep what objects were for so many writes
    #[arg(long, value_name = "N")]
    history_retention_revisions: Option<u64>,
    /// Keep what objects were in files of so many bytes at the most, such as 10Gi
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    history_retention_bytes: Option<u64>,
}

impl HistoryFlags {
    /// What they ask for. Zero is as good as none.
    pub fn settings(&self, has_etcd: bool) -> Result<Retention> {
        let retention = Retention {
            age: self.history_retention.filter(|age| !age.is_zero()),
            revisions: self.history_retention_revisions.filter(|count| *count > 0),
            bytes: self.history_retention_bytes.filter(|bytes| *bytes > 0),
        };
        if has_etcd && retention.bytes.is_some() {
            bail!("--history-retention-bytes is for the embedded store; an etcd has a quota of its own");
        }
        Ok(retention)
    }
}

fn bytes(text: &str) -> Result<u64, String> {
    let invalid = || format!("{text:?} is no number of bytes such as 500Mi or 10Gi");
    let quantity = text.parse::<Quantity>().map_err(|_| invalid())?;
    u64::try_from(quantity.value()).map_err(|_| invalid())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        flags: HistoryFlags,
    }

    fn flags(arguments: &[&str]) -> Result<HistoryFlags, clap::Error> {
        Line::try_parse_from([&["x"], arguments].concat()).map(|line| line.flags)
    }

    #[test]
    fn each_limit_is_a_flag_and_none_is_set_by_itself() {
        assert_eq!(flags(&[]).unwrap().settings(true).unwrap(), Retention::OFF);
        let off = ["--history-retention=0", "--history-retention-revisions=0", "--history-retention-bytes=0"];
        assert_eq!(flags(&off).unwrap().settings(true).unwrap(), Retention::OFF);
        let all = ["--history-retention=24h", "--history-retention-revisions=1000", "--history-retention-bytes=2Gi"];
        let all = flags(&all).unwrap();
        let wanted = Retention { age: Some(Duration::from_secs(86400)), revisions: Some(1000), bytes: Some(2 << 30) };
        assert_eq!(all.settings(false).unwrap(), wanted);
        assert!(all.settings(true).unwrap_err().to_string().contains("an etcd has a quota of its own"));
        assert!(flags(&["--history-retention=24h"]).unwrap().settings(true).unwrap().is_on());
        assert!(flags(&["--history-retention-bytes=much"]).is_err());
        assert!(flags(&["--history-retention-bytes=-5"]).is_err());
    }
}
