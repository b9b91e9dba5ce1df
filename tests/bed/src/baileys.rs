//! A contact who uses Baileys: a client nobody here wrote, linked as a companion of the contact's account.
//!
//! It runs `tests/stories/baileys/contact.mjs` in Node (both come from the set-up) and speaks JSON lines with it. What
//! the contact's client saw stays in the order it came and can be waited for.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use xtask::scratch::Folder;
use xtask::{places, tether};

use crate::phones::{Account, Phones};
use crate::wait;

/// How long Node may take to start, and Baileys to link.
const START: Duration = Duration::from_secs(90);

/// A running client; it ends with this value.
pub struct Baileys {
    child: Child,
    orders: ChildStdin,
    said: Arc<Mutex<Vec<Value>>>,
    calls: u64,
    // Its keys and the certificate it trusts.
    _folder: Folder,
}

impl Baileys {
    /// Starts a client and links it to an account, whose phone scans its code. Returns when it is logged in.
    ///
    /// # Errors
    /// There is no Node (`cargo xtask setup` installs it), or the client is not linked in time.
    pub async fn link(phones: &Phones, account: &Account) -> Result<Self> {
        let packages = places::conformance().join("node_modules/.complete");
        ensure!(packages.is_file(), "Baileys is not installed: run `cargo xtask setup`");
        let folder = Folder::create("baileys")?;
        let certificate = folder.path().join("certificate.pem");
        std::fs::write(&certificate, phones.simulator().certificate())?;
        let mut command: Command = tether::command(&places::node()?);
        command
            .arg("contact.mjs")
            .arg(phones.simulator().addr().to_string())
            .arg(folder.path())
            .arg(&account.number)
            .env("NODE_EXTRA_CA_CERTS", &certificate)
            .current_dir(places::root().join("tests/stories/baileys"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = tether::spawn(command)?;
        let orders = child.stdin.take().context("the script has no input")?;
        let output = child.stdout.take().context("the script has no output")?;
        let said: Arc<Mutex<Vec<Value>>> = Arc::default();
        let heard = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(std::io::Result::ok) {
                let line = serde_json::from_str(&line).unwrap_or_else(|_| json!({ "event": "noise", "text": line }));
                heard.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        let mut client = Self { child, orders, said, calls: 0, _folder: folder };
        client.wait_for(START, "Baileys is linked", |line| line["event"] == "linked").await?;
        Ok(client)
    }

    fn said(&self) -> MutexGuard<'_, Vec<Value>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the client do something (`what` and its `details` are those of the script); returns what it answers.
    ///
    /// # Errors
    /// The client could not do it, or does not answer.
    pub async fn call(&mut self, what: &str, details: Value) -> Result<Value> {
        self.calls += 1;
        let call = self.calls;
        let mut order = json!({ "call": call, "do": what });
        order.as_object_mut().context("an object")?.extend(details.as_object().cloned().unwrap_or_default());
        writeln!(self.orders, "{order}").context("telling Baileys what to do")?;
        self.orders.flush()?;
        let answer = self.wait(&format!("Baileys' answer to {what}"), |line| line["call"] == call).await?;
        ensure!(answer["error"].is_null(), "Baileys could not do {order}: {}", answer["error"]);
        Ok(answer["done"].clone())
    }

    /// As [`Baileys::call`], for what sends a message; returns its id.
    ///
    /// # Errors
    /// As [`Baileys::call`].
    pub async fn send(&mut self, what: &str, details: Value) -> Result<String> {
        let answer = self.call(what, details).await?;
        answer["id"].as_str().map(str::to_owned).with_context(|| format!("{what} has no id: {answer}"))
    }

    /// Waits until the client has said a line that fits, be it long ago; returns the first one.
    ///
    /// # Errors
    /// It does not; the text has what it said instead.
    pub async fn wait(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Result<Value> {
        self.wait_for(wait::STEP, what, fits).await
    }

    /// Waits for a message of somebody else whose content fits; returns its id and content.
    ///
    /// # Errors
    /// As [`Baileys::wait`].
    pub async fn wait_message(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Result<(String, Value)> {
        let is_it = |line: &Value| line["event"] == "message" && line["fromMe"] == false && fits(&line["message"]);
        let line = self.wait(what, is_it).await?;
        let id = line["id"].as_str().context("a message without id")?.to_owned();
        Ok((id, line["message"].clone()))
    }

    async fn wait_for(&mut self, limit: Duration, what: &str, fits: impl Fn(&Value) -> bool) -> Result<Value> {
        let said = Arc::clone(&self.said);
        let child = &mut self.child;
        let found = wait::until(what, limit, || {
            let found = said.lock().unwrap_or_else(PoisonError::into_inner).iter().find(|line| fits(line)).cloned();
            let ended = child.try_wait();
            async move {
                match (found, ended?) {
                    (None, Some(status)) => bail!("Baileys ended with {status}"),
                    (found, _) => Ok(found),
                }
            }
        });
        let found = found.await;
        found.with_context(|| format!("Baileys said: {:#?}", self.said()))
    }
}

impl Drop for Baileys {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("Baileys could not be ended: {error}");
        }
    }
}

/// The words of a text message, as Baileys shows it.
#[must_use]
pub fn text(message: &Value) -> &str {
    [&message["conversation"], &message["extendedTextMessage"]["text"]]
        .into_iter()
        .find_map(Value::as_str)
        .unwrap_or("")
}
