//! Backups that a server makes by itself, by the clock. One whose time was missed, because the server was down or the destination
//! was, is made up once; what was made is looked up at the destination, so a server remembers nothing of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use api::batch::schedule::Schedule;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use kube_apiserver::Server;
use serde::{Deserialize, Serialize};

use super::archive::{More, Prepared};
use super::destination::{Destination, Settings};
use super::metrics::BackupMetrics;
use super::names::Names;
use crate::layout::Layout;

/// Between tries of a backup that failed; doubled after each.
const BACKOFF: SignedDuration = SignedDuration::from_secs(10);
const BACKOFF_MAX: SignedDuration = SignedDuration::from_mins(10);
/// How long the wall clock is believed to go on as it does.
const NAP: Duration = Duration::from_secs(60);

/// Flags of servers.
#[derive(Debug, Clone, clap::Args)]
pub struct ScheduleArgs {
    /// When the server makes a backup by itself, in local time: as a CronJob's schedule, such as "30 2 * * *" or @daily
    #[arg(long, value_name = "CRON", requires = "backup_to", value_parser = checked)]
    pub backup_schedule: Option<String>,
    /// Folder, or URL of one (s3://BUCKET/FOLDER), that these backups go to
    #[arg(long, value_name = "DIR|URL", requires = "backup_schedule")]
    pub backup_to: Option<PathBuf>,
    /// How many of these backups are kept; older ones of this cluster are removed
    #[arg(long, value_name = "COUNT", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    pub backup_retention: u32,
    /// Also keep the certificates and keys of the cluster in them
    #[arg(long)]
    pub backup_include_pki: bool,
    /// Also keep the flags of the server in them, and the files that they name
    #[arg(long)]
    pub backup_include_config: bool,
    /// File of lines such as AWS_ACCESS_KEY_ID=..., over what the environment has of them; read anew for each backup
    #[arg(long, value_name = "FILE")]
    pub backup_credentials_file: Option<PathBuf>,
}

fn checked(schedule: &str) -> Result<String, String> {
    let parsed = Schedule::parse(schedule)?;
    let sometimes = parsed.next(Timestamp::UNIX_EPOCH, &TimeZone::UTC).is_some();
    if sometimes { Ok(schedule.to_owned()) } else { Err("there is no such time".to_owned()) }
}

/// What was asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BackupPlan {
    schedule: String,
    to: PathBuf,
    retention: u32,
    include_pki: bool,
    #[serde(default)]
    include_config: bool,
    credentials_file: Option<PathBuf>,
}

impl BackupPlan {
    /// None where no backups are asked for. Relative names are made absolute, and a destination that cannot be one is refused.
    pub fn of(arguments: &ScheduleArgs) -> Result<Option<Self>> {
        let (Some(schedule), Some(to)) = (&arguments.backup_schedule, &arguments.backup_to) else { return Ok(None) };
        let is_url = to.to_str().is_some_and(|to| to.contains("://"));
        let plan = Self {
            schedule: schedule.clone(),
            to: if is_url { to.clone() } else { std::path::absolute(to)? },
            retention: arguments.backup_retention,
            include_pki: arguments.backup_include_pki,
            include_config: arguments.backup_include_config,
            credentials_file: arguments.backup_credentials_file.as_deref().map(std::path::absolute).transpose()?,
        };
        ensure!(to.as_os_str() != "-", "--backup-to must be a folder or a URL");
        plan.folder().context("--backup-to cannot be used")?;
        Ok(Some(plan))
    }

    fn folder(&self) -> Result<Destination> {
        Destination::parse(&self.to, &Settings::read(self.credentials_file.as_deref())?)
    }
}

/// Makes backups of a server's objects until it stops. `cluster` tells it from others with the same destination.
pub async fn run(
    plan: BackupPlan,
    cluster: String,
    server: Arc<Server>,
    layout: Layout,
    metrics: BackupMetrics,
) -> Result<()> {
    let schedule = Schedule::parse(&plan.schedule).map_err(anyhow::Error::msg).context("--backup-schedule")?;
    let shutdown = server.shutdown.clone();
    let prepare = Arc::new(move || Prepared::of_server(&server));
    let maker = Maker { names: Names::of(&cluster), plan, prepare, layout, metrics };
    let zone = TimeZone::system();
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = follow(&schedule, &zone, &maker) => {}
    }
    Ok(())
}

/// What happens at the times of a schedule, and the clock that it is told from.
trait Backups {
    /// When the newest backup was made.
    async fn newest(&self) -> Result<Option<Timestamp>>;
    async fn make(&self, now: Timestamp) -> Result<()>;
    fn failed(&self, error: &anyhow::Error, again_at: Timestamp);
    fn now(&self) -> Timestamp;
    async fn wait_until(&self, due: Timestamp);
}

/// Makes a backup whenever one is due, with tries in between where it fails.
async fn follow(schedule: &Schedule, zone: &TimeZone, backups: &impl Backups) {
    let (mut known, mut failures) = (None, 0);
    loop {
        let now = backups.now();
        let done = make_if_due(schedule, zone, backups, &mut known, now).await;
        let Some(next) = schedule.next(now, zone) else { return };
        let due = match done {
            Ok(()) => {
                failures = 0;
                next
            }
            Err(error) => {
                failures += 1;
                let again_at = backups.now().checked_add(backoff(failures)).map_or(next, |again| again.min(next));
                backups.failed(&error, again_at);
                again_at
            }
        };
        backups.wait_until(due).await;
    }
}

/// `known` is the time of the newest backup, once somebody has looked: what is made from then on is known without.
async fn make_if_due(
    schedule: &Schedule,
    zone: &TimeZone,
    backups: &impl Backups,
    known: &mut Option<Option<Timestamp>>,
    now: Timestamp,
) -> Result<()> {
    let newest = match *known {
        Some(newest) => newest,
        // A name from the future is the work of a clock that was wrong.
        None => *known.insert(backups.newest().await?.map(|newest| newest.min(now))),
    };
    let is_due = newest.is_none_or(|newest| schedule.next(newest, zone).is_some_and(|next| next <= now));
    if is_due {
        backups.make(now).await?;
        *known = Some(Some(now));
    }
    Ok(())
}

fn backoff(failures: u32) -> SignedDuration {
    let doubled = 1 << failures.saturating_sub(1).min(16);
    (BACKOFF * doubled).min(BACKOFF_MAX)
}

/// Makes the backups of a server.
struct Maker {
    plan: BackupPlan,
    names: Names,
    prepare: Arc<dyn Fn() -> Result<Prepared> + Send + Sync>,
    layout: Layout,
    metrics: BackupMetrics,
}

impl Maker {
    /// Removes what is older than is wanted.
    async fn remove_outdated(&self, folder: &Destination) -> Result<()> {
        for name in self.names.outdated(&folder.names().await?, self.plan.retention as usize) {
            folder.within(&name).remove().await?;
            tracing::info!(
                "removed the backup {}, of which {} newer ones are kept",
                folder.within(&name),
                self.plan.retention
            );
        }
        Ok(())
    }
}

impl Backups for Maker {
    async fn newest(&self) -> Result<Option<Timestamp>> {
        let newest = self.names.newest(&self.plan.folder()?.names().await?);
        if let Some(newest) = newest {
            self.metrics.found(newest);
        }
        Ok(newest)
    }

    async fn make(&self, now: Timestamp) -> Result<()> {
        let folder = self.plan.folder()?;
        let place = folder.within(&self.names.at(now));
        let prepare = self.prepare.clone();
        let more = More::of(&self.layout, self.plan.include_pki, self.plan.include_config)?;
        let written = super::write(move || prepare(), more, &place).await?;
        let super::Written { objects, revision, bytes } = written;
        tracing::info!("made the backup {place}: {objects} objects at revision {revision}, {bytes} bytes");
        self.metrics.made(now, bytes);
        if let Err(error) = self.remove_outdated(&folder).await {
            tracing::warn!("failed to remove outdated backups: {error:#}");
        }
        Ok(())
    }

    fn failed(&self, error: &anyhow::Error, again_at: Timestamp) {
        self.metrics.failed();
        // The reason names the place, never what opens it.
        tracing::error!("failed to make the scheduled backup, which is tried again at {again_at:.0}: {error:#}");
    }
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    /// Looks at the wall clock now and then: it may be set, and the machine may sleep.
    async fn wait_until(&self, due: Timestamp) {
        while let Ok(rest) = Duration::try_from(due.duration_since(self.now()))
            && !rest.is_zero()
        {
            tokio::time::sleep(rest.min(NAP)).await;
        }
    }
}

#[cfg(test)]
mod tests;
