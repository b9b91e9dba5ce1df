//! The test bed: a real Synapse, real databases, the WhatsApp simulator and the **real bridge binary**.
//!
//! - [`world::World`] is what a story gets: everything started and wired, for one database.
//! - [`person::Person`] is somebody with a Matrix client; [`chat::Chat`] is one conversation seen from both sides,
//!   which remembers what was said so that [`laws`] can be checked at the end.
//! - [`synapse::Synapse`], [`database::Database`] and [`bridge::Bridge`] are the parts, each usable alone.
//!
//! Nothing here knows the bridge's code: it is started as a program and spoken to over HTTP, like by an operator.
//! Whatever is started dies with the test process, even when that is killed (`xtask::tether`).

#![recursion_limit = "512"]
#![allow(clippy::unwrap_used)] // A harness: a panic is a failed test, and says where.

pub mod baileys;
pub mod bench;
pub mod bridge;
pub mod chance;
pub mod chat;
pub mod client;
pub mod database;
pub mod group;
pub mod laws;
pub mod management;
pub mod person;
pub mod phones;
pub mod process;
pub mod qr;
pub mod synapse;
pub mod wait;
pub mod world;
