//! All the server knows, behind one lock.
//!
//! Handlers take `&mut State`, change it and put stanzas on the outgoing queues
//! of connections; nothing waits while the lock is held.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, anyhow, ensure};
use tokio::sync::mpsc::UnboundedSender;
use wacore_binary::{Jid, Node, Server};

use crate::{
    account::{Account, AccountInfo, AccountOptions, Companion, Registration},
    calls::Calls,
    faults::{Direction, Effect},
    groups::Groups,
    history::Arrival,
    history_sync,
    ids::{Address, ConnId, Number},
    media::MediaStore,
    newsletters::Newsletters,
    noise::{HandshakeKind, IkPolicy, ServerKeys},
    pair_code::PendingCode,
    pairing::PendingPair,
    passkey::PasskeyStep,
    presence,
    queue::corrupt,
    registration::Refusal,
    stanza::{Xml, attr},
    status::Posts,
};

/// What a connection's writer is told.
pub enum Outgoing {
    /// Send this stanza; shared with the queue that keeps it until it is settled.
    Stanza(Arc<Node>),
    /// Send nothing for so long; what comes after waits as well.
    Pause(Duration),
    /// Close the socket properly after what was queued before.
    Close,
    /// Drop the connection, as a network does.
    Abort,
}

/// Who is at the other end.
pub enum Peer {
    /// A new companion that shows a QR code.
    Unpaired(Registration),
    /// A linked device.
    Device(Address),
    /// Replaced, unlinked or refused: what it still sends is dropped.
    Dead,
}

/// One connection.
pub struct Connection {
    pub out: UnboundedSender<Outgoing>,
    pub noise_key: [u8; 32],
    pub peer: Peer,
    /// Message acks kept back while the account holds.
    pub held_acks: Vec<Node>,
    /// A stanza that changes places with the next of its kind.
    pub overtaken: Option<Arc<Node>>,
}

/// The whole server.
pub struct State {
    pub listen: SocketAddr,
    pub keys: ServerKeys,
    pub ik: IkPolicy,
    pub handshakes: Vec<(ConnId, HandshakeKind)>,
    pub accounts: BTreeMap<Number, Account>,
    pub groups: Groups,
    pub newsletters: Newsletters,
    pub calls: Calls,
    pub posts: Posts,
    lids: HashMap<String, Number>,
    pub connections: HashMap<ConnId, Connection>,
    next_conn: u64,
    next_id: u64,
    /// QR refs and the connection that shows each.
    pub refs: HashMap<String, ConnId>,
    /// Companions that were sent `<pair-success>` and have not signed yet.
    pub pairing: HashMap<ConnId, PendingPair>,
    /// Which device each companion became, from `<pair-success>` on.
    pub paired: HashMap<ConnId, Address>,
    pub pair_codes: HashMap<Number, PendingCode>,
    /// Why a pairing failed, for the one who waits for it.
    pub pair_errors: HashMap<ConnId, String>,
    /// Companions between their passkey and the phone's word.
    pub passkeys: HashMap<ConnId, PasskeyStep>,
    /// Why every connection is refused, if they are.
    pub refusal: Option<Refusal>,
    pub unknown: Vec<String>,
    pub arrivals: Vec<Arrival>,
    pub media: MediaStore,
    /// Histories that companions wait for.
    pub history_jobs: Vec<history_sync::Job>,
    pub history_limits: history_sync::Limits,
}

impl State {
    /// An empty server with a new static key.
    pub fn new(listen: SocketAddr) -> Result<Self> {
        Ok(Self {
            listen,
            keys: ServerKeys::generate()?,
            ik: IkPolicy::Accept,
            handshakes: Vec::new(),
            accounts: BTreeMap::new(),
            groups: Groups::default(),
            newsletters: Newsletters::default(),
            calls: Calls::default(),
            posts: Posts::default(),
            lids: HashMap::new(),
            connections: HashMap::new(),
            next_conn: 1,
            next_id: 1,
            refs: HashMap::new(),
            pairing: HashMap::new(),
            paired: HashMap::new(),
            pair_codes: HashMap::new(),
            pair_errors: HashMap::new(),
            passkeys: HashMap::new(),
            refusal: None,
            unknown: Vec::new(),
            arrivals: Vec::new(),
            media: MediaStore::default(),
            history_jobs: Vec::new(),
            history_limits: history_sync::Limits::default(),
        })
    }

    /// Adds an account. Errors when the number or the LID is taken.
    pub fn create_account(&mut self, number: &str, options: &AccountOptions) -> Result<AccountInfo> {
        let number = Number::parse(number)?;
        ensure!(!self.accounts.contains_key(&number), "{number} has an account already");
        let lid = match &options.lid {
            Some(lid) => lid.clone(),
            None => format!("{}", 100_000_000_000_001 + 7_919 * self.lids.len() as u64),
        };
        ensure!(!self.lids.contains_key(&lid), "LID {lid} is taken");
        let account = Account::new(number.clone(), lid.clone(), options)?;
        self.lids.insert(lid.clone(), number.clone());
        let info = AccountInfo { number: number.to_string(), lid };
        self.accounts.insert(number, account);
        Ok(info)
    }

    /// The account of a number.
    pub fn account(&self, number: &Number) -> Result<&Account> {
        self.accounts.get(number).with_context(|| format!("no account {number}"))
    }

    /// The account of a number, to change it.
    pub fn account_mut(&mut self, number: &Number) -> Result<&mut Account> {
        self.accounts.get_mut(number).with_context(|| format!("no account {number}"))
    }

    /// The account behind a JID of either family, if it exists.
    pub fn resolve(&self, jid: &Jid) -> Option<Number> {
        let number = match jid.server {
            Server::Lid => self.lids.get(jid.user.as_str())?.clone(),
            Server::Pn => Number::parse(&jid.user).ok()?,
            _ => return None,
        };
        self.accounts.contains_key(&number).then_some(number)
    }

    /// The device behind a JID, if its account exists.
    pub fn resolve_device(&self, jid: &Jid) -> Option<Address> {
        let number = self.resolve(jid)?;
        Some(Address { number, device: jid.device })
    }

    /// Reads `to` of the API: a number or a JID of an account.
    pub fn resolve_text(&self, to: &str) -> Result<Number> {
        if to.contains('@') {
            let jid: Jid = to.parse().map_err(|e| anyhow!("{to:?} is not a JID: {e}"))?;
            self.resolve(&jid).with_context(|| format!("no account {to}"))
        } else {
            let number = Number::parse(to)?;
            self.account(&number)?;
            Ok(number)
        }
    }

    /// A linked device, to change it.
    pub fn companion_mut(&mut self, address: &Address) -> Option<&mut Companion> {
        self.accounts.get_mut(&address.number)?.companions.get_mut(&address.device)
    }

    /// The linked devices of an account; none for an unknown one.
    pub fn companions_of(&self, number: &Number) -> Vec<u16> {
        self.accounts.get(number).map_or_else(Vec::new, |account| account.companions.keys().copied().collect())
    }

    /// A stanza id the server has not used.
    pub fn next_stanza_id(&mut self) -> String {
        let id = self.next_id;
        self.next_id += 1;
        format!("sim-{id}")
    }

    /// Registers a connection.
    pub fn open_connection(&mut self, connection: Connection) -> ConnId {
        let id = ConnId(self.next_conn);
        self.next_conn += 1;
        self.connections.insert(id, connection);
        id
    }

    /// Sends a stanza on a connection, as far as the faults of its account
    /// allow; nothing happens when it is gone.
    pub fn send(&mut self, conn: ConnId, node: impl Into<Arc<Node>>) {
        let mut node = node.into();
        let account = match self.connections.get(&conn).map(|c| &c.peer) {
            Some(Peer::Device(address)) => self.accounts.get_mut(&address.number),
            _ => None,
        };
        let Some(account) = account else {
            return self.put(conn, node);
        };
        skew(&mut node, account.clock_skew);
        let effect = account.rules.take(Direction::ToClient, &node);
        match effect {
            Some(Effect::Drop) => return tracing::debug!(conn = conn.0, "lost: {}", Xml(&node)),
            Some(Effect::Cut) => return self.end(conn, Outgoing::Abort),
            Some(Effect::Delay(wait)) => self.pause(conn, wait),
            Some(Effect::Double) => self.put(conn, node.clone()),
            Some(Effect::Corrupt) => corrupt(Arc::make_mut(&mut node)),
            Some(Effect::Reorder) => {
                let before = self.connections.get_mut(&conn).and_then(|c| c.overtaken.replace(node));
                return before.into_iter().for_each(|before| self.put(conn, before));
            }
            Some(Effect::Nack(_)) | None => {}
        }
        let overtaken = self.connections.get_mut(&conn).and_then(|c| c.overtaken.take_if(|late| late.tag == node.tag));
        self.put(conn, node);
        if let Some(late) = overtaken {
            self.put(conn, late);
        }
    }

    fn put(&mut self, conn: ConnId, node: Arc<Node>) {
        tracing::debug!(conn = conn.0, "-> {}", Xml(&node));
        if let Some(connection) = self.connections.get(&conn) {
            // A closed channel means that the socket died; its reader says so.
            if connection.out.send(Outgoing::Stanza(node)).is_err() {
                tracing::debug!(conn = conn.0, "writer is gone");
            }
        }
    }

    /// Lets what is sent next take a while.
    pub fn pause(&mut self, conn: ConnId, pause: Duration) {
        if let Some(connection) = self.connections.get(&conn)
            && connection.out.send(Outgoing::Pause(pause)).is_err()
        {
            tracing::debug!(conn = conn.0, "writer is gone");
        }
    }

    /// Closes a connection after what was queued, and drops what it still sends.
    pub fn close(&mut self, conn: ConnId) {
        self.end(conn, Outgoing::Close);
    }

    fn end(&mut self, conn: ConnId, how: Outgoing) {
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.peer = Peer::Dead;
            if connection.out.send(how).is_err() {
                tracing::debug!(conn = conn.0, "writer is gone");
            }
        }
        self.detach(conn);
    }

    /// A socket ended: forgets the connection and puts its device offline.
    pub fn connection_lost(&mut self, conn: ConnId) {
        self.detach(conn);
        self.connections.remove(&conn);
        self.refs.retain(|_, owner| *owner != conn);
        self.pair_codes.retain(|_, code| code.conn != conn);
        self.passkeys.remove(&conn);
        if self.pairing.remove(&conn).is_some() {
            self.pair_errors.insert(conn, "the companion went away while it was paired".into());
        }
    }

    /// Puts the device of a connection offline.
    fn detach(&mut self, conn: ConnId) {
        let mut gone = Vec::new();
        for account in self.accounts.values_mut() {
            for (device, companion) in &mut account.companions {
                if companion.link.conn() == Some(conn) {
                    companion.link = crate::account::Link::Offline;
                    companion.queue.unsend();
                    gone.push(Address::new(&account.number, *device));
                }
            }
        }
        for device in gone {
            presence::device_gone(self, &device);
        }
    }

    /// Drops all sockets of an account's companions without a word.
    pub fn cut(&mut self, number: &Number) {
        let conns: Vec<ConnId> = self
            .accounts
            .get(number)
            .map_or_else(Vec::new, |account| account.companions.values().filter_map(|c| c.link.conn()).collect());
        for conn in conns {
            self.end(conn, Outgoing::Abort);
        }
    }

    /// Drops the sockets of those that are not linked yet, without a word.
    pub fn cut_unlinked(&mut self) {
        let unlinked = self.connections.iter().filter(|(_, connection)| matches!(connection.peer, Peer::Unpaired(_)));
        let conns: Vec<ConnId> = unlinked.map(|(conn, _)| *conn).collect();
        for conn in conns {
            self.end(conn, Outgoing::Abort);
        }
    }

    /// Records a stanza the simulator does not understand.
    pub fn record_unknown(&mut self, node: &Node) {
        let text = Xml(node).to_string();
        tracing::warn!("not understood: {text}");
        self.unknown.push(text);
    }
}

/// Sets a stanza's time off by so many seconds.
fn skew(node: &mut Arc<Node>, seconds: i64) {
    if seconds == 0 {
        return;
    }
    if let Some(time) = attr(node, "t").and_then(|t| t.parse::<i64>().ok()) {
        Arc::make_mut(node).attrs.insert("t", (time + seconds).to_string());
    }
}
