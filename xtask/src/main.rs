//! `cargo xtask`: the project's own commands.

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

/// The project's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Installs what is missing for the tests and the demo
    Setup,
    /// Runs every check there is: what CI runs, and nothing is skipped
    Test,
    /// Shows the bridge at work between a real Synapse and a simulated WhatsApp
    Demo {
        /// Ends after the story, with a non-zero status if anything did not arrive
        #[arg(long)]
        exit: bool,
    },
    /// Measures the optimized bridge; the figures stand beside their budgets
    Bench {
        #[command(subcommand)]
        what: Bench,
    },
}

#[derive(Subcommand)]
enum Bench {
    /// What a message costs: rate, latency, CPU, statements, memory, starts
    Messages {
        /// The bridge's database, and Synapse's
        #[arg(long, value_enum, default_value_t = Database::Sqlite)]
        db: Database,
        /// Messages of each flood at the stand-in homeserver; Synapse gets a third
        #[arg(long, default_value_t = 1600)]
        count: usize,
        /// Only one of the two homeservers: `stand-in` or `synapse`
        #[arg(long)]
        only: Option<String>,
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
        /// Members of the smallest and of the largest group
        #[arg(long, default_value = "100..1000")]
        members: String,
        /// How many times the budgets that ship are allowed
        #[arg(long, default_value_t = 1)]
        budgets: u32,
        /// The homeserver: `stand-in` or `synapse`
        #[arg(long, default_value = "stand-in")]
        only: String,
    },
    /// What a large file costs: a film both ways, and the memory it takes
    Media {
        /// The film's size, in millions of bytes
        #[arg(long, default_value_t = 100)]
        megabytes: u32,
    },
    /// What the simulator takes: memory with many accounts and groups, copies delivered a second
    Sim,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Database {
    Sqlite,
    Postgres,
}

fn bench(what: Bench) -> anyhow::Result<()> {
    match what {
        Bench::Sim => xtask::bench::sim(),
        Bench::Media { megabytes } => {
            xtask::bench::bridge(false, &["media".to_owned(), "--megabytes".to_owned(), megabytes.to_string()])
        }
        Bench::FirstLogin { db, chats, groups, members, budgets, only } => {
            let name = if db == Database::Postgres { "postgres" } else { "sqlite" };
            let (chats, groups, budgets) = (chats.to_string(), groups.to_string(), budgets.to_string());
            let given = [
                ["first-login", "--db", name],
                ["--chats", &chats, "--groups"],
                [&groups, "--members", &members],
                ["--budgets", &budgets, "--only"],
            ];
            let given = given.concat().into_iter().chain([only.as_str()]).map(str::to_owned);
            xtask::bench::bridge(db == Database::Postgres, &given.collect::<Vec<_>>())
        }
        Bench::Messages { db, count, only } => {
            let name = if db == Database::Postgres { "postgres" } else { "sqlite" };
            let given = ["messages", "--db", name, "--count", &count.to_string()].map(str::to_owned);
            let only = only.into_iter().flat_map(|only| ["--only".to_owned(), only]);
            xtask::bench::bridge(db == Database::Postgres, &given.into_iter().chain(only).collect::<Vec<_>>())
        }
    }
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Setup => xtask::setup::run(),
        Task::Test => xtask::checks::run(),
        Task::Demo { exit } => xtask::demo::run(exit),
        Task::Bench { what } => bench(what),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
