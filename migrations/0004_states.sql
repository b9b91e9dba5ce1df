-- What messages are beside their words: places kept for unreadable ones, pins, calls, live locations, timers, choices.
-- Columns as in 0001_core.sql. All rows go with their portal.

-- Notices that keep the place of a message which could not be read. Written before the notice is sent; deleted when the
-- message takes the place. The notice itself is row 0 of the message, of kind 'waiting'.
CREATE TABLE placeholder (
    portal_id BIGINT NOT NULL,
    wa_id TEXT NOT NULL,
    told_at BIGINT NOT NULL,
    PRIMARY KEY (portal_id, wa_id)
);

-- What WhatsApp has pinned, as far as the bridge knows. A message no longer pinned stays with pinned = 0, so that older
-- news that comes late changes nothing.
CREATE TABLE pin (
    portal_id BIGINT NOT NULL,
    wa_id TEXT NOT NULL,
    event_id TEXT NOT NULL,           -- the event that stands for it in the room's pins
    pinned BIGINT NOT NULL,
    ts BIGINT NOT NULL,               -- when it was pinned or not, by the clock of who did
    PRIMARY KEY (portal_id, wa_id)
);

-- Calls and what has become of them. The notice of a call is a message of its caller under the call's id.
CREATE TABLE call_state (
    portal_id BIGINT NOT NULL,
    call_id TEXT NOT NULL,
    caller TEXT NOT NULL,             -- canonical id
    video BIGINT NOT NULL,
    is_group BIGINT NOT NULL,
    state TEXT NOT NULL,              -- 'ringing', 'answered', 'elsewhere', 'missed', 'rejected', 'ended'
    since BIGINT NOT NULL,            -- when this state began
    seconds BIGINT NOT NULL,          -- how long it was; -1 = not known
    PRIMARY KEY (portal_id, call_id)
);

-- Who shares their position right now, one row per person and side. The next sharing takes the row over.
CREATE TABLE live_share (
    portal_id BIGINT NOT NULL,
    sender TEXT NOT NULL,             -- canonical WhatsApp id
    origin TEXT NOT NULL,             -- 'wa' or 'mx'
    name TEXT NOT NULL,               -- 'wa': id of the first message; 'mx': event the sharing began with
    sequence BIGINT NOT NULL,         -- of the newest position shown
    began_at BIGINT NOT NULL,
    moved_at BIGINT NOT NULL,         -- 'mx': time of the newest position sent, by the sender's clock
    ends_at BIGINT NOT NULL,          -- 0 once it is over
    PRIMARY KEY (portal_id, sender, origin)
);

-- After how long messages of a chat disappear.
CREATE TABLE chat_timer (
    portal_id BIGINT PRIMARY KEY,
    seconds BIGINT NOT NULL,          -- 0 = never
    set_at BIGINT NOT NULL            -- when it was set, milliseconds
);

-- Messages that disappear, and when.
CREATE TABLE expiry (
    portal_id BIGINT NOT NULL,
    wa_id TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    kept BIGINT NOT NULL,             -- 1 while somebody has kept it
    PRIMARY KEY (portal_id, wa_id)
);
CREATE INDEX expiry_time ON expiry (expires_at);

-- What can be pressed in a message.
CREATE TABLE choice_list (
    portal_id BIGINT NOT NULL,
    wa_id TEXT NOT NULL,
    choices BYTEA NOT NULL,           -- JSON
    PRIMARY KEY (portal_id, wa_id)
);

-- Messages that were commented: only where a comment came are answers in a thread sent as comments.
CREATE TABLE thread_root (
    portal_id BIGINT NOT NULL,
    wa_id TEXT NOT NULL,
    PRIMARY KEY (portal_id, wa_id)
);
