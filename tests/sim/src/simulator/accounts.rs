//! Accounts: made, linked, changed.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use super::Simulator;
use crate::{
    account::{AccountInfo, AccountOptions, Addressing},
    appstate,
    ids::{Address, ConnId, Number},
    iq, pair_code, pairing, unlink,
};

/// How long a companion gets to answer its `<pair-success>`.
const PAIRING_TIME: Duration = Duration::from_secs(30);
/// How long the owner of a passkey may take to find it.
const PASSKEY_TIME: Duration = Duration::from_secs(600);

impl Simulator {
    /// Creates a LID-migrated account. Errors when the number is taken.
    pub fn create_account(&self, number: &str, push_name: &str) -> Result<AccountInfo> {
        let options = AccountOptions { push_name: push_name.to_owned(), ..Default::default() };
        self.create_account_with(number, &options)
    }

    /// Creates an account. Errors when the number or the LID is taken.
    pub fn create_account_with(&self, number: &str, options: &AccountOptions) -> Result<AccountInfo> {
        self.shared.with(|state| state.create_account(number, options))
    }

    /// Errors when there is no account of this number.
    pub fn account_exists(&self, number: &str) -> Result<()> {
        let number = Number::parse(number)?;
        self.shared.look(|state| state.account(&number).map(|_| ()))
    }

    /// The phone of `number` reads a QR code; waits until the companion is
    /// linked and returns its device. Errors when nobody shows the code or the
    /// companion refuses.
    pub async fn scan(&self, number: &str, qr_text: &str) -> Result<u16> {
        let number = Number::parse(number)?;
        let conn = self.shared.with(|state| pairing::scan(state, &number, qr_text))?;
        let address = self.wait_pairing(conn).await?;
        self.wait_linked(conn, &address).await
    }

    /// The name that the companion behind a QR code came with.
    pub fn name_behind(&self, qr_text: &str) -> Result<Option<String>> {
        self.shared.look(|state| pairing::name_behind(state, qr_text))
    }

    /// The number of the first account of this name.
    pub fn number_of_name(&self, push_name: &str) -> Option<String> {
        self.shared.look(|state| {
            let found = state.accounts.values().find(|account| account.push_name == push_name)?;
            Some(found.number.to_string())
        })
    }

    /// A number without an account.
    pub fn unused_number(&self) -> String {
        self.shared.look(|state| {
            let free = (15_553_000_000_u64..)
                .map(|n| n.to_string())
                .find(|n| Number::parse(n).is_ok_and(|number| !state.accounts.contains_key(&number)));
            free.unwrap_or_default()
        })
    }

    /// Types the 8-letter code into the phone of `number`; waits until the
    /// companion is linked and returns its device. Errors on a wrong code.
    pub async fn enter_pair_code(&self, number: &str, code: &str) -> Result<u16> {
        let number = Number::parse(number)?;
        let code = code.replace('-', "").to_uppercase();
        let wrapped = self.shared.look(|state| pair_code::pending(state, &number))?;
        let half = tokio::task::spawn_blocking(move || pair_code::unwrap_companion(&wrapped, &code))
            .await
            .context("key derivation")??;
        let conn = self.shared.with(|state| pair_code::send_half(state, &number, half))?;
        let address = self.wait_pairing(conn).await?;
        self.wait_linked(conn, &address).await
    }

    /// Waits until the companion is told that it is linked.
    async fn wait_pairing(&self, conn: ConnId) -> Result<Address> {
        let limit = match self.shared.look(|state| state.passkeys.contains_key(&conn)) {
            true => PASSKEY_TIME,
            false => PAIRING_TIME,
        };
        self.wait("the companion to get that far", limit, |state| {
            if let Some(error) = state.pair_errors.get(&conn) {
                return Some(Err(anyhow!("{error}")));
            }
            Some(Ok(state.paired.get(&conn)?.clone()))
        })
        .await?
    }

    async fn wait_linked(&self, conn: ConnId, address: &Address) -> Result<u16> {
        self.wait("the companion to be linked", PAIRING_TIME, |state| {
            if let Some(error) = state.pair_errors.get(&conn) {
                return Some(Err(anyhow!("{error}")));
            }
            let account = state.accounts.get(&address.number)?;
            account.companions.contains_key(&address.device).then_some(Ok(address.device))
        })
        .await?
    }

    /// Changes how the network addresses direct chats with `number` from now on,
    /// as the migration to LIDs does.
    pub fn set_addressing(&self, number: &str, addressing: Addressing) -> Result<()> {
        let number = Number::parse(number)?;
        self.shared.with(|state| {
            state.account_mut(&number)?.addressing = addressing;
            Ok(())
        })
    }

    /// Sets the profile picture (JPEG bytes), or removes it.
    pub fn set_picture(&self, number: &str, image: Option<Vec<u8>>) -> Result<()> {
        let number = Number::parse(number)?;
        self.shared.with(|state| {
            state.account(&number)?;
            iq::set_picture(state, &number, image);
            Ok(())
        })
    }

    /// Saves `contact` (a number or a JID) in the address book of the phone of
    /// `number`, which its companions share.
    pub fn save_contact(&self, number: &str, contact: &str, full_name: &str) -> Result<()> {
        let number = Number::parse(number)?;
        self.shared.with(|state| {
            let contact = state.resolve_text(contact)?;
            state.account_mut(&number)?.contacts.insert(contact.clone());
            appstate::save_contact(state, &number, &contact, full_name)
        })
    }

    /// Removes a companion as the phone does it in Linked Devices.
    pub fn unlink(&self, number: &str, device: u16) -> Result<()> {
        let number = Number::parse(number)?;
        self.shared.with(|state| unlink::unlink(state, &Address::new(&number, device)))
    }
}
