//! People talk: each promise is kept on the screen of the one who speaks and of the one who listens.

use crate::support::Server;
use crate::support::screen::{ROOMY, Screen, key};

/// Two people who see each other.
pub(super) fn ann_and_bob(server: &Server) -> (Screen, Screen) {
    let ann = Screen::join(server, "Ann");
    let bob = Screen::join(server, "Bob");
    ann.wait_for(&format!("→ {} joined", bob.id()));
    bob.wait_for(&format!("[ ] {}", ann.id()));
    (ann, bob)
}

#[test]
fn the_first_frame_says_where_one_is_and_what_to_do() {
    let server = Server::start();
    let ann = Screen::join(&server, "Ann");
    for words in
        ["● TLS 1.3", "0 others here", "[x] everyone", "To: everyone", "F1 help", "Ctrl-Q quit"]
    {
        ann.wait_for(words);
    }
    ann.wait_for(&format!("chat  {}", server.address));
}

#[test]
fn people_talk_in_bubbles_own_right_others_left() {
    let server = Server::start();
    let (mut ann, mut bob) = ann_and_bob(&server);
    ann.say("good morning");
    bob.wait_for("│ good morning");
    bob.say("morning to you");
    for (screen, own, other) in
        [(&ann, "good morning", "morning to you"), (&bob, "morning to you", "good morning")]
    {
        let people = screen.find("everyone").1;
        let (own, other) = (screen.find(own).1, screen.find(other).1);
        assert!(people < other && other < ROOMY.1 / 2 && ROOMY.1 / 2 < own, "{own} {other}");
    }
    bob.wait_for(&format!("─ {} ", ann.id()));
}

#[test]
fn a_click_on_a_person_makes_a_message_theirs_alone() {
    let server = Server::start();
    let (mut ann, bob) = ann_and_bob(&server);
    let kim = Screen::join(&server, "Kim");
    ann.wait_for(&kim.id());
    ann.click(&format!("[ ] {}", bob.id()));
    ann.wait_for(&format!("To: [{} ×] private", bob.id()));
    ann.say("psst");
    bob.wait_for("│ psst");
    bob.wait_for(&format!("{} → you private", ann.id()));
    ann.click(&format!("[{} ×]", bob.id()));
    ann.wait_for("To: everyone");
    ann.say("said aloud");
    kim.wait_for("│ said aloud");
    assert!(!kim.raw().contains("psst"));
}

#[test]
fn a_reply_by_keys_shows_what_it_answers() {
    let server = Server::start();
    let (mut ann, mut bob) = ann_and_bob(&server);
    bob.say("is it deployed?");
    ann.wait_for("│ is it deployed?");
    ann.keys(key::UP);
    ann.wait_for("r reply");
    ann.keys("r");
    ann.wait_for(&format!("reply to {}: is it deployed?", bob.id()));
    ann.say("since nine");
    bob.wait_for("┃ you: is it deployed?");
    assert_eq!(bob.row_of("┃ you: is it") + 1, bob.row_of("│ since nine"));
}

#[test]
fn a_deleted_message_vanishes_everywhere() {
    let server = Server::start();
    let (mut ann, bob) = ann_and_bob(&server);
    ann.say("oops");
    bob.wait_for("│ oops");
    ann.wait_gone("sending…");
    ann.keys(key::UP);
    ann.wait_for("d delete");
    ann.keys("d");
    ann.wait_for("Delete this message?");
    ann.keys("y");
    for screen in [&ann, &bob] {
        screen.wait_for("message removed");
        screen.wait_gone("oops");
    }
}

#[test]
fn a_temporary_message_counts_down_and_expires() {
    let server = Server::start();
    let (mut ann, bob) = ann_and_bob(&server);
    ann.say(".temp 2 the door code is 4711");
    bob.wait_for("│ the door code is 4711");
    bob.wait_for("gone in 1 s");
    for screen in [&ann, &bob] {
        screen.wait_for("message expired");
        screen.wait_gone("4711");
    }
}

#[test]
fn a_search_highlights_what_it_finds_and_jumps_to_it() {
    let server = Server::start();
    let mut ann = Screen::join(&server, "Ann");
    let mut bob = server.ours("Bob");
    ann.wait_for("→ Bob_");
    for n in 0..60 {
        bob.say(&format!("ticket {n} is done"));
    }
    ann.wait_for("│ ticket 59 is done");
    ann.keys(key::CTRL_F);
    ann.wait_for("a regular expression, such as");
    ann.keys("TICKET (3");
    ann.wait_for("^ unclosed group");
    ann.keys("|4)[37] ");
    ann.wait_for("1 of 4 in 60 messages");
    let hit = ann.cell_of("ticket 33 ");
    assert!(hit.inverse() && hit.bold(), "{hit:?}");
    assert!(!ann.cell_of("is done").inverse() || ann.row_of("is done") == ann.row_of("ticket 47"));
    ann.keys(key::UP);
    ann.keys("\x1b[B\x1b[B\x1b[B");
    ann.wait_for("4 of 4 in 60 messages");
    ann.keys(key::ENTER);
    ann.wait_for("hit 4 of 4: n and N go on");
    ann.wait_for("│ ticket 33 is done");
    ann.wait_gone("ticket 59 is done");
}
