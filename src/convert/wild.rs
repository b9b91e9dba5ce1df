//! Messages and events nobody meant to send: the golden ones with bytes and values changed at random. Whatever comes
//! of them is bounded and fit for clients; nothing panics. A longer run: `PROPTEST_CASES=100000`.

use super::golden::{cases, corpus, events, proto::Schema};
use super::incoming::{self, Context, Person};
use super::outgoing::{self, Resolved};
use super::{choices, quote};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::sync::LazyLock;
use whatsapp_rust::prelude::{Jid, wa};
use whatsapp_rust::waproto::codec::{message_decode, message_encoded_len, message_to_vec};

static MESSAGES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let schema = Schema::load();
    let messages = corpus("from_whatsapp").into_iter().map(|case| schema.encode("Message", &case["message"]));
    messages.filter(|bytes| bytes.len() < 20_000).collect()
});

static EVENTS: LazyLock<Vec<(String, Value)>> = LazyLock::new(|| {
    let events = corpus("to_whatsapp")
        .into_iter()
        .filter_map(|case| Some((case["type"].as_str()?.to_owned(), case["content"].clone())));
    events.filter(|(_, content)| content.to_string().len() < 20_000).collect()
});

pub fn look_at(message: &wa::Message, known: bool) {
    let people = |jid: &Jid| {
        Some(Person { mxid: format!("@wa_{}:example.org", jid.user.to_ascii_lowercase()), name: "N<&\n".repeat(50) })
    };
    let sender = Jid::pn("15550100");
    let known = |_: &super::MessageName| known;
    let context = Context { people: &people, known: &known, sender: &sender, from_me: false, command_prefix: "!wa" };
    let effect = incoming::read(message, &context);
    events::check(&effect);
    assert_eq!(incoming::read(message, &context), effect, "the same message is read the same");
    if incoming::is_silent(message) {
        assert_eq!(effect, incoming::Effect::Nothing);
    }
    assert!(incoming::people_in(message).len() <= 1_100);
    assert!(quote::compact(message).len() <= quote::MAX_BYTES);
    for choice in choices::choices(message) {
        assert!(choices::pick(&choices::choices(message), &choice.number.to_string()).is_some());
        choices::answer(&choice, None).ok();
    }
    incoming::poll_facts(message);
}

/// A value somewhere inside, by counting.
fn inside(value: &mut Value, at: usize) -> &mut Value {
    let children = match value {
        Value::Object(object) => object.len(),
        Value::Array(list) => list.len(),
        _ => 0,
    };
    if children == 0 || at % (children + 1) == children {
        return value;
    }
    let child = match value {
        Value::Object(object) => object.values_mut().nth(at % (children + 1)),
        Value::Array(list) => list.get_mut(at % (children + 1)),
        _ => None,
    };
    inside(child.unwrap(), at / (children + 1))
}

fn wild_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        Just(json!({})),
        Just(json!([])),
        any::<bool>().prop_map(|value| json!(value)),
        any::<i64>().prop_map(|value| json!(value)),
        any::<f64>().prop_map(|value| json!(value)),
        "\\PC{0,40}".prop_map(|value| json!(value)),
        "(<[a-z/]{1,5}>|[*_~`@$:.]|geo:|mxc://a/b|https://x|\u{0}|\n| ){0,12}".prop_map(|value| json!(value)),
        "[a-z]{1,3}".prop_map(|piece| json!(piece.repeat(20_000))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(600), max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_message_can_be_read(which in any::<prop::sample::Index>(), other in any::<prop::sample::Index>(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4), join in any::<bool>(), known in any::<bool>()) {
        let mut bytes = which.get(&MESSAGES).clone();
        if join {
            // Two messages in one: the protocol merges them.
            bytes.extend(other.get(&MESSAGES));
        }
        for (at, byte) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        if let Ok(message) = message_decode(&bytes) {
            look_at(&message, known);
        }
    }

    #[test]
    fn any_event_can_be_planned(which in any::<prop::sample::Index>(), changes in prop::collection::vec((any::<usize>(), wild_value()), 0..4), kind in any::<prop::sample::Index>()) {
        let (event_type, content) = which.get(&EVENTS);
        let event_type = if changes.len() == 3 { &kind.get(&EVENTS).0 } else { event_type };
        let mut content = content.clone();
        for (at, value) in changes {
            *inside(&mut content, at) = value;
        }
        let people = |_: &str| Some(Jid::pn("15550101"));
        let mut resolved = Resolved::new(&people);
        resolved.target = Some(cases::key("T"));
        match outgoing::plan(event_type, &content) {
            Err(refusal) => prop_assert!(!refusal.tell.is_empty() && refusal.tell.len() < 600),
            Ok(plan) => {
                if let Ok(Some(message)) = outgoing::build(&plan, &resolved) {
                    prop_assert!(message_encoded_len(&message) < 1 << 20);
                    // What we send is something we could read.
                    look_at(&message, true);
                    prop_assert!(message_decode(&message_to_vec(&message)).is_ok());
                }
            }
        }
    }

    #[test]
    fn words_come_back_from_the_other_side(text in "([*_~`> @\n-]|[a-c]){1,60}") {
        let content = json!({ "msgtype": "m.text", "body": text });
        let people = |_: &str| None;
        let resolved = Resolved::new(&people);
        if let Ok(plan) = outgoing::plan("m.room.message", &content) {
            let message = outgoing::build(&plan, &resolved).unwrap().unwrap();
            prop_assert_eq!(message.conversation.as_deref(), Some(text.as_str()));
            let nobody = |_: &Jid| None;
            let known = |_: &super::MessageName| false;
            let sender = Jid::pn("1");
            let context = Context { people: &nobody, known: &known, sender: &sender, from_me: false, command_prefix: "!wa" };
            let incoming::Effect::Say(parts) = incoming::read(&message, &context) else { panic!("nothing said") };
            prop_assert_eq!(parts[0].content["body"].as_str(), Some(text.as_str()));
        }
    }
}
