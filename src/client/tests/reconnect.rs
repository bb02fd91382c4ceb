//! Tests of lost connections: resuming, keepalive, resending.

use super::*;
use crate::protocol::limits::{Limits, Rates};
use crate::protocol::rate::Rate;

#[tokio::test(start_paused = true)]
async fn new_connection_resumes_after_the_last_event() {
    let (mut first, stream) = FakeServer::new();
    let (mut second, back) = FakeServer::new();
    let (_client, mut events) = start([stream, back]);
    assert_eq!(first.log_in().await, None);
    expect_connected(&mut events).await;
    first.send(&expired(9)).await;
    assert_eq!(events.recv().await, Some(ClientEvent::Received(expired(9))));
    drop(first);
    expect_disconnected(&mut events, "closed the connection").await;
    let resume = Resume { after: Seq(9), epoch: "e".to_owned() };
    assert_eq!(second.resume_login().await, Some(resume));
}

#[tokio::test(start_paused = true)]
async fn idle_client_pings_the_server() {
    let (mut server, stream) = FakeServer::new();
    let (_client, mut events) = start([stream]);
    server.log_in().await;
    expect_connected(&mut events).await;
    let before = now();
    for pings in 1..4 {
        assert_eq!(server.read_request().await, Request::Ping(None));
        assert_eq!(now() - before, Duration::from_secs(limits::PING_SECONDS) * pings);
        server.send(&ServerEvent::Pong(0)).await;
    }
    assert_eq!(events.recv().await, Some(ClientEvent::Received(ServerEvent::Pong(0))));
}

#[tokio::test(start_paused = true)]
async fn dead_connection_is_detected() {
    let (mut server, stream) = FakeServer::new();
    let (_client, mut events) = start([stream]);
    server.log_in().await;
    expect_connected(&mut events).await;
    let before = now();
    expect_disconnected(&mut events, "no data from the server for 45 seconds").await;
    assert_eq!(now() - before, Duration::from_secs(limits::KEEPALIVE_TIMEOUT_SECONDS));
}

#[tokio::test(start_paused = true)]
async fn missed_events_are_requested_again() {
    let (mut first, stream) = FakeServer::new();
    let (mut second, back) = FakeServer::new();
    let (_client, mut events) = start([stream, back]);
    first.log_in().await;
    for event in [expired(9), ServerEvent::Pong(1), expired(11), ServerEvent::Pong(3)] {
        first.send(&event).await;
    }
    while !matches!(events.recv().await, Some(ClientEvent::Disconnected { .. })) {}
    assert_eq!(second.resume_login().await.unwrap().after, Seq(9));
}

#[tokio::test(start_paused = true)]
async fn messages_posted_offline_are_sent_after_the_replay() {
    let (mut first, stream) = FakeServer::new();
    let (mut second, back) = FakeServer::new();
    let (client, mut events) = start([stream, back]);
    let (one, request) = request_with_cid("one");
    client.try_send(Some(&one), &request).unwrap();
    first.log_in().await;
    expect_connected(&mut events).await;
    assert_eq!(next_event(&mut events).await, ClientEvent::Sending(one.clone()));
    assert_eq!(first.read_request().await, request);
    drop(first);
    let (two, later) = request_with_cid("two");
    client.try_send(Some(&two), &later).unwrap();
    second.resume_login().await;
    assert!(matches!(next_event(&mut events).await, ClientEvent::Connected(_)));
    second.send(&expired(9)).await;
    second.send(&echo(10, "one")).await;
    assert!(tokio::time::timeout(Duration::from_secs(1), second.read_object()).await.is_err());
    second.send(&ServerEvent::Live(Seq(10))).await;
    assert_eq!(second.read_request().await, later, "`one` was answered in the replay");
}

#[tokio::test(start_paused = true)]
async fn unanswered_messages_are_resent_in_order() {
    let (mut first, stream) = FakeServer::new();
    let (mut second, back) = FakeServer::new();
    let (client, mut events) = start([stream, back]);
    first.log_in().await;
    expect_connected(&mut events).await;
    let names = ["one", "two", "three", "four", "five"];
    for cid in names {
        let (cid, request) = request_with_cid(cid);
        client.try_send(Some(&cid), &request).unwrap();
    }
    for cid in names {
        assert_eq!(first.read_request().await, text_request(cid));
    }
    first.send(&echo(8, "two")).await;
    let cid = |name: &str| Some(name.parse().unwrap());
    first.send(&ServerEvent::Error(ErrorReply::new(&Refusal::NoRecipient, cid("three")))).await;
    first
        .send(&ServerEvent::Error(ErrorReply::new(&Refusal::NotStored("full"), cid("four"))))
        .await;
    while next_event(&mut events).await != ClientEvent::Received(echo(8, "two")) {}
    drop(first);
    second.log_in().await;
    for cid in ["one", "four", "five"] {
        assert_eq!(second.read_request().await, text_request(cid));
    }
}

#[tokio::test(start_paused = true)]
async fn messages_left_by_a_crash_are_sent_by_the_next_run() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Outbox::open(folder.path(), &ServerAddress::default(), "Bob").unwrap();
    let (client, mut events) = start_with_outbox(open(), Script(VecDeque::new()));
    let (cid, request) = request_with_cid("kept");
    client.try_send(Some(&cid), &request).unwrap();
    let temporary = Request::Post(Post {
        audience: Audience::Everyone,
        kind: PostKind::Temporary { seconds: 5 },
        content: SafeText::clean("vanishes"),
    });
    client.try_send(Some(&"fleeting".parse().unwrap()), &temporary).unwrap();
    assert_eq!(events.recv().await, Some(ClientEvent::Connecting));
    client.close().await;

    let on_disk = || {
        let files = std::fs::read_dir(folder.path()).unwrap();
        let text = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
        text.collect::<String>()
    };
    assert!(on_disk().contains("kept"));
    assert!(!on_disk().contains("vanishes"), "a temporary message is never on disk");
    let (mut server, stream) = FakeServer::new();
    let (client, mut events) = start_with_outbox(open(), Script([stream].into()));
    assert!(
        matches!(events.recv().await, Some(ClientEvent::Restored(unsent)) if unsent.cid == cid)
    );
    server.log_in().await;
    assert_eq!(server.read_request().await, request);
    server.send(&echo(8, "kept")).await;
    while next_event(&mut events).await != ClientEvent::Received(echo(8, "kept")) {}
    drop(server);
    client.close().await;
    assert_eq!(on_disk(), "", "answered messages leave the disk");
}

#[tokio::test(start_paused = true)]
async fn outbox_is_throttled_and_other_requests_are_not_delayed() {
    let (mut server, stream) = FakeServer::new();
    let (client, mut events) = start([stream]);
    for n in 0..80 {
        let (cid, request) = request_with_cid(&n.to_string());
        client.try_send(Some(&cid), &request).unwrap();
        // The outbox takes them in batches.
        tokio::task::yield_now().await;
    }
    let rate = Rate { burst: 10, per_second: 2 };
    let rates = Some(Rates { messages: rate, questions: rate, bytes: rate });
    server.log_in_with(Limits { rates, ..Limits::default() }).await;
    assert_eq!(events.recv().await, Some(ClientEvent::Connecting));
    assert!(matches!(events.recv().await, Some(ClientEvent::Connected(_))));
    for n in 0..80 {
        assert_eq!(
            next_event(&mut events).await,
            ClientEvent::Sending(n.to_string().parse().unwrap())
        );
    }
    let before = now();
    for n in 0..40 {
        assert_eq!(server.read_request().await, text_request(&n.to_string()));
    }
    assert_eq!((now() - before).as_millis(), 17_500, "a burst of five, then two a second");
    client.try_send(None, &Request::Delete("235467".parse().unwrap())).unwrap();
    let start = now();
    assert_eq!(server.read_request().await, Request::Delete("235467".parse().unwrap()));
    assert!(now() - start < Duration::from_millis(500));
    for n in 40..80 {
        assert_eq!(server.read_request().await, text_request(&n.to_string()));
    }
}
