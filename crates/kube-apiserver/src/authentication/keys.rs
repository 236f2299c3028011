//! Keys of ServiceAccount tokens: RSA (RS256) and elliptic curves (ES256, ES384), from PEM files.
//!
//! A key's id is the hash of its public half, as upstream computes it, so that both sides name a key alike.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use rcgen::PublicKeyData as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("no usable key in the file")]
    NoKey,
    #[error("failed to read the private key")]
    Private(#[source] rcgen::Error),
    #[error("failed to prepare the private key: {0}")]
    Prepare(String),
    #[error("failed to read the public key")]
    Public,
    #[error("the key is neither RSA nor on the curves P-256 or P-384")]
    Unsupported,
}

pub struct VerifyingKey {
    pub id: String,
    pub algorithm: Algorithm,
    pub decoding: DecodingKey,
    /// As published at `/openid/v1/jwks`.
    pub jwk: Value,
}

pub struct SigningKey {
    pub encoding: EncodingKey,
    pub verifying: VerifyingKey,
}

impl SigningKey {
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyError> {
        let private = PrivateKeyDer::from_pem_slice(pem).map_err(|_| KeyError::NoKey)?;
        let verifying = VerifyingKey::of_private(&private)?;
        let prepare = |error: &dyn std::fmt::Display| KeyError::Prepare(error.to_string());
        let encoding = match verifying.algorithm {
            Algorithm::RS256 => EncodingKey::from_rsa_pem(pem).map_err(|error| prepare(&error))?,
            Algorithm::ES256 => ec_encoding(&private, &ECDSA_P256_SHA256_FIXED_SIGNING)?,
            _ => ec_encoding(&private, &ECDSA_P384_SHA384_FIXED_SIGNING)?,
        };
        Ok(Self { encoding, verifying })
    }
}

/// The signer takes PKCS#8 only; files may hold SEC1.
fn ec_encoding(key: &PrivateKeyDer, algorithm: &'static EcdsaSigningAlgorithm) -> Result<EncodingKey, KeyError> {
    let prepare = |error: &dyn std::fmt::Display| KeyError::Prepare(error.to_string());
    if let PrivateKeyDer::Pkcs8(der) = key {
        return Ok(EncodingKey::from_ec_der(der.secret_pkcs8_der()));
    }
    let pair = EcdsaKeyPair::from_private_key_der(algorithm, key.secret_der()).map_err(|error| prepare(&error))?;
    let der = pair.to_pkcs8v1().map_err(|error| prepare(&error))?;
    Ok(EncodingKey::from_ec_der(der.as_ref()))
}

impl VerifyingKey {
    /// All keys of a file: public ones, and the public halves of private ones.
    pub fn all_from_pem(pem: &[u8]) -> Result<Vec<Self>, KeyError> {
        let mut keys = Vec::new();
        for public in SubjectPublicKeyInfoDer::pem_slice_iter(pem) {
            keys.push(Self::of_public(&public.map_err(|_| KeyError::Public)?)?);
        }
        for private in PrivateKeyDer::pem_slice_iter(pem) {
            keys.push(Self::of_private(&private.map_err(|_| KeyError::NoKey)?)?);
        }
        if keys.is_empty() { Err(KeyError::NoKey) } else { Ok(keys) }
    }

    fn of_private(private: &PrivateKeyDer) -> Result<Self, KeyError> {
        let pair = rcgen::KeyPair::try_from(private).map_err(KeyError::Private)?;
        Self::of_public(&pair.subject_public_key_info())
    }

    fn of_public(der: &[u8]) -> Result<Self, KeyError> {
        let (_, info) = SubjectPublicKeyInfo::from_der(der).map_err(|_| KeyError::Public)?;
        let id = URL_SAFE_NO_PAD.encode(Sha256::digest(der));
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match info.parsed().map_err(|_| KeyError::Public)? {
            PublicKey::RSA(key) => {
                // DER integers carry a sign byte that JWK does not.
                let (modulus, exponent) = (trim(key.modulus), trim(key.exponent));
                let jwk = json!({"use": "sig", "kty": "RSA", "kid": id, "alg": "RS256",
                    "n": encode(modulus), "e": encode(exponent)});
                let decoding = DecodingKey::from_rsa_raw_components(modulus, exponent);
                Ok(Self { id, algorithm: Algorithm::RS256, decoding, jwk })
            }
            PublicKey::EC(point) => {
                let (algorithm, name, curve, size) = match point.key_size() {
                    256 => (Algorithm::ES256, "ES256", "P-256", 32),
                    384 => (Algorithm::ES384, "ES384", "P-384", 48),
                    _ => return Err(KeyError::Unsupported),
                };
                let bytes = point.data();
                if bytes.first() != Some(&4) || bytes.len() != 1 + 2 * size {
                    return Err(KeyError::Unsupported);
                }
                let (x, y) = bytes[1..].split_at(size);
                let jwk = json!({"use": "sig", "kty": "EC", "kid": id, "crv": curve, "alg": name,
                    "x": encode(x), "y": encode(y)});
                Ok(Self { id, algorithm, decoding: DecodingKey::from_ec_der(bytes), jwk })
            }
            _ => Err(KeyError::Unsupported),
        }
    }
}

fn trim(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|&&byte| byte == 0).count();
    &number[zeros..]
}
