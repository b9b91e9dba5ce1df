//! Loading as an operator meets it: good files, bad files with every fault told, the environment.

use std::path::Path;

use serde_yaml::{Mapping, Value};

use super::*;

const GOOD: &str = r#"
homeserver: {address: "http://localhost:8008", domain: example.com}
appservice: {address: "http://localhost:29318", as_token: ours, hs_token: theirs}
bridge: {permissions: {"*": relay, "example.com": user}}
encryption: {pickle_key: sealed}
"#;

fn environment(variables: &[(&str, &str)]) -> Environment {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn parse(text: &str) -> Result<Config, Faults> {
    Config::parse(text, "config.yaml", &Environment::default())
}

fn faults_of(text: &str, variables: &[(&str, &str)]) -> String {
    Config::parse(text, "config.yaml", &environment(variables)).unwrap_err().to_string()
}

#[test]
fn what_is_not_given_has_its_default() {
    let config = parse(GOOD).unwrap();
    assert_eq!(config.appservice.hostname, "127.0.0.1");
    assert_eq!(config.appservice.port, 29318);
    assert_eq!(config.appservice.id, "whatsapp");
    assert_eq!(config.appservice.bot.username, "whatsappbot");
    assert_eq!(config.appservice.bot.displayname, "WhatsApp bridge bot");
    assert_eq!(config.appservice.ghost_prefix(), "whatsapp_");
    assert_eq!(config.appservice.ghost_localpart("lid-1"), "whatsapp_lid-1");
    assert_eq!(config.database.kind, DatabaseType::Sqlite);
    assert_eq!(config.database.sqlx_url(), "sqlite:matrix-whatsapp.db?mode=rwc");
    assert_eq!(config.database.sqlite_path().as_deref(), Some(Path::new("matrix-whatsapp.db")));
    assert_eq!(config.bridge.command_prefix, "!wa");
    assert_eq!(config.bridge.level_of("@a:example.com"), Level::User);
    assert_eq!(config.network.os_name, "Matrix");
    assert_eq!(config.network.websocket_url, None);
    assert_eq!(config.network.media_base_url, None);
    assert_eq!(config.logging.level, LogLevel::Info);
    let name = render_displayname(&config.network.displayname_template, &NameFacts::default());
    assert_eq!(name, "Unknown user (WA)");
    assert_eq!(config.advice(), ["homeserver.domain is the example's, example.com"]);
}

#[test]
fn json_is_read_too() {
    let value: Value = serde_yaml::from_str(GOOD).unwrap();
    let config = parse(&serde_json::to_string(&value).unwrap()).unwrap();
    assert_eq!(config.appservice.hs_token.reveal(), "theirs");
}

#[test]
fn a_printed_config_shows_no_secret() {
    let text = format!("{GOOD}\ndatabase: {{type: postgres, uri: 'postgres://u:hunter2@h/d'}}\n");
    let printed = format!("{:?}", parse(&text).unwrap());
    for secret in ["ours", "theirs", "sealed", "hunter2"] {
        assert!(!printed.contains(secret), "{secret} in {printed}");
    }
}

#[test]
fn every_fault_is_told_at_once_with_its_path_and_what_to_do() {
    let text = r#"
homeserver:
    adress: http://localhost:8008
    domain: "http://example.com"
appservice:
    address: localhost:29318
    hostname: "0.0.0.0:29318"
    port: 70000
    id: what/sapp
    bot: whatsappbot
    username_template: "whatsapp"
    as_token: 12345
    hs_token: "has spaces"
database:
    type: postgress
    uri: 17
bridge:
    command_prefix: "! wa"
    permissions:
        "*": relais
        "admin:example.com": admin
        "@admin": admin
        "what ever": user
    relay: {enabled: true, message_formats: {m.txt: x, m.text: "{{.Message}}"}, default_relays: [nobody]}
    matrix: {}
network:
    displayname_template: "{{.Nick}}"
    websocket_url: http://localhost
    media_base_url: ws://localhost
    os_name: "a\nb"
loging: {}
encryption:
logging:
    level: verbose
permissions: {}
"#;
    let want = "\
homeserver.adress: unknown key; did you mean `homeserver.address`? Else remove it
appservice.port: `70000` is no port; use a number from 1 to 65535
appservice.bot: must hold keys; write its keys below it, indented: `username`, `displayname`
appservice.as_token: must be text; put the value in quotes
database.type: `postgress` is not known; did you mean `postgres`? It is one of `sqlite`, `postgres`, `sqlite3-fk-wal`
database.uri: must be text; put the value in quotes
bridge.permissions.*: `relais` is no level; did you mean `relay`? It is one of `block`, `relay`, `commands`, `user`, `admin`
bridge.permissions.admin:example.com: `admin:example.com` is neither a user id nor a server name; did you mean `\"@admin:example.com\"`?
bridge.permissions.@admin: `@admin` is no user id; write the whole id, as in `\"@admin:example.com\"`
bridge.permissions.what ever: `what ever` is neither a user id nor a server name; use `\"*\"`, a server name or a user id
bridge.relay.message_formats.m.txt: is no kind of message; did you mean `m.text`? It is one of `m.text`, `m.notice`, `m.emote`, `m.image`, `m.video`, `m.audio`, `m.file`, `m.sticker`, `m.location`, `m.reaction`, `m.poll.start`
bridge.relay.message_formats.m.text: does not say who wrote it; use `{{.Sender.FormattedName}}`, `{{.Sender.DisambiguatedName}}`, `{{.Sender.Displayname}}`, `{{.Sender.UserID}}`; correct the format
bridge.relay.default_relays: holds something that is no phone number; write numbers as in ['+15550001111']
bridge.matrix: unknown key; did you mean `matrix`? Else remove it
network.displayname_template: `.Nick` is not a field; use `{{.BusinessName}}`, `{{.PushName}}`, `{{.FullName}}`, `{{.Phone}}`; correct the template
network.os_name: holds a line break or another control character; remove it
loging: unknown key; did you mean `logging`? Else remove it
logging.level: `verbose` is not known; use one of `error`, `warn`, `info`, `debug`, `trace`
permissions: unknown key; did you mean `bridge.permissions`? Else remove it
homeserver.address: is missing; set it, for example to `http://localhost:8008`
encryption.pickle_key: is missing; run with -g to make it
homeserver.domain: `http://example.com` is no server name; write what stands behind the colon in your user id, without http://
appservice.address: must begin with `http://` or `https://`; write a URL like `http://host:port`
appservice.hostname: `0.0.0.0:29318` is no address to listen on; write an IP address or a host name, without a port
appservice.id: `what/sapp` holds other characters; use letters, digits, `.`, `_` and `-`
appservice.username_template: holds `{{.}}` 0 times; write it once, as in `whatsapp_{{.}}`
appservice.hs_token: holds spaces or characters beyond ASCII; empty it and run with -g to make it anew
bridge.command_prefix: `! wa` holds a space; use one word, as in `!wa`
network.websocket_url: must begin with `ws://` or `wss://`; write a URL like `ws://host:port`
network.media_base_url: must begin with `http://` or `https://`; write a URL like `http://host:port`";
    similar_lines(&faults_of(text, &[]), want);
}

/// As `assert_eq`, but shows the first line that differs.
fn similar_lines(found: &str, want: &str) {
    for (found_line, want_line) in found.lines().zip(want.lines()) {
        assert_eq!(found_line, want_line, "in\n{found}");
    }
    assert_eq!(found.lines().count(), want.lines().count(), "in\n{found}");
}

#[test]
fn faults_between_keys_are_told() {
    for (add, want) in [
        (
            "database: {type: postgres}",
            "database.uri: does not fit database.type postgres; write `postgres://USER:PASSWORD@HOST/DATABASE`",
        ),
        (
            "database: {uri: 'postgres://u:secret@h/d'}",
            "database.uri: does not fit database.type sqlite; set database.type to `postgres`, or write `file:PATH`",
        ),
        (
            "database: {uri: ':memory:'}",
            "database.uri: is kept in memory, so every stop would lose it; write `file:PATH`",
        ),
        (
            "database: {uri: 'file::memory:?cache=shared'}",
            "database.uri: is kept in memory, so every stop would lose it; write `file:PATH`",
        ),
        ("database: {uri: 'file:'}", "database.uri: names no file; write `file:PATH`"),
        ("database: {uri: 'mysql://h/d'}", "database.uri: does not fit database.type sqlite; write `file:PATH`"),
    ] {
        assert_eq!(faults_of(&format!("{GOOD}{add}\n"), &[]), want, "{add}");
    }
    for (from, to, want) in [
        (
            "as_token: ours",
            "as_token: theirs",
            "appservice.hs_token: is the same as as_token; empty it and run with -g to make it anew",
        ),
        (
            "as_token: ours",
            "as_token: ours, username_template: '{{.}}'",
            "appservice.username_template: begins with the contact's id, so every user would be taken for a contact; begin as in `whatsapp_{{.}}`",
        ),
        (
            "as_token: ours",
            "as_token: ours, username_template: 'WA_{{.}}'",
            "appservice.username_template: `WA_{{.}}` makes no user names; use a-z, 0-9 and `._=/+-` around `{{.}}`",
        ),
        (
            "as_token: ours",
            "as_token: ours, username_template: 'a_{{.}}{{.}}'",
            "appservice.username_template: holds `{{.}}` 2 times; write it once, as in `whatsapp_{{.}}`",
        ),
        (
            "as_token: ours",
            "as_token: ours, username_template: 'whatsapp{{.}}'",
            "appservice.username_template: the bot's name `whatsappbot` matches it, so the bot would be taken for a contact; change one of them, as in `whatsapp_{{.}}`",
        ),
        (
            "permissions: {\"*\": relay, \"example.com\": user}",
            "permissions: {}",
            "bridge.permissions: is empty, so nobody may use the bridge; add a line like `\"example.com\": user`",
        ),
        (
            "http://localhost:8008",
            "http://me:pw@localhost:8008",
            "homeserver.address: must not hold a user or password; write a URL like `http://host:port`",
        ),
        ("as_token: ours", "as_token: generate", "appservice.as_token: is missing; run with -g to make it"),
        (
            "as_token: ours",
            "as_token: This value is generated when generating the registration",
            "appservice.as_token: is missing; run with -g to make it",
        ),
    ] {
        let text = GOOD.replace(from, to);
        assert_ne!(text, GOOD, "{from} is not in the good config");
        assert_eq!(faults_of(&text, &[]), want, "{to}");
    }
}

#[test]
fn a_text_that_is_no_config_says_what_to_do() {
    let unquoted = faults_of("bridge:\n  permissions:\n    *: relay\n", &[]);
    assert!(unquoted.starts_with("config.yaml: "), "{unquoted}");
    assert!(unquoted.ends_with("; put names that begin with * or @ in quotes"), "{unquoted}");
    assert_eq!(faults_of("- a\n", &[]), "config.yaml: holds no keys; write an example with -e to see the form");
    assert!(faults_of("a: 'b", &[]).ends_with("; correct the YAML there"));
    assert!(faults_of("a: 1\na: 2\n", &[]).contains("duplicate"));
    let missing = Config::load(Path::new("/nonexistent/config.yaml"), &Environment::default()).unwrap_err().to_string();
    assert!(missing.ends_with("; write an example with `-e -c /nonexistent/config.yaml` and fill it in"), "{missing}");
    assert!(faults_of("", &[]).starts_with("homeserver.address: is missing"));
}

#[test]
fn names_in_a_file_can_not_forge_lines_of_the_report() {
    let told = faults_of(&format!("{GOOD}\"a\\nhomeserver.domain: fine\\u0000\": 1\n"), &[]);
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(told.starts_with("a\\nhomeserver.domain: fine\\u{0}: unknown key"), "{told}");
}

#[test]
fn the_environment_wins_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("token");
    std::fs::write(&secret, "from a file\r\n".replace(' ', "-")).unwrap();
    let variables = [
        ("MATRIX_WHATSAPP_HOMESERVER__ADDRESS", "https://hs.example.com"),
        ("MATRIX_WHATSAPP_APPSERVICE__PORT", "8080"),
        ("MATRIX_WHATSAPP_APPSERVICE__BOT__USERNAME", "wabot"),
        ("MATRIX_WHATSAPP_APPSERVICE__AS_TOKEN_FILE", secret.to_str().unwrap()),
        ("MATRIX_WHATSAPP_BRIDGE__PERMISSIONS", r#"{"@root:example.com": "admin"}"#),
        ("MATRIX_WHATSAPP_LOGGING__LEVEL", "debug"),
        ("MATRIX_WHATSAPP_NETWORK__WEBSOCKET_URL", ""),
        ("MATRIX_WHATSAPP_BIN", "/x"),
        ("MATRIX_WHATSAPP_TEST_SEED", "1"),
        ("PATH", "/bin"),
    ];
    let config = Config::parse(GOOD, "config.yaml", &environment(&variables)).unwrap();
    assert_eq!(config.homeserver.address, "https://hs.example.com");
    assert_eq!(config.appservice.port, 8080);
    assert_eq!(config.appservice.bot.username, "wabot");
    assert_eq!(config.appservice.as_token.reveal(), "from-a-file");
    assert_eq!(config.bridge.level_of("@root:example.com"), Level::Admin);
    assert_eq!(config.bridge.level_of("@other:example.com"), Level::Block);
    assert_eq!(config.logging.level, LogLevel::Debug);
    assert_eq!(config.network.websocket_url, None);
    let yaml = [("MATRIX_WHATSAPP_BRIDGE__PERMISSIONS", "\"*\": user\n\"@a:b.c\": block\n")];
    let config = Config::parse(GOOD, "config.yaml", &environment(&yaml)).unwrap();
    assert_eq!(config.bridge.level_of("@a:b.c"), Level::Block);
}

#[test]
fn everything_can_come_from_the_environment() {
    let variables = [
        ("MATRIX_WHATSAPP_HOMESERVER__ADDRESS", "http://localhost:8008"),
        ("MATRIX_WHATSAPP_HOMESERVER__DOMAIN", "example.org"),
        ("MATRIX_WHATSAPP_APPSERVICE__ADDRESS", "http://localhost:29318"),
        ("MATRIX_WHATSAPP_APPSERVICE__AS_TOKEN", "12345"),
        ("MATRIX_WHATSAPP_APPSERVICE__HS_TOKEN", "67890"),
        ("MATRIX_WHATSAPP_BRIDGE__PERMISSIONS", "{\"*\": user}"),
        ("MATRIX_WHATSAPP_ENCRYPTION__PICKLE_KEY", "k"),
    ];
    let config = Config::parse("", "config.yaml", &environment(&variables)).unwrap();
    assert_eq!(config.appservice.as_token.reveal(), "12345");
    assert_eq!(config.advice(), Vec::<String>::new());
}

#[test]
fn faults_in_the_environment_are_told_under_the_variable() {
    let variables = [
        ("MATRIX_WHATSAPP_APPSERVICE__PORT", "many"),
        ("MATRIX_WHATSAPP_APPSERVICE__AS_TOKEN", "x"),
        ("MATRIX_WHATSAPP_APPSERVICE__AS_TOKEN_FILE", "/nonexistent/secret"),
        ("MATRIX_WHATSAPP_BRIDGE__PERMISSIONS", "everybody"),
        ("MATRIX_WHATSAPP_HOMESERVER_ADDRESS", "http://x"),
        ("MATRIX_WHATSAPP_NONSENSE", "1"),
    ];
    let want = "\
MATRIX_WHATSAPP_APPSERVICE__AS_TOKEN_FILE: the file it names can't be read: No such file or directory (os error 2); name a file the bridge may read
MATRIX_WHATSAPP_HOMESERVER_ADDRESS: no key has this variable; did you mean `MATRIX_WHATSAPP_HOMESERVER__ADDRESS`? Else unset it
MATRIX_WHATSAPP_NONSENSE: no key has this variable; unset it
MATRIX_WHATSAPP_APPSERVICE__PORT: `many` is no port; use a number from 1 to 65535
MATRIX_WHATSAPP_BRIDGE__PERMISSIONS: must hold names with their levels; for example `\"example.com\": user`";
    similar_lines(&faults_of(GOOD, &variables), want);
}

#[test]
fn the_table_of_keys_and_the_structs_agree() {
    let tree = load::example_tree();
    let config: Config = serde_yaml::from_value(tree.clone()).unwrap();
    assert_eq!(config.homeserver.domain, "example.com");
    // Every key of the table is a field that has no default of its own, except for the two that may be unset.
    for key in keys::KEYS.iter().filter(|key| key.default != keys::Fallback::Unset) {
        let mut without = tree.clone();
        remove(without.as_mapping_mut().unwrap(), key.path);
        let why = serde_yaml::from_value::<Config>(without).unwrap_err().to_string();
        assert!(why.contains(keys::leaf(key.path)), "{}: {why}", key.path);
    }
    let levels: Vec<&str> = Level::NAMES.iter().map(|(name, _)| *name).collect();
    for name in levels {
        let level: Level = serde_yaml::from_str(name).unwrap();
        assert!(Level::NAMES.contains(&(name, level)));
    }
    for key in keys::KEYS {
        if let keys::Kind::Choice(words) = key.kind {
            for word in words {
                let (section, name) = (keys::parent(key.path), keys::leaf(key.path));
                parse(&format!("{GOOD}{section}: {{{name}: {word}, {}}}\n", fitting_uri(word))).unwrap();
            }
        }
    }
}

fn fitting_uri(word: &str) -> &'static str {
    if word == "postgres" { "uri: 'postgres://h/d'" } else { "" }
}

fn remove(tree: &mut Mapping, path: &str) {
    match path.split_once('.') {
        None => assert!(tree.remove(path).is_some(), "{path} is not in the tree"),
        Some((section, rest)) => remove(tree.get_mut(section).unwrap().as_mapping_mut().unwrap(), rest),
    }
}

/// Writes the generated files anew instead of comparing when this variable is set.
const WRITE: &str = "MATRIX_WHATSAPP_TEST_WRITE";

#[test]
fn generated_files_are_as_the_code_writes_them() {
    let example: Config = serde_yaml::from_value(load::example_tree()).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manual = std::fs::read_to_string(root.join("docs/configure.md")).unwrap();
    let (start, end) = ("<!-- keys: generated -->\n", "<!-- end of keys -->");
    let (before, rest) = manual.split_once(start).unwrap();
    let (_, after) = rest.split_once(end).unwrap();
    for (name, want) in [
        ("config.example.yaml", example_config()),
        ("registration.yaml.example", example_registration(&example)),
        ("docs/configure.md", format!("{before}{start}{}{end}{after}", key_reference())),
    ] {
        let path = root.join(name);
        if std::env::var_os(WRITE).is_some() {
            std::fs::write(&path, want).unwrap();
            continue;
        }
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(found == want, "{name} is not what the code writes; run `{WRITE}=1 cargo test --lib generated_files`");
    }
}

#[test]
fn the_compose_file_gives_what_the_bridge_takes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docker/compose.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let text = text
        .replace("${DOMAIN:?set it to the server name}", "chat.example.com")
        .replace("${POSTGRES_PASSWORD:?choose one}", "0a1b");
    assert!(!text.contains("${"), "a variable this test does not know");
    let compose: Value = serde_yaml::from_str(&text).unwrap();
    let given = compose["services"]["bridge"]["environment"].as_mapping().unwrap();
    let variables: Environment = given
        .iter()
        .map(|(name, value)| (name.as_str().unwrap().to_owned(), value.as_str().unwrap().to_owned()))
        .collect();
    let made = std::cell::Cell::new(0);
    let filled = fill_secrets(&example_config(), "c", &variables, |_| {
        made.set(made.get() + 1);
        format!("secret-{}", made.get())
    });
    let config = Config::parse(&filled.unwrap(), "c", &variables).unwrap();
    assert_eq!(config.homeserver.domain, "chat.example.com");
    assert_eq!(config.database.sqlx_url(), "postgres://bridge:0a1b@postgres/bridge");
    assert_eq!(config.bridge.level_of("@a:chat.example.com"), Level::User);
    assert_eq!(config.advice(), Vec::<String>::new());
}

#[test]
fn files_on_their_way_lie_beside_the_database_unless_told_otherwise() {
    let folder = |lines: &str| parse(&format!("{GOOD}{lines}")).map(|config| config.media_folder());
    assert_eq!(folder("").unwrap(), Path::new("matrix-whatsapp.db-media"));
    assert_eq!(folder("database: { uri: 'file:/data/wa.db' }\n").unwrap(), Path::new("/data/wa.db-media"));
    let postgres = "database: { type: postgres, uri: 'postgres://a:b@c/d' }\n";
    assert_eq!(folder(postgres).unwrap(), Path::new("media-spool"));
    assert_eq!(folder(&format!("{postgres}media: {{ folder: /spool }}\n")).unwrap(), Path::new("/spool"));
}

#[test]
fn limits_of_files_are_numbers_that_fit_each_other() {
    let media = |lines: &str| parse(&format!("{GOOD}media: {{ {lines} }}\n"));
    let fine = media("folder_mib: 100, max_file_mib: '20', ffmpeg: off").unwrap().media;
    assert_eq!((fine.budget(), fine.max_file(), fine.ffmpeg()), (100 << 20, 20 << 20, None));
    assert_eq!(media("ffmpeg: /usr/bin/ffmpeg").unwrap().media.ffmpeg(), Some("/usr/bin/ffmpeg"));
    for (lines, fault) in [
        ("folder_mib: 10, max_file_mib: 20", "media.max_file_mib: is more than media.folder_mib, 10"),
        ("folder_mib: 0", "media.folder_mib: `0` is no number of MiB"),
        ("max_file_mib: 2 GB", "media.max_file_mib: `2 GB` is no number of MiB"),
        ("max_file_mib: 99999999", "media.max_file_mib: `99999999` is no number of MiB"),
    ] {
        let told = media(lines).unwrap_err().to_string();
        assert!(told.contains(fault), "{told}");
    }
}

#[test]
fn the_doors_are_closed_unless_told_otherwise_and_take_no_weak_secret() {
    let config = parse(GOOD).unwrap();
    assert!(!config.metrics.enabled);
    assert_eq!(config.metrics.listen, "127.0.0.1:8001");
    assert_eq!((config.provisioning.secret(), config.appservice.public_address), (None, None));
    let secret = |text: &str| parse(&format!("{GOOD}provisioning: {{shared_secret: '{text}'}}\n"));
    assert_eq!(secret("disable").unwrap().provisioning.secret(), None);
    assert_eq!(secret("0123456789abcdef").unwrap().provisioning.secret(), Some("0123456789abcdef"));
    for weak in ["generate", "0123456789abcde", "0123 456789abcdef"] {
        let told = secret(weak).unwrap_err().to_string();
        assert!(told.contains("provisioning.shared_secret: is shorter than 16") && !told.contains(weak), "{told}");
    }
    for (lines, fault) in [
        ("metrics: {listen: 'localhost'}", "metrics.listen: `localhost` is no address and port"),
        ("metrics: {enabled: maybe}", "metrics.enabled: `maybe` is neither true nor false"),
        ("provisioning: {requests_per_minute: 0}", "requests_per_minute: `0` is no number for a minute"),
    ] {
        let told = parse(&format!("{GOOD}{lines}\n")).unwrap_err().to_string();
        assert!(told.contains(fault), "{told}");
    }
    let public = |url: &str| {
        let text = GOOD.replace("as_token: ours", &format!("public_address: '{url}', as_token: ours"));
        parse(&text.replace("example.com", "chat.example.com")).map(|config| config.advice())
    };
    assert_eq!(public("https://bridge.example.com/wa").unwrap(), Vec::<String>::new());
    assert_eq!(public("http://bridge.example.com").unwrap().len(), 1);
    assert!(public("ftp://bridge.example.com").is_err());
}

#[test]
fn cleanups_are_chosen_row_by_row_and_bad_ones_told() {
    let with = |rules: &str| GOOD.replace("bridge: {", &format!("bridge: {{cleanup_on_logout: {rules}, "));
    let rules = parse(&with("{manual: {private: kick, shared_has_users: unbridge}}")).unwrap().bridge.cleanup_on_logout;
    assert!(rules.after(true).is_none(), "it is not switched on");
    let text =
        with("{enabled: true, manual: {private: kick, relayed: delete}, bad_credentials: {shared_no_users: unbridge}}");
    let rules = parse(&text).unwrap().bridge.cleanup_on_logout;
    let (asked, lost) = (rules.after(true).unwrap(), rules.after(false).unwrap());
    assert_eq!(
        (asked.private, asked.relayed, asked.shared_no_users),
        (Cleanup::Kick, Cleanup::Delete, Cleanup::Nothing)
    );
    assert_eq!(
        (lost.private, lost.shared_no_users, lost.shared_has_users),
        (Cleanup::Nothing, Cleanup::Unbridge, Cleanup::Nothing)
    );
    let told = faults_of(&with("{manual: {private: kik, shared: delete}}"), &[]);
    assert!(
        told.contains("bridge.cleanup_on_logout.manual.private: `kik` is not known; did you mean `kick`?"),
        "{told}"
    );
    assert!(told.contains("bridge.cleanup_on_logout.manual.shared: unknown key"), "{told}");
}
