//! Large accounts and large groups: made at the pace of the budgets, told in one notice, asked for once, and gone on with
//! after a kill.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use matrix_bed::chance::Chance;
use matrix_bed::group::Group;
use matrix_bed::person::{Event, Person};
use matrix_bed::phones::{Account, Phones};
use matrix_bed::wait;
use matrix_bed::world::World;
use serde_json::json;

use super::groups::{ghost, tiny_jpeg};

matrix_bed::stories! {
    shared {
        words_cross_while_a_large_group_fills
        large_groups_let_small_ones_pass
        one_notice_tells_how_far_a_first_login_is
        nothing_is_asked_twice_for_nothing
        killed_around_changes_of_a_group
        killed_by_chance_in_a_first_login
    }
}

/// How long a whole first login may take here.
const LONG: Duration = Duration::from_secs(150);

fn people(world: &World, count: usize) -> Result<Vec<Account>> {
    (0..count).map(|number| world.phones.create_account(&format!("member {number}"))).collect()
}

/// Waits until every group's room shows all of it.
async fn wait_settled(world: &World) -> Result<()> {
    let left = "SELECT COUNT(*) FROM group_chat WHERE stale <> 0 OR unsettled <> 0";
    wait::until("all groups are settled", LONG, || async {
        // The file may be busy.
        Ok(world.database.number(left).await.is_ok_and(|left| left == 0).then_some(()))
    })
    .await
}

/// Who is in a room, for a room that may not be there yet.
async fn joined(person: &Person, room: &str) -> usize {
    person.members(room).await.map_or(0, |members| members.len())
}

async fn words_cross_while_a_large_group_fills(world: &mut World) -> Result<()> {
    const MEMBERS: usize = 45;
    // Thirty at once, then one in a second.
    world.bridge.reconfigure(&json!({ "bridge": { "budgets": { "memberships_per_minute": 60 } } }))?;
    world.bridge.restart().await?;
    let members = people(world, MEMBERS)?;
    let maker = world.phones.create_account("maker")?;
    let account = world.phones.create_account("alice")?;
    let all: Vec<&Account> = members.iter().chain([&account]).collect();
    let group = Group::create(&world.phones, &maker, "Everybody", &all)?;
    let alice = world.person("alice").await?;
    world.management(&alice).await?.login_by_qr(&world.phones, &account).await?;
    let room = group.room_of(&alice).await?;
    // The one who is brought in last, were they silent.
    let last = members.iter().max_by_key(|member| &member.lid).context("nobody")?;
    group.phone_says(last, "I am late, and heard").await?;
    let heard = group.wait_in_room(&alice, "I am late, and heard").await?;
    ensure!(heard.room == room && heard.sender == ghost(world, last), "{heard:?}");
    group.person_says(&alice, &account, "welcome").await?;
    group.wait_at(last, "welcome").await?;
    // Her ghost's is not there: she is in it herself, and the bot.
    let everybody = MEMBERS + 3;
    ensure!(joined(&alice, &room).await < everybody, "the room was full before anybody could say a word");
    wait::until("some are in", LONG, || async { Ok((joined(&alice, &room).await > 20).then_some(())) }).await?;
    // In the middle of it the bridge is killed, and goes on where it was.
    world.bridge.restart().await?;
    wait::until("everybody is in", LONG, || async { Ok((joined(&alice, &room).await == everybody).then_some(())) })
        .await?;
    group.wait_state(&alice, "m.room.power_levels", "", |levels| levels["users"][ghost(world, &maker)] == 75).await?;
    let mut came: BTreeMap<String, usize> = BTreeMap::new();
    for event in alice.history(&room).await? {
        if event.kind == "m.room.member" && event.content["membership"] == "join" {
            *came.entry(event.state_key.unwrap_or_default()).or_default() += 1;
        }
    }
    let twice: Vec<_> = came.iter().filter(|(_, times)| **times != 1).collect();
    ensure!(twice.is_empty(), "somebody came more than once: {twice:?}");
    group.check_laws(&[&alice], &[last, &maker]).await
}

async fn large_groups_let_small_ones_pass(world: &mut World) -> Result<()> {
    // Three parts each.
    const MEMBERS: usize = 44;
    // Two hundred at once, then twenty in three seconds.
    world.bridge.reconfigure(&json!({ "bridge": { "budgets": { "memberships_per_minute": 400 } } }))?;
    world.bridge.restart().await?;
    let members = people(world, MEMBERS)?;
    let maker = world.phones.create_account("maker")?;
    let account = world.phones.create_account("alice")?;
    let all: Vec<&Account> = members.iter().chain([&account]).collect();
    // From either end, as many as are worked on together come before the small one.
    let large = |name: &str| Group::create(&world.phones, &maker, name, &all);
    let before = [large("Large 1")?, large("Large 2")?, large("Large 3")?];
    let small = Group::create(&world.phones, &maker, "Small", &[&account, &members[0], &members[1]])?;
    let after = [large("Large 4")?, large("Large 5")?, large("Large 6")?];
    let alice = world.person("alice").await?;
    world.management(&alice).await?.login_by_qr(&world.phones, &account).await?;
    let room = small.room_of(&alice).await?;
    wait::until("everybody is in the small one", LONG, || async {
        Ok((joined(&alice, &room).await == 5).then_some(()))
    })
    .await?;
    let mut full = 0;
    for group in before.iter().chain(&after) {
        let count = joined(&alice, &group.room_of(&alice).await?).await;
        full += usize::from(count == MEMBERS + 3);
    }
    ensure!(full == 0, "{full} of the large groups were done before the small one");
    wait_settled(world).await?;
    for group in before.iter().chain(&after) {
        let count = joined(&alice, &group.room_of(&alice).await?).await;
        ensure!(count == MEMBERS + 3, "{count} in a large group");
    }
    Ok(())
}

/// The notices that tell how far somebody's chats are: those sent, and their edits.
fn told(person: &Person, room: &str) -> (Vec<Event>, Vec<Event>) {
    let is_progress =
        |event: &Event| event.newest_content()["body"].as_str().is_some_and(|body| body.contains("chats are ready"));
    let mut all = person.events(room);
    all.retain(is_progress);
    all.into_iter().partition(|event| event.content["m.new_content"].is_null())
}

async fn one_notice_tells_how_far_a_first_login_is(world: &mut World) -> Result<()> {
    const GROUPS: usize = 20;
    // Twelve at once, then one in two and a half seconds.
    world.bridge.reconfigure(&json!({ "bridge": { "budgets": { "rooms_per_minute": 24 } } }))?;
    world.bridge.kill9()?;
    world.bridge.start_with_kill_points("progress.after_notice=1*return").await?;
    let bob = world.phones.create_account("bob")?;
    let account = world.phones.create_account("alice")?;
    let groups = (0..GROUPS).map(|number| Group::create(&world.phones, &bob, &format!("Group {number}"), &[&account]));
    let groups = groups.collect::<Result<Vec<_>>>()?;
    let alice = world.person("alice").await?;
    let management = world.management(&alice).await?;
    // The bridge dies between sending the notice and noting it, perhaps before it says that the login succeeded.
    let login = management.login_by_qr(&world.phones, &account);
    let died = world.bridge.wait_exit(LONG);
    let (_, died) = tokio::join!(tokio::time::timeout(wait::STEP, login), died);
    died.context("the bridge did not die with its notice sent")?;
    world.bridge.start().await?;
    // And once more while it is edited.
    let edited = management.wait_notice("an edit", |event| {
        !event.content["m.new_content"].is_null()
            && event.newest_content()["body"].as_str().is_some_and(|body| body.contains(" left"))
    });
    edited.await?;
    world.bridge.kill9()?;
    world.bridge.start_with_kill_points("progress.end=1*return").await?;
    world.bridge.wait_exit(LONG).await.context("the bridge did not die at the end of its notice")?;
    world.bridge.start().await?;
    let all = format!("All {GROUPS} chats are ready");
    let body_has = |event: &Event| event.newest_content()["body"].as_str().is_some_and(|body| body.contains(&all));
    alice.wait_event("the end of the notice", LONG, body_has).await?;
    for group in &groups {
        group.room_of(&alice).await?;
    }
    world.bridge.wait_idle().await?;
    let (notices, edits) = told(&alice, management.room());
    ensure!(notices.len() == 1, "not one notice: {notices:?}");
    ensure!(notices[0].body().contains(&format!(" of {GROUPS} chats are ready, ")), "{}", notices[0].body());
    let target = |edit: &Event| edit.content["m.relates_to"]["event_id"].as_str().map(str::to_owned);
    ensure!(edits.iter().all(|edit| target(edit).as_deref() == Some(notices[0].id.as_str())), "{edits:?}");
    for pair in edits.windows(2) {
        let apart = pair[1].ts.saturating_sub(pair[0].ts);
        // The bridge's clock counts to the edit's beginning, the homeserver's is read somewhat later.
        ensure!(apart >= 4_000, "two edits within {apart} ms");
    }
    // A small account is told nothing.
    world.bridge.reconfigure(&json!({ "bridge": { "budgets": { "rooms_per_minute": 120 } } }))?;
    world.bridge.restart().await?;
    let doras = world.phones.create_account("dora")?;
    let small = Group::create(&world.phones, &bob, "Dora's", &[&doras])?;
    let dora = world.person("dora").await?;
    let management = world.management(&dora).await?;
    management.login_by_qr(&world.phones, &doras).await?;
    small.room_of(&dora).await?;
    let (notices, _) = told(&dora, management.room());
    ensure!(notices.is_empty(), "told of one chat: {notices:?}");
    let (notices, _) = told(&alice, management.room());
    ensure!(notices.is_empty(), "alice was told elsewhere");
    Ok(())
}

/// What a login's device has asked for since, by kind.
struct Asked {
    phones: Phones,
    number: String,
    before: BTreeMap<String, u64>,
}

impl Asked {
    fn begin(world: &World, number: &str) -> Self {
        let before = world.phones.simulator().requests(number);
        Self { phones: world.phones.clone(), number: number.to_owned(), before }
    }

    fn since(&self) -> BTreeMap<String, u64> {
        let mut now = self.phones.simulator().requests(&self.number);
        for (kind, count) in &self.before {
            if let Some(now) = now.get_mut(kind) {
                *now -= count;
            }
        }
        now.retain(|_, count| *count > 0);
        now
    }

    /// Checks how often groups, their pictures and people were asked for.
    fn check(&self, when: &str, wanted: &[(&str, u64)]) -> Result<()> {
        let since = self.since();
        for kind in [ALL_GROUPS, ALL_PICTURES, ONE_GROUP, ONE_PICTURE, PEOPLE] {
            let wanted = wanted.iter().find(|(other, _)| *other == kind).map_or(0, |(_, count)| *count);
            let count = since.get(kind).copied().unwrap_or(0);
            ensure!(count == wanted, "{when}: {kind:?} {count} times instead of {wanted}; in all {since:?}");
        }
        Ok(())
    }
}

const ALL_GROUPS: &str = "w:g2 get participating";
const ALL_PICTURES: &str = "w:g2 get pictures";
const ONE_GROUP: &str = "w:g2 get query";
const ONE_PICTURE: &str = "w:profile:picture get picture";
const PEOPLE: &str = "usync get usync";

async fn nothing_is_asked_twice_for_nothing(world: &mut World) -> Result<()> {
    let bob = world.phones.create_account("bob")?;
    let carol = world.phones.create_account("carol")?;
    let account = world.phones.create_account("alice")?;
    let simulator = world.phones.simulator().clone();
    let mut groups = Vec::new();
    for number in 0..4 {
        let group = Group::create(&world.phones, &bob, &format!("Group {number}"), &[&account, &carol])?;
        if number % 2 == 0 {
            simulator.set_group_picture(&bob.number, &group.jid, Some(tiny_jpeg()))?;
        }
        groups.push(group);
    }
    let alice = world.person("alice").await?;
    let asked = Asked::begin(world, &account.number);
    world.management(&alice).await?.login_by_qr(&world.phones, &account).await?;
    groups[3].room_of(&alice).await?;
    wait_settled(world).await?;
    for (number, group) in groups.iter().enumerate() {
        if number % 2 == 0 {
            group.wait_state(&alice, "m.room.avatar", "", |now| now["url"].is_string()).await?;
        }
        for friend in [&bob, &carol] {
            let member = alice.wait_member(&group.room_of(&alice).await?, &ghost(world, friend), "join").await?;
            // Made by several groups at once, everybody still comes with a name.
            let name = member.content["displayname"].as_str().unwrap_or_default();
            ensure!(name.contains(&friend.number), "{} came as {name:?}", friend.name);
        }
        group.wait_state(&alice, "m.room.power_levels", "", |levels| levels["users"][ghost(world, &bob)] == 75).await?;
    }
    // All groups with one request, all pictures with another, whatever their number; the library asks for its own devices.
    asked.check("the first login", &[(ALL_GROUPS, 1), (ALL_PICTURES, 1), (PEOPLE, 1)])?;
    // A start with nothing changed asks that once more, and for nothing by itself.
    let state_before = state_of(&alice, &groups).await?;
    let asked = Asked::begin(world, &account.number);
    world.bridge.restart().await?;
    wait_asked(&asked, &[ALL_GROUPS, ALL_PICTURES, PEOPLE]).await?;
    asked.check("a start with nothing changed", &[(ALL_GROUPS, 1), (ALL_PICTURES, 1), (PEOPLE, 1)])?;
    groups[0].phone_says(&bob, "after a start").await?;
    groups[0].wait_in_room(&alice, "after a start").await?;
    // He has a name of his own now. Nothing else was done to the rooms.
    let state_now = state_of(&alice, &groups).await?;
    for (now, before) in state_now.iter().zip(&state_before) {
        let rest: Vec<&String> = now.iter().filter(|change| !before.contains(change)).collect();
        ensure!(rest.iter().all(|change| change.contains("bob (WA)")), "a room was changed: {rest:#?}");
    }
    // The first word of somebody asks once for their picture.
    wait_asked(&asked, &[ONE_PICTURE]).await?;
    asked.check("bob's word", &[(ALL_GROUPS, 1), (ALL_PICTURES, 1), (ONE_PICTURE, 1), (PEOPLE, 1)])?;
    groups[1].phone_says(&bob, "once more").await?;
    groups[1].wait_in_room(&alice, "once more").await?;
    asked.check("bob's next word", &[(ALL_GROUPS, 1), (ALL_PICTURES, 1), (ONE_PICTURE, 1), (PEOPLE, 1)])?;
    // One change is one look.
    let asked = Asked::begin(world, &account.number);
    simulator.set_group_subject(&bob.number, &groups[1].jid, "Another name")?;
    groups[1].wait_state(&alice, "m.room.name", "", |now| now["name"] == "Another name").await?;
    asked.check("a new name", &[(ONE_GROUP, 1)])?;
    let asked = Asked::begin(world, &account.number);
    simulator.set_group_picture(&bob.number, &groups[1].jid, Some(tiny_jpeg()))?;
    groups[1].wait_state(&alice, "m.room.avatar", "", |now| now["url"].is_string()).await?;
    asked.check("a new picture", &[(ONE_PICTURE, 1)])?;
    // What was missed is found at the next connect with the same two requests: the notifications themselves are lost.
    world.bridge.kill9()?;
    simulator.set_group_subject(&bob.number, &groups[3].jid, "While away")?;
    simulator.set_group_picture(&bob.number, &groups[3].jid, Some(tiny_jpeg()))?;
    simulator.set_group_picture(&bob.number, &groups[0].jid, None)?;
    world.bridge.start().await?;
    groups[3].wait_state(&alice, "m.room.name", "", |now| now["name"] == "While away").await?;
    groups[3].wait_state(&alice, "m.room.avatar", "", |now| now["url"].is_string()).await?;
    groups[0].wait_state(&alice, "m.room.avatar", "", |now| now["url"].is_null()).await?;
    Ok(())
}

/// All changes of state each room of the groups has seen.
async fn state_of(person: &Person, groups: &[Group]) -> Result<Vec<Vec<String>>> {
    let mut all = Vec::new();
    for group in groups {
        let mut history = person.history(&group.room_of(person).await?).await?;
        history.retain(|event| event.state_key.is_some());
        all.push(
            history.iter().map(|event| format!("{} {:?} {}", event.kind, event.state_key, event.content)).collect(),
        );
    }
    Ok(all)
}

async fn wait_asked(asked: &Asked, kinds: &[&str]) -> Result<()> {
    wait::until("the start's requests", wait::STEP, || async {
        let since = asked.since();
        Ok(kinds.iter().all(|kind| since.contains_key(*kind)).then_some(()))
    })
    .await
}

async fn killed_around_changes_of_a_group(world: &mut World) -> Result<()> {
    let bob = world.phones.create_account("bob")?;
    let carol = world.phones.create_account("carol")?;
    let dora = world.phones.create_account("dora")?;
    let (alice, account, _) = world.log_in("alice").await?;
    let group = Group::create(&world.phones, &bob, "Unchanged", &[&account, &carol])?;
    let room = group.room_of(&alice).await?;
    alice.wait_member(&room, &ghost(world, &carol), "join").await?;
    let simulator = world.phones.simulator().clone();
    for (round, point) in ["groups.after_names", "groups.after_member", "groups.after_people"].into_iter().enumerate() {
        world.bridge.kill9()?;
        world.bridge.start_with_kill_points(&format!("{point}=1*return")).await?;
        let (comes, goes) = if round % 2 == 0 { (&dora, &carol) } else { (&carol, &dora) };
        simulator.change_participants(&bob.number, &group.jid, "add", &[&comes.number])?;
        simulator.change_participants(&bob.number, &group.jid, "remove", &[&goes.number])?;
        simulator.change_participants(&bob.number, &group.jid, "promote", &[&comes.number])?;
        simulator.set_group_subject(&bob.number, &group.jid, point)?;
        world.bridge.wait_exit(wait::STEP).await.with_context(|| format!("the bridge did not die at {point}"))?;
        world.bridge.start().await?;
        group.phone_says(comes, &format!("said after {point}")).await?;
        let said = group.wait_in_room(&alice, &format!("said after {point}")).await?;
        ensure!(said.room == room, "two rooms after dying at {point}");
        group.wait_state(&alice, "m.room.name", "", |now| now["name"] == point).await?;
        wait::until(&format!("who is in after {point}"), wait::STEP, || async {
            let members = alice.members(&room).await?;
            let is_in = |who: &Account| members.contains(&ghost(world, who));
            Ok((is_in(comes) && !is_in(goes)).then_some(()))
        })
        .await?;
        let admin = ghost(world, comes);
        group.wait_state(&alice, "m.room.power_levels", "", |levels| levels["users"][&admin] == 50).await?;
        let history = alice.history(&room).await?;
        let named = history.iter().filter(|event| event.kind == "m.room.name" && event.content["name"] == point);
        ensure!(named.count() == 1, "not named once after dying at {point}");
    }
    Ok(())
}

async fn killed_by_chance_in_a_first_login(world: &mut World) -> Result<()> {
    const GROUPS: usize = 10;
    const KILLS: usize = 4;
    let mut chance = Chance::from_environment();
    let friends = people(world, 6)?;
    let bob = &friends[0];
    let account = world.phones.create_account("alice")?;
    let mut groups = Vec::new();
    for number in 0..GROUPS {
        let here: Vec<&Account> = (0..2).map(|at| &friends[1 + (number + at) % 5]).chain([&account]).collect();
        let group = Group::create(&world.phones, bob, &format!("Group {number}"), &here)?;
        groups.push((group, here));
    }
    let alice = world.person("alice").await?;
    let management = world.management(&alice).await?;
    management.login_by_qr(&world.phones, &account).await?;
    for (kill, (group, _)) in groups.iter().take(KILLS).enumerate() {
        tokio::time::sleep(Duration::from_millis(chance.below(900))).await;
        // Something changes meanwhile, too.
        world.phones.simulator().set_group_subject(&bob.number, &group.jid, &format!("Renamed {kill}"))?;
        world.bridge.restart().await.with_context(|| format!("start after kill {kill}"))?;
    }
    wait_settled(world).await?;
    let mut rooms = Vec::new();
    for (number, (group, here)) in groups.iter().enumerate() {
        let room = group.room_of(&alice).await?;
        let others = here.iter().filter(|who| who.number != account.number).chain([&bob]);
        for friend in others {
            wait::until(&format!("{} in group {number}", friend.name), wait::STEP, || async {
                Ok(alice.members(&room).await?.contains(&ghost(world, friend)).then_some(()))
            })
            .await?;
        }
        group.wait_state(&alice, "m.room.power_levels", "", |levels| levels["users"][ghost(world, bob)] == 75).await?;
        group.phone_says(bob, &format!("hello, group {number}")).await?;
        let said = group.wait_in_room(&alice, &format!("hello, group {number}")).await?;
        ensure!(said.room == room, "group {number} has two rooms");
        rooms.push(room);
    }
    // One room for each, one space, the management room; one space holds them all.
    let is_space = async |room: &str| {
        anyhow::Ok(alice.find_state(room, "m.room.create", "").await?.is_some_and(|made| made["type"] == "m.space"))
    };
    let mut spaces = Vec::new();
    for room in alice.rooms() {
        if is_space(&room).await? {
            spaces.push(room);
        } else {
            ensure!(rooms.contains(&room) || room == management.room(), "a room too many: {}", alice.transcript(&room));
        }
    }
    ensure!(spaces.len() == 1, "{} spaces", spaces.len());
    for room in &rooms {
        wait::until("a room in the space", wait::STEP * 2, || async {
            let child = alice.find_state(&spaces[0], "m.space.child", room).await?;
            Ok(child.filter(|child| child["via"].is_array()).map(drop))
        })
        .await?;
    }
    let (notices, _) = told(&alice, management.room());
    ensure!(notices.len() <= 1, "told in more than one notice: {notices:?}");
    Ok(())
}
