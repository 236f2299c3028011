//! The container runtime, spoken to over CRI v1 on a Unix socket. The connection is made on first use and made again
//! when the runtime comes back; callers see a [`CriError`] whose text is what upstream puts into events.

use std::{path::Path, time::Duration};

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

#[allow(clippy::all, missing_docs, reason = "generated from proto/cri.proto")]
pub mod v1 {
    tonic::include_proto!("runtime.v1");
}

#[allow(clippy::all, missing_docs, reason = "generated from proto/health.proto")]
pub mod health {
    tonic::include_proto!("grpc.health.v1");
}

use v1::{image_service_client::ImageServiceClient, runtime_service_client::RuntimeServiceClient};

/// Lists of a full node are larger than gRPC's usual 4 MiB.
const MESSAGE_BYTES_MAX: usize = 32 << 20;

/// An answer of the runtime that is not success.
#[derive(Debug, Clone, thiserror::Error)]
#[error("rpc error: code = {code:?} desc = {message}")]
pub struct CriError {
    /// gRPC's code.
    pub code: tonic::Code,
    /// The runtime's words.
    pub message: String,
}

impl From<tonic::Status> for CriError {
    fn from(status: tonic::Status) -> Self {
        Self { code: status.code(), message: status.message().to_owned() }
    }
}

impl CriError {
    /// Whether the thing asked about does not exist.
    pub fn is_not_found(&self) -> bool {
        self.code == tonic::Code::NotFound
    }
}

/// Clients of both services; cheap to clone.
#[derive(Debug, Clone)]
pub struct Cri {
    runtime: RuntimeServiceClient<Channel>,
    image: ImageServiceClient<Channel>,
}

impl Cri {
    /// A client of the runtime behind `socket`, which need not be there yet.
    pub fn new(socket: &Path) -> Self {
        let socket = socket.to_path_buf();
        let channel = Endpoint::from_static("http://localhost").connect_with_connector_lazy(tower::service_fn(
            move |_: http::Uri| {
                let socket = socket.clone();
                async move { UnixStream::connect(socket).await.map(TokioIo::new) }
            },
        ));
        Self {
            runtime: RuntimeServiceClient::new(channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX),
            image: ImageServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX),
        }
    }

    /// The runtime service with every call bounded by its caller.
    pub fn runtime(&self) -> RuntimeServiceClient<Channel> {
        self.runtime.clone()
    }

    /// The image service.
    pub fn image(&self) -> ImageServiceClient<Channel> {
        self.image.clone()
    }

    /// Name and versions of the runtime.
    pub async fn version(&self) -> Result<v1::VersionResponse, CriError> {
        let request = v1::VersionRequest { version: "v1".into() };
        bounded(self.runtime().version(request)).await
    }

    /// The runtime's conditions (RuntimeReady, NetworkReady).
    pub async fn status(&self) -> Result<v1::StatusResponse, CriError> {
        bounded(self.runtime().status(v1::StatusRequest { verbose: false })).await
    }

    /// Sandboxes, of one pod or of all.
    pub async fn sandboxes(&self, uid: Option<&str>) -> Result<Vec<v1::PodSandbox>, CriError> {
        let filter = uid.map(|uid| v1::PodSandboxFilter { label_selector: uid_selector(uid), ..Default::default() });
        Ok(bounded(self.runtime().list_pod_sandbox(v1::ListPodSandboxRequest { filter })).await?.items)
    }

    /// Containers, of one pod or of all.
    pub async fn containers(&self, uid: Option<&str>) -> Result<Vec<v1::Container>, CriError> {
        let filter = uid.map(|uid| v1::ContainerFilter { label_selector: uid_selector(uid), ..Default::default() });
        Ok(bounded(self.runtime().list_containers(v1::ListContainersRequest { filter })).await?.containers)
    }

    /// One container's status; None when it is gone.
    pub async fn container_status(&self, id: &str) -> Result<Option<v1::ContainerStatus>, CriError> {
        let request = v1::ContainerStatusRequest { container_id: id.into(), verbose: false };
        found(bounded(self.runtime().container_status(request)).await).map(|answer| answer.and_then(|a| a.status))
    }

    /// One sandbox's status; None when it is gone.
    pub async fn sandbox_status(&self, id: &str) -> Result<Option<v1::PodSandboxStatus>, CriError> {
        let request = v1::PodSandboxStatusRequest { pod_sandbox_id: id.into(), verbose: false };
        found(bounded(self.runtime().pod_sandbox_status(request)).await).map(|answer| answer.and_then(|a| a.status))
    }

    /// Starts a sandbox and returns its id.
    pub async fn run_sandbox(&self, config: v1::PodSandboxConfig, runtime_handler: String) -> Result<String, CriError> {
        let request = v1::RunPodSandboxRequest { config: Some(config), runtime_handler };
        let mut runtime = self.runtime();
        let call = runtime.run_pod_sandbox(request);
        Ok(within(Duration::from_secs(240), call).await?.pod_sandbox_id)
    }

    /// Stops whatever runs in a sandbox and gives its network back.
    pub async fn stop_sandbox(&self, id: &str) -> Result<(), CriError> {
        let request = v1::StopPodSandboxRequest { pod_sandbox_id: id.into() };
        found(bounded(self.runtime().stop_pod_sandbox(request)).await).map(drop)
    }

    /// Removes a sandbox and its containers.
    pub async fn remove_sandbox(&self, id: &str) -> Result<(), CriError> {
        let request = v1::RemovePodSandboxRequest { pod_sandbox_id: id.into() };
        found(bounded(self.runtime().remove_pod_sandbox(request)).await).map(drop)
    }

    /// Creates a container and returns its id.
    pub async fn create_container(
        &self,
        sandbox: &str,
        config: v1::ContainerConfig,
        sandbox_config: v1::PodSandboxConfig,
    ) -> Result<String, CriError> {
        let request = v1::CreateContainerRequest {
            pod_sandbox_id: sandbox.into(),
            config: Some(config),
            sandbox_config: Some(sandbox_config),
        };
        Ok(bounded(self.runtime().create_container(request)).await?.container_id)
    }

    /// Starts a created container.
    pub async fn start_container(&self, id: &str) -> Result<(), CriError> {
        bounded(self.runtime().start_container(v1::StartContainerRequest { container_id: id.into() })).await?;
        Ok(())
    }

    /// Sends the stop signal and kills after `timeout`.
    pub async fn stop_container(&self, id: &str, timeout: Duration) -> Result<(), CriError> {
        let seconds = i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX);
        let request = v1::StopContainerRequest { container_id: id.into(), timeout: seconds };
        let mut runtime = self.runtime();
        let call = runtime.stop_container(request);
        found(within(timeout.saturating_add(Duration::from_secs(120)), call).await).map(drop)
    }

    /// Gives a running container other resources.
    pub async fn update_container(&self, id: &str, resources: v1::LinuxContainerResources) -> Result<(), CriError> {
        let request = v1::UpdateContainerResourcesRequest {
            container_id: id.into(),
            linux: Some(resources),
            ..Default::default()
        };
        bounded(self.runtime().update_container_resources(request)).await.map(drop)
    }

    /// Memory that a container uses and that the kernel cannot simply take back.
    pub async fn memory_bytes(&self, id: &str) -> Result<u64, CriError> {
        let filter = Some(v1::ContainerStatsFilter { id: id.into(), ..Default::default() });
        let request = v1::ListContainerStatsRequest { filter };
        let stats = bounded(self.runtime().list_container_stats(request)).await?.stats;
        let memory = stats.into_iter().next().and_then(|stats| stats.memory).unwrap_or_default();
        Ok(memory.working_set_bytes.map_or(0, |bytes| bytes.value))
    }

    /// Removes a stopped container.
    pub async fn remove_container(&self, id: &str) -> Result<(), CriError> {
        let request = v1::RemoveContainerRequest { container_id: id.into() };
        found(bounded(self.runtime().remove_container(request)).await).map(drop)
    }

    /// Runs a command in a container and waits for its end; the runtime ends it after `timeout`.
    pub async fn exec_sync(
        &self,
        id: &str,
        cmd: Vec<String>,
        timeout: Duration,
    ) -> Result<v1::ExecSyncResponse, CriError> {
        let seconds = i64::try_from(timeout.as_secs()).unwrap_or(0);
        let request = v1::ExecSyncRequest { container_id: id.into(), cmd, timeout: seconds };
        let limit = if seconds == 0 { Duration::from_secs(86_400) } else { timeout + Duration::from_secs(30) };
        within(limit, self.runtime().exec_sync(request)).await
    }

    /// An image that is already there.
    pub async fn image_status(&self, image: &str) -> Result<Option<v1::Image>, CriError> {
        let spec = v1::ImageSpec { image: image.into(), ..Default::default() };
        let request = v1::ImageStatusRequest { image: Some(spec), verbose: false };
        found(bounded(self.image().image_status(request)).await).map(|answer| answer.and_then(|a| a.image))
    }

    /// Pulls an image and returns its reference.
    pub async fn pull_image(
        &self,
        image: &str,
        auth: Option<v1::AuthConfig>,
        sandbox_config: Option<v1::PodSandboxConfig>,
    ) -> Result<String, CriError> {
        let spec = v1::ImageSpec { image: image.into(), ..Default::default() };
        let request = v1::PullImageRequest { image: Some(spec), auth, sandbox_config };
        Ok(within(Duration::from_secs(3600), self.image().pull_image(request)).await?.image_ref)
    }

    /// Removes an image.
    pub async fn remove_image(&self, id: &str) -> Result<(), CriError> {
        let image = Some(v1::ImageSpec { image: id.into(), ..Default::default() });
        bounded(self.image().remove_image(v1::RemoveImageRequest { image })).await.map(drop)
    }

    /// Where images lie, if the runtime says so.
    pub async fn image_filesystem(&self) -> Result<Option<String>, CriError> {
        let answer = bounded(self.image().image_fs_info(v1::ImageFsInfoRequest {})).await?;
        let mut points = answer.image_filesystems.into_iter().filter_map(|usage| usage.fs_id);
        Ok(points.next().map(|id| id.mountpoint))
    }

    /// What all running containers use.
    pub async fn container_stats(&self) -> Result<Vec<v1::ContainerStats>, CriError> {
        Ok(bounded(self.runtime().list_container_stats(v1::ListContainerStatsRequest { filter: None })).await?.stats)
    }

    /// All images.
    pub async fn images(&self) -> Result<Vec<v1::Image>, CriError> {
        Ok(bounded(self.image().list_images(v1::ListImagesRequest { filter: None })).await?.images)
    }
}

fn uid_selector(uid: &str) -> std::collections::HashMap<String, String> {
    [(crate::pod::labels::POD_UID.to_owned(), uid.to_owned())].into()
}

async fn bounded<T>(call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>) -> Result<T, CriError> {
    within(Duration::from_secs(120), call).await
}

async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T, CriError> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => Ok(answer?.into_inner()),
        Err(_) => Err(CriError { code: tonic::Code::DeadlineExceeded, message: "context deadline exceeded".into() }),
    }
}

/// "Not found" is an answer, not a failure, to questions and removals.
fn found<T>(answer: Result<T, CriError>) -> Result<Option<T>, CriError> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}
