-- Rooms of people's own that show chats, and which chats get rooms. Columns as in 0001_core.sql.

-- Chats whose room somebody has brought along. Written when a room is given to its chat; deleted when the chat forgets it.
CREATE TABLE plumbed_room (
    portal_id BIGINT PRIMARY KEY,
    room_id TEXT NOT NULL,
    mxid TEXT NOT NULL,               -- who did it
    cause TEXT NOT NULL,              -- the command's event
    name TEXT,                        -- the group's name then: as long as it is that, the room's own stays; NULL: follows
    topic TEXT,                       -- the same for its topic
    at BIGINT NOT NULL
);

-- Chats named in the filter. Written and deleted by command; the mode is in `meta` (`filter.mode`).
CREATE TABLE chat_filter (
    list TEXT NOT NULL,               -- 'allow' or 'deny'
    chat TEXT NOT NULL,
    PRIMARY KEY (list, chat)
);
