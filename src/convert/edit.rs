//! Edits as Matrix has them (CS-API, "Event replacements").

use serde_json::{Value, json};

/// The content of an event that gives `target` the content `new`.
pub fn replacement(new: &Value, target: &str) -> Value {
    let mut content = new.clone();
    let mut inner = new.clone();
    // The relation of the edited event stays its own; neither level may carry another one.
    for level in [&mut content, &mut inner] {
        if let Some(level) = level.as_object_mut() {
            level.remove("m.relates_to");
        }
    }
    if let Some(body) = content["body"].as_str().map(|body| format!("* {body}")) {
        content["body"] = body.into();
    }
    if let Some(html) = content["formatted_body"].as_str().map(|html| format!("* {html}")) {
        content["formatted_body"] = html.into();
    }
    content["m.new_content"] = inner;
    content["m.relates_to"] = json!({ "rel_type": "m.replace", "event_id": target });
    content
}

/// The content `original` has after its words became those of `new`: file, size and pictures stay.
pub fn new_words(original: &Value, new: &Value) -> Value {
    let mut content = original.clone();
    let Some(fields) = content.as_object_mut() else { return new.clone() };
    for key in ["body", "format", "formatted_body", "m.mentions"] {
        match new.get(key) {
            Some(value) => fields.insert(key.to_owned(), value.clone()),
            None => fields.remove(key),
        };
    }
    fields.remove("m.relates_to");
    // Without words the body is the file's name again.
    if new["body"].is_null() || new["body"] == new["filename"] {
        let name = fields.get("filename").cloned().unwrap_or_else(|| "file".into());
        fields.insert("body".to_owned(), name);
    }
    content
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_carries_its_content_twice() {
        let new = json!({ "msgtype": "m.text", "body": "b", "formatted_body": "<b>b</b>", "m.relates_to": { "x": 1 } });
        let edit = replacement(&new, "$t");
        assert_eq!(edit["body"], "* b");
        assert_eq!(edit["formatted_body"], "* <b>b</b>");
        assert_eq!(edit["m.new_content"], json!({ "msgtype": "m.text", "body": "b", "formatted_body": "<b>b</b>" }));
        assert_eq!(edit["m.relates_to"], json!({ "rel_type": "m.replace", "event_id": "$t" }));
    }

    #[test]
    fn new_words_keep_the_file() {
        let original = json!({ "msgtype": "m.image", "body": "old", "filename": "a.jpg", "url": "mxc://x/y", "formatted_body": "<b>old</b>" });
        let new = json!({ "msgtype": "m.image", "body": "new", "filename": "image.jpg", "m.mentions": {} });
        assert_eq!(
            new_words(&original, &new),
            json!({ "msgtype": "m.image", "body": "new", "filename": "a.jpg", "url": "mxc://x/y", "m.mentions": {} })
        );
        let none = json!({ "body": "image.jpg", "filename": "image.jpg" });
        assert_eq!(new_words(&original, &none)["body"], "a.jpg");
    }
}
