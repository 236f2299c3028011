//! Having a container's image: present, pulled, or why not.

use std::{collections::HashMap, sync::Arc};

use base64::Engine;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, Secret};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::{
    backoff::Backoff,
    cri::{Cri, v1},
    events::{Level, Recorder},
    objects::Objects,
    pod::{ContainerKind, PodExt},
};

/// Why a container cannot have its image now: the reason and message it waits with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoImage {
    /// ErrImagePull, ImagePullBackOff, ErrImageNeverPull, InvalidImageName, ImageInspectError.
    pub reason: &'static str,
    /// The message.
    pub message: String,
    /// When it is worth trying again.
    pub retry_at: Option<Timestamp>,
}

/// Pulls images, a few at a time, and remembers failures.
pub struct Images {
    cri: Cri,
    events: Recorder,
    objects: Arc<Objects>,
    slots: Semaphore,
    failures: Mutex<Failures>,
}

#[derive(Default)]
struct Failures {
    backoff: Backoff,
    last: HashMap<String, (Timestamp, String)>,
}

impl Images {
    /// At most `parallel` pulls at once.
    pub fn new(cri: Cri, events: Recorder, objects: Arc<Objects>, parallel: usize) -> Self {
        Self { cri, events, objects, slots: Semaphore::new(parallel.max(1)), failures: Mutex::default() }
    }

    /// The image of `container`, pulled if its policy says so.
    pub async fn ensure(
        &self,
        pod: &Pod,
        kind: ContainerKind,
        container: &Container,
        sandbox: Option<&v1::PodSandboxConfig>,
    ) -> Result<v1::Image, NoImage> {
        let named = container.image.as_deref().unwrap_or_default();
        let about = Some((kind, container.name.as_str()));
        let warn = |reason: &'static str, message: &str| self.events.pod(pod, about, Level::Warning, reason, message);
        let fail = |reason, message: String| NoImage { reason, message, retry_at: None };
        let image = normalize(named).map_err(|cause| {
            let message =
                format!("Failed to apply default image tag {named:?}: couldn't parse image name {named:?}: {cause}");
            warn("InspectFailed", &message);
            fail("InvalidImageName", message)
        })?;
        let present = self.cri.image_status(&image).await.map_err(|error| {
            let message = format!("Failed to inspect image {image:?}: {error}");
            warn("InspectFailed", &message);
            fail("ImageInspectError", message)
        })?;
        let policy = container.image_pull_policy.as_deref().unwrap_or("IfNotPresent");
        match (policy, present) {
            ("Always", _) | ("IfNotPresent", None) => {}
            (_, Some(found)) => {
                let message =
                    format!("Container image {named:?} already present on machine and can be accessed by the pod");
                self.events.pod(pod, about, Level::Normal, "Pulled", message);
                return Ok(found);
            }
            _ => {
                let message = format!("Container image {named:?} is not present with pull policy of Never");
                warn("ErrImageNeverPull", &message);
                return Err(fail("ErrImageNeverPull", message));
            }
        }
        let key = format!("{}_{image}", pod.uid());
        if let Some(waiting) = self.blocked(&key) {
            self.events.pod(pod, about, Level::Normal, "BackOff", format!("Back-off pulling image {named:?}"));
            let (until, cause) = waiting;
            let message = format!("Back-off pulling image {named:?}: ErrImagePull: {cause}");
            return Err(NoImage { reason: "ImagePullBackOff", message, retry_at: Some(until) });
        }
        self.events.pod(pod, about, Level::Normal, "Pulling", format!("Pulling image {named:?}"));
        let asked = Timestamp::now();
        let pulled = self.pull(pod, &image, sandbox).await;
        let now = Timestamp::now();
        match pulled {
            Ok((found, took)) => {
                self.failures.lock().forget(&key);
                let waited = now.duration_since(asked);
                let size = found.size;
                let message = format!(
                    "Successfully pulled image {named:?} in {} ({} including waiting). Image size: {size} bytes.",
                    go_duration(took),
                    go_duration(waited)
                );
                self.events.pod(pod, about, Level::Normal, "Pulled", message);
                Ok(found)
            }
            Err(cause) => {
                warn("Failed", &format!("Failed to pull image {named:?}: {cause}"));
                let mut failures = self.failures.lock();
                failures.backoff.next(&key, now, now);
                failures.last.insert(key.clone(), (now, cause.clone()));
                let retry_at = failures.backoff.blocked_until(&key, now, now).map(|(until, _)| until);
                Err(NoImage { reason: "ErrImagePull", message: cause, retry_at })
            }
        }
    }

    fn blocked(&self, key: &str) -> Option<(Timestamp, String)> {
        let failures = self.failures.lock();
        let (at, cause) = failures.last.get(key)?;
        let (until, _) = failures.backoff.blocked_until(key, *at, Timestamp::now())?;
        Some((until, cause.clone()))
    }

    /// Forgets a pod's failures.
    pub fn forget_pod(&self, uid: &str) {
        let mut failures = self.failures.lock();
        let keys: Vec<String> = failures.last.keys().filter(|key| key.starts_with(uid)).cloned().collect();
        for key in keys {
            failures.forget(&key);
        }
    }

    async fn pull(
        &self,
        pod: &Pod,
        image: &str,
        sandbox: Option<&v1::PodSandboxConfig>,
    ) -> Result<(v1::Image, jiff::SignedDuration), String> {
        let _slot = self.slots.acquire().await.map_err(|error| error.to_string())?;
        let begun = Timestamp::now();
        let mut auths: Vec<Option<v1::AuthConfig>> = Vec::new();
        for reference in pod.pod_spec().image_pull_secrets.iter().flatten() {
            let secret = self.objects.secret(pod.namespace(), &reference.name).await?;
            auths.extend(secret.iter().filter_map(|secret| credentials(secret, image)).map(Some));
        }
        // With credentials at hand these are tried alone, as upstream does; without any, anonymously.
        if auths.is_empty() {
            auths.push(None);
        }
        let mut failure = String::new();
        for auth in auths {
            match self.cri.pull_image(image, auth, sandbox.cloned()).await {
                Ok(reference) => {
                    let took = Timestamp::now().duration_since(begun);
                    let found = self.cri.image_status(image).await.ok().flatten();
                    let found = found.unwrap_or(v1::Image { id: reference, ..Default::default() });
                    return Ok((found, took));
                }
                Err(error) => failure = error.to_string(),
            }
        }
        Err(failure)
    }
}

impl Failures {
    fn forget(&mut self, key: &str) {
        self.backoff.reset(key);
        self.last.remove(key);
    }
}

/// A duration as Go prints one to the millisecond: `1.234s`, `850ms`, `2m3.5s`.
pub fn go_duration(duration: jiff::SignedDuration) -> String {
    let millis = duration.as_millis().max(0);
    let (minutes, rest) = (millis / 60_000, millis % 60_000);
    if millis < 1000 {
        return format!("{millis}ms");
    }
    let mut seconds = format!("{}.{:03}", rest / 1000, rest % 1000);
    seconds.truncate(seconds.trim_end_matches('0').trim_end_matches('.').len());
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// An image's name, checked, with the default tag where it has neither tag nor digest.
pub fn normalize(image: &str) -> Result<String, &'static str> {
    const BAD: &str = "invalid reference format";
    let (rest, digest) = match image.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (image, None),
    };
    if let Some(digest) = digest {
        let (algorithm, hex) = digest.split_once(':').ok_or(BAD)?;
        let good = !algorithm.is_empty() && hex.len() >= 32 && hex.bytes().all(|b| b.is_ascii_hexdigit());
        if !good {
            return Err(BAD);
        }
    }
    let slash = rest.rfind('/').map_or(0, |at| at + 1);
    let (name, tag) = match rest[slash..].find(':') {
        Some(at) => (&rest[..slash + at], Some(&rest[slash + at + 1..])),
        None => (rest, None),
    };
    if let Some(tag) = tag {
        let first = tag.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !first || tag.len() > 128 || !tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
            return Err(BAD);
        }
    }
    let (host, path) = match name.split_once('/') {
        Some((host, path))
            if host.contains(['.', ':']) || host == "localhost" || host.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            (Some(host), path)
        }
        _ => (None, name),
    };
    let part_is_good = |part: &str| {
        let alphanumeric = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        alphanumeric(part.bytes().next())
            && alphanumeric(part.bytes().last())
            && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
    };
    if !path.split('/').all(part_is_good) {
        let shape = path.split('/').all(|part| part_is_good(&part.to_lowercase()));
        return Err(if shape { "invalid reference format: repository name must be lowercase" } else { BAD });
    }
    let tag = match (tag, digest) {
        (Some(tag), _) => format!(":{tag}"),
        (None, Some(_)) => String::new(),
        (None, None) => ":latest".into(),
    };
    let digest = digest.map(|digest| format!("@{digest}")).unwrap_or_default();
    let host = host.map(|host| format!("{host}/")).unwrap_or_default();
    Ok(format!("{host}{path}{tag}{digest}"))
}

/// Whether a name says which host it comes from; without one it comes from the runtime's default host.
fn has_host(image: &str) -> bool {
    image.split_once('/').is_some_and(|(host, _)| host.contains(['.', ':']) || host == "localhost")
}

/// What a pull secret says about the image's host: the longest entry that fits.
fn credentials(secret: &Secret, image: &str) -> Option<v1::AuthConfig> {
    let data = secret.data.as_ref()?;
    let read = |key: &str| data.get(key).and_then(|text| serde_json::from_slice::<serde_json::Value>(&text.0).ok());
    let auths = match read(".dockerconfigjson") {
        Some(config) => config.get("auths")?.clone(),
        None => read(".dockercfg")?,
    };
    let fits = |pattern: &str| {
        let pattern = pattern.trim_start_matches("https://").trim_start_matches("http://");
        let pattern = pattern.trim_end_matches('/').trim_end_matches("/v2").trim_end_matches("/v1");
        if !has_host(image) {
            // The runtime's default host is known in pull secrets by the name of its index.
            return pattern.starts_with("index.");
        }
        let mut wanted = pattern.split('/');
        let mut given = image.split('/');
        let host = given.next().unwrap_or_default();
        let host_fits = wanted.next().is_some_and(|pattern| match pattern.strip_prefix("*.") {
            Some(suffix) => host.strip_suffix(suffix).is_some_and(|rest| rest.ends_with('.')),
            None => pattern == host,
        });
        host_fits && wanted.all(|part| given.next().is_some_and(|own| own.split([':', '@']).next() == Some(part)))
    };
    let auths = auths.as_object()?;
    let (host, entry) = auths.iter().filter(|(pattern, _)| fits(pattern)).max_by_key(|(pattern, _)| pattern.len())?;
    let text = |field: &str| entry.get(field).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    let (mut username, mut password) = (text("username"), text("password"));
    if username.is_empty() {
        let decoded = base64::engine::general_purpose::STANDARD.decode(text("auth")).unwrap_or_default();
        let decoded = String::from_utf8_lossy(&decoded).into_owned();
        if let Some((user, pass)) = decoded.split_once(':') {
            (username, password) = (user.to_owned(), pass.to_owned());
        }
    }
    Some(v1::AuthConfig {
        username,
        password,
        server_address: host.clone(),
        identity_token: text("identitytoken"),
        registry_token: text("registrytoken"),
        ..Default::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_get_their_defaults() {
        assert_eq!(normalize("nginx").unwrap(), "nginx:latest");
        assert_eq!(normalize("a/b:1").unwrap(), "a/b:1");
        assert_eq!(normalize("localhost/pause").unwrap(), "localhost/pause:latest");
        assert_eq!(normalize("127.0.0.1:5000/x/y:v1").unwrap(), "127.0.0.1:5000/x/y:v1");
        let digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        assert_eq!(normalize(&format!("x@{digest}")).unwrap(), format!("x@{digest}"));
        for bad in ["", "a b", "nginx:", "-x", "x@sha256:zz", "a//b", "nginx:-1"] {
            assert_eq!(normalize(bad), Err("invalid reference format"), "{bad}");
        }
        assert!(normalize("library/NGINX").unwrap_err().contains("lowercase"));
    }

    #[test]
    fn durations_read_as_upstream_prints_them() {
        let print = |millis| go_duration(jiff::SignedDuration::from_millis(millis));
        assert_eq!(
            (print(850), print(1234), print(2000), print(123_500)),
            ("850ms".into(), "1.234s".into(), "2s".into(), "2m3.5s".into())
        );
    }

    #[test]
    fn the_most_particular_credentials_win() {
        let config = serde_json::json!({"auths": {"127.0.0.1:5000": {"auth": "YTpi"},
            "127.0.0.1:5000/team": {"username": "u", "password": "p"}, "*.example.org": {"username": "e"}}});
        let data = [(".dockerconfigjson".to_owned(), k8s_openapi::ByteString(config.to_string().into_bytes()))];
        let secret = Secret { data: Some(data.into()), ..Default::default() };
        let user = |image: &str| credentials(&secret, image).map(|auth| auth.username);
        assert_eq!(user("127.0.0.1:5000/other:1").as_deref(), Some("a"));
        assert_eq!(user("127.0.0.1:5000/team/x:1").as_deref(), Some("u"));
        assert_eq!(user("r.example.org/x:1").as_deref(), Some("e"));
        assert_eq!(user("elsewhere.org/x:1"), None);
    }
}
