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
    /// What a large file costs: a film both ways, and the memory it takes
    Media {
        /// The film's size, in millions of bytes
        #[arg(long, default_value_t = 100)]
        megabytes: usize,
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
    let settings = |db, count: usize, only: Option<Only>| Settings {
        db,
        count,
        synapse_count: (count / 3).max(32),
        stand_in: only != Some(Only::Synapse),
        synapse: only != Some(Only::StandIn),
        chats: 16,
    };
    match Arguments::parse().what {
        What::Messages { db: Database::Sqlite, count, only } => bench::run(settings(Db::Sqlite, count, only)).await,
        What::Messages { db: Database::Postgres, count, only } => bench::run(settings(Db::Postgres, count, only)).await,
        What::Media { megabytes } => bench::media::run(settings(Db::Sqlite, 0, Some(Only::Synapse)), megabytes).await,
    }
}
