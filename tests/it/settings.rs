//! Precedence of flags, environment variables and the config file, with the real program.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Command;

use tempfile::TempDir;

use crate::support::{TestServer, chat_command, serve_command};

/// Writes the user's config file.
fn write_config(folder: &TempDir, settings: &str) {
    let file = folder.path().join("config/chat/config.toml");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, settings).unwrap();
}

/// A server's ready lines, or its exit status.
fn ready_lines(mut command: Command) -> Result<Vec<String>, Option<i32>> {
    let mut child = command.spawn().unwrap();
    let mut lines = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap) {
        let is_last = line.contains("messages in the log");
        lines.push(line);
        if is_last {
            break;
        }
    }
    // It may have exited already.
    child.kill().unwrap_or_default();
    let status = child.wait().unwrap();
    if lines.is_empty() { Err(status.code()) } else { Ok(lines) }
}

#[test]
fn flag_overrides_environment_overrides_file() {
    let folder = TempDir::new().unwrap();
    let listens = |variable: Option<&str>, flag: &[&str]| {
        let mut command = serve_command(&folder, flag);
        command.envs(variable.map(|address| ("CHAT_LISTEN", address)));
        ready_lines(command).unwrap().concat()
    };
    write_config(&folder, "listen = '127.0.0.1:0'");
    assert!(listens(None, &[]).starts_with("listening on 127.0.0.1:"));
    assert!(listens(Some("[::1]:0"), &[]).starts_with("listening on [::1]:"));
    let flag = listens(Some("[::1]:0"), &["--listen", "0.0.0.0:0"]);
    assert!(flag.starts_with("listening on 0.0.0.0:"), "{flag}");
}

/// Whether a server with these keys in its file, environment and flags admits new users without an invite.
fn is_open(folder: &TempDir, [file, variables, flags]: [&[&str]; 3]) -> Result<bool, Option<i32>> {
    let settings: Vec<_> = file.iter().map(|key| format!("{key} = true\n")).collect();
    write_config(folder, &settings.concat());
    let mut command = serve_command(folder, &["--listen", "0.0.0.0:0"]);
    for key in variables {
        command.env(format!("CHAT_{}", key.replace('-', "_").to_uppercase()), "true");
    }
    command.args(flags.iter().map(|key| format!("--{key}")));
    let lines = ready_lines(command)?;
    let has_line = |text: &str| lines.iter().any(|line| line.starts_with(text));
    let is_open = has_line("open to anyone who can reach this port");
    assert_ne!(is_open, has_line("new users need an invite"), "{lines:?}");
    Ok(is_open)
}

#[test]
fn login_policy_comes_from_the_strongest_source() {
    const NOTHING: &[&str] = &[];
    const OPEN: &[&str] = &["open"];
    const INVITE_ONLY: &[&str] = &["invite-only"];
    const BOTH: &[&str] = &["open", "invite-only"];
    let folder = TempDir::new().unwrap();
    for file in [NOTHING, OPEN, INVITE_ONLY, BOTH] {
        for variables in [NOTHING, OPEN, INVITE_ONLY, BOTH] {
            for flags in [NOTHING, OPEN, INVITE_ONLY] {
                let sources = [file, variables, flags];
                let strongest = sources.iter().rev().find(|source| !source.is_empty());
                let expected = strongest == Some(&OPEN);
                assert_eq!(
                    is_open(&folder, sources),
                    Ok(expected),
                    "file, variables, flags: {sources:?}"
                );
            }
        }
    }
    assert_eq!(is_open(&folder, [NOTHING, NOTHING, BOTH]), Err(Some(2)), "conflicting flags");
}

#[test]
fn conflicting_name_and_id_are_decided_by_the_strongest_source() {
    let server = TestServer::start();
    let mut ann = server.join("Ann");
    let (home, link) = (TempDir::new().unwrap(), server.pinned_link());
    let mut sender = |variables: &[(&str, &str)], flags: &[&str]| {
        let mut command =
            chat_command(home.path(), &[&["send", &link][..], flags, &["hello"]].concat());
        let output = command.envs(variables.iter().copied()).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        if !output.status.success() {
            return Err((output.status.code(), stderr));
        }
        Ok(ann.wait_for("action", "MESSAGE")["sender"].as_str().unwrap().to_owned())
    };
    let bob = sender(&[], &["--name", "Bob"]).unwrap();
    let tom = [("CHAT_NAME", "Tom")];
    assert_eq!(sender(&tom, &["--id", &bob]), Ok(bob.clone()));
    write_config(&home, "name = 'Tom'");
    assert_eq!(sender(&[], &["--id", &bob]), Ok(bob.clone()));
    assert_eq!(sender(&[("CHAT_ID", &bob)], &[]), Ok(bob.clone()));
    assert_eq!(sender(&[], &["--id", &bob, "--name", "Bob"]), Ok(bob.clone()));
    write_config(&home, &format!("name = 'Tom'\nid = '{bob}'"));
    assert_eq!(sender(&[], &[]), Ok(bob.clone()), "the ID wins within one source");
    assert!(sender(&tom, &[]).unwrap().starts_with("Tom_"));
    let (status, stderr) = sender(&[], &["--id", &bob, "--name", "Tom"]).unwrap_err();
    assert!(status == Some(2) && stderr.contains("omit --name"), "{stderr}");
}
