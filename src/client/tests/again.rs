//! Connections that are lost, and what is done about it: resuming, pinging, sending again.

use super::*;
use crate::protocol::limits::{Limits, Rates};
use crate::protocol::rate::Rate;

#[tokio::test(start_paused = true)]
async fn a_new_connection_goes_on_from_the_last_event() {
    let (mut first, stream) = Server::new();
    let (mut second, back) = Server::new();
    let (_client, mut events) = start([stream, back]);
    assert_eq!(first.log_in().await, None);
    connected(&mut events).await;
    first.say(&expired(9)).await;
    assert_eq!(events.recv().await, Some(Event::Received(expired(9))));
    drop(first);
    lost(&mut events, "closed the connection").await;
    let resume = Resume { after: Seq(9), epoch: "e".to_owned() };
    assert_eq!(second.go_on().await, Some(resume));
}

#[tokio::test(start_paused = true)]
async fn a_quiet_client_asks_whether_the_server_is_there() {
    let (mut server, stream) = Server::new();
    let (_client, mut events) = start([stream]);
    server.log_in().await;
    connected(&mut events).await;
    let before = now();
    for pings in 1..4 {
        assert_eq!(server.hear_request().await, Request::Ping(None));
        assert_eq!(now() - before, Duration::from_secs(limits::PING_SECONDS) * pings);
        server.say(&Said::Pong(0)).await;
    }
    assert_eq!(events.recv().await, Some(Event::Received(Said::Pong(0))));
}

#[tokio::test(start_paused = true)]
async fn a_dead_link_is_found() {
    let (mut server, stream) = Server::new();
    let (_client, mut events) = start([stream]);
    server.log_in().await;
    connected(&mut events).await;
    let before = now();
    lost(&mut events, "nothing has come from the server for 45 seconds").await;
    assert_eq!(now() - before, Duration::from_secs(limits::DEAD_SECONDS));
}

#[tokio::test(start_paused = true)]
async fn what_did_not_arrive_is_asked_for_again() {
    let (mut first, stream) = Server::new();
    let (mut second, back) = Server::new();
    let (_client, mut events) = start([stream, back]);
    first.log_in().await;
    for event in [expired(9), Said::Pong(1), expired(11), Said::Pong(3)] {
        first.say(&event).await;
    }
    while !matches!(events.recv().await, Some(Event::Disconnected { .. })) {}
    assert_eq!(second.go_on().await.unwrap().after, Seq(9));
}

#[tokio::test(start_paused = true)]
async fn what_is_said_without_a_connection_is_sent_when_everything_was_replayed() {
    let (mut first, stream) = Server::new();
    let (mut second, back) = Server::new();
    let (client, mut events) = start([stream, back]);
    let (one, request) = named("one");
    client.try_send(Some(&one), &request).unwrap();
    first.log_in().await;
    connected(&mut events).await;
    assert_eq!(next(&mut events).await, Event::Sending(one.clone()));
    assert_eq!(first.hear_request().await, request);
    drop(first);
    let (two, later) = named("two");
    client.try_send(Some(&two), &later).unwrap();
    second.go_on().await;
    assert!(matches!(next(&mut events).await, Event::Connected(_)));
    second.say(&expired(9)).await;
    second.say(&echo(10, "one")).await;
    assert!(tokio::time::timeout(Duration::from_secs(1), second.hear()).await.is_err());
    second.say(&Said::Live(Seq(10))).await;
    assert_eq!(second.hear_request().await, later, "`one` was answered in the replay");
}

#[tokio::test(start_paused = true)]
async fn everything_unanswered_is_sent_again_in_order_and_the_rest_never() {
    let (mut first, stream) = Server::new();
    let (mut second, back) = Server::new();
    let (client, mut events) = start([stream, back]);
    first.log_in().await;
    connected(&mut events).await;
    let names = ["one", "two", "three", "four", "five"];
    for cid in names {
        let (cid, request) = named(cid);
        client.try_send(Some(&cid), &request).unwrap();
    }
    for cid in names {
        assert_eq!(first.hear_request().await, text(cid));
    }
    first.say(&echo(8, "two")).await;
    let cid = |name: &str| Some(name.parse().unwrap());
    first.say(&Said::Refused(Refused::new(&Refusal::NoRecipient, cid("three")))).await;
    first.say(&Said::Refused(Refused::new(&Refusal::NotStored("full"), cid("four")))).await;
    while next(&mut events).await != Event::Received(echo(8, "two")) {}
    drop(first);
    second.log_in().await;
    for cid in ["one", "four", "five"] {
        assert_eq!(second.hear_request().await, text(cid));
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_crash_left_is_sent_by_the_next_run() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Outbox::open(folder.path(), &ServerAddress::default(), "Bob").unwrap();
    let (client, mut events) = start_with(open(), Script(VecDeque::new()));
    let (cid, request) = named("kept");
    client.try_send(Some(&cid), &request).unwrap();
    let temporary = Request::Say(Say {
        audience: Audience::Everyone,
        kind: SayKind::Temporary { seconds: 5 },
        content: SafeText::clean("vanishes"),
    });
    client.try_send(Some(&"fleeting".parse().unwrap()), &temporary).unwrap();
    assert_eq!(events.recv().await, Some(Event::Connecting));
    client.close().await;

    let on_disk = || {
        let files = std::fs::read_dir(folder.path()).unwrap();
        let text = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
        text.collect::<String>()
    };
    assert!(on_disk().contains("kept"));
    assert!(!on_disk().contains("vanishes"), "what is meant to vanish is never on disk");
    let (mut server, stream) = Server::new();
    let (client, mut events) = start_with(open(), Script([stream].into()));
    assert!(matches!(events.recv().await, Some(Event::Kept(unsent)) if unsent.cid == cid));
    server.log_in().await;
    assert_eq!(server.hear_request().await, request);
    server.say(&echo(8, "kept")).await;
    while next(&mut events).await != Event::Received(echo(8, "kept")) {}
    drop(server);
    client.close().await;
    assert_eq!(on_disk(), "", "nothing stays that was answered");
}

#[tokio::test(start_paused = true)]
async fn what_waits_goes_out_at_the_servers_pace_and_questions_do_not_wait_behind_it() {
    let (mut server, stream) = Server::new();
    let (client, mut events) = start([stream]);
    for n in 0..80 {
        let (cid, request) = named(&n.to_string());
        client.try_send(Some(&cid), &request).unwrap();
        // The outbox takes them in batches.
        tokio::task::yield_now().await;
    }
    let rate = Rate { burst: 10, per_second: 2 };
    let rates = Some(Rates { messages: rate, questions: rate, bytes: rate });
    server.log_in_with(Limits { rates, ..Limits::default() }).await;
    assert_eq!(events.recv().await, Some(Event::Connecting));
    assert!(matches!(events.recv().await, Some(Event::Connected(_))));
    for n in 0..80 {
        assert_eq!(next(&mut events).await, Event::Sending(n.to_string().parse().unwrap()));
    }
    let before = now();
    for n in 0..40 {
        assert_eq!(server.hear_request().await, text(&n.to_string()));
    }
    assert_eq!((now() - before).as_millis(), 17_500, "five at once, and then two a second");
    client.try_send(None, &Request::Delete("235467".parse().unwrap())).unwrap();
    let start = now();
    assert_eq!(server.hear_request().await, Request::Delete("235467".parse().unwrap()));
    assert!(now() - start < Duration::from_millis(500));
    for n in 40..80 {
        assert_eq!(server.hear_request().await, text(&n.to_string()));
    }
}
