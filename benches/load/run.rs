//! One run: one load on one server, and its figures.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::task::LocalSet;
use tokio::time::sleep;

use super::crowd::Crowd;
use super::process::Process;
use super::scenario::{Load, Pause, Recipients, Schedule};
use super::server::Running;

pub(crate) type Figures = BTreeMap<&'static str, f64>;

/// Nothing arrives for so long: what is still missing is lost.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(4);
/// How long the members of an idle run stay before the memory is read.
const IDLE: Duration = Duration::from_secs(3);
/// Latencies of the first second are left out.
const WARM_UP: Duration = Duration::from_secs(1);

/// Runs `load` on a server that was just started.
pub(crate) fn run(load: Load, running: &mut Running, text_bytes: usize) -> Result<Figures, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let crowd = Crowd::new(load, running.server.dialect(), text_bytes);
    let mut run = Run { load, process: running.process(), crowd, figures: Figures::new() };
    LocalSet::new().block_on(&runtime, async {
        run.log_in(running).await?;
        if load.schedule != Schedule::Idle {
            run.send().await;
        }
        Ok::<_, String>(())
    })?;
    if running.has_ended() {
        return Err("the server exited".to_owned());
    }
    Ok(run.figures)
}

struct Run {
    load: Load,
    process: Process,
    crowd: Crowd,
    figures: Figures,
}

/// What had happened at one time.
struct Snapshot {
    at: Instant,
    cpu_time: Duration,
    own_cpu_time: Duration,
    bytes: u64,
    delivered: u64,
    delivered_to_reading: u64,
}

impl Run {
    async fn log_in(&mut self, running: &Running) -> Result<(), String> {
        let (memory, before) = (self.process.memory_kib(), self.snapshot());
        let elapsed = self.crowd.log_in(running).await?;
        self.crowd.settle().await;
        if self.load.recipients == Recipients::Room {
            self.crowd.enter_room().await?;
        }
        if self.load.schedule == Schedule::Idle {
            sleep(IDLE).await;
            let members = self.load.members as f64;
            let cpu_time = self.snapshot().cpu_time.saturating_sub(before.cpu_time);
            self.put("logins_per_s", members / elapsed.as_secs_f64());
            self.put("login_cpu_ms", millis(cpu_time) / members);
            self.put("kib_per_connection", (self.process.memory_kib() - memory) / members);
            self.put("closed", self.crowd.reading.closed.get() as f64);
        }
        Ok(())
    }

    async fn send(&mut self) {
        self.process.reset_peak_memory();
        self.crowd.record_after(WARM_UP);
        let start = self.snapshot();
        let ((), paused) = tokio::join!(self.crowd.send(), self.pause());
        let sent = self.snapshot();
        self.drain().await;
        let end = self.snapshot();
        self.put_deliveries(&start, &end);
        if let Some((pause, caught_up)) = paused {
            self.put_pause(&start, &pause, &sent, &end, caught_up);
        }
        if self.load.recipients == Recipients::OneOther {
            let elapsed = self.crowd.last_arrival() - start.at;
            self.put(
                "acknowledged_per_s",
                self.crowd.acknowledged() as f64 / elapsed.as_secs_f64(),
            );
        }
        self.put_latencies();
        self.put("peak_mib", self.process.peak_memory_kib() / 1_024.0);
    }

    /// Makes half of the members stop reading and come back, if the load says so. Returns what had happened
    /// before, and how long they took to catch up.
    async fn pause(&self) -> Option<(Snapshot, Duration)> {
        let Pause { starts_after, lasts } = self.load.pause?;
        sleep(starts_after).await;
        let before = self.snapshot();
        self.crowd.pausing.paused.send_replace(true);
        sleep(lasts).await;
        self.crowd.pausing.paused.send_replace(false);
        let back = Instant::now();
        // They have what was sent before they came back.
        let (owed, group) = (self.crowd.expected_by_pausing(), &self.crowd.pausing);
        while group.delivered.get() < owed && group.closed.get() == 0 && !self.is_quiet(back) {
            sleep(Duration::from_millis(5)).await;
        }
        Some((before, back.elapsed()))
    }

    /// Waits until everything has arrived that is going to.
    async fn drain(&self) {
        let start = Instant::now();
        let expected = self.crowd.expected_by_reading() + self.crowd.expected_by_pausing();
        while self.crowd.delivered() < expected && !self.is_quiet(start) {
            sleep(Duration::from_millis(2)).await;
        }
    }

    fn is_quiet(&self, since: Instant) -> bool {
        self.crowd.last_arrival().max(since).elapsed() > DRAIN_TIMEOUT
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            at: Instant::now(),
            cpu_time: self.process.cpu_time(),
            own_cpu_time: Process::load_generator().cpu_time(),
            bytes: self.crowd.reading.bytes.get() + self.crowd.pausing.bytes.get(),
            delivered: self.crowd.delivered(),
            delivered_to_reading: self.crowd.reading.delivered.get(),
        }
    }

    fn put(&mut self, name: &'static str, value: f64) {
        self.figures.insert(name, value);
    }

    fn put_deliveries(&mut self, start: &Snapshot, end: &Snapshot) {
        let elapsed = (self.crowd.last_arrival() - start.at).as_secs_f64();
        let delivered = end.delivered as f64;
        let groups = [&self.crowd.reading, &self.crowd.pausing];
        let out_of_order: u64 = groups.iter().map(|group| group.out_of_order.get()).sum();
        let closed: usize = groups.iter().map(|group| group.closed.get()).sum();
        let expected = self.crowd.expected_by_reading() + self.crowd.expected_by_pausing();
        let cpu_share =
            |from: Duration, to: Duration| to.saturating_sub(from).as_secs_f64() / elapsed;
        self.put("cpu_us_per_delivery", cpu_per_delivery(start, end));
        self.put("deliveries_per_s", delivered / elapsed);
        self.put("bytes_per_delivery", (end.bytes - start.bytes) as f64 / delivered);
        self.put("lost", expected.saturating_sub(end.delivered) as f64);
        self.put("out_of_order", out_of_order as f64);
        self.put("closed", closed as f64);
        self.put("server_cpu_share", cpu_share(start.cpu_time, end.cpu_time));
        self.put("load_cpu_share", cpu_share(start.own_cpu_time, end.own_cpu_time));
    }

    /// Compares the time from the pause on with the time before it.
    fn put_pause(
        &mut self,
        start: &Snapshot,
        pause: &Snapshot,
        sent: &Snapshot,
        end: &Snapshot,
        caught_up: Duration,
    ) {
        let rate = |from: &Snapshot, to: &Snapshot| {
            let delivered = (to.delivered_to_reading - from.delivered_to_reading) as f64;
            delivered / (to.at - from.at).as_secs_f64()
        };
        self.put("rate_of_others", rate(pause, sent) / rate(start, pause));
        let before = cpu_per_delivery(start, pause);
        self.put("cpu_ratio_with_pause", cpu_per_delivery(pause, end) / before);
        self.put("catch_up_s", caught_up.as_secs_f64());
    }

    fn put_latencies(&mut self) {
        let latencies = self.crowd.reading.latencies.take();
        let names = ["latency_p50_ms", "latency_p99_ms", "latency_max_ms"];
        for (name, micros) in names.into_iter().zip(percentiles(latencies).into_iter().flatten()) {
            self.put(name, f64::from(micros) / 1e3);
        }
    }
}

/// The median, the 99th percentile and the maximum.
pub(crate) fn percentiles<T: Ord + Copy>(mut values: Vec<T>) -> Option<[T; 3]> {
    values.sort_unstable();
    let last = values.len().checked_sub(1)?;
    Some([50, 99, 100].map(|percent| values[last * percent / 100]))
}

/// In microseconds.
fn cpu_per_delivery(from: &Snapshot, to: &Snapshot) -> f64 {
    let cpu_time = to.cpu_time.saturating_sub(from.cpu_time);
    millis(cpu_time) * 1e3 / (to.delivered - from.delivered).max(1) as f64
}

pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
