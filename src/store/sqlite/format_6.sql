-- Format 6: the cids of the latest entries are read from `message` and `change` (requests.rs). Table `sent` has
-- the others, and those of removed messages, so a cid may be in it twice: the later one counts.
CREATE TABLE sent_6 (
    seq    INTEGER PRIMARY KEY, -- the resulting event
    sender TEXT    NOT NULL,
    cid    TEXT    NOT NULL,
    id     INTEGER,             -- the message that it was about, if any
    at     INTEGER NOT NULL
) STRICT;
INSERT INTO sent_6 (seq, sender, cid, id, at) SELECT seq, sender, cid, id, at FROM sent;
DROP TABLE sent;
ALTER TABLE sent_6 RENAME TO sent;
CREATE INDEX request ON sent (sender, cid);
