//! Channels: a room for each that somebody of ours follows, where the channel speaks and few others may.
//!
//! The room is the same for all of ours who follow it. What it shows is noted, so an interrupted settlement goes on where
//! it was, and every step may be repeated. Posts come through the inbox as messages of any chat do.

use super::Bridge;
use super::budget::in_background;
use super::from_matrix::{Event, never};
use super::outgoing::Saying;
use super::people::{Facts, Halt};
use super::rooms::{Known, user_id};
use crate::convert::channel::{ChannelFacts, WRITER, emoji_of};
use crate::convert::group::{power_levels, text_state};
use crate::convert::outgoing::{Draft, DraftContent, MxKind, Plan, plan};
use crate::ids::{GhostId, LoginId, PortalId, WaMessageId};
use crate::matrix::rooms::{BridgedChat, RoomRecipe};
use crate::store::logins::{Login, LoginState};
use crate::store::portals::{Portal, PortalKind};
use crate::verdict::{Gate, Verdict};
use ruma::{OwnedRoomId, UserId};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// How often it is looked for what could not be shown before.
const ROUND: Duration = Duration::from_secs(5);
/// Pause after the database or the homeserver failed.
const PAUSE: Duration = Duration::from_secs(3);
/// Largest picture of a channel that is shown, bytes.
const LARGEST_PICTURE: u64 = 5 << 20;
/// What a loop shows.
#[derive(Clone, Copy)]
enum Showing {
    Channels,
    Counts,
}

/// What is said to who is taken out of a channel's room.
const LEFT: &str = "You do not follow this channel any more, or it has ended.";

impl Bridge {
    /// Shows channels and the counts of their posts as they are marked, until the process stops. A room that waits for its
    /// budget holds up no counts.
    pub async fn run_channels(&self) {
        tokio::join!(self.run_showing(Showing::Channels), self.run_showing(Showing::Counts));
    }

    async fn run_showing(&self, what: Showing) {
        let mut bell = self.store().channels_bell();
        loop {
            let shown = match what {
                Showing::Channels => in_background(self.settle_channels()).await,
                Showing::Counts => self.show_counts().await,
            };
            let pause = match shown {
                Ok(_) => ROUND,
                Err(Halt::Verdict(Verdict::Blocked(Gate::Homeserver))) => {
                    tokio::select! {
                        () = self.stop().cancelled() => return,
                        () = self.matrix().wait_until_reachable() => PAUSE,
                    }
                }
                Err(halt) => {
                    tracing::warn!(?halt, "channels are shown later");
                    PAUSE
                }
            };
            tokio::select! {
                () = self.stop().cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                // After a failure the pause is kept.
                rung = bell.changed(), if pause == ROUND => {
                    if rung.is_err() {
                        return;
                    }
                }
            }
        }
    }

    async fn settle_channels(&self) -> Result<bool, Halt> {
        let mut all = true;
        for (portal, mark) in self.store().unsettled_channels().await? {
            match self.settle_channel(portal, mark).await {
                Ok(settled) => all &= settled,
                Err(halt @ (Halt::Store(_) | Halt::Verdict(Verdict::Blocked(Gate::Homeserver)))) => return Err(halt),
                // One channel holds up no other.
                Err(Halt::Verdict(verdict)) => {
                    all = false;
                    tracing::warn!(portal = portal.get(), ?verdict, "a channel was not shown; it is tried again");
                }
            }
        }
        Ok(all)
    }

    async fn settle_channel(&self, id: PortalId, mark: i64) -> Result<bool, Halt> {
        let portal = self.store().load_portal(id).await?;
        let Some(row) = self.store().find_channel(id).await? else { return Ok(true) };
        let facts = ChannelFacts::from_bytes(&row.facts).unwrap_or_default();
        let mut logins = self.store().logins_in(id).await?;
        logins.retain(|login| login.state == LoginState::Linked);
        if !self.lets_in(&portal).await? {
            logins.clear();
        }
        let known = match (logins.first(), &portal.room) {
            (Some(login), _) => self.ready_room_to_settle(id, &login.id).await?,
            (None, Some(_)) => self.known_room(&portal).await?,
            (None, None) => {
                self.store().channel_is_settled(id, &row.shown, mark).await?;
                return Ok(true);
            }
        };
        let settled = async {
            let mut all = self.settle_owners(&known, &logins, LEFT).await?;
            self.settle_title(&known, &facts).await?;
            self.settle_channel_powers(&known, &logins).await?;
            if let Some(login) = logins.iter().find(|login| self.is_connected(login)) {
                all &= self.settle_channel_picture(&known, &row.picture, &facts, &login.id).await?;
            } else {
                all &= row.picture == facts.picture;
            }
            Ok::<bool, Halt>(all)
        };
        let all = match settled.await {
            Ok(all) => all,
            Err(halt) => return Err(self.leave_dead_room(&known, halt).await),
        };
        self.wake_spaces();
        if all {
            self.store().channel_is_settled(id, &row.facts, mark).await?;
        }
        Ok(all)
    }

    /// Makes a channel's room, with the owners of the logins that follow it invited.
    pub(super) async fn make_channel_room(&self, portal: &Portal, owner: &Login) -> Result<OwnedRoomId, Halt> {
        let row = self.store().find_channel(portal.id).await?;
        let facts = row.and_then(|row| ChannelFacts::from_bytes(&row.facts)).unwrap_or_default();
        let logins = self.store().logins_in(portal.id).await?;
        let mut owners: BTreeSet<_> = logins.iter().map(|login| user_id(&login.mxid)).collect::<Result<_, Halt>>()?;
        owners.insert(user_id(&owner.mxid)?);
        let name = facts.title();
        let ghost = self.ready_ghost(&voice_of(portal), Facts { push_name: &name, business_name: None }).await?;
        let chat = BridgedChat { key: &portal.alias, channel_id: portal.chat.as_str(), channel_name: Some(&name) };
        let mut state = self.matrix().bridge_state(&chat);
        state.push(self.matrix().functional_members());
        state.push(super::timers::features(portal.kind));
        let topic = facts.topic();
        let recipe = RoomRecipe {
            alias_localpart: Some(self.matrix().alias_localpart(&portal.alias)),
            name: Some(name),
            topic: (!topic.is_empty()).then_some(topic),
            invite: owners.iter().cloned().chain([ghost.clone()]).collect(),
            powers: vec![(ghost, WRITER)],
            state,
            rules: Some(ChannelFacts::rules()),
            // What a channel has said is there for everybody who comes to it.
            history: Some("shared"),
            ..RoomRecipe::default()
        };
        let room = self.matrix().create_room(&recipe).await?;
        fail::fail_point!("channels.after_room", |_| super::states::die_here());
        for owner in owners {
            self.store().set_membership(portal.id, owner.as_str(), "invite").await?;
        }
        Ok(room)
    }

    /// Name and topic, compared with what the room says: what was noted may be behind it.
    async fn settle_title(&self, known: &Known, facts: &ChannelFacts) -> Result<(), Halt> {
        let name = facts.title();
        let speaker =
            self.ready_ghost(&voice_of(&known.portal), Facts { push_name: &name, business_name: None }).await?;
        self.ready_member(known, &speaker).await?;
        self.set_as(known, "", "m.room.name", &text_state("name", &name)).await?;
        let topic = facts.topic();
        // A room without a topic needs no empty one.
        if !topic.is_empty() || self.matrix().get_state(&known.room, "m.room.topic", "").await?.is_some() {
            self.set_as(known, "", "m.room.topic", &text_state("topic", &topic)).await?;
        }
        let portal = &known.portal;
        let chat = BridgedChat { key: &portal.alias, channel_id: portal.chat.as_str(), channel_name: Some(&name) };
        for state in self.matrix().bridge_state(&chat) {
            let (bot, matrix) = (self.matrix().bot(), self.matrix());
            matrix.send_state(&known.room, bot, &state.event_type, &state.state_key, &state.content).await?;
        }
        Ok(())
    }

    /// The channel and its admins may write; people who are not on WhatsApp keep what they have.
    async fn settle_channel_powers(&self, known: &Known, logins: &[Login]) -> Result<(), Halt> {
        let now = self.matrix().get_state(&known.room, "m.room.power_levels", "").await?.unwrap_or_default();
        let mut users = Map::new();
        for (mxid, power) in now.get("users").and_then(Value::as_object).into_iter().flatten() {
            let is_ours = UserId::parse(mxid.as_str()).is_ok_and(|user| self.matrix().is_ours(&user));
            if !is_ours && self.store().logins_of(mxid).await?.is_empty() {
                users.insert(mxid.clone(), power.clone());
            }
        }
        users.insert(self.matrix().bot().to_string(), 100.into());
        let speaker = self.ready_ghost(&voice_of(&known.portal), Facts::default()).await?;
        users.insert(speaker.to_string(), WRITER.into());
        for login in logins {
            if self.store().writes_in_channel(known.portal.id, &login.id).await? {
                users.insert(login.mxid.clone(), WRITER.into());
            }
        }
        let wanted = power_levels(&now, ChannelFacts::rules(), &users);
        if wanted != now {
            let (matrix, bot) = (self.matrix(), self.matrix().bot());
            matrix.send_state(&known.room, bot, "m.room.power_levels", "", &wanted).await?;
        }
        Ok(())
    }

    /// Shows the channel's picture as the room's and as its speaker's; whether that worked.
    async fn settle_channel_picture(
        &self,
        known: &Known,
        shown: &str,
        facts: &ChannelFacts,
        login: &LoginId,
    ) -> Result<bool, Halt> {
        if shown == facts.picture {
            return Ok(true);
        }
        let url = match facts.picture.as_str() {
            "" => None,
            _ => match self.whatsapp().fetch_channel_picture(&facts.picture_path, LARGEST_PICTURE).await {
                Ok(bytes) => match image::guess_format(&bytes) {
                    Ok(format) => {
                        Some(self.matrix().upload(bytes.into(), format.to_mime_type(), Some("avatar")).await?)
                    }
                    // It will not become one.
                    Err(_) => None,
                },
                Err(error) => {
                    tracing::debug!(%error, "a channel's picture was not fetched");
                    // Its address may have aged; a reading brings another.
                    self.look_later(login, &known.portal);
                    return Ok(false);
                }
            },
        };
        let content = url.as_ref().map_or_else(|| json!({}), |url| json!({ "url": url }));
        // Between the room and the record it shows something nobody knows of.
        self.store().channel_picture_is_shown(known.portal.id, "?").await?;
        self.matrix().send_state(&known.room, self.matrix().bot(), "m.room.avatar", "", &content).await?;
        let speaker = self.ready_ghost(&voice_of(&known.portal), Facts::default()).await?;
        self.matrix().set_avatar(&speaker, url.unwrap_or_else(|| "".into())).await?;
        self.store().channel_picture_is_shown(known.portal.id, &facts.picture).await?;
        Ok(true)
    }

    /// What somebody said in a channel's room: reactions go to WhatsApp, posts when they may write there.
    pub(super) async fn said_in_channel(&self, saying: &Saying<'_>, wa_id: WaMessageId) -> Result<(), Halt> {
        if saying.event.state_key.is_some() {
            return Ok(self.store().settle_row(saying.row.seq).await?);
        }
        let mut content = saying.event.content_with_redacts();
        if let Some(key) = content.pointer_mut("/m.relates_to/key")
            && let Some(emoji) = key.as_str().map(|key| emoji_of(key).to_owned())
        {
            *key = emoji.into();
        }
        let plan = plan(&saying.event.kind, &content)
            .map_err(|refusal| never(refusal.tell, "the event can not become a post of a channel"))?;
        let writes = self.store().writes_in_channel(saying.portal.id, &saying.login.id).await?;
        match &plan {
            Plan::React { .. } | Plan::Redact { .. } => {}
            Plan::Message(draft) | Plan::Edit { draft, .. } if writes && is_for_channels(draft) => {}
            _ if writes => {
                let tell = "I can post only texts and files in a channel. Please post the rest from your phone.";
                return Err(never(tell, "neither a text nor a file for a channel"));
            }
            _ => {
                let tell = "Only the admins of this channel can post in it. You can react to its posts.";
                return Err(never(tell, "a post of somebody who does not write in the channel"));
            }
        }
        match self.outgoing_of(saying, &plan).await? {
            Some(outgoing) => {
                let reacted = outgoing.reaction.as_ref().map(|reaction| reaction.key.target.clone());
                self.send_to_whatsapp(saying, wa_id, outgoing).await?;
                match reacted {
                    // It stands in the room by itself now, and does not count twice.
                    Some(post) => {
                        self.store().mark_post(saying.portal.id, &post).await?;
                        self.look_later(&saying.login.id, saying.portal);
                    }
                    None => self.read_posts_later(&saying.login.id, saying.portal),
                }
                Ok(())
            }
            None => self.settle_unsent(saying.row, super::from_matrix::NOTHING_THERE).await,
        }
    }

    /// Has a channel looked at as a phone does that shows it. Droppable: counts come again with the next look.
    pub(super) fn look_later(&self, login: &LoginId, portal: &Portal) {
        let (bridge, login, chat) = (self.clone(), login.clone(), portal.chat.clone());
        self.spawn(async move {
            if let Err(error) = bridge.whatsapp().look_at_channel(&login, &chat).await {
                tracing::debug!(%error, "a channel was not looked at");
            }
        });
    }

    /// Reads the newest posts: ours gets its number by it. Droppable: the next connection reads them too.
    fn read_posts_later(&self, login: &LoginId, portal: &Portal) {
        let (bridge, login, chat) = (self.clone(), login.clone(), portal.chat.clone());
        self.spawn(async move {
            if let Err(error) = bridge.whatsapp().read_posts(&login, &chat).await {
                tracing::debug!(%error, "the posts of a channel were not read");
            }
        });
    }

    /// The room of a channel a login follows, made when it is new; none when it does not follow it.
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail.
    pub async fn open_channel(&self, login: &Login, chat: &crate::ids::ChatId) -> Result<Option<OwnedRoomId>, Halt> {
        let known = self.store().channels_of(&login.id).await?;
        let Some((portal, _)) = known.into_iter().find(|(_, known)| known == chat.as_str()) else { return Ok(None) };
        Ok(Some(self.ready_room(portal, &login.id).await?.room.clone()))
    }

    /// The post an event of a channel's room shows.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn post_behind(&self, portal: &Portal, event: &str) -> crate::store::Result<Option<WaMessageId>> {
        let found = self.store().find_message_by_event(event).await?;
        Ok(found.filter(|message| message.key.portal == portal.id).map(|message| message.key.wa_id))
    }
}

/// Whether an event is none of a channel's business: its room has no timer.
pub(super) fn has_no_timer(portal: &Portal, event: &Event) -> bool {
    portal.kind == PortalKind::Channel && event.kind == super::timers::STATE
}

/// Who says a channel's posts.
pub(super) fn voice_of(portal: &Portal) -> GhostId {
    GhostId::new(portal.chat.as_str())
}

/// Whether a draft is of a kind that channels show: contacts and places are not.
fn is_for_channels(draft: &Draft) -> bool {
    match &draft.content {
        DraftContent::Text { .. } => true,
        DraftContent::File { media, .. } => media.kind != MxKind::Contacts,
        _ => false,
    }
}
