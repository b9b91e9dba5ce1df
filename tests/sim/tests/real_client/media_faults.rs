//! Downloads that are slow, shortened or refused: an account's by rule, and everybody's.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use whatsapp_rust::waproto::whatsapp::message::ImageMessage;
use whatsapp_sim::{Kind, Media, MediaEffect, MediaFaults, MediaRule, Simulator};

use crate::{
    admin::post,
    client::{STEP, TestClient, assert_understood},
    kinds::message_of,
    people::{ALICE, BOB, two},
};

/// The size of the picture, and how long it takes at [`PACE`] at least.
const SIZE: usize = 10_000;
const PACE: u64 = 50_000;
const SLOW: Duration = Duration::from_millis(150);

/// A companion of Alice's and one of Bob's, both with Alice's picture.
async fn both_with_a_picture() -> (Simulator, TestClient, TestClient, ImageMessage) {
    let sim = two().await;
    let (mut alice, _) = TestClient::pair(&sim, ALICE).await;
    let (mut bob, _) = TestClient::pair(&sim, BOB).await;
    let id = sim.send_kind(ALICE, BOB, Kind::Image(Media::with_size(SIZE as u64))).await.unwrap();
    message_of(&mut alice, &id).await;
    let got = message_of(&mut bob, &id).await;
    let image = got.message.image_message.as_option().unwrap().clone();
    (sim, alice, bob, image)
}

/// Whether a download is whole, and how long it took.
async fn download(client: &TestClient, image: &ImageMessage) -> (bool, Duration) {
    let start = Instant::now();
    let whole = client.client.download(image).await.is_ok_and(|file| file.len() == SIZE);
    (whole, start.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_about_media_hits_one_accounts_downloads() {
    let (sim, alice, bob, image) = both_with_a_picture().await;
    sim.add_media_rule(BOB, MediaRule::new(MediaEffect::Truncate(5_000), u32::MAX)).unwrap();
    assert!(!download(&bob, &image).await.0, "the client sees that it is not all");
    assert!(download(&alice, &image).await.0, "others are not concerned");
    sim.add_media_rule(ALICE, MediaRule::new(MediaEffect::Slow(PACE), 1)).unwrap();
    let (whole, time) = download(&alice, &image).await;
    assert!(whole && time >= SLOW, "{time:?}");
    sim.wait_rules_used(ALICE, STEP).await.unwrap();
    assert!(sim.add_media_rule("1555999", MediaRule::new(MediaEffect::Slow(1), 1)).is_err());
    alice.stop().await;
    bob.stop().await;
    assert_understood(&sim);
}

/// Which of thirty downloads with Bob's credentials come whole when half are shortened by chance. A real client also
/// fetches what nobody asked for, and asks again for what is short: its downloads cannot be counted.
async fn whole_by_chance(seed: u64) -> Vec<bool> {
    let sim = two().await;
    let id = sim.send_kind(ALICE, BOB, Kind::Image(Media::with_size(SIZE as u64))).await.unwrap();
    let item = sim.wait_inbox(BOB, |item| item.id == id, STEP).await.unwrap();
    let path = item.message["imageMessage"]["directPath"].as_str().unwrap().to_owned();
    let rule = MediaRule::new(MediaEffect::Truncate(5_000), u32::MAX).by_chance(0.5, seed).unwrap();
    sim.add_media_rule(BOB, rule).unwrap();
    let mut whole = Vec::new();
    for _ in 0..30 {
        let file = reqwest::get(format!("{}{path}?auth=sim-auth-0-{BOB}", sim.http_url())).await.unwrap();
        whole.push(file.bytes().await.unwrap().len() > SIZE);
    }
    whole
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_seed_shortens_the_same_downloads() {
    let first = whole_by_chance(3).await;
    assert!(first.contains(&true) && first.contains(&false), "{first:?}");
    assert_eq!(whole_by_chance(3).await, first);
    assert_ne!(whole_by_chance(4).await, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_about_media_can_be_had_by_the_admin_api() {
    let (sim, alice, bob, image) = both_with_a_picture().await;
    let fault = |kind: &str| json!({ "number": BOB, "kind": kind });
    let (status, answer) = post(&sim, "fault", fault(&format!("slow_media:{PACE}"))).await;
    assert!(status == 200 && answer["seed"].is_u64(), "{answer}");
    let (whole, time) = download(&bob, &image).await;
    assert!(whole && time >= SLOW, "{time:?}");
    // One download was asked for: it is over.
    sim.wait_rules_used(BOB, STEP).await.unwrap();

    let mut seeded = fault("truncate_media");
    seeded.as_object_mut().unwrap().extend([
        ("count".to_owned(), json!(1_000)),
        ("probability".to_owned(), json!(1.0)),
        ("seed".to_owned(), json!(42)),
    ]);
    assert_eq!(post(&sim, "fault", seeded).await, (200, json!({ "seed": 42 })));
    assert!(!download(&bob, &image).await.0);
    assert!(download(&alice, &image).await.0);

    let with = |name: &str, value: Value| json!({ "number": BOB, "kind": "slow_media", name: value });
    for wrong in [
        fault("truncate_media:none"),
        fault("slow_media:"),
        fault("slow_medium"),
        with("stanza", json!("message")),
        with("direction", json!("to_client")),
        with("probability", json!(2.0)),
        json!({ "number": "1555999", "kind": "slow_media" }),
    ] {
        assert_eq!(post(&sim, "fault", wrong.clone()).await.0, 400, "{wrong}");
    }
    alice.stop().await;
    bob.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn everybodys_media_can_be_slow_shortened_or_refused() {
    let (sim, alice, bob, image) = both_with_a_picture().await;
    let set = |faults: MediaFaults| sim.set_media_faults(faults);
    for client in [&alice, &bob] {
        set(MediaFaults { truncate_at: Some(5_000), ..Default::default() });
        assert!(!download(client, &image).await.0);
        set(MediaFaults { refuse: Some(503), ..Default::default() });
        assert!(!download(client, &image).await.0);
        set(MediaFaults { bytes_per_second: Some(PACE), ..Default::default() });
        let (whole, time) = download(client, &image).await;
        assert!(whole && time >= SLOW, "{time:?}");
    }
    alice.stop().await;
    bob.stop().await;
    assert_understood(&sim);
}
