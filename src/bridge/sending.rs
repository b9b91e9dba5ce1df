//! A message of a person's is put on WhatsApp.
//!
//! Promise: it goes under the id reserved for it, with the bytes that were built first, until WhatsApp has taken it; then
//! what follows from it is written down in the transaction that settles its row. What never can arrive is recorded as failed.

use super::Bridge;
use super::ballots::{self, Ballot};
use super::from_matrix::never;
use super::outgoing::{Outgoing, Saying};
use super::people::Halt;
use super::relay_votes::TALLY;
use super::rooms::room_id;
use crate::convert::incoming::expires_s;
use crate::ids::{LoginId, WaMessageId};
use crate::store::inbox::ring_all;
use crate::store::messages::{MessageState, PartKey, Reservation};
use crate::store::portals::PortalKind;
use crate::verdict::{Gate, Verdict};
use crate::whatsapp::line::LineState;
use crate::whatsapp::outgoing::SendFailure;
use whatsapp_rust::prelude::wa;
use whatsapp_rust::waproto::codec::{message_decode, message_to_vec};

impl Bridge {
    /// Settles a message that was taken back while it waited: if it was never tried, nobody on WhatsApp hears of it.
    pub(super) async fn forget_unsent(&self, saying: &Saying<'_>, wa_id: WaMessageId) -> Result<(), Halt> {
        let key = PartKey { portal: saying.portal.id, sender: saying.login.own.clone(), wa_id, part: 0 };
        if self.store().find_message(&key).await?.is_none() {
            let row = Outgoing::new("new", wa::Message::default());
            self.store().reserve(&reservation(saying, &key, &row, None)).await?;
            self.store().message_has_failed(&key).await?;
        }
        self.settle_unsent(saying.row, "It was deleted before it was sent.").await
    }

    /// Sends a message and settles its row.
    ///
    /// # Errors
    /// [`Halt`]; a message that never can arrive is recorded as failed.
    pub(super) async fn send_to_whatsapp(
        &self,
        saying: &Saying<'_>,
        wa_id: WaMessageId,
        mut outgoing: Outgoing,
    ) -> Result<(), Halt> {
        let Saying { row, event, portal, login, .. } = *saying;
        let key = PartKey { portal: portal.id, sender: login.own.clone(), wa_id, part: 0 };
        let Some(message) = self.hand_over(saying, &key, &outgoing).await? else {
            let mut tx = self.store().begin("from_matrix.known").await?;
            if let Some(ballot) = &outgoing.ballot {
                ballots::record_in(self.store(), &mut tx, ballot, event.origin_server_ts).await?;
            }
            self.store().settle_row_in(&mut tx, row.seq).await?;
            return Ok(tx.commit().await?);
        };
        if let (Some(Ballot::Cast { vote, .. }), Some(ts)) = (&mut outgoing.ballot, ballots::cast_at(&message)) {
            vote.ts = ts;
        }
        if let Some((replaced, sent_by)) = &outgoing.replaces {
            self.redact_once(&room_id(&event.room_id)?, replaced, sent_by, &row.dedup, "replaced").await?;
        }
        if let Some(ballot) = &mut outgoing.ballot {
            self.unshow(saying, ballot).await?;
        }
        let mut tx = self.store().begin("from_matrix.settle").await?;
        self.store().message_was_sent_in(&mut tx, &key, None).await?;
        if let Some(reaction) = &outgoing.reaction {
            self.store().put_reaction_in(&mut tx, reaction).await?;
        }
        if let Some(ballot) = &outgoing.ballot {
            ballots::record_in(self.store(), &mut tx, ballot, event.origin_server_ts).await?;
        }
        if let Some(seconds) = expires_s(&message) {
            self.store().put_expiry_in(&mut tx, &key, self.expires_at(seconds)).await?;
        }
        let elsewhere = self.settle_in_status(&mut tx, saying, &key, outgoing.kind, &message).await?;
        self.store().settle_row_in(&mut tx, row.seq).await?;
        tx.commit().await?;
        ring_all(self.store(), elsewhere);
        fail::fail_point!("from_mx.after_settle", |_| std::process::abort());
        Ok(())
    }

    /// Reserves a message and sends it; the caller settles it. Gives what was sent (one that was built on an earlier try
    /// goes as it was then), and none when it was there already.
    ///
    /// # Errors
    /// [`Halt`]; a message that never can arrive is recorded as failed.
    pub(super) async fn hand_over(
        &self,
        saying: &Saying<'_>,
        key: &PartKey,
        outgoing: &Outgoing,
    ) -> Result<Option<wa::Message>, Halt> {
        let Saying { portal, login, .. } = *saying;
        let mut message = outgoing.message.clone();
        let built = message_to_vec(&message);
        // A tally says what is so when it is sent, and a handle is of the file that was just put there.
        let kept = (outgoing.kind != TALLY && outgoing.handle.is_none()).then_some(built.as_slice());
        let is_new = self.store().reserve(&reservation(saying, key, outgoing, kept)).await?;
        fail::fail_point!("from_mx.after_reserve", |_| std::process::abort());
        if !is_new && let Some(before) = self.store().find_message(key).await? {
            if before.state == MessageState::Sent {
                return Ok(None);
            }
            if let Some(body) = before.body {
                message = message_decode(&body).map_err(|_| never("", "a stored message of ours can not be read"))?;
            }
        }
        let written = match portal.kind {
            PortalKind::Status => self.write_status(login, key, message.clone()).await?,
            PortalKind::Channel => {
                let handle = outgoing.handle.as_deref();
                self.whatsapp().send_to_channel(&login.id, portal, &key.wa_id, message.clone(), handle).await
            }
            _ => self.whatsapp().send(&login.id, &portal.chat, &key.wa_id, message.clone()).await,
        };
        if let Err(failure) = written {
            let mut halt = read_failure(failure, &login.id);
            // The connection went away under the send: that says nothing against the row.
            if matches!(halt, Halt::Verdict(Verdict::Later { .. }))
                && self.whatsapp().state(&login.id) != Some(LineState::Connected)
            {
                halt = Halt::Verdict(Verdict::Blocked(Gate::Login(login.id.clone())));
            }
            if let Halt::Verdict(Verdict::Never { tell, .. }) = &mut halt {
                self.store().message_has_failed(key).await?;
                if saying.is_relayed {
                    // They have neither the account nor its phone.
                    *tell = "WhatsApp does not take this from the account that relays what you write here. Please tell the \
                             account's owner."
                        .into();
                }
            }
            return Err(halt);
        }
        fail::fail_point!("from_mx.after_send", |_| std::process::abort());
        Ok(Some(message))
    }
}

/// The name of a message we send.
pub(super) fn key_of_ours(saying: &Saying<'_>, wa_id: WaMessageId, part: i64) -> PartKey {
    PartKey { portal: saying.portal.id, sender: saying.login.own.clone(), wa_id, part }
}
fn reservation<'a>(
    saying: &'a Saying<'_>,
    key: &'a PartKey,
    outgoing: &'a Outgoing,
    built: Option<&'a [u8]>,
) -> Reservation<'a> {
    Reservation {
        key,
        // What tells of votes is nobody's event: what becomes of it becomes of nothing else.
        event_id: (outgoing.kind != TALLY).then_some(&saying.event.event_id),
        txn_id: None,
        mx_sender: &saying.event.sender,
        login: &saying.login.id,
        ts: saying.event.origin_server_ts,
        kind: outgoing.kind,
        body: built,
        quote: outgoing.quote.as_deref(),
    }
}

/// What a failure to send means for the row. Codes as seen from WhatsApp's servers by open clients.
pub(super) fn read_failure(failure: SendFailure, login: &LoginId) -> Halt {
    match failure {
        SendFailure::Offline => Halt::Verdict(Verdict::Blocked(Gate::Login(login.clone()))),
        SendFailure::Unknown(why) => Halt::Verdict(Verdict::Later { why: why.into() }),
        SendFailure::Impossible => never(
            "WhatsApp has no such chat. Please look on your phone whether it is still there.",
            "the client library refused the message",
        ),
        SendFailure::Refused(code) => {
            let tell = match code.as_str() {
                "403" => "WhatsApp does not let you write to this chat. In a group ask one of its admins.",
                "404" | "421" => {
                    "This WhatsApp account or chat does not exist any more. Please ask the person for their new number."
                }
                "463" | "479" => {
                    "WhatsApp does not let this account write to this person yet. Wait until they write to you, or write from your phone."
                }
                _ => {
                    return Halt::Verdict(Verdict::Later { why: format!("WhatsApp refused with code {code}") });
                }
            };
            never(tell, format!("WhatsApp refused with code {code}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_that_can_not_change_are_final_and_the_others_are_tried_again() {
        let login = LoginId::new("1");
        for code in ["403", "404", "421", "463", "479"] {
            let halt = read_failure(SendFailure::Refused(code.into()), &login);
            assert!(matches!(halt, Halt::Verdict(Verdict::Never { tell, .. }) if !tell.is_empty()));
        }
        for code in ["500", "503", "999"] {
            assert!(matches!(
                read_failure(SendFailure::Refused(code.into()), &login),
                Halt::Verdict(Verdict::Later { .. })
            ));
        }
        assert!(matches!(read_failure(SendFailure::Unknown("x"), &login), Halt::Verdict(Verdict::Later { .. })));
        assert!(matches!(read_failure(SendFailure::Offline, &login), Halt::Verdict(Verdict::Blocked(Gate::Login(_)))));
    }
}
