//! Finding people and groups, joining and making groups: what a person asks for by name, number or link.
//!
//! Looking up numbers in bulk gets accounts banned, so each look-up is one that a person asked for.

use super::Whatsapp;
use super::group_acts::{ActFailure, failure_of};
use super::intake::bare;
use crate::ids::{ChatId, GhostId, LoginId};
use whatsapp_rust::prelude::{Jid, Server};
use whatsapp_rust::{ContactError, GroupCreateOptions, GroupParticipantOptions, JoinGroupResult};

/// What an invite link leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invited {
    /// The group.
    pub chat: ChatId,
    /// Its name.
    pub subject: String,
    /// Its description; empty when there is none.
    pub description: String,
    /// How many are in it, as far as it is told.
    pub size: usize,
}

/// What following an invitation came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Joined {
    /// The account is in it.
    In(ChatId),
    /// An admin has to let the account in.
    Waits(ChatId),
}

/// An invitation that came as a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// The group.
    pub chat: ChatId,
    /// Its code.
    pub code: String,
    /// Seconds since 1970; 0 = for good.
    pub expires_at: i64,
    /// The admin who sent it.
    pub inviter: GhostId,
}

impl Whatsapp {
    /// The person behind a phone number (digits with the country code), under their LID when that is told; none when the
    /// number is not on WhatsApp.
    ///
    /// # Errors
    /// [`ActFailure`].
    pub async fn find_person(&self, login: &LoginId, digits: &str) -> Result<Option<GhostId>, ActFailure> {
        let line = self.line(login).ok_or(ActFailure::Offline)?;
        let (client, intake) = line.client().zip(line.intake()).ok_or(ActFailure::Offline)?;
        let asked = Jid::new(digits, Server::Pn);
        let found = client.contacts().is_on_whatsapp(std::slice::from_ref(&asked)).await.map_err(read_contact)?;
        let Some(person) = found.into_iter().find(|person| person.is_registered) else { return Ok(None) };
        let number = person.pn_jid.clone().unwrap_or(asked);
        let lid = person.lid.clone().or_else(|| Some(person.jid.clone()).filter(|jid| jid.server == Server::Lid));
        let learnt = intake.learn_pair(&number, lid.as_ref()).await;
        learnt.map(Some).map_err(|error| ActFailure::Unknown(error.to_string()))
    }

    /// The text beside a person's name as a login may see it; none when it is hidden or empty.
    ///
    /// # Errors
    /// [`ActFailure`].
    pub async fn find_about(&self, login: &LoginId, person: &GhostId) -> Result<Option<String>, ActFailure> {
        let client = self.line(login).and_then(|line| line.client()).ok_or(ActFailure::Offline)?;
        let jid: Jid = person.as_str().parse().map_err(|_| ActFailure::Unknown("the person's id is none".into()))?;
        let found = client.contacts().get_user_info(std::slice::from_ref(&jid)).await.map_err(read_contact)?;
        let about = found.into_values().next().and_then(|info| info.status);
        Ok(about.filter(|about| !about.trim().is_empty()))
    }

    /// Looks at the group behind an invite link without joining.
    ///
    /// # Errors
    /// [`ActFailure`].
    pub async fn look_at_invite(&self, login: &LoginId, link: &str) -> Result<Invited, ActFailure> {
        let client = self.line(login).and_then(|line| line.client()).ok_or(ActFailure::Offline)?;
        let group = client.groups().get_invite_info(link).await.map_err(|error| failure_of(&error))?;
        Ok(Invited {
            chat: ChatId::new(bare(&group.id).as_str()),
            subject: group.subject,
            description: group.description.unwrap_or_default(),
            size: group.size.map_or(group.participants.len(), |size| size as usize),
        })
    }

    /// Follows an invite link.
    ///
    /// # Errors
    /// [`ActFailure`].
    pub async fn follow_invite(&self, login: &LoginId, link: &str) -> Result<Joined, ActFailure> {
        let client = self.line(login).and_then(|line| line.client()).ok_or(ActFailure::Offline)?;
        client.groups().join_with_invite_code(link).await.map(joined).map_err(|error| failure_of(&error))
    }

    /// Accepts an invitation that came as a message.
    ///
    /// # Errors
    /// [`ActFailure`].
    pub async fn accept_invitation(&self, login: &LoginId, invitation: &Invitation) -> Result<Joined, ActFailure> {
        let client = self.line(login).and_then(|line| line.client()).ok_or(ActFailure::Offline)?;
        let unreadable = || ActFailure::Unknown("an id in the invitation is none".into());
        let group: Jid = invitation.chat.as_str().parse().map_err(|_| unreadable())?;
        let inviter: Jid = invitation.inviter.as_str().parse().map_err(|_| unreadable())?;
        let groups = client.groups();
        let done = groups.join_with_invite_v4(group, &invitation.code, invitation.expires_at, inviter).await;
        done.map(joined).map_err(|error| failure_of(&error))
    }

    /// A group's invite link; a new one with `reset`, and the old one ends.
    ///
    /// # Errors
    /// [`ActFailure`].
    pub async fn invite_link(&self, login: &LoginId, chat: &ChatId, reset: bool) -> Result<String, ActFailure> {
        let (client, group) = self.group_client(login, chat)?;
        client.groups().get_invite_link(group, reset).await.map_err(|error| failure_of(&error))
    }

    /// Makes a group with these people.
    ///
    /// # Errors
    /// [`ActFailure`].
    pub async fn create_group(&self, login: &LoginId, subject: &str, people: &[GhostId]) -> Result<ChatId, ActFailure> {
        let line = self.line(login).ok_or(ActFailure::Offline)?;
        let (client, intake) = line.client().zip(line.intake()).ok_or(ActFailure::Offline)?;
        let mut members = Vec::with_capacity(people.len());
        for person in people {
            // WhatsApp wants the number beside the LID, and the library may not have met the pair.
            let number = intake.store.find_pn(person).await.map_err(|error| ActFailure::Unknown(error.to_string()))?;
            let Ok(jid) = person.as_str().parse::<Jid>() else { continue };
            let member = GroupParticipantOptions::new(jid);
            members.push(match number.and_then(|number| number.as_str().parse().ok()) {
                Some(number) => member.with_phone_number(number),
                None => member,
            });
        }
        let options = GroupCreateOptions::new(subject).with_participants(members);
        let made = client.groups().create_group(options).await.map_err(|error| failure_of(&error))?;
        Ok(ChatId::new(bare(&made.metadata.id).as_str()))
    }
}

fn joined(result: JoinGroupResult) -> Joined {
    let chat = ChatId::new(bare(result.group_jid()).as_str());
    match result {
        JoinGroupResult::Joined(_) => Joined::In(chat),
        JoinGroupResult::PendingApproval(_) => Joined::Waits(chat),
    }
}

fn read_contact(error: ContactError) -> ActFailure {
    ActFailure::Unknown(error.to_string())
}
