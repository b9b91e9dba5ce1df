-- Groups: what WhatsApp says they are, and how much of it their rooms show. The truth is read whole, never replayed from
-- changes; marks are ordered ids, so that one set while an older one is worked on is not lost with it.

-- One row per group. Written by the intake when a group is heard of or read; the marks are cleared by who has done what
-- they ask for. Deleted with the portal.
CREATE TABLE group_chat (
    portal_id BIGINT PRIMARY KEY,
    facts BYTEA NOT NULL,             -- JSON: name, description, settings, as they were read last; empty before
    shown BYTEA NOT NULL,             -- the facts the room shows; empty before
    stale BIGINT NOT NULL,            -- mark: to be read again from WhatsApp; 0 = no
    unsettled BIGINT NOT NULL,        -- mark: the room does not show all of it yet; 0 = no
    picture_id TEXT NOT NULL DEFAULT '',  -- WhatsApp's id of the picture the room shows; '' = none
    picture_stale BIGINT NOT NULL DEFAULT 1  -- mark: the picture is to be looked at again; 0 = no
);
CREATE INDEX group_chat_stale ON group_chat (stale);
CREATE INDEX group_chat_unsettled ON group_chat (unsettled);
CREATE INDEX group_chat_picture ON group_chat (picture_stale);

-- Who is in a group, and as what. Rows of people who left are deleted once the room has let them go.
CREATE TABLE group_member (
    portal_id BIGINT NOT NULL,
    ghost_id TEXT NOT NULL,           -- canonical id
    role BIGINT NOT NULL,             -- on WhatsApp: 0 not in it, 1 member, 2 admin, 3 owner
    shown BIGINT NOT NULL,            -- in the room, likewise
    PRIMARY KEY (portal_id, ghost_id)
);
CREATE INDEX group_member_ghost ON group_member (ghost_id);

-- Which chats a login takes part in: asked at each connection, and for each space.
CREATE INDEX portal_login_login ON portal_login (login_id, portal_id);
