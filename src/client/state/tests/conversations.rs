//! Tests of conversations: who owns a request, markers and counts, rooms, edits, reactions, the directory.

use super::*;
use crate::client::outbox::UnsentRequest;
use crate::protocol::event::{Edited, Event as ServerEvent, HistoryPage, Reacted};
use crate::protocol::query::HistoryRange;
use crate::protocol::room::{
    ConversationInfo, ConversationList, NotifyLevel, NotifySetting, ReadMarker, RoomChange,
    RoomChanged, RoomState, UserList,
};

fn only(ids: &[&str]) -> Audience {
    Audience::Only(ids.iter().map(|text| id(text)).collect())
}

fn ops() -> Audience {
    Audience::Room("#ops".parse().unwrap())
}

/// Logs in to a log with messages.
fn connect(state: &mut Session, head: u64, resumed: bool) {
    let welcome = Welcome {
        user: id("Bob_4572"),
        epoch: "e".into(),
        head: Seq(head),
        now: at(0).timestamp_millis(),
        resumed,
        limits: Limits::default(),
    };
    let connected = Connected { welcome, fingerprint: String::new() };
    state.apply(at(0), ClientEvent::Connected(connected));
}

fn disconnect(state: &mut Session) -> Vec<Change> {
    let reason = SafeText::clean("connection lost");
    state.apply(at(0), ClientEvent::Disconnected { reason, retry_in: Duration::ZERO })
}

fn with_log(head: u64) -> Session {
    let mut state = Session::new("test");
    connect(&mut state, head, false);
    state
}

fn info(conversation: Audience, last: u64, read: u64, unread: u32) -> ConversationInfo {
    let room = conversation.room().map(|_| RoomState::default());
    let (last, read) = (Seq(last), Seq(read));
    let (notify, muted_until) = (NotifyLevel::All, None);
    ConversationInfo { conversation, room, last, read, unread, mentions: 0, notify, muted_until }
}

/// Answers the request for the list of conversations.
fn list(state: &mut Session, conversations: Vec<ConversationInfo>) {
    let due = state.take_requests(at(0));
    let cid = due.into_iter().find(|(_, request)| *request == Request::Conversations).unwrap().0;
    let list = ConversationList { conversations, has_more: false, cid: Some(cid) };
    receive(state, ServerEvent::Conversations(list));
}

fn page(cid: Cid, numbers: std::ops::Range<u32>, earlier: bool, later: bool) -> ServerEvent {
    let messages = numbers.map(|n| message(n, "Ann_1180", &format!("number {n}"))).collect();
    ServerEvent::History(HistoryPage {
        messages,
        has_earlier: earlier,
        has_later: later,
        cid: Some(cid),
    })
}

fn refuse(state: &mut Session, cid: Cid, code: ErrorCode) -> Vec<Change> {
    let text = SafeText::clean("no");
    receive(state, ServerEvent::Error(ErrorReply { code, text, cid: Some(cid) }))
}

fn history(state: &mut Session, request: HistoryRequest) -> Option<(Cid, HistoryRange)> {
    let open = state.open_audience().clone();
    let (cid, request) = state.request_history(&open, request)?;
    let Request::History(query) = request else { panic!("{request:?}") };
    assert_eq!(query.conversation, Some(open));
    Some((cid, query.range))
}

fn reads(state: &mut Session, now: DateTime<FixedOffset>) -> Vec<(Cid, Audience, u64)> {
    let due = state.take_requests(now).into_iter();
    due.filter_map(|(cid, request)| match request {
        Request::Read { conversation, up_to, unread: false } => Some((cid, conversation, up_to.0)),
        _ => None,
    })
    .collect()
}

#[test]
fn refused_jump_changes_neither_paging_nor_search_and_is_not_repeated() {
    let mut state = with_log(300);
    let (cid, range) = history(&mut state, HistoryRequest::Recent).unwrap();
    assert_eq!(range, HistoryRange::Latest);
    receive(&mut state, page(cid, 201..301, true, false));
    let gone = number(7);
    let (jump, _) = history(&mut state, HistoryRequest::Around(gone)).unwrap();
    let changes = refuse(&mut state, jump.clone(), ErrorCode::UnknownMessage);
    let reason = SafeText::clean("no");
    let around = HistoryRequest::Around(gone);
    assert_eq!(changes, [Change::HistoryFailed(Audience::Everyone, around, reason)]);
    assert!(state.opened().has_earlier() && !state.opened().needs_recent());
    assert!(!state.has_full_history(None));
    assert!(!state.opened().is_loading());
    let (_, range) = history(&mut state, HistoryRequest::Earlier).unwrap();
    assert_eq!(range, HistoryRange::Before(Seq(201)));
    refuse(&mut state, jump, ErrorCode::UnknownMessage);
    assert!(state.opened().is_loading(), "a second answer changes nothing");
}

#[test]
fn refused_page_is_not_requested_again_without_a_new_cause() {
    let mut state = with_log(300);
    let (cid, _) = history(&mut state, HistoryRequest::Recent).unwrap();
    refuse(&mut state, cid, ErrorCode::NotRead);
    assert!(!state.opened().needs_recent());
    state.open(&Audience::Everyone);
    assert!(state.opened().needs_recent(), "opening it again is a new cause");
}

#[test]
fn request_that_was_not_sent_is_forgotten_and_held_back() {
    let mut state = with_log(300);
    let (cid, _) = history(&mut state, HistoryRequest::Recent).unwrap();
    state.not_sent(at(1), &cid, SafeText::clean("busy"));
    assert!(!state.opened().is_loading() && state.opened().needs_recent());
    assert_eq!(history(&mut state, HistoryRequest::Recent), None, "not at once");
    assert_eq!(state.take_requests(at(1)), []);
    assert_eq!(state.next_deadline(at(1)), Some(at(2)));
    assert_eq!(state.take_requests(at(2)).len(), 2, "the list and the directory");
    assert!(history(&mut state, HistoryRequest::Recent).is_some());
}

#[test]
fn jump_is_forgotten_with_the_connection() {
    let mut state = with_log(300);
    history(&mut state, HistoryRequest::Around(number(7))).unwrap();
    let changes = disconnect(&mut state);
    assert!(changes.iter().any(|change| matches!(change, Change::HistoryFailed(..))));
    assert_eq!(history(&mut state, HistoryRequest::Around(number(7))), None, "offline");
    connect(&mut state, 300, true);
    assert!(!state.opened().is_loading());
}

#[test]
fn unsent_search_is_reported_to_its_owner() {
    let mut state = with_log(300);
    let query = SearchQuery { pattern: "x".into(), ..SearchQuery::default() };
    let (cid, _) = state.search(query).unwrap();
    let reason = SafeText::clean("busy");
    let changes = state.not_sent(at(0), &cid, reason.clone());
    assert_eq!(changes, [Change::Refused { cid: cid.clone(), reason }]);
    assert!(state.not_sent(at(0), &cid, SafeText::clean("busy")).is_empty(), "once");
}

#[test]
fn message_that_the_server_could_not_store_waits() {
    let mut state = online();
    let (cid, _) = state.post(at(1), plain("one")).unwrap();
    let [Change::Error(error)] = &refuse(&mut state, cid.clone(), ErrorCode::NotStored)[..] else {
        panic!()
    };
    assert!(error.text.as_str().contains("sent again"), "{}", error.text);
    assert_eq!(state.opened().pending()[0].delivery, Delivery::Deferred);
    assert_eq!(state.take_failed(&cid), None, "it will be sent");
    post(&mut state, Message { cid: Some(cid), ..message(1, "Bob_4572", "one") });
    assert!(state.opened().pending().is_empty());
}

#[test]
fn changes_work_offline_and_survive_a_restart() {
    let mut state = Session::new("test");
    let (cid, request) = state.change(Request::Delete(number(1))).unwrap();
    assert_eq!(state.pending_changes()[0].message(), Some(number(1)));
    let mut next = Session::new("next");
    next.apply(at(0), ClientEvent::Restored(UnsentRequest { cid: cid.clone(), request, at: 0 }));
    connect(&mut next, 5, false);
    assert_eq!(next.pending_changes().len(), 1);
    let deleted = Deleted { seq: Seq(6), id: number(1), author: id("Bob_4572"), cid: Some(cid) };
    receive(&mut next, ServerEvent::Deleted(deleted));
    assert!(next.pending_changes().is_empty());
    let content = SafeText::clean("better");
    let (cid, _) = next.change(Request::Edit { id: number(2), content }).unwrap();
    let [Change::Failed { change, .. }] = &refuse(&mut next, cid, ErrorCode::NotYours)[..] else {
        panic!()
    };
    assert!(
        matches!(&change.request, Request::Edit { content, .. } if content.as_str() == "better")
    );
    assert!(next.pending_changes().is_empty());
}

#[test]
fn direct_messages_are_conversations_of_their_own() {
    let mut state = online();
    let audience = Audience::Only([id("Bob_4572"), id("Kim_9021")].into());
    post(&mut state, Message { audience, ..message(1, "Ann_1180", "psst") });
    let direct = only(&["Ann_1180", "Kim_9021"]);
    assert!(state.opened().message(number(1)).is_none());
    let conversation = state.conversation(&direct).unwrap();
    assert_eq!((conversation.unread(), conversation.marker()), (1, Seq(0)));
    assert!(state.message(number(1)).is_some());
    state.open(&direct);
    let to = Post { audience: direct.clone(), ..plain("yes") };
    let (cid, _) = state.post(at(2), to).unwrap();
    assert_eq!(state.opened().pending().len(), 1);
    let echo = Message { audience: direct, cid: Some(cid), ..message(2, "Bob_4572", "yes") };
    post(&mut state, echo);
    assert!(state.opened().pending().is_empty());
    assert_eq!(state.opened().timeline().newest(), Seq(2));
}

#[test]
fn counts_come_from_the_server_and_follow_events() {
    let mut state = with_log(300);
    list(&mut state, vec![info(ops(), 290, 280, 7), info(only(&["Ann_1180"]), 20, 20, 0)]);
    let unread = |state: &Session| state.conversation(&ops()).unwrap().unread();
    assert_eq!(unread(&state), 7);
    let in_ops = |n, sender| Message { audience: ops(), ..message(n, sender, "x") };
    let mentions = Mentions::Users(vec![id("Bob_4572")]);
    post(&mut state, Message { mentions, ..in_ops(301, "Ann_1180") });
    post(&mut state, in_ops(302, "Bob_4572"));
    assert_eq!((unread(&state), state.conversation(&ops()).unwrap().mentions()), (8, 1));
    let deleted = Deleted { seq: Seq(303), id: number(301), author: id("Ann_1180"), cid: None };
    receive(&mut state, ServerEvent::Deleted(deleted));
    assert_eq!((unread(&state), state.conversation(&ops()).unwrap().mentions()), (7, 0));
    let conversation = ops();
    let marker = ReadMarker { conversation, seq: Seq(302), unread: 0, mentions: 0, cid: None };
    receive(&mut state, ServerEvent::Read(marker));
    assert_eq!((unread(&state), state.conversation(&ops()).unwrap().marker()), (0, Seq(302)));
    for n in 310..430 {
        post(&mut state, in_ops(n, "Ann_1180"));
    }
    assert_eq!(unread(&state), 100);
}

#[test]
fn displayed_messages_move_the_marker_at_most_once_a_second() {
    let mut state = with_log(0);
    post(&mut state, message(1, "Ann_1180", "one"));
    state.mark_displayed(&Audience::Everyone, Seq(1));
    assert_eq!(reads(&mut state, at(0)), [], "the server may keep no markers");
    connect(&mut state, 1, true);
    list(&mut state, vec![info(Audience::Everyone, 1, 0, 1)]);
    assert_eq!((state.opened().unread(), state.opened().marker()), (0, Seq(1)));
    let [(cid, _, 1)] = &reads(&mut state, at(0))[..] else { panic!() };
    post(&mut state, message(2, "Ann_1180", "two"));
    assert_eq!(state.opened().unread(), 1);
    state.mark_displayed(&Audience::Everyone, Seq(2));
    assert_eq!(state.opened().unread(), 0);
    assert_eq!(reads(&mut state, at(5)), [], "one at a time");
    let conversation = Audience::Everyone;
    let marker =
        ReadMarker { conversation, seq: Seq(1), unread: 1, mentions: 0, cid: Some(cid.clone()) };
    receive(&mut state, ServerEvent::Read(marker));
    assert_eq!(state.opened().marker(), Seq(2), "the answer is older than what was displayed");
    assert_eq!(state.opened().unread(), 0);
    let [(_, _, 2)] = &reads(&mut state, at(1))[..] else { panic!() };
    disconnect(&mut state);
    assert_eq!(state.opened().marker(), Seq(2));
    connect(&mut state, 2, true);
    list(&mut state, vec![info(Audience::Everyone, 2, 1, 1)]);
    assert_eq!(state.opened().marker(), Seq(2));
    assert_eq!(state.next_deadline(at(1)), Some(at(2)));
    let [(_, _, 2)] = &reads(&mut state, at(2))[..] else { panic!() };
}

#[test]
fn explicit_unread_of_another_session_moves_the_marker_back_for_good() {
    let mut state = with_log(0);
    list(&mut state, vec![info(Audience::Everyone, 0, 0, 0)]);
    for n in 1..4 {
        post(&mut state, message(n, "Ann_1180", "x"));
    }
    let marker = |seq, unread| {
        let conversation = Audience::Everyone;
        ServerEvent::Read(ReadMarker {
            conversation,
            seq: Seq(seq),
            unread,
            mentions: 0,
            cid: None,
        })
    };
    receive(&mut state, marker(3, 0));
    receive(&mut state, marker(1, 2));
    assert_eq!((state.opened().marker(), state.opened().unread()), (Seq(1), 2));
    state.mark_displayed(&Audience::Everyone, Seq(3));
    assert_eq!(state.opened().marker(), Seq(1), "it was displayed before");
}

#[test]
fn marking_as_unread_replaces_a_marker_that_was_not_sent() {
    let mut state = with_log(0);
    list(&mut state, vec![info(Audience::Everyone, 0, 0, 0)]);
    for n in 1..4 {
        post(&mut state, message(n, "Ann_1180", "x"));
    }
    state.mark_displayed(&Audience::Everyone, Seq(3));
    let (cid, request) = state.mark_unread(&Audience::Everyone, Seq(1)).unwrap();
    assert!(matches!(request, Request::Read { up_to: Seq(1), unread: true, .. }));
    assert_eq!(reads(&mut state, at(5)), []);
    let (conversation, cid) = (Audience::Everyone, Some(cid));
    let marker = ReadMarker { conversation, seq: Seq(1), unread: 2, mentions: 0, cid };
    receive(&mut state, ServerEvent::Read(marker));
    assert_eq!((state.opened().marker(), state.opened().unread()), (Seq(1), 2));
}

fn room_event(change: RoomChange, by: &str, people: u32) -> ServerEvent {
    ServerEvent::RoomChanged(RoomChanged {
        seq: Seq(500),
        room: "#ops".parse().unwrap(),
        change,
        by: Some(id(by)),
        at: at(0).timestamp_millis(),
        state: RoomState { people, ..RoomState::default() },
        cid: None,
    })
}

#[test]
fn room_events_create_and_remove_conversations() {
    let mut state = with_log(300);
    receive(&mut state, room_event(RoomChange::Added(vec![id("Bob_4572")]), "Ann_1180", 2));
    assert_eq!(state.conversation(&ops()).unwrap().room().unwrap().people, 2);
    state.open(&ops());
    assert!(state.opened().needs_recent());
    post(&mut state, Message { audience: ops(), ..message(1, "Ann_1180", "secret") });
    let changes =
        receive(&mut state, room_event(RoomChange::Removed(vec![id("Bob_4572")]), "Ann_1180", 1));
    assert_eq!(changes, [Change::ConversationRemoved(ops())]);
    assert!(state.message(number(1)).is_none(), "sight ends");
    assert_eq!(*state.open_audience(), Audience::Everyone);
    receive(&mut state, room_event(RoomChange::Created, "Bob_4572", 1));
    assert!(!state.conversation(&ops()).unwrap().needs_recent(), "a new room has no history");
    state.post(at(0), Post { audience: ops(), ..plain("waits") }).unwrap();
    receive(&mut state, room_event(RoomChange::Left, "Bob_4572", 0));
    assert_eq!(state.conversation(&ops()).unwrap().pending().len(), 1, "pending messages stay");
}

#[test]
fn rooms_missing_from_the_list_are_removed() {
    let mut state = with_log(300);
    list(&mut state, vec![info(ops(), 1, 1, 0), info(Audience::Everyone, 1, 1, 0)]);
    disconnect(&mut state);
    connect(&mut state, 300, true);
    list(&mut state, vec![info(Audience::Everyone, 1, 1, 0)]);
    assert!(state.conversation(&ops()).is_none());
}

#[test]
fn members_are_loaded_on_demand_and_kept_up_to_date() {
    let mut state = with_log(300);
    state.take_requests(at(0));
    receive(&mut state, room_event(RoomChange::Joined, "Bob_4572", 3));
    let room: RoomName = "#ops".parse().unwrap();
    state.load_members(&room);
    let mut answer = |users: &[&str], has_more| {
        let mut due = state.take_requests(at(0));
        let (cid, Request::Users { room, after }) = due.remove(0) else { panic!() };
        let users = users.iter().map(|user| id(user)).collect();
        receive(
            &mut state,
            ServerEvent::UserPage(UserList { room, users, has_more, cid: Some(cid) }),
        );
        after
    };
    assert_eq!(answer(&["Ann_1180", "Kim_9021"], true), None);
    assert_eq!(answer(&["Bob_4572"], false), Some(id("Kim_9021")));
    receive(&mut state, room_event(RoomChange::Left, "Ann_1180", 2));
    receive(&mut state, room_event(RoomChange::Added(vec![id("Lou_0334")]), "Kim_9021", 3));
    let members = state.conversation(&ops()).unwrap().members().unwrap();
    assert_eq!(members.users, ["Kim_9021", "Bob_4572", "Lou_0334"].map(id));
}

#[test]
fn edited_text_is_gone_everywhere() {
    let mut state = with_log(300);
    let (cid, _) = history(&mut state, HistoryRequest::Recent).unwrap();
    post(&mut state, message(301, "Ann_1180", "the old text"));
    let mut search = SearchState::new(Ok(query(&state, "old", false)));
    search.search_slice(&state, 100);
    let old = message(250, "Ann_1180", "the old text");
    let found =
        SearchResults { messages: vec![old], searched: 1, end: SearchEnd::Complete, cid: None };
    search.add_results(found, &state);
    assert_eq!(search.hits().len(), 2);
    let revision = state.opened().message(number(301)).unwrap().revision;
    for n in [250, 301] {
        let edited = Edited {
            seq: Seq(302),
            id: number(n),
            author: id("Ann_1180"),
            audience: Audience::Everyone,
            reply_to: None,
            content: SafeText::clean("new"),
            mentions: Mentions::None,
            at: at(400),
            cid: None,
        };
        let changes = receive(&mut state, ServerEvent::Edited(edited));
        let [Change::Message { id, change: MessageChange::Edited, .. }] = changes[..] else {
            panic!("{changes:?}")
        };
        search.on_message_changed(id, MessageChange::Edited, &state);
    }
    assert!(search.hits().is_empty());
    assert!(state.opened().message(number(301)).unwrap().revision > revision);
    // The page was read before the edit.
    receive(&mut state, page(cid, 201..301, true, false));
    for n in [250, 301] {
        assert_eq!(state.opened().message(number(n)).unwrap().message.content.as_str(), "new");
    }
}

#[test]
fn reactions_change_a_message_without_moving_it() {
    let mut state = online();
    post(&mut state, message(1, "Ann_1180", "hello"));
    post(&mut state, message(2, "Kim_9021", "hi"));
    let end = state.opened().timeline().end();
    let mut react = |user: &str, on| {
        let emoji = "👍".parse().unwrap();
        let reacted = Reacted { seq: Seq(3), id: number(1), user: id(user), emoji, on, cid: None };
        receive(&mut state, ServerEvent::Reacted(reacted))
    };
    assert_eq!(react("Kim_9021", true), [changed(1, MessageChange::Reacted)]);
    react("Kim_9021", true);
    react("Bob_4572", true);
    react("Kim_9021", false);
    let message = &state.opened().message(number(1)).unwrap().message;
    let [reaction] = &message.reactions[..] else { panic!() };
    assert_eq!((reaction.count, &reaction.users[..]), (1, &[id("Bob_4572")][..]));
    assert_eq!(state.opened().timeline().end(), end);
    assert_eq!(state.opened().unread(), 2, "a reaction is not a message");
}

#[test]
fn excerpt_is_shown_beside_the_live_timeline() {
    let mut state = with_log(500);
    let (cid, _) = history(&mut state, HistoryRequest::Recent).unwrap();
    receive(&mut state, page(cid, 401..501, true, false));
    let (cid, _) = history(&mut state, HistoryRequest::Around(number(120))).unwrap();
    let changes = receive(&mut state, page(cid, 70..171, true, true));
    assert_eq!(changes[0], Change::Reset(Audience::Everyone));
    assert!(!state.opened().shows_latest());
    post(&mut state, message(501, "Ann_1180", "meanwhile"));
    assert_eq!(state.opened().timeline().newest(), Seq(170));
    let (cid, range) = history(&mut state, HistoryRequest::Later).unwrap();
    assert_eq!(range, HistoryRange::After(Seq(170)));
    receive(&mut state, page(cid, 171..271, false, true));
    assert!(state.return_to_latest(&Audience::Everyone).is_some());
    assert_eq!(state.opened().timeline().newest(), Seq(501));
    let (cid, _) = history(&mut state, HistoryRequest::Around(number(350))).unwrap();
    receive(&mut state, page(cid, 300..401, true, true));
    let (cid, _) = history(&mut state, HistoryRequest::Later).unwrap();
    receive(&mut state, page(cid, 401..501, false, false));
    assert!(state.opened().shows_latest(), "the excerpt has reached the latest message");
    let seqs: Vec<u64> = state.opened().timeline().newest_first().map(|one| one.seq.0).collect();
    assert_eq!(seqs, (300..502).rev().collect::<Vec<_>>());
}

#[test]
fn least_recently_opened_conversations_lose_their_history_but_nothing_else() {
    let mut state = with_log(0);
    for (n, room) in ["#one", "#two"].into_iter().enumerate() {
        let audience = Audience::Room(room.parse().unwrap());
        state.open(&audience);
        state.post(at(0), Post { audience: audience.clone(), ..plain("waits") }).unwrap();
        let first = u32::try_from(n).unwrap() * 150_000 + 1;
        for n in first..first + 120_000 {
            post(&mut state, Message { audience: audience.clone(), ..message(n, "Ann_1180", "x") });
        }
    }
    let one = state.conversation(&Audience::Room("#one".parse().unwrap())).unwrap();
    assert!(one.timeline().oldest().is_none() && one.needs_recent());
    assert_eq!((one.pending().len(), one.unread()), (1, 100));
    assert_eq!(state.opened().timeline().newest_first().count(), 120_000);
}

#[test]
fn users_who_are_away_can_be_written_to() {
    let mut state = with_log(300);
    let due = state.take_requests(at(0));
    let users = Request::Users { room: None, after: None };
    let cid = due.into_iter().find(|(_, request)| *request == users).unwrap().0;
    assert_eq!(state.resolve("Zed_7710"), Ok(id("Zed_7710")), "not all users are known");
    let (room, users, has_more) = (None, vec![id("Kim_9021"), id("Bob_4572")], false);
    receive(&mut state, ServerEvent::UserPage(UserList { room, users, has_more, cid: Some(cid) }));
    assert_eq!(state.resolve("kim"), Ok(id("Kim_9021")));
    assert_eq!(state.directory().availability(&id("Kim_9021")), Availability::Away);
    assert!(state.resolve("Zed_7710").is_err(), "all users are known");
    disconnect(&mut state);
    assert_eq!(state.resolve("kim"), Ok(id("Kim_9021")));
    assert_eq!(state.directory().availability(&id("Kim_9021")), Availability::Away);
    connect(&mut state, 300, true);
    receive(&mut state, ServerEvent::Guests(vec![id("Lou_0334")]));
    receive(&mut state, ServerEvent::Users([id("Lou_0334")].into()));
    let left = vec![id("Lou_0334")];
    receive(&mut state, ServerEvent::Presence { joined: vec![], left });
    assert_eq!(state.directory().availability(&id("Lou_0334")), Availability::Gone);
}

#[test]
fn users_who_come_back_after_a_reconnect_are_not_announced() {
    let mut state = online();
    disconnect(&mut state);
    connect(&mut state, 0, true);
    receive(&mut state, ServerEvent::Users([].into()));
    let joined = |users: &[&str]| ServerEvent::Presence {
        joined: users.iter().map(|user| id(user)).collect(),
        left: vec![],
    };
    assert_eq!(receive(&mut state, joined(&["Ann_1180"])), [Change::Directory]);
    let changes = receive(&mut state, joined(&["Kim_9021", "Lou_0334"]));
    assert_eq!(changes, [Change::Presence { joined: vec![id("Lou_0334")], left: vec![] }]);
    assert_eq!(state.directory().online_count(), 3);
}

#[test]
fn notification_level_and_mute_are_followed() {
    let mut state = online();
    let rings = |state: &mut Session, n, mentions| {
        let posted = Message { audience: ops(), mentions, ..message(n, "Ann_1180", "x") };
        let changes = receive(state, ServerEvent::Posted(posted));
        let [Change::Posted { rings, .. }] = changes[..] else { panic!("{changes:?}") };
        rings
    };
    let mention = || Mentions::Users(vec![id("Bob_4572")]);
    assert!(!rings(&mut state, 1, Mentions::None), "rooms ring for mentions");
    assert!(rings(&mut state, 2, mention()));
    for (n, level, muted_until) in
        [(3, NotifyLevel::None, None), (4, NotifyLevel::All, Some(at(9).timestamp_millis()))]
    {
        let setting = NotifySetting { conversation: ops(), level, muted_until, cid: None };
        receive(&mut state, ServerEvent::NotifySet(setting));
        assert!(!rings(&mut state, n, mention()));
    }
}

#[test]
fn typing_users_are_forgotten_after_six_seconds_or_their_message() {
    let mut state = online();
    receive(&mut state, room_event(RoomChange::Created, "Bob_4572", 3));
    state.open(&ops());
    for user in ["Ann_1180", "Kim_9021", "Bob_4572"] {
        receive(&mut state, ServerEvent::Typing { conversation: ops(), user: id(user) });
    }
    assert_eq!(state.opened().typing().count(), 2, "not oneself");
    post(&mut state, Message { audience: ops(), ..message(1, "Ann_1180", "x") });
    assert_eq!(state.opened().typing().collect::<Vec<_>>(), [&id("Kim_9021")]);
    assert!(state.expire(at(5)).is_empty());
    assert_eq!(state.expire(at(6)), [Change::Typing(ops())]);
    assert_eq!(state.tell_typing(at(0)), Some(Request::Typing(ops())));
    assert_eq!(state.tell_typing(at(2)), None);
    assert!(state.tell_typing(at(3)).is_some());
}
