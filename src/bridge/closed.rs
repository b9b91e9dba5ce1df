//! Chats in which nobody of ours may write, said in words in their rooms: once when it begins and once when it ends.
//!
//! What was told is kept, so a restart tells nothing again, and the word has a fixed transaction id.

use super::Bridge;
use super::people::Halt;
use super::rooms::Known;
use crate::convert::group::GroupFacts;
use crate::convert::notice;

/// What a room is told: the key that is kept, and the words.
fn why_closed(facts: &GroupFacts) -> (&'static str, &'static str) {
    if facts.suspended {
        ("suspended", "WhatsApp has closed this group. Nobody can write in it.")
    } else if facts.announce {
        ("announce", "Only admins can write in this group.")
    } else {
        ("", "Everybody can write in this group now.")
    }
}

impl Bridge {
    /// Tells a group's room when nobody but admins can write there, or when everybody can again.
    pub(super) async fn tell_closed(&self, known: &Known, facts: &GroupFacts, mark: i64) -> Result<(), Halt> {
        let (why, words) = why_closed(facts);
        let told = self.store().find_closed(known.portal.id).await?.unwrap_or_default();
        if told == why {
            return Ok(());
        }
        let cause = format!("{}:{mark}", known.portal.id);
        let txn = self.store().derive().notice_txn(&cause, why);
        let (room, bot) = (&known.room, self.matrix().bot());
        self.matrix().send(room, bot, "m.room.message", &txn, &notice(words), None).await?;
        fail::fail_point!("groups.after_closed", |_| super::states::die_here());
        Ok(self.store().put_closed(known.portal.id, why).await?)
    }
}
