-- What is watched about logins. Columns as in 0001_core.sql.

-- How the link of a logged-out login ended: '' = somebody on this side asked for it, else a code (`Farewell`). Written with
-- the state.
ALTER TABLE login ADD COLUMN farewell TEXT NOT NULL DEFAULT '';

-- What the owner of a login was told about its connection, and when its phone was last there. Written at the pairing and by the
-- watch; deleted when another person links the account.
CREATE TABLE login_watch (
    login_id TEXT PRIMARY KEY,
    told TEXT NOT NULL,               -- code of the trouble the owner knows of; '' when none, or it is over
    told_at BIGINT NOT NULL,          -- when that changed; names the next notice, so that it is sent once
    phone_seen BIGINT NOT NULL,       -- last sign of the phone itself
    phone_asked BIGINT NOT NULL,      -- last time it was asked for one; 0 = never since then
    tried_at BIGINT NOT NULL,         -- another person tried to link the number, and the owner was not told; 0 = nobody
    tried_told BIGINT NOT NULL,       -- when the owner was last told of such a try; 0 = never
    cleaned BIGINT NOT NULL           -- 1 once what the operator chose was done to the rooms of a logged-out login
);

-- Logins from before: their phones count from now on.
INSERT INTO login_watch (login_id, told, told_at, phone_seen, phone_asked, tried_at, tried_told, cleaned)
    SELECT login_id, '', 0, 0, 0, 0, 0, CASE WHEN state = 'linked' THEN 0 ELSE 1 END FROM login;
