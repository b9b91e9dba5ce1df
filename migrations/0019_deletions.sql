-- Rooms that are given up by command. Columns as in 0001_core.sql.

-- What somebody asked for: one room or all. Written with the rooms it is about; swept 30 days after its end, so that the
-- command's row, done again after a kill, begins nothing anew.
CREATE TABLE deletion (
    cause TEXT PRIMARY KEY,           -- the command's event
    kind TEXT NOT NULL,               -- what is told of it: 'one' (its end), 'all' (how far it is, too) or 'quiet' (nothing)
    tell_room TEXT NOT NULL,          -- where
    notice TEXT NOT NULL,             -- the notice that is edited; '' before it was sent
    told TEXT NOT NULL,               -- what it says
    rooms BIGINT NOT NULL,            -- how many there are
    ended_at BIGINT NOT NULL          -- 0 while it goes on
);

-- Rooms the bridge is on its way out of. Written with what asked for it; deleted when nobody of the bridge's is left in it,
-- and swept with the deletion when it could not be left.
CREATE TABLE left_room (
    room_id TEXT PRIMARY KEY,
    portal_id BIGINT NOT NULL,        -- whose room it is until it is given up, then 0
    cause TEXT NOT NULL,
    alias TEXT NOT NULL,              -- the chat's alias as the room knows it
    goes_on TEXT NOT NULL,            -- the room the chat goes on in, where the old one is told; else ''
    keeps_people BIGINT NOT NULL,     -- 1: it stays as a room of its people
    tries BIGINT NOT NULL,
    due_at BIGINT NOT NULL,           -- when it is tried next
    failed BIGINT NOT NULL            -- 1 once it is left as it is
);
CREATE INDEX left_room_cause ON left_room (cause);
