//! HTTP for the client library: one client for all lines, with time and size limits.
//!
//! The library asks for `https` hosts that WhatsApp's servers name. With a media address configured (the
//! simulator's), scheme and authority of every request are replaced by it, so nothing else is contacted; with a
//! simulator's socket but no media address, requests are refused. Without either, only WhatsApp's own hosts are
//! contacted, whatever a message says. Addresses hold tokens, so no error tells one.

use super::WhatsappSettings;
use futures_util::{StreamExt, stream};
use std::io::{self, Read};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;
use tokio::runtime::Handle;
use whatsapp_rust::bytes::Bytes;
use whatsapp_rust::http::{HttpClient, HttpRequest, HttpResponse};
use whatsapp_rust::wacore::net::{StreamingHttpResponse, UploadBody};
use whatsapp_rust::{anyhow, async_trait};

/// Largest body that is held in memory as a whole.
const MAX_BODY: u64 = 32 << 20;
/// Largest body streamed: WhatsApp's own limit for a document is 2,000 MiB.
const MAX_STREAM: u64 = 2100 << 20;
/// WhatsApp's domains: its servers name media and picture hosts below them.
const DOMAINS: [&str; 2] = ["whatsapp.net", "whatsapp.com"];
/// Piece of an upload handed to the network at once.
const PIECE: usize = 64 << 10;

/// The client.
pub struct Http {
    clients: RwLock<Clients>,
    base: Option<reqwest::Url>,
    closed: bool,
}

/// What makes the requests.
struct Clients {
    client: reqwest::Client,
    /// For uploads: without a limit on silence.
    patient: reqwest::Client,
}

impl Clients {
    fn new() -> reqwest::Result<Self> {
        let with = || {
            reqwest::Client::builder()
                .connect_timeout(Duration::from_secs(15))
                .redirect(reqwest::redirect::Policy::none())
        };
        // The limit on silence counts from the request's first byte to the answer's: a large upload takes longer. Who
        // uploads limits the whole.
        Ok(Self { client: with().read_timeout(Duration::from_secs(60)).build()?, patient: with().build()? })
    }
}

impl Http {
    /// A client as the settings say.
    ///
    /// # Errors
    /// When the media address does not parse or the TLS set-up fails.
    pub fn new(settings: &WhatsappSettings) -> anyhow::Result<Self> {
        let base = settings.media_base_url.as_deref().map(reqwest::Url::parse).transpose()?;
        let clients = RwLock::new(Clients::new()?);
        Ok(Self { clients, closed: base.is_none() && settings.websocket_url.is_some(), base })
    }

    /// Closes the connections that are kept for later; requests in flight go on.
    ///
    /// # Errors
    /// When the TLS set-up fails; then all stays as it was.
    pub fn forget_connections(&self) -> anyhow::Result<()> {
        *self.clients.write().unwrap_or_else(PoisonError::into_inner) = Clients::new()?;
        Ok(())
    }

    fn client(&self) -> reqwest::Client {
        self.clients.read().unwrap_or_else(PoisonError::into_inner).client.clone()
    }

    fn patient(&self) -> reqwest::Client {
        self.clients.read().unwrap_or_else(PoisonError::into_inner).patient.clone()
    }

    /// The body behind an address, refused when larger than `limit` bytes.
    ///
    /// # Errors
    /// When it can not be fetched, is not there, or is too large.
    pub async fn fetch(&self, url: &str, limit: u64) -> anyhow::Result<Vec<u8>> {
        self.find(url, limit).await?.ok_or_else(|| anyhow::anyhow!("there is nothing at the address"))
    }

    /// As [`Http::fetch`]; none when there is nothing at the address.
    ///
    /// # Errors
    /// When it can not be fetched or is too large.
    pub async fn find(&self, url: &str, limit: u64) -> anyhow::Result<Option<Vec<u8>>> {
        let response = self.client().get(self.place(url)?).timeout(Duration::from_secs(60)).send().await;
        let response = response.map_err(reqwest::Error::without_url)?;
        if matches!(response.status().as_u16(), 404 | 410) {
            return Ok(None);
        }
        anyhow::ensure!(response.status().is_success(), "the server answered {}", response.status());
        read_whole(response, limit).await.map(Some)
    }

    fn place(&self, url: &str) -> anyhow::Result<reqwest::Url> {
        let mut url = reqwest::Url::parse(url)?;
        anyhow::ensure!(!self.closed, "with a simulator's socket and no media address, nothing is fetched");
        if let Some(base) = &self.base {
            let mut placed = base.clone();
            placed.set_path(url.path());
            placed.set_query(url.query());
            url = placed;
        } else {
            anyhow::ensure!(is_whatsapp(&url), "only WhatsApp's own servers are asked for files");
        }
        Ok(url)
    }

    fn request(&self, client: &reqwest::Client, request: &HttpRequest) -> anyhow::Result<reqwest::RequestBuilder> {
        let method = reqwest::Method::from_bytes(request.method.as_bytes())?;
        let mut building = client.request(method, self.place(&request.url)?);
        for (name, value) in &request.headers {
            building = building.header(name, value);
        }
        Ok(building)
    }
}

fn is_whatsapp(url: &reqwest::Url) -> bool {
    let below =
        |host: &str, domain: &str| host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    let known = url.host_str().is_some_and(|host| DOMAINS.iter().any(|domain| below(host, domain)));
    known && url.scheme() == "https" && url.port().is_none()
}

async fn read_whole(response: reqwest::Response, limit: u64) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    let mut pieces = response.bytes_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(reqwest::Error::without_url)?;
        anyhow::ensure!((body.len() + piece.len()) as u64 <= limit, "the body is larger than {limit} bytes");
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

#[async_trait]
impl HttpClient for Http {
    async fn execute(&self, request: HttpRequest) -> anyhow::Result<HttpResponse> {
        let mut building = self.request(&self.client(), &request)?.timeout(Duration::from_secs(120));
        if let Some(body) = request.body {
            building = building.body(body);
        }
        let response = building.send().await.map_err(reqwest::Error::without_url)?;
        let status_code = response.status().as_u16();
        Ok(HttpResponse { status_code, body: read_whole(response, MAX_BODY).await? })
    }

    fn supports_streaming(&self) -> bool {
        true
    }

    fn execute_streaming(&self, request: HttpRequest) -> anyhow::Result<StreamingHttpResponse> {
        // The library calls this on a blocking thread of our runtime.
        let runtime = Handle::try_current()?;
        let response =
            runtime.block_on(self.request(&self.client(), &request)?.send()).map_err(reqwest::Error::without_url)?;
        let status_code = response.status().as_u16();
        let pieces =
            response.bytes_stream().map(|piece| piece.map_err(|error| io::Error::other(error.without_url()))).boxed();
        Ok(StreamingHttpResponse {
            status_code,
            body: Box::new(BlockingBody { runtime, pieces, rest: Bytes::new(), left: MAX_STREAM }),
        })
    }

    fn supports_upload_streaming(&self) -> bool {
        true
    }

    fn execute_upload(
        &self,
        request: HttpRequest,
        body: UploadBody,
        content_length: u64,
    ) -> anyhow::Result<HttpResponse> {
        let runtime = Handle::try_current()?;
        // The body is read on this blocking thread and handed over piece by piece: two pieces in memory at most.
        let (pieces, taken) = tokio::sync::mpsc::channel::<io::Result<Bytes>>(1);
        let taken = stream::unfold(taken, |mut taken| async move { taken.recv().await.map(|piece| (piece, taken)) });
        let sending = self
            .request(&self.patient(), &request)?
            .header("content-length", content_length)
            .body(reqwest::Body::wrap_stream(taken))
            .send();
        let sent = runtime.spawn(sending);
        feed(body, &pieces);
        drop(pieces);
        runtime.block_on(async {
            let response = sent.await?.map_err(reqwest::Error::without_url)?;
            let status_code = response.status().as_u16();
            Ok(HttpResponse { status_code, body: read_whole(response, MAX_BODY).await? })
        })
    }
}

/// Hands a body over until its end, an error, or the receiver's loss of interest.
fn feed(mut body: UploadBody, pieces: &tokio::sync::mpsc::Sender<io::Result<Bytes>>) {
    loop {
        let mut piece = vec![0; PIECE];
        let handed = match body.read(&mut piece) {
            Ok(0) => return,
            Ok(read) => {
                piece.truncate(read);
                pieces.blocking_send(Ok(Bytes::from(piece)))
            }
            Err(error) => pieces.blocking_send(Err(error)),
        };
        if handed.is_err() {
            return;
        }
    }
}

/// A streamed body read from a blocking thread.
struct BlockingBody {
    runtime: Handle,
    pieces: stream::BoxStream<'static, io::Result<Bytes>>,
    rest: Bytes,
    left: u64,
}

impl Read for BlockingBody {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.runtime.block_on(self.pieces.next()) {
                Some(piece) => self.rest = piece?,
                None => return Ok(0),
            }
            self.left = self
                .left
                .checked_sub(self.rest.len() as u64)
                .ok_or_else(|| io::Error::other("the body is larger than WhatsApp allows"))?;
        }
        let taken = self.rest.len().min(buffer.len());
        buffer[..taken].copy_from_slice(&self.rest.split_to(taken));
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(websocket: bool, media: Option<&str>) -> Http {
        rustls::crypto::ring::default_provider().install_default().ok();
        Http::new(&WhatsappSettings {
            os_name: String::new(),
            takes_status: true,
            takes_deliveries: std::sync::Arc::default(),
            websocket_url: websocket.then(|| "ws://127.0.0.1:1".into()),
            media_base_url: media.map(str::to_owned),
        })
        .unwrap()
    }

    #[test]
    fn with_a_simulator_nothing_else_is_contacted() {
        let placed = http(true, Some("http://127.0.0.1:9")).place("https://mmg.whatsapp.net/v/t1?auth=x").unwrap();
        assert_eq!(placed.as_str(), "http://127.0.0.1:9/v/t1?auth=x");
        assert!(http(true, None).place("https://web.whatsapp.com/sw.js").is_err());
        assert_eq!(
            http(false, None).place("https://web.whatsapp.com/sw.js").unwrap().host_str(),
            Some("web.whatsapp.com")
        );
    }

    #[tokio::test]
    async fn connections_are_kept_until_they_are_forgotten() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", server.local_addr().unwrap());
        let (accepted, mut connections) = tokio::sync::mpsc::channel(8);
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = server.accept().await {
                accepted.send(()).await.unwrap();
                tokio::spawn(async move {
                    let mut request = [0; 4096];
                    while socket.read(&mut request).await.is_ok_and(|read| read > 0) {
                        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
                    }
                });
            }
        });
        let http = http(true, Some(&base));
        for _ in 0..3 {
            assert_eq!(http.fetch("https://mmg.whatsapp.net/a", 9).await.unwrap(), b"ok");
        }
        http.forget_connections().unwrap();
        assert_eq!(http.fetch("https://mmg.whatsapp.net/a", 9).await.unwrap(), b"ok");
        assert_eq!((connections.recv().await, connections.recv().await), (Some(()), Some(())));
        assert!(connections.try_recv().is_err(), "more connections than two");
    }

    #[test]
    fn only_whatsapps_own_hosts_are_contacted() {
        let http = http(false, None);
        for fine in [
            "https://mmg.whatsapp.net/v/t1?auth=x",
            "https://media-fra3-1.cdn.whatsapp.net/a",
            "https://pps.whatsapp.net/",
        ] {
            assert!(http.place(fine).is_ok(), "{fine}");
        }
        for bad in [
            "https://evil.example/mmg.whatsapp.net",
            "https://mmg.whatsapp.net@evil.example/x",
            "https://evilwhatsapp.net/",
            "https://whatsapp.net.evil.example/",
            "http://mmg.whatsapp.net/x",
            "https://mmg.whatsapp.net:8080/x",
            "https://127.0.0.1/x",
            "https://[::ffff:10.0.0.1]/x",
            "file:///etc/passwd",
        ] {
            assert!(http.place(bad).is_err(), "{bad}");
        }
    }
}
