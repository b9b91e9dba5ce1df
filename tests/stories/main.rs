//! Whole-system stories: the real bridge between a real Synapse and the WhatsApp simulator, on both databases.
//!
//! Every story ends with the four laws (`World::check_laws`): nothing lost, nothing doubled, order kept per room and
//! direction, lanes empty; and the simulator must have understood every stanza.

#![recursion_limit = "512"]
#![allow(clippy::unwrap_used, missing_docs)] // Tests: a panic is a failed test, and says where.

mod acts;
mod app_state;
mod baileys;
mod bed;
mod blocking;
#[path = "../sim/tests/page/browser.rs"]
#[allow(dead_code)] // the simulator's tests use more of it
mod browser;
mod calls;
mod channels;
mod chat_marks;
mod cleanup;
mod commands;
mod commands_more;
mod contacts;
mod debugging;
mod disappearing;
mod faults;
mod ffmpeg;
mod files;
mod files_again;
mod filter;
mod first_login;
mod forms;
mod group_kinds;
mod group_more;
mod groups;
mod identity;
mod kill;
mod kinds;
mod limits;
mod links;
mod live;
mod login;
mod login_states;
mod message_status;
mod metrics;
mod opening;
mod outage;
mod own_data;
mod packs;
mod page;
mod passkey;
mod people;
mod pins;
mod placing;
mod plumbing;
mod plumbing_more;
mod poison;
mod polls;
mod portals;
mod pressing;
mod provisioning;
mod puppet;
mod relations;
mod relay;
mod relay_direct;
mod release;
mod removals;
mod sealed;
mod setup;
mod signals;
mod spaces;
mod status;
mod text;
mod waiting;
