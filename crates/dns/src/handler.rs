//! Answers requests: the zone's own names from the zone, all others from the forwarder.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use hickory_proto::op::{MessageType, Metadata, OpCode, ResponseCode};
use hickory_proto::rr::{Name, Record};
use hickory_server::net::runtime::Time;
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::zone_handler::MessageResponseBuilder;

use crate::forward::Forwarder;
use crate::zone::{Answer, Zone};

/// Behind hickory's server.
pub struct Handler {
    domain: Name,
    zone: Arc<ArcSwapOption<Zone>>,
    forwarder: Forwarder,
}

/// A response before it is encoded.
struct Outcome {
    code: ResponseCode,
    authoritative: bool,
    answers: Vec<Record>,
    authorities: Vec<Record>,
    additionals: Vec<Record>,
}

impl Outcome {
    fn of(code: ResponseCode) -> Self {
        Self { code, authoritative: false, answers: Vec::new(), authorities: Vec::new(), additionals: Vec::new() }
    }
}

impl Handler {
    pub fn new(domain: Name, zone: Arc<ArcSwapOption<Zone>>, forwarder: Forwarder) -> Self {
        Self { domain, zone, forwarder }
    }

    async fn resolve(&self, request: &Request) -> Outcome {
        if request.metadata.op_code != OpCode::Query {
            return Outcome::of(ResponseCode::NotImp);
        }
        let Ok(info) = request.request_info() else { return Outcome::of(ResponseCode::FormErr) };
        let (name, record_type) = (info.query.original().name(), info.query.query_type());
        let Some(zone) = self.zone.load_full() else {
            // Nothing is known of the cluster yet: its names wait, others need not.
            let own = self.domain.zone_of(&name.to_lowercase());
            return if own { Outcome::of(ResponseCode::ServFail) } else { self.forward(request).await };
        };
        let negative =
            |code| Outcome { authoritative: true, authorities: vec![zone.start_of_authority()], ..Outcome::of(code) };
        match zone.answer(name, record_type) {
            Answer::Records(answers) => Outcome { authoritative: true, answers, ..Outcome::of(ResponseCode::NoError) },
            Answer::NoData => negative(ResponseCode::NoError),
            Answer::NameError => negative(ResponseCode::NXDomain),
            Answer::Alias(alias, target) => self.follow_alias(&zone, *alias, &target, record_type).await,
            Answer::Foreign => self.forward(request).await,
        }
    }

    /// Adds what the alias leads to, so that stub resolvers, which ask no second time, get an address.
    async fn follow_alias(
        &self,
        zone: &Zone,
        alias: Record,
        target: &Name,
        record_type: hickory_proto::rr::RecordType,
    ) -> Outcome {
        let mut answers = vec![alias];
        match zone.answer(target, record_type) {
            Answer::Records(records) => answers.extend(records),
            Answer::Foreign => {
                let mut question = hickory_proto::op::Message::query();
                question.add_query(hickory_proto::op::Query::query(target.clone(), record_type));
                question.metadata.recursion_desired = true;
                if let Ok(question) = question.to_vec() {
                    answers.extend(self.forwarder.ask(&question).await.into_iter().flat_map(|answer| answer.answers));
                }
            }
            _ => {}
        }
        Outcome { authoritative: true, answers, ..Outcome::of(ResponseCode::NoError) }
    }

    async fn forward(&self, request: &Request) -> Outcome {
        match self.forwarder.ask(request.as_slice()).await {
            Some(answer) => Outcome {
                code: answer.metadata.response_code,
                authoritative: false,
                answers: answer.answers,
                authorities: answer.authorities,
                additionals: answer.additionals,
            },
            None => Outcome::of(ResponseCode::ServFail),
        }
    }
}

#[async_trait::async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut response_handle: R,
    ) -> ResponseInfo {
        let outcome = self.resolve(request).await;
        let mut metadata = Metadata::new(request.metadata.id, MessageType::Response, request.metadata.op_code);
        metadata.response_code = outcome.code;
        metadata.authoritative = outcome.authoritative;
        metadata.recursion_desired = request.metadata.recursion_desired;
        metadata.recursion_available = true;
        let response = MessageResponseBuilder::from_message_request(request).build(
            metadata,
            &outcome.answers,
            &outcome.authorities,
            &[],
            &outcome.additionals,
        );
        match response_handle.send_response(response).await {
            Ok(info) => info,
            Err(error) => {
                tracing::debug!(%error, client = %request.src(), "failed to send a DNS answer");
                let mut failed = Metadata::new(request.metadata.id, MessageType::Response, request.metadata.op_code);
                failed.response_code = ResponseCode::ServFail;
                ResponseInfo::from(hickory_proto::op::Header { metadata: failed, counts: Default::default() })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use client::Snapshot;
    use hickory_server::Server;
    use k8s_openapi::api::core::v1::Service;
    use serde_json::json;

    use super::*;
    use crate::{probe, zone};

    async fn server(zone: Option<Zone>, resolv_conf: &str) -> (Server<Handler>, SocketAddr, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("resolv.conf");
        std::fs::write(&file, resolv_conf).unwrap();
        let domain = zone::parse_domain("cluster.local").unwrap();
        let zone = Arc::new(ArcSwapOption::new(zone.map(Arc::new)));
        let mut server = Server::new(Handler::new(domain, zone, Forwarder::new(file, Vec::new())));
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        server.register_socket(socket);
        (server, address, folder)
    }

    fn example() -> Zone {
        let web = json!({"metadata": {"namespace": "default", "name": "web"}, "spec": {"clusterIP": "10.96.0.5"}});
        let web: Service = serde_json::from_value(web).unwrap();
        Zone::new(zone::parse_domain("cluster.local").unwrap(), &Snapshot::of([web]), &Snapshot::default())
    }

    #[tokio::test]
    async fn names_are_answered_over_the_wire() {
        let (_server, address, _folder) = server(Some(example()), "").await;
        let limit = Duration::from_secs(30);
        let found = probe::address_of(address, "web.default.svc.cluster.local", limit).await.unwrap();
        assert_eq!(found, ["10.96.0.5".parse::<std::net::Ipv4Addr>().unwrap()]);
        let missing = probe::address_of(address, "nobody.default.svc.cluster.local", limit).await.unwrap_err();
        assert!(missing.to_string().contains("Non-Existent Domain"), "{missing}");
        // Nobody to forward to.
        let foreign = probe::address_of(address, "example.org", limit).await.unwrap_err();
        assert!(foreign.to_string().contains("Server Failure"), "{foreign}");
    }

    #[tokio::test]
    async fn an_unknown_cluster_is_a_failure_and_not_a_missing_name() {
        let (_server, address, _folder) = server(None, "").await;
        let early =
            probe::address_of(address, "web.default.svc.cluster.local", Duration::from_secs(30)).await.unwrap_err();
        assert!(early.to_string().contains("Server Failure"), "{early}");
    }
}
