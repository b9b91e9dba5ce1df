//! Reactions of a channel's followers, as counts: `👍 12` under the post, by the channel itself.
//!
//! WhatsApp tells how many gave a reaction, never who. One reaction event stands for each of the most frequent ones; when a
//! count changes it is replaced, never more often than [`PAUSE`], and clients neither notify nor move the room for it.
//! A change is planned in the database before it is made, under ids of its own, so that a kill in its middle makes
//! nothing twice.

use super::Bridge;
use super::channels::voice_of;
use super::people::{Facts, Halt};
use crate::convert::channel::Counts;
use crate::ids::Lane;
use crate::store::channels::Unshown;
use crate::store::disappearing::GONE;
use crate::verdict::{Gate, Verdict};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Shortest time between two changes of what shows the counts of one post, milliseconds.
const PAUSE: i64 = 15_000;

/// An event that shows a count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Pill {
    /// Emoji and number.
    key: String,
    /// The event.
    event: String,
}

/// A change of what shows the counts of a post.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Change {
    /// Names its events.
    id: i64,
    /// What shall stand there.
    keys: Vec<String>,
}

impl Bridge {
    /// Shows counts that are not shown yet; whether that worked for all whose time has come.
    pub(super) async fn show_counts(&self) -> Result<bool, Halt> {
        let mut all = true;
        for post in self.store().unshown_posts().await? {
            match self.show_counts_of(&post).await {
                Ok(()) => {}
                Err(halt @ (Halt::Store(_) | Halt::Verdict(Verdict::Blocked(Gate::Homeserver)))) => return Err(halt),
                Err(Halt::Verdict(verdict)) => {
                    all = false;
                    tracing::debug!(portal = post.portal.get(), ?verdict, "the counts of a post are shown later");
                }
            }
        }
        Ok(all)
    }

    async fn show_counts_of(&self, post: &Unshown) -> Result<(), Halt> {
        let now = self.store().clock().now_ms();
        if post.planned.is_empty() && now - post.shown_at < PAUSE {
            return Ok(());
        }
        let portal = self.store().load_portal(post.portal).await?;
        let message = self.store().find_message_by_wa_id(post.portal, &post.id).await?;
        let is_there = message.as_ref().is_some_and(|message| message.kind != GONE);
        let Some(event) = message.and_then(|message| message.event_id).filter(|_| is_there && portal.room.is_some())
        else {
            // Still on its way, or nothing that is shown.
            if portal.room.is_some() && self.store().take_rows(&Lane::into_matrix(portal.id), 1).await?.is_empty() {
                self.store().post_is_shown(post, &post.shown, post.shown_at).await?;
            }
            return Ok(());
        };
        let shown: Vec<Pill> = serde_json::from_slice(&post.shown).unwrap_or_default();
        let change = match serde_json::from_slice::<Change>(&post.planned) {
            Ok(begun) => begun,
            Err(_) => {
                let own = self.store().own_reactions_to(post.portal, &post.id).await?;
                let keys = Counts::from_bytes(&post.counts).pills(&own);
                if shown.iter().map(|pill| &pill.key).eq(&keys) {
                    return Ok(self.store().post_is_shown(post, &post.shown, post.shown_at).await?);
                }
                let change = Change { id: self.store().clock().next_id(), keys };
                let planned = serde_json::to_vec(&change).unwrap_or_default();
                self.store().plan_post(post.portal, &post.id, &planned).await?;
                change
            }
        };
        fail::fail_point!("channels.after_plan", |_| super::states::die_here());
        let known = self.known_room(&portal).await?;
        let user = self.ready_ghost(&voice_of(&portal), Facts::default()).await?;
        self.ready_member(&known, &user).await?;
        let cause = format!("counts/{}/{}", post.portal.get(), change.id);
        for old in shown.iter().filter(|pill| !change.keys.contains(&pill.key)) {
            self.redact_once(&known.room, &old.event, user.as_str(), &cause, &format!("gone {}", old.key)).await?;
        }
        fail::fail_point!("channels.after_pill", |_| super::states::die_here());
        let mut pills = Vec::new();
        for key in &change.keys {
            if let Some(old) = shown.iter().find(|pill| pill.key == *key) {
                pills.push(old.clone());
                continue;
            }
            let relation = json!({ "rel_type": "m.annotation", "event_id": event, "key": key });
            let txn = self.store().derive().notice_txn(&cause, key);
            let content = json!({ "m.relates_to": relation });
            let sent = self.matrix().send(&known.room, &user, "m.reaction", &txn, &content, None).await?;
            pills.push(Pill { key: key.clone(), event: sent.to_string() });
        }
        let pills = serde_json::to_vec(&pills).unwrap_or_default();
        Ok(self.store().post_is_shown(post, &pills, now).await?)
    }
}
