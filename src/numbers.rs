//! What the process counts about itself, for Prometheus.
//!
//! Promise: every name and every value of every label stands in this file's tables ([`FAMILIES`]), so a number can
//! never name a person, a room or a message, and the number of series has a bound that is known at compile time.
//! Counting takes no lock and never fails. Nothing is stored: counters begin at zero with the process, which
//! Prometheus expects. What is asked of others when somebody looks ([`Sort::Gauge`]) is given to [`write()`] by `http`.
//!
//! Owns the counters of the process. Called by every floor.

mod text;

pub use text::{Reading, write};

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What every name begins with.
pub const PREFIX: &str = "matrix_whatsapp_";

/// Most series of one family.
const MOST: usize = 64;

/// Upper bounds of the histograms' buckets, seconds: from a local homeserver's answer to a day of waiting.
pub const BOUNDS: [f64; 14] =
    [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 7_200.0, 86_400.0];

/// What kind of number a family is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// Only grows.
    Counter,
    /// How it is now.
    Gauge,
    /// How often something took how long, seconds.
    Histogram,
}

/// A label with every value it can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    /// Its name.
    pub name: &'static str,
    /// Its values.
    pub values: &'static [&'static str],
}

/// One name with its labels.
#[derive(Debug)]
pub struct Family {
    /// The name behind [`PREFIX`].
    pub name: &'static str,
    /// What it says, in one sentence, with the unit.
    pub help: &'static str,
    /// What kind of number.
    pub sort: Sort,
    /// Its labels.
    pub labels: &'static [Label],
    cells: &'static [AtomicU64],
}

impl Family {
    /// How many series it has at most.
    #[must_use]
    pub fn series(&self) -> usize {
        self.labels.iter().map(|label| label.values.len()).product()
    }

    /// Where the series of these values stands; the places of values in their lists.
    fn at(&self, values: &[usize]) -> usize {
        self.labels.iter().zip(values).fold(0, |at, (label, value)| at * label.values.len() + value)
    }
}

macro_rules! label {
    ($(#[$about:meta])* $name:ident as $word:literal { $($(#[$of:meta])* $value:ident = $text:literal,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$of])* $value,)* }

        impl $name {
            /// The label with its values.
            pub const LABEL: Label = Label { name: $word, values: &[$($text,)*] };
            /// Every value, in the label's order.
            pub const ALL: &[Self] = &[$(Self::$value,)*];

            /// The value's word.
            #[must_use]
            pub fn word(self) -> &'static str {
                Self::LABEL.values[self as usize]
            }
        }
    };
}

label! {
    /// Which way something goes.
    Direction as "direction" {
        /// From WhatsApp.
        IntoMatrix = "into_matrix",
        /// From Matrix.
        IntoWhatsapp = "into_whatsapp",
    }
}
label! {
    /// What came of working on a row; see [`crate::verdict::Verdict`].
    Outcome as "verdict" {
        /// It worked, or waits by itself for what it is about.
        Done = "done",
        /// The other side is down.
        Blocked = "blocked",
        /// Something without a gate is away.
        Away = "away",
        /// It failed and is tried again.
        Later = "later",
        /// It can not work and is given up.
        Never = "never",
    }
}
label! {
    /// Whether something worked.
    Ended as "outcome" {
        /// It did.
        Ok = "ok",
        /// It did not.
        Failed = "failed",
    }
}
label! {
    /// Where a login stands.
    Login as "state" {
        /// Messages flow.
        Connected = "connected",
        /// A connection is being made.
        Connecting = "connecting",
        /// Connected, and the phone gives no sign for days.
        PhoneOffline = "phone_offline",
        /// Not connected; tried again by itself.
        Offline = "offline",
        /// WhatsApp refuses the connection; tried again by itself.
        Refused = "refused",
        /// Another program uses the same keys.
        Replaced = "replaced",
        /// WhatsApp asks for a newer version.
        Outdated = "outdated",
        /// Banned for a time.
        Banned = "banned",
        /// WhatsApp no longer knows the device.
        LoggedOut = "logged_out",
        /// Linked, and no connection was begun yet.
        NotStarted = "not_started",
    }
}
label! {
    /// Where a lane stands.
    Lane as "state" {
        /// A worker is on it.
        Running = "running",
        /// It waits for the homeserver or a login.
        Parked = "parked",
        /// It waits until the homeserver has told everything.
        Held = "held",
        /// It waits after a failure.
        Pausing = "pausing",
    }
}
label! {
    /// How a linking ended.
    Linking as "outcome" {
        /// The account is linked.
        Linked = "linked",
        /// Nobody used the code.
        TimedOut = "timed_out",
        /// It could not work.
        Failed = "failed",
    }
}
label! {
    /// What a request to the homeserver is about.
    Request as "kind" {
        /// An event is sent or redacted.
        Send = "send",
        /// State of a room is read or set.
        State = "state",
        /// Somebody comes into a room or goes.
        Membership = "membership",
        /// A room is made or looked for.
        Room = "room",
        /// A file or its name.
        Media = "media",
        /// A name or picture of a ghost.
        Profile = "profile",
        /// An account or device.
        Account = "account",
        /// What was missed is asked for, or waited for.
        Sync = "sync",
        /// Anything else: typing, presence, read marks, tags, versions.
        Other = "other",
    }
}
label! {
    /// What an answer's status begins with.
    Status as "status" {
        /// Well.
        Ok = "2xx",
        /// Elsewhere.
        Elsewhere = "3xx",
        /// The asker is wrong.
        Refused = "4xx",
        /// The other side is not well.
        Broken = "5xx",
        /// No answer.
        Silent = "none",
    }
}
label! {
    /// Who called the bridge over HTTP.
    Door as "door" {
        /// The homeserver.
        Homeserver = "homeserver",
        /// A manager, at the provisioning API.
        Provisioning = "provisioning",
        /// A browser, at the login page.
        Page = "page",
    }
}
label! {
    /// What is written to the database at once.
    Write as "kind" {
        /// One statement.
        Statement = "statement",
        /// A transaction.
        Transaction = "transaction",
    }
}

impl Status {
    /// The class of an HTTP status.
    #[must_use]
    pub fn of(status: u16) -> Self {
        match status {
            ..300 => Self::Ok,
            300..400 => Self::Elsewhere,
            400..500 => Self::Refused,
            _ => Self::Broken,
        }
    }
}

macro_rules! families {
    ($($(#[$about:meta])* $id:ident: $sort:ident $name:literal [$($label:ty),*] $help:literal;)*) => {
        $(
            $(#[$about])*
            pub static $id: Family = {
                static CELLS: [AtomicU64; families!(@cells $sort)] = [const { AtomicU64::new(0) }; families!(@cells $sort)];
                Family { name: $name, help: $help, sort: Sort::$sort, labels: &[$(<$label>::LABEL,)*], cells: &CELLS }
            };
        )*
        /// Every family, in the order they are written.
        pub static FAMILIES: &[&Family] = &[$(&$id,)*];
    };
    (@cells Counter) => { MOST };
    (@cells Gauge) => { 0 };
    // Per series: one for each bound, one for what is above, and the sum in microseconds.
    (@cells Histogram) => { 16 * (BOUNDS.len() + 2) };
}

families! {
    /// Rows that wait.
    WAITING: Gauge "inbox_waiting_rows" [Direction] "Messages and changes stored and not settled yet.";
    /// Age of the oldest.
    OLDEST: Gauge "inbox_oldest_waiting_seconds" [Direction] "Age of the oldest of them, seconds; 0 when none waits.";
    /// Rows given up.
    FAILED: Gauge "inbox_failed_rows" [Direction] "Messages and changes given up and kept for `retry`.";
    /// What came of rows.
    VERDICTS: Counter "verdicts_total" [Direction, Outcome] "Attempts to bridge a message or change, by what came of them.";
    /// Second and later attempts.
    RETRIES: Counter "retries_total" [Direction] "Attempts that were not the first for their row.";
    /// From the storing to the settling.
    DELIVERY: Histogram "delivery_seconds" [Direction] "Time from storing a message or change to having bridged it, seconds.";
    /// Lanes in memory.
    LANES: Gauge "lanes" [Lane] "Ordered queues with work, by where they stand.";
    /// Accounts.
    LOGINS: Gauge "logins" [Login] "WhatsApp accounts, by where they stand.";
    /// Changes of connections.
    LOGIN_CHANGES: Counter "login_changes_total" [Login] "Times an account's connection came into a state.";
    /// Linkings.
    LINKINGS: Counter "linkings_total" [Linking] "Attempts to link an account that came to an end.";
    /// Files.
    TRANSFERS: Counter "transfers_total" [Direction, Ended] "Files fetched from and put on WhatsApp's media servers.";
    /// Their bytes.
    TRANSFER_BYTES: Counter "transfer_bytes_total" [Direction] "Bytes of the files that were transferred.";
    /// Requests to the homeserver.
    REQUESTS: Counter "homeserver_requests_total" [Request, Status] "Requests to the homeserver, by what they are about and the class of the answer.";
    /// How long they take.
    REQUEST_TIME: Histogram "homeserver_request_seconds" [Request] "Time until the homeserver's answer, seconds; long polls are not in it.";
    /// Is it there?
    REACHABLE: Gauge "homeserver_reachable" [] "1 while the homeserver answers, else 0.";
    /// Are lanes held?
    BEHIND: Gauge "homeserver_behind" [] "1 while messages for WhatsApp wait for what the homeserver has not told yet, else 0.";
    /// Writes.
    WRITES: Counter "database_writes_total" [Write, Ended] "Writes to the database.";
    /// Who called.
    CALLS: Counter "http_requests_total" [Door, Status] "Requests to the bridge, by who calls and the class of the answer.";
    /// When it began.
    STARTED: Gauge "start_time_seconds" [] "When the process began, seconds since 1970.";
    /// Memory.
    MEMORY: Gauge "resident_memory_bytes" [] "Memory the process holds, bytes.";
}

impl Family {
    /// Counts; the values' places in their labels' lists, in the labels' order.
    fn add(&self, values: &[usize], by: u64) {
        if let Some(cell) = self.cells.get(self.at(values)) {
            cell.fetch_add(by, Ordering::Relaxed);
        }
    }

    fn observe(&self, values: &[usize], took: Duration) {
        let width = BOUNDS.len() + 2;
        let first = self.at(values) * width;
        let bucket = BOUNDS.iter().position(|bound| took.as_secs_f64() <= *bound).unwrap_or(BOUNDS.len());
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        for (at, by) in [(first + bucket, 1), (first + width - 1, micros)] {
            if let Some(cell) = self.cells.get(at) {
                cell.fetch_add(by, Ordering::Relaxed);
            }
        }
    }
}

/// Counts an attempt at a row, and whether it was one of several.
pub fn count_verdict(direction: Direction, verdict: Outcome, attempts_before: i64) {
    VERDICTS.add(&[direction as usize, verdict as usize], 1);
    if attempts_before > 0 {
        RETRIES.add(&[direction as usize], 1);
    }
}

/// Notes how long a row took, from its arrival on, milliseconds.
pub fn note_delivery(direction: Direction, took_ms: i64) {
    DELIVERY.observe(&[direction as usize], Duration::from_millis(u64::try_from(took_ms).unwrap_or(0)));
}

/// Counts a login's coming into a state.
pub fn count_login_change(state: Login) {
    LOGIN_CHANGES.add(&[state as usize], 1);
}

/// Counts the end of a linking.
pub fn count_linking(outcome: Linking) {
    LINKINGS.add(&[outcome as usize], 1);
}

/// Counts a file, and its bytes when it went well.
pub fn count_transfer(direction: Direction, bytes: Option<u64>) {
    let ended = if bytes.is_some() { Ended::Ok } else { Ended::Failed };
    TRANSFERS.add(&[direction as usize, ended as usize], 1);
    TRANSFER_BYTES.add(&[direction as usize], bytes.unwrap_or(0));
}

/// Counts a request to the homeserver; `took` is none for what waits on purpose.
pub fn count_request(kind: Request, status: Status, took: Option<Duration>) {
    REQUESTS.add(&[kind as usize, status as usize], 1);
    if let Some(took) = took {
        REQUEST_TIME.observe(&[kind as usize], took);
    }
}

/// Counts a write to the database.
pub fn count_write(kind: Write, is_ok: bool) {
    let ended = if is_ok { Ended::Ok } else { Ended::Failed };
    WRITES.add(&[kind as usize, ended as usize], 1);
}

/// Counts a request somebody made to the bridge.
pub fn count_call(door: Door, status: u16) {
    CALLS.add(&[door as usize, Status::of(status) as usize], 1);
}

/// What a request to the homeserver is about, by its path.
#[must_use]
pub fn kind_of_request(path: &str) -> Request {
    let has = |word: &str| path.contains(word);
    // Ids stand in paths, too: what is asked for is told by the fixed pieces before or behind them.
    let rest = path.split_once("/_matrix/").map_or(path, |(_, rest)| rest);
    match rest.split('/').next() {
        Some("media") => return Request::Media,
        Some("client") => {}
        _ => return Request::Other,
    }
    let mut pieces = rest.split('/').skip(2);
    match pieces.next().unwrap_or_default() {
        "media" => Request::Media,
        "sync" => Request::Sync,
        "profile" => Request::Profile,
        "register" | "devices" | "account" | "login" | "logout" => Request::Account,
        "createRoom" | "directory" => Request::Room,
        "join" => Request::Membership,
        "rooms" => match pieces.nth(1).unwrap_or_default() {
            "send" | "redact" => Request::Send,
            "state" => Request::State,
            "invite" | "join" | "leave" | "kick" | "ban" | "unban" | "forget" | "joined_members" | "members" => {
                Request::Membership
            }
            "messages" | "context" | "event" | "relations" => Request::Sync,
            _ => Request::Other,
        },
        _ if has("/media/") => Request::Media,
        _ => Request::Other,
    }
}

#[cfg(test)]
mod tests;
