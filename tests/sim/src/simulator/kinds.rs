//! Messages of every kind.

use anyhow::{Context as _, Result};
use wacore_binary::Jid;

use super::{Simulator, phones::send_to};
use crate::{
    groups,
    ids::Number,
    media::{self, Sealed},
    newsletters,
    phone::{self, Draft, Kind, Options, Uploaded},
};

impl Simulator {
    /// Sends a message of a kind from the phone of `from`; `to` is a number or
    /// a JID. Returns its id, of an album that of the album itself. Errors when
    /// the kind is about a message the phone does not know.
    pub async fn send_kind(&self, from: &str, to: &str, kind: Kind) -> Result<String> {
        let sent = self.send_kind_with(from, to, kind, Options::default()).await?;
        sent.into_iter().next().context("nothing was sent")
    }

    /// As [`Simulator::send_kind`], with options. Returns all ids: an album's
    /// own and those of its pictures and videos.
    pub async fn send_kind_with(&self, from: &str, to: &str, kind: Kind, options: Options) -> Result<Vec<String>> {
        let from = Number::parse(from)?;
        let files = phone::uploads(&kind)?;
        // Encrypting a large file takes its time: not while the state is locked.
        let is_open = newsletters::named(to).is_some();
        let sealing = tokio::task::spawn_blocking(move || {
            let seal = |file: &phone::Upload| match is_open {
                true => media::leave_open(&file.content),
                false => media::seal(&file.content, file.kind),
            };
            files.iter().map(seal).collect::<Result<Vec<Sealed>>>()
        });
        let sealed = sealing.await.context("encryption")??;
        self.shared.with(|state| {
            let chat: Jid = match state.resolve_text(to) {
                Ok(number) => number.jid(),
                Err(error) => to.parse().map_err(|_| error)?,
            };
            let files: Vec<Uploaded> = sealed
                .into_iter()
                .map(|sealed| {
                    let path = state.media.add(sealed.blob.clone());
                    let url = media::url(state, &path);
                    Uploaded { sealed, path, url }
                })
                .collect();
            let draft = Draft::new(state, &from, &chat)?;
            let messages = phone::build(&draft, &kind, &options, &files)?;
            let mut ids = Vec::new();
            for (id, message) in messages {
                ids.push(send_to(state, &from, to, message, Some(id))?);
            }
            Ok(ids)
        })
    }

    /// The phone of `number` plays voice notes or videos of `chat`: played
    /// receipts go to their author and to the own companions.
    pub async fn mark_played(&self, number: &str, chat: &str, ids: &[String]) -> Result<()> {
        let number = Number::parse(number)?;
        self.shared.with(|state| {
            if let Some(group) = groups::named(chat) {
                return phone::mark_in(state, &number, &group, ids, "played");
            }
            let chat = state.resolve_text(chat)?;
            phone::mark(state, &number, &chat, ids, "played")
        })
    }
}
