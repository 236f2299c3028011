//! Bodies of protobuf: the envelope, then a message of some type; what is decoded is encoded and decoded to the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use machinery::codec::protobuf;
use machinery::schema;

fuzz_target!(|data: &[u8]| {
    let _ = protobuf::unwrap_envelope(data);
    let [first, second, rest @ ..] = data else { return };
    let types = schema::builtin();
    let number = usize::from(u16::from_be_bytes([*first, *second])) % types.len();
    let Some((id, _)) = types.iter().nth(number) else { return };
    if let Ok(value) = protobuf::decode(types, id, rest)
        && let Ok(bytes) = protobuf::encode(types, id, &value)
    {
        let again = protobuf::decode(types, id, &bytes).expect("what was encoded is decoded");
        assert_eq!(protobuf::encode(types, id, &again).expect("and encoded again"), bytes);
    }
});
