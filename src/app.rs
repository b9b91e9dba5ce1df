//! Wires the parts, starts them in order and stops them in reverse, each with a deadline.
//!
//! Start: database and lock, the folder of files, listener, homeserver, catch-up, lines, lanes. The listener answers before the
//! homeserver is asked for anything, so transactions of a homeserver that waited for us are stored at once.

use crate::bridge::Bridge;
use crate::commands;
use crate::config::Config;
use crate::http;
use crate::matrix::intake::Intake;
use crate::matrix::{Matrix, MatrixSettings};
use crate::media::{Media, MediaSettings};
use crate::store::Store;
use crate::store::lock::Lock;
use crate::store::logins::LoginState;
use crate::store::seal::Sealer;
use crate::whatsapp::{LineNews, Whatsapp, WhatsappSettings};
use anyhow::Context as _;
use std::fs::File;
use std::io::{ErrorKind, IsTerminal as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long connections to WhatsApp may take to end: their clients write what they hold.
const LINES_DEADLINE: Duration = Duration::from_secs(6);
/// How long rows in hand may take to reach their end.
const TASKS_DEADLINE: Duration = Duration::from_secs(3);
/// How long the intake and the database may take to close.
const CLOSE_DEADLINE: Duration = Duration::from_secs(3);
/// Pause between the starts of two lines: a dozen requests go out with each.
const STAGGER: Duration = Duration::from_millis(50);

/// Runs the bridge until it is told to stop.
///
/// # Errors
/// When it can not start: the database, the lock, the listener's address.
pub fn run(config: Config) -> anyhow::Result<()> {
    // Whoever comes first decides for the process; another provider already there is fine too.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::debug!("a TLS provider was already installed");
    }
    let _kill_points = fail::FailScenario::setup();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the runtime did not start")?;
    runtime.block_on(serve(config))
}

async fn serve(config: Config) -> anyhow::Result<()> {
    let stop = CancellationToken::new();
    stop_on_signal(&stop)?;
    // From here on it does not end the process any more.
    let hangups = signal(SignalKind::hangup())?;
    if let Some(path) = config.database.sqlite_path() {
        keep_to_owner(&path);
    }
    let store = Store::open(&config.database.sqlx_url(), crate::clock::Clock::system())
        .await
        .context("the database could not be opened: check database.type and database.uri")?;
    let lock = Lock::take(&store, config.database.sqlite_path().as_deref()).await?;
    let (guarded, guarding) = (store.clone(), stop.clone());
    let keeper = tokio::spawn(async move {
        let kept = lock.keep(&guarded, &guarding).await;
        guarding.cancel();
        kept
    });
    let sealer = Sealer::new(config.encryption.pickle_key.reveal());
    sealer.prove(&store).await?;
    // Behind the lock: a second process would delete what this one has on its way.
    let media = Media::open(&media_settings(&config))
        .await
        .with_context(|| format!("{} can not be used: check media.folder", config.media_folder().display()))?;
    let matrix = Matrix::new(matrix_settings(&config), store.clone())?;
    let (whatsapp, news) = Whatsapp::new(whatsapp_settings(&config), store.clone(), sealer)?;
    let address = (config.appservice.hostname.clone(), config.appservice.port);
    let bridge = Bridge::new(config, store.clone(), Intake::new(matrix), whatsapp, media, stop.clone());
    let runner = bridge.clone();
    bridge.set_commands(Box::new(move |call| Box::pin(commands::run(runner.clone(), call))));

    // Of a terminal the signal says that it is closed, and who started the bridge in it wants it to end, as all programs do.
    let is_in_terminal = std::io::stdout().is_terminal();
    bridge.spawn(heed_hangups(bridge.clone(), hangups, is_in_terminal));
    let listener = TcpListener::bind((address.0.as_str(), address.1)).await.with_context(|| {
        format!("could not listen on {}:{}: check appservice.hostname and appservice.port", address.0, address.1)
    })?;
    let answering = stop.clone();
    let service = http::router(&bridge).into_make_service_with_connect_info::<SocketAddr>();
    let server = axum::serve(listener, service).with_graceful_shutdown(async move { answering.cancelled().await });
    let server = tokio::spawn(server.into_future());
    let numbers = tell_numbers(&bridge).await?;

    let started = tokio::select! {
        () = stop.cancelled() => Ok(()),
        started = start(&bridge, news) => started,
    };
    if started.is_ok() && !stop.is_cancelled() {
        tracing::info!("the bridge is running");
        stop.cancelled().await;
    }
    tracing::info!("stopping");
    stop.cancel();
    bridge.whatsapp().stop(LINES_DEADLINE).await;
    if tokio::time::timeout(TASKS_DEADLINE, bridge.wait_for_tasks()).await.is_err() {
        tracing::warn!("some work did not end in time; it goes on with the next start");
    }
    let closing = async {
        bridge.intake().finish().await;
        server.abort();
        if let Some(numbers) = numbers {
            numbers.abort();
        }
        let ended = match keeper.await? {
            Ok(lock) => {
                lock.give_back().await;
                started
            }
            Err(lost) => Err(lost.into()),
        };
        store.close().await;
        ended
    };
    let closed = tokio::time::timeout(CLOSE_DEADLINE, closing).await;
    closed.context("the database did not close in time").flatten()
}

async fn start(bridge: &Bridge, news: mpsc::Receiver<LineNews>) -> anyhow::Result<()> {
    let matrix = bridge.matrix();
    matrix.wait_until_reachable().await;
    matrix.ensure_user(matrix.bot()).await.context("the bot's account could not be made")?;
    let name = bridge.config().appservice.bot.displayname.as_str();
    if let Err(error) = matrix.set_display_name(matrix.bot(), name).await {
        tracing::warn!(%error, "the bot's name was not set");
    }
    if let Err(error) = matrix.ping().await {
        tracing::warn!(%error, "the homeserver can not reach the bridge: check appservice.address and the registration's url");
    }
    let (catching_up, stop) = (bridge.intake().clone(), bridge.stop().clone());
    bridge.spawn(async move { catching_up.run(stop).await });
    let following = bridge.clone();
    bridge.spawn(async move { following.follow_lines(news).await });
    bridge.load_filter().await?;
    let signalling = bridge.clone();
    bridge.spawn(async move { signalling.run_signals().await });
    let keeping = bridge.clone();
    bridge.spawn(async move { keeping.run_upkeep().await });
    let grouping = bridge.clone();
    bridge.spawn(async move { grouping.run_groups().await });
    let reporting = bridge.clone();
    bridge.spawn(async move { reporting.run_outcomes().await });
    let channels = bridge.clone();
    bridge.spawn(async move { channels.run_channels().await });
    let working = bridge.clone();
    bridge.spawn(async move {
        if let Err(error) = working.run_lanes().await {
            tracing::error!(%error, "the lanes could not start; the process ends");
            working.stop().cancel();
        }
    });
    let marking = bridge.clone();
    bridge.spawn(async move { marking.run_chat_marks().await });
    let following_people = bridge.clone();
    bridge.spawn(async move { following_people.run_own_data().await });
    let puppets = bridge.clone();
    bridge.spawn(async move { puppets.run_puppets().await });
    let telling = bridge.clone();
    bridge.spawn(async move { telling.tell_logouts().await });
    let posting = bridge.clone();
    bridge.spawn(async move { posting.run_status_push().await });
    let cleaning = bridge.clone();
    bridge.spawn(async move { cleaning.run_cleanups().await });
    let deleting = bridge.clone();
    bridge.spawn(async move { deleting.run_deletions().await });
    let watching = bridge.clone();
    bridge.spawn(async move { watching.run_watch().await });
    let logins = bridge.store().all_logins().await?;
    let starting = bridge.clone();
    bridge.spawn(async move {
        for login in logins.iter().filter(|login| login.state == LoginState::Linked) {
            starting.whatsapp().start(&login.id, &login.device);
            tokio::select! {
                () = starting.stop().cancelled() => return,
                () = tokio::time::sleep(STAGGER) => {}
            }
        }
    });
    bridge.set_started();
    Ok(())
}

/// Answers `/metrics` where the operator wants it.
async fn tell_numbers(bridge: &Bridge) -> anyhow::Result<Option<JoinHandle<std::io::Result<()>>>> {
    let metrics = &bridge.config().metrics;
    if !metrics.enabled {
        return Ok(None);
    }
    let listener = TcpListener::bind(&metrics.listen)
        .await
        .with_context(|| format!("could not listen on {}: check metrics.listen", metrics.listen))?;
    let server = axum::serve(listener, http::metrics::router(bridge));
    Ok(Some(tokio::spawn(server.into_future())))
}

fn stop_on_signal(stop: &CancellationToken) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    });
    Ok(())
}

/// Makes a database's file that is not there yet so that nobody else can read it: it will hold the logins. SQLite gives its
/// companions the same mode.
fn keep_to_owner(path: &Path) {
    let made = File::options().write(true).create_new(true).mode(0o600).open(path);
    if let Err(error) = made
        && error.kind() != ErrorKind::AlreadyExists
    {
        // Opening the database tells what is wrong, in better words.
        tracing::debug!(%error, "the database's file was not made");
    }
}

/// Reads the configuration again at each SIGHUP, as `systemctl reload` sends it; in a terminal, stops.
async fn heed_hangups(bridge: Bridge, mut hangups: Signal, is_in_terminal: bool) {
    while let Some(Some(())) = bridge.stop().run_until_cancelled(hangups.recv()).await {
        if is_in_terminal {
            return bridge.stop().cancel();
        }
        if let Err(faults) = bridge.reload() {
            tracing::debug!(faults = faults.iter().count(), "nothing was changed");
        }
    }
}

fn matrix_settings(config: &Config) -> MatrixSettings {
    let appservice = &config.appservice;
    MatrixSettings {
        address: config.homeserver.address.clone(),
        domain: config.homeserver.domain.clone(),
        as_token: appservice.as_token.reveal().clone(),
        hs_token: appservice.hs_token.reveal().clone(),
        appservice_id: appservice.id.clone(),
        bot_localpart: appservice.bot.username.clone(),
        ghost_prefix: appservice.ghost_prefix().to_owned(),
        ghost_suffix: appservice.ghost_suffix().to_owned(),
        alias_prefix: appservice.ghost_prefix().to_owned(),
    }
}

fn media_settings(config: &Config) -> MediaSettings {
    MediaSettings {
        folder: config.media_folder(),
        budget: config.media.budget(),
        max_file: config.media.max_file(),
        ffmpeg: config.media.ffmpeg().map(str::to_owned),
    }
}

fn whatsapp_settings(config: &Config) -> WhatsappSettings {
    WhatsappSettings {
        os_name: config.network.os_name.clone(),
        takes_status: config.network.enable_status_broadcast,
        takes_deliveries: Arc::new(config.matrix.message_status_events.into()),
        websocket_url: config.network.websocket_url.clone(),
        media_base_url: config.network.media_base_url.clone(),
    }
}
