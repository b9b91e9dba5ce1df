//! What a process costs: CPU, memory, statements; and what this machine's disk costs.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// The kernel shows CPU time to programs in hundredths of a second (`USER_HZ`), whatever its own clock.
const TICKS: f64 = 100.0;

/// Returns the CPU seconds a process has used, user and system, all threads (proc(5), fields 14 and 15 of `stat`).
///
/// # Errors
/// The process is gone.
pub fn cpu_seconds(process: u32) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name before may hold anything, also spaces and brackets.
    let fields = text.rsplit_once(')').context("no name in stat")?.1;
    let mut ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
    let mut next = || ticks.next().context("stat is short")?.context("stat holds no number");
    Ok((next()? + next()?) / TICKS)
}

/// Memory of a process, in MB of a million bytes.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Resident now.
    pub resident: f64,
    /// Of that, what is the process's own and no page of the program's file: those come and go with what the kernel has
    /// of the file, and count once for all that run it.
    pub own: f64,
    /// The most that was ever resident.
    pub peak: f64,
}

/// Returns the memory of a process (proc(5), `VmRSS`, `RssAnon` and `VmHWM`).
///
/// # Errors
/// The process is gone.
pub fn memory(process: u32) -> Result<Memory> {
    let text = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let read = |name: &str| -> Result<f64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
        let kib: f64 = line.split_whitespace().next().context("no number")?.parse()?;
        Ok(kib * 1024.0 / 1e6)
    };
    Ok(Memory { resident: read("VmRSS:")?, own: read("RssAnon:")?, peak: read("VmHWM:")? })
}

/// Returns how long this disk takes to make 4 KiB durable, milliseconds: the middle and the slowest of a hundred.
/// Every durable commit costs at least that.
///
/// # Errors
/// The folder can't be written.
pub fn disk(folder: &Path) -> Result<(f64, f64)> {
    let path = folder.join("disk");
    let mut file = File::create(&path)?;
    let mut times = Vec::new();
    for _ in 0..200 {
        let start = Instant::now();
        file.write_all(&[1; 4096])?;
        file.sync_data()?;
        times.push(start.elapsed());
    }
    drop(file);
    std::fs::remove_file(path)?;
    Ok((percentile(&mut times, 50), percentile(&mut times, 99)))
}

/// Returns the `percent`-th percentile in milliseconds (nearest rank); 0 of nothing.
pub fn percentile(times: &mut [Duration], percent: usize) -> f64 {
    times.sort_unstable();
    let rank = (times.len() * percent).div_ceil(100).saturating_sub(1);
    times.get(rank).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}

/// What the database was asked, by statement, as the bridge's log at level `trace` tells.
#[derive(Debug, Clone, Default)]
pub struct Statements {
    /// Times by name.
    pub by_name: BTreeMap<String, u64>,
    /// Explicit transactions committed, by name.
    pub transactions: BTreeMap<String, u64>,
}

impl Statements {
    /// Counts the statements in a part of a log.
    #[must_use]
    pub fn read(log: &str) -> Self {
        let mut read = Self::default();
        for line in log.lines() {
            if line.contains("sqlx::query") {
                // All statements of the bridge have names; what has none is a driver's own BEGIN or COMMIT.
                if let Some(name) = line.split("-- ").nth(1).and_then(|rest| rest.split_whitespace().next()) {
                    *read.by_name.entry(name.to_owned()).or_default() += 1;
                }
            } else if let Some((_, name)) = line.split_once("a transaction was committed what=") {
                *read.transactions.entry(name.trim().trim_matches('"').to_owned()).or_default() += 1;
            }
        }
        read
    }

    /// Returns how many statements there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.by_name.values().sum()
    }

    /// Returns how many explicit transactions there were; a statement outside of one is one more.
    #[must_use]
    pub fn transaction_count(&self) -> u64 {
        self.transactions.values().sum()
    }

    /// Returns a line per statement, the most frequent first, each per message.
    #[must_use]
    pub fn describe(&self, messages: usize) -> String {
        let mut lines: Vec<(&String, &u64, &str)> =
            self.by_name.iter().map(|(name, times)| (name, times, "")).collect();
        lines.extend(self.transactions.iter().map(|(name, times)| (name, times, " (commit)")));
        lines.sort_by_key(|(name, times, _)| (std::cmp::Reverse(**times), (*name).clone()));
        let per = |times: u64| times as f64 / messages as f64;
        lines.iter().map(|(name, times, kind)| format!("    {:>6.2}  {name}{kind}\n", per(**times))).collect()
    }
}
