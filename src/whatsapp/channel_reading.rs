//! Channels read: which a login follows, what they are, and their posts, asked for and stored.

use super::channel_acts::{ChannelFailure, ask, read_iq, read_mex};
use super::channel_posts::{Post, fetch};
use super::intake::{Intake, MESSAGE};
use crate::convert::arrival::{About, WaArrival};
use crate::convert::channel::{ChannelFacts, Counts, Named, Told, change_id, edit, revoke, told};
use crate::derive::body_hash;
use crate::ids::{ChatId, GhostId, Lane, LoginId, PortalId, WaMessageId};
use crate::store::Result;
use crate::store::channels::{PostNews, PostWord};
use crate::store::chat_marks::{ChatMark, MarkKind};
use crate::store::inbox::{Arrival, Source, ring_all};
use crate::store::portals::PortalKind;
use whatsapp_rust::features::MexRequest;
use whatsapp_rust::prelude::{Client, Jid, wa};
use whatsapp_rust::wacore::iq::mex_operations::fetch_all_newsletters_metadata;
use whatsapp_rust::waproto::codec::message_decode;

/// Posts fetched with one question.
const PAGE: u32 = 50;
/// Posts shown of the time before a channel was followed.
const HISTORY: usize = 10;
/// Posts fetched at most to catch up; who was away for longer misses the oldest.
const MOST: usize = 2000;

impl Intake {
    /// Reads all channels a login follows and stores what they are; those it follows no more are noted. Gives the ones it
    /// follows.
    pub(super) async fn read_channels(
        &self,
        client: &Client,
        login: &LoginId,
    ) -> std::result::Result<Vec<ChatId>, ChannelFailure> {
        let variables = fetch_all_newsletters_metadata::Variables::default();
        let question =
            MexRequest::new(fetch_all_newsletters_metadata::NAME, fetch_all_newsletters_metadata::DOC_ID, variables);
        let answer = client.mex().query(question).await.map_err(|error| read_mex(&error))?;
        let data = answer.data.unwrap_or_default();
        let list = data["xwa2_newsletter_subscribed"].as_array().cloned();
        let list = list.ok_or_else(|| ChannelFailure::Later("there is no list in the answer".into()))?;
        let mut chats = Vec::new();
        for about in list.iter().filter_map(told) {
            // The list may leave out what the asker is there: who is on it follows.
            let about = Told { follows: true, ..about };
            self.store_channel(login, &about).await?;
            chats.push(ChatId::new(about.id));
        }
        for (_, chat) in self.store.channels_of(login).await? {
            let chat = ChatId::new(chat);
            // It may have been followed since the list was asked for, so it is asked for by itself.
            if !chats.contains(&chat) && self.read_channel(client, login, &chat).await? {
                chats.push(chat);
            }
        }
        Ok(chats)
    }

    /// Reads one channel and stores what it is; whether the login follows it.
    pub(super) async fn read_channel(
        &self,
        client: &Client,
        login: &LoginId,
        chat: &ChatId,
    ) -> std::result::Result<bool, ChannelFailure> {
        match ask(client, &Named::Id(chat.as_str().to_owned())).await {
            Ok(about) => {
                self.store_channel(login, &about).await?;
                Ok(about.follows)
            }
            Err(ChannelFailure::Refused(_)) => {
                self.leave_channel(login, chat).await?;
                Ok(false)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Stores what a login was told about a channel.
    pub(super) async fn store_channel(&self, login: &LoginId, about: &Told) -> Result<()> {
        let chat = ChatId::new(about.id.as_str());
        if !about.follows {
            return self.leave_channel(login, &chat).await;
        }
        let mut batch = self.begin("intake.channel").await?;
        let portal = self.store.find_or_make_portal_in(&mut batch.tx, &chat, None, "", PortalKind::Channel).await?.id;
        let joins = self.store.join_portal_in(&mut batch.tx, portal, login).await?;
        self.store.put_channel_in(&mut batch.tx, portal, login, &about.facts.to_bytes(), about.writes).await?;
        self.commit(batch).await?;
        if let Some(muted) = about.muted {
            let (value, ts) = (if muted { -1 } else { 0 }, self.store.clock().now_ms());
            let mark = ChatMark { login: login.clone(), chat, kind: MarkKind::Mute, value, ts };
            // One that says what was said is none.
            if joins && muted || !joins && self.store.find_mute(login, &mark.chat).await? != Some(value) {
                self.store.put_chat_mark(&mark).await?;
            }
        }
        self.store.ring_channels();
        Ok(())
    }

    /// Notes that a login does not follow a channel any more.
    pub(super) async fn leave_channel(&self, login: &LoginId, chat: &ChatId) -> Result<()> {
        let known = self.store.channels_of(login).await?;
        let Some((portal, _)) = known.into_iter().find(|(_, known)| known == chat.as_str()) else { return Ok(()) };
        let mut batch = self.begin("intake.leave_channel").await?;
        self.store.leave_channel_in(&mut batch.tx, portal, login).await?;
        self.commit(batch).await?;
        self.forget_portal(chat);
        self.store.ring_channels();
        Ok(())
    }

    /// Fetches what was posted since the newest post that is known, and what was changed about the posts before it, and
    /// stores it, oldest first.
    pub(super) async fn catch_up(
        &self,
        client: &Client,
        login: &LoginId,
        chat: &ChatId,
    ) -> std::result::Result<(), ChannelFailure> {
        let find = async || -> Result<Option<PortalId>> {
            let known = self.store.channels_of(login).await?;
            Ok(known.into_iter().find(|(_, known)| known == chat.as_str()).map(|(portal, _)| portal))
        };
        let portal = match find().await? {
            Some(portal) => portal,
            // It was not heard of before.
            None if self.read_channel(client, login, chat).await? => {
                find().await?.ok_or(ChannelFailure::Refused(404))?
            }
            None => return Err(ChannelFailure::Refused(403)),
        };
        let jid: Jid = chat.as_str().parse().map_err(|_| ChannelFailure::Refused(400))?;
        let newest = self.store.newest_post(portal).await?;
        let asked_at = self.store.clock().next_id();
        let mut posts = fetch(client, &jid, PAGE, None).await.map_err(|error| read_iq(&error))?;
        // Until something of it is known, what was posted since it was followed counts. The server's times are seconds.
        let since = self.store.find_channel(portal).await?.map_or(i64::MAX, |row| row.since) / 1000 * 1000;
        let is_missed = |post: &Post| match newest {
            0 => post.ts_ms >= since,
            newest => post.server_id > newest + 1,
        };
        while posts.len() < MOST {
            let Some(first) = posts.first().filter(|first| is_missed(first)).map(|post| post.server_id) else { break };
            let mut older = fetch(client, &jid, PAGE, Some(first)).await.map_err(|error| read_iq(&error))?;
            older.retain(|post| post.server_id < first);
            if older.is_empty() {
                break;
            }
            older.append(&mut posts);
            posts = older;
        }
        if newest == 0 {
            let history = posts.iter().filter(|post| post.ts_ms < since).count();
            posts.drain(..history.saturating_sub(HISTORY));
        }
        // What was said before the first post that is shown stays where it is.
        let oldest = self.store.oldest_post(portal).await?;
        posts.retain(|post| post.server_id >= oldest);
        for some in posts.chunks(PAGE as usize) {
            self.store_posts(login, chat, some, asked_at).await?;
        }
        Ok(())
    }

    /// Stores words about posts, in their order; what is known changes nothing. `at` is the ordered id of the moment they
    /// came, or were asked for.
    pub(super) async fn store_posts(&self, login: &LoginId, chat: &ChatId, posts: &[Post], at: i64) -> Result<()> {
        let known = self.store.channels_of(login).await?;
        let Some((portal, _)) = known.into_iter().find(|(_, known)| known == chat.as_str()) else { return Ok(()) };
        let facts = self.store.find_channel(portal).await?.map(|row| row.facts).unwrap_or_default();
        let name = ChannelFacts::from_bytes(&facts).unwrap_or_default().title();
        let mut batch = self.begin("intake.posts").await?;
        let mut lanes = Vec::new();
        for post in posts.iter().filter(|post| !post.id.is_empty()) {
            let Some(bytes) = &post.content else { continue };
            let content = if bytes.is_empty() { String::new() } else { body_hash(bytes) };
            let (id, server_id) = (WaMessageId::new(post.id.as_str()), post.server_id);
            let word = PostWord { id: &id, server_id, content: &content, at };
            let news = self.store.put_post_in(&mut batch.tx, portal, &word).await?;
            let Some((name_of_row, ts_ms, message)) = self.row_of(chat, post, bytes, &content, news) else { continue };
            let sender = GhostId::new(chat.as_str());
            let about = About {
                sender: chat.as_str().into(),
                id: name_of_row.clone(),
                ts_ms,
                from_me: false,
                push_name: name.clone(),
                business_name: None,
            };
            let arrival = Arrival {
                dedup: self.store.derive().wa_dedup(login, chat, &sender, &WaMessageId::new(name_of_row), "post"),
                lane: Lane::into_matrix(portal),
                source: Source::Whatsapp,
                login: Some(login.clone()),
                portal: Some(portal),
                kind: MESSAGE,
                body: WaArrival::new(&message, about).to_bytes(),
                seq: None,
            };
            if self.store.put_arrival(&mut batch.tx, &arrival).await? {
                lanes.push(arrival.lane);
            }
        }
        self.commit(batch).await?;
        fail::fail_point!("channels.after_store", |_| super::channels::die_here());
        ring_all(&self.store, lanes);
        let mut counted = false;
        for post in posts {
            let Some(counts) = &post.counts else { continue };
            let before = Counts::from_bytes(&self.store.find_post_counts(portal, post.server_id).await?);
            let counts = counts.clone().over(&before);
            if counts != before {
                counted |= self.store.put_post_counts(portal, post.server_id, &counts.to_bytes(), at).await?;
            }
        }
        if counted {
            self.store.ring_channels();
        }
        Ok(())
    }

    /// What news of a post are as a row: id, time and message; none when they are none.
    fn row_of(
        &self,
        chat: &ChatId,
        post: &Post,
        bytes: &[u8],
        content: &str,
        news: PostNews,
    ) -> Option<(String, i64, wa::Message)> {
        let now = self.store.clock().now_ms();
        let posted = if post.ts_ms > 0 { post.ts_ms } else { now };
        let message = || match message_decode(bytes) {
            Ok(message) => Some(opened(message)),
            Err(_) => {
                tracing::warn!("a post of a channel can not be read");
                None
            }
        };
        match news {
            PostNews::None => None,
            PostNews::New => Some((post.id.clone(), posted, message()?)),
            PostNews::Changed => {
                Some((change_id(&post.id, content), now, edit(&post.id, chat.as_str(), message()?, now)))
            }
            PostNews::TakenBack => Some((change_id(&post.id, "gone"), now, revoke(&post.id, chat.as_str()))),
        }
    }
}

/// A post that comes wrapped as an edit is what it was edited to.
fn opened(mut message: wa::Message) -> wa::Message {
    match message.protocol_message.as_option_mut().map(|protocol| std::mem::take(&mut protocol.edited_message)) {
        Some(edited) if edited.is_set() => edited.into_option().unwrap_or_default(),
        _ => message,
    }
}
