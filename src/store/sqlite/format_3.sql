-- Format 3 of the log: invites, and who is shut out.

-- The invites that let somebody in still.
CREATE TABLE invite (
    hash    BLOB    PRIMARY KEY, -- SHA-256 of the secret, which nobody keeps but those who were given it
    uses    INTEGER NOT NULL,    -- how many more people it lets in, at least one
    expires INTEGER NOT NULL     -- milliseconds since 1970
) STRICT, WITHOUT ROWID;
CREATE INDEX old ON invite (expires);

-- Who is shut out: a key or a network.
CREATE TABLE ban (
    key     BLOB UNIQUE,     -- SHA-256 of the public key
    network TEXT UNIQUE,     -- such as 203.0.113.0/24
    at      INTEGER NOT NULL,
    CHECK ((key IS NULL) <> (network IS NULL))
) STRICT;
