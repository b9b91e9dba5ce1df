-- Media names asked of the homeserver for files of messages out of WhatsApp, before anything is put under them: a try that
-- was interrupted goes on under the same name. Written before the file is fetched; swept a week after, when the message has long
-- been sent or the name has expired unfilled.
CREATE TABLE file_name (
    portal_id BIGINT NOT NULL,
    sender TEXT NOT NULL,             -- with wa_id and part: the event the file belongs to, as in `message`
    wa_id TEXT NOT NULL,
    part BIGINT NOT NULL,
    slot TEXT NOT NULL,               -- which of its files: 'file', 'thumbnail', 'preview'
    mxc TEXT NOT NULL,
    made_at BIGINT NOT NULL,
    PRIMARY KEY (portal_id, sender, wa_id, part, slot)
);
CREATE INDEX file_name_age ON file_name (made_at);
