//! When news of the account's own data are stored, so that how far it was read may be written.
//!
//! The library tells such news on its own task, into the line's two queues; then it says that all were told. From there
//! that word follows them: behind the events of before, then behind the news of before. A kill on the way means that the
//! same news are fetched and told again, which changes nothing a second time.

use super::intake::Intake;
use super::signals::{News, Newsstand};
use crate::store::wa_applied::Applied;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;
use whatsapp_rust::prelude::Event;

#[derive(Default)]
struct Inner {
    /// Events that were put into the line's queue.
    given: u64,
    /// Events the line's task is done with.
    done: u64,
    /// What was all told, and how many events stood before the word.
    told: VecDeque<(u64, Applied)>,
}

/// Words on their way behind the line's events.
#[derive(Default)]
pub(super) struct Behind(Mutex<Inner>);

impl Behind {
    fn with(&self, news: Option<&Newsstand>, act: impl FnOnce(&mut Inner)) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut inner);
        let Some(news) = news else { return };
        while inner.told.front().is_some_and(|(given, _)| *given <= inner.done) {
            if let Some((_, applied)) = inner.told.pop_front() {
                // Dropped, it is told again.
                news.put(News::Applied(applied));
            }
        }
    }

    /// Counts an event that goes into the line's queue.
    pub(super) fn event_given(&self) {
        self.with(None, |inner| inner.given += 1);
    }

    /// Counts one that was worked on.
    pub(super) fn event_done(&self, news: &Newsstand) {
        self.with(Some(news), |inner| inner.done += 1);
    }

    /// Takes the word that all news of a collection were told. Never waits.
    pub(super) fn told(&self, applied: Applied, news: &Newsstand) {
        self.with(Some(news), |inner| {
            let given = inner.given;
            inner.told.push_back((given, applied));
        });
    }
}

impl Intake {
    /// Passes an event on to the line's task. Where there are too many, the line begins anew: what is part of the account's own
    /// data is told again, since nothing of what was told since is noted as read.
    pub(super) fn pass(&self, events: &mpsc::Sender<Arc<Event>>, event: Arc<Event>) {
        self.behind.event_given();
        if events.try_send(event).is_err() {
            tracing::error!(
                "an event of the WhatsApp connection was dropped: its buffer is full; the line begins anew"
            );
            self.give_up();
        }
    }

    /// Passes news on to the line's task; the same holds of them.
    pub(super) fn hear(&self, news: News) {
        if !self.news.put(news) {
            tracing::error!("news of contacts were dropped: too many at once; the line begins anew");
            self.give_up();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::signals::NEWS;
    use super::*;
    use crate::store::tests::{Fresh, fresh_sqlite};
    use crate::whatsapp::WhatsappSettings;
    use std::sync::atomic::AtomicBool;
    use tokio::sync::watch;
    use whatsapp_rust::wacore::types::events::Connected;

    async fn intake() -> (Arc<Intake>, Fresh) {
        let fresh = fresh_sqlite().await;
        let settings = WhatsappSettings {
            os_name: String::new(),
            websocket_url: None,
            takes_status: true,
            takes_deliveries: Arc::new(AtomicBool::new(false)),
            media_base_url: None,
        };
        let (_, login) = watch::channel(None);
        (Intake::new(fresh.store.clone(), login, &settings), fresh)
    }

    #[tokio::test]
    async fn an_event_that_is_dropped_is_not_done() {
        let (intake, _fresh) = intake().await;
        let (events, mut received) = mpsc::channel(1);
        let event = || Arc::new(Event::Connected(Connected::builder().build()));
        intake.pass(&events, event());
        assert!(!intake.has_given_up());
        intake.pass(&events, event());
        assert!(intake.has_given_up());
        received.recv().await.unwrap();
        intake.behind.event_done(&intake.news);
        let inner = intake.behind.0.lock().unwrap();
        assert_eq!((inner.given, inner.done), (2, 1), "what is told behind it would be noted as read");
    }

    #[tokio::test]
    async fn news_that_are_dropped_end_the_noting() {
        let (intake, _fresh) = intake().await;
        for _ in 0..NEWS {
            intake.hear(News::Blocked(Vec::new()));
        }
        assert!(!intake.has_given_up());
        intake.hear(News::Blocked(Vec::new()));
        assert!(intake.has_given_up());
    }
}
