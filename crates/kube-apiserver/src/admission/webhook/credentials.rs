//! Who the server says it is to a webhook: users of a kubeconfig file, by the name of the server they are for.
//!
//! `svc.ns.svc`, `svc.ns.svc:8443`, `hooks.example.com`, `*.example.com`, `*`: the most exact name counts.

use serde::Deserialize;
use std::path::PathBuf;

use crate::admission::config::{ConfigError, PluginConfigs};
use crate::outbound::Kubeconfig;
use crate::outbound::kubeconfig::User;

const VERSIONS: &[&str] =
    &["apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1alpha1", "apiserver.k8s.io/v1alpha1"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WebhookAdmissionConfiguration {
    #[serde(default)]
    kube_config_file: Option<PathBuf>,
}

/// The credentials of one of the two plugins.
#[derive(Default)]
pub struct Credentials(Option<Kubeconfig>);

impl Credentials {
    pub fn open(configs: &PluginConfigs, plugin: &str) -> Result<Self, ConfigError> {
        let kind = "WebhookAdmission";
        let config: Option<WebhookAdmissionConfiguration> = match configs.of(plugin, VERSIONS, kind) {
            Err(_) => configs.of(plugin, VERSIONS, "WebhookAdmissionConfiguration")?,
            read => read?,
        };
        let Some(path) = config.and_then(|config| config.kube_config_file) else { return Ok(Self(None)) };
        if path.is_relative() {
            let reason = format!("kubeConfigFile {path:?} must be an absolute path");
            return Err(ConfigError::Plugin(plugin.to_owned(), reason));
        }
        let read = Kubeconfig::open(&path).map(Some).map(Self);
        read.map_err(|error| ConfigError::Plugin(plugin.to_owned(), error.to_string()))
    }

    /// The user for a server, by its host and port.
    pub fn of(&self, host: &str, port: u16) -> Option<(&Kubeconfig, &User)> {
        let config = self.0.as_ref()?;
        let mut names = vec![format!("{host}:{port}")];
        if port == 443 {
            names.push(host.to_owned());
        }
        let mut rest = host;
        while let Some((_, parent)) = rest.split_once('.') {
            names.push(format!("*.{parent}:{port}"));
            if port == 443 {
                names.push(format!("*.{parent}"));
            }
            rest = parent;
        }
        names.push("*".to_owned());
        names.iter().find_map(|name| config.user(name)).map(|user| (config, user))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_exact_name_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hooks.conf");
        let user = |name: &str, token: &str| format!("- name: '{name}'\n  user: {{token: {token}}}\n");
        let users = [user("a.b.svc", "one"), user("*.b.svc", "two"), user("*", "three"), user("a.b.svc:8443", "four")];
        std::fs::write(&path, format!("kind: Config\nusers:\n{}", users.concat())).unwrap();
        let credentials = Credentials(Some(Kubeconfig::open(&path).unwrap()));
        let token = |host, port| {
            let (config, user) = credentials.of(host, port).unwrap();
            config.authorization(user).unwrap().unwrap()
        };
        assert_eq!(token("a.b.svc", 443), "Bearer one");
        assert_eq!(token("x.b.svc", 443), "Bearer two");
        assert_eq!(token("x.c.svc", 443), "Bearer three");
        assert_eq!(token("a.b.svc", 8443), "Bearer four");
        assert_eq!(token("x.b.svc", 8443), "Bearer three");
    }
}
