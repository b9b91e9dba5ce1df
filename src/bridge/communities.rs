//! Communities as spaces: one for each, shared by all of ours who are in it, with the rooms of its groups.
//!
//! Looked at together with the spaces of the logins, which hold the communities' in turn. The group for announcements stands
//! first, as in WhatsApp's clients. Who leaves a community's space is not called back.

use super::Bridge;
use super::budget::Cost;
use super::people::Halt;
use super::rooms::{room_id, user_id};
use crate::convert::group::GroupFacts;
use crate::ids::PortalId;
use crate::matrix::rooms::RoomRecipe;
use crate::store::communities::GroupPlace;
use crate::store::logins::Login;
use ruma::OwnedRoomId;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// Groups looked at in one space at most: more than WhatsApp lets a community have.
const MOST_GROUPS: i64 = 1_000;
/// What we note of somebody whom the bridge has taken out of a space: they may be invited again.
const OUT: &str = "out";

impl Bridge {
    /// Makes the spaces of communities what they shall be.
    pub(super) async fn look_at_communities(&self) -> Result<(), Halt> {
        let places = self.store().group_places().await?;
        let known: Vec<(&GroupPlace, GroupFacts)> = places
            .iter()
            .filter_map(|place| GroupFacts::from_bytes(&place.facts).map(|facts| (place, facts)))
            .collect();
        for (community, facts) in known.iter().filter(|(_, facts)| facts.is_community) {
            // The rooms of its groups, and whether each is the one for announcements.
            let groups: BTreeMap<&str, bool> = known
                .iter()
                .filter(|(_, group)| group.community == community.chat.as_str())
                .filter_map(|(place, group)| place.room.as_deref().map(|room| (room, group.is_announcement_group)))
                .collect();
            let logins = self.store().logins_in(community.portal).await?;
            self.look_at_community(community, facts, &groups, &logins).await?;
        }
        Ok(())
    }

    async fn look_at_community(
        &self,
        community: &GroupPlace,
        facts: &GroupFacts,
        groups: &BTreeMap<&str, bool>,
        logins: &[Login],
    ) -> Result<(), Halt> {
        let owners: BTreeSet<&str> = logins.iter().map(|login| login.mxid.as_str()).collect();
        let name = facts.name();
        let space = match &community.space {
            Some((space, named)) => {
                if *named != name && !owners.is_empty() {
                    let (id, bot) = (room_id(space)?, self.matrix().bot());
                    let set = self.matrix().send_state(&id, bot, "m.room.name", "", &json!({ "name": name })).await;
                    self.or_forget(space, set.map(drop)).await?;
                    self.store().put_community_space(community.portal, space, &name).await?;
                }
                space.clone()
            }
            // Nobody of ours is in it, or it has nothing to hold.
            None if owners.is_empty() || groups.is_empty() => return Ok(()),
            None => {
                let made = self.make_community(community, facts, &owners).await?;
                fail::fail_point!("states.community", |_| super::states::die_here());
                self.store().put_community_space(community.portal, made.as_str(), &name).await?;
                for owner in &owners {
                    self.store().set_membership(community.portal, owner, "invite").await?;
                }
                made.to_string()
            }
        };
        self.settle_community_owners(community.portal, &space, &owners).await?;
        let held = self.store().rooms_in_space(&space, MOST_GROUPS).await?;
        let wanted = |room: &str| !owners.is_empty() && groups.contains_key(room);
        for (room, first) in groups.iter().filter(|(room, _)| wanted(room) && !held.iter().any(|held| held == *room)) {
            let order = if *first { "0" } else { "1" };
            let content = json!({ "via": [self.matrix().settings().domain], "order": order });
            self.set_child(&space, room, &content).await?;
            self.store().room_is_in_space(&space, room).await?;
        }
        for room in held.iter().filter(|room| !wanted(room)) {
            self.set_child(&space, room, &json!({})).await?;
            self.store().room_left_space(&space, room).await?;
        }
        Ok(())
    }

    async fn make_community(
        &self,
        community: &GroupPlace,
        facts: &GroupFacts,
        owners: &BTreeSet<&str>,
    ) -> Result<OwnedRoomId, Halt> {
        let topic = facts.topic();
        let recipe = RoomRecipe {
            alias_localpart: Some(self.matrix().alias_localpart(&community.alias)),
            name: Some(facts.name()),
            topic: (!topic.is_empty()).then_some(topic),
            invite: owners.iter().map(|owner| user_id(owner)).collect::<Result<_, Halt>>()?,
            state: vec![self.matrix().functional_members()],
            is_space: true,
            ..RoomRecipe::default()
        };
        self.spend(Cost::Room).await;
        Ok(self.matrix().create_room(&recipe).await?)
    }

    /// Invites the owners of the logins that are in a community, and takes out those whose logins are in it no more.
    async fn settle_community_owners(&self, id: PortalId, space: &str, owners: &BTreeSet<&str>) -> Result<(), Halt> {
        let room = room_id(space)?;
        for owner in owners {
            if matches!(self.store().find_membership(id, owner).await?.as_deref(), None | Some(OUT)) {
                let invited = self.matrix().invite(&room, &user_id(owner)?).await;
                self.or_forget(space, invited).await?;
                self.store().set_membership(id, owner, "invite").await?;
            }
        }
        for person in self.store().members_with(id, "invite").await? {
            if !owners.contains(person.as_str()) {
                let reason = "Your WhatsApp account is not in this community any more.";
                let kicked = self.matrix().kick(&room, &user_id(&person)?, reason).await;
                self.or_forget(space, kicked).await?;
                self.store().set_membership(id, &person, OUT).await?;
            }
        }
        Ok(())
    }
}
