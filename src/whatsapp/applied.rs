//! When news of the account's own data are stored, so that how far it was read may be written.
//!
//! The library tells such news on its own task, into the line's two queues; then it says that all were told. From there
//! that word follows them: behind the events of before, then behind the news of before. A kill on the way means that the
//! same news are fetched and told again, which changes nothing a second time.

use super::signals::{News, Newsstand};
use crate::store::wa_applied::Applied;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

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
