//! What is measured on: a bridge between WhatsApp and one homeserver, one login, a number of chats.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::json;
use xtask::scratch::Folder;

use super::server::{Direct, Homeserver, OWNER};
use super::stand_in::StandIn;
use super::{Settings, meter};
use crate::bridge::Bridge;
use crate::database::{Database, Db};
use crate::phones::{Account, Phones};
use crate::synapse::{Loaded, Slot, Synapse};
use crate::wait;

/// How long a whole flood may take.
pub const LONG: Duration = Duration::from_secs(300);

/// A chat that has its room.
#[derive(Debug, Clone)]
pub struct Contact {
    /// Who.
    pub account: Account,
    /// The room of the chat.
    pub room: String,
    /// The contact's ghost.
    pub ghost: String,
}

/// Everything that is running for a measurement.
pub struct Rig {
    /// The bridge.
    pub bridge: Bridge,
    /// Its database.
    pub database: Database,
    /// The homeserver.
    pub server: Homeserver,
    /// WhatsApp.
    pub phones: Phones,
    /// The account of the login.
    pub login: Account,
    /// The chats, in each of which order is kept.
    pub contacts: Vec<Contact>,
    /// Where everything lies.
    pub folder: Folder,
}

impl Rig {
    /// Starts everything around the stand-in, with one login.
    ///
    /// # Errors
    /// A part does not start.
    pub async fn at_stand_in(settings: &Settings) -> Result<Self> {
        Self::at_stand_in_unlinked(settings).await?.log_in().await
    }

    /// The same before its login.
    ///
    /// # Errors
    /// A part does not start.
    pub async fn at_stand_in_unlinked(settings: &Settings) -> Result<Self> {
        let stand_in = StandIn::start().await?;
        let folder = Folder::create("bench")?;
        let slot = Slot::register(0, folder.path(), &stand_in.url())?;
        let (bridge_url, token) =
            (format!("http://127.0.0.1:{}", slot.port()), slot.text("/appservice/hs_token")?.to_owned());
        let rig = Self::start(settings.db, folder, slot, Homeserver::StandIn(stand_in.clone())).await?;
        stand_in.attach(&bridge_url, &token)?;
        Ok(rig)
    }

    /// Starts everything around a real Synapse on the same kind of database, with one login.
    ///
    /// # Errors
    /// A part does not start.
    pub async fn at_synapse(settings: &Settings) -> Result<Self> {
        Self::at_synapse_unlinked(settings).await?.log_in().await
    }

    /// The same before its login.
    ///
    /// # Errors
    /// A part does not start.
    pub async fn at_synapse_unlinked(settings: &Settings) -> Result<Self> {
        let synapse = Synapse::start(1, settings.db, Loaded::Bridges).await?;
        let slot = synapse.lease().context("a slot")?;
        let person = synapse.create_user_named(OWNER).await?;
        let folder = Folder::create("bench")?;
        Self::start(settings.db, folder, slot, Homeserver::Synapse(synapse, Box::new(person))).await
    }

    async fn start(db: Db, folder: Folder, slot: Slot, server: Homeserver) -> Result<Self> {
        let phones = Phones::start().await?;
        let database = Database::create(db, folder.path(), "bridge").await?;
        let addresses = (phones.websocket(), phones.media());
        let mut bridge = Bridge::configure(slot, folder.path(), &database, (&addresses.0, &addresses.1))?;
        bridge.reconfigure(&json!({"logging": {"level": "info"}}))?;
        bridge.start().await?;
        let login = phones.create_account(OWNER)?;
        Ok(Self { bridge, database, server, phones, login, contacts: Vec::new(), folder })
    }

    async fn log_in(self) -> Result<Self> {
        self.log_in_now().await?;
        Ok(self)
    }

    /// Links the account of the login.
    ///
    /// # Errors
    /// A step does not happen.
    pub async fn log_in_now(&self) -> Result<()> {
        let bot = self.bridge.slot().bot();
        let done = self.server.log_in(OWNER, &bot, &self.phones, &self.login).await;
        done.with_context(|| self.bridge.log_tail(30))
    }

    /// Begins chats: each contact writes once, which makes its ghost and its room.
    ///
    /// # Errors
    /// A room is not made.
    pub async fn begin_chats(&mut self, count: usize) -> Result<()> {
        for number in 0..count {
            let account = self.phones.create_account(&format!("Contact {number}"))?;
            let text = format!("hello from contact {number}");
            self.phones.send(&account.number, &self.login.number, &text).await?;
            let said = self.server.wait_said(&text, wait::STEP).await.with_context(|| self.bridge.log_tail(30))?;
            self.contacts.push(Contact { account, room: said.room, ghost: said.sender });
        }
        self.settle().await
    }

    /// Waits until nothing is under way.
    ///
    /// # Errors
    /// It does not settle.
    pub async fn settle(&self) -> Result<()> {
        let idle = wait::until("the bridge's lanes are empty", LONG, || async {
            let health = self.bridge.health().await?;
            Ok((health["inbox"]["waiting"] == 0).then_some(()))
        });
        idle.await.with_context(|| self.bridge.log_tail(30))?;
        self.phones.wait_settled(LONG).await
    }

    /// Waits until this many logins are connected.
    ///
    /// # Errors
    /// They are not within a while.
    pub async fn wait_connected(&self, count: u64) -> Result<()> {
        wait::until("all logins are connected", LONG, || async {
            let health = self.bridge.health().await?;
            Ok((health["components"]["whatsapp"]["connected"] == count).then_some(()))
        })
        .await
    }

    /// Stops the bridge and starts it anew, with everything connected.
    ///
    /// # Errors
    /// It does not end well or does not start.
    pub async fn restart(&mut self, logins: u64) -> Result<()> {
        self.stop().await?;
        self.bridge.start().await?;
        self.wait_connected(logins).await
    }

    /// Stops the bridge.
    ///
    /// # Errors
    /// It does not end well.
    pub async fn stop(&mut self) -> Result<()> {
        let status = self.bridge.stop().await?;
        if !status.success() {
            bail!("the bridge, asked to stop, ended with {status}");
        }
        Ok(())
    }

    /// Returns the bridge's process number.
    ///
    /// # Errors
    /// It does not run.
    pub fn process(&self) -> Result<u32> {
        Ok(self.bridge.process()?.id())
    }

    /// Returns the bridge's memory once it is at rest.
    ///
    /// # Errors
    /// It does not run.
    pub async fn memory_at_rest(&self) -> Result<meter::Memory> {
        // What a start leaves behind (its catch-up, the lines' first requests) is over by then.
        tokio::time::sleep(Duration::from_secs(4)).await;
        meter::memory(self.process()?)
    }

    /// Returns what sends as ghosts without the bridge.
    ///
    /// # Errors
    /// The slot has no token.
    pub fn direct(&self) -> Result<Direct> {
        Direct::new(&self.server, self.bridge.slot())
    }

    /// Waits until a contact's phone shows a text.
    ///
    /// # Errors
    /// It does not within `limit`.
    pub async fn wait_on_phone(&self, contact: &Contact, text: &str, limit: Duration) -> Result<()> {
        let shown = self.phones.simulator().wait_inbox(
            &contact.account.number,
            |item| item.text.as_deref() == Some(text),
            limit,
        );
        shown.await.map(drop).with_context(|| self.bridge.log_tail(15))
    }
}
