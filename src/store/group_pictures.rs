//! Pictures of groups: what the rooms show, and which are to be looked at again.

use super::{Named, Result, Store, Tx};
use crate::ids::{LoginId, PortalId};
use sqlx::Row;

/// A group and the picture its room shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPicture {
    /// The group's portal.
    pub portal: PortalId,
    /// Its id on WhatsApp.
    pub chat: String,
    /// WhatsApp's id of the picture the room shows; empty = none.
    pub shown: String,
    /// Whether it is to be looked at anyway.
    pub is_stale: bool,
}

const PICTURES_OF: &str = "-- group_chat.pictures_of
    SELECT portal.portal_id, portal.chat, picture_id, picture_stale FROM group_chat
    JOIN portal ON portal.portal_id = group_chat.portal_id
    JOIN portal_login ON portal_login.portal_id = group_chat.portal_id AND portal_login.login_id = $1
    ORDER BY portal.portal_id";
const MARK_PICTURE_AT: &str = "-- group_chat.mark_picture_at
    UPDATE group_chat SET picture_stale = $2 WHERE portal_id = $1 AND picture_stale < $2";
const MARK_PICTURE: &str = "-- group_chat.mark_picture
    UPDATE group_chat SET picture_stale = $2 WHERE portal_id = $1";
const STALE_PICTURES: &str = "-- group_chat.stale_pictures
    SELECT portal_id, picture_stale AS mark FROM group_chat WHERE picture_stale > 0 ORDER BY picture_stale";
const FIND_PICTURE: &str = "-- group_chat.find_picture
    SELECT picture_id FROM group_chat WHERE portal_id = $1";
const PICTURE_IS_SHOWN: &str = "-- group_chat.picture_is_shown
    UPDATE group_chat SET picture_id = $2 WHERE portal_id = $1";
const PICTURE_IS_SETTLED: &str = "-- group_chat.picture_is_settled
    UPDATE group_chat SET picture_stale = 0 WHERE portal_id = $1 AND picture_stale <= $2";
const SHOW_PICTURE_AGAIN: &str = "-- group_chat.show_picture_again
    UPDATE group_chat SET picture_id = '?', picture_stale = $2 WHERE portal_id = $1";

impl Store {
    /// The groups of a login with the pictures their rooms show.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn group_pictures_of(&self, login: &LoginId) -> Result<Vec<GroupPicture>> {
        let rows = sqlx::query(PICTURES_OF).bind(login.as_str()).fetch_all(self.pool()).await;
        let read = |row: &sqlx::any::AnyRow| {
            Ok(GroupPicture {
                portal: PortalId::new(row.try_get("portal_id")?),
                chat: row.try_get("chat")?,
                shown: row.try_get("picture_id")?,
                is_stale: row.try_get::<i64, _>("picture_stale")? > 0,
            })
        };
        rows.named("group_chat.pictures_of")?.iter().map(|row| read(row).named("group_chat.pictures_of")).collect()
    }

    /// Marks a group's picture to be looked at, by what was told when asked at `asked_at`, unless it is marked since; and
    /// rings.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn mark_group_picture(&self, portal: PortalId, asked_at: i64) -> Result<()> {
        let write = sqlx::query(MARK_PICTURE_AT).bind(portal.get()).bind(asked_at);
        self.write("group_chat.mark_picture_at", write).await?;
        self.ring_groups();
        Ok(())
    }

    /// Marks a group's picture to be looked at again. Ring after the commit.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn mark_group_picture_in(&self, tx: &mut Tx, portal: PortalId) -> Result<()> {
        let mark = sqlx::query(MARK_PICTURE).bind(portal.get()).bind(self.clock().next_id());
        mark.execute(tx.connection()).await.named("group_chat.mark_picture").map(drop)
    }

    /// Groups whose pictures are to be looked at, with their marks, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn stale_group_pictures(&self) -> Result<Vec<(PortalId, i64)>> {
        self.marked(STALE_PICTURES, "group_chat.stale_pictures").await
    }

    /// Notes that a group's room may show any picture by now, so that it is looked at; and rings.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn show_group_picture_again(&self, portal: PortalId) -> Result<()> {
        let write = sqlx::query(SHOW_PICTURE_AGAIN).bind(portal.get()).bind(self.clock().next_id());
        self.write("group_chat.show_picture_again", write).await?;
        self.ring_groups();
        Ok(())
    }

    /// WhatsApp's id of the picture a group's room shows; empty when none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn group_picture(&self, portal: PortalId) -> Result<String> {
        let row = sqlx::query(FIND_PICTURE).bind(portal.get()).fetch_optional(self.pool()).await;
        let row = row.named("group_chat.find_picture")?;
        Ok(row.map(|row| row.try_get("picture_id")).transpose().named("group_chat.find_picture")?.unwrap_or_default())
    }

    /// Notes which picture a group's room shows, and that it was looked at, unless it was marked again after `mark`.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn group_picture_is_shown(&self, portal: PortalId, picture: &str, mark: i64) -> Result<()> {
        let shown = sqlx::query(PICTURE_IS_SHOWN).bind(portal.get()).bind(picture);
        self.write("group_chat.picture_is_shown", shown).await?;
        let settled = sqlx::query(PICTURE_IS_SETTLED).bind(portal.get()).bind(mark);
        self.write("group_chat.picture_is_settled", settled).await.map(drop)
    }
}
