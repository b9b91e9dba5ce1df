//! Orders from a catalog.

use super::frame::Frame;
use super::media;
use crate::convert::part::MxPart;
use crate::convert::words;
use serde_json::Map;
use whatsapp_rust::prelude::wa;

pub(super) fn order(frame: &Frame<'_>, order: &wa::message::OrderMessage) -> Vec<MxPart> {
    use wa::message::order_message::OrderStatus;
    let title = words::line(order.order_title.as_deref().unwrap_or_default(), 200);
    let mut lines = vec![if title.is_empty() { "🛒 Order".to_owned() } else { format!("🛒 Order: {title}") }];
    let items = u64::try_from(order.item_count.unwrap_or(0)).unwrap_or(0);
    let mut facts = Vec::new();
    if items > 0 {
        facts.push(words::count_of(items, "item"));
    }
    if let Some(total) = order.total_amount1000 {
        facts.push(words::money(total, order.total_currency_code.as_deref().unwrap_or_default()));
    }
    match order.status {
        Some(OrderStatus::ACCEPTED) => facts.push("accepted".to_owned()),
        Some(OrderStatus::DECLINED) => facts.push("declined".to_owned()),
        _ => {}
    }
    if !facts.is_empty() {
        lines.push(facts.join(", "));
    }
    lines.extend(order.message.clone().filter(|text| !text.trim().is_empty()));
    let mut parts = frame.text("m.text", &lines.join("\n"), Map::new());
    if let Some(first) = parts.first_mut() {
        first.content["fi.mau.whatsapp.business_message_type"] = "order".into();
        first.thumbnail = media::thumbnail(order.thumbnail.as_ref());
    }
    parts
}
