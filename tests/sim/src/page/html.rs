//! The frame of all pages, and text made safe for it.

/// The way back from a phone.
pub const BACK: &str = r#"<a href="/">All phones</a>"#;

const STYLE: &str = "
:root { color-scheme: light dark; --edge: #8884; --mine: #d9fdd3; --soft: #8882; }
@media (prefers-color-scheme: dark) { :root { --mine: #144d37; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 46rem; padding: 0 1rem 2rem; font: 1rem/1.45 system-ui, sans-serif; }
header { display: flex; gap: 1rem; align-items: center; justify-content: space-between; padding: .8rem 0;
  border-bottom: 1px solid var(--edge); }
header p { margin: 0; font-weight: 600; }
h1 { font-size: 1.4rem; margin: 1rem 0 .3rem; }
h2 { font-size: 1.05rem; margin: 1.4rem 0 .4rem; }
ul, ol { list-style: none; margin: 0; padding: 0; }
li { padding: .5rem 0; }
.list li { border-bottom: 1px solid var(--edge); }
.list a { display: block; text-decoration: none; }
.list [aria-current] { font-weight: 700; }
.talk { max-height: 55vh; overflow-y: auto; padding: .5rem; background: var(--soft); border-radius: .6rem; }
.talk li { padding: 0; margin: .35rem 0; display: flex; }
.talk p { margin: 0; padding: .35rem .7rem; border-radius: .6rem; background: Canvas; max-width: 85%;
  overflow-wrap: anywhere; white-space: pre-wrap; }
.talk .mine { justify-content: flex-end; }
.talk .mine p { background: var(--mine); }
small { opacity: .75; }
form { margin: .6rem 0; display: flex; flex-wrap: wrap; gap: .5rem; align-items: end; }
label { display: block; flex: 1 1 100%; }
input, textarea, select { display: block; width: 100%; margin-top: .2rem; padding: .55rem; font: inherit;
  border: 1px solid #888; border-radius: .5rem; background: Field; color: FieldText; }
textarea { min-height: 4.2rem; resize: vertical; }
button { padding: .6rem 1.1rem; font: inherit; border: 0; border-radius: .5rem; background: #0b7a5c; color: #fff;
  cursor: pointer; }
button.quiet { background: none; color: inherit; border: 1px solid #888; padding: .25rem .6rem; }
:focus-visible { outline: 3px solid #2a7de1; outline-offset: 2px; }
.complaint { padding: .6rem .8rem; border-left: .3rem solid #c0392b; background: #c0392b22; }
details { margin-top: 1rem; }
summary { cursor: pointer; padding: .4rem 0; font-weight: 600; }
";

/// Fetches the changing parts again when the server says so, and keeps the talk
/// scrolled to its end.
const SCRIPT: &str = "
const parts = [...document.querySelectorAll('[data-source]')]
const down = () => { const talk = document.querySelector('.talk'); if (talk) talk.scrollTop = talk.scrollHeight }
const shown = new Map()
async function renew (part) {
  const answer = await fetch(part.dataset.source)
  const text = await answer.text()
  if (!answer.ok || text === shown.get(part)) return
  shown.set(part, text)
  part.innerHTML = text
  down()
}
down()
new EventSource('/live').onmessage = () => parts.forEach(renew)
";

/// A whole page. `way` is HTML for the header, `body` for the rest.
pub fn page(title: &str, way: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{}</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <header><p>WhatsApp simulator</p>{way}</header>\n<main>\n{body}\n</main>\n\
         <script>{SCRIPT}</script>\n</body>\n</html>\n",
        escape(title)
    )
}

/// The part that changes, and where the script gets it anew.
pub fn live(source: &str, changing: &str) -> String {
    format!("<div data-source=\"{}\">{changing}</div>\n", escape(source))
}

/// What went wrong, if anything did.
pub fn complaint(error: Option<&str>) -> String {
    error.map_or_else(String::new, |error| format!("<p class=\"complaint\" role=\"alert\">{}</p>\n", escape(error)))
}

/// Text as it may stand in HTML, in attributes too.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

/// Text as it may stand in the query of an address.
pub fn query(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(b).to_string(),
            b => format!("%{b:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{escape, page, query};

    #[test]
    fn nothing_escapes_into_the_page() {
        let evil = "\"><script>alert('1 & 2')</script>";
        assert_eq!(escape(evil), "&quot;&gt;&lt;script&gt;alert(&#39;1 &amp; 2&#39;)&lt;/script&gt;");
        assert!(!page(evil, "", "").contains(evil));
        assert_eq!(query("1&chat=<2>"), "1%26chat%3D%3C2%3E");
    }
}
