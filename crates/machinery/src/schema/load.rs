//! Reads the generated text. Its form, one line a type or field, parts separated by tabs:
//!
//! ```text
//! # comment
//! io.k8s.api.core.v1.Pod<TAB>kv1,Pod                   a type: its OpenAPI name, then its parts
//! <TAB>containers<TAB>[rapi.core.v1.Container<TAB>...  a field: JSON name, shape, then its parts
//! ```
//! Shapes: `s` string, `i` int32, `l` int64, `d` float, `b` bool, `y` bytes, `t` time, `m` micro time, `q` quantity,
//! `o` int or string, `a` any, `rNAME` reference (without its `io.k8s.`), `uB|uL|uS NAME` reference or
//! bool/list/strings, `[` list of, `{` map of. Parts begin with a letter that `Field::part` and `Type::part` read.

use super::types::{
    Alternative, Field, GroupVersionKindName, ListKind, MapKind, ProtoField, ProtoLabel, Shape, Text, Type, TypeId,
    Types,
};

/// Prefix of all names, left out in references.
const PREFIX: &str = "io.k8s.";

/// A line of the generated text that does not have the form above.
#[derive(Debug, thiserror::Error)]
#[error("schema line {line}: {reason}")]
pub struct LoadError {
    line: usize,
    reason: &'static str,
}

/// Reads the whole table, one text after the other. Types are declared first, because they refer to each other in any direction.
pub fn load(texts: &[&'static str]) -> Result<Types, LoadError> {
    let mut types = Types::default();
    types.any_is_atomic = true;
    for line in texts.iter().flat_map(|text| text.lines()).filter(|line| is_type(line)) {
        types.declare(line.split('\t').next().unwrap_or_default());
    }
    let mut current: Option<(TypeId, Type)> = None;
    for (number, line) in texts.iter().flat_map(|text| text.lines().enumerate()) {
        let fail = |reason| LoadError { line: number + 1, reason };
        if let Some(field) = line.strip_prefix('\t') {
            let (_, ty) = current.as_mut().ok_or_else(|| fail("a field before the first type"))?;
            ty.fields.push(read_field(&types, field).map_err(fail)?);
        } else if is_type(line) {
            if let Some((id, ty)) = current.take() {
                types.define(id, ty);
            }
            let ty = read_type(&types, line).map_err(fail)?;
            let id = types.id(&ty.name).ok_or_else(|| fail("an undeclared type"))?;
            current = Some((id, ty));
        }
    }
    if let Some((id, ty)) = current {
        types.define(id, ty);
    }
    Ok(types)
}

fn is_type(line: &str) -> bool {
    !line.is_empty() && !line.starts_with(['\t', '#'])
}

fn read_type(types: &Types, line: &'static str) -> Result<Type, &'static str> {
    let mut parts = line.split('\t');
    let mut ty = Type::new(parts.next().ok_or("no name")?);
    for part in parts {
        let (tag, rest) = split_tag(part)?;
        match tag {
            b'k' => {
                let mut words = rest.split(',');
                let (Some(group), Some(version), Some(kind)) = (words.next(), words.next(), words.next()) else {
                    return Err("a kind has group, version and name");
                };
                ty.kinds.push(GroupVersionKindName { group: group.into(), version: version.into(), kind: kind.into() });
            }
            b'A' => ty.map = read_map_kind(rest)?,
            b'S' => ty.scalar = Some(read_shape(types, rest)?),
            b'U' => ty.unions = Some(serde_json::from_str(rest).map_err(|_| "unions are no JSON")?),
            _ => return Err("unknown part of a type"),
        }
    }
    Ok(ty)
}

fn read_field(types: &Types, line: &'static str) -> Result<Field, &'static str> {
    let mut parts = line.split('\t');
    let name = parts.next().ok_or("no name")?;
    let shape = read_shape(types, parts.next().ok_or("no shape")?)?;
    let mut field = Field::new(name, shape);
    for part in parts {
        let (tag, rest) = split_tag(part)?;
        match tag {
            b'!' => {
                field.omit_empty = rest.contains('o');
                field.omit_zero = rest.contains('z');
                field.pointer = rest.contains('p');
                field.required = rest.contains('r');
            }
            b'L' => {
                field.list = match split_tag(rest)? {
                    (b'a', _) => ListKind::Atomic,
                    (b's', _) => ListKind::Set,
                    (b'm', keys) => ListKind::Map(keys.split(',').map(Text::Borrowed).collect()),
                    _ => return Err("unknown list type"),
                }
            }
            b'A' => field.map = read_map_kind(rest)?,
            b'P' => {
                field.patch.merge = rest.contains('m');
                field.patch.replace = rest.contains('r');
                field.patch.retain_keys = rest.contains('k');
            }
            b'K' => field.patch.merge_key = Some(rest.into()),
            b'E' => field.enumeration = rest.split(',').map(Text::Borrowed).collect(),
            b'D' => field.default = Some(serde_json::from_str(rest).map_err(|_| "a default is no JSON")?),
            b'N' => field.proto = Some(read_proto(rest)?),
            b'G' => field.go_type = Some(rest.into()),
            _ => return Err("unknown part of a field"),
        }
    }
    Ok(field)
}

fn split_tag(part: &'static str) -> Result<(u8, &'static str), &'static str> {
    match part.as_bytes().first() {
        Some(tag) if tag.is_ascii() => Ok((*tag, &part[1..])),
        _ => Err("an empty part"),
    }
}

fn read_map_kind(text: &str) -> Result<MapKind, &'static str> {
    match text {
        "a" => Ok(MapKind::Atomic),
        "g" => Ok(MapKind::Granular),
        _ => Err("unknown map type"),
    }
}

/// `N1.2R:string`: numbers of the inlined messages and of the field, label, type.
fn read_proto(text: &'static str) -> Result<ProtoField, &'static str> {
    let (head, kind) = text.split_once(':').ok_or("proto without type")?;
    let label = match head.as_bytes().last() {
        Some(b'O') => ProtoLabel::Optional,
        Some(b'R') => ProtoLabel::Repeated,
        Some(b'Q') => ProtoLabel::Required,
        Some(b'M') => ProtoLabel::Map,
        _ => return Err("unknown proto label"),
    };
    let mut within = head[..head.len() - 1]
        .split('.')
        .map(|number| number.parse().map_err(|_| "a proto number is no number"))
        .collect::<Result<Vec<u32>, _>>()?;
    let number = within.pop().ok_or("no proto number")?;
    Ok(ProtoField { within, number, label, kind: kind.into() })
}

fn read_shape(types: &Types, text: &'static str) -> Result<Shape, &'static str> {
    let (tag, rest) = split_tag(text)?;
    Ok(match tag {
        b's' => Shape::String,
        b'i' => Shape::Int32,
        b'l' => Shape::Int64,
        b'd' => Shape::Float64,
        b'b' => Shape::Bool,
        b'y' => Shape::Bytes,
        b't' => Shape::Time,
        b'm' => Shape::MicroTime,
        b'q' => Shape::Quantity,
        b'o' => Shape::IntOrString,
        b'a' => Shape::Any,
        b'r' => Shape::Ref(reference(types, rest)?),
        b'u' => {
            let (which, name) = split_tag(rest)?;
            let alternative = match which {
                b'B' => Alternative::Bool,
                b'L' => Alternative::List,
                b'S' => Alternative::Strings,
                _ => return Err("unknown alternative"),
            };
            Shape::RefOr(reference(types, name)?, alternative)
        }
        b'[' => Shape::List(Box::new(read_shape(types, rest)?)),
        b'{' => Shape::Map(Box::new(read_shape(types, rest)?)),
        _ => return Err("unknown shape"),
    })
}

fn reference(types: &Types, name: &str) -> Result<TypeId, &'static str> {
    let mut full = String::with_capacity(PREFIX.len() + name.len());
    full.push_str(PREFIX);
    full.push_str(name);
    types.id(&full).ok_or("a reference to an unknown type")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_types_and_fields() {
        let types = load(&[concat!(
            "# comment\n",
            "io.k8s.A\tk,v1,A\tAa\n",
            "\tname\ts\t!r\tD\"\"\tN2.1O:string\tEx,y\n",
            "\tports\t[rB\t!o\tLma,b\tPmk\tKa\tN3R:B\n",
            "io.k8s.B\n",
            "\tor\tuBA\t!op\n",
            "io.k8s.T\tSt\n",
        )])
        .unwrap();
        let a = types.get(types.id("io.k8s.A").unwrap());
        let b = types.id("io.k8s.B").unwrap();
        assert_eq!(a.map, MapKind::Atomic);
        assert_eq!(types.by_kind("", "v1", "A"), types.id("io.k8s.A"));
        assert_eq!(a.find("name").unwrap().proto.as_ref().unwrap().within, [2]);
        assert_eq!(a.find("name").unwrap().enumeration, ["x", "y"]);
        let ports = a.find("ports").unwrap();
        assert_eq!(ports.shape, Shape::List(Box::new(Shape::Ref(b))));
        assert_eq!(ports.list, ListKind::Map(vec!["a".into(), "b".into()]));
        assert!(ports.patch.merge && ports.patch.retain_keys && !ports.patch.replace);
        assert!(ports.omit_empty && !ports.required);
        assert_eq!(types.get(types.id("io.k8s.T").unwrap()).scalar, Some(Shape::Time));
        assert_eq!(a.find("Name").map(|field| &field.name), None);
    }

    #[test]
    fn a_bad_line_is_named() {
        let error = load(&["io.k8s.A\n\tname\trMissing\n"]).unwrap_err();
        assert_eq!(error.to_string(), "schema line 2: a reference to an unknown type");
        assert!(load(&["\tname\ts\n"]).is_err());
    }
}
