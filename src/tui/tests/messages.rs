//! Messages: sending, replying, deleting, expiry, search, scrolling, lost connections.

use std::time::Duration;

use super::harness::{UiHarness, id, only};
use crate::client;
use crate::protocol::error::ErrorCode;
use crate::protocol::event::{ErrorReply, Event};
use crate::protocol::id::{MessageId, Seq};
use crate::protocol::message::{Audience, Message, MessageKind};
use crate::protocol::text::SafeText;
use crate::tui::event::UiEffect;

#[test]
fn enter_sends_and_echo_confirms() {
    let mut ui = UiHarness::new(80, 24);
    ui.keys("hello there<enter>").shows("waiting…").hides("│ hello there  │ hello");
    ui.mark_as_sending().shows("sending…").hides("waiting…");
    assert_eq!(ui.sent().len(), 1);
    ui.keys("again<enter>").confirm_sent().shows("again").hides("waiting…");
    let screen = ui.text();
    assert_eq!(screen.matches("sending…").count(), 1, "the first was never confirmed:\n{screen}");
}

#[test]
fn guest_is_marked_unverified() {
    let mut ui = UiHarness::new(80, 24);
    ui.post_to_all("Ann_1180", "I am Ann");
    let guest = Message {
        seq: Seq(2),
        id: MessageId::from_number(100_002).unwrap(),
        sender: id("Ann_1181"),
        guest: true,
        ..ui.logged_message(1)
    };
    ui.server_event(Event::Posted(guest));
    ui.server_event(Event::Guests(vec![id("Ann_1181")]));
    ui.server_event(Event::Presence { joined: vec![id("Ann_1181")], left: vec![] });
    ui.shows("[ ] Ann_1181 (?)").shows("[ ] Ann_1180   ");
    ui.shows("Ann_1180 09:12").shows("Ann_1181 (?) 09:12");
    ui.keys("@Ann_1181 hi").shows("To: [Ann_1181 (?)] private").keys("<ctrl-c>");
    ui.keys("<up><enter>r").shows("Ann_1181 (?): message number 1");
    ui.keys("<esc><ctrl-f>message").shows("Ann_1181 (?)  message number 1");
}

#[test]
fn new_line_keys_work_and_paste_never_sends() {
    let mut ui = UiHarness::new(80, 24);
    ui.keys("a<alt-enter>b<shift-enter>c<ctrl-j>d");
    assert!(ui.sent().is_empty());
    ui.paste("\nrm -rf /\n.exit\x1b[31m");
    assert!(ui.effects().is_empty());
    ui.keys("<enter>");
    assert_eq!(ui.sent(), ["Everyone Plain a\nb\nc\nd\nrm -rf /\n.exit[31m"]);
}

#[test]
fn to_line_names_the_recipients() {
    let mut ui = UiHarness::new(100, 24);
    ui.shows("To: everyone");
    ui.keys("<f2><space><esc>").shows("To: [Ann_1180 ×] private: only Ann sees this");
    ui.keys("psst<enter>");
    assert_eq!(ui.sent(), ["Only({Ann_1180}) Plain psst"]);
    ui.shows("To: [Ann_1180 ×]").keys("<alt-e>").shows("To: everyone");
    ui.keys("@kim hi").shows("To: [Kim_9021] private").keys("<enter>");
    assert_eq!(ui.sent(), ["Only({Kim_9021}) Plain hi"]);
    ui.shows("To: everyone").keys("@Zed hi").shows("no user is named Zed").keys("<enter>");
    assert!(ui.sent().is_empty());
    ui.shows("@Zed hi");
}

#[test]
fn original_dot_commands_work() {
    let mut ui = UiHarness::new(100, 24);
    let first = ui.post_to_all("Ann_1180", "one");
    ui.keys(".temp gone soon<enter>.temp 60 @Ann_1180 gone later<enter>");
    ui.keys(&format!(".reply {first} yes<enter>.delete {first}<enter>.dance<enter>"));
    assert_eq!(
        ui.sent(),
        [
            "Everyone Temporary { seconds: 10 } gone soon".to_owned(),
            "Only({Ann_1180}) Temporary { seconds: 60 } gone later".to_owned(),
            format!("Everyone Reply {{ to: {first:?} }} yes"),
            format!("Delete({first:?})"),
        ]
    );
    ui.shows("Unknown command").keys("<esc><ctrl-c>.search o.e<enter>").wait(1);
    ui.shows("1 of 1 in 1 messages").keys("<esc>.exit<enter>");
    assert_eq!(ui.effects(), [UiEffect::Quit]);
}

#[test]
fn reply_goes_to_the_audience_of_its_message() {
    let mut ui = UiHarness::new(100, 24);
    ui.post_to_all("Ann_1180", "public");
    ui.post("Kim_9021", only(&["Bob_4572", "Ann_1180"]), MessageKind::Plain, "private");
    ui.shows("new direct message from Kim_9021").hides("│ private");
    ui.click("[ ] Ann_1180").click("[ ] Kim_9021").shows("│ private").hides("│ public");
    ui.keys("<up>").shows("message 100002").keys("<enter>r");
    ui.shows("┃ reply to Kim_9021: private").shows("To: [Ann_1180 ×] [Kim_9021 ×]");
    ui.keys("<esc>").shows("To: [Ann_1180 ×] [Kim_9021 ×]").keys("<ctrl-r>sure<enter>");
    assert_eq!(ui.sent(), ["Only({Ann_1180, Kim_9021}) Reply { to: MessageId(100002) } sure"]);
    // A reply does not move to another conversation.
    ui.keys("<ctrl-r><alt-e>").shows("To: everyone").hides("reply to").keys("aloud<enter>");
    assert_eq!(ui.sent(), ["Everyone Plain aloud"]);
}

#[test]
fn own_messages_are_deleted_only_after_confirmation() {
    let mut ui = UiHarness::new(80, 24);
    ui.post_to_all("Ann_1180", "hers");
    ui.keys("<up><delete>").shows("only the author can delete").keys("<esc>");
    ui.post_to_all("Bob_4572", "mine");
    ui.keys("<up><enter>d").shows("Delete this message?").keys("n").hides("Delete this message?");
    assert!(ui.sent().is_empty());
    ui.keys("<delete>y");
    assert_eq!(ui.sent(), ["Delete(MessageId(100002))"]);
    let deleted = "100002".parse().unwrap();
    ui.deleted(deleted, "Bob_4572").hides("mine").shows("message removed");
}

#[test]
fn picked_pending_message_stays_picked_once_stored() {
    let mut ui = UiHarness::new(80, 24);
    ui.keys("mine<enter><up>").confirm_sent().keys("<delete><enter>");
    assert_eq!(ui.sent(), ["Delete(MessageId(100001))"]);
}

#[test]
fn message_arriving_between_frames_is_picked_by_id() {
    let mut ui = UiHarness::new(80, 24);
    ui.post_to_all("Ann_1180", "hers");
    let drawn = ui.screen.layout.clone();
    ui.keys("mine<enter>").confirm_sent();
    ui.screen.layout = drawn;
    ui.keys("<up><delete>y");
    assert_eq!(ui.sent(), ["Delete(MessageId(100002))"]);
}

#[test]
fn temporary_message_counts_down_and_expires() {
    let mut ui = UiHarness::new(80, 24);
    ui.keys("<ctrl-t>").shows("expires after 10 s").keys("secret<enter>").confirm_sent();
    ui.hides("expires after").shows("expires in 10 s").wait(3).shows("expires in 7 s");
    ui.wait(6)
        .shows("secret")
        .shows("expires in 1 s")
        .wait(1)
        .hides("secret")
        .shows("message expired");
    assert_eq!(ui.screen.next_wake(ui.now), None, "no countdown is left");
}

#[test]
fn idle_screen_never_wakes() {
    let mut ui = UiHarness::new(80, 24);
    // The read marker is told once.
    ui.post_to_all("Ann_1180", "hello");
    ui.wait(1);
    assert_eq!(ui.screen.next_wake(ui.now), None);
    ui.keys("<ctrl-f>hell").wait(1);
    assert_eq!(ui.screen.next_wake(ui.now), None, "the search is done");
}

/// The rows of the screen beside the sidebar.
fn conversation(screen: &str) -> impl Iterator<Item = String> {
    screen.lines().map(|line| line.chars().skip(18).collect())
}

#[test]
fn new_messages_do_not_move_scrolled_view() {
    let mut ui = UiHarness::new(80, 24);
    for n in 0..60 {
        ui.post_to_all(
            if n % 2 == 0 { "Ann_1180" } else { "Kim_9021" },
            &format!("message number {n}"),
        );
    }
    ui.keys("<pageup><pageup>");
    let before = ui.text();
    assert!(!ui.screen.model.viewport.is_live());
    ui.post_to_all("Ann_1180", "new one");
    ui.post_to_all("Ann_1180", "new two");
    ui.shows("↓ 2 newer");
    let rows = |screen: &str| conversation(screen).skip(1).take(15).collect::<Vec<_>>();
    assert_eq!(rows(&ui.text()), rows(&before));
    ui.keys("<end>").shows("new two").hides("↓ 2 newer");
    ui.keys("<home>").shows("message number 0").keys("<esc>").shows("new two");
}

#[test]
fn search_shows_errors_and_jumps_to_hits() {
    let mut ui = UiHarness::new(80, 24);
    for n in 0..200 {
        ui.post_to_all("Ann_1180", &format!("line {n}"));
    }
    ui.keys("<ctrl-f>line (1").shows("     ^ unclosed group").keys(")[01]?0$").wait(1);
    ui.shows("1 of 3 in 200 messages").shows("line 110").keys("<down><enter>").hides("Search");
    ui.shows("hit 2 of 3").shows("line 100").keys("<ctrl-g>").shows("hit 3 of 3").shows("line 10 ");
    ui.keys("<alt-g>").shows("line 100").keys("<esc>abc").shows("abc");
}

#[test]
fn failed_message_can_be_edited_and_resent() {
    let mut ui = UiHarness::new(80, 24);
    ui.keys("<f2><space><esc>important<enter>");
    let Some(UiEffect::Send(cid, _)) = ui.effects().pop() else { panic!("nothing was sent") };
    let refused = ErrorReply {
        code: ErrorCode::NoRecipient,
        text: SafeText::clean("the server is full"),
        cid,
    };
    ui.server_event(Event::Error(refused)).shows("not sent: the server is full");
    ui.keys("<up><enter>e").hides("not sent").shows("To: [Ann_1180 ×]").keys("!<enter>");
    assert_eq!(ui.sent(), ["Only({Ann_1180}) Plain important!"]);
}

#[test]
fn lost_connection_is_shown_and_loses_no_message() {
    let mut ui = UiHarness::new(80, 24);
    ui.keys("one<enter>");
    ui.sent();
    let failed = client::ClientEvent::Disconnected {
        reason: SafeText::clean("connection refused"),
        retry_in: Duration::from_secs(4),
    };
    ui.client_event(failed.clone())
        .shows("not connected")
        .shows("retrying in 4 s: connection refused")
        .shows("waiting…");
    ui.keys("two<enter>").shows("sent after reconnecting").shows("two");
    assert_eq!(ui.sent(), ["Everyone Plain two"]);
    ui.client_event(client::ClientEvent::Connecting).shows("connecting");
    ui.client_event(failed).shows("retrying in 4 s: connection refused").shows("waiting…");
}

#[test]
fn completion_offers_people_commands_and_ids() {
    let mut ui = UiHarness::new(80, 24);
    ui.server_event(Event::Presence { joined: vec![id("Kim_1111")], left: vec![] });
    let own = ui.post_to_all("Bob_4572", "mine");
    ui.post_to_all("Ann_1180", "hers");
    ui.keys("@k<tab>").shows("Kim_9021").keys("<tab>hey<enter>");
    assert_eq!(ui.sent(), ["Only({Kim_9021}) Plain hey"]);
    ui.keys(".d<tab><tab><enter>");
    assert_eq!(ui.sent(), [format!("Delete({own:?})")]);
    ui.keys("<tab>").shows("Space tick").keys("<esc>");
}

#[test]
fn ctrl_c_clears_then_quits() {
    let mut ui = UiHarness::new(80, 24);
    ui.keys("draft<ctrl-c>").shows("Ctrl-Z restores it").hides("draft").keys("<ctrl-z>");
    ui.shows("draft").keys("<ctrl-c><ctrl-c>").shows("press Ctrl-C again to quit");
    ui.keys("x<backspace><ctrl-c>");
    assert!(ui.effects().is_empty(), "a key in between");
    ui.wait(2).keys("<ctrl-c>");
    assert!(ui.effects().is_empty(), "too late");
    ui.paste("precious").keys("<ctrl-c>");
    assert!(ui.effects().is_empty(), "a paste in between");
    ui.shows("Ctrl-Z restores it").keys("<ctrl-c><ctrl-c>");
    assert_eq!(ui.effects(), [UiEffect::Quit]);
}

#[test]
fn ended_session_stays_readable_and_refused_login_quits() {
    let key = "SHA256:9ekmIZbWsgyWTPBUUUYXPQ6nPRXM2yPMMz1vpCoVOyg";
    let reason = SafeText::clean(&format!("the reason is a long one: {key}"));
    let ended = || client::ClientEvent::Ended { reason: reason.clone() };
    let mut outside = UiHarness::offline(80, 24);
    assert_eq!(outside.client_event(ended()).effects(), [UiEffect::Quit]);

    let mut inside = UiHarness::new(80, 24);
    inside.post_to_all("Ann_1180", "what was said");
    inside
        .client_event(ended())
        .shows("what was said")
        .shows("session ended (Ctrl-Q quits): the re")
        .shows("…");
    inside.shows(key);
    assert_eq!(inside.effects(), []);
}

#[test]
fn copy_returns_unwrapped_text() {
    let mut ui = UiHarness::new(60, 20);
    let long = "a long line that is wrapped on the screen ".repeat(4);
    ui.post("Ann_1180", Audience::Everyone, MessageKind::Plain, &long);
    ui.keys("<up><enter>y");
    assert_eq!(ui.effects(), [UiEffect::Copy(long.trim_end().to_owned())]);
}

#[test]
fn messages_in_all_layouts() {
    for width in [100, 60, 40] {
        let mut ui = UiHarness::new(width, 24);
        let first = ui.post_to_all("Ann_1180", "we deployed 2.4, and the logs look clean so far");
        ui.wait(70).post_to_all("Ann_1180", "an hour to go");
        let reply = MessageKind::Reply { to: first };
        ui.post("Bob_4572", Audience::Everyone, reply, "great, I will watch the p99");
        ui.post("Kim_9021", only(&["Ann_1180", "Bob_4572"]), MessageKind::Plain, "between us");
        ui.keys("pending<enter>");
        insta::assert_snapshot!(format!("bubbles_at_{width}"), ui.text());
        ui.keys("<ctrl-b>").shows("layout: compact");
        insta::assert_snapshot!(format!("compact_at_{width}"), ui.text());
        ui.keys("<ctrl-b>").shows("layout: plain");
        insta::assert_snapshot!(format!("plain_at_{width}"), ui.text());
        ui.keys("<ctrl-b>").shows("layout: bubbles");
    }
}

#[test]
fn time_is_shown_again_in_a_bubble_after_a_minute() {
    let mut ui = UiHarness::new(100, 24);
    ui.post_to_all("Ann_1180", "one");
    ui.wait(20).post_to_all("Ann_1180", "two");
    ui.wait(60).post_to_all("Ann_1180", "three");
    ui.shows("│ two             │").shows("│ three     09:13 │");
    assert_eq!(ui.text().matches("Ann_1180 09:").count(), 1, "one bubble");
}
