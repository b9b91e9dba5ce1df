//! Channels: a room for all of ours who follow one, where it speaks, with counts of what its followers think of it.

use anyhow::{Context, Result, ensure};
use matrix_bed::person::{Event, Person};
use matrix_bed::phones::{Account, Phones};
use matrix_bed::wait;
use matrix_bed::world::World;
use serde_json::{Value, json};
use whatsapp_sim::{Kind, Media, MediaFaults, NewsletterInfo};

use crate::acts::{die_at, edits};
use crate::files::{event_of, picture};

matrix_bed::stories! {
    shared {
        a_channel_has_a_room_where_it_speaks
        two_people_share_the_room_of_a_channel
        posts_missed_while_away_come_once_and_in_order
        what_a_channel_says_it_may_change
        followers_react_and_counts_are_shown
        channels_are_followed_and_left_by_command
        an_owner_posts_from_matrix
        an_owner_posts_files
        a_channel_changes_and_ends
        killed_around_a_channel
        who_does_not_follow_does_nothing_in_a_channel
    }
}

/// A channel seen from all sides.
struct Channel {
    phones: Phones,
    owner: Account,
    jid: String,
}

impl Channel {
    fn create(world: &World, owner: &Account, name: &str, about: &str) -> Result<Self> {
        let jid = world.phones.simulator().create_newsletter(&owner.number, name, about)?;
        Ok(Self { phones: world.phones.clone(), owner: owner.clone(), jid })
    }

    fn follow(&self, account: &Account, follow: bool) -> Result<()> {
        self.phones.simulator().follow_newsletter(&account.number, &self.jid, follow)
    }

    async fn post(&self, text: &str) -> Result<String> {
        self.phones.send(&self.owner.number, &self.jid, text).await
    }

    fn info(&self) -> Result<NewsletterInfo> {
        self.phones.simulator().newsletter(&self.jid).context("no such channel")
    }

    /// The user its posts come from.
    fn ghost(&self, world: &World) -> String {
        let hex: String = self.jid.bytes().map(|byte| format!("{byte:02x}")).collect();
        world.bridge.slot().ghost(&format!("x-{hex}"))
    }

    async fn room_of(&self, person: &Person) -> Result<String> {
        let name = self.info()?.name;
        let named = |event: &Event| event.kind == "m.room.name" && event.content["name"] == name.as_str();
        Ok(person.wait_event(&format!("a room named {name:?}"), wait::STEP, named).await?.room)
    }

    fn react(&self, account: &Account, server_id: u64, code: &str) -> Result<()> {
        self.phones.simulator().react_to_post(&account.number, &self.jid, server_id, code)
    }

    fn edit(&self, post: &str, text: Option<&str>) -> Result<()> {
        self.phones.simulator().edit_post(&self.owner.number, &self.jid, post, text)
    }

    async fn wait(&self, what: &str, wanted: impl Fn(&NewsletterInfo) -> bool) -> Result<NewsletterInfo> {
        wait::until(what, wait::STEP, || async { Ok(Some(self.info()?).filter(|info| wanted(info))) }).await
    }
}

async fn wait_text(person: &Person, text: &str) -> Result<Event> {
    person.wait_event(&format!("{text:?}"), wait::STEP, |event| event.body() == text).await
}

/// The texts of a room's messages as the homeserver has them, oldest first.
async fn texts(person: &Person, room: &str) -> Result<Vec<String>> {
    let history = person.history(room).await?;
    let said = history.iter().filter(|event| event.kind == "m.room.message" && !event.body().is_empty());
    Ok(said.filter(|event| event.content["m.relates_to"].is_null()).map(|event| event.body().to_owned()).collect())
}

/// The keys of the reactions that stand under an event.
async fn pills(person: &Person, room: &str, event: &str) -> Result<Vec<(String, String)>> {
    let history = person.history(room).await?;
    let on_it = |other: &&Event| other.kind == "m.reaction" && other.content["m.relates_to"]["event_id"] == event;
    let read = |event: &Event| {
        let key = event.content["m.relates_to"]["key"].as_str().unwrap_or_default().to_owned();
        (event.sender.clone(), key)
    };
    let mut all: Vec<(String, String)> = history.iter().filter(on_it).map(read).collect();
    all.sort();
    Ok(all)
}

async fn wait_pills(person: &Person, event: &Event, what: &str, wanted: &[(&str, &str)]) -> Result<()> {
    let wanted: Vec<(String, String)> =
        wanted.iter().map(|(who, key)| ((*who).to_owned(), (*key).to_owned())).collect();
    wait::until(what, wait::STEP * 2, || async {
        Ok((pills(person, &event.room, &event.id).await? == wanted).then_some(()))
    })
    .await
    .with_context(|| format!("wanted {wanted:?}"))
}

/// The children of the spaces somebody is in.
async fn in_space(person: &Person, room: &str) -> Result<bool> {
    for space in person.rooms() {
        if let Some(child) = person.find_state(&space, "m.space.child", room).await? {
            return Ok(child["via"].is_array());
        }
    }
    Ok(false)
}

/// Waits until a piece of a room's state is as wanted.
async fn wait_state(person: &Person, room: &str, kind: &str, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
    wait::until(&format!("{kind} as wanted"), wait::STEP, || async {
        Ok(person.find_state(room, kind, "").await?.filter(|content| wanted(content)))
    })
    .await
}

async fn a_channel_has_a_room_where_it_speaks(world: &mut World) -> Result<()> {
    // One channel is followed before the login; another is not followed at all.
    let bob = world.phones.create_account("bob")?;
    let account = world.phones.create_account("alice")?;
    let news = Channel::create(world, &bob, "Village news", "What happens\nhere")?;
    world.phones.simulator().set_newsletter_picture(&bob.number, &news.jid, Some(tiny_jpeg()))?;
    for at in 0..13 {
        news.post(&format!("old news {at}")).await?;
    }
    news.follow(&account, true)?;
    Channel::create(world, &bob, "Gossip", "")?.post("not for alice").await?;
    let alice = world.person("alice").await?;
    world.management(&alice).await?.login_by_qr(&world.phones, &account).await?;
    let room = news.room_of(&alice).await?;
    let topic = wait_state(&alice, &room, "m.room.topic", |_| true).await?;
    ensure!(topic["topic"] == "What happens\nhere", "{topic}");
    wait_state(&alice, &room, "m.room.avatar", |avatar| avatar["url"].is_string()).await?;
    // The last of what it said before is there, in order.
    wait_text(&alice, "old news 12").await?;
    news.post("fresh news").await?;
    let fresh = wait_text(&alice, "fresh news").await?;
    ensure!(fresh.room == room && fresh.sender == news.ghost(world), "{} in {}", fresh.sender, fresh.room);
    let old: Vec<String> = (3..13).map(|at| format!("old news {at}")).chain(["fresh news".into()]).collect();
    ensure!(texts(&alice, &room).await? == old, "{:?}", texts(&alice, &room).await?);
    let member = alice.find_state(&room, "m.room.member", &fresh.sender).await?.unwrap_or_default();
    ensure!(member["displayname"].as_str().is_some_and(|name| name.starts_with("Village news")), "{member}");
    // A picture, which lies open on the servers.
    let image = Kind::Image(Media { caption: Some("the new bridge".into()), ..Media::default() });
    world.phones.simulator().send_kind(&bob.number, &news.jid, image).await?;
    let is_it = |event: &Event| event.room == room && event.is_message("m.image");
    let shown = alice.wait_event("a picture", wait::STEP, is_it).await?;
    ensure!(shown.content["url"].is_string() && shown.body() == "the new bridge", "{}", shown.content);
    ensure!(shown.sender == news.ghost(world), "{} shows it", shown.sender);
    // Nobody writes there, and it is in the space of her chats.
    ensure!(alice.send_text(&room, "my own news").await.is_err(), "a follower can write");
    wait::until("the room is in the space", wait::STEP, || async { Ok(in_space(&alice, &room).await?.then_some(())) })
        .await?;
    world.bridge.restart().await?;
    news.post("later news").await?;
    ensure!(wait_text(&alice, "later news").await?.room == room, "another room after the start");
    let now = texts(&alice, &room).await?;
    ensure!(now.iter().filter(|text| *text == "later news").count() == 1 && now.len() == old.len() + 2, "{now:?}");
    ensure!(!alice.rooms().is_empty(), "no rooms");
    for room in alice.rooms() {
        let name = alice.find_state(&room, "m.room.name", "").await?.unwrap_or_default();
        ensure!(name["name"] != "Gossip", "a channel she does not follow has a room");
    }
    Ok(())
}

async fn two_people_share_the_room_of_a_channel(world: &mut World) -> Result<()> {
    let bob = world.phones.create_account("bob")?;
    let (alice, alices, _) = world.log_in("alice").await?;
    let (dora, doras, _) = world.log_in("dora").await?;
    let news = Channel::create(world, &bob, "News for two", "")?;
    news.follow(&alices, true)?;
    let room = news.room_of(&alice).await?;
    news.post("before dora came").await?;
    wait_text(&alice, "before dora came").await?;
    news.follow(&doras, true)?;
    ensure!(news.room_of(&dora).await? == room, "they have two rooms");
    for at in 0..5 {
        news.post(&format!("for both {at}")).await?;
    }
    wait_text(&dora, "for both 4").await?;
    let wanted = ["before dora came", "for both 0", "for both 1", "for both 2", "for both 3", "for both 4"];
    ensure!(texts(&dora, &room).await? == wanted, "{:?}", texts(&dora, &room).await?);
    // One follows no more; the other hears on.
    news.follow(&alices, false)?;
    alice.wait_member(&room, alice.id(), "leave").await?;
    news.post("for dora alone").await?;
    wait_text(&dora, "for dora alone").await?;
    wait::until("the room is out of the space", wait::STEP, || async {
        Ok((!in_space(&alice, &room).await?).then_some(()))
    })
    .await?;
    // And comes back to what was said meanwhile.
    news.follow(&alices, true)?;
    news.post("for both again").await?;
    let again = wait_text(&alice, "for both again").await?;
    ensure!(again.room == room, "another room");
    let now = texts(&alice, &room).await?;
    ensure!(now.len() == wanted.len() + 2 && now.contains(&"for dora alone".to_owned()), "{now:?}");
    Ok(())
}

async fn posts_missed_while_away_come_once_and_in_order(world: &mut World) -> Result<()> {
    let bob = world.phones.create_account("bob")?;
    let (alice, account, _) = world.log_in("alice").await?;
    let news = Channel::create(world, &bob, "News of all days", "")?;
    news.follow(&account, true)?;
    let first = news.post("day 0").await?;
    let room = news.room_of(&alice).await?;
    let day_0 = wait_text(&alice, "day 0").await?;
    world.bridge.kill9()?;
    let gone = news.post("day 1, taken back").await?;
    for day in 2..70 {
        news.post(&format!("day {day}")).await?;
    }
    news.edit(&first, Some("day 0, corrected"))?;
    news.edit(&gone, None)?;
    // What the server kept for the device is lost too: only what the channel keeps is left.
    world.phones.simulator().drop_offline(&account.number)?;
    world.bridge.start().await?;
    wait_text(&alice, "day 69").await?;
    news.post("day 70").await?;
    wait_text(&alice, "day 70").await?;
    let wanted: Vec<String> = [0].into_iter().chain(2..71).map(|day| format!("day {day}")).collect();
    ensure!(texts(&alice, &room).await? == wanted, "{:?}", texts(&alice, &room).await?);
    alice.wait_event("the correction", wait::STEP, |event| edits(event, &day_0.id)).await?;
    Ok(())
}

async fn what_a_channel_says_it_may_change(world: &mut World) -> Result<()> {
    let bob = world.phones.create_account("bob")?;
    let (alice, account, _) = world.log_in("alice").await?;
    let news = Channel::create(world, &bob, "Changing news", "")?;
    news.follow(&account, true)?;
    news.room_of(&alice).await?;
    let post = news.post("frist").await?;
    let event = wait_text(&alice, "frist").await?;
    for text in ["first", "first of all", "first"] {
        news.edit(&post, Some(text))?;
        let shown = alice
            .wait_event(text, wait::STEP, |other| edits(other, &event.id) && other.newest_content()["body"] == text);
        ensure!(shown.await?.sender == event.sender, "somebody else edits");
    }
    news.edit(&post, None)?;
    wait::until("the post is removed", wait::STEP, || async {
        let history = alice.history(&event.room).await?;
        let now = history.iter().find(|now| now.id == event.id).context("the post is not in the room")?;
        Ok(now.content.as_object().is_none_or(serde_json::Map::is_empty).then_some(()))
    })
    .await
}

async fn followers_react_and_counts_are_shown(world: &mut World) -> Result<()> {
    let bob = world.phones.create_account("bob")?;
    let carol = world.phones.create_account("carol")?;
    let (alice, account, management) = world.log_in("alice").await?;
    let news = Channel::create(world, &bob, "Loved news", "")?;
    for follower in [&account, &carol] {
        news.follow(follower, true)?;
    }
    news.room_of(&alice).await?;
    let post = news.post("good news").await?;
    let event = wait_text(&alice, "good news").await?;
    let ghost = news.ghost(world);
    // She opens the room, so the channel tells what becomes of it.
    alice.read_up_to(&event.room, &event.id).await?;
    news.wait("she has seen it", |info| info.posts[0].views > 0).await?;
    news.react(&carol, 100, "👍")?;
    wait_pills(&alice, &event, "carol's reaction", &[(&ghost, "👍 1")]).await?;
    // Her own reaction stands by itself and is not counted twice.
    let relation = json!({ "rel_type": "m.annotation", "event_id": event.id, "key": "👍 1" });
    let own = alice.send(&event.room, "m.reaction", &json!({ "m.relates_to": relation })).await?;
    news.wait("her reaction", |info| info.posts[0].reactions.get("👍") == Some(&2)).await?;
    news.react(&bob, 100, "👍")?;
    let mut wanted = [(ghost.as_str(), "👍 2"), (alice.id(), "👍 1")];
    wanted.sort_unstable();
    wait_pills(&alice, &event, "bob's reaction", &wanted).await?;
    world.bridge.kill9()?;
    news.react(&bob, 100, "❤️")?;
    world.bridge.start().await?;
    let mut wanted = [(ghost.as_str(), "👍 1"), (ghost.as_str(), "❤️ 1"), (alice.id(), "👍 1")];
    wanted.sort_unstable();
    wait_pills(&alice, &event, "what changed while away", &wanted).await?;
    alice.redact(&event.room, &own).await?;
    news.wait("it is taken back", |info| info.posts[0].reactions.get("👍") == Some(&1)).await?;
    // Views are told when somebody asks.
    world.phones.simulator().view_posts(&carol.number, &news.jid, &[post])?;
    let told = management.ask("channel loved news", "The newest post: 2 views, ").await?;
    ensure!(told.body().contains("https://whatsapp.com/channel/"), "{}", told.body());
    Ok(())
}

async fn channels_are_followed_and_left_by_command(world: &mut World) -> Result<()> {
    let bob = world.phones.create_account("bob")?;
    let (alice, account, management) = world.log_in("alice").await?;
    let news = Channel::create(world, &bob, "Wanted news", "All that is wanted")?;
    news.post("said before").await?;
    let link = format!("https://whatsapp.com/channel/{}", news.info()?.invite);
    management.ask(&format!("resolve-link {link}"), "Wanted news: a channel (1 follower)").await?;
    ensure!(news.info()?.followers.is_empty(), "looking is following");
    management.ask(&format!("join {link}"), "channel's link").await?;
    management.ask("follow https://whatsapp.com/channel/0029nosuchchannel", "knows no such channel").await?;
    management.ask("follow me", "Say `follow <channel link>`").await?;
    management.ask(&format!("follow {link}"), "The chat is here").await?;
    ensure!(news.info()?.followers == [account.number.clone()], "{:?}", news.info()?.followers);
    let room = news.room_of(&alice).await?;
    let said = wait_text(&alice, "said before").await?;
    ensure!(said.room == room, "another room");
    management.ask("unfollow", "This is no channel's room").await?;
    management.ask("chats wanted", "Wanted news (").await?;
    management.ask("unfollow some news", "You follow no such channel").await?;
    management.ask("unfollow wanted news", "do not follow the channel any more").await?;
    alice.wait_member(&room, alice.id(), "leave").await?;
    news.wait("nobody follows", |info| info.followers.is_empty()).await?;
    management.ask(&format!("follow {}", news.jid), "The chat is here").await?;
    news.post("said after").await?;
    ensure!(wait_text(&alice, "said after").await?.room == room, "another room after coming back");
    Ok(())
}

async fn an_owner_posts_from_matrix(world: &mut World) -> Result<()> {
    let carol = world.phones.create_account("carol")?;
    let (alice, account, _) = world.log_in("alice").await?;
    let own = Channel::create(world, &account, "Alice's news", "")?;
    own.follow(&carol, true)?;
    let room = own.room_of(&alice).await?;
    wait_state(&alice, &room, "m.room.power_levels", |levels| levels["users"][alice.id()] == 50).await?;
    let event = alice.send_text(&room, "by my own hand").await?;
    let info = own.wait("the post", |info| info.posts.len() == 1).await?;
    ensure!(info.posts[0].text.as_deref() == Some("by my own hand"), "{:?}", info.posts);
    own.post("from my phone").await?;
    let from_phone = wait_text(&alice, "from my phone").await?;
    ensure!(from_phone.sender == own.ghost(world), "{} said it", from_phone.sender);
    let edit = json!({
        "msgtype": "m.text", "body": "* by my own hands",
        "m.new_content": { "msgtype": "m.text", "body": "by my own hands" },
        "m.relates_to": { "rel_type": "m.replace", "event_id": event },
    });
    alice.send(&room, "m.room.message", &edit).await?;
    own.wait("the edit", |info| info.posts[0].text.as_deref() == Some("by my own hands")).await?;
    // Who may write there may say commands there.
    alice.send_text(&room, "!wa mute").await?;
    own.wait("the channel is muted", |info| info.muted.contains(&account.number)).await?;
    alice.send_text(&room, "!wa unfollow").await?;
    alice
        .wait_event("a refusal", wait::STEP, |event| event.body().contains("You are an admin of this channel"))
        .await?;
    // What can not be posted is told.
    let place = json!({ "msgtype": "m.location", "body": "here", "geo_uri": "geo:1,2" });
    alice.send(&room, "m.room.message", &place).await?;
    alice.wait_event("a refusal", wait::STEP, |event| event.body().contains("only texts and files")).await?;
    alice.redact(&room, &event).await?;
    own.wait("it is taken back", |info| info.posts[0].text.is_none()).await?;
    world.bridge.kill9()?;
    world.bridge.start().await?;
    own.post("after the start").await?;
    wait_text(&alice, "after the start").await?;
    world.bridge.wait_idle().await?;
    let said = texts(&alice, &room).await?;
    let count = |text: &str| said.iter().filter(|said| *said == text).count();
    ensure!(count("by my own hand") == 0 && count("from my phone") == 1 && count("after the start") == 1, "{said:?}");
    ensure!(own.info()?.posts.len() == 3, "{:?}", own.info()?.posts);
    Ok(())
}

/// Kept by the server as it is, named by its handle, once, whatever happens on the way.
async fn an_owner_posts_files(world: &mut World) -> Result<()> {
    let carol = world.phones.create_account("carol")?;
    let (alice, account, _) = world.log_in("alice").await?;
    let own = Channel::create(world, &account, "Alice's pictures", "")?;
    own.follow(&carol, true)?;
    let room = own.room_of(&alice).await?;
    wait_state(&alice, &room, "m.room.power_levels", |levels| levels["users"][alice.id()] == 50).await?;
    let features = alice.find_state(&room, "com.beeper.room_features", "").await?.context("it says nothing")?;
    ensure!(features["poll"] == -2 && features["file"]["m.image"]["mime_types"]["image/*"] == 2, "{features}");
    // The first upload is broken off.
    let simulator = world.phones.simulator().clone();
    simulator.set_media_faults(MediaFaults { cut_uploads: vec![100], ..MediaFaults::default() });
    let photo = picture(320, 240, image::ImageFormat::Jpeg);
    let mxc = alice.client().upload(photo.clone(), "image/jpeg", "a.jpg").await?;
    let shown = event_of("m.image", &mxc, "a.jpg", "image/jpeg", "a photo");
    let event = alice.send(&room, "m.room.message", &shown).await?;
    let info = own.wait("the photo", |info| info.posts.len() == 1).await?;
    let post = &info.posts[0];
    ensure!(post.mediatype.as_deref() == Some("image") && post.media_id.is_some(), "{post:?}");
    ensure!(simulator.received_media(&carol.number, &post.id).await? == photo, "a follower sees another picture");
    let edit = json!({
        "msgtype": "m.image", "body": "* my photo", "filename": "a.jpg", "url": mxc,
        "m.new_content": event_of("m.image", &mxc, "a.jpg", "image/jpeg", "my photo"),
        "m.relates_to": { "rel_type": "m.replace", "event_id": event },
    });
    alice.send(&room, "m.room.message", &edit).await?;
    wait::until("its new words", wait::STEP, || async {
        let shown = world.phones.inbox(&carol.number).into_iter();
        Ok(shown.map(|item| item.message.to_string()).find(|message| message.contains("my photo")))
    })
    .await?;
    // The same post again, with what the servers keep of the file.
    let paper = b"what the paper says".to_vec();
    let mxc = alice.client().upload(paper.clone(), "application/pdf", "paper.pdf").await?;
    let shown = event_of("m.file", &mxc, "paper.pdf", "application/pdf", "");
    // The credentials the bridge has do not do any more.
    simulator.expire_media_auth(401);
    alice.send(&room, "m.room.message", &shown).await?;
    own.wait("a paper with new credentials", |info| info.posts.len() == 2).await?;
    for (point, wanted) in [("files.after_upload", 3), ("from_mx.after_reserve", 4)] {
        // What is settled is not tried again, so the point is met by what comes now.
        world.bridge.wait_idle().await?;
        die_at(world, point, async |_| alice.send(&room, "m.room.message", &shown).await.map(drop)).await?;
        own.wait(point, |info| info.posts.len() == wanted).await?;
    }
    world.bridge.wait_idle().await?;
    let posts = own.info()?.posts;
    let papers: Vec<_> = posts.iter().filter(|post| post.mediatype.as_deref() == Some("document")).collect();
    ensure!(posts.len() == 4 && papers.len() == 3, "{posts:?}");
    for post in papers {
        ensure!(simulator.received_media(&carol.number, &post.id).await? == paper, "a follower gets another paper");
    }
    Ok(())
}

async fn a_channel_changes_and_ends(world: &mut World) -> Result<()> {
    let bob = world.phones.create_account("bob")?;
    let (alice, account, _) = world.log_in("alice").await?;
    let news = Channel::create(world, &bob, "Old name", "")?;
    news.follow(&account, true)?;
    let room = news.room_of(&alice).await?;
    let simulator = world.phones.simulator().clone();
    simulator.mute_newsletter(&account.number, &news.jid, true)?;
    let muted = "UPDATE chat_mark SET kind = kind WHERE kind = 'mute' AND value = -1";
    wait::until("the mute is kept", wait::STEP, || async {
        Ok((world.database.execute(muted).await? == 1).then_some(()))
    })
    .await?;
    simulator.update_newsletter(&bob.number, &news.jid, Some("New name"), Some("and a description"))?;
    wait_state(&alice, &room, "m.room.name", |name| name["name"] == "New name").await?;
    wait_state(&alice, &room, "m.room.topic", |topic| topic["topic"] == "and a description").await?;
    simulator.set_newsletter_picture(&bob.number, &news.jid, Some(tiny_jpeg()))?;
    wait_state(&alice, &room, "m.room.avatar", |avatar| avatar["url"].is_string()).await?;
    // While nobody looks.
    world.bridge.kill9()?;
    simulator.update_newsletter(&bob.number, &news.jid, Some("Newest name"), None)?;
    simulator.set_newsletter_picture(&bob.number, &news.jid, None)?;
    simulator.drop_offline(&account.number)?;
    world.bridge.start().await?;
    wait_state(&alice, &room, "m.room.name", |name| name["name"] == "Newest name").await?;
    wait_state(&alice, &room, "m.room.avatar", |avatar| avatar["url"].is_null()).await?;
    simulator.delete_newsletter(&bob.number, &news.jid)?;
    alice.wait_member(&room, alice.id(), "leave").await?;
    Ok(())
}

async fn killed_around_a_channel(world: &mut World) -> Result<()> {
    let bob = world.phones.create_account("bob")?;
    let carol = world.phones.create_account("carol")?;
    let (alice, account, management) = world.log_in("alice").await?;
    let news = Channel::create(world, &bob, "News of kills", "")?;
    news.follow(&carol, true)?;
    let link = format!("https://whatsapp.com/channel/{}", news.info()?.invite);
    die_at(world, "channels.after_follow", async |_| {
        alice.send_text(management.room(), &format!("follow {link}")).await.map(drop)
    })
    .await?;
    management.wait_notice("the answer", |event| event.body().contains("The chat is here")).await?;
    let room = news.room_of(&alice).await?;
    for point in ["channels.before_store", "channels.after_store", "from_wa.after_reserve", "from_wa.after_send"] {
        let text = format!("posted, then {point}");
        die_at(world, point, async |_| {
            news.post(&text).await?;
            news.post(&format!("{text}, and on")).await.map(drop)
        })
        .await?;
        wait_text(&alice, &format!("{text}, and on")).await?;
    }
    let event = wait_text(&alice, "posted, then channels.before_store").await?;
    let ghost = news.ghost(world);
    for (point, code) in [("channels.after_plan", "👍"), ("channels.after_pill", "❤️")] {
        news.react(&carol, 100, code)?;
        die_at(world, point, async |_| Ok(())).await?;
        let wanted = format!("{code} 1");
        wait_pills(&alice, &event, point, &[(&ghost, wanted.as_str())]).await?;
    }
    let other = Channel::create(world, &bob, "Another one", "")?;
    die_at(world, "channels.after_room", async |_| other.follow(&account, true)).await?;
    other.post("in the other").await?;
    ensure!(wait_text(&alice, "in the other").await?.room == other.room_of(&alice).await?, "it is elsewhere");
    let said = texts(&alice, &room).await?;
    ensure!(said.len() == 8, "{said:?}");
    for (earlier, later) in said.iter().zip(said.iter().skip(1)).step_by(2) {
        ensure!(*later == format!("{earlier}, and on"), "{said:?}");
    }
    let mut rooms = Vec::new();
    for room in alice.rooms() {
        let name = alice.find_state(&room, "m.room.name", "").await?.unwrap_or_default();
        rooms.extend(
            name["name"].as_str().filter(|name| ["News of kills", "Another one"].contains(name)).map(str::to_owned),
        );
    }
    ensure!(rooms.len() == 2, "{rooms:?}");
    Ok(())
}

async fn who_does_not_follow_does_nothing_in_a_channel(world: &mut World) -> Result<()> {
    let bob = world.phones.create_account("bob")?;
    let (alice, account, _) = world.log_in("alice").await?;
    let (mallory, _, _) = world.log_in("mallory").await?;
    let news = Channel::create(world, &bob, "News for some", "")?;
    news.follow(&account, true)?;
    let room = news.room_of(&alice).await?;
    let post = news.post("for those who follow").await?;
    let event = wait_text(&alice, "for those who follow").await?;
    // Somebody with an account of her own, who does not follow, gets in.
    ensure!(alice.invite(&room, mallory.id()).await.is_err(), "a follower can invite");
    let (client, bot) = (world.synapse.appservice(world.bridge.slot())?, world.bridge.slot().bot());
    let path = ["_matrix", "client", "v3", "rooms", &room, "invite"];
    let body = json!({ "user_id": mallory.id() });
    client.call(reqwest::Method::POST, &path, &[("user_id", &bot)], Some(&body)).await?;
    mallory.join(&room).await?;
    let relation = json!({ "rel_type": "m.annotation", "event_id": event.id, "key": "👎" });
    mallory.send(&room, "m.reaction", &json!({ "m.relates_to": relation })).await?;
    mallory.wait_event("a word about it", wait::STEP, |event| event.body().contains("follows this channel")).await?;
    mallory.send_text(&room, "!wa unfollow").await.ok();
    ensure!(mallory.send_text(&room, "words").await.is_err(), "she can write");
    world.bridge.wait_idle().await?;
    let info = news.info()?;
    ensure!(info.posts[0].reactions.is_empty() && info.followers == [account.number.clone()], "{info:?}");
    ensure!(info.posts[0].id == post && info.posts[0].views == 0, "{info:?}");
    Ok(())
}

/// A picture of one pixel.
fn tiny_jpeg() -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(1, 1).write_to(&mut bytes, image::ImageFormat::Jpeg).unwrap();
    bytes.into_inner()
}
