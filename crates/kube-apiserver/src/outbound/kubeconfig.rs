//! kubeconfig files as the server's own configuration uses them: which credentials go to which server.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use machinery::codec::{self, Limits};
use serde::Deserialize;

#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    #[error("failed to read {0}")]
    Read(PathBuf, #[source] std::io::Error),
    #[error("{0} is no kubeconfig: {1}")]
    Decode(PathBuf, String),
}

/// Both in PEM.
pub type CertificateAndKey = (Vec<u8>, Vec<u8>);

/// A kubeconfig; its file names are relative to it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Kubeconfig {
    #[serde(default)]
    pub clusters: Vec<NamedCluster>,
    #[serde(default)]
    pub users: Vec<NamedUser>,
    #[serde(default)]
    pub contexts: Vec<NamedContext>,
    #[serde(default)]
    pub current_context: String,
    #[serde(skip)]
    folder: PathBuf,
}

#[derive(Debug, Deserialize)]
pub struct NamedCluster {
    pub name: String,
    pub cluster: Cluster,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Cluster {
    pub server: String,
    pub tls_server_name: String,
    pub insecure_skip_tls_verify: bool,
    pub certificate_authority: Option<PathBuf>,
    pub certificate_authority_data: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct NamedUser {
    pub name: String,
    pub user: User,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct User {
    client_certificate: Option<PathBuf>,
    client_certificate_data: Option<String>,
    client_key: Option<PathBuf>,
    client_key_data: Option<String>,
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<PathBuf>,
    username: Option<String>,
    password: Option<String>,
}

/// What is secret is not shown.
impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User").field("client_certificate", &self.client_certificate).finish_non_exhaustive()
    }
}

#[derive(Debug, Deserialize)]
pub struct NamedContext {
    pub name: String,
    pub context: Context,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Context {
    pub cluster: String,
    pub user: String,
}

impl Kubeconfig {
    pub fn open(path: &Path) -> Result<Self, KubeconfigError> {
        let text = std::fs::read(path).map_err(|error| KubeconfigError::Read(path.to_owned(), error))?;
        let fail = |reason: String| KubeconfigError::Decode(path.to_owned(), reason);
        let parsed = codec::yaml::parse(&text, Limits::default()).map_err(fail)?;
        let mut config: Self = serde_json::from_value(parsed.value).map_err(|error| fail(error.to_string()))?;
        config.folder = path.parent().unwrap_or(Path::new("")).to_owned();
        Ok(config)
    }

    /// The cluster and the user of the current context.
    pub fn current(&self) -> Option<(&Cluster, Option<&User>)> {
        let context = &self.contexts.iter().find(|context| context.name == self.current_context)?.context;
        let cluster = &self.clusters.iter().find(|cluster| cluster.name == context.cluster)?.cluster;
        Some((cluster, self.user(&context.user)))
    }

    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|user| user.name == name).map(|user| &user.user)
    }

    /// The certificate and key of a user, in PEM.
    pub fn identity(&self, user: &User) -> Result<Option<CertificateAndKey>, KubeconfigError> {
        let certificate = self.bytes(user.client_certificate_data.as_deref(), user.client_certificate.as_deref())?;
        let key = self.bytes(user.client_key_data.as_deref(), user.client_key.as_deref())?;
        Ok(certificate.zip(key))
    }

    /// The authority of a cluster, in PEM.
    pub fn authority(&self, cluster: &Cluster) -> Result<Option<Vec<u8>>, KubeconfigError> {
        self.bytes(cluster.certificate_authority_data.as_deref(), cluster.certificate_authority.as_deref())
    }

    /// The `Authorization` header of a user. A token in a file is read each time: it may be renewed.
    pub fn authorization(&self, user: &User) -> Result<Option<String>, KubeconfigError> {
        let token = match (&user.token_file, &user.token) {
            (Some(file), _) => {
                let path = self.folder.join(file);
                let token = std::fs::read_to_string(&path).map_err(|error| KubeconfigError::Read(path, error))?;
                Some(token.trim().to_owned())
            }
            (None, token) => token.clone(),
        };
        if let Some(token) = token.filter(|token| !token.is_empty()) {
            return Ok(Some(format!("Bearer {token}")));
        }
        let Some(name) = &user.username else { return Ok(None) };
        let pair = format!("{name}:{}", user.password.as_deref().unwrap_or_default());
        Ok(Some(format!("Basic {}", STANDARD.encode(pair))))
    }

    /// Data in the file itself counts before a file it names.
    fn bytes(&self, data: Option<&str>, file: Option<&Path>) -> Result<Option<Vec<u8>>, KubeconfigError> {
        match (data, file) {
            (Some(data), _) if !data.is_empty() => {
                let decoded = STANDARD.decode(data);
                decoded.map(Some).map_err(|error| KubeconfigError::Decode(self.folder.clone(), error.to_string()))
            }
            (_, Some(file)) => {
                let path = self.folder.join(file);
                std::fs::read(&path).map(Some).map_err(|error| KubeconfigError::Read(path, error))
            }
            _ => Ok(None),
        }
    }
}
