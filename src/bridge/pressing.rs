//! Answers that press a choice, answers to events, and answers in threads.

use super::Bridge;
use super::from_matrix::never;
use super::outgoing::{Outgoing, Saying};
use super::people::Halt;
use crate::convert::choices::{Choice, Press, Rsvp, answer, pick};
use crate::convert::outgoing::{Draft, DraftContent};
use crate::ids::WaMessageId;
use crate::store::messages::Message;
use whatsapp_rust::prelude::{MessageField, wa};
use whatsapp_rust::wacore::event::encrypt_event_response_with_secret;
use whatsapp_rust::waproto::whatsapp::message::event_response_message::EventResponseType;

/// Kind of the row of an answer to an event's invitation.
pub(super) const RSVP: &str = "rsvp";

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
        if let Press::Rsvp { reply } = choice.press {
            // A number alone may be any number; who means an event answers it.
            let Some(answered) = &draft.reply_to else { return Ok(None) };
            let Some(event) = self.in_this_chat(saying, answered).await? else { return Ok(None) };
            return self.rsvp_of(saying, &event, reply).await.map(Some);
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
        Ok(Some(Outgoing::quotable("new", message)))
    }

    /// The sealed answer to an event's invitation. WhatsApp counts the latest of each person.
    async fn rsvp_of(&self, saying: &Saying<'_>, event: &Message, reply: Rsvp) -> Result<Outgoing, Halt> {
        let no_key = || {
            never(
                "The event's key is not known here, so your answer could not be sent. Please answer in WhatsApp.",
                "an event has no secret",
            )
        };
        let secret = self.secret_of(event).await?.ok_or_else(no_key)?;
        let pairs = self.pairs_of(&saying.login.id, &event.key.sender, &saying.login.own).await?;
        let pair = pairs.into_iter().next().ok_or_else(no_key)?;
        let said = wa::message::EventResponseMessage {
            response: Some(response_of(reply)),
            timestamp_ms: Some(saying.event.origin_server_ts),
            extra_guest_count: None,
        };
        let id = event.key.wa_id.as_str();
        let sealed = encrypt_event_response_with_secret(&said, &secret, id, &pair.author, &pair.actor);
        let (payload, iv) = sealed.map_err(|_| no_key())?;
        let answer = wa::message::EncEventResponseMessage {
            event_creation_message_key: MessageField::some(Self::key_of(saying, event)),
            enc_payload: Some(payload),
            enc_iv: Some(iv.to_vec()),
        };
        let message = wa::Message { enc_event_response_message: MessageField::some(answer), ..Default::default() };
        Ok(Outgoing::new(RSVP, message))
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
        let has_threads = self.is_for_announcements(saying.portal).await?
            || self.store().is_thread_root(saying.portal.id, &root.key.wa_id).await?;
        Ok(has_threads.then(|| Self::key_of(saying, &root)))
    }
}

fn response_of(reply: Rsvp) -> EventResponseType {
    match reply {
        Rsvp::Going => EventResponseType::GOING,
        Rsvp::Maybe => EventResponseType::MAYBE,
        Rsvp::NotGoing => EventResponseType::NOT_GOING,
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
