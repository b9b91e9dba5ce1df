//! `init` with flags, with answers, and with what is none.

use std::collections::VecDeque;
use std::os::unix::fs::PermissionsExt as _;

use clap::Parser as _;

use super::*;
use crate::config::Level;

/// Answers from a list, and what was said meanwhile.
#[derive(Default)]
struct Scripted {
    lines: VecDeque<String>,
    asked: Vec<String>,
    told: Vec<String>,
}

impl Answerer for Scripted {
    fn ask(&mut self, prompt: &str) -> io::Result<Option<String>> {
        self.asked.push(prompt.to_owned());
        Ok(self.lines.pop_front())
    }

    fn tell(&mut self, text: &str) {
        self.told.push(text.to_owned());
    }
}

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    init: InitArguments,
}

struct Walk {
    folder: tempfile::TempDir,
    scripted: Scripted,
    environment: Environment,
}

impl Walk {
    fn new(lines: &[&str]) -> Self {
        let scripted = Scripted { lines: lines.iter().map(|line| (*line).to_owned()).collect(), ..Scripted::default() };
        Self { folder: tempfile::tempdir().unwrap(), scripted, environment: Environment::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("made").join(name)
    }

    fn run(&mut self, flags: &str) -> Result<String, String> {
        let folder = self.folder.path().join("made").display().to_string();
        let words = ["init", "--folder", &folder].into_iter().chain(flags.split_whitespace());
        let line = Line::try_parse_from(words).unwrap();
        let (config, registration) = (Path::new("config.yaml"), Path::new("registration.yaml"));
        run(&line.init, config, registration, &self.environment, &mut self.scripted)
            .map_err(|faults| faults.to_string())
    }

    fn config(&self) -> Config {
        Config::load(&self.path("config.yaml"), &self.environment).unwrap()
    }
}

const FLAGS: &str =
    "--yes --homeserver http://hs:8008 --domain example.org --admin @anna:example.org --address http://wa:29400";

#[test]
fn flags_alone_make_everything() {
    let mut walk = Walk::new(&[]);
    let told = walk.run(FLAGS).unwrap();
    assert!(walk.scripted.asked.is_empty());
    let config = walk.config();
    assert_eq!(config.bridge.level_of("@anna:example.org"), Level::Admin);
    assert_eq!((config.appservice.hostname.as_str(), config.appservice.port), ("0.0.0.0", 29400));
    assert_eq!(config.appservice.as_token.reveal().len(), 64);
    for name in ["config.yaml", "registration.yaml", "registration-doublepuppet.yaml"] {
        let mode = fs::metadata(walk.path(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
        assert!(told.contains(&walk.path(name).display().to_string()), "{told}");
    }
    assert_eq!(fs::metadata(walk.path("")).unwrap().permissions().mode() & 0o777, 0o700);
    let registration = fs::read_to_string(walk.path("registration.yaml")).unwrap();
    assert_eq!(crate::config::compare_registration(&config, "r", &registration), Ok(()));
    assert!(told.contains("app_service_config_files") && told.contains("    matrix-whatsapp doctor\n"), "{told}");
    assert!(told.ends_with("open a chat with @whatsappbot:example.org and write: login qr\n"), "{told}");
}

#[test]
fn what_flags_do_not_say_is_asked_with_defaults_and_asked_again_when_it_is_no_answer() {
    let mut walk = Walk::new(&["https://matrix.example.org", "", "anna", "@anna:example.org", "", ""]);
    walk.run("").unwrap();
    let config = walk.config();
    assert_eq!(config.homeserver.domain, "example.org");
    assert_eq!(config.bridge.level_of("@anna:example.org"), Level::Admin);
    assert_eq!((config.appservice.hostname.as_str(), config.appservice.port), ("127.0.0.1", 29318));
    assert_eq!(walk.scripted.asked.len(), 6, "{:?}", walk.scripted.asked);
    assert!(walk.scripted.asked[1].ends_with("[example.org]"), "{:?}", walk.scripted.asked);
    assert_eq!(walk.scripted.told, ["That `anna` is no user id; write the whole id, as in `@you:example.org`."]);
}

#[test]
fn what_is_not_answered_or_no_answer_writes_nothing() {
    for (flags, lines, want) in [
        ("", &["http://h", "example.org"][..], "bridge.permissions: was not answered; give it with --admin"),
        (
            "--yes --homeserver https://matrix.example.org",
            &[],
            "homeserver.domain: was not answered; give it with --domain",
        ),
        ("--yes --domain http://x", &[], "homeserver.domain: `http://x` is no server name"),
        ("--yes --domain example.org --port 0", &[], "appservice.port: `0` is no port"),
        ("--yes --domain example.org --database mysql://x", &[], "database.uri: does not fit database.type sqlite"),
    ] {
        let mut walk = Walk::new(lines);
        let told = walk.run(flags).unwrap_err();
        assert!(told.contains(want), "{flags}: {told}");
        assert!(!walk.path("").exists(), "{flags}");
    }
}

#[test]
fn nothing_is_written_over_unless_told_and_then_tokens_and_keys_stay() {
    let mut walk = Walk::new(&[]);
    walk.run(FLAGS).unwrap();
    let (before, first) = (fs::read_to_string(walk.path("config.yaml")).unwrap(), walk.config());
    let told = walk.run(FLAGS).unwrap_err();
    assert!(told.contains("config.yaml: exists already and is not written over"), "{told}");
    assert_eq!(fs::read_to_string(walk.path("config.yaml")).unwrap(), before);

    walk.run(&format!("{FLAGS} --force --database file:other.db")).unwrap();
    let second = walk.config();
    assert_eq!(second.database.uri.reveal(), "file:other.db");
    assert_eq!(second.encryption.pickle_key.reveal(), first.encryption.pickle_key.reveal());
    assert_eq!(second.appservice.as_token.reveal(), first.appservice.as_token.reveal());
    let backups = fs::read_dir(walk.path("")).unwrap().map(|entry| entry.unwrap().path());
    let backups: Vec<PathBuf> = backups.filter(|path| path.to_string_lossy().contains(".bak-")).collect();
    assert_eq!(backups.len(), 1);
    assert_eq!(fs::read_to_string(&backups[0]).unwrap(), before);

    // One file alone is enough to refuse.
    fs::remove_file(walk.path("config.yaml")).unwrap();
    assert!(walk.run(FLAGS).unwrap_err().contains("registration.yaml: exists already"));
}

#[test]
fn what_the_environment_says_is_neither_asked_nor_written() {
    let mut walk = Walk::new(&["@anna:example.net", "", ""]);
    let variables = [
        ("MATRIX_WHATSAPP_HOMESERVER__ADDRESS", "http://outside:8008"),
        ("MATRIX_WHATSAPP_HOMESERVER__DOMAIN", "example.net"),
        ("MATRIX_WHATSAPP_APPSERVICE__AS_TOKEN", "a-token-of-outside"),
    ];
    walk.environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    walk.run("").unwrap();
    let text = fs::read_to_string(walk.path("config.yaml")).unwrap();
    assert!(!text.contains("outside"), "{text}");
    let registration = fs::read_to_string(walk.path("registration.yaml")).unwrap();
    assert!(registration.contains("a-token-of-outside") && registration.contains("example\\.net"), "{registration}");
    assert_eq!(walk.config().homeserver.address, "http://outside:8008");
}

#[test]
fn where_to_listen_follows_from_the_address() {
    for (address, hostname, port) in [
        ("http://localhost:29318", "127.0.0.1", 29318),
        ("http://[::1]:5000", "127.0.0.1", 5000),
        ("http://bridge:29400", "0.0.0.0", 29400),
        ("http://bridge", "0.0.0.0", 80),
        ("https://wa.example.org", "127.0.0.1", 29318),
    ] {
        assert_eq!(listening_for(address), (hostname.to_owned(), port), "{address}");
    }
    assert_eq!(domain_of("https://matrix.example.org:8448"), Some("example.org".to_owned()));
    assert_eq!(domain_of("http://localhost:8008"), None);
    assert_eq!(domain_of("http://10.0.0.1:8008"), None);
}
