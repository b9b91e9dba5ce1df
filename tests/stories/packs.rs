//! Sticker packs of WhatsApp, brought into somebody's space as image packs.

use std::io::Cursor;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use matrix_bed::management::Management;
use matrix_bed::person::Person;
use matrix_bed::wait;
use matrix_bed::world::World;
use reqwest::Method;
use serde_json::{Value, json};
use whatsapp_sim::{PackSticker, StickerPack};

use crate::acts::die_at;
use crate::provisioning::Manager;
use crate::spaces::wait_spaces;

matrix_bed::stories! {
    shared {
        a_sticker_pack_is_brought_over_and_mended
        what_is_no_pack_is_told
        killed_in_the_middle_of_a_pack
        a_manager_brings_a_pack_over
    }
}

const EVENT: &str = "im.ponies.room_emotes";

fn picture(red: u8) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let picture = DynamicImage::ImageRgb8(RgbImage::from_pixel(512, 512, Rgb([red, 0, 99])));
    picture.write_to(&mut Cursor::new(&mut bytes), ImageFormat::WebP)?;
    Ok(bytes)
}

fn sticker(red: u8, label: &str, emoji: &str) -> Result<PackSticker> {
    Ok(PackSticker { picture: picture(red)?, lottie: None, label: label.into(), emojis: vec![emoji.into()] })
}

fn cuppy() -> Result<StickerPack> {
    let mut stickers = vec![sticker(1, "Hello!", "👋")?, sticker(2, "", "🍵")?, sticker(3, "moving", "🏃")?];
    // Who asks for Lottie gets what no client shows.
    stickers[2].lottie = Some(b"PK\x03\x04 an animation".to_vec());
    Ok(StickerPack { id: "Cuppy".into(), name: "Cuppy the Cup".into(), publisher: "WhatsApp".into(), stickers })
}

/// Somebody with an account and a space.
async fn begin(world: &mut World, name: &str) -> Result<(Person, Management, String)> {
    let (person, _, management) = world.log_in(name).await?;
    let space = wait_spaces(&person, &["WhatsApp"]).await?.remove(0);
    Ok((person, management, space))
}

/// The packs of a space, by the events that set them.
async fn told(person: &Person, space: &str) -> Result<Vec<Value>> {
    let history = person.history(space).await?;
    Ok(history.into_iter().filter(|event| event.kind == EVENT).map(|event| event.content).collect())
}

async fn files(world: &World) -> Result<i64> {
    world.database.number("SELECT COUNT(*) FROM pack_sticker").await
}

async fn a_sticker_pack_is_brought_over_and_mended(world: &mut World) -> Result<()> {
    let simulator = world.phones.simulator().clone();
    let mut pack = cuppy()?;
    simulator.publish_pack(&pack)?;
    let (alice, alices, space) = begin(world, "alice").await?;
    let link = "import-image-pack https://wa.me/stickerpack/Cuppy";
    let answer = alices.ask(link, "“Cuppy the Cup” with 3 stickers").await?;
    ensure!(answer.body().contains(&space), "{}", answer.body());
    let content = alice.find_state(&space, EVENT, "Cuppy").await?.context("no pack")?;
    let images = content["images"].as_object().context("no images")?;
    ensure!(images.keys().eq(["hello", "moving", "sticker_2"]), "{content}");
    for (name, red) in [("hello", 1), ("sticker_2", 2), ("moving", 3)] {
        let mxc = images[name]["url"].as_str().context("no address")?;
        ensure!(alice.client().download(mxc).await? == picture(red)?, "{name} is another picture");
        ensure!(images[name]["info"]["mimetype"] == "image/webp" && images[name]["info"]["w"] == 512, "{content}");
    }
    ensure!(images["sticker_2"]["body"] == "🍵", "{content}");
    ensure!(content["pack"]["display_name"] == "Cuppy the Cup" && content["pack"]["usage"] == json!(["sticker"]));
    ensure!(content["fi.mau.whatsapp.stickerpack"]["id"] == "Cuppy", "{content}");

    // Again: nothing is doubled, whichever way the link is written.
    alices.ask("import-image-pack <https://api.whatsapp.com/stickerpack/Cuppy?lang=en>", "with 3 stickers").await?;
    ensure!(told(&alice, &space).await? == [content.clone()], "it was set again");
    ensure!(files(world).await? == 3, "files were doubled");
    // What changed on WhatsApp changes, and what is the same keeps its name. One is damaged and left out.
    pack.stickers[1] = sticker(4, "Tea", "🍵")?;
    pack.stickers[2].picture = b"no picture".to_vec();
    simulator.publish_pack(&pack)?;
    alices.ask(link, "with 2 stickers").await?;
    let newest = alice.find_state(&space, EVENT, "Cuppy").await?.context("no pack")?;
    ensure!(newest["images"].as_object().is_some_and(|images| images.keys().eq(["hello", "tea"])), "{newest}");
    ensure!(newest["images"]["hello"] == content["images"]["hello"], "{newest}");
    ensure!(told(&alice, &space).await?.len() == 2, "set more than once");
    // What somebody else wants is theirs.
    let (bob, bobs, theirs) = begin(world, "bob").await?;
    bobs.ask(link, "with 2 stickers").await?;
    ensure!(theirs != space && told(&bob, &theirs).await?.len() == 1 && told(&alice, &space).await?.len() == 2);
    ensure!(files(world).await? == 4, "a file has one name");
    Ok(())
}

async fn what_is_no_pack_is_told(world: &mut World) -> Result<()> {
    let simulator = world.phones.simulator().clone();
    let nora = world.person("nora").await?;
    let noras = world.management(&nora).await?;
    noras.ask("import-image-pack https://wa.me/stickerpack/Cuppy", "not logged in").await?;
    let (alice, alices, space) = begin(world, "alice").await?;
    for wrong in ["", " Cuppy", " https://evil.example/stickerpack/Cuppy", " https://wa.me/stickerpack/a b"] {
        alices.ask(&format!("import-image-pack{wrong}"), "Say `import-image-pack <URL>`").await?;
    }
    ensure!(!simulator.media_downloads().iter().any(|(path, ..)| path == "/sticker"), "somebody was asked");
    let link = "import-image-pack https://wa.me/stickerpack/Cuppy";
    alices.ask(link, "knows no such sticker pack").await?;
    let many = vec![sticker(1, "one", "")?; 121];
    simulator.publish_pack(&StickerPack { stickers: many, ..cuppy()? })?;
    alices.ask(link, "too large").await?;
    simulator.publish_pack(&StickerPack { stickers: Vec::new(), ..cuppy()? })?;
    alices.ask(link, "knows no such sticker pack").await?;
    simulator.publish_pack(&cuppy()?)?;
    simulator.set_media_faults(whatsapp_sim::MediaFaults { refuse: Some(503), ..Default::default() });
    alices.ask(link, "can't be reached").await?;
    simulator.set_media_faults(whatsapp_sim::MediaFaults::default());
    ensure!(told(&alice, &space).await?.is_empty() && files(world).await? == 0, "something was brought over");
    // Where they would go must be there.
    alice.leave(&space).await?;
    wait::until("the bridge knows it", wait::STEP, async || {
        Ok((world.database.execute("UPDATE login_space SET name = name WHERE has_left = 1").await? == 1).then_some(()))
    })
    .await?;
    alices.ask(link, "you have left it").await?;
    world.bridge.reconfigure(&json!({ "bridge": { "personal_filtering_spaces": false } }))?;
    world.bridge.restart().await?;
    alices.ask(link, "makes none").await?;
    Ok(())
}

async fn killed_in_the_middle_of_a_pack(world: &mut World) -> Result<()> {
    world.phones.simulator().publish_pack(&cuppy()?)?;
    let (alice, alices, space) = begin(world, "alice").await?;
    for (round, point) in ["packs.after_name", "packs.after_put"].into_iter().enumerate() {
        let link = "import-image-pack https://wa.me/stickerpack/Cuppy";
        let asked = Instant::now();
        die_at(world, point, async |_| alice.send_text(alices.room(), link).await.map(drop)).await?;
        // The command goes on by itself.
        alices
            .wait_notice("the answer", |event| event.arrived >= asked && event.body().contains("with 3 stickers"))
            .await?;
        ensure!(files(world).await? == 3, "files were doubled in round {round}");
        ensure!(told(&alice, &space).await?.len() == round + 1, "the pack is not there, or twice");
        world.database.execute("DELETE FROM pack_sticker").await?;
        alices.ask("ping", "connected").await?;
    }
    Ok(())
}

async fn a_manager_brings_a_pack_over(world: &mut World) -> Result<()> {
    world.phones.simulator().publish_pack(&cuppy()?)?;
    let (alice, _, space) = begin(world, "alice").await?;
    let (_, bob, _) = world.log_in("bob").await?;
    let manager = Manager::of(world, &alice);
    let path = "image_pack/import?pack_url=https%3A%2F%2Fwa.me%2Fstickerpack%2FCuppy";
    let (status, preview) = manager.ask(Method::GET, path, None).await?;
    ensure!(status == 200 && preview["images"].as_object().is_some_and(|images| images.len() == 3), "{preview}");
    ensure!(told(&alice, &space).await?.is_empty(), "a look has put it there");
    let saved = manager.post(path, None).await?;
    ensure!(saved["room_id"] == space.as_str() && saved["state_key"] == "Cuppy", "{saved}");
    ensure!(told(&alice, &space).await? == [preview], "it is not what was shown");
    ensure!(manager.post(path, None).await? == saved, "it was set again");
    let missing = "image_pack/import?pack_url=https%3A%2F%2Fwa.me%2Fstickerpack%2FNobodys";
    for method in [Method::GET, Method::POST] {
        manager.refused(method.clone(), missing, None, (404, "M_NOT_FOUND")).await?;
        manager.refused(method.clone(), "image_pack/import?pack_url=nonsense", None, (404, "M_NOT_FOUND")).await?;
        manager.refused(method.clone(), "image_pack/import", None, (400, "M_MISSING_PARAM")).await?;
        let anothers = format!("{path}&login_id={}", bob.number);
        manager.refused(method, &anothers, None, (404, "M_NOT_FOUND")).await?;
    }
    let nora = world.person("nora").await?;
    Manager::of(world, &nora).refused(Method::POST, path, None, (404, "FI.MAU.NOT_LOGGED_IN")).await
}
