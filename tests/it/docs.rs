//! Holds the documents to the code: examples, tables, links and names in them are compared with what
//! is compiled. How the documents read is for people to judge.

use std::collections::BTreeSet;

use chat::client::line::DOT_COMMANDS;
use chat::protocol::error::ErrorCode;
use chat::protocol::event::Event;
use chat::protocol::limits;
use chat::protocol::request::{Login, Request};
use chat::tui::command;
use serde_json::Value;

use crate::tree;

const PROTOCOL_MD: &str = "src/protocol/PROTOCOL.md";
const DOCUMENTS: [&str; 5] =
    ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "certs/README.md", PROTOCOL_MD];

/// An example of PROTOCOL.md: what stands behind its fence, and what is in it.
struct Example {
    sort: String,
    json: String,
}

fn examples() -> Vec<Example> {
    let text = tree::read(PROTOCOL_MD);
    let mut examples = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(sort) = line.strip_prefix("```") {
            let json =
                lines.by_ref().take_while(|line| *line != "```").collect::<Vec<_>>().join("\n");
            examples.push(Example { sort: sort.to_owned(), json });
        }
    }
    examples
}

fn value(json: &[u8]) -> Value {
    serde_json::from_slice(json).unwrap()
}

#[test]
fn every_example_of_the_protocol_is_what_the_code_says() {
    let mut last_event = None;
    for Example { sort, json } in examples() {
        let bytes = json.as_bytes();
        match sort.as_str() {
            "json server" => {
                let event = Event::decode(bytes).unwrap().unwrap();
                assert_eq!(value(&event.encode()), value(bytes), "{json}");
                last_event = Some(event);
            }
            "json server original" => {
                let event = last_event.as_ref().unwrap();
                let bytes = event.encode_for_original().unwrap();
                assert_eq!(value(&bytes), value(json.as_bytes()), "{json}");
            }
            "json client" | "json client original" => {
                let encoded = encoded_again(bytes);
                if sort == "json client" {
                    assert_eq!(value(&encoded), value(bytes), "{json}");
                }
            }
            other => panic!("a block of `{other}`: {json}"),
        }
    }
}

/// What a client says, read and written again.
fn encoded_again(bytes: &[u8]) -> Vec<u8> {
    if let Ok(login) = Login::decode(bytes) {
        return login.encode();
    }
    let (cid, request) = Request::decode(bytes);
    request.unwrap().encode(cid.as_ref())
}

#[test]
fn every_action_has_its_example() {
    let actions = |sort: &str| -> BTreeSet<String> {
        examples()
            .iter()
            .filter(|example| example.sort == sort)
            .filter_map(|example| {
                Some(value(example.json.as_bytes()).get("action")?.as_str()?.to_owned())
            })
            .collect()
    };
    let from_server: BTreeSet<_> = variants("src/protocol/wire.rs", "enum Wire {")
        .iter()
        .map(|variant| snake_case(variant).to_uppercase())
        .collect();
    assert_eq!(actions("json server"), from_server);

    let source = tree::read("src/protocol/request.rs");
    let from_client: BTreeSet<_> = source
        .split("Some(\"")
        .skip(1)
        .filter_map(|rest| rest.split_once("\") ").map(|(action, _)| action.to_owned()))
        .collect();
    assert_eq!(actions("json client"), from_client);
}

#[test]
fn every_error_code_is_in_the_table() {
    let text = tree::read(PROTOCOL_MD);
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
    let source = tree::read(path);
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
fn every_limit_is_in_the_table() {
    let text = tree::read(PROTOCOL_MD);
    let (_, section) = text.split_once("## Limits").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let documented = numbers(&section.replace(',', ""));
    let seconds = |seconds: u64| usize::try_from(seconds).unwrap();
    let of_code = [
        limits::CONTENT_CHARACTERS,
        limits::LOGIN_FRAME_BYTES,
        limits::FRAME_BYTES,
        limits::SERVER_FRAME_BYTES,
        limits::ORIGINAL_FRAME_BYTES,
        limits::NAME_CHARACTERS,
        limits::RECIPIENTS,
        limits::CLIENT_ID_BYTES,
        limits::TEMPORARY_SECONDS as usize,
        limits::TEMPORARY_SECONDS_MAX as usize,
        limits::ERROR_CHARACTERS,
        limits::PATTERN_BYTES,
        limits::PAGE_MESSAGES,
        seconds(limits::PING_SECONDS),
        seconds(limits::DEAD_SECONDS),
        seconds(limits::CLIENT_ID_DAYS),
        limits::COMBINING_MARKS,
    ];
    assert_eq!(documented, of_code);
    let declared = tree::read("src/protocol/limits.rs").matches("pub const ").count();
    assert_eq!(declared, of_code.len(), "a limit is missing in this test");
}

fn numbers(text: &str) -> Vec<usize> {
    text.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

#[test]
fn the_readme_lists_the_commands() {
    let row = |(typed, about): (String, &str)| format!("| `{typed}` | {about} |");
    let commands = DOT_COMMANDS
        .iter()
        .map(|command| (format!("{} {}", command.name, command.arguments), command.about))
        .map(|(typed, about)| row((typed.trim_end().to_owned(), about)));
    let table: Vec<String> = ["| type | to |".to_owned(), "| --- | --- |".to_owned()]
        .into_iter()
        .chain(commands)
        .collect();
    assert_eq!(between("README.md", "commands"), table.join("\n"));
}

#[test]
fn the_readme_lists_the_keys() {
    assert_eq!(between("README.md", "keys"), command::markdown().trim());
}

/// What stands in a document between `<!-- name -->` and `<!-- /name -->`.
fn between(path: &str, name: &str) -> String {
    let text = tree::read(path);
    let (_, rest) = text.split_once(&format!("<!-- {name} -->")).unwrap();
    let (inside, _) = rest.split_once(&format!("<!-- /{name} -->")).unwrap();
    inside.trim().to_owned()
}

#[test]
fn every_link_leads_to_a_file() {
    for document in DOCUMENTS {
        let text = tree::read(document);
        let folder = document.rsplit_once('/').map_or("", |(folder, _)| folder);
        for rest in text.split("](").skip(1) {
            let target = rest.split_once(')').unwrap().0;
            let path = target.split('#').next().unwrap();
            if !path.is_empty() && !path.contains("://") {
                let path = format!("{folder}/{path}");
                let found = tree::exists(path.trim_start_matches('/'));
                assert!(found, "{document} links to {target}");
            }
        }
    }
}

#[test]
fn architecture_names_tests_that_exist_and_stays_short() {
    let text = tree::read("ARCHITECTURE.md");
    assert!(text.lines().count() <= 240, "{} lines", text.lines().count());
    tests_exist(&text, "## Promises");
    tests_exist(&text, "## Invariants");
}

#[test]
fn security_names_tests_that_exist() {
    tests_exist(&tree::read("SECURITY.md"), "## What is done against what");
}

/// Every row of the table in this section names in its last column tests that there are.
fn tests_exist(document: &str, section: &str) {
    let (_, section) = document.split_once(section).unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let code: String = ["src", "tests"]
        .iter()
        .flat_map(|folder| tree::rust_files(folder))
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
fn every_file_says_what_it_is_and_is_short() {
    for folder in ["src", "tests", "benches"] {
        for file in tree::rust_files(folder) {
            assert!(file.text.starts_with("//! "), "{} begins without //!", file.path);
            let lines = file.text.lines().count();
            assert!(lines <= 500, "{} has {lines} lines", file.path);
        }
    }
}
