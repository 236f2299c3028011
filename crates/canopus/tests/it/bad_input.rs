//! Input that no good client sends: a clear error, and the server goes on.

use crate::harness::{Cluster, succeed};

struct Answer {
    status: String,
    body: String,
}

/// Sends a request as the administrator, or with other credentials.
fn send(cluster: &Cluster, path: &str, arguments: &[&str], body: Option<&[u8]>) -> Answer {
    let mut curl = cluster.on_node("curl");
    let pki = cluster.root().join("pki");
    curl.args(["-sS", "-m", "60", "-w", "\n%{http_code}", "--cacert"]).arg(pki.join("ca.crt")).args(arguments);
    if let Some(body) = body {
        let file = cluster.root().join("body");
        std::fs::write(&file, body).unwrap();
        curl.args(["-H", "Content-Type: application/json", "--data-binary"]).arg(format!("@{}", file.display()));
    }
    let printed = succeed(curl.arg(format!("https://127.0.0.1:6443{path}")));
    let (body, status) = printed.rsplit_once('\n').unwrap();
    Answer { status: status.to_owned(), body: body.to_owned() }
}

#[test]
fn bad_requests_get_clear_errors_and_the_server_goes_on() {
    let cluster = Cluster::start(&[]);
    let pki = cluster.root().join("pki");
    let (certificate, key) = (pki.join("admin.crt"), pki.join("admin.key"));
    let admin = ["--cert", certificate.to_str().unwrap(), "--key", key.to_str().unwrap()];
    let post = |body: &[u8]| send(&cluster, "/api/v1/namespaces/default/configmaps", &admin, Some(body));
    let get = |path: &str| send(&cluster, path, &admin, None);
    let expect = |answer: Answer, status: &str, words: &str| {
        assert!(answer.status == status && answer.body.contains(words), "{} {}", answer.status, answer.body);
    };

    expect(post(b"{"), "400", "BadRequest");
    expect(post(b"[]"), "400", "BadRequest");
    expect(post(&vec![b' '; 4 << 20]), "413", "RequestEntityTooLarge");
    expect(post(&[vec![b'['; 200_000], vec![b']'; 200_000]].concat()), "400", "BadRequest");
    expect(post(br#"{"metadata":{"name":5}}"#), "400", "cannot unmarshal number into Go struct field");
    expect(post(br#"{"metadata":{"name":"Not_A_Name"}}"#), "422", "a lowercase RFC 1123 subdomain");
    let strict = "/api/v1/namespaces/default/configmaps?fieldValidation=Strict";
    expect(
        send(&cluster, strict, &admin, Some(br#"{"metadata":{"name":"a"},"dta":{}}"#)),
        "400",
        "strict decoding error: unknown field \\\"dta\\\"",
    );
    expect(get("/api/v1/pods?labelSelector=a%3D%3D%3Db"), "400", "BadRequest");
    expect(get("/api/v1/pods?fieldSelector=spec.nope%3Dx"), "400", "field label not supported: spec.nope");
    expect(get("/api/v1/nonsense"), "404", "the server could not find the requested resource");
    expect(get("/api/v1/namespaces/default/pods/none"), "404", "pods \\\"none\\\" not found");

    expect(send(&cluster, "/api/v1/pods", &[], None), "403", "system:anonymous");
    expect(send(&cluster, "/api/v1/pods", &["-H", "Authorization: Bearer nonsense"], None), "401", "Unauthorized");
    let forged = "Authorization: Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJzeXN0ZW06bWFzdGVycyJ9.";
    expect(send(&cluster, "/api/v1/pods", &["-H", forged], None), "401", "Unauthorized");
    // A certificate of somebody else's authority is as good as none.
    let (other, other_key) = (cluster.root().join("other.crt"), cluster.root().join("other.key"));
    succeed(
        std::process::Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/O=system:masters/CN=me"])
            .arg("-out")
            .arg(&other)
            .arg("-keyout")
            .arg(&other_key),
    );
    let stranger = ["--cert", other.to_str().unwrap(), "--key", other_key.to_str().unwrap()];
    expect(send(&cluster, "/api/v1/pods", &stranger, None), "401", "Unauthorized");

    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned()
        + &(b'b'..=b'j')
            .map(|c| format!("{0}: &{0} [{1}]\n", c as char, vec![format!("*{}", (c - 1) as char); 9].join(",")))
            .collect::<String>();
    let file = cluster.root().join("bomb");
    std::fs::write(&file, bomb).unwrap();
    let data = format!("@{}", file.display());
    let yaml = [&admin[..], &["-H", "Content-Type: application/yaml", "--data-binary", &data]].concat();
    expect(send(&cluster, "/api/v1/namespaces/default/configmaps", &yaml, None), "400", "BadRequest");

    expect(get("/readyz"), "200", "ok");
}
