-- Channels (newsletters): what WhatsApp says they are, which posts of theirs are known, and what their rooms show.
-- The server keeps posts for good, so they are fetched from it when they were missed; marks are ordered ids.

-- One row per channel. Written when a login follows it or it changes. Deleted with the portal.
CREATE TABLE channel (
    portal_id BIGINT PRIMARY KEY,
    facts BYTEA NOT NULL,             -- JSON: name, description, picture, as they were read last; empty before
    shown BYTEA NOT NULL,             -- the facts the room shows; empty before
    unsettled BIGINT NOT NULL,        -- mark: the room does not show all of it yet; 0 = no
    picture TEXT NOT NULL,            -- WhatsApp's id of the picture the room shows; '' = none
    since BIGINT NOT NULL             -- when it was followed first; of what was posted before only the last is shown
);
CREATE INDEX channel_unsettled ON channel (unsettled);

-- What each login is in a channel it follows. Deleted when it follows no more.
CREATE TABLE channel_login (
    portal_id BIGINT NOT NULL,
    login_id TEXT NOT NULL,
    writes BIGINT NOT NULL,           -- 1: owner or admin
    PRIMARY KEY (portal_id, login_id)
);

-- Posts that were put into the inbox, and the counts that hang on them. Written with the inbox row; deleted with the portal.
CREATE TABLE channel_post (
    portal_id BIGINT NOT NULL,
    wa_id TEXT NOT NULL,
    server_id BIGINT NOT NULL,        -- the server's number: the order of posts, the name reactions use
    content TEXT NOT NULL,            -- hash of what it says; '' once taken back
    changed BIGINT NOT NULL,          -- ordered id of the word that made it so
    counts BYTEA NOT NULL,            -- JSON: reactions and views as they were told last
    counted BIGINT NOT NULL,          -- ordered id of the word about the counts
    unshown BIGINT NOT NULL,          -- mark: the room does not show these counts yet; 0 = no
    shown BYTEA NOT NULL,             -- JSON: the events that show counts
    planned BYTEA NOT NULL,           -- JSON: the change of them that is being made; empty = none
    shown_at BIGINT NOT NULL,         -- when they were changed last
    PRIMARY KEY (portal_id, wa_id)
);
CREATE INDEX channel_post_server ON channel_post (portal_id, server_id);
CREATE INDEX channel_post_unshown ON channel_post (unshown);
