-- Format 4: message ids are computed from sequence numbers (message_ids.rs), so they are never reused.

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

-- Whether a request was a post or a deletion no longer matters: its answer is the same.
ALTER TABLE sent DROP COLUMN deletes;
