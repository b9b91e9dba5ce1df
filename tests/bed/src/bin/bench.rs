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
    /// A large account is linked: time until all is there, requests, memory
    FirstLogin {
        /// The bridge's database, and Synapse's
        #[arg(long, value_enum, default_value_t = Database::Sqlite)]
        db: Database,
        /// Chats in all, the groups among them
        #[arg(long, default_value_t = 300)]
        chats: usize,
        /// Groups
        #[arg(long, default_value_t = 50)]
        groups: usize,
        /// Members of the smallest and of the largest group: `100..1000`
        #[arg(long, default_value = "100..1000", value_parser = members)]
        members: (usize, usize),
        /// How many times the budgets that ship are allowed
        #[arg(long, default_value_t = 1)]
        budgets: u32,
        /// The homeserver
        #[arg(long, value_enum, default_value_t = Only::StandIn)]
        only: Only,
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

fn members(text: &str) -> Result<(usize, usize), String> {
    let (least, most) = text.split_once("..").ok_or("write it like 100..1000")?;
    let number = |text: &str| text.parse().map_err(|_| format!("{text:?} is no number"));
    Ok((number(least)?, number(most)?))
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
        What::FirstLogin { db, chats, groups, members, budgets, only } => {
            let db = if db == Database::Postgres { Db::Postgres } else { Db::Sqlite };
            let size = bench::first_login::Size { chats, groups, members, budgets };
            bench::first_login::run(settings(db, 0, Some(only)), size).await
        }
        What::Media { megabytes } => bench::media::run(settings(Db::Sqlite, 0, Some(Only::Synapse)), megabytes).await,
    }
}
