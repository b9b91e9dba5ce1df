//! Ends the library's turning of QR codes while a linking goes on.
//!
//! The library shows six codes in 160 seconds and hangs up behind the last; it has no way to be told that a phone has scanned one and
//! a passkey is waited for, which may take much longer. So the task that turns the codes is found by the code it shows and
//! ended: every task of a linking client runs under a name of its own, and the event with a code is told inside of its task.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use whatsapp_rust::prelude::TokioRuntime;
use whatsapp_rust::wacore::runtime::{AbortHandle, Runtime};

type Task = Pin<Box<dyn Future<Output = ()> + Send + 'static>>;

tokio::task_local! {
    /// What ends the task that runs.
    static END: CancellationToken;
}

/// The task that turns the codes of a line, once one was shown.
#[derive(Clone, Default)]
pub(super) struct Codes(Arc<Mutex<Option<CancellationToken>>>);

impl Codes {
    /// Notes that the task that runs has shown a code.
    pub(super) fn note(&self) {
        if let Ok(end) = END.try_with(Clone::clone) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(end);
        }
    }

    /// Ends the turning of the codes, and with it the hanging up behind the last.
    pub(super) fn end(&self) {
        if let Some(end) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            end.cancel();
        }
    }
}

/// Tokio's runtime; while a client links, with tasks that can be ended from inside.
pub(super) struct LineRuntime {
    /// Whether the client links.
    pub(super) links: bool,
}

fn endable(task: Task) -> Task {
    let end = CancellationToken::new();
    let run = {
        let end = end.clone();
        async move {
            // Ended, or done: nothing more is asked.
            end.run_until_cancelled(task).await;
        }
    };
    Box::pin(END.scope(end, run))
}

impl Runtime for LineRuntime {
    fn spawn(&self, future: Task) -> AbortHandle {
        TokioRuntime.spawn(if self.links { endable(future) } else { future })
    }

    fn spawn_detached(&self, future: Task) {
        TokioRuntime.spawn_detached(if self.links { endable(future) } else { future });
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        TokioRuntime.sleep(duration)
    }

    fn spawn_blocking(&self, f: Box<dyn FnOnce() + Send + 'static>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        TokioRuntime.spawn_blocking(f)
    }

    fn yield_now(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        TokioRuntime.yield_now()
    }

    fn yield_frequency(&self) -> u32 {
        TokioRuntime.yield_frequency()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A task that goes on for good; what is cancelled when it ended.
    fn start(runtime: &LineRuntime, codes: Option<Codes>) -> (CancellationToken, tokio::sync::oneshot::Receiver<()>) {
        let (ended, (running, runs)) = (CancellationToken::new(), tokio::sync::oneshot::channel());
        let guard = ended.clone().drop_guard();
        runtime.spawn_detached(Box::pin(async move {
            let _guard = guard;
            if let Some(codes) = codes {
                codes.note();
            }
            running.send(()).ok();
            std::future::pending().await
        }));
        (ended, runs)
    }

    #[tokio::test]
    async fn the_task_that_shows_codes_is_ended_and_no_other() {
        let codes = Codes::default();
        let runtime = LineRuntime { links: true };
        let (shows, shown) = start(&runtime, Some(codes.clone()));
        let (other, runs) = start(&runtime, None);
        let (linked, knows) = start(&LineRuntime { links: false }, Some(codes.clone()));
        for started in [shown, runs, knows] {
            started.await.unwrap();
        }
        codes.end();
        shows.cancelled().await;
        assert!(!other.is_cancelled() && !linked.is_cancelled());
        // Outside of such a task there is nothing to note.
        codes.note();
        codes.end();
        assert!(!other.is_cancelled());
    }
}
