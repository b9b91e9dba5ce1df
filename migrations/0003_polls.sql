-- Polls and votes, so that votes can be read and cast for as long as the bridge lives. One text for SQLite and Postgres, as
-- in 0001_core.sql.

-- A poll that was asked in a portal, from either side. Written before its message is sent on, so that nobody finds the
-- message without the poll; its answers change when WhatsApp adds some. Deleted with its portal.
CREATE TABLE poll (
    portal_id BIGINT NOT NULL,
    wa_id TEXT NOT NULL,              -- WhatsApp's id of the poll's message
    author TEXT NOT NULL,             -- canonical id of who asked
    question TEXT NOT NULL,
    answers TEXT NOT NULL,            -- JSON: of each its WhatsApp hash, its id in the Matrix event, its text
    max_selections BIGINT NOT NULL,
    may_grow BIGINT NOT NULL,         -- 1 when anybody may add answers
    secret BYTEA,                     -- sealed: opens and seals votes; NULL when it came without
    ends_at BIGINT NOT NULL,          -- when it ends by itself; 0 = never
    ended_at BIGINT NOT NULL,         -- when it ended; 0 = not yet
    PRIMARY KEY (portal_id, wa_id)
);
CREATE INDEX poll_author ON poll (author);
CREATE INDEX poll_end ON poll (ended_at, ends_at);

-- The latest vote of each person in a poll, by the sender's clock. Written with the settlement of the vote's row; one that was
-- taken back stays without answers, so that an older one that comes late changes nothing. Deleted with its portal.
CREATE TABLE poll_vote (
    portal_id BIGINT NOT NULL,
    wa_id TEXT NOT NULL,              -- the poll
    voter TEXT NOT NULL,              -- canonical id of who votes
    chosen TEXT NOT NULL,             -- JSON: WhatsApp hashes of the chosen answers
    ts BIGINT NOT NULL,               -- by the sender's clock
    event_id TEXT,                    -- the event that shows it
    mx_sender TEXT NOT NULL,          -- who sent that event
    shown_at BIGINT NOT NULL,         -- that event's time: clients take the latest of each user
    PRIMARY KEY (portal_id, wa_id, voter)
);
CREATE INDEX poll_vote_event ON poll_vote (event_id);
CREATE INDEX poll_vote_voter ON poll_vote (voter);
