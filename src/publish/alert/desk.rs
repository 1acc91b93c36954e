//! The desk of one channel: what to send now, what to send again, what to give up.
//!
//! One message is on its way at a time. While it cannot be delivered the news behind it is gathered,
//! so that nothing grows however long the other side is away. A message keeps its key and its words
//! over all attempts; pauses between them double from 1 s to 1 min, or are what the server asks for.
//! What becomes of each piece of news is in the [`Books`].

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::message::Message;
use super::note::Note;
use super::post::Outcome;
use super::receipt::{Id, Receipt};
use super::storm::{Group, Storm};
use crate::time::{Millis, NS_PER_S, Nanos, Now};

/// Attempts at one message; about seven minutes where the server does not say how long to wait.
pub const ATTEMPTS: u32 = 12;
const PAUSE_NS: [u64; 2] = [NS_PER_S, 60 * NS_PER_S];

/// What makes one attempt.
pub trait Carrier {
    /// Makes one attempt; `again` when an earlier one may have arrived.
    fn carry(&mut self, message: &Message, again: bool) -> Outcome;
}

/// What became of the news of a channel. Pieces of news, but for `messages`.
#[derive(Debug, Default)]
pub struct Books {
    /// Handed to the channel.
    pub notes: AtomicU64,
    /// Told by a message that arrived.
    pub delivered: AtomicU64,
    /// In a message that the other side refused.
    pub refused: AtomicU64,
    /// In a message that was given up after the last attempt.
    pub given_up: AtomicU64,
    /// Never taken, because too many were waiting.
    pub overrun: AtomicU64,
    /// Messages that arrived.
    pub messages: AtomicU64,
}

/// One of the counts.
pub fn count(of: &AtomicU64) -> u64 {
    of.load(Ordering::Relaxed)
}

impl Books {
    /// Neither delivered nor lost yet.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        let settled = [&self.delivered, &self.refused, &self.given_up, &self.overrun];
        count(&self.notes).saturating_sub(settled.into_iter().map(count).sum())
    }
}

struct Pending {
    message: Message,
    attempts: u32,
    due: Nanos,
    /// Whether the server asked for the pause until then.
    asked: bool,
    again: bool,
}

/// What stands on a desk.
#[derive(Clone, Debug)]
pub struct Plate {
    /// The channel's name.
    pub name: String,
    /// The run.
    pub run: u64,
    /// A word before every message.
    pub mark: String,
    /// The rest after each message, ns.
    pub every_ns: u64,
}

/// A channel's desk.
pub struct Desk<C> {
    plate: Plate,
    carrier: C,
    storm: Storm,
    pending: Option<Pending>,
    books: Arc<Books>,
    messages: u64,
    overrun: u64,
    trouble: String,
    say: fn(&str),
    receipt: Option<Receipt>,
    /// Where the receipt will be, of a channel that has not been told anything yet.
    folder: Option<PathBuf>,
}

impl<C: Carrier> Desk<C> {
    /// What is wrong, and that it is well again, goes to `say`, once.
    pub fn new(plate: Plate, carrier: C, books: Arc<Books>, say: fn(&str)) -> Self {
        Self {
            carrier,
            storm: Storm::new(plate.every_ns),
            plate,
            pending: None,
            books,
            messages: 0,
            overrun: 0,
            trouble: String::new(),
            say,
            receipt: None,
            folder: None,
        }
    }

    /// Goes on after a run that left `notes` behind. Those that were on their way may have arrived: they go
    /// first, by themselves, under the key they had.
    #[must_use]
    pub fn after(mut self, receipt: Receipt, notes: &[Note], at: Millis) -> Self {
        let sending = receipt.told().sending.clone();
        let (key, last) = sending.unwrap_or_default();
        let mut first = Storm::new(0);
        for note in notes {
            if note.id() <= last { first.add(note) } else { self.storm.add(note) }
        }
        self.pending = first.rest(Nanos(0)).map(|group| {
            let message = Message::new(self.plate.run, 0, &self.plate.mark, group, at);
            let (message, due) = (Message { key, ..message }, Nanos(0));
            Pending { message, attempts: 0, due, asked: false, again: true }
        });
        self.books.notes.fetch_add(notes.len() as u64, Ordering::Relaxed);
        self.receipt = Some(receipt);
        self
    }

    /// Begins with what comes, and after so many messages; a receipt is kept in `folder` from then on.
    #[must_use]
    pub fn keeping(self, folder: Option<PathBuf>, messages: u64) -> Self {
        Self { folder, messages, ..self }
    }

    /// Goes on another way with what waits here, at once: one that did not lead anywhere may be why it waits.
    pub fn turn_to(&mut self, carrier: C, mark: String, every_ns: u64) {
        self.carrier = carrier;
        (self.plate.mark, self.plate.every_ns) = (mark, every_ns);
        self.storm.pace(every_ns);
        if let Some(pending) = &mut self.pending {
            (pending.attempts, pending.due, pending.asked) = (0, Nanos(0), false);
        }
    }

    /// Something happened.
    pub fn take(&mut self, note: &Note) {
        let (run, seq) = note.id();
        if let Some(folder) = self.folder.take_if(|_| seq > 0) {
            self.receipt = Some(Receipt::anew(&folder, &self.plate.name, (run, seq - 1)));
        }
        self.storm.add(note);
    }

    /// Makes at most one attempt, if one is due.
    pub fn turn(&mut self, now: Now) {
        let overrun = count(&self.books.overrun);
        self.storm.miss(overrun - self.overrun);
        self.overrun = overrun;
        match self.pending.take() {
            Some(pending) if now.mono < pending.due => self.pending = Some(pending),
            Some(pending) => self.attempt(pending, now),
            None => {
                if let Some(group) = self.storm.due(now.mono) {
                    self.begin(group, now);
                }
            }
        }
    }

    /// Nothing will follow: one attempt at what is waiting, unless the server asked for a pause.
    pub fn finish(&mut self, now: Now) {
        let may = |pending: &mut Pending| !pending.asked || pending.due <= now.mono;
        if let Some(pending) = self.pending.take_if(may) {
            self.attempt(pending, now);
        }
        if self.pending.is_none()
            && let Some(group) = self.storm.rest(now.mono)
        {
            self.begin(group, now);
        }
    }

    fn begin(&mut self, group: Group, now: Now) {
        self.messages += 1;
        let message =
            Message::new(self.plate.run, self.messages, &self.plate.mark, group, now.wall);
        let due = now.mono;
        self.attempt(Pending { message, attempts: 0, due, asked: false, again: false }, now);
    }

    fn attempt(&mut self, mut pending: Pending, now: Now) {
        pending.attempts += 1;
        self.storm.again(now.mono);
        self.receipt_of(&pending, |receipt, key, last| receipt.sending(key, last));
        let notes = pending.message.group.total();
        match self.carrier.carry(&pending.message, pending.again) {
            Outcome::Delivered => {
                self.books.delivered.fetch_add(notes, Ordering::Relaxed);
                self.books.messages.fetch_add(1, Ordering::Relaxed);
                self.receipt_of(&pending, |receipt, _, last| receipt.settled(last));
                self.well();
            }
            Outcome::Refused(why) => {
                self.ill(&why, "refused");
                self.books.refused.fetch_add(notes, Ordering::Relaxed);
                self.forget(&pending);
            }
            Outcome::Later { why, .. } if pending.attempts >= ATTEMPTS => {
                self.ill(&why, "given up");
                self.books.given_up.fetch_add(notes, Ordering::Relaxed);
                self.forget(&pending);
            }
            Outcome::Later { why, after, perhaps } => {
                self.ill(&why, "will be tried again");
                pending.again |= perhaps;
                pending.asked = after.is_some();
                pending.due = now.mono.plus(pause(pending.attempts, after));
                if !pending.again {
                    self.receipt_of(&pending, |receipt, _, _| receipt.returned());
                }
                self.pending = Some(pending);
            }
        }
    }

    /// Notes something in the receipt, where there is one and the message tells a signal.
    fn receipt_of(&mut self, pending: &Pending, note: impl FnOnce(&mut Receipt, &str, Id)) {
        let (key, last) = (&pending.message.key, pending.message.group.last());
        if let Some(receipt) = self.receipt.as_mut().filter(|_| last > Id::default()) {
            note(receipt, key, last);
        }
    }

    /// What this message would have told, the next one tells as a number.
    fn forget(&mut self, pending: &Pending) {
        let group = &pending.message.group;
        self.storm.miss(group.total() + group.missed());
        self.receipt_of(pending, |receipt, _, last| receipt.settled(last));
    }

    fn ill(&mut self, why: &str, then: &str) {
        if self.trouble != why {
            why.clone_into(&mut self.trouble);
            (self.say)(&format!("alert {}: {why}; {then}", self.plate.name));
        }
    }

    fn well(&mut self) {
        if !self.trouble.is_empty() {
            self.trouble.clear();
            (self.say)(&format!("alert {}: delivered again", self.plate.name));
        }
    }
}

/// How long to wait after so many attempts: what the server asks for, else twice as long each time.
fn pause(attempts: u32, asked: Option<Duration>) -> u64 {
    let [first, most] = PAUSE_NS;
    let doubled = first.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(most);
    asked.map_or(doubled, |asked| u64::try_from(asked.as_nanos()).unwrap_or(most).max(first))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::VecDeque;
    use std::rc::Rc;

    use super::*;
    use crate::publish::alert::note::News;
    use crate::publish::explain::tests::sample;
    use crate::time::{Millis, NS_PER_MS};

    type Tried = Rc<RefCell<Vec<(String, bool, u64)>>>;

    /// Answers as told, then delivers everything.
    struct Script(VecDeque<Outcome>, Tried);

    impl Carrier for Script {
        fn carry(&mut self, message: &Message, again: bool) -> Outcome {
            let told = message.group.total() + message.group.missed();
            self.1.borrow_mut().push((message.key.clone(), again, told));
            self.0.pop_front().unwrap_or(Outcome::Delivered)
        }
    }

    fn later(after_s: Option<u64>, perhaps: bool) -> Outcome {
        let after = after_s.map(Duration::from_secs);
        Outcome::Later { why: "http 500".into(), after, perhaps }
    }

    fn desk(outcomes: impl Into<VecDeque<Outcome>>) -> (Desk<Script>, Arc<Books>, Tried) {
        let (books, tried) = (Arc::new(Books::default()), Tried::default());
        let script = Script(outcomes.into(), Rc::clone(&tried));
        let plate = Plate { name: "t".into(), run: 7, mark: String::new(), every_ns: NS_PER_S };
        (Desk::new(plate, script, Arc::clone(&books), |_| ()), books, tried)
    }

    fn note(run: u64, seq: u64) -> Note {
        Note { run, at: Millis(0), news: News::Signal(sample(seq)) }
    }

    fn take(desk: &mut Desk<Script>, books: &Books, n: u64) {
        for seq in 0..n {
            books.notes.fetch_add(1, Ordering::Relaxed);
            desk.take(&note(7, seq));
        }
    }

    /// Seconds at which attempts were made within the first `until`.
    fn attempts_until(desk: &mut Desk<Script>, tried: &Tried, until: i64) -> Vec<i64> {
        let mut at = Vec::new();
        for ms in (0..until * 1_000).step_by(100) {
            let before = tried.borrow().len();
            desk.turn(Now::at_millis(ms));
            at.extend((tried.borrow().len() > before).then_some(ms / 1_000));
        }
        at
    }

    #[test]
    fn pauses_double_and_the_key_stays_the_same() {
        let (mut desk, books, tried) = desk(vec![later(None, false); 4]);
        take(&mut desk, &books, 1);
        assert_eq!(attempts_until(&mut desk, &tried, 60), [0, 1, 3, 7, 15]);
        assert!(tried.borrow().iter().all(|(key, again, _)| key == "7-1" && !again));
        assert_eq!((count(&books.delivered), count(&books.messages), books.waiting()), (1, 1, 0));
    }

    #[test]
    fn the_server_s_pause_is_kept_and_what_comes_meanwhile_is_one_message() {
        let (mut desk, books, tried) = desk([later(Some(30), false)]);
        take(&mut desk, &books, 1);
        desk.turn(Now::at_millis(0));
        take(&mut desk, &books, 500);
        assert_eq!(attempts_until(&mut desk, &tried, 60), [30, 31]);
        assert_eq!(tried.borrow()[2], ("7-2".to_owned(), false, 500));
        assert_eq!((count(&books.delivered), books.waiting()), (501, 0));
    }

    #[test]
    fn what_may_have_arrived_is_marked_when_it_is_sent_again() {
        let (mut desk, books, tried) = desk([later(None, true), later(None, false)]);
        take(&mut desk, &books, 1);
        attempts_until(&mut desk, &tried, 10);
        let again: Vec<bool> = tried.borrow().iter().map(|(_, again, _)| *again).collect();
        assert_eq!(again, [false, true, true]);
    }

    #[test]
    fn what_is_refused_or_given_up_is_told_as_a_number_by_the_next() {
        let (mut desk, books, tried) = desk([Outcome::Refused("http 403".into())]);
        take(&mut desk, &books, 3);
        desk.turn(Now::at_millis(0));
        take(&mut desk, &books, 2);
        books.overrun.fetch_add(4, Ordering::Relaxed);
        books.notes.fetch_add(4, Ordering::Relaxed);
        attempts_until(&mut desk, &tried, 5);
        assert_eq!(*tried.borrow(), [("7-1".to_owned(), false, 3), ("7-2".to_owned(), false, 9)]);
        assert_eq!((count(&books.refused), count(&books.delivered), books.waiting()), (3, 2, 0));

        let (mut desk, books, tried) = self::desk(vec![later(None, false); 12]);
        take(&mut desk, &books, 1);
        assert_eq!(attempts_until(&mut desk, &tried, 2_000).len(), ATTEMPTS as usize);
        assert_eq!((count(&books.given_up), books.waiting()), (1, 0));
    }

    #[test]
    fn at_the_end_what_waits_is_tried_once_more_but_no_asked_pause_is_broken() {
        let (mut desk, books, tried) = desk([]);
        take(&mut desk, &books, 1);
        desk.turn(Now::at_millis(0));
        take(&mut desk, &books, 2);
        desk.finish(Now::at_millis(1));
        assert_eq!((tried.borrow().len(), count(&books.delivered)), (2, 3));

        let (mut desk, books, tried) = self::desk([later(Some(30), false)]);
        take(&mut desk, &books, 1);
        desk.turn(Now::at_millis(0));
        desk.finish(Now::at_millis(100));
        assert_eq!((tried.borrow().len(), books.waiting()), (1, 1));
    }

    #[test]
    fn a3_what_was_on_its_way_goes_again_under_its_key_and_what_was_not_goes_after_it() {
        let folder = std::env::temp_dir().join(format!("fsk-desk-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let open = || Receipt::open(&folder, "t", (6, 2));
        open().sending("6-9", (6, 4));
        let left: Vec<Note> = (3..=5).map(|seq| note(6, seq)).collect();
        let (desk, books, tried) = desk([later(None, false), later(None, true)]);
        let mut desk = desk.after(open(), &left, Millis(0));
        desk.turn(Now::at_millis(0));
        assert_eq!(*tried.borrow(), [("6-9".to_owned(), true, 2)]);
        assert_eq!(open().told().sending, Some(("6-9".to_owned(), (6, 4))), "still not known");
        attempts_until(&mut desk, &tried, 10);
        let last: Vec<_> = tried.borrow()[2..].to_vec();
        assert_eq!(last, [("6-9".to_owned(), true, 2), ("7-1".to_owned(), false, 1)]);
        assert_eq!((open().told().upto, open().told().sending.clone()), ((6, 5), None));
        assert_eq!((count(&books.delivered), books.waiting()), (3, 0));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_pause_is_never_shorter_than_a_second_nor_forgotten() {
        assert_eq!(pause(1, Some(Duration::ZERO)), NS_PER_S);
        assert_eq!(pause(3, Some(Duration::from_millis(1_500))), 1_500 * NS_PER_MS);
        assert_eq!(pause(40, None), 60 * NS_PER_S);
    }
}
