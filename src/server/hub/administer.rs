//! What whoever runs the server asks for: an input like any other, in force at once for those who are
//! here, and answered once it is on disk.

use super::stored::Ticket;
use super::{Effect, Hub, Now, Peer, Recipients, SessionId};
use crate::protocol::error::Refusal;
use crate::protocol::event::{Deleted, Event, Refused};
use crate::protocol::id::{MessageId, UserId};
use crate::protocol::invite::Invite;
use crate::protocol::message::Audience;
use crate::server::admin::{Act, Answer, Connection, Open, ShutOut, Stats, Who};
use crate::server::limits::{INVITE_SECONDS, INVITE_USES, INVITES};
use crate::store::{Append, Banned, OpenInvite, Outcome};
use crate::tls::fingerprint::{self, Fingerprint};

/// Somebody who waits for the answer to an act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Asker(pub u64);

/// What is written to the log, and what is said when it is there.
type ToStore = (Append, String);

impl Hub {
    pub(super) fn administer(
        &mut self,
        now: Now,
        asker: Asker,
        act: Act,
        effects: &mut Vec<Effect>,
    ) {
        let to_store = match act {
            Act::List => Err(self.list(now)),
            Act::Stats => Err(Answer::Stats(self.headcount())),
            Act::Kick { who } => Err(self.kick(&who, effects)),
            Act::Ban { who } => self.ban(&who, effects),
            Act::Unban { who } => self.unban(&who),
            Act::Delete { id } => Ok(removal(id)),
            Act::Rebind { user, key } => self.rebind(user, key, effects),
            Act::Invite { invite, uses, seconds } => self.open_invite(now, &invite, uses, seconds),
        };
        effects.push(match to_store {
            Ok((append, done)) => {
                Effect::Append { ticket: Ticket::Administer { asker, done }, append }
            }
            Err(answer) => Effect::Answer { asker, answer },
        });
    }

    /// An act is on disk, or is not.
    pub(super) fn administered(
        &mut self,
        asker: Asker,
        done: String,
        outcome: Result<Outcome, &'static str>,
        effects: &mut Vec<Effect>,
    ) {
        let answer = match outcome {
            Ok(Outcome::Removed { deleted, audience }) => {
                self.removed(deleted, &audience, effects);
                Answer::Done { text: done }
            }
            Ok(Outcome::Gone) => refused("there is no such message (any more)"),
            Ok(_) => Answer::Done { text: done },
            Err(reason) => refused(format!(
                "the server could not store it ({reason}): what has changed holds until it stops"
            )),
        };
        effects.push(Effect::Answer { asker, answer });
    }

    fn removed(&mut self, deleted: Deleted, audience: &Audience, effects: &mut Vec<Effect>) {
        self.ledger.remove(deleted.id);
        self.head = deleted.seq;
        let to = self.holders(&deleted.by, audience);
        effects.push(Effect::Send { to, event: Event::Deleted(deleted) });
    }

    fn list(&self, now: Now) -> Answer {
        let key = |peer: Peer| peer.key.map(|key| Who::Key(Fingerprint::from_digest(key)));
        let mut here: Vec<_> = self
            .roster
            .connections()
            .map(|(_, user, peer)| Connection {
                user: user.clone(),
                address: peer.address,
                key: key(peer),
            })
            .collect();
        here.sort_by(|a, b| a.user.cmp(&b.user));
        let banned = self.gate.banned.iter().map(|banned| match banned {
            Banned::Key(key) => ShutOut {
                who: Who::Key(Fingerprint::from_digest(*key)),
                ids: self.roster.ids_of(Some(*key)).to_vec(),
            },
            Banned::Network(network) => ShutOut { who: Who::Network(*network), ids: Vec::new() },
        });
        let banned = banned.collect();
        let open = self.gate.invites.values().filter(|open| open.is_good(now.millis()));
        let mut invites: Vec<_> =
            open.map(|open| Open { uses: open.uses, expires: open.expires }).collect();
        invites.sort_by_key(|open| open.expires);
        Answer::List { here, banned, invites }
    }

    /// The socket, which has the log and the clock, adds the rest.
    fn headcount(&self) -> Stats {
        let (people, ids) = self.roster.count();
        Stats { people, ids, connections: self.roster.connections().count(), ..Stats::default() }
    }

    fn kick(&mut self, who: &Who, effects: &mut Vec<Effect>) -> Answer {
        match self.end(&Refusal::Kicked, effects, |user, peer| is_meant(who, user, peer)) {
            0 => refused(format!("nobody who is here is {who}")),
            ended => Answer::Done { text: connections_ended(ended) },
        }
    }

    fn ban(&mut self, who: &Who, effects: &mut Vec<Effect>) -> Result<ToStore, Answer> {
        let banned = self.banned(who)?;
        self.gate.banned.insert(banned);
        let ended = self.end(&Refusal::Banned, effects, |_, peer| peer.is(&banned));
        let done = format!("{} is shut out; {}", named(who, banned), connections_ended(ended));
        Ok((Append::Ban(banned), done))
    }

    fn unban(&mut self, who: &Who) -> Result<ToStore, Answer> {
        let banned = self.banned(who)?;
        if !self.gate.banned.remove(&banned) {
            return Err(refused(format!(
                "{} is not shut out (`chat admin list` shows who is)",
                named(who, banned)
            )));
        }
        Ok((Append::Unban(banned), format!("{} is shut out no longer", named(who, banned))))
    }

    /// An ID is as good as its key: it is the key that comes back.
    fn banned(&self, who: &Who) -> Result<Banned, Answer> {
        match who {
            Who::Key(key) => Ok(Banned::Key(key.digest())),
            Who::Network(network) => Ok(Banned::Network(*network)),
            Who::User(user) => self.roster.key_of(user).map(Banned::Key).ok_or_else(|| {
                refused(format!(
                    "{user} belongs to no key: ban the address instead (`chat admin list` shows it)"
                ))
            }),
        }
    }

    fn rebind(
        &mut self,
        user: UserId,
        key: Fingerprint,
        effects: &mut Vec<Effect>,
    ) -> Result<ToStore, Answer> {
        if self.roster.key_of(&user).is_none() {
            return Err(refused(format!("there is no ID {user} that belongs to a key")));
        }
        let digest = key.digest();
        self.roster.bind(&user, digest);
        let is_old = |id: &UserId, peer: Peer| *id == user && peer.key != Some(digest);
        let ended = self.end(&Refusal::Kicked, effects, is_old);
        let done = format!("{user} belongs to {key} now; {}", connections_ended(ended));
        Ok((Append::Rebind { user, key: digest }, done))
    }

    fn open_invite(
        &mut self,
        now: Now,
        invite: &Invite,
        uses: u32,
        seconds: u32,
    ) -> Result<ToStore, Answer> {
        if !(1..=INVITE_USES).contains(&uses) || !(1..=INVITE_SECONDS).contains(&seconds) {
            return Err(refused(format!(
                "an invite is for 1 to {INVITE_USES} people, and for {} days at most",
                INVITE_SECONDS / 86_400
            )));
        }
        self.gate.invites.retain(|_, open| open.is_good(now.millis()));
        if self.gate.invites.len() >= INVITES {
            return Err(refused(format!("{INVITES} invites are open already: let some expire")));
        }
        let hash = fingerprint::sha256(invite.secret());
        let expires = now.millis() + i64::from(seconds) * 1_000;
        let open = OpenInvite { hash, uses, expires };
        self.gate.invites.insert(hash, open);
        Ok((Append::Invite(open), String::new()))
    }

    /// Ends the connections of those who are meant, and tells them why; how many there were.
    fn end(
        &mut self,
        why: &Refusal,
        effects: &mut Vec<Effect>,
        is_meant: impl Fn(&UserId, Peer) -> bool,
    ) -> usize {
        let all = self.roster.connections();
        let meant: Vec<SessionId> =
            all.filter(|(_, user, peer)| is_meant(user, *peer)).map(|(id, ..)| id).collect();
        for session in &meant {
            let (to, event) = (Recipients::One(*session), Event::Closing(Refused::new(why, None)));
            effects.push(Effect::Send { to, event });
            self.close(*session, effects);
        }
        meant.len()
    }
}

fn removal(id: MessageId) -> ToStore {
    (Append::Remove { id }, format!("message {id} is removed"))
}

fn is_meant(who: &Who, user: &UserId, peer: Peer) -> bool {
    match who {
        Who::User(meant) => meant == user,
        Who::Key(key) => peer.key == Some(key.digest()),
        Who::Network(network) => network.contains(peer.address),
    }
}

/// An ID with the key that is meant by it.
fn named(who: &Who, banned: Banned) -> String {
    match (who, banned) {
        (Who::User(user), Banned::Key(key)) => {
            format!("{user}, who is {},", Fingerprint::from_digest(key))
        }
        (who, _) => who.to_string(),
    }
}

fn connections_ended(count: usize) -> String {
    match count {
        1 => "1 connection ended".to_owned(),
        _ => format!("{count} connections ended"),
    }
}

fn refused(error: impl Into<String>) -> Answer {
    Answer::Refused { error: error.into() }
}
