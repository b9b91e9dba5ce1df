//! The homeserver under a measurement: a real Synapse with a person in it, or the stand-in.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::json;

use super::stand_in::StandIn;
use crate::client::{self, Client};
use crate::management::Management;
use crate::person::Person;
use crate::phones::{Account, Phones};
use crate::synapse::{SERVER_NAME, Slot, Synapse};

/// A text that came to the homeserver.
#[derive(Debug, Clone)]
pub struct Said {
    /// When: at the stand-in the moment its request came, on Synapse the moment the person's client was given it.
    pub at: Instant,
    /// In which room.
    pub room: String,
    /// Who.
    pub sender: String,
}

/// A homeserver under measurement.
#[derive(Clone)]
pub enum Homeserver {
    /// One that costs nothing.
    StandIn(StandIn),
    /// A real one, and whose rooms are looked at.
    Synapse(Arc<Synapse>, Box<Person>),
}

impl Homeserver {
    /// Returns the word for it in tables.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::StandIn(_) => "stand-in",
            Self::Synapse(..) => "Synapse",
        }
    }

    /// Returns its address.
    #[must_use]
    pub fn url(&self) -> String {
        match self {
            Self::StandIn(stand_in) => stand_in.url(),
            Self::Synapse(synapse, _) => synapse.url(),
        }
    }

    /// Links an account. At the stand-in `owner` is a name of nobody else.
    ///
    /// # Errors
    /// A step does not happen.
    pub async fn log_in(&self, owner: &str, bot: &str, phones: &Phones, account: &Account) -> Result<()> {
        match self {
            Self::StandIn(stand_in) => {
                let person = format!("@{owner}:{SERVER_NAME}");
                stand_in.log_in(&person, bot, |code| async move { phones.scan(&account.number, &code).await }).await
            }
            Self::Synapse(_, person) => {
                let management = Management::open(person, bot).await?;
                management.login_by_qr(phones, account).await.map(drop)
            }
        }
    }

    /// The owner says something in a room; at the stand-in it is only handed over.
    ///
    /// # Errors
    /// The homeserver refuses.
    pub async fn say(&self, room: &str, text: &str) -> Result<()> {
        match self {
            Self::StandIn(stand_in) => {
                stand_in.say(&format!("@{OWNER}:{SERVER_NAME}"), room, text);
                Ok(())
            }
            Self::Synapse(_, person) => person.send_text(room, text).await.map(drop),
        }
    }

    /// Waits until a text is there.
    ///
    /// # Errors
    /// It does not come within `limit`.
    pub async fn wait_said(&self, text: &str, limit: Duration) -> Result<Said> {
        match self {
            Self::StandIn(stand_in) => stand_in.wait_said(text, limit).await,
            Self::Synapse(_, person) => {
                let event = person.wait_event(text, limit, |event| event.body() == text).await?;
                Ok(Said { at: event.arrived, room: event.room, sender: event.sender })
            }
        }
    }

    /// Makes a room that only the owner is in; none at the stand-in, which has no bound of its own there.
    ///
    /// # Errors
    /// The homeserver refuses.
    pub async fn plain_room(&self) -> Result<Option<String>> {
        match self {
            Self::StandIn(_) => Ok(None),
            Self::Synapse(_, person) => person.create_room(&json!({"preset": "private_chat"})).await.map(Some),
        }
    }
}

/// Localpart of the owner of the login that is measured.
pub const OWNER: &str = "alice";

/// Sends as ghosts without the bridge: the homeserver's own bound.
#[derive(Clone)]
pub struct Direct {
    client: Client,
}

impl Direct {
    /// Returns a sender with the application service's token.
    ///
    /// # Errors
    /// The slot has no token.
    pub fn new(server: &Homeserver, slot: &Slot) -> Result<Self> {
        let token = slot.text("/appservice/as_token").context("the slot")?;
        Ok(Self { client: Client::new(client::http(), &server.url(), token)? })
    }

    /// A ghost with its device says a text, the way the bridge does it.
    ///
    /// # Errors
    /// The homeserver refuses.
    pub async fn say(&self, room: &str, ghost: &str, text: &str) -> Result<()> {
        let txn = client::new_transaction();
        let path = ["_matrix", "client", "v3", "rooms", room, "send", "m.room.message", &txn];
        let query = [("user_id", ghost), ("device_id", "WABRIDGE")];
        let body = json!({"msgtype": "m.text", "body": text, "m.mentions": {}});
        self.client.call(Method::PUT, &path, &query, Some(&body)).await.map(drop)
    }
}
