//! The same thing in each form in which WhatsApp or people write it.

use anyhow::{Context, Result, ensure};
use image::{DynamicImage, ImageFormat, RgbImage};
use matrix_bed::world::World;
use std::io::Cursor;
use whatsapp_sim::{Kind, Media, Options};

use crate::acts::{contact_sends_with, wait_event, wait_item};
use crate::files::{file_at_contact, person_sends};
use crate::polls::{id_of, is_poll, person_votes, start_of, vote, wait_read, wait_vote};

matrix_bed::stories! {
    shared {
        polls_of_every_form_are_voted_on_both_ways
        pictures_of_rare_types_arrive_as_pictures
        a_picture_that_may_be_seen_once_is_shown_when_it_comes
    }
}

async fn polls_of_every_form_are_voted_on_both_ways(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let mut asked = Vec::new();
    for version in 1..=6 {
        let name = format!("Form {version}?");
        let kind = Kind::Poll {
            name: name.clone(),
            options: vec!["tea".into(), "soup".into()],
            selectable: Some(1),
            version: Some(version),
            correct: None,
            end_time: None,
        };
        let id = contact_sends_with(world, &chat, kind, Options::default()).await?;
        let poll =
            wait_event(&chat, &name, |event| is_poll(event) && start_of(event)["question"]["body"] == name.as_str());
        asked.push((id, poll.await?));
    }
    world.bridge.restart().await?;
    for (id, poll) in &asked {
        contact_sends_with(world, &chat, vote(id, &["soup"]), Options::default()).await?;
        wait_vote(&chat, &poll.id, &[id_of(poll, "soup")?], None).await?;
        let before = world.phones.inbox(&chat.contact().number);
        person_votes(&chat, &poll.id, &[&id_of(poll, "tea")?]).await?;
        wait_read(world, &chat, &["tea"], &before).await.with_context(|| format!("about {}", poll.content))?;
    }
    Ok(())
}

async fn pictures_of_rare_types_arrive_as_pictures(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let drawn = DynamicImage::ImageRgb8(RgbImage::from_fn(40, 30, |x, y| image::Rgb([x as u8 * 6, y as u8 * 8, 90])));
    for (format, name, mime) in [
        (ImageFormat::Bmp, "drawing.bmp", "image/bmp"),
        (ImageFormat::Tiff, "scan.tiff", "image/tiff"),
        (ImageFormat::WebP, "photo.webp", "image/webp"),
    ] {
        let mut bytes = Cursor::new(Vec::new());
        drawn.write_to(&mut bytes, format)?;
        let words = format!("see {name}");
        person_sends(&chat, "m.image", bytes.get_ref(), name, mime, &words).await?;
        let item =
            wait_item(world, &chat, name, |message| message["imageMessage"]["caption"] == words.as_str()).await?;
        ensure!(item.message["imageMessage"]["mimetype"] == "image/jpeg", "{}", item.message);
        let shown = image::load_from_memory(&file_at_contact(world, &chat, &item).await?)?;
        ensure!((shown.width(), shown.height()) == (40, 30), "{name}: {} x {}", shown.width(), shown.height());
    }
    Ok(())
}

async fn a_picture_that_may_be_seen_once_is_shown_when_it_comes(world: &mut World) -> Result<()> {
    let chat = world.begin().await?;
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(RgbImage::from_pixel(16, 12, image::Rgb([9, 9, 200])))
        .write_to(&mut bytes, ImageFormat::Jpeg)?;
    let kind = Kind::Image(Media::with_data(bytes.get_ref()));
    contact_sends_with(world, &chat, kind, Options { view_once: true, ..Options::default() }).await?;
    let event = wait_event(&chat, "the picture", |event| event.is_message("m.image")).await?;
    ensure!(event.body().contains("View once"), "it says what it is: {}", event.content);
    let mxc = event.content["url"].as_str().context("a file")?;
    ensure!(chat.person().client().download(mxc).await? == *bytes.get_ref(), "the picture arrives as it was");
    Ok(())
}
