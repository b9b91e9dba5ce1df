-- Rooms that were chats' and are no more. Columns as in 0001_core.sql.

-- What waited when the chat forgot the room is not for the chat, nor for the one the room may have become. Written when a chat
-- forgets its room; swept with failed rows.
CREATE TABLE former_room (
    room_id TEXT PRIMARY KEY,
    at BIGINT NOT NULL                -- when that was, the last time
);
