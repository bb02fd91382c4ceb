//! The members of a run: logs them in and starts their senders.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::dialect::{Dialect, Entry};
use super::flow::{Flow, Sender, start_clock};
use super::member::{Connection, Credit, Group, Login, Member};
use super::scenario::{Load, Recipients, Schedule};
use super::server::Running;
use super::tls::Clients;

const LOGIN_TIMEOUT: Duration = Duration::from_mins(1);
/// Nothing arrives for so long: whatever the logins caused is over.
const SETTLED: Duration = Duration::from_millis(400);
/// The room of [`Recipients::Room`].
const ROOM: &str = "#load";

pub(crate) struct Crowd {
    load: Load,
    dialect: Dialect,
    text_bytes: usize,
    epoch: Instant,
    members: Vec<Member>,
    /// The members that read all the time.
    pub(crate) reading: Rc<Group>,
    /// The members that stop reading, if any.
    pub(crate) pausing: Rc<Group>,
    /// The windows: one for all members, or one for each.
    flows: Vec<Rc<Flow>>,
    tasks: JoinSet<()>,
}

impl Crowd {
    pub(crate) fn new(load: Load, dialect: Dialect, text_bytes: usize) -> Self {
        let flows = match load.recipients {
            Recipients::Everyone | Recipients::Room => {
                let own_copy = usize::from(dialect.echoes());
                vec![Rc::new(Flow::new(load.schedule, load.reading_members() - 1 + own_copy))]
            }
            Recipients::OneOther => {
                (0..load.members).map(|_| Rc::new(Flow::new(load.schedule, 1))).collect()
            }
        };
        Self {
            load,
            dialect,
            text_bytes,
            epoch: Instant::now(),
            members: Vec::new(),
            reading: Rc::default(),
            pausing: Rc::default(),
            flows,
            tasks: JoinSet::new(),
        }
    }

    /// Connects all members and logs them in. Returns the time until the last was ready.
    pub(crate) async fn log_in(&mut self, running: &Running) -> Result<Duration, String> {
        let clients = Clients::trusting(running.folder());
        let permits = Arc::new(Semaphore::new(running.server.logins_at_once()));
        // Made before the clock starts: the keys and certificates are no work of a server.
        let configs: Vec<_> =
            (0..self.load.members).map(|_| clients.config(running.server.client_key())).collect();
        let start = Instant::now();
        let mut logins = Vec::new();
        for (index, config) in configs.into_iter().enumerate() {
            let permit = timeout(LOGIN_TIMEOUT, Arc::clone(&permits).acquire_owned()).await;
            let permit = permit.map_err(|_elapsed| "logins take too long")?.unwrap();
            let (done, is_done) = oneshot::channel();
            let (outgoing, to_write) = mpsc::channel(4);
            let login = Login { done, _permit: permit };
            let connection = self.connection(index, login, to_write);
            self.tasks.spawn_local(connection.run(running.address, config));
            logins.push((outgoing, is_done));
        }
        for (outgoing, is_done) in logins {
            let Ok(Ok(id)) = timeout(LOGIN_TIMEOUT, is_done).await else {
                let reason = self.reading.refusal.take();
                return Err(format!("login failed: {}", reason.unwrap_or_default()));
            };
            self.members.push(Member { id, outgoing });
        }
        Ok(start.elapsed())
    }

    fn connection(
        &self,
        index: usize,
        login: Login,
        outgoing: mpsc::Receiver<Vec<u8>>,
    ) -> Connection {
        let will_pause = index >= self.load.reading_members();
        let (group, credit) = match self.load.recipients {
            _ if will_pause => (&self.pausing, Credit::None),
            Recipients::Everyone | Recipients::Room => (&self.reading, Credit::All),
            Recipients::OneOther => (&self.reading, Credit::Own),
        };
        let in_room = self.load.schedule != Schedule::Idle;
        Connection {
            index,
            dialect: self.dialect,
            entry: if in_room { Entry::Room } else { Entry::Login },
            will_pause,
            group: Rc::clone(group),
            flow: Rc::clone(self.flow(index)),
            credit,
            epoch: self.epoch,
            expected: vec![0; self.load.senders],
            login: Some(login),
            outgoing,
        }
    }

    fn flow(&self, index: usize) -> &Rc<Flow> {
        &self.flows[index % self.flows.len()]
    }

    /// One member creates the room, then the others join it.
    pub(crate) async fn enter_room(&self) -> Result<(), String> {
        for (index, member) in self.members.iter().enumerate() {
            let verb = if index == 0 { "create" } else { "join" };
            let request =
                format!("{{\"action\":\"ROOM\",\"room\":\"{ROOM}\",\"do\":\"{verb}\"}}\n");
            // Closed: `settle` ends, and the refusal is known.
            member.outgoing.send(request.into_bytes()).await.ok();
            if index == 0 {
                self.settle().await;
            }
        }
        self.settle().await;
        self.reading.refusal.take().map_or(Ok(()), Err)
    }

    /// Waits until the announcements of the logins have arrived.
    pub(crate) async fn settle(&self) {
        let bytes = || self.reading.bytes.get() + self.pausing.bytes.get();
        let mut before = None;
        while before != Some(bytes()) {
            before = Some(bytes());
            sleep(SETTLED).await;
        }
    }

    /// Sends until the duration of the load is over.
    pub(crate) async fn send(&self) {
        let end = Instant::now() + self.load.duration;
        let (mut senders, mut clock) = (JoinSet::new(), None);
        let mut times = Vec::new();
        for index in 0..self.load.senders {
            let (sender, flow) = (self.sender(index), Rc::clone(self.flow(index)));
            if let Schedule::PerSecond(_) = self.load.schedule {
                let (due, scheduled) = mpsc::channel(1_024);
                times.push(due);
                senders.spawn_local(async move { sender.run_on_schedule(&flow, scheduled).await });
            } else {
                senders.spawn_local(async move { sender.run_closed_loop(&flow, end).await });
            }
        }
        if let Schedule::PerSecond(rate) = self.load.schedule {
            clock = Some(start_clock(rate, self.load.duration, self.epoch, times));
        }
        senders.join_all().await;
        if let Some(clock) = clock {
            clock.join().unwrap();
        }
    }

    fn sender(&self, index: usize) -> Sender {
        let recipient = match self.load.recipients {
            Recipients::Everyone => "all",
            Recipients::Room => ROOM,
            Recipients::OneOther => &self.members[index ^ 1].id,
        };
        Sender {
            index,
            dialect: self.dialect,
            recipient: recipient.to_owned(),
            text_bytes: self.text_bytes,
            epoch: self.epoch,
            outgoing: self.members[index].outgoing.clone(),
            number: 0,
        }
    }

    /// Leaves out the latencies of messages that are due before `delay` has passed.
    pub(crate) fn record_after(&self, delay: Duration) {
        self.reading.record_from.set(micros(self.epoch.elapsed() + delay));
    }

    /// Copies that the members who read all the time get of all messages sent so far.
    pub(crate) fn expected_by_reading(&self) -> u64 {
        match self.load.recipients {
            Recipients::Everyone | Recipients::Room => self.sent() * self.flows[0].copies,
            Recipients::OneOther => self.sent() * 2,
        }
    }

    /// The same for the other members.
    pub(crate) fn expected_by_pausing(&self) -> u64 {
        self.sent() * (self.load.members - self.load.reading_members()) as u64
    }

    fn sent(&self) -> u64 {
        self.flows.iter().map(|flow| flow.sent.get()).sum()
    }

    pub(crate) fn delivered(&self) -> u64 {
        self.reading.delivered.get() + self.pausing.delivered.get()
    }

    /// Messages that their authors have back.
    pub(crate) fn acknowledged(&self) -> u64 {
        self.flows.iter().map(|flow| flow.arrived.get()).sum()
    }

    /// When the last message arrived.
    pub(crate) fn last_arrival(&self) -> Instant {
        let last = self.reading.last_arrival.get().max(self.pausing.last_arrival.get());
        self.epoch + Duration::from_micros(last)
    }
}

pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap()
}
