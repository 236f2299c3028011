//! The cluster's own certificate authority and the certificates and keys it issues, made at the first start and kept.
//! Names and subjects are kubeadm's, so that its documentation applies. Private keys are readable by their owner alone.

use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256, RsaKeySize, SanType,
};

const AUTHORITY_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
const CERTIFICATE_LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);
/// A certificate with less than this left is issued anew at the next start.
const RENEW_BEFORE: Duration = Duration::from_secs(90 * 24 * 3600);
/// Clocks differ: certificates are valid from a little before they are made.
const BACKDATE: Duration = Duration::from_secs(300);

/// What a certificate is for.
pub enum Usage {
    Client,
    /// Names and addresses that the server answers at.
    Server(Vec<String>),
}

/// A PEM certificate and its PEM key.
pub struct Credentials {
    pub certificate: String,
    pub key: String,
}

/// The folder of certificates and keys of one cluster.
pub struct Pki {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Pki {
    /// Opens the folder; the authority and the service accounts' signing key are made if they are not there.
    pub fn open(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("failed to make {}", folder.display()))?;
        let (certificate_file, key_file) = (folder.join("ca.crt"), folder.join("ca.key"));
        if !certificate_file.exists() {
            let (certificate, key) = make_authority()?;
            write_private(&key_file, &key)?;
            write_public(&certificate_file, &certificate)?;
        }
        let service_account_key = folder.join("sa.key");
        if !service_account_key.exists() {
            // Some of those who verify such tokens outside of the cluster take RS256 alone (Azure's federation does).
            let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)
                .context("failed to make the service accounts' signing key")?;
            write_public(&folder.join("sa.pub"), &key.public_key_pem())?;
            write_private(&service_account_key, &key.serialize_pem())?;
        }
        let key =
            KeyPair::from_pem(&read(&key_file)?).with_context(|| format!("failed to read {}", key_file.display()))?;
        let issuer = Issuer::from_ca_cert_pem(&read(&certificate_file)?, key)
            .with_context(|| format!("failed to read {}", certificate_file.display()))?;
        Ok(Self { folder: folder.to_path_buf(), issuer })
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    /// The authority's certificate, PEM.
    pub fn authority(&self) -> Result<String> {
        read(&self.path("ca.crt"))
    }

    /// `NAME.crt` and `NAME.key`: kept while they are valid, of this authority and for these names, else issued anew.
    pub fn ensure(
        &self,
        name: &str,
        common_name: &str,
        organizations: &[&str],
        usage: Usage,
    ) -> Result<(PathBuf, PathBuf)> {
        let (certificate_file, key_file) = (self.path(&format!("{name}.crt")), self.path(&format!("{name}.key")));
        if key_file.exists() && certificate_file.exists() && self.still_good(&certificate_file, &usage)? {
            return Ok((certificate_file, key_file));
        }
        let made =
            self.issue(common_name, organizations, usage).with_context(|| format!("failed to issue {name}.crt"))?;
        write_private(&key_file, &made.key)?;
        write_public(&certificate_file, &made.certificate)?;
        Ok((certificate_file, key_file))
    }

    /// Issues a certificate with a new key.
    pub fn issue(&self, common_name: &str, organizations: &[&str], usage: Usage) -> Result<Credentials> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = DistinguishedName::new();
        parameters.distinguished_name.push(DnType::CommonName, common_name);
        for organization in organizations {
            parameters.distinguished_name.push(DnType::OrganizationName, *organization);
        }
        set_validity(&mut parameters, CERTIFICATE_LIFETIME);
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        match usage {
            Usage::Client => parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth],
            Usage::Server(names) => {
                parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
                for name in names {
                    parameters.subject_alt_names.push(match name.parse::<IpAddr>() {
                        Ok(address) => SanType::IpAddress(address),
                        Err(_) => SanType::DnsName(
                            name.as_str().try_into().with_context(|| format!("{name:?} is not a DNS name"))?,
                        ),
                    });
                }
            }
        }
        let key = KeyPair::generate()?;
        let certificate = parameters.signed_by(&key, &self.issuer)?;
        Ok(Credentials { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    fn still_good(&self, certificate_file: &Path, usage: &Usage) -> Result<bool> {
        let text = read(certificate_file)?;
        let authority = self.authority()?;
        let (Ok((_, pem)), Ok((_, authority))) =
            (x509_parser::pem::parse_x509_pem(text.as_bytes()), x509_parser::pem::parse_x509_pem(authority.as_bytes()))
        else {
            return Ok(false);
        };
        let (Ok(certificate), Ok(authority)) = (pem.parse_x509(), authority.parse_x509()) else { return Ok(false) };
        let left_seconds = certificate.validity().time_to_expiration().map_or(0, |left| left.whole_seconds());
        if left_seconds < RENEW_BEFORE.as_secs() as i64
            || certificate.verify_signature(Some(authority.public_key())).is_err()
        {
            return Ok(false);
        }
        let Usage::Server(names) = usage else { return Ok(true) };
        let Ok(Some(alternatives)) = certificate.subject_alternative_name() else { return Ok(false) };
        let present: Vec<String> = alternatives.value.general_names.iter().filter_map(alternative_name).collect();
        Ok(names.iter().all(|name| present.contains(name)))
    }
}

/// Issues certificates for keys that others have: what `--cluster-signing-cert-file` and its key are for.
pub struct Signer {
    issuer: Issuer<'static, KeyPair>,
    /// When the authority itself expires; nothing that it issues lives longer.
    expires: SystemTime,
}

impl Signer {
    pub fn open(certificate_file: &Path, key_file: &Path) -> Result<Self> {
        let key =
            KeyPair::from_pem(&read(key_file)?).with_context(|| format!("failed to read {}", key_file.display()))?;
        let certificate = read(certificate_file)?;
        let failed = || format!("failed to read {}", certificate_file.display());
        let issuer = Issuer::from_ca_cert_pem(&certificate, key).with_context(failed)?;
        let expires = machinery::certificates::not_after(certificate.as_bytes()).with_context(failed)?;
        Ok(Self { issuer, expires: expires.into() })
    }

    /// The certificate in PEM that a request in PEM asks for, for these usages and so long.
    pub fn sign(&self, request: &[u8], usages: &[&str], lifetime: Duration) -> Result<Vec<u8>> {
        let text = std::str::from_utf8(request).context("the request is no text")?;
        let mut request = CertificateSigningRequestParams::from_pem(text).context("failed to read the request")?;
        let parameters = &mut request.params;
        set_validity(parameters, lifetime);
        parameters.not_after = parameters.not_after.min(self.expires.into());
        parameters.is_ca = IsCa::ExplicitNoCa;
        parameters.use_authority_key_identifier_extension = true;
        parameters.key_usages = usages.iter().filter_map(|usage| key_usage(usage)).collect();
        parameters.extended_key_usages = usages.iter().filter_map(|usage| extended_usage(usage)).collect();
        let certificate = request.signed_by(&self.issuer).context("failed to sign the certificate")?;
        Ok(certificate.pem().into_bytes())
    }
}

/// What a key may do, by the words of a CertificateSigningRequest.
fn key_usage(usage: &str) -> Option<KeyUsagePurpose> {
    Some(match usage {
        "signing" | "digital signature" => KeyUsagePurpose::DigitalSignature,
        "content commitment" => KeyUsagePurpose::ContentCommitment,
        "key encipherment" => KeyUsagePurpose::KeyEncipherment,
        "key agreement" => KeyUsagePurpose::KeyAgreement,
        "data encipherment" => KeyUsagePurpose::DataEncipherment,
        "cert sign" => KeyUsagePurpose::KeyCertSign,
        "crl sign" => KeyUsagePurpose::CrlSign,
        "encipher only" => KeyUsagePurpose::EncipherOnly,
        "decipher only" => KeyUsagePurpose::DecipherOnly,
        _ => return None,
    })
}

fn extended_usage(usage: &str) -> Option<ExtendedKeyUsagePurpose> {
    Some(match usage {
        "any" => ExtendedKeyUsagePurpose::Any,
        "server auth" => ExtendedKeyUsagePurpose::ServerAuth,
        "client auth" => ExtendedKeyUsagePurpose::ClientAuth,
        "code signing" => ExtendedKeyUsagePurpose::CodeSigning,
        "email protection" | "s/mime" => ExtendedKeyUsagePurpose::EmailProtection,
        "timestamping" => ExtendedKeyUsagePurpose::TimeStamping,
        "ocsp signing" => ExtendedKeyUsagePurpose::OcspSigning,
        "ipsec end system" => ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 5, 5, 7, 3, 5]),
        "ipsec tunnel" => ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 5, 5, 7, 3, 6]),
        "ipsec user" => ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 5, 5, 7, 3, 7]),
        "microsoft sgc" => ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 4, 1, 311, 10, 3, 3]),
        "netscape sgc" => ExtendedKeyUsagePurpose::Other(vec![2, 16, 840, 1, 113_730, 4, 1]),
        _ => return None,
    })
}

fn alternative_name(name: &x509_parser::extensions::GeneralName<'_>) -> Option<String> {
    match name {
        x509_parser::extensions::GeneralName::DNSName(name) => Some((*name).to_owned()),
        x509_parser::extensions::GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => Some(IpAddr::from(<[u8; 4]>::try_from(*bytes).ok()?).to_string()),
            16 => Some(IpAddr::from(<[u8; 16]>::try_from(*bytes).ok()?).to_string()),
            _ => None,
        },
        _ => None,
    }
}

fn make_authority() -> Result<(String, String)> {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, "kubernetes");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages =
        vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_validity(&mut parameters, AUTHORITY_LIFETIME);
    let key = KeyPair::generate().context("failed to make the authority's key")?;
    let certificate = parameters.self_signed(&key).context("failed to sign the authority's certificate")?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn set_validity(parameters: &mut CertificateParams, lifetime: Duration) {
    let now = SystemTime::now();
    parameters.not_before = (now - BACKDATE).into();
    parameters.not_after = (now + lifetime).into();
}

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))
}

pub fn write_public(file: &Path, text: &str) -> Result<()> {
    write(file, text, 0o644)
}

/// Writes a file that nobody but its owner can read, from its first moment on.
pub fn write_private(file: &Path, text: &str) -> Result<()> {
    write(file, text, 0o600)
}

/// By rename, so that a reader or a crash never meets half a file.
fn write(file: &Path, text: &str, mode: u32) -> Result<()> {
    use std::io::Write;
    let mut partial = file.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let _ = std::fs::remove_file(&partial);
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&partial)
        .and_then(|mut output| output.write_all(text.as_bytes()).and_then(|()| output.sync_all()))
        .and_then(|()| std::fs::rename(&partial, file))
        .with_context(|| format!("failed to write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn certificates_are_kept_until_their_names_change() {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::open(folder.path()).unwrap();
        let names = |names: &[&str]| Usage::Server(names.iter().map(|name| (*name).to_owned()).collect());
        let (file, _) = pki.ensure("apiserver", "kube-apiserver", &[], names(&["kubernetes", "10.96.0.1"])).unwrap();
        let first = std::fs::read_to_string(&file).unwrap();
        let pki = Pki::open(folder.path()).unwrap();
        pki.ensure("apiserver", "kube-apiserver", &[], names(&["10.96.0.1"])).unwrap();
        assert_eq!(first, std::fs::read_to_string(&file).unwrap());
        pki.ensure("apiserver", "kube-apiserver", &[], names(&["10.96.0.1", "other"])).unwrap();
        assert_ne!(first, std::fs::read_to_string(&file).unwrap());
    }

    #[test]
    fn a_certificate_of_another_authority_is_replaced() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let pki = Pki::open(one.path()).unwrap();
        Pki::open(other.path()).unwrap().ensure("admin", "admin", &["system:masters"], Usage::Client).unwrap();
        for file in ["admin.crt", "admin.key"] {
            std::fs::copy(other.path().join(file), one.path().join(file)).unwrap();
        }
        let before = std::fs::read_to_string(one.path().join("admin.crt")).unwrap();
        pki.ensure("admin", "admin", &["system:masters"], Usage::Client).unwrap();
        assert_ne!(before, std::fs::read_to_string(one.path().join("admin.crt")).unwrap());
    }

    #[test]
    fn a_signed_certificate_is_what_the_request_asks_for() {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::open(folder.path()).unwrap();
        let signer = Signer::open(&pki.path("ca.crt"), &pki.path("ca.key")).unwrap();
        let mut wanted = CertificateParams::new(vec!["node-1".to_owned()]).unwrap();
        wanted.distinguished_name = DistinguishedName::new();
        wanted.distinguished_name.push(DnType::CommonName, "system:node:node-1");
        let request = wanted.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
        let usages = ["digital signature", "server auth"];
        let issued = signer.sign(request.as_bytes(), &usages, Duration::from_secs(3600)).unwrap();
        let (_, pem) = x509_parser::pem::parse_x509_pem(&issued).unwrap();
        let certificate = pem.parse_x509().unwrap();
        assert_eq!(certificate.subject().to_string(), "CN=system:node:node-1");
        let left = certificate.validity().time_to_expiration().unwrap().whole_seconds();
        assert!((3500..=3600).contains(&left), "{left}");
        assert!(!certificate.is_ca());
        let extended = certificate.extended_key_usage().unwrap().unwrap().value;
        assert!(extended.server_auth && !extended.client_auth);
        let authority = pki.authority().unwrap();
        let (_, authority) = x509_parser::pem::parse_x509_pem(authority.as_bytes()).unwrap();
        let authority = authority.parse_x509().unwrap();
        certificate.verify_signature(Some(authority.public_key())).unwrap();
        // Nothing outlives the authority.
        let long = signer.sign(request.as_bytes(), &usages, Duration::from_secs(20 * 365 * 24 * 3600)).unwrap();
        let (_, pem) = x509_parser::pem::parse_x509_pem(&long).unwrap();
        let long = pem.parse_x509().unwrap();
        assert_eq!(long.validity().not_after, authority.validity().not_after);
    }

    #[test]
    fn tokens_are_signed_with_rsa_and_a_key_that_is_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let made = |file: &str| std::fs::read_to_string(folder.path().join(file)).unwrap();
        Pki::open(folder.path()).unwrap();
        let key = KeyPair::from_pem(&made("sa.key")).unwrap();
        assert_eq!((key.algorithm(), key.public_key_pem()), (&PKCS_RSA_SHA256, made("sa.pub")));
        let own = KeyPair::generate().unwrap().serialize_pem();
        write_private(&folder.path().join("sa.key"), &own).unwrap();
        Pki::open(folder.path()).unwrap();
        assert_eq!(made("sa.key"), own);
    }

    #[test]
    fn private_keys_are_for_their_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        Pki::open(folder.path()).unwrap().ensure("admin", "admin", &[], Usage::Client).unwrap();
        for file in ["ca.key", "sa.key", "admin.key"] {
            assert_eq!(
                std::fs::metadata(folder.path().join(file)).unwrap().permissions().mode() & 0o777,
                0o600,
                "{file}"
            );
        }
    }
}
