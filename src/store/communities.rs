//! Communities: groups of groups, and the space of each.

use super::{Named, Result, Store};
use crate::ids::{ChatId, PortalId};
use sqlx::Row;
use sqlx::any::AnyRow;

/// A group or community, with what its place in spaces hangs on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPlace {
    /// Its number here.
    pub portal: PortalId,
    /// The chat.
    pub chat: ChatId,
    /// Fixed alias of its room; a community has none, so that its space takes it.
    pub alias: String,
    /// Its room, once it exists.
    pub room: Option<String>,
    /// As it was read last; empty before.
    pub facts: Vec<u8>,
    /// A community's space and the name that has, once it exists.
    pub space: Option<(String, String)>,
}

const PLACES: &str = "-- community.places
    SELECT portal.portal_id AS portal_id, chat, alias, portal.room_id AS room, facts,
           community_space.room_id AS space, COALESCE(community_space.name, '') AS space_name
    FROM group_chat JOIN portal ON portal.portal_id = group_chat.portal_id
    LEFT JOIN community_space ON community_space.portal_id = group_chat.portal_id
    ORDER BY portal.portal_id";
const PUT: &str = "-- community.put
    INSERT INTO community_space (portal_id, room_id, name) VALUES ($1, $2, $3)
    ON CONFLICT (portal_id) DO UPDATE SET room_id = excluded.room_id, name = excluded.name";
const BY_ROOM: &str = "-- community.by_room
    SELECT portal_id FROM community_space WHERE room_id = $1";

impl Store {
    /// All groups and communities.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn group_places(&self) -> Result<Vec<GroupPlace>> {
        let rows = sqlx::query(PLACES).fetch_all(self.pool()).await.named("community.places")?;
        let read = |row: &AnyRow| -> std::result::Result<GroupPlace, sqlx::Error> {
            let (space, name): (Option<String>, String) = (row.try_get("space")?, row.try_get("space_name")?);
            Ok(GroupPlace {
                portal: PortalId::new(row.try_get("portal_id")?),
                chat: ChatId::new(row.try_get::<String, _>("chat")?),
                alias: row.try_get("alias")?,
                room: row.try_get("room")?,
                facts: row.try_get("facts")?,
                space: space.map(|space| (space, name)),
            })
        };
        rows.iter().map(read).collect::<std::result::Result<_, _>>().named("community.places")
    }

    /// Records a community's space and the name it has.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_community_space(&self, community: PortalId, room: &str, name: &str) -> Result<()> {
        let write = sqlx::query(PUT).bind(community.get()).bind(room).bind(name);
        self.write("community.put", write).await.map(drop)
    }

    /// The community a room is the space of.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_community_by_space(&self, room: &str) -> Result<Option<PortalId>> {
        let row = sqlx::query(BY_ROOM).bind(room).fetch_optional(self.pool()).await.named("community.by_room")?;
        let id: Option<i64> = row.map(|row| row.try_get("portal_id")).transpose().named("community.by_room")?;
        Ok(id.map(PortalId::new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{DeviceKey, GhostId, LoginId};
    use crate::store::logins::Own;
    use crate::store::portals::PortalKind;
    use crate::store::tests::on_both;

    on_both! { a_communitys_groups_are_in_its_space_and_not_beside_it => nested; }

    async fn nested(store: Store) {
        let login = LoginId::new("1");
        let mut tx = store.begin("test").await.unwrap();
        let own = Own { lid: None, pn: &GhostId::new("1@s.whatsapp.net") };
        store.put_login_in(&mut tx, &login, "@a:b", &DeviceKey::new("d"), own).await.unwrap();
        let mut portals = Vec::new();
        for chat in ["roof@g.us", "group@g.us"] {
            let chat = ChatId::new(chat);
            let made = store.find_or_make_portal_in(&mut tx, &chat, None, "", PortalKind::Group).await.unwrap();
            store.join_portal_in(&mut tx, made.id, &login).await.unwrap();
            store.put_group_in(&mut tx, made.id, b"{}", &[]).await.unwrap();
            portals.push(made.id);
        }
        tx.commit().await.unwrap();
        store.set_portal_room(portals[1], "!group").await.unwrap();
        assert_eq!(store.rooms_missing_in_space(&login, "!mine", 10).await.unwrap(), ["!group"]);
        store.room_is_in_space("!mine", "!group").await.unwrap();
        store.put_community_space(portals[0], "!roof", "Roof").await.unwrap();
        store.room_is_in_space("!roof", "!group").await.unwrap();
        assert_eq!(store.rooms_missing_in_space(&login, "!mine", 10).await.unwrap(), ["!roof"]);
        assert_eq!(store.rooms_surplus_in_space(&login, "!mine", 10).await.unwrap(), ["!group"]);
        assert_eq!(store.find_community_by_space("!roof").await.unwrap(), Some(portals[0]));
        let places = store.group_places().await.unwrap();
        assert_eq!(places[0].space, Some(("!roof".to_owned(), "Roof".to_owned())));
        assert_eq!((places[1].room.as_deref(), &places[1].space), (Some("!group"), &None));
        store.forget_space("!roof").await.unwrap();
        assert_eq!(store.find_community_by_space("!roof").await.unwrap(), None);
    }
}
