use std::sync::Arc;

use serde_json::{Value, json};
use wacore::store::InMemoryBackend;
use whatsapp_sim::Simulator;

use crate::client::{STEP, TestClient, assert_understood, pn, start_simulator, text};

pub async fn post(sim: &Simulator, path: &str, body: Value) -> (u16, Value) {
    let response = reqwest::Client::new()
        .post(format!("{}/admin/{path}", sim.http_url()))
        .body(body.to_string())
        .send()
        .await
        .unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap())
}

pub async fn get(sim: &Simulator, path: &str) -> (u16, Value) {
    let response = reqwest::get(format!("{}/admin/{path}", sim.http_url())).await.unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_admin_api_does_a_whole_story() {
    let sim = start_simulator().await;
    let new = |number: &str, name: &str| json!({ "number": number, "push_name": name });
    let (status, alice) = post(&sim, "accounts", new("15550001", "Alice")).await;
    assert_eq!((status, &alice["number"]), (200, &json!("15550001")));
    assert!(alice["lid"].is_string());
    post(&sim, "accounts", new("15550002", "Bob")).await;

    let mut client = TestClient::start(&sim, Arc::new(InMemoryBackend::new())).await;
    let qr = client.qr().await;
    let scan = json!({ "number": "15550001", "qr": qr });
    assert_eq!(post(&sim, "scan", scan).await, (200, json!({ "device": 1 })));
    client.connected().await;

    let send = json!({ "from": "15550002", "to": "15550001", "text": "hello" });
    let (status, sent) = post(&sim, "send", send).await;
    assert_eq!(status, 200);
    let got = client.message().await;
    assert_eq!(sent["id"], json!(got.info.id));
    assert_eq!(text(&got), "hello");

    let id = client.send(&pn("15550002"), "hi").await;
    sim.wait_inbox("15550002", |m| m.id == id, STEP).await.unwrap();
    let (status, inbox) = get(&sim, "inbox/15550002").await;
    assert_eq!(status, 200);
    let item = &inbox[0];
    assert_eq!(item["id"], json!(id));
    assert_eq!(item["chat"], json!("15550001@s.whatsapp.net"));
    assert_eq!(item["from"], json!("15550001@s.whatsapp.net"));
    assert_eq!(item["from_me"], json!(false));
    assert_eq!(item["text"], json!("hi"));
    assert_eq!(item["arrivals"], json!(1));
    assert!(item["ts"].is_u64() && item["message"].is_object(), "{item}");

    let (_, before) = get(&sim, "requests/15550001").await;
    client.client.contacts().get_profile_picture(&pn("15550002"), true).await.unwrap();
    let (status, after) = get(&sim, "requests/15550001").await;
    assert_eq!(status, 200);
    let kind = "w:profile:picture get picture";
    assert_eq!((&before[kind], &after[kind]), (&json!(null), &json!(1)), "{after}");

    // Any kind, and its file.
    let picture = json!({ "from": "15550001", "to": "15550002", "kind": "image", "caption": "look", "forwarded": 1 });
    let (status, sent) = post(&sim, "send", picture).await;
    assert_eq!(status, 200, "{sent}");
    let id = sent["id"].as_str().unwrap();
    let item = sim.wait_inbox("15550002", |m| m.id == id, STEP).await.unwrap();
    assert_eq!(item.message["imageMessage"]["caption"], "look");
    assert_eq!(item.message["imageMessage"]["contextInfo"]["forwardingScore"], 1);
    let file = reqwest::get(format!("{}/admin/media/15550002/{id}", sim.http_url())).await.unwrap();
    assert_eq!(file.headers()["content-type"], "image/jpeg");
    assert!(file.bytes().await.unwrap().starts_with(b"\xff\xd8"));
    // Files expire, and with them a phone's downloads; it has its own.
    let path = item.message["imageMessage"]["directPath"].as_str().unwrap();
    for (body, status) in [(json!({ "status": 410, "path": path }), 410), (json!({ "status": 404 }), 404)] {
        assert_eq!(post(&sim, "media-expire", body).await.0, 200);
        assert_eq!(reqwest::get(format!("{}{path}", sim.http_url())).await.unwrap().status(), status);
    }
    assert_eq!(post(&sim, "media-expire", json!({ "status": 401 })).await.0, 200);
    assert_eq!(post(&sim, "media-fault", json!({ "refuse": 503 })).await.0, 200);
    assert_eq!(reqwest::get(format!("{}{path}", sim.http_url())).await.unwrap().status(), 503);
    assert_eq!(post(&sim, "media-fault", json!({})).await.0, 200);
    assert_eq!(post(&sim, "media-forget", json!({ "number": "15550002", "id": id })).await.0, 200);
    let react = json!({ "from": "15550002", "to": "15550001", "kind": "reaction", "target": id, "emoji": "+" });
    assert_eq!(post(&sim, "send", react).await.0, 200);
    let played = json!({ "number": "15550002", "chat": "15550001", "ids": [id] });
    assert_eq!(post(&sim, "played", played).await.0, 200);
    let typing = json!({ "from": "15550002", "to": "15550001", "state": "recording" });
    assert_eq!(post(&sim, "typing", typing).await.0, 200);

    let past = json!({ "number": "15550001", "chats": 2, "messages_per_chat": 3 });
    let (status, made) = post(&sim, "history", past).await;
    assert_eq!((status, made["people"].as_array().unwrap().len()), (200, 2));
    let pin = json!({ "number": "15550001", "action": "pin", "chat": "15550002" });
    assert_eq!(post(&sim, "app-state", pin).await, (200, json!({})));
    let (_, known) = get(&sim, "app-state/15550001").await;
    let last = known.as_array().unwrap().last().unwrap();
    assert_eq!((&last["device"], &last["index"][0]), (&json!(0), &json!("pin_v1")));
    let collection = json!({ "number": "15550001", "collection": "regular_low" });
    assert_eq!(post(&sim, "app-state-snapshot", collection).await, (200, json!({ "version": 1 })));
    assert_eq!(post(&sim, "app-state-key", json!({ "number": "15550001" })).await.0, 200);

    let fault = json!({ "number": "15550001", "kind": "double", "count": 1 });
    assert_eq!(post(&sim, "fault", fault).await.0, 200);
    assert_eq!(get(&sim, "unknown").await, (200, json!([])));
    let unlink = json!({ "number": "15550001", "device": 1 });
    assert_eq!(post(&sim, "unlink", unlink).await.0, 200);
    client.stop().await;
    assert_understood(&sim);
}

#[tokio::test]
async fn the_admin_api_refuses_with_a_reason() {
    let sim = start_simulator().await;
    let bob = json!({ "number": "15550002", "push_name": "Bob" });
    assert_eq!(post(&sim, "accounts", bob.clone()).await.0, 200);
    for (path, body) in [
        ("accounts", bob),
        ("accounts", json!({ "number": "+1 555" })),
        ("accounts", json!([])),
        ("scan", json!({ "number": "15550002", "qr": "nonsense" })),
        ("pair-code", json!({ "number": "15550002", "code": "ABCDEFGH" })),
        ("send", json!({ "from": "15550002", "to": "1", "text": "?" })),
        ("send", json!({ "from": "1", "to": "15550002", "text": "?" })),
        ("send", json!({ "from": "15550002", "to": "15550002", "kind": "surprise" })),
        ("send", json!({ "from": "15550002", "to": "15550002", "kind": "vote", "poll": "1", "options": [] })),
        ("app-state", json!({ "number": "15550002", "action": "dance" })),
        ("app-state", json!({ "number": "15550002", "action": "star", "id": "?" })),
        ("app-state-snapshot", json!({ "number": "15550002", "collection": "regular_low" })),
        ("typing", json!({ "from": "15550002", "to": "15550002", "state": "dancing" })),
        ("fault", json!({ "number": "15550002", "kind": "earthquake", "count": 1 })),
    ] {
        let (status, answer) = post(&sim, path, body.clone()).await;
        assert_eq!(status, 400, "{path} {body}");
        assert!(answer["error"].is_string(), "{path} {body}: {answer}");
    }
    assert_eq!(get(&sim, "inbox/1").await.0, 400);
    sim.shutdown().await;
}
