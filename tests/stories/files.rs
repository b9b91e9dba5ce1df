//! Files: pictures, films, sound, documents, stickers; both ways, after a start, gone, too large, and on a kill.

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use matrix_bed::chat::Chat;
use matrix_bed::phones::InboxItem;
use matrix_bed::wait;
use matrix_bed::world::World;
use serde_json::{Value, json};
use whatsapp_sim::{Kind, Media, MediaFaults, Options};

use super::acts::{contact_sends, wait_event, wait_item};

matrix_bed::stories! {
    shared {
        every_kind_of_file_is_shown_in_the_room
        files_of_the_room_reach_the_phone
        a_gallery_is_an_album
        a_link_has_its_picture
        a_file_that_is_gone_is_asked_of_the_phone
        a_file_waits_for_the_media_servers
        a_file_that_is_too_large_is_told
        killed_while_files_are_on_their_way
    }
    own {
        what_the_homeserver_does_not_take_is_told
    }
}

async fn send(world: &World, from: &str, to: &str, kind: Kind) -> Result<()> {
    world.phones.simulator().send_kind_with(from, to, kind, Options::default()).await.map(drop)
}

/// The bytes behind a media name, as a Matrix client fetches them.
async fn bytes_of(chat: &Chat, mxc: &Value) -> Result<Vec<u8>> {
    let mxc = mxc.as_str().with_context(|| format!("{mxc} is no media name"))?;
    chat.person().client().download(mxc).await
}

/// A picture of two colours; whatever is not drawn is transparent.
pub(super) fn picture(width: u32, height: u32, format: image::ImageFormat) -> Vec<u8> {
    let mut picture = image::RgbaImage::new(width, height);
    for (x, y, pixel) in picture.enumerate_pixels_mut() {
        let left = x < width / 2;
        let alpha = if format == image::ImageFormat::Png && y < height / 2 { 0 } else { 255 };
        *pixel = image::Rgba([if left { 200 } else { 20 }, 80, 120, alpha]);
    }
    let mut bytes = std::io::Cursor::new(Vec::new());
    let picture = image::DynamicImage::ImageRgba8(picture);
    let written = match format {
        image::ImageFormat::Jpeg => image::DynamicImage::from(picture.into_rgb8()).write_to(&mut bytes, format),
        _ => picture.write_to(&mut bytes, format),
    };
    written.unwrap();
    bytes.into_inner()
}

async fn every_kind_of_file_is_shown_in_the_room(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let large = picture(1200, 900, image::ImageFormat::Jpeg);
    let with_words = || Media { caption: Some("*look*".into()), ..Media::default() };
    let document = Media { file_name: Some("../a plan.pdf".into()), ..with_words() };
    let kinds: [(&str, Kind, &str, &str); 10] = [
        (
            "image",
            Kind::Image(Media { caption: Some("*look*".into()), ..Media::with_data(&large) }),
            "m.image",
            "image/jpeg",
        ),
        ("video", Kind::Video(with_words()), "m.video", "video/mp4"),
        ("gif", Kind::Gif(with_words()), "m.video", "video/mp4"),
        ("ptv", Kind::Ptv(Media::default()), "m.video", "video/mp4"),
        ("audio", Kind::Audio(Media::default()), "m.audio", "audio/mpeg"),
        ("voice", Kind::Voice(Media::default()), "m.audio", "audio/ogg"),
        ("document", Kind::Document(document), "m.file", "application/pdf"),
        ("sticker", Kind::Sticker(Media::default()), "", "image/webp"),
        ("moving sticker", Kind::AnimatedSticker(Media::default()), "", "image/webp"),
        ("lottie sticker", Kind::LottieSticker(Media::default()), "", "image/jpeg"),
    ];
    let mut seen: Vec<String> = Vec::new();
    for (name, kind, msgtype, mime) in kinds {
        contact_sends(world, &chat, kind).await?;
        let event =
            wait_event(&chat, name, |event| event.content["url"].is_string() && !seen.contains(&event.id)).await?;
        seen.push(event.id.clone());
        let content = &event.content;
        let is_sticker = event.kind == "m.sticker";
        ensure!(is_sticker == msgtype.is_empty(), "{name} came as {}", event.kind);
        ensure!(is_sticker || content["msgtype"] == msgtype, "{name}: {content}");
        ensure!(content["info"]["mimetype"] == mime, "{name}: {content}");
        let bytes = bytes_of(&chat, &content["url"]).await?;
        ensure!(content["info"]["size"] == bytes.len(), "{name}: {} bytes, {content}", bytes.len());
        match name {
            "image" => {
                ensure!(bytes == large, "the picture arrives as it was");
                ensure!(content["info"]["w"] == 1200 && content["info"]["h"] == 900, "{content}");
                ensure!(content["body"] == "*look*" || content["body"] == "look", "{content}");
                ensure!(content["formatted_body"] == "<strong>look</strong>", "{content}");
                let small = image::load_from_memory(&bytes_of(&chat, &content["info"]["thumbnail_url"]).await?)?;
                ensure!(small.width() == 800 && small.height() == 600, "a small picture of {}", small.width());
            }
            "video" | "gif" | "ptv" => {
                ensure!(
                    content["info"]["duration"] == 1000 && content["info"]["thumbnail_url"].is_string(),
                    "{content}"
                );
                ensure!((name == "gif") == content["info"]["fi.mau.gif"].is_boolean(), "{content}");
            }
            "voice" => {
                ensure!(content["org.matrix.msc3245.voice"].is_object(), "{content}");
                let bars = content["org.matrix.msc1767.audio"]["waveform"].as_array().map(Vec::len);
                ensure!(bars == Some(64), "{content}");
            }
            "document" => ensure!(content["filename"] == "a plan.pdf" && content["body"] != "a plan.pdf", "{content}"),
            "lottie sticker" => {
                let file = bytes_of(&chat, &content["org.matrix-whatsapp.lottie"]["url"]).await?;
                ensure!(file.starts_with(b"PK"), "the packed file is kept");
            }
            _ => {}
        }
        if !matches!(name, "audio" | "voice" | "document") {
            ensure!(content["info"]["xyz.amorgan.blurhash"].is_string(), "{name} has no blurhash: {content}");
        }
        if name == "voice" {
            world.bridge.restart().await?;
        }
    }
    // What the own phone sends is there too, of the person's own account.
    let theirs = Kind::Image(Media { caption: Some("from my phone".into()), ..Media::default() });
    send(world, &chat.login().number, &chat.contact().number, theirs).await?;
    let event = wait_event(&chat, "the own phone's picture", |event| event.body() == "from my phone").await?;
    ensure!(bytes_of(&chat, &event.content["url"]).await?.len() > 100, "it has a file");
    // The same photo, larger, comes as a message of its own: it takes the place of the small one.
    let small =
        contact_sends(world, &chat, Kind::Image(Media { caption: Some("sharp?".into()), ..Media::default() })).await?;
    let before = wait_event(&chat, "the small photo", |event| event.body() == "sharp?").await?;
    let sent = contact_sends(world, &chat, Kind::Image(Media::with_data(&large))).await?;
    let original = wait_event(&chat, "the large photo", |event| event.content["info"]["size"] == large.len()).await?;
    let seen = world.phones.inbox(&chat.login().number);
    let mut message = seen.into_iter().find(|item| item.id == sent).context("the own phone has it")?.message;
    message["messageContextInfo"] = json!({ "messageAssociation": {
        "associationType": "HD_IMAGE_DUAL_UPLOAD", "parentMessageKey": { "fromMe": true, "id": small },
    } });
    let wrapped = json!({
        "associatedChildMessage": { "message": { "imageMessage": message["imageMessage"] } },
        "messageContextInfo": message["messageContextInfo"],
    });
    contact_sends(world, &chat, Kind::Raw { message: Some(wrapped), protobuf: None }).await?;
    let upgrade = wait_event(&chat, "the large photo in its place", |event| {
        event.content["m.relates_to"]["event_id"] == before.id.as_str()
    })
    .await?;
    ensure!(upgrade.newest_content()["info"]["size"] == large.len(), "{}", upgrade.content);
    ensure!(original.content["url"] != upgrade.newest_content()["url"], "a file of its own");
    // New words for a file leave the file.
    let photo = Kind::Image(Media { caption: Some("befor".into()), ..Media::default() });
    let target = contact_sends(world, &chat, photo).await?;
    let before = wait_event(&chat, "a picture with words", |event| event.body() == "befor").await?;
    let message = json!({ "imageMessage": { "caption": "before" } });
    contact_sends(world, &chat, Kind::Edit { target, text: None, message: Some(message), secret: false }).await?;
    let edit = wait_event(&chat, "its new words", |event| event.newest_content()["body"] == "before").await?;
    ensure!(edit.newest_content()["url"] == before.content["url"], "{}", edit.content);
    Ok(())
}

/// What a client sends for a file it has put on the homeserver.
pub(super) fn event_of(msgtype: &str, mxc: &str, name: &str, mime: &str, words: &str) -> Value {
    let body = if words.is_empty() { name } else { words };
    json!({ "msgtype": msgtype, "body": body, "filename": name, "url": mxc, "info": { "mimetype": mime } })
}

pub(super) async fn person_sends(
    chat: &Chat,
    msgtype: &str,
    bytes: &[u8],
    name: &str,
    mime: &str,
    words: &str,
) -> Result<String> {
    let mxc = chat.person().client().upload(bytes.to_vec(), mime, name).await?;
    chat.person().send(&chat.room()?, "m.room.message", &event_of(msgtype, &mxc, name, mime, words)).await
}

/// The file of a message, as the contact's phone fetches and opens it.
pub(super) async fn file_at_contact(world: &World, chat: &Chat, item: &InboxItem) -> Result<Vec<u8>> {
    world.phones.simulator().received_media(&chat.contact().number, &item.id).await
}

async fn files_of_the_room_reach_the_phone(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let photo = picture(640, 480, image::ImageFormat::Jpeg);
    person_sends(&chat, "m.image", &photo, "a.jpg", "image/jpeg", "a *photo*").await?;
    let item = wait_item(world, &chat, "the photo", |m| m["imageMessage"]["caption"].is_string()).await?;
    let message = &item.message["imageMessage"];
    ensure!(message["width"] == 640 && message["height"] == 480 && message["jpegThumbnail"].is_string(), "{message}");
    ensure!(file_at_contact(world, &chat, &item).await? == photo, "the photo arrives as it was");

    // What is transparent is white on a phone; the type counts that the file has, not the one that is said.
    let drawing = picture(64, 64, image::ImageFormat::Png);
    person_sends(&chat, "m.image", &drawing, "b.jpg", "image/jpeg", "a drawing").await?;
    let item = wait_item(world, &chat, "the drawing", |m| m["imageMessage"]["caption"] == "a drawing").await?;
    ensure!(item.message["imageMessage"]["mimetype"] == "image/jpeg", "{}", item.message);
    let shown = image::load_from_memory(&file_at_contact(world, &chat, &item).await?)?.into_rgb8();
    ensure!(shown.get_pixel(3, 3).0.iter().all(|value| *value > 240), "white above: {:?}", shown.get_pixel(3, 3));

    world.bridge.restart().await?;
    let voice = include_bytes!("../../src/media/testdata/voice.ogg");
    let mxc = chat.person().client().upload(voice.to_vec(), "audio/ogg", "Voice message.ogg").await?;
    let mut content = event_of("m.audio", &mxc, "Voice message.ogg", "audio/ogg", "");
    content["org.matrix.msc3245.voice"] = json!({});
    chat.person().send(&chat.room()?, "m.room.message", &content).await?;
    let item = wait_item(world, &chat, "the voice", |m| m["audioMessage"]["ptt"] == true).await?;
    let message = &item.message["audioMessage"];
    ensure!(message["mimetype"] == "audio/ogg; codecs=opus" && message["seconds"].as_u64() > Some(0), "{message}");
    let bars = BASE64_STANDARD.decode(message["waveform"].as_str().unwrap_or_default())?;
    ensure!(bars.len() == 64 && bars.iter().any(|bar| *bar > 0), "its shape is drawn: {bars:?}");
    ensure!(file_at_contact(world, &chat, &item).await? == voice, "the voice arrives as it was");

    let film = include_bytes!("../../src/media/testdata/film.mp4");
    person_sends(&chat, "m.video", film, "film.mp4", "video/mp4", "").await?;
    let item = wait_item(world, &chat, "the film", |m| m["videoMessage"]["url"].is_string()).await?;
    let message = &item.message["videoMessage"];
    ensure!(message["width"].as_u64() > Some(0) && message["seconds"].as_u64() > Some(0), "{message}");
    ensure!(file_at_contact(world, &chat, &item).await? == film, "the film arrives as it was");

    person_sends(&chat, "m.file", b"some words", "notes.txt", "text/plain", "read this").await?;
    let item = wait_item(world, &chat, "the file", |m| m["documentWithCaptionMessage"].is_object()).await?;
    let message = &item.message["documentWithCaptionMessage"]["message"]["documentMessage"];
    ensure!(message["fileName"] == "notes.txt" && message["caption"] == "read this", "{message}");
    ensure!(file_at_contact(world, &chat, &item).await? == b"some words", "the file arrives as it was");

    let sticker = chat.person().client().upload(drawing, "image/png", "s.png").await?;
    let content = json!({ "body": "hi", "url": sticker, "info": { "mimetype": "image/png" } });
    chat.person().send(&chat.room()?, "m.sticker", &content).await?;
    let item = wait_item(world, &chat, "the sticker", |m| m["stickerMessage"].is_object()).await?;
    let shown = image::load_from_memory(&file_at_contact(world, &chat, &item).await?)?;
    ensure!((shown.width(), shown.height()) == (512, 512), "a sticker of {} pixels", shown.width());

    let card = b"BEGIN:VCARD\nVERSION:3.0\nFN:Erika Muster\nTEL:+49 30 1234\nEND:VCARD\n";
    person_sends(&chat, "m.file", card, "erika.vcf", "text/vcard", "").await?;
    let item = wait_item(world, &chat, "the contact", |m| m["contactMessage"].is_object()).await?;
    ensure!(item.message["contactMessage"]["displayName"] == "Erika Muster", "{}", item.message);

    // Encrypted as Element does it (CS-API, "Sending encrypted attachments"); made with another library.
    let sealed = BASE64_STANDARD.decode("dIcbLZgQX2gKW30DKSdwh7A1NU6Ua0B1eFOWLtyUFLBMZTI=")?;
    let mxc = chat.person().client().upload(sealed, "application/octet-stream", "x").await?;
    let file = json!({
        "url": mxc,
        "key": { "kty": "oct", "key_ops": ["encrypt", "decrypt"], "alg": "A256CTR", "ext": true,
                 "k": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8" },
        "iv": "AAECAwQFBgcAAAAAAAAAAA",
        "hashes": { "sha256": "IbL8eBD4VqtqC1FxSoBu9O3MeAcCEFN8F+k3yATpiFU" },
        "v": "v2",
    });
    let content = json!({ "msgtype": "m.file", "body": "letter.txt", "file": file.clone(), "info": {} });
    chat.person().send(&chat.room()?, "m.room.message", &content).await?;
    let item = wait_item(world, &chat, "the letter", |m| m["documentMessage"]["fileName"] == "letter.txt").await?;
    let letter = file_at_contact(world, &chat, &item).await?;
    ensure!(letter == b"a letter nobody on the way can read", "{}", String::from_utf8_lossy(&letter));
    // Other bytes than were promised are not sent.
    let mut forged = file;
    forged["hashes"]["sha256"] = "AAAAeBD4VqtqC1FxSoBu9O3MeAcCEFN8F+k3yATpiFU".into();
    let content = json!({ "msgtype": "m.file", "body": "forged.txt", "file": forged, "info": {} });
    chat.person().send(&chat.room()?, "m.room.message", &content).await?;
    wait_event(&chat, "the forged file's notice", |event| event.body().contains("is damaged")).await?;
    Ok(())
}

async fn a_gallery_is_an_album(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let client = chat.person().client();
    let mut items = Vec::new();
    for (number, mime) in [(0, "image/jpeg"), (1, "image/jpeg"), (2, "video/mp4")] {
        let (kind, bytes) = match number {
            2 => ("m.video", include_bytes!("../../src/media/testdata/film.mp4").to_vec()),
            _ => ("m.image", picture(300 + number, 200, image::ImageFormat::Jpeg)),
        };
        let mxc = client.upload(bytes, mime, "a").await?;
        items.push(json!({ "itemtype": kind, "body": "a", "url": mxc, "info": { "mimetype": mime } }));
    }
    // One that is not there does not keep the others back.
    let server = chat.person().id().split_once(':').context("a user id has a server")?.1;
    items.push(json!({ "itemtype": "m.image", "body": "b", "url": format!("mxc://{server}/nothing"), "info": {} }));
    let content = json!({ "msgtype": "dm.filament.gallery", "body": "our trip", "itemtypes": items });
    let gallery = chat.person().send(&chat.room()?, "m.room.message", &content).await?;
    let album = wait_item(world, &chat, "the album", |m| m["albumMessage"].is_object()).await?;
    ensure!(album.message["albumMessage"]["expectedImageCount"] == 3, "{}", album.message);
    ensure!(album.message["albumMessage"]["expectedVideoCount"] == 1, "{}", album.message);
    let number = &chat.contact().number;
    let files = wait::until("three files of the album", wait::STEP, || async {
        let is_child = |item: &InboxItem| {
            let of = &item.message["messageContextInfo"]["messageAssociation"]["parentMessageKey"]["id"];
            *of == album.id.as_str()
        };
        let files: Vec<InboxItem> = world.phones.inbox(number).into_iter().filter(is_child).collect();
        Ok((files.len() == 3).then_some(files))
    })
    .await?;
    ensure!(files[0].message.to_string().contains("our trip"), "the words are with the first: {:?}", files[0]);
    wait_event(&chat, "a word about the fourth", |event| event.body().contains("was not sent to WhatsApp")).await?;
    chat.person().redact(&chat.room()?, &gallery).await?;
    for id in files.iter().map(|file| &file.id).chain([&album.id]) {
        wait_item(world, &chat, "a deletion of each", |message| {
            let protocol = &message["protocolMessage"];
            protocol["type"] == "REVOKE" && protocol["key"]["id"] == id.as_str()
        })
        .await?;
    }
    Ok(())
}

async fn a_link_has_its_picture(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let url = "https://example.com/page";
    let link = Kind::Link {
        text: format!("see {url}"),
        url: url.into(),
        title: Some("A page".into()),
        description: Some("about something".into()),
    };
    contact_sends(world, &chat, link).await?;
    let event = wait_event(&chat, "the link", |event| event.body().starts_with("see https")).await?;
    let preview = &event.content["com.beeper.linkpreviews"][0];
    ensure!(preview["og:title"] == "A page" && preview["og:image:type"] == "image/jpeg", "{preview}");
    let shown = image::load_from_memory(&bytes_of(&chat, &preview["og:image"]).await?)?;
    ensure!(preview["og:image:width"] == shown.width(), "{preview}");
    // And what a client shows of a link goes with it.
    let photo = picture(600, 300, image::ImageFormat::Jpeg);
    let mxc = chat.person().client().upload(photo.clone(), "image/jpeg", "p.jpg").await?;
    let preview = json!({ "matched_url": url, "og:url": url, "og:title": "My page", "og:image": mxc });
    let content = json!({ "msgtype": "m.text", "body": format!("read {url}"), "com.beeper.linkpreviews": [preview] });
    chat.person().send(&chat.room()?, "m.room.message", &content).await?;
    let item = wait_item(world, &chat, "the link", |m| m["extendedTextMessage"]["title"] == "My page").await?;
    let message = &item.message["extendedTextMessage"];
    ensure!(message["thumbnailDirectPath"].is_string() && message["thumbnailWidth"] == 600, "{message}");
    Ok(())
}

async fn a_file_that_is_gone_is_asked_of_the_phone(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    world.bridge.stop().await?;
    let photo = |caption: &str| Kind::Image(Media { caption: Some(caption.into()), ..Media::default() });
    contact_sends(world, &chat, photo("still on the phone")).await?;
    let lost = contact_sends(world, &chat, photo("nowhere any more")).await?;
    world.phones.simulator().expire_media(404);
    for number in [&chat.contact().number, &chat.login().number] {
        // Whichever phone is asked: nobody has it.
        world.phones.simulator().forget_media(number, &lost).ok();
    }
    world.bridge.start().await?;
    let event = wait_event(&chat, "the first photo", |event| event.body() == "still on the phone").await?;
    ensure!(bytes_of(&chat, &event.content["url"]).await?.len() > 100, "{}", event.content);
    let event = wait_event(&chat, "a word for the second", |event| event.body().contains("nowhere any more")).await?;
    ensure!(event.content["msgtype"] == "m.notice", "{}", event.content);
    ensure!(event.body().contains("no longer on WhatsApp's servers"), "{}", event.body());
    Ok(())
}

async fn a_file_waits_for_the_media_servers(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let simulator = world.phones.simulator();
    simulator.set_media_faults(MediaFaults { refuse: Some(503), ..MediaFaults::default() });
    contact_sends(world, &chat, Kind::Image(Media { caption: Some("in the end".into()), ..Media::default() })).await?;
    wait::until("a try that fails", wait::STEP, || async {
        Ok(simulator.media_downloads().iter().any(|(_, _, status)| *status == 503).then_some(()))
    })
    .await?;
    simulator.set_media_faults(MediaFaults::default());
    let event = wait_event(&chat, "the photo", |event| event.body() == "in the end").await?;
    ensure!(event.content["url"].is_string(), "{}", event.content);
    Ok(())
}

async fn a_file_that_is_too_large_is_told(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    world.bridge.stop().await?;
    world.bridge.reconfigure(&json!({ "media": { "max_file_mib": 1 } }))?;
    world.bridge.start().await?;
    let large = Media { file_name: Some("big.bin".into()), caption: Some("a lot".into()), ..Media::with_size(1 << 21) };
    contact_sends(world, &chat, Kind::Document(large)).await?;
    let event = wait_event(&chat, "a word about the file", |event| event.body().contains("a lot")).await?;
    ensure!(event.body().contains("at most 1 MB can be shared here"), "{}", event.body());
    person_sends(&chat, "m.file", &vec![7; 1 << 21], "big.bin", "application/octet-stream", "").await?;
    let event = wait_event(&chat, "a word about the other", |event| event.body().contains("at most 1 MiB")).await?;
    ensure!(event.content["msgtype"] == "m.notice", "{}", event.content);
    Ok(())
}

async fn what_the_homeserver_does_not_take_is_told(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    world.synapse.stop().await?;
    let path = world.synapse.folder().path().join("homeserver.yaml");
    let mut settings: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
    settings["max_upload_size"] = "1M".into();
    std::fs::write(&path, serde_json::to_vec_pretty(&settings)?)?;
    world.synapse.start_again().await?;
    // What it takes is asked once per start.
    world.bridge.restart().await?;
    let large = Media { file_name: Some("big.bin".into()), caption: Some("a lot".into()), ..Media::with_size(1 << 21) };
    contact_sends(world, &chat, Kind::Document(large)).await?;
    let event = wait_event(&chat, "a word about the file", |event| event.body().contains("a lot")).await?;
    ensure!(event.body().contains("at most 1 MB can be shared here"), "{}", event.body());
    let small = Media { file_name: Some("small.bin".into()), ..Media::with_size(1 << 12) };
    contact_sends(world, &chat, Kind::Document(small)).await?;
    wait_event(&chat, "the small one", |event| event.is_message("m.file")).await?;
    Ok(())
}

async fn killed_while_files_are_on_their_way(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    for (point, passed) in [("files.after_name", 0), ("files.after_put", 0), ("files.after_put", 1)] {
        let caption = format!("{point} {passed}");
        world.bridge.kill9()?;
        world.bridge.start_with_kill_points(&format!("{point}={passed}*off->return")).await?;
        for number in 0..2 {
            let data = picture(900, 700 + number, image::ImageFormat::Jpeg);
            let media = Media { caption: Some(format!("{caption} {number}")), ..Media::with_data(&data) };
            contact_sends(world, &chat, Kind::Image(media)).await?;
        }
        world.bridge.wait_exit(wait::STEP).await?;
        world.bridge.start().await?;
        for number in 0..2 {
            let caption = format!("{caption} {number}");
            let event = wait_event(&chat, &caption, |event| event.body() == caption).await?;
            let file = image::load_from_memory(&bytes_of(&chat, &event.content["url"]).await?)?;
            ensure!(file.height() == 700 + number, "{caption} has another file");
            let history = chat.person().history(&chat.room()?).await?;
            let times = history.iter().filter(|event| event.body() == caption).count();
            ensure!(times == 1, "{caption} is there {times} times");
        }
    }
    world.bridge.kill9()?;
    world.bridge.start_with_kill_points("files.after_upload=0*off->return").await?;
    let data = picture(300, 200, image::ImageFormat::Jpeg);
    person_sends(&chat, "m.image", &data, "c.jpg", "image/jpeg", "sent once").await?;
    world.bridge.wait_exit(wait::STEP).await?;
    world.bridge.start().await?;
    let item = wait_item(world, &chat, "the photo", |m| m["imageMessage"]["caption"] == "sent once").await?;
    ensure!(file_at_contact(world, &chat, &item).await? == data, "the photo arrives as it was");
    let inbox = world.phones.inbox(&chat.contact().number);
    let times = inbox.iter().filter(|item| item.message["imageMessage"]["caption"] == "sent once").count();
    ensure!(times == 1, "it is there {times} times");
    // In the middle of an album: behind the album's own message, and behind its first file.
    for passed in [0, 1] {
        let mut items = Vec::new();
        for number in 0..2 {
            let bytes = picture(300, 200 + number, image::ImageFormat::Jpeg);
            let mxc = chat.person().client().upload(bytes, "image/jpeg", "a").await?;
            items.push(json!({ "itemtype": "m.image", "body": "a", "url": mxc, "info": { "mimetype": "image/jpeg" } }));
        }
        world.bridge.kill9()?;
        world.bridge.start_with_kill_points(&format!("from_mx.after_send={passed}*off->return")).await?;
        let words = format!("album {passed}");
        let content = json!({ "msgtype": "dm.filament.gallery", "body": words, "itemtypes": items });
        chat.person().send(&chat.room()?, "m.room.message", &content).await?;
        world.bridge.wait_exit(wait::STEP).await?;
        world.bridge.start().await?;
        wait_item(world, &chat, "the album's first file", |m| m.to_string().contains(&words)).await?;
        world.bridge.wait_idle().await?;
        let inbox = world.phones.inbox(&chat.contact().number);
        let albums: Vec<&InboxItem> = inbox.iter().filter(|item| item.message["albumMessage"].is_object()).collect();
        ensure!(albums.len() == passed + 1, "{} albums after {} were sent", albums.len(), passed + 1);
        let newest = &albums[passed].id;
        let is_child = |item: &&InboxItem| {
            item.message["messageContextInfo"]["messageAssociation"]["parentMessageKey"]["id"] == newest.as_str()
        };
        let files = inbox.iter().filter(is_child).count();
        ensure!(files == 2, "{files} files of 2 in {words}");
    }
    Ok(())
}
