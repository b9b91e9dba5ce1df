//! What crosses with ffmpeg and without: GIFs, films and sound of other kinds, HEIC pictures.

use anyhow::{Context, Result, ensure};
use matrix_bed::chat::Chat;
use matrix_bed::phones::InboxItem;
use matrix_bed::world::World;
use serde_json::{Value, json};
use std::process::Command;

use crate::acts::wait_item;

matrix_bed::stories! {
    shared {
        with_ffmpeg_films_move_and_voices_speak
        without_ffmpeg_everything_still_crosses
    }
}

fn moving_gif() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = image::codecs::gif::GifEncoder::new(&mut bytes);
    for shade in [0, 90, 200] {
        let picture = image::RgbaImage::from_pixel(63, 35, image::Rgba([shade, 40, 0, 255]));
        let delay = image::Delay::from_numer_denom_ms(300, 1);
        encoder.encode_frame(image::Frame::from_parts(picture, 0, 0, delay)).expect("a picture");
    }
    drop(encoder);
    bytes
}

/// The beginning of a HEIC picture: no decoder here makes anything of it.
fn heic() -> Vec<u8> {
    let mut bytes = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic".to_vec();
    bytes.extend([0; 64]);
    bytes
}

async fn sends(chat: &Chat, kind: &str, bytes: Vec<u8>, name: &str, mime: &str) -> Result<()> {
    let mxc = chat.person().client().upload(bytes, mime, name).await?;
    let mut content = json!({ "body": name, "filename": name, "url": mxc, "info": { "mimetype": mime } });
    if kind == "voice" {
        content["org.matrix.msc3245.voice"] = json!({});
    }
    let event = if kind == "m.sticker" { kind } else { "m.room.message" };
    content["msgtype"] = match kind {
        "m.sticker" => Value::Null,
        "voice" => "m.audio".into(),
        kind => kind.into(),
    };
    chat.person().send(&chat.room()?, event, &content).await.map(drop)
}

async fn arrives(
    world: &World,
    chat: &Chat,
    what: &str,
    wanted: impl Fn(&Value) -> bool,
) -> Result<(InboxItem, Vec<u8>)> {
    let item = wait_item(world, chat, what, wanted).await?;
    let bytes = world.phones.simulator().received_media(&chat.contact().number, &item.id).await?;
    Ok((item, bytes))
}

/// Everything, one after the other: what a phone gets of each.
fn files() -> [(&'static str, Vec<u8>, &'static str, &'static str); 6] {
    [
        ("m.image", moving_gif(), "dance.gif", "image/gif"),
        ("m.sticker", moving_gif(), "wave.gif", "image/gif"),
        ("m.video", include_bytes!("../../src/media/testdata/film.webm").to_vec(), "film.webm", "video/webm"),
        ("m.video", include_bytes!("../../src/media/testdata/film.mov").to_vec(), "film.mov", "video/quicktime"),
        ("voice", include_bytes!("../../src/media/testdata/tone.mp3").to_vec(), "tone.mp3", "audio/mpeg"),
        ("m.image", heic(), "photo.heic", "image/heic"),
    ]
}

async fn with_ffmpeg_films_move_and_voices_speak(world: &mut World) -> Result<()> {
    Command::new("ffmpeg").arg("-version").output().context("no ffmpeg: run `cargo xtask setup`")?;
    let chat = world.begin().await?;
    for (at, (kind, bytes, name, mime)) in files().into_iter().enumerate() {
        sends(&chat, kind, bytes.clone(), name, mime).await?;
        let film = |message: &Value| message["videoMessage"].is_object();
        match name {
            "dance.gif" | "wave.gif" => {
                let number = if name == "dance.gif" { 1 } else { 2 };
                let gifs = || {
                    let inbox = world.phones.inbox(&chat.contact().number);
                    inbox
                        .into_iter()
                        .filter(|item| item.message["videoMessage"]["gifPlayback"] == true)
                        .collect::<Vec<_>>()
                };
                let there = || async { Ok((gifs().len() == number).then_some(())) };
                matrix_bed::wait::until(name, matrix_bed::wait::STEP, there).await?;
                let item = gifs().pop().context("it was there")?;
                let message = &item.message["videoMessage"];
                ensure!(message["mimetype"] == "video/mp4" && message["jpegThumbnail"].is_string(), "{message}");
                ensure!(message["width"] == 62 && message["height"] == 34, "even sides: {message}");
                let made = world.phones.simulator().received_media(&chat.contact().number, &item.id).await?;
                ensure!(made.get(4..8) == Some(b"ftyp".as_slice()), "an MP4");
            }
            "film.webm" | "film.mov" => {
                let wanted = |message: &Value| film(message) && message["videoMessage"]["gifPlayback"] != true;
                let count = at - 1;
                let there = || async {
                    let inbox = world.phones.inbox(&chat.contact().number);
                    Ok((inbox.iter().filter(|item| wanted(&item.message)).count() == count).then_some(()))
                };
                matrix_bed::wait::until(name, matrix_bed::wait::STEP, there).await?;
                let (item, made) = arrives(world, &chat, name, wanted).await?;
                let message = &item.message["videoMessage"];
                ensure!(message["mimetype"] == "video/mp4" && message["jpegThumbnail"].is_string(), "{message}");
                ensure!(made.get(4..8) == Some(b"ftyp".as_slice()) && made != bytes, "an MP4 of its own");
            }
            "tone.mp3" => {
                let (item, made) =
                    arrives(world, &chat, name, |message| message["audioMessage"]["ptt"] == true).await?;
                ensure!(item.message["audioMessage"]["mimetype"] == "audio/ogg; codecs=opus", "{}", item.message);
                ensure!(made.starts_with(b"OggS"), "recorded voice is Ogg");
            }
            // ffmpeg makes nothing of it either.
            _ => {
                let (_, made) =
                    arrives(world, &chat, name, |message| message["documentMessage"]["fileName"] == name).await?;
                ensure!(made == bytes, "it goes as it is");
            }
        }
        if name == "wave.gif" {
            world.bridge.restart().await?;
        }
    }
    Ok(())
}

async fn without_ffmpeg_everything_still_crosses(world: &mut World) -> Result<()> {
    world.bridge.stop().await?;
    world.bridge.reconfigure(&json!({ "media": { "ffmpeg": "/nowhere/ffmpeg" } }))?;
    world.bridge.start().await?;
    ensure!(world.bridge.log_tail(200).contains("ffmpeg was not found"), "the start says what is missing");
    let chat = world.begin().await?;
    for (kind, bytes, name, mime) in files() {
        sends(&chat, kind, bytes.clone(), name, mime).await?;
        let (item, made) = match (kind, name) {
            // What shows one picture of a sticker is still a sticker.
            ("m.sticker", _) => arrives(world, &chat, name, |message| message["stickerMessage"].is_object()).await?,
            ("voice", _) => {
                let is_sound =
                    |message: &Value| message["audioMessage"].is_object() && message["audioMessage"]["ptt"] != true;
                arrives(world, &chat, name, is_sound).await?
            }
            _ => arrives(world, &chat, name, |message| message["documentMessage"]["fileName"] == name).await?,
        };
        ensure!(kind == "m.sticker" || made == bytes, "it goes as it is: {}", item.message);
        if name == "film.webm" {
            world.bridge.restart().await?;
        }
    }
    Ok(())
}
