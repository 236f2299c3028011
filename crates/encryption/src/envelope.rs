//! What is kept of a value under a key management service: the value encrypted with a data key, and the data key's source
//! encrypted by the service (KEP-3299). The source is a seed, from which each value gets a key of its own (RFC 5869, expand
//! only, with 32 random bytes that stand before the ciphertext), or, as older servers wrote it, the key itself.

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk};
use prost::Message;

use crate::local::{Gcm, random};

#[allow(clippy::all, missing_docs, reason = "generated from proto/envelope.proto")]
pub(crate) mod wire {
    tonic::include_proto!("envelope");
}

pub(crate) use wire::{EncryptedObject, SourceType};

const INFO: usize = 32;
const KEY: usize = 32;
/// Limits on what a service may give, as upstream has them.
const KEY_ID_BYTES_MAX: usize = 1024;
const SOURCE_BYTES_MAX: usize = 1024;
const ANNOTATIONS_BYTES_MAX: usize = 32 * 1024;

/// A seed of data keys in the clear; only ever in memory.
#[derive(Clone)]
pub(crate) struct Seed(pub [u8; KEY]);

impl Seed {
    fn gcm(&self, info: &[u8]) -> Result<Gcm, String> {
        struct Length;
        impl KeyType for Length {
            fn len(&self) -> usize {
                KEY
            }
        }
        let mut key = [0; KEY];
        let expanded = Prk::new_less_safe(HKDF_SHA256, &self.0);
        let derived = expanded.expand(&[info], Length).and_then(|okm| okm.fill(&mut key));
        derived.map_err(|_| "failed to derive a data key")?;
        Gcm::new(&key).ok_or_else(|| "failed to use a derived data key".to_owned())
    }

    pub fn seal(&self, bound_to: &[u8], value: &[u8]) -> Result<Vec<u8>, String> {
        let info = random::<INFO>()?;
        Ok([&info[..], &self.gcm(&info)?.seal(bound_to, value)?].concat())
    }
}

/// The value in an envelope whose source has been decrypted.
pub(crate) fn open(object: &EncryptedObject, source: &[u8], bound_to: &[u8]) -> Result<Vec<u8>, String> {
    match object.encrypted_dek_source_type() {
        SourceType::AesGcmKey => {
            let gcm = Gcm::new(source).ok_or("the data key has a wrong length")?;
            gcm.open(bound_to, &object.encrypted_data)
        }
        SourceType::HkdfSha256XnonceAesGcmSeed => {
            let seed = Seed(source.try_into().map_err(|_| "the seed of data keys has a wrong length")?);
            let (info, sealed) = object
                .encrypted_data
                .split_first_chunk::<INFO>()
                .ok_or("the stored data was shorter than the required size")?;
            seed.gcm(info)?.open(bound_to, sealed)
        }
    }
}

/// Reads an envelope and checks it.
pub(crate) fn decode(bytes: &[u8]) -> Result<EncryptedObject, String> {
    let object = EncryptedObject::decode(bytes).map_err(|error| format!("failed to decode the envelope: {error}"))?;
    if SourceType::try_from(object.encrypted_dek_source_type).is_err() {
        return Err(format!("unknown encryptedDEKSourceType: {}", object.encrypted_dek_source_type));
    }
    if object.encrypted_data.is_empty() {
        return Err("encrypted data is empty after unmarshal".to_owned());
    }
    check(&object)?;
    Ok(object)
}

/// The rules for what a service gives, here and in what is kept.
pub(crate) fn check(object: &EncryptedObject) -> Result<(), String> {
    let EncryptedObject { key_id, encrypted_dek_source: source, annotations, .. } = object;
    if key_id.is_empty() {
        return Err("keyID is empty".to_owned());
    }
    if key_id.len() > KEY_ID_BYTES_MAX {
        return Err(format!("keyID is {} bytes, which exceeds the max size of {KEY_ID_BYTES_MAX}", key_id.len()));
    }
    if source.is_empty() {
        return Err("encrypted DEK source is empty".to_owned());
    }
    if source.len() > SOURCE_BYTES_MAX {
        return Err(format!(
            "encrypted DEK source is {} bytes, which exceeds the max size of {SOURCE_BYTES_MAX}",
            source.len()
        ));
    }
    let bytes: usize = annotations.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > ANNOTATIONS_BYTES_MAX {
        return Err(format!(
            "total size of annotations is {bytes}, which exceeds the max size of {ANNOTATIONS_BYTES_MAX}"
        ));
    }
    let qualified = |key: &str| key.split('.').count() > 1 && key.split('.').all(|part| !part.is_empty());
    match annotations.keys().find(|key| !qualified(key)) {
        Some(key) => Err(format!(
            "invalid annotation key {key:?}: should be a domain with at least two segments separated by dots"
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"/registry/secrets/a/b";

    fn object(data: Vec<u8>, source: SourceType) -> EncryptedObject {
        EncryptedObject {
            encrypted_data: data,
            key_id: "key".into(),
            encrypted_dek_source: vec![1],
            annotations: Default::default(),
            encrypted_dek_source_type: source.into(),
        }
    }

    #[test]
    fn both_sources_are_read() {
        let seed: [u8; 32] = std::array::from_fn(|at| at as u8);
        let nonce: Vec<u8> = (0..12).collect();
        // HKDFExpand and AESGCM of Python's cryptography.
        let tail = [
            0x0b, 0xd8, 0x1c, 0xa5, 0xfa, 0xd0, 0x7c, 0xae, 0x02, 0x63, 0xee, 0x33, 0x53, 0x27, 0x66, 0xab, 0x83, 0x9c,
            0x7c, 0x9c, 0xae, 0x07, 0x37, 0x5b, 0xec, 0xfa, 0x21, 0x14, 0xc9, 0x57, 0x99, 0x6a, 0xb1,
        ];
        let data = [&(100..132).collect::<Vec<u8>>(), &nonce, &tail[1..]].concat();
        let seeded = object(data, SourceType::HkdfSha256XnonceAesGcmSeed);
        assert_eq!(open(&seeded, &seed, KEY).as_deref(), Ok(&b"top secret value"[..]));
        let sealed = Gcm::new(&seed).expect("a key").seal(KEY, b"value").expect("sealed");
        let keyed = object(sealed, SourceType::AesGcmKey);
        assert_eq!(open(&keyed, &seed, KEY).as_deref(), Ok(&b"value"[..]));
        assert!(open(&keyed, &seed[1..], KEY).is_err());
    }

    #[test]
    fn odd_envelopes_are_refused() {
        let good = object(vec![1], SourceType::AesGcmKey);
        assert_eq!(decode(&good.encode_to_vec()), Ok(good.clone()));
        let mut odd = vec![
            EncryptedObject { encrypted_data: vec![], ..good.clone() },
            EncryptedObject { key_id: String::new(), ..good.clone() },
            EncryptedObject { key_id: "k".repeat(1025), ..good.clone() },
            EncryptedObject { encrypted_dek_source: vec![], ..good.clone() },
            EncryptedObject { encrypted_dek_source: vec![0; 1025], ..good.clone() },
            EncryptedObject { encrypted_dek_source_type: 9, ..good.clone() },
        ];
        for key in ["version", "a..b", ".a"] {
            odd.push(EncryptedObject { annotations: [(key.to_owned(), vec![])].into(), ..good.clone() });
        }
        odd.push(EncryptedObject { annotations: [("a.b".to_owned(), vec![0; 32 * 1024])].into(), ..good });
        for odd in odd {
            assert!(decode(&odd.encode_to_vec()).is_err(), "{:?}", odd.key_id);
        }
        assert!(decode(b"\xff\xff").is_err());
    }
}
