//! The system's clock, for everything on the client's side that needs the time of day.

use std::time::SystemTime;

use chrono::{DateTime, FixedOffset, Local};

/// The local time. Unlike `chrono::Local::now`, it does not panic on a machine whose clock is before 1970,
/// such as one without a battery.
#[expect(clippy::disallowed_methods, reason = "imperative shells read the clock here")]
pub fn now() -> DateTime<FixedOffset> {
    DateTime::<Local>::from(SystemTime::now()).fixed_offset()
}
