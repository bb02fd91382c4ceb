-- Format 1 of the log. Later formats are files of their own: see MIGRATIONS in open.rs.

-- The header of the log: a single row.
CREATE TABLE log (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    epoch   TEXT    NOT NULL,
    head    INTEGER NOT NULL, -- the last sequence number given
    clock   INTEGER NOT NULL, -- the log's clock, in milliseconds since 1970
    horizon INTEGER NOT NULL  -- events after this sequence number are complete
) STRICT;

-- All messages. Removed and expired messages are deleted from this table.
CREATE TABLE message (
    seq        INTEGER PRIMARY KEY,
    id         INTEGER NOT NULL UNIQUE,
    sender     TEXT    NOT NULL,
    recipients TEXT,             -- IDs separated by spaces; NULL for everyone
    at         INTEGER NOT NULL, -- milliseconds since 1970
    zone       INTEGER NOT NULL, -- offset from UTC in seconds, positive to the east
    expires    INTEGER,          -- milliseconds since 1970
    reply_to   INTEGER,
    cid        TEXT,
    content    TEXT    NOT NULL
) STRICT;
CREATE INDEX temporary ON message (expires, id) WHERE expires IS NOT NULL;

-- Tombstones of removed messages (remover is set) and expired messages (remover is NULL).
CREATE TABLE mark (
    seq     INTEGER PRIMARY KEY,
    id      INTEGER NOT NULL,
    remover TEXT,
    cid     TEXT,
    people  TEXT,            -- its recipients and its sender; NULL for everyone
    at      INTEGER NOT NULL
) STRICT;

-- Visibility: one row with reader '' for a message to everyone, otherwise one row for each user who may
-- see it. So the cost of a page does not depend on the number of other users' messages.
CREATE TABLE feed (
    reader TEXT    NOT NULL,
    what   INTEGER NOT NULL, -- 0 message, 1 tombstone
    seq    INTEGER NOT NULL,
    PRIMARY KEY (reader, what, seq)
) STRICT, WITHOUT ROWID;

-- The cids of handled requests, kept even if the message is removed.
CREATE TABLE sent (
    seq     INTEGER PRIMARY KEY, -- the resulting event
    sender  TEXT    NOT NULL,
    cid     TEXT    NOT NULL,
    id      INTEGER NOT NULL,    -- the message posted or deleted
    deletes INTEGER NOT NULL,    -- 0 posted, 1 deleted
    at      INTEGER NOT NULL,
    UNIQUE (sender, cid)
) STRICT;

-- Registered IDs and their keys.
CREATE TABLE person (
    user TEXT    PRIMARY KEY,
    key  BLOB    NOT NULL,           -- SHA-256 of the public key
    at   INTEGER NOT NULL,
    seen INTEGER NOT NULL DEFAULT 0  -- events up to here are delivered
) STRICT, WITHOUT ROWID;
