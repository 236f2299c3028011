//! The files of configMap, secret, downwardAPI and projected volumes.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{DownwardAPIVolumeFile, KeyToPath, Pod, Volume},
    apimachinery::pkg::api::resource::Quantity,
};

use super::atomic_writer::{File, Files};
use crate::{
    objects::Objects,
    pod::{
        PodExt,
        fields::{self, Addresses},
    },
};

type Allocatable = BTreeMap<String, Quantity>;

/// All files of one volume.
pub async fn collect(
    objects: &Objects,
    pod: &Pod,
    volume: &Volume,
    allocatable: &Allocatable,
) -> Result<Files, String> {
    let collector = Collector { objects, pod, allocatable };
    if let Some(source) = &volume.config_map {
        let mode = mode(source.default_mode);
        let optional = source.optional.unwrap_or(false);
        return collector.config_map(&source.name, source.items.as_deref(), mode, optional).await;
    }
    if let Some(source) = &volume.secret {
        let name = source.secret_name.as_deref().unwrap_or_default();
        let mode = mode(source.default_mode);
        return collector.secret(name, source.items.as_deref(), mode, source.optional.unwrap_or(false)).await;
    }
    if let Some(source) = &volume.downward_api {
        return collector.downward(source.items.as_deref().unwrap_or_default(), mode(source.default_mode));
    }
    let Some(source) = &volume.projected else { return Ok(Files::new()) };
    let default_mode = mode(source.default_mode);
    let mut files = Files::new();
    for projection in source.sources.iter().flatten() {
        if let Some(s) = &projection.config_map {
            let optional = s.optional.unwrap_or(false);
            files.extend(collector.config_map(&s.name, s.items.as_deref(), default_mode, optional).await?);
        } else if let Some(s) = &projection.secret {
            let optional = s.optional.unwrap_or(false);
            files.extend(collector.secret(&s.name, s.items.as_deref(), default_mode, optional).await?);
        } else if let Some(s) = &projection.downward_api {
            files.extend(collector.downward(s.items.as_deref().unwrap_or_default(), default_mode)?);
        } else if let Some(s) = &projection.service_account_token {
            let audience = s.audience.as_deref().unwrap_or_default();
            let token = objects.token(pod, audience, s.expiration_seconds.unwrap_or(3600)).await?;
            files.insert(s.path.clone(), token_file(pod, token, default_mode));
        } else {
            return Err("this kind of projection is not supported by this node".into());
        }
    }
    Ok(files)
}

fn mode(mode: Option<i32>) -> u32 {
    mode.and_then(|mode| u32::try_from(mode).ok()).unwrap_or(0o644)
}

/// A token is readable by the one user that all containers run as; if there is none such, by everybody in the pod.
fn token_file(pod: &Pod, token: String, default_mode: u32) -> File {
    let shared = pod.pod_spec().security_context.as_ref();
    let all = pod.main_containers().iter().chain(pod.init_containers());
    let mut users = all.map(|c| {
        let own = c.security_context.as_ref().and_then(|s| s.run_as_user);
        own.or(shared.and_then(|s| s.run_as_user))
    });
    let first = users.next().flatten().filter(|first| users.all(|user| user == Some(*first)));
    let owner = first.and_then(|user| u32::try_from(user).ok());
    let grouped = shared.is_some_and(|s| s.fs_group.is_some());
    let mode = if owner.is_some() || grouped { 0o600 } else { default_mode };
    File { data: token.into_bytes(), mode, owner }
}

struct Collector<'a> {
    objects: &'a Objects,
    pod: &'a Pod,
    allocatable: &'a Allocatable,
}

impl Collector<'_> {
    async fn config_map(
        &self,
        name: &str,
        items: Option<&[KeyToPath]>,
        mode: u32,
        optional: bool,
    ) -> Result<Files, String> {
        let namespace = self.pod.namespace();
        let Some(map) = self.objects.config_map(namespace, name).await? else {
            return if optional { Ok(Files::new()) } else { Err(format!("configmap {name:?} not found")) };
        };
        let text = map.data.iter().flatten().map(|(key, value)| (key.clone(), value.clone().into_bytes()));
        let binary = map.binary_data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone()));
        select(text.chain(binary).collect(), items, mode, optional, "configmap")
    }

    async fn secret(
        &self,
        name: &str,
        items: Option<&[KeyToPath]>,
        mode: u32,
        optional: bool,
    ) -> Result<Files, String> {
        let Some(secret) = self.objects.secret(self.pod.namespace(), name).await? else {
            return if optional { Ok(Files::new()) } else { Err(format!("secret {name:?} not found")) };
        };
        let data = secret.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect();
        select(data, items, mode, optional, "secret")
    }

    fn downward(&self, items: &[DownwardAPIVolumeFile], default_mode: u32) -> Result<Files, String> {
        let mut files = Files::new();
        for item in items {
            let text = if let Some(field) = &item.field_ref {
                fields::field(self.pod, &Addresses::default(), &field.field_path)?
            } else if let Some(selector) = &item.resource_field_ref {
                let name = selector.container_name.as_deref().unwrap_or_default();
                let (_, container) = self.pod.find_container(name).ok_or(format!("container {name} not found"))?;
                fields::resource_field(&container, selector, self.allocatable)?
            } else {
                String::new()
            };
            let mode = item.mode.map_or(default_mode, |own| mode(Some(own)));
            files.insert(item.path.clone(), File { data: text.into_bytes(), mode, owner: None });
        }
        Ok(files)
    }
}

/// All keys under their own names, or the chosen ones under theirs.
fn select(
    data: BTreeMap<String, Vec<u8>>,
    items: Option<&[KeyToPath]>,
    default_mode: u32,
    optional: bool,
    kind: &str,
) -> Result<Files, String> {
    let file = |data: Vec<u8>, mode| File { data, mode, owner: None };
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        return Ok(data.into_iter().map(|(key, data)| (key, file(data, default_mode))).collect());
    };
    let mut files = Files::new();
    for item in items {
        match data.get(&item.key) {
            Some(data) => {
                let mode = item.mode.map_or(default_mode, |own| mode(Some(own)));
                files.insert(item.path.clone(), file(data.clone(), mode));
            }
            None if optional => {}
            None => return Err(format!("{kind} references non-existent {kind} key: {}", item.key)),
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_choose_keys_and_missing_ones_are_told() {
        let data = BTreeMap::from([("a".to_owned(), b"1".to_vec()), ("b".to_owned(), b"2".to_vec())]);
        assert_eq!(select(data.clone(), None, 0o644, false, "secret").unwrap().len(), 2);
        let item = |key: &str| KeyToPath { key: key.into(), path: "p".into(), mode: Some(0o400) };
        let chosen = select(data.clone(), Some(&[item("a")]), 0o644, false, "secret").unwrap();
        assert_eq!(chosen["p"], File { data: b"1".to_vec(), mode: 0o400, owner: None });
        let error = select(data, Some(&[item("z")]), 0o644, false, "secret").unwrap_err();
        assert_eq!(error, "secret references non-existent secret key: z");
    }
}
