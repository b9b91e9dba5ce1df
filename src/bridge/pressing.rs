//! Answers that press a choice, and answers in threads.

use super::Bridge;
use super::from_matrix::never;
use super::outgoing::{Outgoing, Saying};
use super::people::Halt;
use crate::convert::choices::{Choice, Press, answer, pick};
use crate::convert::outgoing::{Draft, DraftContent};
use crate::convert::quote;
use crate::ids::WaMessageId;
use whatsapp_rust::prelude::wa;

/// Longest answer that may be a choice, bytes.
const MAX_ANSWER: usize = 400;

impl Bridge {
    /// The press of a choice that a text means: an answer to the message that offers it, by number or words; or a number
    /// alone, right after it. None when it is only a text.
    ///
    /// # Errors
    /// [`Halt`] when the database fails, or with words for the person.
    pub(super) async fn press_of(&self, saying: &Saying<'_>, draft: &Draft) -> Result<Option<Outgoing>, Halt> {
        if !matches!(draft.content, DraftContent::Text { .. }) {
            return Ok(None);
        }
        let text = words_of(saying.event.content["body"].as_str().unwrap_or_default());
        if text.len() > MAX_ANSWER {
            return Ok(None);
        }
        let is_number = text.trim_end_matches('.').parse::<usize>().is_ok();
        let offered = match &draft.reply_to {
            Some(answered) => self.in_this_chat(saying, answered).await?.map(|message| message.key.wa_id),
            None if is_number => self.store().newest_message(saying.portal.id).await?,
            None => None,
        };
        let Some(offered) = offered else { return Ok(None) };
        let Some(choice) = self.choice_of(saying, &offered, text).await? else { return Ok(None) };
        // Answers to invitations are sealed, which phones do; here a number is a number.
        if matches!(choice.press, Press::Rsvp { .. }) {
            return Ok(None);
        }
        let quoted = match &draft.reply_to {
            Some(answered) => self.quoted(saying, answered).await?,
            None => {
                let event = self.store().find_message_by_wa_id(saying.portal.id, &offered).await?;
                match event.and_then(|message| message.event_id) {
                    Some(event) => self.quoted(saying, &event).await?,
                    None => None,
                }
            }
        };
        let mut message =
            answer(&choice, quoted.as_ref()).map_err(|refusal| never(refusal.tell, "a choice can not be pressed"))?;
        message.message_context_info.get_or_insert_default().message_secret = Some(saying.secret.to_vec());
        let copy = quote::keep(&message);
        Ok(Some(Outgoing { message, quote: Some(copy), kind: "new", reaction: None, replaces: None, ballot: None }))
    }

    async fn choice_of(&self, saying: &Saying<'_>, offered: &WaMessageId, text: &str) -> Result<Option<Choice>, Halt> {
        let Some(kept) = self.store().find_choices(saying.portal.id, offered).await? else { return Ok(None) };
        let choices: Vec<Choice> = serde_json::from_slice(&kept).unwrap_or_default();
        Ok(pick(&choices, text).cloned())
    }

    /// The first message of a text's thread, where this chat has threads: somebody on WhatsApp has commented it.
    ///
    /// # Errors
    /// [`Halt`] when the database fails.
    pub(super) async fn thread_of(&self, saying: &Saying<'_>, draft: &Draft) -> Result<Option<wa::MessageKey>, Halt> {
        let Some(root) = &draft.thread_of else { return Ok(None) };
        let Some(root) = self.in_this_chat(saying, root).await? else { return Ok(None) };
        let has_threads = self.store().is_thread_root(saying.portal.id, &root.key.wa_id).await?;
        Ok(has_threads.then(|| Self::key_of(saying, &root)))
    }
}

/// The text without the quote that older clients put before an answer.
fn words_of(body: &str) -> &str {
    match body.split_once("\n\n") {
        Some((quote, words)) if quote.starts_with("> ") => words.trim(),
        _ => body.trim(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_clients_quote_is_no_part_of_the_answer() {
        assert_eq!(words_of("> <@a:b> which?\n\n 2 "), "2");
        assert_eq!(words_of(" Yes "), "Yes");
        assert_eq!(words_of("a\n\nb"), "a\n\nb");
    }
}
