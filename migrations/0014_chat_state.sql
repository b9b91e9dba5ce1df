-- What people do with chats from Matrix, status posts of ours, rooms that become groups. Columns as in 0001_core.sql.

-- Whom a status post of ours was for: its repeat and its deletion go to the same people. Written before the first send;
-- deleted when nobody can see the post any more.
CREATE TABLE status_audience (
    login_id TEXT NOT NULL,
    wa_id TEXT NOT NULL,
    rule TEXT NOT NULL,               -- 'contacts', 'only', 'except': what WhatsApp is told of how they were chosen
    people TEXT NOT NULL,             -- ids, one on a line
    at BIGINT NOT NULL,
    PRIMARY KEY (login_id, wa_id)
);
CREATE INDEX status_audience_at ON status_audience (at);

-- Up to where somebody's own account data was read, as themselves. Written after each answer; deleted never (one for
-- each person).
CREATE TABLE own_data (
    mxid TEXT PRIMARY KEY,
    since TEXT NOT NULL,              -- the homeserver's place in /sync
    muted TEXT NOT NULL               -- rooms that were muted then, one on a line
);

-- What somebody did to a chat's room in their client and WhatsApp was not told yet. Written with `own_data`; a newer one
-- replaces it; deleted when it is done or no longer so.
CREATE TABLE own_wish (
    mxid TEXT NOT NULL,
    room_id TEXT NOT NULL,
    kind TEXT NOT NULL,               -- as in chat_mark
    value BIGINT NOT NULL,            -- as in chat_mark
    at BIGINT NOT NULL,               -- ordered id: a newer one is not deleted with an older one
    PRIMARY KEY (mxid, room_id, kind)
);

-- Rooms that are being made groups. Written before WhatsApp is asked; deleted when the room is the group's.
CREATE TABLE group_wish (
    event_id TEXT PRIMARY KEY,        -- the command
    login_id TEXT NOT NULL,
    room_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    asked_at BIGINT NOT NULL,
    chat TEXT NOT NULL                -- the group; empty until it is known
);

-- Groups' rooms that people had put into spaces of theirs. Written before the space is changed; deleted when it was taken
-- out again.
CREATE TABLE guest_room (
    space TEXT NOT NULL,
    room_id TEXT NOT NULL,
    mxid TEXT NOT NULL,               -- who asked for it
    PRIMARY KEY (space, room_id)
);

-- Why nobody of a login can write in a chat, as its room was told. Written after the telling.
CREATE TABLE closed_chat (
    portal_id BIGINT NOT NULL,
    login_id TEXT NOT NULL,
    why TEXT NOT NULL,
    PRIMARY KEY (portal_id, login_id)
);
