//! Groups as a phone makes and changes them, and as the server knows them.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use wacore_binary::{Jid, JidExt as _, Node, NodeContent, Server, builder::NodeBuilder};

use super::Simulator;
use crate::{
    account::Addressing,
    groups::{self, Change, GroupInfo, NewGroup, PersonResult, info_of, result_of},
    ids::{Address, Number},
    stanza::{attr, attr_or_empty, children, jid},
    state::State,
};

/// What a new group is like; see [`Simulator::create_group_with`].
#[derive(Clone, Debug, Default)]
pub struct GroupOptions {
    /// Its name.
    pub subject: String,
    /// Numbers or JIDs of those who are in it beside its maker.
    pub members: Vec<String>,
    /// By which address its members are known; as its maker is when absent.
    pub addressing: Option<Addressing>,
    /// Whether it is a community.
    pub community: bool,
    /// The community it belongs to, a JID.
    pub parent: Option<String>,
}

impl Simulator {
    /// The phone of `number` makes a group with these members. Returns its JID.
    pub fn create_group(&self, number: &str, subject: &str, members: &[&str]) -> Result<String> {
        let members = members.iter().map(|member| (*member).to_owned()).collect();
        self.create_group_with(number, &GroupOptions { subject: subject.to_owned(), members, ..Default::default() })
    }

    /// The phone of `number` makes a group. Those who do not let themselves be
    /// added are not in it. Errors on a bad subject or a foreign community.
    pub fn create_group_with(&self, number: &str, options: &GroupOptions) -> Result<String> {
        let actor = Address::new(&Number::parse(number)?, 0);
        self.shared.with(|state| {
            let people = options.members.iter().map(|member| person(state, member)).collect::<Result<Vec<_>>>()?;
            let new = NewGroup {
                subject: options.subject.clone(),
                family: options.addressing.map(|addressing| match addressing {
                    Addressing::Lid | Addressing::LidAlone => Server::Lid,
                    Addressing::Pn | Addressing::PnAlone => Server::Pn,
                }),
                people,
                parent: options.community.then(Default::default),
                linked_parent: options.parent.as_deref().map(group_id).transpose()?,
                ..Default::default()
            };
            let (id, _) = groups::create(state, &actor, new)?;
            Ok(Jid::group(id).to_string())
        })
    }

    /// The phone of `number` adds, removes, promotes or demotes people (numbers
    /// or JIDs): `change` is one of these words. Errors when the change as a
    /// whole is refused.
    pub fn change_participants(
        &self,
        number: &str,
        group: &str,
        change: &str,
        people: &[&str],
    ) -> Result<Vec<PersonResult>> {
        let actor = Address::new(&Number::parse(number)?, 0);
        let change = Change::parse(change).with_context(|| format!("no change is called {change:?}"))?;
        let id = group_id(group)?;
        self.shared.with(|state| {
            let people = people.iter().map(|one| person(state, one)).collect::<Result<Vec<_>>>()?;
            let results = groups::change_participants(state, &actor, &id, change, people)?;
            Ok(results.iter().map(result_of).collect())
        })
    }

    /// The phone of `number` leaves a group.
    pub fn leave_group(&self, number: &str, group: &str) -> Result<()> {
        let actor = Address::new(&Number::parse(number)?, 0);
        let id = group_id(group)?;
        self.shared.with(|state| Ok(groups::leave(state, &actor, &id)?))
    }

    /// The phone of `number` gives a group another name.
    pub fn set_group_subject(&self, number: &str, group: &str, subject: &str) -> Result<()> {
        self.set_group(number, group, NodeBuilder::new("subject").string_content(subject).build())
    }

    /// The phone of `number` describes a group, or takes the description away.
    pub fn set_group_description(&self, number: &str, group: &str, text: Option<&str>) -> Result<()> {
        let known = self.shared.look(|state| {
            let id = group_id(group).ok()?;
            Some(state.groups.get(&id)?.description.as_ref()?.id.clone())
        });
        let mut node = NodeBuilder::new("description").attr("id", crate::phone::Outbound::new_id());
        if let Some(known) = known {
            node = node.attr("prev", known);
        }
        let node = match text {
            Some(text) => node.children([NodeBuilder::new("body").string_content(text).build()]),
            None => node.attr("delete", "true"),
        };
        self.set_group(number, group, node.build())
    }

    /// The phone of `number` changes a setting as clients name it: `locked`,
    /// `unlocked`, `announcement`, `not_announcement`, `approval`,
    /// `not_approval`, `admin_add`, `all_member_add`, `not_ephemeral`,
    /// `ephemeral:SECONDS`, ...
    pub fn set_group_setting(&self, number: &str, group: &str, setting: &str) -> Result<()> {
        let approval = |state: &'static str| {
            let join = NodeBuilder::new("group_join").attr("state", state).build();
            NodeBuilder::new("membership_approval_mode").children([join]).build()
        };
        let node = match setting.split_once(':') {
            Some(("ephemeral", seconds)) => NodeBuilder::new("ephemeral").attr("expiration", seconds).build(),
            _ => match setting {
                "approval" => approval("on"),
                "not_approval" => approval("off"),
                "admin_add" | "all_member_add" => NodeBuilder::new("member_add_mode").string_content(setting).build(),
                other => NodeBuilder::new_dynamic(other.to_owned()).build(),
            },
        };
        self.set_group(number, group, node)
    }

    /// The phone of `number` sets a group's picture (JPEG bytes) or removes it.
    pub fn set_group_picture(&self, number: &str, group: &str, image: Option<Vec<u8>>) -> Result<()> {
        let actor = Address::new(&Number::parse(number)?, 0);
        let id = group_id(group)?;
        self.shared.with(|state| {
            groups::set_picture(state, &actor, &id, image)?;
            Ok(())
        })
    }

    /// The code of a group's invite link as the phone of `number` sees it; a new
    /// one with `reset`.
    pub fn group_invite(&self, number: &str, group: &str, reset: bool) -> Result<String> {
        let node = NodeBuilder::new("invite").build();
        let answer = self.ask_group(number, group, reset, &node)?;
        answer.first().and_then(|node| attr(node, "code")).map(|code| code.into_owned()).context("no code")
    }

    /// The phone of `number` follows an invite link. Returns the group and
    /// whether it is in it; if not, it waits for an admin.
    pub fn join_group(&self, number: &str, code: &str) -> Result<(String, bool)> {
        let node = NodeBuilder::new("invite").attr("code", code).build();
        let answer = self.ask_group(number, "@g.us", true, &node)?;
        let joined = answer.first().context("no answer")?;
        let jid = jid(joined, "jid").context("no group")?;
        Ok((jid.to_string(), joined.tag == "group"))
    }

    /// The phone of `number` lets people in who asked (`approve`), or not.
    pub fn answer_requests(
        &self,
        number: &str,
        group: &str,
        approve: bool,
        people: &[&str],
    ) -> Result<Vec<PersonResult>> {
        let people = self.shared.look(|state| {
            let jids = people.iter().map(|one| person(state, one).map(|(jid, _)| jid));
            jids.collect::<Result<Vec<_>>>()
        })?;
        let people = people.into_iter().map(|jid| NodeBuilder::new("participant").attr("jid", jid).build());
        let action = NodeBuilder::new(if approve { "approve" } else { "reject" }).children(people).build();
        let node = NodeBuilder::new("membership_requests_action").children([action]).build();
        let answer = self.ask_group(number, group, true, &node)?;
        let inner = answer.first().map_or(&[][..], children).first();
        Ok(inner.map_or(&[][..], children).iter().map(result_of).collect())
    }

    /// The phone of `number` links groups to its community, or unlinks them.
    /// Returns a code per group.
    pub fn link_groups(&self, number: &str, community: &str, groups: &[&str], link: bool) -> Result<Vec<PersonResult>> {
        let nodes =
            groups.iter().map(|group| Ok(NodeBuilder::new("group").attr("jid", Jid::group(group_id(group)?)).build()));
        let nodes = nodes.collect::<Result<Vec<Node>>>()?;
        let node = if link {
            let link = NodeBuilder::new("link").attr("link_type", "sub_group").children(nodes).build();
            NodeBuilder::new("links").children([link]).build()
        } else {
            NodeBuilder::new("unlink").attr("unlink_type", "sub_group").children(nodes).build()
        };
        let answer = self.ask_group(number, community, true, &node)?;
        let first = answer.first().context("no answer")?;
        let list = if link { children(first).first().context("no answer")? } else { first };
        Ok(children(list).iter().map(result_of).collect())
    }

    /// The phone of `number` ends its community.
    pub fn deactivate_community(&self, number: &str, community: &str) -> Result<()> {
        self.set_group(number, community, NodeBuilder::new("delete_parent").build())
    }

    /// Whether `number` lets anybody add it to groups; if not, they get an
    /// invite for it instead. The privacy setting `groupadd`, all or none.
    pub fn set_group_adds(&self, number: &str, allowed: bool) -> Result<()> {
        self.set_privacy(number, "groupadd", if allowed { "all" } else { "none" })
    }

    /// A group as the server knows it; nothing when there is none.
    pub fn group(&self, group: &str) -> Option<GroupInfo> {
        let id = group_id(group).ok()?;
        self.shared.look(|state| state.groups.get(&id).map(info_of))
    }

    /// All groups.
    pub fn groups(&self) -> Vec<GroupInfo> {
        self.shared.look(|state| state.groups.iter().map(info_of).collect())
    }

    /// Waits until a group is as `predicate` wants it.
    pub async fn wait_group(
        &self,
        group: &str,
        mut predicate: impl FnMut(&GroupInfo) -> bool,
        timeout: Duration,
    ) -> Result<GroupInfo> {
        let id = group_id(group)?;
        self.wait(&format!("the group {group}"), timeout, |state| {
            state.groups.get(&id).map(info_of).filter(|info| predicate(info))
        })
        .await
    }

    fn set_group(&self, number: &str, group: &str, request: Node) -> Result<()> {
        self.ask_group(number, group, true, &request).map(|_| ())
    }

    /// Asks as the phone of `number`.
    fn ask_group(&self, number: &str, group: &str, set: bool, request: &Node) -> Result<Vec<Node>> {
        let actor = Address::new(&Number::parse(number)?, 0);
        let kind = if set { "set" } else { "get" };
        let to: Jid = if group == "@g.us" { Jid::new("", Server::Group) } else { Jid::group(group_id(group)?) };
        let iq =
            NodeBuilder::new("iq").attr("to", to).attr("type", kind).attr("id", "phone").children([request.clone()]);
        let reply = self.shared.with(|state| {
            state.account(&actor.number)?;
            groups::answer(state, &actor, &iq.build()).with_context(|| format!("no request {}", request.tag))
        })?;
        let content = match reply.content {
            Some(NodeContent::Nodes(nodes)) => nodes,
            _ => Vec::new(),
        };
        match content.first().filter(|first| first.tag == "error") {
            Some(error) => Err(anyhow!("{} {}", attr_or_empty(error, "code"), attr_or_empty(error, "text"))),
            None => Ok(content),
        }
    }
}

/// The id in a group's JID. Errors when it is none.
fn group_id(text: &str) -> Result<String> {
    let jid: Jid = text.parse().map_err(|error| anyhow!("{text:?} is not a JID: {error}"))?;
    anyhow::ensure!(jid.is_group(), "{text:?} is not a group");
    Ok(jid.user.to_string())
}

/// Somebody by number or JID, with an account or without.
fn person(state: &State, text: &str) -> Result<(Jid, Option<Number>)> {
    let jid: Jid = if text.contains('@') {
        text.parse().map_err(|error| anyhow!("{text:?} is not a JID: {error}"))?
    } else {
        Number::parse(text)?.jid()
    };
    let number = state.resolve(&jid);
    Ok((jid, number))
}
