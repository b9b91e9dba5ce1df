-- The address books of logins: what the owner calls their contacts. Written as the app state tells of it (whole at pairing); used for
-- the names of that login's own rooms only. Deleted with the login, and before it is filled anew at a new pairing.
CREATE TABLE contact (
    login_id TEXT NOT NULL,
    ghost_id TEXT NOT NULL,           -- canonical id (LID when known)
    full_name TEXT NOT NULL,          -- '' when there is none
    first_name TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (login_id, ghost_id)
);
CREATE INDEX contact_ghost ON contact (ghost_id);

-- What has changed about people and is to be looked at again: written as it is heard, deleted when the truth was read and shown.
CREATE TABLE stale_person (
    login_id TEXT NOT NULL,           -- who heard of it, and may ask
    ghost_id TEXT NOT NULL,
    what TEXT NOT NULL,               -- 'picture', 'no_picture', 'name' (of the login's room), 'business'
    at BIGINT NOT NULL,               -- ordered id: a later mark is another one
    PRIMARY KEY (login_id, ghost_id, what)
);
