//! What else listens beside the homeserver's endpoints: numbers for Prometheus, and the API for managers.

use serde::Deserialize;

use crate::masked::Secret;

/// Section `metrics`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Whether numbers are told.
    pub enabled: bool,
    /// Address and port they are told on.
    pub listen: String,
}

/// Section `provisioning`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provisioning {
    /// As the operator wrote it; use [`Provisioning::secret`].
    pub shared_secret: Option<Secret<String>>,
    /// Whether people's own access tokens are taken.
    pub allow_matrix_auth: bool,
    /// Whether OpenID tokens are taken.
    pub allow_openid_auth: bool,
    /// Requests a user may make in a minute.
    pub requests_per_minute: u32,
    /// Whether a login ends where WhatsApp asks for a passkey.
    pub fail_on_webauthn: bool,
}

impl Provisioning {
    /// What switches the shared secret off, also in other bridges' configurations.
    const NO_SECRET: &str = "disable";

    /// The token that may act for everybody; `None` when there is none.
    #[must_use]
    pub fn secret(&self) -> Option<&str> {
        self.shared_secret.as_ref().map(|secret| secret.reveal().as_str()).filter(|secret| *secret != Self::NO_SECRET)
    }
}
