//! Changing a group as one of its members: name, settings, picture, people.
//!
//! Every act may be repeated: what is so already is answered as done, so a row that is worked on again after a kill does no
//! harm. Codes are those WhatsApp's clients know.

use super::Whatsapp;
use crate::ids::{ChatId, GhostId, LoginId};
use whatsapp_rust::prelude::{Client, Jid};
use whatsapp_rust::{
    GroupDescription, GroupError, GroupSubject, IqError, MemberAddMode, ParticipantChangeResponse, PreviousDescription,
};

/// What shall change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupAct {
    /// The name.
    Subject(String),
    /// The description; empty takes it away.
    Description(String),
    /// Whether only admins write.
    Announce(bool),
    /// Whether only admins change name, description and picture.
    Locked(bool),
    /// Whether only admins add people.
    AdminAdd(bool),
    /// Whether admins let in who comes by a link.
    Approval(bool),
    /// The picture, a square JPEG; none takes it away.
    Picture(Option<Vec<u8>>),
    /// The account leaves.
    Leave,
}

/// What shall happen to people of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeopleAct {
    /// They come in.
    Add,
    /// They go.
    Remove,
    /// They become admins.
    Promote,
    /// They are admins no more.
    Demote,
}

/// What became of one person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is as it shall be.
    Done,
    /// They let only contacts add them; with this code they can be invited until that second since 1970.
    Invite {
        /// The code.
        code: String,
        /// Seconds since 1970.
        expires_at: u64,
    },
    /// WhatsApp refused with this code.
    Refused(String),
}

/// Why a group was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActFailure {
    /// The line is not connected.
    #[error("the line is not connected")]
    Offline,
    /// WhatsApp refused with this code.
    #[error("WhatsApp refused with code {0}")]
    Refused(u16),
    /// The name or the description is longer than WhatsApp allows.
    #[error("the text is too long")]
    TooLong,
    /// It may or may not have been done.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
}

impl ActFailure {
    /// What it means, for the person.
    #[must_use]
    pub fn words(&self) -> &'static str {
        match self {
            Self::Offline | Self::Unknown(_) => "WhatsApp can't be reached right now. Please say it again later.",
            Self::Refused(401 | 403 | 405) => "WhatsApp does not let you do that.",
            Self::Refused(404 | 406 | 410) => "WhatsApp knows no such group, or the link is not valid any more.",
            Self::Refused(304 | 409) => "You are in this group already.",
            Self::Refused(_) => "WhatsApp refused. Please say it again later.",
            Self::TooLong => "WhatsApp takes at most 100 characters for a group's name.",
        }
    }
}

impl Whatsapp {
    /// Changes a group through a login.
    ///
    /// # Errors
    /// [`ActFailure`].
    pub async fn change_group(&self, login: &LoginId, chat: &ChatId, act: GroupAct) -> Result<(), ActFailure> {
        let (client, group) = self.group_client(login, chat)?;
        let groups = client.groups();
        let done = match act {
            GroupAct::Subject(name) => {
                groups.set_subject(&group, GroupSubject::new(name).map_err(|_| ActFailure::TooLong)?).await
            }
            GroupAct::Description(text) => {
                let text = match text.as_str() {
                    "" => None,
                    _ => Some(GroupDescription::new(text).map_err(|_| ActFailure::TooLong)?),
                };
                groups.set_description(&group, text, PreviousDescription::Resolve).await
            }
            GroupAct::Announce(on) => groups.set_announce(&group, on).await,
            GroupAct::Locked(on) => groups.set_locked(&group, on).await,
            GroupAct::AdminAdd(on) => {
                let mode = if on { MemberAddMode::AdminAdd } else { MemberAddMode::AllMemberAdd };
                groups.set_member_add_mode(&group, mode).await
            }
            GroupAct::Approval(on) => {
                let mode = if on {
                    whatsapp_rust::MembershipApprovalMode::On
                } else {
                    whatsapp_rust::MembershipApprovalMode::Off
                };
                groups.set_membership_approval(&group, mode).await
            }
            GroupAct::Picture(Some(jpeg)) => groups.set_profile_picture(&group, jpeg).await.map(drop),
            GroupAct::Picture(None) => groups.remove_profile_picture(&group).await.map(drop),
            GroupAct::Leave => groups.leave(&group).await,
        };
        done.map_err(|error| failure_of(&error))
    }

    /// Changes what somebody is in a group, through a login.
    ///
    /// # Errors
    /// [`ActFailure`] when the change as a whole is refused.
    pub async fn change_member(
        &self,
        login: &LoginId,
        chat: &ChatId,
        act: PeopleAct,
        person: &GhostId,
    ) -> Result<Outcome, ActFailure> {
        let (client, group) = self.group_client(login, chat)?;
        let groups = client.groups();
        let people: [Jid; 1] =
            [person.as_str().parse().map_err(|_| ActFailure::Unknown("the person's id is none".into()))?];
        let answers = match act {
            PeopleAct::Add => groups.add_participants(&group, &people).await,
            PeopleAct::Remove => groups.remove_participants(&group, &people).await,
            PeopleAct::Promote => groups.promote_participants(&group, &people).await,
            PeopleAct::Demote => groups.demote_participants(&group, &people).await,
        };
        let answers = answers.map_err(|error| failure_of(&error))?;
        Ok(answers.first().map_or(Outcome::Done, |answer| outcome_of(act, answer)))
    }

    pub(super) fn group_client(
        &self,
        login: &LoginId,
        chat: &ChatId,
    ) -> Result<(std::sync::Arc<Client>, Jid), ActFailure> {
        let client = self.line(login).and_then(|line| line.client()).ok_or(ActFailure::Offline)?;
        let group = chat.as_str().parse().map_err(|_| ActFailure::Unknown("the chat's id is none".into()))?;
        Ok((client, group))
    }
}

fn outcome_of(act: PeopleAct, answer: &ParticipantChangeResponse) -> Outcome {
    match (answer.error.as_deref(), &answer.add_request) {
        (None, _) => Outcome::Done,
        (Some(_), Some(request)) => Outcome::Invite { code: request.code.clone(), expires_at: request.expiration },
        // In it already; not in it any more.
        (Some("409"), _) if act == PeopleAct::Add => Outcome::Done,
        (Some("404"), _) if act == PeopleAct::Remove => Outcome::Done,
        (Some(code), None) => Outcome::Refused(code.to_owned()),
    }
}

pub(super) fn failure_of(error: &GroupError) -> ActFailure {
    match error {
        GroupError::Iq(IqError::ServerError { code, .. }) => ActFailure::Refused(*code),
        GroupError::Iq(IqError::NotConnected | IqError::Socket(_) | IqError::Disconnected(_)) => ActFailure::Offline,
        other => ActFailure::Unknown(other.to_string()),
    }
}
