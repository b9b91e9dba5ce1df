//! Running one case.

use super::proto::Schema;
use super::{events, show};
use crate::convert::choices::{self, Choice};
use crate::convert::incoming::{self, Context, Person, Sealed};
use crate::convert::outgoing::{self, Plan, Quoted, Resolved, Timer, Uploaded};
use crate::convert::part::{MediaKind, WaReference};
use crate::convert::quote;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::str::FromStr as _;
use whatsapp_rust::prelude::{Jid, MessageExt as _, wa};
use whatsapp_rust::waproto::codec::{message_decode, message_to_vec};

fn message_of(schema: &Schema, json: &Value) -> wa::Message {
    message_decode(&schema.encode("Message", json)).expect("the message decodes")
}

fn json_of(schema: &Schema, message: &wa::Message) -> Value {
    schema.decode("Message", &message_to_vec(message))
}

/// A message from WhatsApp.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FromWhatsapp {
    message: Value,
    /// Names of the people the room knows, by WhatsApp id.
    #[serde(default)]
    people: BTreeMap<String, String>,
    /// Ids of the messages in the room.
    #[serde(default)]
    known: Vec<String>,
    #[serde(default = "somebody")]
    sender: String,
    #[serde(default)]
    from_me: bool,
}

fn somebody() -> String {
    "15550100@s.whatsapp.net".to_owned()
}

pub fn from_whatsapp(schema: &Schema, input: &Value) -> Value {
    let case: FromWhatsapp = serde_json::from_value(input.clone()).expect("a case");
    let message = message_of(schema, &case.message);
    let people = |jid: &Jid| {
        let name = case.people.get(&jid.to_string())?.clone();
        Some(Person { mxid: format!("@whatsapp_{}:example.org", jid.user), name })
    };
    let known = |name: &crate::convert::MessageName| case.known.contains(&name.id);
    let sender = Jid::from_str(&case.sender).unwrap();
    let context =
        Context { people: &people, known: &known, sender: &sender, from_me: case.from_me, command_prefix: "!wa" };
    let effect = incoming::read(&message, &context);
    events::check(&effect);
    let mut out = show::effect(&effect);
    let mut add = |key: &str, value: Value| {
        if value.as_array().is_none_or(|list| !list.is_empty()) {
            out[key] = value;
        }
    };
    add("people_in", incoming::people_in(&message).iter().map(Jid::to_string).collect());
    add("choices", serde_json::to_value(choices::choices(&message)).unwrap());
    // Whatever says nothing has to be silent before it is stored, too.
    assert!(!incoming::is_silent(&message) || effect == incoming::Effect::Nothing);
    let compact = quote::compact(&message);
    assert!(compact.len() <= quote::MAX_BYTES);
    let back = quote::read(&compact).expect("the copy is read again");
    assert_eq!(quote::compact(&back), compact, "a copy of a copy is the same");
    if matches!(effect, incoming::Effect::Say(_)) {
        add("quoted_as", quote::in_words(&back).into());
    }
    out
}

/// An event from Matrix, or an answer to a message with choices.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ToWhatsapp {
    #[serde(rename = "type", default)]
    event_type: String,
    #[serde(default)]
    content: Value,
    /// WhatsApp ids of the people in the room, by Matrix id.
    #[serde(default)]
    people: BTreeMap<String, String>,
    #[serde(default)]
    quoted: Option<QuotedCase>,
    #[serde(default)]
    target: Option<String>,
    #[serde(default)]
    thread: Option<String>,
    #[serde(default)]
    album: Option<String>,
    #[serde(default)]
    original: Option<Value>,
    #[serde(default)]
    uploaded: Option<UploadedCase>,
    #[serde(default)]
    preview: Option<UploadedCase>,
    #[serde(default)]
    cards: Option<String>,
    #[serde(default)]
    results: Vec<(String, u64)>,
    #[serde(default)]
    sealed: bool,
    #[serde(default)]
    secret: bool,
    #[serde(default)]
    timer: Option<u32>,
    #[serde(default)]
    sequence: i64,
    #[serde(default)]
    said_by: Option<String>,
    /// The poll's answers a vote is for.
    #[serde(default)]
    options: Vec<(String, String)>,
    /// What is pinned before.
    #[serde(default)]
    pinned: Vec<String>,
    /// A message with choices, and the answer to it.
    #[serde(default)]
    choose: Option<(Value, String)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QuotedCase {
    id: String,
    author: String,
    message: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UploadedCase {
    kind: MediaKind,
    mime: String,
    #[serde(default)]
    width: Option<u32>,
    #[serde(default)]
    height: Option<u32>,
    #[serde(default)]
    seconds: Option<u32>,
    #[serde(default)]
    pages: Option<u32>,
    #[serde(default)]
    thumbnail: Option<String>,
    #[serde(default)]
    waveform: Vec<u8>,
}

impl UploadedCase {
    fn upload(&self) -> Uploaded {
        Uploaded {
            kind: self.kind,
            url: "https://mmg.whatsapp.net/v/f".to_owned(),
            handle: None,
            reference: WaReference {
                direct_path: "/v/f".to_owned(),
                media_key: b"key".to_vec(),
                file_sha256: b"sha".to_vec(),
                file_enc_sha256: b"enc".to_vec(),
                file_length: Some(1_000),
                key_time: Some(1_700_000_000),
            },
            sidecar: None,
            mime: self.mime.clone(),
            width: self.width,
            height: self.height,
            seconds: self.seconds,
            pages: self.pages,
            thumbnail: self.thumbnail.as_ref().map(|text| STANDARD.decode(text).unwrap()),
            waveform: self.waveform.clone(),
        }
    }
}

pub fn key(id: &str) -> wa::MessageKey {
    wa::MessageKey {
        remote_jid: Some("120363000000000001@g.us".to_owned()),
        from_me: Some(true),
        id: Some(id.to_owned()),
        participant: None,
    }
}

pub fn to_whatsapp(schema: &Schema, input: &Value) -> Value {
    let case: ToWhatsapp = serde_json::from_value(input.clone()).expect("a case");
    let people = |mxid: &str| case.people.get(mxid).map(|jid| Jid::from_str(jid).unwrap());
    let mut resolved = Resolved::new(&people);
    resolved.quoted = case.quoted.as_ref().map(|quoted| Quoted {
        id: quoted.id.clone(),
        author: Jid::from_str(&quoted.author).unwrap(),
        compact: quote::compact(&message_of(schema, &quoted.message)),
        chat: None,
    });
    if let Some((message, text)) = &case.choose {
        return choose(schema, &message_of(schema, message), text, resolved.quoted.as_ref());
    }
    resolved.target = case.target.as_deref().map(key);
    resolved.thread = case.thread.as_deref().map(key);
    resolved.album = case.album.as_deref().map(key);
    resolved.original = case.original.as_ref().map(|message| message_of(schema, message));
    resolved.uploaded = case.uploaded.as_ref().map(UploadedCase::upload);
    resolved.preview = case.preview.as_ref().map(UploadedCase::upload);
    resolved.cards = case.cards.clone();
    resolved.results = case.results.clone();
    resolved.sealed = case.sealed.then(|| Sealed { payload: b"payload and its tag".to_vec(), iv: vec![1; 12] });
    resolved.secret = case.secret.then_some([7; 32]);
    resolved.timer = case.timer.map(|seconds| Timer { seconds, set_at: 1_700_000_000 });
    resolved.sequence = case.sequence;
    resolved.said_by = case.said_by.clone();
    resolved.ts_ms = 1_700_000_000_123;
    let plan = match outgoing::plan(&case.event_type, &case.content) {
        Ok(plan) => plan,
        Err(refusal) => return json!({ "refusal": refusal.tell }),
    };
    let mut out = Map::new();
    out.insert("plan".into(), show::plan(&plan));
    match &plan {
        Plan::Vote { answers, .. } => match outgoing::vote_hashes(answers, &case.options) {
            Ok(hashes) => {
                drop(out.insert("hashes".into(), hashes.iter().map(|hash| crate::derive::hex(hash)).collect()))
            }
            Err(refusal) => {
                out.insert("refusal".into(), refusal.tell.into());
                return out.into();
            }
        },
        Plan::Pins { pinned } => {
            let changes = outgoing::pins_changed(&case.pinned, pinned);
            out.insert("changes".into(), changes.iter().map(show::plan).collect());
        }
        _ => {}
    }
    match outgoing::build(&plan, &resolved) {
        Ok(Some(message)) => drop(out.insert("message".into(), json_of(schema, &message))),
        Ok(None) => {}
        Err(refusal) => drop(out.insert("refusal".into(), refusal.tell.into())),
    }
    out.into()
}

fn choose(schema: &Schema, message: &wa::Message, text: &str, quoted: Option<&Quoted>) -> Value {
    let list: Vec<Choice> = choices::choices(message.get_base_message());
    let Some(choice) = choices::pick(&list, text) else { return json!({ "chosen": null }) };
    let mut out = json!({ "chosen": serde_json::to_value(choice).unwrap() });
    match choices::answer(choice, quoted) {
        Ok(message) => out["message"] = json_of(schema, &message),
        Err(refusal) => out["refusal"] = refusal.tell.into(),
    }
    out
}
