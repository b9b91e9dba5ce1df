//! The real bridge binary, started like by an operator.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use xtask::{places, tether};

use crate::database::Database;
use crate::process::{self, Process};
use crate::synapse::Slot;
use crate::{client, wait};

/// A configured bridge, running or not.
pub struct Bridge {
    slot: Slot,
    config: PathBuf,
    log: PathBuf,
    binary: PathBuf,
    process: Option<Process>,
    http: reqwest::Client,
}

impl Bridge {
    /// Writes the bridge's config into `folder`: the slot's, with this database and the simulator's addresses
    /// (`whatsapp`: WebSocket and media).
    ///
    /// # Errors
    /// The folder can't be written.
    pub fn configure(slot: Slot, folder: &Path, database: &Database, whatsapp: (&str, &str)) -> Result<Self> {
        let (websocket, media) = whatsapp;
        let mut config = slot.config().clone();
        config["database"] = json!({"type": database.type_name(), "uri": database.uri});
        merge(&mut config["network"], &json!({"websocket_url": websocket, "media_base_url": media}));
        config["media"] = json!({"folder": folder.join("files")});
        merge(&mut config["logging"], &json!({"level": "debug"}));
        let path = folder.join("config.yaml");
        std::fs::write(&path, serde_yaml::to_string(&config)?)?;
        Ok(Self {
            slot,
            config: path,
            log: folder.join("bridge.log"),
            binary: places::bridge(),
            process: None,
            http: client::http(),
        })
    }

    /// Changes the config before the next start: every key in `changes` replaces the one of the same path.
    ///
    /// # Errors
    /// The file can't be read or written.
    pub fn reconfigure(&self, changes: &Value) -> Result<()> {
        let mut config: Value = serde_yaml::from_str(&std::fs::read_to_string(&self.config)?)?;
        merge(&mut config, changes);
        std::fs::write(&self.config, serde_yaml::to_string(&config)?)?;
        Ok(())
    }

    /// Uses another binary from the next start on.
    pub fn use_binary(&mut self, binary: PathBuf) {
        self.binary = binary;
    }

    /// Returns the slot it runs on.
    #[must_use]
    pub fn slot(&self) -> &Slot {
        &self.slot
    }

    /// Returns its own address, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.slot.port())
    }

    /// Starts the bridge and waits until it says it is ready.
    ///
    /// # Errors
    /// It ended again or does not become ready; the text ends with its log.
    pub async fn start(&mut self) -> Result<()> {
        self.launch(&[])?;
        self.wait_ready().await
    }

    /// Starts the bridge with kill points, such as `from_wa.after_store=3*off->return`, and waits until it is ready or
    /// has died at one: a kill point may lie in the work left over from the last run.
    ///
    /// # Errors
    /// It can't be started, or neither dies nor becomes ready.
    pub async fn start_with_kill_points(&mut self, points: &str) -> Result<()> {
        self.launch(&[("FAILPOINTS", points)])?;
        match self.wait_ready().await {
            Err(_) if !self.is_running()? => Ok(()),
            other => other,
        }
    }

    /// Starts the process and returns at once.
    ///
    /// # Errors
    /// It runs already, or can't be started.
    pub fn launch(&mut self, environment: &[(&str, &str)]) -> Result<()> {
        if self.is_running()? {
            bail!("the bridge runs already");
        }
        if !self.binary.exists() {
            bail!("no bridge at {}: build it with `cargo build --features simulator`", self.binary.display());
        }
        let mut command = tether::command(&self.binary);
        places::clear_environment(&mut command);
        command
            .arg("-c")
            .arg(&self.config)
            .env_remove("FAILPOINTS")
            .env("RUST_BACKTRACE", "1")
            .envs(environment.iter().copied());
        if let Some(folder) = self.config.parent() {
            command.current_dir(folder);
        }
        self.process = Some(Process::start("the bridge", command, &self.log)?);
        Ok(())
    }

    /// Waits until `/_matrix/mau/ready` answers 200.
    ///
    /// # Errors
    /// The process ended, or it takes too long; the text ends with its log.
    pub async fn wait_ready(&mut self) -> Result<()> {
        let url = format!("{}/_matrix/mau/ready", self.url());
        let http = self.http.clone();
        let Some(process) = &mut self.process else {
            bail!("the bridge was not started");
        };
        wait::until("the bridge says it is ready", wait::STEP, || {
            let running = process.is_running();
            let request = http.get(&url);
            async move {
                if !running? {
                    bail!("the bridge ended before it was ready");
                }
                Ok(request.send().await.ok().filter(|answer| answer.status().is_success()).map(drop))
            }
        })
        .await
        .with_context(|| self.log_tail(40))
    }

    /// Returns whether the process lives.
    ///
    /// # Errors
    /// The system refused to tell.
    pub fn is_running(&mut self) -> Result<bool> {
        self.process.as_mut().map_or(Ok(false), Process::is_running)
    }

    /// Kills it with SIGKILL: no instruction more.
    ///
    /// # Errors
    /// The system refused.
    pub fn kill9(&mut self) -> Result<()> {
        match self.process.take() {
            Some(mut process) => process.kill(),
            None => Ok(()),
        }
    }

    /// Stops it with SIGTERM and returns how it ended.
    ///
    /// # Errors
    /// It was not running or does not stop within 20 s.
    pub async fn stop(&mut self) -> Result<ExitStatus> {
        let mut process = self.process.take().context("the bridge is not running")?;
        process.stop(Duration::from_secs(20)).await
    }

    /// Waits for it to end by itself, as it does at a kill point.
    ///
    /// # Errors
    /// It was not started, or still runs after `limit`.
    pub async fn wait_exit(&mut self, limit: Duration) -> Result<ExitStatus> {
        let process = self.process.as_mut().context("the bridge was not started")?;
        let status = process.wait_exit(limit).await?;
        self.process = None;
        Ok(status)
    }

    /// Kills it and starts it anew.
    ///
    /// # Errors
    /// As [`Bridge::start`].
    pub async fn restart(&mut self) -> Result<()> {
        self.kill9()?;
        self.start().await
    }

    /// Returns the running process, to freeze it for instance.
    ///
    /// # Errors
    /// It is not running.
    pub fn process(&self) -> Result<&Process> {
        self.process.as_ref().context("the bridge is not running")
    }

    /// Returns what `/health` says, whatever the status.
    ///
    /// # Errors
    /// It does not answer JSON.
    pub async fn health(&self) -> Result<Value> {
        let answer = self.http.get(format!("{}/health", self.url())).send().await?;
        Ok(answer.json().await?)
    }

    /// Waits until its inbox is empty: the fourth law.
    ///
    /// # Errors
    /// Rows still wait after a while; the text says what `/health` told last.
    pub async fn wait_idle(&self) -> Result<()> {
        let last = std::sync::Mutex::new(Value::Null);
        let idle = wait::until("the bridge's lanes are empty", wait::STEP, || async {
            let health = self.health().await?;
            let waiting = health["inbox"]["waiting"].as_u64().context("/health has no inbox.waiting")?;
            *last.lock().expect("no panic while it is held") = health;
            Ok((waiting == 0).then_some(()))
        });
        idle.await.with_context(|| format!("/health: {}", last.lock().expect("no panic while it is held")))
    }

    /// Sends a request to the bridge as the homeserver would, with this token; returns status and body.
    ///
    /// # Errors
    /// The bridge can't be reached.
    pub async fn put_transaction(&self, token: &str, id: &str, body: Vec<u8>) -> Result<(u16, String)> {
        let url = format!("{}/_matrix/app/v1/transactions/{id}", self.url());
        let request = self.http.put(url).bearer_auth(token).header("content-type", "application/json").body(body);
        let answer = request.send().await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }

    /// Announces a transaction of that many bytes, sends none of them, and returns the status of the answer.
    ///
    /// # Errors
    /// The bridge can't be reached, or waits for the body.
    pub async fn announce_transaction(&self, token: &str, id: &str, bytes: usize) -> Result<u16> {
        use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", self.slot.port())).await?;
        let head = format!(
            "PUT /_matrix/app/v1/transactions/{} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {bytes}\r\n\r\n",
            id.replace(' ', "%20")
        );
        stream.write_all(head.as_bytes()).await?;
        let mut line = String::new();
        let answered = tokio::time::timeout(wait::STEP, BufReader::new(stream).read_line(&mut line)).await;
        answered.context("the bridge waits for a body it should refuse")??;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        status.with_context(|| format!("no status line: {line:?}"))
    }

    /// Returns the last lines of its output over all its runs.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        format!("the bridge's log ends with\n{}", process::tail(&self.log, lines))
    }

    /// Returns all its output over all its runs.
    ///
    /// # Errors
    /// It never ran.
    pub fn log(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&std::fs::read(&self.log)?).into_owned())
    }
}

/// Puts every leaf of `changes` into `target`, at the same path.
fn merge(target: &mut Value, changes: &Value) {
    match changes {
        Value::Object(changes) => {
            if !target.is_object() {
                *target = json!({});
            }
            for (key, change) in changes {
                merge(&mut target[key.as_str()], change);
            }
        }
        leaf => *target = leaf.clone(),
    }
}
