//! Rewrites a pattern from one syntax to the other.

const REPEAT_MAX: u32 = 1_000;

/// The pattern for the `regex` crate, or what upstream says about it.
pub(super) fn translate(pattern: &str) -> Result<String, String> {
    let mut translator = Translator { pattern, rest: pattern, out: String::with_capacity(pattern.len()), open: 0 };
    translator.run()?;
    Ok(translator.out)
}

struct Translator<'p> {
    pattern: &'p str,
    rest: &'p str,
    out: String,
    /// Parentheses that are open.
    open: usize,
}

impl<'p> Translator<'p> {
    fn run(&mut self) -> Result<(), String> {
        // Whether the last thing can be repeated, and the repetition behind it.
        let (mut operand, mut repetition): (bool, Option<&'p str>) = (false, None);
        while let Some(c) = self.rest.chars().next() {
            let before = self.rest;
            let mut repeated = None;
            match c {
                '\\' if self.rest.starts_with("\\Q") => {
                    self.quoted();
                    operand = true;
                }
                '\\' => {
                    self.escape()?;
                    operand = true;
                }
                '[' => {
                    self.class()?;
                    operand = true;
                }
                '(' => {
                    operand = false;
                    self.group()?;
                }
                ')' => {
                    if self.open == 0 {
                        return Err(format!("unexpected ): `{}`", self.pattern));
                    }
                    self.open -= 1;
                    self.copy(1);
                    operand = true;
                }
                '*' | '+' | '?' => repeated = Some(1),
                '{' => match counted(self.rest)? {
                    Some(length) => repeated = Some(length),
                    None => {
                        self.out.push_str("\\{");
                        self.rest = &self.rest[1..];
                        operand = true;
                    }
                },
                '|' => {
                    self.copy(1);
                    operand = false;
                }
                '}' | ']' | '#' | '&' | '~' | '-' | ' ' => {
                    self.out.push('\\');
                    self.copy(1);
                    operand = true;
                }
                c => {
                    self.copy(c.len_utf8());
                    operand = true;
                }
            }
            let Some(mut length) = repeated else {
                repetition = None;
                continue;
            };
            if before[length..].starts_with('?') {
                length += 1;
            }
            if let Some(first) = repetition {
                let both = &first[..first.len() - before.len() + length];
                return Err(format!("invalid nested repetition operator: `{both}`"));
            }
            if !operand {
                return Err(format!("missing argument to repetition operator: `{}`", &before[..length]));
            }
            self.copy(length);
            repetition = Some(before);
        }
        if self.open > 0 {
            return Err(format!("missing closing ): `{}`", self.pattern));
        }
        Ok(())
    }

    fn copy(&mut self, length: usize) {
        self.out.push_str(&self.rest[..length]);
        self.rest = &self.rest[length..];
    }

    fn quoted(&mut self) {
        let rest = &self.rest[2..];
        let (text, after) = rest.split_once("\\E").unwrap_or((rest, ""));
        self.out.push_str(&regex::escape(text));
        self.rest = after;
    }

    fn group(&mut self) -> Result<(), String> {
        self.open += 1;
        let Some(inner) = self.rest.strip_prefix("(?") else {
            self.copy(1);
            return Ok(());
        };
        if inner.starts_with("P<") || inner.starts_with('<') {
            let start = if inner.starts_with('P') { 2 } else { 1 };
            let name = inner[start..].split('>').next().unwrap_or_default();
            let valid = !name.is_empty() && name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric());
            if !valid || !inner.contains('>') {
                let shown = inner.find('>').map_or(self.rest, |end| &self.rest[..end + 3]);
                return Err(format!("invalid named capture: `{shown}`"));
            }
            self.copy(2 + start + name.len() + 1);
            return Ok(());
        }
        let flags = inner.bytes().take_while(|b| b"imsU-".contains(b)).count();
        match inner.as_bytes().get(flags) {
            Some(b':') => self.copy(flags + 3),
            Some(b')') if flags > 0 => {
                self.open -= 1;
                self.copy(flags + 3);
            }
            None => return Err(format!("missing closing ): `{}`", self.pattern)),
            Some(_) => {
                let shown: String = self.rest.chars().take(flags + 3).collect();
                return Err(format!("invalid or unsupported Perl syntax: `{shown}`"));
            }
        }
        Ok(())
    }

    /// An escape outside of a class.
    fn escape(&mut self) -> Result<(), String> {
        let Some(c) = self.rest[1..].chars().next() else {
            return Err("trailing backslash at end of expression: ``".to_owned());
        };
        let replacement = match c {
            'd' => "[0-9]",
            'D' => "[^0-9]",
            'w' => "[0-9A-Za-z_]",
            'W' => "[^0-9A-Za-z_]",
            's' => "[\\t\\n\\x0C\\r ]",
            'S' => "[^\\t\\n\\x0C\\r ]",
            'b' => "(?-u:\\b)",
            'B' => "\\B",
            'A' => "\\A",
            'z' => "\\z",
            _ => return self.character(),
        };
        self.out.push_str(replacement);
        self.rest = &self.rest[2..];
        Ok(())
    }

    /// An escape that stands for characters, in a class or outside.
    fn character(&mut self) -> Result<(), String> {
        let c = self.rest[1..].chars().next().unwrap_or_default();
        let invalid = |length: usize| {
            let shown: String = self.rest.chars().take(length).collect();
            Err(format!("invalid escape sequence: `{shown}`"))
        };
        match c {
            'a' | 'f' | 't' | 'n' | 'r' | 'v' => self.copy(2),
            'p' | 'P' => self.unicode_class()?,
            'x' => {
                let body = &self.rest[2..];
                let (digits, length) = match body.strip_prefix('{') {
                    Some(inner) => (inner.split('}').next().unwrap_or_default(), None),
                    None => (body.get(..2).unwrap_or_default(), Some(4)),
                };
                let length = length.unwrap_or(4 + digits.len());
                let code = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32);
                let (Some(code), true) = (code, self.rest.is_char_boundary(length) && length <= self.rest.len()) else {
                    return invalid(3);
                };
                self.out.push_str(&format!("\\x{{{:x}}}", u32::from(code)));
                self.rest = &self.rest[length..];
            }
            '0'..='7' => {
                let digits = self.rest[1..].bytes().take(3).take_while(|b| (b'0'..=b'7').contains(b)).count();
                if c != '0' && digits == 1 {
                    return invalid(2);
                }
                let code = u32::from_str_radix(&self.rest[1..=digits], 8).unwrap_or(0);
                self.out.push_str(&format!("\\x{{{code:x}}}"));
                self.rest = &self.rest[1 + digits..];
            }
            c if c.is_ascii_punctuation() => {
                self.out.push_str(&regex::escape(&c.to_string()));
                self.rest = &self.rest[2..];
            }
            _ => return invalid(2),
        }
        Ok(())
    }

    fn unicode_class(&mut self) -> Result<(), String> {
        let body = &self.rest[2..];
        let (name, length) = match body.strip_prefix('{') {
            Some(inner) => match inner.split_once('}') {
                Some((name, _)) => (name, 4 + name.len()),
                None => return Err(format!("invalid character class range: `{}`", self.rest)),
            },
            None => match body.chars().next() {
                Some(c) => (&body[..c.len_utf8()], 2 + c.len_utf8()),
                None => return Err(format!("invalid character class range: `{}`", self.rest)),
            },
        };
        let negated = self.rest.starts_with("\\P") != name.starts_with('^');
        let name = name.trim_start_matches('^');
        let valid = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !valid {
            return Err(format!("invalid character class range: `{}`", &self.rest[..length]));
        }
        self.out.push_str(&format!("\\{}{{{name}}}", if negated { 'P' } else { 'p' }));
        self.rest = &self.rest[length..];
        Ok(())
    }

    fn class(&mut self) -> Result<(), String> {
        let start = self.rest;
        self.copy(1);
        if self.rest.starts_with('^') {
            self.copy(1);
        }
        let mut first = true;
        loop {
            let Some(c) = self.rest.chars().next() else {
                return Err(format!("missing closing ]: `{start}`"));
            };
            match c {
                ']' if !first => {
                    self.copy(1);
                    return Ok(());
                }
                '[' if self.rest.starts_with("[:") => {
                    let end = self.rest.find(":]").ok_or_else(|| format!("missing closing ]: `{start}`"))?;
                    self.copy(end + 2);
                }
                '\\' => self.class_escape()?,
                '[' | '&' | '~' | ']' => {
                    self.out.push('\\');
                    self.copy(1);
                }
                '-' if first || self.rest.starts_with("-]") || self.rest.starts_with("--") => {
                    self.out.push_str("\\-");
                    self.rest = &self.rest[1..];
                }
                c => self.copy(c.len_utf8()),
            }
            first = false;
        }
    }

    fn class_escape(&mut self) -> Result<(), String> {
        let replacement = match self.rest[1..].chars().next() {
            None => return Err("trailing backslash at end of expression: ``".to_owned()),
            Some('d') => "0-9",
            Some('D') => "[^0-9]",
            Some('w') => "0-9A-Za-z_",
            Some('W') => "[^0-9A-Za-z_]",
            Some('s') => "\\t\\n\\x0C\\r ",
            Some('S') => "[^\\t\\n\\x0C\\r ]",
            Some(_) => return self.character(),
        };
        self.out.push_str(replacement);
        self.rest = &self.rest[2..];
        Ok(())
    }
}

/// The length of `{2}`, `{2,}` or `{2,5}`; none if the brace is only a brace.
fn counted(text: &str) -> Result<Option<usize>, String> {
    let Some(end) = text.find('}') else { return Ok(None) };
    let body = &text[1..end];
    let (least, most) = body.split_once(',').unwrap_or((body, body));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(least) || !(digits(most) || most.is_empty()) {
        return Ok(None);
    }
    let number = |part: &str| part.parse::<u32>().ok().filter(|number| *number <= REPEAT_MAX);
    let refused = || format!("invalid repeat count: `{}`", &text[..=end]);
    let least = number(least).ok_or_else(refused)?;
    let most = if most.is_empty() { least } else { number(most).ok_or_else(refused)? };
    if least > most {
        return Err(refused());
    }
    Ok(Some(end + 1))
}
