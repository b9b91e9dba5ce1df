//! The web page in a real browser: Chromium without a window.
#![recursion_limit = "512"]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

#[allow(dead_code)] // the stories of the login page use more of it
mod browser;
#[path = "../real_client/client.rs"]
#[allow(dead_code)] // the other tests use more of it
mod client;

use std::sync::Arc;

use serde_json::json;
use wacore::store::InMemoryBackend;
use whatsapp_rust::prelude::Jid;
use whatsapp_sim::Simulator;

use browser::Browser;
use client::{STEP, TestClient, assert_understood, start_simulator, text};

const ALICE: &str = "15550001";
const BOB: &str = "15550002";

async fn phones() -> Simulator {
    let sim = start_simulator().await;
    sim.create_account(ALICE, "Alice").unwrap();
    sim.create_account(BOB, "Bob").unwrap();
    sim
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_is_played_in_a_browser() {
    let sim = phones().await;
    let mut browser = Browser::start().await;
    browser.open(&format!("{}/", sim.http_url())).await;
    browser.wait("document.body.innerText.includes('Alice')").await;

    // A companion shows its code; somebody pastes it.
    let mut client = TestClient::start(&sim, Arc::new(InMemoryBackend::new())).await;
    let qr = client.qr().await;
    browser.open(&format!("{}/phone/{ALICE}", sim.http_url())).await;
    browser.fill("Text of the QR code", &qr).await;
    browser.press("Scan").await;
    client.connected().await;
    browser.wait("document.body.innerText.includes('Device 1, connected')").await;

    // Bob's phone in the browser, Alice's companion at the other end.
    browser.open(&format!("{}/phone/{BOB}?chat={ALICE}", sim.http_url())).await;
    browser.fill("To", ALICE).await;
    browser.fill("Message", "Hello & <b>welcome</b>, 100% \"quoted\" + more").await;
    browser.press("Send").await;
    let got = client.message().await;
    assert_eq!(text(&got), "Hello & <b>welcome</b>, 100% \"quoted\" + more");
    browser.wait("document.querySelector('.talk .mine')?.innerText.includes('<b>welcome</b>') === true").await;

    // What comes in appears by itself.
    browser.eval("window.untouched = true").await;
    let id = client.send(&Jid::pn(BOB), "it works").await;
    sim.wait_inbox(BOB, |m| m.id == id, STEP).await.unwrap();
    browser.wait("document.querySelector('.talk').innerText.includes('it works')").await;
    assert_eq!(browser.eval("window.untouched").await, json!(true), "without loading the page again");
    let picture = browser.picture().await;
    std::fs::write(xtask::places::target().join("simulator-page.png"), picture).unwrap();

    client.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_linked_by_its_code_in_a_browser() {
    let sim = phones().await;
    let mut browser = Browser::start().await;
    let mut client = TestClient::start(&sim, Arc::new(InMemoryBackend::new())).await;
    client.qr().await;
    let options = whatsapp_rust::pair_code::PairCodeOptions { phone_number: ALICE.into(), ..Default::default() };
    let code = client.client.pair_with_code(options).await.unwrap();
    browser.open(&format!("{}/phone/{ALICE}", sim.http_url())).await;
    // As people are shown it.
    browser.fill("Or its 8-letter code", &format!("{}-{}", &code[..4], &code[4..])).await;
    browser.press("Link").await;
    client.connected().await;
    browser.wait("document.body.innerText.includes('Device 1, connected')").await;
    client.stop().await;
    assert_understood(&sim);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_messages_cannot_script_the_page() {
    let sim = phones().await;
    let evil = "</script><img src=x onerror=\"window.hit=1\"><script>window.hit=1</script>";
    sim.create_account("15550009", evil).unwrap();
    sim.send_text("15550009", BOB, evil).await.unwrap();
    let mut browser = Browser::start().await;
    let odd = "%3Cscript%3Ewindow.hit%3D1%3C%2Fscript%3E%22%27";
    for path in ["/", &format!("/phone/{BOB}"), "/phone/15550009", &format!("/phone/{BOB}?chat={odd}&error={odd}")] {
        browser.open(&format!("{}{path}", sim.http_url())).await;
        assert_eq!(browser.eval("window.hit === undefined").await, json!(true), "{path}");
        let images = browser.eval("document.querySelectorAll('img').length").await;
        assert_eq!(images, json!(0), "{path}");
    }
    browser.open(&format!("{}/phone/{BOB}", sim.http_url())).await;
    browser.wait("document.querySelector('.talk').innerText.includes('onerror')").await;
    // What a refused action says is on the page, as text.
    browser.fill("Text of the QR code", "<i>nonsense</i>").await;
    browser.press("Scan").await;
    browser.wait("document.querySelector('[role=alert]') !== null").await;
    assert_eq!(browser.eval("document.querySelectorAll('i').length").await, json!(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_has_a_label_and_can_be_reached_by_keyboard() {
    let sim = phones().await;
    let mut browser = Browser::start().await;
    for path in ["/", &format!("/phone/{ALICE}")] {
        browser.open(&format!("{}{path}", sim.http_url())).await;
        let bare = "[...document.querySelectorAll('input, textarea, select')].filter(f => !f.labels.length).length";
        assert_eq!(browser.eval(bare).await, json!(0), "{path}");
        let unreachable = "[...document.querySelectorAll('a, button, input, textarea, select')]\
                           .filter(f => f.tabIndex < 0).length";
        assert_eq!(browser.eval(unreachable).await, json!(0), "{path}");
        let wide = "document.documentElement.scrollWidth <= window.innerWidth";
        assert_eq!(browser.eval(wide).await, json!(true), "{path} is wider than a phone");
        assert_eq!(browser.eval("document.documentElement.lang").await, json!("en"));
    }
}
