-- Format 3: invites and bans.

-- Invites with uses left.
CREATE TABLE invite (
    hash    BLOB    PRIMARY KEY, -- SHA-256 of the secret, which is not stored
    uses    INTEGER NOT NULL,    -- how many more users it admits, at least 1
    expires INTEGER NOT NULL     -- milliseconds since 1970
) STRICT, WITHOUT ROWID;
CREATE INDEX old ON invite (expires);

-- Bans: each row has either a key or a network.
CREATE TABLE ban (
    key     BLOB UNIQUE,     -- SHA-256 of the public key
    network TEXT UNIQUE,     -- such as 203.0.113.0/24
    at      INTEGER NOT NULL,
    CHECK ((key IS NULL) <> (network IS NULL))
) STRICT;
