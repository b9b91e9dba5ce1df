//! SQLite's one writer: a task that owns the only connection that writes, and commits many transactions together.
//!
//! A transaction of the bridge ([`super::Tx`]) or a statement on its own waits its turn, runs, and is answered once the
//! *group* it belongs to is committed. A group is one transaction of the database; it ends when nobody waits for a turn,
//! or after [`MOST`] members or [`LONGEST`]. So a commit on the disk costs once for all who came in the meantime, and
//! nobody waits longer than before when few come. One connection, because SQLite lets one write at a time anyway, and
//! the page cache of a second is outdated by each commit of the first.
//!
//! Promises:
//! - Turns are given in the order of asking.
//! - An answer `Ok` means on the disk. An `Err` from the commit goes to all members: nothing of them happened.
//! - Who drops a transaction undoes that one only: inside a group each stands on a savepoint.
//! - What a member reads may be another member's work that is not on the disk yet. So a transaction that only found out
//!   that there is nothing to do is to be committed too, before somebody is told so.
//!
//! What is on the disk stands in SQLite's log first and is moved to its place later. SQLite does that inside the commit that
//! makes the log long, and everybody waits; here it is done on the side, by a second connection, and by the task itself only when
//! it does not keep up.
//!
//! Only the task itself begins and ends transactions, so nobody who is cut off in the midst of one leaves it open.

use super::{Named, Result, StoreError};
use futures_util::TryStreamExt as _;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::pool::PoolConnection;
use sqlx::query::Query;
use sqlx::{Any, AnyConnection, AnyPool, Either, Executor as _, Row as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Members of a group at most.
const MOST: usize = 128;
/// How long a group takes new members at most; who asked first waits for the last. Tests say which members are of one
/// group, however busy the machine is.
const LONGEST: Duration = Duration::from_millis(if cfg!(test) { 60_000 } else { 5 });
/// How many wait in line; who comes when it is full waits for a place in it, in order too.
const WAITING: usize = 1024;
/// How long somebody waits for a turn and the commit. Longer than SQLite waits for a lock of another process; reached
/// only by who asks for a turn while holding one, which is a mistake of ours.
const WAIT: Duration = Duration::from_secs(30);

/// Members after which the log is moved to its place; each makes it some pages longer.
const MOVED_AFTER: usize = 128;
/// Members after which nobody goes on before the log is moved: then its file does not grow without end.
const MOVED_AT_LAST: usize = 8 * MOVED_AFTER;
/// Pages of the log after which it is moved with nobody writing; only so it begins anew while many write.
const LONG_LOG: i64 = 4000;

const MOVE_LOG: &str = "PRAGMA wal_checkpoint(PASSIVE)";
const BEGIN: &str = "BEGIN IMMEDIATE; SAVEPOINT member";
const NEXT: &str = "RELEASE member; SAVEPOINT member";
const UNDO: &str = "ROLLBACK TO member";
const COMMIT: &str = "COMMIT";
const ROLLBACK: &str = "ROLLBACK";

/// A statement that is a transaction of its own.
pub(crate) type Write = Query<'static, Any, AnyArguments>;

/// What a statement did.
#[derive(Default)]
pub(crate) struct Done {
    /// What it returned.
    pub(crate) rows: Vec<AnyRow>,
    /// How many rows it touched.
    pub(crate) affected: u64,
}

type Answer<T> = oneshot::Sender<Result<T>>;

enum Request {
    Lend { what: &'static str, answer: Answer<Loan> },
    Run { what: &'static str, write: Box<Write>, answer: Answer<Done> },
    Close { answer: oneshot::Sender<()> },
}

impl Request {
    /// Whether nobody waits for it any more.
    fn is_given_up(&self) -> bool {
        match self {
            Self::Lend { answer, .. } => answer.is_closed(),
            Self::Run { answer, .. } => answer.is_closed(),
            Self::Close { .. } => false,
        }
    }

    fn refuse(self, error: &Arc<sqlx::Error>) {
        match self {
            Self::Lend { what, answer } => drop(answer.send(Err(failed(what, error)))),
            Self::Run { what, answer, .. } => drop(answer.send(Err(failed(what, error)))),
            Self::Close { answer } => answer.send(()).unwrap_or_default(),
        }
    }
}

/// The way to the task. It ends when this is dropped.
pub(crate) struct Writer {
    requests: mpsc::Sender<Request>,
    #[cfg_attr(not(test), allow(dead_code, reason = "tests ask for it"))]
    groups: Arc<AtomicU64>,
}

impl Writer {
    /// Starts the task; `pool` has room for two connections and is nobody else's.
    pub(crate) async fn start(pool: AnyPool) -> Result<Self> {
        let (requests, waiting) = mpsc::channel(WAITING);
        let connection = Some(pool.acquire().await.named("store.open")?);
        let groups = Arc::default();
        let log = Log { pool: pool.clone(), since: 0, moving: None };
        tokio::spawn(Work { pool, connection, requests: waiting, groups: Arc::clone(&groups), log }.run());
        Ok(Self { requests, groups })
    }

    /// How many groups were committed so far.
    #[cfg(test)]
    pub(super) fn groups(&self) -> u64 {
        self.groups.load(Ordering::SeqCst)
    }

    /// Waits for the turn to write; what is done on the loan counts once it is committed.
    pub(crate) async fn lend(&self, what: &'static str) -> Result<Loan> {
        let (answer, lent) = oneshot::channel();
        self.ask(what, Request::Lend { what, answer }, lent).await
    }

    /// Runs a statement; `Ok` means committed.
    pub(crate) async fn run(&self, what: &'static str, write: Write) -> Result<Done> {
        let (answer, done) = oneshot::channel();
        self.ask(what, Request::Run { what, write: Box::new(write), answer }, done).await
    }

    async fn ask<T>(&self, what: &'static str, request: Request, answer: oneshot::Receiver<Result<T>>) -> Result<T> {
        let answered = async {
            self.requests.send(request).await.ok()?;
            answer.await.ok()
        };
        match tokio::time::timeout(WAIT, answered).await {
            Ok(Some(answered)) => answered,
            Ok(None) => Err(sqlx::Error::PoolClosed).named(what),
            Err(_) => Err(sqlx::Error::PoolTimedOut).named(what),
        }
    }

    /// Ends the task after those who asked before.
    pub(crate) async fn close(&self) {
        let (answer, closed) = oneshot::channel();
        if self.requests.send(Request::Close { answer }).await.is_ok() {
            // An error means that it has ended.
            closed.await.unwrap_or_default();
        }
    }
}

/// The connection, lent for one transaction; what was done on it is undone when it is dropped.
pub(crate) struct Loan {
    connection: Option<PoolConnection<Any>>,
    back: Option<oneshot::Sender<Returned>>,
}

struct Returned {
    connection: Option<PoolConnection<Any>>,
    /// Who waits for the commit; none when it was dropped.
    committed: Option<Answer<()>>,
}

impl Loan {
    pub(crate) fn connection(&mut self) -> &mut AnyConnection {
        // Taken only by `give_back`, after which there is no `self` any more.
        self.connection.as_mut().expect("a loan holds its connection")
    }

    pub(crate) async fn commit(mut self, what: &'static str) -> Result<()> {
        let (answer, committed) = oneshot::channel();
        self.give_back(Some(answer));
        committed.await.unwrap_or_else(|_| Err(sqlx::Error::WorkerCrashed).named(what))
    }

    fn give_back(&mut self, committed: Option<Answer<()>>) {
        if let Some(back) = self.back.take() {
            // Nobody takes it back when the process ends: the connection closes, and what is open is undone.
            drop(back.send(Returned { connection: self.connection.take(), committed }));
        }
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.give_back(None);
    }
}

/// Somebody whose work is done and not on the disk yet.
enum Member {
    Transaction { what: &'static str, answer: Answer<()> },
    Statement { what: &'static str, done: Done, answer: Answer<Done> },
}

impl Member {
    fn answer(self, ended: &std::result::Result<(), Arc<sqlx::Error>>) {
        // Who does not wait any more will not know; the work is done all the same.
        match (self, ended) {
            (Self::Transaction { answer, .. }, Ok(())) => drop(answer.send(Ok(()))),
            (Self::Statement { done, answer, .. }, Ok(())) => drop(answer.send(Ok(done))),
            (Self::Transaction { what, answer }, Err(error)) => drop(answer.send(Err(failed(what, error)))),
            (Self::Statement { what, answer, .. }, Err(error)) => drop(answer.send(Err(failed(what, error)))),
        }
    }
}

fn failed(what: &'static str, error: &Arc<sqlx::Error>) -> StoreError {
    StoreError::Database { what, source: error.clone() }
}

/// One transaction of the database.
struct Group {
    members: Vec<Member>,
    until: Instant,
    /// Whether something was done since the savepoint.
    touched: bool,
    /// Whether it takes no more members: a statement failed, and SQLite may have undone everything with it. Its commit
    /// tells.
    ends: bool,
}

struct Work {
    pool: AnyPool,
    /// None when the last one could not be trusted any more.
    connection: Option<PoolConnection<Any>>,
    requests: mpsc::Receiver<Request>,
    groups: Arc<AtomicU64>,
    log: Log,
}

/// SQLite's log and who moves it.
struct Log {
    pool: AnyPool,
    /// Members since it was last begun to be moved.
    since: usize,
    /// Its length in pages, when it is moved.
    moving: Option<JoinHandle<sqlx::Result<i64>>>,
}

impl Log {
    /// Sees to it that the log is moved every now and then; after a group of so many members was committed and answered.
    async fn grew(&mut self, connection: &mut AnyConnection, members: usize) {
        self.since += members;
        let moved = match self.moving.take_if(|moving| moving.is_finished()) {
            Some(moving) => moving.await.is_ok_and(|length| length.is_ok_and(|length| length < LONG_LOG)),
            None => self.since < MOVED_AT_LAST,
        };
        if !moved {
            self.since = 0;
            // Two can not move it at once: the later one would do nothing.
            if let Some(moving) = self.moving.take() {
                drop(moving.await);
            }
            if let Err(error) = move_log(connection).await {
                tracing::warn!(%error, "the database's log was not moved");
            }
        } else if self.since >= MOVED_AFTER && self.moving.is_none() {
            self.since = 0;
            let pool = self.pool.clone();
            self.moving = Some(tokio::spawn(async move { move_log(&mut *pool.acquire().await?).await }));
        }
    }
}

pub(super) async fn move_log(connection: &mut AnyConnection) -> sqlx::Result<i64> {
    let row = connection.fetch_one(sqlx::query(MOVE_LOG)).await?;
    row.try_get::<i64, _>("log")
}

impl Work {
    async fn run(mut self) {
        while let Some(first) = self.requests.recv().await {
            if let Some(closing) = self.work(first).await {
                self.requests.close();
                self.connection = None;
                if let Some(moving) = self.log.moving.take() {
                    drop(moving.await);
                }
                self.pool.close().await;
                closing.send(()).unwrap_or_default();
                return;
            }
        }
    }

    /// Works on one group that begins with this request; gives who asked for the end.
    async fn work(&mut self, first: Request) -> Option<oneshot::Sender<()>> {
        if let Request::Close { answer } = first {
            return Some(answer);
        }
        let mut connection = match self.begin().await {
            Ok(connection) => connection,
            Err(error) => {
                // Who waited behind it waited for the same.
                let error = Arc::new(error);
                first.refuse(&error);
                while let Ok(request) = self.requests.try_recv() {
                    match request {
                        Request::Close { answer } => return Some(answer),
                        request => request.refuse(&error),
                    }
                }
                return None;
            }
        };
        let mut group = Group { members: Vec::new(), until: Instant::now() + LONGEST, touched: false, ends: false };
        let mut closing = None;
        let mut next = Some(first);
        let ended = loop {
            match next {
                None => break end(&mut connection, !group.members.is_empty()).await,
                Some(Request::Close { answer }) => {
                    closing = Some(answer);
                    group.ends = true;
                }
                Some(request) if request.is_given_up() => {}
                Some(request) => match group.serve(connection, request).await {
                    Ok(back) => connection = back,
                    Err(error) => {
                        group.answer(&Err(error));
                        // Whatever is open in it is undone when it closes.
                        return closing;
                    }
                },
            }
            next = if group.is_full() { None } else { self.next().await };
        };
        let members = group.members.len();
        if ended.is_ok() {
            self.groups.fetch_add(u64::from(members > 0), Ordering::SeqCst);
        }
        let is_sound = ended.is_ok();
        group.answer(&ended.map_err(Arc::new));
        if is_sound {
            self.log.grew(&mut connection, members).await;
            self.connection = Some(connection);
        } else {
            drop(connection.detach());
        }
        closing
    }

    /// Who waits; those who are about to ask get the chance to.
    async fn next(&mut self) -> Option<Request> {
        if let Ok(request) = self.requests.try_recv() {
            return Some(request);
        }
        tokio::task::yield_now().await;
        self.requests.try_recv().ok()
    }

    async fn begin(&mut self) -> sqlx::Result<PoolConnection<Any>> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.pool.acquire().await?,
        };
        // Taking the write lock at once turns "database is locked" in mid-transaction into a wait at its start.
        match control(&mut connection, BEGIN).await {
            Ok(()) => Ok(connection),
            Err(error) => {
                // Usually nothing was begun; then this fails too.
                drop(control(&mut connection, ROLLBACK).await);
                self.connection = Some(connection);
                Err(error)
            }
        }
    }
}

impl Group {
    fn is_full(&self) -> bool {
        self.ends || self.members.len() >= MOST || Instant::now() >= self.until
    }

    /// Lets one work; an error means that the connection can not be trusted any more.
    async fn serve(
        &mut self,
        mut connection: PoolConnection<Any>,
        request: Request,
    ) -> std::result::Result<PoolConnection<Any>, Arc<sqlx::Error>> {
        match request {
            Request::Run { what, write, answer } => {
                self.touched = true;
                match execute(&mut connection, *write).await {
                    Ok(done) => self.members.push(Member::Statement { what, done, answer }),
                    Err(error) => {
                        self.ends = true;
                        drop(answer.send(Err(error).named(what)));
                    }
                }
                Ok(connection)
            }
            Request::Lend { what, answer } => {
                if std::mem::replace(&mut self.touched, true)
                    && let Err(error) = control(&mut connection, NEXT).await
                {
                    let error = Arc::new(error);
                    drop(answer.send(Err(failed(what, &error))));
                    return Err(error);
                }
                let (back, returned) = oneshot::channel();
                // Not taken, it comes back at once.
                drop(answer.send(Ok(Loan { connection: Some(connection), back: Some(back) })));
                let returned = returned.await.ok();
                let Some(Returned { connection: Some(connection), committed }) = returned else {
                    return Err(Arc::new(sqlx::Error::WorkerCrashed));
                };
                let mut connection = connection;
                match committed {
                    Some(answer) => self.members.push(Member::Transaction { what, answer }),
                    None => {
                        control(&mut connection, UNDO).await.map_err(Arc::new)?;
                        self.touched = false;
                    }
                }
                Ok(connection)
            }
            Request::Close { .. } => Ok(connection),
        }
    }

    fn answer(&mut self, ended: &std::result::Result<(), Arc<sqlx::Error>>) {
        for member in self.members.drain(..) {
            member.answer(ended);
        }
    }
}

async fn end(connection: &mut AnyConnection, has_members: bool) -> sqlx::Result<()> {
    control(connection, if has_members { COMMIT } else { ROLLBACK }).await
}

async fn control(connection: &mut AnyConnection, text: &'static str) -> sqlx::Result<()> {
    connection.execute(sqlx::query(text)).await.map(drop)
}

pub(super) async fn execute(connection: &mut AnyConnection, write: Write) -> sqlx::Result<Done> {
    let mut done = Done::default();
    let mut steps = connection.fetch_many(write);
    while let Some(step) = steps.try_next().await? {
        match step {
            Either::Left(result) => done.affected += result.rows_affected(),
            Either::Right(row) => done.rows.push(row),
        }
    }
    Ok(done)
}
