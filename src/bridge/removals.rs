//! What people delete for themselves: a chat, its messages, one message; on their phone or by command.
//!
//! It is nobody else's: a shared room loses nothing of it while others of the bridge are there. Messages go as disappearing ones
//! do, by rows of `expiry`, so a removal that does not work is tried until it does. Starred messages are kept where the
//! phone keeps them.

use super::Bridge;
use super::people::Halt;
use crate::ids::{GhostId, LoginId, PortalId, WaMessageId};
use crate::store::inbox::InboxRow;
use crate::store::logins::{Login, LoginState};
use crate::store::messages::PartKey;
use crate::store::portals::{Portal, PortalKind};
use crate::verdict::Verdict;
use crate::whatsapp::outgoing::SendFailure;
use crate::whatsapp::removals::{LastMessage, Removal, RemovalRow, Removed};
use futures_util::future::BoxFuture;

impl Bridge {
    /// Does in the room what its owner did on the phone, as far as the operator wants it.
    pub(super) fn removed_on_phone<'a>(
        &'a self,
        row: &'a InboxRow,
        portal: PortalId,
        login: &'a LoginId,
    ) -> BoxFuture<'a, Result<(), Halt>> {
        Box::pin(self.follow_removal(row, portal, login))
    }

    async fn follow_removal(&self, row: &InboxRow, portal: PortalId, login: &LoginId) -> Result<(), Halt> {
        let unreadable =
            || Halt::Verdict(Verdict::Never { tell: String::new(), why: "a stored deletion can not be read".into() });
        let removal: RemovalRow = serde_json::from_slice(&row.body).map_err(|_| unreadable())?;
        let portal = self.store().load_portal(portal).await?;
        let is_direct = matches!(portal.kind, PortalKind::Direct | PortalKind::Own);
        match &removal.what {
            // The account may have left the group before.
            Removed::Chat if portal.kind == PortalKind::Group => self.store().mark_group_stale(portal.id).await?,
            Removed::Chat if is_direct && self.config().bridge.delete_chat_rooms => {
                let newest = self.store().newest_message_until(portal.id, i64::MAX).await?;
                // What was said since then is a chat again. WhatsApp's times are whole seconds; where they do not tell which came
                // first, a deletion that is told again is the one that may be done already.
                let slack = if removal.is_retold { -1_000 } else { 1_000 };
                let until = removal.ts_ms.saturating_add(slack);
                // Nobody has written in it: when that is told again it may be a new room, for which it was not meant.
                if newest.map_or(!removal.is_retold, |newest| newest.ts <= until) {
                    self.delete_room(&portal).await?;
                }
            }
            Removed::Messages { starred } if is_direct => {
                self.clear_messages(&portal, login, removal.ts_ms, *starred).await?;
            }
            Removed::Message { id } => self.remove_for_one(&portal, login, &WaMessageId::new(id.as_str())).await?,
            Removed::Chat | Removed::Messages { .. } => {}
        }
        fail::fail_point!("states.removed", |_| super::states::die_here());
        Ok(self.store().settle_row(row.seq).await?)
    }

    async fn clear_messages(&self, portal: &Portal, login: &LoginId, until: i64, starred: bool) -> Result<(), Halt> {
        if self.config().bridge.clear_chat_messages {
            self.store().expire_messages(portal, login, until, starred).await?;
        }
        Ok(())
    }

    /// Removes one message from its room when nobody else of the bridge shares it.
    async fn remove_for_one(&self, portal: &Portal, login: &LoginId, id: &WaMessageId) -> Result<(), Halt> {
        let others = self.store().logins_in(portal.id).await?;
        let is_shared = portal.receiver.is_none()
            && others.iter().any(|other| other.id != *login && other.state == LoginState::Linked);
        let Some(message) = self.store().find_message_by_wa_id(portal.id, id).await? else { return Ok(()) };
        if !is_shared {
            self.expire_now(&message.key).await?;
        }
        Ok(())
    }

    async fn expire_now(&self, key: &PartKey) -> Result<(), Halt> {
        let key = PartKey { part: 0, ..key.clone() };
        let mut tx = self.store().begin("removals.one").await?;
        self.store().put_expiry_in(&mut tx, &key, self.store().clock().now_ms()).await?;
        Ok(tx.commit().await?)
    }

    /// Deletes a direct chat, or its messages, on WhatsApp, and here as the operator has it.
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail; inside it WhatsApp's refusal.
    pub(crate) async fn remove_chat(
        &self,
        portal: &Portal,
        login: &Login,
        what: Removal,
    ) -> Result<Result<(), SendFailure>, Halt> {
        let newest = self.store().newest_message_until(portal.id, i64::MAX).await?;
        let last = newest.map(|newest| LastMessage {
            id: newest.key.wa_id,
            from_me: is_own(&newest.key.sender, login),
            ts: newest.ts / 1000,
        });
        if let Err(failure) = self.whatsapp().remove(&login.id, &portal.chat, what, last.as_ref()).await {
            return Ok(Err(failure));
        }
        fail::fail_point!("states.removed_here", |_| super::states::die_here());
        match what {
            Removal::Chat => self.delete_room(portal).await?,
            Removal::Messages => self.clear_messages(portal, &login.id, self.store().clock().now_ms(), false).await?,
        }
        Ok(Ok(()))
    }
}

fn is_own(person: &GhostId, login: &Login) -> bool {
    *person == login.own || *person == login.pn
}
