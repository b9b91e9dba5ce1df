-- Core tables. One text for SQLite and Postgres: TEXT, BIGINT, BYTEA only; times are milliseconds since 1970;
-- truth values are 0/1. Ordered ids are made by the bridge. Each table says who writes it and who deletes from it.

-- Small facts of this installation (marker key, sync token, newest WhatsApp web version). Never deleted.
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value BYTEA NOT NULL
);

-- Everything that arrived and is not settled yet, from both networks. Written by the two intakes before they
-- acknowledge; deleted by the settlement; rows in state 'failed' are kept 30 days for `retry`, then swept.
CREATE TABLE inbox (
    seq BIGINT PRIMARY KEY,           -- ordered id: the order inside a lane
    dedup TEXT NOT NULL UNIQUE,       -- hash of what makes this arrival the same as another one
    lane TEXT NOT NULL,               -- ordered queue this row stands in
    source TEXT NOT NULL,             -- 'wa' or 'mx'
    login_id TEXT NOT NULL,           -- WhatsApp: login that received it; Matrix: ''
    portal_id BIGINT NOT NULL,        -- WhatsApp: its portal; Matrix: 0
    kind TEXT NOT NULL,               -- what the body holds
    body BYTEA NOT NULL,
    state TEXT NOT NULL,              -- 'waiting', 'parked' (its target is not there yet) or 'failed'
    waits_for TEXT NOT NULL DEFAULT '', -- parked: portal and WhatsApp id of the target
    attempts BIGINT NOT NULL,         -- counted and committed before each attempt
    received_at BIGINT NOT NULL,
    last_error TEXT NOT NULL
);
CREATE INDEX inbox_lane ON inbox (state, lane, seq);

-- Every arrival ever accepted, so that a second delivery after the settlement is harmless.
-- Written with the inbox row; swept after 30 days (WhatsApp), kept for Matrix event ids.
CREATE TABLE seen (
    dedup TEXT PRIMARY KEY,           -- begins with 's' when it may be swept, with 'k' when it is kept
    at BIGINT NOT NULL
);
CREATE INDEX seen_at ON seen (at);

-- Transactions of the homeserver answered with 200. Swept after 7 days.
CREATE TABLE mx_txn (
    txn_id TEXT PRIMARY KEY,
    body_hash TEXT NOT NULL,          -- same id with another body means a new homeserver database
    received_at BIGINT NOT NULL
);
CREATE INDEX mx_txn_received_at ON mx_txn (received_at);

-- People on Matrix who talk to the bridge. Never deleted.
CREATE TABLE mx_user (
    mxid TEXT PRIMARY KEY,
    management_room TEXT NOT NULL     -- '' when none is known
);

-- Linked WhatsApp accounts. Written at pairing; kept after logout, so that a new login finds its rooms; deleted when
-- another person links the logged-out account.
CREATE TABLE login (
    login_id TEXT PRIMARY KEY,        -- phone number digits at pairing
    mxid TEXT NOT NULL,               -- owner
    device_key TEXT NOT NULL UNIQUE,  -- the library's rows in the wa_ tables
    lid TEXT NOT NULL,                -- own LID, bare; '' when not told
    pn TEXT NOT NULL,                 -- own phone number id, bare
    push_name TEXT NOT NULL,
    state TEXT NOT NULL,              -- 'linked' or 'logged_out'
    reason TEXT NOT NULL,             -- why it is logged out, for the person
    since BIGINT NOT NULL,            -- when the state was entered
    told BIGINT NOT NULL              -- 1 once the owner knows of the logout
);
CREATE INDEX login_mxid ON login (mxid);

-- Chats and their rooms. Written when a chat is first seen; deleted by command only.
CREATE TABLE portal (
    portal_id BIGINT PRIMARY KEY,
    chat TEXT NOT NULL,               -- canonical chat id (LID when known)
    receiver TEXT NOT NULL,           -- login a direct chat belongs to; '' for shared chats; closed ones name their former owner
    kind TEXT NOT NULL,               -- 'dm', 'self', 'group', ...
    room_id TEXT UNIQUE,              -- NULL until the room exists
    alias TEXT NOT NULL UNIQUE,       -- fixed alias localpart: lets a half-made room be adopted
    created_at BIGINT NOT NULL,
    merged_into BIGINT NOT NULL,      -- the portal this one's chat goes on in, once two turned out to be one; else 0
    UNIQUE (chat, receiver)
);

-- Which logins take part in a portal, and how far each side has read. Deleted with login or portal.
CREATE TABLE portal_login (
    portal_id BIGINT NOT NULL,
    login_id TEXT NOT NULL,
    read_to BIGINT NOT NULL,          -- time of the newest message reported as read to WhatsApp
    PRIMARY KEY (portal_id, login_id)
);

-- People on WhatsApp. Never deleted.
CREATE TABLE ghost (
    ghost_id TEXT PRIMARY KEY,        -- canonical id (LID when known)
    localpart TEXT NOT NULL UNIQUE,   -- given once; stays when the other id is learnt
    name TEXT NOT NULL,               -- display name wanted
    name_rank BIGINT NOT NULL,        -- how good the source of the name is
    name_set BIGINT NOT NULL,         -- 1 once the homeserver has it
    avatar_id TEXT NOT NULL,          -- WhatsApp's picture id wanted; '' = none
    avatar_mxc TEXT NOT NULL,
    avatar_set BIGINT NOT NULL,
    avatar_checked_at BIGINT NOT NULL,
    registered BIGINT NOT NULL        -- 1 once account and device exist on the homeserver
);

-- Phone number id -> LID. Learnt from the library; never deleted.
CREATE TABLE wa_alias (
    pn TEXT PRIMARY KEY,
    lid TEXT NOT NULL,
    learnt_at BIGINT NOT NULL
);
CREATE INDEX wa_alias_lid ON wa_alias (lid);

-- Ghosts and people known to be joined to a portal's room. Deleted with the portal.
CREATE TABLE portal_member (
    portal_id BIGINT NOT NULL,
    mxid TEXT NOT NULL,
    membership TEXT NOT NULL,         -- 'invite', 'join', 'leave': last state reached
    PRIMARY KEY (portal_id, mxid)
);

-- One row per Matrix event out of (or into) one WhatsApp message: the reservation, then the mapping.
-- Deleted with its portal.
CREATE TABLE message (
    portal_id BIGINT NOT NULL,
    sender TEXT NOT NULL,             -- canonical WhatsApp sender
    wa_id TEXT NOT NULL,
    part BIGINT NOT NULL,
    origin TEXT NOT NULL,             -- 'wa' or 'mx'
    kind TEXT NOT NULL,               -- 'new', 'notice', ...
    state TEXT NOT NULL,              -- 'reserved', 'sent', 'failed'
    event_id TEXT,                    -- NULL while unknown
    txn_id TEXT,                      -- into Matrix: fixed transaction id
    mx_sender TEXT NOT NULL,          -- user who sends or sent the event
    login_id TEXT NOT NULL,
    ts BIGINT NOT NULL,               -- WhatsApp time
    tried_at BIGINT NOT NULL,         -- first attempt; counts the homeserver's 24 h memory
    read_at BIGINT NOT NULL,          -- when it was reported as read; 0 = not yet
    quote BYTEA,                      -- what a reply quotes of it: a small copy; part 0 only
    room_id TEXT,                     -- where the event is, when that is not the portal's room: it was merged
    body BYTEA,                       -- into WhatsApp: the built message, so that a retry sends the same
    PRIMARY KEY (portal_id, wa_id, sender, part)  -- looked for by chat and id alone, too
);
CREATE UNIQUE INDEX message_event ON message (event_id, part);
CREATE UNIQUE INDEX message_txn ON message (txn_id);
CREATE INDEX message_time ON message (portal_id, ts);
CREATE INDEX message_unread ON message (portal_id, ts) WHERE read_at = 0 AND origin = 'wa';
CREATE INDEX message_sender ON message (sender);

-- The one reaction of each person to a message. Written with the settlement of the reaction's row; a removed one stays
-- with an empty emoji, so that an older one that comes late changes nothing. Deleted with its portal.
CREATE TABLE reaction (
    portal_id BIGINT NOT NULL,
    wa_id TEXT NOT NULL,              -- the message reacted to
    sender TEXT NOT NULL,             -- canonical id of who reacts
    emoji TEXT NOT NULL,              -- '' once removed
    ts BIGINT NOT NULL,               -- by the sender's clock
    event_id TEXT,                    -- the event that shows it
    mx_sender TEXT NOT NULL,          -- who sent that event
    PRIMARY KEY (portal_id, wa_id, sender)
);
CREATE INDEX reaction_event ON reaction (event_id);
