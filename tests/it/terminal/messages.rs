//! Posting, replying, deleting and searching on the screens of the sender and the recipients.

use super::join_ann_and_bob;
use crate::support::TestServer;
use crate::support::pty::{DEFAULT_SIZE, PtyProgram, key};

#[test]
fn first_frame_shows_server_and_key_hints() {
    let server = TestServer::start();
    let ann = PtyProgram::join(&server, "Ann");
    for text in ["● TLS 1.3", "1 online", "▌ Everyone", "To: everyone", "F1 help", "Alt-A unread"]
    {
        ann.wait_for(text);
    }
    ann.wait_for(&format!("chat  {}", server.address));
}

#[test]
fn own_bubbles_are_right_and_others_left() {
    let server = TestServer::start();
    let (mut ann, mut bob) = join_ann_and_bob(&server);
    ann.submit("good morning");
    bob.wait_for("│ good morning");
    bob.submit("morning to you");
    for (screen, own, other) in
        [(&ann, "good morning", "morning to you"), (&bob, "morning to you", "good morning")]
    {
        let users = screen.find("▌ Everyone").1;
        let (own, other) = (screen.find(own).1, screen.find(other).1);
        assert!(
            users < other && other < DEFAULT_SIZE.1 / 2 && DEFAULT_SIZE.1 / 2 < own,
            "{own} {other}"
        );
    }
    bob.wait_for(&format!("─ {} ", ann.id()));
}

#[test]
fn click_on_a_user_makes_the_message_private() {
    let server = TestServer::start();
    let (mut ann, mut bob) = join_ann_and_bob(&server);
    let kim = PtyProgram::join(&server, "Kim");
    let (ann_id, bob_id) = (ann.id(), bob.id());
    ann.wait_for(&kim.id());
    ann.click(&format!("[ ] {bob_id}"));
    ann.wait_for(&format!("To: [{bob_id} ×] private"));
    ann.submit("psst");
    bob.wait_for(&format!("new direct message from {ann_id}"));
    bob.click(&format!("[ ] {ann_id}"));
    bob.wait_for("│ psst");
    bob.wait_for(&format!("{ann_id} → you private"));
    ann.click(&format!("[{bob_id} ×]"));
    ann.wait_for("To: everyone");
    ann.submit("said aloud");
    kim.wait_for("│ said aloud");
    assert!(!kim.raw().contains("psst"));
}

#[test]
fn reply_by_keys_quotes_the_message() {
    let server = TestServer::start();
    let (mut ann, mut bob) = join_ann_and_bob(&server);
    bob.submit("is it deployed?");
    ann.wait_for("│ is it deployed?");
    ann.keys(key::UP);
    ann.wait_for("Enter menu");
    ann.keys(key::ENTER);
    ann.wait_for("r  reply");
    ann.keys("r");
    ann.wait_for(&format!("reply to {}: is it deployed?", bob.id()));
    ann.submit("since nine");
    bob.wait_for("┃ you: is it deployed?");
    assert_eq!(bob.row_of("┃ you: is it") + 1, bob.row_of("│ since nine"));
}

#[test]
fn deleted_message_disappears_on_all_screens() {
    let server = TestServer::start();
    let (mut ann, bob) = join_ann_and_bob(&server);
    ann.submit("oops");
    bob.wait_for("│ oops");
    ann.wait_until_gone("sending…");
    ann.keys(key::UP);
    ann.wait_for("Enter menu");
    ann.keys(key::ENTER);
    ann.wait_for("d  delete");
    ann.keys("d");
    ann.wait_for("Delete this message?");
    ann.keys(key::ENTER);
    for screen in [&ann, &bob] {
        screen.wait_for("message removed");
        screen.wait_until_gone("oops");
    }
}

#[test]
fn edit_and_reaction_by_keys_reach_the_other_screen() {
    let server = TestServer::start();
    let (mut ann, mut bob) = join_ann_and_bob(&server);
    ann.submit("deploy at ten");
    bob.wait_for("│ deploy at ten");
    bob.keys(key::UP);
    bob.wait_for("Enter menu");
    bob.keys(key::ENTER);
    bob.wait_for("+  react");
    bob.keys("+");
    bob.wait_for("React");
    bob.keys("rocket");
    bob.wait_for("🚀  rocket");
    bob.keys(key::ENTER);
    ann.wait_for("🚀 1  ✓");
    ann.keys(key::UP);
    ann.wait_for("Enter menu");
    ann.keys(key::ENTER);
    ann.wait_for("e  edit");
    ann.keys("e");
    ann.wait_for("editing  To: everyone");
    ann.submit(" sharp");
    for screen in [&ann, &bob] {
        screen.wait_for("│ deploy at ten sharp");
        screen.wait_for("edited  🚀 1");
    }
    ann.wait_until_gone("editing");
}

#[test]
fn room_is_made_filled_and_found_by_what_was_missed_in_it() {
    let server = TestServer::start();
    let (mut ann, mut bob) = join_ann_and_bob(&server);
    ann.keys(key::F4);
    ann.wait_for("no rooms yet");
    ann.keys("ops");
    ann.wait_for("+ create #ops");
    ann.keys(key::ENTER);
    ann.wait_for("To: #ops · 1 person");
    ann.submit(&format!(".add @{}", bob.id()));
    ann.wait_for("To: #ops · 2 people");
    bob.wait_for("  #ops");
    bob.keys("for everybody");
    bob.wait_for("│ for everybody");
    ann.submit(&format!("can you look, @{}?", bob.id()));
    bob.wait_for("@1");
    bob.wait_for("1 unread · @1");
    bob.keys(key::ALT_A);
    bob.wait_for("To: #ops · 2 people");
    bob.wait_for("can you look");
    bob.wait_until_gone("unread · @1");
    bob.wait_for("draft");
    bob.submit("looking");
    ann.wait_for("│ looking");
    bob.keys(key::ALT_UP);
    bob.wait_for("│ for everybody");
    bob.wait_for("To: everyone");
}

#[test]
fn temporary_message_counts_down_and_expires() {
    let server = TestServer::start();
    let (mut ann, bob) = join_ann_and_bob(&server);
    ann.submit(".temp 2 the door code is 4711");
    bob.wait_for("│ the door code is 4711");
    bob.wait_for("expires in 1 s");
    for screen in [&ann, &bob] {
        screen.wait_for("message expired");
        screen.wait_until_gone("4711");
    }
}

#[test]
fn search_highlights_hits_and_jumps_to_them() {
    let server = TestServer::start();
    let mut ann = PtyProgram::join(&server, "Ann");
    let mut bob = server.join("Bob");
    ann.wait_for("→ Bob_");
    for n in 0..60 {
        bob.post(&format!("ticket {n} is done"));
    }
    ann.wait_for("│ ticket 59 is done");
    ann.keys(key::CTRL_F);
    ann.wait_for("a regular expression");
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
    ann.wait_for("hit 4 of 4 (Ctrl-G: older, Alt-G: newer)");
    ann.wait_for("│ ticket 33 is done");
    ann.wait_until_gone("ticket 59 is done");
}

#[test]
fn message_can_have_several_lines() {
    let server = TestServer::start();
    let (mut ann, bob) = join_ann_and_bob(&server);
    let lines =
        ["first", key::ALT_ENTER, "second", key::CTRL_J, "third", key::SHIFT_ENTER, "fourth"];
    ann.keys(&lines.concat());
    ann.wait_for("│ fourth");
    ann.keys(key::ENTER);
    bob.wait_for("│ fourth");
    let rows = ["first", "second", "third", "fourth"].map(|line| bob.row_of(&format!("│ {line}")));
    assert_eq!(rows, [0, 1, 2, 3].map(|n| rows[0] + n));
}

#[test]
fn paste_is_not_sent_automatically() {
    let server = TestServer::start();
    let (mut ann, bob) = join_ann_and_bob(&server);
    ann.keys("\x1b[200~pasted\ras it\r\nis\r\x1b[201~");
    ann.wait_for("│ is");
    assert_eq!(ann.count("pasted"), 1, "in the input alone:\n{}", ann.contents());
    assert!(ann.row_of("To: everyone") < ann.row_of("pasted"));
    ann.submit(", and no more");
    bob.wait_for("│ is, and no more");
    assert_eq!(bob.row_of("│ pasted") + 2, bob.row_of("│ is, and no more"));
}

#[test]
fn burst_of_input_is_not_lost() {
    let server = TestServer::start();
    let (mut ann, bob) = join_ann_and_bob(&server);
    ann.submit(&format!("{}and the end", "word ".repeat(500)));
    bob.wait_for("word and the end");
}
