//! Several files in one event: on WhatsApp an album, and a message for each of its files.
//!
//! The files are the parts 0, 1, … of the event and the album's own message the part behind them: what somebody answers
//! or reacts to is the first picture. A file that can not go does not keep the others back.

use super::Bridge;
use super::outgoing::{Outgoing, Saying, made};
use super::people::Halt;
use super::relay::words_before;
use super::uploads::Carried;
use crate::convert::incoming::expires_s;
use crate::convert::outgoing::{Draft, DraftContent, Plan, Resolved};
use crate::ids::WaMessageId;
use crate::store::messages::{Message, MessageState, PartKey};
use crate::verdict::Verdict;
use serde_json::Value;
use whatsapp_rust::prelude::{Jid, wa};

impl Bridge {
    /// Sends an album and settles its row.
    ///
    /// # Errors
    /// [`Halt`]; with words for the sender when one of its files can not go, after the others went.
    pub(super) async fn send_album(&self, saying: &Saying<'_>, drafts: &[Draft]) -> Result<(), Halt> {
        let nobody = |_: &str| None::<Jid>;
        let (key, secret) = self.album_part(saying, drafts.len());
        let timer = saying.timer();
        let answered = saying.event.content.pointer("/m.relates_to/m.in_reply_to/event_id").and_then(Value::as_str);
        let quoted = match answered {
            Some(answered) => self.quoted(saying, answered).await?,
            None => None,
        };
        let message = {
            let mut resolved = Resolved::new(&nobody);
            (resolved.secret, resolved.ts_ms) = (Some(secret), saying.event.origin_server_ts);
            (resolved.timer, resolved.quoted) = (timer, quoted);
            made(&Plan::Album(drafts.to_vec()), &resolved)?
        };
        self.hand_over_part(saying, &key, message).await?;
        let album = wa::MessageKey {
            remote_jid: Some(saying.portal.chat.as_str().to_owned()),
            from_me: Some(true),
            id: Some(key.wa_id.as_str().to_owned()),
            participant: None,
        };
        // What may work later comes before what never will: the row is tried again, and what went does not go twice.
        let (mut later, mut refused) = (None, None);
        for (at, draft) in drafts.iter().enumerate() {
            match self.send_album_file(saying, at, draft, &album).await {
                Err(halt @ Halt::Verdict(Verdict::Never { .. })) => refused = refused.or(Some(halt)),
                Err(halt @ Halt::Verdict(Verdict::Later { .. } | Verdict::Away { .. })) => later = later.or(Some(halt)),
                sent => sent?,
            }
        }
        match later.or(refused) {
            Some(halt) => Err(halt),
            None => Ok(self.store().settle_row(saying.row.seq).await?),
        }
    }

    async fn send_album_file(
        &self,
        saying: &Saying<'_>,
        at: usize,
        draft: &Draft,
        album: &wa::MessageKey,
    ) -> Result<(), Halt> {
        let (key, secret) = self.album_part(saying, at);
        let message = match self.built_before(saying, &key.wa_id, key.part).await? {
            Some(message) => message,
            None => {
                let DraftContent::File { media, .. } = &draft.content else { return Ok(()) };
                let carried = self.carry_file(saying, &key.wa_id, media).await?;
                let (people, timer) = (self.people_named(draft).await?, saying.timer());
                let find = |mxid: &str| people.get(mxid).cloned();
                let mut resolved = Resolved::new(&find);
                (resolved.secret, resolved.ts_ms) = (Some(secret), saying.event.origin_server_ts);
                (resolved.album, resolved.timer) = (Some(album.clone()), timer);
                match carried {
                    Carried::Cards(text) => resolved.cards = Some(text),
                    Carried::File(uploaded) => resolved.uploaded = Some(*uploaded),
                }
                made(&Plan::Message(Box::new(draft.clone())), &resolved)?
            }
        };
        if let Some(label) = words_before(saying, draft, &message) {
            self.send_label(saying, label, at).await?;
        }
        self.hand_over_part(saying, &key, message).await
    }

    fn album_part(&self, saying: &Saying<'_>, at: usize) -> (PartKey, [u8; 32]) {
        let part = i64::try_from(at).unwrap_or(i64::MAX);
        let (login, derive) = (saying.login, self.store().derive());
        let wa_id = derive.wa_message(&login.id, &saying.event.event_id, part);
        let secret = derive.wa_message_secret(&login.id, &wa_id);
        (PartKey { portal: saying.portal.id, sender: login.own.clone(), wa_id, part }, secret)
    }

    async fn hand_over_part(&self, saying: &Saying<'_>, key: &PartKey, message: wa::Message) -> Result<(), Halt> {
        let outgoing = Outgoing::quotable("new", message);
        if let Some(sent) = self.hand_over(saying, key, &outgoing).await? {
            let mut tx = self.store().begin("albums.part").await?;
            self.store().message_was_sent_in(&mut tx, key, None).await?;
            if let Some(seconds) = expires_s(&sent) {
                self.store().put_expiry_in(&mut tx, key, self.expires_at(seconds)).await?;
            }
            tx.commit().await?;
        }
        Ok(())
    }

    /// Deletes every file of an event, and settles its row.
    ///
    /// # Errors
    /// [`Halt`]; with words for the sender when they may not.
    pub(super) async fn delete_album(&self, saying: &Saying<'_>, parts: &[Message]) -> Result<(), Halt> {
        let nobody = |_: &str| None::<Jid>;
        for (at, part) in parts.iter().filter(|part| part.state != MessageState::Failed).enumerate() {
            self.may_delete(saying, part).await?;
            let message = {
                let mut resolved = Resolved::new(&nobody);
                resolved.ts_ms = saying.event.origin_server_ts;
                resolved.target = Some(Self::key_of(saying, part));
                made(&Plan::Redact { target: String::new() }, &resolved)?
            };
            let (key, _) = self.album_part(saying, at);
            let outgoing = Outgoing::new("deletion", message);
            if self.hand_over(saying, &key, &outgoing).await?.is_some() {
                let mut tx = self.store().begin("albums.deletion").await?;
                self.store().message_was_sent_in(&mut tx, &key, None).await?;
                tx.commit().await?;
            }
        }
        Ok(self.store().settle_row(saying.row.seq).await?)
    }

    /// The message an earlier try built and could not send.
    pub(super) async fn built_before(
        &self,
        saying: &Saying<'_>,
        wa_id: &WaMessageId,
        part: i64,
    ) -> Result<Option<wa::Message>, Halt> {
        let (portal, sender) = (saying.portal.id, saying.login.own.clone());
        let key = PartKey { portal, sender, wa_id: wa_id.clone(), part };
        let before = self.store().find_message(&key).await?;
        // Sent before: what it was is not asked any more.
        if before.as_ref().is_some_and(|before| before.state == MessageState::Sent) {
            return Ok(Some(wa::Message::default()));
        }
        let body = before.and_then(|before| before.body);
        Ok(body.and_then(|body| whatsapp_rust::waproto::codec::message_decode(&body).ok()))
    }
}
