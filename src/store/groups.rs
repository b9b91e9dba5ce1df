//! Groups: what they are on WhatsApp, who is in them, and how much of it their rooms show.
//!
//! Two marks say what is left to do: *stale*, to be read again from WhatsApp, and *unsettled*, not all in the room yet.
//! A mark is an ordered id; who clears it names the one they saw, so that a later one stays.

use super::logins::{Login, read_login};
use super::{Named, Result, Store, Tx};
use crate::ids::{GhostId, LoginId, PortalId};
use sqlx::Row;
use std::collections::HashMap;
use std::sync::PoisonError;
use tokio::sync::watch;

/// A group as the database knows it; facts are in the bytes of `convert::group`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRow {
    /// As they were read last; empty before.
    pub facts: Vec<u8>,
    /// As the room shows them; empty before.
    pub shown: Vec<u8>,
}

/// Somebody in a group; roles are the numbers of `convert::group`, 0 = not in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub person: GhostId,
    /// As what on WhatsApp.
    pub role: i64,
    /// As what in the room.
    pub shown: i64,
}

const MARK_STALE: &str = "-- group_chat.mark_stale
    INSERT INTO group_chat (portal_id, facts, shown, stale, unsettled) VALUES ($1, $2, $2, $3, 0)
    ON CONFLICT (portal_id) DO UPDATE SET stale = excluded.stale";
const MARK_UNSETTLED: &str = "-- group_chat.mark_unsettled
    UPDATE group_chat SET unsettled = $2 WHERE portal_id = $1";
const STALE: &str = "-- group_chat.stale
    SELECT portal_id, stale AS mark FROM group_chat WHERE stale > 0 ORDER BY stale";
const UNSETTLED: &str = "-- group_chat.unsettled
    SELECT portal_id, unsettled AS mark FROM group_chat WHERE unsettled > 0 ORDER BY unsettled";
const FIND: &str = "-- group_chat.find
    SELECT facts, shown FROM group_chat WHERE portal_id = $1";
const PUT: &str = "-- group_chat.put
    INSERT INTO group_chat (portal_id, facts, shown, stale, unsettled) VALUES ($1, $2, $3, 0, $4)
    ON CONFLICT (portal_id) DO UPDATE SET facts = excluded.facts, unsettled = excluded.unsettled";
const IS_READ: &str = "-- group_chat.is_read
    UPDATE group_chat SET stale = 0 WHERE portal_id = $1 AND stale <= $2";
// Where others of ours are in it, each may have to look for itself.
const IS_READ_ALONE: &str = "-- group_chat.is_read_alone
    UPDATE group_chat SET stale = 0 WHERE portal_id = $1 AND stale > 0 AND stale <= $2
        AND (SELECT COUNT(*) FROM portal_login WHERE portal_login.portal_id = group_chat.portal_id) = 1";
const IS_SHOWN: &str = "-- group_chat.is_shown
    UPDATE group_chat SET shown = $2 WHERE portal_id = $1 AND unsettled <= $3";
const SHOW_AGAIN: &str = "-- group_chat.show_again
    UPDATE group_chat SET shown = $2, unsettled = $3 WHERE portal_id = $1";
const BEGIN_SHOWING: &str = "-- group_chat.begin_showing
    UPDATE group_chat SET shown = $2 WHERE portal_id = $1";
const IS_SETTLED: &str = "-- group_chat.is_settled
    UPDATE group_chat SET unsettled = 0 WHERE portal_id = $1 AND unsettled <= $2";
const MEMBERS: &str = "-- group_member.all
    SELECT ghost_id, role, shown FROM group_member WHERE portal_id = $1 ORDER BY role DESC, ghost_id";
const MEMBER: &str = "-- group_member.find
    SELECT role FROM group_member WHERE portal_id = $1 AND ghost_id = $2";
const PUT_MEMBER: &str = "-- group_member.put
    INSERT INTO group_member (portal_id, ghost_id, role, shown) VALUES ($1, $2, $3, 0)
    ON CONFLICT (portal_id, ghost_id) DO UPDATE SET role = excluded.role";
const MEMBER_IS_SHOWN: &str = "-- group_member.is_shown
    UPDATE group_member SET shown = $3 WHERE portal_id = $1 AND ghost_id = $2";
const FORGET_GONE: &str = "-- group_member.forget_gone
    DELETE FROM group_member WHERE portal_id = $1 AND role = 0 AND shown = 0";
const LOGINS: &str = "-- portal_login.logins
    SELECT login.login_id, mxid, device_key, lid, pn, push_name, state, reason, farewell, since
    FROM portal_login JOIN login ON login.login_id = portal_login.login_id WHERE portal_id = $1 ORDER BY login.login_id";
const GROUPS_OF: &str = "-- portal_login.groups_of
    SELECT portal.portal_id, portal.chat FROM portal_login JOIN portal ON portal.portal_id = portal_login.portal_id
    WHERE login_id = $1 AND portal.kind = 'group'";
const OWN_ROLE: &str = "-- group_member.left
    UPDATE group_member SET role = 0 WHERE portal_id = $1 AND ghost_id = $2";
const MARK_GROUPS_OF: &str = "-- group_chat.mark_groups_of
    UPDATE group_chat SET unsettled = $2 WHERE portal_id IN (SELECT portal_id FROM portal_login WHERE login_id = $1)";
const LEAVE_GROUPS: &str = "-- portal_login.leave_groups
    DELETE FROM portal_login WHERE login_id = $1
        AND portal_id IN (SELECT portal_id FROM portal WHERE kind = 'group')";
const LEAVE: &str = "-- portal_login.delete
    DELETE FROM portal_login WHERE portal_id = $1 AND login_id = $2";
// In the transaction that learns that two ids are one person: the number's row goes, the LID's has or takes its place.
const JOIN_MEMBERS: &str = "-- group_member.join_ids
    UPDATE group_member SET ghost_id = $2 WHERE ghost_id = $1 AND NOT EXISTS (
        SELECT 1 FROM group_member AS other WHERE other.portal_id = group_member.portal_id AND other.ghost_id = $2)";
const DROP_MEMBER: &str = "-- group_member.drop_number
    DELETE FROM group_member WHERE ghost_id = $1";

/// Moves what is kept of members under `pn` to `lid`.
pub(super) async fn join_ids_in(tx: &mut Tx, pn: &GhostId, lid: &GhostId) -> Result<()> {
    let joined = sqlx::query(JOIN_MEMBERS).bind(pn.as_str()).bind(lid.as_str()).execute(tx.connection()).await;
    joined.named("group_member.join_ids")?;
    sqlx::query(DROP_MEMBER)
        .bind(pn.as_str())
        .execute(tx.connection())
        .await
        .named("group_member.drop_number")
        .map(drop)
}

const FIND_CLOSED: &str = "-- closed_chat.find
    SELECT why FROM closed_chat WHERE portal_id = $1 AND login_id = ''";
const PUT_CLOSED: &str = "-- closed_chat.put
    INSERT INTO closed_chat (portal_id, login_id, why) VALUES ($1, '', $2)
    ON CONFLICT (portal_id, login_id) DO UPDATE SET why = excluded.why";

impl Store {
    /// Why a group's room was told that people can't write there; empty when they can, none when it was told nothing.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_closed(&self, portal: PortalId) -> Result<Option<String>> {
        let row = sqlx::query(FIND_CLOSED).bind(portal.get()).fetch_optional(self.pool()).await;
        row.named("closed_chat.find")?.map(|row| row.try_get("why").named("closed_chat.find")).transpose()
    }

    /// Records what a group's room was told.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_closed(&self, portal: PortalId, why: &str) -> Result<()> {
        self.write("closed_chat.put", sqlx::query(PUT_CLOSED).bind(portal.get()).bind(why)).await.map(drop)
    }
}

impl Store {
    /// Changes whenever a group was marked.
    pub fn groups_bell(&self) -> watch::Receiver<u64> {
        self.shared.groups_bell.subscribe()
    }

    /// Rings [`Store::groups_bell`]; after the commit of a mark.
    pub fn ring_groups(&self) {
        self.shared.groups_bell.send_modify(|rung| *rung += 1);
    }

    /// Marks a group to be read again from WhatsApp. Ring after the commit.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn mark_group_stale_in(&self, tx: &mut Tx, portal: PortalId) -> Result<()> {
        let mark = sqlx::query(MARK_STALE).bind(portal.get()).bind(Vec::<u8>::new()).bind(self.clock().next_id());
        mark.execute(tx.connection()).await.named("group_chat.mark_stale").map(drop)
    }

    /// As [`Store::mark_group_stale_in`], at once and with the ring.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn mark_group_stale(&self, portal: PortalId) -> Result<()> {
        let mark = sqlx::query(MARK_STALE).bind(portal.get()).bind(Vec::<u8>::new()).bind(self.clock().next_id());
        self.write("group_chat.mark_stale", mark).await?;
        self.ring_groups();
        Ok(())
    }

    /// Marks that a group's room has to be looked at again, and rings.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn mark_group_unsettled(&self, portal: PortalId) -> Result<()> {
        let mark = sqlx::query(MARK_UNSETTLED).bind(portal.get()).bind(self.clock().next_id());
        self.write("group_chat.mark_unsettled", mark).await?;
        self.ring_groups();
        Ok(())
    }

    /// Groups to be read again, with their marks, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn stale_groups(&self) -> Result<Vec<(PortalId, i64)>> {
        self.marked(STALE, "group_chat.stale").await
    }

    /// Groups whose rooms do not show all of them, with their marks, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unsettled_groups(&self) -> Result<Vec<(PortalId, i64)>> {
        self.marked(UNSETTLED, "group_chat.unsettled").await
    }

    pub(super) async fn marked(&self, statement: &'static str, what: &'static str) -> Result<Vec<(PortalId, i64)>> {
        let rows = sqlx::query(statement).fetch_all(self.pool()).await.named(what)?;
        let read = |row: &sqlx::any::AnyRow| Ok((PortalId::new(row.try_get("portal_id")?), row.try_get("mark")?));
        rows.iter().map(|row| read(row).named(what)).collect()
    }

    /// What is kept of a group; none when it was never heard of.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_group(&self, portal: PortalId) -> Result<Option<GroupRow>> {
        let row = sqlx::query(FIND).bind(portal.get()).fetch_optional(self.pool()).await.named("group_chat.find")?;
        let read = |row: sqlx::any::AnyRow| Ok(GroupRow { facts: row.try_get("facts")?, shown: row.try_get("shown")? });
        row.map(|row| read(row).named("group_chat.find")).transpose()
    }

    /// Whether an answer about a group that was asked for at `asked_at` (an ordered id) is newer than every one stored; then
    /// it counts as stored. Answers come in any order, and an old one must not undo a newer one.
    pub fn is_newest_answer(&self, portal: PortalId, asked_at: i64) -> bool {
        let mut answers = self.shared.group_answers.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = answers.entry(portal).or_insert(asked_at);
        let is_newest = *newest <= asked_at;
        *newest = asked_at.max(*newest);
        is_newest
    }

    /// Marks that a group's room has to be looked at again. Ring after the commit.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn mark_group_unsettled_in(&self, tx: &mut Tx, portal: PortalId) -> Result<()> {
        let mark = sqlx::query(MARK_UNSETTLED).bind(portal.get()).bind(self.clock().next_id());
        mark.execute(tx.connection()).await.named("group_chat.mark_unsettled").map(drop)
    }

    /// Takes a login out of every group, for its account gets another owner; the rooms are looked at again.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn leave_all_groups_in(&self, tx: &mut Tx, login: &LoginId) -> Result<()> {
        let marked = sqlx::query(MARK_GROUPS_OF).bind(login.as_str()).bind(self.clock().next_id());
        marked.execute(tx.connection()).await.named("group_chat.mark_groups_of")?;
        let left = sqlx::query(LEAVE_GROUPS).bind(login.as_str()).execute(tx.connection()).await;
        left.named("portal_login.leave_groups").map(drop)
    }

    /// Records a group as it was read from WhatsApp: facts and everybody in it, with their roles. Answers whether anything
    /// is news; then the group is marked as unsettled. Ring after the commit.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_group_in(
        &self,
        tx: &mut Tx,
        portal: PortalId,
        facts: &[u8],
        people: &[(GhostId, i64)],
    ) -> Result<bool> {
        let known =
            sqlx::query(FIND).bind(portal.get()).fetch_optional(tx.connection()).await.named("group_chat.find")?;
        let before: Option<Vec<u8>> = known.map(|row| row.try_get("facts")).transpose().named("group_chat.find")?;
        let rows = sqlx::query(MEMBERS).bind(portal.get()).fetch_all(tx.connection()).await;
        let mut roles = HashMap::new();
        for row in rows.named("group_member.all")? {
            let member = read_member(&row)?;
            roles.insert(member.person, member.role);
        }
        let mut is_news = before.as_deref() != Some(facts);
        let mut changes: Vec<(GhostId, i64)> = Vec::new();
        for (person, role) in people {
            if roles.remove(person) != Some(*role) {
                changes.push((person.clone(), *role));
            }
        }
        changes.extend(roles.into_iter().filter(|(_, role)| *role != 0).map(|(person, _)| (person, 0)));
        is_news |= !changes.is_empty();
        for (person, role) in changes {
            let put = sqlx::query(PUT_MEMBER).bind(portal.get()).bind(person.as_str().to_owned()).bind(role);
            put.execute(tx.connection()).await.named("group_member.put")?;
        }
        if is_news {
            let put = sqlx::query(PUT).bind(portal.get()).bind(facts.to_vec()).bind(Vec::<u8>::new());
            put.bind(self.clock().next_id()).execute(tx.connection()).await.named("group_chat.put")?;
        }
        Ok(is_news)
    }

    /// Notes that a group was read, unless it was marked again after `mark`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn group_was_read(&self, portal: PortalId, mark: i64) -> Result<()> {
        self.write("group_chat.is_read", sqlx::query(IS_READ).bind(portal.get()).bind(mark)).await.map(drop)
    }

    /// Notes that an answer that was asked for at `asked_at` (an ordered id) is stored: marks from before are done with it,
    /// where no other login is in the group.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn group_was_read_in(&self, tx: &mut Tx, portal: PortalId, asked_at: i64) -> Result<()> {
        let read = sqlx::query(IS_READ_ALONE).bind(portal.get()).bind(asked_at).execute(tx.connection()).await;
        read.named("group_chat.is_read_alone").map(drop)
    }

    /// Notes which facts a group's room shows, unless it was marked again after `mark`: somebody may have changed the room
    /// behind the work on it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn group_is_shown(&self, portal: PortalId, facts: &[u8], mark: i64) -> Result<()> {
        let write = sqlx::query(IS_SHOWN).bind(portal.get()).bind(facts.to_vec()).bind(mark);
        self.write("group_chat.is_shown", write).await.map(drop)
    }

    /// Notes that a group's room is being changed: until [`Store::group_is_shown`] it may show some of what was and some of
    /// what will be.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin_showing(&self, portal: PortalId) -> Result<()> {
        let write = sqlx::query(BEGIN_SHOWING).bind(portal.get()).bind(Vec::<u8>::new());
        self.write("group_chat.begin_showing", write).await.map(drop)
    }

    /// Notes that a group's room may show anything by now, so that all of it is looked at; and rings.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn show_group_again(&self, portal: PortalId) -> Result<()> {
        let write = sqlx::query(SHOW_AGAIN).bind(portal.get()).bind(Vec::<u8>::new()).bind(self.clock().next_id());
        self.write("group_chat.show_again", write).await?;
        self.ring_groups();
        Ok(())
    }

    /// Notes that a group's room shows all of it, unless it was marked again after `mark`; people who left it and are gone
    /// from the room are forgotten.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn group_is_settled(&self, portal: PortalId, mark: i64) -> Result<()> {
        self.write("group_member.forget_gone", sqlx::query(FORGET_GONE).bind(portal.get())).await?;
        self.write("group_chat.is_settled", sqlx::query(IS_SETTLED).bind(portal.get()).bind(mark)).await.map(drop)
    }

    /// Everybody in a group and everybody still in its room, those with the highest role first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn members_of(&self, portal: PortalId) -> Result<Vec<Member>> {
        let rows = sqlx::query(MEMBERS).bind(portal.get()).fetch_all(self.pool()).await.named("group_member.all")?;
        rows.iter().map(read_member).collect()
    }

    /// What somebody is in a group, as it was read last; 0 when they are not in it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn role_of(&self, portal: PortalId, person: &GhostId) -> Result<i64> {
        let row = sqlx::query(MEMBER).bind(portal.get()).bind(person.as_str()).fetch_optional(self.pool()).await;
        let row = row.named("group_member.find")?;
        Ok(row.map(|row| row.try_get("role")).transpose().named("group_member.find")?.unwrap_or(0))
    }

    /// Notes what somebody is in a group since a change of ours; the next reading says the same.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn set_role(&self, portal: PortalId, person: &GhostId, role: i64) -> Result<()> {
        let write = sqlx::query(PUT_MEMBER).bind(portal.get()).bind(person.as_str()).bind(role);
        self.write("group_member.put", write).await.map(drop)
    }

    /// Notes as what somebody is in a group's room now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn member_is_shown(&self, portal: PortalId, person: &GhostId, role: i64) -> Result<()> {
        let write = sqlx::query(MEMBER_IS_SHOWN).bind(portal.get()).bind(person.as_str()).bind(role);
        self.write("group_member.is_shown", write).await.map(drop)
    }

    /// As [`Store::member_is_shown`], as long as `room` is the group's: it may have got another meanwhile.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn member_is_shown_in_room(
        &self,
        portal: PortalId,
        room: &str,
        person: &GhostId,
        role: i64,
    ) -> Result<()> {
        let mut tx = self.begin("group_member.is_shown_in_room").await?;
        if self.hold_room_in(&mut tx, portal, room).await? {
            let shown = sqlx::query(MEMBER_IS_SHOWN).bind(portal.get()).bind(person.as_str()).bind(role);
            shown.execute(tx.connection()).await.named("group_member.is_shown")?;
        }
        tx.commit().await
    }

    /// The logins that take part in a chat, by name.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn logins_in(&self, portal: PortalId) -> Result<Vec<Login>> {
        let rows = sqlx::query(LOGINS).bind(portal.get()).fetch_all(self.pool()).await.named("portal_login.logins")?;
        rows.iter().map(read_login).collect()
    }

    /// The groups a login takes part in, with their chat ids.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn groups_of(&self, login: &LoginId) -> Result<Vec<(PortalId, String)>> {
        let rows = sqlx::query(GROUPS_OF).bind(login.as_str()).fetch_all(self.pool()).await;
        let read = |row: &sqlx::any::AnyRow| Ok((PortalId::new(row.try_get("portal_id")?), row.try_get("chat")?));
        rows.named("portal_login.groups_of")?.iter().map(|row| read(row).named("portal_login.groups_of")).collect()
    }

    /// Notes that a login's account is in a group no more, and marks the group as unsettled. Ring after the commit.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn leave_group_in(&self, tx: &mut Tx, portal: PortalId, login: &LoginId, own: &GhostId) -> Result<()> {
        let left = sqlx::query(LEAVE).bind(portal.get()).bind(login.as_str()).execute(tx.connection()).await;
        left.named("portal_login.delete")?;
        let left = sqlx::query(OWN_ROLE).bind(portal.get()).bind(own.as_str()).execute(tx.connection()).await;
        left.named("group_member.left")?;
        let mark = sqlx::query(MARK_UNSETTLED).bind(portal.get()).bind(self.clock().next_id());
        mark.execute(tx.connection()).await.named("group_chat.mark_unsettled").map(drop)
    }
}

fn read_member(row: &sqlx::any::AnyRow) -> Result<Member> {
    let read = || {
        let person: String = row.try_get("ghost_id")?;
        Ok(Member { person: GhostId::new(person), role: row.try_get("role")?, shown: row.try_get("shown")? })
    };
    read().named("group_member.read")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::on_both;

    on_both! {
        a_group_is_news_once => news;
        a_mark_set_meanwhile_stays => marks;
        what_was_shown_before_a_mark_does_not_count => shown;
        who_left_is_forgotten_when_the_room_let_them_go => gone;
        two_ids_of_a_member_become_one => joined;
    }

    fn person(name: &str) -> GhostId {
        GhostId::new(name)
    }

    async fn put(store: &Store, facts: &[u8], people: &[(&str, i64)]) -> bool {
        let people: Vec<(GhostId, i64)> = people.iter().map(|(name, role)| (person(name), *role)).collect();
        let mut tx = store.begin("test").await.unwrap();
        let news = store.put_group_in(&mut tx, PortalId::new(1), facts, &people).await.unwrap();
        tx.commit().await.unwrap();
        news
    }

    async fn news(store: Store) {
        assert!(put(&store, b"a", &[("1@lid", 1), ("2@lid", 3)]).await);
        assert!(!put(&store, b"a", &[("2@lid", 3), ("1@lid", 1)]).await, "the same in another order");
        assert!(put(&store, b"b", &[("1@lid", 1), ("2@lid", 3)]).await, "other facts");
        assert!(put(&store, b"b", &[("1@lid", 2), ("2@lid", 3)]).await, "another role");
        assert!(put(&store, b"b", &[("1@lid", 2)]).await, "somebody left");
        assert_eq!(store.role_of(PortalId::new(1), &person("2@lid")).await.unwrap(), 0);
        assert!(!put(&store, b"b", &[("1@lid", 2)]).await, "who left stays gone");
        assert_eq!(store.role_of(PortalId::new(1), &person("1@lid")).await.unwrap(), 2);
    }

    async fn marks(store: Store) {
        let portal = PortalId::new(1);
        store.mark_group_stale(portal).await.unwrap();
        let (_, first) = store.stale_groups().await.unwrap()[0];
        store.mark_group_stale(portal).await.unwrap();
        store.group_was_read(portal, first).await.unwrap();
        let (_, second) = store.stale_groups().await.unwrap()[0];
        assert!(second > first);
        store.group_was_read(portal, second).await.unwrap();
        assert!(store.stale_groups().await.unwrap().is_empty());
        put(&store, b"a", &[]).await;
        let (_, first) = store.unsettled_groups().await.unwrap()[0];
        put(&store, b"b", &[]).await;
        store.group_is_settled(portal, first).await.unwrap();
        let (_, second) = store.unsettled_groups().await.unwrap()[0];
        store.group_is_settled(portal, second).await.unwrap();
        assert!(store.unsettled_groups().await.unwrap().is_empty());
    }

    async fn shown(store: Store) {
        let portal = PortalId::new(1);
        put(&store, b"a", &[]).await;
        let (_, mark) = store.unsettled_groups().await.unwrap()[0];
        store.group_is_shown(portal, b"a", mark).await.unwrap();
        assert_eq!(store.find_group(portal).await.unwrap().unwrap().shown, b"a");
        store.begin_showing(portal).await.unwrap();
        assert_eq!(store.find_group(portal).await.unwrap().unwrap().shown, b"", "a kill may come now");
        store.show_group_again(portal).await.unwrap();
        store.group_is_shown(portal, b"a", mark).await.unwrap();
        assert_eq!(store.find_group(portal).await.unwrap().unwrap().shown, b"", "the room was changed meanwhile");
    }

    async fn gone(store: Store) {
        let portal = PortalId::new(1);
        put(&store, b"a", &[("1@lid", 1), ("2@lid", 1)]).await;
        store.member_is_shown(portal, &person("1@lid"), 1).await.unwrap();
        put(&store, b"a", &[("2@lid", 1)]).await;
        let (_, mark) = store.unsettled_groups().await.unwrap()[0];
        store.group_is_settled(portal, mark).await.unwrap();
        assert_eq!(store.members_of(portal).await.unwrap().len(), 2, "the room still shows them");
        store.member_is_shown(portal, &person("1@lid"), 0).await.unwrap();
        store.group_is_settled(portal, mark).await.unwrap();
        let left: Vec<GhostId> =
            store.members_of(portal).await.unwrap().into_iter().map(|member| member.person).collect();
        assert_eq!(left, [person("2@lid")]);
    }

    async fn joined(store: Store) {
        let portal = PortalId::new(1);
        put(&store, b"a", &[("1@s.whatsapp.net", 2)]).await;
        store.member_is_shown(portal, &person("1@s.whatsapp.net"), 2).await.unwrap();
        let join = async || {
            let mut tx = store.begin("test").await.unwrap();
            join_ids_in(&mut tx, &person("1@s.whatsapp.net"), &person("1@lid")).await.unwrap();
            tx.commit().await.unwrap();
        };
        join().await;
        let expected = [Member { person: person("1@lid"), role: 2, shown: 2 }];
        assert_eq!(store.members_of(portal).await.unwrap(), expected);
        put(&store, b"a", &[("1@lid", 2), ("1@s.whatsapp.net", 1)]).await;
        join().await;
        assert_eq!(store.members_of(portal).await.unwrap(), expected, "the LID's row wins");
    }
}
