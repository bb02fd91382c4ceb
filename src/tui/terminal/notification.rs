//! Desktop notifications through the terminal, which work over SSH, too.

/// The sequences that notify the user: OSC 9 for iTerm2, which has no OSC 777, else OSC 777, and the bell for
/// terminals that have neither. Under tmux they go to the terminal around it, if it lets them through.
pub(super) fn notification(text: &str, is_iterm: bool, is_tmux: bool) -> String {
    // A semicolon would begin another field, and a control character end the sequence.
    let text: String = text.chars().filter(|c| !c.is_control() && *c != ';').collect();
    let osc = if is_iterm {
        format!("\x1b]9;chat: {text}\x07")
    } else {
        format!("\x1b]777;notify;chat;{text}\x07")
    };
    let mut sequences = if is_tmux { wrap_for_tmux(&osc) } else { osc };
    sequences.push('\x07');
    sequences
}

/// Wraps a sequence so that tmux passes it on.
fn wrap_for_tmux(sequence: &str) -> String {
    format!("\x1bPtmux;{}\x1b\\", sequence.replace('\x1b', "\x1b\x1b"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notification_is_one_sequence_and_a_bell() {
        let text = "new\x1b\\ message;\x07 for\u{9c} you";
        assert_eq!(
            notification(text, false, false),
            "\x1b]777;notify;chat;new\\ message for you\x07\x07"
        );
        assert_eq!(
            notification(text, true, true),
            "\x1bPtmux;\x1b\x1b]9;chat: new\\ message for you\x07\x1b\\\x07"
        );
    }
}
