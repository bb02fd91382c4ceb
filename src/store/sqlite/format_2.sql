-- Format 2: whose sender has shown no key.
ALTER TABLE message ADD COLUMN guest INTEGER NOT NULL DEFAULT 0;
