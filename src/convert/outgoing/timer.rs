//! The message by which a direct chat's timer is set.

use whatsapp_rust::prelude::{MessageField, wa};

/// Sets the timer of a direct chat: after how many seconds messages disappear (0 = never), and when that was said, seconds
/// since 1970. As WhatsApp's web client writes it (whatsapp-rust, `build_ephemeral_setting_message`).
pub fn timer_setting(seconds: u32, set_at: i64) -> wa::Message {
    let protocol = wa::message::ProtocolMessage {
        r#type: Some(wa::message::protocol_message::Type::EPHEMERAL_SETTING),
        ephemeral_expiration: Some(seconds),
        ephemeral_setting_timestamp: Some(set_at),
        disappearing_mode: MessageField::some(wa::DisappearingMode {
            initiator: Some(wa::disappearing_mode::Initiator::CHANGED_IN_CHAT),
            trigger: Some(wa::disappearing_mode::Trigger::UNKNOWN),
            ..Default::default()
        }),
        ..Default::default()
    };
    wa::Message { protocol_message: MessageField::some(protocol), ..Default::default() }
}
