//! What people do with a chat for themselves: mute, pin, archive, mark as unread.

use super::Call;
use crate::matrix::error::Result;
use crate::store::chat_marks::MarkKind;
use crate::whatsapp::outgoing::SendFailure;

/// Longest mute that is given as a time: what is longer is for good, milliseconds.
const LONGEST: i64 = 366 * 24 * 3600 * 1000;

pub(super) async fn mark(call: &Call, kind: MarkKind, is_set: bool) -> Result<()> {
    let Some((portal, login)) = &call.chat else { return Ok(()) };
    let value = match (kind, is_set, call.rest.as_slice()) {
        (_, false, []) => 0,
        (MarkKind::Mute, true, []) => -1,
        (MarkKind::Mute, true, [time]) => match milliseconds(time) {
            Some(time) => call.bridge.store().clock().now_ms() + time,
            None => {
                return call
                    .answer("Say for how long, as in `mute 8h`, or `mute` alone. (m, h, d and w are known.)")
                    .await;
            }
        },
        (_, true, []) => 1,
        _ => return call.answer("That needs no further words.").await,
    };
    match call.bridge.mark_chat(portal, login, kind, value).await? {
        Ok(()) => call.answer(words_of(kind, is_set)).await,
        Err(failure) => call.answer(refusal(&failure)).await,
    }
}

/// What was done, for the person.
pub(super) fn words_of(kind: MarkKind, is_set: bool) -> &'static str {
    match (kind, is_set) {
        (MarkKind::Mute, true) => "Muted on WhatsApp.",
        (MarkKind::Mute, false) => "No longer muted on WhatsApp.",
        (MarkKind::Pin, true) => "Pinned on WhatsApp.",
        (MarkKind::Pin, false) => "No longer pinned on WhatsApp.",
        (MarkKind::Archive, true) => "Archived on WhatsApp.",
        (MarkKind::Archive, false) => "No longer archived on WhatsApp.",
        (MarkKind::Unread, true) => "Marked as unread on WhatsApp.",
        (MarkKind::Unread, false) => "Marked as read on WhatsApp.",
    }
}

/// Why it was not done, for the person.
pub(super) fn refusal(failure: &SendFailure) -> &'static str {
    match failure {
        SendFailure::Offline => "This account is not connected to WhatsApp right now. Try again later.",
        _ => "WhatsApp did not take it. Try again in a while.",
    }
}

/// A time such as `30m`, `8h`, `7d` or `2w`; at most a year.
fn milliseconds(text: &str) -> Option<i64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 24 * 3_600_000,
        "w" => 7 * 24 * 3_600_000,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(unit).filter(|time| (1..=LONGEST).contains(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit_and_bounds() {
        assert_eq!(milliseconds("8h"), Some(28_800_000));
        assert_eq!(milliseconds("2w"), Some(1_209_600_000));
        for wrong in ["", "h", "8", "0h", "-1h", "99999w", "8x", "ä", "8ä"] {
            assert_eq!(milliseconds(wrong), None, "{wrong}");
        }
    }
}
