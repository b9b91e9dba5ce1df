//! Each fault is found and its fix said, against a homeserver's double.

use std::net::TcpListener;
use std::path::PathBuf;

use wiremock::matchers::{header, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::config::{Environment, bridge_registration};
use crate::config::{RegistrationKind, Standing};
use crate::store::look::Look;

const WHOAMI: &str = "/_matrix/client/v3/account/whoami";

/// An installation in which all is well until a test breaks something.
struct Ward {
    homeserver: MockServer,
    folder: tempfile::TempDir,
    port: u16,
}

fn json(status: u16, body: serde_json::Value) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(body)
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Ward {
    async fn new() -> Self {
        // Whoever comes first decides for the process.
        if rustls::crypto::ring::default_provider().install_default().is_err() {
            tracing::debug!("a TLS provider was already installed");
        }
        let ward =
            Self { homeserver: MockServer::start().await, folder: tempfile::tempdir().unwrap(), port: free_port() };
        let config = ward.config("");
        let standing = Standing::fresh(RegistrationKind::Bridge, &config.appservice, |bytes| "5".repeat(bytes));
        std::fs::write(ward.registration(), bridge_registration(&config, &standing)).unwrap();
        std::fs::write(ward.folder.path().join("config.yaml"), "").unwrap();
        std::fs::write(ward.puppets(), "").unwrap();
        for path in [ward.registration(), ward.puppets()] {
            std::fs::set_permissions(path, mode(0o600)).unwrap();
        }
        ward
    }

    /// The answers of a homeserver that is well.
    async fn all_is_well(self) -> Self {
        let known = json(200, serde_json::json!({ "user_id": "@wa-sender:chat.example.org" }));
        self.answer("GET", WHOAMI, known).await;
        self.answer(
            "POST",
            "/_matrix/client/v1/appservice/whatsapp/ping",
            json(200, serde_json::json!({ "duration_ms": 7 })),
        )
        .await;
        let limit = json(200, serde_json::json!({ "m.upload.size": 200 << 20 }));
        self.answer("GET", "/_matrix/client/v1/media/config", limit).await;
        self.versions(json(200, serde_json::json!({ "versions": ["r0.6.1", "v1.1", "v1.12"] }))).await;
        self
    }

    async fn versions(&self, answer: ResponseTemplate) {
        self.answer("GET", "/_matrix/client/versions", answer).await;
    }

    async fn answer(&self, verb: &str, at: &str, answer: ResponseTemplate) {
        Mock::given(method(verb)).and(path(at)).respond_with(answer).with_priority(200).mount(&self.homeserver).await;
    }

    fn registration(&self) -> PathBuf {
        self.folder.path().join("registration.yaml")
    }

    fn puppets(&self) -> PathBuf {
        self.folder.path().join("registration-doublepuppet.yaml")
    }

    fn config(&self, more: &str) -> Config {
        let (hs, port, folder) = (self.homeserver.uri(), self.port, self.folder.path().display());
        let text = format!(
            "homeserver: {{address: '{hs}', domain: chat.example.org}}\n\
             appservice: {{address: 'http://127.0.0.1:{port}', port: {port}, as_token: ours, hs_token: theirs}}\n\
             bridge: {{permissions: {{'*': relay, chat.example.org: user, '@a:chat.example.org': admin}}}}\n\
             encryption: {{pickle_key: k}}\nmedia: {{ffmpeg: off}}\n{}",
            if more.contains("database:") {
                more.to_owned()
            } else {
                format!("database: {{uri: 'file:{folder}/wa.db'}}\n{more}")
            }
        );
        Config::parse(&text, "c", &Environment::default()).unwrap()
    }

    async fn look(&self, config: &Config) -> Report {
        self.look_at(config, None).await
    }

    async fn look_at(&self, config: &Config, user: Option<&str>) -> Report {
        let (path, registration, puppets) =
            (self.folder.path().join("config.yaml"), self.registration(), self.puppets());
        let seat = Seat::Outside { config: &path, registration: &registration, puppets: &puppets };
        examine(config, seat, user, &Clock::system()).await
    }
}

/// What was found of something, worst first.
fn found(report: &Report, about: &str) -> (State, String) {
    let worst = report.iter().filter(|one| one.about == about).max_by_key(|one| one.state);
    worst
        .map(|one| (one.state, format!("{} -> {}", one.told, one.fix)))
        .unwrap_or_else(|| panic!("{about}: {report:#?}"))
}

fn assert_found(report: &Report, about: &str, state: State, words: &str) {
    let (is, told) = found(report, about);
    assert!(is == state && told.contains(words), "{about}: {is:?} {told}");
    assert_eq!(report.is_well(), report.iter().all(|one| one.state != State::Fault));
}

#[tokio::test]
async fn nothing_is_wrong_where_nothing_is() {
    let ward = Ward::new().await.all_is_well().await;
    std::fs::set_permissions(ward.folder.path().join("config.yaml"), mode(0o600)).unwrap();
    let report = ward.look(&ward.config("")).await;
    let bad: Vec<_> = report.iter().filter(|one| one.state > State::Well && one.about != "disk").collect();
    assert!(bad.is_empty(), "{bad:#?}");
    for about in
        ["port", "database", "homeserver", "clock", "as_token", "namespaces", "ping", "double puppets", "uploads"]
    {
        found(&report, about);
    }
    assert_eq!(report.as_json()["ok"], true);
    assert!(report.as_text().contains("ok     ping: the homeserver reaches the bridge"), "{}", report.as_text());
    assert!(report.as_notice().ends_with(" 0 wrong"), "{}", report.as_notice());
    let all = format!("{report:?}");
    assert!(!all.contains("\"ours\"") && !all.contains("theirs"), "{all}");
}

fn mode(mode: u32) -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(mode)
}

#[tokio::test]
async fn a_homeserver_that_is_not_there_or_is_none_or_is_old() {
    let ward = Ward::new().await;
    let mut config = ward.config("");
    config.homeserver.address = format!("http://127.0.0.1:{}", free_port());
    let report = ward.look(&config).await;
    assert_found(&report, "homeserver", State::Fault, "Connection refused");
    assert!(report.iter().all(|one| one.about != "as_token"), "what can't be known is not told");
    assert_found(
        &ward.look(&ward.config("")).await,
        "homeserver",
        State::Fault,
        "is no Matrix homeserver (status 404)",
    );
    ward.versions(json(200, serde_json::json!({ "versions": ["v1.2"] }))).await;
    assert_found(&ward.look(&ward.config("")).await, "homeserver", State::Fault, "too old");
}

#[tokio::test]
async fn a_token_that_is_refused_and_a_homeserver_of_another_name() {
    let ward = Ward::new().await.all_is_well().await;
    let refused = json(401, serde_json::json!({ "errcode": "M_UNKNOWN_TOKEN" }));
    Mock::given(path(WHOAMI))
        .and(header("authorization", "Bearer ours"))
        .respond_with(refused)
        .mount(&ward.homeserver)
        .await;
    let report = ward.look(&ward.config("")).await;
    assert_found(&report, "as_token", State::Fault, "app_service_config_files");
    assert!(report.iter().all(|one| one.about != "ping"));

    let ward = Ward::new().await.all_is_well().await;
    let other = json(200, serde_json::json!({ "user_id": "@wa-sender:other.example.org" }));
    Mock::given(path(WHOAMI)).respond_with(other).mount(&ward.homeserver).await;
    assert_found(&ward.look(&ward.config("")).await, "domain", State::Fault, "is called other.example.org");
}

#[tokio::test]
async fn names_that_are_not_ours_and_a_registration_that_does_not_fit() {
    let ghost = "@whatsapp_lid-doctor:chat.example.org";
    for (words, state) in [
        ("cannot masquerade as this user", State::Fault),
        ("has not registered this user", State::Well),
        // Another version's, or another homeserver's: it proves nothing.
        ("knows nobody of this name", State::Warn),
    ] {
        let refused =
            json(403, serde_json::json!({ "errcode": "M_FORBIDDEN", "error": format!("Application service {words}") }));
        let ward = Ward::new().await.all_is_well().await;
        let named = Mock::given(path(WHOAMI)).and(query_param("user_id", ghost)).respond_with(refused);
        named.mount(&ward.homeserver).await;
        assert_eq!(found(&ward.look(&ward.config("")).await, "namespaces").0, state, "{words}");
    }
    let ward = Ward::new().await.all_is_well().await;
    let stale = std::fs::read_to_string(ward.registration()).unwrap().replace("whatsapp_", "wa_");
    std::fs::write(ward.registration(), stale).unwrap();
    assert_found(&ward.look(&ward.config("")).await, "registration", State::Fault, "`namespaces` does not fit");
    std::fs::remove_file(ward.registration()).unwrap();
    assert_found(&ward.look(&ward.config("")).await, "registration", State::Warn, "was not compared");
}

#[tokio::test]
async fn a_homeserver_that_does_not_reach_the_bridge_or_has_another_token() {
    for (status, body, state, words) in [
        (502, serde_json::json!({ "errcode": "M_CONNECTION_FAILED" }), State::Fault, "does not reach"),
        (
            502,
            serde_json::json!({ "errcode": "M_BAD_STATUS", "status": 403 }),
            State::Fault,
            "refuses it with status 403",
        ),
        (400, serde_json::json!({ "errcode": "M_URL_NOT_SET" }), State::Fault, "has no url"),
        (403, serde_json::json!({ "errcode": "M_FORBIDDEN" }), State::Fault, "status 403 M_FORBIDDEN"),
        (404, serde_json::json!({ "errcode": "M_UNRECOGNIZED" }), State::Warn, "can't be asked"),
    ] {
        let ward = Ward::new().await.all_is_well().await;
        let at = path("/_matrix/client/v1/appservice/whatsapp/ping");
        Mock::given(at).respond_with(json(status, body)).mount(&ward.homeserver).await;
        assert_found(&ward.look(&ward.config("")).await, "ping", state, words);
    }
}

#[tokio::test]
async fn a_homeserver_whose_call_is_swallowed_does_not_reach_the_bridge() {
    let ward = Ward::new().await.all_is_well().await;
    let at = path("/_matrix/client/v1/appservice/whatsapp/ping");
    let late = json(502, serde_json::json!({ "errcode": "M_CONNECTION_TIMEOUT" })).set_delay(Duration::from_secs(60));
    Mock::given(at).respond_with(late).mount(&ward.homeserver).await;
    let config = ward.config("");
    let mut visit = homeserver::Visit::new(&config).unwrap();
    assert!(visit.ping_patience > Duration::from_secs(60), "Synapse's own time-out tells more");
    visit.ping_patience = Duration::from_millis(200);
    let mut report = Report::default();
    visit.examine(true, None, &Clock::system(), &mut report).await;
    assert_found(&report, "ping", State::Fault, "does not reach http://127.0.0.1:");
}

#[tokio::test]
async fn who_is_asked_about_is_a_user_the_bridge_has_a_token_for() {
    let ward = Ward::new().await.all_is_well().await;
    let config = ward.config("");
    let report = ward.look_at(&config, Some("@b:chat.example.org")).await;
    assert_found(&report, "double puppets", State::Well, "may act as @b:chat.example.org");
    let report = ward.look_at(&config, Some("@b:other.example.org")).await;
    assert_found(&report, "double puppets", State::Warn, "nobody was asked about @b:other.example.org");
    for wrong in ["b", "@b", "b:chat.example.org"] {
        let report = ward.look_at(&config, Some(wrong)).await;
        assert_found(&report, "user", State::Fault, "is no user id -> write the whole id");
        found(&report, "uploads");
    }
}

#[tokio::test]
async fn every_file_with_secrets_that_others_may_open() {
    let ward = Ward::new().await.all_is_well().await;
    let open = |name: &str| {
        let file = ward.folder.path().join(name);
        std::fs::write(&file, "").unwrap();
        std::fs::set_permissions(&file, mode(0o644)).unwrap();
    };
    for name in ["config.yaml", "config.yaml.bak-2026-11-20-1800", "config.yaml.bak-2026-11-20-1800-2"] {
        open(name);
    }
    open("other.yaml");
    std::fs::set_permissions(ward.registration(), mode(0o644)).unwrap();
    std::fs::set_permissions(ward.puppets(), mode(0o604)).unwrap();
    let report = ward.look(&ward.config("")).await;
    let told: Vec<&str> =
        report.iter().filter(|one| one.fix.starts_with("chmod o= ")).map(|one| one.fix.as_str()).collect();
    let names: Vec<&str> = told.iter().filter_map(|fix| fix.rsplit('/').next()).collect();
    assert_eq!(
        names,
        [
            "config.yaml",
            "config.yaml.bak-2026-11-20-1800",
            "config.yaml.bak-2026-11-20-1800-2",
            "registration.yaml",
            "registration-doublepuppet.yaml"
        ]
    );
    assert!(report.is_well());
}

#[tokio::test]
async fn a_limit_that_is_not_told_yet_and_one_that_can_not_be_asked_for() {
    for (status, state, words) in [
        (403, State::Well, "tells no limit yet"),
        (200, State::Well, "tells no limit yet"),
        (500, State::Warn, "status 500"),
    ] {
        let ward = Ward::new().await.all_is_well().await;
        let at = path("/_matrix/client/v1/media/config");
        Mock::given(at).respond_with(json(status, serde_json::json!({}))).mount(&ward.homeserver).await;
        assert_found(&ward.look(&ward.config("")).await, "uploads", state, words);
    }
}

#[tokio::test]
async fn the_door_is_opened_for_who_shows_the_token_and_closed_again() {
    let ward = Ward::new().await;
    let config = ward.config("");
    let door = door::open(&config.appservice, &mut Report::default()).await;
    let http = reqwest::Client::builder().tls_certs_only(std::iter::empty()).build().unwrap();
    let call = async |token: &str, at: &str| {
        let url = format!("http://127.0.0.1:{}{at}", ward.port);
        http.post(url).bearer_auth(token).send().await.unwrap().status().as_u16()
    };
    assert_eq!(call("theirs", "/_matrix/app/v1/ping").await, 200);
    assert_eq!(call("ours", "/_matrix/app/v1/ping").await, 403);
    assert_eq!(call("theirs", "/_matrix/app/v1/transactions/1").await, 503);
    door.close().await;
    TcpListener::bind(("127.0.0.1", ward.port)).unwrap();
}

#[tokio::test]
async fn a_port_that_somebody_else_has() {
    let ward = Ward::new().await.all_is_well().await;
    let config = ward.config("");
    let mut taken = config.clone();
    taken.appservice.port = ward.homeserver.address().port();
    let report = ward.look(&taken).await;
    assert_found(&report, "port", State::Fault, "another program has 127.0.0.1:");
    assert!(report.iter().all(|one| one.about != "ping"));
    // A bridge is known by what it says of itself.
    let health = json(503, serde_json::json!({ "ok": false, "components": { "database": "down" } }));
    ward.answer("GET", "/health", health).await;
    assert_found(&ward.look(&taken).await, "port", State::Warn, "is not well");
    // Where a name stands for several addresses (localhost, often), another of them may be free: it is not the bridge's.
    let mut named = taken.clone();
    named.appservice.hostname = "localhost".to_owned();
    assert_found(&ward.look(&named).await, "port", State::Warn, "the bridge at localhost:");
    let mut elsewhere = config;
    elsewhere.appservice.hostname = "192.0.2.1".to_owned();
    assert_found(&ward.look(&elsewhere).await, "port", State::Fault, "can't listen on 192.0.2.1");
}

#[tokio::test]
async fn a_database_that_can_not_be_read() {
    let ward = Ward::new().await.all_is_well().await;
    std::fs::write(ward.folder.path().join("wa.db"), "this was once a database, or so they said in the shop").unwrap();
    assert_found(&ward.look(&ward.config("")).await, "database", State::Fault, "put a backup in its place");
    let nowhere = ward.config("database: {uri: 'file:/nonexistent/wa.db'}\n");
    assert_found(&ward.look(&nowhere).await, "database", State::Fault, "there is no folder /nonexistent");
    let port = free_port();
    let server =
        ward.config(&format!("database: {{type: postgres, uri: 'postgres://u:hunter2@127.0.0.1:{port}/d'}}\n"));
    let report = ward.look(&server).await;
    assert_found(&report, "database", State::Fault, "start the server");
    assert!(!format!("{report:?}").contains("hunter2"));

    // One that takes the connection and says nothing.
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = deaf.local_addr().unwrap().port();
    let server =
        ward.config(&format!("database: {{type: postgres, uri: 'postgres://u:hunter2@127.0.0.1:{port}/d'}}\n"));
    let mut report = Report::default();
    machine::look_at_database(&server.database, false, Duration::from_millis(200), &mut report).await;
    assert_found(&report, "database", State::Fault, "did not answer in 0.2 s");
    assert!(!format!("{report:?}").contains("hunter2"));
}

#[test]
fn databases_of_other_versions_and_of_others() {
    for (schema, is_held, runs, about, state, words) in [
        (Some(14), false, false, "database", State::Well, "up to date"),
        (Some(3), false, false, "database", State::Well, "from step 3 to 14"),
        (None, false, false, "database", State::Well, "is empty"),
        (Some(15), false, false, "database", State::Fault, "newer version"),
        (
            Some(14),
            true,
            false,
            "lock",
            State::Warn,
            "the bridge runs elsewhere (another container, another address), or a second",
        ),
    ] {
        let mut report = Report::default();
        machine::tell_look(&Look { schema, newest: 14, is_held }, runs, &mut report);
        assert_found(&report, about, state, words);
    }
    let mut report = Report::default();
    machine::tell_look(&Look { schema: Some(14), newest: 14, is_held: true }, true, &mut report);
    assert!(report.is_well(), "it is the bridge's that answers at the port");
}

#[tokio::test]
async fn a_clock_that_is_wrong_by_the_homeservers() {
    // 2024-02-29 12:00:00 UTC.
    let date = "Thu, 29 Feb 2024 12:00:00 GMT";
    let noon = 1_709_208_000;
    assert_eq!(homeserver::seconds_of(date), Some(noon));
    assert_eq!(homeserver::seconds_of("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
    for nonsense in ["", "now", "Thu, 29 Xyz 2024 12:00:00 GMT", "Thu, 29 Feb 2024 12:00 GMT"] {
        assert_eq!(homeserver::seconds_of(nonsense), None, "{nonsense}");
    }
    let ward = Ward::new().await.all_is_well().await;
    let dated = json(200, serde_json::json!({ "versions": ["v1.12"] })).insert_header("date", date);
    Mock::given(path("/_matrix/client/versions")).respond_with(dated).mount(&ward.homeserver).await;
    let config = ward.config("");
    for (ours, state, words) in [
        (noon + 20, State::Well, "20 s ahead"),
        (noon - 40, State::Warn, "40 s behind"),
        (noon - 4000, State::Fault, "NTP"),
    ] {
        let report = examine(&config, Seat::Inside, None, &Clock::by_hand(ours * 1000)).await;
        assert_found(&report, "clock", state, words);
    }
}

#[tokio::test]
async fn puppets_uploads_permissions_and_the_machine() {
    let ward = Ward::new().await.all_is_well().await;
    let config = ward.config("");
    let token = format!("Bearer {}", config.double_puppet_token().reveal());
    let refused = json(401, serde_json::json!({ "errcode": "M_UNKNOWN_TOKEN" }));
    Mock::given(path(WHOAMI)).and(header("authorization", &*token)).respond_with(refused).mount(&ward.homeserver).await;
    let small = json(200, serde_json::json!({ "m.upload.size": 10 << 20 }));
    Mock::given(path("/_matrix/client/v1/media/config")).respond_with(small).mount(&ward.homeserver).await;
    std::fs::set_permissions(ward.folder.path().join("config.yaml"), mode(0o644)).unwrap();
    let report = ward.look(&config).await;
    assert_found(&report, "double puppets", State::Warn, "registration-doublepuppet.yaml");
    assert_found(&report, "uploads", State::Warn, "10 MiB at most -> raise Synapse's max_upload_size");
    assert_found(&report, "config", State::Warn, "chmod o=");
    assert!(report.is_well());
    let report = ward.look(&ward.config("double_puppet: {automatic: false}\n")).await;
    assert_found(&report, "double puppets", State::Well, "login-matrix");

    let missing = ward.config("").media;
    let mut media = missing.clone();
    media.ffmpeg = "/nonexistent/ffmpeg".to_owned();
    let mut report = Report::default();
    machine::look_at_ffmpeg(&media, &mut report).await;
    assert_found(&report, "ffmpeg", State::Warn, "go as documents");
    for (free, state) in [(10 << 30, State::Well), (1 << 30, State::Warn), (1 << 20, State::Fault)] {
        let mut report = Report::default();
        machine::tell_room(Path::new("/data"), free, &mut report);
        assert_eq!(found(&report, "disk").0, state);
    }
}
