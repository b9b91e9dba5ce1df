//! What clients ask about groups in GraphQL.

use serde_json::{Value, json};

use super::{Refusal, model::Group, notify};
use crate::{account::Account, ids::Address, stanza::empty, state::State};

/// The group a GraphQL variable names, for a member of it.
fn asked<'a>(state: &'a State, actor: &Address, jid: Option<&str>) -> Result<&'a Group, Refusal> {
    let id = jid.and_then(|jid| jid.split('@').next()).ok_or(Refusal::BAD_REQUEST)?;
    let group = state.groups.get(id).ok_or(Refusal::NOT_FOUND)?;
    group.role(&actor.number).ok_or(Refusal::FORBIDDEN)?;
    Ok(group)
}

/// The groups of a community: `xwa2_group_query_by_id`.
pub fn sub_groups(state: &State, actor: &Address, variables: &Value) -> Result<Value, Refusal> {
    let community = asked(state, actor, variables["group_id"].as_str())?;
    let mut default = Value::Null;
    let mut edges = Vec::new();
    for group in state.groups.linked_to(&community.id) {
        let node = describe(state, group);
        if group.default_sub_group {
            default = node;
        } else {
            edges.push(json!({ "node": node }));
        }
    }
    Ok(json!({ "xwa2_group_query_by_id": {
        "__typename": "XWA2Group",
        "id": community.jid().to_string(),
        "default_sub_group": default,
        "sub_groups": { "edges": edges },
    } }))
}

fn describe(state: &State, group: &Group) -> Value {
    let creator = state.accounts.get(&group.creator).map(|account: &Account| group.jid_of(account, 0).to_string());
    json!({
        "id": group.jid().to_string(),
        "subject": { "value": group.subject, "creation_time": group.creation.to_string(), "creator": { "id": creator } },
        "participants_count": group.members.len(),
        "properties": {
            "general_chat": group.general_chat.to_string(),
            "hidden_group": "false",
            "membership_approval_mode_enabled": group.approval,
        },
        "membership_approval_requests": { "total_count": group.requests.len() },
    })
}

/// How many people are in each group of a community.
pub fn sub_group_counts(state: &State, actor: &Address, variables: &Value) -> Result<Value, Refusal> {
    let community = asked(state, actor, variables["input"]["group_jid"].as_str())?;
    let edges: Vec<Value> = state
        .groups
        .linked_to(&community.id)
        .into_iter()
        .map(|group| {
            json!({ "node": { "id": group.jid().to_string(), "total_participants_count": group.members.len() } })
        })
        .collect();
    Ok(json!({ "xwa2_group_query_by_id": {
        "__typename": "XWA2Group",
        "id": community.jid().to_string(),
        "sub_groups": { "edges": edges },
    } }))
}

/// The settings that are changed in GraphQL, by admins.
pub fn update(state: &mut State, actor: &Address, variables: &Value) -> Result<Value, Refusal> {
    let group = asked(state, actor, variables["group_id"].as_str())?;
    if !group.is_admin(&actor.number) {
        return Err(Refusal::FORBIDDEN);
    }
    let (id, jid) = (group.id.clone(), group.jid().to_string());
    let update = &variables["update"];
    let group = state.groups.get_mut(&id).ok_or(Refusal::NOT_FOUND)?;
    let mut shared = None;
    if let Some(mode) = update["member_link_mode"].as_str() {
        group.open_link = mode == "ALL_MEMBER_LINK";
    } else if let Some(mode) = update["member_share_group_history_mode"].as_str() {
        group.open_history = mode == "ALL_MEMBER_SHARE";
    } else if let Some(enabled) = update["limit_sharing"]["limit_sharing_enabled"].as_bool() {
        group.limit_sharing = enabled;
        shared = enabled.then(|| empty("limit_sharing_enabled"));
    } else {
        return Err(Refusal::BAD_REQUEST);
    }
    if let Some(body) = shared {
        notify::announce_to_members(state, &id, actor, body);
    }
    Ok(json!({ "xwa2_group_update_property": { "id": jid, "state": "ACTIVE" } }))
}
