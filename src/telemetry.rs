//! Logging: one subscriber for our lines and the library's, to standard output.
//!
//! Promise: no line shows a WhatsApp id or a phone number. Our own lines hold [`crate::masked::Masked`] values;
//! whatever still looks like an id is masked when the line is written, and in lines of other crates bare long
//! numbers too (the WhatsApp library prints ids in some warnings). A line is one line: control characters in it
//! are escaped.
//! Other crates are heard from `warn` on, whatever `logging.level` is, and the targets under which the library prints
//! whole stanzas, or addresses of files with their tokens, never. One exception: at `trace` each SQL statement is told (its text, never what
//! is bound to it), which the benchmark counts.
//! Started once by `cli`; nothing here is stored.

mod redact;

use std::any::Any;
use std::fmt;
use std::panic::PanicHookInfo;
use std::sync::OnceLock;

use tracing::{Event, Metadata, Subscriber, error, level_filters::LevelFilter, subscriber::set_global_default};
use tracing_log::{LogTracer, NormalizeEvent as _};
use tracing_subscriber::Layer as _;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;

use crate::config::LogLevel;
use redact::{Origin, redact};

/// What the targets of our own lines begin with.
const OURS: &str = "matrix_whatsapp";

/// Targets of the WhatsApp library that print whole stanzas, message keys included, or addresses with their tokens.
const NEVER: [&str; 4] = ["Client/Recv", "Client/Send", "whatsapp_rust::download", "whatsapp_rust::upload"];

/// Changes the level of the log that was started.
static LEVEL: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Target under which sqlx tells each statement.
const STATEMENTS: &str = "sqlx::query";

/// Logging was started before in this process.
#[derive(Debug, thiserror::Error)]
#[error("logging was started twice")]
pub struct AlreadyStarted;

/// Starts logging to standard output, and takes panics into the log. Call once, before anything else is started.
///
/// # Errors
/// [`AlreadyStarted`].
pub fn start(level: LogLevel) -> Result<(), AlreadyStarted> {
    let (subscriber, handle) = subscriber(level, std::io::stdout);
    set_global_default(subscriber).map_err(|_| AlreadyStarted)?;
    LEVEL.set(handle).map_err(|_| AlreadyStarted)?;
    // Lines written with the `log` crate are all from others: there is no need to look at finer ones.
    LogTracer::builder().with_max_level(log_level(level.min(LogLevel::Warn))).init().map_err(|_| AlreadyStarted)?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// Logs at another level from now on; does nothing where logging was not started.
pub fn set_level(level: LogLevel) {
    let Some(handle) = LEVEL.get() else { return };
    match handle.reload(filter(level)) {
        Ok(()) => tracing_log::log::set_max_level(log_level(level.min(LogLevel::Warn))),
        Err(error) => error!(%error, "the level of the log stays as it was"),
    }
}

fn subscriber<W>(level: LogLevel, writer: W) -> (impl Subscriber + Send + Sync, reload::Handle<Targets, Registry>)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let plain = tracing_subscriber::fmt::format().with_ansi(false);
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).event_format(OneLine(plain)).with_writer(writer);
    let (filter, handle) = reload::Layer::new(filter(level));
    (tracing_subscriber::registry().with(lines.with_filter(filter)), handle)
}

fn filter(level: LogLevel) -> Targets {
    let others = level_filter(level.min(LogLevel::Warn));
    let mut filter = Targets::new().with_default(others).with_target(OURS, level_filter(level));
    if level == LogLevel::Trace {
        filter = filter.with_target(STATEMENTS, LevelFilter::DEBUG);
    }
    NEVER.into_iter().fold(filter, |filter, target| filter.with_target(target, LevelFilter::OFF))
}

const fn level_filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

const fn log_level(level: LogLevel) -> tracing_log::log::LevelFilter {
    use tracing_log::log::LevelFilter as Log;
    match level {
        LogLevel::Error => Log::Error,
        LogLevel::Warn => Log::Warn,
        LogLevel::Info => Log::Info,
        LogLevel::Debug => Log::Debug,
        LogLevel::Trace => Log::Trace,
    }
}

/// Writes what another format makes of an event as one line without ids.
struct OneLine<F>(F);

impl<S, N, F> FormatEvent<S, N> for OneLine<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        // Lines of the `log` crate arrive under one target; the normalized metadata has their own.
        let normalized = event.normalized_metadata();
        let metadata = normalized.as_ref().unwrap_or_else(|| event.metadata());
        let mut scope = context.event_scope().into_iter().flatten();
        let origin = if is_ours(metadata) && scope.all(|span| is_ours(span.metadata())) {
            Origin::Ours
        } else {
            Origin::Library
        };
        writeln!(writer, "{}", redact(line.trim_end_matches('\n'), origin))
    }
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.target().split("::").next() == Some(OURS)
}

/// Logs where a panic happened.
fn log_panic(info: &PanicHookInfo<'_>) {
    let place = info.location().map_or_else(|| "unknown place".to_owned(), ToString::to_string);
    let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
    let said = what_was_said(info.payload());
    error!(panic.place = place, panic.thread = thread, "a panic: {said}");
}

/// What a panic says, when the code says it word for word: a composed text may hold what was being worked on.
fn what_was_said(payload: &dyn Any) -> &'static str {
    payload.downcast_ref::<&'static str>().copied().unwrap_or("(composed text withheld)")
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use tracing::{debug, info, trace, warn};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn lines(level: LogLevel, act: impl FnOnce()) -> Vec<String> {
        let page = Page::default();
        let writer = page.clone();
        tracing::subscriber::with_default(subscriber(level, move || writer.clone()).0, act);
        let bytes = page.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        // Without the time, which is not the matter here.
        text.lines().map(|line| line.split_once(' ').unwrap().1.trim_start().to_owned()).collect()
    }

    #[test]
    fn our_level_is_the_configs_and_others_are_heard_from_warn_on() {
        let shown = lines(LogLevel::Debug, || {
            debug!("ours");
            trace!("ours, too fine");
            info!(target: "whatsapp_rust::client", "theirs, too fine");
            info!(target: "Client/Receipt", "theirs, too fine");
            warn!(target: "whatsapp_rust::client", "theirs");
            warn!(target: "matrix_whatsapp_not", "other");
        });
        assert_eq!(
            shown,
            [
                "DEBUG matrix_whatsapp::telemetry::tests: ours",
                "WARN whatsapp_rust::client: theirs",
                "WARN matrix_whatsapp_not: other",
            ]
        );
        let quiet = lines(LogLevel::Error, || {
            warn!("ours");
            warn!(target: "whatsapp_rust::client", "theirs");
            error!("heard");
        });
        assert_eq!(quiet, ["ERROR matrix_whatsapp::telemetry::tests: heard"]);
    }

    #[test]
    fn the_level_can_be_changed_while_it_runs() {
        let page = Page::default();
        let writer = page.clone();
        let (subscriber, handle) = subscriber(LogLevel::Info, move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            debug!("too fine");
            handle.reload(filter(LogLevel::Debug)).unwrap();
            debug!("heard");
            handle.reload(filter(LogLevel::Warn)).unwrap();
            info!("too fine again");
        });
        let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains("heard") && text.lines().count() == 1, "{text}");
    }

    #[test]
    fn a_panic_shows_its_place_and_no_content() {
        let literal = std::panic::catch_unwind(|| panic!("a fixed text")).unwrap_err();
        assert_eq!(what_was_said(literal.as_ref()), "a fixed text");
        let name = String::from("Ann");
        let composed = std::panic::catch_unwind(|| panic!("from {name}")).unwrap_err();
        assert_eq!(what_was_said(composed.as_ref()), "(composed text withheld)");
    }

    #[test]
    fn stanzas_are_never_written() {
        let shown = lines(LogLevel::Trace, || {
            error!(target: "Client/Recv", "<message/>");
            error!(target: "Client/Send", "<message/>");
        });
        assert!(shown.is_empty(), "{shown:?}");
    }

    #[test]
    fn ids_are_masked_in_text_fields_and_spans_and_a_line_stays_one() {
        let shown = lines(LogLevel::Info, || {
            warn!(target: "whatsapp_rust::polls", jid = "15550001111:2@s.whatsapp.net", "no key for 100000012345678@lid\nERROR forged");
            warn!(target: "whatsapp_rust::polls", user = "15550001111", "bare");
            info!(count = 15_550_001_111_u64, "ours keeps numbers but not +15550001111");
            let span = tracing::error_span!(target: "wa.recv", "recv", lid = "100000012345678");
            let entered = span.enter();
            info!("in their span");
            drop(entered);
        });
        assert_eq!(shown.len(), 4, "{shown:?}");
        let text = shown.join("\n");
        for id in ["15550001111:", "\"15550001111", "+15550001111", "100000012345678"] {
            assert!(!text.contains(id), "{id} in {text}");
        }
        assert!(text.contains("count=15550001111"), "{text}");
    }

    #[test]
    fn lines_of_the_log_crate_keep_their_target() {
        use tracing_log::log;
        // Another test of this process may have set the logger; either way it is this one.
        if LogTracer::init().is_err() {
            log::set_max_level(log::LevelFilter::Trace);
        }
        let shown = lines(LogLevel::Trace, || {
            log::warn!(target: "Client/PairCode", "code for 15550001111");
            log::error!(target: "Client/Recv", "<message/>");
            log::info!(target: "Client/PairCode", "too fine");
        });
        assert_eq!(shown.len(), 1, "{shown:?}");
        assert!(shown.first().unwrap().starts_with("WARN Client/PairCode: code for wa:"), "{shown:?}");
    }
}
