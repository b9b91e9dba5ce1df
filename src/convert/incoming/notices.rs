//! What the bridge says in a sender's name: calls, messages that can not be read, files that are gone.

use super::frame::Frame;
use crate::convert::part::{MediaKind, MxPart};
use crate::convert::words;
use serde_json::{Value, json};
use whatsapp_rust::prelude::wa;

/// What is known of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallFacts {
    /// With pictures.
    pub video: bool,
    /// Of more than two.
    pub group: bool,
    /// Whether the login's own account called.
    pub outgoing: bool,
    /// What has become of it.
    pub state: CallState,
}

/// The life of a call; its notice is edited as it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallState {
    /// Nobody has answered yet.
    Ringing,
    /// It goes on.
    Answered,
    /// It was answered on another device.
    AnsweredElsewhere,
    /// Nobody answered.
    Missed,
    /// It was refused.
    Rejected,
    /// It could not be made.
    Failed,
    /// It was answered and is over.
    Ended {
        /// How long it was, when known.
        seconds: Option<u64>,
    },
}

/// The notice of a call as it is now.
pub fn call(facts: CallFacts) -> MxPart {
    let kind = match (facts.group, facts.video) {
        (false, false) => "voice call",
        (false, true) => "video call",
        (true, false) => "group voice call",
        (true, true) => "group video call",
    };
    let way = if facts.outgoing { "Outgoing" } else { "Incoming" };
    let sign = if facts.video { "📹" } else { "📞" };
    let text = match facts.state {
        CallState::Ringing if facts.outgoing => format!("{sign} {way} {kind}…"),
        CallState::Ringing => format!("{sign} {way} {kind}. Answer it in WhatsApp on your phone."),
        CallState::Answered => format!("{sign} {way} {kind}, going on"),
        CallState::AnsweredElsewhere => format!("{sign} {way} {kind}, answered on another device"),
        CallState::Missed if facts.outgoing => format!("{sign} {way} {kind}, not answered"),
        CallState::Missed => format!("{sign} Missed {kind}"),
        CallState::Rejected => format!("{sign} {way} {kind}, declined"),
        CallState::Failed => format!("{sign} {way} {kind}, failed"),
        CallState::Ended { seconds: Some(seconds) } => format!("{sign} {way} {kind}, {}", words::clock(seconds)),
        CallState::Ended { seconds: None } => format!("{sign} {way} {kind}, ended"),
    };
    let (state, seconds) = match facts.state {
        CallState::Ringing => ("ringing", None),
        CallState::Answered => ("answered", None),
        CallState::AnsweredElsewhere => ("answered_elsewhere", None),
        CallState::Missed => ("missed", None),
        CallState::Rejected => ("rejected", None),
        CallState::Failed => ("failed", None),
        CallState::Ended { seconds } => ("ended", seconds),
    };
    let mut action = json!({
        "type": "call",
        "call_type": if facts.group { "group" } else if facts.video { "video" } else { "voice" },
        "state": state,
    });
    if let Some(seconds) = seconds {
        action["duration"] = (seconds * 1_000).into();
    }
    let mut part = notice(&text);
    // A call that rings is for everybody to see; what became of it disturbs nobody.
    if facts.state == CallState::Ringing && !facts.outgoing {
        part.content["msgtype"] = "m.text".into();
    }
    part.content["com.beeper.action_message"] = action;
    part
}

fn notice(text: &str) -> MxPart {
    MxPart::new("m.room.message", json!({ "msgtype": "m.notice", "body": text, "m.mentions": {} }))
}

/// The place of a message that can not be read yet.
pub fn waiting() -> MxPart {
    let mut part = notice("Waiting for this message. It can take a while; it is shown here as soon as it can be read.");
    part.content["fi.mau.whatsapp.undecryptable"] = true.into();
    part
}

/// Why a file is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoneMedia {
    /// WhatsApp's servers no longer have it; the phone is asked to send it again.
    Asked,
    /// The phone does not have it either.
    Lost,
    /// Its bytes are not those that were sent.
    Damaged,
    /// It is larger than the homeserver or the bridge takes.
    TooLarge {
        /// Its bytes.
        bytes: u64,
        /// What is taken, bytes.
        limit: u64,
    },
}

/// The place of a file that could not be fetched. `content` is the part's own: its caption and its mentions stay.
pub fn media_gone(kind: MediaKind, why: GoneMedia, content: &Value) -> MxPart {
    let what = kind.noun();
    // What is too large must not look as large as what is allowed: the one is rounded up, the other down.
    let megabytes = |tenths: u64| match tenths % 10 {
        0 => format!("{} MB", tenths / 10),
        tenth => format!("{}.{tenth} MB", tenths / 10),
    };
    let mut text = match why {
        GoneMedia::Asked => format!(
            "This {what} is no longer on WhatsApp's servers. The phone was asked to send it again; it is shown here when it comes."
        ),
        GoneMedia::Lost => {
            format!("This {what} is no longer on WhatsApp's servers, and the phone does not have it either.")
        }
        GoneMedia::Damaged => {
            format!(
                "This {what} is damaged on WhatsApp's servers. Please ask for it again, or open WhatsApp on your phone."
            )
        }
        GoneMedia::TooLarge { bytes, limit } => format!(
            "This {what} has {} and at most {} can be shared here. Please open WhatsApp on your phone to see it.",
            megabytes(bytes.div_ceil(100_000)),
            megabytes(limit / 100_000)
        ),
    };
    let caption = content["body"].as_str().filter(|body| Some(*body) != content["filename"].as_str());
    if let Some(caption) = caption.filter(|caption| !caption.is_empty()) {
        text.push_str("\n\n");
        text.push_str(caption);
    }
    let mut part = notice(&text);
    if let Some(mentions) = content.get("m.mentions") {
        part.content["m.mentions"] = mentions.clone();
    }
    part.content["fi.mau.whatsapp.failed_media"] = true.into();
    part
}

/// A call as the phone's log has it.
pub(super) fn call_log(frame: &Frame<'_>, log: &wa::message::CallLogMessage) -> Vec<MxPart> {
    use wa::message::call_log_message::{CallOutcome, CallType};
    let seconds = log.duration_secs.and_then(|seconds| u64::try_from(seconds).ok());
    let state = match log.call_outcome {
        Some(CallOutcome::CONNECTED) => CallState::Ended { seconds },
        Some(CallOutcome::ONGOING) => CallState::Answered,
        Some(CallOutcome::ACCEPTED_ELSEWHERE) => CallState::AnsweredElsewhere,
        Some(CallOutcome::REJECTED) => CallState::Rejected,
        Some(CallOutcome::FAILED) => CallState::Failed,
        _ => CallState::Missed,
    };
    let group = log.participants.len() > 1 || log.call_type == Some(CallType::VOICE_CHAT);
    let facts = CallFacts { video: log.is_video == Some(true), group, outgoing: frame.context.from_me, state };
    vec![call(facts)]
}

pub(super) fn scheduled_call(frame: &Frame<'_>, call: &wa::message::ScheduledCallCreationMessage) -> Vec<MxPart> {
    use wa::message::scheduled_call_creation_message::CallType;
    let kind = if call.call_type == Some(CallType::VIDEO) { "video call" } else { "voice call" };
    let title = words::line(call.title.as_deref().unwrap_or_default(), 200);
    let title = if title.is_empty() { title } else { format!(": {title}") };
    let at = call.scheduled_timestamp_ms.and_then(|ms| words::moment(ms / 1_000));
    let at = at.map(|at| format!("\n{at}")).unwrap_or_default();
    frame.notice(&format!("📅 Planned a {kind}{title}{at}"))
}
