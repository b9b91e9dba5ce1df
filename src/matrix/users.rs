//! Accounts of the bot and the ghosts: made when first needed, every step harmless to repeat.

use super::client::Who;
use super::error::{MatrixError, Result};
use super::{DEVICE, Matrix};
use ruma::api::client::account::register;
use ruma::api::client::device::update_device;
use ruma::api::client::profile::set_profile_field;
use ruma::profile::ProfileFieldValue;
use ruma::{OwnedMxcUri, OwnedUserId, UserId};

/// Synapse refuses longer display names.
const LONGEST_NAME: usize = 256;

/// Whether the homeserver said of a token that it is none: not when it is not well itself, whatever code that has.
fn says_unknown(error: &MatrixError) -> bool {
    matches!(
        error,
        MatrixError::TokenRefused | MatrixError::Forbidden { .. } | MatrixError::Refused { status: ..=499, .. }
    )
}

impl Matrix {
    /// Makes the account and its device, or finds both there.
    ///
    /// # Errors
    /// When the homeserver is not there, or refuses the name (outside of the registration's namespace).
    pub async fn ensure_user(&self, user: &UserId) -> Result<()> {
        if self.is_puppet(user) {
            // People have their accounts.
            return self.ensure_device(user).await;
        }
        let mut request = register::v3::Request::new();
        request.username = Some(user.localpart().to_owned());
        request.login_type = Some(register::LoginType::ApplicationService);
        // Without it a login would be made, which homeservers with delegated login do not have.
        request.inhibit_login = true;
        match self.ask(Who::Service, request).await {
            Ok(_) | Err(MatrixError::AlreadyThere { .. }) => {}
            Err(error) => return Err(error),
        }
        self.ensure_device(user).await
    }

    /// Makes the user's device, or finds it there; a puppet by a token of its own has another one.
    pub(super) async fn ensure_device(&self, user: &UserId) -> Result<()> {
        if !self.names_device(user) {
            return Ok(());
        }
        let mut request = update_device::v3::Request::new(DEVICE.into());
        request.display_name = Some("WhatsApp bridge".into());
        self.ask(Who::User(user), request).await.map(drop)
    }

    /// Whose access token this is; none when the homeserver does not know it, or it is no person's: a guest's, one of ours, or an
    /// application service's, which has no device (its owner may have any name).
    /// Nothing is remembered: a token that is logged out is of no use at once.
    ///
    /// # Errors
    /// When the homeserver is not there or not well.
    pub async fn owner_of_token(&self, token: &str) -> Result<Option<OwnedUserId>> {
        let answer = match self.shared.client.ask_about(token).await {
            Ok(answer) => answer,
            Err(error) if says_unknown(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let owner = answer["user_id"].as_str().and_then(|user| UserId::parse(user).ok());
        let is_person = |user: &OwnedUserId| {
            answer["is_guest"] != true
                && answer["device_id"].is_string()
                && !self.is_ours(user)
                && user.server_name().as_str() == self.settings().domain
        };
        Ok(owner.filter(is_person))
    }

    /// Whom an OpenID token stands for; none when the homeserver does not know it, or it is no person of this homeserver.
    /// Only this homeserver is asked, whatever the token or anybody says.
    ///
    /// # Errors
    /// When the homeserver is not there or not well.
    pub async fn owner_of_openid(&self, token: &str) -> Result<Option<OwnedUserId>> {
        let answer = match self.shared.client.ask_about_openid(token).await {
            Ok(answer) => answer,
            Err(MatrixError::NotFound) => return Ok(None),
            Err(error) if says_unknown(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let owner = answer["sub"].as_str().and_then(|user| UserId::parse(user).ok());
        Ok(owner.filter(|user| !self.is_ours(user) && user.server_name().as_str() == self.settings().domain))
    }

    /// Sets the account's display name, cut to what homeservers take (256 characters).
    ///
    /// # Errors
    /// When the homeserver is not there or the account was never made.
    pub async fn set_display_name(&self, user: &UserId, name: &str) -> Result<()> {
        let name = name.chars().take(LONGEST_NAME).collect();
        self.set_profile(user, ProfileFieldValue::DisplayName(name)).await
    }

    /// Sets the account's picture.
    ///
    /// # Errors
    /// As [`Matrix::set_display_name`].
    pub async fn set_avatar(&self, user: &UserId, picture: OwnedMxcUri) -> Result<()> {
        self.set_profile(user, ProfileFieldValue::AvatarUrl(picture)).await
    }

    async fn set_profile(&self, user: &UserId, value: ProfileFieldValue) -> Result<()> {
        let request = set_profile_field::v3::Request::new(user.to_owned(), value);
        self.ask(Who::User(user), request).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use crate::matrix::homeserver_double::{Double, fault, fine};
    use serde_json::json;
    use wiremock::matchers::{method, path};
    use wiremock::{Mock, ResponseTemplate};

    #[tokio::test]
    async fn a_token_is_unknown_only_when_the_homeserver_says_so() {
        let unknown = [fault(401, "M_UNKNOWN_TOKEN"), fault(403, "M_FORBIDDEN"), fault(400, "M_INVALID_PARAM")];
        let not_well = [
            fault(500, "M_UNKNOWN"),
            fault(502, "M_SOMETHING"),
            ResponseTemplate::new(503),
            fault(429, "M_LIMIT_EXCEEDED"),
        ];
        let answers = unknown.map(|one| (one, true)).into_iter().chain(not_well.map(|one| (one, false)));
        for (answer, is_unknown) in answers {
            let double = Double::start().await;
            let told = format!("{answer:?}");
            Mock::given(method("GET")).respond_with(answer).mount(&double.server).await;
            let matrix = double.matrix().await;
            for owner in [matrix.owner_of_token("t").await, matrix.owner_of_openid("t").await] {
                assert_eq!(matches!(owner, Ok(None)), is_unknown, "{told}: {owner:?}");
                assert_eq!(owner.is_err(), !is_unknown, "{told}: {owner:?}");
            }
        }
        let double = Double::start().await;
        let known = fine(json!({ "user_id": "@anna:test.local", "device_id": "D" }));
        Mock::given(path("/_matrix/client/v3/account/whoami")).respond_with(known).mount(&double.server).await;
        assert_eq!(double.matrix().await.owner_of_token("t").await.unwrap().unwrap(), "@anna:test.local");
    }
}
