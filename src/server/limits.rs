//! Every number of the server, with its reason. The numbers of the wire are in `protocol::limits`.

use std::time::Duration;

use crate::protocol::limits::Rates;
use crate::protocol::rate::Rate;
use crate::store::MIN_RETENTION;

/// Of how many messages the server knows by heart who may do what with them; for others it asks the
/// log, which takes a fraction of a millisecond. What people have on their screens; some 0.2 MB.
pub const CACHED_MESSAGES: usize = 1_000;

/// How many named recipients those messages may have together: some 0.2 MB, whatever anybody sends.
pub const CACHED_RECIPIENTS: usize = 10_000;

/// How many user IDs are not given again although their people have left, so that nobody is taken for
/// somebody who was here before.
pub const RETIRED_IDS: usize = 100_000;

/// How many IDs a key may have: one person with a script or two.
pub const IDS_PER_KEY: usize = 3;

/// How many new IDs one address may have made within [`NEW_IDS_TIME`], where no invite is needed: a
/// family, but nobody who takes all good names. This machine itself is exempt; so is who has an invite,
/// which is counted by itself.
pub const NEW_IDS_PER_ADDRESS: usize = 5;

/// See [`NEW_IDS`].
pub const NEW_IDS_WINDOW: Duration = Duration::from_mins(10);

/// How many of those are remembered, of whatever addresses: some 2 MB.
pub const NEW_IDS_TRACKED: usize = 20_000;

/// How many invites may be open at once: some 100 kB.
pub const OPEN_INVITES: usize = 1_000;

/// How many people one invite may let in: whoever wants more wants `--open`.
pub const INVITE_MAX_USES: u32 = 1_000;

/// How long an invite may be good for, in seconds: 30 days. A link that lies about for longer is found.
pub const INVITE_MAX_SECONDS: u32 = 30 * 86_400;

/// How long a line of the local socket may be, in bytes: no act is a tenth of it.
pub const ADMIN_LINE_BYTES: u64 = 4_096;

/// Connections to the local socket at once: whoever runs the server, in some windows and scripts.
pub const ADMIN_CONNECTIONS: usize = 8;

/// How long a connection to the local socket may take for a line, or to take an answer.
pub const ADMIN_TIMEOUT: Duration = Duration::from_secs(10);

/// The shortest time between two words on who came and went: four a second follow any human eye.
pub const PRESENCE_INTERVAL: Duration = Duration::from_millis(250);

/// The same for each person who is told, where that is longer: at some 20 µs each, words on who came and
/// went take no more than a tenth of one processor, however many people come and go.
pub const PRESENCE_INTERVAL_PER_SESSION: Duration = Duration::from_micros(250);

/// Connections at once. At some 20 KiB each that is 400 MB; past it new ones are dropped.
pub const MAX_CONNECTIONS: usize = 20_000;

/// Connections that have not finished their TLS handshake. Everybody coming back at once after a
/// restart fits in; a flood of silent connections costs some 30 MB at most. Past it the oldest gives
/// way to the newest, if it has had [`HANDSHAKE_SURE`].
pub const MAX_HANDSHAKES: usize = 2_048;

/// How long a handshake goes on whoever else comes. An honest one needs two round trips and a
/// millisecond; so a flood that keeps others out has to bring [`HANDSHAKES`] in each second.
pub const HANDSHAKE_EVICTION_AGE: Duration = Duration::from_secs(1);

/// A handshake takes two round trips: this is long even by satellite.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// The login is sent by a program, not typed.
pub const LOGIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections at once from one address, or from one /64 of IPv6, unless the operator says otherwise: a
/// person has one, scripts some more. A team behind one router needs more. This machine's own address
/// has no limit.
pub const CONNECTIONS_PER_ADDRESS: u32 = 16;

/// Of these, how many may be in the middle of their TLS handshake.
pub const HANDSHAKES_PER_ADDRESS: u32 = 10;

/// How many connections an address may begin: sixty at once, as a script in a loop does, and then one a
/// second.
pub const CONNECTION_RATE: Rate = Rate { burst: 60, per_second: 1 };

/// Of how many addresses is known what they did lately, at some 100 bytes each: a flood from all of an
/// IPv6 network costs 6 MB. Those that are connected are always known.
pub const TRACKED_ADDRESSES: usize = 65_536;

/// How fast one person is heard, on all connections together. Past it the session does not read on until
/// it is their turn again.
pub const DEFAULT_RATES: Rates = Rates {
    // Nobody types faster; a script that does waits.
    messages: Rate { burst: 10, per_second: 2 },
    // A page of history takes the log less than 5 ms: one person costs a quarter of one reader at the
    // most, and `chat tail` still gets 5,000 messages a second.
    questions: Rate { burst: 100, per_second: 50 },
    // At 2 messages a second, each may be of 4,000 characters with some to spare. The burst holds the
    // longest object.
    bytes: Rate { burst: 100_000, per_second: 20_000 },
};

/// The same for somebody who may send more messages a second than two: each of them may be as long.
pub fn rates_for(messages_per_second: u32) -> Rates {
    let messages = Rate { burst: messages_per_second * 5, per_second: messages_per_second };
    let of_messages =
        messages_per_second * DEFAULT_RATES.bytes.per_second / DEFAULT_RATES.messages.per_second;
    let burst = DEFAULT_RATES.bytes.burst.max(of_messages * 5);
    Rates { messages, bytes: Rate { burst, per_second: of_messages }, ..DEFAULT_RATES }
}

/// How long somebody may ask for more than the rates give without ever pausing.
pub const FLOOD_TIMEOUT: Duration = Duration::from_mins(1);

/// What is a pause in that.
pub const FLOOD_RESET_PAUSE: Duration = Duration::from_secs(2);

/// How many people the rates are kept for before those who left are looked for and forgotten.
pub const RATE_ENTRIES_BEFORE_PRUNE: usize = 1_024;

/// How long the accept loop rests when the system refuses a connection (no file handles left, say).
pub const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// What sessions have sent and the hub has not taken yet. When full, those sessions wait, and nothing
/// more is read from their sockets.
pub const HUB_QUEUE_LEN: usize = 1_024;

/// How many commands the hub takes at once. Enough that one write serves several messages; few enough
/// that the sessions' writers come to their turn between.
pub const HUB_BATCH: usize = 128;

/// How many bytes for everybody are gathered before they go to the outboxes.
pub const FANOUT_BATCH_BYTES: usize = 64 * 1024;

/// How many bytes may wait for one session, each piece counted with [`FRAME_OVERHEAD`]. What comes when
/// that is full is read from the log once the session has taken what waits.
pub const SEND_QUEUE_BYTES: usize = 256 * 1024;

/// How long a session may take nothing at all of what waits for it, before it is closed.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a client of ours may say nothing, not even a ping, before its connection is dead.
pub const KEEPALIVE_TIMEOUT: Duration =
    Duration::from_secs(crate::protocol::limits::KEEPALIVE_TIMEOUT_SECONDS);

/// How much is written at once: what one TLS record takes.
pub const TLS_RECORD_BYTES: usize = 16 * 1024;

/// How many events are read from the log at once for a session that is behind: 1 MB at the very most.
pub const CATCH_UP_PAGE: usize = 64;

/// How many batches may be on their way to the log. When full, the hub takes nothing more: with
/// [`BATCH`], what the log commits at once.
pub const WRITES_IN_FLIGHT: usize = 8;

/// How large a page of history may get, in bytes of text.
pub const HISTORY_PAGE_BYTES: usize = 256 * 1024;

/// How many rows a search looks at before it sends what it has found.
pub const SEARCH_SLICE_ROWS: usize = 5_000;

/// How many hits a search gives; whoever has more wants another expression.
pub const SEARCH_HITS: usize = 200;

/// How long a search may take.
pub const SEARCH_TIMEOUT: Duration = Duration::from_secs(2);

/// The largest compiled expression of a search and its largest cache, in bytes: what people type is
/// far below, and none compiles for longer than a millisecond.
pub const REGEX_SIZE_BYTES: usize = 256 * 1024;

/// See [`PATTERN_COMPILED`].
pub const REGEX_CACHE_BYTES: usize = 2 * 1024 * 1024;

/// How long after something was removed its text is overwritten in the files.
pub const SCRUB_DELAY: Duration = Duration::from_secs(30);

/// How soon that is tried again while a reader holds on to it.
pub const SCRUB_RETRY: Duration = Duration::from_secs(1);

/// How often the log is looked through for what is kept no longer.
pub const SWEEP_INTERVAL: Duration = Duration::from_hours(1);

/// How often that is where nothing is kept, as long as something may go soon; and how soon it is tried
/// again when it failed.
pub const SWEEP_SHORT_INTERVAL: Duration = Duration::from_mins(1);

/// How long messages stay where nothing is kept.
pub const RESUME_WINDOW: Duration = Duration::from_millis(MIN_RETENTION.unsigned_abs());

/// What a waiting piece costs beside its bytes, so that many small ones have a bound, too.
pub const FRAME_OVERHEAD: usize = 64;

/// A session with more than this waiting is behind. When most of them are, it is the server that is too
/// slow, and it pauses instead of closing everybody.
pub const SEND_QUEUE_LAG_BYTES: usize = SEND_QUEUE_BYTES / 4;

/// How long the server pauses for sessions that are behind, in all and at a time. Most sessions being
/// hostile, this is what they can cost the others for each [`GATHERED_BYTES`], until they are closed.
pub const LAG_PAUSE: Duration = Duration::from_millis(100);

/// See [`BEHIND_PAUSE`].
pub const LAG_PAUSE_STEP: Duration = Duration::from_millis(1);

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
