//! Durations as users write them (`90m`, `24h`, `7d`, `2w`) and read them (`10 min`, `1 d 4 h`).

use std::time::Duration;

/// Parses a whole number and a unit: `m`, `h`, `d` or `w`. `None` for any other text, or if the number of
/// seconds exceeds a `u64`.
pub fn parse(text: &str) -> Option<Duration> {
    let unit = text.chars().next_back()?;
    let unit_seconds = match unit {
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return None,
    };
    // `parse` would accept a plus sign.
    let digits = text.strip_suffix(unit).filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?;
    let number: u64 = digits.parse().ok()?;
    number.checked_mul(unit_seconds).map(Duration::from_secs)
}

/// Formats the two largest units, in whole seconds: `45 s`, `10 min`, `4:32`, `1 h 05 min`, `1 d 4 h`.
pub fn format(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds} s"),
        (0, 0, _, 0) => format!("{minutes} min"),
        (0, 0, _, seconds) => format!("{minutes}:{seconds:02}"),
        (0, _, 0, _) => format!("{hours} h"),
        (0, _, _, _) => format!("{hours} h {minutes:02} min"),
        (_, 0, _, _) => format!("{days} d"),
        (_, _, _, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_a_unit() {
        for (text, seconds) in
            [("0m", 0), ("90m", 5_400), ("24h", 86_400), ("7d", 604_800), ("2w", 1_209_600)]
        {
            assert_eq!(parse(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for wrong in [
            "",
            "h",
            "24",
            "-1h",
            "+1h",
            "1.5h",
            "1s",
            "1 h",
            "1€",
            "99999999999999999999d",
            "999999999999999999w",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn two_largest_units_are_shown() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (600, "10 min"),
            (272, "4:32"),
            (3_600, "1 h"),
            (3_900, "1 h 05 min"),
            (86_400, "1 d"),
            (90_061, "1 d 1 h"),
        ] {
            assert_eq!(format(Duration::from_secs(seconds)), text);
        }
    }
}
