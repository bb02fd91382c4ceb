-- Format 5: what the rules about new IDs look up.

-- The IDs of a key, in the order in which they were bound.
CREATE INDEX held ON person (key, at);

-- The skeletons (UTS #39) of all registered names, to find names that look alike.
CREATE TABLE skeleton (
    skeleton TEXT NOT NULL,
    name     TEXT NOT NULL,
    PRIMARY KEY (skeleton, name)
) STRICT, WITHOUT ROWID;
