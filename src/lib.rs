//! A Matrix application service that mirrors WhatsApp chats into Matrix rooms, both ways.
//!
//! Whatever arrives is stored first, acknowledged second, worked on third: killing the process at any
//! instruction may delay a message, it may not lose or double one.
//!
//! The house has floors, and imports only go down:
//! - floor 0, words: [`ids`], [`mod@derive`], [`masked`], [`clock`], [`verdict`], [`config`], [`telemetry`], [`numbers`]
//! - floor 1, workshop: `convert` (pure), `media` (files), `store` (the only SQL)
//! - floor 2, edges: `matrix` and `whatsapp`, who do not know each other
//! - floor 3, `bridge`: lanes, conversion, delivery, settlement; `doctor`: looks at an installation
//! - floor 4, doors: `commands`, `http`
//! - `app` wires everything; `cli` and `main` see `app`.
#![recursion_limit = "512"]

pub mod app;
pub mod bridge;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod convert;
pub mod derive;
pub mod doctor;
pub mod http;
pub mod ids;
pub mod masked;
pub mod matrix;
pub mod media;
pub mod numbers;
pub mod store;
pub mod telemetry;
pub mod verdict;
pub mod whatsapp;
