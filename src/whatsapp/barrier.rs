//! No message leaves before the ratchet it was encrypted under is stored.
//!
//! After a message from the other side the ratchet has a new key pair, which the library stores up to 25 ms later, also
//! when a message encrypted under it has left by then. A kill in between loses the pair, and what the other side says
//! next can not be read: it comes again by retries, late. So while one of our messages is on its way out, the ratchets
//! are stored before anything is written to the socket. (whatsapp-rust 0.7.0; found by the random-kill story. To be
//! removed when the library stores it before such a send.)

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
use whatsapp_rust::bytes::Bytes;
use whatsapp_rust::transport::{Transport, TransportEvent, TransportFactory};
use whatsapp_rust::{Client, anyhow, async_channel, async_trait};

/// How long the database may take; longer only while an offline delivery is being worked through, which stores its
/// ratchets itself.
const LIMIT: Duration = Duration::from_secs(2);

/// Where a client's ratchets are stored before a write. One per client.
#[derive(Default)]
pub struct Barrier {
    sending: AtomicUsize,
    client: OnceLock<Weak<Client>>,
}

/// A message of ours is on its way out while this lives.
pub struct Sending<'a>(&'a Barrier);

impl Barrier {
    /// Names the client whose ratchets they are; only the first call counts.
    pub fn guard(&self, client: &Arc<Client>) {
        drop(self.client.set(Arc::downgrade(client)));
    }

    /// Begins a send.
    pub fn send(&self) -> Sending<'_> {
        self.sending.fetch_add(1, Ordering::SeqCst);
        Sending(self)
    }

    async fn pass(&self) -> anyhow::Result<()> {
        if self.sending.load(Ordering::SeqCst) == 0 {
            return Ok(());
        }
        let Some(client) = self.client.get().and_then(Weak::upgrade) else { return Ok(()) };
        match tokio::time::timeout(LIMIT, client.flush_pending_signal_state()).await {
            Ok(stored) => Ok(stored?),
            Err(_) => {
                tracing::warn!("a message left before its ratchet was stored: the database is slow");
                Ok(())
            }
        }
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        self.0.sending.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Opens connections whose writes pass the barrier.
pub struct Guarded<F> {
    factory: F,
    barrier: Arc<Barrier>,
}

impl<F> Guarded<F> {
    /// The factory's connections, behind a barrier.
    pub fn new(factory: F, barrier: Arc<Barrier>) -> Self {
        Self { factory, barrier }
    }
}

#[async_trait]
impl<F: TransportFactory> TransportFactory for Guarded<F> {
    async fn create_transport(&self) -> anyhow::Result<(Arc<dyn Transport>, async_channel::Receiver<TransportEvent>)> {
        let (inner, events) = self.factory.create_transport().await?;
        Ok((Arc::new(Wire { inner, barrier: self.barrier.clone() }), events))
    }
}

struct Wire {
    inner: Arc<dyn Transport>,
    barrier: Arc<Barrier>,
}

#[async_trait]
impl Transport for Wire {
    async fn send(&self, data: Bytes) -> anyhow::Result<()> {
        if let Err(error) = self.barrier.pass().await {
            // The frame is lost, and with it the count both sides keep: only a new connection helps.
            self.inner.disconnect().await;
            return Err(error);
        }
        self.inner.send(data).await
    }

    async fn disconnect(&self) {
        self.inner.disconnect().await;
    }
}
