-- Format 1 of the log. What follows later is a file of its own: see MIGRATIONS in open.rs.

-- The log itself: one row.
CREATE TABLE log (
    one     INTEGER PRIMARY KEY CHECK (one = 1),
    epoch   TEXT    NOT NULL,
    head    INTEGER NOT NULL, -- the last number given
    clock   INTEGER NOT NULL, -- the last time given, in milliseconds since 1970
    horizon INTEGER NOT NULL  -- from where on nothing has been forgotten
) STRICT;

-- The messages that are there. What is removed is removed from here.
CREATE TABLE message (
    seq        INTEGER PRIMARY KEY,
    id         INTEGER NOT NULL UNIQUE,
    sender     TEXT    NOT NULL,
    recipients TEXT,             -- NULL for everybody; otherwise IDs with a space between
    at         INTEGER NOT NULL, -- milliseconds since 1970
    zone       INTEGER NOT NULL, -- seconds east of Greenwich
    expires    INTEGER,          -- milliseconds since 1970
    reply_to   INTEGER,
    cid        TEXT,
    content    TEXT    NOT NULL
) STRICT;
CREATE INDEX temporary ON message (expires, id) WHERE expires IS NOT NULL;

-- That a message is gone: removed by somebody, or expired (NULL).
CREATE TABLE mark (
    seq     INTEGER PRIMARY KEY,
    id      INTEGER NOT NULL,
    remover TEXT,
    cid     TEXT,
    people  TEXT,            -- who had the message, with its sender, as in message.recipients
    at      INTEGER NOT NULL
) STRICT;

-- Who may see what: a row with reader '' for what is for everybody, otherwise one for each person.
-- The cost of a page is that of its rows, however much other people say to each other.
CREATE TABLE feed (
    reader TEXT    NOT NULL,
    what   INTEGER NOT NULL, -- 0 a message, 1 a mark
    seq    INTEGER NOT NULL,
    PRIMARY KEY (reader, what, seq)
) STRICT, WITHOUT ROWID;

-- The clients' own names for what they sent, kept independently of what became of it.
CREATE TABLE sent (
    seq     INTEGER PRIMARY KEY, -- what came of it
    sender  TEXT    NOT NULL,
    cid     TEXT    NOT NULL,
    id      INTEGER NOT NULL,    -- the message said, or removed
    deletes INTEGER NOT NULL,    -- 0 said, 1 removed
    at      INTEGER NOT NULL,
    UNIQUE (sender, cid)
) STRICT;

-- The IDs that belong to keys.
CREATE TABLE person (
    user TEXT    PRIMARY KEY,
    key  BLOB    NOT NULL,           -- SHA-256 of the public key
    at   INTEGER NOT NULL,
    seen INTEGER NOT NULL DEFAULT 0  -- has everything up to here
) STRICT, WITHOUT ROWID;
