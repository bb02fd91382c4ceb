//! Opens links with the programs of the desktop.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use super::text::Link;

/// What was done about a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkOutcome {
    /// The desktop opens it.
    Opened,
    /// There is no desktop: this is a session over SSH, or on a console.
    NoDesktop,
}

/// Opens a link. Its target is one argument that begins with a scheme, and no shell reads it.
///
/// # Errors
/// The program that opens links cannot be run.
pub fn open(link: &Link) -> io::Result<LinkOutcome> {
    if !has_desktop(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty())) {
        return Ok(LinkOutcome::NoDesktop);
    }
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let mut child = Command::new(program)
        .arg(link.as_str())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // A browser that runs in a terminal cannot take this one: it is in the background.
        .process_group(0)
        .spawn()?;
    // Its exit status tells nothing: some browsers run on until they are closed.
    std::thread::Builder::new().spawn(move || child.wait())?;
    Ok(LinkOutcome::Opened)
}

fn has_desktop(is_set: impl Fn(&str) -> bool) -> bool {
    let has_display = cfg!(target_os = "macos") || is_set("DISPLAY") || is_set("WAYLAND_DISPLAY");
    has_display && !is_set("SSH_CONNECTION")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_is_not_opened_on_another_machine() {
        assert!(!has_desktop(|name| ["DISPLAY", "SSH_CONNECTION"].contains(&name)));
        assert!(has_desktop(|name| name == "WAYLAND_DISPLAY"));
    }
}
