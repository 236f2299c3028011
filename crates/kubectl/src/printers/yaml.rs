//! YAML output, byte for byte as Go's encoder writes it: keys sorted, lists not indented below their key, strings quoted only
//! where they would be read as something else, long ones folded at 80 columns, those of several lines as `|` blocks.

mod scalar;

use serde_json::Value;

use scalar::Scalar;

pub fn print(value: &Value) -> String {
    let mut writer = Writer { out: String::new() };
    match value {
        Value::Object(map) if !map.is_empty() => writer.mapping(value, 0, false),
        Value::Array(items) if !items.is_empty() => writer.sequence(value, 0, false),
        other => writer.leaf(other, 0),
    }
    if !writer.out.ends_with('\n') {
        writer.out.push('\n');
    }
    writer.out
}

struct Writer {
    out: String,
}

impl Writer {
    fn start_line(&mut self, indent: usize) {
        if !self.out.is_empty() && !self.out.ends_with('\n') {
            self.out.push('\n');
        }
        self.out.extend(std::iter::repeat_n(' ', indent));
    }

    fn column(&self) -> usize {
        self.out.chars().rev().take_while(|c| *c != '\n').count()
    }

    /// `inline`: the first key follows a list's dash on the same line.
    fn mapping(&mut self, value: &Value, indent: usize, inline: bool) {
        let Value::Object(map) = value else { return };
        let mut keys: Vec<&String> = map.keys().collect();
        keys.sort();
        for (index, key) in keys.into_iter().enumerate() {
            if index > 0 || !inline {
                self.start_line(indent);
            }
            let written = Scalar::key(key);
            self.out.push_str(&written);
            self.out.push(':');
            match &map[key] {
                Value::Object(inner) if !inner.is_empty() => self.mapping(&map[key], indent + 2, false),
                // A list stands at its key's own column.
                Value::Array(items) if !items.is_empty() => self.sequence(&map[key], indent, false),
                other => {
                    self.out.push(' ');
                    self.leaf(other, indent);
                }
            }
        }
    }

    fn sequence(&mut self, value: &Value, indent: usize, inline: bool) {
        let Value::Array(items) = value else { return };
        for (index, item) in items.iter().enumerate() {
            if index > 0 || !inline {
                self.start_line(indent);
            }
            self.out.push_str("- ");
            match item {
                Value::Object(inner) if !inner.is_empty() => self.mapping(item, indent + 2, true),
                Value::Array(inner) if !inner.is_empty() => self.sequence(item, indent + 2, true),
                other => self.leaf(other, indent),
            }
        }
    }

    fn leaf(&mut self, value: &Value, indent: usize) {
        match value {
            Value::Null => self.out.push_str("null"),
            Value::Bool(value) => self.out.push_str(if *value { "true" } else { "false" }),
            Value::Number(number) => self.out.push_str(&machinery::go_text::number(number)),
            Value::Object(_) => self.out.push_str("{}"),
            Value::Array(_) => self.out.push_str("[]"),
            Value::String(text) => {
                let column = self.column();
                self.out.push_str(&Scalar::value(text, indent + 2, column));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    /// Each line was printed by kubectl 1.36.
    #[test]
    fn scalars_are_written_as_kubectl_writes_them() {
        let data = json!({
            "a": "this is a very long string that goes past eighty columns and then some: more text # comment here and so on and so forth",
            "b": "true", "c": "a\nb", "d": " x", "e": "", "f": "1e3", "g": "2020-01-01", "h": "a: b", "i": "it's", "j": "{x}",
            "k": "-a", "l": "-", "m": "yes", "n": "0x1F", "o": "y", "p": "1:30", "q": "<<", "r": "~", "s": "a \nb", "t": "a\tb",
        });
        let want = "data:\n  a: 'this is a very long string that goes past eighty columns and then some: more\n    text # comment here and so on and so forth'\n  b: \"true\"\n  c: |-\n    a\n    b\n  d: ' x'\n  e: \"\"\n  f: \"1e3\"\n  g: \"2020-01-01\"\n  h: 'a: b'\n  i: it's\n  j: '{x}'\n  k: -a\n  l: '-'\n  m: \"yes\"\n  \"n\": \"0x1F\"\n  o: \"y\"\n  p: \"1:30\"\n  q: <<\n  r: \"~\"\n  s: \"a \\nb\"\n  t: \"a\\tb\"\n";
        assert_eq!(super::print(&json!({"data": data})), want);
    }

    #[test]
    fn lists_stand_at_their_keys_column() {
        let value = json!({"b": [{"y": 1, "x": [[1, 2], []]}, "s"], "a": {}, "c": null});
        assert_eq!(super::print(&value), "a: {}\nb:\n- x:\n  - - 1\n    - 2\n  - []\n  \"y\": 1\n- s\nc: null\n");
    }

    #[test]
    fn blocks_keep_their_line_ends() {
        assert_eq!(super::print(&json!({"a": "x\n\ny\n"})), "a: |\n  x\n\n  y\n");
        assert_eq!(super::print(&json!({"a": "x\n\n"})), "a: |+\n  x\n\n");
        assert_eq!(super::print(&json!({"a": "  x\ny"})), "a: |2-\n    x\n  y\n");
        assert_eq!(super::print(&json!(["x\n", "z"])), "- |\n  x\n- z\n");
    }
}
