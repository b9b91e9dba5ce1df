//! The benchmark of `cargo xtask bench messages`: what a message costs, beside the budgets.
//!
//! A benchmark, never a test: nothing fails here because a machine is slow. The bridge runs as a program between the
//! simulator and, in turn, a homeserver that costs nothing ([`stand_in`]) and a real Synapse. Begin reading at [`run`].

pub mod first_login;
pub mod load;
pub mod media;
pub mod meter;
pub mod report;
pub mod rig;
pub mod server;
pub mod stand_in;
pub mod starts;

use anyhow::Result;
use serde_json::json;

use crate::database::Db;
use meter::Statements;
use report::{Budget, Report};
use rig::Rig;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// The bridge's database, and Synapse's.
    pub db: Db,
    /// Messages of each flood at the stand-in.
    pub count: usize,
    /// Messages of each flood at Synapse.
    pub synapse_count: usize,
    /// Whether the stand-in is measured.
    pub stand_in: bool,
    /// Whether Synapse is measured.
    pub synapse: bool,
    /// Chats, each of which keeps its order.
    pub chats: usize,
}

/// Messages a second of a paced load.
const PACE: u32 = 20;
/// Messages of a paced load.
const PACED: usize = 300;
/// Messages whose statements are counted.
const COUNTED: usize = 100;
/// Further logins whose memory is measured.
const LOGINS: u64 = 50;
/// Portals of the large database.
const PORTALS: usize = 10_000;

/// Measures everything and prints it.
///
/// # Errors
/// A part does not start, or a message does not arrive.
pub async fn run(settings: Settings) -> Result<()> {
    let mut report = Report::default();
    println!("{}", report::heading());
    if settings.stand_in {
        at_stand_in(settings, &mut report).await?;
    }
    if settings.synapse {
        at_synapse(settings, &mut report).await?;
    }
    let about = json!({
        "database": format!("{:?}", settings.db), "count": settings.count, "synapse_count": settings.synapse_count,
        "chats": settings.chats, "pace": PACE, "paced": PACED, "further_logins": LOGINS, "portals": PORTALS,
        "bridge": xtask::places::bridge(),
    });
    report.finish("bench-messages.json", &about)
}

fn latency_budget(db: Db) -> Budget {
    Budget::AtMost(match db {
        Db::Sqlite => 15.0,
        Db::Postgres => 25.0,
    })
}

async fn at_stand_in(settings: Settings, report: &mut Report) -> Result<()> {
    let on = "stand-in";
    let mut rig = Rig::at_stand_in(&settings).await?;
    let (middle, slow) = meter::disk(rig.folder.path())?;
    report.note(on, "this disk: 4 KiB made durable, p50", middle, "ms", Budget::None);
    report.note(on, "this disk: 4 KiB made durable, p99", slow, "ms", Budget::None);
    rig.restart(1).await?;
    let idle = rig.memory_at_rest().await?;
    report.note(on, "memory, idle with one login", idle.resident, "MB", Budget::AtMost(40.0));
    report.note(on, "of it, not the program's file", idle.own, "MB", Budget::None);
    rig.begin_chats(settings.chats).await?;

    let bound = rig.bound_in(&rig.direct()?, "warm", settings.count).await?;
    report.note(on, "its own bound: direct sends", bound, "msg/s", Budget::None);
    // The first of each is for warming up.
    rig.flood_in("warm", settings.count / 4).await?;
    rig.flood_out("warm", settings.count / 4).await?;
    let flood = rig.flood_in("flood", settings.count).await?;
    report.note(on, "WhatsApp to Matrix", flood.rate, "msg/s", Budget::AtLeast(1000.0));
    report.note(on, "WhatsApp to Matrix, CPU per 1,000", flood.cpu, "s", Budget::AtMost(0.7));
    let flood = rig.flood_out("flood", settings.count).await?;
    report.note(on, "Matrix to WhatsApp", flood.rate, "msg/s", Budget::AtLeast(1000.0));
    report.note(on, "Matrix to WhatsApp, CPU per 1,000", flood.cpu, "s", Budget::AtMost(0.7));
    let memory = meter::memory(rig.process()?)?;
    report.note(on, "memory after the run", memory.resident, "MB", Budget::None);
    report.note(on, "memory at its peak", memory.peak, "MB", Budget::None);

    let budget = latency_budget(settings.db);
    let paced = rig.paced_in("paced", PACE, PACED).await?;
    report.note(on, "WhatsApp to Matrix, added latency p50", paced.p50, "ms", Budget::None);
    report.note(on, "WhatsApp to Matrix, added latency p99", paced.p99, "ms", budget);
    let paced = rig.paced_out("paced", PACE, PACED).await?;
    report.note(on, "Matrix to WhatsApp, added latency p50", paced.p50, "ms", Budget::None);
    report.note(on, "Matrix to WhatsApp, added latency p99", paced.p99, "ms", budget);

    count_statements(&mut rig, report, on).await?;

    let (first_in, first_out) = rig.start_to_first("few").await?;
    let name = format!("start to first message, {} portals", settings.chats);
    report.note(on, format!("{name}, in"), first_in, "s", Budget::AtMost(2.0));
    report.note(on, format!("{name}, out"), first_out, "s", Budget::AtMost(2.0));
    let working = rig.kill_to_working("killed").await?;
    report.note(on, "SIGKILL to working again, both ways", working, "s", Budget::AtMost(2.0));
    rig.fill_portals(PORTALS).await?;
    let (first_in, first_out) = rig.start_to_first("many").await?;
    report.note(on, "start to first message, 10,000 portals, in", first_in, "s", Budget::AtMost(2.0));
    report.note(on, "start to first message, 10,000 portals, out", first_out, "s", Budget::AtMost(2.0));

    rig.restart(1).await?;
    let one = rig.memory_at_rest().await?;
    report.note(on, "memory, idle, one login, 10,000 portals", one.resident, "MB", Budget::None);
    let bot = rig.bridge.slot().bot();
    for number in 0..LOGINS {
        let account = rig.phones.create_account(&format!("further {number}"))?;
        rig.server.log_in(&format!("further{number}"), &bot, &rig.phones, &account).await?;
    }
    rig.restart(1 + LOGINS).await?;
    let all = rig.memory_at_rest().await?;
    let further = (all.resident - one.resident) / LOGINS as f64;
    report.note(on, format!("memory, idle, {} logins", 1 + LOGINS), all.resident, "MB", Budget::None);
    report.note(on, "memory per further login", further, "MB", Budget::AtMost(1.5));
    rig.stop().await
}

/// Counts statements with a log that names each; apart from the rest, since that costs time.
async fn count_statements(rig: &mut Rig, report: &mut Report, on: &'static str) -> Result<()> {
    rig.bridge.reconfigure(&json!({"logging": {"level": "trace"}}))?;
    rig.restart(1).await?;
    // Memories are cold after a start: the first of each chat is not counted.
    let warm = rig.contacts.len();
    rig.paced_in("cold", PACE, warm).await?;
    rig.paced_out("cold", PACE, warm).await?;
    for (way, inward) in [("WhatsApp to Matrix", true), ("Matrix to WhatsApp", false)] {
        rig.settle().await?;
        let before = rig.bridge.log()?.len();
        match inward {
            true => rig.paced_in("counted", PACE, COUNTED).await?,
            false => rig.paced_out("counted", PACE, COUNTED).await?,
        };
        rig.settle().await?;
        let statements = Statements::read(&rig.bridge.log()?[before..]);
        let per = |count: u64| count as f64 / COUNTED as f64;
        report.note(on, format!("{way}, SQL statements"), per(statements.count()), "/message", Budget::AtMost(6.0));
        report.note(on, format!("{way}, transactions"), per(statements.transaction_count()), "/message", Budget::None);
        report.explain(format!("{way}, statements per message\n{}", statements.describe(COUNTED)));
    }
    rig.bridge.reconfigure(&json!({"logging": {"level": "info"}}))?;
    rig.restart(1).await
}

async fn at_synapse(settings: Settings, report: &mut Report) -> Result<()> {
    let on = "Synapse";
    let count = settings.synapse_count;
    let mut rig = Rig::at_synapse(&settings).await?;
    rig.begin_chats(settings.chats).await?;
    let direct = rig.direct()?;
    let mut rooms = Vec::new();
    for _ in 0..settings.chats {
        rooms.extend(rig.server.plain_room().await?);
    }
    rig.flood_in("warm", count / 4).await?;
    rig.flood_out("warm", count / 4).await?;

    // The bound before and after, since the machine may be busy with something else meanwhile.
    let before = rig.bound_in(&direct, "before", count).await?;
    let flood = rig.flood_in("flood", count).await?;
    let bound = f64::midpoint(before, rig.bound_in(&direct, "after", count).await?);
    report.note(on, "its own bound: direct sends of ghosts", bound, "msg/s", Budget::None);
    report.note(on, "WhatsApp to Matrix", flood.rate, "msg/s", Budget::None);
    report.note(on, "WhatsApp to Matrix, share of the bound", flood.rate / bound, "", Budget::AtLeast(0.9));
    report.note(on, "WhatsApp to Matrix, CPU per 1,000", flood.cpu, "s", Budget::AtMost(0.7));
    let before = rig.bound_out(&rooms, "before", count).await?;
    let flood = rig.flood_out("flood", count).await?;
    let bound = f64::midpoint(before, rig.bound_out(&rooms, "after", count).await?);
    report.note(on, "its own bound: direct sends of a person", bound, "msg/s", Budget::None);
    report.note(on, "Matrix to WhatsApp", flood.rate, "msg/s", Budget::None);
    report.note(on, "Matrix to WhatsApp, share of the bound", flood.rate / bound, "", Budget::AtLeast(0.9));
    report.note(on, "Matrix to WhatsApp, CPU per 1,000", flood.cpu, "s", Budget::AtMost(0.7));

    let own = rig.paced_direct(&direct, "paced", PACE, PACED).await?;
    let through = rig.paced_in("paced", PACE, PACED).await?;
    report.note(on, "direct send to the person's client, p50", own.p50, "ms", Budget::None);
    report.note(on, "direct send to the person's client, p99", own.p99, "ms", Budget::None);
    report.note(on, "WhatsApp to the person's client, p50", through.p50, "ms", Budget::None);
    report.note(on, "WhatsApp to the person's client, p99", through.p99, "ms", Budget::None);
    // The difference of two queues at a busy homeserver, by nobody's verdict: the stand-in has the budget.
    report.note(on, "WhatsApp to Matrix, added latency p50", through.p50 - own.p50, "ms", Budget::None);
    report.note(on, "WhatsApp to Matrix, added latency p99", through.p99 - own.p99, "ms", Budget::None);
    let through = rig.paced_out("paced", PACE, PACED).await?;
    report.note(on, "person to the contact's phone, p50", through.p50, "ms", Budget::None);
    report.note(on, "person to the contact's phone, p99", through.p99, "ms", Budget::None);
    rig.stop().await
}
