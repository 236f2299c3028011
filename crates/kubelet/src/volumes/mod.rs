//! A pod's volumes on this node. Each has a directory `<pod>/volumes/<plugin>/<name>`, and set-up may be repeated at
//! any time: it brings contents up to date and touches nothing that is as it should be.

pub mod atomic_writer;
pub mod claims;
pub mod directories;
pub mod mounts;
pub mod ownership;
pub mod payload;
pub mod subpath;

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::Arc,
};

use k8s_openapi::{
    api::core::v1::{Node, Pod, Volume},
    apimachinery::pkg::api::resource::Quantity,
};

use crate::{config::Config, objects::Objects, pod::PodExt};

/// A volume that could not be set up; the text of a FailedMount event. `volume` is its name in the pod, or that of the
/// persistent volume.
#[derive(Debug, Clone, thiserror::Error)]
pub enum VolumeError {
    /// Its claim is not as it must be.
    #[error(
        "Unable to attach or mount volumes: unmounted volumes=[{volume}], unattached volumes=[], failed to process volumes=[{volume}]: {message}"
    )]
    Process {
        /// Which.
        volume: String,
        /// What is wrong.
        message: String,
    },
    /// It cannot be reached from this node.
    #[error("MountVolume.NodeAffinity check failed for volume {volume:?} : no matching NodeSelectorTerms")]
    NodeAffinity {
        /// Which.
        volume: String,
    },
    /// What it is made from is not there.
    #[error("MountVolume.NewMounter initialization failed for volume {volume:?} : {message}")]
    NewMounter {
        /// Which.
        volume: String,
        /// What is wrong.
        message: String,
    },
    /// It could not be made or mounted.
    #[error("MountVolume.SetUp failed for volume {volume:?} : {message}")]
    SetUp {
        /// Which.
        volume: String,
        /// What is wrong.
        message: String,
    },
}

/// What volumes depend on besides their pod.
pub struct Surroundings {
    /// What the node has for pods.
    pub allocatable: BTreeMap<String, Quantity>,
    /// The node itself, once registered.
    pub node: Option<Arc<Node>>,
    /// Volumes of the pod that are set up already. Those behind claims stay as they are, whatever becomes of the claims.
    pub known: Paths,
}

/// Host paths of a pod's volumes by volume name.
pub type Paths = HashMap<String, PathBuf>;

/// Sets volumes up and takes them down.
pub struct Volumes {
    config: Arc<Config>,
    objects: Arc<Objects>,
}

impl Volumes {
    /// Volumes below the configured root directory.
    pub fn new(config: Arc<Config>, objects: Arc<Objects>) -> Self {
        Self { config, objects }
    }

    /// Brings all volumes of a pod up (to date), all at once.
    pub async fn set_up(&self, pod: &Pod, around: &Surroundings) -> Result<Paths, VolumeError> {
        let all = pod.pod_spec().volumes.iter().flatten().map(|volume| async move {
            let path = match client::volumes::claim_name(pod, volume) {
                Some(_) => match around.known.get(&volume.name) {
                    Some(path) => path.clone(),
                    None => {
                        let (client, pod_dir) = (self.objects.client(), self.config.pod_dir(pod.uid()));
                        claims::set_up(client, pod, volume, around.node.as_deref(), &pod_dir).await?
                    }
                },
                None => {
                    let path = self.set_up_one(pod, volume, &around.allocatable).await;
                    path.map_err(|message| VolumeError::SetUp { volume: volume.name.clone(), message })?
                }
            };
            Ok::<_, VolumeError>((volume.name.clone(), path))
        });
        Ok(futures::future::try_join_all(all).await?.into_iter().collect())
    }

    async fn set_up_one(
        &self,
        pod: &Pod,
        volume: &Volume,
        allocatable: &BTreeMap<String, Quantity>,
    ) -> Result<PathBuf, String> {
        let own = |plugin: &str| self.config.pod_dir(pod.uid()).join("volumes").join(plugin).join(&volume.name);
        let fs_group = pod.pod_spec().security_context.as_ref().and_then(|c| c.fs_group);
        if let Some(source) = &volume.host_path {
            let source = source.clone();
            return blocking(move || directories::host_path(&source)).await;
        }
        if let Some(source) = &volume.empty_dir {
            let (path, source) = (own("kubernetes.io~empty-dir"), source.clone());
            return blocking(move || directories::empty_dir(&path, &source, fs_group).map(|()| path)).await;
        }
        let (plugin, in_memory) = if volume.config_map.is_some() {
            ("kubernetes.io~configmap", false)
        } else if volume.secret.is_some() {
            ("kubernetes.io~secret", true)
        } else if volume.projected.is_some() {
            ("kubernetes.io~projected", true)
        } else if volume.downward_api.is_some() {
            ("kubernetes.io~downward-api", false)
        } else {
            return Err("this kind of volume is not supported by this node".into());
        };
        let files = payload::collect(&self.objects, pod, volume, allocatable).await?;
        let path = own(plugin);
        blocking(move || {
            directories::prepare(&path, in_memory, fs_group)?;
            atomic_writer::write(&path, &files, fs_group)
                .map_err(|error| format!("failed to write {}: {error}", path.display()))?;
            Ok(path)
        })
        .await
    }

    /// Unmounts everything of a pod and removes its directory.
    pub async fn tear_down(&self, uid: &str) -> Result<(), String> {
        self.objects.forget_pod(uid);
        let dir = self.config.pod_dir(uid);
        blocking(move || directories::remove_pod_dir(&dir)).await
    }
}

/// File work that may take a while, off the event loop.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(error.to_string()),
    }
}
