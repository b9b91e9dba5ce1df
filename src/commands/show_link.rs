//! Shows the steps of one linking in a room.
//!
//! The QR picture is one image message, edited in place for each new code; every event that held a code is removed
//! at the end. It is shown only in a room that holds nobody but the person and the bot: whoever scans it owns the
//! link. A process that dies meanwhile leaves codes behind that are worthless without its connection.

use super::passkey;
use crate::bridge::Bridge;
use crate::bridge::linkings::halves;
use crate::convert::notice;
use crate::ids::LoginId;
use crate::matrix::error::Result;
use crate::whatsapp::linking::LinkStep;
use image::{ImageFormat, Luma};
use qrcode::{EcLevel, QrCode};
use ruma::{EventId, OwnedEventId, OwnedRoomId};
use serde_json::{Value, json};
use std::io::Cursor;
use std::time::Duration;
use tokio::sync::mpsc;

/// Pixels of one module of the picture; a phone's camera reads it from a screen at arm's length.
const MODULE: u32 = 6;

/// Shows the steps of one linking.
pub(super) struct Show {
    bridge: Bridge,
    room: OwnedRoomId,
    /// Names what is said, so that a repeated command says it once.
    cause: String,
    /// The events that showed a code: the first picture, its edits, a code to type, what the passkey is asked.
    secrets: Vec<OwnedEventId>,
    /// How many there were.
    shown: usize,
}

impl Show {
    pub(super) fn new(bridge: Bridge, room: OwnedRoomId, cause: String) -> Self {
        Self { bridge, room, cause, secrets: Vec::new(), shown: 0 }
    }

    /// Shows every step until the last one, the process's end, or a cancellation.
    pub(super) async fn run(mut self, mut steps: mpsc::Receiver<LinkStep>) {
        let stop = self.bridge.stop().clone();
        loop {
            let step = tokio::select! {
                () = stop.cancelled() => None,
                step = steps.recv() => step,
            };
            let Some(step) = step else { break };
            let is_last = matches!(step, LinkStep::Linked { .. } | LinkStep::TimedOut | LinkStep::Failed { .. });
            if let Err(error) = self.show(step).await {
                tracing::warn!(%error, "a step of a login could not be shown");
            }
            if is_last {
                break;
            }
        }
        if let Err(error) = self.remove_secrets().await {
            tracing::warn!(%error, "a login's codes could not be removed");
        }
    }

    async fn show(&mut self, step: LinkStep) -> Result<()> {
        match step {
            LinkStep::Qr { code, valid } => self.show_picture(&code, valid).await,
            LinkStep::Code { code, valid } => self.show_code(&code, valid).await,
            LinkStep::Passkey { question, valid } => {
                // The phone has used the code.
                self.remove_secrets().await?;
                self.show_secret(&passkey::instructions(&question, valid)).await
            }
            LinkStep::Compare { code, valid } => self.show_comparison(&code, valid).await,
            LinkStep::Linked { login } => self.say_linked(&login).await,
            LinkStep::TimedOut => {
                self.say_end("It was not done in time, so nothing is linked. Say `login qr` to begin again.").await
            }
            LinkStep::Failed { tell } => self.say_end(&tell).await,
        }
    }

    async fn say_end(&self, text: &str) -> Result<()> {
        self.bridge.say(&self.room, text, &self.cause, "end").await.map(drop)
    }

    async fn say_linked(&self, login: &LoginId) -> Result<()> {
        self.say_end(&format!("Logged in as +{login}. Your chats appear here as messages arrive.")).await
    }

    async fn show_code(&mut self, code: &str, valid: Duration) -> Result<()> {
        let spaced = halves(code);
        let text = format!(
            "{spaced}\nOn your phone open WhatsApp, Linked devices, Link a device, Link with phone number instead, and type \
             this code. It is valid for {} minutes.",
            valid.as_secs().div_ceil(60).max(1)
        );
        self.show_secret(&notice(&text)).await
    }

    async fn show_comparison(&mut self, code: &str, valid: Duration) -> Result<()> {
        let text = format!(
            "{code}\nDoes your phone show this code, too? If it does, say `confirm`, within {} minutes; if it shows another one, \
             say `cancel`.",
            valid.as_secs().div_ceil(60).max(1)
        );
        self.show_secret(&notice(&text)).await
    }

    /// Shows what is taken away at the end.
    async fn show_secret(&mut self, content: &Value) -> Result<()> {
        let txn = self.bridge.store().derive().notice_txn(&self.cause, &format!("code-{}", self.shown));
        let matrix = self.bridge.matrix();
        let event = matrix.send(&self.room, matrix.bot(), "m.room.message", &txn, content, None).await?;
        self.secrets.push(event);
        self.shown += 1;
        Ok(())
    }

    async fn show_picture(&mut self, code: &str, valid: Duration) -> Result<()> {
        let Some((size, bytes)) = draw(code) else {
            return self.say_end("The code could not be drawn. Use `login phone <number>`.").await;
        };
        let length = bytes.len();
        let url = self.bridge.matrix().upload(bytes.into(), "image/png", Some("qr.png")).await?;
        let text = format!(
            "Scan this with WhatsApp on your phone (Linked devices, Link a device). It changes in {} seconds; `cancel` \
             stops it.",
            valid.as_secs()
        );
        let image = json!({
            "msgtype": "m.image",
            "body": text,
            "filename": "qr.png",
            "url": url,
            "info": { "mimetype": "image/png", "w": size, "h": size, "size": length },
            "m.mentions": {},
        });
        let content = match self.secrets.first() {
            None => image,
            Some(first) => replacement(first, &image),
        };
        self.show_secret(&content).await
    }

    async fn remove_secrets(&mut self) -> Result<()> {
        let matrix = self.bridge.matrix().clone();
        while let Some(event) = self.secrets.first() {
            let txn = self.bridge.store().derive().notice_txn(event.as_str(), "gone");
            matrix.redact(&self.room, matrix.bot(), event, &txn, Some("The code is no longer needed.")).await?;
            self.secrets.remove(0);
        }
        Ok(())
    }
}

/// The content that replaces a message (CS-API, "Event replacements").
fn replacement(first: &EventId, content: &Value) -> Value {
    let mut edit = content.clone();
    edit["m.new_content"] = content.clone();
    edit["m.relates_to"] = json!({ "rel_type": "m.replace", "event_id": first });
    edit
}

/// The picture of a code: its side in pixels and a PNG with the quiet zone around it.
fn draw(code: &str) -> Option<(u32, Vec<u8>)> {
    let picture = QrCode::with_error_correction_level(code, EcLevel::L).ok()?;
    let side = u32::try_from(picture.width()).ok()?;
    // ISO 18004: four light modules around it.
    let quiet = 4;
    let colors = picture.to_colors();
    let pixels = (side + 2 * quiet) * MODULE;
    let image = image::ImageBuffer::from_fn(pixels, pixels, |x, y| {
        let (column, line) = ((x / MODULE).wrapping_sub(quiet), (y / MODULE).wrapping_sub(quiet));
        let dark = column < side && line < side && colors[(line * side + column) as usize] == qrcode::Color::Dark;
        Luma([if dark { 0_u8 } else { 255 }])
    });
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).ok()?;
    Some((pixels, bytes.into_inner()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_is_a_png_with_a_quiet_zone() {
        let (side, bytes) = draw("2@abc,def,ghi,jkl,1").unwrap();
        let image = image::load_from_memory(&bytes).unwrap().to_luma8();
        assert_eq!((image.width(), image.height()), (side, side));
        assert!((0..side).all(|x| image.get_pixel(x, 0).0 == [255]));
        assert_eq!(image.get_pixel(4 * MODULE, 4 * MODULE).0, [0], "the corner of the finder pattern");
    }
}
