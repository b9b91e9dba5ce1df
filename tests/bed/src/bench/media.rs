//! The benchmark of `cargo xtask bench media`: a large film both ways, and how much the bridge's memory grows by it.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::json;
use whatsapp_sim::{Kind, Media};

use super::report::{Budget, Report};
use super::rig::{LONG, Rig};
use super::server::Homeserver;
use super::{Settings, meter, report};
use crate::wait;

/// A film of a second that players take.
const FILM: &[u8] = include_bytes!("../../../../src/media/testdata/film.mp4");

/// Measures and prints; `megabytes` is the film's size (of a million bytes).
///
/// # Errors
/// A part does not start, or the film does not arrive.
pub async fn run(settings: Settings, megabytes: usize) -> Result<()> {
    let mut report = Report::default();
    println!("{}", report::heading());
    let on = "Synapse";
    let film = film_of(megabytes * 1_000_000);
    let mut rig = Rig::at_synapse(&settings).await?;
    rig.begin_chats(1).await?;
    let contact = rig.contacts.first().context("a chat")?.clone();
    let Homeserver::Synapse(_, person) = &rig.server else { bail!("the files are those of a real homeserver") };
    let person = person.clone();

    rig.restart(1).await?;
    let before = rig.memory_at_rest().await?;
    let start = Instant::now();
    let kind = Kind::Video(Media::with_data(&film));
    rig.phones.simulator().send_kind(&contact.account.number, &rig.login.number, kind).await?;
    let of_size = |content: &serde_json::Value| content["info"]["size"] == film.len();
    person
        .wait_event("the film in the room", LONG, |event| event.room == contact.room && of_size(&event.content))
        .await
        .with_context(|| rig.bridge.log_tail(20))?;
    note(&mut report, on, "WhatsApp to Matrix", megabytes, start, before, rig.process()?)?;

    rig.restart(1).await?;
    let before = rig.memory_at_rest().await?;
    let mxc = person.client().upload(film.clone(), "video/mp4", "film.mp4").await?;
    let start = Instant::now();
    let info = json!({ "mimetype": "video/mp4", "size": film.len() });
    let content = json!({ "msgtype": "m.video", "body": "film.mp4", "url": mxc, "info": info });
    person.send(&contact.room, "m.room.message", &content).await?;
    let arrived = wait::until("the film on the phone", LONG, || async {
        let inbox = rig.phones.inbox(&contact.account.number);
        Ok(inbox.into_iter().find(|item| item.message["videoMessage"]["url"].is_string()))
    });
    let item = arrived.await.with_context(|| rig.bridge.log_tail(20))?;
    note(&mut report, on, "Matrix to WhatsApp", megabytes, start, before, rig.process()?)?;
    let received = rig.phones.simulator().received_media(&contact.account.number, &item.id).await?;
    if received != film {
        bail!("another film arrived: {} bytes", received.len());
    }
    rig.stop().await?;
    report.finish("bench-media.json", &json!({ "database": format!("{:?}", settings.db), "megabytes": megabytes }))
}

fn note(
    report: &mut Report,
    on: &'static str,
    way: &str,
    megabytes: usize,
    start: Instant,
    before: meter::Memory,
    process: u32,
) -> Result<()> {
    let seconds = start.elapsed().as_secs_f64();
    let after = meter::memory(process)?;
    report.note(on, format!("{way}, {megabytes} MB"), seconds, "s", Budget::None);
    report.note(on, format!("{way}, memory before"), before.resident, "MB", Budget::None);
    report.note(on, format!("{way}, memory at its peak"), after.peak, "MB", Budget::None);
    // The peak may be the start's own.
    let grown = after.peak.max(before.resident) - before.resident;
    report.note(on, format!("{way}, memory grown by"), grown, "MB", Budget::AtMost(32.0));
    Ok(())
}

/// The film made as large as wanted: players skip a box of the type `free` (ISO/IEC 14496-12, section 8.1.2).
fn film_of(size: usize) -> Vec<u8> {
    let mut film = FILM.to_vec();
    let rest = size.saturating_sub(film.len()).max(8);
    film.extend(u32::try_from(rest).unwrap_or(u32::MAX).to_be_bytes());
    film.extend(b"free");
    film.extend((0..rest - 8).map(|at| (at % 251) as u8));
    film
}
