use serde_json::{Value, json};

use super::*;

fn zone() -> Zone {
    let service = |name: &str, spec: Value| -> Service {
        serde_json::from_value(json!({"metadata": {"namespace": "default", "name": name}, "spec": spec})).unwrap()
    };
    let slice = |service: &str, endpoints: Value| -> EndpointSlice {
        let object = json!({
            "metadata": {"namespace": "default", "name": format!("{service}-1"), "labels": {"kubernetes.io/service-name": service}},
            "addressType": "IPv4", "ports": [{"name": "peer", "port": 7000, "protocol": "TCP"}], "endpoints": endpoints,
        });
        serde_json::from_value(object).unwrap()
    };
    let services = [
        service(
            "web",
            json!({"clusterIP": "10.96.0.5", "ports": [{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]}),
        ),
        service("db", json!({"clusterIP": "None", "ports": [{"name": "peer", "port": 7000}]})),
        service("all", json!({"clusterIP": "None", "publishNotReadyAddresses": true})),
        service("empty", json!({"clusterIP": "None"})),
        service("far", json!({"type": "ExternalName", "externalName": "example.org"})),
    ];
    let endpoints = json!([
        {"addresses": ["10.244.0.2"], "hostname": "db-0", "conditions": {"ready": true}},
        {"addresses": ["10.244.0.3"], "conditions": {"ready": true}},
        {"addresses": ["10.244.0.4"], "hostname": "db-2", "conditions": {"ready": false}},
    ]);
    let slices = [slice("db", endpoints.clone()), slice("all", endpoints)];
    Zone::new(parse_domain("cluster.local").unwrap(), &Snapshot::of(services), &Snapshot::of(slices))
}

/// The data of the answer as text, or its kind.
fn ask(name: &str, record_type: RecordType) -> String {
    match zone().answer(&Name::from_ascii(name).unwrap(), record_type) {
        Answer::Records(records) => records.iter().map(|record| record.data.to_string()).collect::<Vec<_>>().join(", "),
        Answer::Alias(record, _) => format!("CNAME {}", record.data),
        other => format!("{other:?}"),
    }
}

#[test]
fn services_have_addresses_and_ports() {
    use RecordType::{A, AAAA, SRV, TXT};
    assert_eq!(ask("web.default.svc.cluster.local.", A), "10.96.0.5");
    assert_eq!(ask("WEB.Default.svc.cluster.LOCAL.", A), "10.96.0.5");
    assert_eq!(ask("web.default.svc.cluster.local.", AAAA), "NoData");
    assert_eq!(ask("_http._tcp.web.default.svc.cluster.local.", SRV), "0 100 80 web.default.svc.cluster.local.");
    assert_eq!(ask("_dns._udp.web.default.svc.cluster.local.", SRV), "0 100 53 web.default.svc.cluster.local.");
    assert_eq!(ask("_http._udp.web.default.svc.cluster.local.", SRV), "NameError");
    assert_eq!(ask("nobody.default.svc.cluster.local.", A), "NameError");
    assert_eq!(ask("default.svc.cluster.local.", A), "NoData");
    assert_eq!(ask("elsewhere.svc.cluster.local.", A), "NameError");
    assert_eq!(ask("far.default.svc.cluster.local.", A), "CNAME example.org.");
    assert_eq!(ask("dns-version.cluster.local.", TXT), "1.1.0");
    assert_eq!(ask("example.org.", A), "Foreign");
}

#[test]
fn headless_services_have_their_ready_endpoints() {
    use RecordType::{A, SRV};
    assert_eq!(ask("db.default.svc.cluster.local.", A), "10.244.0.2, 10.244.0.3");
    assert_eq!(ask("all.default.svc.cluster.local.", A), "10.244.0.2, 10.244.0.3, 10.244.0.4");
    assert_eq!(ask("empty.default.svc.cluster.local.", A), "NameError");
    assert_eq!(ask("db-0.db.default.svc.cluster.local.", A), "10.244.0.2");
    assert_eq!(ask("10-244-0-3.db.default.svc.cluster.local.", A), "10.244.0.3");
    assert_eq!(ask("db-2.db.default.svc.cluster.local.", A), "NameError");
    assert_eq!(
        ask("_peer._tcp.db.default.svc.cluster.local.", SRV),
        "0 100 7000 db-0.db.default.svc.cluster.local., 0 100 7000 10-244-0-3.db.default.svc.cluster.local."
    );
}

#[test]
fn addresses_lead_back_to_names() {
    assert_eq!(ask("5.0.96.10.in-addr.arpa.", RecordType::PTR), "web.default.svc.cluster.local.");
    // An endpoint of two services has a name in each.
    assert_eq!(
        ask("2.0.244.10.in-addr.arpa.", RecordType::PTR),
        "db-0.all.default.svc.cluster.local., db-0.db.default.svc.cluster.local."
    );
    assert_eq!(ask("9.9.9.9.in-addr.arpa.", RecordType::PTR), "Foreign");
}

#[test]
fn pods_are_found_by_address_in_namespaces_that_exist() {
    assert_eq!(ask("10-244-0-9.default.pod.cluster.local.", RecordType::A), "10.244.0.9");
    assert_eq!(ask("10-244-0-9.elsewhere.pod.cluster.local.", RecordType::A), "NameError");
    assert_eq!(ask("no-address.default.pod.cluster.local.", RecordType::A), "NameError");
}
