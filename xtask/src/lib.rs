//! What the project's own commands and its test bed share: where things lie, throw-away folders, ports, child
//! processes that die with us, and a throw-away Postgres. Standard library only, so that `cargo xtask` builds in
//! seconds and never pulls the bridge's dependencies (or the simulator's certificate exception) into its own build.
//!
//! Begin reading at [`setup`] (what a machine needs) and [`checks`] (what `cargo xtask test` runs).

pub mod bench;
pub mod checks;
pub mod cluster;
pub mod demo;
pub mod machine;
pub mod node;
pub mod places;
pub mod ports;
pub mod scratch;
pub mod setup;
pub mod tether;
