//! Behind an authenticating proxy: the proxy's certificate vouches for the user that its headers name.
//!
//! Without that certificate the headers mean nothing, and with or without it nothing behind authentication sees them.

use http::{HeaderMap, HeaderName};
use jiff::Timestamp;
use rustls::pki_types::CertificateDer;

use super::x509::{ClientCa, ClientCaError, PeerCertificate};
use crate::request_info::percent_decode;
use crate::{Config, UserInfo};

pub struct RequestHeader {
    ca: ClientCa,
    /// Common names of proxies; any that the authority signed when empty.
    allowed_names: Vec<String>,
    username: Vec<String>,
    uid: Vec<String>,
    group: Vec<String>,
    extra_prefix: Vec<String>,
}

impl RequestHeader {
    /// None where no authority of proxies is configured.
    pub fn open(config: &Config) -> Result<Option<Self>, ClientCaError> {
        let Some(file) = &config.requestheader_client_ca_file else { return Ok(None) };
        let lower = |names: &[String]| names.iter().map(|name| name.to_lowercase()).collect();
        Ok(Some(Self {
            ca: ClientCa::open(file)?,
            allowed_names: config.requestheader_allowed_names.clone(),
            username: lower(&config.requestheader_username_headers),
            uid: lower(&config.requestheader_uid_headers),
            group: lower(&config.requestheader_group_headers),
            extra_prefix: lower(&config.requestheader_extra_headers_prefix),
        }))
    }

    pub fn ca(&self) -> &ClientCa {
        &self.ca
    }

    /// What the connection's certificate is by the proxies' authority.
    pub fn judge(&self, chain: Option<&[CertificateDer<'_>]>, now: Timestamp) -> PeerCertificate {
        self.ca.judge(chain, now)
    }

    /// The user that a proxy vouches for. Takes the headers away whoever sent them.
    pub fn user(
        &self,
        headers: &mut HeaderMap,
        proxy: &PeerCertificate,
        now: Timestamp,
    ) -> Result<Option<UserInfo>, String> {
        let named = self.take(headers);
        let PeerCertificate::Valid(identity) = proxy else { return Ok(None) };
        let Some(proxy) = identity.user_at(now) else {
            return Err("x509: the certificate of the proxy has expired".to_owned());
        };
        if !self.allowed_names.is_empty() && !self.allowed_names.contains(&proxy.name) {
            return Err(format!("x509: subject with cn={} is not in the allowed list", proxy.name));
        }
        Ok(Some(named).filter(|user| !user.name.is_empty()))
    }

    fn take(&self, headers: &mut HeaderMap) -> UserInfo {
        let mut user = UserInfo::default();
        let is_prefixed = |name: &HeaderName| self.extra_prefix.iter().any(|prefix| name.as_str().starts_with(prefix));
        let extra: Vec<HeaderName> = headers.keys().filter(|name| is_prefixed(name)).cloned().collect();
        user.name = first(headers, &self.username).unwrap_or_default();
        user.uid = first(headers, &self.uid);
        user.groups = self.group.iter().flat_map(|name| values(headers, name)).collect();
        for name in extra {
            let stripped = self.extra_prefix.iter().find_map(|prefix| name.as_str().strip_prefix(prefix.as_str()));
            let key = stripped.unwrap_or_default();
            let key = percent_decode(key).unwrap_or_else(|| key.to_owned());
            user.extra.entry(key).or_default().extend(values(headers, name.as_str()));
            headers.remove(&name);
        }
        for name in self.username.iter().chain(&self.uid).chain(&self.group) {
            headers.remove(name.as_str());
        }
        user
    }
}

fn values(headers: &HeaderMap, name: &str) -> Vec<String> {
    let all = headers.get_all(name).iter();
    all.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).filter(|value| !value.is_empty()).collect()
}

fn first(headers: &HeaderMap, names: &[String]) -> Option<String> {
    names.iter().find_map(|name| values(headers, name).into_iter().next())
}
