//! Two rooms of one chat become one: the number's room is left for the LID's.

use super::Bridge;
use super::people::Halt;
use super::rooms::room_id;
use crate::ids::{Lane, LoginId, PortalId};
use crate::matrix::error::MatrixError;
use crate::store::StoreError;
use crate::store::inbox::InboxRow;
use crate::verdict::Verdict;
use serde_json::json;

impl Bridge {
    /// Whether what waits for the portal that is left has to go there first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn merge_must_wait(&self, row: &InboxRow) -> Result<bool, StoreError> {
        let Some(old) = left_portal(row) else { return Ok(false) };
        Ok(!self.store().take_rows(&Lane::into_matrix(old), 1).await?.is_empty())
    }

    /// Tells the old room where the chat goes on, closes it, and moves its messages; the row settles with them.
    ///
    /// # Errors
    /// [`Halt`] when database or homeserver fail; then all of it is done again, and told once.
    pub async fn merge_rooms(&self, row: &InboxRow, portal: PortalId, login: &LoginId) -> Result<(), Halt> {
        let unreadable = || Verdict::Never { tell: String::new(), why: "a merge names no portal".into() };
        let old = left_portal(row).ok_or_else(|| Halt::Verdict(unreadable()))?;
        let left = self.store().load_portal(old).await?;
        if let Some(room) = &left.room {
            let room = room_id(room)?;
            let stays = self.ready_room(portal, login).await?;
            let tell = format!(
                "WhatsApp has told that this chat and another one are with the same person. It goes on here: \
                 https://matrix.to/#/{}",
                stays.room
            );
            match self.say(&room, &tell, &row.dedup, "merged").await.map(drop) {
                // Nobody is there to be told.
                Err(MatrixError::Forbidden { .. } | MatrixError::NotFound) => {}
                told => {
                    told?;
                    // A room of people's own is not the bridge's to close.
                    if !self.is_plumbed(&left).await? {
                        let content =
                            json!({ "body": "This chat goes on in another room.", "replacement_room": stays.room });
                        self.matrix().send_state(&room, self.matrix().bot(), "m.room.tombstone", "", &content).await?;
                    }
                }
            }
        }
        let mut tx = self.store().begin("merge.rooms").await?;
        self.store().merge_portals_in(&mut tx, old, portal).await?;
        self.store().settle_row_in(&mut tx, row.seq).await?;
        tx.commit().await?;
        self.forget_room(old);
        // What waited in the lane that is gone.
        self.store().bell().ring(Lane::into_matrix(portal));
        Ok(())
    }
}

fn left_portal(row: &InboxRow) -> Option<PortalId> {
    std::str::from_utf8(&row.body).ok()?.parse().ok().map(PortalId::new)
}
