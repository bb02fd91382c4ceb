-- Format 4: message ids are computed from sequence numbers (message_ids.rs), so they are never reused and
-- need no index, which would cost each message a page that is written at random.

-- Entries up to number id_base got random ids; the ids computed since begin at first_id and are larger.
ALTER TABLE log ADD COLUMN id_base INTEGER NOT NULL DEFAULT 0;
ALTER TABLE log ADD COLUMN first_id INTEGER NOT NULL DEFAULT 100000;
UPDATE log SET id_base = head, first_id = (
    SELECT CASE
        WHEN max(id) IS NULL THEN 100000
        WHEN max(id) < 1000000 THEN 1000000
        WHEN max(id) < 10000000 THEN 10000000
        ELSE 100000000
    END
    FROM (SELECT id FROM message UNION ALL SELECT id FROM mark UNION ALL SELECT id FROM sent)
);

-- The messages with random ids.
CREATE TABLE old_id (
    id  INTEGER PRIMARY KEY,
    seq INTEGER NOT NULL
) STRICT;
INSERT INTO old_id (id, seq) SELECT id, seq FROM message;

CREATE TABLE message_4 (
    seq        INTEGER PRIMARY KEY,
    id         INTEGER NOT NULL,
    sender     TEXT    NOT NULL,
    recipients TEXT,             -- IDs separated by spaces; NULL for everyone
    at         INTEGER NOT NULL, -- milliseconds since 1970
    zone       INTEGER NOT NULL, -- offset from UTC in seconds, positive to the east
    expires    INTEGER,          -- milliseconds since 1970
    reply_to   INTEGER,
    cid        TEXT,
    content    TEXT    NOT NULL,
    guest      INTEGER NOT NULL  -- whether the sender had no key
) STRICT;
INSERT INTO message_4 (seq, id, sender, recipients, at, zone, expires, reply_to, cid, content, guest)
    SELECT seq, id, sender, recipients, at, zone, expires, reply_to, cid, content, guest FROM message;
DROP TABLE message;
ALTER TABLE message_4 RENAME TO message;
CREATE INDEX temporary ON message (expires, id) WHERE expires IS NOT NULL;

-- Whether a request was a post or a deletion no longer matters: its answer is the same.
ALTER TABLE sent DROP COLUMN deletes;
