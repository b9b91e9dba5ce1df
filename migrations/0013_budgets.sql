-- The first settling of a login's chats: the one notice that tells of it, edited until all are ready. Columns as in
-- 0001_core.sql.

-- One row per login whose chats were read once. Written when they were; deleted with the next linking of the account, which
-- is told anew.
CREATE TABLE login_progress (
    login_id TEXT PRIMARY KEY,
    since BIGINT NOT NULL,            -- when that login was linked
    is_done BIGINT NOT NULL,          -- 1 once nothing more is told
    began_at BIGINT NOT NULL,
    edited_at BIGINT NOT NULL,        -- when it was told last
    room_id TEXT NOT NULL,            -- of the notice; '' before
    event_id TEXT NOT NULL            -- the notice; '' before
);
CREATE INDEX login_progress_running ON login_progress (is_done);
