//! The same random calls against our storage and the library's own reference implementation must answer alike.
//!
//! The seed is printed with every difference; `MATRIX_WHATSAPP_TEST_SEED` runs one again.

use super::tests::on_both;
use super::wa_tests::{line, mapping, secret};
use super::*;
use std::collections::BTreeMap;
use whatsapp_rust::bytes::Bytes;
use whatsapp_rust::wacore::appstate::hash::HashState;
use whatsapp_rust::wacore::appstate::processor::AppStateMutationMAC;
use whatsapp_rust::wacore::store::InMemoryBackend;
use whatsapp_rust::wacore::store::traits::*;

on_both! { answers_as_the_reference_does => same_answers; }

/// Calls per run.
const STEPS: u32 = 600;

/// A small generator with a printable state (xorshift64*).
#[derive(Clone)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % sides
    }

    fn flag(&mut self) -> bool {
        self.roll(2) == 1
    }

    fn byte(&mut self) -> u8 {
        self.roll(256) as u8
    }

    fn bytes(&mut self) -> Vec<u8> {
        let len = self.roll(5);
        (0..len).map(|_| self.byte()).collect()
    }

    fn address(&mut self) -> String {
        let (user, device) = (self.roll(4), self.roll(3));
        if device == 0 { format!("{user}@lid") } else { format!("{user}:{device}@lid") }
    }

    fn name(&mut self) -> String {
        format!("n{}", self.roll(4))
    }

    fn list<T>(&mut self, most: u64, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let len = self.roll(most + 1);
        (0..len).map(|_| one(self)).collect()
    }
}

async fn same_answers(store: Store) {
    let seed: Option<u64> = std::env::var("MATRIX_WHATSAPP_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(rand::random).max(1);
    let ours = line(&store, "d").await;
    // A neighbour whose rows must never show.
    let neighbour = line(&store, "e").await;
    let reference = InMemoryBackend::new();
    let mut dice = Dice(seed);
    for step in 0..STEPS {
        let mut again = dice.clone();
        let mut elsewhere = Dice(dice.0 ^ 0xABCD);
        let want = call(&reference, &mut dice, i64::from(step)).await;
        let got = call(&*ours, &mut again, i64::from(step)).await;
        assert_eq!(got, want, "MATRIX_WHATSAPP_TEST_SEED={seed}, step {step}");
        call(&*neighbour, &mut elsewhere, i64::from(step)).await;
    }
}

/// One random call; its name and answer as text. What it rolls does not depend on the answer.
async fn call(on: &dyn Backend, dice: &mut Dice, step: i64) -> String {
    let which = dice.roll(10);
    match which {
        0 | 1 => call_ratchets(on, dice).await,
        2 => call_keys(on, dice).await,
        3 => call_sender_keys(on, dice).await,
        4 => call_app_state(on, dice).await,
        5 => call_people(on, dice, step).await,
        6 => call_tokens(on, dice).await,
        7 => call_secrets(on, dice).await,
        _ => call_passage(on, dice).await,
    }
}

async fn call_ratchets(on: &dyn Backend, dice: &mut Dice) -> String {
    let (which, address) = (dice.roll(10), dice.address());
    let records = dice.list(9, |dice| (Arc::from(dice.address()), Bytes::from(dice.bytes())));
    let keys = dice.list(9, |dice| (Arc::from(dice.address()), [dice.byte(); 32]));
    match which {
        0 => format!("put_sessions_batch {:?}", on.put_sessions_batch(&records).await.unwrap()),
        1 => format!("put_session {:?}", on.put_session(&address, &[9]).await.unwrap()),
        2 => format!("delete_session {:?}", on.delete_session(&address).await.unwrap()),
        3 => format!("has_session {:?}", on.has_session(&address).await.unwrap()),
        4 => format!("put_identities {:?}", on.put_identities_batch(&keys).await.unwrap()),
        5 => format!("delete_identity {:?}", on.delete_identity(&address).await.unwrap()),
        6 => format!("load_identity {:?}", on.load_identity(&address).await.unwrap()),
        7 => format!(
            "knows {:?}",
            on.has_signal_state_for_user(address.split(['@', ':']).next().unwrap()).await.unwrap()
        ),
        _ => format!("get_session {:?}", on.get_session(&address).await.unwrap()),
    }
}

async fn call_keys(on: &dyn Backend, dice: &mut Dice) -> String {
    let (which, id, uploaded) = (dice.roll(10), dice.roll(12) as u32, dice.flag());
    let mut ids = dice.list(9, |dice| dice.roll(12) as u32);
    let keys = dice.list(9, |dice| (dice.roll(12) as u32, Bytes::from(dice.bytes())));
    ids.sort_unstable();
    ids.dedup();
    match which {
        0 => format!("store_prekeys {:?}", on.store_prekeys_batch(&keys, uploaded).await.unwrap()),
        1 => format!("store_prekey {:?}", on.store_prekey(id, &[id as u8], uploaded).await.unwrap()),
        2 => format!("mark {:?}", on.mark_prekeys_uploaded(&ids).await.unwrap()),
        3 => format!("remove {:?}", on.remove_prekey(id).await.unwrap()),
        4 => format!("max {:?}", on.get_max_prekey_id().await.unwrap()),
        5 => format!("load_batch {:?}", on.load_prekeys_batch(&ids).await.unwrap()),
        6 => format!("store_signed {:?}", on.store_signed_prekey(id, &[id as u8]).await.unwrap()),
        7 => format!("remove_signed {:?}", on.remove_signed_prekey(id).await.unwrap()),
        8 => {
            let mut all = on.load_all_signed_prekeys().await.unwrap();
            all.sort();
            format!("all_signed {all:?} {:?}", on.load_signed_prekey(id).await.unwrap())
        }
        _ => format!("load {:?}", on.load_prekey(id).await.unwrap()),
    }
}

async fn call_sender_keys(on: &dyn Backend, dice: &mut Dice) -> String {
    let (which, group, device) = (dice.roll(9), dice.name(), dice.address());
    let records = dice.list(5, |dice| (Arc::from(dice.name()), Bytes::from(dice.bytes())));
    let status = dice.list(9, |dice| (dice.address(), dice.flag()));
    let status: Vec<(&str, bool)> = status.iter().map(|(device, has)| (device.as_str(), *has)).collect();
    match which {
        0 => format!("put_batch {:?}", on.put_sender_keys_batch(&records).await.unwrap()),
        1 => format!("put {:?}", on.put_sender_key(&group, &[1]).await.unwrap()),
        2 => format!("delete {:?}", on.delete_sender_key(&group).await.unwrap()),
        3 => format!("get {:?}", on.get_sender_key(&group).await.unwrap()),
        4 | 5 => format!("set_status {:?}", on.set_sender_key_status(&group, &status).await.unwrap()),
        6 => format!("delete_rows {:?}", on.delete_sender_key_device_rows(&[&device]).await.unwrap()),
        7 => format!("clear {:?}", on.clear_sender_key_devices(&group).await.unwrap()),
        _ => {
            let mut holders = on.get_sender_key_devices(&group).await.unwrap();
            holders.sort();
            format!("holders {holders:?}")
        }
    }
}

async fn call_app_state(on: &dyn Backend, dice: &mut Dice) -> String {
    let (which, name, key) = (dice.roll(10), dice.name(), dice.roll(4) as u8);
    let macs =
        dice.list(70, |dice| AppStateMutationMAC { index_mac: vec![dice.roll(99) as u8; 32], value_mac: dice.bytes() });
    let indexes: Vec<[u8; 32]> = macs.iter().map(|mac| [mac.index_mac[0]; 32]).collect();
    let some: Vec<Vec<u8>> = macs.iter().take(9).map(|mac| mac.index_mac.clone()).collect();
    match which {
        0 | 1 => format!("put_macs {:?}", on.put_mutation_macs(&name, 1, &macs).await.unwrap()),
        2 => format!("delete_macs {:?}", on.delete_mutation_macs(&name, &some).await.unwrap()),
        3 => format!("clear_macs {:?}", on.clear_mutation_macs(&name).await.unwrap()),
        4 => format!("mac {:?}", on.get_mutation_mac(&name, &[key; 32]).await.unwrap()),
        5 => {
            let found: BTreeMap<_, _> = on.get_mutation_macs(&name, &indexes).await.unwrap().into_iter().collect();
            format!("macs {found:?}")
        }
        6 => {
            let value = AppStateSyncKey { key_data: dice.bytes(), fingerprint: vec![key], timestamp: 5 };
            format!("set_key {:?}", on.set_sync_key(&[key], value).await.unwrap())
        }
        7 => {
            format!("key {:?} {:?}", on.get_sync_key(&[key]).await.unwrap(), on.get_latest_sync_key_id().await.unwrap())
        }
        8 => {
            let state = HashState { version: dice.roll(99), hash: [dice.byte(); 128], ..HashState::default() };
            format!("set_version {:?}", on.set_version(&name, state).await.unwrap())
        }
        _ => format!("version {:?}", on.get_version(&name).await.unwrap()),
    }
}

async fn call_people(on: &dyn Backend, dice: &mut Dice, step: i64) -> String {
    let (which, number) = (dice.roll(11), dice.roll(6));
    // Two LIDs share a number and keep it: the reference forgets a number whose older LID moves away, ours does not.
    let pairs = dice.list(9, |dice| {
        let lid = dice.roll(6);
        mapping(&lid.to_string(), &format!("p{}", lid / 2), step)
    });
    let records = dice.list(9, |dice| DeviceListRecord {
        user: dice.roll(6).to_string(),
        devices: dice.list(3, |dice| DeviceInfo::new(dice.roll(9) as u32, None)),
        timestamp: step,
        phash: None,
        raw_id: dice.flag().then_some(3),
    });
    let (name, blob) = (dice.name(), dice.bytes());
    let person = number.to_string();
    match which {
        0 | 1 => format!("put_lids {:?}", on.put_lid_mappings(&pairs).await.unwrap()),
        2 => format!("lid {:?}", on.get_lid_mapping(&person).await.unwrap()),
        3 => format!("pn {:?}", on.get_pn_mapping(&format!("p{number}")).await.unwrap()),
        4 => {
            let mut all = on.get_all_lid_mappings().await.unwrap();
            all.sort_by(|a, b| a.lid.cmp(&b.lid));
            format!("all_lids {all:?}")
        }
        5 => format!("put_devices {:?}", on.update_device_lists(records).await.unwrap()),
        6 => format!("delete_devices {:?}", on.delete_devices(&person).await.unwrap()),
        7 => format!("devices {:?}", on.get_devices(&person).await.unwrap()),
        8 => format!("put_group {:?}", on.put_group_metadata(&name, &blob).await.unwrap()),
        9 => format!("delete_group {:?}", on.delete_group_metadata(&name).await.unwrap()),
        _ => format!("group {:?}", on.get_group_metadata(&name).await.unwrap()),
    }
}

async fn call_tokens(on: &dyn Backend, dice: &mut Dice) -> String {
    let (which, jid, token, at) = (dice.roll(8), dice.name(), dice.bytes(), dice.roll(9) as i64);
    let sender = dice.flag().then_some(dice.roll(9) as i64);
    match which {
        0 => {
            let entry = TcTokenEntry { token, token_timestamp: at, sender_timestamp: sender };
            format!("put_token {:?}", on.put_tc_token(&jid, &entry).await.unwrap())
        }
        1 => format!("delete_token {:?}", on.delete_tc_token(&jid).await.unwrap()),
        2 | 3 => format!("touch {:?}", on.touch_tc_token_sender_timestamp(&jid, at).await.unwrap()),
        4 => format!("receive {:?}", on.store_received_tc_token(&jid, &token, at).await.unwrap()),
        5 => format!("expire {:?}", on.delete_expired_tc_tokens(at, at / 2).await.unwrap()),
        6 => {
            let mut jids = on.get_all_tc_token_jids().await.unwrap();
            jids.sort();
            format!("jids {jids:?}")
        }
        _ => format!("token {:?}", on.get_tc_token(&jid).await.unwrap()),
    }
}

async fn call_secrets(on: &dyn Backend, dice: &mut Dice) -> String {
    let (which, id, now) = (dice.roll(5), dice.name(), dice.roll(99) as i64);
    let entries = dice.list(9, |dice| {
        let expires_at = if dice.roll(4) == 0 { 0 } else { dice.roll(99) as i64 };
        secret(&dice.name(), dice.byte(), expires_at, dice.roll(9) as i64)
    });
    match which {
        0 | 1 => format!("put_secrets {:?}", on.put_msg_secrets(entries).await.unwrap()),
        2 => format!("expire {:?}", on.delete_expired_msg_secrets(now).await.unwrap()),
        3 => format!("secret {:?}", on.get_msg_secret("c@lid", "s@lid", &id).await.unwrap()),
        _ => format!("secret {:?}", on.get_msg_secret_with_ts("c@lid", "s@lid", &id).await.unwrap()),
    }
}

async fn call_passage(on: &dyn Backend, dice: &mut Dice) -> String {
    let (which, chat, id, body) = (dice.roll(12), dice.name(), dice.name(), dice.bytes());
    let rows = dice.list(9, |dice| (dice.name(), dice.name(), dice.bytes()));
    let batch: Vec<_> =
        rows.iter().map(|(chat, id, message)| PendingInboundRow { chat, sender: "s", id, message }).collect();
    let keys: Vec<_> = rows.iter().map(|(chat, id, _)| PendingInboundKey { chat, sender: "s", id }).collect();
    match which {
        0 => format!("store_batch {:?}", on.store_pending_inbound_batch(&batch).await.unwrap()),
        1 => format!("store {:?}", on.store_pending_inbound(&chat, "s", &id, &body).await.unwrap()),
        2 => format!("delete_batch {:?}", on.delete_pending_inbound_batch(&keys).await.unwrap()),
        3 => format!("delete {:?}", on.delete_pending_inbound(&chat, "s", &id).await.unwrap()),
        4 | 5 => format!("pending {:?}", on.get_pending_inbound(&chat, "s", &id).await.unwrap()),
        6 => format!("expire {:?}", on.delete_expired_pending_inbound(i64::MAX / 1000).await.unwrap()),
        7 => format!("store_sent {:?}", on.store_sent_message(&chat, &id, &body).await.unwrap()),
        8 => {
            // Ours stays after the taking, which is the one difference wanted.
            let taken = on.take_sent_message(&chat, &id).await.unwrap();
            if let Some(taken) = &taken {
                on.store_sent_message(&chat, &id, taken).await.unwrap();
            }
            format!("take_sent {taken:?}")
        }
        9 => format!(
            "expire_sent {:?}",
            on.delete_expired_sent_messages(if body.is_empty() { i64::MAX / 1000 } else { 0 }).await.unwrap()
        ),
        10 => format!("save_base {:?}", on.save_base_key(&chat, &id, &body).await.unwrap()),
        _ => {
            if dice.flag() {
                on.delete_base_key(&chat, &id).await.unwrap();
            }
            format!("base {:?}", on.has_same_base_key(&chat, &id, &body).await.unwrap())
        }
    }
}
