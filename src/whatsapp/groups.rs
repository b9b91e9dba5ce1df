//! Groups, read whole from WhatsApp and stored as they are: a change is only a sign that it is time to read again.
//!
//! Who calls it: the line for signs of change, floor 3 for reading. What is stored is marked, and who listens to the marks
//! makes it true in the room.

use super::Picture;
use super::Whatsapp;
use super::intake::{Batch, Intake, bare};
use super::line::Line;
use crate::convert::group::{GroupFacts, Role};
use crate::ids::{ChatId, GhostId, LoginId, PortalId};
use crate::store::portals::PortalKind;
use crate::store::{Result, StoreError};
use std::collections::{HashMap, HashSet};
use whatsapp_rust::prelude::{Client, Event, Jid};
use whatsapp_rust::{GroupError, GroupMetadata, GroupParticipant, IqError, PictureType};

/// What reading a group came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupRead {
    /// It is stored.
    Stored,
    /// The login's account is not in it, or it is no more; that is stored.
    Gone,
}

/// Why a group could not be read.
#[derive(Debug, thiserror::Error)]
pub enum GroupFailure {
    /// The line is not connected.
    #[error("the line is not connected")]
    Offline,
    /// WhatsApp did not answer, or refused for now.
    #[error("WhatsApp did not tell: {0}")]
    Later(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Whatsapp {
    /// Reads one group through a login and stores it.
    ///
    /// # Errors
    /// [`GroupFailure`]; what was stored before stays.
    pub async fn read_group(&self, login: &LoginId, chat: &ChatId) -> std::result::Result<GroupRead, GroupFailure> {
        let (client, intake) = self.reader(login)?;
        let jid: Jid = chat.as_str().parse().map_err(|_| GroupFailure::Later("the chat's id is none".into()))?;
        let asked_at = intake.store.clock().next_id();
        match client.groups().get_metadata(&jid).await {
            Ok(group) => {
                intake.store_group(login, &group, asked_at).await?;
                Ok(GroupRead::Stored)
            }
            Err(error) if is_gone(&error) => {
                intake.leave_group(login, chat).await?;
                Ok(GroupRead::Gone)
            }
            Err(error) => Err(failure_of(&error)),
        }
    }

    /// Reads all groups a login's account is in, with one request, and stores them; groups it is in no more are noted.
    ///
    /// # Errors
    /// [`GroupFailure`]; what was stored before stays.
    pub async fn read_groups(&self, login: &LoginId) -> std::result::Result<(), GroupFailure> {
        let (client, intake) = self.reader(login)?;
        let asked_at = intake.store.clock().next_id();
        let groups = client.groups().get_participating().await.map_err(|error| failure_of(&error))?;
        let mut chats = HashSet::new();
        for group in groups.values() {
            intake.store_group(login, group, asked_at).await?;
            chats.insert(bare(&group.id).as_str().to_owned());
        }
        // It may have been joined since the list was asked for, so each is asked for by itself.
        for (portal, chat) in intake.store.groups_of(login).await? {
            if !chats.contains(&chat) {
                intake.store.mark_group_stale(portal).await?;
            }
        }
        Ok(())
    }

    /// The pictures of groups as a login sees them, with one request, by the groups' ids; at most 1,000. Who has none is
    /// not in the answer.
    ///
    /// # Errors
    /// [`GroupFailure`].
    pub async fn find_group_pictures(
        &self,
        login: &LoginId,
        chats: &[&str],
    ) -> std::result::Result<HashMap<String, Picture>, GroupFailure> {
        let (client, _) = self.reader(login)?;
        let jids: Vec<Jid> = chats.iter().filter_map(|chat| chat.parse().ok()).collect();
        let told = client.groups().get_profile_pictures(jids, PictureType::Preview).await;
        let pictures = told.map_err(|error| failure_of(&error))?.into_iter().filter_map(|told| {
            let (Some(id), Some(url)) = (told.photo_id, told.url) else { return None };
            Some((bare(&told.group_jid).as_str().to_owned(), Picture { id, url }))
        });
        Ok(pictures.collect())
    }

    fn reader(
        &self,
        login: &LoginId,
    ) -> std::result::Result<(std::sync::Arc<Client>, std::sync::Arc<Intake>), GroupFailure> {
        let line = self.line(login).ok_or(GroupFailure::Offline)?;
        line.client().zip(line.intake()).ok_or(GroupFailure::Offline)
    }
}

impl Line {
    /// Marks a group something has happened to.
    pub(super) async fn note_group(&self, event: &Event, intake: &Intake) {
        let noted = match event {
            Event::GroupUpdate(update) => intake.group_changed(&update.group_jid, Sign::Group).await,
            Event::PictureUpdate(update) => intake.group_changed(&update.jid, Sign::Picture).await,
            _ => return,
        };
        // The groups are read whole at each connect, so what is missed here heals.
        if let Err(error) = noted {
            tracing::warn!(login = %self.masked(), %error, "a change of a group was not noted");
        }
    }
}

/// What has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// Name, settings or people.
    Group,
    /// The picture.
    Picture,
}

impl Intake {
    /// The portal of a group, shared with other logins.
    pub(super) async fn portal_of_group(&self, batch: &mut Batch, login: &LoginId, chat: &ChatId) -> Result<PortalId> {
        let kind = PortalKind::Group;
        let portal = self.store.find_or_make_portal_in(&mut batch.tx, chat, None, "", kind).await?;
        let is_new_here = self.store.join_portal_in(&mut batch.tx, portal.id, login).await?;
        if is_new_here {
            self.store.mark_group_stale_in(&mut batch.tx, portal.id).await?;
            batch.rings_groups = true;
        } else if portal.room.is_some() {
            self.remember_portal(chat, portal.id);
        }
        Ok(portal.id)
    }

    async fn group_changed(&self, jid: &Jid, sign: Sign) -> Result<()> {
        let chat = ChatId::new(bare(jid).as_str());
        let Some(login) = self.login.borrow().clone().filter(|_| chat.is_group()) else { return Ok(()) };
        let mut batch = self.begin("intake.group_changed").await?;
        let portal = self.portal_of(&mut batch, &login, &chat, &GhostId::new("")).await?;
        match sign {
            Sign::Group => self.store.mark_group_stale_in(&mut batch.tx, portal).await?,
            Sign::Picture => self.store.mark_group_picture_in(&mut batch.tx, portal).await?,
        }
        batch.rings_groups = true;
        self.commit(batch).await
    }

    async fn store_group(&self, login: &LoginId, group: &GroupMetadata, asked_at: i64) -> Result<()> {
        let chat = ChatId::new(bare(&group.id).as_str());
        let mut batch = self.begin("intake.group").await?;
        let portal = self.store.find_or_make_portal_in(&mut batch.tx, &chat, None, "", PortalKind::Group).await?.id;
        let joins = self.store.join_portal_in(&mut batch.tx, portal, login).await?;
        if self.store.is_newest_answer(portal, asked_at) {
            let mut people = Vec::with_capacity(group.participants.len());
            for participant in &group.participants {
                let person = self.participant(&mut batch, participant).await?;
                people.push((person, role_of(participant).number()));
            }
            let facts = self.facts_of(&mut batch, group).await?;
            batch.rings_groups = self.store.put_group_in(&mut batch.tx, portal, &facts.to_bytes(), &people).await?;
            self.store.group_was_read_in(&mut batch.tx, portal, asked_at).await?;
            self.note_timer(&mut batch, portal, group).await?;
        }
        if joins {
            // The group is the same, but its room has somebody to invite.
            self.store.mark_group_unsettled_in(&mut batch.tx, portal).await?;
            batch.rings_groups = true;
        }
        self.commit(batch).await
    }

    async fn participant(&self, batch: &mut Batch, participant: &GroupParticipant) -> Result<GhostId> {
        let other = participant.lid.as_ref().or(participant.phone_number.as_ref());
        self.canonical(batch, &participant.jid, other).await
    }

    async fn facts_of(&self, batch: &mut Batch, group: &GroupMetadata) -> Result<GroupFacts> {
        let mut author = async |jid: &Option<Jid>, pn: &Option<Jid>| match jid {
            Some(jid) => self.canonical(batch, jid, pn.as_ref()).await.map(|id| id.as_str().to_owned()),
            None => Ok(String::new()),
        };
        Ok(GroupFacts {
            subject: group.subject.clone(),
            subject_by: author(&group.subject_owner, &group.subject_owner_pn).await?,
            description: group.description.clone().unwrap_or_default(),
            description_by: author(&group.description_owner, &group.description_owner_pn).await?,
            announce: group.is_announcement,
            locked: group.is_locked,
            admin_add: self.add_modes.is_for_admins(group.id.user.as_str()),
            approval: group.membership_approval,
            timer_s: group.ephemeral.as_ref().and_then(|timer| timer.expiration).unwrap_or(0),
            is_community: group.is_parent_group,
            community: group.parent_group_jid.as_ref().map(|jid| bare(jid).as_str().to_owned()).unwrap_or_default(),
            is_announcement_group: group.is_default_sub_group,
            suspended: group.is_suspended,
            left: false,
            made_by: author(&group.creator, &group.creator_pn).await?,
            made_at: group.creation_time.and_then(|made| i64::try_from(made).ok()).unwrap_or(0).saturating_mul(1000),
        })
    }

    /// The timer as the group's own settings tell it; who set it and when is not told.
    async fn note_timer(&self, batch: &mut Batch, portal: PortalId, group: &GroupMetadata) -> Result<()> {
        let seconds = group.ephemeral.as_ref().and_then(|timer| timer.expiration).unwrap_or(0);
        self.store.put_timer_if_other_in(&mut batch.tx, portal, seconds).await
    }

    /// Notes that the login's account is not in a group any more.
    async fn leave_group(&self, login: &LoginId, chat: &ChatId) -> Result<()> {
        let mut batch = self.begin("intake.leave_group").await?;
        let portal = self.store.find_or_make_portal_in(&mut batch.tx, chat, None, "", PortalKind::Group).await?.id;
        let own = self.store.find_login_in(&mut batch.tx, login).await?.map(|login| login.own);
        let own = own.unwrap_or_else(|| GhostId::new(""));
        self.store.leave_group_in(&mut batch.tx, portal, login, &own).await?;
        batch.rings_groups = true;
        self.commit(batch).await?;
        self.forget_portal(chat);
        Ok(())
    }
}

fn role_of(participant: &GroupParticipant) -> Role {
    if participant.is_super_admin() {
        Role::Owner
    } else if participant.is_admin() {
        Role::Admin
    } else {
        Role::Member
    }
}

/// Not in it (401, 403), or no such group (404, 410), as WhatsApp's clients read the codes.
fn is_gone(error: &GroupError) -> bool {
    matches!(error, GroupError::Iq(IqError::ServerError { code: 401 | 403 | 404 | 410, .. }))
}

fn failure_of(error: &GroupError) -> GroupFailure {
    match error {
        GroupError::Iq(IqError::NotConnected | IqError::Socket(_) | IqError::Disconnected(_)) => GroupFailure::Offline,
        other => GroupFailure::Later(other.to_string()),
    }
}
