//! Enforces the architecture: which layers a layer may use, which crates only one layer may use, and which
//! files must be free of side effects.
//!
//! The checks read lines, not syntax, and rely on rustfmt. They find mistakes; they cannot stop someone who
//! tries to bypass them.

use crate::support::source_tree::{self, SourceFile};

/// Each layer, with the other layers that it may use.
const LAYERS: [(&str, &[&str]); 9] = [
    ("files", &[]),
    ("protocol", &[]),
    ("store", &["protocol"]),
    ("tls", &["files"]),
    ("server", &["protocol", "tls", "store"]),
    ("client", &["files", "protocol", "tls"]),
    ("tui", &["protocol", "client"]),
    ("cli", &["files", "protocol", "tls", "store", "server", "client", "tui"]),
    ("main", &["cli"]),
];

/// Crates that only the given layers may use.
const LAYER_CRATES: [(&str, &[&str]); 11] = [
    ("ratatui", &["tui"]),
    ("crossterm", &["tui"]),
    ("tui_textarea", &["tui"]),
    ("aws_lc_rs", &["tls"]),
    ("rcgen", &["tls"]),
    ("rusqlite", &["store"]),
    ("rustls_pemfile", &["tls"]),
    ("rustls_native_certs", &["tls"]),
    ("pkcs8", &["tls"]),
    ("clap", &["cli"]),
    ("anyhow", &["cli"]),
];

/// The functional core: files and folders that get time, randomness and events as input.
const FUNCTIONAL_CORE: [&str; 13] = [
    "src/cli/plain/format.rs",
    "src/cli/plain/session.rs",
    "src/protocol",
    "src/server/hub",
    "src/client/address.rs",
    "src/client/backoff.rs",
    "src/client/cursor.rs",
    "src/client/input.rs",
    "src/client/keepalive.rs",
    "src/client/link.rs",
    "src/client/pins.rs",
    "src/client/state",
    "src/tui",
];

/// Files in the folders of [`FUNCTIONAL_CORE`] that are not part of it.
const IMPERATIVE_SHELL: [&str; 4] =
    ["src/tui/mod.rs", "src/tui/draft_writer.rs", "src/tui/run.rs", "src/tui/terminal.rs"];

/// Code that the functional core must not contain.
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
        assert!(source_tree::exists(path), "{path} does not exist: update the list in this file");
    }
    assert_none(&violations(&source_tree::rust_files("src"), side_effect_violations));
}

fn assert_none(violations: &[String]) {
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

fn violations(files: &[SourceFile], check: fn(&SourceFile) -> Vec<(usize, String)>) -> Vec<String> {
    let located = |file: &SourceFile| {
        let path = file.path.clone();
        check(file).into_iter().map(move |(line, text)| format!("{path}:{line} {text}"))
    };
    files.iter().flat_map(located).collect()
}

fn layer_violations(file: &SourceFile) -> Vec<(usize, String)> {
    let Some((layer, allowed)) = layer_of(file) else {
        return Vec::new();
    };
    let is_forbidden = |name: &str| name != layer && !allowed.contains(&name);
    crate_root_imports(file)
        .into_iter()
        .filter(|(_, name)| is_forbidden(name))
        .map(|(line, name)| (line, format!("`{layer}` uses the layer `{name}`")))
        .collect()
}

fn crate_violations(file: &SourceFile) -> Vec<(usize, String)> {
    let Some((layer, _)) = layer_of(file) else {
        return Vec::new();
    };
    let forbidden = LAYER_CRATES.iter().filter(|(_, layers)| !layers.contains(&layer));
    let mut violations = Vec::new();
    for (name, _) in forbidden {
        for (line, code) in code_lines(&file.text) {
            let path = format!("{name}::");
            if !text_after(code, &path).is_empty() {
                violations.push((line, format!("`{layer}` uses the crate `{name}`")));
            }
        }
    }
    violations
}

fn side_effect_violations(file: &SourceFile) -> Vec<(usize, String)> {
    let contains_file =
        |path: &&str| file.path == **path || file.path.starts_with(&format!("{path}/"));
    // Tests may create an `Instant`.
    let is_exempt =
        IMPERATIVE_SHELL.contains(&file.path.as_str()) || file.path.ends_with("/tests.rs");
    if is_exempt || !FUNCTIONAL_CORE.iter().any(contains_file) {
        return Vec::new();
    }
    let mut violations = Vec::new();
    for (line, code) in code_lines(&file.text) {
        for word in SIDE_EFFECTS.iter().filter(|word| code.contains(**word)) {
            violations.push((line, format!("`{word}` in the functional core")));
        }
    }
    violations
}

/// The layer of a file and the layers it may use; `None` for `lib.rs`, which declares all layers.
fn layer_of(file: &SourceFile) -> Option<(&'static str, &'static [&'static str])> {
    let module = module_path(&file.path);
    let name = module.first()?;
    let layer = LAYERS.iter().find(|(layer, _)| layer == name);
    Some(*layer.unwrap_or_else(|| panic!("{} is in no layer of the list in this file", file.path)))
}

/// The module path of a file: `tui`, `view` for `src/tui/view/mod.rs`, empty for `src/lib.rs`.
fn module_path(path: &str) -> Vec<&str> {
    let path = path.trim_start_matches("src/").trim_end_matches(".rs");
    path.split('/').filter(|part| !matches!(*part, "mod" | "lib")).collect()
}

/// Every name that is resolved at the crate root, with its line.
fn crate_root_imports(file: &SourceFile) -> Vec<(usize, String)> {
    let depth = module_path(&file.path).len();
    let mut names = Vec::new();
    let mut inline = 0;
    let lines = code_lines(&file.text);
    for (index, (line, code)) in lines.iter().enumerate() {
        match *code {
            // rustfmt puts the closing brace of an inline module in the first column.
            opened if opened.starts_with("mod ") && opened.ends_with('{') => inline = 1,
            "}" => inline = 0,
            _ => {}
        }
        let supers = "super::".repeat(depth + inline);
        let at_root =
            ["crate::", "chat::", &supers].into_iter().flat_map(|root| text_after(code, root));
        for rest in at_root {
            // A braced list may span several lines.
            let following = lines.iter().skip(index + 1).map(|(_, code)| *code);
            let statement: String = std::iter::once(rest).chain(following).take(40).collect();
            names.extend(first_segments(&statement).into_iter().map(|name| (*line, name)));
        }
    }
    names
}

/// The text after each occurrence of `word` that is not part of a longer path.
fn text_after<'a>(code: &'a str, word: &str) -> Vec<&'a str> {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '_' | ':');
    code.match_indices(word)
        .filter(move |(at, _)| !code.get(..*at).is_some_and(|before| before.ends_with(is_part)))
        .filter_map(|(at, word)| code.get(at + word.len()..))
        .collect()
}

/// The first segments of a path: `server` for `server::hub`, `client` and `server` for
/// `{client::{self, link}, server}`.
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

/// The numbered lines of code, without comments.
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
        ("src/protocol/id.rs", "use crate::tls::TlsError;"),
        ("src/server/session.rs", "use crate::client::link;"),
        ("src/client/mod.rs", "    let hub = crate::server::hub::Hub::new();"),
        ("src/tui/view/mod.rs", "use crate::{\n    client::{self, link},\n    server,\n};"),
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
        assert!(detects(side_effect_violations, "src/server/hub/post.rs", text), "{text}");
        assert!(!detects(side_effect_violations, "src/server/session.rs", text), "{text}");
        assert!(detects(side_effect_violations, "src/tui/update/keys.rs", text), "{text}");
        assert!(!detects(side_effect_violations, "src/tui/run.rs", text), "{text}");
    }
}
