//! Blocked contacts: told in words in their chats' rooms, and nothing goes to them.
//!
//! Each change is told once: what was told is kept, and the word has a fixed transaction id.

use super::Bridge;
use super::from_matrix::never;
use super::outgoing::Saying;
use super::people::Halt;
use super::rooms::room_id;
use crate::ids::GhostId;
use crate::store::logins::Login;
use crate::store::portals::PortalKind;
use crate::whatsapp::group_acts::ActFailure;

/// What a room is told.
fn words(is_blocked: bool, prefix: &str) -> String {
    if is_blocked {
        format!(
            "This contact is blocked on WhatsApp: nothing they write comes here, and nothing you write reaches them. To end \
             it, say `{prefix} unblock`."
        )
    } else {
        "This contact is no longer blocked on WhatsApp.".to_owned()
    }
}

impl Bridge {
    /// Tells the rooms of chats whose contact was blocked or is no longer.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn tell_blocks(&self) -> crate::store::Result<()> {
        for untold in self.store().untold_blocks().await? {
            // Without a room there is nobody to tell; what is sent there later is answered.
            if let Some(room) = untold.room.as_deref().and_then(|room| room_id(room).ok()) {
                let text = words(untold.is_blocked, &self.config().bridge.command_prefix);
                let cause = format!("{}:{}:{}", untold.login, untold.person, untold.at);
                if let Err(error) = self.say(&room, &text, &cause, "blocked").await {
                    tracing::debug!(%error, "a block of a contact is told later");
                    continue;
                }
                fail::fail_point!("states.blocked", |_| super::states::die_here());
            }
            self.store().block_was_told(&untold).await?;
        }
        Ok(())
    }

    /// Refuses what would go to somebody whom the account has blocked; deletions of what was said before go all the same.
    ///
    /// # Errors
    /// [`Halt`] with the words for the person.
    pub(super) fn refuse_blocked(&self, saying: &Saying<'_>, is_blocked: bool) -> Result<(), Halt> {
        if !is_blocked || saying.portal.kind != PortalKind::Direct || saying.event.kind == "m.room.redaction" {
            return Ok(());
        }
        let prefix = &self.config().bridge.command_prefix;
        Err(never(
            format!(
                "This contact is blocked on WhatsApp, so this was not sent. Say `{prefix} unblock` first, then `{prefix} retry`."
            ),
            "the contact is blocked",
        ))
    }

    /// Blocks somebody on WhatsApp through one of somebody's logins, or does so no longer; the chat's room is told.
    ///
    /// # Errors
    /// When the database fails; the failure of WhatsApp inside.
    pub(crate) async fn set_blocked(
        &self,
        login: &Login,
        person: &GhostId,
        is_blocked: bool,
    ) -> crate::store::Result<Result<(), ActFailure>> {
        if let Err(failure) = self.whatsapp().set_blocked(&login.id, person, is_blocked).await {
            return Ok(Err(failure));
        }
        self.store().put_blocked(&login.id, person, is_blocked).await?;
        Ok(Ok(()))
    }
}
