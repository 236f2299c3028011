//! The envelope of a body: four magic bytes and a runtime.Unknown that says of which type the message inside is.

use super::wire::{self, Reader};
use super::{ProtobufError, number};

const PREFIX: &[u8] = b"k8s\0";

const TYPE_META: u32 = 1;
const RAW: u32 = 2;
const CONTENT_ENCODING: u32 = 3;
const CONTENT_TYPE: u32 = 4;
const API_VERSION: u32 = 1;
const KIND: u32 = 2;
/// Of WatchEvent.
const EVENT_TYPE: u32 = 1;
const EVENT_OBJECT: u32 = 2;

/// An opened body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope<'b> {
    /// Empty when the body leaves it out.
    pub api_version: String,
    pub kind: String,
    /// The message inside.
    pub raw: &'b [u8],
    pub content_type: String,
}

/// Opens a body.
pub fn unwrap_envelope(bytes: &[u8]) -> Result<Envelope<'_>, ProtobufError> {
    if bytes.is_empty() {
        return Err(ProtobufError::EmptyData);
    }
    let inside = bytes.strip_prefix(PREFIX).ok_or(ProtobufError::NoPrefix)?;
    if inside.is_empty() {
        return Err(ProtobufError::EmptyBody);
    }
    let mut envelope = Envelope::default();
    let mut reader = Reader::new(inside);
    while let Some(tag) = reader.tag("Unknown")? {
        match tag.number {
            TYPE_META => {
                let mut inner = Reader::new(reader.bytes(tag, "TypeMeta")?);
                while let Some(tag) = inner.tag("TypeMeta")? {
                    match tag.number {
                        API_VERSION => envelope.api_version = inner.text(tag, "APIVersion")?,
                        KIND => envelope.kind = inner.text(tag, "Kind")?,
                        _ => inner.skip(tag)?,
                    }
                }
            }
            RAW => envelope.raw = reader.bytes(tag, "Raw")?,
            CONTENT_TYPE => envelope.content_type = reader.text(tag, "ContentType")?,
            _ => reader.skip(tag)?,
        }
    }
    Ok(envelope)
}

/// One event of a watch as it is streamed: four bytes that say how long it is (big endian), then a bare WatchEvent whose
/// object is in its envelope.
pub fn frame_watch_event(kind: &str, object: &[u8]) -> Vec<u8> {
    let mut raw = Vec::with_capacity(object.len() + 6);
    wire::put_bytes(&mut raw, number::RAW, object);
    let mut out = Vec::with_capacity(raw.len() + kind.len() + 16);
    out.extend_from_slice(&[0; 4]);
    wire::put_bytes(&mut out, EVENT_TYPE, kind.as_bytes());
    wire::put_bytes(&mut out, EVENT_OBJECT, &raw);
    // Objects are bounded far below what four bytes hold.
    let length = u32::try_from(out.len() - 4).unwrap_or(u32::MAX);
    out[..4].copy_from_slice(&length.to_be_bytes());
    out
}

/// Puts a message into its envelope.
pub fn wrap_envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len() + api_version.len() + kind.len() + 24);
    out.extend_from_slice(PREFIX);
    let mut type_meta = Vec::with_capacity(api_version.len() + kind.len() + 4);
    wire::put_bytes(&mut type_meta, API_VERSION, api_version.as_bytes());
    wire::put_bytes(&mut type_meta, KIND, kind.as_bytes());
    wire::put_bytes(&mut out, TYPE_META, &type_meta);
    wire::put_bytes(&mut out, RAW, raw);
    wire::put_bytes(&mut out, CONTENT_ENCODING, b"");
    wire::put_bytes(&mut out, CONTENT_TYPE, b"");
    out
}
