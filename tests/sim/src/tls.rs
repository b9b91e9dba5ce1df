//! TLS on the simulator's own port, with a certificate made at start.
//!
//! The media addresses the network names are always https, and clients have no
//! switch for it: the port therefore speaks TLS and plain HTTP alike and tells
//! them apart by the first byte (22 begins a TLS handshake, a letter a request).

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use anyhow::{Context as _, Result};
use axum::serve::Listener;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer},
    server::TlsStream,
};

/// Names the certificate is good for: loopback, and the hosts clients know by
/// heart, for those that resolve them to the simulator.
const NAMES: [&str; 4] = ["127.0.0.1", "localhost", "mmg.whatsapp.net", "web.whatsapp.com"];
/// The first byte of a TLS handshake record.
const HANDSHAKE: u8 = 22;
/// How long a client gets for its first byte and its handshake.
const OPENING_TIME: Duration = Duration::from_secs(20);

/// What the port accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encryption {
    /// TLS and plain HTTP.
    #[default]
    Both,
    /// TLS only; plain connections are dropped.
    TlsOnly,
}

/// A self-signed certificate and what serves it.
pub struct Identity {
    /// The certificate for clients that want to trust it.
    pub pem: String,
    acceptor: TlsAcceptor,
}

impl Identity {
    /// Makes a new key and certificate.
    pub fn generate() -> Result<Self> {
        let names: Vec<String> = NAMES.iter().map(|name| (*name).to_owned()).collect();
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(names).context("making a certificate")?;
        let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)?;
        // WebSockets are upgraded from HTTP/1.1 only.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { pem: cert.pem(), acceptor: TlsAcceptor::from(Arc::new(config)) })
    }
}

/// A listener whose handshakes do not wait for each other.
pub struct Port {
    ready: mpsc::Receiver<(Stream, SocketAddr)>,
    addr: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Port {
    /// Serves `listener` with `identity`.
    pub fn new(listener: TcpListener, identity: &Identity, encryption: Encryption) -> Result<Self> {
        let addr = listener.local_addr()?;
        let (sender, ready) = mpsc::channel(16);
        let accepting = tokio::spawn(accept_all(listener, identity.acceptor.clone(), encryption, sender));
        Ok(Self { ready, addr, accepting })
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept_all(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    encryption: Encryption,
    ready: mpsc::Sender<(Stream, SocketAddr)>,
) {
    loop {
        // By its full name: axum's trait has a method of the same one.
        let (socket, addr) = match TcpListener::accept(&listener).await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::error!("accepting a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (acceptor, ready) = (acceptor.clone(), ready.clone());
        tokio::spawn(async move {
            match tokio::time::timeout(OPENING_TIME, open(socket, &acceptor, encryption)).await {
                // The server went away meanwhile: so does the connection.
                Ok(Ok(stream)) => drop(ready.send((stream, addr)).await),
                Ok(Err(error)) => tracing::debug!("{addr}: {error}"),
                Err(_) => tracing::debug!("{addr}: no handshake in time"),
            }
        });
    }
}

async fn open(socket: TcpStream, acceptor: &TlsAcceptor, encryption: Encryption) -> io::Result<Stream> {
    socket.set_nodelay(true)?;
    let mut first = [0];
    if socket.peek(&mut first).await? == 1 && first[0] == HANDSHAKE {
        return Ok(Stream::Tls(Box::new(acceptor.accept(socket).await?)));
    }
    match encryption {
        Encryption::Both => Ok(Stream::Plain(socket)),
        Encryption::TlsOnly => Err(io::Error::other("plain HTTP on a TLS port")),
    }
}

impl Listener for Port {
    type Io = Stream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Stream, SocketAddr) {
        match self.ready.recv().await {
            Some(accepted) => accepted,
            // The accepting task only ends with this listener.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addr)
    }
}

/// One connection.
pub enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
