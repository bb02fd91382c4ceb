//! Holds the code to its floors: who may name whom, which crates are a floor's own, and which files may
//! not touch the world. By lines, not by syntax: rustfmt makes them regular, and whoever wants to
//! cheat can.

use crate::source_tree::{self, SourceFile};

/// Each floor, with the floors that it may name beside itself.
const LAYERS: [(&str, &[&str]); 8] = [
    ("protocol", &[]),
    ("store", &["protocol"]),
    ("tls", &[]),
    ("server", &["protocol", "tls", "store"]),
    ("client", &["protocol", "tls"]),
    ("tui", &["protocol", "client"]),
    ("cli", &["protocol", "tls", "store", "server", "client", "tui"]),
    ("main", &["cli"]),
];

/// Crates that belong to some floors alone.
const LAYER_CRATES: [(&str, &[&str]); 10] = [
    ("ratatui", &["tui"]),
    ("crossterm", &["tui"]),
    ("tui_textarea", &["tui"]),
    ("rcgen", &["tls"]),
    ("rusqlite", &["store"]),
    ("rustls_pemfile", &["tls"]),
    ("rustls_native_certs", &["tls"]),
    ("pkcs8", &["tls"]),
    ("clap", &["cli"]),
    ("anyhow", &["cli"]),
];

/// The hearts: files and folders that take time, chance and what happened as input.
const FUNCTIONAL_CORE: [&str; 11] = [
    "src/cli/plain/format.rs",
    "src/cli/plain/talk.rs",
    "src/protocol",
    "src/server/hub",
    "src/client/address.rs",
    "src/client/backoff.rs",
    "src/client/known.rs",
    "src/client/line.rs",
    "src/client/link.rs",
    "src/client/state",
    "src/tui",
];

/// What lies in a pure folder and is not pure: the shell around it.
const IMPERATIVE_SHELL: [&str; 3] = ["src/tui/mod.rs", "src/tui/run.rs", "src/tui/terminal.rs"];

/// What a heart never says.
const SIDE_EFFECTS: [&str; 24] = [
    ".await",
    "async fn",
    "Instant::now",
    "SystemTime",
    "Utc::now",
    "Local::now",
    ".elapsed()",
    "rand::rng()",
    "make_rng",
    "rand::random",
    "thread_rng",
    "std::env",
    "std::fs",
    "std::net::Tcp",
    "std::process",
    "std::thread",
    "tokio::fs",
    "tokio::io",
    "tokio::net",
    "tokio::select",
    "tokio::spawn",
    "EventStream",
    "println!",
    "execute!",
];

#[test]
fn layers_import_only_lower_layers() {
    assert_none(&violations(&source_tree::rust_files("src"), layer_violations));
}

#[test]
fn crates_are_used_only_in_their_layers() {
    assert_none(&violations(&source_tree::rust_files("src"), crate_violations));
}

#[test]
fn functional_core_has_no_side_effects() {
    for path in FUNCTIONAL_CORE.iter().chain(&IMPERATIVE_SHELL) {
        assert!(source_tree::exists(path), "{path} is gone: correct the list in this file");
    }
    assert_none(&violations(&source_tree::rust_files("src"), side_effect_violations));
}

fn assert_none(violations: &[String]) {
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

fn violations(files: &[SourceFile], check: fn(&SourceFile) -> Vec<(usize, String)>) -> Vec<String> {
    let located = |file: &SourceFile| {
        let path = file.path.clone();
        check(file).into_iter().map(move |(line, what)| format!("{path}:{line} {what}"))
    };
    files.iter().flat_map(located).collect()
}

fn layer_violations(file: &SourceFile) -> Vec<(usize, String)> {
    let Some((floor, allowed)) = layer_of(file) else {
        return Vec::new();
    };
    let is_upward = |name: &str| name != floor && !allowed.contains(&name);
    crate_root_imports(file)
        .into_iter()
        .filter(|(_, name)| is_upward(name))
        .map(|(line, name)| (line, format!("`{floor}` names `{name}`")))
        .collect()
}

fn crate_violations(file: &SourceFile) -> Vec<(usize, String)> {
    let Some((floor, _)) = layer_of(file) else {
        return Vec::new();
    };
    let foreign = LAYER_CRATES.iter().filter(|(_, floors)| !floors.contains(&floor));
    let mut found = Vec::new();
    for (name, _) in foreign {
        for (line, code) in code_lines(&file.text) {
            let path = format!("{name}::");
            if !text_after(code, &path).is_empty() {
                found.push((line, format!("`{floor}` names the crate `{name}`")));
            }
        }
    }
    found
}

fn side_effect_violations(file: &SourceFile) -> Vec<(usize, String)> {
    let within = |place: &&str| file.path == **place || file.path.starts_with(&format!("{place}/"));
    // A test begins at any moment, and only a clock makes an `Instant`.
    let is_exempt =
        IMPERATIVE_SHELL.contains(&file.path.as_str()) || file.path.ends_with("/tests.rs");
    if is_exempt || !FUNCTIONAL_CORE.iter().any(within) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (line, code) in code_lines(&file.text) {
        for word in SIDE_EFFECTS.iter().filter(|word| code.contains(**word)) {
            found.push((line, format!("a heart says `{word}`")));
        }
    }
    found
}

/// The floor that a file is on, and whom it may name; `None` for `lib.rs`, which declares them all.
fn layer_of(file: &SourceFile) -> Option<(&'static str, &'static [&'static str])> {
    let module = module_path(&file.path);
    let name = module.first()?;
    let floor = LAYERS.iter().find(|(floor, _)| floor == name);
    Some(*floor.unwrap_or_else(|| panic!("{} is on no floor of the list in this file", file.path)))
}

/// `src/tui/view/mod.rs` is `tui`, `view`; `src/lib.rs` is nothing.
fn module_path(path: &str) -> Vec<&str> {
    let path = path.trim_start_matches("src/").trim_end_matches(".rs");
    path.split('/').filter(|part| !matches!(*part, "mod" | "lib")).collect()
}

/// Every name that is looked up at the root of the crate, with its line.
fn crate_root_imports(file: &SourceFile) -> Vec<(usize, String)> {
    let depth = module_path(&file.path).len();
    let mut found = Vec::new();
    let mut inline = 0;
    let lines = code_lines(&file.text);
    for (index, (line, code)) in lines.iter().enumerate() {
        match *code {
            // rustfmt puts the ends of a module at the left edge.
            opened if opened.starts_with("mod ") && opened.ends_with('{') => inline = 1,
            "}" => inline = 0,
            _ => {}
        }
        let supers = "super::".repeat(depth + inline);
        let at_root =
            ["crate::", "chat::", &supers].into_iter().flat_map(|root| text_after(code, root));
        for rest in at_root {
            // A list in braces may go on for some lines, up to its `;`.
            let following = lines.iter().skip(index + 1).map(|(_, code)| *code);
            let statement: String = std::iter::once(rest).chain(following).take(40).collect();
            found.extend(first_segments(&statement).into_iter().map(|name| (*line, name)));
        }
    }
    found
}

/// What follows each `word` in `code` that is not the end of a longer word.
fn text_after<'a>(code: &'a str, word: &str) -> Vec<&'a str> {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | ':');
    code.match_indices(word)
        .filter(move |(at, _)| !code.get(..*at).is_some_and(|before| before.ends_with(is_part)))
        .filter_map(|(at, word)| code.get(at + word.len()..))
        .collect()
}

/// `server::hub` begins with `server`; `{client::{self, line}, server}` with `client` and `server`.
fn first_segments(path: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.trim_start()
            .chars()
            .take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '*'))
            .collect()
    };
    let Some(list) = path.strip_prefix('{') else {
        return vec![name(path)];
    };
    let mut top_level = String::new();
    let mut depth = 1;
    for c in list.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        match depth {
            0 => break,
            1 => top_level.push(c),
            _ => {}
        }
    }
    top_level.split(',').map(name).filter(|name| !name.is_empty()).collect()
}

/// The lines of code with their numbers, without comments.
fn code_lines(text: &str) -> Vec<(usize, &str)> {
    (1..)
        .zip(text.lines())
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(number, line)| (number, line.split(" // ").next().unwrap_or_default()))
        .collect()
}

#[test]
fn layer_checks_detect_violations() {
    let detects = |check: fn(&SourceFile) -> Vec<(usize, String)>, path: &str, text: &str| {
        !check(&SourceFile { path: path.to_owned(), text: text.to_owned() }).is_empty()
    };
    for (path, text) in [
        ("src/protocol/id.rs", "use crate::tls::Error;"),
        ("src/server/session.rs", "use crate::client::line;"),
        ("src/client/mod.rs", "    let hub = crate::server::hub::Hub::new();"),
        ("src/tui/view/mod.rs", "use crate::{\n    client::{self, line},\n    server,\n};"),
        ("src/tui/view/mod.rs", "use crate::*;"),
        ("src/tui/mod.rs", "use super::server;"),
        ("src/tui/view/mod.rs", "use super::super::{server, tls};"),
        ("src/server/hub/mod.rs", "mod tests {\n    use super::super::super::client;\n}"),
        ("src/main.rs", "use chat::server;"),
    ] {
        assert!(detects(layer_violations, path, text), "{path}: {text}");
    }
    for (path, text) in [
        ("src/server/session.rs", "use crate::protocol::id::UserId;\nuse crate::server::hub;"),
        (
            "src/server/session.rs",
            "//! Like [`crate::client`].\n    // crate::client\nuse super::hub;",
        ),
        ("src/tls/mod.rs", "pub mod server;\n\nmod tests {\n    use super::server;\n}"),
        ("src/tui/view/mod.rs", "use crate::{client::{self, state}, protocol};\nuse super::model;"),
        ("src/main.rs", "    chat::cli::main()"),
        ("src/lib.rs", "pub mod server;"),
    ] {
        assert!(!detects(layer_violations, path, text), "{path}: {text}");
    }
    assert!(detects(crate_violations, "src/client/mod.rs", "use ratatui::Frame;"));
    assert!(detects(crate_violations, "src/server/mod.rs", "fn bind() -> anyhow::Result<()> {"));
    assert!(!detects(crate_violations, "src/tui/run.rs", "use ratatui::Frame;"));
    for text in ["    socket.read().await", "let now = Instant::now();", "use std::fs;"] {
        assert!(detects(side_effect_violations, "src/server/hub/say.rs", text), "{text}");
        assert!(!detects(side_effect_violations, "src/server/session.rs", text), "{text}");
        assert!(detects(side_effect_violations, "src/tui/update/keys.rs", text), "{text}");
        assert!(!detects(side_effect_violations, "src/tui/run.rs", text), "{text}");
    }
}
