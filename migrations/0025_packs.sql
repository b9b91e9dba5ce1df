-- Sticker packs brought over by command. Columns as in 0001_core.sql.

-- The name of a sticker's file on the homeserver, by what is in it: brought again, by whomever, it keeps its name. Never
-- deleted; a name whose file is gone gets another.
CREATE TABLE pack_sticker (
    hash TEXT PRIMARY KEY,            -- SHA-256 of the file, hex
    mxc TEXT NOT NULL,
    made_at BIGINT NOT NULL
);
