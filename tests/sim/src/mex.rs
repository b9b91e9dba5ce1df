//! `w:mex`: questions in GraphQL, known by the number of their text.

use serde_json::{Value, json};
use wacore_binary::{Node, builder::NodeBuilder};

use crate::{
    groups::{self, Refusal},
    ids::Address,
    newsletters,
    stanza::{attr_or_empty, content_text, iq_error, iq_result},
    state::State,
};

/// The questions about groups, by what clients send as `query_id`.
const SUB_GROUPS: &str = "9935467776504344";
const SUB_GROUP_COUNTS: &str = "24079399904996141";
const UPDATE_GROUP: &str = "9418211574894172";

/// Answers `<query query_id>{"variables":..}</query>`; nothing when the question
/// is not known.
pub fn answer(state: &mut State, actor: &Address, node: &Node) -> Option<Node> {
    let query = node.get_optional_child("query")?;
    let body: Value = content_text(query).and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    let variables = &body["variables"];
    let id = attr_or_empty(query, "query_id");
    let data = match id.as_str() {
        SUB_GROUPS => groups::sub_groups(state, actor, variables),
        SUB_GROUP_COUNTS => groups::sub_group_counts(state, actor, variables),
        UPDATE_GROUP => groups::update_property(state, actor, variables),
        _ => newsletters::query(state, actor, &id, variables)?,
    };
    let reply = match data {
        Ok(data) => json!({ "data": data }),
        Err(Refusal(400, text)) => return Some(iq_error(node, 400, text)),
        Err(Refusal(code, text)) => json!({
            "data": null,
            "errors": [{ "message": text, "extensions": {
                "error_code": code, "is_retryable": false, "is_summary": false, "severity": "ERROR",
            } }],
        }),
    };
    let result = NodeBuilder::new("result").bytes(reply.to_string().into_bytes()).build();
    Some(iq_result(node, [result]))
}
