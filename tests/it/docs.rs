//! Holds the documents to the code: examples, tables, links and names in them are compared with what
//! is compiled. How the documents read is for people to judge.

use std::collections::BTreeSet;

use chat::client::input::DOT_COMMANDS;
use chat::protocol::error::ErrorCode;
use chat::protocol::event::Event;
use chat::protocol::limits;
use chat::protocol::request::{Login, Request};
use chat::tui::command;
use serde_json::Value;

use crate::source_tree;

const PROTOCOL_MD: &str = "src/protocol/PROTOCOL.md";
const DOCUMENTS: [&str; 5] =
    ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "certs/README.md", PROTOCOL_MD];

/// An example of PROTOCOL.md: what stands behind its fence, and what is in it.
struct Example {
    block_type: String,
    json: String,
}

fn protocol_examples() -> Vec<Example> {
    let text = source_tree::read(PROTOCOL_MD);
    let mut examples = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(sort) = line.strip_prefix("```") {
            let json =
                lines.by_ref().take_while(|line| *line != "```").collect::<Vec<_>>().join("\n");
            examples.push(Example { block_type: sort.to_owned(), json });
        }
    }
    examples
}

fn parse_json(json: &[u8]) -> Value {
    serde_json::from_slice(json).unwrap()
}

#[test]
fn protocol_examples_match_the_codec() {
    let mut last_event = None;
    for Example { block_type: sort, json } in protocol_examples() {
        let bytes = json.as_bytes();
        match sort.as_str() {
            "json server" => {
                let event = Event::decode(bytes).unwrap().unwrap();
                assert_eq!(parse_json(&event.encode()), parse_json(bytes), "{json}");
                last_event = Some(event);
            }
            "json server original" => {
                let event = last_event.as_ref().unwrap();
                let bytes = event.encode_for_original().unwrap();
                assert_eq!(parse_json(&bytes), parse_json(json.as_bytes()), "{json}");
            }
            "json client" | "json client original" => {
                let encoded = reencode(bytes);
                if sort == "json client" {
                    assert_eq!(parse_json(&encoded), parse_json(bytes), "{json}");
                }
            }
            other => panic!("a block of `{other}`: {json}"),
        }
    }
}

/// What a client says, read and written again.
fn reencode(bytes: &[u8]) -> Vec<u8> {
    if let Ok(login) = Login::decode(bytes) {
        return login.encode();
    }
    let (cid, request) = Request::decode(bytes);
    request.unwrap().encode(cid.as_ref())
}

#[test]
fn every_action_has_an_example() {
    let actions = |sort: &str| -> BTreeSet<String> {
        protocol_examples()
            .iter()
            .filter(|example| example.block_type == sort)
            .filter_map(|example| {
                Some(parse_json(example.json.as_bytes()).get("action")?.as_str()?.to_owned())
            })
            .collect()
    };
    let from_server: BTreeSet<_> = variants("src/protocol/wire.rs", "enum Wire {")
        .iter()
        .map(|variant| snake_case(variant).to_uppercase())
        .collect();
    assert_eq!(actions("json server"), from_server);

    let source = source_tree::read("src/protocol/request.rs");
    let from_client: BTreeSet<_> = source
        .split("Some(\"")
        .skip(1)
        .filter_map(|rest| rest.split_once("\") ").map(|(action, _)| action.to_owned()))
        .collect();
    assert_eq!(actions("json client"), from_client);
}

#[test]
fn error_code_table_is_complete() {
    let text = source_tree::read(PROTOCOL_MD);
    let (_, section) = text.split_once("## Error codes").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let documented: BTreeSet<_> = section
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0))
        .collect();
    let codes = variants("src/protocol/error.rs", "pub enum ErrorCode {");
    let codes: BTreeSet<_> = codes.iter().map(|variant| snake_case(variant)).collect();
    assert_eq!(documented, codes.iter().map(String::as_str).collect());
    for code in &codes {
        let known: ErrorCode = serde_json::from_value(Value::from(code.as_str())).unwrap();
        assert_ne!(known, ErrorCode::Unknown, "{code}");
    }
}

/// The variants of an enum, by its source, but for the one that stands for all unknown ones.
fn variants(path: &str, declaration: &str) -> Vec<String> {
    let source = source_tree::read(path);
    let (_, body) = source.split_once(declaration).unwrap();
    let (body, _) = body.split_once("\n}").unwrap();
    body.lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| line.starts_with(char::is_uppercase))
        .map(|line| line.chars().take_while(|c| c.is_alphanumeric()).collect())
        .filter(|variant: &String| variant != "Unknown")
        .collect()
}

/// `BadJson` is `bad_json`.
fn snake_case(variant: &str) -> String {
    let mut name = String::new();
    for c in variant.chars() {
        if c.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.extend(c.to_lowercase());
    }
    name
}

#[test]
fn limits_table_matches_the_constants() {
    let text = source_tree::read(PROTOCOL_MD);
    let (_, section) = text.split_once("## Limits").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let documented = numbers(&section.replace(',', ""));
    let seconds = |seconds: u64| usize::try_from(seconds).unwrap();
    let constants = [
        limits::CONTENT_CHARACTERS,
        limits::LOGIN_FRAME_BYTES,
        limits::FRAME_BYTES,
        limits::SERVER_FRAME_BYTES,
        limits::ORIGINAL_FRAME_BYTES,
        limits::NAME_CHARACTERS,
        limits::RECIPIENTS,
        limits::CID_BYTES,
        limits::DEFAULT_TEMPORARY_SECONDS as usize,
        limits::MAX_TEMPORARY_SECONDS as usize,
        limits::ERROR_CHARACTERS,
        limits::PATTERN_BYTES,
        limits::PAGE_MESSAGES,
        seconds(limits::PING_SECONDS),
        seconds(limits::KEEPALIVE_TIMEOUT_SECONDS),
        seconds(limits::CID_DAYS),
        limits::COMBINING_MARKS,
    ];
    assert_eq!(documented, constants);
    let declared = source_tree::read("src/protocol/limits.rs").matches("pub const ").count();
    assert_eq!(declared, constants.len(), "a limit is missing in this test");
}

fn numbers(text: &str) -> Vec<usize> {
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

#[test]
fn readme_command_table_is_current() {
    let row = |(typed, about): (String, &str)| format!("| `{typed}` | {about} |");
    let commands = DOT_COMMANDS
        .iter()
        .map(|command| (format!("{} {}", command.name, command.arguments), command.about))
        .map(|(typed, about)| row((typed.trim_end().to_owned(), about)));
    let table: Vec<String> = ["| type | to |".to_owned(), "| --- | --- |".to_owned()]
        .into_iter()
        .chain(commands)
        .collect();
    assert_eq!(text_between_markers("README.md", "commands"), table.join("\n"));
}

#[test]
fn readme_key_table_is_current() {
    assert_eq!(text_between_markers("README.md", "keys"), command::markdown_table().trim());
}

/// What stands in a document between `<!-- name -->` and `<!-- /name -->`.
fn text_between_markers(path: &str, name: &str) -> String {
    let text = source_tree::read(path);
    let (_, rest) = text.split_once(&format!("<!-- {name} -->")).unwrap();
    let (inside, _) = rest.split_once(&format!("<!-- /{name} -->")).unwrap();
    inside.trim().to_owned()
}

#[test]
fn relative_links_resolve() {
    for document in DOCUMENTS {
        let text = source_tree::read(document);
        let folder = document.rsplit_once('/').map_or("", |(folder, _)| folder);
        for rest in text.split("](").skip(1) {
            let target = rest.split_once(')').unwrap().0;
            let path = target.split('#').next().unwrap();
            if !path.is_empty() && !path.contains("://") {
                let path = format!("{folder}/{path}");
                let found = source_tree::exists(path.trim_start_matches('/'));
                assert!(found, "{document} links to {target}");
            }
        }
    }
}

#[test]
fn architecture_names_existing_tests() {
    let text = source_tree::read("ARCHITECTURE.md");
    assert!(text.lines().count() <= 240, "{} lines", text.lines().count());
    check_named_tests(&text, "## Promises");
    check_named_tests(&text, "## Invariants");
}

#[test]
fn security_names_existing_tests() {
    check_named_tests(&source_tree::read("SECURITY.md"), "## What is done against what");
}

/// Every row of the table in this section names in its last column tests that there are.
fn check_named_tests(document: &str, section: &str) {
    let (_, section) = document.split_once(section).unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let code: String = ["src", "tests"]
        .iter()
        .flat_map(|folder| source_tree::rust_files(folder))
        .map(|file| file.text)
        .collect();
    let rows: Vec<_> = section.lines().filter(|line| line.starts_with("| ")).skip(2).collect();
    assert!(rows.len() > 5, "the table is gone");
    for row in rows {
        let guard = row.trim_end_matches('|').rsplit('|').next().unwrap();
        let tests: Vec<_> = guard.split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "no test guards: {row}");
        for test in tests {
            assert!(code.contains(&format!("fn {test}(")), "there is no test {test}");
        }
    }
}

#[test]
fn every_source_file_has_a_header() {
    for folder in ["src", "tests", "benches"] {
        for file in source_tree::rust_files(folder) {
            assert!(file.text.starts_with("//! "), "{} begins without //!", file.path);
            let lines = file.text.lines().count();
            assert!(lines <= 500, "{} has {lines} lines", file.path);
        }
    }
}
