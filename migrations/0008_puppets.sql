-- Double puppets: acting as people's own accounts. Columns as in 0001_core.sql.

-- People the bridge may act as, or may not. Written when a puppet is first used and by the commands `login-matrix` and
-- `logout-matrix`; never deleted.
CREATE TABLE puppet (
    mxid TEXT PRIMARY KEY,
    mode TEXT NOT NULL,               -- 'shared' (a registration's token), 'token' (their own) or 'off' (they said no)
    token BYTEA NOT NULL,             -- their own access token, sealed; empty in the other modes
    lost_at BIGINT NOT NULL,          -- when the homeserver first refused the token; 0 = it is good
    told BIGINT NOT NULL              -- 1 once they know of the loss
);

-- What is sent as a person's own account: by the mark in its content the event is known when it comes back. Written before
-- the event is sent; swept 30 days after it came back, so that a copy that somebody makes of it later is theirs.
CREATE TABLE puppet_send (
    mark TEXT PRIMARY KEY,
    room_id TEXT NOT NULL,
    mxid TEXT NOT NULL,
    event_id TEXT,                    -- NULL while unknown
    sent_at BIGINT NOT NULL,
    echoed BIGINT NOT NULL            -- 1 once it came back
);
CREATE INDEX puppet_send_age ON puppet_send (echoed, sent_at);

-- What somebody's phone has done with a chat that only they see. Written when WhatsApp or a command says so; a newer one
-- replaces it; deleted never (as many as there are chats).
CREATE TABLE chat_mark (
    login_id TEXT NOT NULL,
    chat TEXT NOT NULL,               -- canonical chat id when it was told; its portal may not exist yet
    kind TEXT NOT NULL,               -- 'mute', 'pin', 'archive', 'unread'
    value BIGINT NOT NULL,            -- 0 = not; mute: until when, or -1 for good; else 1
    ts BIGINT NOT NULL,               -- when it was done: older news changes nothing
    reached BIGINT NOT NULL,          -- 1 once the person's own account shows it
    PRIMARY KEY (login_id, chat, kind)
);
CREATE INDEX chat_mark_reached ON chat_mark (login_id, reached);

-- Messages somebody has starred on their phone. Matrix has nothing like it: kept, not shown.
CREATE TABLE star (
    login_id TEXT NOT NULL,
    chat TEXT NOT NULL,
    wa_id TEXT NOT NULL,
    starred BIGINT NOT NULL,
    ts BIGINT NOT NULL,
    PRIMARY KEY (login_id, chat, wa_id)
);
