-- Removal of disappearing messages. Columns as in 0001_core.sql.

-- Messages that disappear, when, and when their removal from the room is tried (again). Written with the message;
-- deleted together with what is kept of its text, once every event of it is removed, or with the portal.
-- The author is part of the key: nobody makes another one's message disappear by sending one under the same id.
ALTER TABLE expiry RENAME TO expiry_before;
CREATE TABLE expiry (
    portal_id BIGINT NOT NULL,
    wa_id TEXT NOT NULL,
    sender TEXT NOT NULL,             -- canonical id of the author
    expires_at BIGINT NOT NULL,
    due_at BIGINT NOT NULL,           -- when the removal is tried next
    tries BIGINT NOT NULL,            -- how often it was refused
    kept BIGINT NOT NULL,             -- 1 while somebody has kept it
    PRIMARY KEY (portal_id, wa_id, sender)
);
INSERT INTO expiry (portal_id, wa_id, sender, expires_at, due_at, tries, kept)
    SELECT portal_id, wa_id,
           COALESCE((SELECT MIN(message.sender) FROM message
                     WHERE message.portal_id = expiry_before.portal_id AND message.wa_id = expiry_before.wa_id), ''),
           expires_at, expires_at, 0, kept
    FROM expiry_before;
DROP TABLE expiry_before;
CREATE INDEX expiry_due ON expiry (due_at) WHERE kept = 0;

-- The space of each login that has one: a room of its owner's that holds the rooms of its chats. Written once the room
-- exists, and when its owner has gone away from it; never deleted: after a logout it is empty.
CREATE TABLE login_space (
    login_id TEXT NOT NULL,
    mxid TEXT NOT NULL,               -- owner; another owner of the same account has another space
    room_id TEXT,                     -- NULL until it exists, or when it could not be used any more
    name TEXT NOT NULL,               -- as set last
    has_left BIGINT NOT NULL,         -- 1 once the owner has left it: then it is left alone
    PRIMARY KEY (login_id, mxid)
);

-- Rooms that have been put into a space. Written when that is done, deleted when they are taken out.
CREATE TABLE space_room (
    space TEXT NOT NULL,              -- room of the space
    room_id TEXT NOT NULL,            -- room in it
    PRIMARY KEY (space, room_id)
);

-- The space of a community, shared by all logins in it: it holds the rooms of its groups. Who is in it stands in
-- portal_member under the community's portal, which has no room of its own. Written once the space exists; deleted when it
-- can not be used any more.
CREATE TABLE community_space (
    portal_id BIGINT PRIMARY KEY,     -- the community
    room_id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL                -- as set last
);
