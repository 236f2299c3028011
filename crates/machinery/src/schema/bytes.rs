//! Base64 as upstream's decoder reads it, with its error messages.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Checks base64 and rewrites it without the line breaks and loose bits that upstream's decoder forgives.
pub fn check(text: &mut String) -> Result<(), String> {
    if STANDARD.decode(text.as_bytes()).is_err() {
        *text = lenient(text)?;
    }
    Ok(())
}

/// Upstream's decoder: line breaks count for nothing, and the error names the first byte that it cannot use.
fn lenient(text: &str) -> Result<String, String> {
    let illegal = |at: usize| format!("illegal base64 data at input byte {at}");
    let bytes = text.as_bytes();
    let mut sextets: Vec<u8> = Vec::with_capacity(bytes.len());
    let mut significant = bytes.iter().enumerate().filter(|(_, byte)| !matches!(byte, b'\r' | b'\n'));
    while let Some((at, byte)) = significant.next() {
        match byte {
            b'A'..=b'Z' => sextets.push(byte - b'A'),
            b'a'..=b'z' => sextets.push(byte - b'a' + 26),
            b'0'..=b'9' => sextets.push(byte - b'0' + 52),
            b'+' => sextets.push(62),
            b'/' => sextets.push(63),
            b'=' => {
                match sextets.len() % 4 {
                    0 | 1 => return Err(illegal(at)),
                    2 => match significant.next() {
                        Some((_, b'=')) => {}
                        // Upstream names the byte before the one that should have been padding.
                        Some((next, _)) => return Err(illegal(next - 1)),
                        None => return Err(illegal(bytes.len())),
                    },
                    _ => {}
                }
                if let Some((next, _)) = significant.next() {
                    return Err(illegal(next));
                }
                return Ok(encode_sextets(&sextets));
            }
            _ => return Err(illegal(at)),
        }
    }
    if !sextets.len().is_multiple_of(4) {
        // The incomplete last group began here; upstream counts back over its characters only.
        return Err(illegal(bytes.len() - sextets.len() % 4));
    }
    Ok(encode_sextets(&sextets))
}

fn encode_sextets(sextets: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(sextets.len() * 3 / 4);
    for group in sextets.chunks(4) {
        let word = group.iter().fold(0u32, |word, sextet| word << 6 | u32::from(*sextet)) << (6 * (4 - group.len()));
        bytes.extend_from_slice(&word.to_be_bytes()[1..group.len()]);
    }
    STANDARD.encode(bytes)
}
