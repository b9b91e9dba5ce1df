-- What is tried again, and which of it somebody means. Columns as in 0001_core.sql.

-- A message whose file the phone was asked for in vain. Written when the phone did not answer, next to the row of the inbox
-- that failed for it; put back with that row when the phone answers anything, at a connect, and every hour. Swept with it.
CREATE TABLE file_wish (
    seq BIGINT NOT NULL PRIMARY KEY,  -- the row of the inbox
    login_id TEXT NOT NULL,           -- whose phone
    tries BIGINT NOT NULL,            -- how often it was asked in vain
    next_at BIGINT NOT NULL           -- not asked again before, unless the phone shows up
);
CREATE INDEX file_wish_login ON file_wish (login_id);

-- Which row of the inbox a notice of ours told the failure of, for who answers it with `retry`. Swept with the row.
CREATE TABLE failure_notice (
    event_id TEXT NOT NULL PRIMARY KEY,
    seq BIGINT NOT NULL
);
