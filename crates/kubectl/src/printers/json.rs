//! JSON output: four spaces, and the characters escaped that Go's encoder escapes.

use serde_json::Value;

pub fn print(value: &Value) -> String {
    let mut out = String::new();
    write(value, 0, &mut out);
    out.push('\n');
    out
}

fn write(value: &Value, depth: usize, out: &mut String) {
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("    ", depth));
    };
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('{');
            for (index, (key, value)) in map.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                line(out, depth + 1);
                out.push_str(&machinery::go_text::json(&Value::String(key.clone())));
                out.push_str(": ");
                write(value, depth + 1, out);
            }
            line(out, depth);
            out.push('}');
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                line(out, depth + 1);
                write(item, depth + 1, out);
            }
            line(out, depth);
            out.push(']');
        }
        scalar => out.push_str(&machinery::go_text::json(scalar)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn output_is_indented_and_escaped() {
        let value = json!({"a": [1, {"b": "<x>"}], "c": {}, "d": []});
        let want = "{\n    \"a\": [\n        1,\n        {\n            \"b\": \"\\u003cx\\u003e\"\n        }\n    ],\n    \"c\": {},\n    \"d\": []\n}\n";
        assert_eq!(super::print(&value), want);
    }
}
