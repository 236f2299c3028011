//! Which trace something belongs to, as the header `traceparent` of W3C's Trace Context says it.

use std::cell::RefCell;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue};

use super::export::Exporter;

pub const TRACEPARENT: &str = "traceparent";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanContext {
    pub trace_id: [u8; 16],
    pub span_id: [u8; 8],
    /// Whether spans of the trace are recorded.
    pub sampled: bool,
}

/// The span that work belongs to, and where spans below it go.
#[derive(Clone)]
pub struct Current {
    pub context: SpanContext,
    pub exporter: Arc<Exporter>,
}

tokio::task_local! {
    /// What the request that is being served belongs to: what is asked of others on its behalf does too.
    pub static CURRENT: RefCell<Option<Current>>;
}

/// Where the work at hand belongs, if it is traced.
pub fn here() -> Option<Current> {
    CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
}

/// From here on the request that is being served belongs there.
pub fn set_here(here: Current) {
    // Outside of requests there is nothing to be told apart.
    let _ = CURRENT.try_with(|current| *current.borrow_mut() = Some(here));
}

/// Says so in the headers of a request to somebody else.
pub fn inject(headers: &mut HeaderMap) {
    if let Some(value) = here().and_then(|here| HeaderValue::from_str(&here.context.to_header()).ok()) {
        headers.insert(TRACEPARENT, value);
    }
}

impl SpanContext {
    /// What a request says. Nothing where that is malformed.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        Self::parse(headers.get(TRACEPARENT)?.to_str().ok()?)
    }

    /// `00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01`: version, trace, span, flags. Later versions may say more.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(5, '-');
        let version: [u8; 1] = hex(parts.next()?)?;
        let (trace_id, span_id): ([u8; 16], [u8; 8]) = (hex(parts.next()?)?, hex(parts.next()?)?);
        let flags: [u8; 1] = hex(parts.next()?)?;
        let is_known = version[0] != 0xff && (version[0] != 0 || parts.next().is_none());
        let is_valid = is_known && trace_id != [0; 16] && span_id != [0; 8];
        is_valid.then_some(Self { trace_id, span_id, sampled: flags[0] & 1 == 1 })
    }

    pub fn to_header(self) -> String {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        format!("00-{}-{}-0{}", hex(&self.trace_id), hex(&self.span_id), u8::from(self.sampled))
    }
}

/// Lower case alone, of exactly this length.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut bytes = [0; N];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_well_formed_is_understood_and_said_again() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let context = SpanContext::parse(text).unwrap();
        assert!(context.sampled && context.trace_id[0] == 0x0a && context.span_id[7] == 0x31);
        assert_eq!(context.to_header(), text);
        assert!(!SpanContext::parse(&text.replace("-01", "-02")).unwrap().sampled);
        assert!(SpanContext::parse(&format!("{}-more", text.replacen("00", "01", 1))).is_some());
        for wrong in [
            "",
            "00",
            &text.to_uppercase(),
            &format!("{text}-more"),
            &text.replacen("00", "ff", 1),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-é0f7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(SpanContext::parse(wrong), None, "{wrong}");
        }
    }
}
