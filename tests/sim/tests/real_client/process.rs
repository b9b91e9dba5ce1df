use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

/// The simulator as a process; killed when the test fails.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already when all is well.
        drop(self.0.kill());
    }
}

#[tokio::test]
async fn the_binary_says_where_it_listens_and_ends_on_sigterm() {
    let child = Command::new(env!("CARGO_BIN_EXE_whatsapp-sim"))
        .args(["--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut process = Process(child);
    let mut stdout = BufReader::new(process.0.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on ").unwrap();
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
