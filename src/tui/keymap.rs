//! The keymap: the keys of each command, from the defaults, a preset and the configuration.

use std::str::FromStr;

use thiserror::Error;

use super::command::{Binding, COMMANDS, Scope, UiCommand};
use super::key::Chord;

/// The keys of all commands.
#[derive(Debug, Clone)]
pub struct Keymap(Vec<BoundKeys>);

/// A command with its keys.
#[derive(Debug, Clone)]
pub struct BoundKeys {
    /// The command.
    pub binding: &'static Binding,
    /// The keys. Hints show the first one.
    pub chords: Vec<Chord>,
    /// Where the keys come from.
    pub source: KeySource,
}

/// Where the keys of a command come from. A later one replaces an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum KeySource {
    Default,
    Preset,
    Config,
}

/// A set of keys to start from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyPreset {
    /// The keys of the table of commands.
    #[default]
    Default,
    /// Letters act on a picked message, and `j` and `k` move.
    Vim,
    /// Moving, searching and scrolling as in Emacs.
    Emacs,
}

impl KeyPreset {
    /// The presets by name.
    pub const ALL: [(&'static str, Self); 3] =
        [("default", Self::Default), ("vim", Self::Vim), ("emacs", Self::Emacs)];

    fn changes(self) -> &'static [PresetKeys] {
        match self {
            Self::Default => &[],
            Self::Vim => VIM,
            Self::Emacs => EMACS,
        }
    }
}

impl FromStr for KeyPreset {
    type Err = UnknownPreset;

    fn from_str(text: &str) -> Result<Self, UnknownPreset> {
        let found = Self::ALL.into_iter().find(|(name, _)| *name == text);
        found.map(|(_, preset)| preset).ok_or(UnknownPreset)
    }
}

/// The text names no preset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the presets are default, vim and emacs")]
pub struct UnknownPreset;

/// An action of a preset with its scope and its keys.
type PresetKeys = (Scope, &'static str, &'static [&'static str]);

const VIM: &[PresetKeys] = &[
    (Scope::Picked, "reply", &["r"]),
    (Scope::Picked, "edit", &["e"]),
    (Scope::Picked, "delete", &["d", "delete"]),
    (Scope::Picked, "react", &["+"]),
    (Scope::Picked, "show-thread", &["t"]),
    (Scope::Picked, "copy", &["y", "ctrl-y"]),
    (Scope::Picked, "pin", &["p"]),
    (Scope::Picked, "open-link", &["o"]),
    (Scope::Picked, "discard", &["x"]),
    (Scope::Picked, "previous-message", &["k", "up"]),
    (Scope::Picked, "next-message", &["j", "down"]),
    (Scope::Picked, "back", &["i", "esc"]),
    (Scope::Menu, "row-up", &["k", "up"]),
    (Scope::Menu, "row-down", &["j", "down"]),
    (Scope::Thread, "row-up", &["k", "up"]),
    (Scope::Thread, "row-down", &["j", "down"]),
    (Scope::Typing, "pick-message", &["up", "alt-k"]),
];

const EMACS: &[PresetKeys] = &[
    (Scope::Anywhere, "search", &["ctrl-s"]),
    (Scope::Anywhere, "go-to", &["alt-x"]),
    (Scope::Anywhere, "next-hit", &["alt-s"]),
    (Scope::Anywhere, "previous-hit", &["alt-r"]),
    (Scope::Anywhere, "page-up", &["pageup", "alt-v"]),
    (Scope::Anywhere, "page-down", &["pagedown", "ctrl-v"]),
    (Scope::Anywhere, "scroll-to-oldest", &["ctrl-home", "alt-<"]),
    // Ctrl-B moves the cursor.
    (Scope::Anywhere, "cycle-layout", &["alt-l"]),
    (Scope::Anywhere, "scroll-to-latest", &["ctrl-end", "alt->"]),
    (Scope::Typing, "pick-message", &["up", "ctrl-p"]),
    (Scope::Typing, "back", &["esc", "ctrl-g"]),
    (Scope::Picked, "previous-message", &["up", "ctrl-p"]),
    (Scope::Picked, "next-message", &["down", "ctrl-n"]),
    (Scope::Picked, "copy", &["ctrl-y", "alt-w"]),
    (Scope::Picked, "back", &["esc", "ctrl-g"]),
    (Scope::Menu, "row-up", &["up", "ctrl-p"]),
    (Scope::Menu, "row-down", &["down", "ctrl-n"]),
    (Scope::Menu, "back", &["esc", "ctrl-g"]),
    (Scope::Conversations, "focus-up", &["up", "ctrl-p"]),
    (Scope::Conversations, "focus-down", &["down", "ctrl-n"]),
    (Scope::Conversations, "back", &["esc", "f3", "ctrl-g"]),
    (Scope::People, "focus-up", &["up", "ctrl-p"]),
    (Scope::People, "focus-down", &["down", "ctrl-n"]),
    (Scope::People, "back", &["esc", "tab", "f2", "ctrl-g"]),
    (Scope::Rooms, "row-up", &["up", "ctrl-p"]),
    (Scope::Rooms, "row-down", &["down", "ctrl-n"]),
    (Scope::Rooms, "back", &["esc", "f4", "ctrl-g"]),
    (Scope::Palette, "row-up", &["up", "ctrl-p"]),
    (Scope::Palette, "row-down", &["down", "ctrl-n"]),
    (Scope::Palette, "back", &["esc", "alt-x", "ctrl-g"]),
    (Scope::Search, "hit-up", &["up", "ctrl-p"]),
    (Scope::Search, "hit-down", &["down", "ctrl-n"]),
    (Scope::Search, "back", &["esc", "ctrl-s", "ctrl-g"]),
    (Scope::Question, "back", &["esc", "n", "ctrl-g"]),
];

/// A change of keys in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyChange {
    /// The name of the scope. `None`: every scope that has the action.
    pub scope: Option<String>,
    /// The name of the action.
    pub action: String,
    /// The new keys; none of them turns the action off.
    pub keys: Vec<String>,
}

/// Why a change of keys is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum KeymapError {
    #[error("unknown context `{0}`{1} (chat keys lists them)")]
    UnknownScope(String, Suggestion),
    #[error("unknown action `{0}`{1} (chat keys lists them)")]
    UnknownAction(String, Suggestion),
    #[error("`{action}` does not exist in the context `{scope}` (chat keys lists its actions)")]
    NotInScope { action: String, scope: String },
    #[error("unknown key `{0}` (write it as ctrl-f, alt-enter, shift-f2, pageup or a letter)")]
    UnknownKey(String),
    #[error("`{0}` types text in the context `{1}`: use it with ctrl or alt")]
    TypesText(Chord, &'static str),
    #[error(
        "{key} runs both `{one}` and `{other}` in the context `{scope}`: give `{other}` another key as well, or none with {other} = []"
    )]
    Conflict { key: Chord, one: &'static str, other: &'static str, scope: &'static str },
    #[error("`quit` needs a key")]
    NoQuit,
}

/// What a misspelt word may have meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suggestion(Option<String>);

impl std::fmt::Display for Suggestion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.as_ref().map_or(Ok(()), |word| write!(f, ": did you mean `{word}`?"))
    }
}

impl Suggestion {
    /// The word that is the most similar to `typed`, if one is.
    pub fn among<'w>(typed: &str, words: impl IntoIterator<Item = &'w str>) -> Self {
        let near = words.into_iter().map(|word| (strsim::jaro_winkler(typed, word), word));
        let best = near.max_by(|(one, _), (other, _)| one.total_cmp(other));
        Self(best.filter(|(similarity, _)| *similarity > 0.8).map(|(_, word)| word.to_owned()))
    }
}

impl Default for Keymap {
    fn default() -> Self {
        let keys = |binding: &'static Binding| {
            let chords = binding.keys.iter().filter_map(|key| key.parse().ok()).collect();
            BoundKeys { binding, chords, source: KeySource::Default }
        };
        Self(COMMANDS.iter().map(keys).collect())
    }
}

impl Keymap {
    /// The keys of a preset with changes.
    ///
    /// # Errors
    /// The first change that is refused, with its index.
    pub fn new(preset: KeyPreset, changes: &[KeyChange]) -> Result<Self, (usize, KeymapError)> {
        let mut keymap = Self::default();
        for (scope, action, keys) in preset.changes() {
            let chords: Vec<Chord> = keys.iter().filter_map(|key| key.parse().ok()).collect();
            for bound in keymap.0.iter_mut().filter(|bound| bound.is(Some(*scope), action)) {
                bound.chords.clone_from(&chords);
                bound.source = KeySource::Preset;
            }
        }
        for (index, change) in changes.iter().enumerate() {
            keymap.apply(change).map_err(|error| (index, error))?;
        }
        for (index, change) in changes.iter().enumerate() {
            keymap.check(change).map_err(|error| (index, error))?;
        }
        Ok(keymap)
    }

    fn apply(&mut self, change: &KeyChange) -> Result<(), KeymapError> {
        let scope = change.scope.as_deref().map(scope_by_name).transpose()?;
        let parse = |key: &String| {
            key.parse::<Chord>().map_err(|_error| KeymapError::UnknownKey(key.clone()))
        };
        let chords = change.keys.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        let mut is_known = false;
        for bound in self.0.iter_mut().filter(|bound| bound.is(scope, &change.action)) {
            bound.chords.clone_from(&chords);
            bound.source = KeySource::Config;
            is_known = true;
        }
        if is_known {
            return Ok(());
        }
        let action = change.action.clone();
        let exists = self.0.iter().any(|bound| bound.is(None, &action));
        match &change.scope {
            Some(scope) if exists => Err(KeymapError::NotInScope { action, scope: scope.clone() }),
            _ => {
                let names = COMMANDS.iter().map(|binding| binding.name);
                let suggestion = Suggestion::among(&action, names);
                Err(KeymapError::UnknownAction(action, suggestion))
            }
        }
    }

    /// Checks that the changed keys run one command each, and type nothing.
    fn check(&self, change: &KeyChange) -> Result<(), KeymapError> {
        let changed = self.0.iter().filter(|bound| {
            bound.source == KeySource::Config && bound.binding.name == change.action
        });
        for bound in changed {
            let scope = bound.binding.scope;
            for key in &bound.chords {
                let is_default =
                    bound.binding.keys.iter().any(|default| default.parse() == Ok(*key));
                if scope.takes_text() && key.types_text() && !is_default {
                    return Err(KeymapError::TypesText(*key, scope_name(scope)));
                }
                let mut others = self.in_scope(scope).filter(|other| {
                    other.binding.command != bound.binding.command && other.chords.contains(key)
                });
                if let Some(other) = others.next() {
                    return Err(KeymapError::Conflict {
                        key: *key,
                        one: bound.binding.name,
                        other: other.binding.name,
                        scope: scope_name(scope),
                    });
                }
            }
            if bound.binding.command == UiCommand::Quit && bound.chords.is_empty() {
                return Err(KeymapError::NoQuit);
            }
        }
        Ok(())
    }

    /// The command that a key runs in a scope.
    pub fn lookup(&self, scope: Scope, chord: Chord) -> Option<UiCommand> {
        let bound = self.in_scope(scope).find(|bound| bound.chords.contains(&chord))?;
        Some(bound.binding.command)
    }

    /// The place of a key among those of a command: 0 for the first one.
    pub fn position(&self, command: UiCommand, chord: Chord) -> Option<usize> {
        let mut bound = self.0.iter().filter(|bound| bound.binding.command == command);
        bound.find_map(|bound| bound.chords.iter().position(|key| *key == chord))
    }

    /// The commands of a scope, in the order of the table.
    pub fn in_scope(&self, scope: Scope) -> impl Iterator<Item = &BoundKeys> {
        self.0.iter().filter(move |bound| bound.binding.scope == scope)
    }

    /// The first key of a command in a scope.
    pub fn key_in(&self, scope: Scope, command: UiCommand) -> Option<Chord> {
        let bound = self.in_scope(scope).find(|bound| bound.binding.command == command)?;
        bound.chords.first().copied()
    }

    /// The keys and labels that the status line shows for `scope`.
    pub fn hints(&self, scope: Scope) -> impl Iterator<Item = (Chord, &'static str)> {
        let hinted = self.in_scope(scope).filter(|bound| !bound.binding.hint.is_empty());
        hinted.filter_map(|bound| Some((*bound.chords.first()?, bound.binding.hint)))
    }

    /// The table in Markdown, as it stands in the README.
    pub fn markdown_table(&self) -> String {
        let header = "| context | keys | action |\n| --- | --- | --- |\n".to_owned();
        let rows = Scope::ALL.into_iter().flat_map(|(scope, _, title)| {
            let bound = self.in_scope(scope).filter(|bound| !bound.chords.is_empty());
            bound.map(move |bound| {
                format!("| {title} | {} | {} |\n", bound.label(), bound.binding.description)
            })
        });
        std::iter::once(header).chain(rows).collect()
    }
}

impl BoundKeys {
    fn is(&self, scope: Option<Scope>, action: &str) -> bool {
        scope.is_none_or(|scope| scope == self.binding.scope) && self.binding.name == action
    }

    /// The keys as shown to the user, separated by commas; the first and the last one of many.
    pub fn label(&self) -> String {
        match self.chords.as_slice() {
            [first, _, _, .., last] if self.chords.len() > 4 => format!("{first} … {last}"),
            chords => chords.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        }
    }
}

fn scope_name(scope: Scope) -> &'static str {
    let found = Scope::ALL.into_iter().find(|(known, ..)| *known == scope);
    found.map_or("", |(_, name, _)| name)
}

fn scope_by_name(name: &str) -> Result<Scope, KeymapError> {
    let found = Scope::ALL.into_iter().find(|(_, known, _)| *known == name);
    found.map(|(scope, ..)| scope).ok_or_else(|| {
        let names = Scope::ALL.into_iter().map(|(_, name, _)| name);
        KeymapError::UnknownScope(name.to_owned(), Suggestion::among(name, names))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(scope: Option<&str>, action: &str, keys: &[&str]) -> KeyChange {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        KeyChange { scope: scope.map(str::to_owned), action: action.to_owned(), keys }
    }

    fn chord(key: &str) -> Chord {
        key.parse().unwrap()
    }

    #[test]
    fn keys_of_presets_parse_and_are_unambiguous() {
        for (name, preset) in KeyPreset::ALL {
            for (scope, action, keys) in preset.changes() {
                let bound = COMMANDS.iter().any(|b| b.scope == *scope && b.name == *action);
                assert!(bound, "{name}: {action} exists in {scope:?}");
                assert!(keys.iter().all(|key| key.parse::<Chord>().is_ok()), "{name}: {keys:?}");
            }
            let mut seen = std::collections::HashSet::new();
            for bound in Keymap::new(preset, &[]).unwrap().0 {
                for chord in bound.chords {
                    let scope = bound.binding.scope;
                    let event = Chord::from_event(chord.to_event());
                    assert_eq!(event, chord, "{chord} round-trips through a terminal event");
                    assert!(seen.insert((scope, chord)), "{name}: {chord} twice in {scope:?}");
                    let is_typed = scope.takes_text() && chord.types_text();
                    let ticks = bound.binding.command == UiCommand::TogglePerson;
                    assert!(!is_typed || ticks, "{name}: {chord} is text in {scope:?}");
                }
            }
        }
    }

    #[test]
    fn every_key_of_the_table_is_bound() {
        let keys: usize = COMMANDS.iter().map(|binding| binding.keys.len()).sum();
        assert_eq!(Keymap::default().0.iter().map(|bound| bound.chords.len()).sum::<usize>(), keys);
    }

    #[test]
    fn action_has_one_name() {
        for one in COMMANDS {
            for other in COMMANDS {
                assert_eq!(
                    one.name == other.name,
                    one.command == other.command,
                    "{one:?} {other:?}"
                );
            }
        }
    }

    #[test]
    fn configured_key_replaces_the_default() {
        let changes =
            [change(None, "search", &["ctrl-s", "f7"]), change(Some("menu"), "reply", &["a"])];
        let keymap = Keymap::new(KeyPreset::Default, &changes).unwrap();
        assert_eq!(keymap.lookup(Scope::Anywhere, chord("f7")), Some(UiCommand::Search));
        assert_eq!(keymap.lookup(Scope::Anywhere, chord("ctrl-f")), None);
        assert_eq!(keymap.lookup(Scope::Menu, chord("r")), None);
        assert!(keymap.hints(Scope::Anywhere).any(|hint| hint == (chord("ctrl-s"), "search")));
        let exchanged =
            [change(None, "help", &["f2"]), change(None, "focus-people", &["f1", "alt-p"])];
        let keymap = Keymap::new(KeyPreset::Default, &exchanged).unwrap();
        assert_eq!(keymap.lookup(Scope::Anywhere, chord("f2")), Some(UiCommand::Help));
        assert_eq!(keymap.lookup(Scope::Anywhere, chord("f1")), Some(UiCommand::FocusPeople));
    }

    #[test]
    fn refused_change_is_explained() {
        let error =
            |one: KeyChange| Keymap::new(KeyPreset::Default, &[one]).unwrap_err().1.to_string();
        let search = |keys: &[&str]| error(change(None, "search", keys));
        assert!(search(&["ctrl-q"]).contains("Ctrl-Q runs both `search` and `quit`"));
        assert!(search(&["hyper-q"]).contains("unknown key `hyper-q`"));
        assert!(search(&["s"]).contains("`s` types text"));
        assert!(error(change(None, "serch", &[])).contains("did you mean `search`?"));
        assert!(error(change(Some("menus"), "reply", &[])).contains("did you mean `menu`?"));
        assert!(error(change(Some("menu"), "search", &[])).contains("does not exist in"));
        assert!(error(change(None, "quit", &[])).contains("needs a key"));
    }
}
