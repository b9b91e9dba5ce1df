//! An account: its identity, its phone, its linked devices.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

use anyhow::{Context, Result};
use buffa::Message as _;
use rand::RngExt as _;
use wacore_binary::{Jid, Server};
use wacore_libsignal::protocol::IdentityKeyPair;
use waproto::whatsapp::{
    ADVDeviceIdentity, ADVEncryptionType, ADVKeyIndexList, ADVSignedDeviceIdentity, ADVSignedDeviceIdentityHMAC,
    ADVSignedKeyIndexList,
};

use crate::{
    appstate::AppState,
    business::Business,
    faults::{Faults, Rules},
    ids::{ConnId, Number},
    phone::Phone,
    presence::Presence,
    privacy::Privacy,
    queue::Queue,
    registration::Refusal,
    stanza::unix_now,
};

/// How the network addresses direct chats with an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Addressing {
    /// Migrated: by LID. New accounts are.
    #[default]
    Lid,
    /// Not migrated: by phone number.
    Pn,
    /// Not migrated, and neither its messages nor queries tell the LID.
    PnAlone,
    /// Migrated, and neither its messages nor queries tell the number.
    LidAlone,
}

/// What a new account is like; see [`crate::Simulator::create_account_with`].
#[derive(Clone, Debug, Default)]
pub struct AccountOptions {
    /// The name contacts see.
    pub push_name: String,
    /// LID-migrated or not.
    pub addressing: Addressing,
    /// A fixed LID user (digits); made up when absent.
    pub lid: Option<String>,
}

/// What an account was created as.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct AccountInfo {
    /// Its phone number, digits.
    pub number: String,
    /// Its LID's user part, digits.
    pub lid: String,
}

/// A signed prekey as the server keeps it.
#[derive(Clone, Debug)]
pub struct SignedPrekey {
    pub id: u32,
    pub value: [u8; 32],
    pub signature: Vec<u8>,
}

/// What a companion says of itself before it is paired.
#[derive(Clone, Debug)]
pub struct Registration {
    pub registration_id: u32,
    pub identity: [u8; 32],
    pub signed_prekey: SignedPrekey,
    /// What it says of itself and of the history it wants, encoded.
    pub device_props: Vec<u8>,
    /// The name it came with, which no client needs to have.
    pub push_name: Option<String>,
}

/// Where a companion is in its life with a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// Not connected.
    Offline,
    /// Logged in, has not asked to be active: nothing is delivered.
    Passive(ConnId),
    /// Receives its backlog: `credit` stanzas may still be sent, `sent` were.
    Draining { conn: ConnId, credit: usize, sent: usize },
    /// Receives everything as it comes.
    Live(ConnId),
}

impl Link {
    /// The connection, if any.
    pub fn conn(&self) -> Option<ConnId> {
        match self {
            Self::Offline => None,
            Self::Passive(conn) | Self::Draining { conn, .. } | Self::Live(conn) => Some(*conn),
        }
    }
}

/// A linked device.
pub struct Companion {
    pub key_index: u32,
    pub noise_key: [u8; 32],
    pub registration: Registration,
    pub prekeys: VecDeque<(u32, [u8; 32])>,
    /// The device identity with the companion's own signature, served with
    /// every bundle.
    pub identity_proof: Vec<u8>,
    pub link: Link,
    pub queue: Queue,
}

/// An account's profile picture.
pub struct Picture {
    pub id: String,
    pub path: String,
}

/// One account.
pub struct Account {
    pub number: Number,
    pub lid: String,
    pub push_name: String,
    pub addressing: Addressing,
    pub raw_id: u32,
    pub next_device: u16,
    pub next_key_index: u32,
    pub companions: BTreeMap<u16, Companion>,
    pub phone: Phone,
    pub app_state: AppState,
    pub faults: Faults,
    pub rules: Rules,
    /// How far the server's clock is off for this account, in seconds.
    pub clock_skew: i64,
    pub about: String,
    /// Who may see its status posts: `contacts`, `whitelist` or `blacklist`, and who is on the list.
    pub status_audience: (&'static str, Vec<Number>),
    pub picture: Option<Picture>,
    pub blocked: BTreeSet<Number>,
    /// The address book of the phone.
    pub contacts: BTreeSet<Number>,
    pub privacy: Privacy,
    pub business: Option<Business>,
    /// The token given to each contact.
    pub tokens: BTreeMap<Number, Vec<u8>>,
    /// Takes direct messages of strangers only with a token.
    pub restricted: bool,
    /// Linking a companion needs a passkey.
    pub passkey: bool,
    /// Why logins are refused, if they are.
    pub refusal: Option<Refusal>,
    /// Accounts that asked for this one's device list and must hear changes.
    pub watchers: HashSet<Number>,
    pub presence: Presence,
    /// How many requests (IQs) its companions have made, by kind.
    pub requests: BTreeMap<String, u64>,
}

impl Account {
    /// A new account with a fresh identity and no companions.
    pub fn new(number: Number, lid: String, options: &AccountOptions) -> Result<Self> {
        let phone = Phone::new()?;
        let app_state = AppState::new(&options.push_name)?;
        Ok(Self {
            number,
            lid,
            push_name: options.push_name.clone(),
            addressing: options.addressing,
            raw_id: rand::rng().random_range(1..i32::MAX as u32),
            next_device: 1,
            next_key_index: 1,
            companions: BTreeMap::new(),
            phone,
            app_state,
            faults: Faults::default(),
            rules: Rules::default(),
            clock_skew: 0,
            about: "Hey there! I am using WhatsApp.".into(),
            status_audience: ("contacts", Vec::new()),
            picture: None,
            blocked: BTreeSet::new(),
            contacts: BTreeSet::new(),
            privacy: Privacy::default(),
            business: None,
            tokens: BTreeMap::new(),
            restricted: false,
            passkey: false,
            refusal: None,
            watchers: HashSet::new(),
            presence: Presence::default(),
            requests: BTreeMap::new(),
        })
    }

    /// The account's JID in one address family, with a device.
    pub fn jid(&self, server: Server, device: u16) -> Jid {
        if server.is_lid_family() {
            Jid::lid_device(self.lid.as_str(), device)
        } else {
            Jid::pn_device(self.number.as_str(), device)
        }
    }

    /// The family this account is addressed in.
    pub fn family(&self) -> Server {
        match self.addressing {
            Addressing::Lid | Addressing::LidAlone => Server::Lid,
            Addressing::Pn | Addressing::PnAlone => Server::Pn,
        }
    }

    /// All devices, the phone first.
    pub fn devices(&self) -> Vec<u16> {
        std::iter::once(0).chain(self.companions.keys().copied()).collect()
    }

    /// Signs a new companion in: the container to send and its key index.
    /// `adv_secret` is the secret shared through the QR code or the pair code.
    pub fn sign_companion(&mut self, companion_identity: &[u8; 32], adv_secret: &[u8]) -> Result<(Vec<u8>, u32)> {
        let key_index = self.next_key_index;
        self.next_key_index += 1;
        let details = ADVDeviceIdentity {
            raw_id: Some(self.raw_id),
            timestamp: Some(unix_now()),
            key_index: Some(key_index),
            account_type: Some(ADVEncryptionType::E2EE),
            device_type: Some(ADVEncryptionType::E2EE),
        }
        .encode_to_vec();
        let identity = self.phone.identity();
        let signature = sign(identity, &[&[6, 0], &details, companion_identity])?;
        let signed = ADVSignedDeviceIdentity {
            details: Some(details),
            account_signature_key: Some(identity.public_key().public_key_bytes().to_vec()),
            account_signature: Some(signature),
            device_signature: None,
        }
        .encode_to_vec();
        let hmac = wacore_libsignal::crypto::hmac_sha256(adv_secret, &signed);
        let outer = ADVSignedDeviceIdentityHMAC {
            details: Some(signed),
            hmac: Some(hmac.to_vec()),
            account_type: Some(ADVEncryptionType::E2EE),
        }
        .encode_to_vec();
        Ok((outer, key_index))
    }

    /// The signed list of live companions that goes with every device list.
    pub fn signed_key_index_list(&self) -> Result<Vec<u8>> {
        let details = ADVKeyIndexList {
            raw_id: Some(self.raw_id),
            timestamp: Some(unix_now()),
            current_index: Some(self.next_key_index - 1),
            valid_indexes: self.companions.values().map(|c| c.key_index).collect(),
            account_type: Some(ADVEncryptionType::E2EE),
        }
        .encode_to_vec();
        let identity = self.phone.identity();
        let signature = sign(identity, &[&[6, 2], &details])?;
        Ok(ADVSignedKeyIndexList {
            details: Some(details),
            account_signature: Some(signature),
            account_signature_key: Some(identity.public_key().public_key_bytes().to_vec()),
        }
        .encode_to_vec())
    }
}

fn sign(identity: &IdentityKeyPair, parts: &[&[u8]]) -> Result<Vec<u8>> {
    let signature = identity
        .private_key()
        .calculate_signature_for_multipart_message(parts, &mut rand::rng())
        .context("signing with the account identity")?;
    Ok(signature.to_vec())
}
