//! Rate limits of whole sessions.

use super::*;

/// Messages that a client sends without waiting for replies.
fn messages(count: usize) -> Vec<u8> {
    let one = |n| json!({"action": "MESSAGE", "receiver": ["all"], "content": "hi", "cid": n});
    (0..count).flat_map(|n| one(n.to_string()).to_string().into_bytes()).collect()
}

#[tokio::test(start_paused = true)]
async fn fast_sender_is_throttled_and_others_are_not() {
    let mut harness = ServerHarness::with_rates(limits::DEFAULT_RATES);
    let key = Some([7; 32]);
    let bob = harness.connect_with_key(65_536, key);
    let (mut bob, mut ann) = (ServerHarness::log_in(bob, "Bob").await, harness.join("Ann").await);
    let start = monotonic_now();
    bob.io.write_all(&messages(30)).await.unwrap();
    for n in 0..30 {
        bob.expect("cid", &n.to_string()).await;
        if n == 9 {
            assert_eq!(monotonic_now(), start, "a burst is free");
        }
    }
    assert_eq!((monotonic_now() - start).as_secs(), 10, "20 more at 2 a second, none refused");
    let start = monotonic_now();
    ann.post("not delayed").await;
    ann.wait_for("content", "not delayed").await;
    let second = harness.connect_with_key(65_536, key);
    let mut second = ServerHarness::log_in(second, "Bob").await;
    second.post("of the same user").await;
    second.expect("content", "of the same user").await;
    assert_eq!((monotonic_now() - start).as_millis(), 500, "one user, one limit");
    for _ in 0..50 {
        second.send(&json!({"action": "HISTORY", "cid": "page"})).await;
        second.expect("action", "HISTORY").await;
    }
    assert_eq!((monotonic_now() - start).as_millis(), 500, "queries have a limit of their own");
}

#[tokio::test(start_paused = true)]
async fn flooding_session_is_closed_after_a_minute() {
    let mut harness = ServerHarness::with_rates(limits::DEFAULT_RATES);
    let mut bob = harness.join("Bob").await;
    let start = monotonic_now();
    bob.io.write_all(&messages(200)).await.unwrap();
    bob.wait_for("code", "flooding").await;
    assert_eq!((monotonic_now() - start).as_secs(), 60);
    bob.wait_for("action", "CLOSING").await;
    bob.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn garbage_is_rate_limited() {
    let mut harness = ServerHarness::with_rates(limits::DEFAULT_RATES);
    let mut bob = harness.join("Bob").await;
    let start = monotonic_now();
    bob.io.write_all(&vec![b'x'; 1_000_000]).await.unwrap();
    let took = (monotonic_now() - start).as_secs();
    assert!((41..46).contains(&took), "{took} s for 1 MB, less the burst and what is in flight");
}
