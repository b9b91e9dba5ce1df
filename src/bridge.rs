//! The core: takes rows out of the inbox, lane by lane, and makes them true on the other side.
//!
//! Promise: a row is worked on by one worker at a time, in the order of its lane; every effect is reserved before
//! it is tried and settled after, together with the row; running the three again is harmless.
//!
//! Parts: [`lanes`] (who works on what, parking), [`from_whatsapp`] and [`from_matrix`] (one row each way),
//! [`deliver`] (reserve, send, settle into Matrix), `files`, `uploads` and `albums` (what hangs on messages), [`rooms`], `groups`,
//! [`people`], `contacts`, `budget` (what background work may take), `progress` (of a first login), [`puppets`] (people's own accounts), [`receipts`], [`signals`] (typing and presence), [`report`] (what people
//! are told), [`upkeep`] (sweeps).

mod albums;
mod announcements;
mod ballots;
mod begun;
mod blocking;
mod budget;
mod calls;
mod channel_counts;
mod channels;
mod chat_marks;
mod cleanup;
mod closed;
mod communities;
mod contacts;
pub mod deletions;
pub mod deliver;
pub mod effects;
mod expiry;
mod files;
pub mod filter;
pub mod from_matrix;
pub mod from_whatsapp;
pub mod gates;
mod group_changes;
mod group_rooms;
pub mod groups;
pub mod guest_rooms;
pub mod lanes;
pub mod linkings;
mod live;
pub mod making_groups;
mod merge;
mod opening;
mod outcomes;
pub mod outgoing;
mod own_data;
pub mod packs;
pub mod page_links;
pub mod people;
mod pins;
pub mod plumbing;
mod polls;
mod pressing;
mod previews;
mod progress;
pub mod puppets;
pub mod receipts;
pub mod relay;
mod relay_votes;
mod reload;
mod removal;
mod removals;
pub mod report;
pub mod rooms;
mod sealed;
mod sending;
pub mod signals;
pub mod spaces;
pub mod standing;
mod states;
mod status;
mod status_push;
pub mod timers;
pub mod upkeep;
mod uploads;
mod waiting;
pub mod watch;

use crate::config::{Config, Live};
use crate::matrix::Matrix;
use crate::matrix::intake::Intake;
use crate::media::Media;
use crate::store::Store;
use crate::whatsapp::Whatsapp;
use futures_util::future::BoxFuture;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A command somebody wrote to the bot.
#[derive(Debug, Clone)]
pub struct CommandCall {
    /// Where.
    pub room: String,
    /// Who.
    pub sender: String,
    /// The words, without the prefix.
    pub words: String,
    /// The event it answers.
    pub reply_to: Option<String>,
    /// The event it stands in; names the answers, so that a repeated row answers once.
    pub event_id: String,
}

/// Runs commands; the floor above puts it in.
pub type CommandRunner = Box<dyn Fn(CommandCall) -> BoxFuture<'static, crate::verdict::Verdict> + Send + Sync>;

/// The core. Cheap to clone.
#[derive(Clone)]
pub struct Bridge {
    shared: Arc<Shared>,
}

struct Shared {
    config: Live,
    /// Held while the configuration is read again.
    reloading: std::sync::Mutex<()>,
    store: Store,
    matrix: Matrix,
    intake: Intake,
    whatsapp: Whatsapp,
    media: Media,
    lanes: gates::Lanes,
    linkings: linkings::Linkings,
    page_links: page_links::PageLinks,
    silent_phones: files::SilentPhones,
    people: people::People,
    budgets: budget::Budgets,
    progress: progress::Progress,
    groups: groups::Groups,
    puppets: puppets::Puppets,
    deletions: deletions::Deletions,
    filter: filter::Filter,
    relays: relay::Relays,
    rooms: rooms::Rooms,
    signals: signals::Signals,
    spaces: spaces::Spaces,
    watch: watch::Watch,
    /// Rung when an outcome may have to be told.
    outcomes: tokio::sync::Notify,
    commands: OnceLock<CommandRunner>,
    tasks: TaskTracker,
    stop: CancellationToken,
    started: AtomicBool,
}

impl Bridge {
    /// The core over its parts; nothing runs before [`Bridge::run_lanes`].
    pub fn new(
        config: Config,
        store: Store,
        intake: Intake,
        whatsapp: Whatsapp,
        media: Media,
        stop: CancellationToken,
    ) -> Self {
        let matrix = intake.matrix().clone();
        let clock = store.clock().clone();
        let budgets = budget::Budgets::new(&config.bridge.budgets);
        Self {
            shared: Arc::new(Shared {
                config: Live::new(config),
                reloading: std::sync::Mutex::default(),
                store,
                matrix,
                intake,
                whatsapp,
                media,
                lanes: gates::Lanes::default(),
                linkings: linkings::Linkings::default(),
                page_links: page_links::PageLinks::new(clock),
                silent_phones: files::SilentPhones::default(),
                people: people::People::default(),
                budgets,
                progress: progress::Progress::default(),
                groups: groups::Groups::default(),
                puppets: puppets::Puppets::default(),
                deletions: deletions::Deletions::default(),
                filter: filter::Filter::default(),
                relays: relay::Relays::default(),
                rooms: rooms::Rooms::default(),
                signals: signals::Signals::default(),
                spaces: spaces::Spaces::default(),
                watch: watch::Watch::default(),
                outcomes: tokio::sync::Notify::new(),
                commands: OnceLock::new(),
                tasks: TaskTracker::new(),
                stop,
                started: AtomicBool::new(false),
            }),
        }
    }

    /// Puts in what runs commands; once, before the lanes run.
    pub fn set_commands(&self, runner: CommandRunner) {
        if self.shared.commands.set(runner).is_err() {
            tracing::error!("the commands were put in twice; the first stay");
        }
    }

    /// The configuration in force now; see [`Bridge::reload`].
    pub fn config(&self) -> &Config {
        self.shared.config.get()
    }

    /// The database.
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// The homeserver.
    pub fn matrix(&self) -> &Matrix {
        &self.shared.matrix
    }

    /// The way in from the homeserver.
    pub fn intake(&self) -> &Intake {
        &self.shared.intake
    }

    /// The WhatsApp side.
    pub fn whatsapp(&self) -> &Whatsapp {
        &self.shared.whatsapp
    }

    /// The workshop of files.
    pub fn media(&self) -> &Media {
        &self.shared.media
    }

    /// What seals secrets in the database.
    pub(crate) fn sealer(&self) -> &crate::store::seal::Sealer {
        self.whatsapp().sealer()
    }

    /// Cancelled when the process is to stop.
    pub fn stop(&self) -> &CancellationToken {
        &self.shared.stop
    }

    /// Notes that the start is over.
    pub fn set_started(&self) {
        self.shared.started.store(true, Ordering::SeqCst);
    }

    /// Whether the start is over.
    pub fn is_started(&self) -> bool {
        self.shared.started.load(Ordering::SeqCst)
    }

    /// Runs a task that ends with the process.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.shared.tasks.spawn(task);
    }

    /// Waits until every task is at its end; call after the stop token is cancelled.
    pub async fn wait_for_tasks(&self) {
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}
