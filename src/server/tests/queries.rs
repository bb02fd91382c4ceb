//! History pages and searches.

use super::super::queries::{self, ActiveSearches, SearchJob};
use super::super::tail::PendingRead;
use super::*;
use crate::protocol::message::{Audience, MessageKind, Millis};
use crate::protocol::query::{HistoryQuery, HistoryRange, SearchQuery};
use crate::protocol::text::SafeText;
use crate::store::{Entry, NewMessage};

#[tokio::test(start_paused = true)]
async fn history_is_paged_and_search_finds_matches() {
    let mut harness = ServerHarness::start();
    let mut ann = harness.join("Ann").await;
    for n in 0..150 {
        ann.post(&format!("message {n}")).await;
        ann.expect("content", &format!("message {n}")).await;
    }
    let mut bob = harness.join("Bob").await;
    bob.send(&json!({"action": "HISTORY", "cid": "h1"})).await;
    let page = bob.expect("action", "HISTORY").await;
    let messages = page["messages"].as_array().unwrap();
    assert_eq!((messages.len(), &page["earlier"], &page["cid"]), (100, &json!(true), &json!("h1")));
    bob.send(&json!({"action": "HISTORY", "before": messages[0]["seq"], "cid": "h2"})).await;
    let page = bob.expect("action", "HISTORY").await;
    assert_eq!((page["messages"].as_array().unwrap().len(), &page["earlier"]), (50, &json!(false)));
    bob.send(&json!({"action": "HISTORY", "around": messages[50]["id"], "cid": "h3"})).await;
    let page = bob.expect("action", "HISTORY").await;
    assert!(page["messages"].as_array().unwrap().iter().any(|m| m["id"] == messages[50]["id"]));
    bob.send(&json!({"action": "SEARCH", "content": "MESSAGE 1[0-2]0$", "cid": "s1"})).await;
    let found = bob.expect("action", "FOUND").await;
    let texts: Vec<_> =
        found["messages"].as_array().unwrap().iter().map(|m| &m["content"]).collect();
    assert_eq!(texts, ["message 120", "message 110", "message 100"]);
    assert_eq!((&found["end"], &found["searched"]), (&json!("complete"), &json!(150)));
    bob.send(&json!({"action": "SEARCH", "content": "(", "cid": "s2"})).await;
    assert_eq!(bob.expect("action", "ERROR").await["code"], "bad_pattern");
}

/// The client's decoder accepts no frame over the limit.
#[tokio::test(start_paused = true)]
async fn longest_messages_are_paged_and_found() {
    const MESSAGES: usize = 100;
    let mut harness = ServerHarness::start();
    let mut ann = harness.join("Ann").await;
    let text = "😀".repeat(CONTENT_CHARACTERS);
    for _ in 0..MESSAGES {
        ann.post(&text).await;
        ann.expect("content", &text).await;
    }
    let mut bob = harness.join("Bob").await;
    let (mut n_read, mut before) = (0, Value::Null);
    loop {
        bob.send(&json!({"action": "HISTORY", "before": before, "cid": "h"})).await;
        let page = bob.expect("cid", "h").await;
        let messages = page["messages"].as_array().unwrap();
        n_read += messages.len();
        before = messages[0]["seq"].clone();
        if page["earlier"] == false {
            break;
        }
    }
    assert_eq!(n_read, MESSAGES);
    bob.send(&json!({"action": "SEARCH", "content": "😀", "cid": "s"})).await;
    let mut n_found = 0;
    loop {
        let found = bob.expect("cid", "s").await;
        n_found += found["messages"].as_array().unwrap().len();
        if found["end"] != "searching" {
            assert_eq!(found["end"], "complete");
            break;
        }
    }
    assert_eq!(n_found, MESSAGES);
}

#[tokio::test(start_paused = true)]
async fn new_search_replaces_the_users_previous_one() {
    let mut harness = ServerHarness::start();
    let key = Some([7; 32]);
    let first = harness.connect_with_key(65_536, key);
    let mut first = ServerHarness::log_in(first, "Bob").await;
    let second = harness.connect_with_key(65_536, key);
    let mut second = ServerHarness::log_in(second, "Bob").await;
    let mut ann = harness.join("Ann").await;
    // All are requested before the reader runs the first.
    for client in [&mut ann, &mut first, &mut second] {
        client.send(&json!({"action": "SEARCH", "content": "x", "cid": "s"})).await;
    }
    assert_eq!(first.expect("cid", "s").await["end"], "replaced");
    assert_eq!(second.expect("cid", "s").await["end"], "complete");
    assert_eq!(ann.expect("cid", "s").await["end"], "complete", "a search of another user");
}

#[test]
fn search_is_cancelled_only_by_its_own_session() {
    let mut searches = ActiveSearches::default();
    let bob: UserId = "Bob_1234".parse().unwrap();
    let first = searches.start(SessionId(1), &bob);
    let second = searches.start(SessionId(2), &bob);
    assert!(first.is_cancelled());
    searches.end_session(SessionId(1));
    assert!(!second.is_cancelled(), "the other session is still connected");
    searches.end_session(SessionId(2));
    assert!(second.is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn search_stops_at_its_lower_bound() {
    let mut harness = ServerHarness::start();
    let mut ann = harness.join("Ann").await;
    let mut times = Vec::new();
    for n in 0..20 {
        tokio::time::sleep(Duration::from_secs(20)).await;
        ann.post(&format!("message {n}")).await;
        times.push(ann.expect("content", &format!("message {n}")).await["at"].clone());
    }
    let search =
        json!({"action": "SEARCH", "content": "message .[05]", "cid": "s", "after": times[10]});
    ann.send(&search).await;
    let found = ann.expect("action", "FOUND").await;
    let texts: Vec<_> =
        found["messages"].as_array().unwrap().iter().map(|m| &m["content"]).collect();
    assert_eq!(texts, ["message 15", "message 10"]);
    assert_eq!((&found["end"], &found["searched"]), (&json!("complete"), &json!(10)));
}

#[tokio::test(start_paused = true)]
async fn search_continues_before_a_position_and_finds_kinds_of_text() {
    let mut harness = ServerHarness::start();
    let mut ann = harness.join("Ann").await;
    for text in ["see https://example.org", "http:// alone", "run `ls`", "a ` b", "see http://a"] {
        ann.post(text).await;
        ann.expect("content", text).await;
    }
    let mut search = async |conditions: Value| -> Vec<(i64, String)> {
        let mut request = json!({"action": "SEARCH", "content": "^", "cid": "s"});
        request.as_object_mut().unwrap().extend(conditions.as_object().unwrap().clone());
        ann.send(&request).await;
        let found = ann.expect("action", "FOUND").await;
        let hits = found["messages"].as_array().unwrap().iter();
        hits.map(|hit| (hit["seq"].as_i64().unwrap(), hit["content"].as_str().unwrap().to_owned()))
            .collect()
    };
    let texts = |hits: &[(i64, String)]| -> Vec<String> {
        hits.iter().map(|(_, text)| text.clone()).collect()
    };
    let links = search(json!({"has": "link"})).await;
    assert_eq!(texts(&links), ["see http://a", "see https://example.org"]);
    let older = search(json!({"has": "link", "before_seq": links[0].0})).await;
    assert_eq!(texts(&older), ["see https://example.org"]);
    assert_eq!(texts(&search(json!({"has": "code"})).await), ["run `ls`"]);
}

#[tokio::test(start_paused = true)]
async fn failed_read_can_be_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let store = crate::store::sqlite::SqliteStore::open(folder.path()).unwrap();
    let mut harness = ServerHarness::with_store(store, None);
    let mut ann = harness.join("Ann").await;
    ann.post("one").await;
    ann.expect("content", "one").await;
    // The message is in this file alone.
    let wal = folder.path().join("log.db-wal");
    let bytes = std::fs::read(&wal).unwrap();
    std::fs::write(&wal, []).unwrap();
    for action in ["HISTORY", "SEARCH"] {
        ann.send(&json!({"action": action, "content": "one", "cid": action})).await;
        let error = ann.expect("cid", action).await;
        assert_eq!((&error["action"], &error["code"]), (&json!("ERROR"), &json!("not_read")));
    }
    std::fs::write(&wal, bytes).unwrap();
    ann.send(&json!({"action": "HISTORY", "cid": "again"})).await;
    assert_eq!(ann.expect("cid", "again").await["messages"][0]["content"], "one");
}

#[tokio::test(start_paused = true)]
async fn heavy_pages_slow_down_only_the_one_who_asks() {
    const PAGES: usize = 30;
    let mut harness = ServerHarness::with_rates(limits::DEFAULT_RATES);
    let (mut ann, mut bob) = (harness.join("Ann").await, harness.join("Bob").await);
    let text = "x".repeat(CONTENT_CHARACTERS);
    for _ in 0..100 {
        ann.post(&text).await;
        ann.expect("content", &text).await;
        bob.expect("content", &text).await;
    }
    let start = monotonic_now();
    let mut bytes = 0;
    for n in 0..PAGES {
        ann.send(&json!({"action": "HISTORY", "cid": "heavy"})).await;
        let page = ann.expect("cid", "heavy").await;
        bytes += page.to_string().len();
        let before = monotonic_now();
        bob.send(&json!({"action": "HISTORY", "before": 2, "cid": n.to_string()})).await;
        bob.expect("cid", &n.to_string()).await;
        assert_eq!(before.elapsed(), Duration::ZERO, "another user's page");
    }
    let (burst, rate) = (limits::ANSWER_RATE.burst as usize, limits::ANSWER_RATE.per_second);
    let page = bytes / PAGES;
    let expected = Duration::from_secs((bytes - page - burst) as u64) / rate;
    assert!(start.elapsed() >= expected, "{:?}, {expected:?}", start.elapsed());
    assert!(start.elapsed() < 2 * expected, "{:?}, {expected:?}", start.elapsed());
}

/// A history or search request of a session that has no connection.
fn pending_read(queue: &Arc<SendQueue>) -> Arc<PendingRead> {
    assert!(queue.begin_request(true).now_or_never().is_some());
    let (tail, bob) = (Arc::new(Tail::new(Seq(0))), "Bob_1234".parse().unwrap());
    Arc::new(PendingRead::new(tail, Arc::clone(queue), bob, Dialect::Extended))
}

fn search_job(query: SearchQuery) -> SearchJob {
    SearchJob::new("Bob_1234".parse().unwrap(), 0, None, query, CancellationToken::new())
}

#[tokio::test]
async fn reads_of_an_ended_session_are_dropped() {
    let (readers, queue) = worker::read_queue();
    let session = Arc::new(SendQueue::default());
    let connection = session.abandon_on_drop();
    let query = HistoryQuery { conversation: None, range: HistoryRange::Latest };
    let (bob, request) = ("Bob_1234".parse().unwrap(), hub::ReadRequest::History(query));
    let page = queries::answer_read(readers.clone(), bob, 0, None, request, pending_read(&session));
    let job = search_job(SearchQuery { pattern: "x".to_owned(), ..SearchQuery::default() });
    let search = queries::search(readers.clone(), job, None, pending_read(&session));
    let (mut page, mut search) = (Box::pin(page), Box::pin(search));
    assert!((&mut page).now_or_never().is_none() && (&mut search).now_or_never().is_none());
    drop(connection);
    assert!(page.now_or_never().is_some() && search.now_or_never().is_some());
    drop(readers);
    worker::run_reader_task(MemoryStore::default().open_reader().unwrap(), queue).await;
    assert_eq!(session.take_uncharged_answers(), 0, "nothing was answered");
    assert!(session.begin_request(true).now_or_never().is_some(), "the reads have ended");
}

#[tokio::test(start_paused = true)]
async fn searches_take_turns() {
    let mut store = MemoryStore::default();
    let post = Entry::Post(NewMessage {
        sender: "Ann_1234".parse().unwrap(),
        guest: false,
        audience: Audience::Everyone,
        guests: Arc::default(),
        kind: MessageKind::Plain,
        content: SafeText::clean(&"x".repeat(CONTENT_CHARACTERS)),
        at: clock().wall,
        cid: None,
    });
    let count = limits::SEARCH_SLICE_BYTES / CONTENT_CHARACTERS + 10;
    store.apply(0, &vec![post; count]).unwrap();
    let (searchers, queue) = worker::read_queue();
    let reader = worker::run_reader_task(store.open_reader().unwrap(), queue);
    let sessions = [Arc::new(SendQueue::default()), Arc::new(SendQueue::default())];
    let query = SearchQuery { pattern: "y".to_owned(), ..SearchQuery::default() };
    let quick = SearchQuery { after: Some(Millis::MAX), ..query.clone() };
    let long = search_job(query);
    let long = queries::search(searchers.clone(), long, None, pending_read(&sessions[0]));
    let quick = search_job(quick);
    let quick = queries::search(searchers.clone(), quick, None, pending_read(&sessions[1]));
    tokio::pin!(long, reader);
    tokio::select! {
        biased;
        () = &mut long => panic!("the other search had to wait for all of this one"),
        () = quick => {}
        () = &mut reader => unreachable!("the queue is open"),
    }
    tokio::select! {
        () = long => {}
        () = reader => unreachable!("the queue is open"),
    }
}
