//! A real client with its events in a channel.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use async_trait::async_trait;
use tokio::{sync::mpsc, task::JoinHandle, time::Instant};
use wacore::{
    net::{HttpClient, HttpRequest, HttpResponse},
    store::{DevicePropsOverride, InMemoryBackend, commands::DeviceCommand},
};
use whatsapp_rust::{
    CacheConfig, NodeBuilder, TokioRuntime,
    prelude::{Client, Event, EventHandler, EventInterest, InboundMessage, Jid, MessageExt as _, RawNodeLease},
    store::persistence_manager::PersistenceManager,
    transport::TokioWebSocketTransportFactory,
};
use whatsapp_sim::Simulator;

/// How long any step of a test may take.
/// Long: machines are busy, and only a failure waits for it.
pub const STEP: Duration = Duration::from_secs(90);

struct Sink(mpsc::UnboundedSender<Arc<Event>>);

impl EventHandler for Sink {
    fn handle_event(&self, event: Arc<Event>) {
        // The receiver goes first when a test ends.
        drop(self.0.send(event));
    }
}

/// Sends requests for any host to the simulator.
struct MediaHttp {
    base: String,
    http: reqwest::Client,
}

#[async_trait]
impl HttpClient for MediaHttp {
    async fn execute(&self, request: HttpRequest) -> Result<HttpResponse> {
        let rest = request.url.split_once("://").map_or("", |(_, rest)| rest);
        let path = rest.find('/').map_or("/", |at| &rest[at..]);
        let url = format!("{}{path}", self.base);
        let method = request.method.parse()?;
        let mut builder = self.http.request(method, url);
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        if let Some(body) = request.body {
            builder = builder.body(body);
        }
        let response = builder.send().await?;
        Ok(HttpResponse { status_code: response.status().as_u16(), body: response.bytes().await?.to_vec() })
    }
}

/// A running client.
pub struct TestClient {
    pub client: Arc<Client>,
    backend: Arc<InMemoryBackend>,
    events: mpsc::UnboundedReceiver<Arc<Event>>,
    /// Events nobody has asked for yet.
    seen: Vec<Arc<Event>>,
    run: JoinHandle<()>,
}

/// Starts a simulator on a free port; logs go to the test's output.
pub async fn start_simulator() -> Simulator {
    // All but the first call find it set.
    drop(
        tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
            .with_test_writer()
            .try_init(),
    );
    drop(rustls::crypto::ring::default_provider().install_default());
    Simulator::start("127.0.0.1:0".parse().unwrap()).await.unwrap()
}

impl TestClient {
    /// Starts a client on a store, new or used before.
    pub async fn start(sim: &Simulator, backend: Arc<InMemoryBackend>) -> Self {
        Self::start_as(sim, backend, DevicePropsOverride::new()).await
    }

    /// Starts a client that says this of itself when it is paired.
    async fn start_as(sim: &Simulator, backend: Arc<InMemoryBackend>, props: DevicePropsOverride) -> Self {
        let manager = PersistenceManager::new(backend.clone()).await.unwrap();
        manager.process_command(DeviceCommand::SetDeviceProps(props)).await;
        let http = MediaHttp { base: sim.http_url(), http: reqwest::Client::new() };
        let build = Client::builder()
            .with_runtime(TokioRuntime)
            .with_persistence_manager(Arc::new(manager))
            .with_transport_factory(TokioWebSocketTransportFactory::new().with_url(sim.ws_url()))
            .with_http_client(http)
            .with_version_override((2, 3000, 1_042_742_319))
            .with_cache_config(CacheConfig::default())
            .with_background_saver_interval(Duration::from_secs(1))
            .with_wanted_pre_key_count(30)
            .build()
            .await
            .unwrap();
        let client = build.into_client();
        let (sink, events) = mpsc::unbounded_channel();
        client.subscribe(EventInterest::ALL, Arc::new(Sink(sink))).detach();
        let run = tokio::spawn({
            let client = client.clone();
            async move { client.run().await }
        });
        Self { client, backend, events, seen: Vec::new(), run }
    }

    /// A new client, paired by QR and connected. Returns its device, too.
    pub async fn pair(sim: &Simulator, number: &str) -> (Self, u16) {
        Self::pair_as(sim, number, DevicePropsOverride::new()).await
    }

    /// As [`TestClient::pair`], with what the client says of itself.
    pub async fn pair_as(sim: &Simulator, number: &str, props: DevicePropsOverride) -> (Self, u16) {
        let mut client = Self::start_as(sim, Arc::new(InMemoryBackend::new()), props).await;
        let qr = client.qr().await;
        let device = sim.scan(number, &qr).await.unwrap();
        client.connected().await;
        sim.wait_connected(number, device, STEP).await.unwrap();
        (client, device)
    }

    /// The store, to start a second client on it.
    pub fn backend(&self) -> Arc<InMemoryBackend> {
        self.backend.clone()
    }

    /// Waits for an event; those that do not fit stay for later questions.
    pub async fn find<T>(&mut self, what: &str, mut f: impl FnMut(&Event) -> Option<T>) -> T {
        let deadline = Instant::now() + STEP;
        for index in 0..self.seen.len() {
            if let Some(found) = f(&self.seen[index]) {
                self.seen.remove(index);
                return found;
            }
        }
        loop {
            let event = match tokio::time::timeout_at(deadline, self.events.recv()).await {
                Ok(Some(event)) => event,
                Ok(None) => panic!("the client ended while the test waited for {what}"),
                Err(_) => panic!("waited {STEP:?} for {what}; saw {:?}", self.seen),
            };
            if let Some(found) = f(&event) {
                return found;
            }
            self.seen.push(event);
        }
    }

    /// An event that came already and that nobody asked for.
    pub fn take_seen(&mut self) -> Option<Arc<Event>> {
        while let Ok(event) = self.events.try_recv() {
            self.seen.push(event);
        }
        if self.seen.is_empty() { None } else { Some(self.seen.remove(0)) }
    }

    pub async fn qr(&mut self) -> String {
        self.find("a QR code", |event| match event {
            Event::PairingQrCode(qr) => Some(qr.code.clone()),
            _ => None,
        })
        .await
    }

    pub async fn connected(&mut self) {
        self.find("Connected", |event| matches!(event, Event::Connected(_)).then_some(())).await;
    }

    /// Waits for one more message.
    pub async fn message(&mut self) -> InboundMessage {
        self.messages(1).await.remove(0)
    }

    /// Waits for `count` messages, in the order of their events.
    pub async fn messages(&mut self, count: usize) -> Vec<InboundMessage> {
        let mut all = Vec::new();
        while all.len() < count {
            let what = format!("message {} of {count}", all.len() + 1);
            let batch = self
                .find(&what, |event| match event {
                    Event::Messages(batch) => Some(batch.messages.to_vec()),
                    _ => None,
                })
                .await;
            // App-state keys come as messages, too.
            all.extend(batch.into_iter().filter(|m| !m.message.protocol_message.is_set()));
        }
        all
    }

    /// Shows each stanza that comes in as an event, until the lease ends.
    pub fn show_stanzas(&self) -> RawNodeLease {
        self.client.acquire_raw_node_forwarding()
    }

    /// Waits for one more message stanza; its id. Needs [`TestClient::show_stanzas`].
    pub async fn message_stanza(&mut self) -> String {
        self.find("a message stanza", message_stanza).await
    }

    /// Asks the server something: what it sent before is here afterwards.
    pub async fn round_trip(&self) {
        self.client.fetch_privacy_settings().await.unwrap();
    }

    /// Sends a text and returns its id.
    pub async fn send(&self, to: &Jid, text: &str) -> String {
        self.client.send_text(to.clone(), text).await.unwrap().message_id
    }

    /// Sends a message the library would not send any more; its content is
    /// nothing anybody could read.
    pub async fn force_send(&self, to: &Jid) -> String {
        let id = self.client.generate_message_id();
        let enc = NodeBuilder::new("enc").attr("v", "2").attr("type", "skmsg").bytes(vec![0x33; 32]).build();
        let node = NodeBuilder::new("message")
            .attr("to", to)
            .attr("id", id.as_str())
            .attr("type", "text")
            .children([enc])
            .build();
        self.client.send_node(node).await.unwrap();
        id
    }

    /// Waits for the server's ack of a message; its error code, if it was
    /// refused.
    pub async fn ack(&mut self, id: &str) -> Option<String> {
        self.find(&format!("the ack of {id}"), |event| match event {
            Event::ServerAck(ack) if ack.id == id && ack.class.as_deref() == Some("message") => Some(ack.error.clone()),
            _ => None,
        })
        .await
    }

    /// Ends the client; its store can be used again.
    pub async fn stop(self) -> Arc<InMemoryBackend> {
        self.client.disconnect().await;
        tokio::time::timeout(STEP, self.run).await.expect("the client ends").unwrap();
        self.backend
    }
}

/// The id of a message, if the event is its stanza.
pub fn message_stanza(event: &Event) -> Option<String> {
    match event {
        Event::RawNode(node) if node.get().tag == "message" => node.get_attr("id").map(|id| id.as_str().into_owned()),
        _ => None,
    }
}

/// Waits until something is so that tells nobody when it becomes so.
pub async fn eventually(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let search = async {
        while !check().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(STEP, search).await.unwrap_or_else(|_| panic!("waited {STEP:?} until {what}"));
}

pub fn text(message: &InboundMessage) -> &str {
    message.message.text_content().unwrap_or_default()
}

pub fn pn(number: &str) -> Jid {
    Jid::pn(number)
}

/// Every test ends here: nothing was sent that the simulator does not know.
pub fn assert_understood(sim: &Simulator) {
    assert_eq!(sim.unknown_stanzas(), Vec::<String>::new());
}
