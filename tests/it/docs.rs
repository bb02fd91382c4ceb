//! Compares the documents with the code: protocol examples, error codes, limits, tables, links and the
//! names of tests.

use std::collections::BTreeSet;
use std::fmt;

use chat::client::input::DOT_COMMANDS;
use chat::protocol::error::ErrorCode;
use chat::protocol::event::Event;
use chat::protocol::limits;
use chat::protocol::request::{Login, Request};
use chat::tui::Keymap;
use serde::de::{Deserializer, Error as _, Visitor};
use serde_json::Value;

use crate::support::source_tree;

const PROTOCOL_MD: &str = "src/protocol/PROTOCOL.md";
const DOCUMENTS: [&str; 7] = [
    "README.md",
    "ARCHITECTURE.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "certs/README.md",
    PROTOCOL_MD,
    "src/cli/plain/LINES.md",
];

/// A code block of PROTOCOL.md.
struct Example {
    /// The info string of the block: `json client` or `json server`, for the original dialect with
    /// ` original`.
    block_type: String,
    json: String,
}

fn protocol_examples() -> Vec<Example> {
    let text = source_tree::read(PROTOCOL_MD);
    let mut examples = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(block_type) = line.strip_prefix("```") {
            let json =
                lines.by_ref().take_while(|line| *line != "```").collect::<Vec<_>>().join("\n");
            examples.push(Example { block_type: block_type.to_owned(), json });
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
    for Example { block_type, json } in protocol_examples() {
        let bytes = json.as_bytes();
        match block_type.as_str() {
            "json server" => {
                let event = Event::decode(bytes).unwrap().unwrap();
                assert_eq!(parse_json(&event.encode()), parse_json(bytes), "{json}");
                last_event = Some(event);
            }
            // An original example shows the same event as the extended example before it.
            "json server original" => {
                let event = last_event.as_ref().unwrap();
                let encoded = event.encode_for_original().unwrap();
                assert_eq!(parse_json(&encoded), parse_json(bytes), "{json}");
            }
            "json client" | "json client original" => {
                let encoded = reencode(bytes);
                if block_type == "json client" {
                    assert_eq!(parse_json(&encoded), parse_json(bytes), "{json}");
                }
            }
            other => panic!("unknown block type `{other}`: {json}"),
        }
    }
}

/// Decodes an object of a client and encodes it again.
fn reencode(object: &[u8]) -> Vec<u8> {
    if let Ok(login) = Login::decode(object) {
        return login.encode();
    }
    let (cid, request) = Request::decode(object);
    request.unwrap().encode(cid.as_ref())
}

#[test]
fn every_action_has_an_example() {
    let actions = |block_type: &str| -> BTreeSet<String> {
        protocol_examples()
            .iter()
            .filter(|example| example.block_type == block_type)
            .filter_map(|example| {
                Some(parse_json(example.json.as_bytes()).get("action")?.as_str()?.to_owned())
            })
            .collect()
    };
    assert_eq!(actions("json server"), Event::ACTIONS.map(str::to_owned).into());
    assert_eq!(actions("json client"), Request::ACTIONS.map(str::to_owned).into());
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
    let codes: BTreeSet<_> =
        variant_names::<ErrorCode>().iter().copied().filter(|name| *name != "unknown").collect();
    assert_eq!(documented, codes);
}

/// The names of an enum's variants as serde reads them.
fn variant_names<'de, T: serde::Deserialize<'de>>() -> &'static [&'static str] {
    /// Returns the names as its "error".
    #[derive(Debug)]
    struct VariantNames(&'static [&'static str]);

    impl fmt::Display for VariantNames {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{:?}", self.0)
        }
    }

    impl std::error::Error for VariantNames {}

    impl serde::de::Error for VariantNames {
        fn custom<M: fmt::Display>(message: M) -> Self {
            panic!("not an enum: {message}")
        }
    }

    struct NameReader;

    impl<'de> Deserializer<'de> for NameReader {
        type Error = VariantNames;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, VariantNames> {
            Err(VariantNames::custom("another type"))
        }

        fn deserialize_enum<V: Visitor<'de>>(
            self,
            _: &'static str,
            variants: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, VariantNames> {
            Err(VariantNames(variants))
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
            unit unit_struct newtype_struct seq tuple tuple_struct map struct identifier ignored_any
        }
    }

    T::deserialize(NameReader).err().unwrap().0
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
        limits::PAGE_USERS,
        limits::PAGE_ROOMS,
        limits::LISTED_CONVERSATIONS,
        limits::TOPIC_CHARACTERS,
        limits::UNREAD_COUNTED as usize,
        limits::REACTION_KINDS,
        limits::REACTION_USERS,
        limits::MENTIONED_USERS,
        limits::PINNED_MESSAGES,
        limits::TYPING_MEMBERS,
        limits::MENTION_ALL_MEMBERS as usize,
        seconds(limits::PING_SECONDS),
        seconds(limits::KEEPALIVE_TIMEOUT_SECONDS),
        seconds(limits::CID_DAYS),
        limits::COMBINING_MARKS,
    ];
    assert_eq!(documented, constants);
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
    assert_eq!(
        text_between_markers("README.md", "keys"),
        Keymap::default().markdown_table().trim()
    );
}

/// The text of a document between `<!-- name -->` and `<!-- /name -->`.
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
                let exists = source_tree::exists(path.trim_start_matches('/'));
                assert!(exists, "{document} links to {target}");
            }
        }
    }
}

#[test]
fn architecture_names_existing_tests() {
    check_named_tests("ARCHITECTURE.md", "guarded by");
}

#[test]
fn security_names_existing_tests() {
    check_named_tests("SECURITY.md", "tests");
}

#[test]
fn readme_comparison_names_existing_tests() {
    check_named_tests("README.md", "test");
}

/// Checks all tables of a document whose last column has this heading: every row names tests in it, and all
/// of them exist.
fn check_named_tests(document: &str, heading: &str) {
    let code: String = ["src", "tests"]
        .iter()
        .flat_map(|folder| source_tree::rust_files(folder))
        .map(|file| file.text)
        .collect();
    let text = source_tree::read(document);
    let last_cell =
        |row: &str| row.trim_end_matches('|').rsplit('|').next().unwrap().trim().to_owned();
    let (mut is_in_table, mut row_count) = (false, 0);
    for line in text.lines() {
        if !line.starts_with("| ") {
            is_in_table = false;
        } else if !is_in_table {
            is_in_table = last_cell(line) == heading;
        } else if !line.starts_with("| ---") {
            row_count += 1;
            let cell = last_cell(line);
            let tests: Vec<_> = cell.split('`').skip(1).step_by(2).collect();
            assert!(!tests.is_empty(), "{document}: no test in the row {line}");
            for test in tests {
                assert!(code.contains(&format!("fn {test}(")), "{document}: no test named {test}");
            }
        }
    }
    assert!(row_count > 5, "{document} has no table with a last column `{heading}`");
}

#[test]
fn every_source_file_has_a_header() {
    for folder in ["src", "tests", "benches"] {
        for file in source_tree::rust_files(folder) {
            assert!(file.text.starts_with("//! "), "{} does not start with `//! `", file.path);
        }
    }
}
