//! The one table of commands: keys, help, hints and the README are made from it.
//!
//! A key names a command; what the command does is in `update`.

use super::key::Chord;

/// Everything a key can do, beside typing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the table below says what each does, for people")]
pub enum UiCommand {
    Help,
    Quit,
    ClearOrQuit,
    Search,
    FocusPeople,
    ToEveryone,
    ReplyLatest,
    CycleExpiry,
    PageUp,
    PageDown,
    ScrollToOldest,
    ScrollToLatest,
    ToggleMouse,
    Redraw,
    Send,
    NewLine,
    Complete,
    PickMessage,
    Back,
    PreviousMessage,
    NextMessage,
    Reply,
    Delete,
    Copy,
    EditFailed,
    NextHit,
    PreviousHit,
    PersonUp,
    PersonDown,
    TogglePerson,
    HitUp,
    HitDown,
    GoToHit,
    MatchCase,
    ConfirmDelete,
    ScrollUp,
    ScrollDown,
}

/// Where a key means something. Of two meanings the one for what is on top counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Wherever nothing else takes the key.
    Anywhere,
    /// While typing.
    Typing,
    /// While a message is picked.
    Picked,
    /// While choosing people.
    People,
    /// In the search.
    Search,
    /// While a question is asked.
    Question,
    /// While the help is open.
    Help,
}

impl Scope {
    /// The scopes as the help shows them, in its order.
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::Typing, "Typing"),
        (Self::Anywhere, "Anywhere"),
        (Self::Picked, "With a message picked"),
        (Self::People, "Choosing people"),
        (Self::Search, "Searching"),
        (Self::Question, "Asked whether to delete"),
        (Self::Help, "Reading the help"),
    ];
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Binding {
    /// What is done.
    pub command: UiCommand,
    /// Where.
    pub scope: Scope,
    /// With which keys; the first is the one that hints show.
    pub keys: &'static [&'static str],
    /// What it does, for the help.
    pub description: &'static str,
    /// The same in a word or two, for the status line; empty where it is not worth the room.
    pub hint: &'static str,
}

const fn bind(
    command: UiCommand,
    scope: Scope,
    keys: &'static [&'static str],
    title: &'static str,
    hint: &'static str,
) -> Binding {
    Binding { command, scope, keys, description: title, hint }
}

/// The table.
pub const COMMANDS: &[Binding] = &[
    bind(UiCommand::Send, Scope::Typing, &["enter"], "send the message", "send"),
    bind(
        UiCommand::NewLine,
        Scope::Typing,
        &["alt-enter", "shift-enter", "ctrl-j"],
        "begin a new line",
        "new line",
    ),
    bind(
        UiCommand::Complete,
        Scope::Typing,
        &["tab"],
        "complete a person, a command or a message's id; choose people when nothing is typed",
        "",
    ),
    bind(
        UiCommand::PickMessage,
        Scope::Typing,
        &["up"],
        "pick a message (when nothing is typed)",
        "pick message",
    ),
    bind(
        UiCommand::Back,
        Scope::Typing,
        &["esc"],
        "close the completion, drop the reply, go back to the newest message",
        "",
    ),
    bind(UiCommand::Help, Scope::Anywhere, &["f1", "alt-h"], "help", "help"),
    bind(UiCommand::FocusPeople, Scope::Anywhere, &["f2"], "choose people", "people"),
    bind(UiCommand::Search, Scope::Anywhere, &["ctrl-f", "f3"], "search", "search"),
    bind(UiCommand::ToEveryone, Scope::Anywhere, &["alt-e"], "write to everyone again", ""),
    bind(UiCommand::ReplyLatest, Scope::Anywhere, &["ctrl-r"], "reply to the latest message", ""),
    bind(
        UiCommand::CycleExpiry,
        Scope::Anywhere,
        &["ctrl-t"],
        "let the next message vanish: after 10 s, 1 min, 10 min, 1 h, never",
        "",
    ),
    bind(UiCommand::PageUp, Scope::Anywhere, &["pageup"], "scroll up", ""),
    bind(UiCommand::PageDown, Scope::Anywhere, &["pagedown"], "scroll down", ""),
    bind(
        UiCommand::ScrollToOldest,
        Scope::Anywhere,
        &["ctrl-home"],
        "go to the oldest message shown; again for older ones",
        "",
    ),
    bind(UiCommand::ScrollToLatest, Scope::Anywhere, &["ctrl-end"], "go to the newest message", ""),
    bind(
        UiCommand::ToggleMouse,
        Scope::Anywhere,
        &["alt-m"],
        "give the mouse to the terminal (to select text), and take it back",
        "",
    ),
    bind(UiCommand::Redraw, Scope::Anywhere, &["ctrl-l"], "draw the screen anew", ""),
    bind(UiCommand::ClearOrQuit, Scope::Anywhere, &["ctrl-c"], "clear the input; twice: quit", ""),
    bind(UiCommand::Quit, Scope::Anywhere, &["ctrl-q"], "quit", "quit"),
    bind(UiCommand::Reply, Scope::Picked, &["r", "enter"], "reply to it", "reply"),
    bind(UiCommand::Delete, Scope::Picked, &["d", "delete"], "delete it for everyone", "delete"),
    bind(UiCommand::Copy, Scope::Picked, &["y"], "copy its text", "copy"),
    bind(UiCommand::EditFailed, Scope::Picked, &["e"], "edit one that was not sent", ""),
    bind(UiCommand::PreviousMessage, Scope::Picked, &["up", "k"], "the message before", ""),
    bind(UiCommand::NextMessage, Scope::Picked, &["down", "j"], "the message after", ""),
    bind(UiCommand::NextHit, Scope::Picked, &["n"], "the next older hit of the search", ""),
    bind(UiCommand::PreviousHit, Scope::Picked, &["N"], "the next newer hit of the search", ""),
    bind(UiCommand::Back, Scope::Picked, &["esc"], "back to typing", "back"),
    bind(
        UiCommand::TogglePerson,
        Scope::People,
        &["enter", "space"],
        "add or remove the person",
        "add or remove",
    ),
    bind(UiCommand::PersonUp, Scope::People, &["up"], "the person above", ""),
    bind(UiCommand::PersonDown, Scope::People, &["down"], "the person below", ""),
    bind(UiCommand::Back, Scope::People, &["esc", "tab", "f2"], "back to typing", "back"),
    bind(UiCommand::GoToHit, Scope::Search, &["enter"], "go to the message", "go to message"),
    bind(UiCommand::HitUp, Scope::Search, &["up"], "the hit above", ""),
    bind(UiCommand::HitDown, Scope::Search, &["down"], "the hit below", ""),
    bind(
        UiCommand::MatchCase,
        Scope::Search,
        &["alt-c"],
        "tell capitals from small letters",
        "case",
    ),
    bind(UiCommand::Back, Scope::Search, &["esc", "ctrl-f", "f3"], "close the search", "close"),
    bind(UiCommand::ConfirmDelete, Scope::Question, &["y"], "yes, delete it", "yes, delete it"),
    bind(UiCommand::Back, Scope::Question, &["n", "esc"], "no, keep it", "no"),
    bind(UiCommand::ScrollUp, Scope::Help, &["up"], "scroll up", ""),
    bind(UiCommand::ScrollDown, Scope::Help, &["down"], "scroll down", ""),
    bind(UiCommand::Back, Scope::Help, &["esc", "f1", "alt-h", "enter"], "close the help", "close"),
];

/// What a key does in the first of `scopes` in which it means something.
pub fn lookup(scopes: &[Scope], chord: Chord) -> Option<UiCommand> {
    scopes.iter().find_map(|scope| {
        let mut bindings = COMMANDS.iter().filter(|binding| binding.scope == *scope);
        let bound = bindings.find(|binding| binding.chords().any(|key| key == chord))?;
        Some(bound.command)
    })
}

/// What the status line says about a scope: key and word.
pub fn hints(scope: Scope) -> impl Iterator<Item = (Chord, &'static str)> {
    COMMANDS
        .iter()
        .filter(move |binding| binding.scope == scope && !binding.hint.is_empty())
        .filter_map(|binding| Some((binding.chords().next()?, binding.hint)))
}

impl Binding {
    /// Its keys.
    pub fn chords(&self) -> impl Iterator<Item = Chord> {
        self.keys.iter().filter_map(|key| key.parse().ok())
    }

    /// Its keys as people read them.
    pub fn keys_label(&self) -> String {
        self.chords().map(|chord| chord.to_string()).collect::<Vec<_>>().join(", ")
    }
}

/// The table in Markdown, as the README has it.
pub fn markdown_table() -> String {
    let header = "| where | keys | what they do |\n| --- | --- | --- |\n".to_owned();
    let rows = Scope::ALL.into_iter().flat_map(|(scope, title)| {
        let bindings = COMMANDS.iter().filter(move |binding| binding.scope == scope);
        bindings.map(move |b| format!("| {title} | {} | {} |\n", b.keys_label(), b.description))
    });
    std::iter::once(header).chain(rows).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_parse_and_are_unambiguous() {
        let mut seen = std::collections::HashSet::new();
        for binding in COMMANDS {
            for key in binding.keys {
                let chord: Chord = key.parse().unwrap();
                assert_eq!(
                    Chord::from_event(chord.to_event()),
                    chord,
                    "{key} as a terminal sends it"
                );
                assert!(seen.insert((binding.scope, chord)), "{key} twice in {:?}", binding.scope);
            }
        }
    }

    #[test]
    fn topmost_scope_takes_the_key() {
        let esc = "esc".parse().unwrap();
        let f1 = "f1".parse().unwrap();
        assert_eq!(lookup(&[Scope::Search, Scope::Anywhere], esc), Some(UiCommand::Back));
        assert_eq!(lookup(&[Scope::Search, Scope::Anywhere], f1), Some(UiCommand::Help));
        assert_eq!(lookup(&[Scope::Search], f1), None);
    }
}
