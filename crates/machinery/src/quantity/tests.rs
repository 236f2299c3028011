use super::*;
use proptest::prelude::*;

fn parse(text: &str) -> Quantity {
    Quantity::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

#[test]
fn texts_become_canonical() {
    for (text, want) in [
        ("0", "0"),
        ("0Ki", "0"),
        ("-0", "0"),
        ("00", "0"),
        (".", "0"),
        ("1000m", "1"),
        ("100m", "100m"),
        ("1024Ki", "1Mi"),
        ("0.5Gi", "512Mi"),
        ("1.5Gi", "1536Mi"),
        ("1.5", "1500m"),
        ("0.1", "100m"),
        ("1e3", "1e3"),
        ("1000e0", "1e3"),
        ("1e-1", "100e-3"),
        ("12e6", "12e6"),
        ("12E", "12E"),
        ("1E", "1E"),
        ("1E3", "1E3"),
        ("1000k", "1M"),
        ("1000000000000", "1T"),
        ("1048576", "1048576"),
        ("128974848", "128974848"),
        ("1.5Ki", "1536"),
        ("0.5Ki", "512"),
        ("1Ki", "1Ki"),
        ("512Ki", "512Ki"),
        ("-1024Ki", "-1Mi"),
        ("0.0001", "100u"),
        ("0.0000000001", "1n"),
        ("-0.0000000001", "-1n"),
        ("1.0000000001", "1000000001n"),
        ("0.00000000000000000000000000001Ki", "1n"),
        ("1.", "1."),
        ("9223372036854775807", "9223372036854775807"),
        ("8Ei", "9223372036854775807"),
        ("-8Ei", "-9223372036854775807"),
        ("7Ei", "7Ei"),
        ("1000E", "1000E"),
        ("1e30", "1e30"),
        ("99999999999999999999999999999999999999999999", "100000000000000000000000000E"),
        // Digits that need no other suffix stay as they were written.
        ("+1", "+1"),
        ("2E6", "2E6"),
        ("00100m", "00100m"),
    ] {
        assert_eq!(parse(text).to_string(), want, "{text}");
    }
}

#[test]
fn errors_are_upstreams() {
    let format = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
    let suffix = "unable to parse quantity's suffix";
    for (text, want) in [
        ("", format),
        ("abc", format),
        ("1..2", format),
        ("1 ", format),
        ("true", format),
        ("1é", format),
        ("1mm", suffix),
        ("1e", suffix),
        ("1K", suffix),
        ("1Ki5", suffix),
        ("1e+", suffix),
    ] {
        assert_eq!(Quantity::parse(text).unwrap_err().to_string(), want, "{text}");
    }
}

#[test]
fn fields_may_be_numbers_and_have_spaces() {
    let from = |value: Value| Quantity::from_json(&value).map(|q| q.to_string());
    assert_eq!(from(" 1 ".into()), Ok("1".to_owned()));
    assert_eq!(from(0.1.into()), Ok("100m".to_owned()));
    assert_eq!(from(1048576.into()), Ok("1048576".to_owned()));
    assert_eq!(from(Value::Null), Ok("0".to_owned()));
    assert_eq!(from(true.into()), Err(ParseError::Format));
}

#[test]
fn values_round_away_from_zero() {
    for (text, value, milli) in [
        ("1.1", 2, 1100),
        ("-1.1", -2, -1100),
        ("1n", 1, 1),
        ("-1n", -1, -1),
        ("2Ki", 2048, 2_048_000),
        ("1e40", i64::MAX, i64::MAX),
        ("-1e400000", i64::MIN, i64::MIN),
        ("0", 0, 0),
    ] {
        assert_eq!((parse(text).value(), parse(text).milli_value()), (value, milli), "{text}");
    }
}

#[test]
fn arithmetic_keeps_the_first_family() {
    for (a, b, sum, difference) in [
        ("1", "500m", "1500m", "500m"),
        ("1Gi", "1G", "2073741824", "73741824"),
        ("0", "1Gi", "1Gi", "-1Gi"),
        ("1Gi", "0", "1Gi", "1Gi"),
        ("1Gi", "1Gi", "2Gi", "0"),
        ("1e3", "1", "1001", "999"),
    ] {
        assert_eq!(parse(a).add(&parse(b)).to_string(), sum, "{a}+{b}");
        assert_eq!(parse(a).sub(&parse(b)).to_string(), difference, "{a}-{b}");
    }
    // Beyond 38 digits the last ones are rounded away from zero.
    assert_eq!(parse("1e40").add(&parse("1")).to_string(), "10000000000000000000000000000000000001e3");
    assert!(parse("1").add(&parse("1e400")) > parse("1e400"));
    assert_eq!(parse("100m").mul(30).to_string(), "3");
    assert_eq!(parse("0.0001").round_up(-3).to_string(), "1m");
    assert_eq!(parse("+1").round_up(-3).to_string(), "+1");
}

#[test]
fn order_is_by_value() {
    let sorted = ["-1e99", "-1", "-1m", "0", "1n", "1m", "999m", "1", "1Ki", "1e18", "1000E", "1e99"];
    for (i, a) in sorted.iter().enumerate() {
        for (j, b) in sorted.iter().enumerate() {
            assert_eq!(parse(a).cmp(&parse(b)), i.cmp(&j), "{a} {b}");
        }
    }
    assert_eq!(parse("1000m"), parse("1"));
    assert_eq!(parse("1Ki"), parse("1024"));
}

fn any_quantity() -> impl Strategy<Value = Quantity> {
    let format = prop_oneof![Just(Format::DecimalSI), Just(Format::BinarySI), Just(Format::DecimalExponent)];
    (any::<i64>(), -9..=0i32, format).prop_map(|(m, e, format)| Quantity::make(i128::from(m), e, format))
}

proptest! {
    #[test]
    fn parsing_never_panics(text in "\\PC*") {
        let _ = Quantity::parse(&text);
    }

    #[test]
    fn parsing_near_quantities_never_panics(text in "[-+]?[0-9.]{0,60}([eEinumkKMGTP]{0,2}[-+]?[0-9]{0,20})") {
        if let Ok(quantity) = Quantity::parse(&text) {
            // Whatever was read reads the same again.
            prop_assert_eq!(&parse(&quantity.to_string()), &quantity);
            prop_assert_eq!(&parse(&quantity.canonical()), &quantity);
            let _ = (quantity.value(), quantity.milli_value(), quantity.add(&quantity), quantity.mul(-7));
        }
    }

    #[test]
    fn canonical_text_is_a_fixed_point(quantity in any_quantity()) {
        let text = quantity.canonical();
        prop_assert_eq!(&parse(&text), &quantity);
        prop_assert_eq!(parse(&text).canonical(), text);
    }

    #[test]
    fn sums_are_exact(a in any_quantity(), b in any_quantity()) {
        prop_assert_eq!(a.add(&b), b.add(&a));
        prop_assert_eq!(&a.add(&b).sub(&b), &a);
        prop_assert!(a.sub(&a).is_zero());
        prop_assert_eq!(a.cmp(&b), a.sub(&b).signum().cmp(&0));
    }

    #[test]
    fn order_agrees_with_nanos(a in any::<i32>(), b in any::<i32>(), x in -6..=3i32, y in -6..=3i32) {
        let nanos = |m: i32, e: i32| i128::from(m) * 10i128.pow((e + 9).unsigned_abs());
        let quantity = |m: i32, e: i32| Quantity::make(i128::from(m), e, Format::DecimalSI);
        prop_assert_eq!(quantity(a, x).cmp(&quantity(b, y)), nanos(a, x).cmp(&nanos(b, y)));
    }
}

#[test]
fn what_was_written_is_read_as_the_same_also_at_the_end_of_the_range() {
    for text in ["640043000e0043000000090673", "1000e1000000", "1e999999", "-70e9999999999", "1e-9999999999"] {
        let written = Quantity::parse(text).unwrap().canonical();
        assert_eq!(Quantity::parse(&written).unwrap().canonical(), written, "{text}");
    }
}
