//! Linking accounts from a room, listing and unlinking them.
//!
//! The QR picture is one image message, edited in place for each new code and removed at the end. It is shown only
//! in a room that holds nobody but the person and the bot: whoever scans it owns the link.

use super::{Call, database};
use crate::bridge::Bridge;
use crate::ids::LoginId;
use crate::matrix::error::Result;
use crate::store::logins::{Login, LoginState};
use crate::whatsapp::line::LineState;
use crate::whatsapp::linking::{LinkMethod, LinkStep};
use image::{ImageFormat, Luma};
use qrcode::{EcLevel, QrCode};
use ruma::{EventId, OwnedEventId, OwnedRoomId};
use serde_json::{Value, json};
use std::io::Cursor;
use std::time::Duration;
use tokio::sync::mpsc;

/// Pixels of one module of the picture; a phone's camera reads it from a screen at arm's length.
const MODULE: u32 = 6;

pub(super) async fn list(call: &Call) -> Result<()> {
    let logins = call.bridge.store().logins_of(&call.sender).await.map_err(database)?;
    if logins.is_empty() {
        return call.answer("No WhatsApp account is linked. Say `login qr` to link one.").await;
    }
    let lines: Vec<String> = logins.iter().map(|login| describe(&call.bridge, login)).collect();
    call.answer(&lines.join("\n")).await
}

fn describe(bridge: &Bridge, login: &Login) -> String {
    let state = match (&login.state, bridge.whatsapp().state(&login.id)) {
        (LoginState::LoggedOut { reason }, _) => format!("logged out. {reason}"),
        (LoginState::Linked, Some(LineState::Offline { why })) => format!("not connected. {why}"),
        (LoginState::Linked, Some(state)) => state.word().to_owned(),
        (LoginState::Linked, None) => "not started".to_owned(),
    };
    format!("+{}: {state}", login.id)
}

pub(super) async fn cancel(call: &Call) -> Result<()> {
    let text = if call.bridge.whatsapp().cancel_link(&call.sender) { "Cancelled." } else { "Nothing is going on." };
    call.answer(text).await
}

pub(super) async fn logout(call: &Call, usage: &str) -> Result<()> {
    let logins = call.bridge.store().logins_of(&call.sender).await.map_err(database)?;
    let linked: Vec<&Login> = logins.iter().filter(|login| login.state == LoginState::Linked).collect();
    let login = match (linked.as_slice(), call.rest.first()) {
        ([], _) => return call.answer("No WhatsApp account is linked.").await,
        ([only], None) => *only,
        (_, None) => return call.answer(&format!("Several accounts are linked; say which: `{usage}`.")).await,
        (several, Some(which)) => {
            let digits: String = which.chars().filter(char::is_ascii_digit).collect();
            match several.iter().find(|login| login.id.as_str() == digits) {
                Some(login) => *login,
                None => return call.answer("You have no such account; `list-logins` shows yours.").await,
            }
        }
    };
    call.bridge.whatsapp().log_out(&login.id, "You logged out here.").await.map_err(database)?;
    call.answer(&format!("+{} is logged out. Its rooms stay; say `login qr` to link it again.", login.id)).await
}

pub(super) async fn login(call: Call, usage: &str) -> Result<()> {
    let words: Vec<&str> = call.rest.iter().map(String::as_str).collect();
    let method = match words.as_slice() {
        [] | ["qr"] => LinkMethod::Qr,
        ["phone" | "code", number @ ..] if !number.is_empty() => {
            let number: String = number.concat().chars().filter(char::is_ascii_digit).collect();
            // E.164: at most 15 digits; shorter than 7 is no international number.
            if !(7..=15).contains(&number.len()) {
                return call
                    .answer("That is no complete phone number. Give it with its country code, such as +49 170 0000001.")
                    .await;
            }
            LinkMethod::Code { number }
        }
        _ => return call.answer(&format!("Say `{usage}`.")).await,
    };
    let people = call.bridge.matrix().joined_members(&call.room).await?;
    if people.iter().any(|person| *person != *call.bridge.matrix().bot() && person.as_str() != call.sender) {
        return call
            .answer("Others can read this room, and whoever sees the code could use it. Please write to me alone.")
            .await;
    }
    let steps = call.bridge.whatsapp().link(&call.sender, method);
    let show = Show { bridge: call.bridge.clone(), room: call.room, cause: call.event_id, image: None, shown: 0 };
    call.bridge.spawn(show.run(steps));
    Ok(())
}

/// Shows the steps of one linking.
struct Show {
    bridge: Bridge,
    room: OwnedRoomId,
    cause: String,
    /// The picture's message, once sent.
    image: Option<OwnedEventId>,
    /// Pictures shown so far.
    shown: u32,
}

impl Show {
    async fn run(mut self, mut steps: mpsc::Receiver<LinkStep>) {
        let stop = self.bridge.stop().clone();
        let mut said_end = false;
        loop {
            let step = tokio::select! {
                () = stop.cancelled() => None,
                step = steps.recv() => step,
            };
            let Some(step) = step else { break };
            said_end |= matches!(step, LinkStep::Linked { .. } | LinkStep::TimedOut | LinkStep::Failed { .. });
            if let Err(error) = self.show(step).await {
                tracing::warn!(%error, "a step of a login could not be shown");
            }
            if said_end {
                break;
            }
        }
        if let Err(error) = self.remove_picture().await {
            tracing::warn!(%error, "a login's picture could not be removed");
        }
    }

    async fn show(&mut self, step: LinkStep) -> Result<()> {
        match step {
            LinkStep::Qr { code, valid } => self.show_picture(&code, valid).await,
            LinkStep::Code { code, valid } => {
                let spaced = match code.split_at_checked(4) {
                    Some((left, right)) if !right.is_empty() && !code.contains('-') => format!("{left}-{right}"),
                    _ => code,
                };
                let text = format!(
                    "{spaced}\nOn your phone open WhatsApp, Linked devices, Link a device, Link with phone number instead, \
                     and type this code. It is valid for {} minutes.",
                    valid.as_secs().div_ceil(60).max(1)
                );
                self.bridge.say(&self.room, &text, &self.cause, "code").await
            }
            LinkStep::Linked { login } => self.say_linked(&login).await,
            LinkStep::TimedOut => {
                self.bridge
                    .say(
                        &self.room,
                        "Nobody scanned the code in time. Say `login qr` for a new one.",
                        &self.cause,
                        "end",
                    )
                    .await
            }
            LinkStep::Failed { tell } => self.bridge.say(&self.room, &tell, &self.cause, "end").await,
        }
    }

    async fn say_linked(&self, login: &LoginId) -> Result<()> {
        let text = format!("Logged in as +{login}. Your chats appear here as messages arrive.");
        self.bridge.say(&self.room, &text, &self.cause, "end").await
    }

    async fn show_picture(&mut self, code: &str, valid: Duration) -> Result<()> {
        let Some(picture) = draw(code) else {
            return self
                .bridge
                .say(&self.room, "The code could not be drawn. Use `login phone <number>`.", &self.cause, "end")
                .await;
        };
        let (size, bytes) = picture;
        let length = bytes.len();
        let url = self.bridge.matrix().upload(bytes.into(), "image/png", Some("qr.png")).await?;
        let seconds = valid.as_secs();
        let text = format!(
            "Scan this with WhatsApp on your phone (Linked devices, Link a device). It changes in {seconds} seconds; \
             `cancel` stops it."
        );
        let image = json!({
            "msgtype": "m.image",
            "body": text,
            "filename": "qr.png",
            "url": url,
            "info": { "mimetype": "image/png", "w": size, "h": size, "size": length },
            "m.mentions": {},
        });
        let content = match &self.image {
            None => image,
            Some(first) => replacement(first, &image),
        };
        let txn = self.bridge.store().derive().notice_txn(&self.cause, &format!("qr-{}", self.shown));
        let matrix = self.bridge.matrix();
        let event = matrix.send(&self.room, matrix.bot(), "m.room.message", &txn, &content, None).await?;
        self.shown += 1;
        self.image.get_or_insert(event);
        Ok(())
    }

    async fn remove_picture(&self) -> Result<()> {
        let Some(image) = &self.image else { return Ok(()) };
        let txn = self.bridge.store().derive().notice_txn(&self.cause, "qr-gone");
        let matrix = self.bridge.matrix();
        matrix.redact(&self.room, matrix.bot(), image, &txn, Some("The code is no longer needed.")).await.map(drop)
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
