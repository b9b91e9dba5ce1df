//! The first page: all phones.

use super::html::escape;
use crate::state::State;

/// Above the list.
pub const HEADING: &str =
    "<h1>Phones</h1>\n<p>Each account has a phone. Open one to read and write as its owner would.</p>\n";

/// Below the list.
pub const FORM: &str = "<h2>A new account</h2>\n\
    <form method=\"post\" action=\"/accounts\">\n\
    <label>Phone number, digits only <input name=\"number\" inputmode=\"numeric\" pattern=\"[0-9]+\" required></label>\n\
    <label>Name <input name=\"name\" required></label>\n\
    <button>Create</button>\n</form>\n";

/// The list.
pub fn changing(state: &State) -> String {
    let mut list = String::from("<ul class=\"list\" aria-label=\"Phones\">\n");
    for account in state.accounts.values() {
        let online = account.companions.values().filter(|c| c.link.conn().is_some()).count();
        list.push_str(&format!(
            "<li><a href=\"/phone/{number}\">{name} <small>+{number}, {linked} linked, {online} connected</small></a></li>\n",
            number = account.number,
            name = escape(&account.push_name),
            linked = account.companions.len(),
        ));
    }
    list.push_str("</ul>\n");
    if state.accounts.is_empty() {
        list.push_str("<p>There is no account yet.</p>\n");
    }
    if !state.unknown.is_empty() {
        list.push_str(&format!("<p class=\"complaint\">{} stanzas were not understood.</p>\n", state.unknown.len()));
    }
    list
}
