//! Keys that stand in the configuration: AES-CBC, AES-GCM, and XSalsa20-Poly1305.
//!
//! ```text
//! aescbc     k8s:enc:aescbc:v1:<key>:     initialization vector (16), blocks padded as PKCS #7 says; not authenticated
//! aesgcm     k8s:enc:aesgcm:v1:<key>:     nonce (12), ciphertext, tag (16); bound to the key in the store
//! secretbox  k8s:enc:secretbox:v1:<key>:  nonce (24), tag (16), ciphertext
//! ```

use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{
    self, DecryptionContext, PaddedBlockDecryptingKey, PaddedBlockEncryptingKey, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use crypto_secretbox::aead::{Aead, KeyInit};
use crypto_secretbox::{Nonce as BoxNonce, XSalsa20Poly1305};

use crate::config::{Cipher, ConfigError};
use crate::providers::Provider;

const IV: usize = 16;
pub(crate) const GCM_NONCE: usize = 12;
const BOX_NONCE: usize = 24;

pub(crate) struct Local {
    prefix: String,
    key: Key,
}

enum Key {
    Cbc(Box<(PaddedBlockEncryptingKey, PaddedBlockDecryptingKey)>),
    Gcm(Gcm),
    Box(Box<XSalsa20Poly1305>),
}

impl Local {
    /// A provider of one key. The configuration has been checked, so a secret of another length is a fault of ours.
    pub fn new(cipher: Cipher, name: &str, secret: &[u8]) -> Result<Self, ConfigError> {
        let unusable = || ConfigError::Key(name.to_owned());
        let key = match cipher {
            Cipher::AesCbc => {
                let algorithm = match secret.len() {
                    16 => &cipher::AES_128,
                    24 => &cipher::AES_192,
                    _ => &cipher::AES_256,
                };
                let key = || UnboundCipherKey::new(algorithm, secret).map_err(|_| unusable());
                let sealing = PaddedBlockEncryptingKey::cbc_pkcs7(key()?).map_err(|_| unusable())?;
                let opening = PaddedBlockDecryptingKey::cbc_pkcs7(key()?).map_err(|_| unusable())?;
                Key::Cbc(Box::new((sealing, opening)))
            }
            Cipher::AesGcm => Key::Gcm(Gcm::new(secret).ok_or_else(unusable)?),
            Cipher::Secretbox => Key::Box(Box::new(XSalsa20Poly1305::new_from_slice(secret).map_err(|_| unusable())?)),
        };
        Ok(Self { prefix: format!("k8s:enc:{}:v1:{name}:", cipher.name()), key })
    }
}

impl Provider for Local {
    fn prefix(&self) -> &str {
        &self.prefix
    }

    fn seal(&self, key: &str, value: &[u8]) -> Result<Vec<u8>, String> {
        match &self.key {
            Key::Cbc(keys) => {
                let mut blocks = value.to_vec();
                let context = keys.0.encrypt(&mut blocks).map_err(|_| "failed to encrypt with AES-CBC")?;
                let iv = <&[u8]>::try_from(&context).map_err(|_| "AES-CBC has no initialization vector")?;
                Ok([iv, &blocks].concat())
            }
            Key::Gcm(gcm) => gcm.seal(key.as_bytes(), value),
            Key::Box(secretbox) => {
                let nonce = random::<BOX_NONCE>()?;
                let sealed = secretbox.encrypt(BoxNonce::from_slice(&nonce), value);
                Ok([&nonce[..], &sealed.map_err(|_| "failed to encrypt with secretbox")?].concat())
            }
        }
    }

    fn open(&self, key: &str, sealed: &[u8]) -> Result<(Vec<u8>, bool), String> {
        let short = "the stored data was shorter than the required size";
        let value = match &self.key {
            Key::Cbc(keys) => {
                let (iv, blocks) = sealed.split_first_chunk::<IV>().ok_or(short)?;
                if blocks.is_empty() || blocks.len() % IV != 0 {
                    return Err("the stored data is not a multiple of the block size".into());
                }
                let context = DecryptionContext::Iv128(FixedLength::from(*iv));
                let mut blocks = blocks.to_vec();
                keys.1.decrypt(&mut blocks, context).map_err(|_| "invalid padding on input")?.to_vec()
            }
            Key::Gcm(gcm) => gcm.open(key.as_bytes(), sealed)?,
            Key::Box(secretbox) => {
                let (nonce, sealed) = sealed.split_first_chunk::<BOX_NONCE>().ok_or(short)?;
                secretbox
                    .decrypt(BoxNonce::from_slice(nonce), sealed)
                    .map_err(|_| "secretbox: message authentication failed")?
            }
        };
        Ok((value, false))
    }
}

/// AES-GCM with a random nonce before the ciphertext.
pub(crate) struct Gcm(LessSafeKey);

impl Gcm {
    /// `None` if there is no AES of this key's length.
    pub fn new(secret: &[u8]) -> Option<Self> {
        let algorithm = match secret.len() {
            16 => &aead::AES_128_GCM,
            24 => &aead::AES_192_GCM,
            _ => &aead::AES_256_GCM,
        };
        UnboundKey::new(algorithm, secret).ok().map(|key| Self(LessSafeKey::new(key)))
    }

    pub fn seal(&self, bound_to: &[u8], value: &[u8]) -> Result<Vec<u8>, String> {
        let nonce = random::<GCM_NONCE>()?;
        let mut out = Vec::with_capacity(GCM_NONCE + value.len() + 16);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(value);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(bound_to), &mut out[GCM_NONCE..]);
        out.extend_from_slice(tag.map_err(|_| "failed to encrypt with AES-GCM")?.as_ref());
        Ok(out)
    }

    pub fn open(&self, bound_to: &[u8], sealed: &[u8]) -> Result<Vec<u8>, String> {
        let (nonce, sealed) =
            sealed.split_first_chunk::<GCM_NONCE>().ok_or("the stored data was shorter than the required size")?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.0.open_in_place(nonce, Aad::from(bound_to), &mut sealed);
        let length = opened.map_err(|_| "cipher: message authentication failed")?.len();
        sealed.truncate(length);
        Ok(sealed)
    }
}

pub(crate) fn random<const N: usize>() -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| "the system has no random bytes")?;
    Ok(bytes)
}
