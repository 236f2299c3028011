//! What functions cost by the sizes of their arguments, and how large their results may be.

use super::estimator::{Estimator, Part};
use super::range::{CostRange, scale};
use super::runtime::{CHARACTER, CHECK, LIST, OBJECT, PATTERN_CHARACTER, is_text_comparison, is_unit};
use crate::ast::{Kind, Literal};
use crate::types::Type;

/// The longest name of a format.
const FORMAT_CHARACTERS_MAX: u64 = 64;
/// The longest pattern of a format.
const FORMAT_PATTERN_CHARACTERS_MAX: f64 = 128.0;

/// A cost, and the size of the result where that is known.
pub(super) type Estimated = (CostRange, Option<CostRange>);

fn only(cost: CostRange) -> Option<Estimated> {
    Some((cost, None))
}

fn sized(part: &Part<'_>) -> CostRange {
    part.size.unwrap_or(CostRange::UNKNOWN)
}

impl<'c> Estimator<'c> {
    /// One overload of a function, without its arguments.
    pub(super) fn function(
        &self,
        function: &str,
        overload: &str,
        target: Option<&Part<'c>>,
        args: &[Part<'c>],
    ) -> Estimated {
        self.list_function(overload, target, args)
            .or_else(|| self.kubernetes_function(function, overload, target, args))
            .or_else(|| standard_function(overload, target, args))
            .unwrap_or((CostRange::fixed(1), None))
    }

    /// The size as the libraries see it: also by the path, where the part itself tells nothing.
    fn size_of_part(&self, part: &Part<'c>) -> CostRange {
        part.size.or_else(|| self.size_of_path(&part.path)).unwrap_or(CostRange::UNKNOWN)
    }

    fn list_function(&self, overload: &str, target: Option<&Part<'c>>, args: &[Part<'c>]) -> Option<Estimated> {
        let allocating =
            |factor: f64, size: CostRange| Some((size.scaled(factor).plus(CostRange::fixed(1 + LIST)), Some(size)));
        let target_size = || target.map(|target| self.size_of_part(target));
        match overload {
            "list_slice" => {
                let size = target_size()?;
                let (start, end) = (whole(args.first()?, 0), whole(args.get(1)?, size.max));
                allocating(1.0, CostRange::fixed(end.wrapping_sub(start)))
            }
            "lists_range" => allocating(1.0, CostRange::fixed(whole(args.first()?, u64::MAX))),
            "list_reverse" => allocating(1.0, target_size()?),
            "list_flatten" => allocating(1.0, target_size()?),
            "list_flatten_int" => allocating(whole(args.first()?, u64::MAX) as f64, target_size()?),
            "list_distinct" => {
                let size = target_size()?;
                allocating(2.0, size.times(size))
            }
            "list_sets_contains_list" | "list_sets_intersects_list" | "list_sets_equivalent_list" => {
                let factor = if overload == "list_sets_equivalent_list" { 2.0 } else { 1.0 };
                let [a, b] = args else { return None };
                let pairs = self.size_of_part(a).times(self.size_of_part(b));
                only(pairs.scaled(factor).plus(CostRange::fixed(1)))
            }
            _ if overload.starts_with("list_") && overload.ends_with("_sort") => {
                sorting(overload, target_size()?, allocating)
            }
            _ if overload.ends_with("_sortByAssociatedKeys") => {
                sorting(overload, self.size_of_part(args.first()?), allocating)
            }
            _ => None,
        }
    }

    fn kubernetes_function(
        &self,
        function: &str,
        overload: &str,
        target: Option<&Part<'c>>,
        args: &[Part<'c>],
    ) -> Option<Estimated> {
        let first = || args.first().map(|arg| self.size_of_part(arg));
        let on = || target.map(|target| self.size_of_part(target));
        match function {
            "check" => only(CostRange::fixed(CHECK)),
            "serviceAccount" | "path" | "group" | "resource" | "subresource" | "namespace" | "name" | "allowed"
            | "reason" | "error" | "errored" => only(CostRange::fixed(1)),
            "fieldSelector" | "labelSelector" => {
                let size = first()?;
                let requirements = size.scaled(0.5).scaled((LIST + OBJECT) as f64);
                only(CostRange::fixed(LIST).plus(size.scaled(CHARACTER)).plus(requirements))
            }
            "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" | "includes" => {
                only(self.list_traversal(function, target?))
            }
            "url" | "jsonpatch.escapeKey" => first().map(|size| (size.scaled(CHARACTER), Some(size))),
            "lowerAscii" | "upperAscii" | "substring" | "trim" => on().map(|size| (size.scaled(CHARACTER), Some(size))),
            "replace" => {
                let [from, to, ..] = args else { return None };
                let size = replaced(on()?, self.size_of_part(from), self.size_of_part(to));
                Some((on()?.scaled(2.0 * CHARACTER), Some(size)))
            }
            "split" => {
                let size = on()?;
                let parts = args.get(1).and_then(literal_int).map_or(size.max, |limit| limit as u64);
                Some((size.scaled(2.0 * CHARACTER), Some(CostRange::new(0, parts))))
            }
            "join" => {
                let size = self.joined(target?, args);
                Some((size.scaled(CHARACTER), Some(size)))
            }
            "find" | "findAll" => {
                let size = on()?;
                let cost = matching(size, first()?);
                Some((cost, Some(CostRange::new(0, size.max))))
            }
            "ip" if overload == "cidr_ip" => only(CostRange::fixed(1)),
            "cidr" | "isIP" | "isCIDR" | "ip" | "quantity" | "isQuantity" | "semver" | "isSemver" => {
                only(first()?.scaled(CHARACTER))
            }
            "ip.isCanonical" => only(first()?.scaled(2.0 * CHARACTER)),
            "containsIP" | "containsCIDR" => only(containment(function, overload, first()?)),
            "validate" => {
                let factor = FORMAT_PATTERN_CHARACTERS_MAX * PATTERN_CHARACTER;
                only(first()?.scaled(CHARACTER).scaled(factor))
            }
            "_==_" => opaque_equality(args),
            _ if is_unit(function) => only(CostRange::fixed(1)),
            _ => None,
        }
    }

    /// Going once through a list; each text in it costs by its length.
    fn list_traversal(&self, function: &str, target: &Part<'c>) -> CostRange {
        let size = self.size_of_part(target);
        let element = match &target.ty {
            Type::List(element) => Type::clone(element),
            Type::Map(types) => types.0.clone(),
            _ if function == "includes" => return size,
            _ => return size.scaled(CHARACTER),
        };
        let mut cost = CostRange::fixed(1);
        if matches!(element, Type::String | Type::Bytes) {
            cost = cost.plus(self.element_size(target).scaled(CHARACTER));
        }
        size.times(cost)
    }

    fn element_size(&self, list: &Part<'c>) -> CostRange {
        let mut path = list.path.clone();
        if !path.is_empty() {
            path.push("@items".into());
        }
        self.size_of_path(&path).unwrap_or(CostRange::UNKNOWN)
    }

    fn joined(&self, target: &Part<'c>, args: &[Part<'c>]) -> CostRange {
        let items = self.size_of_part(target);
        let mut size = CostRange::ZERO;
        if matches!(target.ty, Type::List(_)) {
            size = items.times(self.element_size(target));
        }
        if let Some(separator) = args.first() {
            let separators = CostRange::new(items.min.saturating_sub(1), items.max.saturating_sub(1));
            size = size.plus(self.size_of_part(separator).times(separators));
        }
        size
    }
}

fn sorting(
    overload: &str,
    size: CostRange,
    allocating: impl Fn(f64, CostRange) -> Option<Estimated>,
) -> Option<Estimated> {
    let is_text = overload.starts_with("list_string_") || overload.starts_with("list_bytes_");
    allocating(if is_text { 2.0 + CHARACTER } else { 2.0 }, size.times(size))
}

fn literal_int(part: &Part<'_>) -> Option<i64> {
    match part.expr?.kind {
        Kind::Literal(Literal::Int(value)) => Some(value),
        _ => None,
    }
}

fn whole(part: &Part<'_>, otherwise: u64) -> u64 {
    literal_int(part).map_or(otherwise, |value| u64::try_from(value).unwrap_or(0))
}

fn matching(text: CostRange, pattern: CostRange) -> CostRange {
    text.plus(CostRange::fixed(1)).scaled(CHARACTER).times(pattern.scaled(PATTERN_CHARACTER))
}

/// The size of a text in which something was replaced.
fn replaced(text: CostRange, from: CostRange, to: CostRange) -> CostRange {
    let divided = |size: u64, by: u64| (size as f64 / by as f64).ceil() as u64;
    let (most, most_kept) = match from.min {
        0 => (text.max.saturating_add(1), text.max),
        _ if to.max <= from.min => (0, text.max),
        shortest => (divided(text.max, shortest), 0),
    };
    let (least, least_kept) = match from.max {
        0 => (text.min.saturating_add(1), text.min),
        _ if from.max <= to.min => (0, text.min),
        longest => (divided(text.min, longest), 0),
    };
    CostRange::new(least, most).times(to).plus(CostRange::new(least_kept, most_kept))
}

fn containment(function: &str, overload: &str, argument: CostRange) -> CostRange {
    let address = CostRange::new(4, 16);
    let mut cost = address.plus(address).scaled(CHARACTER);
    if function == "containsCIDR" {
        cost = cost.plus(address.scaled(CHARACTER)).plus(CostRange::fixed(1));
    }
    if matches!(overload, "cidr_contains_ip_string" | "cidr_contains_cidr_string") {
        cost = cost.plus(argument.scaled(CHARACTER));
    }
    cost
}

fn opaque_equality(args: &[Part<'_>]) -> Option<Estimated> {
    let [Part { ty: Type::Opaque(a), .. }, Part { ty: Type::Opaque(b), size, .. }] = args else { return None };
    if a != b {
        return None;
    }
    match *a {
        "kubernetes.NamedFormat" => only(CostRange::new(1, FORMAT_CHARACTERS_MAX).scaled(CHARACTER)),
        "kubernetes.URL" => only(CostRange::new(1, size.map_or(1, |size| size.max)).scaled(CHARACTER)),
        _ => only(CostRange::fixed(1)),
    }
}

fn standard_function(overload: &str, target: Option<&Part<'_>>, args: &[Part<'_>]) -> Option<Estimated> {
    let at = |index: usize| args.get(index).map(sized);
    match overload {
        "string_format" => only(sized(target?).scaled(CHARACTER)),
        "string_to_bytes" => {
            let size = at(0)?;
            Some((size.scaled(CHARACTER), Some(CostRange::new(size.min, size.max.wrapping_mul(4)))))
        }
        "bytes_to_string" => {
            let size = at(0)?;
            Some((size.scaled(CHARACTER), Some(CostRange::new(size.min / 4, size.max))))
        }
        "strings_quote" => {
            let size = at(0)?;
            let quoted = CostRange::new(size.min.wrapping_add(2), size.max.wrapping_mul(2).wrapping_add(2));
            Some((size.scaled(CHARACTER), Some(quoted)))
        }
        "starts_with_string" | "ends_with_string" => only(at(0)?.scaled(CHARACTER)),
        "in_list" => only(at(1)?),
        "matches_string" => only(matching(sized(target?), at(0)?)),
        "contains_string" => only(sized(target?).scaled(CHARACTER).times(at(0)?.scaled(CHARACTER))),
        "add_string" | "add_bytes" => {
            let size = at(0)?.plus(at(1)?);
            Some((size.scaled(CHARACTER), Some(size)))
        }
        "add_list" => Some((CostRange::fixed(1), Some(at(0)?.plus(at(1)?)))),
        _ if is_text_comparison(overload) || matches!(overload, "equals" | "not_equals") => {
            let most = at(0)?.max.min(at(1)?.max);
            only(CostRange::new(scale(u64::from(most > 0), CHARACTER), scale(most, CHARACTER)))
        }
        _ => None,
    }
}
