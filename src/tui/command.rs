//! The commands with their default keys: one table that feeds the keymap, help, hints and the README.
//!
//! The commands are carried out in `update::commands`.

/// A command that a key can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the table below describes each command")]
pub enum UiCommand {
    Help,
    Quit,
    ClearOrQuit,
    Search,
    GoTo,
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
    CycleLayout,
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
    Confirm,
    SendPaste,
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
    OpenLink,
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
    /// The palette is open.
    Palette,
    /// The search overlay is open.
    Search,
    /// The menu of a message is open.
    Menu,
    /// The emoji picker is open.
    Emoji,
    /// A thread is open.
    Thread,
    /// A question is open.
    Question,
    /// The help overlay is open.
    Help,
}

impl Scope {
    /// All scopes with their names in the configuration and their titles, in the order of the help.
    pub const ALL: [(Self, &'static str, &'static str); 13] = [
        (Self::Typing, "typing", "Typing"),
        (Self::Anywhere, "anywhere", "Anywhere"),
        (Self::Picked, "picked", "Message picked"),
        (Self::Menu, "menu", "Menu of a message"),
        (Self::Emoji, "emoji", "Emoji picker"),
        (Self::Thread, "thread", "Thread"),
        (Self::Conversations, "conversations", "Conversations"),
        (Self::People, "people", "People"),
        (Self::Rooms, "rooms", "Rooms"),
        (Self::Palette, "palette", "Go to"),
        (Self::Search, "search", "Search"),
        (Self::Question, "question", "Question"),
        (Self::Help, "help", "Help"),
    ];

    /// Whether a letter is text or a filter there, so that it cannot be a command.
    pub fn takes_text(self) -> bool {
        match self {
            Self::Anywhere
            | Self::Typing
            | Self::Conversations
            | Self::People
            | Self::Rooms
            | Self::Palette
            | Self::Search
            | Self::Emoji
            | Self::Help => true,
            Self::Picked | Self::Menu | Self::Thread | Self::Question => false,
        }
    }
}

/// One key binding.
#[derive(Debug, Clone, Copy)]
pub struct Binding {
    /// The name of the action in the configuration.
    pub name: &'static str,
    /// The command that the keys run.
    pub command: UiCommand,
    /// The context in which the keys run it.
    pub scope: Scope,
    /// The keys by default, as [`Chord`](super::key::Chord) parses them.
    pub keys: &'static [&'static str],
    /// The description in the help and the README.
    pub description: &'static str,
    /// The label in the status line; empty if the status line does not show this binding.
    pub hint: &'static str,
}

const fn bind(
    name: &'static str,
    command: UiCommand,
    scope: Scope,
    keys: &'static [&'static str],
    description: &'static str,
    hint: &'static str,
) -> Binding {
    Binding { name, command, scope, keys, description, hint }
}

/// All commands. Those without keys get them from a preset or the configuration.
pub const COMMANDS: &[Binding] = &[
    bind("send", UiCommand::Send, Scope::Typing, &["enter"], "send the message", "send"),
    bind(
        "new-line",
        UiCommand::NewLine,
        Scope::Typing,
        &["alt-enter", "shift-enter", "ctrl-j"],
        "insert a new line",
        "new line",
    ),
    bind(
        "complete",
        UiCommand::Complete,
        Scope::Typing,
        &["tab"],
        "complete a name, a command or a message ID; in an empty input, go to the people",
        "",
    ),
    bind(
        "pick-message",
        UiCommand::PickMessage,
        Scope::Typing,
        &["up"],
        "pick a message (in an empty input)",
        "pick message",
    ),
    bind(
        "back",
        UiCommand::Back,
        Scope::Typing,
        &["esc"],
        "close the completion, drop the reply or edit, return from the ticked people, or jump to latest",
        "",
    ),
    bind("help", UiCommand::Help, Scope::Anywhere, &["f1", "alt-h"], "help", "help"),
    bind(
        "next-unread",
        UiCommand::NextUnread,
        Scope::Anywhere,
        &["alt-a"],
        "open the next conversation with unread messages, mentions first",
        "unread",
    ),
    bind("focus-people", UiCommand::FocusPeople, Scope::Anywhere, &["f2"], "people", "people"),
    bind(
        "focus-conversations",
        UiCommand::FocusConversations,
        Scope::Anywhere,
        &["f3"],
        "conversations",
        "conversations",
    ),
    bind(
        "browse-rooms",
        UiCommand::BrowseRooms,
        Scope::Anywhere,
        &["f4"],
        "find, join or create a room",
        "rooms",
    ),
    bind(
        "previous-conversation",
        UiCommand::PreviousConversation,
        Scope::Anywhere,
        &["alt-up"],
        "open the previous conversation",
        "",
    ),
    bind(
        "next-conversation",
        UiCommand::NextConversation,
        Scope::Anywhere,
        &["alt-down"],
        "open the next conversation",
        "",
    ),
    bind(
        "open-nth",
        UiCommand::OpenNth,
        Scope::Anywhere,
        &["alt-1", "alt-2", "alt-3", "alt-4", "alt-5", "alt-6", "alt-7", "alt-8", "alt-9"],
        "open the conversation with this number",
        "",
    ),
    bind("search", UiCommand::Search, Scope::Anywhere, &["ctrl-f"], "search", "search"),
    bind(
        "go-to",
        UiCommand::GoTo,
        Scope::Anywhere,
        &["ctrl-k"],
        "go to a conversation, a person or a command",
        "go to",
    ),
    bind(
        "to-everyone",
        UiCommand::ToEveryone,
        Scope::Anywhere,
        &["alt-e"],
        "write to everyone",
        "",
    ),
    bind(
        "reply-latest",
        UiCommand::ReplyLatest,
        Scope::Anywhere,
        &["ctrl-r"],
        "reply to the picked message, or to the latest one",
        "",
    ),
    bind("next-hit", UiCommand::NextHit, Scope::Anywhere, &["ctrl-g"], "next older search hit", ""),
    bind(
        "previous-hit",
        UiCommand::PreviousHit,
        Scope::Anywhere,
        &["alt-g"],
        "next newer search hit",
        "",
    ),
    bind(
        "jump-back",
        UiCommand::JumpBack,
        Scope::Anywhere,
        &["alt-left"],
        "go back to where a jump started",
        "",
    ),
    bind(
        "cycle-expiry",
        UiCommand::CycleExpiry,
        Scope::Anywhere,
        &["ctrl-t"],
        "set the expiry of the next message: 10 s, 1 min, 10 min, 1 h, none",
        "",
    ),
    bind("page-up", UiCommand::PageUp, Scope::Anywhere, &["pageup"], "scroll up", ""),
    bind("page-down", UiCommand::PageDown, Scope::Anywhere, &["pagedown"], "scroll down", ""),
    bind(
        "scroll-to-oldest",
        UiCommand::ScrollToOldest,
        Scope::Anywhere,
        &["ctrl-home"],
        "jump to the oldest loaded message; repeat to load older ones",
        "",
    ),
    bind(
        "cycle-layout",
        UiCommand::CycleLayout,
        Scope::Anywhere,
        &["ctrl-b"],
        "arrange the messages in bubbles, compact or plain",
        "",
    ),
    bind(
        "scroll-to-latest",
        UiCommand::ScrollToLatest,
        Scope::Anywhere,
        &["ctrl-end"],
        "jump to latest",
        "",
    ),
    bind(
        "toggle-mouse",
        UiCommand::ToggleMouse,
        Scope::Anywhere,
        &["alt-m"],
        "turn the mouse off, to select text with the terminal, or back on",
        "",
    ),
    bind("redraw", UiCommand::Redraw, Scope::Anywhere, &["ctrl-l"], "redraw", ""),
    bind(
        "clear-or-quit",
        UiCommand::ClearOrQuit,
        Scope::Anywhere,
        &["ctrl-c"],
        "clear the input (Ctrl-Z restores it); twice in an empty one: quit",
        "",
    ),
    bind("quit", UiCommand::Quit, Scope::Anywhere, &["ctrl-q"], "quit", "quit"),
    bind(
        "open-menu",
        UiCommand::OpenMenu,
        Scope::Picked,
        &["enter"],
        "menu: reply, edit, react…",
        "menu",
    ),
    bind(
        "delete",
        UiCommand::Message(MessageCommand::Delete),
        Scope::Picked,
        &["delete"],
        "delete for everyone",
        "",
    ),
    bind(
        "copy",
        UiCommand::Message(MessageCommand::Copy),
        Scope::Picked,
        &["ctrl-y"],
        "copy the text",
        "copy",
    ),
    bind("reply", UiCommand::Message(MessageCommand::Reply), Scope::Picked, &[], "reply", ""),
    bind("edit", UiCommand::Message(MessageCommand::Edit), Scope::Picked, &[], "edit", ""),
    bind("react", UiCommand::Message(MessageCommand::React), Scope::Picked, &[], "react", ""),
    bind(
        "show-thread",
        UiCommand::Message(MessageCommand::ShowThread),
        Scope::Picked,
        &[],
        "show the thread",
        "",
    ),
    bind("pin", UiCommand::Message(MessageCommand::Pin), Scope::Picked, &[], "pin or unpin", ""),
    bind(
        "open-link",
        UiCommand::Message(MessageCommand::OpenLink),
        Scope::Picked,
        &[],
        "open the link",
        "",
    ),
    bind("discard", UiCommand::Message(MessageCommand::Discard), Scope::Picked, &[], "discard", ""),
    bind(
        "previous-message",
        UiCommand::PreviousMessage,
        Scope::Picked,
        &["up"],
        "previous message",
        "",
    ),
    bind("next-message", UiCommand::NextMessage, Scope::Picked, &["down"], "next message", ""),
    bind(
        "jump-back",
        UiCommand::JumpBack,
        Scope::Picked,
        &["backspace"],
        "go back to where a jump started",
        "",
    ),
    bind(
        "back",
        UiCommand::Back,
        Scope::Picked,
        &["esc"],
        "return to typing, like any letter; from a search hit, to where the search started",
        "back",
    ),
    bind("reply", UiCommand::Message(MessageCommand::Reply), Scope::Menu, &["r"], "reply", ""),
    bind("edit", UiCommand::Message(MessageCommand::Edit), Scope::Menu, &["e"], "edit", ""),
    bind(
        "delete",
        UiCommand::Message(MessageCommand::Delete),
        Scope::Menu,
        &["d", "delete"],
        "delete for everyone",
        "",
    ),
    bind("react", UiCommand::Message(MessageCommand::React), Scope::Menu, &["+"], "react", ""),
    bind(
        "show-thread",
        UiCommand::Message(MessageCommand::ShowThread),
        Scope::Menu,
        &["t"],
        "show the thread",
        "",
    ),
    bind(
        "copy",
        UiCommand::Message(MessageCommand::Copy),
        Scope::Menu,
        &["y", "ctrl-y"],
        "copy the text",
        "",
    ),
    bind("pin", UiCommand::Message(MessageCommand::Pin), Scope::Menu, &["p"], "pin or unpin", ""),
    bind(
        "open-link",
        UiCommand::Message(MessageCommand::OpenLink),
        Scope::Menu,
        &["o"],
        "open the link",
        "",
    ),
    bind(
        "discard",
        UiCommand::Message(MessageCommand::Discard),
        Scope::Menu,
        &["x"],
        "discard",
        "",
    ),
    bind(
        "choose-row",
        UiCommand::ChooseRow,
        Scope::Menu,
        &["enter"],
        "do what is selected",
        "choose",
    ),
    bind("row-up", UiCommand::RowUp, Scope::Menu, &["up"], "previous row", ""),
    bind("row-down", UiCommand::RowDown, Scope::Menu, &["down"], "next row", ""),
    bind("back", UiCommand::Back, Scope::Menu, &["esc"], "close the menu", "close"),
    bind(
        "choose-row",
        UiCommand::ChooseRow,
        Scope::Emoji,
        &["enter"],
        "add or remove the reaction",
        "react",
    ),
    bind("row-up", UiCommand::RowUp, Scope::Emoji, &["up"], "previous row", ""),
    bind("row-down", UiCommand::RowDown, Scope::Emoji, &["down"], "next row", ""),
    bind("back", UiCommand::Back, Scope::Emoji, &["esc"], "close the picker", "close"),
    bind(
        "choose-row",
        UiCommand::ChooseRow,
        Scope::Thread,
        &["enter"],
        "jump to the message",
        "jump",
    ),
    bind("row-up", UiCommand::RowUp, Scope::Thread, &["up"], "previous row", ""),
    bind("row-down", UiCommand::RowDown, Scope::Thread, &["down"], "next row", ""),
    bind("back", UiCommand::Back, Scope::Thread, &["esc"], "close the thread", "close"),
    bind(
        "open-focused",
        UiCommand::OpenFocused,
        Scope::Conversations,
        &["enter"],
        "open the conversation",
        "open",
    ),
    bind("focus-up", UiCommand::FocusUp, Scope::Conversations, &["up"], "previous row", ""),
    bind("focus-down", UiCommand::FocusDown, Scope::Conversations, &["down"], "next row", ""),
    bind("back", UiCommand::Back, Scope::Conversations, &["esc", "f3"], "return to typing", "back"),
    bind(
        "toggle-person",
        UiCommand::TogglePerson,
        Scope::People,
        &["space"],
        "tick or untick the person: opens the direct conversation of the ticked people",
        "tick",
    ),
    bind(
        "open-focused",
        UiCommand::OpenFocused,
        Scope::People,
        &["enter"],
        "open the direct conversation with the person",
        "write to",
    ),
    bind("focus-up", UiCommand::FocusUp, Scope::People, &["up"], "previous row", ""),
    bind("focus-down", UiCommand::FocusDown, Scope::People, &["down"], "next row", ""),
    bind("back", UiCommand::Back, Scope::People, &["esc", "tab", "f2"], "return to typing", "back"),
    bind(
        "choose-row",
        UiCommand::ChooseRow,
        Scope::Rooms,
        &["enter"],
        "join or create the room",
        "join",
    ),
    bind("row-up", UiCommand::RowUp, Scope::Rooms, &["up"], "previous row", ""),
    bind("row-down", UiCommand::RowDown, Scope::Rooms, &["down"], "next row", ""),
    bind("back", UiCommand::Back, Scope::Rooms, &["esc", "f4"], "close the list", "close"),
    bind("choose-row", UiCommand::ChooseRow, Scope::Palette, &["enter"], "open or run", "open"),
    bind("row-up", UiCommand::RowUp, Scope::Palette, &["up"], "previous row", ""),
    bind("row-down", UiCommand::RowDown, Scope::Palette, &["down"], "next row", ""),
    bind("back", UiCommand::Back, Scope::Palette, &["esc", "ctrl-k"], "close the list", "close"),
    bind("go-to-hit", UiCommand::GoToHit, Scope::Search, &["enter"], "jump to the message", "jump"),
    bind("hit-up", UiCommand::HitUp, Scope::Search, &["up"], "newer hit", ""),
    bind("hit-down", UiCommand::HitDown, Scope::Search, &["down"], "older hit", ""),
    bind("match-case", UiCommand::MatchCase, Scope::Search, &["alt-c"], "match case", "match case"),
    bind(
        "search-scope",
        UiCommand::SearchScope,
        Scope::Search,
        &["ctrl-f"],
        "search all conversations, or only the open one",
        "all conversations",
    ),
    bind(
        "complete",
        UiCommand::Complete,
        Scope::Search,
        &["tab"],
        "complete a filter or its value",
        "",
    ),
    bind("back", UiCommand::Back, Scope::Search, &["esc"], "close the search", "close"),
    bind(
        "confirm",
        UiCommand::Confirm,
        Scope::Question,
        &["enter", "y"],
        "yes: delete the message, keep the paste in the input, send the draft",
        "yes",
    ),
    bind("send-paste", UiCommand::SendPaste, Scope::Question, &["s"], "send the paste at once", ""),
    bind("back", UiCommand::Back, Scope::Question, &["esc", "n"], "no; drop the paste", "no"),
    bind("scroll-up", UiCommand::ScrollUp, Scope::Help, &["up"], "scroll up", ""),
    bind("scroll-down", UiCommand::ScrollDown, Scope::Help, &["down"], "scroll down", ""),
    bind(
        "back",
        UiCommand::Back,
        Scope::Help,
        &["esc", "f1", "alt-h", "enter"],
        "close the help",
        "close",
    ),
];
