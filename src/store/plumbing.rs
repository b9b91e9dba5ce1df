//! Chats whose room is one that somebody has brought along: it keeps its own look until the chat's changes.

use super::{Named, Result, Store, Tx};
use crate::ids::PortalId;
use sqlx::Row;

/// A room somebody has given to a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plumbed {
    /// The room.
    pub room: String,
    /// Who did it.
    pub mxid: String,
    /// The command that did it.
    pub cause: String,
    /// The chat's name then: while it is that, the room keeps its own. None once the room follows.
    pub name: Option<String>,
    /// The same for its topic.
    pub topic: Option<String>,
}

/// What the picture shown by a room is while the room keeps its own.
pub const OWN_PICTURE: &str = "=";

const PUT: &str = "-- plumbed_room.put
    INSERT INTO plumbed_room (portal_id, room_id, mxid, cause, name, topic, at) VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (portal_id) DO UPDATE SET room_id = excluded.room_id, mxid = excluded.mxid, cause = excluded.cause,
        name = excluded.name, topic = excluded.topic, at = excluded.at";
const FIND: &str = "-- plumbed_room.find
    SELECT room_id, mxid, cause, name, topic FROM plumbed_room WHERE portal_id = $1";
const FOLLOW_NAME: &str = "-- plumbed_room.follow_name
    UPDATE plumbed_room SET name = NULL WHERE portal_id = $1";
const FOLLOW_TOPIC: &str = "-- plumbed_room.follow_topic
    UPDATE plumbed_room SET topic = NULL WHERE portal_id = $1";
const DROP: &str = "-- plumbed_room.drop
    DELETE FROM plumbed_room WHERE portal_id = $1";
const STAYS: &str = "-- left_room.stays
    DELETE FROM left_room WHERE room_id = $1";
const KEEP_PICTURE: &str = "-- group_chat.keep_picture
    UPDATE group_chat SET picture_id = $2 WHERE portal_id = $1";

impl Store {
    /// Records that a chat's room is one somebody has brought along; `tx` commits it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_plumbed_in(&self, tx: &mut Tx, portal: PortalId, plumbed: &Plumbed) -> Result<()> {
        let put = sqlx::query(PUT)
            .bind(portal.get())
            .bind(plumbed.room.as_str())
            .bind(plumbed.mxid.as_str())
            .bind(plumbed.cause.as_str())
            .bind(plumbed.name.clone())
            .bind(plumbed.topic.clone())
            .bind(self.clock().now_ms());
        put.execute(tx.connection()).await.named("plumbed_room.put")?;
        // Perhaps it was another chat's, and could not be left then.
        let stays = sqlx::query(STAYS).bind(plumbed.room.as_str()).execute(tx.connection()).await;
        stays.named("left_room.stays")?;
        let kept = sqlx::query(KEEP_PICTURE).bind(portal.get()).bind(OWN_PICTURE).execute(tx.connection()).await;
        kept.named("group_chat.keep_picture").map(drop)
    }

    /// What is kept of a room somebody has brought along; none for rooms the bridge has made.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_plumbed(&self, portal: PortalId) -> Result<Option<Plumbed>> {
        let row = sqlx::query(FIND).bind(portal.get()).fetch_optional(self.pool()).await.named("plumbed_room.find")?;
        let read = |row: sqlx::any::AnyRow| -> std::result::Result<Plumbed, sqlx::Error> {
            Ok(Plumbed {
                room: row.try_get("room_id")?,
                mxid: row.try_get("mxid")?,
                cause: row.try_get("cause")?,
                name: row.try_get("name")?,
                topic: row.try_get("topic")?,
            })
        };
        row.map(read).transpose().named("plumbed_room.find")
    }

    /// Notes that a room's name is the chat's from now on.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn name_follows(&self, portal: PortalId) -> Result<()> {
        self.write("plumbed_room.follow_name", sqlx::query(FOLLOW_NAME).bind(portal.get())).await.map(drop)
    }

    /// Notes that a room's topic is the chat's from now on.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn topic_follows(&self, portal: PortalId) -> Result<()> {
        self.write("plumbed_room.follow_topic", sqlx::query(FOLLOW_TOPIC).bind(portal.get())).await.map(drop)
    }

    /// Forgets that a chat's room was brought along: the chat forgets the room. `tx` commits it.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn drop_plumbed_in(&self, tx: &mut Tx, portal: PortalId) -> Result<()> {
        let dropped = sqlx::query(DROP).bind(portal.get()).execute(tx.connection()).await;
        dropped.named("plumbed_room.drop").map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ChatId;
    use crate::store::portals::PortalKind;
    use crate::store::tests::on_both;

    on_both! { a_room_keeps_its_look_until_it_follows => look; }

    async fn look(store: Store) {
        let mut tx = store.begin("test").await.unwrap();
        let chat = ChatId::new("1@g.us");
        let portal = store.find_or_make_portal_in(&mut tx, &chat, None, "", PortalKind::Group).await.unwrap();
        store.put_group_in(&mut tx, portal.id, b"facts", &[]).await.unwrap();
        let mut plumbed = Plumbed {
            room: "!r".into(),
            mxid: "@a:x".into(),
            cause: "$e".into(),
            name: Some("Choir".into()),
            topic: Some(String::new()),
        };
        store.put_new_room_in(&mut tx, &portal, "!r").await.unwrap();
        store.put_plumbed_in(&mut tx, portal.id, &plumbed).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(store.find_plumbed(portal.id).await.unwrap().as_ref(), Some(&plumbed));
        assert_eq!(store.group_picture(portal.id).await.unwrap(), OWN_PICTURE);
        store.name_follows(portal.id).await.unwrap();
        plumbed.name = None;
        assert_eq!(store.find_plumbed(portal.id).await.unwrap().as_ref(), Some(&plumbed));
        store.topic_follows(portal.id).await.unwrap();
        assert_eq!(store.find_plumbed(portal.id).await.unwrap().unwrap().topic, None);
        let portal = store.load_portal(portal.id).await.unwrap();
        assert!(!store.forget_portal_room(&portal, "!other", "next").await.unwrap());
        assert!(
            store.find_plumbed(portal.id).await.unwrap().is_some(),
            "the room it has now is the one somebody brought"
        );
        assert!(store.forget_portal_room(&portal, "!r", "next").await.unwrap());
        assert_eq!(store.find_plumbed(portal.id).await.unwrap(), None);
    }
}
