//! Talking: sending, replying, deleting, expiring, searching, scrolling, being cut off.

use std::time::Duration;

use super::harness::{UiHarness, id, only};
use crate::client;
use crate::protocol::error::ErrorCode;
use crate::protocol::event::{ErrorReply, Event};
use crate::protocol::id::{MessageId, Seq};
use crate::protocol::message::{Audience, Message, MessageKind};
use crate::protocol::text::SafeText;
use crate::tui::model::{UiEffect, Viewport};

#[test]
fn enter_sends_and_echo_confirms() {
    let mut stage = UiHarness::new(80, 24);
    stage.keys("hello there<enter>").shows("waiting…").hides("│ hello there  │ hello");
    stage.mark_as_sending().shows("sending…").hides("waiting…");
    assert_eq!(stage.sent().len(), 1);
    stage.keys("again<enter>").confirm_sent().shows("again").hides("waiting…");
    let screen = stage.screen();
    assert_eq!(screen.matches("sending…").count(), 1, "the first was never confirmed:\n{screen}");
}

#[test]
fn guest_is_marked_unverified() {
    let mut stage = UiHarness::new(80, 24);
    stage.post_to_all("Ann_1180", "I am Ann");
    let guest = Message {
        seq: Seq(2),
        id: MessageId::from_number(100_002).unwrap(),
        sender: id("Ann_1181"),
        guest: true,
        ..stage.logged_message(1)
    };
    stage.server_event(Event::Posted(guest));
    stage.server_event(Event::Guests(vec![id("Ann_1181")]));
    stage.server_event(Event::Presence { joined: vec![id("Ann_1181")], left: vec![] });
    stage.shows("[ ] Ann_1181 (?)").shows("[ ] Ann_1180   ");
    stage.shows("Ann_1180 09:12").shows("Ann_1181 (?) 09:12");
    stage.keys("@Ann_1181 hi").shows("To: [Ann_1181 (?)] private").keys("<ctrl-c>");
    stage.keys("<up>r").shows("Ann_1181 (?): message number 1");
    stage.keys("<esc><ctrl-f>message").shows("Ann_1181 (?)  message number 1");
}

#[test]
fn new_line_keys_work_and_paste_never_sends() {
    let mut stage = UiHarness::new(80, 24);
    stage.keys("a<alt-enter>b<shift-enter>c<ctrl-j>d");
    assert!(stage.sent().is_empty());
    stage.paste("\nrm -rf /\n.exit\x1b[31m");
    assert!(stage.effects().is_empty());
    stage.keys("<enter>");
    assert_eq!(stage.sent(), ["Everyone Plain a\nb\nc\nd\nrm -rf /\n.exit[31m"]);
}

#[test]
fn to_line_names_the_recipients() {
    let mut stage = UiHarness::new(100, 24);
    stage.shows("To: everyone");
    stage.keys("<f2><down><space><esc>").shows("To: [Ann_1180 ×] private: nobody else sees it");
    stage.keys("psst<enter>");
    assert_eq!(stage.sent(), ["Only({Ann_1180}) Plain psst"]);
    stage.shows("To: [Ann_1180 ×]").keys("<alt-e>").shows("To: everyone");
    stage.keys("@kim hi").shows("To: [Kim_9021] private").keys("<enter>");
    assert_eq!(stage.sent(), ["Only({Kim_9021}) Plain hi"]);
    stage.shows("To: everyone").keys("@Zed hi").shows("nobody here is called Zed").keys("<enter>");
    assert!(stage.sent().is_empty());
    stage.shows("@Zed hi");
}

#[test]
fn original_dot_commands_work() {
    let mut stage = UiHarness::new(100, 24);
    let first = stage.post_to_all("Ann_1180", "one");
    stage.keys(".temp gone soon<enter>.temp 60 @Ann_1180 gone later<enter>");
    stage.keys(&format!(".reply {first} yes<enter>.delete {first}<enter>.dance<enter>"));
    assert_eq!(
        stage.sent(),
        [
            "Everyone Temporary { seconds: 10 } gone soon".to_owned(),
            "Only({Ann_1180}) Temporary { seconds: 60 } gone later".to_owned(),
            format!("Everyone Reply {{ to: {first:?} }} yes"),
            format!("Delete({first:?})"),
        ]
    );
    stage.shows("there is no command .dance").keys("<ctrl-c>.search o.e<enter>").wait(1);
    stage.shows("1 of 1 in 1 messages").keys("<esc>.exit<enter>");
    assert_eq!(stage.effects(), [UiEffect::Quit]);
}

#[test]
fn reply_goes_to_the_audience_of_its_message() {
    let mut stage = UiHarness::new(100, 24);
    stage.post_to_all("Ann_1180", "public");
    stage.post("Kim_9021", only(&["Bob_4572", "Ann_1180"]), MessageKind::Plain, "private");
    stage.keys("<up>").shows("message 100002").keys("r");
    stage.shows("┃ reply to Kim_9021: private").shows("To: [Ann_1180 ×] [Kim_9021 ×]");
    stage.keys("<esc>").shows("To: everyone").keys("<ctrl-r>sure<enter>");
    assert_eq!(stage.sent(), ["Only({Ann_1180, Kim_9021}) Reply { to: MessageId(100002) } sure"]);
    stage.shows("To: everyone");
}

#[test]
fn own_messages_are_deleted_only_after_confirmation() {
    let mut stage = UiHarness::new(80, 24);
    stage.post_to_all("Ann_1180", "hers");
    stage.keys("<up>d").shows("only its author can delete").keys("<esc>");
    stage.post_to_all("Bob_4572", "mine");
    stage.keys("<up>d").shows("Delete this message?").keys("n").hides("Delete this message?");
    assert!(stage.sent().is_empty());
    stage.keys("dy");
    assert_eq!(stage.sent(), ["Delete(MessageId(100002))"]);
    let gone = "100002".parse().unwrap();
    stage.deleted(gone, "Bob_4572").hides("mine").shows("message removed");
}

#[test]
fn picked_pending_message_stays_picked_once_stored() {
    let mut stage = UiHarness::new(80, 24);
    stage.keys("mine<enter><up>").confirm_sent().keys("dy");
    assert_eq!(stage.sent(), ["Delete(MessageId(100001))"]);
}

#[test]
fn message_arriving_between_frames_is_picked_by_id() {
    let mut stage = UiHarness::new(80, 24);
    stage.post_to_all("Ann_1180", "hers");
    let drawn = stage.model.layout.clone();
    stage.keys("mine<enter>").confirm_sent();
    stage.model.layout = drawn;
    stage.keys("<up>dy");
    assert_eq!(stage.sent(), ["Delete(MessageId(100002))"]);
}

#[test]
fn temporary_message_counts_down_and_expires() {
    let mut stage = UiHarness::new(80, 24);
    stage.keys("<ctrl-t>").shows("gone after 10 s").keys("secret<enter>").confirm_sent();
    stage.hides("gone after").shows("gone in 10 s").wait(3).shows("gone in 7 s");
    stage
        .wait(6)
        .shows("secret")
        .shows("gone in 1 s")
        .wait(1)
        .hides("secret")
        .shows("message expired");
    assert_eq!(stage.model.next_wake(stage.now), None, "nothing counts down any more");
}

#[test]
fn idle_screen_never_wakes() {
    let mut stage = UiHarness::new(80, 24);
    stage.post_to_all("Ann_1180", "hello");
    assert_eq!(stage.model.next_wake(stage.now), None);
    stage.keys("<ctrl-f>hell").wait(1);
    assert_eq!(stage.model.next_wake(stage.now), None, "the search is done");
}

#[test]
fn new_messages_do_not_move_scrolled_view() {
    let mut stage = UiHarness::new(80, 24);
    for n in 0..60 {
        stage.post_to_all(
            if n % 2 == 0 { "Ann_1180" } else { "Kim_9021" },
            &format!("message number {n}"),
        );
    }
    stage.keys("<pageup><pageup>");
    let before = stage.screen();
    assert!(matches!(stage.model.viewport, Viewport::Anchored { .. }));
    stage.post_to_all("Ann_1180", "new one");
    stage.post_to_all("Ann_1180", "new two");
    stage.shows("↓ 2 new");
    let talk =
        |screen: &str| screen.lines().skip(1).take(15).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(talk(&stage.screen()), talk(&before));
    stage.keys("<end>").shows("new two").hides("↓ 2 new");
    stage.keys("<home>").shows("message number 0").keys("<esc>").shows("new two");
}

#[test]
fn search_shows_errors_and_jumps_to_hits() {
    let mut stage = UiHarness::new(80, 24);
    for n in 0..200 {
        stage.post_to_all("Ann_1180", &format!("line {n}"));
    }
    stage.keys("<ctrl-f>line (1").shows("     ^ unclosed group").keys(")[01]?0$").wait(1);
    stage.shows("1 of 3 in 200 messages").shows("line 110").keys("<down><enter>").hides("Search");
    stage.shows("hit 2 of 3").shows("line 100").keys("n").shows("hit 3 of 3").shows("line 10 ");
    stage.keys("N").shows("line 100").keys("<esc>abc").shows("abc");
}

#[test]
fn failed_message_can_be_edited_and_resent() {
    let mut stage = UiHarness::new(80, 24);
    stage.keys("<f2><down><space><esc>important<enter>");
    let Some(UiEffect::Send(cid, _)) = stage.effects().pop() else { panic!("nothing was sent") };
    let refused = ErrorReply {
        code: ErrorCode::NoRecipient,
        text: SafeText::clean("the server is full"),
        cid,
    };
    stage.server_event(Event::Error(refused)).shows("not sent: the server is full");
    stage.keys("<alt-e><up>e").hides("not sent").shows("To: [Ann_1180 ×]").keys("!<enter>");
    assert_eq!(stage.sent(), ["Only({Ann_1180}) Plain important!"]);
}

#[test]
fn lost_connection_is_shown_and_loses_no_message() {
    let mut stage = UiHarness::new(80, 24);
    stage.keys("one<enter>");
    stage.sent();
    let failed = client::ClientEvent::Disconnected {
        reason: SafeText::clean("nobody answers"),
        retry_in: Duration::from_secs(4),
    };
    stage
        .client_event(failed.clone())
        .shows("not connected")
        .shows("again in 4 s: nobody answers")
        .shows("waiting…");
    stage.keys("two<enter>").shows("not connected: it waits here").shows("two");
    assert_eq!(stage.sent(), ["Everyone Plain two"]);
    stage.client_event(client::ClientEvent::Connecting).shows("connecting");
    stage.client_event(failed).shows("again in 4 s: nobody answers").shows("waiting…");
}

#[test]
fn completion_offers_people_commands_and_ids() {
    let mut stage = UiHarness::new(80, 24);
    stage.server_event(Event::Presence { joined: vec![id("Kim_1111")], left: vec![] });
    let own = stage.post_to_all("Bob_4572", "mine");
    stage.post_to_all("Ann_1180", "hers");
    stage.keys("@k<tab>").shows("Kim_9021").keys("<tab>hey<enter>");
    assert_eq!(stage.sent(), ["Only({Kim_9021}) Plain hey"]);
    stage.keys(".d<tab><tab><enter>");
    assert_eq!(stage.sent(), [format!("Delete({own:?})")]);
    stage.keys("<tab>").shows("add or remove").keys("<esc>");
}

#[test]
fn ctrl_c_clears_then_quits() {
    let mut stage = UiHarness::new(80, 24);
    stage.keys("draft<ctrl-c>").shows("Ctrl-C once more leaves").hides("draft");
    stage.keys("x<ctrl-c>");
    assert!(stage.effects().is_empty());
    stage.keys("<ctrl-c>");
    assert_eq!(stage.effects(), [UiEffect::Quit]);
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
        .shows("Ctrl-Q leaves: the reason")
        .shows("…");
    inside.shows(key);
    assert_eq!(inside.effects(), []);
}

#[test]
fn copy_returns_unwrapped_text() {
    let mut stage = UiHarness::new(60, 20);
    let long = "a long line that is wrapped on the screen ".repeat(4);
    stage.post("Ann_1180", Audience::Everyone, MessageKind::Plain, &long);
    stage.keys("<up>y");
    assert_eq!(stage.effects(), [UiEffect::Copy(long.trim_end().to_owned())]);
}
