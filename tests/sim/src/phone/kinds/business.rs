//! Messages of businesses, and what people choose from them.

use anyhow::{Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Draft, Kind};
use crate::stanza::unix_now;

/// One thing to choose: a button or a row.
#[derive(Clone, Debug, Deserialize)]
pub struct Choice {
    /// Its id, which comes back when it is chosen.
    pub id: String,
    /// What it says.
    pub title: String,
    /// More about it, in lists.
    pub description: Option<String>,
}

/// A section of a list.
#[derive(Clone, Debug, Deserialize)]
pub struct ListSection {
    /// Its heading.
    pub title: String,
    /// What can be chosen.
    pub rows: Vec<Choice>,
}

/// Builds a business message.
pub fn content(draft: &Draft<'_>, kind: &Kind) -> Result<Value> {
    let seller = draft.own.to_string();
    Ok(match kind {
        Kind::Buttons { text, footer, buttons } => {
            let buttons = each(
                buttons,
                |b, _| json!({ "buttonId": b.id, "buttonText": { "displayText": b.title }, "type": "RESPONSE" }),
            );
            json!({ "buttonsMessage": {
                "contentText": text, "footerText": footer, "buttons": buttons, "headerType": "EMPTY",
            } })
        }
        Kind::List { title, text, button, sections } => {
            let sections: Vec<Value> = sections
                .iter()
                .map(|section| {
                    let rows = each(
                        &section.rows,
                        |row, _| json!({ "title": row.title, "description": row.description, "rowId": row.id }),
                    );
                    json!({ "title": section.title, "rows": rows })
                })
                .collect();
            json!({ "listMessage": {
                "title": title, "description": text, "buttonText": button, "listType": "SINGLE_SELECT",
                "sections": sections,
            } })
        }
        Kind::Template { text, footer, buttons } => {
            let buttons = each(
                buttons,
                |b, index| json!({ "index": index, "quickReplyButton": { "displayText": b.title, "id": b.id } }),
            );
            let template = json!({
                "hydratedContentText": text, "hydratedFooterText": footer, "hydratedButtons": buttons,
                "templateId": "sim-template",
            });
            json!({ "templateMessage": { "hydratedTemplate": template, "hydratedFourRowTemplate": template } })
        }
        Kind::Interactive { text, footer, buttons } => {
            let buttons = each(buttons, |b, _| {
                let params = json!({ "display_text": b.title, "id": b.id }).to_string();
                json!({ "name": "quick_reply", "buttonParamsJson": params })
            });
            json!({ "interactiveMessage": {
                "body": { "text": text }, "footer": footer.as_ref().map(|text| json!({ "text": text })),
                "nativeFlowMessage": { "buttons": buttons, "messageVersion": 1 },
            } })
        }
        Kind::Product { title, price_1000, currency } => json!({ "productMessage": {
            "product": {
                "productId": "1", "title": title, "currencyCode": currency, "priceAmount1000": price_1000,
                "productImageCount": 0,
            },
            "businessOwnerJid": seller,
        } }),
        Kind::Order { order, items, total_1000, currency } => json!({ "orderMessage": {
            "orderId": order, "itemCount": items, "status": "INQUIRY", "surface": "CATALOG", "sellerJid": seller,
            "token": "sim-order", "totalAmount1000": total_1000, "totalCurrencyCode": currency,
        } }),
        Kind::PaymentRequest { amount_1000, currency, note } => json!({ "requestPaymentMessage": {
            "noteMessage": { "extendedTextMessage": { "text": note } },
            "currencyCodeIso4217": currency, "amount1000": amount_1000, "requestFrom": draft.chat.to_string(),
            "expiryTimestamp": unix_now() + 86_400,
            "amount": { "value": amount_1000, "offset": 1000, "currencyCode": currency },
        } }),
        Kind::Chosen { target, of, choice } => {
            let known = draft.target(target)?;
            let info = json!({ "stanzaId": target, "participant": draft.author(&known)?.to_string() });
            chosen(of, choice, info)?
        }
        other => bail!("{other:?} is no business message"),
    })
}

fn chosen(of: &str, choice: &Choice, info: Value) -> Result<Value> {
    Ok(match of {
        "buttons" => json!({ "buttonsResponseMessage": {
            "selectedButtonId": choice.id, "selectedDisplayText": choice.title, "type": "DISPLAY_TEXT",
            "contextInfo": info,
        } }),
        "list" => json!({ "listResponseMessage": {
            "title": choice.title, "description": choice.description, "listType": "SINGLE_SELECT",
            "singleSelectReply": { "selectedRowId": choice.id }, "contextInfo": info,
        } }),
        "template" => json!({ "templateButtonReplyMessage": {
            "selectedId": choice.id, "selectedDisplayText": choice.title, "selectedIndex": 0, "contextInfo": info,
        } }),
        "interactive" => {
            let params = json!({ "id": choice.id }).to_string();
            json!({ "interactiveResponseMessage": {
                "body": { "text": choice.title },
                "nativeFlowResponseMessage": { "name": "quick_reply", "paramsJson": params, "version": 1 },
                "contextInfo": info,
            } })
        }
        other => bail!("nothing is chosen from {other:?}"),
    })
}

fn each(choices: &[Choice], show: impl Fn(&Choice, usize) -> Value) -> Vec<Value> {
    choices.iter().enumerate().map(|(index, choice)| show(choice, index)).collect()
}
