//! A patch and an object, with a zero byte between them: as a JSON patch, a merge patch, a strategic merge patch of a pod
//! and managed fields.

#![no_main]

use libfuzzer_sys::fuzz_target;
use machinery::patch::{apply, json, merge, strategic};
use machinery::schema;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let Some(middle) = data.iter().position(|byte| *byte == 0) else { return };
    let (patch, object) = (&data[..middle], &data[middle + 1..]);
    let Ok(object) = serde_json::from_slice::<Value>(object) else { return };
    if let Ok(patch) = json::Patch::parse(patch) {
        let _ = patch.apply(&mut object.clone());
    }
    let _ = merge::apply(&mut object.clone(), patch);
    let types = schema::builtin();
    if let Some(id) = types.by_kind("", "v1", "Pod")
        && let Ok(parsed) = strategic::parse(patch)
    {
        let _ = strategic::apply(types, id, &mut object.clone(), parsed.value);
    }
    if let Ok(set) = apply::fields_v1::decode(&object) {
        let written = apply::fields_v1::encode(&set);
        assert_eq!(apply::fields_v1::decode(&written).expect("what was written is read"), set);
    }
});
