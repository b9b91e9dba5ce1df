//! What people do to a group's room, done to the group: name, topic, picture, rights, people coming and going.
//!
//! WhatsApp decides who may; what it refuses is put back in the room and told. After each change the group is read again,
//! so the room ends as WhatsApp has it, whatever happened in between.

use super::Bridge;
use super::from_matrix::{Event, never};
use super::outgoing::Saying;
use super::people::{Facts, Halt};
use super::rooms::room_id;
use crate::convert::group::Role;
use crate::ids::{ChatId, GhostId, LoginId};
use crate::store::inbox::InboxRow;
use crate::store::logins::{Login, LoginState};
use crate::store::portals::{Portal, PortalKind};
use crate::verdict::{Gate, Verdict};
use crate::whatsapp::group_acts::{ActFailure, GroupAct, Outcome, PeopleAct};
use crate::whatsapp::outgoing::SendFailure;
use futures_util::future::BoxFuture;
use ruma::UserId;
use serde_json::Value;
use whatsapp_rust::prelude::{MessageField, wa};

/// Pixels of a group's picture, each way; what WhatsApp's own clients send.
const PICTURE_SIZE: u32 = 640;
/// Bytes a room's picture may have to become a group's.
const LARGEST_PICTURE: u64 = 10 << 20;

/// State of a room that says something about a group.
pub(super) const SHAPING: [&str; 5] =
    ["m.room.name", "m.room.topic", "m.room.avatar", "m.room.power_levels", "m.room.join_rules"];

impl Bridge {
    /// Does to the group what somebody did to its room's state, and settles the row.
    pub(super) async fn shape_group(&self, saying: &Saying<'_>) -> Result<(), Halt> {
        let text = |key: &str| saying.event.content.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let facts = self.group_facts(saying.portal.id).await?.unwrap_or_default();
        match saying.event.kind.as_str() {
            // Who may what in a room of people's own is theirs to say, and says nothing of the group.
            "m.room.join_rules" | "m.room.power_levels" if self.is_plumbed(saying.portal).await? => {}
            "m.room.name" if text("name") != facts.name() => {
                self.act(saying, GroupAct::Subject(text("name"))).await?;
            }
            "m.room.topic" if text("topic") != facts.topic() => {
                self.act(saying, GroupAct::Description(text("topic"))).await?;
            }
            "m.room.join_rules" => {
                let approval = text("join_rule") == "knock";
                if approval != facts.approval {
                    self.act(saying, GroupAct::Approval(approval)).await?;
                }
            }
            "m.room.avatar" => self.set_group_picture(saying, &text("url")).await?,
            "m.room.power_levels" => self.change_powers(saying).await?,
            _ => {}
        }
        self.read_again(saying.portal).await?;
        Ok(self.store().settle_row(saying.row.seq).await?)
    }

    /// One change of the group itself.
    async fn act(&self, saying: &Saying<'_>, act: GroupAct) -> Result<(), Halt> {
        match self.whatsapp().change_group(&saying.login.id, &saying.portal.chat, act).await {
            Ok(()) => Ok(()),
            Err(failure) => {
                let halt = read_failure(failure, &saying.login.id);
                // The row holds what is wanted; the room shows what is.
                if !matches!(halt, Halt::Verdict(Verdict::Blocked(_))) {
                    self.read_again(saying.portal).await?;
                }
                Err(halt)
            }
        }
    }

    /// Marks the group, so that the room becomes what it was before.
    pub(super) async fn put_back(&self, portal: &Portal) -> Result<(), Halt> {
        Ok(self.store().show_group_again(portal.id).await?)
    }

    async fn read_again(&self, portal: &Portal) -> Result<(), Halt> {
        self.put_back(portal).await?;
        Ok(self.store().mark_group_stale(portal.id).await?)
    }

    async fn set_group_picture(&self, saying: &Saying<'_>, mxc: &str) -> Result<(), Halt> {
        // Whatever comes of it, the room ends with the picture WhatsApp has.
        self.store().show_group_picture_again(saying.portal.id).await?;
        let jpeg = match mxc {
            "" => None,
            mxc => Some(self.square_jpeg(mxc).await?),
        };
        let done = self.act(saying, GroupAct::Picture(jpeg)).await;
        self.store().show_group_picture_again(saying.portal.id).await?;
        done
    }

    /// A room's picture as WhatsApp wants it: a square JPEG.
    async fn square_jpeg(&self, mxc: &str) -> Result<Vec<u8>, Halt> {
        let unfit = || {
            never("This picture can't become the group's; please take a JPEG or PNG of at most 10 MiB.", "a picture")
        };
        let spool = self.media().spool();
        let fetched = self.matrix().fetch_file(mxc.into(), None, spool, None, LARGEST_PICTURE).await;
        let bytes = fetched.map_err(|_| unfit())?.read(LARGEST_PICTURE).map_err(|_| unfit())?;
        self.media().square_jpeg(bytes, PICTURE_SIZE).await.ok_or_else(unfit)
    }

    /// Rights given or taken by a power level event: settings of the group, and who its admins are. Only what the event has
    /// changed counts: the rest of it may be older than what WhatsApp says by now.
    async fn change_powers(&self, saying: &Saying<'_>) -> Result<(), Halt> {
        let (levels, Some(before)) = (&saying.event.content, saying.event.previous()) else { return Ok(()) };
        let number = |value: Option<&Value>| value.and_then(Value::as_i64).unwrap_or(0);
        let for_admins = |levels: &Value, at: &str| Role::of_power(number(levels.pointer(at))).is_admin();
        let changed = |at: &str| Some(for_admins(levels, at)).filter(|now| *now != for_admins(before, at));
        if let Some(announce) = changed("/events_default") {
            self.act(saying, GroupAct::Announce(announce)).await?;
        }
        if let Some(locked) = changed("/events/m.room.name") {
            self.act(saying, GroupAct::Locked(locked)).await?;
        }
        if let Some(admin_add) = changed("/invite") {
            self.act(saying, GroupAct::AdminAdd(admin_add)).await?;
        }
        let power_of = |levels: &Value, user: &str| number(levels.get("users").and_then(|users| users.get(user)));
        let logins = self.store().logins_in(saying.portal.id).await?;
        for member in self.store().members_of(saying.portal.id).await? {
            let user = match logins.iter().find(|login| login.own == member.person) {
                Some(login) => login.mxid.clone(),
                None => match self.store().find_ghost(&member.person).await? {
                    Some(ghost) => self.matrix().ghost_id(&ghost.localpart).to_string(),
                    None => continue,
                },
            };
            let is_admin = |levels: &Value| Role::of_power(power_of(levels, &user)).is_admin();
            let role = Role::of_number(member.role);
            if role == Role::Out || is_admin(levels) == is_admin(before) || is_admin(levels) == role.is_admin() {
                continue;
            }
            let act = if is_admin(levels) { PeopleAct::Promote } else { PeopleAct::Demote };
            self.act_on(saying.portal, saying.login, act, &member.person).await?;
        }
        Ok(())
    }

    /// One change of one person; what became of it.
    async fn act_on(&self, portal: &Portal, login: &Login, act: PeopleAct, person: &GhostId) -> Result<Outcome, Halt> {
        let done = self.whatsapp().change_member(&login.id, &portal.chat, act, person).await;
        let outcome = match done {
            Ok(outcome) => outcome,
            Err(failure) => {
                let halt = read_failure(failure, &login.id);
                if !matches!(halt, Halt::Verdict(Verdict::Blocked(_))) {
                    self.read_again(portal).await?;
                }
                return Err(halt);
            }
        };
        if let Outcome::Refused(code) = &outcome {
            self.put_back(portal).await?;
            return Err(never(refusal(act), format!("WhatsApp refused a change of a member with code {code}")));
        }
        if outcome == Outcome::Done {
            let role = match act {
                PeopleAct::Add | PeopleAct::Demote => Role::Member,
                PeopleAct::Promote => Role::Admin,
                PeopleAct::Remove => Role::Out,
            };
            // What comes next in the lane builds on it; the next reading finds no news in it.
            self.store().mark_group_unsettled(portal.id).await?;
            self.store().set_role(portal.id, person, role.number()).await?;
        }
        Ok(outcome)
    }

    /// Somebody's membership of a group's room changed by somebody else's hand: the same happens in the group.
    pub(super) async fn move_in_group(
        &self,
        row: &InboxRow,
        event: &Event,
        portal: &Portal,
        login: &Login,
    ) -> Result<(), Halt> {
        let about = event.state_key.as_deref().unwrap_or_default();
        let membership = event.content.get("membership").and_then(Value::as_str).unwrap_or_default();
        if membership == "ban" {
            self.lift_ban(event).await?;
        }
        // Whatever comes of it, the room is looked at.
        self.store().mark_group_unsettled(portal.id).await?;
        let Some(person) = self.member_behind(portal, about).await? else {
            return Ok(self.store().settle_row(row.seq).await?);
        };
        let is_in = self.store().role_of(portal.id, &person).await? > 0;
        let act = match membership {
            "invite" if !is_in => PeopleAct::Add,
            "leave" | "ban" if is_in => PeopleAct::Remove,
            _ => return Ok(self.store().settle_row(row.seq).await?),
        };
        // The room shows something else now than what was noted.
        if act == PeopleAct::Remove {
            self.store().member_is_shown_in_room(portal.id, &event.room_id, &person, 0).await?;
            self.store().set_membership_in_room(portal.id, &event.room_id, about, "out").await?;
            self.forget_room(portal.id);
        }
        let done = self.act_on(portal, login, act, &person).await;
        let room = room_id(&event.room_id)?;
        let refused = !matches!(done, Ok(Outcome::Done));
        if act == PeopleAct::Add && refused && !matches!(done, Err(Halt::Verdict(Verdict::Blocked(_)) | Halt::Store(_)))
        {
            // Who is not in the group does not stay invited to its room.
            let user = UserId::parse(about).map_err(|_| never("", "a state key is no user"))?;
            self.matrix().kick(&room, &user, "They could not be added to the WhatsApp group.").await?;
        }
        if let Outcome::Invite { code, expires_at } = done? {
            self.invite_by_message(event, portal, login, &person, code, expires_at).await?;
        }
        self.store().mark_group_unsettled(portal.id).await?;
        self.store().mark_group_stale(portal.id).await?;
        Ok(self.store().settle_row(row.seq).await?)
    }

    /// WhatsApp has no bans, and one of ours who is added again has to come in.
    async fn lift_ban(&self, event: &Event) -> Result<(), Halt> {
        let about = UserId::parse(event.state_key.as_deref().unwrap_or_default());
        if let Ok(user) = about
            && self.matrix().is_ours(&user)
        {
            self.matrix().unban(&room_id(&event.room_id)?, &user).await?;
        }
        Ok(())
    }

    /// Somebody who has no linked account in the group moved one of its people: the room is put right.
    pub(super) async fn undo_move(&self, row: &InboxRow, event: &Event, portal: &Portal) -> Result<(), Halt> {
        let about = event.state_key.as_deref().unwrap_or_default();
        let membership = event.content.get("membership").and_then(Value::as_str).unwrap_or_default();
        let Some(user) = UserId::parse(about).ok().filter(|user| self.matrix().is_ours(user)) else { return Ok(()) };
        if user == *self.matrix().bot() {
            return Ok(());
        }
        let person = self.member_behind(portal, about).await?;
        let is_in = match &person {
            Some(person) => self.store().role_of(portal.id, person).await? > 0,
            None => false,
        };
        match membership {
            "invite" if !is_in => {
                let why = "Only who has a WhatsApp account in this group can add people to it.";
                self.matrix().kick(&room_id(&event.room_id)?, &user, why).await?;
            }
            "leave" | "ban" => {
                self.lift_ban(event).await?;
                if let Some(person) = person {
                    self.store().member_is_shown_in_room(portal.id, &event.room_id, &person, 0).await?;
                }
                self.store().set_membership_in_room(portal.id, &event.room_id, about, "out").await?;
                self.forget_room(portal.id);
            }
            _ => {}
        }
        tracing::debug!(row = row.seq, "somebody without a linked account moved one of a group's people");
        Ok(self.store().mark_group_unsettled(portal.id).await?)
    }

    /// The account behind a user in a group's room: a ghost's person, or the account of a login of theirs.
    async fn member_behind(&self, portal: &Portal, mxid: &str) -> Result<Option<GhostId>, Halt> {
        let Ok(user) = UserId::parse(mxid) else { return Ok(None) };
        if let Some(tail) = self.matrix().ghost_tail(&user) {
            return Ok(self.store().find_ghost_by_localpart(tail).await?);
        }
        let here = self.store().logins_in(portal.id).await?;
        let here = here.into_iter().find(|login| login.mxid == mxid);
        Ok(match here {
            Some(login) => Some(login.own),
            None => self.store().logins_of(mxid).await?.into_iter().next().map(|login| login.own),
        })
    }

    /// Sends somebody who lets only contacts add them an invitation to the group, and says so in the room.
    async fn invite_by_message(
        &self,
        event: &Event,
        portal: &Portal,
        login: &Login,
        person: &GhostId,
        code: String,
        expires_at: u64,
    ) -> Result<(), Halt> {
        let facts = self.group_facts(portal.id).await?.unwrap_or_default();
        let message = wa::Message {
            group_invite_message: MessageField::some(wa::message::GroupInviteMessage {
                group_jid: Some(portal.chat.as_str().to_owned()),
                invite_code: Some(code),
                invite_expiration: i64::try_from(expires_at).ok(),
                group_name: Some(facts.subject.clone()),
                caption: Some("Follow this link to join my WhatsApp group".to_owned()),
                ..Default::default()
            }),
            ..Default::default()
        };
        let id = self.store().derive().wa_message(&login.id, &event.event_id, 0);
        let sent = self.whatsapp().send(&login.id, &ChatId::new(person.as_str()), &id, message).await;
        let user = self.ready_ghost(person, Facts::default()).await?;
        let tell = match sent {
            Ok(()) => format!("{user} lets only their contacts add them to groups, so I have sent them an invitation."),
            // The same id again is the same message.
            Err(SendFailure::Offline) => return Err(Halt::Verdict(Verdict::Blocked(Gate::Login(login.id.clone())))),
            Err(SendFailure::Unknown(why)) => return Err(Halt::Verdict(Verdict::Later { why: why.into() })),
            Err(SendFailure::Refused(_) | SendFailure::Impossible) => {
                format!(
                    "{user} lets only their contacts add them to groups, and WhatsApp takes no invitation for them."
                )
            }
        };
        self.say(&room_id(&event.room_id)?, &tell, &event.event_id, "invited").await?;
        Ok(())
    }
}

impl Bridge {
    /// Takes the account of who left a group's room out of the group, where the operator wants that. Who was only invited
    /// has left nothing.
    pub(super) fn leave_group_too<'a>(&'a self, event: &'a Event) -> BoxFuture<'a, Result<(), Halt>> {
        Box::pin(self.leave_group_of_room(event))
    }

    async fn leave_group_of_room(&self, event: &Event) -> Result<(), Halt> {
        let before = event.previous().and_then(|before| before.get("membership")).and_then(Value::as_str);
        if !self.config().bridge.bridge_matrix_leave || before != Some("join") {
            return Ok(());
        }
        let Some(portal) = self.store().find_portal_by_room(&event.room_id).await? else { return Ok(()) };
        if portal.kind != PortalKind::Group {
            return Ok(());
        }
        for login in self.store().logins_in(portal.id).await? {
            if login.mxid != event.sender || login.state != LoginState::Linked {
                continue;
            }
            match self.whatsapp().change_group(&login.id, &portal.chat, GroupAct::Leave).await {
                // Gone already, perhaps by this very row.
                Ok(()) | Err(ActFailure::Refused(401 | 403 | 404 | 410)) => {}
                Err(failure) => return Err(read_failure(failure, &login.id)),
            }
            fail::fail_point!("groups.after_leave", |_| super::states::die_here());
        }
        Ok(self.store().mark_group_stale(portal.id).await?)
    }
}

fn refusal(act: PeopleAct) -> &'static str {
    match act {
        PeopleAct::Add => "WhatsApp does not let you add them to this group.",
        PeopleAct::Remove => "WhatsApp does not let you remove them from this group.",
        PeopleAct::Promote | PeopleAct::Demote => "WhatsApp does not let you change who the admins of this group are.",
    }
}

fn read_failure(failure: ActFailure, login: &LoginId) -> Halt {
    match failure {
        ActFailure::Offline => Halt::Verdict(Verdict::Blocked(Gate::Login(login.clone()))),
        ActFailure::Unknown(why) => Halt::Verdict(Verdict::Later { why }),
        ActFailure::TooLong => never(
            "WhatsApp takes 100 characters for a group's name and 2,048 for its description; I have put back the old one.",
            "a group's text is too long",
        ),
        ActFailure::Refused(code @ (401 | 403 | 405 | 406 | 409)) => never(
            "WhatsApp does not let you change this in the group; I have put it back here. Ask one of its admins.",
            format!("WhatsApp refused a change of a group with code {code}"),
        ),
        ActFailure::Refused(code @ (404 | 410)) => never(
            "This group does not exist any more.",
            format!("WhatsApp refused a change of a group with code {code}"),
        ),
        ActFailure::Refused(code) => {
            Halt::Verdict(Verdict::Later { why: format!("WhatsApp refused with code {code}") })
        }
    }
}
