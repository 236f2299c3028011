//! Members of etcd and how a connection to one is made.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// etcd closes connections that ask more often than every five seconds.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(6);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(3);
/// A burst of events must not wait for the window to be opened again.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// The address of a member, parsed from its URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    host: Arc<str>,
    port: u16,
    tls: bool,
}

/// Why a URL names no member of an etcd.
#[derive(Debug, thiserror::Error)]
#[error("{url:?} is not the address of an etcd: it is to be http://host:port or https://host:port")]
pub struct EndpointError {
    url: String,
}

impl FromStr for Server {
    type Err = EndpointError;

    fn from_str(url: &str) -> Result<Self, EndpointError> {
        let invalid = || EndpointError { url: url.to_owned() };
        let uri: http::Uri = url.parse().map_err(|_| invalid())?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(invalid()),
        };
        let host =
            uri.host().filter(|_| matches!(uri.path(), "" | "/") && uri.query().is_none()).ok_or_else(invalid)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').into();
        Ok(Self { host, port: uri.port_u16().unwrap_or(2379), tls })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

impl Server {
    /// Connects. The connection's own work goes on in the present runtime.
    pub async fn connect(&self, tls: Option<&Arc<rustls::ClientConfig>>) -> Result<Channel, String> {
        let tls = match (self.tls, tls) {
            (false, _) => None,
            (true, Some(config)) => {
                let name = ServerName::try_from(self.host.to_string()).map_err(|error| error.to_string())?;
                Some((tokio_rustls::TlsConnector::from(config.clone()), name))
            }
            (true, None) => return Err("an https etcd needs authorities to trust".to_owned()),
        };
        let (host, port) = (self.host.clone(), self.port);
        let connect = tower::service_fn(move |_: http::Uri| {
            let (host, tls) = (host.clone(), tls.clone());
            async move {
                let stream = TcpStream::connect((&*host, port)).await?;
                stream.set_nodelay(true)?;
                Ok::<_, std::io::Error>(match tls {
                    None => TokioIo::new(Stream::Plain(stream)),
                    Some((connector, name)) => {
                        TokioIo::new(Stream::Tls(Box::new(connector.connect(name, stream).await?)))
                    }
                })
            }
        });
        // The scheme is the connector's affair, and the authority is what a server sees.
        let authority = self.to_string().replacen("https", "http", 1);
        let endpoint = Endpoint::from_shared(authority)
            .map_err(|error| error.to_string())?
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, endpoint.connect_with_connector(connect)).await;
        match connected {
            Ok(connected) => connected.map_err(|error| crate::error::chain(&error)),
            Err(_) => Err("context deadline exceeded".to_owned()),
        }
    }
}

/// A connection with or without TLS.
enum Stream {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::client::TlsStream<TcpStream>>),
}

mod io {
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    use super::Stream;

    impl AsyncRead for Stream {
        fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            match self.get_mut() {
                Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
                Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            }
        }
    }

    impl AsyncWrite for Stream {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            match self.get_mut() {
                Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
                Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
            }
        }

        fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            match self.get_mut() {
                Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
                Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            }
        }

        fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            match self.get_mut() {
                Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
                Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_urls_of_a_host() {
        let parsed = |url: &str| url.parse::<Server>().map(|server| (server.to_string(), server.tls)).ok();
        assert_eq!(parsed("http://127.0.0.1:2379"), Some(("http://127.0.0.1:2379".into(), false)));
        assert_eq!(parsed("https://etcd.example"), Some(("https://etcd.example:2379".into(), true)));
        assert_eq!(parsed("https://[::1]:1/"), Some(("https://[::1]:1".into(), true)));
        for wrong in ["127.0.0.1:2379", "ftp://a", "http://a/b", "http://", "unix:///a", ""] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }
}
