//! Talking: sending, replying, deleting, expiring, searching, scrolling, being cut off.

use std::time::Duration;

use super::stage::{Stage, id, only};
use crate::client;
use crate::protocol::error::ErrorCode;
use crate::protocol::event::{Event, Refused};
use crate::protocol::id::{MessageId, Seq};
use crate::protocol::message::{Audience, Kind, Message};
use crate::protocol::text::SafeText;
use crate::tui::model::{Effect, Scroll};

#[test]
fn enter_sends_and_the_echo_confirms() {
    let mut stage = Stage::new(80, 24);
    stage.keys("hello there<enter>").shows("waiting…").hides("│ hello there  │ hello");
    stage.handed_over().shows("sending…").hides("waiting…");
    assert_eq!(stage.sent().len(), 1);
    stage.keys("again<enter>").echo().shows("again").hides("waiting…");
    let screen = stage.screen();
    assert_eq!(screen.matches("sending…").count(), 1, "the first was never confirmed:\n{screen}");
}

#[test]
fn who_has_shown_no_key_is_marked() {
    let mut stage = Stage::new(80, 24);
    stage.says("Ann_1180", "I am Ann");
    let guest = Message {
        seq: Seq(2),
        id: MessageId::from_number(100_002).unwrap(),
        sender: id("Ann_1181"),
        guest: true,
        ..stage.logged(1)
    };
    stage.server(Event::Said(guest));
    stage.server(Event::Guests(vec![id("Ann_1181")]));
    stage.server(Event::Presence { joined: vec![id("Ann_1181")], left: vec![] });
    stage.shows("[ ] Ann_1181 (?)").shows("[ ] Ann_1180   ");
    stage.shows("Ann_1180 09:12").shows("Ann_1181 (?) 09:12");
    stage.keys("@Ann_1181 hi").shows("To: [Ann_1181 (?)] private").keys("<ctrl-c>");
    stage.keys("<up>r").shows("Ann_1181 (?): message number 1");
    stage.keys("<esc><ctrl-f>message").shows("Ann_1181 (?)  message number 1");
}

#[test]
fn three_keys_begin_a_new_line_and_a_paste_never_sends() {
    let mut stage = Stage::new(80, 24);
    stage.keys("a<alt-enter>b<shift-enter>c<ctrl-j>d");
    assert!(stage.sent().is_empty());
    stage.paste("\nrm -rf /\n.exit\x1b[31m");
    assert!(stage.effects().is_empty());
    stage.keys("<enter>");
    assert_eq!(stage.sent(), ["Everyone Plain a\nb\nc\nd\nrm -rf /\n.exit[31m"]);
}

#[test]
fn the_to_line_says_who_gets_it() {
    let mut stage = Stage::new(100, 24);
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
fn the_commands_of_the_original() {
    let mut stage = Stage::new(100, 24);
    let first = stage.says("Ann_1180", "one");
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
    assert_eq!(stage.effects(), [Effect::Quit]);
}

#[test]
fn a_reply_goes_where_its_message_went() {
    let mut stage = Stage::new(100, 24);
    stage.says("Ann_1180", "public");
    stage.said("Kim_9021", only(&["Bob_4572", "Ann_1180"]), Kind::Plain, "private");
    stage.keys("<up>").shows("message 100002").keys("r");
    stage.shows("┃ reply to Kim_9021: private").shows("To: [Ann_1180 ×] [Kim_9021 ×]");
    stage.keys("<esc>").shows("To: everyone").keys("<ctrl-r>sure<enter>");
    assert_eq!(stage.sent(), ["Only({Ann_1180, Kim_9021}) Reply { to: MessageId(100002) } sure"]);
    stage.shows("To: everyone");
}

#[test]
fn only_ones_own_messages_can_be_deleted_and_only_after_a_question() {
    let mut stage = Stage::new(80, 24);
    stage.says("Ann_1180", "hers");
    stage.keys("<up>d").shows("only its author can delete").keys("<esc>");
    stage.says("Bob_4572", "mine");
    stage.keys("<up>d").shows("Delete this message?").keys("n").hides("Delete this message?");
    assert!(stage.sent().is_empty());
    stage.keys("dy");
    assert_eq!(stage.sent(), ["Delete(MessageId(100002))"]);
    let gone = "100002".parse().unwrap();
    stage.deleted(gone, "Bob_4572").hides("mine").shows("message removed");
}

#[test]
fn a_message_picked_on_its_way_stays_picked_when_it_arrives() {
    let mut stage = Stage::new(80, 24);
    stage.keys("mine<enter><up>").echo().keys("dy");
    assert_eq!(stage.sent(), ["Delete(MessageId(100001))"]);
}

#[test]
fn a_message_that_arrives_between_two_frames_is_picked_as_what_it_is() {
    let mut stage = Stage::new(80, 24);
    stage.says("Ann_1180", "hers");
    let drawn = stage.model.areas.clone();
    stage.keys("mine<enter>").echo();
    stage.model.areas = drawn;
    stage.keys("<up>dy");
    assert_eq!(stage.sent(), ["Delete(MessageId(100002))"]);
}

#[test]
fn a_temporary_message_counts_down_and_vanishes() {
    let mut stage = Stage::new(80, 24);
    stage.keys("<ctrl-t>").shows("gone after 10 s").keys("secret<enter>").echo();
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
fn nothing_wakes_an_idle_screen() {
    let mut stage = Stage::new(80, 24);
    stage.says("Ann_1180", "hello");
    assert_eq!(stage.model.next_wake(stage.now), None);
    stage.keys("<ctrl-f>hell").wait(1);
    assert_eq!(stage.model.next_wake(stage.now), None, "the search is done");
}

#[test]
fn reading_further_up_is_never_disturbed() {
    let mut stage = Stage::new(80, 24);
    for n in 0..60 {
        stage
            .says(if n % 2 == 0 { "Ann_1180" } else { "Kim_9021" }, &format!("message number {n}"));
    }
    stage.keys("<pageup><pageup>");
    let before = stage.screen();
    assert!(matches!(stage.model.scroll, Scroll::At { .. }));
    stage.says("Ann_1180", "new one");
    stage.says("Ann_1180", "new two");
    stage.shows("↓ 2 new");
    let talk =
        |screen: &str| screen.lines().skip(1).take(15).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(talk(&stage.screen()), talk(&before));
    stage.keys("<end>").shows("new two").hides("↓ 2 new");
    stage.keys("<home>").shows("message number 0").keys("<esc>").shows("new two");
}

#[test]
fn a_search_says_what_is_wrong_and_jumps_to_what_it_finds() {
    let mut stage = Stage::new(80, 24);
    for n in 0..200 {
        stage.says("Ann_1180", &format!("line {n}"));
    }
    stage.keys("<ctrl-f>line (1").shows("     ^ unclosed group").keys(")[01]?0$").wait(1);
    stage.shows("1 of 3 in 200 messages").shows("line 110").keys("<down><enter>").hides("Search");
    stage.shows("hit 2 of 3").shows("line 100").keys("n").shows("hit 3 of 3").shows("line 10 ");
    stage.keys("N").shows("line 100").keys("<esc>abc").shows("abc");
}

#[test]
fn what_could_not_be_sent_can_be_edited_and_sent_again() {
    let mut stage = Stage::new(80, 24);
    stage.keys("<f2><down><space><esc>important<enter>");
    let Some(Effect::Send(cid, _)) = stage.effects().pop() else { panic!("nothing was sent") };
    let refused =
        Refused { code: ErrorCode::NoRecipient, text: SafeText::clean("the server is full"), cid };
    stage.server(Event::Refused(refused)).shows("not sent: the server is full");
    stage.keys("<alt-e><up>e").hides("not sent").shows("To: [Ann_1180 ×]").keys("!<enter>");
    assert_eq!(stage.sent(), ["Only({Ann_1180}) Plain important!"]);
}

#[test]
fn a_lost_connection_is_said_and_loses_no_draft() {
    let mut stage = Stage::new(80, 24);
    stage.keys("one<enter>");
    stage.sent();
    let failed = client::Event::Disconnected {
        reason: SafeText::clean("nobody answers"),
        retry_in: Duration::from_secs(4),
    };
    stage
        .client(failed.clone())
        .shows("not connected")
        .shows("again in 4 s: nobody answers")
        .shows("waiting…");
    stage.keys("two<enter>").shows("not connected: it waits here").shows("two");
    assert_eq!(stage.sent(), ["Everyone Plain two"]);
    stage.client(client::Event::Connecting).shows("connecting");
    stage.client(failed).shows("again in 4 s: nobody answers").shows("waiting…");
}

#[test]
fn completion_offers_people_commands_and_ids() {
    let mut stage = Stage::new(80, 24);
    stage.server(Event::Presence { joined: vec![id("Kim_1111")], left: vec![] });
    let own = stage.says("Bob_4572", "mine");
    stage.says("Ann_1180", "hers");
    stage.keys("@k<tab>").shows("Kim_9021").keys("<tab>hey<enter>");
    assert_eq!(stage.sent(), ["Only({Kim_9021}) Plain hey"]);
    stage.keys(".d<tab><tab><enter>");
    assert_eq!(stage.sent(), [format!("Delete({own:?})")]);
    stage.keys("<tab>").shows("add or remove").keys("<esc>");
}

#[test]
fn ctrl_c_clears_and_only_then_leaves() {
    let mut stage = Stage::new(80, 24);
    stage.keys("draft<ctrl-c>").shows("Ctrl-C once more leaves").hides("draft");
    stage.keys("x<ctrl-c>");
    assert!(stage.effects().is_empty());
    stage.keys("<ctrl-c>");
    assert_eq!(stage.effects(), [Effect::Quit]);
}

#[test]
fn whoever_is_put_out_can_still_read_and_whoever_never_came_in_is_not_kept() {
    let key = "SHA256:9ekmIZbWsgyWTPBUUUYXPQ6nPRXM2yPMMz1vpCoVOyg";
    let reason = SafeText::clean(&format!("the reason is a long one: {key}"));
    let ended = || client::Event::Ended { reason: reason.clone() };
    let mut outside = Stage::offline(80, 24);
    assert_eq!(outside.client(ended()).effects(), [Effect::Quit]);

    let mut inside = Stage::new(80, 24);
    inside.says("Ann_1180", "what was said");
    inside.client(ended()).shows("what was said").shows("Ctrl-Q leaves: the reason").shows("…");
    inside.shows(key);
    assert_eq!(inside.effects(), []);
}

#[test]
fn copying_gives_the_text_as_it_was_written() {
    let mut stage = Stage::new(60, 20);
    let long = "a long line that is wrapped on the screen ".repeat(4);
    stage.said("Ann_1180", Audience::Everyone, Kind::Plain, &long);
    stage.keys("<up>y");
    assert_eq!(stage.effects(), [Effect::Copy(long.trim_end().to_owned())]);
}
