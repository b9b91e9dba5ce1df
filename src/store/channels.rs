//! Channels: what they are on WhatsApp, which of their posts are known, and how much of it their rooms show.
//!
//! A post is put into the inbox in the transaction that records it, so it is put once, whoever of ours hears of it and
//! however often it is fetched. What hangs on posts (content, counts) is replaced only by a later word about it: words
//! carry ordered ids, of the moment they came or were asked for.

use super::{Named, Result, Store, Tx};
use crate::ids::{LoginId, PortalId, WaMessageId};
use sqlx::Row;
use sqlx::any::AnyRow;
use tokio::sync::watch;

/// A channel as the database knows it; facts are in the bytes of `convert::channel`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelRow {
    /// As they were read last; empty before.
    pub facts: Vec<u8>,
    /// As the room shows them; empty before.
    pub shown: Vec<u8>,
    /// WhatsApp's id of the picture the room shows; empty = none.
    pub picture: String,
    /// When it was followed first, milliseconds since 1970.
    pub since: i64,
}

/// What a word about a post means for what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PostNews {
    /// Nothing.
    None,
    /// It is new.
    New,
    /// It says something else now.
    Changed,
    /// It was taken back.
    TakenBack,
}

/// A post as it came.
#[derive(Debug, Clone)]
pub struct PostWord<'a> {
    /// WhatsApp's id of it.
    pub id: &'a WaMessageId,
    /// The server's number of it.
    pub server_id: i64,
    /// Hash of what it says; empty when it was taken back.
    pub content: &'a str,
    /// Ordered id of the moment it came, or was asked for.
    pub at: i64,
}

/// A post whose counts are not shown yet.
#[derive(Debug, Clone)]
pub struct Unshown {
    /// Its channel.
    pub portal: PortalId,
    /// WhatsApp's id of it.
    pub id: WaMessageId,
    /// The counts, in the bytes of `convert::channel`.
    pub counts: Vec<u8>,
    /// The mark.
    pub mark: i64,
    /// The events that show counts, as who shows them wrote it.
    pub shown: Vec<u8>,
    /// The change of them that is being made; empty = none.
    pub planned: Vec<u8>,
    /// When they were changed last, milliseconds since 1970.
    pub shown_at: i64,
}

/// A post and its counts, for who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountedPost {
    /// WhatsApp's id of it.
    pub id: WaMessageId,
    /// The server's number of it.
    pub server_id: i64,
    /// In the bytes of `convert::channel`.
    pub counts: Vec<u8>,
}

const PUT: &str = "-- channel.put
    INSERT INTO channel (portal_id, facts, shown, unsettled, picture, since) VALUES ($1, $2, $3, $4, '', $5)
    ON CONFLICT (portal_id) DO UPDATE SET facts = excluded.facts, unsettled = excluded.unsettled
    WHERE channel.facts <> excluded.facts";
const FIND: &str = "-- channel.find
    SELECT facts, shown, picture, since FROM channel WHERE portal_id = $1";
const MARK: &str = "-- channel.mark
    UPDATE channel SET unsettled = $2 WHERE portal_id = $1";
const UNSETTLED: &str = "-- channel.unsettled
    SELECT portal_id, unsettled AS mark FROM channel WHERE unsettled > 0 ORDER BY unsettled";
const IS_SETTLED: &str = "-- channel.is_settled
    UPDATE channel SET shown = $2, unsettled = CASE WHEN unsettled <= $3 THEN 0 ELSE unsettled END WHERE portal_id = $1";
const PICTURE_IS_SHOWN: &str = "-- channel.picture_is_shown
    UPDATE channel SET picture = $2 WHERE portal_id = $1";
const PUT_LOGIN: &str = "-- channel_login.put
    INSERT INTO channel_login (portal_id, login_id, writes) VALUES ($1, $2, $3)
    ON CONFLICT (portal_id, login_id) DO UPDATE SET writes = excluded.writes WHERE channel_login.writes <> excluded.writes";
const FORGET_LOGIN: &str = "-- channel_login.forget
    DELETE FROM channel_login WHERE portal_id = $1 AND login_id = $2";
const WRITES: &str = "-- channel_login.writes
    SELECT writes FROM channel_login WHERE portal_id = $1 AND login_id = $2";
const LEAVE: &str = "-- portal_login.leave_channel
    DELETE FROM portal_login WHERE portal_id = $1 AND login_id = $2";
const OF_LOGIN: &str = "-- portal_login.channels_of
    SELECT portal.portal_id AS portal_id, portal.chat AS chat FROM portal_login
    JOIN portal ON portal.portal_id = portal_login.portal_id
    WHERE login_id = $1 AND portal.kind = 'channel' ORDER BY portal.portal_id";
const MARK_OF_LOGIN: &str = "-- channel.mark_of_login
    UPDATE channel SET unsettled = $2 WHERE portal_id IN (SELECT portal_id FROM portal_login WHERE login_id = $1)";
const LEAVE_ALL: &str = "-- portal_login.leave_channels
    DELETE FROM portal_login WHERE login_id = $1
        AND portal_id IN (SELECT portal_id FROM portal WHERE kind = 'channel')";
const FORGET_LOGINS: &str = "-- channel_login.forget_all
    DELETE FROM channel_login WHERE login_id = $1";
const PUT_POST: &str = "-- channel_post.put
    INSERT INTO channel_post
        (portal_id, wa_id, server_id, content, changed, counts, counted, unshown, shown, planned, shown_at)
    VALUES ($1, $2, $3, $4, $5, $6, 0, 0, $6, $6, 0) ON CONFLICT (portal_id, wa_id) DO NOTHING";
const NUMBER_POST: &str = "-- channel_post.number
    UPDATE channel_post SET server_id = $3 WHERE portal_id = $1 AND wa_id = $2 AND server_id < $3";
const CHANGE_POST: &str = "-- channel_post.change
    UPDATE channel_post SET content = $3, changed = $4
    WHERE portal_id = $1 AND wa_id = $2 AND content <> $3 AND content <> '' AND changed < $4";
const NEWEST: &str = "-- channel_post.newest
    SELECT CAST(COALESCE(MAX(server_id), 0) AS BIGINT) AS newest FROM channel_post WHERE portal_id = $1";
const OLDEST: &str = "-- channel_post.oldest
    SELECT CAST(COALESCE(MIN(server_id), 0) AS BIGINT) AS oldest FROM channel_post WHERE portal_id = $1";
const SERVER_ID: &str = "-- channel_post.server_id
    SELECT server_id FROM channel_post WHERE portal_id = $1 AND wa_id = $2";
const COUNT: &str = "-- channel_post.count
    UPDATE channel_post SET counts = $3, counted = $4, unshown = $5
    WHERE portal_id = $1 AND server_id = $2 AND counted < $4 AND counts <> $3";
const COUNTS: &str = "-- channel_post.counts
    SELECT wa_id, server_id, counts FROM channel_post WHERE portal_id = $1 AND content <> ''
    ORDER BY server_id DESC LIMIT $2";
const FIND_COUNTS: &str = "-- channel_post.find_counts
    SELECT counts FROM channel_post WHERE portal_id = $1 AND server_id = $2";
const MARK_POST: &str = "-- channel_post.mark
    UPDATE channel_post SET unshown = $3 WHERE portal_id = $1 AND wa_id = $2";
const UNSHOWN: &str = "-- channel_post.unshown
    SELECT portal_id, wa_id, counts, unshown, shown, planned, shown_at FROM channel_post
    WHERE unshown > 0 AND content <> '' ORDER BY unshown LIMIT 200";
const PLAN: &str = "-- channel_post.plan
    UPDATE channel_post SET planned = $3 WHERE portal_id = $1 AND wa_id = $2";
const POST_IS_SHOWN: &str = "-- channel_post.is_shown
    UPDATE channel_post SET shown = $3, planned = $4, shown_at = $5,
        unshown = CASE WHEN unshown <= $6 THEN 0 ELSE unshown END
    WHERE portal_id = $1 AND wa_id = $2";
const OWN_REACTIONS: &str = "-- reaction.own_of
    SELECT emoji FROM reaction JOIN login ON login.lid = reaction.sender OR login.pn = reaction.sender
    WHERE portal_id = $1 AND wa_id = $2 AND emoji <> '' AND event_id IS NOT NULL";

impl Store {
    /// Changes whenever a channel or a post was marked.
    pub fn channels_bell(&self) -> watch::Receiver<u64> {
        self.shared.channels_bell.subscribe()
    }

    /// Rings [`Store::channels_bell`]; after the commit of a mark.
    pub fn ring_channels(&self) {
        self.shared.channels_bell.send_modify(|rung| *rung += 1);
    }

    /// Records a channel as a login was told of it: facts, and that the login follows it. The channel is marked when
    /// anything of it is news. Ring after the commit.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_channel_in(
        &self,
        tx: &mut Tx,
        portal: PortalId,
        login: &LoginId,
        facts: &[u8],
        writes: bool,
    ) -> Result<()> {
        let put = sqlx::query(PUT).bind(portal.get()).bind(facts.to_vec()).bind(Vec::<u8>::new());
        let put = put.bind(self.clock().next_id()).bind(self.clock().now_ms());
        put.execute(tx.connection()).await.named("channel.put")?;
        let put = sqlx::query(PUT_LOGIN).bind(portal.get()).bind(login.as_str()).bind(i64::from(writes));
        let changed = put.execute(tx.connection()).await.named("channel_login.put")?.rows_affected() > 0;
        if changed {
            self.mark_channel_in(tx, portal).await?;
        }
        Ok(())
    }

    /// Records what a channel is as somebody was told who does not follow it (any more). Ring after the commit.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn leave_channel_in(&self, tx: &mut Tx, portal: PortalId, login: &LoginId) -> Result<()> {
        let left = sqlx::query(LEAVE).bind(portal.get()).bind(login.as_str()).execute(tx.connection()).await;
        left.named("portal_login.leave_channel")?;
        let forgot = sqlx::query(FORGET_LOGIN).bind(portal.get()).bind(login.as_str()).execute(tx.connection()).await;
        forgot.named("channel_login.forget")?;
        self.mark_channel_in(tx, portal).await
    }

    /// Takes a login out of every channel, for its account gets another owner; the rooms are looked at again.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn leave_all_channels_in(&self, tx: &mut Tx, login: &LoginId) -> Result<()> {
        let marked = sqlx::query(MARK_OF_LOGIN).bind(login.as_str()).bind(self.clock().next_id());
        marked.execute(tx.connection()).await.named("channel.mark_of_login")?;
        let forgot = sqlx::query(FORGET_LOGINS).bind(login.as_str()).execute(tx.connection()).await;
        forgot.named("channel_login.forget_all")?;
        let left = sqlx::query(LEAVE_ALL).bind(login.as_str()).execute(tx.connection()).await;
        left.named("portal_login.leave_channels").map(drop)
    }

    pub(super) async fn mark_channel_in(&self, tx: &mut Tx, portal: PortalId) -> Result<()> {
        let mark = sqlx::query(MARK).bind(portal.get()).bind(self.clock().next_id());
        mark.execute(tx.connection()).await.named("channel.mark").map(drop)
    }

    /// What is kept of a channel; none when it was never heard of.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_channel(&self, portal: PortalId) -> Result<Option<ChannelRow>> {
        let row = sqlx::query(FIND).bind(portal.get()).fetch_optional(self.pool()).await.named("channel.find")?;
        let read = |row: AnyRow| -> std::result::Result<ChannelRow, sqlx::Error> {
            Ok(ChannelRow {
                facts: row.try_get("facts")?,
                shown: row.try_get("shown")?,
                picture: row.try_get("picture")?,
                since: row.try_get("since")?,
            })
        };
        row.map(read).transpose().named("channel.find")
    }

    /// Channels whose rooms do not show all of them, with their marks, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unsettled_channels(&self) -> Result<Vec<(PortalId, i64)>> {
        let rows = sqlx::query(UNSETTLED).fetch_all(self.pool()).await.named("channel.unsettled")?;
        let read = |row: &AnyRow| Ok((PortalId::new(row.try_get("portal_id")?), row.try_get("mark")?));
        rows.iter().map(|row| read(row).named("channel.unsettled")).collect()
    }

    /// Notes that a channel's room shows these facts; a mark set after `mark` stays.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn channel_is_settled(&self, portal: PortalId, facts: &[u8], mark: i64) -> Result<()> {
        let write = sqlx::query(IS_SETTLED).bind(portal.get()).bind(facts.to_vec()).bind(mark);
        self.write("channel.is_settled", write).await.map(drop)
    }

    /// Notes which picture a channel's room shows; empty = none.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn channel_picture_is_shown(&self, portal: PortalId, picture: &str) -> Result<()> {
        let write = sqlx::query(PICTURE_IS_SHOWN).bind(portal.get()).bind(picture.to_owned());
        self.write("channel.picture_is_shown", write).await.map(drop)
    }

    /// Channels a login follows, with their ids on WhatsApp.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn channels_of(&self, login: &LoginId) -> Result<Vec<(PortalId, String)>> {
        let rows = sqlx::query(OF_LOGIN).bind(login.as_str()).fetch_all(self.line_pool()).await;
        let read = |row: &AnyRow| Ok((PortalId::new(row.try_get("portal_id")?), row.try_get("chat")?));
        rows.named("portal_login.channels_of")?.iter().map(|row| read(row).named("portal_login.channels_of")).collect()
    }

    /// Whether a login may write in a channel, as it was told last.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn writes_in_channel(&self, portal: PortalId, login: &LoginId) -> Result<bool> {
        let row = sqlx::query(WRITES).bind(portal.get()).bind(login.as_str()).fetch_optional(self.pool()).await;
        let writes = row.named("channel_login.writes")?.map(|row| row.try_get::<i64, _>("writes")).transpose();
        Ok(writes.named("channel_login.writes")?.unwrap_or(0) != 0)
    }

    /// Records a word about a post and says what is news about it; who gets news puts it into the inbox in the same
    /// transaction.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_post_in(&self, tx: &mut Tx, portal: PortalId, word: &PostWord<'_>) -> Result<PostNews> {
        let put = sqlx::query(PUT_POST)
            .bind(portal.get())
            .bind(word.id.as_str())
            .bind(word.server_id)
            .bind(word.content)
            .bind(word.at)
            .bind(Vec::<u8>::new());
        let is_new = put.execute(tx.connection()).await.named("channel_post.put")?.rows_affected() > 0;
        if is_new {
            return Ok(if word.content.is_empty() { PostNews::None } else { PostNews::New });
        }
        // What we posted ourselves gets its number when the server tells it.
        let number = sqlx::query(NUMBER_POST).bind(portal.get()).bind(word.id.as_str()).bind(word.server_id);
        number.execute(tx.connection()).await.named("channel_post.number")?;
        let change = sqlx::query(CHANGE_POST).bind(portal.get()).bind(word.id.as_str()).bind(word.content);
        let changed = change.bind(word.at).execute(tx.connection()).await.named("channel_post.change")?;
        Ok(match (changed.rows_affected() > 0, word.content.is_empty()) {
            (false, _) => PostNews::None,
            (true, true) => PostNews::TakenBack,
            (true, false) => PostNews::Changed,
        })
    }

    /// The server's number of the newest post that is known of a channel; 0 when none is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn newest_post(&self, portal: PortalId) -> Result<i64> {
        let row = sqlx::query(NEWEST).bind(portal.get()).fetch_one(self.line_pool()).await;
        row.named("channel_post.newest")?.try_get("newest").named("channel_post.newest")
    }

    /// The server's number of the oldest post that is known of a channel; 0 when none is.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn oldest_post(&self, portal: PortalId) -> Result<i64> {
        let row = sqlx::query(OLDEST).bind(portal.get()).fetch_one(self.line_pool()).await;
        row.named("channel_post.oldest")?.try_get("oldest").named("channel_post.oldest")
    }

    /// The server's number of a post; none when it is not known.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn server_id_of(&self, portal: PortalId, id: &WaMessageId) -> Result<Option<i64>> {
        let row = sqlx::query(SERVER_ID).bind(portal.get()).bind(id.as_str()).fetch_optional(self.pool()).await;
        row.named("channel_post.server_id")?
            .map(|row| row.try_get("server_id"))
            .transpose()
            .named("channel_post.server_id")
    }

    /// The counts of a post as they are known; empty when they are not.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_post_counts(&self, portal: PortalId, server_id: i64) -> Result<Vec<u8>> {
        let row = sqlx::query(FIND_COUNTS).bind(portal.get()).bind(server_id).fetch_optional(self.line_pool()).await;
        let counts = row.named("channel_post.find_counts")?.map(|row| row.try_get("counts")).transpose();
        Ok(counts.named("channel_post.find_counts")?.unwrap_or_default())
    }

    /// Records the counts of a post and marks it, unless they are known or older than what is. `at` is an ordered id.
    /// Ring after it.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put_post_counts(&self, portal: PortalId, server_id: i64, counts: &[u8], at: i64) -> Result<bool> {
        // The mark is of now: a word may have waited, and who clears an older mark must not clear this one.
        let write = sqlx::query(COUNT).bind(portal.get()).bind(server_id).bind(counts.to_vec()).bind(at);
        let write = write.bind(self.clock().next_id());
        Ok(self.write("channel_post.count", write).await?.affected > 0)
    }

    /// The newest posts of a channel that are still there, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn counted_posts(&self, portal: PortalId, limit: i64) -> Result<Vec<CountedPost>> {
        let rows = sqlx::query(COUNTS).bind(portal.get()).bind(limit).fetch_all(self.pool()).await;
        let read = |row: &AnyRow| -> std::result::Result<CountedPost, sqlx::Error> {
            Ok(CountedPost {
                id: WaMessageId::new(row.try_get::<String, _>("wa_id")?),
                server_id: row.try_get("server_id")?,
                counts: row.try_get("counts")?,
            })
        };
        rows.named("channel_post.counts")?.iter().map(|row| read(row).named("channel_post.counts")).collect()
    }

    /// Marks a post so that its counts are looked at again, and rings.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn mark_post(&self, portal: PortalId, id: &WaMessageId) -> Result<()> {
        let write = sqlx::query(MARK_POST).bind(portal.get()).bind(id.as_str()).bind(self.clock().next_id());
        self.write("channel_post.mark", write).await?;
        self.ring_channels();
        Ok(())
    }

    /// Posts whose counts are not shown yet, those that wait longest first, at most 200.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn unshown_posts(&self) -> Result<Vec<Unshown>> {
        let rows = sqlx::query(UNSHOWN).fetch_all(self.pool()).await.named("channel_post.unshown")?;
        let read = |row: &AnyRow| -> std::result::Result<Unshown, sqlx::Error> {
            Ok(Unshown {
                portal: PortalId::new(row.try_get("portal_id")?),
                id: WaMessageId::new(row.try_get::<String, _>("wa_id")?),
                counts: row.try_get("counts")?,
                mark: row.try_get("unshown")?,
                shown: row.try_get("shown")?,
                planned: row.try_get("planned")?,
                shown_at: row.try_get("shown_at")?,
            })
        };
        rows.iter().map(|row| read(row).named("channel_post.unshown")).collect()
    }

    /// Records the change of what shows a post's counts, before it is made.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn plan_post(&self, portal: PortalId, id: &WaMessageId, planned: &[u8]) -> Result<()> {
        let write = sqlx::query(PLAN).bind(portal.get()).bind(id.as_str()).bind(planned.to_vec());
        self.write("channel_post.plan", write).await.map(drop)
    }

    /// Records what shows a post's counts now; a mark set after `mark` stays.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn post_is_shown(&self, post: &Unshown, shown: &[u8], at_ms: i64) -> Result<()> {
        let write = sqlx::query(POST_IS_SHOWN)
            .bind(post.portal.get())
            .bind(post.id.as_str())
            .bind(shown.to_vec())
            .bind(Vec::<u8>::new())
            .bind(at_ms)
            .bind(post.mark);
        self.write("channel_post.is_shown", write).await.map(drop)
    }

    /// Reactions to a post that people on Matrix have given, each with an event of its own.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn own_reactions_to(&self, portal: PortalId, id: &WaMessageId) -> Result<Vec<String>> {
        let rows = sqlx::query(OWN_REACTIONS).bind(portal.get()).bind(id.as_str()).fetch_all(self.pool()).await;
        let rows = rows.named("reaction.own_of")?;
        rows.iter().map(|row| row.try_get("emoji").named("reaction.own_of")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ChatId;
    use crate::store::portals::PortalKind;
    use crate::store::tests::on_both;

    on_both! {
        a_post_is_news_once => posts;
        a_channel_is_marked_by_news_only => marks;
    }

    async fn channel(store: &Store) -> PortalId {
        let mut tx = store.begin("test").await.unwrap();
        let chat = ChatId::new("1@newsletter");
        let made = store.find_or_make_portal_in(&mut tx, &chat, None, "", PortalKind::Channel).await.unwrap();
        assert_eq!(made.kind, PortalKind::Channel);
        store.join_portal_in(&mut tx, made.id, &LoginId::new("1")).await.unwrap();
        store.put_channel_in(&mut tx, made.id, &LoginId::new("1"), b"{}", false).await.unwrap();
        tx.commit().await.unwrap();
        made.id
    }

    async fn posts(store: Store) {
        let portal = channel(&store).await;
        let id = WaMessageId::new("A");
        let word = async |content: &str, at: i64, server_id: i64| {
            let mut tx = store.begin("test").await.unwrap();
            let news = store.put_post_in(&mut tx, portal, &PostWord { id: &id, server_id, content, at }).await.unwrap();
            tx.commit().await.unwrap();
            news
        };
        assert_eq!(store.newest_post(portal).await.unwrap(), 0);
        assert_eq!(word("x", 5, 0).await, PostNews::New);
        assert_eq!(word("x", 6, 100).await, PostNews::None);
        assert_eq!(store.server_id_of(portal, &id).await.unwrap(), Some(100));
        assert_eq!(word("y", 4, 100).await, PostNews::None, "an answer asked for before undoes nothing");
        assert_eq!(word("y", 7, 100).await, PostNews::Changed);
        assert_eq!(word("y", 8, 100).await, PostNews::None);
        assert_eq!((store.newest_post(portal).await.unwrap(), store.oldest_post(portal).await.unwrap()), (100, 100));

        assert!(store.put_post_counts(portal, 100, b"[1]", 20).await.unwrap());
        assert!(!store.put_post_counts(portal, 100, b"[1]", 21).await.unwrap());
        assert!(!store.put_post_counts(portal, 100, b"[0]", 19).await.unwrap());
        assert_eq!(store.find_post_counts(portal, 100).await.unwrap(), b"[1]");
        let unshown = store.unshown_posts().await.unwrap();
        assert_eq!((unshown.len(), unshown[0].planned.len()), (1, 0));
        store.plan_post(portal, &id, b"plan").await.unwrap();
        assert!(store.put_post_counts(portal, 100, b"[2]", 22).await.unwrap());
        store.post_is_shown(&unshown[0], b"pills", 77).await.unwrap();
        let again = store.unshown_posts().await.unwrap();
        assert!(again[0].mark > unshown[0].mark);
        assert_eq!((again[0].shown.as_slice(), again[0].planned.len()), (&b"pills"[..], 0));
        store.post_is_shown(&again[0], b"pills", 78).await.unwrap();
        assert!(store.unshown_posts().await.unwrap().is_empty());
        assert_eq!(word("", 9, 100).await, PostNews::TakenBack);
        assert_eq!(word("z", 10, 100).await, PostNews::None, "what was taken back stays away");
        assert!(store.put_post_counts(portal, 100, b"[3]", 30).await.unwrap());
        assert!(store.unshown_posts().await.unwrap().is_empty(), "nothing is shown of what was taken back");
        assert!(store.counted_posts(portal, 5).await.unwrap().is_empty(), "it was taken back");
        assert!(store.own_reactions_to(portal, &id).await.unwrap().is_empty());
    }

    async fn marks(store: Store) {
        let portal = channel(&store).await;
        let login = LoginId::new("1");
        let marked = store.unsettled_channels().await.unwrap();
        assert_eq!(marked.len(), 1);
        store.channel_is_settled(portal, b"{}", marked[0].1).await.unwrap();
        assert!(store.unsettled_channels().await.unwrap().is_empty());
        let again = async |facts: &[u8], writes: bool| {
            let mut tx = store.begin("test").await.unwrap();
            store.put_channel_in(&mut tx, portal, &login, facts, writes).await.unwrap();
            tx.commit().await.unwrap();
            let marked = store.unsettled_channels().await.unwrap();
            for (portal, mark) in &marked {
                store.channel_is_settled(*portal, facts, *mark).await.unwrap();
            }
            marked.len()
        };
        assert_eq!(again(b"{}", false).await, 0);
        assert_eq!(again(b"{1}", false).await, 1);
        assert_eq!(again(b"{1}", true).await, 1);
        assert!(store.writes_in_channel(portal, &login).await.unwrap());
        assert_eq!(store.channels_of(&login).await.unwrap(), [(portal, "1@newsletter".to_owned())]);
        let mut tx = store.begin("test").await.unwrap();
        store.leave_channel_in(&mut tx, portal, &login).await.unwrap();
        tx.commit().await.unwrap();
        assert!(store.channels_of(&login).await.unwrap().is_empty());
        assert!(!store.writes_in_channel(portal, &login).await.unwrap());
        assert_eq!(store.unsettled_channels().await.unwrap().len(), 1);
        store.channel_picture_is_shown(portal, "7").await.unwrap();
        assert_eq!(store.find_channel(portal).await.unwrap().unwrap().picture, "7");
        store.set_portal_room(portal, "!r").await.unwrap();
        let with_room = store.load_portal(portal).await.unwrap();
        assert!(!store.forget_portal_room(&with_room, "!other", "next").await.unwrap());
        assert_eq!(store.find_channel(portal).await.unwrap().unwrap().picture, "7", "it has another room");
        assert!(store.forget_portal_room(&with_room, "!r", "next").await.unwrap());
        let row = store.find_channel(portal).await.unwrap().unwrap();
        assert_eq!((row.picture.as_str(), row.shown.len(), row.facts.as_slice()), ("", 0, &b"{1}"[..]));
    }
}
