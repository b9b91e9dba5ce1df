//! The benchmark of `cargo xtask bench first-login`: a large account is linked, with large groups and many chats.
//!
//! At once after the login every direct contact writes, and all through it members of the groups do. What is measured is
//! how long their words take meanwhile, how long it takes until every room has everybody, and what it costs on both sides.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use serde_json::json;
use whatsapp_sim::GroupOptions;

use super::report::{Budget, Report};
use super::rig::Rig;
use super::server::Homeserver;
use super::{Settings, meter, report};
use crate::chance::Chance;
use crate::phones::Account;
use crate::wait;

/// What is asked for beside the database.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Chats in all, the groups among them.
    pub chats: usize,
    /// Groups.
    pub groups: usize,
    /// The smallest and the largest group.
    pub members: (usize, usize),
    /// How many times the budgets that ship are allowed.
    pub budgets: u32,
}

/// The budgets that ship, a minute: requests of a login, rooms, ghosts, memberships.
const SHIPPED: [(&str, u32); 4] = [
    ("whatsapp_requests_per_minute", 60),
    ("rooms_per_minute", 120),
    ("ghosts_per_minute", 600),
    ("memberships_per_minute", 300),
];
/// A member of some group says something so often.
const PROBE: Duration = Duration::from_secs(2);
/// How long the whole may take.
const LIMIT: Duration = Duration::from_secs(2 * 3600);
/// The same groups each time.
const SEED: u64 = 1_024;

/// A group, and who is in it.
struct Big {
    jid: String,
    members: Vec<usize>,
}

/// Measures and prints.
///
/// # Errors
/// A part does not start, or a message does not arrive.
pub async fn run(settings: Settings, size: Size) -> Result<()> {
    ensure!(size.groups <= size.chats && size.members.0 <= size.members.1, "these numbers do not fit each other");
    let mut report = Report::default();
    println!("{}", report::heading());
    let on = if settings.stand_in { "stand-in" } else { "Synapse" };
    let mut rig = if settings.stand_in {
        Rig::at_stand_in_unlinked(&settings).await?
    } else {
        Rig::at_synapse_unlinked(&settings).await?
    };
    let budgets: BTreeMap<&str, u32> =
        SHIPPED.iter().map(|(name, count)| (*name, count.saturating_mul(size.budgets))).collect();
    rig.bridge.reconfigure(&json!({ "bridge": { "budgets": budgets } }))?;
    rig.stop().await?;
    rig.bridge.start().await?;
    let people: Vec<Account> = (0..size.members.1 * 4)
        .map(|number| rig.phones.create_account(&format!("Person {number}")))
        .collect::<Result<_>>()?;
    let direct: Vec<Account> = (0..size.chats - size.groups)
        .map(|number| rig.phones.create_account(&format!("Friend {number}")))
        .collect::<Result<_>>()?;
    let groups = make_groups(&rig, size, &people)?;
    let memberships: usize = groups.iter().map(|group| group.members.len()).sum();
    report.note(on, "memberships of its groups", memberships as f64, "", Budget::None);

    let process = rig.process()?;
    let cpu = meter::cpu_seconds(process)?;
    let before = rig.server.requests();
    let start = Instant::now();
    rig.log_in_now().await?;
    let linked = start.elapsed();
    let begun = Instant::now();
    let (talk, chats) = tokio::join!(talk_while_it_settles(&rig, &groups, &people), begin_all(&rig, &direct));
    let (talk, chats) = (talk?, chats?);
    let settled = talk.settled;
    let used = meter::cpu_seconds(process)? - cpu;
    report.note(on, "linking itself", linked.as_secs_f64(), "s", Budget::None);
    report.note(on, "all rooms have everybody", settled.as_secs_f64(), "s", Budget::None);
    let rate = memberships as f64 / settled.as_secs_f64() * 60.0;
    report.note(on, "that is", rate, "people/min", Budget::None);
    report.note(on, "first word in a group, after the login", ms(talk.first), "ms", Budget::None);
    let mut times = talk.times;
    report.note(on, "words in groups meanwhile, p50", meter::percentile(&mut times, 50), "ms", Budget::None);
    report.note(on, "words in groups meanwhile, p99", meter::percentile(&mut times, 99), "ms", Budget::AtMost(2000.0));
    report.note(on, "words in groups meanwhile", times.len() as f64, "", Budget::None);
    report.note(on, "all direct chats have their rooms", (chats - begun).as_secs_f64(), "s", Budget::None);
    report.note(on, "CPU", used, "s", Budget::None);
    report.note(on, "CPU per 1,000 memberships", used * 1000.0 / memberships as f64, "s", Budget::None);
    let group = groups.iter().find(|group| group.jid == talk.of).context("nobody said anything")?;
    let hearer = &people[group.members[group.members.len() - 1]];
    let answered = Instant::now();
    rig.server.say(&talk.room, "the owner's first word").await?;
    let shown = rig.phones.simulator().wait_inbox(
        &hearer.number,
        |item| item.text.as_deref() == Some("the owner's first word"),
        wait::STEP * 4,
    );
    shown.await.with_context(|| rig.bridge.log_tail(20))?;
    let name = format!("the owner's first word to {} people", group.members.len());
    report.note(on, name, answered.elapsed().as_secs_f64(), "s", Budget::None);
    let memory = meter::memory(process)?;
    report.note(on, "memory at its peak", memory.peak, "MB", Budget::None);
    report.note(on, "memory after it", memory.resident, "MB", Budget::None);

    let asked = rig.phones.simulator().requests(&rig.login.number);
    let count: u64 = asked.values().sum();
    report.note(on, "requests to WhatsApp per chat", count as f64 / size.chats as f64, "", Budget::AtMost(3.0));
    report.explain(format!("requests to WhatsApp\n{}", list(&asked)));
    let made = since(&before, &rig.server.requests());
    if settings.stand_in {
        let count: u64 = made.values().sum();
        report.note(
            on,
            "requests to the homeserver per membership",
            count as f64 / memberships as f64,
            "",
            Budget::None,
        );
        report.explain(format!("requests to the homeserver\n{}", list(&made)));
    }

    // A start with nothing new.
    let before = (rig.phones.simulator().requests(&rig.login.number), rig.server.requests());
    rig.restart(1).await?;
    let idle = rig.memory_at_rest().await?;
    report.note(on, "memory, idle after a start", idle.resident, "MB", Budget::None);
    let asked = since(&before.0, &rig.phones.simulator().requests(&rig.login.number));
    report.note(on, "requests to WhatsApp of a start", asked.values().sum::<u64>() as f64, "", Budget::AtMost(20.0));
    report.explain(format!("requests to WhatsApp of a start\n{}", list(&asked)));
    if settings.stand_in {
        let made = since(&before.1, &rig.server.requests());
        report.note(on, "requests to the homeserver of a start", made.values().sum::<u64>() as f64, "", Budget::None);
        report.explain(format!("requests to the homeserver of a start\n{}", list(&made)));
    }
    rig.stop().await?;
    let about = json!({ "database": format!("{:?}", settings.db), "chats": size.chats, "groups": size.groups,
        "members": [size.members.0, size.members.1], "budgets": budgets, "homeserver": on });
    report.finish("bench-first-login.json", &about)
}

fn make_groups(rig: &Rig, size: Size, people: &[Account]) -> Result<Vec<Big>> {
    let mut chance = Chance::with_seed(SEED);
    let (least, most) = size.members;
    let mut groups = Vec::new();
    for number in 0..size.groups {
        // Evenly from the smallest to the largest.
        let count = least + (most - least) * number / size.groups.saturating_sub(1).max(1);
        let first = chance.below(people.len() as u64) as usize;
        let members: Vec<usize> = (0..count).map(|at| (first + at) % people.len()).collect();
        let others = members[1..].iter().map(|at| people[*at].number.clone());
        let options = GroupOptions {
            subject: format!("Group {number}"),
            members: others.chain([rig.login.number.clone()]).collect(),
            ..GroupOptions::default()
        };
        let jid = rig.phones.simulator().create_group_with(&people[members[0]].number, &options)?;
        groups.push(Big { jid, members });
    }
    Ok(groups)
}

/// What talking brought.
struct Talk {
    settled: Duration,
    first: Duration,
    times: Vec<Duration>,
    /// The room of a group, of the largest if somebody said something there, and its id on WhatsApp.
    room: String,
    of: String,
}

/// Members of the groups say something every now and then until everything is settled.
async fn talk_while_it_settles(rig: &Rig, groups: &[Big], people: &[Account]) -> Result<Talk> {
    let mut chance = Chance::with_seed(SEED + 1);
    let (begun, mut first, mut times) = (Instant::now(), None, Vec::new());
    let mut last = Instant::now();
    let (mut room, mut of) = (String::new(), String::new());
    loop {
        let left = "SELECT (SELECT COUNT(*) FROM group_chat WHERE stale <> 0 OR unsettled <> 0) + 1000 * \
                    (CASE WHEN (SELECT COUNT(*) FROM login_progress) = 0 THEN 1 ELSE 0 END)";
        // The file may be busy.
        let left = rig.database.number(left).await.unwrap_or(1);
        if left == 0 && !times.is_empty() {
            return Ok(Talk { settled: begun.elapsed(), first: first.unwrap_or_default(), times, room, of });
        }
        ensure!(begun.elapsed() < LIMIT, "{left} groups are not settled\n{}", rig.bridge.log_tail(20));
        if last.elapsed() > Duration::from_secs(60) {
            last = Instant::now();
            eprintln!("{:>5} s: {left} groups to settle", begun.elapsed().as_secs());
        }
        let group = &groups[chance.below(groups.len() as u64) as usize];
        let speaker = &people[group.members[chance.below(group.members.len() as u64) as usize]];
        let text = format!("probe {}", times.len());
        let turn = Instant::now();
        rig.phones.send(&speaker.number, &group.jid, &text).await?;
        // The phone's own work, with a key for each member, is not the bridge's.
        let said = Instant::now();
        let arrived = rig.server.wait_said(&text, LIMIT).await.with_context(|| rig.bridge.log_tail(20))?;
        times.push(arrived.at.saturating_duration_since(said));
        first.get_or_insert(arrived.at.saturating_duration_since(begun));
        if groups.last().is_some_and(|largest| largest.jid == group.jid) || room.is_empty() {
            room = arrived.room;
            of = group.jid.clone();
        }
        tokio::time::sleep(PROBE.saturating_sub(turn.elapsed())).await;
    }
}

/// Every direct contact writes once; when the last of it is there.
async fn begin_all(rig: &Rig, direct: &[Account]) -> Result<Instant> {
    for (number, account) in direct.iter().enumerate() {
        rig.phones.send(&account.number, &rig.login.number, &format!("hello from {number}")).await?;
    }
    let arriving = (0..direct.len())
        .map(async |number| rig.server.wait_said(&format!("hello from {number}"), LIMIT).await.map(|said| said.at));
    Ok(try_join_all(arriving).await?.into_iter().max().unwrap_or_else(Instant::now))
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn since(before: &BTreeMap<String, u64>, now: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let more = |(kind, count): (&String, &u64)| (kind.clone(), count - before.get(kind).copied().unwrap_or(0));
    now.iter().map(more).filter(|(_, count)| *count > 0).collect()
}

fn list(counts: &BTreeMap<String, u64>) -> String {
    let mut counts: Vec<_> = counts.iter().collect();
    counts.sort_by_key(|(kind, count)| (std::cmp::Reverse(**count), (*kind).clone()));
    counts.into_iter().map(|(kind, count)| format!("    {count:>7}  {kind}\n")).collect()
}

impl Homeserver {
    /// Returns how often each kind of request came to the stand-in; a real homeserver does not count.
    #[must_use]
    pub fn requests(&self) -> BTreeMap<String, u64> {
        match self {
            Self::StandIn(stand_in) => stand_in.requests(),
            Self::Synapse(..) => BTreeMap::new(),
        }
    }
}
