//! Resolving "25%" and owner references: small things that several controllers share.

use client::Object;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// A count or a share of `total`, rounded up or down. Malformed text counts as zero: validation has refused it.
pub fn scaled(value: Option<&IntOrString>, total: i32, round_up: bool) -> i32 {
    match value {
        None => 0,
        Some(IntOrString::Int(count)) => *count,
        Some(IntOrString::String(text)) => {
            let percent = text.strip_suffix('%').and_then(|percent| percent.parse::<i64>().ok()).unwrap_or(0);
            let hundredfold = percent.saturating_mul(i64::from(total));
            let share = if round_up { (hundredfold + 99).div_euclid(100) } else { hundredfold.div_euclid(100) };
            i32::try_from(share).unwrap_or(i32::MAX)
        }
    }
}

/// The owner reference that makes `owner` the controller of another object.
pub fn controller_reference<K: Object + kube::Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    let meta = owner.meta_ref();
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: meta.name.to_owned(),
        uid: meta.uid.to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_round_up_for_surge_and_down_for_unavailable() {
        let quarter = IntOrString::String("25%".to_owned());
        assert_eq!((scaled(Some(&quarter), 3, true), scaled(Some(&quarter), 3, false)), (1, 0));
        assert_eq!((scaled(Some(&quarter), 8, true), scaled(Some(&quarter), 8, false)), (2, 2));
        assert_eq!(scaled(Some(&IntOrString::Int(4)), 1, true), 4);
        assert_eq!(scaled(Some(&IntOrString::String("x".to_owned())), 10, true), 0);
    }
}
