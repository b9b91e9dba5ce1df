//! Who read what, or has it on their phone: receipts into the inbox.

use super::{Intake, is_bridged};
use crate::ids::{ChatId, Lane, WaMessageId};
use crate::store::Result;
use crate::store::inbox::{Arrival, Source};
use crate::whatsapp::signals::{is_own_reading, tells_reading};
use serde::{Deserialize, Serialize};
use std::sync::atomic::Ordering;
use whatsapp_rust::prelude::Server;
use whatsapp_rust::wacore::types::events::Receipt;
use whatsapp_rust::wacore::types::presence::ReceiptType;

/// Inbox kind of a read receipt: the body is a [`ReceiptRow`].
pub const RECEIPT: &str = "wa.receipt";
/// Inbox kind of a receipt that a phone has our messages: the body is a [`ReceiptRow`].
pub const DELIVERED: &str = "wa.delivered";

/// Who read what, as the inbox keeps it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReceiptRow {
    /// Canonical id of the reader.
    pub reader: String,
    /// WhatsApp's ids of the messages.
    pub ids: Vec<String>,
    /// When, milliseconds since 1970.
    pub ts_ms: i64,
}

impl Intake {
    /// Whether a receipt is stored: of reading, and where it is wanted of what a phone has. In groups each member's phone would
    /// be told of by itself.
    pub(in crate::whatsapp) fn takes_receipt(&self, receipt: &Receipt) -> bool {
        let is_direct = matches!(receipt.source.chat.server, Server::Pn | Server::Lid);
        let takes_deliveries = || self.takes_deliveries.load(Ordering::Relaxed);
        tells_reading(&receipt.r#type) || is_direct && receipt.r#type == ReceiptType::Delivered && takes_deliveries()
    }

    /// Stores a receipt that somebody else read our messages, or that their phone has them where that is wanted. Droppable: a failure is only logged by the caller.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn store_receipt(&self, receipt: &Receipt) -> Result<()> {
        let Some(login) = self.login.borrow().clone() else { return Ok(()) };
        let is_delivery = !tells_reading(&receipt.r#type);
        if !self.takes_receipt(receipt) || !is_bridged(&receipt.source.chat) {
            return Ok(());
        }
        let mut batch = self.begin("intake.receipt").await?;
        let reader = self.canonical(&mut batch, &receipt.source.sender, receipt.source.sender_alt.as_ref()).await?;
        let record = self.store.find_login_in(&mut batch.tx, &login).await?;
        if is_own_reading(&receipt.r#type) || record.is_some_and(|own| own.own == reader || own.pn == reader) {
            self.commit(batch).await?;
            if is_delivery {
                return Ok(());
            }
            // In direct chats the chat is named by the stanza alone (`signals::own_read_in`).
            return self.store_own_receipt(&login, receipt).await;
        }
        let chat = ChatId::new(self.canonical(&mut batch, &receipt.source.chat, None).await?.as_str());
        let portal = self.portal_of(&mut batch, &login, &chat, &reader).await?;
        let row = ReceiptRow {
            reader: reader.as_str().into(),
            ids: receipt.message_ids.clone(),
            ts_ms: receipt.timestamp.timestamp_millis(),
        };
        let all = WaMessageId::new(row.ids.join(","));
        let arrival = Arrival {
            dedup: self.store.derive().wa_dedup(
                &login,
                &chat,
                &reader,
                &all,
                if is_delivery { "delivered" } else { "read" },
            ),
            lane: Lane::into_matrix(portal),
            source: Source::Whatsapp,
            login: Some(login),
            portal: Some(portal),
            kind: if is_delivery { DELIVERED } else { RECEIPT },
            body: serde_json::to_vec(&row).unwrap_or_default(),
            seq: None,
        };
        let new = self.store.put_arrival(&mut batch.tx, &arrival).await?;
        self.commit(batch).await?;
        if new {
            self.store.bell().ring(arrival.lane);
        }
        Ok(())
    }
}
