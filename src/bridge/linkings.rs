//! Linking an account for somebody who looks at another place than a room: a manager's window, a page in a browser.
//!
//! The engine is the one of `login qr` in a room ([`crate::whatsapp::Whatsapp::link`]); here its steps are kept where they can be
//! asked for, also again after an answer was lost. A person links one device at a time, wherever: what begins later ends
//! what was before. Nothing is stored: with the process dies the connection the codes belong to.
//!
//! States: number wanted (only by code) → waiting → a code, again and again → linked, or ended; where WhatsApp asks for a passkey,
//! before that: its answer wanted → looked at → codes to be compared → looked at.

use super::Bridge;
use crate::ids::LoginId;
use crate::store::logins::Login;
use crate::verdict::Gate;
use crate::whatsapp::linking::{LinkMethod, LinkStep};
use crate::whatsapp::passkey::AnswerFault;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long a linking may be asked for, as at other bridges.
const LIFE: Duration = Duration::from_secs(1800);

/// Where a linking stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stand {
    /// The person has to give their phone number.
    NumberWanted,
    /// WhatsApp is asked for a code.
    Waiting,
    /// This text is to be scanned as a QR picture. A secret of the person who links.
    Qr {
        /// The picture's text.
        code: String,
    },
    /// This code is to be typed on the phone, `XXXX-XXXX`. A secret of the person who links.
    Code {
        /// The code.
        code: String,
    },
    /// WhatsApp asks for the account's passkey.
    Passkey {
        /// What it is asked ([`crate::whatsapp::passkey`]).
        question: String,
    },
    /// The phone shows a code too; the person has to say whether it is this one, `XXXX-XXXX`.
    Compare {
        /// The code.
        code: String,
    },
    /// WhatsApp looks at what the person gave.
    Checking,
    /// The account is linked.
    Linked(LoginId),
    /// Nobody used the code, or answered, in time.
    TimedOut,
    /// It was cancelled, or another one was begun.
    Cancelled,
    /// It can not work; in the person's words.
    Failed(String),
}

impl Stand {
    /// Whether nothing comes after it.
    #[must_use]
    pub fn is_last(&self) -> bool {
        matches!(self, Self::Linked(_) | Self::TimedOut | Self::Cancelled | Self::Failed(_))
    }

    /// Whether there is something to show, or to do.
    fn is_news(&self) -> bool {
        !matches!(self, Self::Waiting | Self::Checking)
    }
}

/// How somebody wants to link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By scanning a picture.
    Qr,
    /// By a code typed on the phone of a number they give.
    Number,
}

/// One linking.
pub struct Linking {
    id: String,
    owner: String,
    begun: Instant,
    /// What it came to, with a number that grows with each step.
    stand: watch::Sender<(u64, Stand)>,
    /// The step that was told last.
    told: AtomicU64,
}

impl Linking {
    /// Its name: 128 random bits.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where it stands now, with the step's number.
    #[must_use]
    pub fn now(&self) -> (u64, Stand) {
        self.stand.borrow().clone()
    }

    /// Where it stands once it is beyond step `seen` and has something to show; after `limit`, where it stands then.
    pub async fn next(&self, seen: u64, limit: Duration) -> (u64, Stand) {
        let mut watch = self.stand.subscribe();
        let news = watch.wait_for(|(step, stand)| stand.is_last() || *step != seen && stand.is_news());
        // The sender lives as long as `self`, so only the limit ends the wait otherwise.
        drop(tokio::time::timeout(limit, news).await);
        self.now()
    }

    /// The number of the step that was told last: for who does not say themselves what they have seen.
    #[must_use]
    pub fn told(&self) -> u64 {
        self.told.load(Ordering::SeqCst)
    }

    /// Notes which step was told.
    pub fn note_told(&self, step: u64) {
        self.told.store(step, Ordering::SeqCst);
    }

    /// Goes from where something was asked for to where it is looked at.
    fn was_given(&self, is_asked: impl Fn(&Stand) -> bool) {
        self.stand.send_if_modified(|(step, stand)| {
            let is_asked = is_asked(stand);
            if is_asked {
                *step += 1;
                *stand = Stand::Checking;
            }
            is_asked
        });
    }

    fn step(&self, next: Stand) {
        self.stand.send_if_modified(|(step, stand)| {
            let goes_on = !stand.is_last();
            if goes_on {
                *step += 1;
                *stand = next;
            }
            goes_on
        });
    }
}

/// The linkings that can be asked for, by who links.
#[derive(Default)]
pub(super) struct Linkings(Mutex<HashMap<String, Arc<Linking>>>);

/// What is wrong with a phone number somebody gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NumberFault {
    /// No number is so short, or so long.
    #[error("That is no complete phone number. Give it with its country code, such as +49 170 0000001.")]
    Length,
    /// It begins as numbers do inside a country.
    #[error("Give the number with its country code, such as +49 170 0000001.")]
    NotInternational,
}

/// The digits of a phone number with its country code, however it is written.
///
/// # Errors
/// [`NumberFault`].
pub fn read_number(text: &str) -> Result<String, NumberFault> {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let digits = digits.strip_prefix("00").unwrap_or(&digits);
    // E.164: country codes begin with no zero; at most 15 digits; shorter than 7 is no international number.
    if !(7..=15).contains(&digits.len()) {
        Err(NumberFault::Length)
    } else if digits.starts_with('0') {
        Err(NumberFault::NotInternational)
    } else {
        Ok(digits.to_owned())
    }
}

/// A code as people read it: in two halves.
#[must_use]
pub fn halves(code: &str) -> String {
    match code.split_at_checked(4) {
        Some((left, right)) if !right.is_empty() && !code.contains('-') => format!("{left}-{right}"),
        _ => code.to_owned(),
    }
}

impl Bridge {
    /// Begins a linking for somebody; what they had begun before ends.
    pub fn begin_linking(&self, mxid: &str, way: Way) -> Arc<Linking> {
        let first = match way {
            Way::Qr => Stand::Waiting,
            Way::Number => Stand::NumberWanted,
        };
        let linking = Arc::new(Linking {
            id: crate::derive::hex(&rand::random::<[u8; 16]>()),
            owner: mxid.to_owned(),
            begun: Instant::now(),
            stand: watch::Sender::new((0, first)),
            told: AtomicU64::new(0),
        });
        let before = {
            let mut all = self.linkings();
            all.retain(|_, linking| linking.begun.elapsed() < LIFE);
            all.insert(mxid.to_owned(), linking.clone())
        };
        if let Some(before) = before.filter(|before| !before.now().1.is_last()) {
            before.step(Stand::Cancelled);
            self.whatsapp().cancel_link(mxid);
        }
        if way == Way::Qr {
            self.run_linking(&linking, LinkMethod::Qr);
        }
        linking
    }

    /// Goes on with a linking that wanted a number; false when it does not.
    ///
    /// # Errors
    /// [`NumberFault`]; it may be given again.
    pub fn give_number(&self, linking: &Arc<Linking>, text: &str) -> Result<bool, NumberFault> {
        let number = read_number(text)?;
        let is_wanted = linking.stand.send_if_modified(|(step, stand)| {
            let is_wanted = *stand == Stand::NumberWanted;
            if is_wanted {
                *step += 1;
                *stand = Stand::Waiting;
            }
            is_wanted
        });
        if is_wanted {
            self.run_linking(linking, LinkMethod::Code { number });
        }
        Ok(is_wanted)
    }

    /// Gives the passkey's answer to a linking that wants one.
    ///
    /// # Errors
    /// [`AnswerFault`]; it may be given again.
    pub fn give_passkey(&self, linking: &Linking, text: &str) -> Result<(), AnswerFault> {
        let is_asked = |stand: &Stand| matches!(stand, Stand::Passkey { .. });
        if !is_asked(&linking.now().1) {
            return Err(AnswerFault::NotAsked);
        }
        self.whatsapp().answer_passkey(&linking.owner, text)?;
        linking.was_given(is_asked);
        Ok(())
    }

    /// Says that the phone shows the code of a linking; false when that is not asked.
    pub fn confirm_linking(&self, linking: &Linking) -> bool {
        let is_asked = |stand: &Stand| matches!(stand, Stand::Compare { .. });
        let is_done = is_asked(&linking.now().1) && self.whatsapp().confirm_code(&linking.owner);
        if is_done {
            linking.was_given(is_asked);
        }
        is_done
    }

    /// A person's linking of this name; none when it is somebody else's, too old, or followed by another.
    #[must_use]
    pub fn find_linking(&self, mxid: &str, id: &str) -> Option<Arc<Linking>> {
        self.linkings().get(mxid).filter(|linking| linking.id == id && linking.begun.elapsed() < LIFE).cloned()
    }

    /// Ends a linking before its time.
    pub fn cancel_linking(&self, linking: &Linking) {
        if linking.now().1.is_last() {
            return;
        }
        linking.step(Stand::Cancelled);
        self.whatsapp().cancel_link(&linking.owner);
    }

    /// Unlinks a login as its owner wishes, with all that hangs on it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn log_out(&self, login: &Login, reason: &str) -> crate::store::Result<()> {
        self.whatsapp().log_out(login, reason).await?;
        // What still waits for this login is told now.
        self.open(&Gate::Login(login.id.clone()));
        self.wake_spaces();
        self.ring_watch();
        Ok(())
    }

    fn linkings(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<Linking>>> {
        self.shared.linkings.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run_linking(&self, linking: &Arc<Linking>, method: LinkMethod) {
        let mut steps = self.whatsapp().link(&linking.owner, method);
        let (bridge, linking) = (self.clone(), linking.clone());
        self.spawn(async move {
            while let Some(Some(step)) = bridge.stop().run_until_cancelled(steps.recv()).await {
                linking.step(match step {
                    LinkStep::Qr { code, .. } => Stand::Qr { code },
                    LinkStep::Code { code, .. } => Stand::Code { code: halves(&code) },
                    LinkStep::Passkey { question, .. } => Stand::Passkey { question },
                    LinkStep::Compare { code, .. } => Stand::Compare { code },
                    LinkStep::Linked { login } => Stand::Linked(login),
                    LinkStep::TimedOut => Stand::TimedOut,
                    LinkStep::Failed { tell } => Stand::Failed(tell),
                });
            }
            // Without a last step it was cancelled, or another one took its place.
            linking.step(Stand::Cancelled);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_however_they_are_written() {
        for (text, digits) in [("+49 (170) 000-0001", "491700000001"), ("0049 170 0000001", "491700000001")] {
            assert_eq!(read_number(text).as_deref(), Ok(digits));
        }
        assert_eq!(read_number("0170 0000001"), Err(NumberFault::NotInternational));
        for short in ["", "+49", "hello", "1234567890123456"] {
            assert_eq!(read_number(short), Err(NumberFault::Length), "{short}");
        }
    }

    #[test]
    fn codes_are_shown_in_halves() {
        assert_eq!([halves("ABCD1234"), halves("ABCD-1234"), halves("ABC")], ["ABCD-1234", "ABCD-1234", "ABC"]);
    }

    #[tokio::test]
    async fn who_waits_hears_of_each_step_once_and_nothing_follows_the_last() {
        let stand = watch::Sender::new((0, Stand::Waiting));
        let linking =
            Linking { id: "a".into(), owner: "@a:b".into(), begun: Instant::now(), stand, told: AtomicU64::new(0) };
        assert_eq!(linking.next(0, Duration::from_millis(5)).await, (0, Stand::Waiting), "nothing came");
        let long = Duration::from_secs(60);
        let (told, ()) = tokio::join!(linking.next(0, long), async { linking.step(Stand::Qr { code: "1".into() }) });
        assert_eq!(told, (1, Stand::Qr { code: "1".into() }));
        assert_eq!(linking.next(0, long).await, (1, Stand::Qr { code: "1".into() }), "an answer was lost");
        linking.step(Stand::TimedOut);
        linking.step(Stand::Cancelled);
        assert_eq!(linking.next(1, long).await, (2, Stand::TimedOut));
        assert_eq!(linking.next(2, long).await, (2, Stand::TimedOut), "nothing more is waited for");
    }
}
