//! What a passkey has to say in a linking: the question as a script for a browser, and the answer that comes back.
//!
//! Some accounts are linked only when their owner's passkey signs what WhatsApp asks (W3C, "Web Authentication", level 2). A
//! browser does that on WhatsApp's own site alone, so the person runs a small script there ([`script`]) and brings the answer back
//! (`read_answer`). An answer is good for one question, and is looked at before WhatsApp sees it: what was copied badly,
//! is older, or comes from another site is told to the person, who may try again.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use whatsapp_rust::passkey::{Assertion, build_webauthn_assertion_json, parse_request_options};

/// The site the script is run on. Never taken from what WhatsApp's server says.
pub const SITE: &str = "https://web.whatsapp.com";
/// Longest answer that is looked at, bytes: real ones have about 1000.
const LONGEST_ANSWER: usize = 32 << 10;
/// Shortest authenticator data, bytes (Web Authentication, section 6.1).
const SHORTEST_DATA: usize = 37;

/// Why an answer is not good; in the person's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnswerFault {
    /// Nothing waits for one.
    #[error("No passkey is asked for now, so this answer is of no use. To link an account, begin again.")]
    NotAsked,
    /// It is not all there, or something else.
    #[error(
        "That is not the passkey's answer, or not all of it. It begins with {{ and ends with }}; copy it once more as it is."
    )]
    NotWhole,
    /// It says something else than an answer does.
    #[error("That is no answer of a passkey. Run the script once more, and copy what its button gives you.")]
    NoAnswer,
    /// It answers another question.
    #[error("That answer belongs to an earlier attempt. Run the newest script, and copy what it gives you.")]
    Older,
    /// It was not made for WhatsApp.
    #[error("That answer was made on another site. Run the script on web.whatsapp.com.")]
    OtherSite,
    /// It is another passkey's.
    #[error(
        "That is another passkey than the ones WhatsApp knows of this account. Choose the one of this WhatsApp account."
    )]
    OtherPasskey,
}

/// What a browser gives (Web Authentication, section 5.1, `PublicKeyCredential.toJSON()`).
#[derive(Deserialize)]
struct Given {
    #[serde(rename = "rawId")]
    raw_id: String,
    response: GivenResponse,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GivenResponse {
    #[serde(rename = "clientDataJSON")]
    client_data: String,
    authenticator_data: String,
    signature: String,
    #[serde(default)]
    user_handle: Option<String>,
}

/// What the browser had signed (Web Authentication, section 5.8.1).
#[derive(Deserialize)]
struct ClientData {
    #[serde(rename = "type")]
    kind: String,
    challenge: String,
    origin: String,
}

/// The question as WhatsApp asks it, on one line; none when it can not be put to a browser.
pub(super) fn read_question(text: &str) -> Option<String> {
    parse_request_options(text).ok()?;
    let question: Value = serde_json::from_str(text).ok()?;
    Some(question.to_string())
}

/// The script that puts a question to the passkey, for the console of a browser on [`SITE`].
#[must_use]
pub fn script(question: &str) -> String {
    include_str!("passkey.js").trim_end().replace("{{options}}", question)
}

/// Reads the answer to a question, as it was copied.
///
/// # Errors
/// [`AnswerFault`]; then WhatsApp has not seen it, and another may be given.
pub(super) fn read_answer(question: &str, text: &str) -> Result<Assertion, AnswerFault> {
    let asked = parse_request_options(question).map_err(|_| AnswerFault::NotAsked)?;
    let cleaned = clean(text).ok_or(AnswerFault::NotWhole)?;
    let value: Value = serde_json::from_str(&cleaned).map_err(|_| AnswerFault::NotWhole)?;
    let given: Given = serde_json::from_value(value).map_err(|_| AnswerFault::NoAnswer)?;
    let bytes = |text: &str| decode(text).filter(|bytes| !bytes.is_empty()).ok_or(AnswerFault::NoAnswer);
    let raw_id = bytes(&given.raw_id)?;
    let client_data = bytes(&given.response.client_data)?;
    let data = bytes(&given.response.authenticator_data)?;
    let signature = bytes(&given.response.signature)?;
    let handle = given.response.user_handle.as_deref().map(bytes).transpose()?;
    let signed: ClientData = serde_json::from_slice(&client_data).map_err(|_| AnswerFault::NoAnswer)?;
    if signed.kind != "webauthn.get" || data.len() < SHORTEST_DATA {
        return Err(AnswerFault::NoAnswer);
    }
    let site = asked.rp_id.as_deref().unwrap_or("web.whatsapp.com");
    if !is_of_site(&signed.origin, site) || data[..32] != Sha256::digest(site)[..] {
        return Err(AnswerFault::OtherSite);
    }
    if decode(&signed.challenge).as_ref() != Some(&asked.challenge) {
        return Err(AnswerFault::Older);
    }
    if !asked.allow_credentials.is_empty() && !asked.allow_credentials.contains(&raw_id) {
        return Err(AnswerFault::OtherPasskey);
    }
    // Written anew from what was read: WhatsApp gets its own site's shape whoever made it.
    let assertion_json = build_webauthn_assertion_json(&raw_id, &client_data, &data, &signature, handle.as_deref());
    Ok(Assertion { assertion_json, credential_id: raw_id })
}

/// Whether a text looks like an answer, to a question of whatever age: so it is no word for anything else.
#[must_use]
pub fn looks_like_answer(text: &str) -> bool {
    text.trim_start_matches(|c: char| c.is_whitespace() || c == '`').starts_with('{')
}

/// What stands between the first and the last brace, without what programs between the browser and us add: line breaks where it
/// was wrapped, signs for Markdown, quotation marks of prose.
fn clean(text: &str) -> Option<String> {
    let (from, to) = (text.find('{')?, text.rfind('}')?);
    let inner = text.get(from..=to).filter(|inner| inner.len() <= LONGEST_ANSWER)?;
    Some(inner.replace(['\n', '\r'], "").replace("\\_", "_").replace(['“', '”', '„'], "\"").replace('\u{a0}', " "))
}

/// base64url with or without its padding (RFC 4648, section 5); the other alphabet is taken too.
fn decode(text: &str) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(text.trim_end_matches('=').replace('+', "-").replace('/', "_")).ok()
}

/// Whether an origin is of a site (Web Authentication, section 5.1.4.1: the site's domain or one below it). Origins that are no
/// web pages' are those of apps, which WhatsApp knows better.
fn is_of_site(origin: &str, site: &str) -> bool {
    let Some((scheme, rest)) = origin.split_once("://") else { return true };
    let host = rest.split(['/', ':']).next().unwrap_or_default();
    scheme == "https" && (host == site || host.strip_suffix(site).is_some_and(|before| before.ends_with('.')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn code(bytes: &[u8]) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    fn question(allowed: &[&[u8]]) -> String {
        let allowed: Vec<Value> = allowed.iter().map(|id| json!({ "type": "public-key", "id": code(id) })).collect();
        let asked = json!({
            "challenge": code(b"what is asked"), "rpId": "whatsapp.com", "allowCredentials": allowed,
            "userVerification": "required", "timeout": 600_000, "extensions": { "uvm": true },
        });
        read_question(&asked.to_string()).unwrap()
    }

    fn data(site: &str) -> Vec<u8> {
        [&Sha256::digest(site)[..], &[5, 0, 0, 0, 1]].concat()
    }

    fn answer(challenge: &[u8], origin: &str, site: &str) -> Value {
        let signed = json!({ "type": "webauthn.get", "challenge": code(challenge), "origin": origin });
        json!({
            "id": code(b"the passkey"), "rawId": code(b"the passkey"), "type": "public-key", "clientExtensionResults": {},
            "response": {
                "clientDataJSON": code(signed.to_string().as_bytes()), "authenticatorData": code(&data(site)),
                "signature": code(&[251, 255, 190]), "userHandle": code(b"me"),
            },
        })
    }

    fn good() -> Value {
        answer(b"what is asked", SITE, "whatsapp.com")
    }

    #[test]
    fn a_good_answer_is_read_however_it_was_copied() {
        let text = good().to_string();
        assert!(text.contains('_') && text.contains("-_"), "a text that shows what programs do to it");
        let wrapped: String =
            text.char_indices().map(|(n, c)| format!("{c}{}", if n % 76 == 75 { "\n" } else { "" })).collect();
        for copied in [
            text.clone(),
            format!("```\n{text}\n```"),
            format!("  {text} \n"),
            wrapped,
            text.replace('_', "\\_"),
            text.replace('_', "/").replace("-/", "+/"),
            serde_json::to_string_pretty(&good()).unwrap(),
        ] {
            let read = read_answer(&question(&[]), &copied).unwrap_or_else(|fault| panic!("{fault}: {copied}"));
            assert_eq!(read.credential_id, b"the passkey");
            let sent: Value = serde_json::from_slice(&read.assertion_json).unwrap();
            let mut want = good();
            want.as_object_mut().unwrap().remove("clientExtensionResults");
            assert_eq!(sent, want);
        }
        let mut without = good();
        without["response"]["userHandle"] = Value::Null;
        assert!(read_answer(&question(&[b"another", b"the passkey"]), &without.to_string()).is_ok());
    }

    #[test]
    fn what_is_wrong_with_an_answer_is_said() {
        let changed = |path: &str, to: Value| {
            let mut answer = good();
            *answer.pointer_mut(path).unwrap() = to;
            answer.to_string()
        };
        let created = json!({ "type": "webauthn.create", "challenge": code(b"what is asked"), "origin": SITE });
        for (text, fault) in [
            ("hello".to_owned(), AnswerFault::NotWhole),
            ("{}".to_owned(), AnswerFault::NoAnswer),
            (good().to_string()[20..].to_owned(), AnswerFault::NotWhole),
            (good().to_string()[..200].to_owned(), AnswerFault::NotWhole),
            (format!("{{{}}}", " ".repeat(LONGEST_ANSWER)), AnswerFault::NotWhole),
            (changed("/response", json!({})), AnswerFault::NoAnswer),
            (changed("/response/signature", json!("")), AnswerFault::NoAnswer),
            (changed("/response/signature", json!("not base64!")), AnswerFault::NoAnswer),
            (changed("/response/authenticatorData", json!(code(&data("whatsapp.com")[..36]))), AnswerFault::NoAnswer),
            (changed("/response/clientDataJSON", json!(code(created.to_string().as_bytes()))), AnswerFault::NoAnswer),
            (changed("/response/authenticatorData", json!(code(&data("example.com")))), AnswerFault::OtherSite),
            (
                answer(b"what is asked", "https://whatsapp.com.evil.net", "whatsapp.com").to_string(),
                AnswerFault::OtherSite,
            ),
            (answer(b"what is asked", "https://evilwhatsapp.com", "whatsapp.com").to_string(), AnswerFault::OtherSite),
            (answer(b"what is asked", "http://web.whatsapp.com", "whatsapp.com").to_string(), AnswerFault::OtherSite),
            (answer(b"what was asked", SITE, "whatsapp.com").to_string(), AnswerFault::Older),
        ] {
            assert_eq!(read_answer(&question(&[]), &text).unwrap_err(), fault, "{text}");
        }
        assert_eq!(read_answer(&question(&[b"another"]), &good().to_string()).unwrap_err(), AnswerFault::OtherPasskey);
        assert!(read_question("{\"rpId\": \"whatsapp.com\"}").is_none());
    }

    #[test]
    fn only_what_begins_with_a_brace_looks_like_an_answer() {
        assert!(looks_like_answer(" ```\n{\"id\": 1}```") && looks_like_answer("{"));
        assert!(!looks_like_answer("login qr") && !looks_like_answer("") && !looks_like_answer("id\":{"));
    }

    #[test]
    fn the_script_holds_the_question_and_no_address() {
        let script = script(&question(&[]));
        assert!(script.contains(&code(b"what is asked")) && !script.contains("{{"));
        // It can send the answer nowhere: the person carries it.
        for way in ["http", "fetch", "XMLHttpRequest", "WebSocket", "sendBeacon", "src"] {
            assert!(!script.contains(way), "{way}");
        }
    }
}
