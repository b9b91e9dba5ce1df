//! Payments: told in words; money is moved on the phone only.

use super::frame::Frame;
use crate::convert::part::MxPart;
use crate::convert::{quote, words};
use whatsapp_rust::prelude::{MessageField, wa};

fn note(message: &MessageField<wa::Message>) -> String {
    let text = message.as_option().map(quote::in_words).unwrap_or_default();
    if text.is_empty() { text } else { format!("\n\n{text}") }
}

/// An amount in units of its own smallness.
fn amount(money: &wa::Money) -> Option<String> {
    let places = money.offset.filter(|offset| (1..=1_000_000).contains(offset)).unwrap_or(1_000);
    let thousandths = i128::from(money.value?) * 1_000 / i128::from(places);
    Some(words::money(i64::try_from(thousandths).ok()?, money.currency_code.as_deref().unwrap_or_default()))
}

pub(super) fn sent(frame: &Frame<'_>, payment: &wa::message::SendPaymentMessage) -> Vec<MxPart> {
    frame.notice(&format!(
        "💸 Sent a payment. The amount is shown in WhatsApp on your phone.{}",
        note(&payment.note_message)
    ))
}

pub(super) fn requested(frame: &Frame<'_>, request: &wa::message::RequestPaymentMessage) -> Vec<MxPart> {
    let plain = request.amount1000.and_then(|amount| i64::try_from(amount).ok());
    let sum = amount(&request.amount)
        .or_else(|| plain.map(|sum| words::money(sum, request.currency_code_iso4217.as_deref().unwrap_or_default())));
    let sum = sum.map(|sum| format!(" of {sum}")).unwrap_or_default();
    let from = request.request_from.as_deref().map(|jid| format!(" from {}", frame.name_of(jid))).unwrap_or_default();
    frame.notice(&format!("💸 Asked for a payment{sum}{from}.{}", note(&request.note_message)))
}

pub(super) fn reminder(frame: &Frame<'_>, reminder: &wa::message::PaymentReminderMessage) -> Vec<MxPart> {
    let sum = amount(&reminder.amount).map(|sum| format!(" of {sum}")).unwrap_or_default();
    let about = words::line(reminder.description.as_deref().unwrap_or_default(), 300);
    let about = if about.is_empty() { about } else { format!(": {about}") };
    frame.notice(&format!("💸 Reminder of a payment{sum}{about}"))
}

pub(super) fn split(frame: &Frame<'_>, split: &wa::message::SplitPaymentMessage) -> Vec<MxPart> {
    let sum = amount(&split.total_amount).map(|sum| format!(" of {sum}")).unwrap_or_default();
    let about = words::line(split.description.as_deref().unwrap_or_default(), 300);
    let about = if about.is_empty() { about } else { format!(": {about}") };
    let among = words::count_of(split.participants.len() as u64, "person").replace("persons", "people");
    frame.notice(&format!("💸 Shared a bill{sum} among {among}{about}"))
}

pub(super) fn invoice(frame: &Frame<'_>, invoice: &wa::message::InvoiceMessage) -> Vec<MxPart> {
    let about = words::line(invoice.note.as_deref().unwrap_or_default(), 500);
    let about = if about.is_empty() { about } else { format!(": {about}") };
    frame.notice(&format!("🧾 Invoice{about}. It can be opened in WhatsApp on your phone."))
}
