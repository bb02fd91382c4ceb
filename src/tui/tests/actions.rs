//! What one does with messages: the menu, edits, reactions, pins, threads, jumps and their way back.

use crossterm::event::{MouseButton, MouseEventKind};

use super::harness::{UiHarness, id, only, room};
use crate::client::state::timeline::MAX_RUN;
use crate::protocol::error::{ErrorCode, Refusal};
use crate::protocol::event::{Edited, ErrorReply, Event, HistoryPage, Pinned, Reacted};
use crate::protocol::id::{MessageId, Seq};
use crate::protocol::mention::Mentions;
use crate::protocol::message::{Audience, Message, MessageKind};
use crate::protocol::query::HistoryRange;
use crate::protocol::request::Request;
use crate::protocol::text::SafeText;
use crate::tui::event::UiEffect;

impl UiHarness {
    fn reacted(&mut self, message: MessageId, user: &str, emoji: &str, on: bool) -> &mut Self {
        let emoji = emoji.parse().unwrap();
        let reacted = Reacted { seq: Seq(900), id: message, emoji, on, user: id(user), cid: None };
        self.server_event(Event::Reacted(reacted))
    }

    fn edited(&mut self, message: MessageId, text: &str) -> &mut Self {
        self.server_event(Event::Edited(Edited {
            seq: Seq(901),
            id: message,
            content: SafeText::clean(text),
            author: id("Ann_1180"),
            mentions: Mentions::None,
            at: self.now,
            audience: Audience::Everyone,
            reply_to: None,
            cid: None,
        }))
    }

    fn mention(&mut self, text: &str) -> MessageId {
        let mentions = Mentions::Users(vec![id("Bob_4572")]);
        let message = Message {
            seq: Seq(800),
            id: MessageId::from_number(100_800).unwrap(),
            content: SafeText::clean(text),
            mentions,
            ..self.logged_message(0)
        };
        let id = message.id;
        self.server_event(Event::Posted(message));
        id
    }

    fn right_click(&mut self, text: &str) -> &mut Self {
        let (column, row) = self.find(text);
        self.mouse(MouseEventKind::Down(MouseButton::Right), column, row)
    }
}

#[test]
fn letters_type_while_a_message_is_picked() {
    let mut ui = UiHarness::new(80, 24);
    ui.post_to_all("Bob_4572", "mine");
    ui.click("mine").shows("message 100001").keys("dynamite<enter>");
    assert_eq!(ui.sent(), ["Everyone Plain dynamite"]);
    ui.keys("<up>written while offline<enter>");
    assert_eq!(ui.sent(), ["Everyone Plain written while offline"]);
}

#[test]
fn menu_opens_by_enter_right_click_and_second_click() {
    let mut ui = UiHarness::new(80, 24);
    ui.post_to_all("Ann_1180", "hers");
    ui.keys("<up><enter>").shows("r  reply").hides("e  edit").hides("d  delete");
    ui.keys("d").shows("not possible with this message").keys("<esc>").hides("r  reply");
    ui.keys("<esc>").right_click("│ hers").shows("r  reply").keys("<esc><esc>");
    ui.click("│ hers").hides("r  reply").wait(1).click("│ hers").shows("r  reply");
    ui.keys("<enter>").shows("┃ reply to Ann_1180: hers").hides("r  reply");
    ui.keys("<esc><up><enter>").click("t  show the thread").shows("Thread");
    assert!(ui.sent().iter().all(|sent| !sent.contains("Post")));
}

#[test]
fn keys_do_not_act_below_an_overlay() {
    let mut ui = UiHarness::new(80, 24);
    ui.post_to_all("Ann_1180", "hers");
    ui.keys("my draft<f1><ctrl-r><alt-e><ctrl-f><ctrl-t><ctrl-c>").hides("Help").shows("my draft");
    ui.hides("reply to").hides("expires after").hides("Search");
    ui.keys("<ctrl-f>her<ctrl-c>").hides("Search").shows("my draft");
    ui.keys("<up><esc>").shows("my draft");
}

#[test]
fn click_outside_closes_the_menu() {
    let mut ui = UiHarness::new(80, 24);
    ui.post_to_all("Ann_1180", "hers");
    ui.keys("<up><enter>").shows("r  reply").mouse(MouseEventKind::Down(MouseButton::Left), 79, 1);
    ui.hides("r  reply");
}

#[test]
fn edit_replaces_the_text_and_restores_the_draft() {
    let mut ui = UiHarness::new(80, 24);
    let mine = ui.post_to_all("Bob_4572", "teh word");
    ui.keys("a draft").click("teh word").keys("<enter>e").shows("editing  To: everyone");
    ui.shows("┃ edit you: teh word").hides("a draft").keys("s<esc>").shows("a draft");
    assert!(ui.sent().is_empty());
    ui.wait(1).click("teh word").keys("<enter>e<ctrl-u>@Ann_1180 the word").shows("To: everyone");
    ui.keys("<enter>").shows("a draft").hides("editing");
    let content = SafeText::clean("@Ann_1180 the word");
    assert_eq!(ui.sent(), [format!("{:?}", Request::Edit { id: mine, content })]);
    ui.shows("changing…").edited(mine, "the word").shows("the word").shows("edited");
    ui.keys("<enter>");
    assert_eq!(ui.sent(), ["Everyone Plain a draft"]);
}

#[test]
fn unchanged_or_empty_edit_is_not_sent() {
    let mut ui = UiHarness::new(80, 24);
    ui.post_to_all("Bob_4572", "mine");
    ui.keys("<up><enter>e<enter>").shows("the text is unchanged").hides("editing");
    ui.keys("<up><enter>e<ctrl-u><enter>").shows("editing");
    assert!(ui.sent().is_empty());
}

#[test]
fn edit_of_a_removed_message_keeps_what_was_typed() {
    let mut ui = UiHarness::new(80, 24);
    let mine = ui.post_to_all("Bob_4572", "mine");
    ui.keys("<up><enter>e and more").deleted(mine, "Bob_4572");
    ui.shows("editing was removed").shows("mine and more").hides("editing  To:");
    ui.keys("<enter>");
    assert_eq!(ui.sent(), ["Everyone Plain mine and more"]);
}

#[test]
fn resending_a_failed_message_keeps_the_draft() {
    let mut ui = UiHarness::new(80, 24);
    ui.keys("important<enter>");
    let Some(UiEffect::Send(cid, _)) = ui.effects().pop() else { panic!("nothing was sent") };
    let text = SafeText::clean("the server is full");
    ui.server_event(Event::Error(ErrorReply { code: ErrorCode::NoRecipient, text, cid }));
    ui.keys("a draft").click("important").wait(1).click("important").keys("e").hides("a draft");
    ui.keys("!<enter>").shows("a draft");
    assert_eq!(ui.sent(), ["Everyone Plain important!"]);
}

#[test]
fn failed_message_can_be_discarded() {
    let mut ui = UiHarness::new(80, 24);
    ui.keys("important<enter>");
    let Some(UiEffect::Send(cid, _)) = ui.effects().pop() else { panic!("nothing was sent") };
    let text = SafeText::clean("the server is full");
    let refused = ErrorReply { code: ErrorCode::NoRecipient, text, cid: cid.clone() };
    ui.server_event(Event::Error(refused)).keys("<up><enter>").shows("x  discard").keys("x");
    ui.hides("important");
    assert_eq!(ui.effects(), [UiEffect::DiscardPending(cid.unwrap())]);
}

#[test]
fn message_that_will_be_sent_is_not_called_not_sent() {
    let mut ui = UiHarness::new(80, 24);
    ui.keys("kept<enter>").mark_as_sending();
    let Some(UiEffect::Send(cid, _)) = ui.effects().pop() else { panic!("nothing was sent") };
    let text = SafeText::clean("the message was not stored");
    ui.server_event(Event::Error(ErrorReply { code: ErrorCode::NotStored, text, cid }));
    ui.shows("waiting: the server cannot store it now").hides("not sent").hides("not stored");
    ui.keys("<up><enter>").hides("x  discard").hides("e  edit");
}

#[test]
fn own_messages_show_their_status() {
    let mut ui = UiHarness::new(80, 24);
    ui.keys("one<enter>").shows("waiting…").mark_as_sending().shows("sending…").confirm_sent();
    ui.shows("✓").hides("sending…");
    ui.post_to_all("Ann_1180", "hers");
    assert_eq!(ui.text().matches('✓').count(), 1, "{}", ui.text());
}

#[test]
fn picker_toggles_a_reaction() {
    let mut ui = UiHarness::new(80, 24);
    let hers = ui.post_to_all("Ann_1180", "hers");
    ui.keys("<up><enter>+").shows("React").shows("👍  +1").keys("<enter>").hides("React");
    let react = |on| Request::React { id: hers, emoji: "👍".parse().unwrap(), on };
    assert_eq!(ui.sent(), [format!("{:?}", react(true))]);
    ui.shows("changing…");
    // The second reaction counts with the first one, although it is not acknowledged.
    ui.keys("<enter>+<enter>");
    assert_eq!(ui.sent(), [format!("{:?}", react(false))]);
    ui.keys("<enter>+rocket").shows("🚀  rocket").hides("👍  +1").keys("<enter>");
    assert_eq!(ui.sent().len(), 1);
    ui.keys("<enter>+xyzzy").shows("no such emoji").keys("<enter><esc><esc>x").shows("│ x");
    assert!(ui.sent().is_empty());
}

#[test]
fn reactions_edits_and_pins_are_shown() {
    let mut ui = UiHarness::new(80, 24);
    let first = ui.post_to_all("Ann_1180", "first");
    ui.post_to_all("Ann_1180", "second");
    ui.reacted(first, "Kim_9021", "👍", true).reacted(first, "Bob_4572", "👍", true);
    ui.shows("👍 2").reacted(first, "Kim_9021", "👍", false).shows("👍 1");
    ui.edited(first, "changed").shows("edited  👍 1").shows("changed").hides("first");
    let pinned = Pinned { seq: Seq(902), id: first, on: true, user: id("Ann_1180"), cid: None };
    ui.server_event(Event::Pinned(pinned)).shows("pinned  edited  👍 1");
}

#[test]
fn reaction_moves_no_row() {
    let mut ui = UiHarness::new(80, 24);
    let mut ids = Vec::new();
    for n in 0..40 {
        let sender = if n % 2 == 0 { "Ann_1180" } else { "Kim_9021" };
        ids.push(ui.post_to_all(sender, &format!("a long message, number {n}")));
    }
    ui.keys("<pageup>");
    let rows = |ui: &UiHarness| -> Vec<Option<usize>> {
        let screen = ui.text();
        let row = |n| screen.lines().position(|line| line.ends_with(&format!("number {n} │")));
        (0..40).map(row).collect()
    };
    let before = rows(&ui);
    assert!(before.iter().flatten().count() > 3, "{}", ui.text());
    for message in ids {
        ui.reacted(message, "Ann_1180", "👍", true);
    }
    assert_eq!(rows(&ui), before);
    assert!(!ui.screen.model.viewport.is_live());
    ui.shows("👍 1");
}

#[test]
fn mention_has_a_heavy_frame() {
    let mut ui = UiHarness::new(80, 24);
    ui.post_to_all("Ann_1180", "to all");
    ui.mention("@Bob_4572 look");
    ui.shows("┃ @Bob_4572 look").shows("┏━").shows("━┛").shows("│ to all");
    assert_eq!(ui.text().matches("Ann_1180 09:1").count(), 2, "bubbles are not shared");
    ui.resize(40, 12).shows("mentions you");
}

#[test]
fn pin_is_offered_where_the_user_may_pin() {
    let mut ui = UiHarness::new(80, 24);
    ui.post_to_all("Ann_1180", "public");
    ui.keys("<up><enter>").hides("p  pin").keys("<esc><esc>");
    let dm = ui.post("Ann_1180", only(&["Bob_4572"]), MessageKind::Plain, "private");
    ui.click("[ ] Ann_1180").keys("<up><enter>p");
    assert_eq!(ui.sent(), [format!("{:?}", Request::Pin { id: dm, on: true })]);
}

#[test]
fn thread_shows_a_message_and_its_replies() {
    let mut ui = UiHarness::new(80, 24);
    let root = ui.post_to_all("Ann_1180", "the question");
    ui.post_to_all("Kim_9021", "something else");
    let reply = MessageKind::Reply { to: root };
    let first = ui.post("Kim_9021", Audience::Everyone, reply, "an answer");
    ui.keys("<up><enter>t").shows("Thread · 1 reply").shows("loading…");
    let Some(UiEffect::Send(cid, Request::History(query))) = ui.effects().pop() else { panic!() };
    assert_eq!(query.range, HistoryRange::Thread(root));
    let older = Message { kind: reply, ..ui.logged_message(2) };
    let messages = vec![Message { id: MessageId::from_number(100_700).unwrap(), ..older }];
    let (has_earlier, has_later) = (false, false);
    ui.server_event(Event::History(HistoryPage { messages, has_earlier, has_later, cid }));
    ui.shows("Thread · 2 replies").hides("loading…").shows("message number 2");
    ui.post("Ann_1180", Audience::Everyone, reply, "thank you");
    ui.shows("Thread · 3 replies").deleted(first, "Kim_9021");
    ui.shows("Thread · 2 replies").hides("Kim_9021: an answer");
    ui.keys("<enter>").hides("Thread ·").shows("message 100001");
}

#[test]
fn refused_thread_shows_what_is_loaded() {
    let mut ui = UiHarness::new(80, 24);
    ui.post_to_all("Ann_1180", "the question");
    ui.keys("<up><enter>t").shows("loading…");
    let Some(UiEffect::Send(cid, _)) = ui.effects().pop() else { panic!() };
    ui.server_event(Event::Error(ErrorReply::new(&Refusal::LoginTimeout, cid)));
    ui.shows("loaded messages only").shows("the question").wait(5);
    assert!(ui.effects().is_empty(), "it is not requested again");
}

#[test]
fn quote_click_goes_there_and_back() {
    let mut ui = UiHarness::new(100, 24);
    let first = ui.post_to_all("Ann_1180", "the first of all");
    for n in 0..40 {
        ui.post_to_all("Kim_9021", &format!("noise {n}"));
    }
    ui.post("Ann_1180", Audience::Everyone, MessageKind::Reply { to: first }, "about that");
    let before = ui.text();
    for back in ["<backspace>", "<alt-left>"] {
        ui.click("┃ Ann_1180: the first").shows("│ the first of all").shows("← back").keys(back);
        assert_eq!(ui.text(), before);
    }
    ui.click("┃ Ann_1180: the first").click("← back");
    assert_eq!(ui.text(), before);
    ui.click("┃ Ann_1180: the first").keys("<esc><end>").hides("← back").shows("about that");
    ui.keys("<alt-left>").shows("no jump to go back from");
}

#[test]
fn refused_quote_click_repeats_nothing() {
    let mut ui = UiHarness::with_log(500, None);
    ui.answer_history();
    let to = ui.logged_message(120).id;
    ui.post("Ann_1180", Audience::Everyone, MessageKind::Reply { to }, "as I said");
    ui.click("message 100120");
    let Some(UiEffect::Send(cid, Request::History(_))) = ui.effects().pop() else { panic!() };
    ui.server_event(Event::Error(ErrorReply::new(&Refusal::LoginTimeout, cid)));
    ui.hides("← back").wait(5).shows("as I said");
    assert!(ui.effects().is_empty(), "nothing is requested again");
    // Paging still works.
    ui.keys("<home>").wait(0);
    assert_eq!(ui.answer_history(), [HistoryRange::Before(Seq(401))]);
}

#[test]
fn jump_that_arrives_late_leaves_the_keys_to_the_input() {
    let mut ui = UiHarness::with_log(500, None);
    ui.answer_history();
    let to = ui.logged_message(120).id;
    ui.post("Ann_1180", Audience::Everyone, MessageKind::Reply { to }, "as I said");
    ui.click("message 100120").keys("hello");
    ui.answer_history();
    ui.shows("message number 120 ").keys("<enter>");
    assert_eq!(ui.sent(), ["Everyone Plain hello"]);
}

#[test]
fn long_bubble_with_reactions_is_drawn_as_one() {
    let mut ui = UiHarness::new(80, 24);
    let ids: Vec<_> =
        (0..MAX_RUN).map(|n| ui.post_to_all("Ann_1180", &format!("line {n}"))).collect();
    ui.reacted(ids[2], "Kim_9021", "🎉", true);
    insta::assert_snapshot!(ui.text());
}

/// Messages with a reply, a mention, an edit, reactions and a pin.
fn annotated_screen(width: u16, height: u16) -> UiHarness {
    let mut ui = UiHarness::new(width, height);
    let first = ui.post_to_all("Ann_1180", "we deployed 2.4 at 09:10, logs look clean");
    let reply = MessageKind::Reply { to: first };
    let mine = ui.post("Bob_4572", Audience::Everyone, reply, "great, I will watch the p99");
    ui.edited(mine, "great, I will watch the p99 for an hour");
    ui.reacted(first, "Kim_9021", "👍", true).reacted(first, "Bob_4572", "🎉", true);
    let pinned = Pinned { seq: Seq(902), id: first, on: true, user: id("Ann_1180"), cid: None };
    ui.server_event(Event::Pinned(pinned));
    ui.mention("@Bob_4572 can you look at shard 7?");
    ui
}

#[test]
fn annotations_at_several_sizes() {
    for (width, height) in [(120, 36), (80, 24), (60, 20), (40, 12)] {
        let ui = annotated_screen(width, height);
        let name = format!("annotations_at_{width}_by_{height}");
        insta::assert_snapshot!(name.clone(), ui.text());
        insta::assert_debug_snapshot!(format!("{name}_colours"), ui.buffer());
    }
}

#[test]
fn overlays_at_several_sizes() {
    for (width, height) in [(120, 36), (80, 24), (60, 20), (40, 12)] {
        let mut ui = annotated_screen(width, height);
        let mut snapshot = |keys: &str, name: &str| {
            ui.keys(keys);
            let name = format!("{name}_at_{width}_by_{height}");
            insta::assert_snapshot!(name.clone(), ui.text());
            insta::assert_debug_snapshot!(format!("{name}_colours"), ui.buffer());
        };
        snapshot("<up><up><enter><down>", "menu");
        snapshot("d", "delete_question");
        snapshot("<esc><enter>+", "emoji_picker");
        snapshot("<esc><enter>t<down>", "thread");
        snapshot("<esc><enter>e", "edit");
    }
}

#[test]
fn leaving_a_room_ends_its_thread_and_the_way_back() {
    use crate::protocol::room::{ConversationList, RoomChange, RoomChanged, RoomState};
    let mut ui = UiHarness::new(80, 24);
    let room: crate::protocol::id::RoomName = "#ops".parse().unwrap();
    let state = RoomState { private: true, topic: SafeText::default(), people: 2, archived: false };
    let changed = |change| {
        let by = Some(id("Bob_4572"));
        let (room, state) = (room.clone(), state.clone());
        Event::RoomChanged(RoomChanged { seq: Seq(1), room, change, by, at: 0, state, cid: None })
    };
    ui.server_event(Event::Conversations(ConversationList {
        conversations: Vec::new(),
        has_more: false,
        cid: None,
    }));
    ui.server_event(changed(RoomChange::Created));
    ui.screen.model.chat.open(&Audience::Room(room.clone()));
    let first = ui.post("Ann_1180", Audience::Room(room.clone()), MessageKind::Plain, "secret");
    let reply = MessageKind::Reply { to: first };
    ui.post("Ann_1180", Audience::Room(room.clone()), reply, "answer");
    ui.click("┃ Ann_1180: secret").shows("← back").keys("<enter>t").shows("Thread · 1 reply");
    ui.server_event(changed(RoomChange::Left)).hides("secret").hides("Thread").hides("← back");
    ui.keys("<alt-left>").shows("no jump to go back from").shows("To: everyone");
}

#[test]
fn typed_commands_list_a_thread_and_the_pinned_messages() {
    let mut ui = UiHarness::in_room(80, 24);
    let root = ui.post("Ann_1180", room("#ops"), MessageKind::Plain, "the question");
    ui.keys("<alt-2>").effects();
    ui.keys(&format!(".thread {root}<enter>")).shows("Thread · 0 replies").shows("loading…");
    let Some(UiEffect::Send(_, Request::History(query))) = ui.effects().pop() else { panic!() };
    assert_eq!(query.range, HistoryRange::Thread(root));
    ui.keys("<esc>.pins<enter>").shows("Pinned · 0");
    let Some(UiEffect::Send(cid, Request::History(query))) = ui.effects().pop() else { panic!() };
    assert_eq!(query.range, HistoryRange::Pinned);
    let audience = room("#ops");
    let messages = vec![Message { pinned: true, audience, ..ui.logged_message(1) }];
    let (has_earlier, has_later) = (false, false);
    ui.server_event(Event::History(HistoryPage { messages, has_earlier, has_later, cid }));
    ui.shows("Pinned · 1").shows("message number 1").keys("<enter>").hides("Pinned ·");
}
