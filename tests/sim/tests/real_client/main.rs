//! The simulator against real clients: whatsapp-rust 0.7.0, unmodified but for
//! the certificate check.
#![recursion_limit = "512"]
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

mod admin;
mod appstate;
mod calls;
mod client;
mod communities;
mod faults;
mod group_admin;
mod group_messages;
mod group_people;
mod group_settings;
mod groups;
mod history;
mod hosting;
mod kinds;
mod media;
mod media_faults;
mod media_retry;
mod messages;
mod newsletter_looks;
mod newsletters;
mod offline;
mod pairing;
mod people;
mod polls;
mod presence;
mod process;
mod profile;
mod receipts;
mod registration;
mod rules;
mod sessions;
mod snapshots;
mod status;
