//! Who somebody is and which chat something is of: ids as the database keeps them.
//!
//! A person has a number and a LID; the LID is the one that stays. What is looked up is remembered, but only once it is
//! committed.

use super::{Batch, Intake, MEMORY, bare};
use crate::ids::{ChatId, GhostId, LoginId, PortalId};
use crate::store::Result;
use crate::store::portals::PortalKind;
use std::sync::PoisonError;
use whatsapp_rust::prelude::{Jid, Server};

impl Intake {
    /// The LID of a person's id, if it is known; else the id.
    pub(super) async fn lid_of(&self, id: GhostId) -> Result<GhostId> {
        if !id.as_str().ends_with("@s.whatsapp.net") {
            return Ok(id);
        }
        let known = self.aliases.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        match known {
            Some(lid) => Ok(lid),
            None => Ok(self.store.find_lid(&id).await?.unwrap_or(id)),
        }
    }

    /// The person's LID when known from the stanza, from memory or from the database; else the id itself.
    pub(in crate::whatsapp) async fn canonical(
        &self,
        batch: &mut Batch,
        jid: &Jid,
        alt: Option<&Jid>,
    ) -> Result<GhostId> {
        let id = bare(jid);
        if jid.server != Server::Pn {
            // Only a person has two ids: a group that comes beside a number is nobody's other name.
            if let Some(pn) = alt.filter(|alt| alt.server == Server::Pn && jid.server == Server::Lid) {
                self.learn(batch, bare(pn), id.clone()).await?;
            }
            return Ok(id);
        }
        if let Some(lid) = alt.filter(|alt| alt.server == Server::Lid) {
            let lid = bare(lid);
            self.learn(batch, id, lid.clone()).await?;
            return Ok(lid);
        }
        let known = self.aliases.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        if let Some(lid) = known {
            return Ok(lid);
        }
        match self.store.find_lid_in(&mut batch.tx, &id).await? {
            Some(lid) => {
                batch.learnt.push((id, lid.clone()));
                Ok(lid)
            }
            None => Ok(id),
        }
    }

    /// Notes that a number and a LID are one person's; the person's id.
    ///
    /// # Errors
    /// When the database fails.
    pub(in crate::whatsapp) async fn learn_pair(&self, number: &Jid, lid: Option<&Jid>) -> Result<GhostId> {
        let mut batch = self.begin("intake.learn_pair").await?;
        let person = self.canonical(&mut batch, number, lid).await?;
        self.commit(batch).await?;
        Ok(person)
    }

    async fn learn(&self, batch: &mut Batch, pn: GhostId, lid: GhostId) -> Result<()> {
        let known = self.aliases.lock().unwrap_or_else(PoisonError::into_inner).get(&pn) == Some(&lid);
        if !known {
            if self.store.put_alias_in(&mut batch.tx, &pn, &lid).await? {
                batch.lanes.extend(self.store.join_ids_in(&mut batch.tx, &pn, &lid).await?);
            }
            batch.learnt.push((pn, lid));
        }
        Ok(())
    }

    /// The portal of a chat, made when it is new. A group heard of for the first time is marked to be read.
    pub(in crate::whatsapp) async fn portal_of(
        &self,
        batch: &mut Batch,
        login: &LoginId,
        chat: &ChatId,
        sender: &GhostId,
    ) -> Result<PortalId> {
        let known = self.portals.lock().unwrap_or_else(PoisonError::into_inner).get(chat).copied();
        if let Some(portal) = known {
            return Ok(portal);
        }
        if chat.is_group() {
            return self.portal_of_group(batch, login, chat).await;
        }
        let record = self.store.find_login_in(&mut batch.tx, login).await?;
        let own = record.as_ref().map(|record| record.own.as_str());
        let owner = record.as_ref().map_or("", |record| record.mxid.as_str());
        let kind = match chat {
            chat if chat.is_status() => PortalKind::Status,
            chat if own == Some(chat.as_str()) => PortalKind::Own,
            _ => PortalKind::Direct,
        };
        let portal = self.store.find_or_make_portal_in(&mut batch.tx, chat, Some(login), owner, kind).await?;
        self.store.join_portal_in(&mut batch.tx, portal.id, login).await?;
        // A new row may still be rolled back: only what was there before is remembered.
        if portal.room.is_some() && sender.as_str() == chat.as_str() {
            self.remember_portal(chat, portal.id);
        }
        Ok(portal.id)
    }

    /// Remembers the portal of a chat, to spare the look-up.
    pub(in crate::whatsapp) fn remember_portal(&self, chat: &ChatId, portal: PortalId) {
        let mut portals = self.portals.lock().unwrap_or_else(PoisonError::into_inner);
        if portals.len() >= MEMORY {
            portals.clear();
        }
        portals.insert(chat.clone(), portal);
    }

    /// Forgets a remembered portal: the login takes part in it no more.
    pub(in crate::whatsapp) fn forget_portal(&self, chat: &ChatId) {
        self.portals.lock().unwrap_or_else(PoisonError::into_inner).remove(chat);
    }
}
