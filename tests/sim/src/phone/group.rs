//! A phone in groups: sender keys.
//!
//! One key per group and sending device. The phone gives its own to each device
//! that does not have it yet, with the next message, and makes a new one when
//! somebody who has it is out.

use std::collections::{HashMap, HashSet};

use anyhow::{Context, Result, anyhow, ensure};
use async_trait::async_trait;
use buffa::MessageField;
use wacore::messages::MessageUtils;
use wacore_binary::{Jid, Node, Server, builder::NodeBuilder};
use wacore_libsignal::protocol::{
    SenderKeyDistributionMessage, SenderKeyMessage, SenderKeyName, SenderKeyRecord, SenderKeyStore,
    SignalProtocolError, create_sender_key_distribution_message, group_decrypt, group_encrypt,
    process_sender_key_distribution_message,
};
use waproto::whatsapp::{Message, message};

use super::{
    Known, Outbound,
    envelope::Envelope,
    send::{keep, seal, stanza},
    signal::{Failure, now},
};
use crate::{
    groups,
    ids::{Address, Number},
    messages, receipts,
    stanza::unix_now,
    state::State,
};

/// A phone's sender keys.
#[derive(Default)]
pub struct SenderKeys {
    records: HashMap<String, SenderKeyRecord>,
    /// Who has the own key of a chat.
    given: HashMap<String, HashSet<Address>>,
}

#[async_trait]
impl SenderKeyStore for SenderKeys {
    async fn store_sender_key(
        &mut self,
        name: &SenderKeyName,
        record: SenderKeyRecord,
    ) -> Result<(), SignalProtocolError> {
        self.records.insert(name.cache_key().to_owned(), record);
        Ok(())
    }

    async fn load_sender_key(&self, name: &SenderKeyName) -> Result<Option<SenderKeyRecord>, SignalProtocolError> {
        Ok(self.records.get(name.cache_key()).cloned())
    }
}

/// The name of a device's key in a chat.
fn key_name(chat: &Jid, device: &Address) -> SenderKeyName {
    SenderKeyName::new(chat.to_string(), format!("{}:{}", device.number, device.device))
}

impl SenderKeys {
    /// Takes the key another device gives out.
    pub fn learn(&mut self, chat: &Jid, device: &Address, given: &message::SenderKeyDistributionMessage) -> Result<()> {
        let bytes = given.axolotl_sender_key_distribution_message.as_deref().context("an empty sender key")?;
        let given = SenderKeyDistributionMessage::try_from(bytes)?;
        now(process_sender_key_distribution_message(&key_name(chat, device), &given, self))??;
        Ok(())
    }

    /// Opens a message under a sender key.
    pub fn decrypt(&mut self, chat: &Jid, device: &Address, sealed: &[u8]) -> Result<Vec<u8>, Failure> {
        let opened = now(group_decrypt(sealed, self, &key_name(chat, device))).map_err(Failure::Broken)?;
        opened.map_err(|error| match error {
            SignalProtocolError::DuplicatedMessage(..) => Failure::Duplicate,
            error => Failure::Broken(error.into()),
        })
    }

    /// The own key of a chat, to give out.
    fn distribution(&mut self, chat: &Jid, own: &Address) -> Result<Message> {
        let name = key_name(chat, own);
        let given = now(create_sender_key_distribution_message(&name, self, &mut rand::rng()))??;
        Ok(Message {
            sender_key_distribution_message: MessageField::some(message::SenderKeyDistributionMessage {
                group_id: Some(chat.to_string()),
                axolotl_sender_key_distribution_message: Some(given.serialized().to_vec()),
            }),
            ..Default::default()
        })
    }

    fn encrypt(&mut self, chat: &Jid, own: &Address, plain: &[u8]) -> Result<SenderKeyMessage> {
        Ok(now(group_encrypt(self, &key_name(chat, own), plain, &mut rand::rng()))??)
    }

    /// Whom to give the key before a message to `devices`. When somebody has it
    /// who is not among them, there is a new one, and all need it.
    fn missing(&mut self, chat: &Jid, own: &Address, devices: &[Address]) -> Vec<Address> {
        let name = key_name(chat, own);
        let given = self.given.entry(chat.to_string()).or_default();
        if given.iter().any(|device| !devices.contains(device)) {
            given.clear();
            self.records.remove(name.cache_key());
        }
        let missing: Vec<Address> = devices.iter().filter(|device| !given.contains(device)).cloned().collect();
        given.extend(missing.iter().cloned());
        missing
    }

    /// A device needs the key again.
    pub fn forget(&mut self, chat: &Jid, device: &Address) {
        if let Some(given) = self.given.get_mut(&chat.to_string()) {
            given.remove(device);
        }
    }
}

/// A message under sender keys: what to add to its stanza.
pub struct Sealed {
    /// `<to jid><enc/></to>` of those who need the key.
    pub given: Vec<Node>,
    /// The `skmsg`.
    pub common: Node,
}

/// Encrypts for all `devices`, which are addressed in `family`.
pub fn seal_common(
    state: &mut State,
    from: &Number,
    chat: &Jid,
    family: Server,
    devices: &[Address],
    message: &Message,
) -> Result<Sealed> {
    let own = Address::new(from, 0);
    let keys = &mut state.account_mut(from)?.phone.sender_keys;
    let missing = keys.missing(chat, &own, devices);
    let key = keys.distribution(chat, &own)?;
    let plain = MessageUtils::encode_and_pad(&key);
    let mut given = Vec::new();
    for device in missing {
        let jid = state.account(&device.number)?.jid(family, device.device);
        let enc = seal(state, from, &device, &plain, None)?;
        given.push(NodeBuilder::new("to").attr("jid", jid).children([enc]).build());
    }
    let keys = &mut state.account_mut(from)?.phone.sender_keys;
    let sealed = keys.encrypt(chat, &own, &MessageUtils::encode_and_pad(message))?;
    let mut common = NodeBuilder::new("enc").attr("v", "2").attr("type", "skmsg");
    let envelope = Envelope::of(message);
    if let Some(media) = envelope.media {
        common = common.attr("mediatype", media);
    }
    if envelope.hidden {
        common = common.attr("decrypt-fail", "hide");
    }
    Ok(Sealed { given, common: common.bytes(sealed.serialized().to_vec()).build() })
}

/// Sends a message from the phone of `from` to a group. Errors when it is not in
/// it or may not write there.
pub fn send(state: &mut State, from: &Number, group: &Jid, message: Message, id: Option<String>) -> Result<String> {
    let id = id.unwrap_or_else(Outbound::new_id);
    let own = Address::new(from, 0);
    state.account(from)?;
    if let Some(code) = groups::refuse(state, &own, group) {
        return Err(anyhow!("{from} may not write to {group}: {code}"));
    }
    let found = state.groups.get(&group.user).context("no such group")?;
    let (family, mode) = (found.family, found.addressing_mode());
    let devices: Vec<Address> = groups::devices(state, found).into_iter().filter(|device| *device != own).collect();
    let sealed = seal_common(state, from, group, family, &devices, &message)?;
    let mut content = Vec::new();
    if !sealed.given.is_empty() {
        content.push(NodeBuilder::new("participants").children(sealed.given).build());
    }
    content.push(sealed.common);
    let envelope = Envelope::of(&message);
    content.extend(envelope.meta());
    let node = stanza(&id, &envelope).attr("to", group).attr("addressing_mode", mode).children(content).build();
    remember(state, from, group, family, &id, message)?;
    messages::route(state, &own, &node);
    Ok(id)
}

/// Keeps what the phone sent, for those who ask for it again.
pub fn remember(
    state: &mut State,
    from: &Number,
    chat: &Jid,
    family: Server,
    id: &str,
    message: Message,
) -> Result<()> {
    let known = Known { id: id.to_owned(), chat: chat.clone(), from: from.clone(), family, ts: unix_now(), message };
    keep(state, from, known)
}

/// Sends a message of a group again, to the one device that asked, with the key.
pub fn resend(state: &mut State, number: &Number, asker: &Address, id: &str, room: &Jid) -> Result<()> {
    let phone = &mut state.account_mut(number)?.phone;
    phone.sender_keys.forget(room, asker);
    let known = phone.known.get(id).context("it never sent that")?;
    let (family, message) = (known.family, known.message.clone());
    let mode = if family == Server::Lid { "lid" } else { "pn" };
    let participant = state.account(&asker.number)?.jid(family, asker.device);
    let envelope = Envelope::of(&message);
    let enc = seal(state, number, asker, &MessageUtils::encode_and_pad(&message), Some(&envelope))?;
    let mut node = stanza(id, &envelope).attr("to", room).attr("participant", participant);
    if room.server == Server::Group {
        node = node.attr("addressing_mode", mode);
    }
    messages::route(
        state,
        &Address::new(number, 0),
        &node.children(std::iter::once(enc).chain(envelope.meta())).build(),
    );
    Ok(())
}

/// Marks messages of a group as `read` or `played`: a receipt per author.
pub fn mark(state: &mut State, number: &Number, chat: &Jid, ids: &[String], kind: &'static str) -> Result<()> {
    ensure!(!ids.is_empty(), "no message ids given");
    for id in ids {
        let known = state.account(number)?.phone.known.get(id).with_context(|| format!("no message {id}"))?;
        let (author, family) = (known.from.clone(), known.family);
        let author = state.account(&author)?.jid(family, 0);
        let receipt = NodeBuilder::new("receipt")
            .attr("to", chat)
            .attr("participant", author)
            .attr("id", id.as_str())
            .attr("type", kind)
            .build();
        receipts::route(state, &Address::new(number, 0), &receipt);
    }
    Ok(())
}
