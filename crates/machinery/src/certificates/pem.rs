//! Blocks of PEM in a text, which may hold other things between them. Read here and not by a crate, because what upstream
//! refuses by its headers must be read first.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub struct Block {
    pub label: String,
    pub contents: Vec<u8>,
    /// Lines `name: value` before the contents.
    pub has_headers: bool,
}

/// All whole blocks; one that is malformed is skipped.
pub fn blocks(text: &[u8]) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<(&str, String, bool)> = None;
    // What is no text is no part of a block either.
    for line in text.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok()) {
        let line = line.trim_end();
        if let Some(label) = marked(line, "-----BEGIN ") {
            open = Some((label, String::new(), false));
        } else if let Some(label) = marked(line, "-----END ") {
            let whole = open.take().filter(|(begun, ..)| *begun == label);
            let decoded = whole.and_then(|(_, data, headers)| Some((STANDARD.decode(data).ok()?, headers)));
            if let Some((contents, has_headers)) = decoded {
                blocks.push(Block { label: label.to_owned(), contents, has_headers });
            }
        } else if let Some((_, data, headers)) = &mut open {
            match line.contains(':') && data.is_empty() {
                true => *headers = true,
                false => data.push_str(line.trim_start()),
            }
        }
    }
    blocks
}

fn marked<'a>(line: &'a str, start: &str) -> Option<&'a str> {
    line.strip_prefix(start)?.strip_suffix("-----")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_stand_anywhere_in_a_text() {
        let text =
            b"x\n-----BEGIN A-----\nYW\nJj\r\n-----END A-----\ny\n-----BEGIN B-----\nk: v\n\nYWJj\n-----END B-----\n";
        let found: Vec<_> = blocks(text).into_iter().map(|b| (b.label, b.contents, b.has_headers)).collect();
        assert_eq!(found, [("A".into(), b"abc".to_vec(), false), ("B".into(), b"abc".to_vec(), true)]);
    }

    #[test]
    fn what_is_no_whole_block_is_skipped() {
        for text in ["no block", "", "-----BEGIN A-----\nYWJj\n", "-----BEGIN A-----\n?\n-----END A-----\n"] {
            assert!(blocks(text.as_bytes()).is_empty(), "{text:?}");
        }
        let other_end = b"-----BEGIN A-----\nYWJj\n-----END B-----\n-----BEGIN C-----\nYWJj\n-----END C-----";
        assert_eq!(blocks(other_end).iter().map(|block| block.label.as_str()).collect::<Vec<_>>(), ["C"]);
    }
}
