//! What PodSecurity is told: the policy of namespaces without labels, and who is exempt.

use machinery::field::{Error, ErrorList, Path};
use machinery::names;
use serde::Deserialize;

use super::policy::{Level, LevelVersion, Policy, Version};
use crate::admission::config::{ConfigError, PluginConfigs};

const NAME: &str = "PodSecurity";
const KIND: &str = "PodSecurityConfiguration";
const VERSIONS: [&str; 3] = [
    "pod-security.admission.config.k8s.io/v1",
    "pod-security.admission.config.k8s.io/v1beta1",
    "pod-security.admission.config.k8s.io/v1alpha1",
];

pub struct Settings {
    pub defaults: Policy,
    pub exempt: Exemptions,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Exemptions {
    pub usernames: Vec<String>,
    pub namespaces: Vec<String>,
    pub runtime_classes: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    defaults: Defaults,
    exemptions: Exemptions,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
struct Defaults {
    enforce: String,
    enforce_version: String,
    audit: String,
    audit_version: String,
    warn: String,
    warn_version: String,
}

impl Settings {
    pub fn open(configs: &PluginConfigs) -> Result<Self, ConfigError> {
        let file: File = configs.of(NAME, &VERSIONS, KIND)?.unwrap_or_default();
        let mut errors = ErrorList::new();
        let given = &file.defaults;
        let mut mode = |name: &str, level: &str, version: &str| mode(name, level, version, &mut errors);
        let enforce = mode("enforce", &given.enforce, &given.enforce_version);
        let warn = mode("warn", &given.warn, &given.warn_version);
        let audit = mode("audit", &given.audit, &given.audit_version);
        file.exemptions.check(&mut errors);
        if errors.is_empty() {
            return Ok(Self { defaults: Policy { enforce, audit, warn }, exempt: file.exemptions });
        }
        Err(ConfigError::Plugin(NAME.to_owned(), machinery::field::aggregate(&errors)))
    }
}

/// A mode that is not named is privileged in its latest version.
fn mode(name: &str, level: &str, version: &str, errors: &mut ErrorList) -> LevelVersion {
    let defaults = Path::new("defaults");
    let mut read = LevelVersion::PRIVILEGED;
    if !level.is_empty() {
        match Level::parse(level) {
            Ok(level) => read.level = level,
            Err(detail) => errors.push(Error::invalid(&defaults.child(name), level, detail)),
        }
    }
    if !version.is_empty() {
        let field = format!("{name}-version");
        match Version::parse(version) {
            Ok(version) => read.version = version,
            Err(detail) => errors.push(Error::invalid(&defaults.child(&field), version, detail)),
        }
    }
    read
}

impl Exemptions {
    fn check(&self, errors: &mut ErrorList) {
        let username = |name: &str| match name {
            "" => vec!["username must not be empty".to_owned()],
            _ => Vec::new(),
        };
        check_names("namespaces", &self.namespaces, names::is_dns1123_label, errors);
        check_names("runtimeClasses", &self.runtime_classes, names::is_dns1123_subdomain, errors);
        check_names("usernames", &self.usernames, username, errors);
    }

    pub fn has_namespace(&self, name: &str) -> bool {
        self.namespaces.iter().any(|own| own == name)
    }

    pub fn has_user(&self, name: &str) -> bool {
        self.usernames.iter().any(|own| own == name)
    }

    pub fn has_runtime_class(&self, name: Option<&String>) -> bool {
        name.is_some_and(|name| self.runtime_classes.contains(name))
    }
}

fn check_names(list: &str, names: &[String], faults: impl Fn(&str) -> Vec<String>, errors: &mut ErrorList) {
    let exemptions = Path::new("exemptions");
    let path = exemptions.child(list);
    for (at, name) in names.iter().enumerate() {
        let faults = faults(name);
        if !faults.is_empty() {
            errors.push(Error::invalid(&path.index(at), name.as_str(), faults.join(", ")));
        } else if names[..at].contains(name) {
            errors.push(Error::duplicate(&path.index(at), name.as_str()));
        }
    }
}
