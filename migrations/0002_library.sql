-- Rows of the WhatsApp client library, one set per linked device (`device_key`). Only src/store/wa_*.rs reads and
-- writes them, on the library's behalf. One text for SQLite and Postgres: TEXT, BIGINT, BYTEA only; times are
-- milliseconds since 1970 unless a comment says seconds (the library's own unit); truth values are 0/1.
-- "Sealed" columns are encrypted under `encryption.pickle_key` (docs/decisions/0004-sealing.md).
-- Every row of every table here is deleted with its device (delete_device: logout, or a pairing given up); what is
-- said below comes on top. TEXT keys made of what strangers chose are kept short and free of U+0000 (key_text).

-- A linked device, or one being paired. Written at the start of pairing, updated by the library's saver and bound
-- to its login at pair success. Deleted at logout; unbound ones are swept an hour after they were made.
CREATE TABLE wa_device (
    device_key TEXT PRIMARY KEY,      -- random, given before pairing
    login_id TEXT NOT NULL,           -- '' until paired
    value BYTEA NOT NULL,             -- sealed: the library's Device as JSON (private keys, account, push name)
    created_at BIGINT NOT NULL
);
CREATE INDEX wa_device_login ON wa_device (login_id);

-- Public identity keys of other people's devices. Written when a session begins; deleted when the library resets
-- a contact.
CREATE TABLE wa_identity (
    device_key TEXT NOT NULL,
    address TEXT NOT NULL,            -- Signal address of the other device
    person TEXT NOT NULL,             -- its user part, to find all devices of one person
    key BYTEA NOT NULL,               -- 32 bytes
    PRIMARY KEY (device_key, address)
);
CREATE INDEX wa_identity_person ON wa_identity (device_key, person);

-- Pairwise ratchets. Written after each exchange (batched by the library); deleted when the library resets one.
CREATE TABLE wa_ratchet (
    device_key TEXT NOT NULL,
    address TEXT NOT NULL,            -- Signal address of the other device
    person TEXT NOT NULL,             -- its user part, to find all devices of one person
    record BYTEA NOT NULL,            -- sealed: the library's session record
    PRIMARY KEY (device_key, address)
);
CREATE INDEX wa_ratchet_person ON wa_ratchet (device_key, person);

-- One-time prekeys. Written in batches before an upload; each is deleted once the session made with it is stored.
CREATE TABLE wa_prekey (
    device_key TEXT NOT NULL,
    id BIGINT NOT NULL,               -- the library's number, 24 bits
    record BYTEA NOT NULL,            -- sealed: key pair
    uploaded BIGINT NOT NULL,         -- 1 once the server has it
    PRIMARY KEY (device_key, id)
);

-- Signed prekeys. Written at pairing and at each rotation; deleted by the library some rotations later.
CREATE TABLE wa_signed_prekey (
    device_key TEXT NOT NULL,
    id BIGINT NOT NULL,
    record BYTEA NOT NULL,            -- sealed: key pair and signature
    PRIMARY KEY (device_key, id)
);

-- Group ratchets, own and others'. Written after each group message; deleted when the library resets one.
CREATE TABLE wa_sender_key (
    device_key TEXT NOT NULL,
    address TEXT NOT NULL,            -- group and Signal address of the sender
    record BYTEA NOT NULL,            -- sealed: the library's sender key record
    PRIMARY KEY (device_key, address)
);

-- Keys of the app state (mutes, pins, contacts), shared by the phone. Kept with the device.
CREATE TABLE wa_sync_key (
    device_key TEXT NOT NULL,
    key_id BYTEA NOT NULL,
    value BYTEA NOT NULL,             -- sealed: key data, fingerprint, time, as JSON
    made_at BIGINT NOT NULL,          -- when the phone made the key, as the phone says it; the newest is used
    stored_seq BIGINT NOT NULL,       -- ordered id; the later stored one wins a tie
    PRIMARY KEY (device_key, key_id)
);

-- How far each app-state collection was applied. Overwritten by each patch and snapshot; kept with the device.
CREATE TABLE wa_sync_version (
    device_key TEXT NOT NULL,
    name TEXT NOT NULL,               -- collection
    state BYTEA NOT NULL,             -- the library's HashState as JSON
    PRIMARY KEY (device_key, name)
);

-- One code per record of an app-state collection. Written and deleted by patches; cleared before a snapshot.
CREATE TABLE wa_sync_mac (
    device_key TEXT NOT NULL,
    name TEXT NOT NULL,               -- collection
    index_mac BYTEA NOT NULL,
    value_mac BYTEA NOT NULL,
    version BIGINT NOT NULL,          -- of the collection, when it was written
    PRIMARY KEY (device_key, name, index_mac)
);

-- Which devices hold our sender key of a group. Written by group sends; deleted when the key or a device changes.
CREATE TABLE wa_sender_key_device (
    device_key TEXT NOT NULL,
    group_id TEXT NOT NULL,
    device TEXT NOT NULL,             -- other device
    has_key BIGINT NOT NULL,          -- 0 = send it again
    PRIMARY KEY (device_key, group_id, device)
);

-- LID and phone number of one person, as this device learnt it. Overwritten when learnt anew; kept with the device.
CREATE TABLE wa_lid_map (
    device_key TEXT NOT NULL,
    lid TEXT NOT NULL,                -- user part
    pn TEXT NOT NULL,                 -- user part
    created_at BIGINT NOT NULL,       -- seconds, the library's; 0 = from a stale source
    updated_at BIGINT NOT NULL,       -- seconds, the library's
    source TEXT NOT NULL,             -- the library's word for where it was learnt
    stored_seq BIGINT NOT NULL,       -- ordered id; the later stored one wins a tie
    PRIMARY KEY (device_key, lid)
);
CREATE INDEX wa_lid_map_pn ON wa_lid_map (device_key, pn);

-- Base keys of sessions a retry was asked for. Written at the second retry; deleted by the library, swept after 7 d.
CREATE TABLE wa_base_key (
    device_key TEXT NOT NULL,
    address TEXT NOT NULL,
    message_id TEXT NOT NULL,
    base_key BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (device_key, address, message_id)
);
CREATE INDEX wa_base_key_age ON wa_base_key (created_at);

-- Which devices a person has. Overwritten by each look-up; deleted when the server says it changed.
CREATE TABLE wa_device_list (
    device_key TEXT NOT NULL,
    person TEXT NOT NULL,             -- user part
    record BYTEA NOT NULL,            -- the library's DeviceListRecord as JSON
    PRIMARY KEY (device_key, person)
);

-- The library's picture of a group. Overwritten by each look-up; deleted when left.
CREATE TABLE wa_group (
    device_key TEXT NOT NULL,
    group_id TEXT NOT NULL,
    info BYTEA NOT NULL,              -- opaque to us
    PRIMARY KEY (device_key, group_id)
);

-- Privacy tokens of contacts. Written when received or issued; deleted by the library when both times are over,
-- swept when both are older than 90 d.
CREATE TABLE wa_token (
    device_key TEXT NOT NULL,
    jid TEXT NOT NULL,
    token BYTEA NOT NULL,             -- empty when only ours was issued
    token_ts BIGINT NOT NULL,         -- seconds: received
    sender_ts BIGINT,                 -- seconds: ours issued; NULL = never
    PRIMARY KEY (device_key, jid)
);

-- What this device sent, to answer retry receipts. Written before the stanza leaves; taking one marks it only, so
-- a second retry and a kill find it again. Deleted by the library's own age limit, swept after 7 d.
CREATE TABLE wa_sent (
    device_key TEXT NOT NULL,
    chat TEXT NOT NULL,
    message_id TEXT NOT NULL,
    payload BYTEA NOT NULL,           -- encoded message
    created_at BIGINT NOT NULL,
    taken_at BIGINT NOT NULL,         -- last time a retry took it; 0 = never
    PRIMARY KEY (device_key, chat, message_id)
);
CREATE INDEX wa_sent_age ON wa_sent (created_at);

-- Decrypted messages on their way into the inbox. Written before the durability hook is called, deleted when it
-- said yes; what stays is played again at the server's redelivery; swept after 7 d.
CREATE TABLE wa_pending (
    device_key TEXT NOT NULL,
    chat TEXT NOT NULL,
    sender TEXT NOT NULL,             -- with its device
    message_id TEXT NOT NULL,
    message BYTEA NOT NULL,           -- encoded message
    stored_at BIGINT NOT NULL,
    PRIMARY KEY (device_key, chat, sender, message_id)
);
CREATE INDEX wa_pending_age ON wa_pending (stored_at);

-- Redelivered messages the library holds for known, without a row in wa_pending: either a lost acknowledgement or
-- a lost message; the line decides by `seen`. Written before the library acknowledges; deleted by the line once
-- decided, swept after 30 d.
CREATE TABLE wa_unknown (
    device_key TEXT NOT NULL,
    dedup TEXT NOT NULL,              -- hash of chat, sender and id
    body BYTEA NOT NULL,              -- chat, sender and id as JSON
    noted_at BIGINT NOT NULL,
    PRIMARY KEY (device_key, dedup)
);
CREATE INDEX wa_unknown_age ON wa_unknown (noted_at);

-- Secrets of messages, to open edits, votes and reactions on them. Written in batches; deleted and swept when
-- their time is over.
CREATE TABLE wa_secret (
    device_key TEXT NOT NULL,
    chat TEXT NOT NULL,
    sender TEXT NOT NULL,
    message_id TEXT NOT NULL,
    secret BYTEA NOT NULL,            -- 32 bytes
    expires_at BIGINT NOT NULL,       -- seconds; 0 = never
    message_ts BIGINT NOT NULL,       -- seconds; 0 = not known
    PRIMARY KEY (device_key, chat, sender, message_id)
);
CREATE INDEX wa_secret_age ON wa_secret (expires_at);
