-- Format 7: rooms, edits, reactions, pins, mentions and read markers. Feeds are by conversation. What SQL
-- cannot express is done in migrate.rs.

CREATE TABLE room (
    name     TEXT    PRIMARY KEY, -- such as #ops
    private  INTEGER NOT NULL,
    topic    TEXT    NOT NULL,
    archived INTEGER NOT NULL,
    people   INTEGER NOT NULL     -- the number of its members
) STRICT, WITHOUT ROWID;
CREATE INDEX writable ON room (archived);

-- The skeletons (UTS #39) of the names of all rooms.
CREATE TABLE room_skeleton (
    skeleton TEXT PRIMARY KEY,
    room     TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE member (
    room   TEXT    NOT NULL,
    user   TEXT    NOT NULL,
    since  INTEGER NOT NULL, -- the first event of the room that the member may see
    joined INTEGER NOT NULL, -- the event with which the user became a member
    PRIMARY KEY (room, user)
) STRICT, WITHOUT ROWID;
CREATE INDEX seniority ON member (room, joined, user);
CREATE INDEX membership ON member (user, room, since);

ALTER TABLE message ADD COLUMN edited INTEGER; -- milliseconds since 1970
ALTER TABLE message ADD COLUMN mentions TEXT;  -- IDs separated by spaces, or all
CREATE INDEX reply ON message (reply_to, seq) WHERE reply_to IS NOT NULL;

-- Reactions to messages, by the sequence number of the message.
CREATE TABLE reaction (
    message INTEGER NOT NULL,
    emoji   TEXT    NOT NULL,
    user    TEXT    NOT NULL,
    seq     INTEGER NOT NULL, -- the event
    PRIMARY KEY (message, emoji, user)
) STRICT, WITHOUT ROWID;

-- The messages that mention a user, or all users.
CREATE TABLE mention (
    conversation TEXT    NOT NULL,
    user         TEXT    NOT NULL, -- or all
    seq          INTEGER NOT NULL,
    PRIMARY KEY (conversation, user, seq)
) STRICT, WITHOUT ROWID;

-- The settings of a user for a conversation.
CREATE TABLE marker (
    user         TEXT    NOT NULL,
    conversation TEXT    NOT NULL,
    read         INTEGER NOT NULL, -- messages up to here are read
    notify       TEXT,             -- all, mentions or none; NULL for the default
    muted_until  INTEGER,          -- milliseconds since 1970
    PRIMARY KEY (user, conversation)
) STRICT, WITHOUT ROWID;

-- The direct conversations of a user that have events.
CREATE TABLE direct (
    user         TEXT NOT NULL,
    conversation TEXT NOT NULL,
    PRIMARY KEY (user, conversation)
) STRICT, WITHOUT ROWID;

-- All events but new messages.
CREATE TABLE change (
    seq          INTEGER PRIMARY KEY,
    id           INTEGER,          -- the message that it is about; NULL for a room
    about        INTEGER NOT NULL, -- the sequence number of this message, or its own
    user         TEXT,             -- who made it; NULL for the server and its administrator
    cid          TEXT,
    conversation TEXT    NOT NULL, -- as in feed
    also         TEXT,             -- other users who may see it, separated by spaces
    at           INTEGER NOT NULL,
    data         TEXT    NOT NULL  -- what has changed, in JSON (change.rs)
) STRICT;

-- The events of each conversation: '' is Everyone, '#ops' a room, 'Ann_1234 Bob_4572' a direct conversation
-- of these users, all its participants in order. 'Ann_1234' is what concerns this user alone.
CREATE TABLE feed_7 (
    conversation TEXT    NOT NULL,
    what         INTEGER NOT NULL, -- 0 message, 1 change, 2 pinned message
    seq          INTEGER NOT NULL,
    sender       TEXT,             -- of a message
    PRIMARY KEY (conversation, what, seq)
) STRICT, WITHOUT ROWID;
INSERT INTO feed_7 SELECT '', 0, seq, sender FROM message WHERE recipients IS NULL;
DROP TABLE feed;
ALTER TABLE feed_7 RENAME TO feed;

-- Everything that was delivered counts as read.
INSERT INTO marker (user, conversation, read) SELECT user, '', seen FROM person;

-- The rooms that new users become members of, separated by spaces.
ALTER TABLE invite ADD COLUMN rooms TEXT NOT NULL DEFAULT '';
