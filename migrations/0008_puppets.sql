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
