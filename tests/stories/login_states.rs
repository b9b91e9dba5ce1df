//! Where logins stand, told truthfully: to their owners, to who asks, and to the operator's status endpoint.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::{Json, Router, routing::post};
use matrix_bed::management::Management;
use matrix_bed::person::{Event, Person};
use matrix_bed::phones::Account;
use matrix_bed::wait;
use matrix_bed::world::World;
use serde_json::{Value, json};
use whatsapp_sim::Refusal;

matrix_bed::stories! {
    shared {
        a_ban_is_told_once_and_its_end_too
        short_disconnects_are_told_to_nobody
        another_program_with_the_same_keys_is_told
        an_old_version_is_told_when_the_newest_is_refused
        a_refusal_is_known_as_one
        a_notice_is_sent_once_though_the_bridge_dies_behind_it
        a_phone_that_is_away_is_asked_and_its_owner_warned
        a_number_of_somebody_else_is_refused_and_its_owner_told
        states_are_posted_to_the_status_endpoint
        a_logout_has_its_reason
        rooms_go_with_a_logout_where_the_operator_chose_it
    }
}

/// Lets WhatsApp refuse the logins of an account: all, or so many.
fn refuse(world: &World, account: &Account, reason: u16, count: Option<u32>) -> Result<()> {
    let (code, expire) = if reason == 402 { (Some(101), Some(7200)) } else { (None, None) };
    let refusal = Refusal { reason, code, expire, message: None, count };
    world.phones.simulator().refuse(Some(&account.number), Some(refusal))
}

fn lift(world: &World, account: &Account) -> Result<()> {
    world.phones.simulator().refuse(Some(&account.number), None)
}

/// Waits until one login stands there, as `/health` counts.
async fn wait_counted(world: &World, state: &str) -> Result<()> {
    wait::until(&format!("a login is {state}"), wait::STEP, || async {
        Ok((world.bridge.health().await?["logins"][state] == 1).then_some(()))
    })
    .await
}

/// What the bot has told in the management room with these words in it.
fn told(person: &Person, management: &Management, words: &str) -> Vec<Event> {
    let all = person.events(management.room());
    all.into_iter()
        .filter(|e| e.is_message("m.notice") && e.sender != person.id() && e.body().contains(words))
        .collect()
}

/// Waits for a notice that calls the owner.
async fn wait_called(person: &Person, management: &Management, words: &str) -> Result<Event> {
    let notice = management.wait_notice(words, |event| event.body().contains(words)).await?;
    ensure!(notice.content["m.mentions"]["user_ids"] == json!([person.id()]), "nobody is mentioned: {notice:?}");
    let pill = format!("https://matrix.to/#/{}", person.id());
    ensure!(notice.content["formatted_body"].as_str().is_some_and(|html| html.contains(&pill)), "{notice:?}");
    Ok(notice)
}

fn device(world: &World, account: &Account) -> Result<u16> {
    let devices = world.phones.simulator().connected_devices(&account.number);
    devices.first().copied().context("no device is connected")
}

async fn a_ban_is_told_once_and_its_end_too(world: &mut World) -> Result<()> {
    let (alice, account, management) = world.log_in("alice").await?;
    let chat = world.chat_with(&alice, &account, "bob")?;
    chat.begin("before the ban").await?;
    refuse(world, &account, 402, None)?;
    let notice = wait_called(&alice, &management, "has banned this account until").await?;
    ensure!(notice.body().contains("people who do not have it in their contacts"), "{}", notice.body());
    management.ask("list-logins", "not connected. WhatsApp has banned").await?;
    wait_counted(world, "banned").await?;
    // What somebody says meanwhile waits, also over a start, which tells nothing a second time.
    world.bridge.restart().await?;
    wait_counted(world, "banned").await?;
    lift(world, &account)?;
    world.bridge.restart().await?;
    wait_called(&alice, &management, "is connected again").await?;
    ensure!(told(&alice, &management, "has banned").len() == 2, "the notice, and the answer to the command");
    management.ask("list-logins", ": connected").await?;
    chat.person_says("after the ban").await?;
    chat.wait_at_contact("after the ban").await?;
    Ok(())
}

async fn short_disconnects_are_told_to_nobody(world: &mut World) -> Result<()> {
    let (alice, account, management) = world.log_in("alice").await?;
    let chat = world.chat_with(&alice, &account, "bob")?;
    chat.begin("hello").await?;
    for round in 0..3 {
        world.phones.simulator().disconnect(&account.number)?;
        let words = format!("after disconnect {round}");
        chat.person_says(&words).await?;
        chat.wait_at_contact(&words).await?;
    }
    // A version that is too old, and a newer one is taken.
    refuse(world, &account, 405, Some(1))?;
    world.phones.simulator().disconnect(&account.number)?;
    chat.person_says("with a newer version").await?;
    chat.wait_at_contact("with a newer version").await?;
    // The next notice is the next thing told.
    world.phones.unlink(&account.number)?;
    wait_called(&alice, &management, "is logged out").await?;
    let other = told(&alice, &management, "connected");
    ensure!(other.is_empty(), "{other:?}");
    Ok(())
}

async fn another_program_with_the_same_keys_is_told(world: &mut World) -> Result<()> {
    let (alice, account, management) = world.log_in("alice").await?;
    let chat = world.chat_with(&alice, &account, "bob")?;
    chat.begin("hello").await?;
    world.phones.simulator().replace(&account.number, device(world, &account)?)?;
    wait_called(&alice, &management, "Another program uses this login's keys").await?;
    wait_counted(world, "replaced").await?;
    management.ask("list-logins", "not connected. Another program").await?;
    // That all is well is told when it has held for ten minutes.
    world.bridge.restart().await?;
    wait_counted(world, "connected").await?;
    management.ask("list-logins", ": connected").await?;
    Ok(())
}

async fn a_refusal_is_known_as_one(world: &mut World) -> Result<()> {
    let (_alice, account, management) = world.log_in("alice").await?;
    refuse(world, &account, 503, None)?;
    wait_counted(world, "refused").await?;
    management.ask("list-logins", "not connected. WhatsApp").await?;
    lift(world, &account)?;
    wait_counted(world, "connected").await
}

async fn an_old_version_is_told_when_the_newest_is_refused(world: &mut World) -> Result<()> {
    let (alice, account, management) = world.log_in("alice").await?;
    refuse(world, &account, 405, None)?;
    wait_called(&alice, &management, "asks for a newer version").await?;
    wait_counted(world, "outdated").await?;
    management.ask("list-logins", "asks for a newer version").await?;
    lift(world, &account)?;
    world.bridge.restart().await?;
    wait_called(&alice, &management, "is connected again").await?;
    Ok(())
}

async fn a_notice_is_sent_once_though_the_bridge_dies_behind_it(world: &mut World) -> Result<()> {
    let (alice, account, management) = world.log_in("alice").await?;
    world.bridge.stop().await?;
    refuse(world, &account, 402, None)?;
    world.bridge.start_with_kill_points("logins.after_notice=1*return").await?;
    world.bridge.wait_exit(wait::STEP).await.context("the bridge did not die behind the notice")?;
    world.bridge.start().await?;
    wait_called(&alice, &management, "has banned this account").await?;
    wait_counted(world, "banned").await?;
    // It is told that all is well only when the ban counts as told.
    let database = &world.database;
    wait::until("the notice is noted", wait::STEP, || async {
        let noted = "SELECT COUNT(*) FROM login_watch WHERE told = 'wa-temporary-ban'";
        Ok((database.number(noted).await? == 1).then_some(()))
    })
    .await?;
    lift(world, &account)?;
    world.bridge.restart().await?;
    wait_called(&alice, &management, "is connected again").await?;
    let notices = told(&alice, &management, "has banned this account");
    ensure!(notices.len() == 1, "{notices:?}");
    Ok(())
}

async fn a_phone_that_is_away_is_asked_and_its_owner_warned(world: &mut World) -> Result<()> {
    let (alice, account, management) = world.log_in("alice").await?;
    let chat = world.chat_with(&alice, &account, "bob")?;
    chat.begin("hello").await?;
    let asked = "SELECT phone_asked FROM login_watch";
    let days_ago = "CAST((SELECT phone_seen FROM login_watch) AS BIGINT)";
    let now = world.database.number(&format!("SELECT {days_ago}")).await?;
    let day = 24 * 3600 * 1000;

    // Eleven days without a sign: it is asked, and its answer is one.
    world.bridge.stop().await?;
    world.database.execute(&format!("UPDATE login_watch SET phone_seen = {}", now - 11 * day)).await?;
    world.bridge.start().await?;
    let database = &world.database;
    wait::until("the phone has answered", wait::STEP, || async {
        let seen = database.number("SELECT phone_seen FROM login_watch").await?;
        Ok((seen >= now && database.number(asked).await? == 0).then_some(()))
    })
    .await?;

    // Twelve and a half, and asked in vain this day: its owner is warned, once.
    world.bridge.stop().await?;
    let seen = now - 12 * day - day / 2;
    world.database.execute(&format!("UPDATE login_watch SET phone_seen = {seen}, phone_asked = {now}")).await?;
    world.bridge.start().await?;
    wait_called(&alice, &management, "has not been on WhatsApp for 12 days").await?;
    wait_counted(world, "phone_offline").await?;
    management.ask("list-logins", "connected. Your phone has not been").await?;
    world.bridge.restart().await?;
    wait_counted(world, "phone_offline").await?;
    // Its owner writes on it.
    let words = "written on the phone";
    world.phones.send(&account.number, &chat.contact().number, words).await?;
    alice.wait_text(&chat.room()?, words).await?;
    wait_called(&alice, &management, "is there again").await?;
    wait_counted(world, "connected").await?;
    let notices = told(&alice, &management, "your WhatsApp account");
    let warned = notices.iter().filter(|event| event.body().contains("for 12 days")).count();
    ensure!(warned == 1, "warned {warned} times: {notices:?}");
    Ok(())
}

async fn a_number_of_somebody_else_is_refused_and_its_owner_told(world: &mut World) -> Result<()> {
    let (alice, account, management) = world.log_in("alice").await?;
    let chat = world.chat_with(&alice, &account, "bob")?;
    chat.begin("hello alice").await?;
    let mallory = world.person("mallory").await?;
    let other = world.management(&mallory).await?;
    for _ in 0..2 {
        let before = told(&mallory, &other, "already linked by another person").len();
        other.link_by_code(&world.phones, &account).await?;
        wait::until("the second account is refused", wait::STEP, || async {
            Ok((told(&mallory, &other, "already linked by another person").len() > before).then_some(()))
        })
        .await?;
        world.phones.forget(&account.number);
        wait_called(&alice, &management, "somebody else on this bridge tried").await?;
    }
    // Who it was stays unsaid, and nothing has changed; mallory sees no state of it.
    other.ask("list-logins", "no whatsapp account").await?;
    management.ask("list-logins", ": connected").await?;
    chat.person_says("still here").await?;
    chat.wait_at_contact("still here").await?;
    let notices = told(&alice, &management, "tried to link");
    ensure!(notices.len() == 1, "two tries within an hour are told once: {notices:?}");
    ensure!(!notices[0].body().contains("mallory"), "{}", notices[0].body());
    let log = world.bridge.log()?;
    ensure!(!log.contains(&account.number), "the log names the number");
    Ok(())
}

async fn a_logout_has_its_reason(world: &mut World) -> Result<()> {
    let (alice, account, management) = world.log_in("alice").await?;
    let chat = world.chat_with(&alice, &account, "bob")?;
    chat.begin("before").await?;
    refuse(world, &account, 403, None)?;
    wait_called(&alice, &management, "has locked the account").await?;
    wait_counted(world, "logged_out").await?;
    management.ask("list-logins", "logged out. WhatsApp has locked").await?;
    // Nothing is said in the rooms, but who writes there hears what to do.
    let room = chat.room()?;
    alice.send_text(&room, "is anybody there?").await?;
    alice.wait_event("what to do", wait::STEP, |event| event.room == room && event.body().contains("login qr")).await?;
    lift(world, &account)?;
    world.phones.forget(&account.number);
    management.relogin_by_code(&world.phones, &account).await?;
    chat.begin("after").await?;
    ensure!(chat.room()? == room, "the same room as before");
    Ok(())
}

async fn rooms_go_with_a_logout_where_the_operator_chose_it(world: &mut World) -> Result<()> {
    world.bridge.stop().await?;
    let rules =
        json!({ "enabled": true, "manual": { "private": "delete" }, "bad_credentials": { "private": "nothing" } });
    world.bridge.reconfigure(&json!({ "bridge": { "cleanup_on_logout": rules } }))?;
    world.bridge.start().await?;
    let (alice, account, management) = world.log_in("alice").await?;
    let chat = world.chat_with(&alice, &account, "bob")?;
    chat.begin("before").await?;
    let room = chat.room()?;
    // Logged out on the phone: they stay. The login is done with before it is linked again.
    world.phones.unlink(&account.number)?;
    wait_called(&alice, &management, "is logged out").await?;
    let database = &world.database;
    let wait_done = || {
        wait::until("the logout is done with", wait::STEP, || async {
            Ok((database.number("SELECT cleaned FROM login_watch").await? == 1).then_some(()))
        })
    };
    wait_done().await?;
    ensure!(alice.members(&room).await?.contains(&alice.id().to_owned()), "she was taken out of her room");
    management.relogin_by_code(&world.phones, &account).await?;
    chat.begin("again").await?;
    ensure!(chat.room()? == room, "the same room as before");

    // Logged out here: they go, though the bridge dies meanwhile; another chat of somebody else is not touched.
    let (carol, carols, _) = world.log_in("carol").await?;
    let theirs = world.chat_with(&carol, &carols, "dave")?;
    theirs.begin("hello carol").await?;
    world.bridge.wait_idle().await?;
    world.bridge.kill9()?;
    world.bridge.start_with_kill_points("states.room_deleted=1*return").await?;
    alice.send_text(management.room(), "logout yes").await?;
    world.bridge.wait_exit(wait::STEP).await.context("the bridge did not die in the cleaning")?;
    world.phones.forget(&account.number);
    world.bridge.start().await?;
    let (mxid, gone) = (alice.id().to_owned(), &room);
    alice
        .wait_event("she is taken out", wait::STEP, |event| {
            event.room == *gone
                && event.state_key.as_deref() == Some(mxid.as_str())
                && event.content["membership"] == "leave"
        })
        .await?;
    let rooms = "SELECT COUNT(*) FROM portal WHERE room_id IS NOT NULL AND kind = 'dm'";
    let database = &world.database;
    wait::until("one room is left", wait::STEP, || async { Ok((database.number(rooms).await? == 1).then_some(())) })
        .await?;
    theirs.person_says("still here").await?;
    theirs.wait_at_contact("still here").await?;
    Ok(())
}

/// What an endpoint got, and how it answers.
#[derive(Default)]
struct Endpoint {
    taken: Vec<(String, Value)>,
    is_down: bool,
    refused: usize,
}

type Shared = Arc<Mutex<Endpoint>>;

async fn take(State(shared): State<Shared>, headers: HeaderMap, Json(body): Json<Value>) -> StatusCode {
    let mut endpoint = shared.lock().unwrap_or_else(PoisonError::into_inner);
    if endpoint.is_down {
        endpoint.refused += 1;
        return StatusCode::BAD_GATEWAY;
    }
    let token = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
    endpoint.taken.push((token.to_owned(), body));
    StatusCode::OK
}

/// Waits until the last state of a login (of the bridge: `""`) is this one.
async fn wait_posted(shared: &Shared, event: &str, error: Option<&str>, login: &str) -> Result<Value> {
    wait::until(&format!("{event} {error:?} of {login:?} is posted"), wait::STEP, || async {
        let endpoint = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let is_its = |body: &Value| body["remote_id"].as_str().unwrap_or_default() == login;
        let last = endpoint.taken.iter().rev().map(|(_, body)| body).find(|body| is_its(body));
        Ok(last.filter(|body| body["state_event"] == event && body["error"].as_str() == error).cloned())
    })
    .await
}

async fn states_are_posted_to_the_status_endpoint(world: &mut World) -> Result<()> {
    let shared = Shared::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let router = Router::new().route("/status", post(take)).with_state(shared.clone());
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let look = || shared.lock().unwrap_or_else(PoisonError::into_inner);
    world.bridge.stop().await?;
    world.bridge.reconfigure(&json!({
        "homeserver": { "status_endpoint": format!("http://127.0.0.1:{port}/status") },
    }))?;
    world.bridge.start().await?;
    wait_posted(&shared, "UNCONFIGURED", None, "").await?;
    let (alice, account, management) = world.log_in("alice").await?;
    let connected = wait_posted(&shared, "CONNECTED", None, &account.number).await?;
    ensure!(connected["user_id"] == alice.id() && connected["ttl"] == 21_600, "{connected}");
    ensure!(connected["timestamp"].as_i64().is_some_and(|at| at > 1_700_000_000), "{connected}");
    wait_posted(&shared, "RUNNING", None, "").await?;

    // While it is down the newest state is kept for it, and nothing else waits.
    look().is_down = true;
    refuse(world, &account, 402, None)?;
    wait_called(&alice, &management, "has banned this account").await?;
    wait::until("the endpoint is asked again", wait::STEP, || async { Ok((look().refused >= 2).then_some(())) })
        .await?;
    let before = look().taken.len();
    look().is_down = false;
    let banned = wait_posted(&shared, "BAD_CREDENTIALS", Some("wa-temporary-ban"), &account.number).await?;
    ensure!(banned["message"].as_str().is_some_and(|words| words.contains("has banned")), "{banned}");
    ensure!(banned["ttl"] == 3_600, "{banned}");
    {
        let endpoint = look();
        let late: Vec<&Value> = endpoint.taken[before..].iter().map(|(_, body)| body).collect();
        ensure!(late.iter().all(|body| body["state_event"] != "CONNECTED"), "an old state came late: {late:?}");
    }
    lift(world, &account)?;
    world.bridge.restart().await?;
    wait_posted(&shared, "CONNECTED", None, &account.number).await?;
    management.ask("logout yes", "is logged out").await?;
    world.phones.forget(&account.number);
    wait_posted(&shared, "LOGGED_OUT", Some("wa-not-logged-in"), &account.number).await?;
    management.login_by_code(&world.phones, &account).await?;
    wait_posted(&shared, "CONNECTED", None, &account.number).await?;
    world.phones.unlink(&account.number)?;
    wait_posted(&shared, "BAD_CREDENTIALS", Some("wa-logged-out"), &account.number).await?;
    {
        let endpoint = look();
        let tokens: std::collections::BTreeSet<_> = endpoint.taken.iter().map(|(token, _)| token.as_str()).collect();
        ensure!(tokens.len() == 1 && tokens.iter().all(|token| token.len() > "Bearer ".len()), "{}", tokens.len());
        let starts = endpoint.taken.iter().filter(|(_, body)| body["state_event"] == "STARTING").count();
        ensure!(starts == 2, "{starts} starts of the bridge were posted");
    }
    // It names people to the endpoint and to nobody else.
    ensure!(!world.bridge.log()?.contains(&account.number), "the log names the number");
    server.abort();
    tokio::time::timeout(Duration::from_secs(5), server).await.ok();
    Ok(())
}
