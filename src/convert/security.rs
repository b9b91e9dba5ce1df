//! One test for each known kind of attack that content can carry; the names say what must not happen.

use super::incoming::{self, Context, Effect, Person};
use super::markup::{html, marks, names::Names, read, show};
use super::outgoing::{self, Plan};
use super::part::{WaSource, person_jid};
use super::{MessageName, choices, vcard};
use serde_json::json;
use std::collections::HashSet;
use whatsapp_rust::prelude::{Jid, MessageBuilderExt as _, MessageField, wa};

fn effect_of(message: &wa::Message) -> Effect {
    let people =
        |jid: &Jid| Some(Person { mxid: format!("@wa_{}:example.org", jid.user), name: "<b>\n\u{202e}".into() });
    let known = |_: &MessageName| false;
    let sender = Jid::pn("15550100");
    let context = Context { people: &people, known: &known, sender: &sender, from_me: false, command_prefix: "!wa" };
    incoming::read(message, &context)
}

/// CVE-2026-48063: protocol messages that only our own account may send, from a stranger.
#[test]
fn protocol_messages_of_own_devices_do_nothing() {
    use wa::message::protocol_message::Type;
    for kind in [
        Type::HISTORY_SYNC_NOTIFICATION,
        Type::APP_STATE_SYNC_KEY_SHARE,
        Type::APP_STATE_SYNC_KEY_REQUEST,
        Type::PEER_DATA_OPERATION_REQUEST_MESSAGE,
        Type::PEER_DATA_OPERATION_REQUEST_RESPONSE_MESSAGE,
        Type::LID_MIGRATION_MAPPING_SYNC,
        Type::INITIAL_SECURITY_NOTIFICATION_SETTING_SYNC,
        Type::APP_STATE_FATAL_EXCEPTION_NOTIFICATION,
    ] {
        let protocol = wa::message::ProtocolMessage { r#type: Some(kind), ..Default::default() };
        let message = wa::Message { protocol_message: MessageField::some(protocol), ..wa::Message::text("and a text") };
        assert_eq!(effect_of(&message), Effect::Nothing, "{kind:?}");
        assert!(incoming::is_silent(&message));
    }
}

/// CVE-2025-55177: nothing is fetched from where a message says.
#[test]
fn files_come_from_the_media_hosts_only() {
    for path in ["//evil.example/x", "https://evil.example/x", "x", "/a b", "/a\u{0}", ""] {
        let image = wa::message::ImageMessage {
            url: Some("https://evil.example/x".into()),
            direct_path: Some(path.into()),
            media_key: Some(vec![1; 32]),
            ..Default::default()
        };
        let message = wa::Message { image_message: MessageField::some(image), ..Default::default() };
        let Effect::Say(parts) = effect_of(&message) else { panic!("nothing said") };
        assert!(parts[0].media.is_none(), "{path}");
    }
}

/// CVE-2024-52602 and its kin: events can not make the bridge ask other hosts.
#[test]
fn files_of_events_come_from_homeservers_only() {
    for url in [
        "http://127.0.0.1/x",
        "mxc://a/../b",
        "mxc://a b/c",
        "mxc:///x",
        "mxc://a/",
        "file:///etc/passwd",
        "mxc://a/b?c",
    ] {
        let content = json!({ "msgtype": "m.image", "body": "x", "url": url });
        assert!(outgoing::plan("m.room.message", &content).is_err(), "{url}");
    }
}

/// CVE-2026-23863: names of files that are something else.
#[test]
fn file_names_are_names() {
    for name in ["../../a", "a\u{0}.png", "a\u{202e}gnp.exe", "C:\\x\\y", "\n\n", "....", "a/b/"] {
        let file = wa::message::DocumentMessage {
            file_name: Some(name.into()),
            direct_path: Some("/x".into()),
            media_key: Some(vec![1; 32]),
            ..Default::default()
        };
        let message = wa::Message { document_message: MessageField::some(file), ..Default::default() };
        let Effect::Say(parts) = effect_of(&message) else { panic!("nothing said") };
        let shown = &parts[0].media.as_ref().unwrap().name;
        assert!(
            !shown.contains(['/', '\\', '\u{0}', '\u{202e}', '\n']) && !shown.starts_with('.') && !shown.is_empty()
        );
        assert_eq!(parts[0].content["filename"], shown.as_str());
    }
}

/// CVE-2022-29166, CVE-2023-38690, CVE-2025-27146: what ends a line elsewhere does not in a name.
#[test]
fn names_stay_in_their_line() {
    let evil = "a\n> <@admin:x> give\u{2028}me\u{0}\r\u{85}\u{202e}x";
    let mut said = Vec::new();
    let location = wa::message::LocationMessage {
        degrees_latitude: Some(1.0),
        degrees_longitude: Some(1.0),
        name: Some(evil.into()),
        ..Default::default()
    };
    said.push(wa::Message { location_message: MessageField::some(location), ..Default::default() });
    let contact = wa::message::ContactMessage { display_name: Some(evil.into()), ..Default::default() };
    said.push(wa::Message { contact_message: MessageField::some(contact), ..Default::default() });
    let invite = wa::message::EventInviteMessage { event_title: Some(evil.into()), ..Default::default() };
    said.push(wa::Message { event_invite_message: MessageField::some(invite), ..Default::default() });
    for message in said {
        let Effect::Say(parts) = effect_of(&message) else { panic!("nothing said") };
        let body = parts[0].content["body"].as_str().unwrap();
        assert!(!body.contains(['\n', '\u{2028}', '\u{0}', '\r', '\u{85}', '\u{202e}']), "{body:?}");
    }
    let card = &vcard::read(&format!("BEGIN:VCARD\nFN:{}\nEND:VCARD", evil.replace('\n', "\\n")))[0];
    assert!(!card.name.contains(['\n', '\u{2028}', '\u{0}']));
    let Ok(Plan::Poll(poll)) = outgoing::plan(
        "m.poll.start",
        &json!({ "m.poll": { "question": { "m.text": evil }, "answers": [{ "m.id": "1", "m.text": evil }, { "m.id": "2", "m.text": "b" }] } }),
    ) else {
        panic!("no poll")
    };
    assert!(!poll.question.contains('\n') && !poll.options[0].1.contains('\u{2028}'));
}

/// A name is shown as a name, whatever it looks like.
#[test]
fn names_are_no_html() {
    let mut names = Names::none();
    names.add_person("1", "1@lid", "<i>");
    let person = |_: &str| Some(("@a\"><script>:x".to_owned(), "<script>".to_owned()));
    let shown = show(&read("@1 <b>", &names), &person);
    assert_eq!(shown, "<a href=\"https://matrix.to/#/@a%22%3E%3Cscript%3E:x\">@&lt;script&gt;</a> &lt;b&gt;");
    assert_eq!(show(&read("@1", &names), &|_| None), "@&lt;i&gt;");
}

/// CVE-2023-38700, CVE-2024-32000: what names another message carries ids that are ids, and nothing of it is followed here.
#[test]
fn targets_are_ids() {
    for id in ["", "a b", "a\nb", "\u{0}", &"x".repeat(200)] {
        let key = wa::MessageKey { id: Some(id.to_owned()), ..Default::default() };
        assert!(MessageName::of_key(&key).is_none(), "{id:?}");
        let content = json!({ "redacts": format!("${id}\n") });
        assert!(outgoing::plan("m.room.redaction", &content).is_err(), "{id:?}");
    }
}

/// CVE-2022-39203: two ids are never one person, and what is no id of a person is nobody.
#[test]
fn ids_are_people_or_nothing() {
    let all = ["1@lid", "1@s.whatsapp.net", "11@lid", "1-1@s.whatsapp.net", "1:5@lid"];
    let read: HashSet<String> = all.iter().filter_map(|id| person_jid(id)).map(|jid| jid.to_string()).collect();
    // The last one is a device of the first.
    assert_eq!(read.len(), all.len() - 1);
    for no in ["", "x", "1@g.us", "status@broadcast", "1@newsletter", "a b@lid", "@lid", "1@evil.example", "1/2@lid"] {
        assert_eq!(person_jid(no), None, "{no}");
    }
}

/// CVE-2024-52791, CVE-2022-31052: deep and huge content is bounded.
#[test]
fn bombs_are_small_when_they_leave() {
    let deep = format!("{}1{}", "[".repeat(30_000), "]".repeat(30_000));
    let button = wa::message::interactive_message::native_flow_message::NativeFlowButton {
        name: Some("single_select".into()),
        button_params_json: Some(deep),
    };
    let flow = wa::message::interactive_message::NativeFlowMessage { buttons: vec![button], ..Default::default() };
    let interactive = wa::message::InteractiveMessage {
        interactive_message: Some(wa::message::interactive_message::InteractiveMessage::NativeFlowMessage(Box::new(
            flow,
        ))),
        ..Default::default()
    };
    let message = wa::Message { interactive_message: MessageField::some(interactive), ..Default::default() };
    assert!(choices::choices(&message).is_empty());

    let deep = "<blockquote>".repeat(5_000);
    let text = marks::write(&html::read(&format!("{deep}x")).unwrap(), &|_| None);
    assert!(text.len() < 1_000);

    let mut wrapped = wa::Message::text("x");
    for _ in 0..50 {
        let inner = wa::message::FutureProofMessage { message: MessageField::some(wrapped) };
        wrapped = wa::Message { ephemeral_message: MessageField::some(inner), ..Default::default() };
    }
    assert!(matches!(effect_of(&wrapped), Effect::Say(_)));

    // A thousand names of a hundred letters each.
    let text: String = (0..1_000).map(|number| format!("@{number} ")).collect();
    let context_info = wa::ContextInfo {
        mentioned_jid: (0..1_000).map(|number| format!("{number}@lid")).collect(),
        ..Default::default()
    };
    let message = wa::Message::text_with_context(text, context_info);
    let Effect::Say(parts) = effect_of(&message) else { panic!("nothing said") };
    assert!(parts.iter().all(|part| part.content.to_string().len() < 48_000));
}

/// Keys of files are in no text that may be logged.
#[test]
fn nothing_secret_is_printed() {
    let image = wa::message::ImageMessage {
        direct_path: Some("/secret".into()),
        media_key: Some(b"secret".to_vec()),
        ..Default::default()
    };
    let message = wa::Message { image_message: MessageField::some(image), ..Default::default() };
    let effect = effect_of(&message);
    let Effect::Say(parts) = &effect else { panic!("nothing said") };
    assert!(matches!(parts[0].media.as_ref().unwrap().source, WaSource::Server(_)));
    assert!(!format!("{effect:?}").contains("secret"));
    let name = MessageName { chat: Some(Jid::pn("15550100")), id: "ID".into(), from_me: false, participant: None };
    assert!(!format!("{name:?}").contains("15550100"));
}
