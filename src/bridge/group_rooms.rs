//! The room of a group: made, named, filled with its people, and given its powers.
//!
//! What the room shows is noted step by step, so an interrupted settlement goes on where it was. Setting what is set
//! makes no event, inviting and joining who is there changes nothing: every step may be repeated.

use super::Bridge;
use super::budget::Cost;
use super::groups::Did;
use super::people::{Facts, Halt};
use super::rooms::{Known, room_id, user_id};
use crate::convert::group::{GroupFacts, Role, power_levels, text_state};
use crate::ids::{GhostId, Lane, PortalId};
use crate::matrix::error::MatrixError;
use crate::matrix::rooms::{BridgedChat, RoomRecipe};
use crate::store::groups::Member;
use crate::store::logins::{Login, LoginState};
use crate::store::plumbing::{OWN_PICTURE, Plumbed};
use crate::store::portals::Portal;
use crate::verdict::{Gate, Verdict};
use crate::whatsapp::groups::{GroupFailure, GroupRead};
use crate::whatsapp::line::LineState;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use ruma::{OwnedRoomId, OwnedUserId, UserId};
use serde_json::{Map, Value, json};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// People brought into a room, or out of it, at the same time. With as many rooms as are worked on together, requests for
/// messages have places beside them.
const PEOPLE: usize = 4;
/// People of one group brought into its room, or out of it, before it lets other groups pass that wait.
const PART: usize = 20;
/// How long somebody who is in the group no more may wait for what was said before, milliseconds.
const YOUNG: i64 = 10 * 60 * 1000;
/// What is said to who is taken out because their account is not in the group.
const LEFT: &str = "Your WhatsApp account is not in this group any more.";
/// What we note of somebody whom the bridge has taken out of a room: they may be invited again.
pub(super) const OUT: &str = "out";

impl Bridge {
    /// Makes a group's room, with the owners of the logins that are in it invited. The others follow.
    pub(super) async fn make_group_room(&self, portal: &Portal, owner: &Login) -> Result<OwnedRoomId, Halt> {
        let facts = self.known_facts(portal, owner).await?;
        self.must_wait_for_room(portal.id, &facts).await?;
        let logins = self.store().logins_in(portal.id).await?;
        let owners: BTreeSet<OwnedUserId> =
            logins.iter().map(|login| user_id(&login.mxid)).collect::<Result<_, Halt>>()?;
        let name = facts.name();
        let chat = BridgedChat { key: &portal.alias, channel_id: &portal.alias, channel_name: Some(&name) };
        let mut state = self.matrix().bridge_state(&chat);
        state.push(self.matrix().functional_members());
        state.push(super::timers::features(portal.kind));
        let topic = facts.topic();
        let recipe = RoomRecipe {
            alias_localpart: Some(self.matrix().alias_localpart(&portal.alias)),
            name: Some(name),
            topic: (!topic.is_empty()).then_some(topic),
            invite: owners.iter().cloned().collect(),
            state,
            rules: Some(facts.rules()),
            join_rule: Some(facts.join_rule()),
            ..RoomRecipe::default()
        };
        let room = self.matrix().create_room(&recipe).await?;
        fail::fail_point!("groups.after_room", |_| super::states::die_here());
        for owner in owners {
            self.store().set_membership(portal.id, owner.as_str(), "invite").await?;
        }
        Ok(room)
    }

    /// What is known of a group, read now when it never was.
    pub(super) async fn known_facts(&self, portal: &Portal, login: &Login) -> Result<GroupFacts, Halt> {
        if let Some(facts) = self.group_facts(portal.id).await? {
            return Ok(facts);
        }
        self.spend(Cost::Request(&login.id)).await;
        match self.whatsapp().read_group(&login.id, &portal.chat).await {
            Ok(GroupRead::Stored) => Ok(self.group_facts(portal.id).await?.unwrap_or_default()),
            Ok(GroupRead::Gone) => Ok(GroupFacts::default()),
            Err(GroupFailure::Offline) => Err(Halt::Verdict(Verdict::Blocked(Gate::Login(login.id.clone())))),
            Err(GroupFailure::Later(why)) => Err(Halt::Verdict(Verdict::Away { why })),
            Err(GroupFailure::Store(error)) => Err(error.into()),
        }
    }

    /// What was read of a group last; none before the first time.
    pub(super) async fn group_facts(&self, portal: PortalId) -> Result<Option<GroupFacts>, Halt> {
        let row = self.store().find_group(portal).await?;
        Ok(row.and_then(|row| GroupFacts::from_bytes(&row.facts)))
    }

    /// Makes a group's room show what is known of the group; whether all of it worked.
    pub(super) async fn settle_group(&self, id: PortalId, mark: i64) -> Result<Did, Halt> {
        let portal = self.store().load_portal(id).await?;
        let Some(row) = self.store().find_group(id).await? else { return Ok(Did::All) };
        let facts = GroupFacts::from_bytes(&row.facts).unwrap_or_default();
        let logins = self.logins_still_in(id).await?;
        if let Some(did) = self.end_without_bringer(&portal, &logins).await? {
            if did == Did::All {
                self.store().group_is_settled(id, mark).await?;
            }
            return Ok(did);
        }
        // Nobody of ours is in it, or nobody writes there: there is nothing to make.
        let gets_room = !facts.is_community && self.lets_in(&portal).await?;
        let speaker = logins.first().filter(|_| gets_room);
        let known = match (speaker, &portal.room) {
            (Some(login), _) => self.ready_room_to_settle(id, &login.id).await?,
            (None, Some(_)) => self.known_room(&portal).await?,
            (None, None) => {
                self.store().group_is_settled(id, mark).await?;
                // A community's room is its space.
                self.wake_spaces();
                return Ok(Did::All);
            }
        };
        let did = match self.try_settle(&known, &row.shown, &facts, &logins, mark).await {
            Ok(did) => did,
            Err(halt) => return Err(self.leave_dead_room(&known, halt).await),
        };
        if did == Did::All {
            self.store().group_is_settled(id, mark).await?;
        }
        let before = GroupFacts::from_bytes(&row.shown);
        let place = |facts: &GroupFacts| (facts.community.clone(), facts.is_announcement_group, facts.name());
        if portal.room.is_none() || before.is_none_or(|before| place(&before) != place(&facts)) {
            self.wake_spaces();
        }
        Ok(did)
    }

    /// The logins whose accounts are in a group. What a login that is linked says of itself counts; one that is logged out
    /// can not say that its account was removed since.
    async fn logins_still_in(&self, id: PortalId) -> Result<Vec<Login>, Halt> {
        let mut logins = Vec::new();
        for login in self.store().logins_in(id).await? {
            let is_in = login.state == LoginState::Linked
                || self.store().role_of(id, &login.own).await? > 0
                || self.store().role_of(id, &login.pn).await? > 0;
            if is_in {
                logins.push(login);
            }
        }
        Ok(logins)
    }

    async fn try_settle(
        &self,
        known: &Arc<Known>,
        shown: &[u8],
        facts: &GroupFacts,
        logins: &[Login],
        mark: i64,
    ) -> Result<Did, Halt> {
        let id = known.portal.id;
        let before = GroupFacts::from_bytes(shown);
        let mut all = self.settle_owners(known, logins, LEFT).await?;
        let plumbed = self.store().find_plumbed(id).await?;
        // The next part of a large group is about its people only.
        if !self.shared.groups.had_names(id, mark, &known.room) {
            if before.as_ref().is_some_and(|before| before != facts) {
                // Killed on the way, the room shows some of both, and comparing with what was would miss it.
                self.store().begin_showing(id).await?;
            }
            self.settle_names(known, before.as_ref(), facts, plumbed.as_ref()).await?;
        }
        fail::fail_point!("groups.after_names", |_| super::states::die_here());
        let members = self.store().members_of(id).await?;
        // Admins first: they are the ones who may speak everywhere.
        let own: HashMap<&GhostId, &Login> = logins.iter().map(|login| (&login.own, login)).collect();
        let moves: Vec<&Member> = members
            .iter()
            .filter(|member| (member.role > 0) != (member.shown > 0))
            .filter(|member| !(member.role > 0 && own.contains_key(&member.person)))
            .collect();
        let mut moves = moves.into_iter();
        let (mut moving, mut begun) = (FuturesUnordered::new(), 0);
        loop {
            while moving.len() < PEOPLE && !(begun >= PART && self.shared.groups.others_wait()) {
                let Some(member) = moves.next() else { break };
                moving.push(self.move_member(known, member));
                begun += 1;
            }
            match moving.next().await {
                Some(moved) => all &= moved?,
                None => break,
            }
        }
        if moves.next().is_some() {
            self.shared.groups.has_names(id, mark, known.room.clone());
            return Ok(if all { Did::Part } else { Did::Failed });
        }
        fail::fail_point!("groups.after_people", |_| super::states::die_here());
        if plumbed.is_none() {
            self.settle_powers(known, facts, &members, &own).await?;
        }
        self.note_roles(known, &members, &own).await?;
        self.tell_closed(known, facts, mark).await?;
        self.store().group_is_shown(id, &facts.to_bytes(), mark).await?;
        Ok(if all { Did::All } else { Did::Failed })
    }

    /// Takes those out whose logins are in the group no more, and invites the owners of those that are; whether all of it
    /// worked. One who can not be invited holds up nobody else.
    pub(super) async fn settle_owners(&self, known: &Known, logins: &[Login], reason: &str) -> Result<bool, Halt> {
        let id = known.portal.id;
        let owners: BTreeSet<&str> = logins.iter().map(|login| login.mxid.as_str()).collect();
        let mut all = true;
        let mut people = Vec::new();
        // Those the bridge acts as have come by themselves, and who left may have been asked in again by others.
        for reached in ["invite", "join", "leave"] {
            people.extend(self.store().members_with(id, reached).await?);
        }
        people.retain(|person| !owners.contains(person.as_str()));
        if self.is_plumbed(&known.portal).await? {
            // In a room of people's own they are no guests of the bridge's.
            people.clear();
        }
        for person in people {
            let user = user_id(&person)?;
            // Guests who never had an account here are somebody's guests.
            if self.matrix().is_ours(&user)
                || self.store().logins_of(&person).await?.is_empty() && !self.was_owner(id, &person).await?
            {
                continue;
            }
            if self.has_young_rows(id).await? {
                // What was said while they were in it is theirs to read.
                all = false;
                continue;
            }
            match self.matrix().kick(&known.room, &user, reason).await {
                Ok(()) => {
                    self.store().set_membership_in_room(id, known.room.as_str(), &person, OUT).await?;
                    self.wake_spaces();
                }
                Err(error) => all &= self.note_trouble(known, error.into())?,
            }
        }
        for owner in &owners {
            // Who left by themselves is not called back for every change.
            if matches!(self.store().find_membership(id, owner).await?.as_deref(), None | Some(OUT)) {
                match self.matrix().invite(&known.room, &user_id(owner)?).await {
                    Ok(()) => self.store().set_membership_in_room(id, known.room.as_str(), owner, "invite").await?,
                    Err(error) => all &= self.note_trouble(known, error.into())?,
                }
            }
        }
        for login in logins {
            if let Err(halt) = self.bring_owner(&known.portal, &known.room, login).await {
                all &= self.note_trouble(known, halt)?;
            }
        }
        Ok(all)
    }

    /// Whether the bridge itself has asked somebody in: as the owner of a login that may be gone.
    async fn was_owner(&self, id: PortalId, person: &str) -> Result<bool, Halt> {
        let reached = self.store().find_membership(id, person).await?;
        Ok(matches!(reached.as_deref(), Some("invite" | "join")))
    }

    /// Whether something of the chat that came not long ago is still on its way into the room.
    pub(super) async fn has_young_rows(&self, id: PortalId) -> Result<bool, Halt> {
        let rows = self.store().take_rows(&Lane::into_matrix(id), 1).await?;
        Ok(rows.first().is_some_and(|row| self.store().clock().now_ms() - row.received_at < YOUNG))
    }

    /// Notes what did not work for one person: false, or the halt when it is nobody's own trouble.
    fn note_trouble(&self, known: &Known, halt: Halt) -> Result<bool, Halt> {
        match halt {
            halt @ (Halt::Store(_) | Halt::Verdict(Verdict::Blocked(_))) => Err(halt),
            Halt::Verdict(verdict) => {
                tracing::warn!(
                    portal = known.portal.id.get(),
                    ?verdict,
                    "somebody was not brought into or out of a group's room"
                );
                Ok(false)
            }
        }
    }

    /// Name, topic and the way in. A room of people's own keeps what it has of them until the group's change.
    async fn settle_names(
        &self,
        known: &Known,
        before: Option<&GroupFacts>,
        facts: &GroupFacts,
        plumbed: Option<&Plumbed>,
    ) -> Result<(), Halt> {
        let keeps_name = plumbed.is_some_and(|plumbed| plumbed.name == Some(facts.name()));
        let keeps_topic = plumbed.is_some_and(|plumbed| plumbed.topic == Some(facts.topic()));
        if before.is_none_or(|before| before.name() != facts.name()) {
            if !keeps_name {
                let name = text_state("name", &facts.name());
                self.set_as(known, &facts.subject_by, "m.room.name", &name).await?;
                if plumbed.is_some() {
                    self.store().name_follows(known.portal.id).await?;
                }
            }
            let portal = &known.portal;
            let named = facts.name();
            let chat = BridgedChat { key: &portal.alias, channel_id: &portal.alias, channel_name: Some(&named) };
            for state in self.matrix().bridge_state(&chat) {
                let (bot, matrix) = (self.matrix().bot(), self.matrix());
                let said =
                    matrix.send_state(&known.room, bot, &state.event_type, &state.state_key, &state.content).await;
                where_it_may(said.map(drop), plumbed.is_some())?;
            }
        }
        // A room without a topic needs no empty one.
        let topic_differs = match before {
            Some(before) => before.topic() != facts.topic(),
            None if facts.topic().is_empty() => {
                self.matrix().get_state(&known.room, "m.room.topic", "").await?.is_some()
            }
            None => true,
        };
        if topic_differs && !keeps_topic {
            let topic = text_state("topic", &facts.topic());
            self.set_as(known, &facts.description_by, "m.room.topic", &topic).await?;
            if plumbed.is_some() {
                self.store().topic_follows(known.portal.id).await?;
            }
        }
        if plumbed.is_none() && before.is_none_or(|before| before.join_rule() != facts.join_rule()) {
            self.set_as(known, "", "m.room.join_rules", &json!({ "join_rule": facts.join_rule() })).await?;
        }
        let timer_differs = match before {
            Some(before) => before.timer_s != facts.timer_s,
            None => self.shown_timer(&known.room).await? != facts.timer_s,
        };
        if timer_differs {
            where_it_may(self.show_timer(&known.room, facts.timer_s).await, plumbed.is_some())?;
        }
        Ok(())
    }

    /// Sets a piece of state unless it is so already: as who did it on WhatsApp when they are in the room and may, else as
    /// the bot.
    pub(super) async fn set_as(&self, known: &Known, by: &str, kind: &str, content: &Value) -> Result<(), Halt> {
        let now = self.matrix().get_state(&known.room, kind, "").await?;
        if now.as_ref().is_some_and(|now| says(now, content)) {
            return Ok(());
        }
        if let Some(user) = self.ghost_in_room(known, by).await?
            && self.matrix().send_state(&known.room, &user, kind, "", content).await.is_ok()
        {
            return Ok(());
        }
        match self.matrix().send_state(&known.room, self.matrix().bot(), kind, "", content).await {
            Err(error @ MatrixError::Forbidden { .. }) => {
                Ok(where_it_may(Err(error), self.is_plumbed(&known.portal).await?)?)
            }
            said => Ok(said.map(drop)?),
        }
    }

    async fn ghost_in_room(&self, known: &Known, person: &str) -> Result<Option<OwnedUserId>, Halt> {
        let Some(ghost) = self.store().find_ghost(&GhostId::new(person)).await? else { return Ok(None) };
        let user = self.matrix().ghost_id(&ghost.localpart);
        let membership = self.store().find_membership(known.portal.id, user.as_str()).await?;
        Ok(membership.filter(|membership| membership == "join").map(|_| user))
    }

    /// Brings one person into the room or out of it; false when it did not work and may later.
    async fn move_member(&self, known: &Known, member: &Member) -> Result<bool, Halt> {
        let moved = async {
            let user = self.ready_ghost(&member.person, Facts::default()).await?;
            let room = known.room.as_str();
            if member.role > 0 {
                self.ready_member(known, &user).await?;
                fail::fail_point!("groups.after_member", |_| super::states::die_here());
                // The powers follow; until then they are as anybody.
                let role = Role::Member.number();
                self.store().member_is_shown_in_room(known.portal.id, room, &member.person, role).await?;
            } else {
                self.take_out(known, &user).await?;
                self.store().member_is_shown_in_room(known.portal.id, room, &member.person, 0).await?;
            }
            Ok::<(), Halt>(())
        };
        match moved.await {
            Ok(()) => Ok(true),
            Err(halt) => self.note_trouble(known, halt),
        }
    }

    async fn take_out(&self, known: &Known, user: &UserId) -> Result<(), Halt> {
        self.spend(Cost::Membership).await;
        self.matrix().leave(&known.room, user).await?;
        self.store().set_membership_in_room(known.portal.id, known.room.as_str(), user.as_str(), OUT).await?;
        known.forget_member(user);
        Ok(())
    }

    /// Gives everybody the powers of their roles. People who are not on WhatsApp keep theirs.
    async fn settle_powers(
        &self,
        known: &Known,
        facts: &GroupFacts,
        members: &[Member],
        own: &HashMap<&GhostId, &Login>,
    ) -> Result<(), Halt> {
        let now = self.matrix().get_state(&known.room, "m.room.power_levels", "").await?.unwrap_or_default();
        let gone: BTreeSet<String> = self.store().members_with(known.portal.id, OUT).await?.into_iter().collect();
        let mut users = self.powers_of_strangers(&now, own, &gone);
        users.insert(self.matrix().bot().to_string(), 100.into());
        for member in members.iter().filter(|member| Role::of_number(member.role).is_admin()) {
            let power = Role::of_number(member.role).power();
            let user = match own.get(&member.person) {
                Some(login) => user_id(&login.mxid)?,
                None => match self.store().find_ghost(&member.person).await? {
                    Some(ghost) => self.matrix().ghost_id(&ghost.localpart),
                    None => continue,
                },
            };
            // With two accounts in one group the greater power counts.
            let power = users.get(user.as_str()).and_then(Value::as_i64).unwrap_or(0).max(power);
            users.insert(user.to_string(), power.into());
        }
        for (user, power) in self.above_the_bot(&known.room, &now).await? {
            match power {
                Some(power) => users.insert(user.to_string(), power.into()),
                None => users.remove(user.as_str()),
            };
        }
        let wanted = power_levels(&now, facts.rules(), &users);
        if wanted != now {
            let (matrix, bot) = (self.matrix(), self.matrix().bot());
            matrix.send_state(&known.room, bot, "m.room.power_levels", "", &wanted).await?;
        }
        Ok(())
    }

    /// Notes as what people are in the room now.
    async fn note_roles(&self, known: &Known, members: &[Member], own: &HashMap<&GhostId, &Login>) -> Result<(), Halt> {
        for member in members.iter().filter(|member| member.role > 0 && member.role != member.shown) {
            if !own.contains_key(&member.person) {
                let room = known.room.as_str();
                self.store().member_is_shown_in_room(known.portal.id, room, &member.person, member.role).await?;
            }
        }
        Ok(())
    }

    fn powers_of_strangers(
        &self,
        now: &Value,
        own: &HashMap<&GhostId, &Login>,
        gone: &BTreeSet<String>,
    ) -> Map<String, Value> {
        let is_strange = |mxid: &str| {
            let ours = UserId::parse(mxid).is_ok_and(|user| self.matrix().is_ours(&user));
            !ours && !gone.contains(mxid) && !own.values().any(|login| login.mxid == mxid)
        };
        let users = now.get("users").and_then(Value::as_object).cloned().unwrap_or_default();
        users.into_iter().filter(|(mxid, _)| is_strange(mxid)).collect()
    }

    /// Looks at a group's picture and shows it; whether that worked.
    pub(super) async fn settle_picture(&self, id: PortalId, mark: i64) -> Result<Did, Halt> {
        let portal = self.store().load_portal(id).await?;
        let (Some(room), Some(login)) = (&portal.room, self.store().logins_in(id).await?.into_iter().next()) else {
            return Ok(Did::Waits);
        };
        let login = self.voice_of(id, &login.id).await?;
        if self.whatsapp().state(&login) != Some(LineState::Connected) || self.is_reading_all(&login) {
            return Ok(Did::Waits);
        }
        let picture = match self.told_picture(id, mark) {
            Some(told) => told,
            None => {
                self.spend(Cost::Request(&login)).await;
                let asked = self.whatsapp().find_picture(&login, &GhostId::new(portal.chat.as_str())).await;
                let Ok(picture) = asked else { return Ok(Did::Failed) };
                picture
            }
        };
        let shown = self.store().group_picture(id).await?;
        let wanted = picture.as_ref().map_or("", |picture| picture.id.as_str());
        if shown == OWN_PICTURE {
            // A room of people's own keeps its picture until the group's changes.
            self.store().group_picture_is_shown(id, wanted, mark).await?;
            return Ok(Did::All);
        }
        if shown != wanted {
            let url = match &picture {
                Some(picture) => {
                    let Ok(bytes) = self.whatsapp().fetch_picture(picture).await else { return Ok(Did::Failed) };
                    let Ok(format) = image::guess_format(&bytes) else {
                        // It will not become one.
                        tracing::warn!(portal = id.get(), "a group's picture is none that can be shown");
                        self.store().group_picture_is_shown(id, wanted, mark).await?;
                        return Ok(Did::All);
                    };
                    Some(self.matrix().upload(bytes.into(), format.to_mime_type(), Some("avatar")).await?)
                }
                None => None,
            };
            let content = url.map_or_else(|| json!({}), |url| json!({ "url": url }));
            let (room, bot) = (room_id(room)?, self.matrix().bot());
            let shown = self.matrix().send_state(&room, bot, "m.room.avatar", "", &content).await;
            where_it_may(shown.map(drop), self.is_plumbed(&portal).await?)?;
        }
        self.store().group_picture_is_shown(id, wanted, mark).await?;
        Ok(Did::All)
    }
}

/// In a room of people's own the bot says what it has the power to; the rest is not to be had, and keeps nobody out.
fn where_it_may(said: Result<(), MatrixError>, is_plumbed: bool) -> Result<(), MatrixError> {
    match said {
        Err(MatrixError::Forbidden { .. }) if is_plumbed => Ok(()),
        said => said,
    }
}

/// Whether a state's content says everything that is wanted of it.
fn says(now: &Value, wanted: &Value) -> bool {
    wanted.as_object().is_some_and(|wanted| wanted.iter().all(|(key, value)| now.get(key) == Some(value)))
}
