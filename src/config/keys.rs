//! The one table of keys: what they are called, what they hold, their defaults and their meaning.
//!
//! The walk over an operator's file, the names in the environment, the defaults, `config.example.yaml` and the
//! reference in `docs/configure.md` are all made from it, so they can't drift apart. That it agrees with the
//! structs is tested beside [`super::load`].

/// What a key may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text, never empty.
    Text,
    /// A token or key: never shown in a fault, made by `-g`.
    Generated,
    /// Text that may hold a password: never shown in a fault.
    Private,
    /// A template of names.
    NameTemplate,
    /// A TCP port, 1 to 65535.
    Port,
    /// A number of mebibytes, 1 to 16,777,216 (16 TiB).
    Mebibytes,
    /// How many in a minute, 1 to 1,000,000.
    PerMinute,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Levels by `*`, server name or user id.
    Levels,
    /// true or false.
    Flag,
    /// URLs by server name.
    Addresses,
    /// Tokens by server name: never shown in a fault.
    Tokens,
    /// Formats by kind of message.
    Formats,
    /// The format of names in them.
    NameFormat,
    /// Phone numbers.
    Numbers,
}

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    /// Names from the top, joined by dots.
    pub path: &'static str,
    /// What it may hold.
    pub kind: Kind,
    /// What it is when it is not given.
    pub default: Fallback,
    /// What stands in the example, as YAML text; `None` = the default. Always a valid value.
    pub example: Option<&'static str>,
    /// Sentences for the operator, with units.
    pub doc: &'static [&'static str],
}

/// What a key is when nobody gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fallback {
    /// This text (or port).
    Is(&'static str),
    /// Nothing: unset is a meaning of its own.
    Unset,
    /// A fault.
    Required,
}

/// A part of the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Section {
    /// Names from the top, joined by dots.
    pub path: &'static str,
    /// Sentences for the operator.
    pub doc: &'static [&'static str],
}

/// What stands for a secret that `-g` has not made yet.
pub(super) const TO_BE_GENERATED: &str = "generate";

/// Also what stands for it in other bridges' examples.
pub(super) const TO_BE_GENERATED_ELSEWHERE: &str = "This value is generated when generating the registration";

/// The parts of the file, in its order, each before what is in it.
pub(super) const SECTIONS: &[Section] = &[
    Section { path: "homeserver", doc: &["The homeserver the bridge serves."] },
    Section {
        path: "appservice",
        doc: &[
            "How the homeserver reaches the bridge, and what the bridge is called there.",
            "After a change here run with -g again and restart the homeserver.",
        ],
    },
    Section { path: "appservice.bot", doc: &["The bot people talk to: `login qr`, `help`."] },
    Section {
        path: "database",
        doc: &["Where the bridge keeps its memory. Back it up: it holds the WhatsApp logins."],
    },
    Section { path: "bridge", doc: &["How the bridge behaves."] },
    Section {
        path: "bridge.budgets",
        doc: &[
            "How much the bridge does in a minute by itself, for a first login or a large group. Messages and what people ask",
            "for never wait for these, and count. Half a minute's worth may come at once.",
        ],
    },
    Section {
        path: "bridge.cleanup_on_logout",
        doc: &[
            "What becomes of an account's rooms when it is logged out. By default they stay, and go on at the next login.",
        ],
    },
    Section { path: "bridge.cleanup_on_logout.manual", doc: &["When somebody here asked for the logout."] },
    Section {
        path: "bridge.cleanup_on_logout.bad_credentials",
        doc: &["When WhatsApp or the phone ended the link: maybe by mistake, and soon to be linked again."],
    },
    Section { path: "matrix", doc: &["What people's clients are told of their messages."] },
    Section {
        path: "bridge.relay",
        doc: &[
            "Relay mode: what people without a WhatsApp account write in a chat's room goes out through somebody else's",
            "account, with their name in front. Whoever has the level relay is relayed; see docs/relay.md.",
        ],
    },
    Section {
        path: "double_puppet",
        doc: &["Acting as people's own accounts, so that what they write on their phone comes from themselves."],
    },
    Section { path: "network", doc: &["The WhatsApp side."] },
    Section { path: "media", doc: &["Pictures, films, sound and other files on their way between the two."] },
    Section { path: "encryption", doc: &["Keys that seal what is stored."] },
    Section {
        path: "logging",
        doc: &["What is written to standard output. Message text, names and numbers never are."],
    },
    Section {
        path: "metrics",
        doc: &["Numbers about the bridge for Prometheus; see docs/monitoring.md. No person or room is ever in them."],
    },
    Section {
        path: "provisioning",
        doc: &[
            "The API for programs that manage logins, below /_matrix/provision/v3 of the address above; see",
            "docs/provisioning.md.",
        ],
    },
];

/// What may become of a room at a logout.
const CLEANUPS: &[&str] = &["nothing", "kick", "unbridge", "delete"];

/// Every key, in the order of the file.
pub(super) const KEYS: &[Key] = &[
    Key {
        path: "homeserver.address",
        kind: Kind::Text,
        default: Fallback::Required,
        example: Some("http://localhost:8008"),
        doc: &["Where the bridge reaches the homeserver's client-server API: an http or https URL."],
    },
    Key {
        path: "homeserver.domain",
        kind: Kind::Text,
        default: Fallback::Required,
        example: Some("example.com"),
        doc: &["The server name: what stands behind the colon in user ids. It can't be changed later."],
    },
    Key {
        path: "homeserver.status_endpoint",
        kind: Kind::Text,
        default: Fallback::Unset,
        example: None,
        doc: &[
            "Where the state of each login is posted as JSON when it changes, with the as_token: an http or https URL of a",
            "program that watches bridges; see docs/monitoring.md. null = nowhere.",
        ],
    },
    Key {
        path: "appservice.address",
        kind: Kind::Text,
        default: Fallback::Required,
        example: Some("http://localhost:29318"),
        doc: &["Where the homeserver reaches the bridge: an http or https URL. It goes into the registration."],
    },
    Key {
        path: "appservice.public_address",
        kind: Kind::Text,
        default: Fallback::Unset,
        example: None,
        doc: &[
            "Where people's browsers reach the bridge: an https URL of a reverse proxy that passes /login on to it. With it",
            "`login` answers with a link to a page. null = there is no page.",
        ],
    },
    Key {
        path: "appservice.hostname",
        kind: Kind::Text,
        default: Fallback::Is("127.0.0.1"),
        example: None,
        doc: &["The address to listen on. In a container: 0.0.0.0."],
    },
    Key {
        path: "appservice.port",
        kind: Kind::Port,
        default: Fallback::Is("29318"),
        example: None,
        doc: &["The TCP port to listen on, 1 to 65535."],
    },
    Key {
        path: "appservice.id",
        kind: Kind::Text,
        default: Fallback::Is("whatsapp"),
        example: None,
        doc: &["The id in the registration. Two bridges on one homeserver need two."],
    },
    Key {
        path: "appservice.bot.username",
        kind: Kind::Text,
        default: Fallback::Is("whatsappbot"),
        example: None,
        doc: &["The part of its user id before the colon."],
    },
    Key {
        path: "appservice.bot.displayname",
        kind: Kind::Text,
        default: Fallback::Is("WhatsApp bridge bot"),
        example: None,
        doc: &["Its name as people see it."],
    },
    Key {
        path: "appservice.username_template",
        kind: Kind::Text,
        default: Fallback::Is("whatsapp_{{.}}"),
        example: None,
        doc: &[
            "User ids of contacts, before the colon; {{.}} is the contact's id and stands there once.",
            "What is before it must not be empty. It can't be changed later.",
        ],
    },
    Key {
        path: "appservice.as_token",
        kind: Kind::Generated,
        default: Fallback::Required,
        example: Some(TO_BE_GENERATED),
        doc: &["The token the bridge shows to the homeserver. Run with -g to make it."],
    },
    Key {
        path: "appservice.hs_token",
        kind: Kind::Generated,
        default: Fallback::Required,
        example: Some(TO_BE_GENERATED),
        doc: &["The token the homeserver shows to the bridge. Run with -g to make it."],
    },
    Key {
        path: "database.type",
        kind: Kind::Choice(&["sqlite", "postgres", "sqlite3-fk-wal"]),
        default: Fallback::Is("sqlite"),
        example: None,
        doc: &["sqlite (one file, nothing to set up; also called sqlite3-fk-wal) or postgres."],
    },
    Key {
        path: "database.uri",
        kind: Kind::Private,
        default: Fallback::Is("file:matrix-whatsapp.db"),
        example: None,
        doc: &[
            "SQLite: file:PATH, relative to the working directory.",
            "Postgres: postgres://USER:PASSWORD@HOST/DATABASE",
        ],
    },
    Key {
        path: "bridge.command_prefix",
        kind: Kind::Text,
        default: Fallback::Is("!wa"),
        example: None,
        doc: &["What a command begins with, except in a private chat with the bot, where bare words do."],
    },
    Key {
        path: "bridge.personal_filtering_spaces",
        kind: Kind::Flag,
        default: Fallback::Is("true"),
        example: None,
        doc: &[
            "Whether each login gets a space that holds the rooms of its chats. With false no space is made, and those that",
            "are there stay as they are.",
        ],
    },
    Key {
        path: "bridge.sync_account_data",
        kind: Kind::Flag,
        default: Fallback::Is("false"),
        example: None,
        doc: &[
            "Whether muting, favourites, the archive tag and marks for unread that people set on rooms in their clients are done",
            "to the chats on WhatsApp, for who is acted as (see double_puppet). It is off by default because no homeserver pushes",
            "account data to bridges: each person costs it one request that always stands, and the answers name all",
            "of the person's rooms that change so.",
        ],
    },
    Key {
        path: "bridge.bridge_matrix_leave",
        kind: Kind::Flag,
        default: Fallback::Is("false"),
        example: None,
        doc: &[
            "Whether the WhatsApp account of who leaves a group's room leaves the group. It is off by default because leaving a",
            "room is easily taken back and leaving a group is not.",
        ],
    },
    Key {
        path: "bridge.delete_chat_rooms",
        kind: Kind::Flag,
        default: Fallback::Is("true"),
        example: None,
        doc: &[
            "Whether a direct chat's room goes (everybody is taken out) when its owner deletes the chat on the phone, unless",
            "something newer was said. Groups' rooms go when the account leaves the group.",
        ],
    },
    Key {
        path: "bridge.clear_chat_messages",
        kind: Kind::Flag,
        default: Fallback::Is("false"),
        example: None,
        doc: &[
            "Whether clearing a direct chat removes its messages from the room too; starred ones stay where the phone",
            "kept them. It is off by default because nothing brings them back.",
        ],
    },
    Key {
        path: "bridge.permissions",
        kind: Kind::Levels,
        default: Fallback::Required,
        example: Some("{\"*\": relay, \"example.com\": user, \"@admin:example.com\": admin}"),
        doc: &[
            "Who may do what. Names are \"*\" (everybody), a server name, or a user id; the most specific one counts.",
            "Levels: block (nothing), relay (messages may pass through somebody else's login),",
            "commands (commands that need no login), user (logins of their own), admin (commands that touch others).",
        ],
    },
    Key {
        path: "bridge.budgets.whatsapp_requests_per_minute",
        kind: Kind::PerMinute,
        default: Fallback::Is("60"),
        example: None,
        doc: &[
            "What each login asks WhatsApp for: groups that changed, pictures, business names. One a second is what a person's",
            "own phone may ask for while it is used; much more looks like a program that collects data. The pictures of 500",
            "chats then take eight minutes.",
        ],
    },
    Key {
        path: "bridge.budgets.rooms_per_minute",
        kind: Kind::PerMinute,
        default: Fallback::Is("120"),
        example: None,
        doc: &[
            "Rooms made, for all logins together. 500 chats take four minutes; a room keeps Synapse busy for about 100 ms.",
        ],
    },
    Key {
        path: "bridge.budgets.ghosts_per_minute",
        kind: Kind::PerMinute,
        default: Fallback::Is("600"),
        example: None,
        doc: &["Accounts made on the homeserver for people on WhatsApp, for all logins together; three requests each."],
    },
    Key {
        path: "bridge.budgets.memberships_per_minute",
        kind: Kind::PerMinute,
        default: Fallback::Is("300"),
        example: None,
        doc: &[
            "People brought into the rooms of groups, for all logins together; two requests each. A group of 1,024 takes three",
            "minutes; who says something there comes in at once. 1,000 keep a small Synapse busy with nothing else.",
        ],
    },
    Key {
        path: "bridge.cleanup_on_logout.enabled",
        kind: Kind::Flag,
        default: Fallback::Is("false"),
        example: None,
        doc: &["Whether anything is done to rooms after a logout. It is for logouts from then on."],
    },
    Key {
        path: "bridge.cleanup_on_logout.manual.private",
        kind: Kind::Choice(CLEANUPS),
        default: Fallback::Is("nothing"),
        example: None,
        doc: &[
            "Rooms of direct chats and own notes. kick = you are taken out, and your next login brings you back; unbridge = the bridge",
            "goes and you keep the room as it is; delete = everybody is taken out. After unbridge and delete the bridge forgets the",
            "rooms; WhatsApp keeps the chats, and the next login makes new rooms.",
        ],
    },
    Key {
        path: "bridge.cleanup_on_logout.manual.relayed",
        kind: Kind::Choice(CLEANUPS),
        default: Fallback::Is("nothing"),
        example: None,
        doc: &["Rooms of groups and channels in which an account relays people without one."],
    },
    Key {
        path: "bridge.cleanup_on_logout.manual.shared_no_users",
        kind: Kind::Choice(CLEANUPS),
        default: Fallback::Is("nothing"),
        example: None,
        doc: &[
            "Rooms of groups and channels that nobody else has an account in. Rooms that another account of the same person",
            "is linked in are left alone in any case.",
        ],
    },
    Key {
        path: "bridge.cleanup_on_logout.manual.shared_has_users",
        kind: Kind::Choice(CLEANUPS),
        default: Fallback::Is("nothing"),
        example: None,
        doc: &[
            "Rooms of groups and channels that somebody else has an account in. unbridge and delete take the room from them too; the",
            "group's next message makes them a new one.",
        ],
    },
    Key {
        path: "bridge.cleanup_on_logout.bad_credentials.private",
        kind: Kind::Choice(CLEANUPS),
        default: Fallback::Is("nothing"),
        example: None,
        doc: &["As above."],
    },
    Key {
        path: "bridge.cleanup_on_logout.bad_credentials.relayed",
        kind: Kind::Choice(CLEANUPS),
        default: Fallback::Is("nothing"),
        example: None,
        doc: &["As above."],
    },
    Key {
        path: "bridge.cleanup_on_logout.bad_credentials.shared_no_users",
        kind: Kind::Choice(CLEANUPS),
        default: Fallback::Is("nothing"),
        example: None,
        doc: &["As above."],
    },
    Key {
        path: "bridge.cleanup_on_logout.bad_credentials.shared_has_users",
        kind: Kind::Choice(CLEANUPS),
        default: Fallback::Is("nothing"),
        example: None,
        doc: &["As above."],
    },
    Key {
        path: "matrix.message_status_events",
        kind: Kind::Flag,
        default: Fallback::Is("false"),
        example: None,
        doc: &[
            "Whether clients are told by events of type com.beeper.message_send_status what became of each message: it waits,",
            "is on WhatsApp, is on the other's phone, or has failed and why. Only some clients show them, and each is stored.",
        ],
    },
    Key {
        path: "matrix.delivery_receipts",
        kind: Kind::Flag,
        default: Fallback::Is("false"),
        example: None,
        doc: &["Whether the bot marks as read what is on WhatsApp, so that every client shows it."],
    },
    Key {
        path: "bridge.relay.enabled",
        kind: Kind::Flag,
        default: Fallback::Is("false"),
        example: None,
        doc: &["Whether there is relay mode. Without it `set-relay` does nothing, and what was set before rests."],
    },
    Key {
        path: "bridge.relay.admin_only",
        kind: Kind::Flag,
        default: Fallback::Is("true"),
        example: None,
        doc: &[
            "Whether only administrators may say `set-relay`. With false whoever may change the powers in a group's room, and",
            "the owner of a direct chat, may let their own account relay there. Nobody else's: that is for administrators.",
        ],
    },
    Key {
        path: "bridge.relay.default_relays",
        kind: Kind::Numbers,
        default: Fallback::Is("[]"),
        example: None,
        doc: &[
            "Numbers of accounts that relay in every group they are in, the first that is there, unless `set-relay` or",
            "`unset-relay` was said in it. Never in direct chats.",
        ],
    },
    Key {
        path: "bridge.relay.notices",
        kind: Kind::Flag,
        default: Fallback::Is("false"),
        example: None,
        doc: &[
            "Whether m.notice messages are relayed too. Bots write them, and two bots that answer each other never end.",
        ],
    },
    Key {
        path: "bridge.relay.message_formats",
        kind: Kind::Formats,
        default: Fallback::Is("{}"),
        example: None,
        doc: &[
            "What is written around a relayed message, by its kind (m.text, m.notice, m.emote, m.image, m.video, m.audio,",
            "m.file, m.sticker, m.location, m.reaction, m.poll.start); a kind that is missing has its built-in format. As in",
            "{m.text: \"<b>{{.Sender.FormattedName}}</b>: {{.Message}}\"}. docs/relay.md lists the fields.",
        ],
    },
    Key {
        path: "bridge.relay.displayname_format",
        kind: Kind::NameFormat,
        default: Fallback::Is("{{.DisambiguatedName}}"),
        example: None,
        doc: &[
            "{{.Sender.FormattedName}} in those formats: made of {{.Displayname}}, {{.UserID}} and {{.DisambiguatedName}}, the",
            "name with the user id behind it where somebody else in the room is called the same.",
        ],
    },
    Key {
        path: "double_puppet.automatic",
        kind: Kind::Flag,
        default: Fallback::Is("true"),
        example: None,
        doc: &[
            "Whether everybody who may log in is acted as, where the homeserver has loaded the second registration that",
            "-g writes or `secrets` has a token. With false, only who says `login-matrix` to the bot.",
        ],
    },
    Key {
        path: "double_puppet.servers",
        kind: Kind::Addresses,
        default: Fallback::Is("{}"),
        example: None,
        doc: &[
            "Other homeservers whose people may be acted as: server name and where its client-server API answers, as in",
            "{example.org: \"https://matrix.example.org\"}. Their people say `login-matrix <access token>`.",
        ],
    },
    Key {
        path: "double_puppet.secrets",
        kind: Kind::Tokens,
        default: Fallback::Is("{}"),
        example: None,
        doc: &[
            "Tokens of registrations that cover everybody of a homeserver, as in {example.org: \"as_token:SECRET\"}.",
            "The bridge's own homeserver needs none: it has the second registration that -g writes.",
        ],
    },
    Key {
        path: "network.os_name",
        kind: Kind::Text,
        default: Fallback::Is("Matrix"),
        example: None,
        doc: &["The name the phone shows in its list of linked devices. Counts when a login is made."],
    },
    Key {
        path: "network.displayname_template",
        kind: Kind::NameTemplate,
        default: Fallback::Is("{{or .BusinessName .PushName .Phone \"Unknown user\"}} (WA)"),
        example: None,
        doc: &[
            "Names of contacts. {{.BusinessName}}, {{.PushName}} (what they call themselves), {{.Phone}}, and {{or …}} for the",
            "first of several that is not empty. {{.FullName}} is always empty: what somebody's address book says is shown in the",
            "names of their own rooms, not on an account that others see too.",
        ],
    },
    Key {
        path: "network.presence",
        kind: Kind::Choice(&["hidden", "shared"]),
        default: Fallback::Is("hidden"),
        example: None,
        doc: &[
            "Whether who is online crosses. hidden: no, and linked accounts never look online. shared: both ways, for the",
            "chats with the newest messages. It is hidden by default because WhatsApp mutes the phone's notifications while",
            "a linked device is online, and because everybody who shares a room with a contact sees what is shown. But WhatsApp",
            "may tell of typing only to accounts that are online, so with hidden less of it may be seen.",
        ],
    },
    Key {
        path: "network.enable_status_broadcast",
        kind: Kind::Flag,
        default: Fallback::Is("true"),
        example: None,
        doc: &[
            "Whether each login gets a room with the status posts of its contacts. It is made with the first post. With false",
            "posts are not taken; rooms that are there stay.",
        ],
    },
    Key {
        path: "network.disable_status_broadcast_send",
        kind: Kind::Flag,
        default: Fallback::Is("true"),
        example: None,
        doc: &[
            "Whether a message in that room that answers no post is refused. With false it is posted as a status. It is refused",
            "by default because a word said there by mistake would go to everybody in the address book at once. `post-status`",
            "posts either way, and answers and reactions to posts reach their author either way.",
        ],
    },
    Key {
        path: "network.archive_tag",
        kind: Kind::Text,
        default: Fallback::Is("m.lowpriority"),
        example: None,
        doc: &["The tag that rooms of archived chats get in their owner's account, where the bridge acts as them."],
    },
    Key {
        path: "network.url_previews",
        kind: Kind::Flag,
        default: Fallback::Is("false"),
        example: None,
        doc: &[
            "Whether messages for WhatsApp get a preview of their first link where the sender's client gave none. The homeserver",
            "is asked for it and visits the page (its url_preview_enabled must be on); the bridge never does. A page that is not",
            "known within seconds is left out. Off by default: whoever runs the page learns that somebody wrote of it.",
        ],
    },
    Key {
        path: "network.websocket_url",
        kind: Kind::Text,
        default: Fallback::Unset,
        example: None,
        doc: &["A simulator in place of WhatsApp, for tests: a ws or wss URL. null = WhatsApp."],
    },
    Key {
        path: "network.media_base_url",
        kind: Kind::Text,
        default: Fallback::Unset,
        example: None,
        doc: &["A simulator's media server, for tests: an http or https URL. null = WhatsApp."],
    },
    Key {
        path: "media.folder",
        kind: Kind::Text,
        default: Fallback::Unset,
        example: None,
        doc: &[
            "The folder they are kept in while they are on their way. The bridge makes it, empties it at each start, and",
            "needs no backup of it. null = beside the SQLite file, its name with -media behind it; with Postgres",
            "media-spool in the working directory.",
        ],
    },
    Key {
        path: "media.folder_mib",
        kind: Kind::Mebibytes,
        default: Fallback::Is("4096"),
        example: None,
        doc: &["What all of them may take there together, MiB. When it is full, further ones wait."],
    },
    Key {
        path: "media.max_file_mib",
        kind: Kind::Mebibytes,
        default: Fallback::Is("2000"),
        example: None,
        doc: &["The largest file that crosses, MiB. WhatsApp takes 2000; the homeserver's own limit counts too."],
    },
    Key {
        path: "media.ffmpeg",
        kind: Kind::Text,
        default: Fallback::Is("ffmpeg"),
        example: None,
        doc: &[
            "ffmpeg's path, or its name in PATH, or off. With it GIFs, WebM and MOV films, HEIC pictures, and voices and",
            "sound of other kinds go to WhatsApp as what they are, and films have thumbnails; without it they go as",
            "documents or sound files. It runs without network, with limits of time and memory.",
        ],
    },
    Key {
        path: "encryption.pickle_key",
        kind: Kind::Generated,
        default: Fallback::Required,
        example: Some(TO_BE_GENERATED),
        doc: &[
            "Seals secrets in the database. Run with -g to make it. Keep it with your backups:",
            "without it, or with another, the database can't be used.",
        ],
    },
    Key {
        path: "logging.level",
        kind: Kind::Choice(&["error", "warn", "info", "debug", "trace"]),
        default: Fallback::Is("info"),
        example: None,
        doc: &["The least severe lines that are written: error, warn, info, debug or trace."],
    },
    Key {
        path: "metrics.enabled",
        kind: Kind::Flag,
        default: Fallback::Is("false"),
        example: None,
        doc: &[
            "Whether /metrics is answered. Off by default: whoever can reach it needs no token, and sees how much is",
            "written here and when.",
        ],
    },
    Key {
        path: "metrics.listen",
        kind: Kind::Text,
        default: Fallback::Is("127.0.0.1:8001"),
        example: None,
        doc: &["The address and port it is answered on, apart from the homeserver's. In a container: 0.0.0.0:8001."],
    },
    Key {
        path: "provisioning.shared_secret",
        kind: Kind::Private,
        default: Fallback::Unset,
        example: None,
        doc: &[
            "A token that may act for every user of the bridge, 16 characters or more: for a manager on the server's side.",
            "null or disable = there is none.",
        ],
    },
    Key {
        path: "provisioning.allow_matrix_auth",
        kind: Kind::Flag,
        default: Fallback::Is("true"),
        example: None,
        doc: &["Whether people may use it for themselves, with their own access token of the homeserver."],
    },
    Key {
        path: "provisioning.allow_openid_auth",
        kind: Kind::Flag,
        default: Fallback::Is("false"),
        example: None,
        doc: &[
            "Whether people may use it for themselves with an OpenID token (`openid:` before it), as widgets have them. Off by default:",
            "such a token says who somebody is and not for whom it was made, so everything somebody ever gave one to could use the API.",
        ],
    },
    Key {
        path: "provisioning.requests_per_minute",
        kind: Kind::PerMinute,
        default: Fallback::Is("120"),
        example: None,
        doc: &[
            "Requests a user may make in a minute. A quarter of it may look people up, a tenth may begin a login or make a",
            "chat; and as many as that tenth may come with a wrong token from one address.",
        ],
    },
    Key {
        path: "provisioning.fail_on_webauthn",
        kind: Kind::Flag,
        default: Fallback::Is("false"),
        example: None,
        doc: &[
            "Whether a login through the API ends with an error where WhatsApp asks for a passkey: for managers that don't know",
            "this step.",
        ],
    },
];

/// The key with this path.
pub(super) fn find_key(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// Whether a section has this path.
pub(super) fn is_section(path: &str) -> bool {
    SECTIONS.iter().any(|section| section.path == path)
}

/// The names directly below a section (`""` = the top), in the order of the file.
pub(super) fn names_below(section: &str) -> impl Iterator<Item = &'static str> {
    let all = SECTIONS.iter().map(|s| s.path).chain(KEYS.iter().map(|k| k.path));
    all.filter(move |path| parent(path) == section).map(leaf)
}

/// The section a path is in; `""` at the top.
pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('.').map_or("", |(parent, _)| parent)
}

/// The last name of a path.
pub(super) fn leaf(path: &str) -> &str {
    path.rsplit_once('.').map_or(path, |(_, leaf)| leaf)
}

/// A path below a section.
pub(super) fn join(section: &str, name: &str) -> String {
    if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") }
}
