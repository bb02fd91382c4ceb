//! Every number of the server, with its reason. The numbers of the wire are in `protocol::limits`.

use std::time::Duration;

/// How many messages the server still knows: only these can be replied to or removed. A busy team's
/// week; some 20 MB.
pub const LEDGER_MESSAGES: usize = 100_000;

/// How many named recipients all known messages may have together: some 20 MB, whatever anybody sends.
pub const LEDGER_PEOPLE: usize = 1_000_000;

/// How many user IDs are not given again although their people have left, so that nobody is taken for
/// somebody who was here before.
pub const IDS_KEPT: usize = 100_000;

/// The shortest time between two words on who came and went: four a second follow any human eye.
pub const PRESENCE_PAUSE: Duration = Duration::from_millis(250);

/// Connections at once. At some 20 KiB each that is 400 MB; past it new ones are dropped.
pub const CONNECTIONS: usize = 20_000;

/// Connections that have not finished their TLS handshake. Everybody coming back at once after a
/// restart fits in; a flood of silent connections costs some 40 MB at most.
pub const HANDSHAKES: usize = 2_048;

/// A handshake takes two round trips: this is long even by satellite.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// The login is sent by a program, not typed.
pub const LOGIN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the accept loop rests when the system refuses a connection (no file handles left, say).
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What sessions have sent and the hub has not taken yet. When full, those sessions wait, and nothing
/// more is read from their sockets.
pub const COMMANDS: usize = 1_024;

/// How many commands the hub takes at once. Enough that one write serves several messages; few enough
/// that the sessions' writers come to their turn between.
pub const BATCH: usize = 128;

/// How many bytes for everybody are gathered before they go to the outboxes.
pub const GATHERED_BYTES: usize = 64 * 1024;

/// How many bytes may wait for one session, each piece counted with [`FRAME_OVERHEAD`]; when more would,
/// the session is closed.
pub const OUTBOX_BYTES: usize = 1024 * 1024;

/// What a waiting piece costs beside its bytes, so that many small ones have a bound, too.
pub const FRAME_OVERHEAD: usize = 64;

/// A session with more than this waiting is behind. When most of them are, it is the server that is too
/// slow, and it pauses instead of closing everybody.
pub const OUTBOX_BEHIND: usize = OUTBOX_BYTES / 4;

/// How long the server pauses for sessions that are behind, in all and at a time. Most sessions being
/// hostile, this is what they can cost the others for each [`GATHERED_BYTES`], until they are closed.
pub const BEHIND_PAUSE: Duration = Duration::from_millis(100);

/// See [`BEHIND_PAUSE`].
pub const BEHIND_STEP: Duration = Duration::from_millis(1);

/// How much is read from a socket at once: a dozen usual requests, and little enough to keep for an
/// idle connection.
pub const READ_BYTES: usize = 2_048;

/// How long a session that is being closed may still take to receive what waits for it.
pub const CLOSING_GRACE: Duration = Duration::from_secs(3);

/// How long a closed connection is still read from: closing it on unread bytes would take from the
/// client the reason that it was just sent.
pub const LINGER: Duration = Duration::from_secs(1);

/// How long the server waits for its sessions when it stops.
pub const SHUTDOWN_GRACE: Duration = Duration::from_millis(4_500);
