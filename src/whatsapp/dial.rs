//! Opens the socket to WhatsApp.
//!
//! The library's own dialling leaves Nagle's algorithm on: a message is two small writes, and the second one waits
//! for the peer's delayed acknowledgement, some 40 ms on every send after the first (measured on loopback). So the
//! TCP connection is made here, without delay, and handed to the library. To be removed once the library does it.

use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_websockets::ClientBuilder;
use whatsapp_rust::transport::{
    Connector, Transport, TransportEvent, TransportFactory, default_tls_connector, from_websocket,
};
use whatsapp_rust::wacore::net::{WHATSAPP_WEB_ORIGIN, WHATSAPP_WEB_WS_URL};
use whatsapp_rust::{anyhow, async_channel, async_trait};

/// Dials one address.
pub struct Dial {
    url: String,
}

impl Dial {
    /// The given address, or WhatsApp's own.
    pub fn new(url: Option<&str>) -> Self {
        Self { url: url.unwrap_or(WHATSAPP_WEB_WS_URL).to_owned() }
    }
}

#[async_trait]
impl TransportFactory for Dial {
    async fn create_transport(&self) -> anyhow::Result<(Arc<dyn Transport>, async_channel::Receiver<TransportEvent>)> {
        let uri: http::Uri = self.url.parse()?;
        let encrypted = uri.scheme_str() == Some("wss");
        let host = uri.host().ok_or_else(|| anyhow::anyhow!("the address of WhatsApp names no host"))?.to_owned();
        let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });
        let connection = TcpStream::connect((host.as_str(), port)).await?;
        connection.set_nodelay(true)?;
        let connector = if encrypted { default_tls_connector() } else { Connector::Plain };
        let stream = connector.wrap(&host, connection).await?;
        let origin = http::HeaderValue::from_static(WHATSAPP_WEB_ORIGIN);
        let (socket, _) =
            ClientBuilder::from_uri(uri).add_header(http::header::ORIGIN, origin)?.connect_on(stream).await?;
        Ok(from_websocket(socket))
    }
}
