//! A WhatsApp server for tests, with scriptable phones.
//!
//! Clients connect over a real WebSocket, a real Noise handshake and real
//! WhatsApp binary stanzas; messages are real Signal ciphertexts end to end.
//! Each account has a phone (device 0), a Signal endpoint in memory that a test
//! can make send, read, scan and unlink. The simulator knows nothing about any
//! particular client: its rules are those of the network (docs/simulator.md).
//!
//! ```no_run
//! # async fn run() -> anyhow::Result<()> {
//! use whatsapp_sim::Simulator;
//! let sim = Simulator::start("127.0.0.1:0".parse()?).await?;
//! sim.create_account("15550001", "Alice")?;
//! sim.create_account("15550002", "Bob")?;
//! sim.send_text("15550001", "15550002", "hello").await?;
//! # Ok(()) }
//! ```
#![recursion_limit = "512"]

mod account;
mod admin;
mod appstate;
mod business;
mod calls;
mod connection;
mod dispatch;
mod faults;
mod groups;
mod history;
mod history_sync;
mod ids;
mod iq;
mod login;
mod media;
mod messages;
mod mex;
mod newsletters;
mod noise;
mod page;
mod pair_code;
mod pairing;
mod passkey;
mod phone;
mod presence;
mod privacy;
mod proto_json;
mod queue;
mod receipts;
mod registration;
mod simulator;
mod stanza;
mod state;
mod status;
mod tls;
mod tokens;
mod unlink;

pub use account::{AccountInfo, AccountOptions, Addressing};
pub use appstate::{Action, AppStateItem};
pub use calls::{CallEvent, CallInfo};
pub use faults::{Direction, Effect, FaultKind, MediaEffect, MediaRule, Rule};
pub use history::{Arrival, ArrivalOutcome, PresenceItem, ReceiptItem};
pub use history_sync::HistorySeed;
pub use media::{MediaFaults, PackSticker, StickerPack};
pub use noise::{HandshakeKind, IkPolicy};
pub use phone::{Answering, Card, Choice, InboxItem, Kind, ListSection, Media, Options};
pub use proto_json::{parse as message_from_json, show as message_to_json};
pub use registration::Refusal;
pub use simulator::{GroupInfo, GroupMember, GroupOptions, NewsletterInfo, NewsletterPost, PersonResult, Simulator};
pub use tls::Encryption;
