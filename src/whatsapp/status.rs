//! Status posts of a login: whom they are for by its privacy settings.

use super::Whatsapp;
use super::intake::bare;
use super::outgoing::SendFailure;
use crate::ids::{GhostId, LoginId};
use crate::store::status::{Audience, AudienceRule};
use std::time::Duration;
use whatsapp_rust::anyhow;
use whatsapp_rust::features::{StatusPrivacySetting, StatusSendOptions};
use whatsapp_rust::prelude::{Jid, Server};
use whatsapp_rust::wacore::iq::spec::IqSpec;
use whatsapp_rust::wacore::request::InfoQuery;
use whatsapp_rust::wacore_binary::builder::NodeBuilder;
use whatsapp_rust::wacore_binary::{NodeContent, NodeRef};

/// How long WhatsApp may take to tell who may see posts.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// Asks who may see status posts (form as seen from WhatsApp's web client and open clients):
/// `<iq xmlns="status" type="get"><privacy/></iq>`, answered by `<privacy>` with a `<list type default>` for each rule
/// and a `<user jid>` for each person on it.
struct Ask;

impl IqSpec for Ask {
    type Response = Audience;

    fn build_iq(&self) -> InfoQuery<'static> {
        let content = NodeContent::Nodes(vec![NodeBuilder::new("privacy").build()]);
        InfoQuery::get("status", Jid::new("", Server::Pn), Some(content))
    }

    fn parse_response(&self, response: &NodeRef<'_>) -> Result<Audience, anyhow::Error> {
        let contacts = Audience { rule: AudienceRule::Contacts, people: Vec::new() };
        let Some(privacy) = response.get_optional_child("privacy") else { return Ok(contacts) };
        for list in privacy.get_children_by_tag("list") {
            let mut attrs = list.attrs();
            if attrs.optional_string("default").as_deref() != Some("true") {
                continue;
            }
            let rule = match attrs.optional_string("type").as_deref() {
                Some("contacts") => AudienceRule::Contacts,
                Some("whitelist") => AudienceRule::Only,
                Some("blacklist") => AudienceRule::Except,
                _ => return Err(anyhow::anyhow!("an unknown rule of who may see status posts")),
            };
            let people = list.get_children_by_tag("user").filter_map(|user| user.attrs().optional_jid("jid"));
            return Ok(Audience { rule, people: people.map(|jid| bare(&jid)).collect() });
        }
        Ok(contacts)
    }
}

impl Whatsapp {
    /// The rule of who may see a login's status posts, with the people it names.
    ///
    /// # Errors
    /// [`SendFailure`] when it can not be asked; then nothing may be posted.
    pub async fn status_privacy(&self, login: &LoginId) -> Result<Audience, SendFailure> {
        use whatsapp_rust::ErrorChainExt as _;
        let client = self.line(login).and_then(|line| line.client()).ok_or(SendFailure::Offline)?;
        if !client.is_logged_in() {
            return Err(SendFailure::Offline);
        }
        match tokio::time::timeout(ANSWER_TIME, client.execute(Ask)).await {
            Ok(Ok(audience)) => Ok(audience),
            // Who never chose has no such setting.
            Ok(Err(error)) if error.server_rejection().is_some_and(|rejection| rejection.code == 404) => {
                Ok(Audience { rule: AudienceRule::Contacts, people: Vec::new() })
            }
            Ok(Err(error)) if error.is_transport_unavailable() => Err(SendFailure::Offline),
            Ok(Err(error)) => {
                tracing::warn!(%error, "WhatsApp did not tell who may see status posts");
                Err(SendFailure::Unknown("who may see status posts was not told"))
            }
            Err(_) => Err(SendFailure::Unknown("who may see status posts was not told in time")),
        }
    }
}

/// The people of a post as the library takes them, and what its stanza says of the rule.
pub(super) fn recipients(audience: &Audience, id: &str) -> (Vec<Jid>, StatusSendOptions) {
    let people = audience.people.iter().map(GhostId::as_str).filter_map(|id| id.parse().ok()).collect();
    let privacy = match audience.rule {
        AudienceRule::Contacts => StatusPrivacySetting::Contacts,
        AudienceRule::Only => StatusPrivacySetting::AllowList,
        AudienceRule::Except => StatusPrivacySetting::DenyList,
    };
    (people, StatusSendOptions { privacy, message_id: Some(id.to_owned()), ..StatusSendOptions::default() })
}
