-- Relay mode: through which login people without one are relayed, and how they voted. Columns as in 0001_core.sql.

-- What was chosen for a chat. Written by `set-relay` and `unset-relay`; never deleted: that somebody chose nobody counts too.
CREATE TABLE portal_relay (
    portal_id BIGINT PRIMARY KEY,
    login_id TEXT NOT NULL,           -- '' for nobody
    mxid TEXT NOT NULL,               -- who owned it then: an account that changes hands relays no more
    set_by TEXT NOT NULL,
    at BIGINT NOT NULL
);

-- The latest choice of each relayed person in a poll. Written before the tally is sent; stays as long as the poll.
CREATE TABLE relay_vote (
    portal_id BIGINT NOT NULL,
    wa_id TEXT NOT NULL,              -- the poll's
    mxid TEXT NOT NULL,
    name TEXT NOT NULL,               -- as they were called then, safe to show
    chosen TEXT NOT NULL,             -- hashes of answers, commas between; '' once taken back
    ts BIGINT NOT NULL,               -- of the event
    event_id TEXT NOT NULL,
    PRIMARY KEY (portal_id, wa_id, mxid)
);
CREATE INDEX relay_vote_event ON relay_vote (event_id);

-- The message that tells of those choices. Written before it is sent; a later one replaces it.
CREATE TABLE relay_tally (
    portal_id BIGINT NOT NULL,
    wa_id TEXT NOT NULL,              -- the poll's
    login_id TEXT NOT NULL,           -- who sent it
    tally TEXT NOT NULL,              -- the message's WhatsApp id
    at BIGINT NOT NULL,
    PRIMARY KEY (portal_id, wa_id)
);
