//! WhatsApp as stories see it: the simulator's server and the phones of its accounts.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use whatsapp_sim::{AccountOptions, Addressing, Simulator};
pub use whatsapp_sim::{FaultKind, InboxItem, ReceiptItem};

/// A WhatsApp account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// What transcripts show; also its push name.
    pub name: String,
    /// Its phone number: digits, from a range reserved for fiction.
    pub number: String,
    /// The digits of its LID.
    pub lid: String,
}

/// A WhatsApp server and its phones. Clones are the same.
#[derive(Clone)]
pub struct Phones {
    simulator: Simulator,
    people: Arc<Mutex<People>>,
}

#[derive(Default)]
struct People {
    numbers: u32,
    devices: Vec<(String, u16)>,
}

impl Phones {
    /// Starts a server on a port the kernel chooses.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start() -> Result<Self> {
        let simulator = Simulator::start("127.0.0.1:0".parse()?).await?;
        Ok(Self { simulator, people: Arc::default() })
    }

    /// Returns the address for the bridge's `network.websocket_url`.
    #[must_use]
    pub fn websocket(&self) -> String {
        self.simulator.ws_url()
    }

    /// Returns the address for the bridge's `network.media_base_url`, and of the admin API.
    #[must_use]
    pub fn media(&self) -> String {
        self.simulator.http_url()
    }

    /// Returns the simulator, for what this type has no word for.
    #[must_use]
    pub fn simulator(&self) -> &Simulator {
        &self.simulator
    }

    /// Makes an account with a number of its own.
    ///
    /// # Errors
    /// The simulator refuses.
    pub fn create_account(&self, name: &str) -> Result<Account> {
        self.create(name, Addressing::Lid)
    }

    /// Makes an account that the network still addresses by its number.
    ///
    /// # Errors
    /// The simulator refuses.
    pub fn create_account_by_number(&self, name: &str) -> Result<Account> {
        self.create(name, Addressing::Pn)
    }

    fn create(&self, name: &str, addressing: Addressing) -> Result<Account> {
        let mut people = self.lock();
        // 202-555-0100 to 0199 are reserved for fiction.
        people.numbers += 1;
        let number = format!("12025550{}", 99 + people.numbers);
        let options = AccountOptions { push_name: name.to_owned(), addressing, lid: None };
        let info = self.simulator.create_account_with(&number, &options)?;
        Ok(Account { name: name.to_owned(), number, lid: info.lid })
    }

    fn lock(&self) -> MutexGuard<'_, People> {
        self.people.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The phone scans a QR code; returns when the device is linked.
    ///
    /// # Errors
    /// Nobody shows that code, or linking fails.
    pub async fn scan(&self, number: &str, code: &str) -> Result<()> {
        let device = self.simulator.scan(number, code).await?;
        self.lock().devices.push((number.to_owned(), device));
        Ok(())
    }

    /// The code is typed into the phone; returns when the device is linked.
    ///
    /// # Errors
    /// The code is wrong, or linking fails.
    pub async fn enter_code(&self, number: &str, code: &str) -> Result<()> {
        let device = self.simulator.enter_pair_code(number, code).await?;
        self.lock().devices.push((number.to_owned(), device));
        Ok(())
    }

    /// The phone removes the device that was linked last.
    ///
    /// # Errors
    /// None was linked, or it is gone already.
    pub fn unlink(&self, number: &str) -> Result<()> {
        let mut people = self.lock();
        let place = people.devices.iter().rposition(|(owner, _)| owner == number);
        let (_, device) = people.devices.remove(place.context("no device was linked")?);
        self.simulator.unlink(number, device)
    }

    /// Notes that the bridge removed the device that was linked last, so that nothing is expected of it any more.
    pub fn forget(&self, number: &str) {
        let mut people = self.lock();
        if let Some(place) = people.devices.iter().rposition(|(owner, _)| owner == number) {
            people.devices.remove(place);
        }
    }

    /// Returns whether a linked device of this number is connected now.
    #[must_use]
    pub fn is_connected(&self, number: &str) -> bool {
        !self.simulator.connected_devices(number).is_empty()
    }

    /// The phone of `from` sends a text; `to` is a number or a JID. Returns the message's id.
    ///
    /// # Errors
    /// There is no such account.
    pub async fn send(&self, from: &str, to: &str, text: &str) -> Result<String> {
        self.simulator.send_text(from, to, text).await
    }

    /// Returns what the phone of `number` shows, oldest first.
    #[must_use]
    pub fn inbox(&self, number: &str) -> Vec<InboxItem> {
        self.simulator.inbox(number)
    }

    /// Returns the receipts the phone of `number` got, oldest first.
    #[must_use]
    pub fn receipts(&self, number: &str) -> Vec<ReceiptItem> {
        self.simulator.receipts(number)
    }

    /// The owner of the phone looks at a message.
    ///
    /// # Errors
    /// There is no such account.
    pub async fn read(&self, number: &str, item: &InboxItem) -> Result<()> {
        self.simulator.mark_read(number, &item.chat, std::slice::from_ref(&item.id)).await
    }

    /// The owner of the phone plays a voice message; `chat` is a number.
    ///
    /// # Errors
    /// There is no such account.
    pub async fn play(&self, number: &str, chat: &str, id: &str) -> Result<()> {
        self.simulator.mark_played(number, chat, &[id.to_owned()]).await
    }

    /// The phone of `from` shows `to` that its owner is `composing`, `recording` or has `paused`.
    ///
    /// # Errors
    /// There is no such account.
    pub fn show(&self, from: &str, to: &str, state: &str) -> Result<()> {
        self.simulator.send_chatstate(from, to, state)
    }

    /// Returns what the phone of `number` was shown of `other`: `composing`, `paused`, `available`, ..., oldest first.
    #[must_use]
    pub fn shown(&self, number: &str, other: &str) -> Vec<String> {
        let all = self.simulator.presences(number);
        all.into_iter().filter(|item| item.from == other).map(|item| item.state).collect()
    }

    /// The owner of the phone saves a name in their address book; an empty one takes it away.
    ///
    /// # Errors
    /// There is no such account.
    pub fn save_contact(&self, number: &str, contact: &Account, name: &str) -> Result<()> {
        self.simulator.save_contact(number, &contact.number, name)
    }

    /// Makes something go wrong the next `count` times, for the devices of `number`.
    ///
    /// # Errors
    /// There is no such account.
    pub fn fault(&self, number: &str, fault: FaultKind, count: u32) -> Result<()> {
        self.simulator.fault(number, fault, count)
    }

    /// Returns the stanzas the server did not understand.
    #[must_use]
    pub fn unknown_stanzas(&self) -> Vec<String> {
        self.simulator.unknown_stanzas()
    }

    /// Waits until every linked device has acknowledged everything the server has for it.
    ///
    /// # Errors
    /// One does not within `limit`.
    pub async fn wait_settled(&self, limit: Duration) -> Result<()> {
        let devices = self.lock().devices.clone();
        for (number, device) in devices {
            self.simulator.wait_settled(&number, device, limit).await?;
        }
        Ok(())
    }
}
