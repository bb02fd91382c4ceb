-- Format 5: the cids of the latest entries are read from `message` and `mark` (requests.rs). Table `sent` has
-- the others, and those of removed messages, so a cid may be in it twice: the later one counts.
CREATE TABLE sent_5 (
    seq    INTEGER PRIMARY KEY, -- the resulting event
    sender TEXT    NOT NULL,
    cid    TEXT    NOT NULL,
    id     INTEGER NOT NULL,    -- the message posted or deleted
    at     INTEGER NOT NULL
) STRICT;
INSERT INTO sent_5 (seq, sender, cid, id, at) SELECT seq, sender, cid, id, at FROM sent;
DROP TABLE sent;
ALTER TABLE sent_5 RENAME TO sent;
CREATE INDEX request ON sent (sender, cid);
