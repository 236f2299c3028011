//! nodes/proxy, pods/proxy and services/proxy: any HTTP request to a kubelet, a pod or a Service.
//!
//! The name may carry a scheme and a port: `https:web:8443`. Only addresses that can be a pod's are gone to, so that the
//! server's own network position (loopback, link-local metadata services) is no way in.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode, header};
use machinery::go_text::quote;
use machinery::status::Status;
use serde_json::Value;

use super::backends::{Target, Trust};
use super::forward::Forward;
use super::{forward, node, pod, service};
use crate::authorization::Attributes;
use crate::{Body, Context, Response, Server, body};

pub async fn serve(server: &Arc<Server>, context: &Context, request: http::Request<Body>) -> Result<Response, Status> {
    let info = &context.info;
    if info.resource == "nodes" && request.headers().contains_key(header::UPGRADE) {
        // A kubelet runs commands over an upgraded connection, also over one that was asked for by GET.
        server.authorizer.check(&Attributes { verb: "create", ..Attributes::of_request(&context.user, info) }).await?;
    }
    let raw = request.uri().path();
    let rest = remainder(raw, info.parts.len());
    let prefix = raw[..raw.len() - rest.len()].trim_end_matches('/').to_owned();
    let mut path = if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") };
    if let Some(query) = request.uri().query() {
        path = format!("{path}?{query}");
    }
    let wanted = Wanted::parse(&info.resource, &info.name)?;
    let target = match info.resource.as_str() {
        "nodes" => wanted.node(server, path)?,
        "pods" => wanted.pod(server, &info.namespace, path)?,
        _ => wanted.service(server, &info.namespace, path)?,
    };
    if rest.is_empty() && matches!(*request.method(), Method::GET | Method::HEAD) {
        // Relative links of the backend would otherwise lead beside it. A backend that cannot be reached is said first.
        return Ok(add_slash(request.uri()));
    }
    forward(server, &target, request, Forward { prefix: Some(prefix), ..Forward::default() }).await
}

/// Whether an address can be a pod's or a node's, rather than something only the server itself should reach.
pub fn is_proxyable(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            !(v4.is_unspecified() || v4.is_loopback() || v4.is_link_local() || v4.is_multicast() || v4.is_broadcast())
        }
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_proxyable(&IpAddr::V4(v4)),
            None => !(v6.is_unspecified() || v6.is_loopback() || v6.is_unicast_link_local() || v6.is_multicast()),
        },
    }
}

/// `scheme:name:port`, `name:port` or `name`.
struct Wanted<'a> {
    scheme: &'a str,
    name: &'a str,
    port: &'a str,
}

impl<'a> Wanted<'a> {
    fn parse(resource: &str, text: &'a str) -> Result<Self, Status> {
        let parts: Vec<&str> = text.split(':').collect();
        let wanted = match parts[..] {
            [name] => Self { scheme: "", name, port: "" },
            [name, port] => Self { scheme: "", name, port },
            [scheme @ ("" | "http" | "https"), name, port] => Self { scheme, name, port },
            _ => Self { scheme: "", name: "", port: "" },
        };
        if wanted.name.is_empty() {
            let resource = resource.trim_end_matches('s');
            return Err(Status::bad_request(format!("invalid {resource} request {}", quote(text))));
        }
        Ok(wanted)
    }

    fn trust(&self) -> Trust {
        if self.scheme == "https" { Trust::Anyone } else { Trust::Plain }
    }

    fn node(&self, server: &Server, path: String) -> Result<Target, Status> {
        let kubelet = node::kubelet(server, self.name, path)?;
        if self.port.is_empty() || self.port == kubelet.port.to_string() {
            return Ok(kubelet);
        }
        let address: IpAddr = kubelet.host.parse().map_err(|_| not_allowed())?;
        self.target(address, self.port_number(self.port)?, kubelet.path)
    }

    fn pod(&self, server: &Server, namespace: &str, path: String) -> Result<Target, Status> {
        let pod = pod::get(&server.registry, namespace, self.name)?;
        let address: IpAddr = pod::text(&pod, "/status/podIP").parse().map_err(|_| not_allowed())?;
        let port = if self.port.is_empty() {
            first_port(&pod).unwrap_or(if self.scheme == "https" { 443 } else { 80 })
        } else {
            match named_port(&pod, self.port) {
                Some(port) => port,
                None => self.port_number(self.port)?,
            }
        };
        self.target(address, port, path)
    }

    fn service(&self, server: &Server, namespace: &str, path: String) -> Result<Target, Status> {
        let (address, port) = service::endpoint(&server.registry, namespace, self.name, self.port)?;
        self.target(address, port, path)
    }

    fn target(&self, address: IpAddr, port: u16, path: String) -> Result<Target, Status> {
        if !is_proxyable(&address) {
            return Err(not_allowed());
        }
        Ok(Target { trust: self.trust(), host: address.to_string(), port, path })
    }

    fn port_number(&self, port: &str) -> Result<u16, Status> {
        let number = port.parse().ok().filter(|port| *port > 0);
        number.ok_or_else(|| Status::bad_request(format!("invalid port {}", quote(port))))
    }
}

fn not_allowed() -> Status {
    Status::bad_request("address not allowed")
}

/// The port that a container or sidecar declares under this name.
fn named_port(pod: &Value, name: &str) -> Option<u16> {
    let lists = ["containers", "initContainers"].iter().filter_map(|list| pod["spec"][list].as_array());
    let mut ports = lists.flatten().filter_map(|container| container["ports"].as_array()).flatten();
    let port = ports.find(|port| port["name"] == name)?["containerPort"].as_u64()?;
    u16::try_from(port).ok()
}

/// The first port that a container declares.
fn first_port(pod: &Value) -> Option<u16> {
    let containers = pod.pointer("/spec/containers")?.as_array()?.iter();
    let mut ports =
        containers.filter_map(|container| container["ports"].as_array()?.first()?["containerPort"].as_u64());
    u16::try_from(ports.next()?).ok()
}

/// What follows `.../proxy` in the path as the client wrote it, with its slash: encoded characters must stay so.
/// `parts` counts the decoded parts from the resource on.
fn remainder(raw: &str, parts: usize) -> &str {
    let after = parts.saturating_sub(3);
    let trimmed = raw.trim_start_matches('/').trim_end_matches('/');
    let segments = trimmed.split('/').count().saturating_sub(after);
    let offset = raw.len() - raw.trim_start_matches('/').len();
    let mut end = offset;
    for (number, segment) in raw[offset..].split('/').enumerate() {
        if number == segments {
            break;
        }
        end += segment.len() + usize::from(number > 0);
    }
    &raw[end.min(raw.len())..]
}

fn add_slash(uri: &http::Uri) -> Response {
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if let Ok(location) = HeaderValue::from_str(&format!("{}/{query}", uri.path())) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

#[cfg(test)]
mod unit_tests {
    use super::*;
    use crate::RequestInfo;

    #[test]
    fn the_rest_of_the_path_is_taken_as_it_was_written() {
        let of = |path: &'static str| {
            let info = RequestInfo::new(&Method::GET, &path.parse().unwrap()).unwrap();
            assert_eq!(info.subresource, "proxy", "{path}");
            remainder(path, info.parts.len())
        };
        assert_eq!(of("/api/v1/nodes/n/proxy"), "");
        assert_eq!(of("/api/v1/nodes/n/proxy/"), "/");
        assert_eq!(of("/api/v1/namespaces/ns/pods/p:80/proxy/a%20b/c/"), "/a%20b/c/");
        assert_eq!(of("/api/v1/namespaces/ns/services/https:s:x/proxy/api/v1/proxy"), "/api/v1/proxy");
    }

    #[test]
    fn ports_of_pods_are_found_by_name() {
        let port = |name: &str, port: u16| serde_json::json!({"ports": [{"name": name, "containerPort": port}]});
        let containers = [serde_json::json!({"name": "plain"}), port("web", 8080)];
        let pod = serde_json::json!({"spec": {"containers": containers, "initContainers": [port("metrics", 9100)]}});
        let found = ["web", "metrics", "other"].map(|name| named_port(&pod, name));
        assert_eq!(found, [Some(8080), Some(9100), None]);
    }

    #[test]
    fn a_port_is_found_by_the_name_that_a_container_gives_it() {
        let ports = serde_json::json!([{"containerPort": 80}, {"name": "web", "containerPort": 8080}]);
        let pod = serde_json::json!({"spec": {"containers": [{"ports": ports}]}});
        assert_eq!((named_port(&pod, "web"), named_port(&pod, "none")), (Some(8080), None));
    }

    #[test]
    fn names_carry_scheme_and_port() {
        let parse = |text| Wanted::parse("pods", text).map(|wanted| (wanted.scheme, wanted.name, wanted.port));
        assert_eq!(parse("p").unwrap(), ("", "p", ""));
        assert_eq!(parse("p:80").unwrap(), ("", "p", "80"));
        assert_eq!(parse("https:p:").unwrap(), ("https", "p", ""));
        for bad in [":80", "ftp:p:1", "a:b:c:d", "http::1"] {
            assert_eq!(parse(bad).unwrap_err().message(), format!("invalid pod request \"{bad}\""));
        }
    }

    #[test]
    fn the_servers_own_neighbourhood_is_not_gone_to() {
        for bad in ["127.0.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1", "::1", "fe80::1", "::ffff:127.0.0.1", "::"]
        {
            assert!(!is_proxyable(&bad.parse().unwrap()), "{bad}");
        }
        for good in ["10.244.0.5", "192.168.1.1", "fd00::5"] {
            assert!(is_proxyable(&good.parse().unwrap()), "{good}");
        }
    }
}
