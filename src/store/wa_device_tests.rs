//! Device rows: sealed, bound, deleted, swept; and the sweeps of everything else.

use super::tests::on_both;
use super::wa_backend::LineBackend;
use super::wa_tests::{line, mapping, secret};
use super::*;
use crate::ids::{DeviceKey, LoginId};
use crate::store::seal::Sealer;
use whatsapp_rust::wacore::store::traits::*;

on_both! {
    a_device_comes_back_as_it_was => round_trip;
    another_pickle_key_says_so => other_key;
    private_keys_are_not_readable => not_readable;
    a_deleted_device_is_gone_for_good => deleted;
    unbound_devices_are_swept => unbound;
    old_rows_are_swept => sweeps;
}

async fn round_trip(store: Store) {
    let line = LineBackend::new(store.clone(), Sealer::new("pickle"), store.make_device_key());
    assert!(!line.exists().await.unwrap());
    assert!(line.load().await.unwrap().is_none());
    line.create().await.unwrap();
    assert!(line.exists().await.unwrap());
    let mut device = line.load().await.unwrap().unwrap();
    device.push_name = "Anna \0 ☎".into();
    device.pn = Some("15550001:3@s.whatsapp.net".parse().unwrap());
    device.lid = Some("100001:3@lid".parse().unwrap());
    device.next_pre_key_id = 77;
    line.save(&device).await.unwrap();
    line.create().await.unwrap();
    let again = LineBackend::new(store.clone(), Sealer::new("pickle"), line.device_key().clone());
    let loaded = again.load().await.unwrap().unwrap();
    assert_eq!(serde_json::to_value(&loaded).unwrap(), serde_json::to_value(&device).unwrap());
    assert_eq!(loaded.push_name, device.push_name);
}

async fn other_key(store: Store) {
    let mine = line(&store, "d").await;
    mine.put_session("1@lid", b"r").await.unwrap();
    let other = LineBackend::new(store.clone(), Sealer::new("other"), DeviceKey::new("d"));
    let error = other.load().await.err().unwrap().to_string();
    assert!(error.contains("the pickle_key differs from the one the database was sealed with"), "{error}");
    let error = other.get_session("1@lid").await.err().unwrap().to_string();
    assert!(error.contains("the pickle_key differs"), "{error}");
    sqlx::query("UPDATE wa_ratchet SET address = '2@lid'").execute(store.pool()).await.unwrap();
    assert!(mine.get_session("2@lid").await.is_err(), "a ratchet moved to another person does not open");
}

async fn not_readable(store: Store) {
    const PLAIN: &[u8] = b"plain private key material";
    let line = line(&store, "d").await;
    let mut device = line.load().await.unwrap().unwrap();
    device.push_name = String::from_utf8(PLAIN.to_vec()).unwrap();
    line.save(&device).await.unwrap();
    line.put_session("1@lid", PLAIN).await.unwrap();
    line.store_prekey(1, PLAIN, false).await.unwrap();
    line.store_signed_prekey(1, PLAIN).await.unwrap();
    line.put_sender_key("g", PLAIN).await.unwrap();
    let key = AppStateSyncKey { key_data: PLAIN.to_vec(), ..Default::default() };
    line.set_sync_key(b"k", key).await.unwrap();
    let texts = [
        "SELECT value AS it FROM wa_device",
        "SELECT record AS it FROM wa_ratchet",
        "SELECT record AS it FROM wa_prekey",
        "SELECT record AS it FROM wa_signed_prekey",
        "SELECT record AS it FROM wa_sender_key",
        "SELECT value AS it FROM wa_sync_key",
    ];
    for text in texts {
        let stored: Vec<u8> = sqlx::query(text).fetch_one(store.pool()).await.unwrap().try_get("it").unwrap();
        assert!(!stored.windows(PLAIN.len()).any(|window| window == PLAIN), "{text}");
        assert!(stored.len() > PLAIN.len(), "{text}");
    }
}

/// Rows in all tables of the library.
async fn count_rows(store: &Store, device: &str) -> i64 {
    let mut sum = 0;
    for text in super::wa_device::texts() {
        let Some(table) = text.split("DELETE FROM ").nth(1).and_then(|rest| rest.split(' ').next()) else { continue };
        if !text.ends_with("WHERE device_key = $1") {
            continue;
        }
        let count = format!("SELECT CAST(COUNT(*) AS BIGINT) AS n FROM {table} WHERE device_key = $1");
        let row = sqlx::query(sqlx::AssertSqlSafe(count)).bind(device).fetch_one(store.pool()).await.unwrap();
        sum += row.try_get::<i64, _>("n").unwrap();
    }
    sum
}

/// One row in each table.
async fn fill(line: &LineBackend) {
    line.put_identity("1@lid", [1; 32]).await.unwrap();
    line.put_session("1@lid", b"r").await.unwrap();
    line.store_prekey(1, b"p", false).await.unwrap();
    line.store_signed_prekey(1, b"p").await.unwrap();
    line.put_sender_key("g", b"k").await.unwrap();
    line.set_sync_key(b"k", AppStateSyncKey::default()).await.unwrap();
    line.set_version("r", Default::default()).await.unwrap();
    let mac =
        whatsapp_rust::wacore::appstate::processor::AppStateMutationMAC { index_mac: vec![1], value_mac: vec![1] };
    line.put_mutation_macs("r", 1, &[mac]).await.unwrap();
    line.set_sender_key_status("g", &[("1@lid", true)]).await.unwrap();
    line.put_lid_mapping(&mapping("1", "2", 3)).await.unwrap();
    line.save_base_key("1@lid", "m", b"k").await.unwrap();
    let record = DeviceListRecord { user: "1".into(), devices: vec![], timestamp: 0, phash: None, raw_id: None };
    line.update_device_list(record).await.unwrap();
    line.put_group_metadata("g", b"i").await.unwrap();
    line.touch_tc_token_sender_timestamp("1@lid", 1).await.unwrap();
    line.store_sent_message("c", "m", b"x").await.unwrap();
    line.store_pending_inbound("c", "s", "m", b"x").await.unwrap();
    line.get_pending_inbound("c", "s", "unknown").await.unwrap();
    line.put_msg_secrets(vec![secret("m", 1, 1_700_000_100, 0)]).await.unwrap();
}

/// Tables of the library.
const TABLES: i64 = 19;

async fn deleted(store: Store) {
    let one = line(&store, "one").await;
    let two = line(&store, "two").await;
    fill(&one).await;
    fill(&two).await;
    assert_eq!(count_rows(&store, "one").await, TABLES, "a table is missing from `fill` or from `delete_device`");
    let device = one.load().await.unwrap().unwrap();
    store.delete_device(&DeviceKey::new("one")).await.unwrap();
    assert_eq!(count_rows(&store, "one").await, 0);
    assert_eq!(count_rows(&store, "two").await, TABLES, "the other device keeps its rows");
    assert!(one.save(&device).await.is_err(), "a saver that comes late does not bring the keys back");
    assert!(!one.exists().await.unwrap());
    // A client still at work leaves rows nobody owns; the sweep finds them.
    one.put_session("1@lid", b"r").await.unwrap();
    store.sweep_unbound_devices(0).await.unwrap();
    assert_eq!(count_rows(&store, "one").await, 0);
    assert_eq!(count_rows(&store, "two").await, TABLES);
}

async fn unbound(store: Store) {
    let login = LoginId::new("15550001");
    for name in ["bound", "given up", "fresh"] {
        if name == "fresh" {
            store.clock().advance(3_600_000);
        }
        let line = line(&store, name).await;
        fill(&line).await;
    }
    let mut tx = store.begin("test").await.unwrap();
    assert!(store.bind_device(&mut tx, &DeviceKey::new("bound"), &login).await.unwrap());
    assert!(store.bind_device(&mut tx, &DeviceKey::new("bound"), &login).await.unwrap(), "twice is harmless");
    assert!(!store.bind_device(&mut tx, &DeviceKey::new("bound"), &LoginId::new("2")).await.unwrap());
    assert!(!store.bind_device(&mut tx, &DeviceKey::new("nobody"), &login).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(store.sweep_unbound_devices(store.clock().now_ms() - 1_800_000).await.unwrap(), 1);
    let left = store.list_devices().await.unwrap();
    let names: Vec<_> = left.iter().map(|row| (row.key.as_str(), row.login.is_some())).collect();
    assert_eq!(names, [("bound", true), ("fresh", false)]);
    assert_eq!(left[0].login, Some(login));
    assert_eq!(count_rows(&store, "given up").await, 0);
    assert_eq!(count_rows(&store, "bound").await, TABLES);
}

async fn sweeps(store: Store) {
    const DAY: i64 = 86_400_000;
    let line = line(&store, "d").await;
    fill(&line).await;
    assert_eq!(store.sweep_library().await.unwrap(), 1, "only the token, issued in 1970");
    store.clock().advance(101_000);
    assert_eq!(store.sweep_library().await.unwrap(), 1, "the secret's time is over");
    store.clock().advance(7 * DAY);
    assert_eq!(store.sweep_library().await.unwrap(), 3, "base key, sent and pending message");
    store.clock().advance(23 * DAY + 1);
    assert_eq!(store.sweep_library().await.unwrap(), 1, "the unknown duplicate");
    store.clock().advance(1_000 * DAY);
    assert_eq!(store.sweep_library().await.unwrap(), 0, "keys stay with the device");
    assert_eq!(count_rows(&store, "d").await, TABLES - 6);
}
