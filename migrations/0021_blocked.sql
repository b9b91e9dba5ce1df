-- People whom accounts have blocked. Columns as in 0001_core.sql.

-- Written when WhatsApp tells the list or takes a command; a newer word replaces it; deleted never (as many as were ever
-- blocked). A row without a person says that the list was told once: what it holds at first is no news.
CREATE TABLE blocked (
    login_id TEXT NOT NULL,
    person TEXT NOT NULL,             -- canonical id when it was told
    is_blocked BIGINT NOT NULL,
    told BIGINT NOT NULL,             -- 1 once the chat's room was told
    at BIGINT NOT NULL,               -- ordered id of the change
    PRIMARY KEY (login_id, person)
);
CREATE INDEX blocked_told ON blocked (told);
