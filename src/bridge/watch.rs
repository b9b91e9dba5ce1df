//! Watches logins for their owners: tells them once of what is wrong, once that it is over, and asks their phones for a sign.
//!
//! Promise: one notice for each real change, over restarts too: what was told last is stored, and a notice's name is made
//! from that. What passes by itself is told only when it lasts, and that all is well only after something else was told.
//! A logout is told by [`super::report`], with the state it is stored with.
//!
//! The phone: WhatsApp unlinks a companion whose phone was not there for 14 days. Whatever the phone says itself is a sign
//! (`whatsapp/sink.rs`); from day 10 without one it is asked for one each day, at day 12 its owner is warned.

use super::Bridge;
use super::standing::{DAY_MS, PHONE_OFFLINE, Standing};
use crate::ids::LoginId;
use crate::store::login_watch::Watched;
use crate::store::logins::{Login, LoginState};
use crate::whatsapp::trouble::Trouble;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch::{Receiver, Sender};

/// How long what passes by itself may last before its owner hears of it, milliseconds.
const PATIENCE: i64 = 5 * 60_000;
/// How long a connection has to hold before it is told as well again, milliseconds: programs that fight for the same keys
/// throw each other out within seconds.
const STEADY: i64 = 15_000;
/// The same after another program had taken the keys: if it is this one, started twice, each holds them for a minute or so.
const STEADY_ALONE: i64 = 10 * 60_000;
/// How long a phone that was asked for a sign has for it on a connection that holds, milliseconds.
const ANSWER: i64 = 20_000;
/// Days without a sign of the phone after which it is asked for one.
const ASK_DAYS: i64 = 10;
/// Signs of the phone within this time are one, milliseconds.
const SAME_SIGN: i64 = 3_600_000;
/// At least so often everything is looked at.
const ROUND: Duration = Duration::from_secs(600);
/// What comes within this time is looked at together.
const GATHER: Duration = Duration::from_millis(200);

/// What is remembered while the process runs.
pub(super) struct Watch {
    bell: Sender<u64>,
    phones: Mutex<HashMap<LoginId, Phone>>,
}

/// What is known of a login's phone. Times are milliseconds since 1970; 0 = not known, or never.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Phone {
    /// Its last sign.
    pub(super) seen: i64,
    /// When it was last asked for one, since then.
    pub(super) asked: i64,
    /// Since when the line has been well; 0 = it is not.
    pub(super) well_since: i64,
    /// Whether its owner was warned.
    pub(super) warned: bool,
}

impl Phone {
    /// When its silence counts: it was asked, and had time to answer. While the bridge itself was away nothing is known.
    fn silent_from(self) -> Option<i64> {
        match self.warned {
            true => Some(0),
            false => (self.asked > 0 && self.well_since > 0).then_some(self.well_since + ANSWER),
        }
    }

    /// Whole days of silence that count.
    pub(super) fn days_silent(self, now: i64) -> i64 {
        let counts = self.seen > 0 && self.silent_from().is_some_and(|from| now >= from);
        if counts { (now - self.seen) / DAY_MS } else { 0 }
    }
}

impl Default for Watch {
    fn default() -> Self {
        Self { bell: Sender::new(0), phones: Mutex::default() }
    }
}

/// Since when a login is well, or not; milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Run {
    Well(i64),
    Ill(i64),
}

/// What is to be done about a login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Nothing,
    /// Look again at this time.
    Look(i64),
    /// Tell the owner what is wrong.
    Tell(&'static str),
    /// Tell the owner that it is over.
    TellWell,
}

impl Run {
    fn go_on(before: Option<Self>, standing: &Standing, now: i64) -> Self {
        let is_well = matches!(standing, Standing::Connected | Standing::PhoneOffline { .. });
        match before {
            Some(Self::Well(since)) if is_well => Self::Well(since),
            Some(Self::Ill(since)) if !is_well => Self::Ill(since),
            _ if is_well => Self::Well(now),
            _ => Self::Ill(now),
        }
    }

    fn next(self, standing: &Standing, told: &str, now: i64) -> Next {
        let (Self::Well(since) | Self::Ill(since)) = self;
        let after = |wait: i64, then: Next| if now - since >= wait { then } else { Next::Look(since + wait) };
        match standing {
            Standing::LoggedOut { .. } => Next::Nothing,
            Standing::Connected if told.is_empty() => Next::Nothing,
            Standing::Connected if told == Trouble::Replaced.code() => after(STEADY_ALONE, Next::TellWell),
            Standing::Connected => after(STEADY, Next::TellWell),
            Standing::PhoneOffline { .. } | Standing::Trouble(_)
                if standing.kind().is_some_and(|kind| kind == told) =>
            {
                Next::Nothing
            }
            Standing::PhoneOffline { .. } => {
                // What was told before may not be over yet.
                let steady = match told {
                    "" => 0,
                    told if told == Trouble::Replaced.code() => STEADY_ALONE,
                    _ => STEADY,
                };
                after(steady, standing.kind().map_or(Next::Nothing, Next::Tell))
            }
            Standing::Trouble(trouble) if !trouble.may_pass() => Next::Tell(trouble.code()),
            // What is known now says more than that the connection was lost.
            Standing::Trouble(trouble @ Trouble::Refused(_)) if told == Trouble::Lost.code() => {
                Next::Tell(trouble.code())
            }
            // Who knows of something worse needs not hear of this; that a phone is silent is not worse.
            Standing::Trouble(_) | Standing::Connecting | Standing::NotStarted
                if !told.is_empty() && told != PHONE_OFFLINE =>
            {
                Next::Nothing
            }
            Standing::Trouble(trouble) => after(PATIENCE, Next::Tell(trouble.code())),
            Standing::Connecting | Standing::NotStarted => after(PATIENCE, Next::Tell(Trouble::Lost.code())),
        }
    }
}

impl Bridge {
    /// Has the logins looked at soon.
    pub(super) fn ring_watch(&self) {
        self.shared.watch.bell.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Rung when something about a login may have changed.
    pub(super) fn watch_bell(&self) -> Receiver<u64> {
        self.shared.watch.bell.subscribe()
    }

    /// What is known of a login's phone.
    pub(super) fn phone(&self, login: &LoginId) -> Phone {
        self.phones().get(login).copied().unwrap_or_default()
    }

    /// Notes that a login's phone was there at `at`, milliseconds since 1970. May be lost: it says something again.
    pub(super) async fn phone_is_there(&self, login: &LoginId, at: i64) {
        // Not known: the watch has not read the rows yet.
        let seen = self.phone(login).seen;
        if seen == 0 || at - seen < SAME_SIGN {
            return;
        }
        match self.store().phone_was_seen(login, at).await {
            Ok(()) => {
                let mut phones = self.phones();
                let phone = phones.entry(login.clone()).or_default();
                *phone = Phone { seen: phone.seen.max(at), asked: 0, warned: false, ..*phone };
                drop(phones);
                self.ring_watch();
            }
            Err(error) => tracing::debug!(%error, "a sign of a phone was not stored"),
        }
    }

    fn phones(&self) -> std::sync::MutexGuard<'_, HashMap<LoginId, Phone>> {
        self.shared.watch.phones.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Watches the logins until the process stops.
    pub async fn run_watch(&self) {
        let mut bell = self.watch_bell();
        let mut runs = HashMap::new();
        let mut pause = Duration::from_secs(1);
        loop {
            bell.borrow_and_update();
            let (wait, failure) = match self.look_at_logins(&mut runs).await {
                Ok(looked) => looked,
                Err(error) => (ROUND, Some(error)),
            };
            let wait = match failure {
                None => {
                    pause = Duration::from_secs(1);
                    wait
                }
                Some(why) => {
                    tracing::warn!(%why, "the owner of a login was not told yet how it stands");
                    pause = (pause * 2).min(Duration::from_secs(300));
                    // The others are looked at when their time has come.
                    wait.min(pause)
                }
            };
            let rung = async {
                tokio::time::sleep(GATHER).await;
                // The sender lives as long as the bridge.
                drop(bell.changed().await);
            };
            tokio::select! {
                () = self.stop().cancelled() => return,
                () = tokio::time::sleep(wait) => {}
                () = rung => {}
            }
        }
    }

    /// Looks at every login; gives how long it may be until the next look, and why the owner of one was not told.
    async fn look_at_logins(
        &self,
        runs: &mut HashMap<LoginId, Run>,
    ) -> anyhow::Result<(Duration, Option<anyhow::Error>)> {
        let store = self.store();
        let watched: HashMap<LoginId, Watched> = store.watched_logins().await?.into_iter().collect();
        {
            let mut phones = self.phones();
            phones.retain(|login, _| watched.contains_key(login));
            for (login, watched) in &watched {
                let phone = phones.entry(login.clone()).or_default();
                phone.seen = phone.seen.max(watched.phone_seen);
                phone.asked = watched.phone_asked;
                phone.warned = watched.told == PHONE_OFFLINE;
            }
        }
        let logins = store.all_logins().await?;
        runs.retain(|login, _| watched.contains_key(login));
        let mut wait = ROUND;
        let mut failure = None;
        for login in &logins {
            let Some(watched) = watched.get(&login.id) else { continue };
            let now = store.clock().now_ms();
            let run = Run::go_on(runs.get(&login.id).copied(), &self.standing(login), now);
            runs.insert(login.id.clone(), run);
            let phone = {
                let mut phones = self.phones();
                let phone = phones.entry(login.id.clone()).or_default();
                phone.well_since = if let Run::Well(since) = run { since } else { 0 };
                *phone
            };
            let standing = self.standing(login);
            if let Some(from) = phone.silent_from().filter(|from| *from > now) {
                wait = wait.min(Duration::from_millis(u64::try_from(from - now).unwrap_or(0)));
            }
            // One whose room can not be written to keeps nobody else from hearing.
            let done = async {
                self.ask_for_sign(login, watched, &standing, now).await?;
                self.tell_of_try(login, watched).await?;
                match run.next(&standing, &watched.told, now) {
                    Next::Nothing => Ok(ROUND),
                    Next::Look(at) => Ok(Duration::from_millis(u64::try_from(at - now).unwrap_or(0).max(1))),
                    Next::Tell(kind) => self.tell_standing(login, watched, &standing, Some(kind)).await.map(|()| ROUND),
                    Next::TellWell => self.tell_standing(login, watched, &standing, None).await.map(|()| ROUND),
                }
            };
            match done.await {
                Ok(until) => wait = wait.min(until),
                Err(error) => failure = Some(error),
            }
        }
        Ok((wait, failure))
    }

    async fn tell_standing(
        &self,
        login: &Login,
        before: &Watched,
        standing: &Standing,
        kind: Option<&'static str>,
    ) -> anyhow::Result<()> {
        let cause = format!("{}:{}:{}", login.id, before.told_at, kind.unwrap_or_default());
        let txn = self.store().derive().notice_txn(&cause, "standing");
        let text = match (kind, standing) {
            (None, _) if before.told == PHONE_OFFLINE => {
                format!("your phone with the WhatsApp account +{} is there again. All is well.", login.id)
            }
            (None, _) => format!("your WhatsApp account +{} is connected again. All is well.", login.id),
            (Some(_), Standing::PhoneOffline { .. }) => {
                format!("your WhatsApp account +{}: {}", login.id, standing.why())
            }
            (Some(_), Standing::Trouble(trouble)) => {
                format!("your WhatsApp account +{} is not connected. {}", login.id, trouble.words())
            }
            (Some(_), _) => {
                format!("your WhatsApp account +{} is not connected. {}", login.id, Trouble::Lost.words())
            }
        };
        self.call_out(&login.mxid, &text, &txn).await?;
        fail::fail_point!("logins.after_notice", |_| super::states::die_here());
        self.store().owner_heard(&login.id, before, kind.unwrap_or_default()).await?;
        // Others go by what owners know too.
        self.ring_watch();
        Ok(())
    }

    async fn tell_of_try(&self, login: &Login, watched: &Watched) -> anyhow::Result<()> {
        if watched.tried_at == 0 || login.state != LoginState::Linked {
            return Ok(());
        }
        let txn = self.store().derive().notice_txn(&format!("{}:{}", login.id, watched.tried_at), "tried");
        let text = format!(
            "somebody else on this bridge tried to link your WhatsApp account +{0} and was refused, because it is linked to \
             you. To make way for another Matrix account of yours, say `logout {0}` first. If it was not you, look at Linked \
             devices on your phone.",
            login.id
        );
        self.call_out(&login.mxid, &text, &txn).await?;
        Ok(self.store().owner_heard_of_try(&login.id, watched.tried_at).await?)
    }

    /// Asks a phone that was not there for long to say something.
    async fn ask_for_sign(
        &self,
        login: &Login,
        watched: &Watched,
        standing: &Standing,
        now: i64,
    ) -> crate::store::Result<()> {
        if !matches!(standing, Standing::Connected | Standing::PhoneOffline { .. }) {
            return Ok(());
        }
        let seen = self.phone(&login.id).seen;
        if seen == 0 {
            // Linked by an earlier version: it counts from now on.
            self.phones().entry(login.id.clone()).or_default().seen = now;
            return self.store().phone_was_seen(&login.id, now).await;
        }
        if now - seen < ASK_DAYS * DAY_MS || now - watched.phone_asked < DAY_MS {
            return Ok(());
        }
        match self.whatsapp().ask_for_sign(&login.id).await {
            Ok(()) => {
                self.store().phone_was_asked(&login.id, now).await?;
                // It has some time to answer.
                self.phones().entry(login.id.clone()).or_default().asked = now;
                self.ring_watch();
                Ok(())
            }
            Err(error) => {
                tracing::debug!(%error, "a phone could not be asked for a sign");
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::whatsapp::trouble::Ban;

    const BAN: Standing = Standing::Trouble(Trouble::Banned { until: 0, why: Ban::Unknown });
    const LOST: Standing = Standing::Trouble(Trouble::Lost);

    /// Goes through standings at their times; what is told, with its time.
    fn told(story: &[(i64, Standing)]) -> Vec<(i64, &'static str)> {
        let (mut run, mut last, mut all) = (None, "", Vec::new());
        for (now, standing) in story {
            let next = Run::go_on(run, standing, *now);
            run = Some(next);
            match next.next(standing, last, *now) {
                Next::Tell(kind) => {
                    last = kind;
                    all.push((*now, kind));
                }
                Next::TellWell => {
                    last = "";
                    all.push((*now, "well"));
                }
                Next::Nothing | Next::Look(_) => {}
            }
        }
        all
    }

    #[test]
    fn short_disconnects_are_not_told() {
        let story: Vec<(i64, Standing)> = (0..50)
            .flat_map(|n| {
                let at = n * PATIENCE;
                [(at, LOST), (at + 1, Standing::Connecting), (at + PATIENCE - 1, Standing::Connected)]
            })
            .collect();
        assert_eq!(told(&story), []);
    }

    #[test]
    fn a_long_one_is_told_once_and_its_end_once() {
        let story = [
            (0, Standing::Connected),
            (10, LOST),
            (PATIENCE, Standing::Connecting),
            (PATIENCE + 9, LOST),
            (PATIENCE + 10, LOST),
            (PATIENCE + 20, Standing::Connecting),
            (PATIENCE + 30, Standing::NotStarted),
            (PATIENCE + 40, Standing::Connected),
            (PATIENCE + 40 + STEADY, Standing::Connected),
            (PATIENCE + 41 + STEADY, Standing::Connected),
        ];
        assert_eq!(told(&story), [(PATIENCE + 10, "wa-transient-disconnect"), (PATIENCE + 40 + STEADY, "well")]);
        assert_eq!(
            Run::Ill(10).next(&LOST, "", 20),
            Next::Look(10 + PATIENCE),
            "it is looked at again when its time has come"
        );
    }

    #[test]
    fn a_bridge_that_never_gets_through_is_told_too() {
        let story = [(0, Standing::NotStarted), (5, Standing::Connecting), (PATIENCE, Standing::Connecting)];
        assert_eq!(told(&story), [(PATIENCE, "wa-transient-disconnect")]);
    }

    #[test]
    fn what_needs_somebody_is_told_at_once_and_a_fight_for_the_keys_once() {
        let replaced = Standing::Trouble(Trouble::Replaced);
        let story: Vec<(i64, Standing)> = (0..20)
            .flat_map(|n| {
                let at = n * 60_000;
                [
                    (at, replaced.clone()),
                    (at + 10, Standing::Connecting),
                    (at + 20, Standing::Connected),
                    (at + 19 + STEADY, Standing::Connected),
                ]
            })
            .collect();
        assert_eq!(told(&story), [(0, "wa-stream-replaced")]);
        assert_eq!(told(&[(0, replaced), (1, BAN)]), [(0, "wa-stream-replaced"), (1, "wa-temporary-ban")]);
    }

    #[test]
    fn two_copies_that_take_the_keys_by_turns_are_told_of_once() {
        let replaced = Standing::Trouble(Trouble::Replaced);
        let story: Vec<(i64, Standing)> = (0..30)
            .flat_map(|n| {
                let at = n * 130_000;
                [(at, replaced.clone()), (at + 65_000, Standing::Connected), (at + 129_999, Standing::Connected)]
            })
            .collect();
        assert_eq!(told(&story), [(0, "wa-stream-replaced")]);
        let silent: Vec<(i64, Standing)> = (0..30)
            .flat_map(|n| {
                let at = n * 130_000;
                [(at, replaced.clone()), (at + 65_000, Standing::PhoneOffline { days: 12 })]
            })
            .collect();
        assert_eq!(told(&silent), [(0, "wa-stream-replaced")]);
        assert_eq!(
            told(&[(0, replaced), (9, Standing::Connected), (9 + STEADY_ALONE, Standing::Connected)]),
            [(0, "wa-stream-replaced"), (9 + STEADY_ALONE, "well")]
        );
    }

    #[test]
    fn a_refusal_is_told_after_a_loss_and_a_loss_after_a_silent_phone() {
        let refused = Standing::Trouble(Trouble::Refused(503));
        let story = [
            (0, LOST),
            (PATIENCE, LOST),
            (PATIENCE + 1, refused.clone()),
            (PATIENCE + 2, LOST),
            (PATIENCE + 3, refused),
        ];
        assert_eq!(told(&story), [(PATIENCE, "wa-transient-disconnect"), (PATIENCE + 1, "wa-connect-failure")]);
        let story = [(0, Standing::PhoneOffline { days: 12 }), (1, LOST), (1 + PATIENCE, LOST)];
        assert_eq!(told(&story), [(0, "wa-phone-offline"), (1 + PATIENCE, "wa-transient-disconnect")]);
    }

    #[test]
    fn a_phone_is_silent_only_when_it_was_asked_and_could_have_answered() {
        let now = 100 * DAY_MS;
        let away = Phone { seen: now - 13 * DAY_MS, ..Phone::default() };
        assert_eq!(away.days_silent(now), 0, "the bridge may have been away itself");
        let asked = Phone { asked: now, well_since: now, ..away };
        assert_eq!((asked.days_silent(now), asked.silent_from()), (0, Some(now + ANSWER)));
        assert_eq!(asked.days_silent(now + ANSWER), 13);
        assert_eq!(Phone { well_since: 0, ..asked }.days_silent(now + ANSWER), 0, "not connected");
        assert_eq!(Phone { warned: true, ..away }.days_silent(now), 13, "its owner knows");
        assert_eq!(Phone { warned: true, ..Phone::default() }.days_silent(now), 0, "not known");
    }

    #[test]
    fn a_silent_phone_is_told_once_and_a_logout_not_here() {
        let away = |days| Standing::PhoneOffline { days };
        let out = Standing::LoggedOut { reason: String::new(), how: crate::store::logins::Farewell::Removed, since: 0 };
        let story =
            [(0, Standing::Connected), (1, away(12)), (2, away(13)), (STEADY + 9, Standing::Connected), (0, out)];
        assert_eq!(told(&story), [(1, "wa-phone-offline"), (STEADY + 9, "well")]);
    }
}
