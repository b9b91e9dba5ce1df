//! The demo: a real Synapse, a simulated WhatsApp and the bridge play a story, then stay up for a look.

#![recursion_limit = "512"]

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use matrix_bed::chat::Chat;
use matrix_bed::database::Db;
use matrix_bed::management::Management;
use matrix_bed::person::Person;
use matrix_bed::phones::Account;
use matrix_bed::wait;
use matrix_bed::world::{Homeserver, World};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

/// Shows the bridge at work.
#[derive(Parser)]
struct Arguments {
    /// Ends after the story.
    #[arg(long)]
    exit: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut ended = signal(SignalKind::terminate())?;
    tokio::select! {
        done = play(arguments.exit) => done,
        _ = interrupted.recv() => {
            println!("\nstopping");
            Ok(())
        }
        _ = ended.recv() => Ok(()),
    }
}

async fn play(exit: bool) -> Result<()> {
    let mut stage = Stage::default();
    let start = Instant::now();
    let mut world = World::prepare(Db::Sqlite, Homeserver::Own).await?;
    stage.ready("Synapse", &world.synapse.url(), start);
    stage.ready("the WhatsApp simulator", &world.phones.media(), start);
    let start = Instant::now();
    world.bridge.start().await?;
    stage.ready("the bridge (SQLite)", &world.bridge.url(), start);

    let told = tell(&mut world, &mut stage).await;
    if told.is_err() {
        eprintln!("{}", world.bridge.log_tail(60));
    }
    let (alice, account, bob) = told?;
    world.check_laws().await?;
    println!("\nEverything arrived, exactly once, in order. {}", stage.summary());
    write_out(&world, &alice, &account, &bob)?;
    if exit {
        let status = world.bridge.stop().await?;
        ensure!(status.success(), "the bridge, asked to stop, ended with {status}");
        return Ok(());
    }
    println!("Press Ctrl-C to stop; nothing is left running.");
    std::future::pending().await
}

/// Plays the story; returns who took part.
async fn tell(world: &mut World, stage: &mut Stage) -> Result<(Person, Account, Account)> {
    println!("\nAlice links her phone");
    let alice = world.synapse.create_user_named("alice").await?;
    let account = world.phones.create_account("Alice")?;
    let management = Management::open(&alice, &world.bridge.slot().bot()).await?;
    let greeting = alice.events(management.room()).into_iter().find(|event| event.is_message("m.notice"));
    stage.line("Matrix", "bot -> alice", greeting.as_ref().map_or("", |event| event.body()), None);
    stage.line("Matrix", "alice -> bot", "login qr", None);
    let start = Instant::now();
    let picture = management.login_by_qr(&world.phones, &account).await?;
    let shown = picture.arrived - start;
    stage.line("Matrix", "bot -> alice", "(a picture with a QR code)", Some(shown));
    stage.line("WhatsApp", "alice's phone", "scans the code out of that picture", None);
    stage.line("Matrix", "bot -> alice", "logged in", Some(start.elapsed()));

    println!("\nBob, who only has WhatsApp, writes to her");
    let bob = world.phones.create_account("Bob")?;
    let chat = world.chat(&alice, &account, &bob);
    for text in ["Hi Alice! Are you on Matrix now?", "The boat leaves at nine."] {
        from_bob(stage, &chat, text).await?;
    }
    println!("\nAlice answers in her Matrix client, Bob reads it");
    let sent = from_alice(stage, &chat, "Yes! I see your messages in a room of ours.").await?;
    let start = Instant::now();
    let item = chat.wait_at_contact("Yes! I see your messages in a room of ours.").await?;
    world.phones.read(&bob.number, &item).await?;
    alice
        .wait_receipt("Bob has read it", wait::STEP, |receipt| receipt.event == sent && receipt.kind == "m.read")
        .await?;
    stage.line("Matrix", "bob -> alice", "(has read it)", Some(start.elapsed()));
    from_alice(stage, &chat, "See you at the boat.").await?;
    from_bob(stage, &chat, "Bring the coffee \u{2615}").await?;

    println!("\nThe bridge is killed with SIGKILL while both go on talking, and started again");
    world.bridge.kill9()?;
    chat.contact_says("Is anybody there?").await?;
    chat.person_says("My bridge is down for a moment.").await?;
    let start = Instant::now();
    world.bridge.start().await?;
    chat.wait_in_room("Is anybody there?").await?;
    stage.line("Matrix", "bob -> alice", "Is anybody there?", Some(start.elapsed()));
    chat.wait_at_contact("My bridge is down for a moment.").await?;
    stage.line("WhatsApp", "alice -> bob", "My bridge is down for a moment.", Some(start.elapsed()));
    from_bob(stage, &chat, "Nothing got lost, it seems.").await?;
    Ok((alice, account, bob))
}

async fn from_bob(stage: &mut Stage, chat: &Chat, text: &str) -> Result<()> {
    stage.line("WhatsApp", "bob -> alice", text, None);
    let start = Instant::now();
    chat.contact_says(text).await?;
    let event = chat.wait_in_room(text).await?;
    let took = event.arrived - start;
    stage.line("Matrix", "bob -> alice", event.body(), Some(took));
    stage.crossings.push(took);
    Ok(())
}

async fn from_alice(stage: &mut Stage, chat: &Chat, text: &str) -> Result<String> {
    stage.line("Matrix", "alice -> bob", text, None);
    let start = Instant::now();
    let event = chat.person_says(text).await?;
    let arrived = wait::until_every(Duration::from_millis(1), "the answer on Bob's phone", wait::STEP, || async {
        Ok(chat.find_at_contact(text))
    });
    let item = arrived.await?;
    let took = start.elapsed();
    stage.line("WhatsApp", "alice -> bob", item.text.as_deref().unwrap_or_default(), Some(took));
    stage.crossings.push(took);
    Ok(event)
}

/// What the audience sees.
#[derive(Default)]
struct Stage {
    crossings: Vec<Duration>,
}

impl Stage {
    fn ready(&self, part: &str, address: &str, start: Instant) {
        println!("{part} is up at {address} ({:.1} s)", start.elapsed().as_secs_f32());
    }

    fn line(&self, network: &str, who: &str, text: &str, took: Option<Duration>) {
        let took = took.map_or_else(String::new, |took| format!("{} ms", took.as_millis()));
        let text = text.lines().next().unwrap_or_default();
        println!("  {network:<9} {who:<14} {took:>8}  {text}");
    }

    fn summary(&self) -> String {
        let milliseconds: Vec<u128> = self.crossings.iter().map(Duration::as_millis).collect();
        let (low, high) = (milliseconds.iter().min(), milliseconds.iter().max());
        format!("A message took {} to {} ms.", low.unwrap_or(&0), high.unwrap_or(&0))
    }
}

fn write_out(world: &World, alice: &Person, account: &Account, bob: &Account) -> Result<()> {
    let facts = json!({
        "homeserver": world.synapse.url(),
        "user": alice.id(),
        "password": alice.password(),
        "bot": world.bridge.slot().bot(),
        "bridge": world.bridge.url(),
        "simulator": world.phones.media(),
        "number": account.number,
        "contact": bob.number,
    });
    let path = xtask::places::target().join("demo.json");
    std::fs::write(&path, serde_json::to_vec_pretty(&facts)?).with_context(|| path.display().to_string())?;
    println!("\nFor a look with any Matrix client (also in {}):", path.display());
    println!("  homeserver  {}", world.synapse.url());
    println!("  user        {}   password {}", alice.id(), alice.password());
    println!("  simulator   {}   Alice is {}, Bob is {}", world.phones.media(), account.number, bob.number);
    println!("              open it in a browser to be Bob's phone, or anybody's");
    println!(
        "  Bob writes: curl -H 'content-type: application/json' {}/admin/send -d '{}'",
        world.phones.media(),
        json!({"from": bob.number, "to": account.number, "text": "Hello from the shell"})
    );
    Ok(())
}
