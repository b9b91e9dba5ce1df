//! The API for managers: logging in by it, people and chats, and everybody who may not.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use matrix_bed::database::Db;
use matrix_bed::person::Person;
use matrix_bed::wait;
use matrix_bed::world::{Homeserver, World, run};
use reqwest::Method;
use serde_json::{Value, json};
use xtask::{places, tether};

matrix_bed::stories! {
    shared {
        a_manager_links_by_picture
        a_manager_links_by_number
        a_manager_hears_of_every_end
        a_manager_looks_people_up_and_opens_chats
        who_may_not_use_the_api
        an_openid_token_stands_for_its_owner
        nobody_reaches_anothers_login
        who_asks_too_often_waits
    }
}

const SECRET: &str = "a-secret-of-more-than-16-characters";

/// Somebody's manager: what it asks is asked with this token.
#[derive(Clone)]
pub(super) struct Manager {
    http: reqwest::Client,
    base: String,
    token: String,
    user_id: Option<String>,
    address: &'static str,
}

impl Manager {
    pub(super) fn of(world: &World, person: &Person) -> Self {
        Self::with(world, person.client().token())
    }

    fn with(world: &World, token: &str) -> Self {
        let base = format!("{}/_matrix/provision/v3", world.bridge.url());
        Self { http: matrix_bed::client::http(), base, token: token.to_owned(), user_id: None, address: "192.0.2.1" }
    }

    /// Asks, and gives status and body.
    pub(super) async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(u16, Value)> {
        let mut url = reqwest::Url::parse(&format!("{}/{path}", self.base))?;
        if let Some(user) = &self.user_id {
            url.query_pairs_mut().append_pair("user_id", user);
        }
        let mut request = self.http.request(method, url).header("X-Forwarded-For", self.address);
        if !self.token.is_empty() {
            request = request.bearer_auth(&self.token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        ensure!(answer.headers().get("access-control-allow-origin").is_some_and(|origin| origin == "*"), "{path}");
        Ok((status, answer.json().await.with_context(|| format!("{path} answered {status} without JSON"))?))
    }

    async fn get(&self, path: &str) -> Result<Value> {
        let (status, body) = self.ask(Method::GET, path, None).await?;
        ensure!(status == 200, "{path}: {status} {body}");
        Ok(body)
    }

    pub(super) async fn post(&self, path: &str, body: Option<&Value>) -> Result<Value> {
        let (status, body) = self.ask(Method::POST, path, body).await?;
        ensure!(status == 200, "{path}: {status} {body}");
        Ok(body)
    }

    /// Asks what must be refused so.
    pub(super) async fn refused(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        want: (u16, &str),
    ) -> Result<()> {
        let (status, answer) = self.ask(method.clone(), path, body).await?;
        let errcode = answer["errcode"].as_str().unwrap_or_default();
        ensure!((status, errcode) == want, "{method} {path}: {status} {answer}, not {want:?}");
        ensure!(answer["error"].as_str().is_some_and(|error| error.len() > 10), "{answer} tells a person nothing");
        Ok(())
    }
}

/// The path of the next request of a login.
pub(super) fn next(step: &Value) -> Result<String> {
    let text = |key: &str| step[key].as_str().with_context(|| format!("no {key} in {step}"));
    Ok(format!("login/step/{}/{}/{}", text("login_id")?, text("step_id")?, text("type")?))
}

async fn whoami_state(manager: &Manager) -> Result<Option<String>> {
    let whoami = manager.get("whoami").await?;
    Ok(whoami["logins"][0]["state"]["state_event"].as_str().map(str::to_owned))
}

pub(super) async fn wait_state(manager: &Manager, want: &str) -> Result<()> {
    wait::until(&format!("the login is {want}"), wait::STEP, || async {
        Ok(whoami_state(manager).await?.filter(|state| state == want).map(drop))
    })
    .await
}

async fn a_manager_links_by_picture(world: &mut World) -> Result<()> {
    let alice = world.person("alice").await?;
    let account = world.phones.create_account("alice")?;
    let manager = Manager::of(world, &alice);
    let whoami = manager.get("whoami").await?;
    ensure!(whoami["logins"] == json!([]) && whoami["bridge_bot"] == world.bridge.slot().bot(), "{whoami}");
    ensure!(whoami["network"]["network_id"] == "whatsapp", "{whoami}");
    ensure!(manager.get("logins").await? == json!({"login_ids": []}));
    let flows = manager.get("login/flows").await?;
    let ids: Vec<&str> =
        flows["flows"].as_array().context("no flows")?.iter().filter_map(|f| f["id"].as_str()).collect();
    ensure!(ids == ["qr", "phone"], "{flows}");
    manager.refused(Method::GET, "contacts", None, (404, "FI.MAU.NOT_LOGGED_IN")).await?;

    let mut step = manager.post("login/start/qr", None).await?;
    let mut tried = 0;
    let done = loop {
        ensure!(step["type"] == "display_and_wait" && step["display_and_wait"]["type"] == "qr", "{step}");
        ensure!(step["step_id"] == "fi.mau.whatsapp.login.qr", "{step}");
        let code = step["display_and_wait"]["data"].as_str().context("no code")?.to_owned();
        let path = next(&step)?;
        // As a manager does it: it waits while the person scans.
        let (scanned, waited) = tokio::join!(world.phones.scan(&account.number, &code), manager.post(&path, None));
        step = waited?;
        if step["type"] == "complete" {
            break step;
        }
        // A code ran out while it was being scanned.
        tried += 1;
        ensure!(tried < 4, "{scanned:?}");
    };
    ensure!(done["complete"]["user_login_id"] == account.number.as_str(), "{done}");
    ensure!(done["step_id"] == "fi.mau.whatsapp.login.complete", "{done}");
    // A lost answer is had again.
    let again =
        format!("login/step/{}/fi.mau.whatsapp.login.qr/display_and_wait", done["login_id"].as_str().context("id")?);
    ensure!(manager.post(&again, None).await?["type"] == "complete");
    wait_state(&manager, "CONNECTED").await?;
    let whoami = manager.get("whoami").await?;
    ensure!(whoami["logins"][0]["profile"]["phone"] == format!("+{}", account.number), "{whoami}");
    ensure!(manager.get("logins").await? == json!({"login_ids": [account.number]}));
    // It is a login like any other.
    let chat = world.chat_with(&alice, &account, "bob")?;
    chat.begin("hello, whom a manager linked").await?;
    chat.person_says("hello back").await?;
    chat.wait_all(wait::STEP).await?;

    ensure!(manager.post(&format!("logout/{}", account.number), None).await? == json!({}));
    wait_state(&manager, "LOGGED_OUT").await?;
    world.phones.forget(&account.number);
    ensure!(manager.post("logout/all", None).await? == json!({}), "there is nothing left to do");
    manager.refused(Method::POST, "create_dm/12025550100", None, (404, "FI.MAU.NOT_LOGGED_IN")).await
}

async fn a_manager_links_by_number(world: &mut World) -> Result<()> {
    let alice = world.person("alice").await?;
    let account = world.phones.create_account("alice")?;
    world.bridge.reconfigure(&json!({"provisioning": {"shared_secret": SECRET, "allow_matrix_auth": false}}))?;
    world.bridge.restart().await?;
    let manager = Manager { user_id: Some(alice.id().to_owned()), ..Manager::with(world, SECRET) };
    let own = Manager::of(world, &alice);
    own.refused(Method::GET, "whoami", None, (401, "M_UNKNOWN_TOKEN")).await?;
    let step = manager.post("login/start/phone", None).await?;
    ensure!(step["type"] == "user_input" && step["user_input"]["fields"][0]["type"] == "phone_number", "{step}");
    let field = step["user_input"]["fields"][0]["id"].as_str().context("no field")?.to_owned();
    let path = next(&step)?;
    for (number, errcode) in [
        ("12", "FI.MAU.WHATSAPP.PHONE_NUMBER_TOO_SHORT"),
        ("0170 0000001", "FI.MAU.WHATSAPP.PHONE_NUMBER_NOT_INTERNATIONAL"),
    ] {
        manager.refused(Method::POST, &path, Some(&json!({field.clone(): number})), (400, errcode)).await?;
    }
    manager.refused(Method::POST, &path, Some(&json!({"other": "1"})), (400, "M_MISSING_PARAM")).await?;
    manager.refused(Method::POST, &path, Some(&json!([])), (400, "M_BAD_JSON")).await?;
    // Another kind of answer than was asked for.
    for kind in ["display_and_wait", "cookies", "webauthn"] {
        let other = path.replace("user_input", kind);
        manager.refused(Method::POST, &other, Some(&json!({})), (400, "M_BAD_STATE")).await?;
    }
    let mut step = manager.post(&path, Some(&json!({field.clone(): format!("+{}", account.number)}))).await?;
    while step["display_and_wait"]["type"] == "nothing" {
        step = manager.post(&next(&step)?, None).await?;
    }
    ensure!(step["display_and_wait"]["type"] == "code" && step["step_id"] == "fi.mau.whatsapp.login.code", "{step}");
    let code = step["display_and_wait"]["data"].as_str().context("no code")?.to_owned();
    ensure!(code.len() == 9 && code.as_bytes()[4] == b'-', "{code}");
    let shown = next(&step)?;
    let (entered, done) = tokio::join!(world.phones.enter_code(&account.number, &code), manager.post(&shown, None));
    entered?;
    let done = done?;
    ensure!(done["complete"]["user_login_id"] == account.number.as_str(), "{done}");
    wait_state(&manager, "CONNECTED").await?;
    // Whoever reads the log learns neither the secret nor the code.
    let log = world.bridge.log()?;
    ensure!(!log.contains(SECRET) && !log.contains(&code) && !log.contains(alice.client().token()));
    Ok(())
}

async fn a_manager_hears_of_every_end(world: &mut World) -> Result<()> {
    let alice = world.person("alice").await?;
    let management = world.management(&alice).await?;
    let manager = Manager::of(world, &alice);
    manager.refused(Method::POST, "login/start/cookies", None, (404, "M_NOT_FOUND")).await?;

    // Cancelled while somebody waits: the wait ends at once.
    let step = manager.post("login/start/qr", None).await?;
    let id = step["login_id"].as_str().context("no id")?.to_owned();
    let shown = next(&step)?;
    let begun = Instant::now();
    let (ended, cancelled) =
        tokio::join!(manager.refused(Method::POST, &shown, None, (400, "FI.MAU.BRIDGE.LOGIN_CANCELLED")), async {
            // The wait has to be there first: the bridge answers one after the other.
            manager.get("logins").await?;
            manager.post(&format!("login/cancel/{id}"), None).await
        });
    ended?;
    ensure!(cancelled? == json!({}));
    ensure!(begun.elapsed() < Duration::from_secs(30), "the wait went on for {:?}", begun.elapsed());
    ensure!(manager.post(&format!("login/cancel/{id}"), None).await? == json!({}), "a second time is harmless");

    // What begins later ends what was before, in the API and in the room.
    let first = manager.post("login/start/qr", None).await?;
    let second = manager.post("login/start/qr", None).await?;
    manager.refused(Method::POST, &next(&first)?, None, (404, "M_NOT_FOUND")).await?;
    let shown = next(&second)?;
    let (ended, asked) = tokio::join!(
        manager.refused(Method::POST, &shown, None, (400, "FI.MAU.BRIDGE.LOGIN_CANCELLED")),
        alice.send_text(management.room(), "login qr")
    );
    asked?;
    ended?;
    // Somebody who asks for the picture's text, and not for a code, at a login by number.
    let by_number = manager.post("login/start/phone", None).await?;
    let wrong = next(&by_number)?.replace("login.phone/user_input", "login.qr/display_and_wait");
    manager.refused(Method::POST, &wrong, None, (400, "M_BAD_STATE")).await?;
    // A stop does not wait for who waits.
    let step = manager.post("login/start/qr", None).await?;
    let shown = next(&step)?;
    let (refused, stopped) = tokio::join!(manager.ask(Method::POST, &shown, None), async {
        wait::until("a request waits", wait::STEP, || async { Ok(manager.get("logins").await.is_ok().then_some(())) })
            .await?;
        world.bridge.stop().await
    });
    ensure!(stopped?.success());
    // Either it was told, or cut off with the listener.
    if let Ok((status, body)) = refused {
        ensure!(status == 503 || body["errcode"] == "FI.MAU.BRIDGE.LOGIN_CANCELLED", "{status} {body}");
    }
    world.bridge.start().await?;
    manager.refused(Method::POST, &shown, None, (404, "M_NOT_FOUND")).await
}

async fn a_manager_looks_people_up_and_opens_chats(world: &mut World) -> Result<()> {
    let (alice, account, _) = world.log_in("alice").await?;
    let bob = world.phones.create_account("bob")?;
    let carol = world.phones.create_account("carol")?;
    let manager = Manager::of(world, &alice);
    ensure!(manager.get("contacts").await? == json!({"contacts": []}));
    ensure!(manager.get("capabilities").await?["provisioning"]["resolve_identifier"]["create_dm"] == true);
    let found = manager.get(&format!("resolve_identifier/+{}?login_id={}", bob.number, account.number)).await?;
    ensure!(
        found["identifiers"] == json!([format!("tel:+{}", bob.number)]) && found["dm_room_mxid"].is_null(),
        "{found}"
    );
    manager.refused(Method::GET, "resolve_identifier/+12025550199", None, (404, "M_NOT_FOUND")).await?;
    for odd in ["bob", "status@broadcast", "1-2@g.us", "12%00", "999999@lid", "%2B", "0170%20000000"] {
        manager.refused(Method::GET, &format!("resolve_identifier/{odd}"), None, (404, "M_NOT_FOUND")).await?;
    }
    // The chat has a room, by number and by id the same one.
    let opened = manager.post(&format!("create_dm/+{}", bob.number), None).await?;
    let room = opened["dm_room_mxid"].as_str().context("no room")?.to_owned();
    let id = opened["id"].as_str().context("no id")?.to_owned();
    let again = manager.post(&format!("create_dm/{id}"), None).await?;
    ensure!(again["dm_room_mxid"] == room.as_str() && again["mxid"] == opened["mxid"], "{again}");
    ensure!(manager.get(&format!("resolve_identifier/{id}")).await?["dm_room_mxid"] == room.as_str());
    wait::until("alice is in the room", wait::STEP, || async { Ok(alice.rooms().contains(&room).then_some(())) })
        .await?;
    let chat = world.chat(&alice, &account, &bob);
    chat.begin("into the same room").await?;
    ensure!(chat.room()? == room);

    let people = json!([format!("+{}", carol.number), id]);
    let wanted = json!({"name": {"name": "Made in a manager"}, "participants": people});
    manager.refused(Method::POST, "create_group/channel", Some(&wanted), (404, "M_NOT_FOUND")).await?;
    let empty = json!({"name": {"name": " "}, "participants": people});
    manager.refused(Method::POST, "create_group/group", Some(&empty), (400, "M_INVALID_PARAM")).await?;
    let alone = json!({"name": {"name": "Alone"}, "participants": []});
    manager.refused(Method::POST, "create_group/group", Some(&alone), (400, "M_INVALID_PARAM")).await?;
    let group = manager.post("create_group/group", Some(&wanted)).await?;
    ensure!(group["id"].as_str().is_some_and(|id| id.ends_with("@g.us")), "{group}");
    let room = group["mxid"].as_str().context("no room")?.to_owned();
    wait::until("alice is in the group's room", wait::STEP, || async {
        Ok(alice.rooms().contains(&room).then_some(()))
    })
    .await?;
    let long = json!({"query": "x".repeat(70_000)});
    manager.refused(Method::POST, "search_users", Some(&long), (413, "M_TOO_LARGE")).await?;
    ensure!(manager.post("search_users", Some(&json!({"query": "nobody"}))).await? == json!({"results": []}));
    ensure!(manager.get("search_users?query=nobody").await? == json!({"results": []}));
    manager.refused(Method::GET, "search_users", None, (400, "M_MISSING_PARAM")).await
}

/// Every request of the description, with something in place of each parameter.
async fn all_requests(manager: &Manager) -> Result<Vec<(Method, String)>> {
    let description = manager.get("openapi.json").await?;
    let mut all = Vec::new();
    for (path, methods) in description["paths"].as_object().context("no paths")? {
        let path = path.strip_prefix("/_matrix/provision/v3/").context("another base")?;
        let path = path.split('/').map(|piece| if piece.starts_with('{') { "12025550100" } else { piece });
        let path = path.collect::<Vec<_>>().join("/");
        for method in methods.as_object().context("no methods")?.keys() {
            all.push((method.to_uppercase().parse()?, path.clone()));
        }
    }
    ensure!(all.len() > 15, "{all:?}");
    Ok(all)
}

async fn who_may_not_use_the_api(world: &mut World) -> Result<()> {
    let (alice, _, _) = world.log_in("alice").await?;
    let mallory = world.person("mallory").await?;
    let blocked = json!({mallory.id(): "commands"});
    let settings = json!({
        "bridge": {"permissions": blocked},
        "provisioning": {"shared_secret": SECRET, "requests_per_minute": 1000},
    });
    world.bridge.reconfigure(&settings)?;
    world.bridge.restart().await?;
    let manager = Manager::of(world, &alice);
    let slot = world.bridge.slot();
    let tokens = [
        ("", (401, "M_MISSING_TOKEN")),
        ("nonsense", (401, "M_UNKNOWN_TOKEN")),
        (slot.text("/appservice/as_token")?, (401, "M_UNKNOWN_TOKEN")),
        (slot.text("/appservice/hs_token")?, (401, "M_UNKNOWN_TOKEN")),
        (mallory.client().token(), (403, "M_FORBIDDEN")),
    ];
    let requests = all_requests(&manager).await?;
    for (method, path) in &requests {
        for (token, want) in tokens {
            Manager::with(world, token).refused(method.clone(), path, None, want).await?;
        }
    }
    // Alice's token is hers: it names nobody else. What she may not name, she may not be.
    let for_mallory = Manager { user_id: Some(mallory.id().to_owned()), ..manager.clone() };
    for_mallory.refused(Method::GET, "whoami", None, (403, "M_FORBIDDEN")).await?;
    let for_stranger = Manager { user_id: Some("@alice:elsewhere.example".into()), ..manager.clone() };
    for_stranger.refused(Method::GET, "whoami", None, (403, "M_FORBIDDEN")).await?;
    // The shared secret names somebody, a person, who may.
    let named = |user: Option<&str>| Manager { user_id: user.map(str::to_owned), ..Manager::with(world, SECRET) };
    named(None).refused(Method::GET, "whoami", None, (400, "M_MISSING_PARAM")).await?;
    let (bot, ghost) = (slot.bot(), slot.ghost("12025550100"));
    for nobody in ["alice", "", bot.as_str(), ghost.as_str()] {
        named(Some(nobody)).refused(Method::GET, "whoami", None, (400, "M_INVALID_PARAM")).await?;
    }
    named(Some(mallory.id())).refused(Method::GET, "whoami", None, (403, "M_FORBIDDEN")).await?;
    named(Some("@alice:elsewhere.example")).refused(Method::GET, "whoami", None, (403, "M_FORBIDDEN")).await?;
    ensure!(named(Some(alice.id())).get("logins").await? == manager.get("logins").await?);
    for almost in [&SECRET[1..], &format!("{SECRET}x"), "A-SECRET-OF-MORE-THAN-16-CHARACTERS"] {
        let guess = Manager { user_id: Some(alice.id().to_owned()), ..Manager::with(world, almost) };
        guess.refused(Method::GET, "whoami", None, (401, "M_UNKNOWN_TOKEN")).await?;
    }
    // In the query a token is none; a browser may ask whether it may ask.
    let http = matrix_bed::client::http();
    let url = format!("{}/_matrix/provision/v3/whoami", world.bridge.url());
    let token = alice.client().token();
    ensure!(http.get(format!("{url}?access_token={token}")).send().await?.status() == 401);
    let options = http.request(Method::OPTIONS, &url).send().await?;
    ensure!(options.status() == 204 && options.bytes().await?.is_empty());
    ensure!(http.delete(&url).bearer_auth(token).send().await?.status() == 405);
    // A token that is logged out is of no use at once.
    let logout = ["_matrix", "client", "v3", "logout"];
    mallory.client().post(&logout, &json!({})).await?;
    Manager::of(world, &mallory).refused(Method::GET, "whoami", None, (401, "M_UNKNOWN_TOKEN")).await?;
    let log = world.bridge.log()?;
    ensure!(!log.contains(token) && !log.contains(SECRET), "a token is in the log");
    Ok(())
}

async fn an_openid_token_stands_for_its_owner(world: &mut World) -> Result<()> {
    let (alice, account, _) = world.log_in("alice").await?;
    let mallory = world.person("mallory").await?;
    let token_of = async |person: &Person| -> Result<String> {
        let path = ["_matrix", "client", "v3", "user", person.id(), "openid", "request_token"];
        let answer = person.client().post(&path, &json!({})).await?;
        Ok(answer["access_token"].as_str().context("no token")?.to_owned())
    };
    let token = token_of(&alice).await?;
    let mut manager = Manager::with(world, &format!("openid:{token}"));
    // Whoever else she gave one to has the same: the operator must want it.
    manager.refused(Method::GET, "whoami", None, (401, "M_UNKNOWN_TOKEN")).await?;
    world.bridge.stop().await?;
    world.bridge.reconfigure(&json!({"provisioning": {"allow_openid_auth": true}}))?;
    world.bridge.start().await?;
    let whoami = manager.get("whoami").await?;
    ensure!(whoami["logins"][0]["id"] == account.number.as_str(), "{whoami}");
    manager.user_id = Some(alice.id().to_owned());
    manager.get("whoami").await?;
    // It stands for nobody else, and reaches nobody else's login.
    manager.user_id = Some(mallory.id().to_owned());
    manager.refused(Method::GET, "whoami", None, (403, "M_FORBIDDEN")).await?;
    let mallorys = Manager::with(world, &format!("openid:{}", token_of(&mallory).await?));
    ensure!(mallorys.get("whoami").await?["logins"] == json!([]), "mallory sees alice's logins");
    mallorys.refused(Method::POST, &format!("logout/{}", account.number), None, (404, "M_NOT_FOUND")).await?;
    // One kind of token is not the other, and the secret is no token.
    for wrong in [
        token.clone(),
        format!("openid:{}", alice.client().token()),
        format!("openid:{token}x"),
        "openid:".to_owned(),
        format!("openid:openid:{token}"),
    ] {
        let wrong = Manager { address: "192.0.2.7", ..Manager::with(world, &wrong) };
        wrong.refused(Method::GET, "whoami", None, (401, "M_UNKNOWN_TOKEN")).await?;
    }
    // It has a switch of its own.
    world.bridge.stop().await?;
    world.bridge.reconfigure(&json!({"provisioning": {"allow_matrix_auth": false}}))?;
    world.bridge.start().await?;
    let late = Manager::with(world, &format!("openid:{token}"));
    late.get("whoami").await?;
    Manager::of(world, &alice).refused(Method::GET, "whoami", None, (401, "M_UNKNOWN_TOKEN")).await
}

async fn nobody_reaches_anothers_login(world: &mut World) -> Result<()> {
    let (alice, account, _) = world.log_in("alice").await?;
    let (bob, bobs_account, _) = world.log_in("bob").await?;
    let (alices, bobs) = (Manager::of(world, &alice), Manager::of(world, &bob));
    let number = &account.number;
    let not_found = (404, "M_NOT_FOUND");
    bobs.refused(Method::POST, &format!("logout/{number}"), None, not_found).await?;
    bobs.refused(Method::GET, &format!("contacts?login_id={number}"), None, not_found).await?;
    bobs.refused(Method::GET, &format!("search_users?query=a&login_id={number}"), None, not_found).await?;
    bobs.refused(Method::GET, &format!("resolve_identifier/+{number}?login_id={number}"), None, not_found).await?;
    bobs.refused(Method::POST, &format!("create_dm/+12025550100?login_id={number}"), None, not_found).await?;
    bobs.refused(Method::POST, &format!("login/start/qr?login_id={number}"), None, not_found).await?;
    let group = json!({"name": {"name": "Not mine"}, "participants": ["+12025550100"]});
    bobs.refused(Method::POST, &format!("create_group/group?login_id={number}"), Some(&group), not_found).await?;
    // A login that goes on is its owner's, too.
    let step = alices.post("login/start/phone", None).await?;
    let (id, path) = (step["login_id"].as_str().context("no id")?, next(&step)?);
    let given = json!({"phone_number": "+12025550123"});
    bobs.refused(Method::POST, &path, Some(&given), not_found).await?;
    let answer = json!({ "id": "a" });
    for kind in ["display_and_wait", "cookies", "webauthn"] {
        let given = (kind == "webauthn").then_some(&answer);
        bobs.refused(Method::POST, &path.replace("user_input", kind), given, not_found).await?;
    }
    bobs.refused(Method::POST, &format!("login/cancel/{id}"), None, not_found).await?;
    alices
        .refused(
            Method::POST,
            &path,
            Some(&json!({"phone_number": "1"})),
            (400, "FI.MAU.WHATSAPP.PHONE_NUMBER_TOO_SHORT"),
        )
        .await?;
    ensure!(bobs.post("logout/all", None).await? == json!({}));
    // Bob's own are logged out, hers are not.
    wait_state(&bobs, "LOGGED_OUT").await?;
    world.phones.forget(&bobs_account.number);
    ensure!(whoami_state(&alices).await?.as_deref() == Some("CONNECTED"));
    let whoami = bobs.get("whoami").await?.to_string();
    ensure!(!whoami.contains(number.as_str()) && !whoami.contains(alice.id()), "{whoami}");
    Ok(())
}

async fn who_asks_too_often_waits(world: &mut World) -> Result<()> {
    let alice = world.person("alice").await?;
    let bob = world.person("bob").await?;
    world.bridge.reconfigure(&json!({"provisioning": {"requests_per_minute": 20}}))?;
    world.bridge.restart().await?;
    let limited = async |manager: &Manager, path: &str, method: Method, most: usize| -> Result<usize> {
        for count in 0..most {
            let (status, body) = manager.ask(method.clone(), path, None).await?;
            if status == 429 {
                let after = body["retry_after_ms"].as_u64().context("when?")?;
                ensure!(body["errcode"] == "M_LIMIT_EXCEEDED" && (1..=60_000).contains(&after), "{body}");
                return Ok(count);
            }
        }
        anyhow::bail!("{path} may be asked {most} times")
    };
    // Guessing tokens ends for that address; others go on, and so do good tokens from elsewhere.
    let guessing = Manager::with(world, "guess");
    ensure!(limited(&guessing, "whoami", Method::GET, 4).await? == 2);
    Manager { address: "192.0.2.2", ..guessing.clone() }
        .refused(Method::GET, "whoami", None, (401, "M_UNKNOWN_TOKEN"))
        .await?;
    // What another address says of itself in front of the proxy's word changes nothing.
    let alices = Manager { address: "192.0.2.3", ..Manager::of(world, &alice) };
    let bobs = Manager { address: "192.0.2.3", ..Manager::of(world, &bob) };
    ensure!(limited(&alices, "login/start/phone", Method::POST, 4).await? == 2);
    ensure!(limited(&alices, "contacts", Method::GET, 8).await? == 5);
    let left = limited(&alices, "whoami", Method::GET, 20).await?;
    ensure!(left < 15, "{left} of 20 were left");
    bobs.get("whoami").await.map(drop)
}

/// Schemathesis makes up requests by the description, good and bad ones, and looks whether the answers are as described.
#[test]
fn the_description_is_true() {
    run("the_description_is_true", Db::Sqlite, Homeserver::Shared, |world| Box::pin(the_description_holds(world)));
}

async fn the_description_holds(world: &mut World) -> Result<()> {
    let (alice, account, _) = world.log_in("alice").await?;
    let settings = json!({"provisioning": {"shared_secret": SECRET, "requests_per_minute": 1_000_000}});
    world.bridge.reconfigure(&settings)?;
    world.bridge.restart().await?;
    let manager = Manager { user_id: Some(alice.id().to_owned()), ..Manager::with(world, SECRET) };
    wait_state(&manager, "CONNECTED").await?;
    let description = manager.get("openapi.json").await?;
    let own = alice.client().token();
    // A logout would end what the other requests are made of; it has a story of its own.
    let all = ["--phases", "coverage,fuzzing", "--max-time", "60", "--exclude-path-regex", "logout"];
    let (holds, told) = schemathesis(world, &description, own, &all).await?;
    ensure!(holds, "the description and the answers differ:\n{told}");
    ensure!(told.contains("Tested: 19"), "it tried something else:\n{told}");
    // It would have said so: the same with a description that is not true.
    let mut lie = description;
    lie["components"]["schemas"]["LoginIds"]["properties"]["login_ids"]["items"]["type"] = json!("integer");
    let one = ["--phases", "coverage", "--max-time", "20", "--include-path-regex", "v3/logins$"];
    let (holds, told) = schemathesis(world, &lie, own, &one).await?;
    ensure!(!holds && told.contains("violates schema"), "it believes anything:\n{told}");
    ensure!(manager.get("logins").await? == json!({"login_ids": [account.number]}), "what it made up changed a login");
    Ok(())
}

/// Tries the bridge out by a description: whether it holds, and what was found.
async fn schemathesis(world: &World, description: &Value, token: &str, arguments: &[&str]) -> Result<(bool, String)> {
    let program = places::schemathesis();
    ensure!(program.exists(), "no Schemathesis: run `cargo xtask setup`");
    let path = world.folder().path().join("openapi.json");
    std::fs::write(&path, description.to_string())?;
    let mut command = tether::command(&program);
    command
        .current_dir(world.folder().path())
        .args(["--no-color", "run"])
        .arg(&path)
        .args(["--url", &world.bridge.url(), "--header", &format!("Authorization: Bearer {token}")])
        .args(["--max-examples", "12", "--seed", "7", "--workers", "2", "--warnings", "off"])
        // A wait for a code may be as long as a poll.
        .args(["--request-timeout", "70", "--suppress-health-check", "all"])
        // What is refused for a reason the description can't say (no such person) is refused all the same.
        .args(["--exclude-checks", "positive_data_acceptance"])
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = tether::spawn(command)?;
    let done = tokio::task::spawn_blocking(move || child.wait_with_output()).await??;
    Ok((
        done.status.success(),
        format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr)),
    ))
}
