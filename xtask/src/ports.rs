//! Loopback ports that nobody else on this machine takes while we hold them.
//!
//! A server that must know its port before it starts (it is written into another server's registration) can't use
//! port 0. A port found by binding to 0 lies in the range the kernel also gives to outgoing connections, so any
//! connection could take it before the server binds. So: a port *below* that range, free now, and locked by a file
//! for every other bed on this machine.

use std::fs::{File, OpenOptions, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Context, Result, bail};

const LOWEST: u16 = 18_000;
const SPAN: u16 = 14_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port of 127.0.0.1 kept for us until this value is dropped.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// Returns the port's number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }
}

/// Takes a free port.
///
/// # Errors
/// The folder for locks can't be written, or no port of the range is free.
pub fn lease() -> Result<Port> {
    // The same for every run on this machine, wherever each keeps its files.
    let folder = Path::new("/tmp/matrix-whatsapp-ports");
    if !folder.is_dir() {
        std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        // Shared by all users of the machine, like the temporary folder itself.
        std::fs::set_permissions(folder, Permissions::from_mode(0o1777))?;
    }
    let start = (std::process::id() % u32::from(SPAN)) as u16;
    for _ in 0..SPAN {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let number = LOWEST + ((u32::from(start) * 101 + u32::from(step)) % u32::from(SPAN)) as u16;
        let path = folder.join(number.to_string());
        let Ok(lock) = OpenOptions::new().create(true).append(true).open(&path) else {
            continue;
        };
        if lock.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", number)).is_ok() {
            return Ok(Port { number, _lock: lock });
        }
    }
    bail!("no free port between {LOWEST} and {}", LOWEST + SPAN)
}

#[cfg(test)]
mod tests {
    use super::lease;

    #[test]
    fn two_leases_never_share_a_port() {
        let first = lease().expect("a port");
        let second = lease().expect("another port");
        assert_ne!(first.number(), second.number());
    }

    #[test]
    fn a_dropped_lease_can_be_bound() {
        let port = lease().expect("a port");
        std::net::TcpListener::bind(("127.0.0.1", port.number())).expect("the leased port is free for its holder");
    }
}
