//! Enforces the architecture: which layers a layer may use, which crates only one layer may use, and which
//! files must be free of side effects.
//!
//! The checks read lines, not syntax, and rely on rustfmt. They find mistakes; they cannot stop someone who
//! tries to bypass them.

use std::collections::{BTreeMap, BTreeSet};

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

/// Layers whose modules must not import each other in a circle.
const LAYERS_WITHOUT_CYCLES: [&str; 2] = ["client", "tui"];

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
const IMPERATIVE_SHELL: [&str; 6] = [
    "src/tui/mod.rs",
    "src/tui/draft_writer.rs",
    "src/tui/opener.rs",
    "src/tui/run.rs",
    "src/tui/terminal/mod.rs",
    "src/tui/terminal/job_control.rs",
];

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
fn modules_of_a_layer_import_each_other_without_cycles() {
    let files = source_tree::rust_files("src");
    let in_layer = |file: &&SourceFile| {
        module_path(&file.path).first().is_some_and(|layer| LAYERS_WITHOUT_CYCLES.contains(layer))
    };
    let files: Vec<&SourceFile> = files.iter().filter(in_layer).collect();
    assert_none(&module_cycles(&files));
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

/// The modules that can be reached from themselves, with what each of them imports. A module may use its
/// ancestors, which are its context, so these imports do not count.
fn module_cycles(files: &[&SourceFile]) -> Vec<String> {
    let is_test = |path: &str| path.contains("/tests/") || path.ends_with("tests.rs");
    let files = files.iter().filter(|file| !is_test(&file.path));
    let modules: BTreeMap<Vec<&str>, &SourceFile> =
        files.map(|file| (module_path(&file.path), *file)).collect();
    let imports: BTreeMap<&Vec<&str>, BTreeSet<&Vec<&str>>> =
        modules.iter().map(|(path, file)| (path, module_imports(path, file, &modules))).collect();
    let in_cycle = |start: &Vec<&str>| {
        let (mut reached, mut next) = (BTreeSet::new(), vec![start]);
        while let Some(module) = next.pop() {
            next.extend(
                imports.get(module).into_iter().flatten().filter(|one| reached.insert(**one)),
            );
        }
        reached.contains(start)
    };
    let cyclic: BTreeSet<_> = modules.keys().filter(|path| in_cycle(path)).collect();
    let describe = |path: &&Vec<&str>| {
        let imported = imports.get(*path).into_iter().flatten();
        let inside = imported.filter(|one| cyclic.contains(*one)).map(|one| one.join("::"));
        format!("{} imports {}", path.join("::"), inside.collect::<Vec<_>>().join(", "))
    };
    cyclic.iter().map(describe).collect()
}

/// The modules that a file imports or declares, without its ancestors.
fn module_imports<'a>(
    path: &[&str],
    file: &SourceFile,
    modules: &'a BTreeMap<Vec<&str>, &SourceFile>,
) -> BTreeSet<&'a Vec<&'a str>> {
    let code = file.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let code: String = code_lines(code).iter().flat_map(|(_, line)| [*line, "\n"]).collect();
    let mut paths: Vec<Vec<String>> = Vec::new();
    let statements = code.split([';', '{', '}']).map(str::trim);
    let declared = statements.filter_map(|text| text.rsplit_once("mod ").map(|(_, name)| name));
    let own = || path.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>();
    paths.extend(declared.map(|name| [own(), vec![name.to_owned()]].concat()));
    for (prefix, levels) in [("crate::", path.len()), ("self::", 0), ("super::", 1)] {
        for rest in text_after(&code, prefix) {
            let ups = rest
                .matches("super::")
                .count()
                .min(rest.split("::").take_while(|part| *part == "super").count());
            let rest = rest.get(ups * "super::".len()..).unwrap_or_default();
            let kept = path.len().saturating_sub(levels + ups);
            let base: Vec<String> = own().into_iter().take(kept).collect();
            paths.extend(expand(rest).into_iter().map(|path| [base.clone(), path].concat()));
        }
    }
    let resolve = |path: &Vec<String>| {
        (1..=path.len()).rev().find_map(|length| {
            let parts: Vec<&str> = path.iter().take(length).map(String::as_str).collect();
            modules.keys().find(|module| **module == parts)
        })
    };
    let is_ancestor = |module: &&Vec<&str>| path.starts_with(module);
    paths.iter().filter_map(resolve).filter(|module| !is_ancestor(module)).collect()
}

/// The paths in `a::{b, c::d}`: `a::b` and `a::c::d`.
fn expand(text: &str) -> Vec<Vec<String>> {
    let text = text.trim_start();
    if let Some(list) = text.strip_prefix('{') {
        let (mut depth, mut start, mut paths) = (0, 0, Vec::new());
        for (at, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' | ',' if depth == 0 => {
                    paths.extend(expand(list.get(start..at).unwrap_or_default()));
                    start = at + 1;
                    if c == '}' {
                        break;
                    }
                }
                '}' => depth -= 1,
                _ => {}
            }
        }
        return paths;
    }
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let name: String = text.chars().take_while(|c| is_part(*c)).collect();
    match text.get(name.len()..).and_then(|rest| rest.strip_prefix("::")) {
        Some(rest) => {
            let under = expand(rest).into_iter().map(|path| [vec![name.clone()], path].concat());
            under.collect()
        }
        None => vec![vec![name]],
    }
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

#[test]
fn cycle_check_detects_cycles() {
    let cycles = |files: &[(&str, &str)]| {
        let file =
            |(path, text): &(&str, &str)| SourceFile { path: (*path).into(), text: (*text).into() };
        let files: Vec<SourceFile> = files.iter().map(file).collect();
        module_cycles(&files.iter().collect::<Vec<_>>()).len()
    };
    let uses_b = ("src/tui/a.rs", "use super::{\n    b::{self, B},\n    c,\n};");
    assert_eq!(cycles(&[uses_b, ("src/tui/b.rs", "use crate::tui::a::A;")]), 2);
    assert_eq!(cycles(&[uses_b, ("src/tui/b.rs", "fn f() -> super::a::A {}")]), 2);
    assert_eq!(cycles(&[uses_b, ("src/tui/b.rs", "// super::a\nuse super::a2::A;")]), 0);
    let parent = ("src/tui/d/mod.rs", "mod e;\nuse self::e::E;\npub struct D;");
    assert_eq!(cycles(&[parent, ("src/tui/d/e.rs", "use super::D;")]), 0, "its own parent");
    let child = ("src/tui/d/e.rs", "use crate::tui::f::F;");
    assert_eq!(cycles(&[parent, child, ("src/tui/f.rs", "use super::d::D;")]), 3);
    let test = ("src/tui/b.rs", "#[cfg(test)]\nmod tests {\n    use super::super::a::A;\n}");
    assert_eq!(cycles(&[uses_b, test]), 0);
}
