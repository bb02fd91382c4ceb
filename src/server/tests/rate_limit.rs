//! How fast somebody is heard, and what that costs the others.

use super::*;

/// What a client sends that does not wait for answers.
fn messages(count: usize) -> Vec<u8> {
    let one = |n| json!({"action": "MESSAGE", "receiver": ["all"], "content": "hi", "cid": n});
    (0..count).flat_map(|n| one(n.to_string()).to_string().into_bytes()).collect()
}

#[tokio::test(start_paused = true)]
async fn fast_sender_is_throttled_and_others_are_not() {
    let mut rig = ServerHarness::with_rates(limits::DEFAULT_RATES);
    let key = Some([7; 32]);
    let bob = rig.connect_with_key(65_536, key);
    let (mut bob, mut ann) = (ServerHarness::log_in(bob, "Bob").await, rig.join("Ann").await);
    let start = monotonic_now();
    bob.io.write_all(&messages(30)).await.unwrap();
    for n in 0..30 {
        bob.expect("cid", &n.to_string()).await;
        if n == 9 {
            assert_eq!(monotonic_now(), start, "a burst is free");
        }
    }
    assert_eq!((monotonic_now() - start).as_secs(), 10, "20 more at 2 a second, and none refused");
    let start = monotonic_now();
    ann.post("at once").await;
    ann.wait_for("content", "at once").await;
    let beside = rig.connect_with_key(65_536, key);
    let mut beside = ServerHarness::log_in(beside, "Bob").await;
    beside.post("of the same person").await;
    beside.expect("content", "of the same person").await;
    assert_eq!((monotonic_now() - start).as_millis(), 500, "one person, one rate");
    for _ in 0..50 {
        beside.send(&json!({"action": "HISTORY", "cid": "page"})).await;
        beside.expect("action", "HISTORY").await;
    }
    assert_eq!((monotonic_now() - start).as_millis(), 500, "reading has a rate of its own");
}

#[tokio::test(start_paused = true)]
async fn flooding_session_is_closed_after_a_minute() {
    let mut rig = ServerHarness::with_rates(limits::DEFAULT_RATES);
    let mut bob = rig.join("Bob").await;
    let start = monotonic_now();
    bob.io.write_all(&messages(200)).await.unwrap();
    bob.wait_for("code", "flooding").await;
    assert_eq!((monotonic_now() - start).as_secs(), 60);
    bob.wait_for("action", "CLOSING").await;
    bob.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn garbage_is_rate_limited() {
    let mut rig = ServerHarness::with_rates(limits::DEFAULT_RATES);
    let mut bob = rig.join("Bob").await;
    let start = monotonic_now();
    bob.io.write_all(&vec![b'x'; 1_000_000]).await.unwrap();
    let took = (monotonic_now() - start).as_secs();
    assert!((41..46).contains(&took), "{took} s for 1 MB, less a burst and what is under way");
}
