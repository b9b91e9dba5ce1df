//! `whatsapp-sim`: the simulator as a process of its own.
#![recursion_limit = "512"]

use std::{
    io::{self, Write as _},
    net::SocketAddr,
};

use anyhow::Result;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use whatsapp_sim::{Encryption, Simulator};

/// A WhatsApp server for tests. Everything is in memory and gone at the end.
#[derive(Parser)]
#[command(name = "whatsapp-sim", version)]
struct Arguments {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Speak TLS only (self-signed): WebSocket, media and admin API
    #[arg(long)]
    tls: bool,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into()))
        .init();
    let encryption = if arguments.tls { Encryption::TlsOnly } else { Encryption::Both };
    let mut terminate = signal(SignalKind::terminate())?;
    let simulator = Simulator::start_with(arguments.listen, encryption).await?;
    let mut stdout = io::stdout();
    writeln!(stdout, "listening on {}", simulator.addr())?;
    stdout.flush()?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result?,
        _ = terminate.recv() => {}
    }
    simulator.shutdown().await;
    Ok(())
}
