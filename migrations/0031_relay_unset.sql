-- Relay mode: an account lends itself until `unset-relay`. Columns as in 0001_core.sql.

-- When `unset-relay` was said last in the chat; 0 = never. What came before goes through no account that does not relay now.
ALTER TABLE portal_relay ADD COLUMN unset_at BIGINT NOT NULL DEFAULT 0;
