//! Whom accounts have blocked, and whether the rooms of their chats were told.

use super::{Named, Result, Store, Tx};
use crate::ids::{GhostId, LoginId};
use sqlx::Row;
use sqlx::any::AnyRow;

const ALL: &str = "-- blocked.all
    SELECT person, is_blocked FROM blocked WHERE login_id = $1";
const PUT: &str = "-- blocked.put
    INSERT INTO blocked (login_id, person, is_blocked, told, at) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (login_id, person) DO UPDATE SET is_blocked = excluded.is_blocked, told = excluded.told, at = excluded.at
    WHERE blocked.is_blocked <> excluded.is_blocked";
const RENAME: &str = "-- blocked.rename
    UPDATE blocked SET person = $3 WHERE login_id = $1 AND person = $2
    AND NOT EXISTS (SELECT 1 FROM blocked AS other WHERE other.login_id = $1 AND other.person = $3)";
const FIND: &str = "-- blocked.find
    SELECT person FROM blocked WHERE login_id = $1 AND is_blocked = 1 AND (person = $2
        OR person IN (SELECT pn FROM wa_alias WHERE lid = $2) OR person IN (SELECT lid FROM wa_alias WHERE pn = $2))";
const BY_LOGIN: &str = "-- blocked.by_login
    SELECT person FROM blocked WHERE login_id = $1 AND is_blocked = 1
    UNION SELECT pn FROM wa_alias WHERE lid IN (SELECT person FROM blocked WHERE login_id = $1 AND is_blocked = 1)
    UNION SELECT lid FROM wa_alias WHERE pn IN (SELECT person FROM blocked WHERE login_id = $1 AND is_blocked = 1)";
const UNTOLD: &str = "-- blocked.untold
    SELECT blocked.login_id AS login_id, person, is_blocked, at, room_id
    FROM blocked LEFT JOIN portal ON portal.receiver = blocked.login_id
        AND (portal.chat = person OR portal.chat = (SELECT lid FROM wa_alias WHERE pn = person))
    WHERE told = 0 ORDER BY at LIMIT 500";
const TOLD: &str = "-- blocked.told
    UPDATE blocked SET told = 1 WHERE login_id = $1 AND person = $2 AND at = $3";

/// A block, or the end of one, that the chat's room was not told of.
#[derive(Debug, Clone)]
pub struct Untold {
    /// Whose block.
    pub login: LoginId,
    /// Of whom.
    pub person: GhostId,
    /// Whether they are blocked now.
    pub is_blocked: bool,
    /// Ordered id of the change.
    pub at: i64,
    /// The chat's room, when it has one.
    pub room: Option<String>,
}

impl Store {
    /// Keeps the list of the blocked as it is now; true when somebody came onto it or went. The first one is no news.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_blocklist_in(&self, tx: &mut Tx, login: &LoginId, people: &[GhostId]) -> Result<bool> {
        let rows = sqlx::query(ALL).bind(login.as_str()).fetch_all(tx.connection()).await.named("blocked.all")?;
        let mut blocked = Vec::new();
        let mut was_told = false;
        for row in &rows {
            let person: String = row.try_get("person").named("blocked.all")?;
            let is_blocked = row.try_get::<i64, _>("is_blocked").named("blocked.all")? != 0;
            was_told |= person.is_empty();
            if is_blocked {
                blocked.push(self.renamed_in(tx, login, GhostId::new(person)).await?);
            }
        }
        let told = i64::from(!was_told);
        let mut changed = false;
        for person in people.iter().filter(|person| !blocked.contains(person)) {
            changed |= self.put_block_in(tx, login, person.as_str(), true, told).await?;
        }
        for person in blocked.iter().filter(|person| !people.contains(person)) {
            changed |= self.put_block_in(tx, login, person.as_str(), false, told).await?;
        }
        if !was_told {
            self.put_block_in(tx, login, "", false, 1).await?;
        }
        Ok(changed)
    }

    /// The id a kept person goes by now: their LID, once it is known.
    async fn renamed_in(&self, tx: &mut Tx, login: &LoginId, person: GhostId) -> Result<GhostId> {
        let lid = if person.as_str().ends_with("@lid") { None } else { self.find_lid_in(tx, &person).await? };
        let Some(lid) = lid else { return Ok(person) };
        let rename = sqlx::query(RENAME).bind(login.as_str()).bind(person.as_str()).bind(lid.as_str());
        rename.execute(tx.connection()).await.named("blocked.rename")?;
        Ok(lid)
    }

    async fn put_block_in(
        &self,
        tx: &mut Tx,
        login: &LoginId,
        person: &str,
        is_blocked: bool,
        told: i64,
    ) -> Result<bool> {
        let put = sqlx::query(PUT)
            .bind(login.as_str())
            .bind(person)
            .bind(i64::from(is_blocked))
            .bind(told)
            .bind(self.clock().next_id());
        Ok(put.execute(tx.connection()).await.named("blocked.put")?.rows_affected() > 0)
    }

    /// Keeps that somebody is blocked, or no longer; the room of their chat is told later. Nothing when it is kept already.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_blocked(&self, login: &LoginId, person: &GhostId, is_blocked: bool) -> Result<()> {
        let mut tx = self.begin("blocked.put").await?;
        let person = self.renamed_in(&mut tx, login, person.clone()).await?;
        self.put_block_in(&mut tx, login, person.as_str(), is_blocked, 0).await?;
        tx.commit().await?;
        self.ring_marks();
        Ok(())
    }

    /// Whether a login has blocked somebody, under any id of theirs.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn is_blocked(&self, login: &LoginId, person: &GhostId) -> Result<bool> {
        let row = sqlx::query(FIND).bind(login.as_str()).bind(person.as_str()).fetch_optional(self.pool()).await;
        Ok(row.named("blocked.find")?.is_some())
    }

    /// Everybody a login has blocked, under all known ids.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn blocked_by(&self, login: &LoginId) -> Result<Vec<GhostId>> {
        let rows = sqlx::query(BY_LOGIN).bind(login.as_str()).fetch_all(self.line_pool()).await;
        let id = |row: &AnyRow| row.try_get::<String, _>("person").map(GhostId::new).named("blocked.by_login");
        rows.named("blocked.by_login")?.iter().map(id).collect()
    }

    /// Blocks and ends of blocks whose rooms were not told, oldest first, at most 500.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn untold_blocks(&self) -> Result<Vec<Untold>> {
        let rows = sqlx::query(UNTOLD).fetch_all(self.pool()).await.named("blocked.untold")?;
        rows.iter().map(read).collect()
    }

    /// Notes that a room was told, unless it has changed meanwhile.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn block_was_told(&self, untold: &Untold) -> Result<()> {
        let write = sqlx::query(TOLD).bind(untold.login.as_str()).bind(untold.person.as_str()).bind(untold.at);
        self.write("blocked.told", write).await.map(drop)
    }
}

fn read(row: &AnyRow) -> Result<Untold> {
    let text = |column: &'static str| row.try_get::<String, _>(column).named("blocked.untold");
    Ok(Untold {
        login: LoginId::new(text("login_id")?),
        person: GhostId::new(text("person")?),
        is_blocked: row.try_get::<i64, _>("is_blocked").named("blocked.untold")? != 0,
        at: row.try_get("at").named("blocked.untold")?,
        room: row.try_get("room_id").named("blocked.untold")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::on_both;

    on_both! { the_first_list_is_no_news_and_its_changes_are => list; }

    async fn put(store: &Store, ids: &[&str]) -> bool {
        let people: Vec<GhostId> = ids.iter().map(|id| GhostId::new(*id)).collect();
        let mut tx = store.begin("test.blocked").await.unwrap();
        let changed = store.put_blocklist_in(&mut tx, &LoginId::new("49"), &people).await.unwrap();
        tx.commit().await.unwrap();
        changed
    }

    async fn list(store: Store) {
        let login = LoginId::new("49");
        let untold = async || {
            let all = store.untold_blocks().await.unwrap();
            let mut told: Vec<(String, bool)> =
                all.iter().map(|one| (one.person.to_string(), one.is_blocked)).collect();
            told.sort();
            for one in &all {
                assert!(one.room.is_none());
                store.block_was_told(one).await.unwrap();
            }
            told
        };
        let word = |person: &str, is_blocked: bool| (person.to_owned(), is_blocked);
        assert!(put(&store, &["1@lid", "15@s.whatsapp.net"]).await);
        assert_eq!(untold().await, [], "they were blocked before anybody looked");
        assert!(!put(&store, &["1@lid", "15@s.whatsapp.net"]).await, "the same again");
        assert!(put(&store, &["15@s.whatsapp.net", "2@lid"]).await);
        assert_eq!(untold().await, [word("1@lid", false), word("2@lid", true)]);
        assert_eq!(untold().await, [], "told once");
        // Who has another id by now is the same person.
        let (number, lid) = (GhostId::new("15@s.whatsapp.net"), GhostId::new("5@lid"));
        let mut tx = store.begin("test.alias").await.unwrap();
        store.put_alias_in(&mut tx, &number, &lid).await.unwrap();
        tx.commit().await.unwrap();
        assert!(store.is_blocked(&login, &lid).await.unwrap());
        put(&store, &["5@lid", "2@lid"]).await;
        assert_eq!(untold().await, []);
        let mut all = store.blocked_by(&login).await.unwrap();
        all.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        assert_eq!(all, ["15@s.whatsapp.net", "2@lid", "5@lid"].map(GhostId::new));
        assert!(store.is_blocked(&login, &number).await.unwrap());
        assert!(!store.is_blocked(&LoginId::new("50"), &lid).await.unwrap(), "another account's");
        // By command.
        store.put_blocked(&login, &number, false).await.unwrap();
        assert_eq!(untold().await, [word("5@lid", false)]);
        assert!(!store.is_blocked(&login, &lid).await.unwrap());
        store.put_blocked(&login, &lid, false).await.unwrap();
        assert_eq!(untold().await, []);
    }
}
