//! Previews of links that the homeserver makes, when the operator wants them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use matrix_bed::chat::Chat;
use matrix_bed::phones::InboxItem;
use matrix_bed::world::World;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::acts::wait_item;

matrix_bed::stories! {
    shared {}
    own {
        the_homeserver_is_asked_about_a_link
    }
}

/// A page with a picture, on loopback. It can be made slow.
struct Page {
    address: String,
    visits: Arc<AtomicUsize>,
    is_slow: Arc<AtomicBool>,
}

impl Page {
    async fn open() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("http://{}", listener.local_addr()?);
        let (visits, is_slow) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, slow, own) = (Arc::clone(&visits), Arc::clone(&is_slow), address.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let (own, is_slow) = (own.clone(), slow.load(Ordering::SeqCst));
                tokio::spawn(async move { answer(stream, &own, is_slow).await });
            }
        });
        Ok(Self { address, visits, is_slow })
    }
}

async fn answer(mut stream: TcpStream, own: &str, is_slow: bool) -> Result<()> {
    let mut request = vec![0; 4096];
    let read = stream.read(&mut request).await?;
    if is_slow {
        // Longer than any message waits; the story is over before.
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    let is_picture = String::from_utf8_lossy(&request[..read]).starts_with("GET /picture.png");
    let (mime, body) = if is_picture {
        ("image/png", png())
    } else {
        let html = format!(
            "<html><head><title>x</title><meta property=\"og:title\" content=\"The gardeners\"/>\
             <meta property=\"og:description\" content=\"All about beans\"/>\
             <meta property=\"og:image\" content=\"{own}/picture.png\"/></head><body>hello</body></html>"
        );
        ("text/html; charset=utf-8", html.into_bytes())
    };
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {mime}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&body).await?;
    Ok(stream.shutdown().await?)
}

fn png() -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let picture = image::DynamicImage::ImageRgb8(image::RgbImage::from_pixel(320, 200, image::Rgb([20, 120, 40])));
    picture.write_to(&mut bytes, image::ImageFormat::Png).expect("a picture");
    bytes.into_inner()
}

/// Lets this story's homeserver make previews, of pages on loopback too.
async fn let_preview(world: &World) -> Result<()> {
    world.synapse.stop().await?;
    let path = world.synapse.folder().path().join("homeserver.yaml");
    let mut settings: Value = serde_json::from_slice(&std::fs::read(&path)?)?;
    settings["url_preview_enabled"] = true.into();
    settings["url_preview_ip_range_blacklist"] = json!(["192.0.2.0/24"]);
    std::fs::write(&path, serde_json::to_vec_pretty(&settings)?)?;
    world.synapse.start_again().await.context("a homeserver with previews; was `cargo xtask setup` run?")
}

/// Waits until the contact's phone has these words.
async fn said(world: &World, chat: &Chat, words: &str) -> Result<InboxItem> {
    let wanted = |message: &Value| message["extendedTextMessage"]["text"] == words || message["conversation"] == words;
    wait_item(world, chat, words, wanted).await
}

async fn the_homeserver_is_asked_about_a_link(world: &mut World) -> Result<()> {
    let_preview(world).await?;
    let chat = world.begin().await?;
    let page = Page::open().await?;
    let has_preview = |message: &Value| !message["extendedTextMessage"]["title"].is_null();
    // Off, as it is at first: nobody visits the page.
    let words = format!("not yet {}/a", page.address);
    chat.person().send_text(&chat.room()?, &words).await?;
    ensure!(!has_preview(&said(world, &chat, &words).await?.message), "a preview nobody wanted");
    ensure!(page.visits.load(Ordering::SeqCst) == 0, "the page was visited");

    world.bridge.stop().await?;
    world.bridge.reconfigure(&json!({ "network": { "url_previews": true } }))?;
    world.bridge.start().await?;
    let words = format!("look at {}/b and water them", page.address);
    chat.person().send_text(&chat.room()?, &words).await?;
    let message = said(world, &chat, &words).await?.message;
    let text = &message["extendedTextMessage"];
    ensure!(text["title"] == "The gardeners" && text["description"] == "All about beans", "{message}");
    ensure!(text["matchedText"] == format!("{}/b", page.address), "{message}");
    ensure!(text["jpegThumbnail"].is_string() && text["thumbnailDirectPath"].is_string(), "{message}");
    ensure!(text["thumbnailWidth"] == 320, "{message}");

    // What the sender's client gave or refused is not asked about.
    let visits = page.visits.load(Ordering::SeqCst);
    for (given, title) in
        [(json!([]), Value::Null), (json!([{ "matched_url": page.address, "og:title": "Mine" }]), "Mine".into())]
    {
        let words = format!("given {title} {}", page.address);
        let content = json!({ "msgtype": "m.text", "body": words, "com.beeper.linkpreviews": given });
        chat.person().send(&chat.room()?, "m.room.message", &content).await?;
        let message = said(world, &chat, &words).await?.message;
        ensure!(message["extendedTextMessage"]["title"] == title, "{message}");
    }
    ensure!(page.visits.load(Ordering::SeqCst) == visits, "the page was visited for nothing");

    // Killed behind the sending: it goes again as it was, under its name.
    world.bridge.kill9()?;
    world.bridge.start_with_kill_points("from_mx.after_send=1*return").await?;
    let words = format!("once {}/c", page.address);
    chat.person().send_text(&chat.room()?, &words).await?;
    world.bridge.wait_exit(matrix_bed::wait::STEP).await?;
    world.bridge.start().await?;
    let message = said(world, &chat, &words).await?.message;
    ensure!(message["extendedTextMessage"]["title"] == "The gardeners", "{message}");
    world.bridge.wait_idle().await?;
    let inbox = world.phones.inbox(&chat.contact().number);
    let times = inbox.iter().filter(|item| item.message.to_string().contains("once http")).count();
    ensure!(times == 1, "it is there {times} times");

    // A page that does not answer, and one that is not there, keep nothing.
    page.is_slow.store(true, Ordering::SeqCst);
    for address in [format!("{}/d", page.address), "http://127.0.0.1:9/nothing".to_owned()] {
        let words = format!("in time {address}");
        let sent = Instant::now();
        chat.person().send_text(&chat.room()?, &words).await?;
        ensure!(!has_preview(&said(world, &chat, &words).await?.message), "a preview of nothing");
        ensure!(sent.elapsed() < Duration::from_secs(30), "it waited for {:?}", sent.elapsed());
    }
    Ok(())
}
