//! Groups: a room for all of ours who are in one, with its people, its name and its rights, and what is said in it.

use anyhow::{Context, Result, ensure};
use matrix_bed::group::Group;
use matrix_bed::person::Person;
use matrix_bed::phones::Account;
use matrix_bed::wait;
use matrix_bed::world::World;
use serde_json::{Value, json};
use whatsapp_sim::{Kind, Options};

use super::acts::die_at;

matrix_bed::stories! {
    shared {
        a_group_has_a_room_with_its_people
        words_cross_in_a_group
        two_people_share_the_room_of_their_group
        answers_reactions_edits_and_deletions_in_a_group
        a_group_changes
        somebody_of_ours_leaves_and_comes_back
        a_login_that_comes_later_is_invited
        who_is_logged_out_and_removed_leaves_the_room
        old_powers_change_nothing
        killed_around_a_new_group
        the_room_shapes_the_group
        people_are_added_and_removed_from_the_room
        who_is_not_in_the_group_changes_nothing
        who_may_write_is_said_once_in_words
    }
}

/// Somebody on Matrix with a login, and two friends on WhatsApp only.
pub(super) struct Scene {
    pub(super) alice: Person,
    pub(super) account: Account,
    pub(super) bob: Account,
    pub(super) carol: Account,
}

pub(super) async fn scene(world: &mut World) -> Result<Scene> {
    let bob = world.phones.create_account("bob")?;
    let carol = world.phones.create_account("carol")?;
    let (alice, account, _) = world.log_in("alice").await?;
    Ok(Scene { alice, account, bob, carol })
}

/// The user id a person on WhatsApp has in the bridge's rooms.
pub(super) fn ghost(world: &World, account: &Account) -> String {
    world.bridge.slot().ghost(&format!("lid-{}", account.lid))
}

async fn a_group_has_a_room_with_its_people(world: &mut World) -> Result<()> {
    // One group is there before the login, one comes after it.
    let bob = world.phones.create_account("bob")?;
    let carol = world.phones.create_account("carol")?;
    let account = world.phones.create_account("alice")?;
    let before = Group::create(&world.phones, &bob, "Climbing", &[&account, &carol])?;
    world.phones.simulator().set_group_description(&bob.number, &before.jid, Some("Mondays\nat the wall"))?;
    let alice = world.person("alice").await?;
    world.management(&alice).await?.login_by_qr(&world.phones, &account).await?;
    let after = Group::create(&world.phones, &carol, "Cooking", &[&account, &bob])?;
    for (group, maker) in [(&before, &bob), (&after, &carol)] {
        let room = group.room_of(&alice).await?;
        for friend in [&bob, &carol] {
            alice.wait_member(&room, &ghost(world, friend), "join").await?;
        }
        let levels =
            group.wait_state(&alice, "m.room.power_levels", "", |levels| levels["users"][ghost(world, maker)] == 75);
        let levels = levels.await?;
        ensure!(levels["events_default"] == 0 && levels["events"]["m.room.name"] == 0, "{levels}");
        let history = alice.find_state(&room, "m.room.history_visibility", "").await?.context("no visibility")?;
        ensure!(history["history_visibility"] == "invited", "{history}");
        // Alice is there as herself.
        let own = ghost(world, &account);
        ensure!(!alice.members(&room).await?.contains(&own), "her own ghost is in the room");
    }
    let topic = before.wait_state(&alice, "m.room.topic", "", |_| true).await?;
    ensure!(topic["topic"] == "Mondays\nat the wall", "{topic}");
    // Nothing is made twice by a start.
    let rooms = alice.rooms().len();
    world.bridge.kill9()?;
    world.bridge.start().await?;
    after.phone_says(&bob, "after the start").await?;
    after.wait_in_room(&alice, "after the start").await?;
    world.bridge.wait_idle().await?;
    ensure!(alice.rooms().len() == rooms, "rooms were made anew");
    Ok(())
}

async fn words_cross_in_a_group(world: &mut World) -> Result<()> {
    let Scene { alice, account, bob, carol } = scene(world).await?;
    let group = Group::create(&world.phones, &bob, "Friends", &[&account, &carol])?;
    for round in ["live", "after a start"] {
        for (at, friend) in [&bob, &carol, &bob].into_iter().enumerate() {
            let text = format!("{} says {at}, {round}", friend.name);
            group.phone_says(friend, &text).await?;
            let event = group.wait_in_room(&alice, &text).await?;
            ensure!(event.sender == ghost(world, friend), "{} is not {}", event.sender, friend.name);
        }
        group.person_says(&alice, &account, &format!("alice answers, {round}")).await?;
        group.phone_says(&account, &format!("alice's phone adds, {round}")).await?;
        group.check_laws(&[&alice], &[&bob, &carol]).await?;
        world.bridge.kill9()?;
        world.bridge.start().await?;
    }
    group.check_laws(&[&alice], &[&bob, &carol, &account]).await
}

async fn two_people_share_the_room_of_their_group(world: &mut World) -> Result<()> {
    let Scene { alice, account: alices, bob, carol } = scene(world).await?;
    let (dora, doras, _) = world.log_in("dora").await?;
    let group = Group::create(&world.phones, &bob, "Together", &[&alices, &carol])?;
    // Not remembered: dora's phone never gets it.
    world.phones.send(&bob.number, &group.jid, "before dora came").await?;
    group.wait_in_room(&alice, "before dora came").await?;
    world.phones.simulator().change_participants(&bob.number, &group.jid, "add", &[&doras.number])?;
    let room = group.room_of(&dora).await?;
    ensure!(room == group.room_of(&alice).await?, "they have two rooms");
    group.phone_says(&bob, "welcome").await?;
    group.wait_in_room(&dora, "welcome").await?;
    let heard = dora.history(&room).await?;
    ensure!(!heard.iter().any(|event| event.body() == "before dora came"), "dora hears what was said before she came");
    // Each speaks as herself, and hears the other once.
    for round in 0..3 {
        group.person_says(&alice, &alices, &format!("alice {round}")).await?;
        group.person_says(&dora, &doras, &format!("dora {round}")).await?;
        group.phone_says(&carol, &format!("carol {round}")).await?;
        group.phone_says(&doras, &format!("dora's phone {round}")).await?;
    }
    group.check_laws(&[&alice], &[&bob, &carol, &alices, &doras]).await?;
    // With one login gone for a while the other one hears for both.
    world.phones.unlink(&alices.number)?;
    group.phone_says(&bob, "one login less").await?;
    let event = group.wait_in_room(&dora, "one login less").await?;
    ensure!(event.room == room);
    Ok(())
}

async fn answers_reactions_edits_and_deletions_in_a_group(world: &mut World) -> Result<()> {
    let Scene { alice, account, bob, carol } = scene(world).await?;
    let group = Group::create(&world.phones, &bob, "Talk", &[&account, &carol])?;
    let simulator = world.phones.simulator().clone();
    group.phone_says(&carol, "a question").await?;
    let asked = group.wait_in_room(&alice, "a question").await?;
    let room = asked.room.clone();
    // Out of Matrix: the answer names its author, so does the reaction.
    let answer = json!({ "msgtype": "m.text", "body": "an answer",
        "m.relates_to": { "m.in_reply_to": { "event_id": asked.id } } });
    let answer = alice.send(&room, "m.room.message", &answer).await?;
    let item = group.wait_at(&bob, "an answer").await?;
    let context = &item.message["extendedTextMessage"]["contextInfo"];
    ensure!(context["participant"] == format!("{}@lid", carol.lid), "{context}");
    let heart = json!({ "m.relates_to": { "rel_type": "m.annotation", "event_id": asked.id, "key": "❤️" } });
    alice.send(&room, "m.reaction", &heart).await?;
    let reaction = group.wait_item(&bob, "the reaction", |item| !item.message["reactionMessage"].is_null()).await?;
    let key = &reaction.message["reactionMessage"]["key"];
    ensure!(key["participant"] == format!("{}@lid", carol.lid), "{key}");
    // Into Matrix: bob answers her, reacts, and edits.
    let options = Options { reply_to: Some(item.id.clone()), ..Options::default() };
    simulator.send_kind_with(&bob.number, &group.jid, Kind::Text { text: "thanks".into() }, options).await?;
    let thanks = group.wait_in_room(&alice, "thanks").await?;
    ensure!(thanks.content["m.relates_to"]["m.in_reply_to"]["event_id"] == answer.as_str(), "{}", thanks.content);
    let react = Kind::Reaction { target: item.id.clone(), emoji: "👍".into() };
    simulator.send_kind(&bob.number, &group.jid, react).await?;
    let thumb = alice.wait_event("bob's thumb", wait::STEP, |event| {
        event.kind == "m.reaction" && event.room == room && event.sender != alice.id()
    });
    ensure!(thumb.await?.content["m.relates_to"]["event_id"] == answer.as_str());
    let said = group.phone_says(&bob, "a mistake").await?;
    let mistake = group.wait_in_room(&alice, "a mistake").await?;
    simulator
        .send_kind(
            &bob.number,
            &group.jid,
            Kind::Edit { target: said.clone(), text: Some("mended".into()), message: None, secret: false },
        )
        .await?;
    let edit = alice.wait_event("the edit", wait::STEP, |event| event.content["m.new_content"]["body"] == "mended");
    ensure!(edit.await?.content["m.relates_to"]["event_id"] == mistake.id.as_str());
    // Alice is no admin: carol's message is not hers to delete, here as there.
    ensure!(alice.redact(&room, &asked.id).await.is_err(), "alice deleted carol's message");
    // Bob is one.
    group.phone_says(&carol, "rude words").await?;
    let rude = group.wait_in_room(&alice, "rude words").await?;
    let item = group.wait_at(&bob, "rude words").await?;
    simulator.send_kind(&bob.number, &group.jid, Kind::Revoke { target: item.id.clone() }).await?;
    let gone = alice.wait_event("the deletion", wait::STEP, |event| {
        event.kind == "m.room.redaction" && event.content["redacts"] == rude.id.as_str()
    });
    gone.await?;
    // And carol is none: what she asks for is not done.
    let item = group.wait_at(&carol, "mended").await.or_else(|_| find(&group, &carol, &said))?;
    let forged = forged_deletion(&group.jid, &item.id, &format!("{}@lid", bob.lid));
    simulator.send_kind(&carol.number, &group.jid, Kind::Raw { message: Some(forged), protobuf: None }).await?;
    // Made an admin, alice may.
    simulator.change_participants(&bob.number, &group.jid, "promote", &[&account.number])?;
    group.wait_state(&alice, "m.room.power_levels", "", |levels| levels["users"][alice.id()] == 50).await?;
    alice.redact(&room, &mistake.id).await?;
    let revoke = group.wait_item(&carol, "the deletion", |item| {
        let protocol = &item.message["protocolMessage"];
        protocol["key"]["id"] == said.as_str() && protocol["key"]["participant"] == format!("{}@lid", bob.lid)
    });
    revoke.await?;
    let all = alice.history(&room).await?;
    let by_bridge = all.iter().filter(|event| event.kind == "m.room.redaction" && event.sender != alice.id()).count();
    ensure!(by_bridge == 1, "carol's deletion of bob's message was done: {by_bridge} redactions");
    Ok(())
}

fn find(group: &Group, member: &Account, id: &str) -> Result<matrix_bed::phones::InboxItem> {
    group.items(member).into_iter().find(|item| item.id == id).context("no such message")
}

fn forged_deletion(chat: &str, id: &str, author: &str) -> Value {
    json!({ "protocolMessage": { "type": "REVOKE",
        "key": { "remoteJid": chat, "fromMe": false, "id": id, "participant": author } } })
}

async fn a_group_changes(world: &mut World) -> Result<()> {
    let Scene { alice, account, bob, carol } = scene(world).await?;
    let group = Group::create(&world.phones, &bob, "Old name", &[&account])?;
    let room = group.room_of(&alice).await?;
    alice.wait_member(&room, &ghost(world, &bob), "join").await?;
    let simulator = world.phones.simulator().clone();
    // Half of it live, half of it while the bridge is down.
    for is_down in [false, true] {
        if is_down {
            world.bridge.kill9()?;
        }
        let name = if is_down { "Newest name" } else { "New name" };
        simulator.set_group_subject(&bob.number, &group.jid, name)?;
        simulator.set_group_description(&bob.number, &group.jid, Some(name))?;
        simulator.change_participants(
            &bob.number,
            &group.jid,
            if is_down { "remove" } else { "add" },
            &[&carol.number],
        )?;
        for setting in if is_down {
            ["not_announcement", "unlocked", "all_member_add", "not_approval"]
        } else {
            ["announcement", "locked", "admin_add", "approval"]
        } {
            simulator.set_group_setting(&bob.number, &group.jid, setting)?;
        }
        if is_down {
            world.bridge.start().await?;
        }
        group.wait_state(&alice, "m.room.name", "", |now| now["name"] == name).await?;
        group.wait_state(&alice, "m.room.topic", "", |now| now["topic"] == name).await?;
        let membership = if is_down { "leave" } else { "join" };
        alice.wait_member(&room, &ghost(world, &carol), membership).await?;
        let power = if is_down { 0 } else { 50 };
        let levels = group.wait_state(&alice, "m.room.power_levels", "", |now| {
            now["events_default"] == power && now["events"]["m.room.name"] == power && now["invite"] == power
        });
        levels.await?;
        let rule = if is_down { "invite" } else { "knock" };
        group.wait_state(&alice, "m.room.join_rules", "", |now| now["join_rule"] == rule).await?;
    }
    simulator.set_group_picture(&bob.number, &group.jid, Some(tiny_jpeg()))?;
    group.wait_state(&alice, "m.room.avatar", "", |now| now["url"].is_string()).await?;
    simulator.set_group_picture(&bob.number, &group.jid, None)?;
    group.wait_state(&alice, "m.room.avatar", "", |now| now["url"].is_null()).await?;
    Ok(())
}

pub(super) fn tiny_jpeg() -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(64, 64).write_to(&mut bytes, image::ImageFormat::Jpeg).expect("a picture");
    bytes.into_inner()
}

async fn somebody_of_ours_leaves_and_comes_back(world: &mut World) -> Result<()> {
    let Scene { alice, account, bob, carol } = scene(world).await?;
    let (dora, doras, _) = world.log_in("dora").await?;
    let group = Group::create(&world.phones, &bob, "In and out", &[&account, &doras, &carol])?;
    let room = group.room_of(&alice).await?;
    group.room_of(&dora).await?;
    let simulator = world.phones.simulator().clone();
    simulator.change_participants(&bob.number, &group.jid, "remove", &[&account.number])?;
    dora.wait_member(&room, alice.id(), "leave").await?;
    group.phone_says(&bob, "without alice").await?;
    group.wait_in_room(&dora, "without alice").await?;
    simulator.change_participants(&bob.number, &group.jid, "add", &[&account.number])?;
    wait::until("alice is back", wait::STEP, || async {
        Ok(dora.members(&room).await?.contains(&alice.id().to_owned()).then_some(()))
    })
    .await?;
    group.phone_says(&bob, "with alice").await?;
    group.wait_in_room(&alice, "with alice").await?;
    // Then everybody of ours leaves by phone: the room empties, and nothing goes out through it any more.
    simulator.leave_group(&account.number, &group.jid)?;
    simulator.leave_group(&doras.number, &group.jid)?;
    wait::until("the room is left", wait::STEP, || async { Ok(alice.members(&room).await.is_err().then_some(())) })
        .await
}

async fn killed_around_a_new_group(world: &mut World) -> Result<()> {
    let Scene { alice, account, bob, carol } = scene(world).await?;
    for point in ["groups.after_room", "groups.after_names", "groups.after_member", "groups.after_people"] {
        world.bridge.kill9()?;
        world.bridge.start_with_kill_points(&format!("{point}=1*return")).await?;
        let group = Group::create(&world.phones, &bob, point, &[&account, &carol])?;
        world.bridge.wait_exit(wait::STEP).await.with_context(|| format!("the bridge did not die at {point}"))?;
        world.bridge.start().await?;
        group.phone_says(&carol, &format!("said at {point}")).await?;
        let event = group.wait_in_room(&alice, &format!("said at {point}")).await?;
        ensure!(event.room == group.room_of(&alice).await?, "two rooms after dying at {point}");
        for friend in [&bob, &carol] {
            alice.wait_member(&event.room, &ghost(world, friend), "join").await?;
        }
        group.wait_state(&alice, "m.room.power_levels", "", |levels| levels["users"][ghost(world, &bob)] == 75).await?;
        let history = alice.history(&event.room).await?;
        let names: Vec<_> = history.iter().filter(|event| event.kind == "m.room.name").collect();
        // What was before her invitation she does not see.
        ensure!(names.len() <= 1, "named more than once after dying at {point}: {names:?}");
    }
    Ok(())
}

async fn the_room_shapes_the_group(world: &mut World) -> Result<()> {
    let Scene { alice, account, bob, carol } = scene(world).await?;
    // Alice's phone makes it, so she may everything; carol's group she is only a member of.
    let group = Group::create(&world.phones, &account, "Mine", &[&bob, &carol])?;
    let room = group.room_of(&alice).await?;
    group.wait_state(&alice, "m.room.power_levels", "", |levels| levels["users"][alice.id()] == 75).await?;
    for friend in [&bob, &carol] {
        alice.wait_member(&room, &ghost(world, friend), "join").await?;
    }
    let simulator = world.phones.simulator().clone();
    let wait_group = async |what: &'static str, wanted: fn(&whatsapp_sim::GroupInfo) -> bool| {
        simulator.wait_group(&group.jid, wanted, wait::STEP).await.context(what)
    };
    alice.set_state(&room, "m.room.topic", "", &json!({ "topic": "all of it" })).await?;
    wait_group("the description", |group| group.description.as_deref() == Some("all of it")).await?;
    alice.set_state(&room, "m.room.name", "", &json!({ "name": "Renamed" })).await?;
    wait_group("the name", |group| group.subject == "Renamed").await?;
    let mut levels = alice.find_state(&room, "m.room.power_levels", "").await?.context("no levels")?;
    levels["events_default"] = 50.into();
    levels["events"]["m.room.name"] = 50.into();
    levels["invite"] = 50.into();
    levels["users"][ghost(world, &bob)] = 50.into();
    alice.set_state(&room, "m.room.power_levels", "", &levels).await?;
    wait_group("the settings", |group| group.admin_add && group.announce && group.locked).await?;
    let bobs = bob.number.clone();
    let is_admin = async |number: &str, wanted: bool| {
        wait::until("who is an admin", wait::STEP, || async {
            let info = simulator.group(&group.jid).context("no group")?;
            let role = info.members.iter().find(|member| member.number == number).map(|member| member.role);
            Ok(((role == Some("admin")) == wanted).then_some(()))
        })
        .await
    };
    is_admin(&bobs, true).await?;
    alice.set_state(&room, "m.room.join_rules", "", &json!({ "join_rule": "knock" })).await?;
    wait_group("the approval", |group| group.approval).await?;
    let mut levels =
        group.wait_state(&alice, "m.room.power_levels", "", |levels| levels["users"][ghost(world, &bob)] == 50).await?;
    levels["users"][ghost(world, &bob)] = 0.into();
    alice.set_state(&room, "m.room.power_levels", "", &levels).await?;
    is_admin(&bobs, false).await?;
    let picture = alice.client().upload(tiny_jpeg(), "image/jpeg", "group.jpg").await?;
    alice.set_state(&room, "m.room.avatar", "", &json!({ "url": picture })).await?;
    wait_group("the picture", |group| group.picture.is_some()).await?;
    // What WhatsApp does not take is put back and told.
    alice.set_state(&room, "m.room.name", "", &json!({ "name": "x".repeat(101) })).await?;
    alice.wait_text(&room, "100 characters").await?;
    group.wait_state(&alice, "m.room.name", "", |now| now["name"] == "Renamed").await?;
    Ok(())
}

async fn people_are_added_and_removed_from_the_room(world: &mut World) -> Result<()> {
    let Scene { alice, account, bob, carol } = scene(world).await?;
    let dora = world.phones.create_account("dora")?;
    // The bridge has to know carol and dora before anybody can name them.
    for friend in [&carol, &dora] {
        let chat = world.chat(&alice, &account, friend);
        chat.begin(&format!("hello, says {}", friend.name)).await?;
    }
    let group = Group::create(&world.phones, &account, "Guests", &[&bob])?;
    let room = group.room_of(&alice).await?;
    group.wait_state(&alice, "m.room.power_levels", "", |levels| levels["users"][alice.id()] == 75).await?;
    let simulator = world.phones.simulator().clone();
    let is_member = async |friend: &Account, wanted: bool| {
        wait::until(&format!("{} is in: {wanted}", friend.name), wait::STEP, || async {
            let info = simulator.group(&group.jid).context("no group")?;
            Ok((info.members.iter().any(|member| member.number == friend.number) == wanted).then_some(()))
        })
        .await
    };
    alice.invite(&room, &ghost(world, &carol)).await?;
    is_member(&carol, true).await?;
    alice.wait_member(&room, &ghost(world, &carol), "join").await?;
    group.person_says(&alice, &account, "welcome, carol").await?;
    group.wait_at(&carol, "welcome, carol").await?;
    alice.kick(&room, &ghost(world, &carol)).await?;
    is_member(&carol, false).await?;
    // A ban is a removal; who is added again comes in again.
    alice.invite(&room, &ghost(world, &carol)).await?;
    is_member(&carol, true).await?;
    alice.ban(&room, &ghost(world, &carol)).await?;
    is_member(&carol, false).await?;
    alice
        .wait_event("the ban is lifted", wait::STEP, |event| {
            event.kind == "m.room.member"
                && event.sender == world.bridge.slot().bot()
                && event.content["membership"] == "leave"
        })
        .await?;
    simulator.change_participants(&account.number, &group.jid, "add", &[&carol.number])?;
    wait::until("carol is back", wait::STEP, || async {
        Ok(alice.members(&room).await?.contains(&ghost(world, &carol)).then_some(()))
    })
    .await?;
    // Dora lets only contacts add her: she gets an invitation, alice is told, and dora does not stay in the room's list.
    simulator.set_group_adds(&dora.number, false)?;
    alice.invite(&room, &ghost(world, &dora)).await?;
    let invited = wait::until("dora's invitation", wait::STEP, || async {
        let items = world.phones.inbox(&dora.number);
        Ok(items.into_iter().find(|item| !item.message["groupInviteMessage"].is_null()))
    });
    let invited = invited.await?;
    ensure!(invited.message["groupInviteMessage"]["groupJid"] == group.jid.as_str(), "{}", invited.message);
    alice.wait_text(&room, "sent them an invitation").await?;
    alice.wait_member(&room, &ghost(world, &dora), "leave").await?;
    Ok(())
}

async fn who_is_not_in_the_group_changes_nothing(world: &mut World) -> Result<()> {
    let Scene { alice, account, bob, carol } = scene(world).await?;
    let eve = world.person("eve").await?;
    let chat = world.chat(&alice, &account, &carol);
    chat.begin("hello, says carol").await?;
    let group = Group::create(&world.phones, &bob, "Ours", &[&account])?;
    let room = group.room_of(&alice).await?;
    alice.wait_member(&room, &ghost(world, &bob), "join").await?;
    // Alice shows eve the room; eve has no account in this group.
    alice.invite(&room, eve.id()).await?;
    eve.join(&room).await?;
    let before = world.phones.simulator().group(&group.jid).context("no group")?;
    eve.send_text(&room, "I am no member").await?;
    eve.wait_text(&room, "No WhatsApp account of yours is in this group").await?;
    eve.set_state(&room, "m.room.name", "", &json!({ "name": "Eve was here" })).await?;
    eve.wait_event("her name for it", wait::STEP, |event| event.content["name"] == "Eve was here").await?;
    wait::until("the old name", wait::STEP, || async {
        let name = alice.find_state(&room, "m.room.name", "").await?.context("no name")?;
        Ok((name["name"] == "Ours").then_some(()))
    })
    .await?;
    eve.invite(&room, &ghost(world, &carol)).await?;
    alice.wait_member(&room, &ghost(world, &carol), "leave").await?;
    group.phone_says(&bob, "the end").await?;
    group.wait_in_room(&alice, "the end").await?;
    world.bridge.wait_idle().await?;
    let after = world.phones.simulator().group(&group.jid).context("no group")?;
    let members = |group: &whatsapp_sim::GroupInfo| group.members.len();
    ensure!(after.subject == before.subject, "{} became {}", before.subject, after.subject);
    ensure!(members(&after) == members(&before), "somebody was added");
    ensure!(!group.items(&bob).iter().any(|item| item.text.as_deref() == Some("I am no member")), "eve spoke in it");
    Ok(())
}

async fn a_login_that_comes_later_is_invited(world: &mut World) -> Result<()> {
    let doras = world.phones.create_account("dora")?;
    let Scene { alice, account, bob, .. } = scene(world).await?;
    let group = Group::create(&world.phones, &bob, "All of us", &[&account, &doras])?;
    let room = group.room_of(&alice).await?;
    // To the bridge dora is somebody on WhatsApp.
    alice.wait_member(&room, &ghost(world, &doras), "join").await?;
    let dora = world.person("dora").await?;
    world.management(&dora).await?.login_by_qr(&world.phones, &doras).await?;
    ensure!(group.room_of(&dora).await? == room, "dora has another room");
    group.person_says(&dora, &doras, "here I am").await?;
    group.wait_at(&bob, "here I am").await.map(drop)
}

async fn who_is_logged_out_and_removed_leaves_the_room(world: &mut World) -> Result<()> {
    let Scene { alice, account, bob, .. } = scene(world).await?;
    let (dora, doras, _) = world.log_in("dora").await?;
    let group = Group::create(&world.phones, &bob, "Fewer", &[&account, &doras])?;
    let room = group.room_of(&alice).await?;
    group.room_of(&dora).await?;
    world.phones.unlink(&account.number)?;
    // Logged out she is still in the group, and in its room.
    group.phone_says(&bob, "alice is logged out").await?;
    group.wait_in_room(&dora, "alice is logged out").await?;
    ensure!(dora.members(&room).await?.contains(&alice.id().to_owned()), "who is logged out was thrown out");
    world.phones.simulator().change_participants(&bob.number, &group.jid, "remove", &[&account.number])?;
    dora.wait_member(&room, alice.id(), "leave").await.map(drop)
}

async fn old_powers_change_nothing(world: &mut World) -> Result<()> {
    let Scene { alice, account, bob, carol } = scene(world).await?;
    let group = Group::create(&world.phones, &account, "Powers", &[&bob, &carol])?;
    let room = group.room_of(&alice).await?;
    let levels =
        group.wait_state(&alice, "m.room.power_levels", "", |levels| levels["users"][alice.id()] == 75).await?;
    for friend in [&bob, &carol] {
        alice.wait_member(&room, &ghost(world, friend), "join").await?;
    }
    world.bridge.kill9()?;
    // Here alice makes it a group of announcements and carol an admin; on her phone she makes bob one.
    let mut changed = levels;
    changed["events_default"] = 50.into();
    changed["users"][ghost(world, &carol)] = 50.into();
    alice.set_state(&room, "m.room.power_levels", "", &changed).await?;
    let simulator = world.phones.simulator().clone();
    simulator.change_participants(&account.number, &group.jid, "promote", &[&bob.number])?;
    world.bridge.start().await?;
    let is_settled = |group: &whatsapp_sim::GroupInfo| {
        let role = |who: &str| group.members.iter().find(|member| member.number == who).map(|member| member.role);
        group.announce && role(&carol.number) == Some("admin") && role(&bob.number) == Some("admin")
    };
    simulator.wait_group(&group.jid, is_settled, wait::STEP).await?;
    group
        .wait_state(&alice, "m.room.power_levels", "", |levels| {
            [&bob, &carol].iter().all(|friend| levels["users"][ghost(world, friend)] == 50)
        })
        .await?;
    world.bridge.wait_idle().await?;
    ensure!(is_settled(&simulator.group(&group.jid).context("no group")?), "somebody is no admin any more");
    Ok(())
}

async fn who_may_write_is_said_once_in_words(world: &mut World) -> Result<()> {
    let bob = world.phones.create_account("bob")?;
    let (alice, account, _) = world.log_in("alice").await?;
    let group = Group::create(&world.phones, &bob, "News", &[&account])?;
    let room = group.room_of(&alice).await?;
    let simulator = world.phones.simulator().clone();
    let times = async |text: &str| -> Result<usize> {
        Ok(alice.history(&room).await?.iter().filter(|event| event.body().contains(text)).count())
    };
    die_at(world, "groups.after_closed", async |_| {
        simulator.set_group_setting(&bob.number, &group.jid, "announcement")
    })
    .await?;
    alice.wait_text(&room, "Only admins can write in this group").await?;
    world.bridge.restart().await?;
    group.phone_says(&bob, "hear, hear").await?;
    group.wait_in_room(&alice, "hear, hear").await?;
    simulator.set_group_setting(&bob.number, &group.jid, "not_announcement")?;
    alice.wait_text(&room, "Everybody can write in this group now").await?;
    world.bridge.wait_idle().await?;
    ensure!(times("Only admins can write").await? == 1 && times("Everybody can write").await? == 1, "said again");
    Ok(())
}
