//! Chats opened from Matrix: by number, by inviting a ghost, by link, by command.

use anyhow::{Context, Result, ensure};
use matrix_bed::group::Group;
use matrix_bed::person::Person;
use matrix_bed::phones::Account;
use matrix_bed::wait;
use matrix_bed::world::World;
use serde_json::json;
use whatsapp_sim::Kind;

use super::acts::die_at;
use super::groups::ghost;

matrix_bed::stories! {
    shared {
        a_chat_is_opened_by_number
        inviting_a_ghost_opens_its_chat
        a_group_is_made_of_a_room
        killed_while_a_room_becomes_a_group
        groups_are_joined_by_link
        an_invitation_is_accepted_by_answering_it
        a_group_is_left_by_command
    }
}

/// The room a link in a text leads to.
fn room_in(text: &str) -> Result<String> {
    let (_, room) = text.split_once("https://matrix.to/#/").context("no link")?;
    Ok(room.split_whitespace().next().unwrap_or_default().to_owned())
}

/// Waits until somebody is in a room.
async fn wait_joined(person: &Person, room: &str) -> Result<()> {
    let what = format!("{} is in {room}", person.name());
    wait::until(&what, wait::STEP, || async { Ok(person.rooms().iter().any(|known| known == room).then_some(())) })
        .await
}

async fn a_chat_is_opened_by_number(world: &mut World) -> Result<()> {
    let bob = world.phones.create_account("bob")?;
    let carol = world.phones.create_account_by_number("carol")?;
    let (alice, account, management) = world.log_in("alice").await?;
    let bot_room = management.room().to_owned();
    alice.send_text(&bot_room, "start-chat hello").await?;
    alice.wait_text(&bot_room, "with its country code").await?;
    alice.send_text(&bot_room, "start-chat +1 202 555 0199").await?;
    alice.wait_text(&bot_room, "+12025550199 is not on WhatsApp").await?;
    for friend in [&bob, &carol] {
        let seen = alice.events(&bot_room).len();
        alice.send_text(&bot_room, &format!("start-chat +{}", friend.number)).await?;
        let told = wait::until("the link", wait::STEP, || async {
            let events = alice.events(&bot_room);
            Ok(events.into_iter().skip(seen).find(|event| event.body().contains("The chat is here")))
        });
        let room = room_in(told.await?.body())?;
        wait_joined(&alice, &room).await?;
        let hello = format!("hello {}, says alice", friend.name);
        alice.send_text(&room, &hello).await?;
        let arrived = wait::until("it arrives", wait::STEP, || async {
            Ok(world.phones.inbox(&friend.number).into_iter().find(|item| item.text.as_deref() == Some(hello.as_str())))
        });
        arrived.await?;
        // What they answer comes into the same room.
        let answer = format!("hello alice, says {}", friend.name);
        world.phones.send(&friend.number, &account.number, &answer).await?;
        let event = alice.wait_event(&answer, wait::STEP, |event| event.body() == answer).await?;
        ensure!(event.room == room, "the answer came into another room");
    }
    Ok(())
}

async fn inviting_a_ghost_opens_its_chat(world: &mut World) -> Result<()> {
    let bob = world.phones.create_account("bob")?;
    let (alice, account, _) = world.log_in("alice").await?;
    let group = Group::create(&world.phones, &bob, "Where they met", &[&account])?;
    let shared = group.room_of(&alice).await?;
    alice.wait_member(&shared, &ghost(world, &bob), "join").await?;
    let asked = alice.create_dm(&ghost(world, &bob)).await?;
    let told = alice.wait_text(&asked, "Our WhatsApp chat is here").await?;
    let room = room_in(told.body())?;
    wait_joined(&alice, &room).await?;
    alice.wait_member(&asked, &ghost(world, &bob), "leave").await?;
    alice.send_text(&room, "just the two of us").await?;
    let chat = wait::until("it arrives", wait::STEP, || async {
        let items = world.phones.inbox(&bob.number);
        Ok(items.into_iter().find(|item| item.text.as_deref() == Some("just the two of us")))
    });
    ensure!(!chat.await?.chat.ends_with("@g.us"), "it went to the group");
    // Somebody without a login gets nothing of it.
    let eve = world.person("eve").await?;
    let asked = eve.create_dm(&ghost(world, &bob)).await?;
    eve.wait_member(&asked, &ghost(world, &bob), "leave").await.map(drop)
}

/// A room of alice's with bot and contacts in it; the contacts' ghosts are met in a group before.
async fn room_with(world: &World, alice: &Person, account: &Account, friends: &[&Account]) -> Result<String> {
    let bot = world.bridge.slot().bot();
    let others: Vec<&Account> = [account].into_iter().chain(friends.iter().skip(1).copied()).collect();
    let first = Group::create(&world.phones, friends[0], "Where they met", &others)?;
    let shared = first.room_of(alice).await?;
    for friend in friends {
        alice.wait_member(&shared, &ghost(world, friend), "join").await?;
    }
    let settings = json!({ "name": "Picnic on Sunday", "topic": "Bring cake", "preset": "private_chat" });
    let room = alice.create_room(&settings).await?;
    alice.invite(&room, &bot).await?;
    alice.wait_member(&room, &bot, "join").await?;
    Ok(room)
}

async fn invite_friends(world: &World, alice: &Person, room: &str, friends: &[&Account]) -> Result<()> {
    for friend in friends {
        alice.invite(room, &ghost(world, friend)).await?;
        alice.wait_member(room, &ghost(world, friend), "join").await?;
    }
    Ok(())
}

async fn let_the_bot_rule(world: &World, alice: &Person, room: &str) -> Result<()> {
    let mut powers = alice.find_state(room, "m.room.power_levels", "").await?.unwrap_or_default();
    powers["users"][world.bridge.slot().bot().as_str()] = json!(100);
    alice.set_state(room, "m.room.power_levels", "", &powers).await.map(drop)
}

fn named(world: &World, subject: &str) -> Vec<whatsapp_sim::GroupInfo> {
    world.phones.simulator().groups().into_iter().filter(|group| group.subject == subject).collect()
}

async fn wait_phone(world: &World, account: &Account, text: &str) -> Result<()> {
    wait::until(text, wait::STEP, || async {
        let items = world.phones.inbox(&account.number);
        Ok(items.into_iter().any(|item| item.text.as_deref() == Some(text)).then_some(()))
    })
    .await
}

async fn a_group_is_made_of_a_room(world: &mut World) -> Result<()> {
    let (bob, carol) = (world.phones.create_account("bob")?, world.phones.create_account("carol")?);
    let (alice, account, _) = world.log_in("alice").await?;
    let room = room_with(world, &alice, &account, &[&bob, &carol]).await?;
    alice.send_text(&room, "!wa create-group").await?;
    alice.wait_text(&room, "an administrator of this room").await?;
    let_the_bot_rule(world, &alice, &room).await?;
    alice.send_text(&room, "!wa create-group").await?;
    alice.wait_text(&room, "Nobody from WhatsApp is in this room").await?;
    invite_friends(world, &alice, &room, &[&bob, &carol]).await?;
    // Who has no account makes none.
    let eve = world.person("eve").await?;
    alice.invite(&room, eve.id()).await?;
    eve.join(&room).await?;
    eve.send_text(&room, "!wa create-group").await?;
    eve.wait_text(&room, "You are not logged in").await?;
    // Nor does a guest with an account make somebody's room theirs.
    let (mallory, _, _) = world.log_in("mallory").await?;
    alice.invite(&room, mallory.id()).await?;
    mallory.join(&room).await?;
    mallory.send_text(&room, "!wa create-group").await?;
    mallory.wait_text(&room, "Only who may change the powers in this room").await?;
    mallory.leave(&room).await?;
    ensure!(named(world, "Picnic on Sunday").is_empty(), "there is a group already");
    alice.send_text(&room, "!wa create-group").await?;
    alice.wait_text(&room, "This room is the WhatsApp group now").await?;
    let made = named(world, "Picnic on Sunday");
    ensure!(made.len() == 1 && made[0].members.len() == 3, "{} groups were made", made.len());
    alice.send_text(&room, "who brings the cake?").await?;
    for friend in [&bob, &carol] {
        wait_phone(world, friend, "who brings the cake?").await?;
    }
    // What is said in the group comes into this very room, and its topic is the group's.
    let group = Group::of(&world.phones, &made[0].jid);
    group.phone_says(&bob, "I do").await?;
    ensure!(group.wait_in_room(&alice, "I do").await?.room == room, "the group has another room");
    wait::until("the topic", wait::STEP, || async {
        let group = world.phones.simulator().group(&made[0].jid).context("no group")?;
        Ok((group.description.as_deref() == Some("Bring cake")).then_some(()))
    })
    .await?;
    alice.send_text(&room, "!wa create-group Another").await?;
    alice.wait_text(&room, "is a WhatsApp chat already").await?;
    // Somebody who comes to the group comes into the room.
    let dave = world.phones.create_account("dave")?;
    world.phones.simulator().change_participants(&account.number, &made[0].jid, "add", &[&dave.number])?;
    alice.wait_member(&room, &ghost(world, &dave), "join").await.map(drop)
}

async fn killed_while_a_room_becomes_a_group(world: &mut World) -> Result<()> {
    let bob = world.phones.create_account("bob")?;
    let (alice, account, _) = world.log_in("alice").await?;
    for point in ["groups.after_create", "groups.before_adoption", "groups.after_adoption"] {
        let room = room_with(world, &alice, &account, &[&bob]).await?;
        let_the_bot_rule(world, &alice, &room).await?;
        invite_friends(world, &alice, &room, &[&bob]).await?;
        let subject = format!("Made around {point}");
        die_at(world, point, async |_| alice.send_text(&room, &format!("!wa create-group {subject}")).await.map(drop))
            .await?;
        alice.wait_text(&room, "This room is the WhatsApp group now").await?;
        let made = named(world, &subject);
        ensure!(made.len() == 1, "{} groups were made", made.len());
        let group = Group::of(&world.phones, &made[0].jid);
        wait::until("the topic", wait::STEP, || async {
            let group = world.phones.simulator().group(&made[0].jid).context("no group")?;
            let shown = alice.find_state(&room, "m.room.topic", "").await?.unwrap_or_default();
            Ok((group.description.as_deref() == Some("Bring cake") && shown["topic"] == "Bring cake").then_some(()))
        })
        .await
        .with_context(|| format!("after {point}"))?;
        group.phone_says(&bob, &format!("said after {point}")).await?;
        let said = group.wait_in_room(&alice, &format!("said after {point}")).await?;
        ensure!(said.room == room, "the group has another room after {point}");
    }
    Ok(())
}

async fn groups_are_joined_by_link(world: &mut World) -> Result<()> {
    let bob = world.phones.create_account("bob")?;
    let (alice, account, management) = world.log_in("alice").await?;
    let bot_room = management.room().to_owned();
    let simulator = world.phones.simulator().clone();
    let open = Group::create(&world.phones, &bob, "Open to all", &[])?;
    simulator.set_group_description(&bob.number, &open.jid, Some("come in"))?;
    let link = format!("https://chat.whatsapp.com/{}", simulator.group_invite(&bob.number, &open.jid, false)?);
    alice.send_text(&bot_room, &format!("resolve-link {link}")).await?;
    let told = alice.wait_text(&bot_room, "Open to all").await?;
    ensure!(told.body().contains("come in") && !told.body().contains("matrix.to"), "{}", told.body());
    ensure!(simulator.group(&open.jid).context("no group")?.members.len() == 1, "looking is joining");
    alice.send_text(&bot_room, &format!("join {link}")).await?;
    let room = room_in(alice.wait_text(&bot_room, "The chat is here").await?.body())?;
    wait_joined(&alice, &room).await?;
    open.phone_says(&bob, "you came by the link").await?;
    ensure!(open.wait_in_room(&alice, "you came by the link").await?.room == room);
    // Where admins decide, the room comes when they did.
    let closed = Group::create(&world.phones, &bob, "Behind a door", &[])?;
    simulator.set_group_setting(&bob.number, &closed.jid, "approval")?;
    let code = simulator.group_invite(&bob.number, &closed.jid, false)?;
    alice.send_text(&bot_room, &format!("join {code}")).await?;
    alice.wait_text(&bot_room, "has to let you in").await?;
    simulator.answer_requests(&bob.number, &closed.jid, true, &[&account.number])?;
    closed.phone_says(&bob, "welcome behind the door").await?;
    closed.wait_in_room(&alice, "welcome behind the door").await?;
    // A link that is none is told.
    alice.send_text(&bot_room, "join https://chat.whatsapp.com/nothingIsHere12345").await?;
    alice.wait_text(&bot_room, "knows no such group").await?;
    // In its room an admin gets the link; others are told that they may not.
    simulator.change_participants(&bob.number, &open.jid, "promote", &[&account.number])?;
    alice.send_text(&room, "!wa invite-link").await?;
    alice.wait_text(&room, &link).await?;
    Ok(())
}

async fn an_invitation_is_accepted_by_answering_it(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let simulator = world.phones.simulator().clone();
    let (alice, room) = (chat.person().clone(), chat.room()?);
    let group = Group::create(&world.phones, chat.contact(), "By invitation", &[])?;
    // The code of a personal invitation is made when an add is refused for privacy.
    simulator.set_group_adds(&chat.login().number, false)?;
    let people = [chat.login().number.as_str()];
    let refused = simulator.change_participants(&chat.contact().number, &group.jid, "add", &people)?;
    let code = refused.first().and_then(|result| result.invite.clone()).context("no code")?;
    let invite = Kind::GroupInvite {
        group: group.jid.clone(),
        code,
        name: "By invitation".into(),
        expiration: None,
        caption: None,
    };
    simulator.send_kind(&chat.contact().number, &chat.login().number, invite).await?;
    let shown = alice.wait_text(&room, "Invitation to the WhatsApp group").await?;
    alice.send_text(&room, "!wa accept").await?;
    alice.wait_text(&room, "Answer the message that holds the invitation").await?;
    let answer = json!({ "msgtype": "m.text", "body": "!wa accept",
        "m.relates_to": { "m.in_reply_to": { "event_id": shown.id } } });
    alice.send(&room, "m.room.message", &answer).await?;
    let told = alice.wait_text(&room, "The chat is here").await?;
    wait_joined(&alice, &room_in(told.body())?).await?;
    group.phone_says(chat.contact(), "you accepted").await?;
    group.wait_in_room(&alice, "you accepted").await.map(drop)
}

async fn a_group_is_left_by_command(world: &mut World) -> Result<()> {
    let bob = world.phones.create_account("bob")?;
    let (alice, account, management) = world.log_in("alice").await?;
    let group = Group::create(&world.phones, &bob, "Too loud", &[&account])?;
    let room = group.room_of(&alice).await?;
    alice.wait_member(&room, &ghost(world, &bob), "join").await?;
    // Who has no account in it can not leave for her.
    let eve = world.person("eve").await?;
    alice.invite(&room, eve.id()).await?;
    eve.join(&room).await?;
    eve.send_text(&room, "!wa leave-group yes").await?;
    eve.wait_text(&room, "Only the owner of this chat's WhatsApp account").await?;
    alice.send_text(&room, "!wa leave-group").await?;
    alice.wait_text(&room, "leave-group yes").await?;
    ensure!(world.phones.simulator().group(&group.jid).context("no group")?.members.len() == 2, "left without a yes");
    alice.send_text(&room, "!wa leave-group yes").await?;
    alice.wait_text(management.room(), "You have left the group").await?;
    wait::until("alice is out of the room", wait::STEP, || async {
        Ok(alice.members(&room).await.is_err().then_some(()))
    })
    .await?;
    ensure!(world.phones.simulator().group(&group.jid).context("no group")?.members.len() == 1, "she is still in it");
    Ok(())
}
