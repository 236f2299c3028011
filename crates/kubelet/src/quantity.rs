//! Resource amounts as the node reckons with them: machinery's quantities, in thousandths or whole units.
//! The API server has already checked the text; what cannot be read all the same counts as nothing.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use machinery::quantity::Quantity as Exact;

/// Thousandths of a quantity, rounded away from zero; zero for what cannot be read.
pub fn milli(quantity: &Quantity) -> i128 {
    parse_milli(&quantity.0).unwrap_or(0)
}

/// Whole units of a quantity, rounded away from zero; zero for what cannot be read.
pub fn value(quantity: &Quantity) -> i64 {
    Exact::parse(&quantity.0).map_or(0, |exact| exact.value())
}

/// Thousandths of `100m`, `1.5Gi`, `2e3`; None for anything else.
pub fn parse_milli(text: &str) -> Option<i128> {
    Some(i128::from(Exact::parse(text).ok()?.milli_value()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_family() {
        let cases = [
            ("100m", 100),
            ("1", 1000),
            ("1.5Gi", 1_610_612_736_000),
            ("2e3", 2_000_000),
            ("1n", 1),
            ("-1k", -1_000_000),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_milli(text), Some(expected), "{text}");
        }
        assert_eq!(parse_milli("abc"), None);
        assert_eq!(parse_milli(""), None);
        assert_eq!(value(&Quantity("1500m".into())), 2);
        assert_eq!(milli(&Quantity("abc".into())), 0);
        assert_eq!(value(&Quantity("abc".into())), 0);
    }
}
