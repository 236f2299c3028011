//! Reads a container's log as `kubectl logs` asks for it, and goes on reading while it grows.

use std::{
    io::SeekFrom,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt},
    sync::mpsc,
};

use super::parser;

/// What part of a log is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Only the last so many lines.
    pub tail_lines: Option<u64>,
    /// Only lines since then.
    pub since: Option<Timestamp>,
    /// Each line with its time.
    pub timestamps: bool,
    /// At most so many bytes.
    pub limit_bytes: Option<u64>,
    /// Go on until the container ends.
    pub follow: bool,
    /// stdout or stderr alone.
    pub stream: Option<String>,
}

/// A log file larger than this is searched from its end in blocks of this size.
const BLOCK: u64 = 64 << 10;
/// A reader that does not read is waited for; so much is prepared for it.
pub const CHUNKS_MAX: usize = 16;

/// Reads `path` into `sink`; `running` tells whether the container may still write.
pub async fn read<F: Future<Output = bool> + Send>(
    path: PathBuf,
    options: Options,
    sink: mpsc::Sender<std::io::Result<Bytes>>,
    running: impl Fn() -> F + Send,
) {
    let mut formatter = Formatter { left: options.limit_bytes, options, line_begun: false };
    if let Err(error) = copy(&path, &mut formatter, &sink, running).await {
        let _ = sink.send(Err(error)).await;
    }
}

async fn copy<F: Future<Output = bool> + Send>(
    path: &Path,
    formatter: &mut Formatter,
    sink: &mpsc::Sender<std::io::Result<Bytes>>,
    running: impl Fn() -> F + Send,
) -> std::io::Result<()> {
    let mut file = File::open(path).await?;
    if let Some(lines) = formatter.options.tail_lines {
        let at = tail_start(&mut file, lines).await?;
        file.seek(SeekFrom::Start(at)).await?;
    }
    let mut pending: Vec<u8> = Vec::new();
    let mut buffer = vec![0; 32 << 10];
    let mut last_look = false;
    loop {
        let count = file.read(&mut buffer).await?;
        if count > 0 {
            pending.extend_from_slice(&buffer[..count]);
            let mut out = Vec::new();
            let mut begin = 0;
            while let Some(end) = pending[begin..].iter().position(|byte| *byte == b'\n') {
                formatter.line(&String::from_utf8_lossy(&pending[begin..begin + end]), &mut out);
                begin += end + 1;
            }
            pending.drain(..begin);
            if !out.is_empty() && sink.send(Ok(out.into())).await.is_err() || formatter.left == Some(0) {
                return Ok(());
            }
            continue;
        }
        if !formatter.options.follow || last_look {
            return Ok(());
        }
        if rotated(path, &file).await {
            file = File::open(path).await?;
            continue;
        }
        // Whatever was written before the end was seen is read by one more look.
        last_look = !running().await;
        if !last_look {
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(100)) => {}
                () = sink.closed() => return Ok(()),
            }
        }
    }
}

async fn rotated(path: &Path, file: &File) -> bool {
    use std::os::unix::fs::MetadataExt;
    let (Ok(now), Ok(open)) = (tokio::fs::metadata(path).await, file.metadata().await) else { return false };
    now.ino() != open.ino()
}

/// Where the last `lines` lines begin. Partial lines count as what they are part of.
async fn tail_start(file: &mut File, lines: u64) -> std::io::Result<u64> {
    let length = file.metadata().await?.len();
    if lines == 0 {
        return Ok(length);
    }
    let mut block_start = length;
    let mut tail: Vec<u8> = Vec::new();
    loop {
        let begin = block_start.saturating_sub(BLOCK);
        let mut block = vec![0; usize::try_from(block_start - begin).unwrap_or(0)];
        file.seek(SeekFrom::Start(begin)).await?;
        file.read_exact(&mut block).await?;
        block.extend_from_slice(&tail);
        tail = block;
        block_start = begin;
        // A line begins the client's line if the one before it is wholly here and not partial. The first line of a
        // block may be cut, so neither it nor the one after it counts until an earlier block has been read.
        let mut starts = Vec::new();
        let mut at = 0;
        let mut may_begin = begin == 0;
        for (index, line) in tail.split(|byte| *byte == b'\n').enumerate() {
            if may_begin && !line.is_empty() {
                starts.push(at);
            }
            let cut = index == 0 && begin > 0;
            may_begin = !cut && !parser::parse(&String::from_utf8_lossy(line)).is_some_and(|line| line.partial);
            at += line.len() + 1;
        }
        let wanted = usize::try_from(lines).unwrap_or(usize::MAX);
        if starts.len() >= wanted {
            return Ok(begin + starts[starts.len() - wanted] as u64);
        }
        if begin == 0 {
            return Ok(0);
        }
    }
}

struct Formatter {
    options: Options,
    left: Option<u64>,
    /// The client has the beginning of a line whose rest follows.
    line_begun: bool,
}

impl Formatter {
    fn line(&mut self, raw: &str, out: &mut Vec<u8>) {
        let Some(line) = parser::parse(raw) else { return };
        if self.options.stream.as_deref().is_some_and(|stream| !stream.eq_ignore_ascii_case(line.stream)) {
            return;
        }
        let since = self.options.since;
        if since.is_some_and(|since| line.timestamp().is_some_and(|time| time < since)) {
            return;
        }
        let mut text = String::new();
        if self.options.timestamps && !self.line_begun {
            text.push_str(line.time);
            text.push(' ');
        }
        self.line_begun = line.partial;
        text.push_str(&line.text());
        let mut bytes = text.as_bytes();
        if let Some(left) = &mut self.left {
            bytes = &bytes[..bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX))];
            *left -= bytes.len() as u64;
        }
        out.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_all(text: &str, options: Options) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        std::fs::write(&path, text).unwrap();
        let (sink, mut source) = mpsc::channel(CHUNKS_MAX);
        let task = tokio::spawn(read(path, options, sink, || async { false }));
        let mut out = Vec::new();
        while let Some(chunk) = source.recv().await {
            out.extend_from_slice(&chunk.unwrap());
        }
        task.await.unwrap();
        String::from_utf8(out).unwrap()
    }

    const LOG: &str = "2026-01-01T00:00:01Z stdout F one\n2026-01-01T00:00:02Z stdout P tw\n\
                       2026-01-01T00:00:02Z stdout F o\n2026-01-01T00:00:03Z stderr F three\n";

    #[tokio::test]
    async fn options_choose_lines() {
        assert_eq!(read_all(LOG, Options::default()).await, "one\ntwo\nthree\n");
        let tail = |lines| Options { tail_lines: Some(lines), ..Default::default() };
        assert_eq!(read_all(LOG, tail(0)).await, "");
        assert_eq!(read_all(LOG, tail(1)).await, "three\n");
        assert_eq!(read_all(LOG, tail(2)).await, "two\nthree\n");
        assert_eq!(read_all(LOG, tail(9)).await, "one\ntwo\nthree\n");
        let since = Options { since: Some("2026-01-01T00:00:03Z".parse().unwrap()), ..Default::default() };
        assert_eq!(read_all(LOG, since).await, "three\n");
        let limit = Options { limit_bytes: Some(5), ..Default::default() };
        assert_eq!(read_all(LOG, limit).await, "one\nt");
        let stderr = Options { stream: Some("Stderr".into()), ..Default::default() };
        assert_eq!(read_all(LOG, stderr).await, "three\n");
        let times = Options { timestamps: true, tail_lines: Some(2), ..Default::default() };
        assert_eq!(read_all(LOG, times).await, "2026-01-01T00:00:02Z two\n2026-01-01T00:00:03Z three\n");
    }

    #[tokio::test]
    async fn a_long_log_is_searched_from_its_end() {
        let text: String =
            (0..5000).map(|n| format!("2026-01-01T00:00:01Z stdout F line {n} {}\n", "x".repeat(50))).collect();
        let out = read_all(&text, Options { tail_lines: Some(2000), ..Default::default() }).await;
        assert_eq!(out.lines().count(), 2000);
        assert!(out.starts_with("line 3000 "));
    }
}
