//! The key bindings: one table that feeds key dispatch, help, hints and the README.
//!
//! The commands are carried out in `update::commands`.

use super::key::Chord;

/// A command that a key can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the table below describes each command")]
pub enum UiCommand {
    Help,
    Quit,
    ClearOrQuit,
    Search,
    FocusPeople,
    FocusConversations,
    BrowseRooms,
    PreviousConversation,
    NextConversation,
    OpenNth,
    NextUnread,
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
    OpenMenu,
    Message(MessageCommand),
    JumpBack,
    NextHit,
    PreviousHit,
    FocusUp,
    FocusDown,
    OpenFocused,
    TogglePerson,
    HitUp,
    HitDown,
    GoToHit,
    MatchCase,
    SearchScope,
    ConfirmDelete,
    RowUp,
    RowDown,
    ChooseRow,
    ScrollUp,
    ScrollDown,
}

/// A command about the picked message. Its menu offers those that are possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the table below describes each command")]
pub enum MessageCommand {
    Reply,
    Edit,
    Delete,
    React,
    ShowThread,
    Copy,
    Pin,
    Discard,
}

/// The context in which a key binding applies. The topmost context wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Every context that does not bind the key itself.
    Anywhere,
    /// The input has the focus.
    Typing,
    /// A message is picked.
    Picked,
    /// The conversations in the sidebar have the focus.
    Conversations,
    /// The people in the sidebar have the focus.
    People,
    /// The list of public rooms is open.
    Rooms,
    /// The search overlay is open.
    Search,
    /// The menu of a message is open.
    Menu,
    /// The emoji picker is open.
    Emoji,
    /// A thread is open.
    Thread,
    /// The question whether to delete a message is open.
    Question,
    /// The help overlay is open.
    Help,
}

impl Scope {
    /// All scopes with their titles, in the order of the help.
    pub const ALL: [(Self, &'static str); 12] = [
        (Self::Typing, "Typing"),
        (Self::Anywhere, "Anywhere"),
        (Self::Picked, "Message picked"),
        (Self::Menu, "Menu of a message"),
        (Self::Emoji, "Emoji picker"),
        (Self::Thread, "Thread"),
        (Self::Conversations, "Conversations"),
        (Self::People, "People"),
        (Self::Rooms, "Rooms"),
        (Self::Search, "Search"),
        (Self::Question, "Delete question"),
        (Self::Help, "Help"),
    ];
}

/// One key binding.
#[derive(Debug, Clone, Copy)]
pub struct Binding {
    /// The command that the keys run.
    pub command: UiCommand,
    /// The context in which the keys run it.
    pub scope: Scope,
    /// The keys, as [`Chord`] parses them. Hints show the first one.
    pub keys: &'static [&'static str],
    /// The description in the help and the README.
    pub description: &'static str,
    /// The label in the status line; empty if the status line does not show this binding.
    pub hint: &'static str,
}

const fn bind(
    command: UiCommand,
    scope: Scope,
    keys: &'static [&'static str],
    description: &'static str,
    hint: &'static str,
) -> Binding {
    Binding { command, scope, keys, description, hint }
}

/// All key bindings.
pub const COMMANDS: &[Binding] = &[
    bind(UiCommand::Send, Scope::Typing, &["enter"], "send the message", "send"),
    bind(
        UiCommand::NewLine,
        Scope::Typing,
        &["alt-enter", "shift-enter", "ctrl-j"],
        "insert a new line",
        "new line",
    ),
    bind(
        UiCommand::Complete,
        Scope::Typing,
        &["tab"],
        "complete a name, a command or a message ID; in an empty input, go to the people",
        "",
    ),
    bind(
        UiCommand::PickMessage,
        Scope::Typing,
        &["up"],
        "pick a message (in an empty input)",
        "pick message",
    ),
    bind(
        UiCommand::Back,
        Scope::Typing,
        &["esc"],
        "close the completion, drop the reply or edit, return from the ticked people, or jump to latest",
        "",
    ),
    bind(UiCommand::Help, Scope::Anywhere, &["f1", "alt-h"], "help", "help"),
    bind(
        UiCommand::NextUnread,
        Scope::Anywhere,
        &["alt-a"],
        "open the next conversation with unread messages, mentions first",
        "unread",
    ),
    bind(UiCommand::FocusPeople, Scope::Anywhere, &["f2"], "people", "people"),
    bind(UiCommand::FocusConversations, Scope::Anywhere, &["f3"], "conversations", "conversations"),
    bind(UiCommand::BrowseRooms, Scope::Anywhere, &["f4"], "find, join or create a room", "rooms"),
    bind(
        UiCommand::PreviousConversation,
        Scope::Anywhere,
        &["alt-up"],
        "open the previous conversation",
        "",
    ),
    bind(
        UiCommand::NextConversation,
        Scope::Anywhere,
        &["alt-down"],
        "open the next conversation",
        "",
    ),
    bind(
        UiCommand::OpenNth,
        Scope::Anywhere,
        &["alt-1", "alt-2", "alt-3", "alt-4", "alt-5", "alt-6", "alt-7", "alt-8", "alt-9"],
        "open the conversation with this number",
        "",
    ),
    bind(UiCommand::Search, Scope::Anywhere, &["ctrl-f"], "search", "search"),
    bind(UiCommand::ToEveryone, Scope::Anywhere, &["alt-e"], "write to everyone", ""),
    bind(
        UiCommand::ReplyLatest,
        Scope::Anywhere,
        &["ctrl-r"],
        "reply to the picked message, or to the latest one",
        "",
    ),
    bind(UiCommand::NextHit, Scope::Anywhere, &["ctrl-g"], "next older search hit", ""),
    bind(UiCommand::PreviousHit, Scope::Anywhere, &["alt-g"], "next newer search hit", ""),
    bind(
        UiCommand::JumpBack,
        Scope::Anywhere,
        &["alt-left"],
        "go back to where a jump started",
        "",
    ),
    bind(
        UiCommand::CycleExpiry,
        Scope::Anywhere,
        &["ctrl-t"],
        "set the expiry of the next message: 10 s, 1 min, 10 min, 1 h, none",
        "",
    ),
    bind(UiCommand::PageUp, Scope::Anywhere, &["pageup"], "scroll up", ""),
    bind(UiCommand::PageDown, Scope::Anywhere, &["pagedown"], "scroll down", ""),
    bind(
        UiCommand::ScrollToOldest,
        Scope::Anywhere,
        &["ctrl-home"],
        "jump to the oldest loaded message; repeat to load older ones",
        "",
    ),
    bind(UiCommand::ScrollToLatest, Scope::Anywhere, &["ctrl-end"], "jump to latest", ""),
    bind(
        UiCommand::ToggleMouse,
        Scope::Anywhere,
        &["alt-m"],
        "turn the mouse off, to select text with the terminal, or back on",
        "",
    ),
    bind(UiCommand::Redraw, Scope::Anywhere, &["ctrl-l"], "redraw", ""),
    bind(
        UiCommand::ClearOrQuit,
        Scope::Anywhere,
        &["ctrl-c"],
        "clear the input (Ctrl-Z restores it); twice in an empty one: quit",
        "",
    ),
    bind(UiCommand::Quit, Scope::Anywhere, &["ctrl-q"], "quit", "quit"),
    bind(UiCommand::OpenMenu, Scope::Picked, &["enter"], "menu: reply, edit, react…", "menu"),
    bind(
        UiCommand::Message(MessageCommand::Delete),
        Scope::Picked,
        &["delete"],
        "delete for everyone",
        "",
    ),
    bind(
        UiCommand::Message(MessageCommand::Copy),
        Scope::Picked,
        &["ctrl-y"],
        "copy the text",
        "copy",
    ),
    bind(UiCommand::PreviousMessage, Scope::Picked, &["up"], "previous message", ""),
    bind(UiCommand::NextMessage, Scope::Picked, &["down"], "next message", ""),
    bind(UiCommand::JumpBack, Scope::Picked, &["backspace"], "go back to where a jump started", ""),
    bind(
        UiCommand::Back,
        Scope::Picked,
        &["esc"],
        "return to typing, like any letter; from a search hit, to where the search started",
        "back",
    ),
    bind(UiCommand::Message(MessageCommand::Reply), Scope::Menu, &["r"], "reply", ""),
    bind(UiCommand::Message(MessageCommand::Edit), Scope::Menu, &["e"], "edit", ""),
    bind(
        UiCommand::Message(MessageCommand::Delete),
        Scope::Menu,
        &["d", "delete"],
        "delete for everyone",
        "",
    ),
    bind(UiCommand::Message(MessageCommand::React), Scope::Menu, &["+"], "react", ""),
    bind(
        UiCommand::Message(MessageCommand::ShowThread),
        Scope::Menu,
        &["t"],
        "show the thread",
        "",
    ),
    bind(
        UiCommand::Message(MessageCommand::Copy),
        Scope::Menu,
        &["y", "ctrl-y"],
        "copy the text",
        "",
    ),
    bind(UiCommand::Message(MessageCommand::Pin), Scope::Menu, &["p"], "pin or unpin", ""),
    bind(UiCommand::Message(MessageCommand::Discard), Scope::Menu, &["x"], "discard", ""),
    bind(UiCommand::ChooseRow, Scope::Menu, &["enter"], "do what is selected", "choose"),
    bind(UiCommand::RowUp, Scope::Menu, &["up"], "previous row", ""),
    bind(UiCommand::RowDown, Scope::Menu, &["down"], "next row", ""),
    bind(UiCommand::Back, Scope::Menu, &["esc"], "close the menu", "close"),
    bind(UiCommand::ChooseRow, Scope::Emoji, &["enter"], "add or remove the reaction", "react"),
    bind(UiCommand::RowUp, Scope::Emoji, &["up"], "previous row", ""),
    bind(UiCommand::RowDown, Scope::Emoji, &["down"], "next row", ""),
    bind(UiCommand::Back, Scope::Emoji, &["esc"], "close the picker", "close"),
    bind(UiCommand::ChooseRow, Scope::Thread, &["enter"], "jump to the message", "jump"),
    bind(UiCommand::RowUp, Scope::Thread, &["up"], "previous row", ""),
    bind(UiCommand::RowDown, Scope::Thread, &["down"], "next row", ""),
    bind(UiCommand::Back, Scope::Thread, &["esc"], "close the thread", "close"),
    bind(UiCommand::OpenFocused, Scope::Conversations, &["enter"], "open the conversation", "open"),
    bind(UiCommand::FocusUp, Scope::Conversations, &["up"], "previous row", ""),
    bind(UiCommand::FocusDown, Scope::Conversations, &["down"], "next row", ""),
    bind(UiCommand::Back, Scope::Conversations, &["esc", "f3"], "return to typing", "back"),
    bind(
        UiCommand::TogglePerson,
        Scope::People,
        &["space"],
        "tick or untick the person: opens the direct conversation of the ticked people",
        "tick",
    ),
    bind(
        UiCommand::OpenFocused,
        Scope::People,
        &["enter"],
        "open the direct conversation with the person",
        "write to",
    ),
    bind(UiCommand::FocusUp, Scope::People, &["up"], "previous row", ""),
    bind(UiCommand::FocusDown, Scope::People, &["down"], "next row", ""),
    bind(UiCommand::Back, Scope::People, &["esc", "tab", "f2"], "return to typing", "back"),
    bind(UiCommand::ChooseRow, Scope::Rooms, &["enter"], "join or create the room", "join"),
    bind(UiCommand::RowUp, Scope::Rooms, &["up"], "previous row", ""),
    bind(UiCommand::RowDown, Scope::Rooms, &["down"], "next row", ""),
    bind(UiCommand::Back, Scope::Rooms, &["esc", "f4"], "close the list", "close"),
    bind(UiCommand::GoToHit, Scope::Search, &["enter"], "jump to the message", "jump"),
    bind(UiCommand::HitUp, Scope::Search, &["up"], "newer hit", ""),
    bind(UiCommand::HitDown, Scope::Search, &["down"], "older hit", ""),
    bind(UiCommand::MatchCase, Scope::Search, &["alt-c"], "match case", "match case"),
    bind(
        UiCommand::SearchScope,
        Scope::Search,
        &["ctrl-f"],
        "search all conversations, or only the open one",
        "all conversations",
    ),
    bind(UiCommand::Complete, Scope::Search, &["tab"], "complete a filter or its value", ""),
    bind(UiCommand::Back, Scope::Search, &["esc"], "close the search", "close"),
    bind(
        UiCommand::ConfirmDelete,
        Scope::Question,
        &["enter", "y"],
        "delete for everyone",
        "delete",
    ),
    bind(UiCommand::Back, Scope::Question, &["esc", "n"], "keep the message", "keep"),
    bind(UiCommand::ScrollUp, Scope::Help, &["up"], "scroll up", ""),
    bind(UiCommand::ScrollDown, Scope::Help, &["down"], "scroll down", ""),
    bind(UiCommand::Back, Scope::Help, &["esc", "f1", "alt-h", "enter"], "close the help", "close"),
];

/// Returns the command that `chord` runs in the first of `scopes` that binds it.
pub fn lookup(scopes: &[Scope], chord: Chord) -> Option<UiCommand> {
    scopes.iter().find_map(|scope| {
        let mut bindings = COMMANDS.iter().filter(|binding| binding.scope == *scope);
        let bound = bindings.find(|binding| binding.chords().any(|key| key == chord))?;
        Some(bound.command)
    })
}

/// Returns the keys and labels that the status line shows for `scope`.
pub fn hints(scope: Scope) -> impl Iterator<Item = (Chord, &'static str)> {
    COMMANDS
        .iter()
        .filter(move |binding| binding.scope == scope && !binding.hint.is_empty())
        .filter_map(|binding| Some((binding.chords().next()?, binding.hint)))
}

impl Binding {
    /// The keys, parsed.
    pub fn chords(&self) -> impl Iterator<Item = Chord> {
        self.keys.iter().filter_map(|key| key.parse().ok())
    }

    /// The keys as shown to the user, separated by commas; the first and the last one of many.
    pub fn keys_label(&self) -> String {
        if self.keys.len() > 4
            && let Some((first, last)) = self.chords().next().zip(self.chords().last())
        {
            return format!("{first} … {last}");
        }
        self.chords().map(|chord| chord.to_string()).collect::<Vec<_>>().join(", ")
    }
}

/// The table in Markdown, as it stands in the README.
pub fn markdown_table() -> String {
    let header = "| context | keys | action |\n| --- | --- | --- |\n".to_owned();
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
                    "{key} round-trips through a terminal event"
                );
                assert!(
                    seen.insert((binding.scope, chord)),
                    "{key} is bound twice in {:?}",
                    binding.scope
                );
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
