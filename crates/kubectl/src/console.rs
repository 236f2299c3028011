//! Standard output and error of a command. Tests hand in a console that remembers what was printed.

use std::io::{ErrorKind, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub struct Console {
    out: Mutex<Box<dyn Write + Send>>,
    err: Mutex<Box<dyn Write + Send>>,
}

impl Console {
    pub fn standard() -> Self {
        Console { out: Mutex::new(Box::new(std::io::stdout())), err: Mutex::new(Box::new(std::io::stderr())) }
    }

    #[cfg(test)]
    pub fn to(out: Box<dyn Write + Send>, err: Box<dyn Write + Send>) -> Self {
        Console { out: Mutex::new(out), err: Mutex::new(err) }
    }

    /// Prints text as it is and flushes, so that output and a child's output stay in order.
    pub fn text(&self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub fn line(&self, line: &str) {
        self.bytes(format!("{line}\n").as_bytes());
    }

    pub fn bytes(&self, bytes: &[u8]) {
        write(&self.out, bytes);
    }

    pub fn error_line(&self, line: &str) {
        write(&self.err, format!("{line}\n").as_bytes());
    }

    pub fn error_bytes(&self, bytes: &[u8]) {
        write(&self.err, bytes);
    }
}

fn write(to: &Mutex<Box<dyn Write + Send>>, bytes: &[u8]) {
    let mut to: MutexGuard<'_, _> = to.lock().unwrap_or_else(PoisonError::into_inner);
    let result = to.write_all(bytes).and_then(|()| to.flush());
    if result.is_err_and(|error| error.kind() == ErrorKind::BrokenPipe) {
        // The reader (`| head`) has gone; nothing more can be said to it.
        std::process::exit(141);
    }
}

/// Text from the cluster made harmless for a terminal: an escape sequence in an annotation, a log line or a name must not
/// move the cursor, set a title or hide text.
pub fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\t' => out.push(character),
            '\u{1b}' => out.push_str("^["),
            '\r' => out.push_str("\\r"),
            character if character.is_control() => out.push_str(&format!("\\u{:04x}", character as u32)),
            character => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_lose_their_power() {
        assert_eq!(harmless("a\u{1b}[31mb\r\u{9b}c\n"), "a^[[31mb\\r\\u009bc\n");
    }
}
