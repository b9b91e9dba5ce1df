//! A headless Chromium, driven over its DevTools socket.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_websockets::{ClientBuilder, MaybeTlsStream, Message, WebSocketStream};
use xtask::{machine, scratch::Folder, tether};

/// How long a step of a test may take.
const STEP: Duration = Duration::from_secs(30);
/// How often the page is looked at while a test waits for something in it.
const PAUSE: Duration = Duration::from_millis(50);

/// A browser with one tab.
pub struct Browser {
    process: Child,
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    next: u64,
    _profile: Folder,
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It dies with the test in any case.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Browser {
    /// Starts Chromium with a tab as large as a phone's screen.
    pub async fn start() -> Self {
        let program = machine::find_chromium().expect("no Chromium: run `cargo xtask setup`");
        let profile = Folder::create("chromium").unwrap();
        let mut command: Command = tether::command(&program);
        command
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"])
            .args(["--remote-debugging-port=0", "--window-size=420,900"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut process = tether::spawn(command).unwrap();
        let stderr = BufReader::new(process.stderr.take().unwrap());
        let address = stderr
            .lines()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("DevTools listening on ws://").map(str::to_owned))
            .expect("Chromium says where its DevTools are");
        let host = address.split('/').next().unwrap();
        let tabs: Value = reqwest::get(format!("http://{host}/json/list")).await.unwrap().json().await.unwrap();
        let tab = tabs.as_array().unwrap().iter().find(|tab| tab["type"] == "page").expect("a tab");
        let url = tab["webSocketDebuggerUrl"].as_str().unwrap();
        let (socket, _) = ClientBuilder::new().uri(url).unwrap().connect().await.unwrap();
        let mut browser = Self { process, socket, next: 1, _profile: profile };
        browser.call("Page.enable", json!({})).await;
        browser
    }

    async fn call(&mut self, method: &str, params: Value) -> Value {
        let id = self.next;
        self.next += 1;
        let order = json!({ "id": id, "method": method, "params": params }).to_string();
        self.socket.send(Message::text(order)).await.unwrap();
        loop {
            let message = self.receive().await;
            if message["id"] == json!(id) {
                assert!(message["error"].is_null(), "{method}: {message}");
                return message["result"].clone();
            }
        }
    }

    async fn receive(&mut self) -> Value {
        let message = tokio::time::timeout(STEP, self.socket.next()).await.expect("Chromium answers");
        let message = message.expect("Chromium lives").unwrap();
        serde_json::from_str(message.as_text().unwrap_or("{}")).unwrap()
    }

    /// Opens an address and waits until it is loaded.
    pub async fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({ "url": url })).await;
        self.wait(&format!("location.href === {} && document.readyState === 'complete'", json!(url))).await;
    }

    /// Opens an address that the page itself may change at once.
    pub async fn go(&mut self, url: &str) {
        self.call("Page.navigate", json!({ "url": url })).await;
        self.wait("location.protocol.startsWith('http') && document.readyState === 'complete'").await;
    }

    /// Makes the tab as large as a screen of so many pixels.
    pub async fn resize(&mut self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Whether the tab shows itself in dark colours.
    pub async fn darken(&mut self, dark: bool) {
        let value = if dark { "dark" } else { "light" };
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": value }] });
        self.call("Emulation.setEmulatedMedia", features).await;
    }

    /// Presses a key, as somebody without a mouse would.
    pub async fn key(&mut self, key: &str) {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            other => panic!("no code is known for {other}"),
        };
        let text = if key == "Enter" { "\r" } else { "" };
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code });
            if kind == "keyDown" {
                event["text"] = json!(text);
            }
            self.call("Input.dispatchKeyEvent", event).await;
        }
    }

    /// What a script gives.
    pub async fn eval(&mut self, script: &str) -> Value {
        let params = json!({ "expression": script, "awaitPromise": true, "returnByValue": true });
        let result = self.call("Runtime.evaluate", params).await;
        assert!(result["exceptionDetails"].is_null(), "{script}: {result}");
        result["result"]["value"].clone()
    }

    /// Waits until a script gives true.
    pub async fn wait(&mut self, script: &str) {
        let search = async {
            loop {
                let params = json!({ "expression": script, "returnByValue": true });
                // Between two pages there is nothing to ask.
                if self.call("Runtime.evaluate", params).await["result"]["value"] == json!(true) {
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        if tokio::time::timeout(STEP, search).await.is_err() {
            let page = self.eval("document.body.innerText").await;
            panic!("waited {STEP:?} for {script}; the page says {page}");
        }
    }

    /// Fills the field behind a label, as somebody who types would.
    pub async fn fill(&mut self, label: &str, text: &str) {
        let script = format!(
            "(() => {{ const label = [...document.querySelectorAll('label')].find(l => l.innerText.trim().startsWith({}));\
             label.control.focus(); label.control.value = {}; return true }})()",
            json!(label),
            json!(text)
        );
        assert_eq!(self.eval(&script).await, json!(true));
    }

    /// Presses the button with this text.
    pub async fn press(&mut self, text: &str) {
        // Before its script has run a button does nothing.
        self.wait("document.readyState === 'complete'").await;
        let script = format!(
            "(() => {{ [...document.querySelectorAll('button')].find(b => b.innerText === {}).click(); return true }})()",
            json!(text)
        );
        assert_eq!(self.eval(&script).await, json!(true));
    }

    /// A picture of the tab, as PNG.
    pub async fn picture(&mut self) -> Vec<u8> {
        let shot = self.call("Page.captureScreenshot", json!({ "format": "png" })).await;
        BASE64_STANDARD.decode(shot["data"].as_str().unwrap()).unwrap()
    }
}
