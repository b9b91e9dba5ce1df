//! Where a login stands: one answer for people, managers of bridges, numbers and notices.
//!
//! It is made of three things: what the database knows of the link, what the line says of its connection, and when the phone
//! was last there. Nothing is stored here.
//!
//! States: not started → connecting → connected ⇄ phone offline; any of them → trouble (with a reason) → connecting; logged
//! out ends it, until the account is linked again.

use super::Bridge;
use super::watch::Phone;
use crate::numbers;
use crate::store::logins::{Farewell, Login, LoginState};
use crate::whatsapp::line::LineState;
use crate::whatsapp::trouble::Trouble;

/// Days without a sign of the phone after which its owner is warned: two before WhatsApp unlinks its devices.
pub(super) const WARN_DAYS: i64 = 12;
/// The code of a phone that is away.
pub(super) const PHONE_OFFLINE: &str = "wa-phone-offline";
/// A day in milliseconds.
pub(super) const DAY_MS: i64 = 24 * 3600 * 1000;

/// Where a login stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Linked, and no connection was begun yet.
    NotStarted,
    /// A connection is being made.
    Connecting,
    /// Messages flow.
    Connected,
    /// Messages flow, and the phone was not there for so many days.
    PhoneOffline {
        /// Whole days since its last sign.
        days: i64,
    },
    /// Not connected; tried again by itself.
    Trouble(Trouble),
    /// WhatsApp no longer knows the device.
    LoggedOut {
        /// Why, in the person's words.
        reason: String,
        /// How it came to that.
        how: Farewell,
        /// When, milliseconds since 1970.
        since: i64,
    },
}

impl Standing {
    /// As it is counted.
    #[must_use]
    pub fn number(&self) -> numbers::Login {
        match self {
            Self::NotStarted => numbers::Login::NotStarted,
            Self::Connecting => numbers::Login::Connecting,
            Self::Connected => numbers::Login::Connected,
            Self::PhoneOffline { .. } => numbers::Login::PhoneOffline,
            Self::Trouble(trouble) => trouble.number(),
            Self::LoggedOut { .. } => numbers::Login::LoggedOut,
        }
    }

    /// One line for people.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::NotStarted => "not started".into(),
            Self::Connecting => "connecting".into(),
            Self::Connected => "connected".into(),
            Self::PhoneOffline { .. } => format!("connected. {}", self.why()),
            Self::Trouble(_) => format!("not connected. {}", self.why()),
            Self::LoggedOut { .. } => format!("logged out. {}", self.why()),
        }
    }

    /// What is wrong and what to do, for people; empty when nothing is.
    #[must_use]
    pub fn why(&self) -> String {
        match self {
            Self::NotStarted | Self::Connecting | Self::Connected => String::new(),
            Self::PhoneOffline { days } => format!(
                "Your phone has not been on WhatsApp for {days} days. After 14 days WhatsApp unlinks the bridge: open WhatsApp \
                 on the phone, with a connection to the internet."
            ),
            Self::Trouble(trouble) => trouble.words(),
            Self::LoggedOut { reason, .. } => reason.clone(),
        }
    }

    /// What managers of bridges call it: the state events of mautrix's bridges.
    #[must_use]
    pub fn event(&self) -> &'static str {
        match self {
            Self::NotStarted | Self::Connecting => "CONNECTING",
            Self::Connected => "CONNECTED",
            Self::PhoneOffline { .. } | Self::Trouble(Trouble::Lost | Trouble::NotBegun) => "TRANSIENT_DISCONNECT",
            Self::Trouble(Trouble::Banned { .. }) => "BAD_CREDENTIALS",
            Self::Trouble(Trouble::Refused(_) | Trouble::Replaced | Trouble::Outdated) => "UNKNOWN_ERROR",
            Self::LoggedOut { how: Farewell::Asked, .. } => "LOGGED_OUT",
            Self::LoggedOut { .. } => "BAD_CREDENTIALS",
        }
    }

    /// For programs: the codes of mautrix's bridge; none when nothing is wrong.
    #[must_use]
    pub fn error(&self) -> Option<String> {
        match self {
            Self::Trouble(Trouble::Refused(code)) => Some(format!("{}-{code}", Trouble::Refused(*code).code())),
            _ => self.kind().map(str::to_owned),
        }
    }

    /// What is wrong, as one of a fixed list; what two troubles have in common, one notice is enough for.
    pub(super) fn kind(&self) -> Option<&'static str> {
        match self {
            Self::NotStarted | Self::Connecting | Self::Connected => None,
            Self::PhoneOffline { .. } => Some(PHONE_OFFLINE),
            Self::Trouble(trouble) => Some(trouble.code()),
            Self::LoggedOut { how: Farewell::Asked, .. } => Some("wa-not-logged-in"),
            Self::LoggedOut { how, .. } => Some(how.code()),
        }
    }
}

/// Where a login stands with this phone.
fn stand(login: &Login, line: Option<LineState>, phone: Phone, now: i64) -> Standing {
    match (&login.state, line) {
        (LoginState::LoggedOut { reason, how }, _) => {
            Standing::LoggedOut { reason: reason.clone(), how: *how, since: login.since }
        }
        // The moment before the database knows.
        (LoginState::Linked, Some(LineState::LoggedOut(how))) => {
            Standing::LoggedOut { reason: how.words().into(), how, since: now }
        }
        (LoginState::Linked, Some(LineState::Connected)) => {
            let days = phone.days_silent(now);
            if days >= WARN_DAYS { Standing::PhoneOffline { days } } else { Standing::Connected }
        }
        (LoginState::Linked, Some(LineState::Offline(trouble))) => Standing::Trouble(trouble),
        (LoginState::Linked, Some(LineState::Connecting)) => Standing::Connecting,
        (LoginState::Linked, None) => Standing::NotStarted,
    }
}

impl Bridge {
    /// Where a login stands now.
    #[must_use]
    pub fn standing(&self, login: &Login) -> Standing {
        let now = self.store().clock().now_ms();
        stand(login, self.whatsapp().state(&login.id), self.phone(&login.id), now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{DeviceKey, GhostId, LoginId};
    use crate::whatsapp::trouble::Ban;

    fn login(state: LoginState) -> Login {
        let own = GhostId::new("491700000001@s.whatsapp.net");
        Login {
            id: LoginId::new("491700000001"),
            mxid: "@alice:test.local".into(),
            device: DeviceKey::new("d"),
            own: own.clone(),
            pn: own,
            push_name: String::new(),
            state,
            since: 7,
        }
    }

    #[test]
    fn every_state_has_its_words_and_its_code() {
        let linked = login(LoginState::Linked);
        let now = 100 * DAY_MS;
        let of = |line| stand(&linked, line, Phone::default(), now);
        let out =
            |how| stand(&login(LoginState::LoggedOut { reason: "Why.".into(), how }), None, Phone::default(), now);
        let trouble = |trouble| of(Some(LineState::Offline(trouble)));
        let banned = Trouble::Banned { until: 0, why: Ban::Unknown };
        for (standing, event, error, begins) in [
            (of(None), "CONNECTING", None, "not started"),
            (of(Some(LineState::Connecting)), "CONNECTING", None, "connecting"),
            (of(Some(LineState::Connected)), "CONNECTED", None, "connected"),
            (trouble(Trouble::Lost), "TRANSIENT_DISCONNECT", Some("wa-transient-disconnect"), "not connected. The"),
            (trouble(Trouble::NotBegun), "TRANSIENT_DISCONNECT", Some("wa-not-connected"), "not connected. The"),
            (
                trouble(Trouble::Refused(503)),
                "UNKNOWN_ERROR",
                Some("wa-connect-failure-503"),
                "not connected. WhatsApp",
            ),
            (trouble(Trouble::Replaced), "UNKNOWN_ERROR", Some("wa-stream-replaced"), "not connected. Another"),
            (trouble(Trouble::Outdated), "UNKNOWN_ERROR", Some("wa-client-outdated"), "not connected. WhatsApp asks"),
            (trouble(banned), "BAD_CREDENTIALS", Some("wa-temporary-ban"), "not connected. WhatsApp has banned"),
            (out(Farewell::Asked), "LOGGED_OUT", Some("wa-not-logged-in"), "logged out. Why."),
            (out(Farewell::Removed), "BAD_CREDENTIALS", Some("wa-logged-out"), "logged out. Why."),
            (out(Farewell::Locked), "BAD_CREDENTIALS", Some("wa-main-device-gone"), "logged out. Why."),
            (out(Farewell::Unknown), "BAD_CREDENTIALS", Some("wa-unknown-logout"), "logged out. Why."),
        ] {
            assert_eq!((standing.event(), standing.error().as_deref()), (event, error), "{standing:?}");
            assert!(standing.words().starts_with(begins), "{}", standing.words());
        }
    }

    #[test]
    fn a_phone_is_offline_from_the_twelfth_day_while_the_line_is_well() {
        let linked = login(LoginState::Linked);
        let phone = Phone { seen: DAY_MS, warned: true, ..Phone::default() };
        let at = |days: i64, line| stand(&linked, Some(line), phone, DAY_MS + days * DAY_MS);
        assert_eq!(at(11, LineState::Connected), Standing::Connected);
        assert_eq!(at(12, LineState::Connected), Standing::PhoneOffline { days: 12 });
        assert_eq!(at(12, LineState::Connected).error().as_deref(), Some("wa-phone-offline"));
        assert_eq!(at(13, LineState::Connecting), Standing::Connecting);
        assert_eq!(
            stand(&linked, Some(LineState::Connected), Phone::default(), 50 * DAY_MS),
            Standing::Connected,
            "not known"
        );
    }
}
