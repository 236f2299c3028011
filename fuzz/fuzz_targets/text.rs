//! Bodies of text: what is read as JSON is read as YAML too, and what is written is read back as it was.

#![no_main]

use libfuzzer_sys::fuzz_target;
use machinery::codec::{Limits, json, type_meta, yaml};

fuzz_target!(|data: &[u8]| {
    let limits = Limits::default();
    if let Ok(parsed) = json::parse(data, limits) {
        let _ = type_meta(&parsed.value);
        let written = parsed.value.to_string();
        let again = json::parse(written.as_bytes(), limits).expect("what was written is read");
        assert_eq!(again.value.to_string(), written);
    }
    let _ = yaml::parse(data, limits);
    let _ = yaml::parse_all(data, limits);
});
