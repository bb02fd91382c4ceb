//! The server's limits and timeouts, each with its reason. Those that clients have to know are in
//! [`crate::protocol::limits`].

use std::time::Duration;

use crate::protocol::limits::{KEEPALIVE_TIMEOUT_SECONDS, Rates};
use crate::protocol::rate::Rate;
use crate::store::{MIN_RETENTION, RoomLimits};

/// IDs of guests who left that are not issued again, so that a new guest is not mistaken for an old one.
pub const RETIRED_IDS: usize = 100_000;

/// New IDs per address within [`NEW_IDS_WINDOW`] on a server that needs no invite: enough for a family,
/// too few to take all good names. Loopback addresses and logins with an invite are exempt.
pub const NEW_IDS_PER_ADDRESS: usize = 5;

/// See [`NEW_IDS_PER_ADDRESS`].
pub const NEW_IDS_WINDOW: Duration = Duration::from_mins(10);

/// New IDs counted for [`NEW_IDS_PER_ADDRESS`], over all addresses: some 1 MB, through which a login of a new
/// user searches in some 20 µs.
pub const NEW_IDS_TRACKED: usize = 20_000;

/// Uses of one invite. A larger group needs `--open`.
pub const INVITE_MAX_USES: u32 = 1_000;

/// The validity of an invite in seconds: 30 days. A link that stays valid for longer leaks.
pub const INVITE_MAX_SECONDS: u32 = 30 * 86_400;

/// How often a list of conversations is read again because it changed meanwhile, before it is sent as it is.
pub const CONVERSATIONS_READS: usize = 3;

/// The length of a line on the admin socket, in bytes. No command takes a tenth of it.
pub const ADMIN_LINE_BYTES: u64 = 4_096;

/// Connections to the admin socket: one administrator, with several terminals and scripts.
pub const ADMIN_CONNECTIONS: usize = 8;

/// How long a client of the admin socket may take to send a line, or to read a reply.
pub const ADMIN_TIMEOUT: Duration = Duration::from_secs(10);

/// The minimum time between two presence announcements. Users cannot follow more than four a second.
pub const PRESENCE_INTERVAL: Duration = Duration::from_millis(250);

/// The same, multiplied by the number of sessions, where that is longer. An announcement costs some
/// 20 µs per session, so this keeps announcements below a twentieth of one core.
pub const PRESENCE_INTERVAL_PER_SESSION: Duration = Duration::from_micros(500);

/// Open connections. At some 20 KiB each that is 400 MB. Further ones are dropped.
pub const MAX_CONNECTIONS: usize = 20_000;

/// Connections in their TLS handshake: enough for all clients reconnecting after a restart. A flood of
/// silent connections costs at most some 30 MB. Past the limit, a new handshake evicts the oldest one, if
/// that is older than [`HANDSHAKE_EVICTION_AGE`].
pub const MAX_HANDSHAKES: usize = 2_048;

/// How long a handshake is safe from eviction. An honest one takes two round trips and a millisecond, so
/// a flood that blocks others has to open [`MAX_HANDSHAKES`] connections per second.
pub const HANDSHAKE_EVICTION_AGE: Duration = Duration::from_secs(1);

/// The timeout of a TLS handshake. It takes two round trips: this is long even by satellite.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// The timeout of a login. It is sent by a program, not typed.
pub const LOGIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Open connections per address, or per /64 of IPv6, by default: a user has one, scripts some more. A
/// team behind one router needs more. Loopback addresses have no limit.
pub const CONNECTIONS_PER_ADDRESS: u32 = 16;

/// How many of these may be in their TLS handshake.
pub const HANDSHAKES_PER_ADDRESS: u32 = 10;

/// New connections per address. The burst is for scripts that connect in a loop.
pub const CONNECTION_RATE: Rate = Rate { burst: 60, per_second: 1 };

/// Addresses whose recent connections are known, at some 100 bytes each: a flood from a whole IPv6
/// network costs 6 MB. Addresses with open connections are always known.
pub const TRACKED_ADDRESSES: usize = 65_536;

/// The default rate limits of one user, over all their connections. Past a limit, the session reads
/// nothing more until the limit allows it.
pub const DEFAULT_RATES: Rates = Rates {
    // Users do not type faster, and a script waits.
    messages: Rate { burst: 10, per_second: 2 },
    // A usual page of history takes the log a millisecond, and `chat tail` still gets 5,000 messages a
    // second. Heavier pages are limited by `ANSWER_RATE`.
    questions: Rate { burst: 100, per_second: 50 },
    // Enough for 2 messages of 4,000 characters a second. The burst holds the longest object.
    bytes: Rate { burst: 100_000, per_second: 20_000 },
};

/// Bytes of answers that one user may get. What a history page or a search costs is mostly proportional to
/// its bytes, in which recipients count, too. This is [`DEFAULT_RATES`] of usual pages, of 25 KB. Five of
/// the largest pages a second cost a twentieth of a core.
pub const ANSWER_RATE: Rate = Rate { burst: 2_500_000, per_second: 1_250_000 };

/// The rate limits for another number of messages per second, each as long as by default.
pub fn rates_for(messages_per_second: u32) -> Rates {
    let messages = Rate { burst: messages_per_second * 5, per_second: messages_per_second };
    let bytes_per_second =
        messages_per_second * DEFAULT_RATES.bytes.per_second / DEFAULT_RATES.messages.per_second;
    let burst = DEFAULT_RATES.bytes.burst.max(bytes_per_second * 5);
    Rates { messages, bytes: Rate { burst, per_second: bytes_per_second }, ..DEFAULT_RATES }
}

/// How long a session may exceed its rate limits without a pause before it is closed.
pub const FLOOD_TIMEOUT: Duration = Duration::from_mins(1);

/// The pause that resets [`FLOOD_TIMEOUT`].
pub const FLOOD_RESET_PAUSE: Duration = Duration::from_secs(2);

/// Users in the rate limiter before those who have left are removed from it.
pub const RATE_ENTRIES_BEFORE_PRUNE: usize = 1_024;

/// How long the accept loop waits after the system refused a connection, for example because no file
/// descriptors are left.
pub const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Commands in the hub task's queue. While it is full, sessions read nothing from their sockets.
pub const HUB_QUEUE_LEN: usize = 1_024;

/// Commands that the hub task handles as one batch: enough that one write to the log serves several
/// messages, few enough that the sessions' tasks run in between.
pub const HUB_BATCH: usize = 128;

/// Bytes of events for all sessions that are gathered before they go to the send queues.
pub const FANOUT_BATCH_BYTES: usize = 64 * 1024;

/// The size of a session's send queue in bytes, where each frame counts [`FRAME_OVERHEAD`] more. A
/// session with a full queue falls behind: it reads missed events from the tail once it has sent the
/// queue. Answers are queued beyond this size.
pub const SEND_QUEUE_BYTES: usize = 256 * 1024;

/// The size of the tail: the latest events, as encoded bytes in memory. Sessions that are behind read
/// older ones from the log, at ten times the cost. It holds some 140,000 usual messages: more than five
/// seconds at full load, in which a session that was slow for a moment returns, or hours of a busy team,
/// after which most clients reconnect without reading the log.
pub const TAIL_BYTES: usize = 64 * 1024 * 1024;

/// What an event in the tail takes besides its bytes.
pub const TAIL_EVENT_OVERHEAD: usize = 192;

/// What an event in the tail counts against [`CATCH_UP_BYTES`] even if the session skips it, so that it
/// holds the tail's lock for less than a millisecond.
pub const TAIL_EVENT_COST: usize = 16;

/// Bytes of missed events that a session takes from the tail at a time. Answers go out in between.
pub const CATCH_UP_BYTES: usize = 64 * 1024;

/// History and search requests of a session that may be unanswered. A client that reads ahead needs two;
/// further requests wait in its socket.
pub const READS_PER_SESSION: usize = 2;

/// Bytes of answers that a client has not taken yet. Beyond that, its session reads no requests, so what
/// a client that asks but does not read costs is this and the answers that are under way.
pub const UNREAD_ANSWER_BYTES: usize = 256 * 1024;

/// A session whose client takes nothing of what is sent to it for this long is closed.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// How much longer a read or write that is overdue may take. What arrived while the whole process was
/// stopped is processed in a few milliseconds.
pub const OVERDUE_GRACE: Duration = Duration::from_millis(500);

/// Bytes that the kernel accepts for a connection beyond those on their way to its client. With its usual
/// megabytes, a client that takes 5 KB/s would seem to take nothing for minutes; a client that takes half of
/// this much within [`WRITE_TIMEOUT`] is seen to make progress. It holds a few TLS records, so that the kernel
/// has something to send while the session's task waits for its turn.
pub const UNSENT_BYTES: u32 = 64 * 1024;

/// How long an extended client may send nothing, not even a ping, before its connection is closed.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(KEEPALIVE_TIMEOUT_SECONDS);

/// Bytes written to a socket at a time: two TLS records, and half of [`UNSENT_BYTES`]. The client has to take
/// them within [`WRITE_TIMEOUT`].
pub const WRITE_BYTES: usize = 32 * 1024;

/// Events read from the log at a time for a session that is behind the tail: at most 1 MB.
pub const CATCH_UP_PAGE: usize = 64;

/// Batches on their way to the log. While there are that many, the hub task takes no commands. Times
/// [`HUB_BATCH`], this is what the log commits together.
pub const BATCHES_IN_FLIGHT: usize = 8;

/// The encoded size of a page of history, in bytes. A page of 100 usual messages takes 25 KB.
pub const HISTORY_PAGE_BYTES: usize = 256 * 1024;

/// Rows that a search reads in one turn, before it sends results: a few milliseconds.
pub const SEARCH_SLICE_ROWS: usize = 5_000;

/// Bytes of text that a search reads in one transaction, beyond the last message. It copies them, so
/// this bounds its memory, too.
pub const SEARCH_SLICE_BYTES: usize = 1024 * 1024;

/// The longest transaction of a search, on a slow disk: while one lasts, removed text cannot be scrubbed. And
/// how long it matches its expression afterwards, before the next user's search has its turn.
pub const SEARCH_SLICE_TIME: Duration = Duration::from_millis(20);

/// Results of one search. Past the limit, the user has to narrow the search.
pub const SEARCH_HITS: usize = 200;

/// The timeout of a search, with the turns of other users. It ends with what it has found so far.
pub const SEARCH_TIMEOUT: Duration = Duration::from_secs(2);

/// The size of a compiled regular expression in bytes. What users type is far below, and any expression
/// within it compiles in a millisecond.
pub const REGEX_SIZE_BYTES: usize = 256 * 1024;

/// The size of a regular expression's cache in bytes.
pub const REGEX_CACHE_BYTES: usize = 2 * 1024 * 1024;

/// How many rooms there may be, unless the administrator sets other numbers: more rooms than a server of some
/// hundred users needs, and as many memberships as the list of conversations shows at a glance.
pub const ROOM_LIMITS: RoomLimits = RoomLimits { rooms: 200, memberships: 100 };

/// The time from a removal to the scrub that overwrites the text in the files.
pub const SCRUB_DELAY: Duration = Duration::from_secs(30);

/// The time to the next try when a reader kept a scrub from finishing.
pub const SCRUB_RETRY: Duration = Duration::from_secs(1);

/// The time between two sweeps for messages past their retention.
pub const SWEEP_INTERVAL: Duration = Duration::from_hours(1);

/// The time to the next sweep after one failed, or with zero retention, while messages are about to
/// expire.
pub const SWEEP_SHORT_INTERVAL: Duration = Duration::from_mins(1);

/// How long messages are kept with zero retention, so that a client can resume.
pub const RESUME_WINDOW: Duration = Duration::from_millis(MIN_RETENTION.unsigned_abs());

/// The cost of a frame in a send queue besides its bytes, so that many small frames are bounded too.
pub const FRAME_OVERHEAD: usize = 64;

/// A session with more bytes in its send queue lags. If most sessions lag, the server is too slow, and
/// the hub task pauses instead of filling their queues.
pub const SEND_QUEUE_LAG_BYTES: usize = SEND_QUEUE_BYTES / 4;

/// How long the hub task pauses for lagging sessions, per batch. If most sessions are hostile, this is
/// what they cost the others for each [`FANOUT_BATCH_BYTES`] until they are closed.
pub const LAG_PAUSE: Duration = Duration::from_millis(100);

/// How often the hub task checks the lagging sessions during [`LAG_PAUSE`].
pub const LAG_PAUSE_STEP: Duration = Duration::from_millis(1);

/// The size of a read from a socket, on the stack: as much as the TLS library reads at a time.
pub const READ_BYTES: usize = 4_096;

/// How long a session that is being closed may take to receive its send queue.
pub const CLOSING_GRACE: Duration = Duration::from_secs(3);

/// How long a closed connection is still read from. Closing it with unread bytes would reset it, and the
/// client would lose the reason that was just sent.
pub const LINGER: Duration = Duration::from_secs(1);

/// How long a stopping server waits for its sessions.
pub const SHUTDOWN_GRACE: Duration = Duration::from_millis(4_500);
