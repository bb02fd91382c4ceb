-- Format 2: marks messages whose sender had no key (a guest).
ALTER TABLE message ADD COLUMN guest INTEGER NOT NULL DEFAULT 0;
