//! `--admission-control-config-file`: an AdmissionConfiguration names, for single plugins, either a file or the
//! configuration itself. What a plugin is not told, it takes by default; what it is told wrongly, fails the start.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use machinery::codec::{self, Limits};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("unable to read admission control configuration from {0:?}")]
    Read(PathBuf, #[source] std::io::Error),
    #[error("admission control configuration {0:?}: {1}")]
    Decode(PathBuf, String),
    #[error("configuration of the admission plugin {0:?}: {1}")]
    Plugin(String, String),
}

/// What single plugins are told, by their names.
#[derive(Debug, Default)]
pub struct PluginConfigs {
    plugins: BTreeMap<String, Value>,
    folder: PathBuf,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AdmissionConfiguration {
    #[serde(rename = "apiVersion")]
    api_version: String,
    kind: String,
    #[serde(default)]
    plugins: Vec<PluginConfiguration>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PluginConfiguration {
    name: String,
    #[serde(default)]
    path: String,
    #[serde(default)]
    configuration: Option<Value>,
}

impl PluginConfigs {
    pub fn open(path: Option<&Path>) -> Result<Self, ConfigError> {
        let Some(path) = path else { return Ok(Self::default()) };
        let fail = |reason: String| ConfigError::Decode(path.to_owned(), reason);
        let file: AdmissionConfiguration = serde_json::from_value(read(path)?).map_err(|e| fail(e.to_string()))?;
        let known = ["apiserver.config.k8s.io/v1", "apiserver.k8s.io/v1alpha1"];
        if !known.contains(&file.api_version.as_str()) || file.kind != "AdmissionConfiguration" {
            return Err(fail(format!("no kind {:?} is registered for version {:?}", file.kind, file.api_version)));
        }
        let mut configs = BTreeMap::new();
        for plugin in file.plugins {
            let config = match (plugin.configuration, plugin.path.as_str()) {
                (Some(config), _) => config,
                (None, "") => continue,
                // Beside the file that names it, unless it says otherwise.
                (None, own) => read(&path.parent().unwrap_or(Path::new("")).join(own))?,
            };
            if configs.insert(plugin.name.clone(), config).is_some() {
                return Err(fail(format!("plugin {:?} is configured twice", plugin.name)));
            }
        }
        Ok(Self { plugins: configs, folder: path.parent().unwrap_or(Path::new("")).to_owned() })
    }

    /// The configuration of a plugin, without what says of which kind it is; none where it was told nothing.
    pub fn of<T: DeserializeOwned>(
        &self,
        plugin: &str,
        versions: &[&str],
        kind: &str,
    ) -> Result<Option<T>, ConfigError> {
        let fail = |reason: String| ConfigError::Plugin(plugin.to_owned(), reason);
        let Some(mut config) = self.plugins.get(plugin).cloned() else { return Ok(None) };
        let Some(fields) = config.as_object_mut() else { return Err(fail("it is not a mapping".to_owned())) };
        let mut take = |field: &str| fields.shift_remove(field).and_then(|value| value.as_str().map(str::to_owned));
        let (version, own) = (take("apiVersion").unwrap_or_default(), take("kind").unwrap_or_default());
        if !versions.contains(&version.as_str()) || own != kind {
            return Err(fail(format!("no kind {own:?} is registered for version {version:?}")));
        }
        serde_json::from_value(config).map(Some).map_err(|error| fail(error.to_string()))
    }

    /// Where the file is: what it names, it names from there.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The configuration of a plugin whose configuration has no kind.
    pub fn raw<T: DeserializeOwned>(&self, plugin: &str) -> Result<Option<T>, ConfigError> {
        let Some(config) = self.plugins.get(plugin).cloned() else { return Ok(None) };
        let read = serde_json::from_value(config).map(Some);
        read.map_err(|error| ConfigError::Plugin(plugin.to_owned(), error.to_string()))
    }
}

fn read(path: &Path) -> Result<Value, ConfigError> {
    let text = std::fs::read(path).map_err(|error| ConfigError::Read(path.to_owned(), error))?;
    let parsed = codec::yaml::parse(&text, Limits::default());
    parsed.map(|parsed| parsed.value).map_err(|error| ConfigError::Decode(path.to_owned(), error))
}
