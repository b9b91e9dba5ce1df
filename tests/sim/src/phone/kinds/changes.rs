//! What changes or marks another message.

use anyhow::{Context as _, Result, bail, ensure};
use buffa::Message as _;
use serde_json::{Value, json};
use wacore::secret_enc_addon::ModificationType;

use super::{Draft, Kind, base64, context::wrap, secret_of, with_secret};
use crate::{phone::secrets, proto_json, stanza::unix_now};

/// How long a message stays pinned if nobody says: a week.
const PINNED_SECONDS: u32 = 7 * 86_400;

/// Builds the change.
pub fn content(draft: &Draft<'_>, kind: &Kind) -> Result<Value> {
    let now = unix_now() * 1000;
    Ok(match kind {
        Kind::Reaction { target, emoji } => {
            let key = draft.key(&draft.target(target)?)?;
            json!({ "reactionMessage": { "key": key, "text": emoji, "senderTimestampMs": now } })
        }
        Kind::SecretReaction { target, emoji } => {
            let target = draft.target(target)?;
            let plain =
                proto_json::from_json("Message.ReactionMessage", &json!({ "text": emoji, "senderTimestampMs": now }))?;
            addon(draft, &target, "encReactionMessage", ModificationType::EncReaction, &plain)?
        }
        Kind::Comment { target, text } => {
            let target = draft.target(target)?;
            let plain = proto_json::parse(&json!({ "extendedTextMessage": { "text": text } }))?.encode_to_vec();
            with_secret(addon(draft, &target, "encCommentMessage", ModificationType::EncComment, &plain)?)
        }
        Kind::Edit { target, text, message, secret } => {
            let target = draft.target(target)?;
            ensure!(target.from == draft.from, "only own messages can be edited");
            let edited = match (text, message) {
                (_, Some(message)) => message.clone(),
                (Some(text), None) => json!({ "conversation": text }),
                (None, None) => bail!("an edit needs `text` or `message`"),
            };
            let mut edit = json!({ "protocolMessage": {
                "key": draft.key(&target)?, "type": "MESSAGE_EDIT", "editedMessage": edited, "timestampMs": now,
            } });
            if *secret {
                let plain = proto_json::parse(&edit)?.encode_to_vec();
                return secrets::envelope(draft, &target, ModificationType::MessageEdit, "MESSAGE_EDIT", &plain);
            }
            wrap(&mut edit, "editedMessage");
            edit
        }
        Kind::Revoke { target } => {
            let key = draft.key(&draft.target(target)?)?;
            ensure!(
                key["fromMe"] == json!(true) || draft.is_group(),
                "others' messages can only be deleted by a group's admin"
            );
            json!({ "protocolMessage": { "key": key, "type": "REVOKE" } })
        }
        Kind::EphemeralSetting { seconds } => json!({ "protocolMessage": {
            "type": "EPHEMERAL_SETTING", "ephemeralExpiration": seconds, "ephemeralSettingTimestamp": now / 1000,
        } }),
        Kind::Pin { target, seconds, unpin } => {
            let key = draft.key(&draft.target(target)?)?;
            let kind = if *unpin { "UNPIN_FOR_ALL" } else { "PIN_FOR_ALL" };
            let mut pin = json!({ "pinInChatMessage": { "key": key, "type": kind, "senderTimestampMs": now } });
            let seconds = if *unpin { 0 } else { seconds.unwrap_or(PINNED_SECONDS) };
            pin["messageContextInfo"] = json!({ "messageAddOnDurationInSecs": seconds });
            pin
        }
        Kind::Keep { target, undo } => {
            let key = draft.key(&draft.target(target)?)?;
            let kind = if *undo { "UNDO_KEEP_FOR_ALL" } else { "KEEP_FOR_ALL" };
            json!({ "keepInChatMessage": { "key": key, "keepType": kind, "timestampMs": now } })
        }
        Kind::Sealed { target, purpose, message } => {
            let kind = match purpose.as_str() {
                "MESSAGE_EDIT" => ModificationType::MessageEdit,
                "EVENT_EDIT" => ModificationType::EventEdit,
                "POLL_EDIT" => ModificationType::PollEdit,
                "POLL_ADD_OPTION" => ModificationType::PollAddOption,
                other => bail!("nothing is sealed as {other:?}"),
            };
            let plain = proto_json::parse(message)?.encode_to_vec();
            secrets::envelope(draft, &draft.target(target)?, kind, purpose, &plain)?
        }
        other => bail!("{other:?} changes no message"),
    })
}

/// An answer encrypted with the secret of what it answers.
fn addon(
    draft: &Draft<'_>,
    target: &crate::phone::archive::Known,
    field: &str,
    kind: ModificationType,
    plain: &[u8],
) -> Result<Value> {
    let secret = secret_of(target).context("only messages with a secret take encrypted answers")?;
    let (payload, iv) = secrets::seal(draft, target, kind, &secret, plain)?;
    Ok(json!({ field: {
        "targetMessageKey": draft.key(target)?, "encPayload": base64(&payload), "encIv": base64(&iv),
    } }))
}
