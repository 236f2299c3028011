//! Endpoint and credentials of object stores, under the names that they have for every other program: `AWS_ACCESS_KEY_ID`,
//! `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION`, `AWS_ENDPOINT_URL`, `AWS_ALLOW_HTTP`. They come from the
//! environment and from a file, which counts more; never from a command line, which everybody on the machine can read.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use object_store::aws::AmazonS3ConfigKey;

const PREFIX: &str = "AWS_";

/// Names and values. Not to be printed.
#[derive(Default)]
pub struct Settings(Vec<(String, String)>);

impl Settings {
    /// Those of the environment, and over them those of a file of lines `NAME=value`; lines that begin with `#` are comments.
    pub fn read(file: Option<&Path>) -> Result<Self> {
        let mut settings: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, _)| name.starts_with(PREFIX))
            .collect();
        if let Some(file) = file {
            let text = fs::read_to_string(file);
            let text = text.with_context(|| format!("failed to read the credentials {}", file.display()))?;
            settings
                .extend(parse(&text).with_context(|| format!("failed to read the credentials {}", file.display()))?);
        }
        Ok(Self(settings))
    }

    pub fn iter(&self) -> impl Iterator<Item = &(String, String)> {
        self.0.iter()
    }

    #[cfg(test)]
    pub fn of(text: &str) -> Self {
        Self(parse(text).unwrap())
    }
}

/// Errors name lines and settings, never values.
fn parse(text: &str) -> Result<Vec<(String, String)>> {
    let mut settings = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let (line, number) = (line.trim(), at + 1);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = line.split_once('=').with_context(|| format!("line {number} is not NAME=value"))?;
        let is_known = name.starts_with(PREFIX) && name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>().is_ok();
        ensure!(is_known, "line {number}: the name is not that of a setting such as AWS_ACCESS_KEY_ID");
        let bare = |quote| value.strip_prefix(quote).and_then(|value| value.strip_suffix(quote));
        let value = bare('"').or_else(|| bare('\'')).unwrap_or(value);
        settings.push((name.to_owned(), value.to_owned()));
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_names_and_values() {
        let text = "# of the backups\n\nAWS_ACCESS_KEY_ID=a\nexport AWS_SECRET_ACCESS_KEY=\"b=c\"\n AWS_REGION='r'\n";
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let expected = [pair("AWS_ACCESS_KEY_ID", "a"), pair("AWS_SECRET_ACCESS_KEY", "b=c"), pair("AWS_REGION", "r")];
        assert_eq!(parse(text).unwrap(), expected);
    }

    #[test]
    fn what_is_wrong_is_said_without_the_secret() {
        for wrong in ["AWS_REGION=r\nsecret", "AWS_REGION=r\nAWS_NOTHING=secret", "AWS_REGION=r\nsecret=secret"] {
            let error = parse(wrong).unwrap_err().to_string();
            assert!(error.contains("line 2") && !error.contains("secret"), "{error}");
        }
    }
}
