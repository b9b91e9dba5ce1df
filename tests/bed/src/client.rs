//! A plain Matrix client: JSON over HTTP, so that nothing of the bridge's own Matrix code is believed here.

use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::{Method, StatusCode, Url};
use serde_json::{Value, json};

static TRANSACTION: AtomicU64 = AtomicU64::new(0);

/// Returns an HTTP client; it belongs to the runtime it is first used in, so every story makes its own.
///
/// # Panics
/// Never in practice: the settings are constant.
#[must_use]
pub fn http() -> reqwest::Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // Another part of this process may have been first; any provider will do, since only loopback HTTP is spoken.
        if rustls::crypto::ring::default_provider().install_default().is_err() {
            tracing::debug!("a crypto provider is installed already");
        }
    });
    reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(90)).build().expect("constant settings")
}

/// An answer that is not 2xx.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: StatusCode,
    /// The body's `errcode`, empty when there is none.
    pub errcode: String,
    /// The body.
    pub body: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.status, self.body)
    }
}

impl std::error::Error for Refusal {}

/// A homeserver's address and a login there.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
    token: String,
}

impl Client {
    /// Returns a client for the homeserver at `base`; `token` may be empty for calls that need none.
    ///
    /// # Errors
    /// `base` is no address.
    pub fn new(http: reqwest::Client, base: &str, token: &str) -> Result<Self> {
        Ok(Self { http, base: Url::parse(base)?, token: token.to_owned() })
    }

    /// Returns the access token; for showing it to others than the homeserver.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Calls an endpoint and returns its JSON answer. `path` holds the parts between slashes, not yet encoded.
    ///
    /// # Errors
    /// The server can't be reached, or answers other than 2xx (then the error is a [`Refusal`]).
    pub async fn call(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Value> {
        let mut request = self.request(method, path, query)?;
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = read(request, path).await?;
        serde_json::from_slice(&answer).with_context(|| format!("{path:?} answered no JSON"))
    }

    /// GET without query.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn get(&self, path: &[&str]) -> Result<Value> {
        self.call(Method::GET, path, &[], None).await
    }

    /// POST without query.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn post(&self, path: &[&str], body: &Value) -> Result<Value> {
        self.call(Method::POST, path, &[], Some(body)).await
    }

    /// PUT without query.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn put(&self, path: &[&str], body: &Value) -> Result<Value> {
        self.call(Method::PUT, path, &[], Some(body)).await
    }

    /// Uploads bytes and returns their `mxc://` address.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn upload(&self, bytes: Vec<u8>, content_type: &str, name: &str) -> Result<String> {
        let path = ["_matrix", "media", "v3", "upload"];
        let request =
            self.request(Method::POST, &path, &[("filename", name)])?.header("content-type", content_type).body(bytes);
        let answer: Value = serde_json::from_slice(&read(request, &path).await?)?;
        Ok(answer["content_uri"].as_str().context("no content_uri")?.to_owned())
    }

    /// Downloads what an `mxc://` address names, authenticated (CS-API v1.11, section 10.8.1).
    ///
    /// # Errors
    /// As [`Client::call`], or the address is none.
    pub async fn download(&self, mxc: &str) -> Result<Vec<u8>> {
        let (server, id) = mxc
            .strip_prefix("mxc://")
            .and_then(|rest| rest.split_once('/'))
            .with_context(|| format!("no mxc address: {mxc}"))?;
        let path = ["_matrix", "client", "v1", "media", "download", server, id];
        read(self.request(Method::GET, &path, &[])?, &path).await
    }

    fn request(&self, method: Method, path: &[&str], query: &[(&str, &str)]) -> Result<reqwest::RequestBuilder> {
        let mut url = self.base.clone();
        match url.path_segments_mut() {
            Ok(mut segments) => segments.pop_if_empty().extend(path),
            Err(()) => bail!("{} can't have a path", self.base),
        };
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.http.request(method, url);
        if !self.token.is_empty() {
            request = request.bearer_auth(&self.token);
        }
        Ok(request)
    }
}

async fn read(request: reqwest::RequestBuilder, path: &[&str]) -> Result<Vec<u8>> {
    let answer = request.send().await.with_context(|| format!("calling {}", path.join("/")))?;
    let status = answer.status();
    let body = answer.bytes().await.with_context(|| format!("reading the answer of {}", path.join("/")))?;
    if status.is_success() {
        return Ok(body.into());
    }
    let body = String::from_utf8_lossy(&body).into_owned();
    let errcode = serde_json::from_str::<Value>(&body)
        .ok()
        .and_then(|body| body["errcode"].as_str().map(str::to_owned))
        .unwrap_or_default();
    Err(anyhow::Error::new(Refusal { status, errcode, body }).context(format!("calling {}", path.join("/"))))
}

/// Returns the [`Refusal`] inside an error, if the server did answer.
#[must_use]
pub fn refusal(error: &anyhow::Error) -> Option<&Refusal> {
    error.downcast_ref()
}

/// Returns a transaction id never used before by this process.
#[must_use]
pub fn new_transaction() -> String {
    format!("bed{}.{}", std::process::id(), TRANSACTION.fetch_add(1, Ordering::Relaxed))
}

/// Registers somebody with the server's shared secret and logs in as that user; returns (user id, device, token).
///
/// The way of Synapse's own `register_new_matrix_user`: a nonce, and an HMAC-SHA1 over nonce, name, password and role.
///
/// # Errors
/// As [`Client::call`].
pub async fn register(base: &str, secret: &str, name: &str, password: &str) -> Result<(String, String, String)> {
    use hmac::{KeyInit, Mac};
    let client = Client::new(http(), base, "")?;
    let path = ["_synapse", "admin", "v1", "register"];
    let nonce = client.get(&path).await?["nonce"].as_str().context("no nonce")?.to_owned();
    let mut mac = hmac::Hmac::<sha1::Sha1>::new_from_slice(secret.as_bytes())?;
    mac.update([nonce.as_str(), name, password, "notadmin"].join("\0").as_bytes());
    let mac: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let body = json!({"nonce": nonce, "username": name, "password": password, "admin": false, "mac": mac});
    let answer = client.post(&path, &body).await?;
    let text = |key: &str| answer[key].as_str().map(str::to_owned).with_context(|| format!("no {key}"));
    Ok((text("user_id")?, text("device_id")?, text("access_token")?))
}
