//! Whole-system stories: the real bridge between a real Synapse and the WhatsApp simulator, on both databases.

#![recursion_limit = "512"]
#![allow(clippy::unwrap_used, missing_docs)] // Tests: a panic is a failed test, and says where.

mod bed;
