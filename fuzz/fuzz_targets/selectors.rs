//! Label and field selectors, quantities, times and JSON paths: text of queries and fields.

#![no_main]

use libfuzzer_sys::fuzz_target;
use machinery::quantity::Quantity;
use machinery::{fields, labels};

fuzz_target!(|text: &str| {
    if let Ok(selector) = labels::Selector::parse(text) {
        let written = selector.to_string();
        let again = labels::Selector::parse(&written).expect("what was written is read");
        assert_eq!(again.to_string(), written);
    }
    let _ = fields::Selector::parse(text);
    if let Ok(quantity) = Quantity::parse(text) {
        let written = quantity.to_string();
        let again = Quantity::parse(&written).expect("what was written is read");
        assert_eq!(again.to_string(), written);
        let _ = (quantity.value(), quantity.milli_value(), quantity.approximate());
    }
});
