//! Conversations: the sidebar, who gets a message, drafts, what one missed, and rooms.

use chrono::TimeDelta;
use crossterm::event::{Event as TerminalEvent, MouseEventKind};

use super::harness::{UiHarness, conversation_info, id, only, room};
use crate::protocol::error::ErrorCode;
use crate::protocol::event::{ErrorReply, Event};
use crate::protocol::id::{Seq, UserId};
use crate::protocol::mention::Mentions;
use crate::protocol::message::{Audience, Message, MessageKind};
use crate::protocol::request::Request;
use crate::protocol::room::{RoomChange, RoomChanged, RoomList, RoomState, UserList};
use crate::protocol::text::SafeText;
use crate::tui::event::UiEffect;

/// Ann writes to #ops and mentions Bob.
fn mention(ui: &mut UiHarness, number: u32) {
    let message = Message {
        seq: Seq(u64::from(number)),
        sender: id("Ann_1180"),
        audience: room("#ops"),
        content: SafeText::clean("@Bob_4572 can you look?"),
        mentions: Mentions::Users(vec![id("Bob_4572")]),
        ..ui.logged_message(0)
    };
    let message = Message {
        id: crate::protocol::id::MessageId::from_number(100_000 + number).unwrap(),
        ..message
    };
    ui.server_event(Event::Posted(message));
}

/// What the sidebar shows in the row that contains `name`.
#[track_caller]
fn row(ui: &UiHarness, name: &str) -> String {
    let screen = ui.text();
    let rows = screen.lines().skip(1).filter_map(|line| line.split_once('│'));
    let row = rows.map(|(row, _)| row).find(|row| row.contains(name));
    row.unwrap_or_else(|| panic!("no row {name}:\n{screen}"))
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

/// The server answers the request for the members of #ops.
fn load_members(ui: &mut UiHarness, users: &[&str]) {
    let cid = ui.all_effects().into_iter().find_map(|effect| match effect {
        UiEffect::Send(cid, Request::Users { room: Some(_), .. }) => cid,
        _ => None,
    });
    let users = users.iter().map(|user| id(user)).collect();
    let room = Some("#ops".parse().unwrap());
    ui.server_event(Event::UserPage(UserList { room, users, has_more: false, cid }));
}

fn room_changed(ui: &mut UiHarness, name: &str, change: RoomChange, by: &str) {
    let state = RoomState { people: 1, ..RoomState::default() };
    ui.server_event(Event::RoomChanged(RoomChanged {
        seq: Seq(900),
        room: name.parse().unwrap(),
        change,
        by: Some(id(by)),
        at: ui.now.timestamp_millis(),
        state,
        cid: None,
    }));
}

/// The requests of a kind that were sent, with those that [`UiHarness::effects`] hides.
fn reads(ui: &mut UiHarness) -> Vec<Seq> {
    let sent = ui.all_effects().into_iter();
    let reads = sent.filter_map(|effect| match effect {
        UiEffect::Send(_, Request::Read { up_to, .. }) => Some(up_to),
        _ => None,
    });
    reads.collect()
}

#[test]
fn unread_messages_are_counted_in_sidebar_header_and_title() {
    let mut ui = UiHarness::in_room(120, 36);
    ui.post("Ann_1180", room("#ops"), MessageKind::Plain, "anybody?");
    ui.post("Kim_9021", only(&["Bob_4572"]), MessageKind::Plain, "psst");
    assert_eq!((row(&ui, "#ops").as_str(), row(&ui, "@ Kim").as_str()), ("#ops 1", "@ Kim_9021 1"));
    ui.shows("2 unread");
    mention(&mut ui, 7);
    assert_eq!(row(ui.shows("2 unread · @1"), "#ops"), "#ops @1");
    assert_eq!(ui.screen.title(ui.now), "(2) chat");
    ui.keys("<alt-a>").shows("▌ #ops").shows("can you look?").shows("1 unread").hides("@1");
    ui.keys("<alt-a>").shows("▌ @ Kim_9021").shows("psst").hides("1 unread");
    ui.keys("<alt-a>").shows("nothing unread elsewhere");
    assert_eq!(ui.screen.title(ui.now), "chat");
}

#[test]
fn muted_conversation_counts_only_mentions() {
    let mut ui = UiHarness::new(120, 36);
    let mut muted = conversation_info(room("#ops"), 0, 0, 0);
    muted.muted_until = Some(i64::MAX);
    ui.list(vec![muted]).post("Ann_1180", room("#ops"), MessageKind::Plain, "hello");
    assert_eq!(row(ui.hides("1 unread"), "#ops"), "#ops muted 1");
    ui.keys("<alt-a>").shows("nothing unread");
    mention(&mut ui, 70);
    assert_eq!(row(ui.shows("1 unread · @1"), "#ops"), "#ops @1");
}

#[test]
fn conversation_opens_at_its_first_unread_message() {
    let mut ui = UiHarness::in_room(80, 24);
    ui.keys("<alt-2>").shows("To: #ops · 3 people");
    for n in 0..40 {
        ui.post("Ann_1180", room("#ops"), MessageKind::Plain, &format!("before {n}."));
    }
    ui.wait(1).keys("<alt-1>").shows("To: everyone");
    for n in 0..40 {
        ui.post("Kim_9021", room("#ops"), MessageKind::Plain, &format!("after {n}."));
    }
    assert_eq!(row(&ui, "#ops"), "#ops 40");
    ui.keys("<alt-2>").shows("new since").shows("after 0.");
    ui.hides("after 39.").shows("before 39.");
    assert!(ui.screen.model.chat.opened().unread() > 20, "only what was displayed is read");
    ui.keys("<end>").shows("after 39.");
    assert_eq!(ui.screen.model.chat.opened().unread(), 0);
}

#[test]
fn messages_displayed_without_focus_are_not_read() {
    let mut ui = UiHarness::new(80, 24);
    ui.post_to_all("Ann_1180", "seen");
    ui.wait(2);
    assert_eq!(reads(&mut ui), [Seq(1)]);
    ui.server_event(Event::Read(crate::protocol::room::ReadMarker {
        conversation: Audience::Everyone,
        seq: Seq(1),
        unread: 0,
        mentions: 0,
        cid: None,
    }));
    ui.terminal_event(TerminalEvent::FocusLost).post_to_all("Ann_1180", "missed");
    ui.wait(2).shows("│ missed");
    assert_eq!((reads(&mut ui), ui.screen.title(ui.now).as_str()), (vec![], "(1) chat"));
    ui.terminal_event(TerminalEvent::FocusGained);
    assert_eq!(
        (ui.screen.model.chat.opened().unread(), ui.screen.title(ui.now).as_str()),
        (0, "chat")
    );
}

#[test]
fn direct_messages_and_mentions_notify_without_focus() {
    let mut ui = UiHarness::in_room(80, 24);
    let notices = |ui: &mut UiHarness, seconds| {
        let effects = ui.wait(seconds).effects().into_iter();
        let texts = effects.filter_map(|effect| match effect {
            UiEffect::Notify(text) => Some(text),
            _ => None,
        });
        texts.collect::<Vec<_>>()
    };
    ui.post("Ann_1180", only(&["Bob_4572"]), MessageKind::Plain, "psst");
    assert_eq!(notices(&mut ui, 20), [""; 0], "the user is there");
    ui.terminal_event(TerminalEvent::FocusLost);
    ui.post("Ann_1180", room("#ops"), MessageKind::Plain, "hello");
    ui.post_to_all("Ann_1180", "hello");
    assert_eq!(notices(&mut ui, 20), [""; 0], "nothing for this user");
    mention(&mut ui, 70);
    assert_eq!(notices(&mut ui, 1), [""; 0], "another session may show it");
    assert_eq!(notices(&mut ui, 1), ["1 new message for you, the latest in #ops"]);
    for _ in 0..1_000 {
        ui.post("Ann_1180", only(&["Bob_4572"]), MessageKind::Plain, "psst");
    }
    assert_eq!(notices(&mut ui, 5), [""; 0], "there was one just now");
    assert_eq!(notices(&mut ui, 60), ["1000 new messages for you"]);
}

#[test]
fn message_that_another_session_read_does_not_notify() {
    let mut ui = UiHarness::in_room(80, 24);
    ui.terminal_event(TerminalEvent::FocusLost);
    ui.post("Ann_1180", only(&["Bob_4572"]), MessageKind::Plain, "psst");
    ui.server_event(Event::Read(crate::protocol::room::ReadMarker {
        conversation: only(&["Ann_1180"]),
        seq: Seq(u64::MAX),
        unread: 0,
        mentions: 0,
        cid: None,
    }));
    assert!(!ui.wait(20).effects().iter().any(|effect| matches!(effect, UiEffect::Notify(_))));
}

#[test]
fn draft_stays_in_its_conversation() {
    let mut ui = UiHarness::in_room(120, 36);
    ui.keys("for all").click("[ ] Kim_9021").hides("for all");
    assert_eq!(row(&ui, "Everyone"), "Everyone draft");
    ui.keys("for kim<alt-enter>only").click("Everyone").shows("for all").hides("for kim");
    assert_eq!(row(&ui, "@ Kim"), "@ Kim_9021 draft");
    ui.keys("<alt-2>").shows("To: #ops").hides("for all");
    ui.keys("<alt-3>").shows("only").keys("<enter>");
    assert_eq!(ui.sent(), ["Only({Kim_9021}) Plain for kim\nonly"]);
    ui.keys("<alt-1>").shows("for all").keys("<enter>");
    assert_eq!(ui.sent(), ["Everyone Plain for all"]);
}

#[test]
fn reply_in_a_draft_is_dropped_when_its_message_is_removed() {
    let mut ui = UiHarness::in_room(120, 36);
    let removed = ui.post_to_all("Ann_1180", "oops");
    ui.keys("<ctrl-r>").shows("reply to Ann").keys("<alt-2>");
    assert_eq!(row(&ui, "Everyone"), "Everyone draft");
    ui.deleted(removed, "Ann_1180").keys("<alt-1>").hides("reply to");
}

#[test]
fn typed_reply_opens_the_conversation_of_its_original_and_loses_no_draft() {
    let mut ui = UiHarness::in_room(120, 36);
    let to = ui.post("Ann_1180", only(&["Bob_4572"]), MessageKind::Plain, "psst");
    ui.keys("<alt-3>half an answer<alt-1>").keys(&format!(".reply {to}<enter>"));
    ui.shows("To: [Ann_1180 ×]").shows("reply to Ann_1180: psst").shows("half an answer");
    ui.keys("<alt-1>").hides(".reply");
}

#[test]
fn draft_of_a_lost_room_goes_nowhere_else() {
    let mut ui = UiHarness::in_room(120, 36);
    ui.keys("<alt-2>").shows("To: #ops").keys("secret of ops");
    room_changed(&mut ui, "#ops", RoomChange::Removed(vec![id("Bob_4572")]), "Ann_1180");
    ui.shows("you are no longer in #ops").shows("To: everyone").hides("secret of ops");
    ui.keys("<enter>");
    assert_eq!(ui.sent(), [] as [String; 0]);
}

#[test]
fn arriving_messages_do_not_change_the_recipients() {
    let mut ui = UiHarness::in_room(120, 36);
    ui.click("[ ] Kim_9021").keys("for kim");
    ui.post("Ann_1180", only(&["Bob_4572"]), MessageKind::Plain, "psst");
    ui.post_to_all("Ann_1180", "hello");
    mention(&mut ui, 70);
    ui.log_in(true);
    ui.shows("To: [Kim_9021").keys("<enter>");
    assert_eq!(ui.sent(), ["Only({Kim_9021}) Plain for kim"]);
}

#[test]
fn reply_goes_to_its_original_whatever_its_text_starts_with() {
    let mut ui = UiHarness::in_room(120, 36);
    ui.post("Ann_1180", only(&["Bob_4572"]), MessageKind::Plain, "psst");
    ui.keys("<alt-a><ctrl-r>@Kim_9021 knows").shows("To: [Ann_1180 ×] private: only Ann sees this");
    ui.keys("<enter>");
    let sent = ui.sent();
    assert!(sent[0].starts_with("Only({Ann_1180}) Reply"), "{sent:?}");
    assert!(sent[0].ends_with("@Kim_9021 knows"), "{sent:?}");
    ui.keys(".reply 123456 x").shows("message 123456 is not loaded").keys("<enter>");
    assert_eq!(ui.sent(), [] as [String; 0], "its audience is unknown");
    ui.shows(".reply 123456 x");
}

#[test]
fn names_at_the_start_make_a_direct_message_in_every_conversation() {
    let mut ui = UiHarness::in_room(120, 36);
    ui.keys("<alt-2>@Kim_9021 psst").shows("To: [Kim_9021] private: only Kim sees this");
    ui.keys("<enter>").shows("sent to Kim_9021, not here").shows("To: #ops · 3 people");
    assert_eq!(ui.sent(), ["Only({Kim_9021}) Plain psst"]);
}

#[test]
fn name_opens_the_direct_conversation_and_box_adds_to_it() {
    let mut ui = UiHarness::in_room(120, 36);
    ui.keys("<alt-2>");
    load_members(&mut ui, &["Ann_1180", "Bob_4572", "Zed_0001"]);
    assert_eq!(row(ui.shows("In #ops 3"), "Ann"), "[ ] Ann_1180 owner");
    assert_eq!(row(&ui, "Zed"), "[ ] Zed_0001 away");
    ui.hides("] Bob_4572").hides("] Kim_9021");
    ui.click("[ ] Zed").click("[ ] Ann").shows("In #ops 3").shows("[x] Ann").shows("[x] Zed");
    ui.shows("To: [Ann_1180 ×] [Zed_0001 (away) ×] private: only these 2 see this");
    ui.click("[x] Ann").click("[x] Zed").shows("To: #ops · 3 people");
    ui.click("owner").shows("To: [Ann_1180 ×] private").shows("[x] Ann_1180");
    ui.shows("[ ] Kim_9021").hides("] Zed_0001");
}

#[test]
fn keys_move_through_conversations_and_people() {
    let mut ui = UiHarness::in_room(120, 36);
    ui.keys("<alt-down>").shows("To: #ops").keys("<alt-down>").shows("To: #ops");
    ui.keys("<alt-up>").shows("To: everyone").keys("<alt-9>").shows("there is no conversation 9");
    ui.keys("<f3><down><enter>").shows("To: #ops").keys("<alt-1><f2><down><enter>");
    ui.shows("To: [Kim_9021 ×]").keys("typed").shows("typed").keys("<ctrl-c><f2><down><space>");
    ui.shows("To: [Ann_1180 ×] [Kim_9021 ×]").keys("<esc><esc>").shows("To: [Kim_9021 ×]");
}

#[test]
fn click_on_a_row_that_has_just_moved_does_nothing() {
    let mut ui = UiHarness::new(120, 36);
    ui.server_event(Event::Presence { joined: vec![id("Aaa_0001")], left: vec![] });
    // Aaa is now where Ann was.
    ui.now += TimeDelta::milliseconds(399);
    ui.click("[ ] Aaa_0001").shows("the list has just moved").shows("To: everyone");
    ui.now += TimeDelta::milliseconds(1);
    ui.click("[ ] Aaa_0001").shows("To: [Aaa_0001 ×]");
}

#[test]
fn sidebar_covers_a_narrow_screen_only_while_it_has_the_focus() {
    let mut ui = UiHarness::in_room(60, 20);
    ui.hides("Conversations").keys("<f3>").shows("Conversations").keys("<down><enter>");
    ui.hides("Conversations").shows("To: #ops").keys("<f2>").shows("In #ops").keys("<esc>");
    ui.hides("In #ops");
}

#[test]
fn long_lists_scroll_and_keep_the_open_conversation_visible() {
    let mut ui = UiHarness::new(80, 24);
    let rooms = (10..60).map(|n| conversation_info(room(&format!("#room{n}")), 0, 0, 0));
    ui.list(rooms.collect());
    ui.shows("#room10").hides("#room59").shows("↓");
    for _ in 0..50 {
        ui.keys("<alt-down>");
    }
    ui.shows("▌ #room59").hides("#room10").wheel(MouseEventKind::ScrollUp, "▌ #room59");
    ui.shows("#room50").hides("▌ #room59");
    ui.wait(1).click("#room50").shows("To: #room50");
}

#[test]
fn room_is_found_joined_and_opened() {
    let mut ui = UiHarness::new(80, 24);
    ui.keys("<f4>").shows("Rooms").shows("loading…");
    let Some(UiEffect::Send(cid, Request::Rooms(None))) = ui.effects().pop() else { panic!() };
    let topic = SafeText::clean("deploys");
    let state = RoomState { private: false, topic, people: 12, archived: false };
    let rooms = vec![("#ops".parse().unwrap(), state.clone()), ("#zoo".parse().unwrap(), state)];
    ui.server_event(Event::Rooms(RoomList { rooms, has_more: false, cid }));
    ui.shows("#ops").shows("12 people  deploys").keys("zo").hides("#ops").shows("#zoo");
    ui.keys("<enter>").hides("find or create");
    assert_eq!(ui.sent(), ["Room { room: #zoo, action: Join }"]);
    ui.shows("To: everyone");
    room_changed(&mut ui, "#zoo", RoomChange::Joined, "Bob_4572");
    ui.shows("To: #zoo · 1 person").shows("Bob_4572 joined #zoo");
}

#[test]
fn new_room_is_created_and_opened() {
    let mut ui = UiHarness::new(80, 24);
    ui.keys("<f4>Plan").shows("+ create #plan, a public room").keys("<enter>");
    let sent = ui.sent().pop().unwrap();
    assert!(sent.contains("#plan") && sent.contains("Create"), "{sent}");
    room_changed(&mut ui, "#plan", RoomChange::Created, "Bob_4572");
    ui.shows("To: #plan").keys(".room #two<enter>");
    room_changed(&mut ui, "#two", RoomChange::Created, "Bob_4572");
    ui.shows("To: #two");
    // A room that another member adds the user to is not opened.
    let added: Vec<UserId> = vec![id("Bob_4572")];
    room_changed(&mut ui, "#three", RoomChange::Added(added), "Ann_1180");
    ui.shows("Ann_1180 added you to #three (F3)").shows("  #three").shows("To: #two");
}

#[test]
fn room_that_was_refused_or_left_is_not_opened_later() {
    let mut ui = UiHarness::in_room(80, 24);
    ui.keys(".join #zoo<enter>");
    let Some(UiEffect::Send(cid, _)) = ui.effects().pop() else { panic!() };
    let text = SafeText::clean("no such room");
    ui.server_event(Event::Error(ErrorReply { code: ErrorCode::NoSuchRoom, text, cid }));
    ui.shows("no such room");
    room_changed(&mut ui, "#zoo", RoomChange::Added(vec![id("Bob_4572")]), "Ann_1180");
    ui.shows("  #zoo").shows("To: everyone");
    // Ticking people began in a room that the user is no longer in.
    ui.wait(1).keys("<alt-2>");
    load_members(&mut ui, &["Ann_1180", "Bob_4572"]);
    ui.wait(1).click("[ ] Ann_1180").shows("To: [Ann_1180 ×]");
    room_changed(&mut ui, "#ops", RoomChange::Removed(vec![id("Bob_4572")]), "Ann_1180");
    ui.keys("<esc>").shows("you are no longer in #ops").hides("To: #ops").hides("  #ops");
}

#[test]
fn room_is_not_opened_under_a_text_being_written() {
    let mut ui = UiHarness::new(80, 24);
    ui.keys(".join #zoo<enter>for all");
    room_changed(&mut ui, "#zoo", RoomChange::Joined, "Bob_4572");
    ui.shows("you are in #zoo now").shows("To: everyone").shows("for all");
}

#[test]
fn refused_list_of_rooms_says_why() {
    let mut ui = UiHarness::new(80, 24);
    ui.keys("<f4>");
    let Some(UiEffect::Send(cid, _)) = ui.effects().pop() else { panic!() };
    let text = SafeText::clean("rooms are disabled");
    let refused = ErrorReply { code: ErrorCode::NotRead, text, cid };
    ui.server_event(Event::Error(refused)).shows("rooms are disabled").wait(2);
    assert_eq!(ui.effects(), [], "it is not asked again");
}

#[test]
fn keys_below_an_overlay_do_nothing() {
    let mut ui = UiHarness::in_room(120, 36);
    ui.keys("<alt-2>draft<f1><alt-e><ctrl-r><f2><alt-1><alt-a><ctrl-c>").hides("Typed commands");
    ui.shows("To: #ops").shows("draft").keys("<f1><f1>").hides("Typed commands");
}

#[test]
fn moved_cursor_ends_the_completion() {
    let mut ui = UiHarness::new(120, 36);
    ui.server_event(Event::Presence { joined: vec![id("Kim_1111")], left: vec![] });
    ui.keys("hello world @k<tab>").click("world").keys("<tab>").keys("<enter>");
    assert_eq!(ui.sent(), ["Everyone Plain hello world @Kim_1111"]);
}

/// Bob's screen with counts, a draft, a muted room, a direct conversation of three, and #ops open.
fn busy_sidebar(width: u16, height: u16) -> UiHarness {
    let mut ui = UiHarness::in_room(width, height);
    let mut muted = conversation_info(room("#random"), 0, 0, 0);
    muted.muted_until = Some(i64::MAX);
    ui.list(vec![muted, conversation_info(room("#backend"), 0, 0, 0)]);
    ui.post("Kim_9021", only(&["Bob_4572", "Ann_1180"]), MessageKind::Plain, "lunch?");
    ui.post("Ann_1180", only(&["Bob_4572"]), MessageKind::Plain, "psst");
    ui.post("Ann_1180", room("#backend"), MessageKind::Plain, "shard 7 is slow");
    ui.post("Ann_1180", room("#ops"), MessageKind::Plain, "we deployed 2.4 at 09:10");
    mention(&mut ui, 80);
    ui.keys("a draft<alt-3>can you rotate the old one too?");
    load_members(&mut ui, &["Ann_1180", "Bob_4572", "Kim_9021"]);
    ui
}

#[test]
fn sidebar_at_all_sizes() {
    for (name, width, height) in
        [("120_by_36", 120, 36), ("80_by_24", 80, 24), ("60_by_20", 60, 20), ("40_by_12", 40, 12)]
    {
        let mut ui = busy_sidebar(width, height);
        insta::assert_snapshot!(format!("sidebar_at_{name}"), ui.text());
        insta::assert_debug_snapshot!(format!("sidebar_at_{name}_colours"), ui.buffer());
        ui.keys("<f3>");
        insta::assert_snapshot!(format!("conversations_at_{name}"), ui.text());
        ui.keys("<esc><f2><space>");
        insta::assert_snapshot!(format!("people_ticked_at_{name}"), ui.text());
        ui.keys("<esc><f4>");
        let Some(UiEffect::Send(cid, _)) = ui.effects().pop() else { panic!() };
        let topic = SafeText::clean("release 2.4 and on-call");
        let state = RoomState { private: false, topic, people: 12, archived: false };
        let rooms = ["#backend", "#ops", "#zoo"].map(|name| (name.parse().unwrap(), state.clone()));
        let (rooms, has_more) = (rooms.into(), false);
        ui.server_event(Event::Rooms(RoomList { rooms, has_more, cid })).keys("o");
        insta::assert_snapshot!(format!("rooms_at_{name}"), ui.text());
    }
}

#[test]
fn unread_line_says_how_many_messages_are_new_and_since_when() {
    let mut ui = UiHarness::in_room(100, 24);
    ui.post("Ann_1180", room("#ops"), MessageKind::Plain, "first of the new ones");
    ui.post("Kim_9021", room("#ops"), MessageKind::Plain, "second of the new ones");
    ui.keys("<alt-2>").shows("─── 2 new since 09:12 ───").shows("second of the new ones");
}

#[test]
fn conversation_is_shown_where_it_was_left() {
    let mut ui = UiHarness::in_room(100, 24);
    for number in 0..60 {
        ui.post("Ann_1180", room("#ops"), MessageKind::Plain, &format!("line {number} end"));
    }
    ui.keys("<alt-2><end>").shows("line 59 end").keys("<pageup><pageup>").hides("line 59 end");
    let left = ui.text();
    ui.keys("a draft<alt-1>").hides("line 40 end").keys("<alt-2><ctrl-c>");
    let again = ui.text();
    let conversation = |text: &str| text.lines().skip(1).take(19).map(str::to_owned).collect();
    let (left, again): (Vec<String>, Vec<String>) = (conversation(&left), conversation(&again));
    assert_eq!(left, again);
}

#[test]
fn typing_filters_the_people_while_they_have_the_focus() {
    let mut ui = UiHarness::new(80, 24);
    ui.keys("<f2>kim").shows("find: kim").shows("[ ] Kim_9021").hides("[ ] Ann_1180");
    ui.keys("<backspace><backspace><backspace>").shows("[ ] Ann_1180");
    ui.keys("9<esc>").shows("[ ] Ann_1180").keys("KIM<enter>").shows("To: [Kim_9021");
    assert!(ui.screen.model.composer.is_empty(), "nothing was typed into the input");
}
