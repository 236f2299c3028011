use super::*;
use crate::backup::s3_server::{ALLOW_HTTP, S3Server, State};

fn place(server: &S3Server, url: &str) -> Destination {
    Destination::parse(Path::new(url), &server.settings()).unwrap()
}

/// Bytes that do not repeat, so that a part in the wrong place shows.
fn bytes(count: usize) -> Vec<u8> {
    let mut state = 1u64;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as u8
    };
    (0..count).map(next).collect()
}

async fn put(place: &Destination, content: Vec<u8>) -> Result<u64> {
    place.write(move |out| Ok(out.write_all(&content)?)).await
}

async fn get(place: &Destination) -> Result<Vec<u8>> {
    place
        .read(|source| {
            let mut content = Vec::new();
            source.read_to_end(&mut content)?;
            Ok(content)
        })
        .await
}

#[tokio::test]
async fn what_goes_into_a_bucket_in_parts_comes_out_whole() {
    let server = S3Server::start().await;
    let one = place(&server, "s3://bucket/a/b.tar.gz");
    let content = bytes(2 * PART_BYTES + 77);
    assert_eq!(put(&one, content.clone()).await.unwrap(), content.len() as u64);
    let parts = |state: &State| state.requests.iter().filter(|request| request.contains("partNumber=")).count();
    assert_eq!(parts(&server.state.lock().unwrap()), 3);
    assert!(get(&one).await.unwrap() == content);

    let error = format!("{:#}", put(&one, vec![1]).await.unwrap_err());
    assert_eq!(error, "failed to write s3://bucket/a/b.tar.gz: it exists already");

    put(&place(&server, "s3://bucket/a/c.tar.gz"), vec![1]).await.unwrap();
    put(&place(&server, "s3://bucket/a/d/e"), vec![1]).await.unwrap();
    let folder = place(&server, "s3://bucket/a/");
    assert_eq!(folder.names().await.unwrap(), ["b.tar.gz", "c.tar.gz"]);
    folder.within("b.tar.gz").remove().await.unwrap();
    assert_eq!(server.names(), ["a/c.tar.gz", "a/d/e"]);
    let error = get(&one).await.unwrap_err().to_string();
    assert_eq!(error, "failed to open s3://bucket/a/b.tar.gz");
}

#[tokio::test]
async fn an_upload_that_fails_leaves_nothing_and_says_why() {
    let server = S3Server::start().await;
    let one = place(&server, "s3://bucket/one");
    server.state.lock().unwrap().refused_from = Some(2);
    let error = put(&one, bytes(4 * PART_BYTES)).await.unwrap_err();
    assert!(format!("{error:#}").contains("AccessDenied"), "{error:#}");
    server.state.lock().unwrap().refused_from = None;
    let error = one.write(|out| {
        out.write_all(&bytes(PART_BYTES + 1))?;
        bail!("the store is damaged")
    });
    assert_eq!(format!("{:#}", error.await.unwrap_err()), "failed to write s3://bucket/one: the store is damaged");
    let state = server.state.lock().unwrap();
    assert!(state.objects.is_empty() && state.uploads.is_empty(), "{:?}", state.requests);
}

#[tokio::test]
async fn nothing_is_sent_in_the_clear_unless_that_is_allowed() {
    let server = S3Server::start().await;
    let settings = Settings::of(&server.lines().replace(ALLOW_HTTP, ""));
    let one = Destination::parse(Path::new("s3://bucket/one"), &settings).unwrap();
    let error = format!("{:#}", get(&one).await.unwrap_err());
    assert!(error.contains("AWS_ALLOW_HTTP") && !error.contains("secret-of-the-test"), "{error}");
    assert_eq!(error.matches("AWS_ALLOW_HTTP").count(), 1, "{error}");
    assert_eq!(server.state.lock().unwrap().requests, [""; 0]);
}

#[tokio::test]
async fn a_file_is_there_when_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}/new/name.tar.gz", folder.path().display());
    let one = Destination::parse(Path::new(&url), &Settings::default()).unwrap();
    let path = folder.path().join("new/name.tar.gz");
    let seen = path.clone();
    let failed = one.write(move |out| {
        out.write_all(b"half")?;
        assert!(!seen.exists(), "it is not whole yet");
        bail!("the store is damaged")
    });
    assert!(format!("{:#}", failed.await.unwrap_err()).ends_with("the store is damaged"));
    assert_eq!(fs::read_dir(folder.path().join("new")).unwrap().count(), 0);

    put(&one, vec![1, 2]).await.unwrap();
    assert_eq!(fs::read(&path).unwrap(), [1, 2]);
    let error = format!("{:#}", put(&one, vec![3]).await.unwrap_err());
    assert!(error.ends_with("it exists already"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), [1, 2]);
    assert_eq!(get(&one).await.unwrap(), [1, 2]);
}

#[test]
fn a_destination_is_a_stream_a_file_or_a_url() {
    let parse = |text: &str| Destination::parse(Path::new(text), &Settings::default());
    assert!(parse("-").unwrap().is_standard());
    assert!(matches!(parse("a/b.tar.gz").unwrap(), Destination::File(path) if path == Path::new("a/b.tar.gz")));
    assert!(matches!(parse("file:///a%20b").unwrap(), Destination::File(path) if path == Path::new("/a b")));
    assert!(matches!(parse("s3://bucket/a/b").unwrap(), Destination::Object { key, .. } if key.as_ref() == "a/b"));
    assert_eq!(parse("s3://bucket/a/").unwrap().within("b").to_string(), "s3://bucket/a/b");
    for (wrong, part) in [
        ("gs://bucket/a", "backups go to a file"),
        ("https://example.com/a", "backups go to a file"),
        ("file://host/a", "backups go to a file"),
        ("s3://key:secret@bucket/a", "holds no credentials"),
        ("://", "is no URL"),
    ] {
        let error = parse(wrong).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains(part) && !error.contains("secret"), "{wrong}: {error}");
    }
}
