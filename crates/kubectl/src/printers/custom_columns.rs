//! `-o custom-columns=NAME:.metadata.name,PHASE:.status.phase` and the same from a file.

use serde_json::Value;

use crate::console::harmless;
use crate::error::{Error, Result};
use crate::value;
use machinery::jsonpath::{Template, relaxed};

use super::tabs::align;

#[derive(Debug)]
pub struct Columns(Vec<(String, Template)>);

impl Columns {
    pub fn parse(spec: &str) -> Result<Self> {
        if spec.is_empty() {
            return Err(Error::message("custom-columns format specified but no custom columns given"));
        }
        let mut columns = Vec::new();
        for part in spec.split(',') {
            let Some((name, path)) = part.split_once(':') else {
                return Err(Error::message(format!(
                    "unexpected custom-columns spec: {part}, expected <header>:<json-path-expr>"
                )));
            };
            let template = relaxed(path).and_then(|text| Template::parse(&text)).map_err(Error::Message)?;
            columns.push((name.to_owned(), template));
        }
        Ok(Columns(columns))
    }

    /// The first line of the file has the headers, the second the paths, both apart by spaces.
    pub fn parse_file(content: &str) -> Result<Self> {
        let mut lines = content.lines();
        let mut words = || lines.next().map(|line| line.split_whitespace().collect::<Vec<_>>()).unwrap_or_default();
        let (names, paths) = (words(), words());
        if names.is_empty() {
            return Err(Error::message(
                "invalid template, missing header line. Expected format is one line of space separated headers, one line of space separated column specs.",
            ));
        }
        if names.len() != paths.len() {
            return Err(Error::message(format!(
                "number of headers ({}) and field specifications ({}) don't match",
                names.len(),
                paths.len()
            )));
        }
        Self::parse(&names.iter().zip(paths).map(|(name, path)| format!("{name}:{path}")).collect::<Vec<_>>().join(","))
    }

    pub fn print(&self, objects: &[Value], no_headers: bool) -> Result<String> {
        let mut text = String::new();
        if !no_headers {
            text.push_str(&self.0.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join("\t"));
            text.push('\n');
        }
        for object in objects {
            let mut cells = Vec::new();
            for (_, template) in &self.0 {
                let values: Vec<String> = template
                    .values(object)
                    .map_err(Error::Message)?
                    .iter()
                    .map(|value| harmless(&value::show(value)).replace(['\n', '\t'], " "))
                    .collect();
                cells.push(if values.is_empty() { "<none>".to_owned() } else { values.join(",") });
            }
            text.push_str(&cells.join("\t"));
            text.push('\n');
        }
        Ok(align(&text, 6, 3))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn columns_are_read_from_paths() {
        let columns = Columns::parse("NAME:.metadata.name,IPS:status.ips[*]").expect("is valid");
        let out = columns.print(&[json!({"metadata": {"name": "a"}, "status": {"ips": ["x", "y"]}}), json!({})], false);
        assert_eq!(out.expect("prints"), "NAME     IPS\na        x,y\n<none>   <none>\n");
        assert!(Columns::parse("NAME").is_err());
    }
}
