use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The simulator as a process; killed when the test fails.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already when all is well.
        drop(self.0.kill());
    }
}

impl Process {
    /// Starts the simulator; returns where it listens, too.
    fn start() -> (Self, String) {
        let child = Command::new(env!("CARGO_BIN_EXE_whatsapp-sim"))
            .args(["--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut process = Self(child);
        let mut line = String::new();
        BufReader::new(process.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap().to_owned();
        (process, address)
    }

    /// The most memory it ever had, in kilobytes.
    fn peak_memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

#[tokio::test]
async fn the_binary_says_where_it_listens_and_ends_on_sigterm() {
    let (mut process, address) = Process::start();
    assert!(!address.ends_with(":0"));

    drop(rustls::crypto::ring::default_provider().install_default());
    let response = reqwest::Client::new()
        .post(format!("http://{address}/admin/accounts"))
        .body(json!({ "number": "15550001", "push_name": "Alice" }).to_string())
        .send()
        .await
        .unwrap();
    let account: Value = response.json().await.unwrap();
    assert_eq!(account["number"], json!("15550001"));

    let pid = process.0.id().to_string();
    let killed = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    assert!(killed.success());
    let status = tokio::task::spawn_blocking(move || process.0.wait()).await.unwrap().unwrap();
    assert!(status.success(), "{status}");
}

const LARGE: usize = 100 * 1024 * 1024;

#[tokio::test]
async fn a_hundred_megabytes_go_up_and_down_without_being_held_in_memory() {
    drop(rustls::crypto::ring::default_provider().install_default());
    let (process, address) = Process::start();
    let piece: Vec<u8> = (0..1024 * 1024u32).map(|at| (at % 251) as u8).collect();
    let mut hasher = Sha256::new();
    for _ in 0..LARGE / piece.len() {
        hasher.update(&piece);
    }
    let hash = hasher.finalize();
    let token = BASE64_URL_SAFE_NO_PAD.encode(hash);
    let pieces = vec![bytes::Bytes::from(piece.clone()); 100].into_iter().map(Ok::<_, std::io::Error>);
    let answer: Value = reqwest::Client::new()
        .post(format!("http://{address}/mms/video/{token}?auth=sim-auth-0-15550001&token={token}"))
        .body(reqwest::Body::wrap_stream(futures_util::stream::iter(pieces)))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let url = format!("http://{address}{}", answer["direct_path"].as_str().unwrap());
    let mut response = reqwest::get(&url).await.unwrap();
    assert_eq!(response.content_length(), Some(LARGE as u64));
    let mut at = 0;
    while let Some(part) = response.chunk().await.unwrap() {
        for (index, byte) in part.iter().enumerate().step_by(997) {
            assert_eq!(*byte, piece[(at + index) % piece.len()]);
        }
        at += part.len();
    }
    assert_eq!(at, LARGE);

    let range = reqwest::Client::new().get(&url).header("Range", "bytes=104857598-").send().await.unwrap();
    assert_eq!(range.status(), 206);
    assert_eq!(range.headers()["content-range"], "bytes 104857598-104857599/104857600");
    assert_eq!(range.bytes().await.unwrap().len(), 2);
    let beyond = reqwest::Client::new().get(&url).header("Range", "bytes=104857600-").send().await.unwrap();
    assert_eq!(beyond.status(), 416);

    // A phone sends, another one opens a large file.
    for number in ["15550001", "15550002"] {
        post(&address, "accounts", json!({ "number": number })).await;
    }
    let send =
        json!({ "from": "15550001", "to": "15550002", "kind": "document", "file_name": "big", "size": 8_000_000 });
    let id = post(&address, "send", send).await["id"].as_str().unwrap().to_owned();
    let file = reqwest::get(format!("http://{address}/admin/media/15550002/{id}")).await.unwrap();
    let file = file.bytes().await.unwrap();
    assert_eq!((file.len(), file[7_999_999]), (8_000_000, (7_999_999 % 251) as u8));

    let peak = process.peak_memory();
    assert!(peak < 64 * 1024, "the simulator needed {peak} kB");
}

async fn post(address: &str, path: &str, body: Value) -> Value {
    let client = reqwest::Client::new();
    let request = client.post(format!("http://{address}/admin/{path}")).body(body.to_string());
    request.send().await.unwrap().json().await.unwrap()
}
