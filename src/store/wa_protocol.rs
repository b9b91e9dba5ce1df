//! The library's protocol state: who holds our group keys, retry base keys; the rest is in `wa_people` and
//! `wa_pending`, and gathered here into the library's trait.

use super::wa_backend::{LineBackend, column, last_of_each};
use super::wa_rows::{Rows, Statement, key_text};
use async_trait::async_trait;
use whatsapp_rust::wacore::store::error::Result;
use whatsapp_rust::wacore::store::traits::{
    DeviceListRecord, LidPnMappingEntry, PendingInboundKey, PendingInboundRow, ProtocolStore, TcTokenEntry,
};

const LIST_HOLDERS: &str = "-- wa.list_sender_key_devices
    SELECT device, has_key FROM wa_sender_key_device WHERE device_key = $1 AND group_id = $2";
static PUT_HOLDERS: Rows = Rows::new(
    "-- wa.put_sender_key_devices
    INSERT INTO wa_sender_key_device (device_key, group_id, device, has_key) VALUES ",
    2,
    "($1, $2, ?, ?)",
    " ON CONFLICT (device_key, group_id, device) DO UPDATE SET has_key = excluded.has_key",
);
const CLEAR_HOLDERS: &str = "-- wa.clear_sender_key_devices
    DELETE FROM wa_sender_key_device WHERE device_key = $1 AND group_id = $2";
static DELETE_HOLDERS: Rows = Rows::new(
    "-- wa.delete_sender_key_devices
    DELETE FROM wa_sender_key_device WHERE device_key = $1 AND device IN (",
    1,
    "?",
    ")",
);
const CLEAR_ALL_HOLDERS: &str = "-- wa.clear_all_sender_key_devices
    DELETE FROM wa_sender_key_device WHERE device_key = $1";
const PUT_BASE_KEY: &str = "-- wa.put_base_key
    INSERT INTO wa_base_key (device_key, address, message_id, base_key, created_at) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (device_key, address, message_id) DO UPDATE
    SET base_key = excluded.base_key, created_at = excluded.created_at";
const FIND_BASE_KEY: &str = "-- wa.find_base_key
    SELECT base_key FROM wa_base_key WHERE device_key = $1 AND address = $2 AND message_id = $3";
const DELETE_BASE_KEY: &str = "-- wa.delete_base_key
    DELETE FROM wa_base_key WHERE device_key = $1 AND address = $2 AND message_id = $3";

/// Single texts of this file, for the test that prepares them all.
#[cfg(test)]
pub(super) const TEXTS: &[&str] =
    &[LIST_HOLDERS, CLEAR_HOLDERS, CLEAR_ALL_HOLDERS, PUT_BASE_KEY, FIND_BASE_KEY, DELETE_BASE_KEY];
/// Texts over rows of this file.
#[cfg(test)]
pub(super) static ROWS: &[&Rows] = &[&PUT_HOLDERS, &DELETE_HOLDERS];

#[async_trait]
impl ProtocolStore for LineBackend {
    async fn get_sender_key_devices(&self, group_jid: &str) -> Result<Vec<(String, bool)>> {
        let rows = self.list(self.of(LIST_HOLDERS).bind_key(group_jid)).await?;
        rows.iter().map(|row| Ok((column(row, "device")?, column::<i64>(row, "has_key")? != 0))).collect()
    }

    async fn set_sender_key_status(&self, group_jid: &str, entries: &[(&str, bool)]) -> Result<()> {
        let rows = last_of_each(entries.iter().map(|(device, has_key)| (key_text(device), i64::from(*has_key))));
        self.run_rows(
            &PUT_HOLDERS,
            &rows,
            |statement| statement.bind_key(group_jid),
            |statement, (device, has_key)| statement.bind(device.as_ref()).bind(*has_key),
        )
        .await
    }

    async fn clear_sender_key_devices(&self, group_jid: &str) -> Result<()> {
        self.run(self.of(CLEAR_HOLDERS).bind_key(group_jid)).await.map(drop)
    }

    async fn delete_sender_key_device_rows(&self, device_jids: &[&str]) -> Result<()> {
        let each = |statement: Statement, device: &&str| statement.bind_key(device);
        self.run_rows(&DELETE_HOLDERS, device_jids, |statement| statement, each).await
    }

    async fn clear_all_sender_key_devices(&self) -> Result<()> {
        self.run(self.of(CLEAR_ALL_HOLDERS)).await.map(drop)
    }

    async fn get_lid_mapping(&self, lid: &str) -> Result<Option<LidPnMappingEntry>> {
        self.find_lid(lid).await
    }

    async fn get_pn_mapping(&self, phone: &str) -> Result<Option<LidPnMappingEntry>> {
        self.find_lid_by_pn(phone).await
    }

    async fn put_lid_mapping(&self, entry: &LidPnMappingEntry) -> Result<()> {
        self.put_lids(std::slice::from_ref(entry)).await
    }

    async fn put_lid_mappings(&self, entries: &[LidPnMappingEntry]) -> Result<()> {
        self.put_lids(entries).await
    }

    async fn get_all_lid_mappings(&self) -> Result<Vec<LidPnMappingEntry>> {
        self.list_lids().await
    }

    async fn save_base_key(&self, address: &str, message_id: &str, base_key: &[u8]) -> Result<()> {
        let statement = self.of(PUT_BASE_KEY).bind_key(address).bind_key(message_id).bind(base_key);
        self.run(statement.bind(self.store.clock().now_ms())).await.map(drop)
    }

    async fn has_same_base_key(&self, address: &str, message_id: &str, current_base_key: &[u8]) -> Result<bool> {
        let row = self.find(self.of(FIND_BASE_KEY).bind_key(address).bind_key(message_id)).await?;
        let Some(row) = row else { return Ok(false) };
        Ok(column::<Vec<u8>>(&row, "base_key")? == current_base_key)
    }

    async fn delete_base_key(&self, address: &str, message_id: &str) -> Result<()> {
        self.run(self.of(DELETE_BASE_KEY).bind_key(address).bind_key(message_id)).await.map(drop)
    }

    async fn update_device_list(&self, record: DeviceListRecord) -> Result<()> {
        self.put_devices(vec![record]).await
    }

    async fn update_device_lists(&self, records: Vec<DeviceListRecord>) -> Result<()> {
        self.put_devices(records).await
    }

    async fn get_devices(&self, user: &str) -> Result<Option<DeviceListRecord>> {
        self.find_devices(user).await
    }

    async fn delete_devices(&self, user: &str) -> Result<()> {
        self.forget_devices(user).await
    }

    async fn get_group_metadata(&self, group_jid: &str) -> Result<Option<Vec<u8>>> {
        self.find_group(group_jid).await
    }

    async fn put_group_metadata(&self, group_jid: &str, blob: &[u8]) -> Result<()> {
        self.put_group(group_jid, blob).await
    }

    async fn delete_group_metadata(&self, group_jid: &str) -> Result<()> {
        self.forget_group(group_jid).await
    }

    async fn get_tc_token(&self, jid: &str) -> Result<Option<TcTokenEntry>> {
        self.find_token(jid).await
    }

    async fn put_tc_token(&self, jid: &str, entry: &TcTokenEntry) -> Result<()> {
        self.put_token(jid, entry).await
    }

    async fn delete_tc_token(&self, jid: &str) -> Result<()> {
        self.forget_token(jid).await
    }

    async fn get_all_tc_token_jids(&self) -> Result<Vec<String>> {
        self.list_token_jids().await
    }

    async fn delete_expired_tc_tokens(&self, token_cutoff: i64, sender_cutoff: i64) -> Result<u32> {
        self.forget_old_tokens(token_cutoff, sender_cutoff).await
    }

    async fn touch_tc_token_sender_timestamp(&self, jid: &str, sender_timestamp: i64) -> Result<()> {
        self.touch_token(jid, sender_timestamp).await
    }

    async fn store_received_tc_token(&self, jid: &str, token: &[u8], token_timestamp: i64) -> Result<()> {
        self.receive_token(jid, token, token_timestamp).await
    }

    async fn store_sent_message(&self, chat_jid: &str, message_id: &str, payload: &[u8]) -> Result<()> {
        self.put_sent(chat_jid, message_id, payload).await
    }

    async fn take_sent_message(&self, chat_jid: &str, message_id: &str) -> Result<Option<Vec<u8>>> {
        self.take_sent(chat_jid, message_id).await
    }

    async fn delete_expired_sent_messages(&self, cutoff_timestamp: i64) -> Result<u32> {
        self.delete_old_sent(cutoff_timestamp).await
    }

    async fn store_pending_inbound(&self, chat: &str, sender: &str, id: &str, message: &[u8]) -> Result<()> {
        self.put_pending(&[PendingInboundRow { chat, sender, id, message }]).await
    }

    async fn get_pending_inbound(&self, chat: &str, sender: &str, id: &str) -> Result<Option<Vec<u8>>> {
        self.find_pending(chat, sender, id).await
    }

    async fn delete_pending_inbound(&self, chat: &str, sender: &str, id: &str) -> Result<()> {
        self.delete_pending(&[PendingInboundKey { chat, sender, id }]);
        Ok(())
    }

    async fn delete_expired_pending_inbound(&self, cutoff_timestamp: i64) -> Result<u32> {
        self.delete_old_pending(cutoff_timestamp).await
    }

    async fn store_pending_inbound_batch(&self, rows: &[PendingInboundRow<'_>]) -> Result<()> {
        self.put_pending(rows).await
    }

    async fn delete_pending_inbound_batch(&self, keys: &[PendingInboundKey<'_>]) -> Result<()> {
        self.delete_pending(keys);
        Ok(())
    }
}
