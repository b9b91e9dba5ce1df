//! The passkey step of a login in a room: what to do, the answer somebody pastes, and the word that two codes are the same.
//!
//! An answer counts for the login of who says it, and of nobody else; it is taken out of the room, good or not.

use super::Call;
use super::puppet::hide_message;
use crate::convert::escape;
use crate::matrix::error::{MatrixError, Result};
use crate::whatsapp::passkey::{AnswerFault, SITE, looks_like_answer, script};
use ruma::UserId;
use serde_json::{Value, json};
use std::time::Duration;

/// What to do, as a notice.
pub(super) fn instructions(question: &str, valid: Duration) -> Value {
    let script = script(question);
    let site = SITE.trim_start_matches("https://");
    let minutes = valid.as_secs().div_ceil(60).max(1);
    let begin = "WhatsApp wants to see this account's passkey before it links me. Only a browser on WhatsApp's own site can ask \
                 it, so please do this where you can use the passkey:";
    let last = format!("Paste the answer here within {minutes} minutes. I take your message away. cancel stops it.");
    let never =
        "The script asks your passkey and gives the answer to you alone. Never paste there what strangers give you.";
    let steps = [
        format!("Open {site} in a browser. You need not log in there."),
        "Open its console: press F12 and choose Console. Some browsers want you to type allow pasting first."
            .to_owned(),
        "Paste this and press Enter:".to_owned(),
    ];
    let press = "On the page press Use my passkey, then Copy the answer.";
    let numbered: Vec<String> = steps.iter().zip(1..).map(|(step, number)| format!("{number}. {step}")).collect();
    let items: String = steps[..2].iter().map(|step| format!("<li>{}</li>", escape(step))).collect();
    json!({
        "msgtype": "m.notice",
        "body": format!("{begin}\n{}\n```\n{script}\n```\n4. {press}\n5. {last}\n{never}", numbered.join("\n")),
        "format": "org.matrix.custom.html",
        "formatted_body": format!(
            "<p>{}</p><ol>{items}<li>{}<pre><code class=\"language-javascript\">{}</code></pre></li><li>{press}</li>\
             <li>{last}</li></ol><p>{never}</p>",
            escape(begin),
            escape(&steps[2]),
            escape(&script)
        ),
        "m.mentions": {},
    })
}

/// Takes what somebody pasted for the answer of their passkey.
pub(super) async fn take(call: &Call, text: &str) -> Result<()> {
    let user = UserId::parse(call.speaker.as_str()).map_err(|_| MatrixError::NotFound)?;
    hide_message(call, &user).await;
    match call.bridge.whatsapp().answer_passkey(&call.speaker, text) {
        Ok(()) => call.answer("Thank you. WhatsApp looks at it; this takes a moment.").await,
        Err(AnswerFault::NotAsked) => call.answer(&AnswerFault::NotAsked.to_string()).await,
        Err(fault) => call.answer(&format!("{fault} I go on waiting for it; `cancel` stops that.")).await,
    }
}

/// Whether a message is an answer: one that is waited for, or late.
pub(super) fn is_answer(call: &Call, text: &str) -> bool {
    looks_like_answer(text) && (text.contains("clientDataJSON") || call.bridge.whatsapp().wants_passkey(&call.speaker))
}

/// Whether something that is no command is taken for the answer: it is waited for, and who says it speaks for themselves.
pub(super) fn is_waited_for(call: &Call) -> bool {
    call.speaker == call.sender && call.bridge.whatsapp().wants_passkey(&call.speaker)
}

/// Says that the phone shows the same code.
pub(super) async fn confirm(call: &Call) -> Result<()> {
    if call.speaker != call.sender {
        return call.answer("Only who logs in can compare the codes.").await;
    }
    let text = match call.bridge.whatsapp().confirm_code(&call.speaker) {
        true => "I have told WhatsApp that the codes are the same.",
        false => "Nothing is to be confirmed.",
    };
    call.answer(text).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instructions_hold_the_script_as_it_is_to_be_pasted() {
        let question = r#"{"challenge":"AAAA<","rpId":"whatsapp.com"}"#;
        let notice = instructions(question, Duration::from_secs(600));
        let body = notice["body"].as_str().unwrap();
        assert_eq!(body.split("```").nth(1).unwrap().trim(), script(question));
        assert!(body.contains("Open web.whatsapp.com") && body.contains("within 10 minutes"));
        let html = notice["formatted_body"].as_str().unwrap();
        assert!(html.contains("{&quot;challenge&quot;:&quot;AAAA&lt;&quot;"), "{html}");
    }
}
