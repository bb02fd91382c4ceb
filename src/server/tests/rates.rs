//! How fast somebody is heard, and what that costs the others.

use super::*;

/// What a client sends that does not wait for answers.
fn many(count: usize) -> Vec<u8> {
    let one = |n| json!({"action": "MESSAGE", "receiver": ["all"], "content": "hi", "cid": n});
    (0..count).flat_map(|n| one(n.to_string()).to_string().into_bytes()).collect()
}

#[tokio::test(start_paused = true)]
async fn whoever_sends_too_fast_is_read_more_slowly_and_nobody_else() {
    let mut rig = Rig::with(limits::RATES);
    let key = Some([7; 32]);
    let bob = rig.connect_with(65_536, key);
    let (mut bob, mut ann) = (Rig::log_in(bob, "Bob").await, rig.ours("Ann").await);
    let start = mono();
    bob.io.write_all(&many(30)).await.unwrap();
    for n in 0..30 {
        bob.expect("cid", &n.to_string()).await;
        if n == 9 {
            assert_eq!(mono(), start, "a burst is free");
        }
    }
    assert_eq!((mono() - start).as_secs(), 10, "20 more at 2 a second, and none refused");
    let start = mono();
    ann.say("at once").await;
    ann.wait_for("content", "at once").await;
    let beside = rig.connect_with(65_536, key);
    let mut beside = Rig::log_in(beside, "Bob").await;
    beside.say("of the same person").await;
    beside.expect("content", "of the same person").await;
    assert_eq!((mono() - start).as_millis(), 500, "one person, one rate");
    for _ in 0..50 {
        beside.send(&json!({"action": "HISTORY", "cid": "page"})).await;
        beside.expect("action", "HISTORY").await;
    }
    assert_eq!((mono() - start).as_millis(), 500, "reading has a rate of its own");
}

#[tokio::test(start_paused = true)]
async fn whoever_sends_too_fast_for_a_minute_is_closed() {
    let mut rig = Rig::with(limits::RATES);
    let mut bob = rig.ours("Bob").await;
    let start = mono();
    bob.io.write_all(&many(200)).await.unwrap();
    bob.wait_for("code", "flooding").await;
    assert_eq!((mono() - start).as_secs(), 60);
    bob.wait_for("action", "CLOSING").await;
    bob.expect_end().await;
}

#[tokio::test(start_paused = true)]
async fn garbage_is_read_no_faster_than_text() {
    let mut rig = Rig::with(limits::RATES);
    let mut bob = rig.ours("Bob").await;
    let start = mono();
    bob.io.write_all(&vec![b'x'; 1_000_000]).await.unwrap();
    let took = (mono() - start).as_secs();
    assert!((41..46).contains(&took), "{took} s for 1 MB, less a burst and what is under way");
}
