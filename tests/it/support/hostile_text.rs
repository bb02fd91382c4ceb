//! Hostile texts: escape sequences, control and invisible characters at every position of a text. The unit
//! tests of `tui` include this file, too.
//!
//! The definition of unsafe characters repeats that of `protocol::text` on purpose, so that the tests do not
//! rely on the code under test.

/// Everything that controls a terminal or deceives a reader.
fn payloads() -> Vec<String> {
    let mut all: Vec<String> = SEQUENCES.iter().map(|text| (*text).to_owned()).collect();
    let bare = ('\0'..='\u{9f}').filter(|c| c.is_control() && !matches!(c, '\n' | '\t'));
    all.extend(bare.chain(INVISIBLE.iter().copied()).chain(BIDI.iter().copied()).map(String::from));
    // Line and paragraph separators.
    all.extend(
        ["\u{2028}", "\u{2029}", "\u{85}", "\r", "\r\n", "\u{b}", "\u{c}"].map(String::from),
    );
    for (mark, count) in
        [('\u{301}', 60), ('\u{335}', 40), ('\u{488}', 20), ('\u{e38}', 30), ('\u{20dd}', 9)]
    {
        all.push(mark.to_string().repeat(count));
        all.push(format!("Z{}", mark.to_string().repeat(count)));
    }
    all.push("\u{200d}\u{200c}".repeat(20));
    all.push("👩\u{200d}".repeat(30));
    // An emoji flag with invisible tag characters.
    all.push(format!("🏴{}", "\u{e0067}\u{e0062}\u{e007f}".repeat(9)));
    all
}

/// Escape sequences of every kind, including known attacks.
const SEQUENCES: [&str; 44] = [
    "\x1b]0;title\x07",
    "\x1b]2;title\x1b\\",
    "\x1b]52;c;cm0gLXJmIC8=\x07",
    "\x1b]52;p;?\x1b\\",
    "\x1b]8;;https://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "\x1b]4;0;rgb:00/00/00\x07",
    "\x1b]10;?\x07",
    "\x1b]50;?\x07",
    "\x1b]50;#$(id)\x07",
    "\x1b]9;notify\x07",
    "\x1b]777;notify;a;b\x07",
    "\x1b]1337;File=inline=1:AAAA\x07",
    "\x1b]7;file:///etc\x07",
    "\x1b]133;A\x07",
    "\x1b[2J\x1b[H",
    "\x1b[3J",
    "\x1b[31m",
    "\x1b[8m",
    "\x1b[7mreversed",
    "\x1b[A\x1b[2K",
    "\x1b[99D",
    "\x1b[s\x1b[u",
    "\x1b[6n",
    "\x1b[c",
    "\x1b[>q",
    "\x1b[21t",
    "\x1b[5i",
    "\x1b[?1049l",
    "\x1b[?1000h",
    "\x1b[?2004l",
    "\x1b[?2026h",
    "\x1b[?25l",
    "\x1b[4h",
    "\x1b[!p",
    "\x1b[r",
    "\x1bc",
    "\x1b(0lqqk",
    "\x1b#8",
    "\x1bN\x1bO",
    "\x1bP+q544e\x1b\\",
    "\x1bP$q\"p\x1b\\",
    "\x1b_Gf=24;AAAA\x1b\\",
    "\x1b^private\x1b\\",
    "\u{9b}31m\u{9d}0;title\u{9c}\u{90}q\u{9c}",
];

/// Bidirectional controls.
const BIDI: [char; 12] = [
    '\u{61c}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202b}', '\u{202c}', '\u{202d}', '\u{202e}',
    '\u{2066}', '\u{2067}', '\u{2068}', '\u{2069}',
];

/// Invisible characters.
const INVISIBLE: [char; 47] = [
    '\u{ad}',
    '\u{34f}',
    '\u{115f}',
    '\u{1160}',
    '\u{17b4}',
    '\u{17b5}',
    '\u{180b}',
    '\u{180c}',
    '\u{180d}',
    '\u{180e}',
    '\u{180f}',
    '\u{200b}',
    '\u{2060}',
    '\u{2061}',
    '\u{2062}',
    '\u{2063}',
    '\u{2064}',
    '\u{2065}',
    '\u{206a}',
    '\u{206b}',
    '\u{206c}',
    '\u{206d}',
    '\u{206e}',
    '\u{206f}',
    '\u{3164}',
    '\u{feff}',
    '\u{ffa0}',
    '\u{fff0}',
    '\u{fff9}',
    '\u{fffa}',
    '\u{fffb}',
    '\u{1bca0}',
    '\u{1bca1}',
    '\u{1bca2}',
    '\u{1bca3}',
    '\u{1d173}',
    '\u{1d174}',
    '\u{1d17a}',
    '\u{e0000}',
    '\u{e0001}',
    '\u{e0020}',
    '\u{e0041}',
    '\u{e0061}',
    '\u{e007f}',
    '\u{e0100}',
    '\u{e01ef}',
    '\u{e0fff}',
];

/// Texts with the position of a payload.
const CARRIERS: [&str; 13] = [
    "{}",
    "a{}b",
    "{}after",
    "before{}",
    "two words {} between",
    "{}{}{}",
    "👩{}👧",
    "שלום{}עולם",
    "e\u{301}{}e\u{301}",
    "王{}芳",
    "a line\n{}another\n",
    "\t{}\t",
    "a long line, which goes on and on and on and on and on and on and on and on and on and on{}, and on",
];

/// All hostile texts. Each starts with its number as an identifier.
pub(crate) fn samples() -> Vec<String> {
    let payloads = payloads();
    let filled = CARRIERS
        .iter()
        .flat_map(|carrier| payloads.iter().map(move |payload| carrier.replace("{}", payload)));
    let regressions = REGRESSIONS.iter().map(|text| (*text).to_owned());
    filled
        .chain(regressions)
        .enumerate()
        .map(|(number, text)| format!("<{number}> {text}"))
        .collect()
}

/// Texts that once broke the display.
const REGRESSIONS: [&str; 3] = [
    // Combining marks at the start of a line combined with the border of the bubble.
    "\u{301}\u{301}at the start of a line",
    "one\n\u{20dd}\u{20dd}two",
    // Shorthand format controls have no width and were counted as combining marks.
    "a\u{1bca0}b",
];

/// The first character that must not be displayed. Line feeds and tabs may.
pub(crate) fn find_unsafe_char(text: &str) -> Option<char> {
    let mut marks = 0;
    text.chars().find(|c| {
        let is_mark =
            matches!(c, '\u{300}'..='\u{36f}' | '\u{488}' | '\u{489}' | '\u{e38}' | '\u{20dd}');
        marks = if is_mark { marks + 1 } else { 0 };
        let is_control = c.is_control() && !matches!(c, '\n' | '\t');
        let is_line = matches!(c, '\u{2028}' | '\u{2029}');
        let is_hidden = INVISIBLE.contains(c) || matches!(c, '\u{e0000}'..='\u{e0fff}');
        is_control || is_line || is_hidden || BIDI.contains(c) || marks > 4
    })
}

/// The first part of terminal output that the full-screen client never writes by itself. It writes only the
/// CSI sequences `H`, `m`, `J` and `K`, those in [`OWN_MODES`], hyperlinks, the question for the background,
/// and its own title.
pub(crate) fn find_unexpected_output(written: &str) -> Option<String> {
    let mut rest = written;
    while let Some((text, after)) = rest.split_once('\x1b') {
        if let Some(c) = find_unsafe_char(text).or_else(|| text.chars().find(|c| *c == '\t')) {
            return Some(format!("{c:?} in {text:?}"));
        }
        if let Some(after_title) = after.strip_prefix("]0;").and_then(strip_own_title) {
            rest = after_title;
            continue;
        }
        if let Some(after_own) = after.strip_prefix("]11;?\x07").or_else(|| strip_own_link(after)) {
            rest = after_own;
            continue;
        }
        let sequence =
            after.split_inclusive(|c: char| c.is_ascii_alphabetic()).next().unwrap_or_default();
        let is_ours = OWN_MODES.contains(&sequence)
            || sequence.strip_prefix('[').is_some_and(|inner| {
                let (numbers, last) = inner.split_at(inner.len() - 1);
                numbers.chars().all(|c| c.is_ascii_digit() || c == ';') && "HmJK".contains(last)
            });
        if !is_ours {
            return Some(format!("the sequence {sequence:?}"));
        }
        rest = after.strip_prefix(sequence).unwrap_or_default();
    }
    find_unsafe_char(rest).map(|c| format!("{c:?} in {rest:?}"))
}

/// Removes a title of the window that the program sets itself: `chat` or `(2) chat`.
fn strip_own_title(after: &str) -> Option<&str> {
    let (title, rest) = after.split_once('\x07')?;
    let count = title.strip_suffix("chat")?;
    let is_count = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    let count = count.strip_prefix('(').and_then(|count| count.strip_suffix(") ")).unwrap_or(count);
    is_count(count).then_some(rest)
}

/// Removes the start or the end of a hyperlink that the program writes itself. One from a text has no ID.
fn strip_own_link(after: &str) -> Option<&str> {
    let (link, rest) = after.strip_prefix("]8;")?.split_once("\x1b\\")?;
    let (id, address) = link.split_once(';')?;
    let is_start =
        id.strip_prefix("id=").is_some_and(|id| id.chars().all(|c| c.is_ascii_hexdigit()))
            && address.bytes().all(|byte| byte.is_ascii_graphic());
    (is_start || link == ";").then_some(rest)
}

/// The terminal modes that the program sets and resets.
const OWN_MODES: [&str; 21] = [
    "[?1049h", "[?1049l", "[?25h", "[?25l", "[?1000h", "[?1000l", "[?1002h", "[?1002l", "[?1006h",
    "[?1006l", "[?2004h", "[?2004l", "[>1u", "[<1u", "[?u", "[?2026h", "[?2026l", "[?1004h",
    "[?1004l", "[22;2t", "[23;2t",
];
