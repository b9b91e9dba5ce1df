//! Messages that came without their content, and what stands in their place until they come.

use super::incoming::waiting;
use super::part::MxPart;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Why a message is not there. Stored with the arrival that keeps its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Absent {
    /// It can not be read yet; it was asked for again.
    Unreadable,
    /// As [`Absent::Unreadable`], and its sender wants nothing shown of it until it can be (`decrypt-fail="hide"`:
    /// reactions, votes and the like).
    Hidden,
    /// To be looked at once, on the phone alone.
    ViewOnce,
    /// A business's message that its provider shows to the phone alone.
    Hosted,
    /// An assistant's message that is shown to the phone alone.
    Bot,
}

impl Absent {
    /// Whether it may come within seconds, so that the messages behind it wait.
    pub fn may_come_soon(self) -> bool {
        matches!(self, Self::Unreadable | Self::Hidden)
    }

    /// What stands in its place; nothing for what is not to be seen.
    pub fn part(self) -> Option<MxPart> {
        let text = match self {
            Self::Hidden => return None,
            Self::Unreadable => return Some(waiting()),
            Self::ViewOnce => "👁 A view-once message. It can be opened only in WhatsApp on your phone.",
            Self::Hosted => {
                "A message of this business that only your phone gets. Please open WhatsApp there to read it."
            }
            Self::Bot => "A message of an assistant that only your phone gets. Please open WhatsApp there to read it.",
        };
        let content = json!({
            "msgtype": "m.notice",
            "body": text,
            "m.mentions": {},
            "fi.mau.whatsapp.undecryptable": true,
        });
        Some(MxPart::new("m.room.message", content))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_own_words_and_its_stored_name() {
        let all = [Absent::Unreadable, Absent::Hidden, Absent::ViewOnce, Absent::Hosted, Absent::Bot];
        // Stored; never to be edited.
        let names = ["\"unreadable\"", "\"hidden\"", "\"view_once\"", "\"hosted\"", "\"bot\""];
        for (absent, name) in all.into_iter().zip(names) {
            assert_eq!(serde_json::to_string(&absent).unwrap(), name);
        }
        let mut words: Vec<String> =
            all.iter().filter_map(|absent| absent.part()).map(|part| part.content["body"].to_string()).collect();
        words.sort();
        words.dedup();
        assert_eq!(words.len(), 4);
        assert_eq!(all.iter().filter(|absent| absent.may_come_soon()).count(), 2);
    }
}
