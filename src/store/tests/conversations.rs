//! Conformance of both logs in what is about conversations: rooms, edits, reactions, pins, mentions, markers.

use std::ops::ControlFlow;

use super::super::{Change, DAY, MemberChange, Page, TOMBSTONE_RETENTION};
use super::memory::MemoryStore;
use super::rule_rows::audience;
use super::*;
use crate::protocol::event::{Edited, Reacted};
use crate::protocol::id::RoomName;
use crate::protocol::limits::{REACTION_USERS, UNREAD_COUNTED};
use crate::protocol::mention::Mentions;
use crate::protocol::reaction::Reaction;
use crate::protocol::room::{
    ConversationInfo, NotifyLevel, NotifySetting, ReadMarker, RoomChange, RoomState, SharedHistory,
};

suite!(
    member_sees_a_room_from_since_on_and_until_leaving,
    change_of_an_earlier_message_is_hidden_from_a_later_member,
    removed_member_learns_of_the_removal_when_resuming,
    room_is_listed_with_its_members,
    edit_is_replayed_with_the_current_text,
    edit_of_a_removed_message_is_not_replayed,
    requests_about_messages_and_rooms_are_executed_once,
    reactions_name_some_users_and_the_viewer_first,
    pins_and_replies_are_pages_of_their_own,
    deleting_a_message_removes_what_is_attached_to_it,
    page_of_a_conversation_has_only_its_messages,
    position_is_the_middle_of_a_page,
    unread_messages_and_mentions_are_counted,
    marker_is_that_of_one_user_and_never_beyond_the_head,
    conversations_are_ordered_by_their_last_message,
    settings_of_a_conversation_are_kept,
    newcomer_has_read_what_was_there,
    changes_are_kept_as_long_as_tombstones,
);

/// Four registered users.
fn with_users(store: &mut impl Store) {
    for (key, name) in (0..).zip(["Ann", "Bob", "Cid", "Dan"]) {
        apply(store, register(name, key));
    }
}

fn create(store: &mut impl Store, name: &str, by: &str, private: bool) {
    let topic = SafeText::clean("topic");
    let outcome = apply(store, Entry::Room(room(name, by, RoomAction::Create { private, topic })));
    assert!(matches!(outcome, Outcome::Changed(_)), "{outcome:?}");
}

fn add(store: &mut impl Store, name: &str, by: &str, added: &str, history: SharedHistory) {
    let action = RoomAction::Add { users: vec![user(added)], history };
    let outcome = apply(store, Entry::Room(room(name, by, action)));
    assert!(matches!(outcome, Outcome::Changed(_)), "{outcome:?}");
}

/// Posts to a conversation as in [`audience`].
fn say(store: &mut impl Store, sender: &str, to: &str, text: &str) -> Message {
    let new = NewMessage { audience: audience(to), ..message(1, sender, text) };
    expect_posted(apply(store, Entry::Post(new)))
}

fn edit(id: MessageId, by: &str, text: &str) -> Entry {
    let (content, guests) = (SafeText::clean(text), Arc::default());
    Entry::Edit { id, by: user(by), content, guests, cid: None }
}

fn react(id: MessageId, by: &str, emoji: &str, on: bool) -> Entry {
    Entry::React { id, by: user(by), emoji: emoji.parse().unwrap(), on, cid: None }
}

fn pin(id: MessageId, by: &str) -> Entry {
    Entry::Pin { id, by: user(by), on: true, cid: None }
}

fn read(by: &str, conversation: &str, up_to: u64, unread: bool) -> Entry {
    let (conversation, up_to) = (audience(conversation), Seq(up_to));
    Entry::Read { by: user(by), conversation, up_to, unread, cid: None }
}

/// The texts of a page.
fn found(
    store: &mut impl Store,
    viewer: &str,
    conversation: &str,
    range: HistoryRange,
) -> Answer<Vec<String>> {
    let query = HistoryQuery { conversation: Some(audience(conversation)), range };
    let view = View { viewer: &user(viewer), now: NOW };
    let page = store.open_reader().unwrap().history(view, &query, 4).unwrap()?;
    Ok(page.messages.iter().map(|message| message.content.to_string()).collect())
}

fn events(store: &mut impl Store, viewer: &str, after: u64) -> Vec<Event> {
    let view = View { viewer: &user(viewer), now: NOW };
    let page = store.open_reader().unwrap().events_after(view, Seq(after), 100);
    page.unwrap().unwrap().events
}

fn info(store: &mut impl Store, viewer: &str, conversation: &str) -> ConversationInfo {
    let view = View { viewer: &user(viewer), now: NOW };
    let all = store.open_reader().unwrap().conversations(view).unwrap();
    let wanted = audience(conversation);
    all.into_iter().find(|info| info.conversation == wanted).unwrap()
}

fn member_sees_a_room_from_since_on_and_until_leaving(mut store: impl Store) {
    with_users(&mut store);
    create(&mut store, "#ops", "Ann", true);
    say(&mut store, "Ann", "#ops", "early");
    add(&mut store, "#ops", "Ann", "Bob", SharedHistory::Now);
    add(&mut store, "#ops", "Ann", "Cid", SharedHistory::All);
    say(&mut store, "Bob", "#ops", "late");
    let hidden = || Err(Refusal::NoSuchRoom("#ops".parse().unwrap()));
    let both = || Ok(vec!["early".to_owned(), "late".to_owned()]);
    let late = || Ok(vec!["late".to_owned()]);
    for (viewer, expected) in [("Ann", both()), ("Bob", late()), ("Cid", both()), ("Dan", hidden())]
    {
        assert_eq!(found(&mut store, viewer, "#ops", HistoryRange::Latest), expected, "{viewer}");
        let texts = texts(&mut store.open_reader().unwrap(), viewer);
        assert_eq!(texts, expected.unwrap_or_default(), "{viewer}");
    }
    apply(&mut store, Entry::Room(room("#ops", "Cid", RoomAction::Leave)));
    assert_eq!(found(&mut store, "Cid", "#ops", HistoryRange::Latest), hidden());
    assert_eq!(texts(&mut store.open_reader().unwrap(), "Cid"), [""; 0]);
    create(&mut store, "#lab", "Ann", false);
    let not_a_member = Err(Refusal::NotAMember("#lab".parse().unwrap()));
    assert_eq!(found(&mut store, "Bob", "#lab", HistoryRange::Latest), not_a_member);
    let view = View { viewer: &user("Dan"), now: NOW };
    let mut reader = store.open_reader().unwrap();
    let scanned =
        reader.scan(view, Some(&audience("#ops")), None, 9, &mut |_| panic!("not for this user"));
    assert_eq!(scanned.unwrap(), Err(Refusal::NoSuchRoom("#ops".parse().unwrap())));
}

fn change_of_an_earlier_message_is_hidden_from_a_later_member(mut store: impl Store) {
    with_users(&mut store);
    create(&mut store, "#ops", "Ann", true);
    let early = say(&mut store, "Ann", "#ops", "early");
    add(&mut store, "#ops", "Ann", "Bob", SharedHistory::Now);
    let before = events(&mut store, "Bob", 0);
    assert!(matches!(before.as_slice(), [Event::RoomChanged(_)]), "{before:?}");
    for entry in [
        edit(early.id, "Ann", "changed"),
        react(early.id, "Ann", "👍", true),
        pin(early.id, "Ann"),
        Entry::Remove { id: early.id },
    ] {
        let Outcome::Changed(Change { viewers, .. }) = apply(&mut store, entry) else { panic!() };
        let room = "#ops".parse().unwrap();
        assert_eq!(viewers, Viewers::Room { room, about: early.seq, also: Vec::new() });
        assert_eq!(events(&mut store, "Bob", 0), before);
    }
    assert_eq!(apply(&mut store, react(early.id, "Bob", "👍", true)), not_found(2));
}

fn removed_member_learns_of_the_removal_when_resuming(mut store: impl Store) {
    with_users(&mut store);
    create(&mut store, "#ops", "Ann", true);
    add(&mut store, "#ops", "Ann", "Bob", SharedHistory::Now);
    let remove = RoomAction::Remove(vec![user("Bob"), user("Dan")]);
    let removed = apply(&mut store, Entry::Room(room("#ops", "Ann", remove)));
    let Outcome::Changed(Change { event, viewers, members }) = removed else { panic!() };
    assert_eq!(members, [MemberChange { user: user("Bob"), since: None }]);
    let (name, also) = ("#ops".parse::<RoomName>().unwrap(), vec![user("Bob")]);
    assert_eq!(viewers, Viewers::Room { room: name, about: Seq(3), also });
    let Event::RoomChanged(changed) = &event else { panic!("{event:?}") };
    assert_eq!(changed.change, RoomChange::Removed(vec![user("Bob")]));
    let topic = SafeText::clean("topic");
    let state = RoomState { private: true, topic, people: 1, archived: false };
    assert_eq!(changed.state, state);
    apply(&mut store, Entry::Room(room("#ops", "Ann", RoomAction::Topic(SafeText::default()))));
    assert_eq!(events(&mut store, "Bob", 0), [event], "and of nothing later");
    add(&mut store, "#ops", "Ann", "Bob", SharedHistory::All);
    let seqs: Vec<_> = events(&mut store, "Bob", 0).iter().filter_map(Event::seq).collect();
    assert_eq!(seqs, [1, 2, 3, 4, 5].map(Seq), "each of them once");
}

fn room_is_listed_with_its_members(mut store: impl Store) {
    with_users(&mut store);
    for (name, private) in [("#c", false), ("#b", true), ("#a", false)] {
        create(&mut store, name, "Bob", private);
    }
    apply(&mut store, Entry::Room(room("#c", "Ann", RoomAction::Join)));
    let mut reader = store.open_reader().unwrap();
    let mut names = |after: Option<&str>, limit| {
        let after = after.map(|name| name.parse().unwrap());
        let Page { items, has_more } = reader.public_rooms(after.as_ref(), limit).unwrap();
        let items = items.into_iter().map(|(name, state)| (name.to_string(), state.people));
        (items.collect::<Vec<_>>(), has_more)
    };
    assert_eq!(names(None, 1), (vec![("#a".to_owned(), 1)], true));
    assert_eq!(names(Some("#a"), 1), (vec![("#c".to_owned(), 2)], false));
    let view = View { viewer: &user("Ann"), now: NOW };
    let mut users = |room: Option<&str>, after: Option<&str>, limit| {
        let (room, after) = (room.map(|name| name.parse().unwrap()), after.map(user));
        let page = reader.users(view, room.as_ref(), after.as_ref(), limit).unwrap();
        page.map(|Page { items, has_more }| (items, has_more))
    };
    assert_eq!(users(None, Some("Ann"), 2), Ok((vec![user("Bob"), user("Cid")], true)));
    assert_eq!(users(Some("#c"), None, 9), Ok((vec![user("Bob"), user("Ann")], false)));
    assert_eq!(users(Some("#c"), Some("Bob"), 9), Ok((vec![user("Ann")], false)));
    assert_eq!(users(Some("#a"), None, 9), Err(Refusal::NotAMember("#a".parse().unwrap())));
    assert_eq!(users(Some("#b"), None, 9), Err(Refusal::NoSuchRoom("#b".parse().unwrap())));
    let rooms = store.snapshot().unwrap().rooms;
    let listed: Vec<_> = rooms.iter().map(|(name, room)| (name.as_str(), room.private)).collect();
    assert_eq!(listed, [("#a", false), ("#b", true), ("#c", false)]);
    let members: Vec<_> = rooms[2].1.members.iter().collect();
    assert_eq!(members, [(&user("Ann"), &Seq(0)), (&user("Bob"), &Seq(0))]);
}

fn edit_is_replayed_with_the_current_text(mut store: impl Store) {
    with_users(&mut store);
    let posted = say(&mut store, "Ann", "Bob", "first @Bob");
    assert_eq!(posted.mentions, Mentions::Users(vec![user("Bob")]));
    assert_eq!(info(&mut store, "Bob", "Ann").mentions, 1);
    let second = expect_changed(apply(&mut store, edit(posted.id, "Ann", "second")));
    let edited = |seq, text: &str| {
        Event::Edited(Edited {
            seq: Seq(seq),
            id: posted.id,
            author: user("Ann"),
            audience: only(&["Bob"]),
            reply_to: None,
            content: SafeText::clean(text),
            mentions: Mentions::None,
            at: at(NOW),
            cid: None,
        })
    };
    assert_eq!(second, edited(2, "second"));
    assert_eq!(info(&mut store, "Bob", "Ann").mentions, 0);
    apply(&mut store, edit(posted.id, "Ann", "third"));
    let Outcome::Repeated { seq: Seq(3), id: Some(_) } =
        apply(&mut store, edit(posted.id, "Ann", "third"))
    else {
        panic!("nothing changes")
    };
    assert_eq!(events(&mut store, "Bob", 1), [edited(2, "third"), edited(3, "third")]);
    let [Event::Posted(message), ..] = &events(&mut store, "Bob", 0)[..] else { panic!() };
    assert_eq!((message.content.as_str(), message.edited), ("third", Some(NOW)));
    let view = View { viewer: &user("Bob"), now: NOW };
    let mut rows = Vec::new();
    let mut reader = store.open_reader().unwrap();
    let scanned = reader.scan(view, Some(&audience("Ann")), None, 9, &mut |row| {
        rows.push(row.content.to_owned());
        ControlFlow::Continue(())
    });
    assert_eq!((scanned.unwrap().unwrap().visited, rows), (1, vec!["third".to_owned()]));
    assert_eq!(events(&mut store, "Cid", 0), []);
}

fn edit_of_a_removed_message_is_not_replayed(mut store: impl Store) {
    with_users(&mut store);
    let posted = say(&mut store, "Ann", "*", "first");
    apply(&mut store, edit(posted.id, "Ann", "second"));
    apply(&mut store, Entry::Remove { id: posted.id });
    let replayed = events(&mut store, "Bob", 0);
    assert!(matches!(replayed.as_slice(), [Event::Deleted(_)]), "{replayed:?}");
    assert_eq!(apply(&mut store, edit(posted.id, "Ann", "third")), not_found(1));
}

fn requests_about_messages_and_rooms_are_executed_once(mut store: impl Store) {
    with_users(&mut store);
    let posted = say(&mut store, "Ann", "Bob", "text");
    let (id, by, cid) = (posted.id, user("Ann"), |name| Some(cid(name)));
    let content = SafeText::clean("edited");
    let emoji = "👍".parse().unwrap();
    let create = RoomAction::Create { private: true, topic: SafeText::default() };
    let guests = Arc::default();
    for (entry, about) in [
        (Entry::Edit { id, by: by.clone(), content, guests, cid: cid("a") }, Some(id)),
        (Entry::React { id, by: by.clone(), emoji, on: true, cid: cid("b") }, Some(id)),
        (Entry::Pin { id, by, on: true, cid: cid("c") }, Some(id)),
        (Entry::Room(RoomEntry { cid: cid("d"), ..room("#ops", "Ann", create) }), None),
    ] {
        let Outcome::Changed(change) = apply(&mut store, entry.clone()) else { panic!() };
        say(&mut store, "Ann", "*", "later");
        let seq = change.event.seq().unwrap();
        assert_eq!(apply(&mut store, entry), Outcome::Repeated { seq, id: about });
    }
}

fn reactions_name_some_users_and_the_viewer_first(mut store: impl Store) {
    with_users(&mut store);
    let posted = say(&mut store, "Ann", "*", "text");
    let fans: Vec<_> = (0..=REACTION_USERS).map(|n| format!("Fan{n}")).collect();
    for fan in &fans {
        apply(&mut store, react(posted.id, fan, "👍", true));
    }
    let heart = expect_changed(apply(&mut store, react(posted.id, "Bob", "❤", true)));
    let emoji = "❤️".parse().unwrap();
    let (seq, id, cid) = (Seq(8), posted.id, None);
    assert_eq!(heart, Event::Reacted(Reacted { seq, id, user: user("Bob"), emoji, on: true, cid }));
    apply(&mut store, react(posted.id, "Fan0", "👍", false));
    apply(&mut store, react(posted.id, "Fan0", "👍", true));
    let reactions = |viewer: &str| {
        let view = View { viewer: &user(viewer), now: NOW };
        let found = store.open_reader().unwrap().messages(view, &[posted.seq]).unwrap().remove(0);
        let names = |reaction: &Reaction| {
            let users: Vec<_> = reaction.users.iter().map(UserId::name).collect();
            (reaction.emoji.to_string(), reaction.count, users.join(" "))
        };
        found.reactions.iter().map(names).collect::<Vec<_>>()
    };
    let heart = ("❤️".to_owned(), 1, "Bob".to_owned());
    let thumbs = |users: &str| ("👍".to_owned(), 6, users.to_owned());
    assert_eq!(reactions("Ann"), [thumbs("Fan1 Fan2 Fan3 Fan4 Fan5"), heart.clone()]);
    assert_eq!(reactions("Fan0"), [thumbs("Fan0 Fan1 Fan2 Fan3 Fan4"), heart.clone()]);
    assert_eq!(reactions("Fan3"), [thumbs("Fan3 Fan1 Fan2 Fan4 Fan5"), heart]);
}

fn pins_and_replies_are_pages_of_their_own(mut store: impl Store) {
    with_users(&mut store);
    create(&mut store, "#ops", "Ann", true);
    let first = say(&mut store, "Ann", "#ops", "first");
    let direct = say(&mut store, "Ann", "Bob", "direct");
    let kind = MessageKind::Reply { to: first.id };
    for text in ["one", "two", "three", "four"] {
        apply(&mut store, Entry::Post(NewMessage { kind, ..message(1, "Ann", text) }));
    }
    let thread = HistoryRange::Thread(first.id);
    let texts = ["first", "two", "three", "four"].map(str::to_owned).to_vec();
    assert_eq!(found(&mut store, "Ann", "#ops", thread), Ok(texts));
    let unknown = Err(Refusal::UnknownMessage(first.id));
    assert_eq!(found(&mut store, "Ann", "Bob", thread), unknown, "in another conversation");
    assert_eq!(found(&mut store, "Bob", "*", thread), unknown);
    apply(&mut store, pin(first.id, "Ann"));
    apply(&mut store, pin(direct.id, "Bob"));
    let view = View { viewer: &user("Ann"), now: NOW };
    let pinned = page(&mut store.open_reader().unwrap(), view, HistoryRange::Pinned, 9).unwrap();
    assert_eq!(seqs(&pinned.messages), [first.seq, direct.seq]);
    assert!(pinned.messages.iter().all(|message| message.pinned));
    let pinned = found(&mut store, "Ann", "#ops", HistoryRange::Pinned);
    assert_eq!(pinned, Ok(vec!["first".to_owned()]));
    apply(&mut store, Entry::Pin { id: first.id, by: user("Ann"), on: false, cid: None });
    assert_eq!(found(&mut store, "Ann", "#ops", HistoryRange::Pinned), Ok(vec![]));
}

fn deleting_a_message_removes_what_is_attached_to_it(mut store: impl Store) {
    with_users(&mut store);
    let posted = say(&mut store, "Ann", "Bob", "@Bob");
    apply(&mut store, react(posted.id, "Bob", "👍", true));
    apply(&mut store, pin(posted.id, "Bob"));
    apply(&mut store, Entry::Remove { id: posted.id });
    assert_eq!(found(&mut store, "Bob", "Ann", HistoryRange::Pinned), Ok(vec![]));
    let left = info(&mut store, "Bob", "Ann");
    assert_eq!((left.last, left.unread, left.mentions), (Seq(0), 0, 0));
}

fn page_of_a_conversation_has_only_its_messages(mut store: impl Store) {
    with_users(&mut store);
    create(&mut store, "#ops", "Ann", true);
    for (sender, to) in
        [("Ann", "*"), ("Ann", "Bob"), ("Bob", "Ann"), ("Ann", "Bob Cid"), ("Ann", "#ops")]
    {
        say(&mut store, sender, to, &format!("{sender} to {to}"));
    }
    for (viewer, conversation, expected) in [
        ("Ann", "*", vec!["Ann to *"]),
        ("Ann", "Bob", vec!["Ann to Bob", "Bob to Ann"]),
        ("Bob", "Ann", vec!["Ann to Bob", "Bob to Ann"]),
        ("Cid", "Ann Bob", vec!["Ann to Bob Cid"]),
        ("Cid", "Bob", vec![]),
        ("Ann", "#ops", vec!["Ann to #ops"]),
    ] {
        let expected = Ok(expected.into_iter().map(str::to_owned).collect());
        assert_eq!(found(&mut store, viewer, conversation, HistoryRange::Latest), expected);
    }
}

fn position_is_the_middle_of_a_page(mut store: impl Store) {
    with_users(&mut store);
    create(&mut store, "#ops", "Ann", true);
    for n in 2..=9 {
        say(&mut store, "Ann", if n % 4 == 0 { "*" } else { "#ops" }, &n.to_string());
    }
    for (range, expected) in [
        (HistoryRange::Latest, vec!["5", "6", "7", "9"]),
        (HistoryRange::Before(Seq(7)), vec!["2", "3", "5", "6"]),
        (HistoryRange::After(Seq(2)), vec!["3", "5", "6", "7"]),
        (HistoryRange::Near(Seq(4)), vec!["2", "3", "5", "6"]),
        (HistoryRange::Near(Seq(6)), vec!["5", "6", "7", "9"]),
        (HistoryRange::Around(id(6)), vec!["3", "5", "6", "7", "9"]),
    ] {
        let expected = Ok(expected.into_iter().map(str::to_owned).collect());
        assert_eq!(found(&mut store, "Ann", "#ops", range), expected, "{range:?}");
    }
    let view = View { viewer: &user("Ann"), now: NOW };
    let mut reader = store.open_reader().unwrap();
    for (range, has_earlier, has_later) in [
        (HistoryRange::Latest, true, false),
        (HistoryRange::Before(Seq(3)), false, true),
        (HistoryRange::Before(Seq(99)), true, false),
        (HistoryRange::After(Seq(0)), false, true),
        (HistoryRange::After(Seq(9)), true, false),
        (HistoryRange::Near(Seq(5)), true, true),
    ] {
        let page = page(&mut reader, view, range, 2).unwrap();
        assert_eq!((page.has_earlier, page.has_later), (has_earlier, has_later), "{range:?}");
    }
}

fn unread_messages_and_mentions_are_counted(mut store: impl Store) {
    with_users(&mut store);
    create(&mut store, "#ops", "Ann", false);
    apply(&mut store, Entry::Room(room("#ops", "Bob", RoomAction::Join)));
    for (sender, text) in [("Ann", "@Bob"), ("Bob", "@all"), ("Ann", "@all"), ("Ann", "text")] {
        say(&mut store, sender, "#ops", text);
    }
    let counts = |store: &mut _, viewer| {
        let info = info(store, viewer, "#ops");
        (info.read, info.unread, info.mentions)
    };
    assert_eq!(counts(&mut store, "Bob"), (Seq(2), 3, 2));
    assert_eq!(counts(&mut store, "Ann"), (Seq(1), 1, 1));
    for _ in 0..UNREAD_COUNTED {
        say(&mut store, "Ann", "#ops", "more");
    }
    assert_eq!(counts(&mut store, "Bob"), (Seq(2), UNREAD_COUNTED, 2));
    let outcome = apply(&mut store, read("Bob", "#ops", 4, false));
    let conversation = audience("#ops");
    let marker =
        ReadMarker { conversation, seq: Seq(4), unread: UNREAD_COUNTED, mentions: 1, cid: None };
    assert_eq!(outcome, Outcome::Personal { user: user("Bob"), event: Event::Read(marker) });
}

fn marker_is_that_of_one_user_and_never_beyond_the_head(mut store: impl Store) {
    with_users(&mut store);
    for _ in 0..3 {
        say(&mut store, "Ann", "Bob", "text");
    }
    let seq = |outcome| match outcome {
        Outcome::Personal { event: Event::Read(marker), .. } => marker.seq,
        other => panic!("{other:?}"),
    };
    for (up_to, unread, expected) in
        [(2, false, 2), (1, false, 2), (1, true, 1), (99, false, 3), (0, true, 0)]
    {
        let marked = apply(&mut store, read("Bob", "Ann", up_to, unread));
        assert_eq!(seq(marked), Seq(expected), "{up_to} {unread}");
    }
    apply(&mut store, read("Bob", "Ann", 3, false));
    assert_eq!(info(&mut store, "Bob", "Ann").unread, 0);
    assert_eq!(info(&mut store, "Ann", "Bob").read, Seq(0), "another user's");
    for (by, conversation) in [("Cid", "Ann"), ("Eve", "*"), ("Bob", "#none")] {
        let outcome = apply(&mut store, read(by, conversation, 1, false));
        assert!(matches!(outcome, Outcome::Refused(_)), "{by} {conversation}");
    }
}

fn conversations_are_ordered_by_their_last_message(mut store: impl Store) {
    with_users(&mut store);
    create(&mut store, "#ops", "Ann", true);
    for to in ["#ops", "Bob", "*", "Bob Cid"] {
        say(&mut store, "Ann", to, "text");
    }
    let view = |viewer| View { viewer, now: NOW };
    let mut reader = store.open_reader().unwrap();
    let ann = user("Ann");
    let all = reader.conversations(view(&ann)).unwrap();
    let names: Vec<_> = all.iter().map(|info| (info.conversation.clone(), info.last.0)).collect();
    let expected = [("Bob Cid", 5), ("*", 4), ("Bob", 3), ("#ops", 2)];
    assert_eq!(names, expected.map(|(name, last)| (audience(name), last)));
    assert_eq!(all[3].room.as_ref().unwrap().people, 1);
    let guest = user("Eve");
    let all = reader.conversations(view(&guest)).unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!((all[0].read, all[0].unread), (Seq(5), 0), "a guest has no markers");
}

fn settings_of_a_conversation_are_kept(mut store: impl Store) {
    with_users(&mut store);
    say(&mut store, "Ann", "Bob", "text");
    let levels = |store: &mut _| {
        ["*", "Ann"].map(|conversation| {
            let info = info(store, "Bob", conversation);
            (info.notify, info.muted_until)
        })
    };
    let defaults = [(NotifyLevel::Mentions, None), (NotifyLevel::All, None)];
    assert_eq!(levels(&mut store), defaults);
    let (conversation, level) = (audience("Ann"), NotifyLevel::None);
    let muted_until = Some(NOW + DAY);
    let (by, cid) = (user("Bob"), Some(cid("a")));
    let notify = Entry::Notify {
        by,
        conversation: conversation.clone(),
        level,
        muted_until,
        cid: cid.clone(),
    };
    let setting = NotifySetting { conversation, level, muted_until, cid };
    let (user, event) = (user("Bob"), Event::NotifySet(setting));
    assert_eq!(apply(&mut store, notify), Outcome::Personal { user, event });
    apply(&mut store, read("Bob", "Ann", 1, false));
    assert_eq!(levels(&mut store), [defaults[0], (level, muted_until)]);
    assert_eq!(info(&mut store, "Bob", "Ann").read, Seq(1));
}

fn newcomer_has_read_what_was_there(mut store: impl Store) {
    with_users(&mut store);
    create(&mut store, "#ops", "Ann", true);
    for to in ["*", "#ops"] {
        say(&mut store, "Ann", to, "text");
    }
    apply(&mut store, register("Eve", 9));
    add(&mut store, "#ops", "Ann", "Eve", SharedHistory::All);
    for conversation in ["*", "#ops"] {
        assert_eq!(info(&mut store, "Eve", conversation).unread, 0, "{conversation}");
        assert_eq!(found(&mut store, "Eve", conversation, HistoryRange::Latest).unwrap().len(), 1);
        say(&mut store, "Ann", conversation, "later");
        assert_eq!(info(&mut store, "Eve", conversation).unread, 1, "{conversation}");
    }
}

fn changes_are_kept_as_long_as_tombstones(mut store: impl Store) {
    with_users(&mut store);
    let posted = say(&mut store, "Ann", "Bob", "text");
    apply(&mut store, react(posted.id, "Bob", "👍", true));
    create(&mut store, "#ops", "Ann", true);
    apply(&mut store, Entry::Room(room("#ops", "Ann", RoomAction::Leave)));
    sweep(&mut store, NOW + TOMBSTONE_RETENTION, Retention::Forever);
    assert_eq!(events(&mut store, "Ann", 1).len(), 2, "the reaction and the departure");
    sweep(&mut store, NOW + TOMBSTONE_RETENTION + 1, Retention::Forever);
    assert_eq!(store.snapshot().unwrap().horizon, Seq(4));
    let view = View { viewer: &user("Ann"), now: NOW };
    let mut reader = store.open_reader().unwrap();
    assert_eq!(reader.events_after(view, Seq(3), 9).unwrap(), None);
    let found = reader.messages(view, &[posted.seq]).unwrap().remove(0);
    assert_eq!(found.reactions.len(), 1, "what has changed is kept");
    let rooms = store.snapshot().unwrap().rooms;
    assert!(rooms[0].1.archived && rooms[0].1.members.is_empty());
}
