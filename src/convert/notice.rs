//! The bridge's own words as a Matrix notice.

use serde_json::{Value, json};

/// The content of a notice that mentions nobody. What stands between backticks is shown as code; the plain body keeps
/// the backticks.
pub fn notice(text: &str) -> Value {
    let mut content = json!({ "msgtype": "m.notice", "body": text, "m.mentions": {} });
    if let Some(html) = html_of(text) {
        content["format"] = "org.matrix.custom.html".into();
        content["formatted_body"] = html.into();
    }
    content
}

/// The content of a notice that calls somebody: they are mentioned, and named before the words.
pub fn notice_to(mxid: &str, text: &str) -> Value {
    let html = html_of(text).unwrap_or_else(|| escape(text));
    let mxid_html = escape(mxid);
    json!({
        "msgtype": "m.notice",
        "body": format!("{mxid}: {text}"),
        "format": "org.matrix.custom.html",
        "formatted_body": format!("<a href=\"https://matrix.to/#/{mxid_html}\">{mxid_html}</a>: {html}"),
        "m.mentions": { "user_ids": [mxid] },
    })
}

fn html_of(text: &str) -> Option<String> {
    let pieces: Vec<String> = text.split('`').map(escape).collect();
    // An odd backtick is one.
    if pieces.len() < 3 || pieces.len().is_multiple_of(2) {
        return None;
    }
    let html = pieces.iter().enumerate().map(|(at, piece)| match at % 2 {
        0 => piece.clone(),
        _ => format!("<code>{piece}</code>"),
    });
    Some(html.collect())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\n', "<br>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_called_is_mentioned_and_named() {
        let content = notice_to("@a\"<b:x", "say `help` & <go>");
        assert_eq!(content["body"], "@a\"<b:x: say `help` & <go>");
        assert_eq!(content["m.mentions"]["user_ids"], json!(["@a\"<b:x"]));
        assert_eq!(
            content["formatted_body"],
            "<a href=\"https://matrix.to/#/@a&quot;&lt;b:x\">@a&quot;&lt;b:x</a>: say <code>help</code> &amp; &lt;go&gt;"
        );
    }

    #[test]
    fn commands_are_shown_as_code_and_nothing_else_is_html() {
        let content = notice("Say `login <qr>` or `help`,\nyou & <b>");
        assert_eq!(content["body"], "Say `login <qr>` or `help`,\nyou & <b>");
        assert_eq!(
            content["formatted_body"],
            "Say <code>login &lt;qr&gt;</code> or <code>help</code>,<br>you &amp; &lt;b&gt;"
        );
        for plain in ["no code", "an odd ` one", "`a` and `b"] {
            assert!(notice(plain).get("formatted_body").is_none(), "{plain}");
        }
    }
}
