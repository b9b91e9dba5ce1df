//! What each method of the library's storage traits promises, on both databases.

use super::tests::on_both;
use super::wa_applied::read_anew;
use super::wa_backend::LineBackend;
use super::*;
use crate::ids::DeviceKey;
use crate::store::seal::Sealer;
use std::collections::HashMap;
use whatsapp_rust::bytes::Bytes;
use whatsapp_rust::wacore::appstate::hash::HashState;
use whatsapp_rust::wacore::appstate::processor::AppStateMutationMAC;
use whatsapp_rust::wacore::store::traits::*;

on_both! {
    every_text_is_understood => every_text;
    identities_and_ratchets => identities_and_ratchets_body;
    prekeys_are_never_revived => prekeys;
    many_rows_at_once => many_rows;
    sender_keys_and_their_holders => sender_keys;
    app_state => app_state_body;
    app_state_is_written_once_its_news_are_stored => applied;
    the_newest_lid_of_a_number_wins => lids;
    base_keys_devices_and_groups => base_keys;
    tokens_keep_both_halves => tokens;
    secrets_merge => secrets;
    two_devices_never_meet => two_devices;
    eight_writers => eight_writers_body;
    a_message_costs_few_statements => cost;
}

/// A line's storage under a fixed key; `name` is the device.
pub(super) async fn line(store: &Store, name: &str) -> Arc<LineBackend> {
    let line = LineBackend::new(store.clone(), Sealer::new("pickle"), DeviceKey::new(name));
    line.create().await.unwrap();
    line
}

pub(super) fn mapping(lid: &str, pn: &str, at: i64) -> LidPnMappingEntry {
    LidPnMappingEntry {
        lid: lid.into(),
        phone_number: pn.into(),
        created_at: at,
        updated_at: at,
        learning_source: "usync".into(),
    }
}

pub(super) fn secret(id: &str, byte: u8, expires_at: i64, message_ts: i64) -> MsgSecretEntry {
    MsgSecretEntry {
        chat: Arc::from("c@lid"),
        sender: Arc::from("s@lid"),
        msg_id: Arc::from(id),
        secret: [byte; 32],
        expires_at,
        message_ts,
    }
}

async fn every_text(store: Store) {
    use sqlx::Executor as _;
    let single = [
        super::wa_signal::TEXTS,
        super::wa_appstate::TEXTS,
        super::wa_secret::TEXTS,
        super::wa_pending::TEXTS,
        super::wa_people::TEXTS,
        super::wa_protocol::TEXTS,
    ];
    let over_rows = [
        super::wa_signal::ROWS,
        super::wa_appstate::ROWS,
        super::wa_secret::ROWS,
        super::wa_pending::ROWS,
        super::wa_people::ROWS,
        super::wa_protocol::ROWS,
    ];
    let mut texts: Vec<&str> = single.concat();
    texts.extend(super::wa_device::texts());
    texts.extend(over_rows.concat().into_iter().flat_map(|rows| rows.texts().iter().map(|text| &**text)));
    assert!(texts.len() > 150, "only {} texts are registered", texts.len());
    let mut connection = store.line_pool().acquire().await.unwrap();
    for text in texts {
        assert!(text.starts_with("-- wa"), "has no name: {text}");
        let prepared = connection.prepare(sqlx::AssertSqlSafe(text.to_owned()).into_sql_str()).await;
        assert!(prepared.is_ok(), "{:?} for {text}", prepared.err());
    }
}

async fn identities_and_ratchets_body(store: Store) {
    let line = line(&store, "d").await;
    assert_eq!(line.load_identity("1:2@lid").await.unwrap(), None);
    line.put_identity("1:2@lid", [1; 32]).await.unwrap();
    line.put_identities_batch(&[
        (Arc::from("1:2@lid"), [2; 32]),
        (Arc::from("3@lid"), [3; 32]),
        (Arc::from("1:2@lid"), [4; 32]),
    ])
    .await
    .unwrap();
    assert_eq!(line.load_identity("1:2@lid").await.unwrap(), Some([4; 32]), "the last one given wins");
    assert_eq!(line.load_identity("3@lid").await.unwrap(), Some([3; 32]));
    assert!(line.has_signal_state_for_user("1").await.unwrap());
    assert!(!line.has_signal_state_for_user("").await.unwrap());
    line.delete_identity("1:2@lid").await.unwrap();
    line.delete_identity("1:2@lid").await.unwrap();
    assert!(!line.has_signal_state_for_user("1").await.unwrap());

    line.put_session("12@lid", b"a").await.unwrap();
    assert!(!line.has_signal_state_for_user("1").await.unwrap(), "a longer number is another person");
    assert!(line.has_signal_state_for_user("12").await.unwrap());
    line.put_sessions_batch(&[
        (Arc::from("12@lid"), Bytes::from_static(b"b")),
        (Arc::from("12:7@lid"), Bytes::from_static(b"")),
    ])
    .await
    .unwrap();
    assert_eq!(line.get_session("12@lid").await.unwrap().unwrap(), "b");
    assert_eq!(line.get_session("12:7@lid").await.unwrap().unwrap(), "", "an empty record is a record");
    assert!(line.has_session("12:7@lid").await.unwrap());
    line.delete_session("12:7@lid").await.unwrap();
    assert!(!line.has_session("12:7@lid").await.unwrap());
    assert!(line.get_session("12:7@lid").await.unwrap().is_none());
    line.put_sessions_batch(&[]).await.unwrap();
}

async fn prekeys(store: Store) {
    let line = line(&store, "d").await;
    assert_eq!(line.get_max_prekey_id().await.unwrap(), 0);
    line.store_prekey(5, b"five", false).await.unwrap();
    line.store_prekeys_batch(&[(7, Bytes::from_static(b"seven")), (6, Bytes::from_static(b"six"))], false)
        .await
        .unwrap();
    assert_eq!(line.get_max_prekey_id().await.unwrap(), 7);
    assert_eq!(line.load_prekey(6).await.unwrap().unwrap(), "six");
    let found = line.load_prekeys_batch(&[7, 9, 5]).await.unwrap();
    assert_eq!(found, [(7, Bytes::from_static(b"seven")), (5, Bytes::from_static(b"five"))]);
    line.remove_prekey(6).await.unwrap();
    line.mark_prekeys_uploaded(&[5, 6, 7]).await.unwrap();
    assert!(line.load_prekey(6).await.unwrap().is_none(), "marking must not bring a used key back");
    let uploaded = sqlx::query("SELECT id FROM wa_prekey WHERE uploaded = 1").fetch_all(store.pool()).await.unwrap();
    assert_eq!(uploaded.len(), 2);

    line.store_signed_prekey(2, b"b").await.unwrap();
    line.store_signed_prekey(1, b"x").await.unwrap();
    line.store_signed_prekey(1, b"a").await.unwrap();
    assert_eq!(line.load_all_signed_prekeys().await.unwrap(), [(1, b"a".to_vec()), (2, b"b".to_vec())]);
    line.remove_signed_prekey(1).await.unwrap();
    assert_eq!(line.load_signed_prekey(1).await.unwrap(), None);
    assert_eq!(line.load_signed_prekey(2).await.unwrap(), Some(b"b".to_vec()));
}

async fn many_rows(store: Store) {
    let line = line(&store, "d").await;
    let keys: Vec<_> = (1..=812_u32).map(|id| (id, Bytes::from(id.to_be_bytes().to_vec()))).collect();
    line.store_prekeys_batch(&keys, false).await.unwrap();
    let ids: Vec<u32> = keys.iter().map(|(id, _)| *id).collect();
    assert_eq!(line.load_prekeys_batch(&ids).await.unwrap(), keys);
    let macs: Vec<_> = (0..333_u32)
        .map(|n| AppStateMutationMAC { index_mac: [[0; 28].as_slice(), &n.to_be_bytes()].concat(), value_mac: vec![1] })
        .collect();
    line.put_mutation_macs("regular", 1, &macs).await.unwrap();
    let wanted: Vec<[u8; 32]> = macs.iter().map(|mac| mac.index_mac.clone().try_into().unwrap()).collect();
    assert_eq!(line.get_mutation_macs("regular", &wanted).await.unwrap().len(), 333);
    line.delete_mutation_macs("regular", &macs[..300].iter().map(|mac| mac.index_mac.clone()).collect::<Vec<_>>())
        .await
        .unwrap();
    assert_eq!(line.get_mutation_macs("regular", &wanted).await.unwrap().len(), 33);
    let secrets = (0..500).map(|n| secret(&format!("m{n}"), 1, 0, 0)).collect();
    assert_eq!(line.put_msg_secrets(secrets).await.unwrap(), 500);
    assert!(line.get_msg_secret("c@lid", "s@lid", "m499").await.unwrap().is_some());
}

async fn sender_keys(store: Store) {
    let line = line(&store, "d").await;
    line.put_sender_key("g:1", b"a").await.unwrap();
    line.put_sender_keys_batch(&[(Arc::from("g:1"), Bytes::from_static(b"b")), (Arc::from("g:2"), Bytes::new())])
        .await
        .unwrap();
    assert_eq!(line.get_sender_key("g:1").await.unwrap(), Some(b"b".to_vec()));
    line.delete_sender_key("g:1").await.unwrap();
    assert_eq!(line.get_sender_key("g:1").await.unwrap(), None);

    line.set_sender_key_status("g", &[("1:1@lid", true), ("2@lid", false), ("1:1@lid", false)]).await.unwrap();
    line.set_sender_key_status("h", &[("1:1@lid", true)]).await.unwrap();
    let mut holders = line.get_sender_key_devices("g").await.unwrap();
    holders.sort();
    assert_eq!(holders, [("1:1@lid".to_owned(), false), ("2@lid".to_owned(), false)]);
    line.delete_sender_key_device_rows(&["1:1@lid"]).await.unwrap();
    line.delete_sender_key_device_rows(&[]).await.unwrap();
    assert!(line.get_sender_key_devices("h").await.unwrap().is_empty(), "gone from every group");
    assert_eq!(line.get_sender_key_devices("g").await.unwrap().len(), 1);
    line.clear_sender_key_devices("g").await.unwrap();
    assert!(line.get_sender_key_devices("g").await.unwrap().is_empty());
    line.set_sender_key_status("h", &[("1:1@lid", true)]).await.unwrap();
    line.clear_all_sender_key_devices().await.unwrap();
    assert!(line.get_sender_key_devices("h").await.unwrap().is_empty());
}

async fn app_state_body(store: Store) {
    let line = line(&store, "d").await;
    let key = |timestamp, byte| AppStateSyncKey { key_data: vec![byte; 32], fingerprint: vec![byte], timestamp };
    assert_eq!(line.get_latest_sync_key_id().await.unwrap(), None);
    line.set_sync_key(&[0, 2], key(20, 2)).await.unwrap();
    line.set_sync_key(&[0, 1], key(10, 1)).await.unwrap();
    assert_eq!(
        line.get_latest_sync_key_id().await.unwrap(),
        Some(vec![0, 2]),
        "an old key shared late is not the latest"
    );
    line.set_sync_key(&[0, 1], key(20, 3)).await.unwrap();
    assert_eq!(line.get_latest_sync_key_id().await.unwrap(), Some(vec![0, 1]), "the later stored wins a tie");
    let stored = line.get_sync_key(&[0, 1]).await.unwrap().unwrap();
    assert_eq!((stored.key_data, stored.fingerprint, stored.timestamp), (vec![3; 32], vec![3], 20));
    assert!(line.get_sync_key(&[9]).await.unwrap().is_none());

    assert_eq!(line.get_version("regular").await.unwrap().version, 0, "unknown collections begin at the default");
    let mut state = HashState { version: 7, hash: [9; 128], ..HashState::default() };
    state.index_value_map.insert("i".into(), vec![1, 2]);
    line.set_version("regular", state.clone()).await.unwrap();
    assert_eq!(format!("{:?}", line.get_version("regular").await.unwrap()), format!("{state:?}"));

    let mac = |index: u8, value: u8| AppStateMutationMAC { index_mac: vec![index; 32], value_mac: vec![value] };
    line.put_mutation_macs("regular", 1, &[mac(1, 1), mac(2, 2), mac(1, 3)]).await.unwrap();
    assert_eq!(line.get_mutation_mac("regular", &[1; 32]).await.unwrap(), Some(vec![3]));
    assert_eq!(line.get_mutation_mac("critical", &[1; 32]).await.unwrap(), None);
    line.clear_mutation_macs("regular").await.unwrap();
    assert!(line.get_mutation_macs("regular", &[[1; 32], [2; 32]]).await.unwrap().is_empty());
}

async fn applied(store: Store) {
    let line = line(&store, "d").await;
    let heard = Arc::new(std::sync::Mutex::new(Vec::new()));
    line.on_applied({
        let heard = heard.clone();
        move |applied| heard.lock().unwrap().push(applied)
    });
    let next = || heard.lock().unwrap().pop();
    // What a client after a kill would find.
    let written = || LineBackend::new(store.clone(), Sealer::new("pickle"), DeviceKey::new("d"));
    let state = |version: u64| HashState { version, hash: [version as u8; 128], ..HashState::default() };
    let mac = |index: u8, value: u8| AppStateMutationMAC { index_mac: vec![index; 32], value_mac: vec![value] };
    // A change is read, and told.
    line.get_mutation_macs("r", &[[1; 32]]).await.unwrap();
    line.set_version("r", state(1)).await.unwrap();
    line.put_mutation_macs("r", 1, &[mac(1, 1)]).await.unwrap();
    assert!(next().is_none(), "nothing was told yet");
    line.set_version("r", state(1)).await.unwrap();
    let first = next().unwrap();
    assert_eq!(written().get_version("r").await.unwrap().version, 0, "what it told is stored nowhere");
    // The next is being read when the first is stored.
    assert_eq!(line.get_mutation_macs("r", &[[1; 32]]).await.unwrap(), HashMap::from([([1; 32], vec![1])]));
    line.set_version("r", state(2)).await.unwrap();
    line.delete_mutation_macs("r", &[vec![1; 32]]).await.unwrap();
    line.put_mutation_macs("r", 2, &[mac(2, 2)]).await.unwrap();
    first.settle().await.unwrap();
    first.settle().await.unwrap();
    let after = written();
    assert_eq!(after.get_version("r").await.unwrap().version, 1);
    assert_eq!(after.get_mutation_mac("r", &[1; 32]).await.unwrap(), Some(vec![1]));
    assert_eq!(after.get_mutation_mac("r", &[2; 32]).await.unwrap(), None);
    assert_eq!(line.get_version("r").await.unwrap().version, 2);
    assert_eq!(line.get_mutation_mac("r", &[1; 32]).await.unwrap(), None);
    line.set_version("r", state(2)).await.unwrap();
    drop(next().unwrap());
    // A snapshot, whose state is noted twice before it is told; it settles what was not settled before it, too.
    line.clear_mutation_macs("r").await.unwrap();
    line.put_mutation_macs("r", 9, &[mac(3, 3)]).await.unwrap();
    line.set_version("r", state(9)).await.unwrap();
    line.set_version("r", state(9)).await.unwrap();
    assert!(next().is_none(), "the snapshot was not told yet");
    assert_eq!(line.get_mutation_mac("r", &[2; 32]).await.unwrap(), None);
    line.set_version("r", state(9)).await.unwrap();
    let snapshot = next().unwrap();
    assert_eq!(written().get_version("r").await.unwrap().version, 1);
    snapshot.settle().await.unwrap();
    let after = written();
    assert_eq!(after.get_version("r").await.unwrap().version, 9);
    let all = after.get_mutation_macs("r", &[[1; 32], [2; 32], [3; 32]]).await.unwrap();
    assert_eq!(all, HashMap::from([([3; 32], vec![3])]));
    // Noted once more with nothing new: nobody is told.
    line.set_version("r", state(9)).await.unwrap();
    assert!(next().is_none());
    // A snapshot with changes behind it, and the first change of all.
    line.clear_mutation_macs("s").await.unwrap();
    line.set_version("s", state(4)).await.unwrap();
    line.get_mutation_macs("s", &[]).await.unwrap();
    line.set_version("s", state(5)).await.unwrap();
    assert!(next().is_none());
    line.set_version("s", state(5)).await.unwrap();
    next().unwrap().settle().await.unwrap();
    line.clear_mutation_macs("t").await.unwrap();
    line.get_mutation_macs("t", &[]).await.unwrap();
    line.set_version("t", state(1)).await.unwrap();
    assert!(next().is_none());
    line.set_version("t", state(1)).await.unwrap();
    next().unwrap().settle().await.unwrap();
    assert_eq!(written().get_version("s").await.unwrap().version, 5);
    assert_eq!(written().get_version("t").await.unwrap().version, 1);
    // Read anew: nothing is known from the first question on, and nothing is lost while it is not told.
    let mut forgotten = None;
    read_anew("r", async {
        assert_eq!(line.get_version("s").await.unwrap().version, 5, "another collection");
        forgotten = Some(line.get_version("r").await.unwrap().version);
        assert!(line.get_mutation_macs("r", &[[3; 32]]).await.unwrap().is_empty());
        line.clear_mutation_macs("r").await.unwrap();
        line.put_mutation_macs("r", 9, &[mac(4, 4)]).await.unwrap();
        line.set_version("r", state(9)).await.unwrap();
        line.set_version("r", state(9)).await.unwrap();
        assert_eq!(line.get_version("r").await.unwrap().version, 9, "forgotten once");
        assert!(next().is_none());
        line.set_version("r", state(9)).await.unwrap();
    })
    .await;
    assert_eq!(forgotten, Some(0));
    assert_eq!(written().get_mutation_mac("r", &[3; 32]).await.unwrap(), Some(vec![3]), "it is not stored yet");
    next().unwrap().settle().await.unwrap();
    let after = written();
    let all = after.get_mutation_macs("r", &[[3; 32], [4; 32]]).await.unwrap();
    assert_eq!(all, HashMap::from([([4; 32], vec![4])]));
    assert_eq!(line.get_version("r").await.unwrap().version, 9);
}

async fn lids(store: Store) {
    let line = line(&store, "d").await;
    line.put_lid_mapping(&mapping("100", "155500", 10)).await.unwrap();
    line.put_lid_mappings(&[mapping("101", "155500", 20), mapping("102", "155502", 5)]).await.unwrap();
    assert_eq!(line.get_pn_mapping("155500").await.unwrap().unwrap().lid, "101");
    line.put_lid_mapping(&mapping("103", "155500", 0)).await.unwrap();
    assert_eq!(line.get_pn_mapping("155500").await.unwrap().unwrap().lid, "101", "a stale source replaces nothing");
    assert_eq!(line.get_lid_mapping("100").await.unwrap().unwrap().phone_number, "155500");
    assert_eq!(line.get_all_lid_mappings().await.unwrap().len(), 4);
    assert!(line.get_lid_mapping("999").await.unwrap().is_none());
}

async fn base_keys(store: Store) {
    let line = line(&store, "d").await;
    line.save_base_key("1@lid", "m", b"k").await.unwrap();
    assert!(line.has_same_base_key("1@lid", "m", b"k").await.unwrap());
    assert!(!line.has_same_base_key("1@lid", "m", b"other").await.unwrap());
    assert!(!line.has_same_base_key("1@lid", "n", b"k").await.unwrap());
    line.delete_base_key("1@lid", "m").await.unwrap();
    assert!(!line.has_same_base_key("1@lid", "m", b"k").await.unwrap());

    let record = |user: &str, timestamp| DeviceListRecord {
        user: user.into(),
        devices: vec![DeviceInfo::new(0, None), DeviceInfo::new(3, Some(2)).with_hosting(true)],
        timestamp,
        phash: Some("2:x".into()),
        raw_id: Some(9),
    };
    line.update_device_list(record("1", 1)).await.unwrap();
    line.update_device_lists(vec![record("1", 2), record("2", 2), record("1", 3)]).await.unwrap();
    let found = line.get_devices("1").await.unwrap().unwrap();
    assert_eq!(format!("{found:?}"), format!("{:?}", record("1", 3)));
    line.delete_devices("1").await.unwrap();
    assert!(line.get_devices("1").await.unwrap().is_none());

    line.put_group_metadata("g", b"1").await.unwrap();
    line.put_group_metadata("g", b"2").await.unwrap();
    assert_eq!(line.get_group_metadata("g").await.unwrap(), Some(b"2".to_vec()));
    line.delete_group_metadata("g").await.unwrap();
    assert_eq!(line.get_group_metadata("g").await.unwrap(), None);
}

async fn tokens(store: Store) {
    let line = line(&store, "d").await;
    let read = async |jid: &str| {
        let entry = line.get_tc_token(jid).await.unwrap()?;
        Some((entry.token, entry.token_timestamp, entry.sender_timestamp))
    };
    line.touch_tc_token_sender_timestamp("a", 50).await.unwrap();
    assert_eq!(read("a").await, Some((vec![], 50, Some(50))));
    line.store_received_tc_token("a", b"t", 10).await.unwrap();
    assert_eq!(read("a").await, Some((b"t".to_vec(), 10, Some(50))), "a placeholder never stands in a token's way");
    line.store_received_tc_token("a", b"old", 9).await.unwrap();
    line.touch_tc_token_sender_timestamp("a", 40).await.unwrap();
    assert_eq!(read("a").await, Some((b"t".to_vec(), 10, Some(50))), "neither half goes back");
    line.store_received_tc_token("b", b"u", 60).await.unwrap();
    line.put_tc_token("c", &TcTokenEntry { token: vec![], token_timestamp: 99, sender_timestamp: None }).await.unwrap();
    let mut jids = line.get_all_tc_token_jids().await.unwrap();
    jids.sort();
    assert_eq!(jids, ["a", "b", "c"]);
    assert_eq!(line.delete_expired_tc_tokens(60, 51).await.unwrap(), 2, "both halves of a are over, c has none");
    assert_eq!(line.get_all_tc_token_jids().await.unwrap(), ["b"]);
    line.delete_tc_token("b").await.unwrap();
    assert_eq!(read("b").await, None);
}

async fn secrets(store: Store) {
    let line = line(&store, "d").await;
    assert_eq!(line.put_msg_secrets(vec![secret("m", 1, 100, 5), secret("m", 2, 50, 0)]).await.unwrap(), 2);
    assert_eq!(line.get_msg_secret_with_ts("c@lid", "s@lid", "m").await.unwrap(), Some((vec![2; 32], 5)));
    assert_eq!(line.delete_expired_msg_secrets(99).await.unwrap(), 0, "the longer time was kept");
    line.put_msg_secrets(vec![secret("m", 2, 60, 0)]).await.unwrap();
    assert_eq!(line.delete_expired_msg_secrets(99).await.unwrap(), 0, "nor does a later call shorten it");
    assert_eq!(line.get_msg_secret_with_ts("c@lid", "s@lid", "m").await.unwrap(), Some((vec![2; 32], 5)));
    line.put_msg_secrets(vec![secret("l", 1, 10, 0)]).await.unwrap();
    line.put_msg_secrets(vec![secret("l", 1, 20, 0)]).await.unwrap();
    assert_eq!(line.delete_expired_msg_secrets(19).await.unwrap(), 0, "a later deadline replaces an earlier one");
    assert_eq!(line.delete_expired_msg_secrets(20).await.unwrap(), 1);
    line.put_msg_secrets(vec![secret("m", 3, 0, 9)]).await.unwrap();
    line.put_msg_secrets(vec![secret("m", 3, 70, 8), secret("n", 4, 70, 0)]).await.unwrap();
    assert_eq!(
        line.delete_expired_msg_secrets(70).await.unwrap(),
        1,
        "for ever stays for ever; the deadline itself is over"
    );
    assert_eq!(line.get_msg_secret_with_ts("c@lid", "s@lid", "m").await.unwrap(), Some((vec![3; 32], 9)));
    line.put_msg_secret("c", "s", "x", &[7; 32]).await.unwrap();
    assert_eq!(line.get_msg_secret("c", "s", "x").await.unwrap(), Some(vec![7; 32]));
}

async fn two_devices(store: Store) {
    let one = line(&store, "one").await;
    let two = line(&store, "two").await;
    one.put_session("1@lid", b"s").await.unwrap();
    one.put_identity("1@lid", [1; 32]).await.unwrap();
    one.store_prekey(1, b"p", false).await.unwrap();
    one.store_signed_prekey(1, b"p").await.unwrap();
    one.put_sender_key("g", b"k").await.unwrap();
    one.set_sender_key_status("g", &[("1@lid", true)]).await.unwrap();
    one.set_sync_key(b"k", AppStateSyncKey::default()).await.unwrap();
    one.set_version("r", HashState { version: 3, ..HashState::default() }).await.unwrap();
    one.put_lid_mapping(&mapping("1", "2", 3)).await.unwrap();
    one.store_sent_message("c", "m", b"x").await.unwrap();
    one.store_pending_inbound("c", "s", "m", b"x").await.unwrap();
    one.put_msg_secret("c", "s", "m", &[1; 32]).await.unwrap();
    one.get_pending_inbound("c", "s", "unknown").await.unwrap();
    assert!(two.get_session("1@lid").await.unwrap().is_none());
    assert!(two.load_identity("1@lid").await.unwrap().is_none());
    assert!(!two.has_signal_state_for_user("1").await.unwrap());
    assert_eq!(two.get_max_prekey_id().await.unwrap(), 0);
    assert!(two.load_all_signed_prekeys().await.unwrap().is_empty());
    assert!(two.get_sender_key("g").await.unwrap().is_none());
    assert!(two.get_sender_key_devices("g").await.unwrap().is_empty());
    assert!(two.get_latest_sync_key_id().await.unwrap().is_none());
    assert_eq!(two.get_version("r").await.unwrap().version, 0);
    assert!(two.get_all_lid_mappings().await.unwrap().is_empty());
    assert!(two.take_sent_message("c", "m").await.unwrap().is_none());
    assert!(two.get_msg_secret("c", "s", "m").await.unwrap().is_none());
    assert!(two.take_unknown_duplicates(9).await.unwrap().is_empty());
    assert!(two.get_pending_inbound("c", "s", "m").await.unwrap().is_none());
    two.delete_session("1@lid").await.unwrap();
    two.clear_all_sender_key_devices().await.unwrap();
    two.delete_pending_inbound("c", "s", "m").await.unwrap();
    assert_eq!(two.delete_expired_sent_messages(i64::MAX).await.unwrap(), 0);
    assert_eq!(two.delete_expired_pending_inbound(i64::MAX).await.unwrap(), 0);
    assert!(one.has_session("1@lid").await.unwrap());
    assert_eq!(one.get_sender_key_devices("g").await.unwrap().len(), 1);
    assert!(one.get_pending_inbound("c", "s", "m").await.unwrap().is_some());
}

async fn eight_writers_body(store: Store) {
    let lines = [line(&store, "one").await, line(&store, "two").await];
    let tasks: Vec<_> = (0..8_usize)
        .map(|writer| {
            let line = lines[writer % 2].clone();
            tokio::spawn(async move {
                for round in 0..25_u32 {
                    let id = format!("{writer}-{round}");
                    line.store_pending_inbound_batch(&[PendingInboundRow {
                        chat: "c",
                        sender: "s",
                        id: &id,
                        message: b"m",
                    }])
                    .await
                    .unwrap();
                    // All touch the same rows, in an order of their own.
                    let mut people: Vec<u32> = (0..10).collect();
                    people.rotate_left(writer);
                    let batch: Vec<_> = people
                        .iter()
                        .map(|person| (Arc::from(format!("{person}@lid")), Bytes::from(id.clone())))
                        .collect();
                    line.put_sessions_batch(&batch).await.unwrap();
                    let pairs: Vec<_> =
                        people.iter().map(|n| mapping(&n.to_string(), &format!("1555{n}"), round.into())).collect();
                    line.put_lid_mappings(&pairs).await.unwrap();
                    line.delete_pending_inbound_batch(&[PendingInboundKey { chat: "c", sender: "s", id: &id }])
                        .await
                        .unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    for line in lines {
        assert_eq!(line.delete_expired_pending_inbound(i64::MAX).await.unwrap(), 0, "every row was settled");
        assert_eq!(line.get_all_lid_mappings().await.unwrap().len(), 10);
        assert!(!line.is_poisoned());
    }
}

/// The calls the library makes per message when live (`message/commit_batch.rs`, `signal_flush.rs`, `send.rs`).
async fn cost(store: Store) {
    let line = line(&store, "d").await;
    let before = line.cost();
    line.store_pending_inbound_batch(&[PendingInboundRow { chat: "c", sender: "s", id: "m", message: b"m" }])
        .await
        .unwrap();
    line.delete_pending_inbound_batch(&[PendingInboundKey { chat: "c", sender: "s", id: "m" }]).await.unwrap();
    line.put_sessions_batch(&[(Arc::from("1@lid"), Bytes::from_static(b"r"))]).await.unwrap();
    line.put_msg_secrets(vec![secret("m", 1, 0, 0)]).await.unwrap();
    assert_eq!(line.cost().statements - before.statements, 3, "the stored copy is deleted later, with others");
    let before = line.cost();
    line.store_sent_message("c", "m", b"x").await.unwrap();
    line.put_msg_secrets(vec![secret("m", 1, 0, 0)]).await.unwrap();
    line.get_tc_token("1").await.unwrap();
    assert_eq!(line.cost().statements - before.statements, 3);
    line.get_tc_token("1").await.unwrap();
    assert_eq!(line.cost().statements - before.statements, 3, "asked before every send, looked up once");
    line.store_received_tc_token("1", b"t", 1).await.unwrap();
    assert_eq!(line.get_tc_token("1").await.unwrap().unwrap().token, b"t");
    assert_eq!(line.cost().transactions, 0, "single statements need no transaction around them");
}
