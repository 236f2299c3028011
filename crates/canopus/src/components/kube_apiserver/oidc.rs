//! `--oidc-*`: the one issuer of tokens that flags can name.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use kube_apiserver::authentication::jwt::settings::OidcFlags;

#[derive(Debug, clap::Args)]
pub struct Oidc {
    /// URL of the issuer of tokens (OpenID Connect) that are accepted; https only
    #[arg(long, value_name = "URL", conflicts_with = "authentication_config")]
    oidc_issuer_url: Option<String>,
    /// The audience that such tokens must be for
    #[arg(long, value_name = "NAME", conflicts_with = "authentication_config")]
    oidc_client_id: Option<String>,
    /// File with the authority of the issuer's certificate; the machine's authorities without it
    #[arg(long, value_name = "FILE", conflicts_with = "authentication_config")]
    oidc_ca_file: Option<PathBuf>,
    /// The claim that is the user's name [default: sub]
    #[arg(long, value_name = "CLAIM", conflicts_with = "authentication_config")]
    oidc_username_claim: Option<String>,
    /// What names are prefixed with: the issuer's URL unless set, nothing if set to -
    #[arg(long, value_name = "PREFIX", conflicts_with = "authentication_config")]
    oidc_username_prefix: Option<String>,
    /// The claim that is the user's groups
    #[arg(long, value_name = "CLAIM", conflicts_with = "authentication_config")]
    oidc_groups_claim: Option<String>,
    /// What groups are prefixed with
    #[arg(long, value_name = "PREFIX", conflicts_with = "authentication_config")]
    oidc_groups_prefix: Option<String>,
    /// Algorithms of signatures that are accepted [default: RS256]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', conflicts_with = "authentication_config")]
    oidc_signing_algs: Vec<String>,
    /// A claim and the value that it must have; may be repeated
    #[arg(long, value_name = "CLAIM=VALUE", value_delimiter = ',', conflicts_with = "authentication_config")]
    oidc_required_claim: Vec<String>,
}

impl Oidc {
    /// Nothing where no flag is set.
    pub fn read(self) -> Result<Option<OidcFlags>> {
        let others = [
            self.oidc_username_claim.is_some(),
            self.oidc_username_prefix.is_some(),
            self.oidc_groups_claim.is_some(),
            self.oidc_groups_prefix.is_some(),
            self.oidc_ca_file.is_some(),
            !self.oidc_signing_algs.is_empty(),
            !self.oidc_required_claim.is_empty(),
        ];
        let (issuer_url, client_id) = match (self.oidc_issuer_url, self.oidc_client_id) {
            (Some(issuer_url), Some(client_id)) => (issuer_url, client_id),
            (None, None) if !others.contains(&true) => return Ok(None),
            _ => bail!("oidc-issuer-url and oidc-client-id must be specified together when any oidc-* flags are set"),
        };
        let read = |path: &PathBuf| {
            std::fs::read_to_string(path).with_context(|| format!("failed to read --oidc-ca-file {}", path.display()))
        };
        let mut required_claims = Vec::new();
        for pair in &self.oidc_required_claim {
            let Some((claim, value)) = pair.split_once('=') else {
                bail!("malformed pair, expect string=string: {pair}");
            };
            required_claims.push((claim.trim().to_owned(), value.trim().to_owned()));
        }
        let signing_algs = match self.oidc_signing_algs {
            given if given.is_empty() => vec!["RS256".to_owned()],
            given => given,
        };
        Ok(Some(OidcFlags {
            issuer_url,
            client_id,
            ca: self.oidc_ca_file.as_ref().map(read).transpose()?.unwrap_or_default(),
            username_claim: self.oidc_username_claim.unwrap_or_else(|| "sub".to_owned()),
            username_prefix: self.oidc_username_prefix.unwrap_or_default(),
            groups_claim: self.oidc_groups_claim.unwrap_or_default(),
            groups_prefix: self.oidc_groups_prefix.unwrap_or_default(),
            signing_algs,
            required_claims,
        }))
    }
}
