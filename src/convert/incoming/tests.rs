//! What the bridge asks for besides reading a message: calls, places of what is missing, polls' votes and ends.

use super::*;
use crate::convert::golden::events;
use crate::convert::{MediaKind, MessageName};
use serde_json::json;
use std::str::FromStr as _;
use whatsapp_rust::prelude::MessageField;

/// The text of a part that clients can read.
fn said(part: MxPart) -> String {
    let text = part.content["body"].as_str().unwrap().to_owned();
    events::check(&Effect::Say(vec![part]));
    text
}

#[test]
fn the_notice_of_a_call_follows_its_life() {
    let facts = |state| CallFacts { video: false, group: false, outgoing: false, state };
    for (state, text) in [
        (CallState::Ringing, "📞 Incoming voice call. Answer it in WhatsApp on your phone."),
        (CallState::Answered, "📞 Incoming voice call, going on"),
        (CallState::AnsweredElsewhere, "📞 Incoming voice call, answered on another device"),
        (CallState::Missed, "📞 Missed voice call"),
        (CallState::Rejected, "📞 Incoming voice call, declined"),
        (CallState::Failed, "📞 Incoming voice call, failed"),
        (CallState::Ended { seconds: Some(61) }, "📞 Incoming voice call, 1:01"),
        (CallState::Ended { seconds: None }, "📞 Incoming voice call, ended"),
    ] {
        assert_eq!(said(call(facts(state))), text);
    }
    let group = CallFacts { video: true, group: true, outgoing: true, state: CallState::Missed };
    assert_eq!(said(call(group)), "📹 Outgoing group video call, not answered");
    assert_eq!(call(facts(CallState::Ringing)).content["msgtype"], "m.text", "a call that rings is heard");
    assert_eq!(call(facts(CallState::Missed)).content["msgtype"], "m.notice");
}

#[test]
fn what_is_missing_has_a_place() {
    assert_eq!(waiting().content["fi.mau.whatsapp.undecryptable"], true);
    said(waiting());
    let content = json!({ "body": "the sea", "filename": "image.jpg", "m.mentions": { "user_ids": ["@a:b"] } });
    let gone = media_gone(MediaKind::Image, GoneMedia::Asked, &content);
    assert_eq!(gone.content["m.mentions"], content["m.mentions"]);
    let text = said(gone);
    assert!(text.starts_with("This photo is no longer") && text.ends_with("\n\nthe sea"));
    let nameless = json!({ "body": "image.jpg", "filename": "image.jpg" });
    assert!(said(media_gone(MediaKind::Voice, GoneMedia::Lost, &nameless)).ends_with("either."));
    let large = media_gone(MediaKind::Video, GoneMedia::TooLarge { bytes: 100_000_001, limit: 50_000_000 }, &nameless);
    assert!(said(large).contains("has 100.1 MB and at most 50 MB can be shared here"));
}

#[test]
fn votes_and_ends_are_events_clients_count() {
    let vote = poll_response("$poll", &["a".to_owned()]);
    assert_eq!(vote.content["m.relates_to"], json!({ "rel_type": "m.reference", "event_id": "$poll" }));
    events::check(&Effect::Say(vec![vote, poll_response("$poll", &[])]));
    assert_eq!(said(poll_end("$poll", "Pizza: 3\u{0}")), "Pizza: 3\u{fffd}");
}

#[test]
fn what_is_kept_of_a_poll() {
    let option = |name: &str| wa::message::poll_creation_message::Option {
        option_name: Some(name.to_owned()),
        ..Default::default()
    };
    let poll = wa::message::PollCreationMessage {
        name: Some("Q".into()),
        options: ["A", "B", "A"].map(option).to_vec(),
        selectable_options_count: Some(1),
        end_time: Some(1_800_000_000_000),
        ..Default::default()
    };
    let message = wa::Message {
        poll_creation_message_v3: MessageField::some(poll),
        message_context_info: MessageField::some(wa::MessageContextInfo {
            message_secret: Some(vec![7; 32]),
            ..Default::default()
        }),
        ..Default::default()
    };
    let facts = poll_facts(&message).unwrap();
    assert_eq!(facts.options, [PollOption::new("A"), PollOption::new("B")]);
    assert_eq!((facts.max_selections, facts.ends_at), (1, Some(1_800_000_000)));
    assert_eq!(facts.secret, Some(vec![7; 32]));
    assert!(!format!("{facts:?}").contains('7'));
    assert_eq!(poll_facts(&wa::Message::default()), None);
}

#[test]
fn an_answer_to_an_invitation_is_told() {
    let nobody = |_: &Jid| None;
    let known = |_: &MessageName| true;
    let sender = Jid::from_str("15550100@s.whatsapp.net").unwrap();
    let context = Context { people: &nobody, known: &known, sender: &sender, from_me: false, command_prefix: "!wa" };
    let event = MessageName { chat: None, id: "E".into(), from_me: true, participant: None };
    let answer = wa::message::EventResponseMessage {
        response: Some(wa::message::event_response_message::EventResponseType::GOING),
        extra_guest_count: Some(2),
        ..Default::default()
    };
    let part = rsvp(&answer, &event, &context);
    assert_eq!(part.reply_to, Some(event));
    assert_eq!(said(part), "Going, with 2 guests");
}
