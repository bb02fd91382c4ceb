//! What the kernel says about a process: CPU time and memory.

use std::fs;
use std::time::Duration;

#[derive(Clone, Copy)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    /// This program.
    pub(crate) fn load_generator() -> Self {
        Self(std::process::id())
    }

    /// User and system time, in steps of 10 ms. Zero if the process has ended.
    pub(crate) fn cpu_time(self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap_or_default();
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let ticks = fields.split_whitespace().skip(11).take(2);
        Duration::from_millis(ticks.map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum())
    }

    /// The resident memory, in KiB.
    pub(crate) fn memory_kib(self) -> f64 {
        self.status("VmRSS:")
    }

    /// The peak of the resident memory since the start or the last reset, in KiB.
    pub(crate) fn peak_memory_kib(self) -> f64 {
        self.status("VmHWM:")
    }

    pub(crate) fn reset_peak_memory(self) {
        fs::write(format!("/proc/{}/clear_refs", self.0), "5").ok();
    }

    fn status(self, field: &str) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0.0)
    }
}
