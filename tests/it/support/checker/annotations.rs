//! Checks of reactions and pins: every change is executed once and reaches everyone who sees the message, and
//! the state at the end follows from the changes.

use std::collections::{BTreeMap, BTreeSet};

use super::{History, Observation, Recipients, Report, Token, Tracked};

/// What clients add to a message and remove from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Annotation {
    /// The reaction of a client. Each client has one emoji, and one pending request about it.
    Reaction { client: usize },
    /// The pin, which every recipient of the message may add or remove.
    Pin,
}

/// A request to add or remove an annotation, as reconstructed from the observations of all clients.
pub(super) struct TrackedAnnotation {
    sender: usize,
    /// The message, by the token that it was posted with.
    pub(super) key: (Token, Annotation),
    on: bool,
    acknowledged_seq: Option<u64>,
    /// Where in the log it was executed, as the streams tell.
    seqs: BTreeSet<u64>,
}

impl TrackedAnnotation {
    /// Whether it may have been executed while its sender was restarting and nobody else was there to see it.
    fn may_be_unseen(&self, tracked: &Tracked) -> bool {
        let is_in_gap = |seq| tracked.is_in_gap(self.sender, seq);
        self.seqs.is_empty() && self.acknowledged_seq.is_some_and(is_in_gap)
    }
}

/// Adds the requests of all clients and what became of them.
pub(super) fn track(history: &History, tracked: &mut Tracked, report: &mut Report) {
    for (sender, observations) in history.iter().enumerate() {
        for observation in observations {
            if let Observation::AnnotationRequested { text, annotation, on, token } = observation {
                let request = TrackedAnnotation {
                    sender,
                    key: (tracked.versions[text].0, *annotation),
                    on: *on,
                    acknowledged_seq: None,
                    seqs: BTreeSet::new(),
                };
                tracked.annotations.insert(*token, request);
            }
        }
    }
    for observation in history.iter().flatten() {
        let (Observation::AnnotationAcknowledged { token, seq }
        | Observation::Annotated { token, seq }) = observation
        else {
            continue;
        };
        let request =
            tracked.annotations.get_mut(token).expect("annotated before it was requested");
        if matches!(observation, Observation::Annotated { .. }) {
            report.annotated += usize::from(request.seqs.is_empty());
            request.seqs.insert(*seq);
        } else {
            request.acknowledged_seq = Some(*seq);
        }
    }
}

/// The changes of each annotation in the order of the log: whether each turned it on. Annotations with a
/// change that nobody may have seen are left out.
fn changes(tracked: &Tracked) -> BTreeMap<(Token, Annotation), BTreeMap<u64, bool>> {
    let mut changes: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
    for request in tracked.annotations.values() {
        let seqs = request.seqs.iter().map(|seq| (*seq, request.on));
        changes.entry(request.key).or_default().extend(seqs);
    }
    let requests = tracked.annotations.values();
    for unknown in requests.filter(|request| request.may_be_unseen(tracked)) {
        changes.remove(&unknown.key);
    }
    changes
}

/// Checks that every request was executed at most once, and that each execution changed something.
pub(super) fn check_requests(tracked: &Tracked, report: &mut Report) {
    for (token, request) in &tracked.annotations {
        if request.seqs.len() > 1 {
            let detail = || format!("the request {token} has the seqs {:?}", request.seqs);
            report.record(|report| &mut report.duplicated, detail);
        }
    }
    for (key, changes) in changes(tracked) {
        let mut is_on = false;
        for (seq, on) in changes {
            if on == is_on {
                let detail = || format!("{key:?} was already {on} before {seq}");
                report.record(|report| &mut report.duplicated, detail);
            }
            is_on = on;
        }
    }
}

/// Checks that a client got every change of the messages that it sees, and their state at the end.
pub(super) fn check_client(
    client: usize,
    observations: &[Observation],
    tracked: &Tracked,
    report: &mut Report,
) {
    let mut received = BTreeSet::new();
    for observation in observations {
        match observation {
            Observation::Annotated { token, .. } => _ = received.insert(*token),
            Observation::FinalAnnotations(found) => check_final(client, found, tracked, report),
            _ => {}
        }
    }
    let member_since = tracked.member_since(client);
    for (token, request) in &tracked.annotations {
        let message = &tracked.messages[&request.key.0];
        let is_due = |seq: &u64| {
            !tracked.is_in_gap(client, *seq)
                && (message.recipients != Recipients::Room
                    || member_since.is_some_and(|since| since < *seq))
        };
        let is_visible = message.is_visible_to(client) && message.must_be_delivered();
        if is_visible && !received.contains(token) && request.seqs.iter().any(is_due) {
            let detail = || format!("the change {token} is not in {client}'s stream");
            report.record(|report| &mut report.lost, detail);
        }
    }
}

/// Checks the annotations of the messages that the client sees at the end.
fn check_final(
    client: usize,
    found: &BTreeSet<(Token, Annotation)>,
    tracked: &Tracked,
    report: &mut Report,
) {
    let member = tracked.member_since(client);
    let found: BTreeSet<_> =
        found.iter().map(|(text, annotation)| (tracked.versions[text].0, *annotation)).collect();
    let last_requests: BTreeMap<_, _> =
        tracked.annotations.values().map(|request| (request.key, request)).collect();
    for (key, changes) in changes(tracked) {
        let message = &tracked.messages[&key.0];
        let is_visible = message.is_visible_to(client)
            && (message.recipients != Recipients::Room || member.is_some());
        if !is_visible || !message.must_be_delivered() {
            continue;
        }
        let is_on = found.contains(&key);
        let mut expected = vec![changes.values().next_back().copied().unwrap_or(false)];
        // Nobody else changes a reaction.
        let last = last_requests[&key];
        if key.1 != Annotation::Pin && last.acknowledged_seq.is_some() {
            expected.push(last.on);
        }
        if expected.iter().any(|expected| *expected != is_on) {
            let detail = || format!("{key:?} is {is_on} for {client}, not as {expected:?}");
            report.record(|report| &mut report.lost, detail);
        }
    }
    let requested = |key: &&(Token, Annotation)| last_requests.contains_key(*key);
    for key in found.iter().filter(|key| !requested(key)) {
        let detail = || format!("{client} sees {key:?}, which nobody requested");
        report.record(|report| &mut report.duplicated, detail);
    }
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::super::tests::{at, received};
    use super::*;

    const REACTION: Annotation = Annotation::Reaction { client: 1 };

    /// The first client posts 10 to both. The second adds its reaction (20), removes it (21) and adds it again
    /// (22); both pin (30, 31), of which the latter changes nothing.
    fn history() -> History {
        let requested = |token, annotation, on| Observation::AnnotationRequested {
            text: 10,
            annotation,
            on,
            token,
        };
        let acknowledged = |token, seq| Observation::AnnotationAcknowledged { token, seq };
        let changes = [(2, 20), (3, 21), (4, 22), (5, 30)];
        let stream = changes.map(|(seq, token)| Observation::Annotated { seq, token });
        let finals = [(10, REACTION), (10, Annotation::Pin)];
        let end = [
            Observation::FullHistory { requested_at: at(9), messages: vec![received(1, 10)] },
            Observation::FinalAnnotations(finals.into()),
        ];
        let mut first = vec![
            Observation::Posted {
                token: 10,
                recipients: Recipients::Users(vec![1]),
                is_temporary: false,
            },
            Observation::Received(received(1, 10)),
            Observation::Acknowledged { token: 10, seq: 1 },
            requested(30, Annotation::Pin, true),
        ];
        let mut second = vec![
            Observation::Received(received(1, 10)),
            requested(20, REACTION, true),
            requested(21, REACTION, false),
            requested(22, REACTION, true),
            requested(31, Annotation::Pin, true),
        ];
        for observations in [&mut first, &mut second] {
            observations.extend(stream.clone());
        }
        first.push(acknowledged(30, 5));
        second.extend([(20, 2), (21, 3), (22, 4), (31, 5)].map(|(t, seq)| acknowledged(t, seq)));
        first.extend(end.clone());
        second.extend(end);
        vec![first, second, vec![]]
    }

    /// The report after a change to the observations of every client.
    fn check_with(change: impl Fn(&mut Vec<Observation>)) -> Report {
        let mut history = history();
        history[..2].iter_mut().for_each(change);
        check(&history)
    }

    fn annotated(seq: u64, token: Token) -> Observation {
        Observation::Annotated { seq, token }
    }

    fn set_final(observations: &mut [Observation], annotations: &[Annotation]) {
        *observations.last_mut().unwrap() =
            Observation::FinalAnnotations(annotations.iter().map(|a| (10, *a)).collect());
    }

    #[test]
    fn changes_that_take_effect_once_are_clean() {
        let report = check(&history());
        assert!(report.is_clean() && report.annotated == 4, "{report}");
    }

    #[test]
    fn repeated_change_is_duplicated() {
        let again = check_with(|observations| observations.push(annotated(6, 22)));
        assert_eq!(again.duplicated, 2, "the request has two seqs, and changed nothing: {again}");
        let unchanged = check_with(|observations| observations.push(annotated(6, 31)));
        assert_eq!(unchanged.duplicated, 1, "the pin was there already: {unchanged}");
        let toggled = check_with(|observations| observations.push(annotated(6, 21)));
        assert_eq!(toggled.duplicated, 1, "the removal was executed again: {toggled}");
        assert!(toggled.lost > 0, "and does not show at the end: {toggled}");
    }

    #[test]
    fn missing_change_is_lost() {
        let mut one = history();
        one[0].retain(|observation| *observation != annotated(3, 21));
        assert_eq!(check(&one).lost, 1, "in one stream");
        let report = check_with(|observations| {
            observations.retain(|observation| *observation != annotated(3, 21));
        });
        assert_eq!(report.duplicated, 1, "in all streams: it was added twice: {report}");
        let report = check_with(|observations| {
            observations.retain(|observation| *observation != annotated(4, 22));
        });
        assert!(report.lost > 0, "the last acknowledged change: {report}");
    }

    #[test]
    fn state_at_the_end_that_differs_is_lost() {
        let unpinned = check_with(|observations| set_final(observations, &[REACTION]));
        let no_reaction = check_with(|observations| set_final(observations, &[Annotation::Pin]));
        assert_eq!((unpinned.lost, no_reaction.lost), (2, 2), "{unpinned} {no_reaction}");
        let foreign = Annotation::Reaction { client: 0 };
        let added = check_with(|found| set_final(found, &[REACTION, Annotation::Pin, foreign]));
        assert_eq!(added.duplicated, 2, "{added}");
    }

    #[test]
    fn changes_in_another_order_are_out_of_order() {
        let mut history = history();
        let first = history[0].iter().position(|found| *found == annotated(2, 20)).unwrap();
        history[0].swap(first, first + 1);
        assert_eq!(check(&history).out_of_order, 1);
    }

    #[test]
    fn change_of_a_foreign_message_is_leaked() {
        let mut history = history();
        history[2].push(annotated(2, 20));
        assert_eq!(check(&history).leaked, 1);
    }

    #[test]
    fn change_while_all_clients_restart_is_uncertain() {
        let restarted = |from| Observation::Restarted { from, to: 4 };
        let unseen = |from| {
            check_with(|observations| {
                observations.retain(|observation| *observation != annotated(3, 21));
                observations.insert(0, restarted(from));
            })
        };
        assert!(unseen(2).is_clean(), "{}", unseen(2));
        assert_eq!(unseen(3).duplicated, 1, "it was not in the gap");
    }
}
