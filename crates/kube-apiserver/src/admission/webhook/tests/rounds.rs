//! Who is asked after whom, and who twice.

use super::*;

/// A webhook that counts in a label how often it was asked.
fn counting(label: &'static str) -> impl Fn(&Value) -> Response<Bytes> {
    move |question| {
        let labels = question["request"]["object"]["metadata"]["labels"].as_object().cloned().unwrap_or_default();
        let count = labels.get(label).and_then(Value::as_str).map_or(0, |count| count.parse::<u32>().unwrap());
        let mut labels = labels;
        labels.insert(label.to_owned(), (count + 1).to_string().into());
        allow(question, patch(json!([{ "op": "add", "path": "/metadata/labels", "value": labels }])))
    }
}

#[tokio::test]
async fn webhooks_are_asked_by_name_and_those_that_want_it_again() {
    let world = World::new().await;
    let (early, late) = (Hook::new(&world.pki, counting("early")).await, Hook::new(&world.pki, counting("late")).await);
    let again = json!({ "name": "early.example.com", "reinvocationPolicy": "IfNeeded" });
    world.register("mutating", "z", vec![world.webhook(&late.url(), json!({ "name": "late.example.com" }))]).await;
    world.register("mutating", "a", vec![world.webhook(&early.url(), again)]).await;
    let (code, made) = world.configmap("x").await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(made["metadata"]["labels"], json!({ "early": "2", "late": "1" }));
    // The first time it saw the object as it came, then with what the other had done.
    let seen: Vec<Value> = early.requests().iter().map(|r| r["object"]["metadata"]["labels"]["late"].clone()).collect();
    assert_eq!(seen, [Value::Null, json!("1")]);
}

#[tokio::test]
async fn webhooks_that_never_agree_end_after_two_rounds() {
    let world = World::new().await;
    let (one, two) = (Hook::new(&world.pki, counting("one")).await, Hook::new(&world.pki, counting("two")).await);
    let more = |name: &str| json!({ "name": format!("{name}.example.com"), "reinvocationPolicy": "IfNeeded" });
    let webhooks = vec![world.webhook(&one.url(), more("one")), world.webhook(&two.url(), more("two"))];
    world.register("mutating", "m", webhooks).await;
    let (code, made) = world.configmap("x").await;
    assert_eq!((code, &made["metadata"]["labels"]), (201, &json!({ "one": "2", "two": "2" })));
}

#[tokio::test]
async fn nobody_is_asked_again_when_nothing_changed() {
    let world = World::new().await;
    let (one, two) = (Hook::allowing(&world.pki).await, Hook::allowing(&world.pki).await);
    let more = |name: &str| json!({ "name": format!("{name}.example.com"), "reinvocationPolicy": "IfNeeded" });
    let webhooks = vec![world.webhook(&one.url(), more("one")), world.webhook(&two.url(), more("two"))];
    world.register("mutating", "m", webhooks).await;
    assert_eq!(world.configmap("x").await.0, 201);
    assert_eq!((one.requests().len(), two.requests().len()), (1, 1));
}
