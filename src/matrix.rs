//! The Matrix side: the handle through which the bridge acts on the homeserver as its bot or as a ghost, and the
//! intake through which everything from the homeserver gets into the inbox.
//!
//! Promise: every send names its user *and* device, because only then does Synapse keep the transaction id in
//! its database (24 hours, over restarts); nothing here decides whether to repeat something, it says what
//! happened ([`error::MatrixError`]) and the caller's row decides. Everything may be dropped at any await.
//!
//! Parts: [`error`] (answers), `client` (requests), [`reach`] (is it there, is the token good), `users`,
//! `events`, [`rooms`], `media`, [`puppets`] (acting as people's own accounts); [`incoming`] (what an event means to us),
//! [`intake`] and `transactions` (what the homeserver calls), [`signals`] (typing and presence), [`catch_up`] and `watch` (what
//! fills the gaps that transactions leave).
//!
//! Knows the store and the floors below, neither WhatsApp nor the bridge.

mod client;
mod events;
pub mod media;
pub mod own_data;
mod previews;
pub mod puppets;
pub mod status_endpoint;
mod transactions;
mod users;
mod watch;

pub mod catch_up;
pub mod error;
pub mod incoming;
pub mod intake;
pub mod reach;
mod renames;
pub mod rooms;
pub mod signals;

#[cfg(test)]
mod homeserver_double;

use crate::derive::{body_hash, hex};
use crate::store::Store;
use client::Client;
use ruma::{OwnedUserId, UserId};
use std::sync::Arc;

/// The device of the bot and of every ghost. Fixed, so that what the homeserver remembers of transaction ids
/// outlives the process; there is no login behind it.
pub const DEVICE: &str = "WABRIDGE";

/// Room and user ids have at most 255 bytes (specification, appendix "Common identifier format"); what is longer
/// would not fit into an index either.
pub(crate) const LONGEST_ID: usize = 255;

/// What the Matrix side needs to know of the configuration.
#[derive(Clone)]
pub struct MatrixSettings {
    /// Where the homeserver's client API answers, without a path: `http://127.0.0.1:8008`.
    pub address: String,
    /// The homeserver's name: what stands behind the colon of its users.
    pub domain: String,
    /// Our token at the homeserver.
    pub as_token: String,
    /// The homeserver's token at ours.
    pub hs_token: String,
    /// The registration's `id`.
    pub appservice_id: String,
    /// Localpart of the bot.
    pub bot_localpart: String,
    /// What stands before the variable part of a ghost's localpart.
    pub ghost_prefix: String,
    /// What stands behind it; usually nothing.
    pub ghost_suffix: String,
    /// What every room alias of the bridge begins with.
    pub alias_prefix: String,
}

/// Why a [`Matrix`] could not be made from its settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The names do not make valid user ids.
    #[error("homeserver.domain, appservice.bot.username or appservice.username_template make no valid user id")]
    UserId,
    /// The address is no URL, or the TLS set-up failed (no certificates on this machine).
    #[error("the HTTP client could not be set up")]
    Http(#[from] reqwest::Error),
}

/// The homeserver, as the bridge sees it. Cheap to clone.
#[derive(Clone)]
pub struct Matrix {
    shared: Arc<Shared>,
}

struct Shared {
    settings: MatrixSettings,
    bot: OwnedUserId,
    client: Client,
    store: Store,
    reach: reach::Reach,
    upload_limit: tokio::sync::OnceCell<u64>,
    puppets: puppets::Puppets,
    renames: renames::Renames,
}

impl Matrix {
    /// A handle; asks nothing of the homeserver yet.
    ///
    /// # Errors
    /// When the settings can not work; a retry does not help.
    pub fn new(settings: MatrixSettings, store: Store) -> Result<Self, SettingsError> {
        let bot = UserId::parse(format!("@{}:{}", settings.bot_localpart, settings.domain))
            .map_err(|_| SettingsError::UserId)?;
        // The longest tail `ghost_id` makes by itself: then every ghost id it makes is valid.
        ghost_text(&settings, &"0".repeat(HASHED_TAIL)).ok_or(SettingsError::UserId)?;
        let client = Client::new(&settings.address, &settings.as_token)?;
        let shared = Shared {
            settings,
            bot,
            client,
            store,
            reach: reach::Reach::default(),
            upload_limit: tokio::sync::OnceCell::new(),
            puppets: puppets::Puppets::default(),
            renames: renames::Renames::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// A number that is another one after somebody came into a room or took another name there, as far as the homeserver has
    /// told it.
    pub fn names_mark(&self, room: &str) -> u64 {
        self.shared.renames.of(room)
    }

    /// The bot's user id.
    pub fn bot(&self) -> &UserId {
        &self.shared.bot
    }

    /// The ghost's user id with `tail` as the variable part of its localpart. A tail that can not stand in a
    /// user id (too long, odd characters) is replaced by its hash.
    pub fn ghost_id(&self, tail: &str) -> OwnedUserId {
        let settings = &self.shared.settings;
        let plain = tail.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._=/+".contains(&b));
        let given = (plain && !tail.is_empty()).then(|| ghost_text(settings, tail)).flatten();
        // `new` has checked that a hash fits.
        #[expect(clippy::expect_used, reason = "checked when the handle was made")]
        given.unwrap_or_else(|| {
            ghost_text(settings, &body_hash(tail.as_bytes())[..HASHED_TAIL]).expect("checked by new")
        })
    }

    /// Whether this user is the bot or a ghost, so that what it says is an echo of ourselves.
    pub fn is_ours(&self, user: &UserId) -> bool {
        let settings = &self.shared.settings;
        if user.server_name().as_str() != settings.domain {
            return false;
        }
        let localpart = user.localpart();
        let inside = localpart
            .strip_prefix(settings.ghost_prefix.as_str())
            .and_then(|rest| rest.strip_suffix(settings.ghost_suffix.as_str()));
        localpart == settings.bot_localpart || inside.is_some_and(|tail| !tail.is_empty())
    }

    /// The variable part of a ghost's user id; none when it is no ghost's.
    pub fn ghost_tail<'a>(&self, user: &'a UserId) -> Option<&'a str> {
        let settings = &self.shared.settings;
        let inside = user.localpart().strip_prefix(settings.ghost_prefix.as_str())?;
        inside.strip_suffix(settings.ghost_suffix.as_str()).filter(|tail| !tail.is_empty())
    }

    /// The variable part of an alias localpart of ours.
    pub fn alias_tail<'a>(&self, localpart: &'a str) -> Option<&'a str> {
        localpart.strip_prefix(self.shared.settings.alias_prefix.as_str())
    }

    /// Localpart of the alias with `tail` behind the namespace's prefix; see [`crate::derive::Derive::alias`].
    pub fn alias_localpart(&self, tail: &str) -> String {
        format!("{}{tail}", self.shared.settings.alias_prefix)
    }

    /// The settings it was made from.
    pub fn settings(&self) -> &MatrixSettings {
        &self.shared.settings
    }

    /// The store what arrives goes into.
    pub(crate) fn store(&self) -> &Store {
        &self.shared.store
    }

    /// Closes the connections to the homeserver that are kept for later; requests in flight go on.
    pub fn forget_connections(&self) {
        if let Err(error) = self.client().forget_connections() {
            tracing::warn!(%error, "the connections to the homeserver stay as they are");
        }
    }

    fn client(&self) -> &Client {
        &self.shared.client
    }
}

/// Length of a tail made by hashing.
const HASHED_TAIL: usize = 40;

fn ghost_text(settings: &MatrixSettings, tail: &str) -> Option<OwnedUserId> {
    UserId::parse(format!("@{}{tail}{}:{}", settings.ghost_prefix, settings.ghost_suffix, settings.domain)).ok()
}

/// A fresh name for something that is asked once and never repeated.
fn fresh_name() -> String {
    hex(&rand::random::<[u8; 12]>())
}

#[cfg(test)]
mod tests {
    use super::homeserver_double::{matrix_at, settings};
    use super::*;

    #[tokio::test]
    async fn ghosts_and_the_bot_are_ours_and_nobody_else() {
        let (matrix, _store) = matrix_at("http://127.0.0.1:9").await;
        let user = |text: &str| UserId::parse(text).unwrap();
        assert_eq!(matrix.bot(), "@whatsappbot:test.local");
        assert_eq!(matrix.ghost_id("15550100"), "@whatsapp_15550100:test.local");
        assert!(matrix.is_ours(matrix.bot()));
        assert!(matrix.is_ours(&matrix.ghost_id("15550100")));
        assert!(matrix.is_ours(&matrix.ghost_id("lid-1")));
        assert!(!matrix.is_ours(&user("@alice:test.local")));
        assert!(!matrix.is_ours(&user("@whatsapp_1:elsewhere.example")));
        assert!(!matrix.is_ours(&user("@whatsapp_:test.local")), "the bare prefix is nobody's");
    }

    #[tokio::test]
    async fn an_impossible_tail_still_gives_one_fixed_ghost() {
        let (matrix, _store) = matrix_at("http://127.0.0.1:9").await;
        for odd in ["", "a b", "Ä", &"1".repeat(400), "a\0b"] {
            let id = matrix.ghost_id(odd);
            assert!(matrix.is_ours(&id));
            assert_eq!(id, matrix.ghost_id(odd));
        }
        assert_ne!(matrix.ghost_id("a b"), matrix.ghost_id("a c"));
    }

    /// Where different ghosts come from the same hash, or a plain tail looks like one.
    #[tokio::test]
    async fn no_two_tails_share_a_user() {
        let (matrix, _store) = matrix_at("http://127.0.0.1:9").await;
        let mut runner = proptest::test_runner::TestRunner::default();
        let tail = "[0-9]{1,15}|lid-[0-9]{1,15}|x-[0-9a-f]{2,20}|[0-9a-f]{40}|\\PC{0,60}";
        let pairs = (proptest::string::string_regex(tail).unwrap(), proptest::string::string_regex(tail).unwrap());
        let told = runner.run(&pairs, |(a, b)| {
            proptest::prop_assume!(a != b);
            let (first, second) = (matrix.ghost_id(&a), matrix.ghost_id(&b));
            proptest::prop_assert_ne!(&first, &second);
            proptest::prop_assert!(first != matrix.bot() && matrix.is_ours(&first));
            // And the way back: a plain tail is found again.
            if matrix.ghost_tail(&first) == Some(a.as_str()) {
                proptest::prop_assert_ne!(matrix.ghost_tail(&second), Some(a.as_str()));
            }
            Ok(())
        });
        told.unwrap();
    }

    #[tokio::test]
    async fn names_that_make_no_user_id_are_refused_at_the_start() {
        let (matrix, store) = matrix_at("http://127.0.0.1:9").await;
        drop(matrix);
        let mut bad = settings("http://127.0.0.1:9");
        bad.domain = "not a domain".into();
        assert!(matches!(Matrix::new(bad, store), Err(SettingsError::UserId)));
    }
}
