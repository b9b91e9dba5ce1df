//! The login page in a real browser, from the bot's link to the account that is connected; and who does not get that far.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use matrix_bed::management::Management;
use matrix_bed::person::Person;
use matrix_bed::world::World;
use matrix_bed::{qr, wait};
use serde_json::{Value, json};

use super::browser::Browser;

matrix_bed::stories! {
    shared {
        a_page_leads_from_the_link_to_a_linked_account
        a_page_links_by_number_with_the_keyboard_alone
        a_link_opens_the_page_once
        who_may_not_gets_nowhere_on_the_page
        without_an_address_there_is_no_page
    }
}

/// Lets browsers in.
pub(super) async fn open_page(world: &mut World) -> Result<()> {
    let address = world.bridge.url();
    world.bridge.reconfigure(&json!({"appservice": {"public_address": address}}))?;
    world.bridge.restart().await
}

/// Asks the bot for a link; the notice and the address.
pub(super) async fn ask_for_link(management: &Management, command: &str) -> Result<(String, String)> {
    let notice = management.ask(command, "/login#").await?;
    let word = notice.body().split_whitespace().find(|word| word.contains("/login#")).context("no link")?;
    Ok((notice.id.clone(), word.to_owned()))
}

async fn wait_removed(person: &Person, event: &str) -> Result<()> {
    let gone = person.wait_event("the link is removed", wait::STEP, |seen| {
        seen.kind == "m.room.redaction" && (seen.raw["redacts"] == event || seen.content["redacts"] == event)
    });
    gone.await.map(drop)
}

/// Pictures of the page as it is now, on a phone and on a desk, for somebody to look at.
pub(super) async fn take_pictures(browser: &mut Browser, name: &str) {
    for (size, width, height, dark) in
        [("phone", 390, 844, false), ("phone-dark", 390, 844, true), ("desk", 1280, 900, false)]
    {
        browser.resize(width, height).await;
        browser.darken(dark).await;
        let picture = browser.picture().await;
        std::fs::write(xtask::places::target().join(format!("login-page-{name}-{size}.png")), picture).unwrap();
        let wide = "document.documentElement.scrollWidth <= window.innerWidth";
        assert_eq!(browser.eval(wide).await, json!(true), "{name} is wider than a {size}");
    }
    browser.darken(false).await;
    browser.resize(420, 1200).await;
}

/// What somebody who can not see or point needs.
pub(super) async fn check_access(browser: &mut Browser) {
    for (fault, script) in [
        (
            "a field has no label",
            "[...document.querySelectorAll('input, textarea')].filter(f => !f.labels.length).length",
        ),
        (
            "a button has no name",
            "[...document.querySelectorAll('button')].filter(b => !b.innerText.trim() && b.offsetParent).length",
        ),
        (
            "something can't be reached by keyboard",
            "[...document.querySelectorAll('a, button, input, textarea, pre, summary')].filter(f => f.tabIndex < 0).length",
        ),
        ("there is not one main heading", "document.querySelectorAll('h1').length - 1"),
        ("no place tells news", "1 - document.querySelectorAll('[role=status][aria-live]').length"),
        (
            "something is too small for a finger",
            "[...document.querySelectorAll('button, input')].filter(b => b.offsetParent && b.offsetHeight < 44).length",
        ),
    ] {
        assert_eq!(browser.eval(script).await, json!(0), "{fault}");
    }
    assert_eq!(browser.eval("document.documentElement.lang").await, json!("en"));
    // WCAG 2.2, 1.4.3: text stands out against what is behind it, 4.5 to 1.
    let contrast = "(() => {
        const light = (c) => { const [r, g, b] = c.match(/[\\d.]+/g).slice(0, 3).map(v => { v /= 255;
            return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4 }); return 0.2126 * r + 0.7152 * g + 0.0722 * b };
        const behind = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
            if (!/, 0\\)$|transparent/.test(c)) return c } return 'rgb(255, 255, 255)' };
        const bad = [];
        for (const e of document.querySelectorAll('main *')) {
            if (!e.offsetParent || ![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
            const [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort((x, y) => y - x);
            if ((a + 0.05) / (b + 0.05) < 4.5) bad.push(e.tagName + ' ' + e.textContent.trim().slice(0, 30));
        }
        return bad.join(', ') })()";
    for dark in [false, true] {
        browser.darken(dark).await;
        assert_eq!(browser.eval(contrast).await, json!(""), "too little contrast, dark: {dark}");
    }
    browser.darken(false).await;
}

async fn a_page_leads_from_the_link_to_a_linked_account(world: &mut World) -> Result<()> {
    open_page(world).await?;
    let alice = world.person("alice").await?;
    let account = world.phones.create_account("alice")?;
    let management = world.management(&alice).await?;
    let (notice, link) = ask_for_link(&management, "login").await?;
    let mut browser = Browser::start().await;
    browser.resize(420, 1200).await;
    browser.go(&link).await;
    browser.wait("!document.getElementById('begin').hidden").await;
    // The secret is out of sight, and the bot takes its message away.
    assert_eq!(browser.eval("location.hash").await, json!(""));
    wait_removed(&alice, &notice).await?;
    assert_eq!(browser.eval("document.getElementById('who').textContent").await, json!(format!("For {}", alice.id())));
    check_access(&mut browser).await;
    take_pictures(&mut browser, "begin").await;

    browser.press("Show QR code").await;
    browser.wait("document.querySelector('#picture svg') !== null").await;
    check_access(&mut browser).await;
    take_pictures(&mut browser, "qr").await;
    // As a camera sees it.
    let mut tried = 0;
    loop {
        let code = qr::read(&browser.picture().await)?;
        match world.phones.scan(&account.number, &code).await {
            Ok(()) => break,
            Err(error) if tried < 3 => {
                tracing::info!("the code could not be scanned: {error:#}");
                tried += 1;
            }
            Err(error) => return Err(error),
        }
    }
    browser.wait("document.querySelector('.state')?.textContent === 'Connected'").await;
    browser
        .wait(&format!("document.getElementById('news').textContent.includes('+{} is linked')", account.number))
        .await;
    check_access(&mut browser).await;
    take_pictures(&mut browser, "linked").await;
    let chat = world.chat_with(&alice, &account, "bob")?;
    chat.begin("hello, whom a page linked").await?;

    // The page goes on when it is loaded again, and logs out when asked twice.
    browser.eval("document.body.dataset.old = 'yes'; location.reload()").await;
    browser.wait("!document.body.dataset.old && document.querySelector('.state')?.textContent === 'Connected'").await;
    browser.press("Log out").await;
    browser.press("Really log out?").await;
    browser.wait("document.querySelector('.state')?.textContent.startsWith('Logged out')").await;
    world.phones.forget(&account.number);
    management.ask("list-logins", "logged out").await?;
    let log = world.bridge.log()?;
    let secret = link.split_once('#').context("no secret")?.1;
    ensure!(!log.contains(secret), "the link's secret is in the log");
    Ok(())
}

async fn a_page_links_by_number_with_the_keyboard_alone(world: &mut World) -> Result<()> {
    open_page(world).await?;
    let alice = world.person("alice").await?;
    let account = world.phones.create_account("alice")?;
    let management = world.management(&alice).await?;
    let (_, link) = ask_for_link(&management, "login page").await?;
    let mut browser = Browser::start().await;
    browser.resize(420, 1200).await;
    browser.go(&link).await;
    browser.wait("!document.getElementById('begin').hidden").await;
    // A number that is none is told, and nothing begins.
    browser.fill("Phone number", "0170 000").await;
    browser.press("Get code").await;
    browser.wait("document.getElementById('trouble').textContent.includes('country code')").await;
    take_pictures(&mut browser, "trouble").await;
    browser.fill("Phone number", &format!("+{}", account.number)).await;
    browser.key("Enter").await;
    browser.wait("/^[A-Z0-9]{4}-[A-Z0-9]{4}$/.test(document.getElementById('code').textContent)").await;
    assert_eq!(
        browser.eval("document.activeElement.id").await,
        json!("link-title"),
        "who can't see hears what comes next"
    );
    check_access(&mut browser).await;
    take_pictures(&mut browser, "code").await;
    // Cancelled by keyboard, and begun again.
    browser.eval("document.getElementById('cancel').focus()").await;
    browser.key("Enter").await;
    browser.wait("document.getElementById('news').textContent === 'Cancelled.'").await;
    browser.wait("!document.getElementById('begin').hidden && document.getElementById('link').hidden").await;
    browser.eval("document.getElementById('number').focus()").await;
    browser.key("Enter").await;
    browser
        .wait("!document.getElementById('code').hidden && document.getElementById('code').offsetParent !== null")
        .await;
    let code = browser.eval("document.getElementById('code').textContent").await;
    world.phones.enter_code(&account.number, code.as_str().context("no code")?).await?;
    browser.wait("document.querySelector('.state')?.textContent === 'Connected'").await;
    management.ask("list-logins", &account.number).await.map(drop)
}

/// Asks the page's API; status and body.
async fn ask(world: &World, what: &str, secret: &str, from: &str, body: &Value) -> Result<(u16, Value)> {
    let url = format!("{}/login/api/{what}", world.bridge.url());
    let request = matrix_bed::client::http().post(url).header("X-Forwarded-For", from).json(body);
    let request = if secret.is_empty() { request } else { request.bearer_auth(secret) };
    let answer = request.send().await?;
    for header in ["content-security-policy", "referrer-policy", "x-frame-options"] {
        ensure!(answer.headers().contains_key(header), "{what} has no {header}");
    }
    ensure!(answer.headers()["cache-control"] == "no-store");
    ensure!(!answer.headers().contains_key("access-control-allow-origin"), "no other page may ask");
    Ok((answer.status().as_u16(), answer.json().await?))
}

fn secret_of(link: &str) -> &str {
    link.split_once('#').map_or("", |(_, secret)| secret)
}

async fn a_link_opens_the_page_once(world: &mut World) -> Result<()> {
    open_page(world).await?;
    let alice = world.person("alice").await?;
    let management = world.management(&alice).await?;
    let (_, link) = ask_for_link(&management, "login page").await?;
    let here = "192.0.2.1";
    // A look at the page (by a chat that shows previews, say) uses nothing up.
    let page = matrix_bed::client::http().get(&link).send().await?;
    ensure!(page.status() == 200);
    let policy = page.headers()["content-security-policy"].to_str()?.to_owned();
    ensure!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let (status, opened) = ask(world, "open", secret_of(&link), here, &json!({})).await?;
    ensure!(status == 200, "{status} {opened}");
    let session = opened["session"].as_str().context("no session")?.to_owned();
    let (status, again) = ask(world, "open", secret_of(&link), here, &json!({})).await?;
    ensure!(status == 401 && again["errcode"] == "M_UNKNOWN_TOKEN", "{status} {again}");
    let mut browser = Browser::start().await;
    browser.go(&link).await;
    browser.wait("document.getElementById('trouble').textContent.includes('opened already')").await;
    assert_eq!(browser.eval("document.getElementById('begin').hidden").await, json!(true));
    take_pictures(&mut browser, "used-up").await;
    // The session is the first one's.
    ensure!(ask(world, "state", &session, here, &json!({})).await?.0 == 200);
    // A new link's session ends the one before.
    let (_, second) = ask_for_link(&management, "login page").await?;
    ensure!(second != link);
    let (status, opened) = ask(world, "open", secret_of(&second), here, &json!({})).await?;
    ensure!(status == 200 && ask(world, "state", &session, here, &json!({})).await?.0 == 401);
    // So does its own end, and a restart ends everything.
    let session = opened["session"].as_str().context("no session")?.to_owned();
    ensure!(ask(world, "close", &session, here, &json!({})).await?.0 == 200);
    ensure!(ask(world, "state", &session, here, &json!({})).await?.0 == 401);
    let (_, third) = ask_for_link(&management, "login page").await?;
    world.bridge.restart().await?;
    ensure!(ask(world, "open", secret_of(&third), here, &json!({})).await?.0 == 401);
    Ok(())
}

async fn who_may_not_gets_nowhere_on_the_page(world: &mut World) -> Result<()> {
    open_page(world).await?;
    let (alice, account, alices) = world.log_in("alice").await?;
    let bob = world.person("bob").await?;
    let bobs = world.management(&bob).await?;
    let here = "192.0.2.1";
    // No link where others read it.
    let shared = alice.create_room(&json!({"preset": "private_chat", "invite": [bob.id()]})).await?;
    bob.wait_member(&shared, bob.id(), "join").await?;
    // Behind Bob: a room of two with the bot would be where commands need no prefix.
    let bot = world.bridge.slot().bot();
    alice.invite(&shared, &bot).await?;
    alice.wait_member(&shared, &bot, "join").await?;
    alice.send_text(&shared, "!wa login page").await?;
    alice.wait_text(&shared, "Please write to me alone").await?;
    // Without a session, with a wrong one, or with a link in its place nothing is told or done.
    let (_, link) = ask_for_link(&alices, "login page").await?;
    for secret in ["", "nonsense", secret_of(&link), alice.client().token()] {
        for (what, body) in [
            ("state", json!({})),
            ("start", json!({})),
            ("cancel", json!({"linking": "a"})),
            ("logout", json!({"login": account.number})),
        ] {
            let (status, body) = ask(world, what, secret, here, &body).await?;
            ensure!(status == 401 && body["errcode"] == "M_UNKNOWN_TOKEN", "{what}: {status} {body}");
        }
    }
    // Bob's page is Bob's.
    let session = async |management: &Management| -> Result<String> {
        let (_, link) = ask_for_link(management, "login page").await?;
        let (status, opened) = ask(world, "open", secret_of(&link), here, &json!({})).await?;
        ensure!(status == 200, "{opened}");
        Ok(opened["session"].as_str().context("no session")?.to_owned())
    };
    let (of_alice, of_bob) = (session(&alices).await?, session(&bobs).await?);
    let (_, begun) = ask(world, "start", &of_alice, here, &json!({})).await?;
    let linking = begun["linking"]["id"].as_str().context("no linking")?.to_owned();
    let (status, seen) = ask(world, "state", &of_bob, here, &json!({"linking": linking, "step": 0})).await?;
    ensure!(status == 200 && seen["linking"].is_null() && seen["logins"] == json!([]), "{seen}");
    ask(world, "cancel", &of_bob, here, &json!({"linking": linking})).await?;
    let (_, seen) = ask(world, "state", &of_alice, here, &json!({"linking": linking, "step": 0})).await?;
    ensure!(seen["linking"]["kind"] == "qr", "{seen}");
    let (status, refused) = ask(world, "logout", &of_bob, here, &json!({"login": account.number})).await?;
    ensure!(status == 404, "{status} {refused}");
    // Guessing links ends soon, for that address only.
    let mut guesses = 0;
    while ask(world, "open", &format!("guess-{guesses}"), "192.0.2.9", &json!({})).await?.0 == 401 {
        guesses += 1;
        ensure!(guesses < 20, "links may be guessed on and on");
    }
    let (status, body) = ask(world, "open", "guess", "192.0.2.9", &json!({})).await?;
    ensure!(status == 429 && body["retry_after_ms"].as_u64().is_some(), "{status} {body}");
    ensure!(ask(world, "state", &of_alice, "192.0.2.9", &json!({})).await?.0 == 200);
    // Who may no longer log in gets no page, and no link.
    let (_, late) = ask_for_link(&bobs, "login page").await?;
    ensure!(secret_of(&late).len() >= 43, "a link that can be guessed");
    world.bridge.reconfigure(&json!({"bridge": {"permissions": {bob.id(): "commands"}}}))?;
    world.bridge.restart().await?;
    bobs.ask("login page", "may not use this command").await?;
    tokio::time::timeout(Duration::from_secs(60), alices.ask("list-logins", &account.number)).await??;
    Ok(())
}

async fn without_an_address_there_is_no_page(world: &mut World) -> Result<()> {
    let alice = world.person("alice").await?;
    let management = world.management(&alice).await?;
    management.ask("login page", "has no login page").await?;
    let http = matrix_bed::client::http();
    ensure!(http.get(format!("{}/login", world.bridge.url())).send().await?.status() == 404);
    ensure!(http.post(format!("{}/login/api/open", world.bridge.url())).send().await?.status() == 404);
    Ok(())
}
