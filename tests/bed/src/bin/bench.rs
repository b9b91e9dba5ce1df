//! `cargo xtask bench`: measures the bridge; see `matrix_bed::bench`.

#![recursion_limit = "512"]

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};
use matrix_bed::bench::{self, Settings};
use matrix_bed::database::Db;

/// Measures the bridge.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// What a message costs
    Messages {
        /// The bridge's database
        #[arg(long, value_enum, default_value_t = Database::Sqlite)]
        db: Database,
        /// Messages of each flood at the stand-in homeserver; Synapse gets a third
        #[arg(long, default_value_t = 1600)]
        count: usize,
        /// Only one of the two homeservers
        #[arg(long, value_enum)]
        only: Option<Only>,
    },
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Database {
    Sqlite,
    Postgres,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Only {
    StandIn,
    Synapse,
}

#[tokio::main]
async fn main() -> Result<()> {
    let What::Messages { db, count, only } = Arguments::parse().what;
    let db = match db {
        Database::Sqlite => Db::Sqlite,
        Database::Postgres => Db::Postgres,
    };
    bench::run(Settings {
        db,
        count,
        synapse_count: (count / 3).max(32),
        stand_in: only != Some(Only::Synapse),
        synapse: only != Some(Only::StandIn),
        chats: 16,
    })
    .await
}
