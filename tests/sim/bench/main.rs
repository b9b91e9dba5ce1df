//! What the simulator takes: `cargo xtask bench sim`.
//!
//! First 1,000 accounts and 10,000 groups of ten, and what they need in memory;
//! then, with all of them there, messages of ready-made ciphertext from one
//! companion to many, each settled by its receiver. Prints a table and writes
//! the same as JSON to the file named by the first argument.
#![recursion_limit = "512"]

mod wire;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use wacore_binary::{Jid, Node, builder::NodeBuilder};
use whatsapp_sim::Simulator;
use wire::Wire;

const ACCOUNTS: usize = 1_000;
const GROUPS: usize = 10_000;
const MEMBERS: usize = 10;
/// Companions that receive, one of each account.
const RECEIVERS: usize = 20;
const MESSAGES: usize = 2_000;
/// Messages sent and not yet acked.
const WINDOW: usize = 50;
/// The size of a copy: a short text.
const CIPHERTEXT: usize = 250;
/// How the ids of the messages begin.
const ID: &str = "3EB0BENCH";
/// The longest the deliveries may take.
const LIMIT: Duration = Duration::from_secs(300);

const MEMORY_BUDGET_MB: f64 = 1_000.0;
const RATE_BUDGET: f64 = 2_000.0;

#[tokio::main]
async fn main() -> Result<()> {
    let sim = Simulator::start("127.0.0.1:0".parse()?).await?;
    let before = resident_mb()?;
    let start = Instant::now();
    populate(&sim)?;
    let populating = start.elapsed().as_secs_f64();
    let memory = resident_mb()?;
    let (rate, seconds) = deliver(&sim).await?;
    let after = resident_mb()?;
    ensure!(sim.unknown_stanzas().is_empty(), "not understood: {:?}", sim.unknown_stanzas());
    let rows = [
        row("accounts and groups made", populating, "s", None),
        row("memory before", before, "MB", None),
        row("memory with 1,000 accounts and 10,000 groups", memory, "MB", Some((memory < MEMORY_BUDGET_MB, "< 1,000"))),
        row("copies delivered", (MESSAGES * RECEIVERS) as f64, "", None),
        row("time for them", seconds, "s", None),
        row("copies a second", rate, "/s", Some((rate >= RATE_BUDGET, ">= 2,000"))),
        row("memory after", after, "MB", None),
    ];
    let path = std::env::args().nth(1).context("where shall the JSON go?")?;
    std::fs::write(&path, serde_json::to_string_pretty(&rows)?)?;
    println!("written to {path}");
    Ok(())
}

/// Prints a figure beside its budget and returns it as JSON.
fn row(name: &str, value: f64, unit: &str, budget: Option<(bool, &str)>) -> Value {
    let verdict = match budget {
        Some((true, budget)) => format!("{budget}: ok"),
        Some((false, budget)) => format!("{budget}: MISSED"),
        None => String::new(),
    };
    println!("{name:<48} {value:>10.1} {unit:<3} {verdict}");
    json!({
        "name": name, "value": value, "unit": unit,
        "budget": budget.map(|(_, budget)| budget), "within": budget.map(|(within, _)| within),
    })
}

/// The resident memory of this process, which is the simulator's but for some
/// thin clients.
fn resident_mb() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    let kilobytes: f64 = line.split_whitespace().nth(1).context("no figure")?.parse()?;
    Ok(kilobytes / 1_000.0)
}

fn number(index: usize) -> String {
    format!("1555{index:07}")
}

fn populate(sim: &Simulator) -> Result<()> {
    for index in 0..ACCOUNTS {
        sim.create_account(&number(index), &format!("Somebody {index}"))?;
    }
    for index in 0..GROUPS {
        let owner = index % ACCOUNTS;
        // Spread such that no two groups have all members in common.
        let members: Vec<String> =
            (1..MEMBERS).map(|n| number((owner + n * (1 + index / ACCOUNTS)) % ACCOUNTS)).collect();
        let members: Vec<&str> = members.iter().map(String::as_str).collect();
        sim.create_group(&number(owner), &format!("Group {index}"), &members)?;
    }
    Ok(())
}

/// Sends the messages and waits until each copy has arrived. Returns copies a
/// second, and the seconds.
async fn deliver(sim: &Simulator) -> Result<(f64, f64)> {
    let (mut sender, _) = Wire::link(sim, &number(0)).await?;
    let mut receivers = JoinSet::new();
    let mut targets = Vec::new();
    for index in 1..=RECEIVERS {
        let (wire, device) = Wire::link(sim, &number(index)).await?;
        targets.push(Jid::pn_device(number(index), device));
        receivers.spawn(receive(wire));
    }
    let start = Instant::now();
    let sending = async {
        let (mut sent, mut acked) = (0, 0);
        while acked < MESSAGES {
            while sent < MESSAGES && sent - acked < WINDOW {
                sender.send(&message(sent, &targets)).await?;
                sent += 1;
            }
            let node = sender.next().await?;
            if node.tag == "ack" {
                acked += 1;
            } else if node.tag == "receipt" {
                settle(&mut sender, &node).await?;
            }
        }
        // The receipts still to come must not fill the socket.
        while !receivers.is_empty() {
            tokio::select! {
                node = sender.next() => {
                    let node = node?;
                    if node.tag == "receipt" {
                        settle(&mut sender, &node).await?;
                    }
                }
                done = receivers.join_next() => done.context("a receiver")???,
            }
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(LIMIT, sending).await.context("not all copies arrived in time")??;
    let seconds = start.elapsed().as_secs_f64();
    Ok(((MESSAGES * RECEIVERS) as f64 / seconds, seconds))
}

fn message(index: usize, targets: &[Jid]) -> Node {
    let copies = targets.iter().map(|target| {
        let enc =
            NodeBuilder::new("enc").attr("v", "2").attr("type", "msg").bytes(vec![index as u8; CIPHERTEXT]).build();
        NodeBuilder::new("to").attr("jid", target).children([enc]).build()
    });
    NodeBuilder::new("message")
        .attr("id", format!("{ID}{index:06}"))
        .attr("to", targets[0].to_non_ad())
        .attr("type", "text")
        .children([NodeBuilder::new("participants").children(copies).build()])
        .build()
}

/// `<ack class="receipt">`, as clients answer receipts.
async fn settle(wire: &mut Wire, receipt: &Node) -> Result<()> {
    let id = receipt.attrs.get("id").context("no id")?.clone();
    let from = receipt.attrs.get("from").context("no sender")?.clone();
    let ack = NodeBuilder::new("ack").attr("class", "receipt").attr("id", id).attr("to", from).build();
    wire.send(&ack).await
}

/// Takes the messages and confirms each.
async fn receive(mut wire: Wire) -> Result<()> {
    let mut count = 0;
    while count < MESSAGES {
        let node = wire.next().await?;
        let id = node.attrs.get("id").cloned();
        // The own phone writes, too: keys and old chats.
        let Some(id) = id.filter(|id| node.tag == "message" && id.as_str().starts_with(ID)) else { continue };
        count += 1;
        let from = node.attrs.get("from").context("no sender")?.clone();
        wire.send(&NodeBuilder::new("receipt").attr("id", id).attr("to", from).build()).await?;
    }
    Ok(())
}
