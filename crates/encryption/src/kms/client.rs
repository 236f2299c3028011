//! The client of a key management service: blocking calls, each with the configured limit of time, over gRPC on a Unix socket.

use std::collections::HashMap;
use std::io;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tonic::transport::{Channel, Endpoint};

use crate::config::Service;
use crate::envelope::EncryptedObject;

#[allow(clippy::all, missing_docs, reason = "generated from proto/kms.proto")]
pub(crate) mod v2 {
    tonic::include_proto!("v2");
}

use v2::key_management_service_client::KeyManagementServiceClient;
use v2::{DecryptRequest, EncryptRequest, EncryptResponse, StatusRequest, StatusResponse};

type Answer<T> = SyncSender<Result<T, tonic::Status>>;

enum Call {
    Status(Answer<StatusResponse>),
    Encrypt(EncryptRequest, Answer<EncryptResponse>),
    Decrypt(DecryptRequest, Answer<Vec<u8>>),
}

/// Hands calls to the thread that makes them. Every caller waits for its answer, which bounds the queue.
pub(super) struct Client {
    calls: UnboundedSender<Call>,
}

impl Client {
    pub fn start(service: &Service) -> io::Result<Self> {
        let (calls, queue) = unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let service = service.clone();
        std::thread::Builder::new().name("kms-client".into()).spawn(move || runtime.block_on(serve(service, queue)))?;
        Ok(Self { calls })
    }

    fn call<T>(&self, call: impl FnOnce(Answer<T>) -> Call) -> Result<T, String> {
        let (answer, wait) = sync_channel(1);
        let gone = || "the client of the key management service has ended".to_owned();
        self.calls.send(call(answer)).map_err(|_| gone())?;
        let answer = wait.recv().map_err(|_| gone())?;
        answer.map_err(|status| format!("rpc error: code = {:?} desc = {}", status.code(), status.message()))
    }

    pub fn status(&self) -> Result<StatusResponse, String> {
        self.call(Call::Status)
    }

    pub fn encrypt(&self, plaintext: &[u8]) -> Result<EncryptResponse, String> {
        let request = EncryptRequest { plaintext: plaintext.to_vec(), uid: uuid::Uuid::new_v4().to_string() };
        self.call(|answer| Call::Encrypt(request, answer))
    }

    pub fn decrypt(&self, object: &EncryptedObject) -> Result<Vec<u8>, String> {
        let request = DecryptRequest {
            ciphertext: object.encrypted_dek_source.clone(),
            uid: uuid::Uuid::new_v4().to_string(),
            key_id: object.key_id.clone(),
            annotations: object.annotations.clone().into_iter().collect::<HashMap<_, _>>(),
        };
        self.call(|answer| Call::Decrypt(request, answer))
    }
}

async fn serve(service: Service, mut queue: UnboundedReceiver<Call>) {
    let client = KeyManagementServiceClient::new(channel(service.socket));
    while let Some(call) = queue.recv().await {
        let (mut client, limit) = (client.clone(), service.timeout);
        tokio::spawn(async move {
            match call {
                Call::Status(answer) => {
                    let result = within(limit, client.status(StatusRequest {})).await;
                    let _ = answer.send(result);
                }
                Call::Encrypt(request, answer) => {
                    let result = within(limit, client.encrypt(request)).await;
                    let _ = answer.send(result);
                }
                Call::Decrypt(request, answer) => {
                    let result = within(limit, client.decrypt(request)).await;
                    let _ = answer.send(result.map(|response| response.plaintext));
                }
            }
        });
    }
}

async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T, tonic::Status> {
    let late = |_| tonic::Status::deadline_exceeded("context deadline exceeded");
    tokio::time::timeout(limit, call).await.map_err(late)?.map(tonic::Response::into_inner)
}

/// A connection that is made on first use, and again after the service has come back.
fn channel(socket: String) -> Channel {
    let connect = tower::service_fn(move |_: http::Uri| {
        // The kernel's abstract names begin with a zero byte, which configurations write as `@`.
        let path = socket.strip_prefix('@').map_or_else(|| socket.clone(), |name| format!("\0{name}"));
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://localhost").connect_with_connector_lazy(connect)
}
