//! Integration tests: the real program, the architecture rules and the documents, in one binary.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails on a panic")]

mod admin;
mod answers;
mod crash;
mod denial_of_service;
mod docs;
mod flaky_network;
mod fuzz;
mod hostile_text;
mod invite;
mod layers;
mod original_client;
mod original_server_bugs;
mod plain;
mod send;
mod serve;
mod settings;
mod simulation;
mod support;
mod tail;
mod terminal;
mod trust;
