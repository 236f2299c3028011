//! Against a key service of our own on a real socket.

use std::path::Path;
use std::sync::atomic::AtomicUsize;

use tonic::{Request, Response};

use super::client::v2::key_management_service_server::{KeyManagementService, KeyManagementServiceServer};
use super::client::v2::{
    DecryptRequest, DecryptResponse, EncryptRequest, EncryptResponse, StatusRequest, StatusResponse,
};
use super::*;

const KEY: &str = "/registry/secrets/a/b";

/// "Encrypts" by turning bits over under the present key's number.
#[derive(Default)]
struct Plugin {
    key: AtomicU64,
    healthz: Mutex<Option<String>>,
    decrypts: AtomicUsize,
}

#[derive(Clone)]
struct Serving(Arc<Plugin>);

#[tonic::async_trait]
impl KeyManagementService for Serving {
    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, tonic::Status> {
        let healthz = self.0.healthz.lock().clone().unwrap_or_else(|| "ok".into());
        Ok(Response::new(StatusResponse { version: "v2".into(), healthz, key_id: self.0.id() }))
    }

    async fn encrypt(&self, request: Request<EncryptRequest>) -> Result<Response<EncryptResponse>, tonic::Status> {
        let ciphertext = request.into_inner().plaintext.iter().map(|byte| !byte).collect();
        let annotations = [("version.example.com".to_owned(), b"1".to_vec())].into();
        Ok(Response::new(EncryptResponse { ciphertext, key_id: self.0.id(), annotations }))
    }

    async fn decrypt(&self, request: Request<DecryptRequest>) -> Result<Response<DecryptResponse>, tonic::Status> {
        self.0.decrypts.fetch_add(1, Ordering::SeqCst);
        let request = request.into_inner();
        if request.annotations.is_empty() || !request.key_id.starts_with("key-") {
            return Err(tonic::Status::invalid_argument("not mine"));
        }
        Ok(Response::new(DecryptResponse { plaintext: request.ciphertext.iter().map(|byte| !byte).collect() }))
    }
}

impl Plugin {
    fn id(&self) -> String {
        format!("key-{}", self.key.load(Ordering::SeqCst))
    }

    /// Serves a socket on a thread of its own until the end of the process.
    fn serve(path: &Path) -> Arc<Self> {
        let plugin = Arc::new(Self::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let listener = {
            let _inside = runtime.enter();
            tokio::net::UnixListener::bind(path).expect("a socket")
        };
        let service = KeyManagementServiceServer::new(Serving(plugin.clone()));
        std::thread::spawn(move || {
            let incoming = tokio_stream::wrappers::UnixListenerStream::new(listener);
            runtime.block_on(tonic::transport::Server::builder().serve_with_incoming(service, incoming))
        });
        plugin
    }
}

fn service(socket: &Path) -> Service {
    Service { name: "hsm".into(), socket: socket.display().to_string(), timeout: Duration::from_secs(30) }
}

fn ask(kms: &Kms) -> Result<(), String> {
    kms.shared.client.status().and_then(|status| kms.shared.look(&status))
}

#[test]
fn values_are_sealed_here_and_seeds_by_the_service() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("kms.sock");
    let plugin = Plugin::serve(&socket);
    let kms = Kms::start(service(&socket)).expect("started");
    kms.wait();
    assert_eq!((kms.ready(), kms.healthy()), (Ok(()), Ok(())));
    let sealed: Vec<_> = (0..3).map(|_| kms.seal(KEY, b"value").expect("sealed")).collect();
    assert_ne!(sealed[0], sealed[1]);
    // A server that comes later has to ask for the seed, once.
    let later = Kms::start(service(&socket)).expect("started");
    later.wait();
    for sealed in &sealed {
        assert_eq!(later.open(KEY, sealed), Ok((b"value".to_vec(), false)));
    }
    assert_eq!(plugin.decrypts.load(Ordering::SeqCst), 1);
    assert!(later.open("/registry/secrets/a/c", &sealed[0]).is_err(), "bound to its key in the store");
}

#[test]
fn another_key_of_the_service_makes_old_values_stale() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("kms.sock");
    let plugin = Plugin::serve(&socket);
    let kms = Kms::start(service(&socket)).expect("started");
    kms.wait();
    let (old, before) = (kms.seal(KEY, b"value").expect("sealed"), kms.generation());
    assert_eq!(ask(&kms), Ok(()));
    assert_eq!(kms.generation(), before, "the same key");
    plugin.key.store(2, Ordering::SeqCst);
    assert_eq!(ask(&kms), Ok(()));
    assert_ne!(kms.generation(), before);
    assert_eq!(kms.open(KEY, &old), Ok((b"value".to_vec(), true)));
    let new = kms.seal(KEY, b"value").expect("sealed");
    assert_eq!(kms.open(KEY, &new), Ok((b"value".to_vec(), false)));
}

#[test]
fn without_its_service_nothing_is_written_and_the_reason_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("kms.sock");
    let kms = Kms::start(service(&socket)).expect("started");
    let fault = ask(&kms).expect_err("nobody is there");
    assert!(fault.starts_with("rpc error: code = Unavailable"), "{fault}");
    assert!(kms.ready().expect_err("not ready").starts_with("no data encryption key is available"));
    let plugin = Plugin::serve(&socket);
    *plugin.healthz.lock() = Some("the module is on fire".into());
    assert_eq!(ask(&kms), Err("got unexpected healthz status: the module is on fire".into()));
    *plugin.healthz.lock() = None;
    assert_eq!(ask(&kms), Ok(()));
    assert_eq!(kms.ready(), Ok(()));
    kms.shared.state.lock().current.as_mut().expect("a seed").until = Instant::now();
    assert!(kms.ready().expect_err("expired").starts_with("the data encryption key expired"));
}
