-- What people do with their chats for themselves. Columns as in 0001_core.sql.

-- What somebody's phone has done with a chat that only they see. Written when WhatsApp or a command says so; a newer one
-- replaces it; deleted never (as many as there are chats).
CREATE TABLE chat_mark (
    login_id TEXT NOT NULL,
    chat TEXT NOT NULL,               -- canonical chat id when it was told; its portal may not exist yet
    kind TEXT NOT NULL,               -- 'mute', 'pin', 'archive', 'unread'
    value BIGINT NOT NULL,            -- 0 = not; mute: until when, or -1 for good; else 1
    ts BIGINT NOT NULL,               -- when it was done: older news changes nothing
    reached BIGINT NOT NULL,          -- 1 once the person's own account shows it
    PRIMARY KEY (login_id, chat, kind)
);
CREATE INDEX chat_mark_reached ON chat_mark (login_id, reached);

-- Messages somebody has starred on their phone. Matrix has nothing like it: kept, not shown.
CREATE TABLE star (
    login_id TEXT NOT NULL,
    chat TEXT NOT NULL,
    wa_id TEXT NOT NULL,
    starred BIGINT NOT NULL,
    ts BIGINT NOT NULL,
    PRIMARY KEY (login_id, chat, wa_id)
);
