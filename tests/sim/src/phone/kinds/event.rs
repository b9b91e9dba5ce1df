//! Events and the answers to them.

use anyhow::{Result, bail};
use buffa::Message as _;
use serde_json::{Value, json};
use wacore::secret_enc_addon::ModificationType;
use waproto::whatsapp::message::{EventResponseMessage, event_response_message::EventResponseType};

use super::{Draft, Kind, base64, secret_of, with_secret};
use crate::{phone::secrets, proto_json, stanza::unix_now};

/// Builds what has to do with events.
pub fn content(draft: &Draft<'_>, kind: &Kind) -> Result<Value> {
    match kind {
        Kind::Event { name, description, start, end, place, join_link, canceled } => {
            let mut event = json!({
                "name": name, "description": description, "startTime": start, "endTime": end,
                "joinLink": join_link, "isCanceled": canceled, "extraGuestsAllowed": true,
            });
            if let Some(place) = place {
                event["location"] = json!({ "name": place, "degreesLatitude": 0.0, "degreesLongitude": 0.0 });
            }
            Ok(with_secret(json!({ "eventMessage": event })))
        }
        Kind::EventEdit { event, name, start } => {
            let event = draft.target(event)?;
            let inner = proto_json::parse(&json!({ "eventMessage": { "name": name, "startTime": start } }))?;
            secrets::envelope(draft, &event, ModificationType::EventEdit, "EVENT_EDIT", &inner.encode_to_vec())
        }
        Kind::Rsvp { event, response, guests } => {
            let event = draft.target(event)?;
            let response = match response.as_str() {
                "going" => EventResponseType::GOING,
                "not_going" => EventResponseType::NOT_GOING,
                "maybe" => EventResponseType::MAYBE,
                other => bail!("{other:?} is no answer to an event"),
            };
            let plain = EventResponseMessage {
                response: Some(response),
                timestamp_ms: Some(unix_now() as i64 * 1000),
                extra_guest_count: *guests,
            }
            .encode_to_vec();
            let kind = ModificationType::EventResponse;
            let (payload, iv) = secrets::seal(draft, &event, kind, &secret_of(&event)?, &plain)?;
            Ok(json!({ "encEventResponseMessage": {
                "eventCreationMessageKey": draft.key(&event)?,
                "encPayload": base64(&payload), "encIv": base64(&iv),
            } }))
        }
        other => bail!("{other:?} is no event"),
    }
}
