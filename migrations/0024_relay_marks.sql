-- Relay mode: what tells of votes is nobody's event, and a vote that can not be told is taken back. Columns as in 0001_core.sql.

-- It stood at the poll's event until now, so whatever became of it became of the poll. Nothing else has such parts.
UPDATE message SET event_id = NULL WHERE part >= 1000;

-- The choice before the latest: it counts again when the latest is refused for good. ts 0 = there was none.
ALTER TABLE relay_vote ADD COLUMN before_name TEXT NOT NULL DEFAULT '';
ALTER TABLE relay_vote ADD COLUMN before_chosen TEXT NOT NULL DEFAULT '';
ALTER TABLE relay_vote ADD COLUMN before_ts BIGINT NOT NULL DEFAULT 0;
ALTER TABLE relay_vote ADD COLUMN before_event_id TEXT NOT NULL DEFAULT '';
