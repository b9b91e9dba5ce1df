//! Starting out and staying set up: `init`, `doctor`, a configuration carried into a newer example and read again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use matrix_bed::database::Database;
use matrix_bed::management::Management;
use matrix_bed::process::Process;
use matrix_bed::wait;
use matrix_bed::world::World;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use xtask::{places, ports, tether};

matrix_bed::stories! {
    shared {
        the_configuration_is_read_again_while_the_bridge_runs
        what_is_told_and_who_is_relayed_change_without_a_restart
    }
    own {
        from_nothing_to_a_linked_account_with_what_init_wrote
    }
}

/// What a run of the program ended with.
struct Ran {
    status: Option<i32>,
    out: String,
    err: String,
}

/// Runs the program to its end, in `folder`.
async fn run(folder: &Path, arguments: &[&str], variables: &[(&str, &str)], input: &str) -> Result<Ran> {
    let mut command = std::process::Command::new(places::bridge());
    places::clear_environment(&mut command);
    command.args(arguments).envs(variables.iter().copied()).current_dir(folder);
    let mut command = tokio::process::Command::from(command);
    let piped = std::process::Stdio::piped;
    let mut child = command.stdin(piped()).stdout(piped()).stderr(piped()).kill_on_drop(true).spawn()?;
    let mut stdin = child.stdin.take().context("its standard input")?;
    stdin.write_all(input.as_bytes()).await?;
    drop(stdin);
    let output = tokio::time::timeout(wait::STEP, child.wait_with_output()).await.context("it does not end")??;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Ran { status: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) })
}

/// An installation made by `init`, beside the world's own bridge.
struct Made {
    folder: PathBuf,
    url: String,
    websocket: String,
    media: String,
}

impl Made {
    /// Starts the bridge as an operator does, and waits until it is ready.
    async fn start(&self, options: &[&str]) -> Result<Process> {
        let mut command = tether::command(&places::bridge());
        places::clear_environment(&mut command);
        command
            .args(options)
            .env("MATRIX_WHATSAPP_NETWORK__WEBSOCKET_URL", &self.websocket)
            .env("MATRIX_WHATSAPP_NETWORK__MEDIA_BASE_URL", &self.media)
            .current_dir(&self.folder);
        let mut process = Process::start("the made bridge", command, &self.folder.join("bridge.log"))?;
        let (http, url) = (matrix_bed::client::http(), format!("{}/_matrix/mau/ready", self.url));
        let ready = wait::until("the made bridge is ready", wait::STEP, || {
            let (running, request) = (process.is_running(), http.get(&url));
            async move {
                ensure!(running?, "it ended");
                Ok(request.send().await.ok().filter(|answer| answer.status().is_success()).map(drop))
            }
        });
        ready.await.with_context(|| process.log_tail(40))?;
        Ok(process)
    }

    /// What `doctor` finds: its exit status, and the worst state of each thing it looks at.
    async fn doctor(&self, variables: &[(&str, &str)]) -> Result<(Option<i32>, Value)> {
        let ran = run(&self.folder, &["doctor", "--json"], variables, "").await?;
        let report: Value = serde_json::from_str(&ran.out).with_context(|| format!("{}{}", ran.out, ran.err))?;
        ensure!(report["ok"] == (ran.status == Some(0)), "{report:#}");
        for token in ["as_token", "hs_token"] {
            let token = self.secret(token)?;
            ensure!(!ran.out.contains(&token), "it shows a token");
        }
        Ok((ran.status, report))
    }

    /// Started in a terminal that is closed when the bridge runs, it stops by itself, and well.
    async fn ends_with_its_terminal(&self) -> Result<()> {
        let mut command = std::process::Command::new(places::python());
        places::clear_environment(&mut command);
        command
            .args(["-c", IN_A_TERMINAL])
            .arg(places::bridge())
            .env("MATRIX_WHATSAPP_NETWORK__WEBSOCKET_URL", &self.websocket)
            .env("MATRIX_WHATSAPP_NETWORK__MEDIA_BASE_URL", &self.media)
            .current_dir(&self.folder);
        let mut command = tokio::process::Command::from(command);
        let ended = tokio::time::timeout(wait::STEP * 2, command.kill_on_drop(true).output()).await??;
        let (out, err) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
        ensure!(out.trim() == "0", "it ended with {out}{err}");
        Ok(())
    }

    fn secret(&self, name: &str) -> Result<String> {
        let config: Value = serde_yaml::from_str(&std::fs::read_to_string(self.folder.join("config.yaml"))?)?;
        Ok(config["appservice"][name].as_str().context("a token")?.to_owned())
    }
}

/// Runs its arguments in a terminal of their own, closes it when the bridge runs, and prints how the bridge ended.
const IN_A_TERMINAL: &str = "
import os, pty, signal, sys
child, terminal = pty.fork()
if child == 0:
    os.execv(sys.argv[1], sys.argv[1:])
signal.signal(signal.SIGALRM, lambda *_: os.kill(child, signal.SIGKILL))
signal.alarm(30)
seen = b''
while b'the bridge is running' not in seen:
    seen += os.read(terminal, 65536)
os.close(terminal)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
";

/// Fails unless something looked at is in that state, told with these words.
fn ensure_found(report: &Value, about: &str, state: &str, words: &str) -> Result<()> {
    let mut found = report["checks"].as_array().into_iter().flatten();
    let is_it = |one: &Value| {
        one["about"] == about && one["state"] == state && format!("{} {}", one["told"], one["fix"]).contains(words)
    };
    ensure!(found.any(is_it), "no {state} of {about} with {words:?}: {report:#}");
    Ok(())
}

async fn from_nothing_to_a_linked_account_with_what_init_wrote(world: &mut World) -> Result<()> {
    let port = ports::lease()?;
    let url = format!("http://127.0.0.1:{}", port.number());
    let folder = world.folder().path().join("made");
    let made = Made { folder, url, websocket: world.phones.websocket(), media: world.phones.media() };
    let homeserver = world.synapse.url();
    let alice = world.person("alice").await?;

    // Asked and answered; the first answer is none.
    let answers = format!("localhost\n{homeserver}\ntest.local\n{}\n", alice.id());
    let mut arguments = vec!["init", "--folder", "made", "--address", &made.url];
    let database = Database::create(world.db, world.folder().path(), "made").await?;
    let uri = database.uri.replace("sqlite:", "file:");
    arguments.extend(["--database", &uri]);
    let ran = run(world.folder().path(), &arguments, &[], &answers).await?;
    ensure!(ran.status == Some(0), "{}{}", ran.out, ran.err);
    ensure!(ran.err.contains("That `localhost` is no URL"), "{}", ran.err);
    ensure!(ran.out.contains("app_service_config_files:") && ran.out.contains("matrix-whatsapp doctor"), "{}", ran.out);
    let refused = run(world.folder().path(), &arguments, &[], &answers).await?;
    ensure!(refused.status == Some(2) && refused.err.contains("--force"), "{}", refused.err);

    // The homeserver has not heard of it.
    let (status, report) = made.doctor(&[]).await?;
    ensure!(status == Some(1), "{report:#}");
    ensure_found(&report, "as_token", "fault", "app_service_config_files")?;
    ensure_found(&report, "port", "ok", "is free")?;

    // As the snippet says: both are named in its settings.
    world.synapse.stop().await?;
    let settings = world.synapse.folder().path().join("homeserver.yaml");
    let mut text: Value = serde_json::from_str(&std::fs::read_to_string(&settings)?)?;
    let files = text["app_service_config_files"].as_array_mut().context("the list")?;
    files.extend(["registration.yaml", "registration-doublepuppet.yaml"].map(|name| json!(made.folder.join(name))));
    std::fs::write(&settings, serde_json::to_vec_pretty(&text)?)?;
    world.synapse.start_again().await?;

    // All is well, before the bridge runs and while it does.
    let (status, report) = made.doctor(&[]).await?;
    ensure!(status == Some(0), "{report:#}");
    ensure_found(&report, "ping", "ok", "the homeserver reaches the bridge")?;
    ensure_found(&report, "namespaces", "ok", "")?;
    ensure_found(&report, "double puppets", "ok", "may act as people")?;
    let mut bridge = made.start(&[]).await?;
    let (status, report) = made.doctor(&[]).await?;
    ensure!(status == Some(0), "{report:#}");
    ensure_found(&report, "port", "ok", "the bridge is running")?;
    ensure_found(&report, "database", "ok", "is up to date")?;
    let words = report.to_string();
    ensure!(!words.contains("everybody on this machine"), "what it wrote is its owner's only: {report:#}");
    ensure_found(&report, "ping", "ok", "")?;

    let bot = "@whatsappbot:test.local";
    let management = Management::open(&alice, bot).await?;
    let account = world.phones.create_account("alice")?;
    management.login_by_qr(&world.phones, &account).await?;
    management.ask("doctor", " 0 wrong").await?;

    // Each fault is found by the real homeserver's answers.
    for (variable, value, about, words) in [
        ("HOMESERVER__ADDRESS", "http://127.0.0.1:9", "homeserver", "Connection refused"),
        ("HOMESERVER__DOMAIN", "other.local", "domain", "is called test.local"),
        ("APPSERVICE__AS_TOKEN", "another-token", "as_token", "does not know it"),
        ("APPSERVICE__USERNAME_TEMPLATE", "strange_{{.}}", "namespaces", "does not let the bridge act as @strange_"),
        ("APPSERVICE__BOT__USERNAME", "strangebot", "namespaces", "act as @strangebot"),
        ("APPSERVICE__ID", "strange", "ping", "refuses with status"),
        ("DATABASE__URI", "file:/nonexistent/x.db", "database", "/nonexistent"),
    ] {
        let (name, kind) = (format!("MATRIX_WHATSAPP_{variable}"), "MATRIX_WHATSAPP_DATABASE__TYPE");
        let mut variables = vec![(name.as_str(), value)];
        if variable == "DATABASE__URI" {
            variables.push((kind, "sqlite"));
        }
        let (status, report) = made.doctor(&variables).await?;
        ensure!(status == Some(1), "{variable}: {report:#}");
        ensure_found(&report, about, "fault", words).with_context(|| variable.to_owned())?;
    }
    // The same database from another port: it is somebody's.
    let other = ports::lease()?;
    let elsewhere = other.number().to_string();
    let (_, report) = made.doctor(&[("MATRIX_WHATSAPP_APPSERVICE__PORT", &elsewhere)]).await?;
    ensure_found(
        &report,
        "lock",
        "warn",
        "the bridge runs elsewhere (another container, another address), or a second one",
    )?;
    let theirs = homeserver.rsplit(':').next().context("a port")?;
    let (_, report) = made.doctor(&[("MATRIX_WHATSAPP_APPSERVICE__PORT", theirs)]).await?;
    ensure_found(&report, "port", "fault", "another program has")?;

    ensure!(bridge.stop(Duration::from_secs(20)).await?.success());
    let token = ("MATRIX_WHATSAPP_APPSERVICE__HS_TOKEN", "another-token");
    let (_, report) = made.doctor(&[token]).await?;
    ensure_found(&report, "ping", "fault", "refuses it with status 403")?;

    made.ends_with_its_terminal().await?;
    a_file_of_an_older_version_is_carried(&made).await?;
    let mut bridge = made.start(&[]).await?;
    management.ask("ping", &account.number).await?;
    ensure!(bridge.stop(Duration::from_secs(20)).await?.success());
    Ok(())
}

/// A file without comments and with few keys is left alone with `-n`, and gets the rest without.
async fn a_file_of_an_older_version_is_carried(made: &Made) -> Result<()> {
    let path = made.folder.join("config.yaml");
    let full: Value = serde_yaml::from_str(&std::fs::read_to_string(&path)?)?;
    let mut old = json!({});
    for section in ["homeserver", "appservice", "database", "encryption"] {
        old[section] = full[section].clone();
    }
    old["bridge"] = json!({"permissions": full["bridge"]["permissions"]});
    let old = format!("# mine\n{}", serde_yaml::to_string(&old)?);
    std::fs::write(&path, &old)?;
    ensure!(made.start(&["-n"]).await?.stop(Duration::from_secs(20)).await?.success());
    ensure!(std::fs::read_to_string(&path)? == old, "-n forbids it");
    ensure!(made.start(&[]).await?.stop(Duration::from_secs(20)).await?.success());
    let carried = std::fs::read_to_string(&path)?;
    ensure!(carried.contains("# The homeserver the bridge serves.") && carried.contains("max_file_mib"), "{carried}");
    let now: Value = serde_yaml::from_str(&carried)?;
    ensure!(now == full, "the values are the same: {now:#}");
    ensure!(!carried.contains(&made.websocket), "what the environment gives is not written");
    let mut backups = Vec::new();
    for entry in std::fs::read_dir(&made.folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("config.yaml.bak-") {
            backups.push(std::fs::read_to_string(entry.path())?);
        }
    }
    ensure!(backups == [old], "{} backups", backups.len());
    Ok(())
}

async fn the_configuration_is_read_again_while_the_bridge_runs(world: &mut World) -> Result<()> {
    let alice = world.person("alice").await?;
    let management = world.management(&alice).await?;
    for command in ["reload", "doctor"] {
        management.ask(command, "may not use this command").await?;
    }
    // Started with the permissions of everybody; the signal makes her an administrator.
    world.bridge.reconfigure(&json!({"bridge": {"permissions": {alice.id(): "admin"}}}))?;
    world.bridge.process()?.hang_up()?;
    let bridge = &world.bridge;
    wait::until("the signal was heard, says the log", wait::STEP, || async {
        Ok(bridge.log()?.contains("changed=[\"bridge.permissions\"]").then_some(()))
    })
    .await?;
    management.ask("reload", "Nothing in it has changed").await?;
    management.ask("doctor", " 0 wrong").await?;
    management.ask("doctor nobody", "whole Matrix id").await?;

    let budgets = json!({"rooms_per_minute": 77});
    let changes = json!({"bridge": {"budgets": budgets}, "logging": {"level": "info"}, "media": {"max_file_mib": 7}});
    world.bridge.reconfigure(&changes)?;
    let told = management.ask("reload", "In force now: `bridge.budgets.rooms_per_minute`, `logging.level`.").await?;
    ensure!(told.body().contains("only a restart puts it in force: `media.max_file_mib`"), "{}", told.body());

    // A broken file changes nothing, and says where.
    let path = world.folder().path().join("config.yaml");
    let whole = std::fs::read_to_string(&path)?;
    std::fs::write(&path, whole.replace("max_file_mib", "max_file_mb"))?;
    let told = management.ask("reload", "Nothing was changed").await?;
    ensure!(told.body().contains("did you mean `media.max_file_mib`?"), "{}", told.body());
    std::fs::write(&path, whole)?;
    world.bridge.reconfigure(&json!({"bridge": {"permissions": {alice.id(): "user"}}}))?;
    management.ask("reload", "In force now: `bridge.permissions`").await?;
    management.ask("reload", "may not use this command").await?;
    Ok(())
}

async fn what_is_told_and_who_is_relayed_change_without_a_restart(world: &mut World) -> Result<()> {
    let (alice, account, management) = world.log_in("alice").await?;
    world.bridge.reconfigure(&json!({"bridge": {"permissions": {alice.id(): "admin"}}}))?;
    world.bridge.restart().await?;
    let chat = world.chat_with(&alice, &account, "bob")?;
    let ghost = chat.begin("hello").await?.sender;
    let room = chat.room()?;
    let before = chat.person_says("nothing is told of this").await?;
    chat.wait_at_contact("nothing is told of this").await?;
    let set_relay = format!("doin {room} set-relay");
    management.ask(&set_relay, "There is no relaying in this bridge").await?;

    let changes = json!({"matrix": {"message_status_events": true}, "bridge": {"relay": {"enabled": true}}});
    world.bridge.reconfigure(&changes)?;
    let told =
        management.ask("reload", "In force now: `matrix.message_status_events`, `bridge.relay.enabled`.").await?;
    ensure!(!told.body().contains("restart"), "{}", told.body());
    let after = chat.person_says("this is told of").await?;
    let status = |event: String, key: &'static str| {
        let alice = alice.clone();
        async move {
            alice
                .wait_event(key, wait::STEP, |one| {
                    one.kind == "com.beeper.message_send_status"
                        && one.content["m.relates_to"]["event_id"] == event
                        && !one.content[key].is_null()
                })
                .await
        }
    };
    status(after.clone(), "status").await?;
    // That it is on the phone is taken from then on, too.
    let delivered = status(after, "delivered_to_users").await?;
    ensure!(delivered.content["delivered_to_users"] == json!([ghost]), "{}", delivered.content);
    let all = alice.history(&room).await?;
    let early = all.iter().filter(|one| one.content["m.relates_to"]["event_id"] == before).count();
    ensure!(early == 0, "something was told of what came before");
    management.ask(&set_relay, "now goes out through the account").await?;

    world
        .bridge
        .reconfigure(&json!({"matrix": {"message_status_events": false}, "bridge": {"relay": {"enabled": false}}}))?;
    management.ask("reload", "In force now: `matrix.message_status_events`, `bridge.relay.enabled`.").await?;
    management.ask(&set_relay, "There is no relaying in this bridge").await?;
    let last = chat.person_says("nothing again").await?;
    chat.wait_at_contact("nothing again").await?;
    world.bridge.wait_idle().await?;
    let all = alice.history(&room).await?;
    ensure!(all.iter().all(|one| one.content["m.relates_to"]["event_id"] != last), "it is told of still");
    Ok(())
}
