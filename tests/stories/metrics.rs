//! What the bridge tells Prometheus about itself.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use matrix_bed::wait;
use matrix_bed::world::World;
use serde_json::json;
use xtask::ports::{self, Port};

matrix_bed::stories! {
    shared {
        numbers_move_when_a_message_crosses
        numbers_are_told_to_nobody_unless_wanted
    }
    own {
        rows_wait_while_the_homeserver_is_down
    }
}

/// The bridge's numbers, by name with labels.
type Numbers = BTreeMap<String, f64>;

/// Starts the bridge anew with its numbers on a port of their own.
async fn tell_numbers(world: &mut World) -> Result<Port> {
    let port = ports::lease()?;
    let listen = format!("127.0.0.1:{}", port.number());
    world.bridge.reconfigure(&json!({"metrics": {"enabled": true, "listen": listen}}))?;
    world.bridge.restart().await?;
    Ok(port)
}

async fn numbers(port: &Port) -> Result<Numbers> {
    let answer = matrix_bed::client::http().get(format!("http://127.0.0.1:{}/metrics", port.number())).send().await?;
    ensure!(answer.status().is_success(), "{}", answer.status());
    let kind = answer.headers()["content-type"].to_str()?.to_owned();
    ensure!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    let text = answer.text().await?;
    let read = |line: &str| -> Result<(String, f64)> {
        let (name, number) = line.rsplit_once(' ').with_context(|| line.to_owned())?;
        Ok((name.strip_prefix("matrix_whatsapp_").context("another prefix")?.to_owned(), number.parse()?))
    };
    text.lines().filter(|line| !line.starts_with('#')).map(read).collect()
}

fn number(numbers: &Numbers, name: &str) -> Result<f64> {
    numbers.get(name).copied().with_context(|| format!("no {name} among {:?}", numbers.keys()))
}

async fn numbers_move_when_a_message_crosses(world: &mut World) -> Result<()> {
    let port = tell_numbers(world).await?;
    let chat = world.begin().await?;
    world.bridge.wait_idle().await?;
    let before = numbers(&port).await?;
    ensure!(number(&before, "logins{state=\"connected\"}")? == 1.0);
    ensure!(number(&before, "linkings_total{outcome=\"linked\"}")? == 1.0);
    ensure!(number(&before, "homeserver_reachable")? == 1.0);
    ensure!(number(&before, "resident_memory_bytes")? > 1e6);
    chat.contact_says("to be counted").await?;
    chat.person_says("to be counted, too").await?;
    chat.wait_all(wait::STEP).await?;
    world.bridge.wait_idle().await?;
    let grown = |name: String| {
        let (port, before) = (&port, &before);
        async move {
            wait::until(&format!("{name} grows"), wait::STEP, || async {
                let after = numbers(port).await?;
                Ok((number(&after, &name)? > number(before, &name)?).then_some(()))
            })
            .await
        }
    };
    for direction in ["into_matrix", "into_whatsapp"] {
        grown(format!("verdicts_total{{direction=\"{direction}\",verdict=\"done\"}}")).await?;
        grown(format!("delivery_seconds_count{{direction=\"{direction}\"}}")).await?;
        grown(format!("delivery_seconds_bucket{{direction=\"{direction}\",le=\"+Inf\"}}")).await?;
    }
    grown("homeserver_requests_total{kind=\"send\",status=\"2xx\"}".into()).await?;
    grown("http_requests_total{door=\"homeserver\",status=\"2xx\"}".into()).await?;
    grown("database_writes_total{kind=\"transaction\",outcome=\"ok\"}".into()).await?;
    // Whoever reads them learns of nobody.
    let all = format!("{:?}", numbers(&port).await?.keys());
    let person = chat.person();
    for secret in [chat.login().number.as_str(), chat.contact().number.as_str(), person.id(), "lid"] {
        ensure!(!all.contains(secret), "the numbers name {secret}");
    }
    let health = world.bridge.health().await?;
    ensure!(health["logins"]["connected"] == 1 && health["logins"]["logged_out"] == 0, "{health}");
    Ok(())
}

async fn numbers_are_told_to_nobody_unless_wanted(world: &mut World) -> Result<()> {
    // Not where the homeserver and proxies come in, whether they are told elsewhere or not.
    let http = matrix_bed::client::http();
    let url = format!("{}/metrics", world.bridge.url());
    ensure!(http.get(&url).send().await?.status() == 404);
    let port = tell_numbers(world).await?;
    ensure!(http.get(&url).send().await?.status() == 404);
    // And there is nothing else where they are told.
    for path in ["", "health", "_matrix/provision/v3/whoami", "login"] {
        let answer = http.get(format!("http://127.0.0.1:{}/{path}", port.number())).send().await?;
        ensure!(answer.status() == 404, "{path}: {}", answer.status());
    }
    numbers(&port).await.map(drop)
}

async fn rows_wait_while_the_homeserver_is_down(world: &mut World) -> Result<()> {
    let port = tell_numbers(world).await?;
    let chat = world.begin().await?;
    world.bridge.wait_idle().await?;
    world.synapse.stop().await?;
    chat.contact_says("while nobody takes it").await?;
    let waiting = wait::until("a row waits", wait::STEP, || async {
        let now = numbers(&port).await?;
        let waits = number(&now, "inbox_waiting_rows{direction=\"into_matrix\"}")? > 0.0;
        let gone = number(&now, "homeserver_reachable")? == 0.0;
        let old = number(&now, "inbox_oldest_waiting_seconds{direction=\"into_matrix\"}")? > 0.0;
        let blocked = number(&now, "verdicts_total{direction=\"into_matrix\",verdict=\"blocked\"}")? > 0.0;
        Ok((waits && gone && old && blocked).then_some(now))
    });
    let waiting = waiting.await?;
    ensure!(number(&waiting, "inbox_waiting_rows{direction=\"into_whatsapp\"}")? == 0.0);
    ensure!(number(&waiting, "inbox_failed_rows{direction=\"into_matrix\"}")? == 0.0);
    world.synapse.start_again().await?;
    chat.wait_all(std::time::Duration::from_secs(120)).await?;
    wait::until("nothing waits any more", wait::STEP, || async {
        let now = numbers(&port).await?;
        let none = number(&now, "inbox_waiting_rows{direction=\"into_matrix\"}")? == 0.0;
        let young = number(&now, "inbox_oldest_waiting_seconds{direction=\"into_matrix\"}")? == 0.0;
        Ok((none && young && number(&now, "homeserver_reachable")? == 1.0).then_some(()))
    })
    .await
}
