//! One-time links to the login page, and the sessions they become.
//!
//! A link holds 256 random bits in its fragment, which browsers send to nobody. The page gives them back once and gets
//! a session, which is another secret; the link is dead from then on. Both are bound to the Matrix user who asked the bot, both
//! end by themselves, and only their hashes are kept, in memory: a restart ends them all.

use crate::clock::Clock;
use crate::derive::hex;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long a link may be opened.
pub const LINK_LIFE: Duration = Duration::from_secs(600);
/// How long a page that was opened goes on.
pub const SESSION_LIFE: Duration = Duration::from_secs(1800);
/// Links of one person that may be alive; a row that is tried again makes another.
const MOST_LINKS: usize = 5;

/// Links and sessions.
pub struct PageLinks {
    clock: Clock,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    links: HashMap<String, Link>,
    sessions: HashMap<String, (String, i64)>,
}

struct Link {
    owner: String,
    made: i64,
    /// Tells who waits for its end.
    _ended: DropGuard,
}

impl PageLinks {
    /// No link yet.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, inner: Mutex::default() }
    }

    /// Whether what began then is still alive.
    fn lives(&self, begun: i64, life: Duration) -> bool {
        let age = self.clock.now_ms() - begun;
        u64::try_from(age).is_ok_and(|age| Duration::from_millis(age) < life)
    }

    /// A link's secret for a person, and what is cancelled when the link is used up or too old to keep.
    pub fn make(&self, mxid: &str) -> (String, CancellationToken) {
        let (secret, ended) = (new_secret(), CancellationToken::new());
        let mut inner = self.lock();
        inner.links.retain(|_, link| self.lives(link.made, LINK_LIFE));
        while inner.links.values().filter(|link| link.owner == mxid).count() >= MOST_LINKS {
            let of_person = inner.links.iter().filter(|(_, link)| link.owner == mxid);
            let Some(oldest) = of_person.min_by_key(|(_, link)| link.made).map(|(hash, _)| hash.clone()) else { break };
            inner.links.remove(&oldest);
        }
        let link = Link { owner: mxid.to_owned(), made: self.clock.now_ms(), _ended: ended.clone().drop_guard() };
        inner.links.insert(hash(&secret), link);
        (secret, ended)
    }

    /// Uses a link up: its owner, and the secret of the session. The person's earlier session ends. None when there is no
    /// such link any more.
    pub fn open(&self, secret: &str) -> Option<(String, String)> {
        let mut inner = self.lock();
        let link = inner.links.remove(&hash(secret)).filter(|link| self.lives(link.made, LINK_LIFE))?;
        let session = new_secret();
        inner.sessions.retain(|_, (owner, begun)| *owner != link.owner && self.lives(*begun, SESSION_LIFE));
        inner.sessions.insert(hash(&session), (link.owner.clone(), self.clock.now_ms()));
        Some((link.owner.clone(), session))
    }

    /// Whose session this is; none when it is over.
    pub fn owner_of_session(&self, secret: &str) -> Option<String> {
        let inner = self.lock();
        let (owner, begun) = inner.sessions.get(&hash(secret))?;
        self.lives(*begun, SESSION_LIFE).then(|| owner.clone())
    }

    /// Ends a session.
    pub fn close(&self, secret: &str) {
        self.lock().sessions.remove(&hash(secret));
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn new_secret() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

/// Looked up by its hash, a secret can not be guessed piece by piece from how long the look-up takes.
fn hash(secret: &str) -> String {
    hex(&Sha256::digest(secret))
}

impl super::Bridge {
    /// Links to the login page and their sessions.
    pub fn page_links(&self) -> &PageLinks {
        &self.shared.page_links
    }

    /// The address of the login page for a link's secret; none when browsers do not reach the bridge.
    #[must_use]
    pub fn page_address(&self, secret: &str) -> Option<String> {
        let address = self.config().appservice.public_address.as_deref()?;
        Some(format!("{}/login#{secret}", address.trim_end_matches('/')))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_opened_once_and_in_time_by_who_has_it() {
        let clock = Clock::by_hand(1_000);
        let links = PageLinks::new(clock.clone());
        let (link, ended) = links.make("@a:b");
        assert!(links.open("guess").is_none() && links.owner_of_session(&link).is_none());
        let (owner, session) = links.open(&link).unwrap();
        assert_eq!(owner, "@a:b");
        assert!(ended.is_cancelled());
        assert!(links.open(&link).is_none(), "used up");
        assert!(links.open(&session).is_none(), "a session is no link");
        assert_eq!(links.owner_of_session(&session).as_deref(), Some("@a:b"));
        let (late, _) = links.make("@a:b");
        clock.advance(600_000);
        assert!(links.open(&late).is_none(), "too old");
        clock.advance(1_800_000);
        assert!(links.owner_of_session(&session).is_none(), "over");
    }

    #[test]
    fn a_person_has_one_session_and_few_links() {
        let links = PageLinks::new(Clock::by_hand(1_000));
        let made: Vec<_> = (0..=MOST_LINKS).map(|_| links.make("@a:b")).collect();
        assert!(links.lock().links.len() == MOST_LINKS);
        assert_eq!(made.iter().filter(|(_, ended)| ended.is_cancelled()).count(), 1);
        let other = links.make("@b:b").0;
        let (_, kept) = links.open(&other).unwrap();
        let live: Vec<_> =
            made.iter().filter(|(_, ended)| !ended.is_cancelled()).map(|(link, _)| link.clone()).collect();
        let (_, first) = links.open(&live[0]).unwrap();
        let (_, second) = links.open(&live[1]).unwrap();
        assert!(links.owner_of_session(&first).is_none() && links.owner_of_session(&second).is_some());
        assert!(links.owner_of_session(&kept).is_some(), "others' go on");
        links.close(&second);
        assert!(links.owner_of_session(&second).is_none());
    }
}
