//! Spaces: each login has one that holds its rooms. And what rooms say of themselves, and how they end.

use anyhow::{Context, Result, ensure};
use matrix_bed::group::Group;
use matrix_bed::management::Management;
use matrix_bed::person::Person;
use matrix_bed::wait;
use matrix_bed::world::World;
use reqwest::Method;
use serde_json::{Value, json};
use whatsapp_sim::GroupOptions;

use crate::acts::die_at;
use crate::people::{bring_stranger, wait_told};

matrix_bed::stories! {
    shared {
        a_login_has_a_space_with_its_rooms
        several_logins_have_a_space_each
        rooms_leave_the_space_with_the_login
        killed_around_a_space
        who_leaves_their_space_is_left_alone
        spaces_can_be_switched_off
        a_shared_room_is_in_the_space_of_each_login
        a_community_is_a_space_of_its_groups
        rooms_say_what_they_take
        a_chats_room_is_deleted_by_its_owner
        a_group_is_put_into_a_space_of_its_people
        what_somebody_puts_into_their_space_stays
    }
}

/// The spaces a person is in: room and name.
async fn spaces(person: &Person) -> Result<Vec<(String, String)>> {
    let mut spaces = Vec::new();
    for room in person.rooms() {
        let create = person.find_state(&room, "m.room.create", "").await?.unwrap_or_default();
        if create["type"] == "m.space" {
            let name = person.find_state(&room, "m.room.name", "").await?.unwrap_or_default();
            spaces.push((room, name["name"].as_str().unwrap_or_default().to_owned()));
        }
    }
    spaces.sort_by(|one, other| one.1.cmp(&other.1));
    Ok(spaces)
}

/// Waits until a person is in spaces of exactly these names, and returns their rooms.
pub(super) async fn wait_spaces(person: &Person, names: &[&str]) -> Result<Vec<String>> {
    wait::until(&format!("spaces {names:?}"), wait::STEP, || async {
        let found = spaces(person).await?;
        let fits = found.iter().map(|(_, name)| name).eq(names);
        Ok(fits.then(|| found.into_iter().map(|(room, _)| room).collect()))
    })
    .await
    .with_context(|| format!("{} is in {:?}", person.name(), person.rooms()))
}

async fn child(person: &Person, space: &str, room: &str) -> Result<Value> {
    Ok(person.find_state(space, "m.space.child", room).await?.unwrap_or_default())
}

async fn wait_child(person: &Person, space: &str, room: &str, is_in: bool) -> Result<()> {
    let what = format!("{room} is {}in {space}", if is_in { "" } else { "not " });
    let held = || async { Ok((child(person, space, room).await?["via"].is_array() == is_in).then_some(())) };
    wait::until(&what, wait::STEP, held).await
}

/// How often children of a space were set.
async fn settings(person: &Person, space: &str) -> Result<usize> {
    Ok(person.history(space).await?.iter().filter(|event| event.kind == "m.space.child").count())
}

async fn a_login_has_a_space_with_its_rooms(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let alice = chat.person().clone();
    let space = wait_spaces(&alice, &["WhatsApp"]).await?.remove(0);
    wait_child(&alice, &space, &chat.room()?, true).await?;
    let content = child(&alice, &space, &chat.room()?).await?;
    ensure!(content["via"] == json!(["test.local"]), "{content}");
    let mut members = alice.members(&space).await?;
    members.retain(|member| member != alice.id());
    ensure!(members == [world.bridge.slot().bot()], "others are in it: {members:?}");
    world.bridge.restart().await?;
    let other = world.chat_with(&alice, chat.login(), "carol")?;
    other.begin("hello, says carol").await?;
    wait_child(&alice, &space, &other.room()?, true).await?;
    ensure!(settings(&alice, &space).await? == 2, "each room is put in once");
    // A room that is gone is out, the one that takes its place is in.
    let (bot, old) = (world.bridge.slot().bot(), chat.room()?);
    let ghost = chat.begin("the last words").await?.sender;
    let client = world.synapse.appservice(world.bridge.slot())?;
    let leave = ["_matrix", "client", "v3", "rooms", &old, "leave"];
    for user in [&ghost, &bot] {
        client.call(Method::POST, &leave, &[("user_id", user.as_str())], Some(&json!({}))).await?;
    }
    world.phones.send(&chat.contact().number, &chat.login().number, "in a new room").await?;
    let event = alice.wait_event("the text", wait::STEP, |event| event.body() == "in a new room").await?;
    ensure!(event.room != old, "the old room is in use");
    wait_child(&alice, &space, &event.room, true).await?;
    wait_child(&alice, &space, &old, false).await
}

async fn several_logins_have_a_space_each(world: &mut World) -> Result<()> {
    let (alice, first, management) = world.log_in("alice").await?;
    wait_spaces(&alice, &["WhatsApp"]).await?;
    let second = world.phones.create_account("alice too")?;
    management.login_by_qr(&world.phones, &second).await?;
    let mut names = [&first, &second].map(|account| format!("WhatsApp +{}", account.number));
    names.sort();
    let spaces = wait_spaces(&alice, &[&names[0], &names[1]]).await?;
    let contact = world.phones.create_account("bob")?;
    for (login, other) in [(&first, &second), (&second, &first)] {
        let chat = world.chat(&alice, login, &contact);
        chat.begin(&format!("hello, {}", login.name)).await?;
        let at = |account: &matrix_bed::phones::Account| {
            names.iter().position(|name| name.ends_with(&account.number)).map(|at| &spaces[at])
        };
        wait_child(&alice, at(login).context("no space")?, &chat.room()?, true).await?;
        let content = child(&alice, at(other).context("no space")?, &chat.room()?).await?;
        ensure!(content.is_null(), "in the other's space: {content}");
    }
    Ok(())
}

async fn rooms_leave_the_space_with_the_login(world: &mut World) -> Result<()> {
    let (alice, account, management) = world.log_in("alice").await?;
    let chat = world.chat_with(&alice, &account, "bob")?;
    chat.begin("hello, says bob").await?;
    let space = wait_spaces(&alice, &["WhatsApp"]).await?.remove(0);
    wait_child(&alice, &space, &chat.room()?, true).await?;
    management.ask("logout yes", "is logged out").await?;
    wait_child(&alice, &space, &chat.room()?, false).await?;
    // The same account comes back to the same rooms.
    world.phones.forget(&account.number);
    management.login_by_qr(&world.phones, &account).await?;
    wait_child(&alice, &space, &chat.room()?, true).await?;
    wait_spaces(&alice, &["WhatsApp"]).await?;
    Ok(())
}

async fn killed_around_a_space(world: &mut World) -> Result<()> {
    let person = world.person("alice").await?;
    let account = world.phones.create_account("alice")?;
    die_at(world, "states.space", async |world| {
        let management = world.management(&person).await?;
        // It may die before it has said that the login succeeded.
        management.login_by_qr(&world.phones, &account).await.map(drop).or(Ok(()))
    })
    .await?;
    let space = wait_spaces(&person, &["WhatsApp"]).await?.remove(0);
    let chat = world.chat_with(&person, &account, "bob")?;
    die_at(world, "states.space_room", async |_| chat.contact_says("hello, says bob").await.map(drop)).await?;
    chat.wait_in_room("hello, says bob").await?;
    wait_child(&person, &space, &chat.room()?, true).await?;
    let other = world.chat_with(&person, &account, "carol")?;
    other.begin("hello, says carol").await?;
    wait_child(&person, &space, &other.room()?, true).await?;
    ensure!(settings(&person, &space).await? == 2, "each room is put in once");
    ensure!(spaces(&person).await?.len() == 1, "one space");
    Ok(())
}

async fn who_leaves_their_space_is_left_alone(world: &mut World) -> Result<()> {
    let (alice, account, management) = world.log_in("alice").await?;
    let space = wait_spaces(&alice, &["WhatsApp"]).await?.remove(0);
    alice.leave(&space).await?;
    world.bridge.wait_idle().await?;
    let chat = world.chat_with(&alice, &account, "bob")?;
    chat.begin("hello, says bob").await?;
    world.bridge.restart().await?;
    chat.begin("hello again").await?;
    ensure!(!alice.rooms().contains(&space) && spaces(&alice).await?.is_empty(), "she was brought back");
    management.ask("space", "you are invited").await?;
    wait_child(&alice, &space, &chat.room()?, true).await?;
    Ok(())
}

async fn spaces_can_be_switched_off(world: &mut World) -> Result<()> {
    world.bridge.reconfigure(&json!({ "bridge": { "personal_filtering_spaces": false } }))?;
    world.bridge.restart().await?;
    let chat = world.begin().await?;
    let management = Management::open(chat.person(), &world.bridge.slot().bot()).await?;
    management.ask("space", "switched them off").await?;
    ensure!(spaces(chat.person()).await?.is_empty(), "{:?}", spaces(chat.person()).await?);
    Ok(())
}

async fn a_shared_room_is_in_the_space_of_each_login(world: &mut World) -> Result<()> {
    let (alice, alices, _) = world.log_in("alice").await?;
    let (dora, doras, _) = world.log_in("dora").await?;
    let bob = world.phones.create_account("bob")?;
    let group = Group::create(&world.phones, &bob, "Together", &[&alices, &doras])?;
    let room = group.room_of(&alice).await?;
    ensure!(group.room_of(&dora).await? == room, "one room");
    let hers = wait_spaces(&alice, &["WhatsApp"]).await?.remove(0);
    let other = wait_spaces(&dora, &["WhatsApp"]).await?.remove(0);
    ensure!(hers != other, "one space for both");
    wait_child(&alice, &hers, &room, true).await?;
    wait_child(&dora, &other, &room, true).await?;
    world.phones.simulator().change_participants(&bob.number, &group.jid, "remove", &[&doras.number])?;
    wait_child(&dora, &other, &room, false).await?;
    alice.wait_member(&room, dora.id(), "leave").await?;
    wait_child(&alice, &hers, &room, true).await
}

async fn rooms_say_what_they_take(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let (alice, room) = (chat.person(), chat.room()?);
    let features = alice.find_state(&room, "com.beeper.room_features", "").await?.context("it says nothing")?;
    ensure!(features["edit_max_age"] == 900 && features["reaction_count"] == 1, "{features}");
    ensure!(features["disappearing_timer"]["timers"].as_array().is_some_and(|timers| timers.len() == 3), "{features}");
    world.phones.save_contact(&chat.login().number, chat.contact(), "Uncle Bob")?;
    wait::until("the room says whose chat it is", wait::STEP, || async {
        let state = alice.client().get(&["_matrix", "client", "v3", "rooms", &room, "state"]).await?;
        let says =
            |event: &Value| event["type"] == "m.bridge" && event["content"]["channel"]["displayname"] == "Uncle Bob";
        Ok(state.as_array().is_some_and(|state| state.iter().any(says)).then_some(()))
    })
    .await?;
    let service = alice.find_state(&room, "io.element.functional_members", "").await?.unwrap_or_default();
    ensure!(service["service_members"] == json!([world.bridge.slot().bot()]), "{service}");
    Ok(())
}

async fn a_chats_room_is_deleted_by_its_owner(world: &mut World) -> Result<()> {
    let (alice, account, management) = world.log_in("alice").await?;
    let chat = world.chat_with(&alice, &account, "bob")?;
    // Not remembered as said in the chat: their room goes.
    world.phones.send(&chat.contact().number, &account.number, "before").await?;
    let room = alice.wait_event("the text", wait::STEP, |event| event.body() == "before").await?.room;
    let bot = world.bridge.slot().bot();
    alice.send_text(&room, "!wa delete-portal").await?;
    wait_told(&alice, &bot, &room, "If you mean it").await?;
    ensure!(alice.rooms().contains(&room), "it is deleted without a second word");
    die_at(world, "deletion.room_left", async |_| alice.send_text(&room, "!wa delete-portal yes").await.map(drop))
        .await?;
    alice.wait_member(&room, alice.id(), "leave").await?;
    management.wait_notice("the bot's word", |event| event.body().contains("room is deleted")).await?;
    world.bridge.wait_idle().await?;
    let again = chat.begin("after").await?;
    ensure!(again.room != room, "the old room is in use");
    let space = wait_spaces(&alice, &["WhatsApp"]).await?.remove(0);
    wait_child(&alice, &space, &again.room, true).await?;
    wait_child(&alice, &space, &room, false).await?;
    chat.person_says("an answer").await?;
    chat.wait_at_contact("an answer").await?;
    // Not by who does not own it.
    let mallory = bring_stranger(world, &chat).await?;
    mallory.send_text(&again.room, "!wa delete-portal yes").await?;
    wait_told(&mallory, &bot, &again.room, "Only the owner of this chat's WhatsApp account may").await?;
    ensure!(alice.members(&again.room).await?.contains(&alice.id().to_owned()), "a stranger deleted it");
    Ok(())
}

async fn a_community_is_a_space_of_its_groups(world: &mut World) -> Result<()> {
    let (alice, account, _) = world.log_in("alice").await?;
    let bob = world.phones.create_account("bob")?;
    let simulator = world.phones.simulator().clone();
    let hiking = Group::create(&world.phones, &bob, "Hiking", &[&account])?;
    let room = hiking.room_of(&alice).await?;
    let roof = std::sync::Mutex::new(String::new());
    die_at(world, "states.community", async |_| {
        let options = GroupOptions {
            subject: "Roof".to_owned(),
            members: vec![account.number.clone()],
            community: true,
            ..GroupOptions::default()
        };
        let community = simulator.create_group_with(&bob.number, &options)?;
        simulator.link_groups(&bob.number, &community, &[&hiking.jid], true)?;
        *roof.lock().unwrap() = community;
        Ok(())
    })
    .await?;
    let roof = roof.into_inner()?;
    let spaces = wait_spaces(&alice, &["Roof", "WhatsApp"]).await?;
    let (inner, outer) = (&spaces[0], &spaces[1]);
    wait_child(&alice, inner, &room, true).await?;
    wait_child(&alice, outer, inner, true).await?;
    wait_child(&alice, outer, &room, false).await?;
    // The group for announcements comes first.
    wait::until("both groups are in it, in order", wait::STEP, || async {
        let state = alice.client().get(&["_matrix", "client", "v3", "rooms", inner, "state"]).await?;
        let state = state.as_array().cloned().unwrap_or_default();
        let children: Vec<&Value> = state.iter().filter(|event| event["type"] == "m.space.child").collect();
        let order = |room: &str, order: &str| {
            children
                .iter()
                .any(|child| (child["state_key"] == room) == (order == "1") && child["content"]["order"] == order)
        };
        Ok((children.len() == 2 && order(&room, "1") && order(&room, "0")).then_some(()))
    })
    .await?;
    // It gets another name, and the group goes its own way again.
    simulator.set_group_subject(&bob.number, &roof, "Rooftop")?;
    wait_spaces(&alice, &["Rooftop", "WhatsApp"]).await?;
    simulator.link_groups(&bob.number, &roof, &[&hiking.jid], false)?;
    wait_child(&alice, inner, &room, false).await?;
    wait_child(&alice, outer, &room, true).await?;
    ensure!(child(&alice, outer, inner).await?["via"].is_array(), "the community left the space");
    Ok(())
}

async fn own_space(person: &Person, name: &str) -> Result<String> {
    let create = json!({ "type": "m.space" });
    person.create_room(&json!({ "name": name, "preset": "private_chat", "creation_content": create })).await
}

async fn a_group_is_put_into_a_space_of_its_people(world: &mut World) -> Result<()> {
    let bob = world.phones.create_account("bob")?;
    let (alice, account, management) = world.log_in("alice").await?;
    let (dora, doras, _) = world.log_in("dora").await?;
    let bot = world.bridge.slot().bot();
    let group = Group::create(&world.phones, &bob, "Hiking", &[&account, &doras])?;
    let room = group.room_of(&alice).await?;
    group.room_of(&dora).await?;
    let space = own_space(&alice, "Our house").await?;
    alice.send_text(&room, &format!("!wa add-to-space {space}")).await?;
    wait_told(&alice, &bot, &room, "I am in no such space").await?;
    alice.invite(&space, &bot).await?;
    management.wait_notice("where to say it", |event| event.body().contains("add-to-space")).await?;
    // It is no place to talk to the bot.
    management.ask("ping", "connected").await?;
    alice.send_text(&room, &format!("!wa add-to-space {space}")).await?;
    wait_told(&alice, &bot, &room, "I may not change").await?;
    ensure!(child(&alice, &space, &room).await?.get("via").is_none(), "it is in it");
    let mut powers = alice.find_state(&space, "m.room.power_levels", "").await?.unwrap_or_default();
    powers["users"][bot.as_str()] = json!(50);
    alice.set_state(&space, "m.room.power_levels", "", &powers).await?;
    // Not by who may not change the space, and not a group that the caller is not in.
    alice.invite(&space, dora.id()).await?;
    dora.join(&space).await?;
    dora.send_text(&room, &format!("!wa add-to-space {space}")).await?;
    wait_told(&dora, &bot, &room, "You may not change").await?;
    let eve = world.person("eve").await?;
    alice.invite(&room, eve.id()).await?;
    eve.join(&room).await?;
    let hers = own_space(&eve, "Hers").await?;
    eve.invite(&hers, &bot).await?;
    eve.send_text(&room, &format!("!wa add-to-space {hers}")).await?;
    wait_told(&eve, &bot, &room, "Only the owner of this chat's WhatsApp account may").await?;
    ensure!(child(&alice, &space, &room).await?.get("via").is_none(), "it is in it");
    die_at(world, "states.guest_room", async |_| {
        alice.send_text(&room, &format!("!wa add-to-space https://matrix.to/#/{space}?via=test.local")).await.map(drop)
    })
    .await?;
    wait_child(&alice, &space, &room, true).await?;
    wait_told(&alice, &bot, &room, "is in the space now").await?;
    alice.send_text(&room, &format!("!wa remove-from-space {space}")).await?;
    wait_child(&alice, &space, &room, false).await?;
    // Who leaves the group takes it along.
    alice.send_text(&room, &format!("!wa add-to-space {space}")).await?;
    wait_child(&alice, &space, &room, true).await?;
    alice.send_text(&room, "!wa leave-group yes").await?;
    wait_child(&alice, &space, &room, false).await
}

async fn what_somebody_puts_into_their_space_stays(world: &mut World) -> Result<()> {
    let bob = world.phones.create_account("bob")?;
    let (alice, account, _) = world.log_in("alice").await?;
    let bot = world.bridge.slot().bot();
    let group = Group::create(&world.phones, &bob, "Hiking", &[&account])?;
    let room = group.room_of(&alice).await?;
    let space = own_space(&alice, "Our house").await?;
    alice.invite(&space, &bot).await?;
    alice.wait_member(&space, &bot, "join").await?;
    let mut powers = alice.find_state(&space, "m.room.power_levels", "").await?.unwrap_or_default();
    powers["users"][bot.as_str()] = json!(50);
    alice.set_state(&space, "m.room.power_levels", "", &powers).await?;
    let mine = json!({ "via": ["test.local"], "order": "mine" });
    alice.set_state(&space, "m.space.child", &room, &mine).await?;
    alice.send_text(&room, &format!("!wa add-to-space {space}")).await?;
    wait_told(&alice, &bot, &room, "is in the space now").await?;
    alice.send_text(&room, &format!("!wa remove-from-space {space}")).await?;
    wait_told(&alice, &bot, &room, "It is not I who").await?;
    // Groups come and go in the bridge's own spaces meanwhile.
    let outer = wait_spaces(&alice, &["Our house", "WhatsApp"]).await?.remove(1);
    wait_child(&alice, &outer, &room, true).await?;
    ensure!(child(&alice, &outer, &room).await?["order"] == "4", "groups have no order");
    let options = GroupOptions {
        subject: "Roof".to_owned(),
        members: vec![account.number.clone()],
        community: true,
        ..GroupOptions::default()
    };
    let simulator = world.phones.simulator().clone();
    let community = simulator.create_group_with(&bob.number, &options)?;
    simulator.link_groups(&bob.number, &community, &[&group.jid], true)?;
    wait_child(&alice, &outer, &room, false).await?;
    simulator.link_groups(&bob.number, &community, &[&group.jid], false)?;
    wait_child(&alice, &outer, &room, true).await?;
    world.bridge.wait_idle().await?;
    ensure!(child(&alice, &space, &room).await? == mine, "their own space was changed");
    Ok(())
}
