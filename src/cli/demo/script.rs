//! What the team of the demo says.

/// The members of the team. The first one owns the room.
pub(super) const MEMBERS: [&str; 5] = ["Alice", "Lou", "Kim", "Zed", "Pia"];

/// The room of the team.
pub(super) const ROOM: &str = "#ops";

/// The topic of the room.
pub(super) const TOPIC: &str = "release 2.4 and on-call";

/// Where something is said.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    Everyone,
    Room,
    /// The direct conversation with the user.
    Direct,
}

/// One step of the script. Members and messages are indices; messages are those of the script, in order. `YOU` in a
/// text becomes the ID of the user.
#[derive(Debug, Clone, Copy)]
pub(super) enum Line {
    Post(usize, Place, &'static str),
    Reply(usize, usize, &'static str),
    Edit(usize, usize, &'static str),
    React(usize, usize, &'static str),
}

use self::Line::{Edit, Post, React, Reply};
use self::Place::{Direct, Everyone, Room};

/// What was said before the user opens the program.
pub(super) const BEFORE: &[Line] = &[
    Post(0, Everyone, "good morning! the coffee machine on the second floor works again"),
    React(4, 0, "🎉"),
    React(2, 0, "🎉"),
    Post(3, Everyone, "lunch at 12:30, who joins? https://example.org/menu"),
    Reply(2, 1, "me, if the release is out by then"),
    Post(0, Room, "we deployed 2.4 at 09:10, logs look clean"),
    Post(0, Room, "dashboards: https://grafana.example.org/d/p99"),
    React(1, 3, "👍"),
    React(4, 3, "👍"),
    Reply(1, 3, "great, I will watch the p99 for an hour"),
    Post(
        2,
        Room,
        "this is all that rebalancing needs now:\n```rust\nlet moved = shard.rebalance()?;\nassert!(moved.is_empty());\n```",
    ),
    Post(4, Room, "the runbook says *drain first*, then `systemctl restart shardd`"),
    Edit(4, 7, "the runbook says *drain first*, then `systemctl restart shard@7`"),
    Post(1, Room, "@YOU can you look at shard 7? its queue grows since 09:40"),
    Post(
        2,
        Direct,
        "do you have five minutes after lunch? I would like to show you the new dashboard",
    ),
];

/// What is said while the user watches.
pub(super) const LATER: &[Line] = &[
    Post(3, Everyone, "table for six is reserved"),
    React(0, 10, "❤️"),
    Post(1, Room, "shard 7: 1,204 entries waiting, 3 minutes old"),
    Reply(4, 8, "it also drops connections now and then: سلام، 你好, 👩‍👩‍👧 all arrive, though"),
    React(0, 11, "👀"),
    Post(0, Room, "should we roll back?\n- pro: quiet evening\n- con: the old bug"),
    Reply(2, 13, "no: the queue shrinks since the last minute"),
    Edit(1, 11, "shard 7: 804 entries waiting, and falling"),
    Post(4, Everyone, "the new badge printer speaks Klingon. does anybody know why?"),
    React(3, 15, "😂"),
    Post(2, Direct, "never mind, I found the mistake myself :)"),
    Post(1, Room, "shard 7 is empty. thanks everybody! @YOU enjoy your lunch"),
];

/// What a member answers, in turn.
pub(super) const ANSWERS: [&str; 4] = [
    "good point, I will have a look",
    "sure! give me a minute",
    "hm, are you certain? the graph says otherwise",
    "done. anything else?",
];
