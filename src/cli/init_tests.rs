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
fn a_configuration_that_can_not_be_read_is_not_written_over() {
    let mut walk = Walk::new(&[]);
    walk.run(FLAGS).unwrap();
    let whole = fs::read(walk.path("config.yaml")).unwrap();
    let registration = fs::read(walk.path("registration.yaml")).unwrap();
    let latin = [&whole[..], b"# caf\xe9\n"].concat();
    let broken = [&whole[..], b"logging: [\n"].concat();
    let unknown = [&whole[..], b"loging: {level: info}\n"].concat();
    for (old, want) in [(latin, "UTF-8"), (broken, "at line "), (unknown, "unknown key")] {
        fs::write(walk.path("config.yaml"), &old).unwrap();
        let told = walk.run(&format!("{FLAGS} --force")).unwrap_err();
        assert!(told.contains(want) && told.contains("away"), "{told}");
        assert_eq!(fs::read(walk.path("config.yaml")).unwrap(), old, "{want}");
        assert_eq!(fs::read(walk.path("registration.yaml")).unwrap(), registration, "{want}");
        assert_eq!(fs::read_dir(walk.path("")).unwrap().count(), 3, "{want}");
    }
}

#[test]
fn written_anew_keeps_what_is_not_answered_and_shows_it_as_the_default() {
    let mut walk = Walk::new(&[]);
    walk.run(&format!("{FLAGS} --hostname 10.0.0.5 --database postgres://u:hunter2@h/d")).unwrap();
    let path = walk.path("config.yaml");
    let first = fs::read_to_string(&path).unwrap();
    let changed = first
        .replace("\n    id: whatsapp\n", "\n    id: mine\n")
        .replace("\n        username: whatsappbot\n", "\n        username: wabot\n")
        .replace("\n    shared_secret: null\n", "\n    shared_secret: 0123456789abcdef0123\n")
        .replace("\n    servers: {}\n", "\n    servers: {m.example.net: 'https://m.example.net'}\n")
        .replace("\n    secrets: {}\n", "\n    secrets: {m.example.net: 'as_token:theirs'}\n");
    fs::write(&path, &changed).unwrap();
    let before = walk.config();
    assert_eq!((before.appservice.id.as_str(), before.appservice.bot.username.as_str()), ("mine", "wabot"));
    assert!(before.provisioning.secret().is_some() && before.double_puppet.secrets.len() == 1);
    let tree = |text: &str| serde_yaml::from_str::<serde_yaml::Value>(text).unwrap();

    walk.run("--yes --force").unwrap();
    assert_eq!(tree(&fs::read_to_string(&path).unwrap()), tree(&changed));

    walk.scripted.lines = ["", "", "", "", ""].map(str::to_owned).into();
    walk.run("--force").unwrap();
    assert_eq!(tree(&fs::read_to_string(&path).unwrap()), tree(&changed));
    let asked = walk.scripted.asked.join("\n");
    for shown in ["[http://hs:8008]", "[example.org]", "[http://wa:29400]", "[as it is]"] {
        assert!(asked.contains(shown), "{shown}: {asked}");
    }
    assert!(!asked.contains("hunter2"), "{asked}");

    // A new address is listened for anew.
    walk.run("--yes --force --address http://localhost:29500").unwrap();
    let after = walk.config();
    assert_eq!((after.appservice.hostname.as_str(), after.appservice.port), ("127.0.0.1", 29500));
    assert_eq!(after.appservice.id, "mine");
}

#[test]
fn in_a_container_localhost_is_not_suggested_and_the_hostname_not_written() {
    let image = [("MATRIX_WHATSAPP_APPSERVICE__HOSTNAME".to_owned(), "0.0.0.0".to_owned())];
    let mut walk = Walk::new(&[]);
    walk.environment = image.into_iter().collect();
    for (flags, want) in
        [("--homeserver http://synapse:8008", "--address"), ("--address http://bridge:29318", "--homeserver")]
    {
        let told = walk.run(&format!("--yes --domain example.org {flags}")).unwrap_err();
        assert!(told.contains(&format!("was not answered; give it with {want}")), "{told}");
    }
    walk.run("--yes --domain example.org --homeserver http://synapse:8008 --address http://bridge:29318").unwrap();
    let text = fs::read_to_string(walk.path("config.yaml")).unwrap();
    let written: serde_yaml::Value = serde_yaml::from_str(&text).unwrap();
    assert_eq!(written["appservice"]["hostname"], "127.0.0.1", "the example's, not what the environment gives");
    assert_eq!(walk.config().appservice.hostname, "0.0.0.0");
}

#[test]
fn an_address_that_is_called_elsewhere_than_is_listened_is_noted() {
    let told = Walk::new(&[]).run("--yes --domain example.org --address http://bridge").unwrap();
    assert!(told.contains("calls port 80 of http://bridge, and the bridge listens on port 29318"), "{told}");
    assert!(!Walk::new(&[]).run(FLAGS).unwrap().contains("calls port"));
    assert!(!Walk::new(&[]).run("--yes --domain example.org --address https://bridge").unwrap().contains("calls port"));
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
        ("http://bridge", "0.0.0.0", 29318),
        ("http://bridge:80/", "0.0.0.0", 80),
        ("https://wa.example.org", "127.0.0.1", 29318),
    ] {
        assert_eq!(listening_for(address), (hostname.to_owned(), port), "{address}");
    }
    assert_eq!(domain_of("https://matrix.example.org:8448"), Some("example.org".to_owned()));
    assert_eq!(domain_of("http://localhost:8008"), None);
    assert_eq!(domain_of("http://10.0.0.1:8008"), None);
}
