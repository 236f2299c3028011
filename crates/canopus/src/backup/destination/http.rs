//! The HTTP client of object stores: the one that this program has anyway, in the place of the one that the library would
//! bring.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use async_trait::async_trait;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector as TcpConnector;
use hyper_util::rt::TokioExecutor;
use object_store::client::{
    ClientConfigKey, ClientOptions, HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
    HttpResponse, HttpResponseBody, HttpService,
};
use store::chain;
use tokio::time::timeout;
use tokio_stream::StreamExt as _;

/// Who does not even take a connection in this time is not there.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// How long one request may take until it is answered: a part of an upload on a slow line.
const ANSWER_PATIENCE: Duration = Duration::from_secs(300);
/// How long an answer may stand still.
const IDLE_PATIENCE: Duration = Duration::from_secs(60);

/// Makes clients over TLS with the authorities that this machine trusts, and over plain HTTP only where that is allowed.
#[derive(Debug)]
pub struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let mut tcp = TcpConnector::new();
        tcp.set_connect_timeout(Some(CONNECT_PATIENCE));
        tcp.enforce_http(false);
        let failed = |source| object_store::Error::Generic { store: "S3", source };
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let builder = HttpsConnectorBuilder::new().with_provider_and_native_roots(provider);
        let builder = builder.map_err(|error| failed(error.into()))?;
        let client =
            Client::builder(TokioExecutor::new()).build(builder.https_or_http().enable_http1().wrap_connector(tcp));
        let is_plain_allowed =
            options.get_config_value(&ClientConfigKey::AllowHttp).is_some_and(|value| value == "true");
        Ok(HttpClient::new(Http { client, is_plain_allowed }))
    }
}

#[derive(Debug)]
struct Http {
    client: Client<HttpsConnector<TcpConnector>, HttpRequestBody>,
    is_plain_allowed: bool,
}

#[async_trait]
impl HttpService for Http {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if !self.is_plain_allowed && request.uri().scheme() != Some(&http::uri::Scheme::HTTPS) {
            let reason = "it is not https, which is allowed only with AWS_ALLOW_HTTP=true";
            return Err(HttpError::new(HttpErrorKind::Unknown, io::Error::other(reason)));
        }
        let Ok(answered) = timeout(ANSWER_PATIENCE, self.client.request(request)).await else {
            return Err(too_late());
        };
        let response = answered.map_err(|error| {
            let kind = if error.is_connect() { HttpErrorKind::Connect } else { HttpErrorKind::Interrupted };
            // The library says nothing but that something failed; why is below.
            match error.source() {
                Some(source) => HttpError::new(kind, io::Error::other(chain(source))),
                None => HttpError::new(kind, error),
            }
        })?;
        let (head, body) = response.into_parts();
        let frames = body.into_data_stream().timeout(IDLE_PATIENCE).map(|frame| match frame {
            Ok(Ok(bytes)) => Ok(Frame::data(bytes)),
            Ok(Err(error)) => Err(HttpError::new(HttpErrorKind::Interrupted, error)),
            Err(_) => Err(too_late()),
        });
        Ok(HttpResponse::from_parts(head, HttpResponseBody::new(StreamBody::new(frames))))
    }
}

fn too_late() -> HttpError {
    HttpError::new(HttpErrorKind::Timeout, io::Error::from(io::ErrorKind::TimedOut))
}
