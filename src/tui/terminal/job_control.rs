//! Suspending and resuming: SIGTSTP and SIGCONT.

use std::io;

use rustix::process::kill_current_process_group;
use rustix::process::{Signal as SignalNumber, getpgrp, getpid, getsid, kill_process};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals of job control, which this process handles while this value exists.
#[derive(Debug)]
pub struct JobControl {
    stops: Signal,
    continues: Signal,
}

/// A signal of job control.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobSignal {
    /// The process has to stop, after it has restored the terminal.
    Stop,
    /// The process was stopped and runs again.
    Continue,
}

impl JobControl {
    /// Handles the signals from now on.
    ///
    /// # Errors
    /// The operating system refused the handler.
    pub fn new() -> io::Result<Self> {
        let handle = |number: SignalNumber| signal(SignalKind::from_raw(number.as_raw()));
        Ok(Self { stops: handle(SignalNumber::TSTP)?, continues: handle(SignalNumber::CONT)? })
    }

    /// The next signal.
    pub async fn next(&mut self) -> JobSignal {
        tokio::select! {
            biased;
            Some(()) = self.stops.recv() => JobSignal::Stop,
            Some(()) = self.continues.recv() => JobSignal::Continue,
            else => std::future::pending().await,
        }
    }
}

/// Whether a shell would notice the stop and could continue the process. The process that a terminal or `ssh`
/// started directly has none: stopped, it would hang for ever.
pub fn has_shell() -> bool {
    getsid(None).is_ok_and(|session| session != getpgrp())
}

/// Asks the whole job to stop, as Ctrl-Z does: this process receives [`JobSignal::Stop`].
///
/// # Errors
/// The signal could not be sent.
pub fn request_stop() -> io::Result<()> {
    Ok(kill_current_process_group(SignalNumber::TSTP)?)
}

/// Stops this process. What follows may still run for a moment, or only after [`JobSignal::Continue`].
///
/// # Errors
/// The signal could not be sent.
pub fn stop() -> io::Result<()> {
    Ok(kill_process(getpid(), SignalNumber::STOP)?)
}
