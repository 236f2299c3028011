//! Where backups are: a file, an object in a bucket, or a standard stream. Written and read as streams, so that the size of a
//! backup does not matter to memory; what was not written whole is not there.

mod http;
mod settings;

use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt as _, ObjectStoreScheme, RetryConfig};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio_util::io::{StreamReader, SyncIoBridge};
use url::Url;

pub use settings::Settings;

/// Uploads go in parts of this size, of which at most three are in memory: being filled, waiting, on the way. S3 takes 10,000
/// parts, so a backup may have 80 GB.
const PART_BYTES: usize = 8 << 20;
/// Tries of one request; whoever wants more of them makes the backup again.
const RETRIES_MAX: usize = 3;

/// One place, or a folder of them.
#[derive(Clone)]
pub enum Destination {
    /// Standard output, or input.
    Standard,
    File(PathBuf),
    Object {
        store: Arc<dyn ObjectStore>,
        key: Key,
        /// For people.
        url: String,
    },
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard => f.write_str("the standard stream"),
            Self::File(path) => path.display().fmt(f),
            Self::Object { url, .. } => f.write_str(url),
        }
    }
}

impl Destination {
    /// `-`, a URL (`s3://bucket/key`, `file:///path`) or the name of a file.
    pub fn parse(text: &Path, settings: &Settings) -> Result<Self> {
        let url = match text.to_str() {
            Some("-") => return Ok(Self::Standard),
            Some(url) if url.contains("://") => url,
            _ => return Ok(Self::File(text.to_owned())),
        };
        let parsed = Url::parse(url).with_context(|| format!("{url} is no URL"))?;
        let is_bare = parsed.username().is_empty() && parsed.password().is_none() && parsed.query().is_none();
        ensure!(
            is_bare,
            "a URL of backups holds no credentials and no settings: they come from the environment or a file"
        );
        match ObjectStoreScheme::parse(&parsed) {
            Ok((ObjectStoreScheme::Local, _)) => {
                let path = parsed.to_file_path().ok().with_context(|| format!("{url} names no file"))?;
                Ok(Self::File(path))
            }
            Ok((ObjectStoreScheme::AmazonS3, key)) => {
                let store = bucket(url, settings).with_context(|| format!("failed to prepare {url}"))?;
                Ok(Self::Object { store, key, url: url.trim_end_matches('/').to_owned() })
            }
            _ => bail!("{url}: backups go to a file, to file:// or to s3://"),
        }
    }

    pub fn is_standard(&self) -> bool {
        matches!(self, Self::Standard)
    }

    /// The place `name` in this folder.
    #[must_use]
    pub fn within(&self, name: &str) -> Self {
        match self {
            Self::Standard => Self::Standard,
            Self::File(folder) => Self::File(folder.join(name)),
            Self::Object { store, key, url } => {
                Self::Object { store: store.clone(), key: key.clone().join(name), url: format!("{url}/{name}") }
            }
        }
    }

    /// Writes what `write` gives, on a thread where it may block, and tells the number of bytes. What is there is not written
    /// over, and what fails leaves nothing.
    pub async fn write(&self, write: impl FnOnce(&mut dyn Write) -> Result<()> + Send + 'static) -> Result<u64> {
        let written = match self.clone() {
            Self::Standard => spawn_blocking(move || counted(io::stdout(), write)).await?,
            Self::File(path) => spawn_blocking(move || write_file(&path, write)).await?,
            Self::Object { store, key, .. } => upload(&*store, &key, write).await,
        };
        written.with_context(|| format!("failed to write {self}"))
    }

    /// Hands what is there to `read`, on a thread where it may block.
    pub async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut dyn Read) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let opened = || format!("failed to open {self}");
        let mut source: Box<dyn Read + Send> = match self {
            Self::Standard => Box::new(io::stdin()),
            Self::File(path) => Box::new(fs::File::open(path).with_context(opened)?),
            Self::Object { store, key, .. } => {
                let found = store.get(key).await.map_err(plain).with_context(opened)?;
                Box::new(SyncIoBridge::new(StreamReader::new(found.into_stream().map_err(io::Error::from))))
            }
        };
        spawn_blocking(move || read(&mut source)).await?.with_context(|| format!("failed to read {self}"))
    }

    /// The names of what is right in this folder; none where there is no folder.
    pub async fn names(&self) -> Result<Vec<String>> {
        let names = match self {
            Self::Standard => Ok(Vec::new()),
            Self::File(folder) => names_in(folder).map_err(anyhow::Error::from),
            Self::Object { store, key, .. } => {
                let found = store.list_with_delimiter(Some(key)).await;
                let names = |object: &object_store::ObjectMeta| object.location.filename().map(str::to_owned);
                found.map(|found| found.objects.iter().filter_map(names).collect()).map_err(plain)
            }
        };
        names.with_context(|| format!("failed to list {self}"))
    }

    /// Removes it.
    pub async fn remove(&self) -> Result<()> {
        let removed = match self {
            Self::Standard => Ok(()),
            Self::File(path) => fs::remove_file(path).map_err(anyhow::Error::from),
            Self::Object { store, key, .. } => store.delete(key).await.map_err(plain),
        };
        removed.with_context(|| format!("failed to remove {self}"))
    }
}

fn bucket(url: &str, settings: &Settings) -> Result<Arc<dyn ObjectStore>> {
    let retry = RetryConfig { max_retries: RETRIES_MAX, ..RetryConfig::default() };
    let mut builder = AmazonS3Builder::new().with_url(url).with_retry(retry).with_http_connector(http::Connector);
    // Not everything that speaks S3 can delete many at once.
    builder = builder.with_disable_bulk_delete(true);
    for (name, value) in settings.iter() {
        // The environment may have settings for others.
        if let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() {
            builder = builder.with_config(key, value);
        }
    }
    Ok(Arc::new(builder.build().map_err(plain)?))
}

/// The library's errors say all that is below them already.
fn plain(error: object_store::Error) -> anyhow::Error {
    anyhow::Error::msg(error.to_string())
}

fn names_in(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

/// Under another name until it is whole. Nobody but the owner reads it: there are Secrets in it.
fn write_file(path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<u64> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().and_then(|name| name.to_str()).context("this is not the name of a file")?;
    ensure!(!path.exists(), "it exists already");
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut file = tempfile::Builder::new().prefix(&format!(".{name}.")).suffix(PARTIAL).tempfile_in(folder)?;
    let bytes = counted(file.as_file_mut(), write)?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path)?;
    fs::File::open(folder)?.sync_all()?;
    Ok(bytes)
}

/// How the names of files end that are not whole.
pub const PARTIAL: &str = ".partial";

fn counted(out: impl Write, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<u64> {
    let mut out = Counted { out, bytes: 0 };
    write(&mut out)?;
    out.flush()?;
    Ok(out.bytes)
}

struct Counted<W> {
    out: W,
    bytes: u64,
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Sends what `write` gives in parts, the next being made while one is on the way.
async fn upload(
    store: &dyn ObjectStore,
    key: &Key,
    write: impl FnOnce(&mut dyn Write) -> Result<()> + Send + 'static,
) -> Result<u64> {
    match store.head(key).await {
        Ok(_) => bail!("it exists already"),
        Err(object_store::Error::NotFound { .. }) => {}
        Err(error) => return Err(plain(error)),
    }
    let mut upload = store.put_multipart(key).await.map_err(plain)?;
    let (sender, mut parts) = mpsc::channel(1);
    let made = spawn_blocking(move || {
        let mut out = Parts { filled: Vec::with_capacity(PART_BYTES), sender };
        let bytes = counted(&mut out, write)?;
        out.send()?;
        anyhow::Ok(bytes)
    });
    let sent = async {
        while let Some(part) = parts.recv().await {
            upload.put_part(Bytes::into(part)).await.map_err(plain)?;
        }
        let bytes = made.await??;
        upload.complete().await.map_err(plain)?;
        anyhow::Ok(bytes)
    };
    let sent = sent.await;
    if sent.is_err()
        && let Err(error) = upload.abort().await
    {
        tracing::warn!(%error, %key, "failed to take back the parts of a backup that was not finished");
    }
    sent
}

/// Cuts a stream into parts.
struct Parts {
    filled: Vec<u8>,
    sender: mpsc::Sender<Bytes>,
}

impl Parts {
    fn send(&mut self) -> io::Result<()> {
        let part = std::mem::replace(&mut self.filled, Vec::with_capacity(PART_BYTES));
        self.sender.blocking_send(part.into()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Parts {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PART_BYTES - self.filled.len());
        self.filled.extend_from_slice(&bytes[..taken]);
        if self.filled.len() == PART_BYTES {
            self.send()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
