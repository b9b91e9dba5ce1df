-- What became of messages, as people are told. Columns as in 0001_core.sql.

-- How often a failed arrival was put back by somebody who wants it tried again: each failure is told once, so a later one is
-- told anew.
ALTER TABLE inbox ADD COLUMN rounds BIGINT NOT NULL DEFAULT 0;

-- Whose arrival's outcome is to be told. Written before the work on it that is reported; told when the arrival is settled;
-- deleted when it was told, or when the arrival has failed (the failure is told before it is settled).
CREATE TABLE outcome (
    dedup TEXT PRIMARY KEY,           -- the arrival, as in inbox; or a name of its own for what has no arrival
    room_id TEXT NOT NULL,
    event_id TEXT NOT NULL,           -- whose outcome; empty where only notices are corrected
    notices TEXT NOT NULL,            -- notices of earlier failures that are no longer true, one on a line
    pending BIGINT NOT NULL,          -- 1 once it was told that it waits
    delivered_to TEXT NOT NULL,       -- the user whose phone has it; empty while that is not known
    at BIGINT NOT NULL                -- ordered id: they are told in this order
);
CREATE INDEX outcome_event ON outcome (event_id);
