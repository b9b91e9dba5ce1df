//! Muted, pinned, archived and unread chats, shown by the person's own account.
//!
//! A mark is shown when the bridge acts as its owner, and again after every start until that worked; what is shown
//! already is not set again. A person who is not acted as sees nothing of it; the commands work for everybody.

use super::Bridge;
use super::people::Halt;
use super::rooms::room_id;
use crate::matrix::error::MatrixError;
use crate::store::chat_marks::{ChatMark, MarkKind, Unreached};
use crate::store::logins::{Login, LoginState};
use crate::store::portals::Portal;
use crate::verdict::Verdict;
use crate::whatsapp::outgoing::SendFailure;
use ruma::{RoomId, UserId};
use serde_json::json;
use std::time::Duration;

/// How often it is looked for mutes that have ended and for marks whose rooms have come.
const ROUND: Duration = Duration::from_secs(30);

impl Bridge {
    /// Shows marks as they come, until the process stops.
    pub async fn run_chat_marks(&self) {
        loop {
            if let Err(error) = self.show_marks().await {
                tracing::warn!(%error, "what people did with their chats is shown later");
            }
            if let Err(error) = self.tell_blocks().await {
                tracing::warn!(%error, "who was blocked is told later");
            }
            tokio::select! {
                () = self.stop().cancelled() => return,
                () = self.store().marks_rung() => {}
                () = tokio::time::sleep(ROUND) => {}
            }
        }
    }

    async fn show_marks(&self) -> crate::store::Result<()> {
        self.store().end_mutes(self.store().clock().now_ms()).await?;
        for login in self.store().all_logins().await? {
            if login.state != LoginState::Linked {
                continue;
            }
            let left = self.store().unreached_marks(&login.id).await?;
            if left.is_empty() {
                continue;
            }
            let user = match self.ready_puppet(&login.mxid).await {
                Ok(Some(user)) => user,
                Ok(None) | Err(Halt::Verdict(_)) => continue,
                Err(Halt::Store(error)) => return Err(error),
            };
            for unreached in left {
                let _turn = self.shared.puppets.marks.lock().await;
                let Unreached { mark, .. } = &unreached;
                // It may have been replaced, or done by the person, since it was read.
                let now = self.store().find_chat_mark(&login.id, &mark.chat, mark.kind).await?;
                if now.is_some_and(|(value, is_shown)| is_shown || value != mark.value) {
                    continue;
                }
                match self.show_mark(&user, &unreached).await {
                    Ok(()) => self.store().mark_was_reached(&unreached.mark).await?,
                    Err(Halt::Store(error)) => return Err(error),
                    Err(Halt::Verdict(verdict)) => {
                        tracing::debug!(portal = unreached.portal.get(), ?verdict, "a mark of a chat was not shown");
                        // Who is not there is not there for the others either.
                        if matches!(verdict, Verdict::Blocked(_) | Verdict::Away { .. }) {
                            break;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    async fn show_mark(&self, user: &UserId, unreached: &Unreached) -> Result<(), Halt> {
        let room = room_id(&unreached.room)?;
        let is_set = unreached.mark.value != 0;
        // Marks are told again (`sync appstate`, a kill), and setting what is set is news for all clients of the person.
        if self.is_marked(user, &room, unreached.mark.kind).await? == is_set {
            return Ok(());
        }
        let matrix = self.matrix();
        match unreached.mark.kind {
            MarkKind::Mute => matrix.set_muted(user, &room, is_set).await?,
            MarkKind::Pin => matrix.set_tag(user, &room, "m.favourite", is_set).await?,
            MarkKind::Archive => matrix.set_tag(user, &room, &self.config().network.archive_tag, is_set).await?,
            MarkKind::Unread => {
                matrix.set_account_data(user, Some(&room), "m.marked_unread", &json!({ "unread": is_set })).await?;
            }
        }
        fail::fail_point!("puppet.after_mark_shown", |_| std::process::abort());
        Ok(())
    }

    /// Whether somebody's own account marks a room.
    pub(super) async fn is_marked(&self, user: &UserId, room: &RoomId, kind: MarkKind) -> Result<bool, Halt> {
        let matrix = self.matrix();
        Ok(match kind {
            MarkKind::Mute => matrix.muted_by(user).await?.contains(room.as_str()),
            MarkKind::Pin => matrix.has_tag(user, room, "m.favourite").await?,
            MarkKind::Archive => matrix.has_tag(user, room, &self.config().network.archive_tag).await?,
            MarkKind::Unread => {
                // MSC2867, stable since v1.12 of the specification, and before.
                let data = async |kind: &str| matrix.find_account_data(user, Some(room), kind).await;
                data("m.marked_unread").await?["unread"] == true
                    || data("com.famedly.marked_unread").await?["unread"] == true
            }
        })
    }

    /// Sets a mark of a chat on WhatsApp through one of somebody's logins; it is kept, so that their account shows it too.
    ///
    /// # Errors
    /// The failure of WhatsApp; the database's as a homeserver that is not there.
    pub(crate) async fn mark_chat(
        &self,
        portal: &Portal,
        login: &Login,
        kind: MarkKind,
        value: i64,
    ) -> Result<Result<(), SendFailure>, MatrixError> {
        if let Err(failure) = self.whatsapp().mark_chat(&login.id, &portal.chat, kind, value).await {
            return Ok(Err(failure));
        }
        let ts = self.store().clock().now_ms();
        let mark = ChatMark { login: login.id.clone(), chat: portal.chat.clone(), kind, value, ts };
        let kept = self.store().put_chat_mark(&mark).await;
        kept.map_err(|error| MatrixError::Unreachable { why: error.to_string() })?;
        Ok(Ok(()))
    }
}
