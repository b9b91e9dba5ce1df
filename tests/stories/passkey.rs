//! Accounts that are linked only when their owner's passkey says so: in a room, through the API, on the page.
//!
//! The passkey is asked by the very script people paste, run by Node as a browser on WhatsApp's site would (`passkey/browser.mjs`).

use std::io::Write as _;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use matrix_bed::management::Management;
use matrix_bed::person::{Event, Person};
use matrix_bed::phones::Account;
use matrix_bed::wait;
use matrix_bed::world::World;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use xtask::{places, tether};

use super::browser::Browser;
use super::page::{ask_for_link, check_access, open_page, take_pictures};
use super::provisioning::{Manager, next, wait_state};

matrix_bed::stories! {
    shared {
        a_passkey_opens_the_way_in_a_room
        a_login_with_a_passkey_is_cancelled_at_each_step
        a_manager_answers_for_a_passkey
        a_manager_that_knows_no_passkeys_is_told
        a_page_helps_with_a_passkey
    }
}

/// An account whose phone wants its passkey for each device.
fn guarded_account(world: &World) -> Result<Account> {
    let account = world.phones.create_account("alice")?;
    world.phones.simulator().set_passkey(&account.number, true)?;
    Ok(account)
}

/// The phone scans a code, which takes as long as the whole step.
fn scan(world: &World, account: &Account, code: String) -> JoinHandle<Result<()>> {
    let (phones, number) = (world.phones.clone(), account.number.clone());
    tokio::spawn(async move { phones.scan(&number, &code).await })
}

/// What a browser on WhatsApp's site gives to who runs this script.
async fn answer_of(script: &str) -> Result<String> {
    let mut command = tether::command(&places::node()?);
    command
        .arg(places::root().join("tests/stories/passkey/browser.mjs"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = tether::spawn(command)?;
    child.stdin.take().context("no input")?.write_all(script.as_bytes())?;
    let done = tokio::task::spawn_blocking(move || child.wait_with_output()).await??;
    ensure!(done.status.success(), "the script fails: {}", String::from_utf8_lossy(&done.stderr));
    Ok(String::from_utf8(done.stdout)?)
}

/// Asks for a code, scans it, and gives the notice that says what to do with the passkey.
async fn begin_in_room(
    world: &World,
    management: &Management,
    account: &Account,
) -> Result<(Event, Event, JoinHandle<Result<()>>)> {
    let asked = std::time::Instant::now();
    let (picture, code) = management.ask_for_qr().await?;
    let scanning = scan(world, account, code);
    let notice = management
        .wait_notice("what to do with the passkey", |e| {
            e.arrived >= asked && e.body().contains("navigator.credentials")
        })
        .await?;
    Ok((picture, notice, scanning))
}

fn script_in(notice: &Event) -> Result<String> {
    Ok(notice.body().split("```").nth(1).context("no script")?.trim().to_owned())
}

async fn wait_removed(person: &Person, event: &str) -> Result<()> {
    let gone = person.wait_event("it is taken away", wait::STEP, |seen| {
        seen.kind == "m.room.redaction" && (seen.raw["redacts"] == event || seen.content["redacts"] == event)
    });
    gone.await.map(drop)
}

/// Says something that holds an answer: the bot says this of it, and takes it away.
async fn paste(management: &Management, text: &str, told: &str) -> Result<()> {
    let person = management.person();
    let asked = std::time::Instant::now();
    let event = person.send_text(management.room(), text).await?;
    management
        .wait_notice(told, |e| e.arrived >= asked && e.body().to_lowercase().contains(&told.to_lowercase()))
        .await?;
    wait_removed(person, &event).await
}

/// The code in what the bot asks to compare.
async fn wait_code(world: &World, management: &Management) -> Result<Event> {
    let shown = world.phones.simulator().wait_passkey_code(wait::STEP).await?;
    let code = format!("{}-{}", &shown[..4], &shown[4..]);
    management.wait_notice("the phone's code", |e| e.body().starts_with(&code) && e.body().contains("confirm")).await
}

async fn a_passkey_opens_the_way_in_a_room(world: &mut World) -> Result<()> {
    let alice = world.person("alice").await?;
    let account = guarded_account(world)?;
    let management = world.management(&alice).await?;
    let bob = world.person("bob").await?;
    let bobs = world.management(&bob).await?;
    // An answer of an earlier login of hers.
    let (_, notice, scanning) = begin_in_room(world, &management, &account).await?;
    let old = answer_of(&script_in(&notice)?).await?;
    management.ask("cancel", "cancelled").await?;
    scanning.abort();
    wait_removed(&alice, &notice.id).await?;

    let (picture, notice, scanning) = begin_in_room(world, &management, &account).await?;
    wait_removed(&alice, &picture.id).await?;
    ensure!(notice.body().contains("web.whatsapp.com"), "{}", notice.body());
    let answer = answer_of(&script_in(&notice)?).await?;
    // What is no answer, or not this login's, is told and taken away, and another may be given.
    paste(&management, "eyJ0eXBlIjoid2ViYXV0aG4", "not all of it").await?;
    paste(&management, &answer[..100], "not all of it").await?;
    paste(&management, "{\"id\": 1}", "no answer of a passkey").await?;
    paste(&management, &old, "earlier attempt").await?;
    management.ask("confirm", "nothing is to be confirmed").await?;
    // Somebody else's word is about their own login.
    paste(&bobs, &answer, "no passkey is asked for").await?;
    ensure!(!scanning.is_finished(), "it went on without her");
    paste(&management, &format!("```\n{answer}\n```"), "whatsapp looks at it").await?;
    let code = wait_code(world, &management).await?;
    bobs.ask("confirm", "nothing is to be confirmed").await?;
    paste(&management, &answer, "no passkey is asked for").await?;
    management.ask("confirm", "logged in as").await?;
    scanning.await??;
    wait_removed(&alice, &notice.id).await?;
    wait_removed(&alice, &code.id).await?;
    let chat = world.chat_with(&alice, &account, "carol")?;
    chat.begin("hello, whom a passkey let in").await?;
    chat.person_says("hello back").await?;
    chat.wait_all(wait::STEP).await?;
    let given: Value = serde_json::from_str(&answer)?;
    let asked = script_in(&notice)?;
    let challenge = asked.split("\"challenge\":\"").nth(1).and_then(|rest| rest.split('"').next()).context("none")?;
    let log = world.bridge.log()?;
    for secret in [given["response"]["signature"].as_str().context("no signature")?, challenge] {
        ensure!(!log.contains(secret), "the log tells of the passkey");
    }
    Ok(())
}

async fn a_login_with_a_passkey_is_cancelled_at_each_step(world: &mut World) -> Result<()> {
    let alice = world.person("alice").await?;
    let account = guarded_account(world)?;
    let management = world.management(&alice).await?;
    let (_, notice, scanning) = begin_in_room(world, &management, &account).await?;
    management.ask("cancel", "cancelled").await?;
    wait_removed(&alice, &notice.id).await?;
    scanning.abort();
    paste(&management, &answer_of(&script_in(&notice)?).await?, "no passkey is asked for").await?;
    management.ask("cancel", "nothing is going on").await?;

    let (_, notice, scanning) = begin_in_room(world, &management, &account).await?;
    paste(&management, &answer_of(&script_in(&notice)?).await?, "whatsapp looks at it").await?;
    let code = wait_code(world, &management).await?;
    management.ask("cancel", "cancelled").await?;
    wait_removed(&alice, &code.id).await?;
    scanning.abort();
    management.ask("confirm", "nothing is to be confirmed").await?;
    management.ask("list-logins", "no whatsapp account").await?;

    // WhatsApp's connection ends meanwhile: nothing is waited for in vain.
    let (_, notice, scanning) = begin_in_room(world, &management, &account).await?;
    world.phones.simulator().disconnect_unlinked();
    management.wait_notice("the connection broke off", |e| e.body().contains("broke off")).await?;
    wait_removed(&alice, &notice.id).await?;
    scanning.abort();
    // And the account can be linked after all that.
    let (_, notice, scanning) = begin_in_room(world, &management, &account).await?;
    paste(&management, &answer_of(&script_in(&notice)?).await?, "whatsapp looks at it").await?;
    wait_code(world, &management).await?;
    management.ask("confirm", "logged in as").await?;
    scanning.await?
}

/// Begins a login in a manager and lets the phone scan; the step that asks for the passkey, or how it was refused.
async fn begin_in_manager(
    world: &World,
    manager: &Manager,
    account: &Account,
) -> Result<((u16, Value), JoinHandle<Result<()>>)> {
    let step = manager.post("login/start/qr", None).await?;
    let code = step["display_and_wait"]["data"].as_str().context("no code")?.to_owned();
    let scanning = scan(world, account, code);
    loop {
        let (status, step) = manager.ask(Method::POST, &next(&step)?, None).await?;
        if step["type"] != "display_and_wait" {
            return Ok(((status, step), scanning));
        }
    }
}

async fn a_manager_answers_for_a_passkey(world: &mut World) -> Result<()> {
    let alice = world.person("alice").await?;
    let bob = world.person("bob").await?;
    let account = guarded_account(world)?;
    let (alices, bobs) = (Manager::of(world, &alice), Manager::of(world, &bob));
    let ((status, step), scanning) = begin_in_manager(world, &alices, &account).await?;
    ensure!(status == 200 && step["type"] == "webauthn", "{status} {step}");
    ensure!(
        step["step_id"] == "fi.mau.whatsapp.login.passkey" && step["webauthn"]["url"] == "https://web.whatsapp.com"
    );
    let question = &step["webauthn"]["publicKey"];
    ensure!(question["rpId"] == "web.whatsapp.com" && question["challenge"].is_string(), "{step}");
    // A manager's own browser does what the script does.
    let script = include_str!("../../src/whatsapp/passkey.js").replace("{{options}}", &question.to_string());
    let answer: Value = serde_json::from_str(&answer_of(&script).await?)?;
    let path = next(&step)?;
    let mut other = answer.clone();
    other["response"]["signature"] = json!("");
    for wrong in [json!({}), json!({"id": "abc"}), other] {
        let want = (400, "FI.MAU.WHATSAPP.BAD_PASSKEY_ANSWER");
        alices.refused(Method::POST, &path, Some(&wrong), want).await?;
    }
    alices.refused(Method::POST, &path, None, (400, "M_NOT_JSON")).await?;
    bobs.refused(Method::POST, &path, Some(&answer), (404, "M_NOT_FOUND")).await?;
    let user_input = path.replace("/webauthn", "/user_input");
    alices.refused(Method::POST, &user_input, Some(&json!({"same": "yes"})), (400, "M_BAD_STATE")).await?;
    let step = alices.post(&path, Some(&answer)).await?;
    let field = &step["user_input"]["fields"][0];
    ensure!(field["type"] == "select" && field["options"] == json!(["yes", "no"]), "{step}");
    let shown = world.phones.simulator().wait_passkey_code(wait::STEP).await?;
    let code = format!("{}-{}", &shown[..4], &shown[4..]);
    ensure!(step["instructions"].as_str().is_some_and(|words| words.contains(&code)), "{step}");
    // It is taken once.
    alices.refused(Method::POST, &path, Some(&answer), (400, "M_BAD_STATE")).await?;
    let path = next(&step)?;
    let same = |word: &str| json!({ "same": word });
    bobs.refused(Method::POST, &path, Some(&same("yes")), (404, "M_NOT_FOUND")).await?;
    alices.refused(Method::POST, &path, Some(&same("maybe")), (400, "M_INVALID_PARAM")).await?;
    let mut step = alices.post(&path, Some(&same("yes"))).await?;
    while step["type"] == "display_and_wait" {
        step = alices.post(&next(&step)?, None).await?;
    }
    ensure!(step["complete"]["user_login_id"] == account.number.as_str(), "{step}");
    scanning.await??;
    wait_state(&alices, "CONNECTED").await?;

    // Codes that differ end it.
    let second = guarded_account(world)?;
    let ((_, step), scanning) = begin_in_manager(world, &alices, &second).await?;
    let script = include_str!("../../src/whatsapp/passkey.js")
        .replace("{{options}}", &step["webauthn"]["publicKey"].to_string());
    let answer: Value = serde_json::from_str(&answer_of(&script).await?)?;
    let step = alices.post(&next(&step)?, Some(&answer)).await?;
    let want = (400, "FI.MAU.BRIDGE.LOGIN_CANCELLED");
    alices.refused(Method::POST, &next(&step)?, Some(&same("no")), want).await?;
    scanning.abort();
    let signature = answer["response"]["signature"].as_str().context("no signature")?;
    ensure!(!world.bridge.log()?.contains(signature), "the log tells of the passkey");
    Ok(())
}

async fn a_manager_that_knows_no_passkeys_is_told(world: &mut World) -> Result<()> {
    world.bridge.reconfigure(&json!({"provisioning": {"fail_on_webauthn": true}}))?;
    world.bridge.restart().await?;
    let alice = world.person("alice").await?;
    let account = guarded_account(world)?;
    let manager = Manager::of(world, &alice);
    let ((status, told), scanning) = begin_in_manager(world, &manager, &account).await?;
    ensure!(status == 400 && told["errcode"] == "COM.BEEPER.WEBAUTHN_UNSUPPORTED", "{status} {told}");
    scanning.abort();
    // In a room it goes on working.
    let management = world.management(&alice).await?;
    let (_, notice, scanning) = begin_in_room(world, &management, &account).await?;
    paste(&management, &answer_of(&script_in(&notice)?).await?, "whatsapp looks at it").await?;
    wait_code(world, &management).await?;
    management.ask("confirm", "logged in as").await?;
    scanning.await?
}

async fn a_page_helps_with_a_passkey(world: &mut World) -> Result<()> {
    open_page(world).await?;
    let alice = world.person("alice").await?;
    let account = guarded_account(world)?;
    let management = world.management(&alice).await?;
    let (_, link) = ask_for_link(&management, "login page").await?;
    let mut browser = Browser::start().await;
    browser.resize(420, 1200).await;
    browser.go(&link).await;
    browser.press("Show QR code").await;
    browser.wait("document.querySelector('#picture svg') !== null").await;
    let code = matrix_bed::qr::read(&browser.picture().await)?;
    let scanning = scan(world, &account, code);
    browser.wait("document.getElementById('script').textContent.includes('navigator.credentials')").await;
    browser.wait("document.getElementById('passkey').offsetParent !== null").await;
    assert_eq!(browser.eval("document.activeElement.id").await, json!("link-title"));
    assert_eq!(browser.eval("document.getElementById('qr').hidden").await, json!(true));
    check_access(&mut browser).await;
    take_pictures(&mut browser, "passkey").await;
    let script = browser.eval("document.getElementById('script').textContent").await;
    let answer = answer_of(script.as_str().context("no script")?).await?;
    browser.fill("Answer of the passkey", "hello").await;
    browser.press("Send the answer").await;
    browser.wait("document.getElementById('trouble').textContent.includes('not all of it')").await;
    browser.fill("Answer of the passkey", &answer).await;
    browser.press("Send the answer").await;
    let shown = world.phones.simulator().wait_passkey_code(wait::STEP).await?;
    let code = format!("{}-{}", &shown[..4], &shown[4..]);
    browser.wait(&format!("document.getElementById('same-code').textContent === '{code}'")).await;
    browser.wait("document.getElementById('trouble').hidden").await;
    check_access(&mut browser).await;
    take_pictures(&mut browser, "compare").await;
    browser.press("The codes are the same").await;
    browser.wait("document.querySelector('.state')?.textContent === 'Connected'").await;
    scanning.await??;
    assert_eq!(browser.eval("document.getElementById('answer').value").await, json!(""));
    let chat = world.chat_with(&alice, &account, "bob")?;
    chat.begin("hello, whom a page let in").await.map(drop)
}
