//! One channel as the sink sees it: what it is told, and the thread that tells it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::Receiver;

use super::change::Turned;
use super::desk::{Books, Desk, Plate, count};
use super::note::{News, Note};
use super::receipt::{Id, Receipt};
use super::settings::Channel;
use super::{QUEUE, Way};
use crate::ledger::Ledger;
use crate::publish::courier::{Courier, Errand};
use crate::publish::redis::Former;
use crate::signal::{self, Level, Report};
use crate::symbol::Symbol;
use crate::time::{Millis, Nanos, Now};

/// Symbols above a channel's level at the same time, at most.
const RAISED: usize = 2_048;
/// The thread looks at the time at least this often.
const LOOK: Duration = Duration::from_millis(50);

/// How a channel begins.
pub enum Begin<'a> {
    /// By itself.
    Alone,
    /// After runs that it was told of: what they said, and where its receipt is.
    After(&'a Former, &'a Path),
    /// While a run goes on; where its receipt will be, and the number its messages come after.
    New(Option<PathBuf>, u64),
}

/// One channel, as the sink sees it.
pub struct Lane {
    pub name: String,
    pub courier: Courier<Note>,
    pub books: Arc<Books>,
    run: u64,
    pub raised: Raised,
    /// It is told nothing more.
    pub leaves: bool,
}

impl Lane {
    pub fn start(
        channel: &Channel,
        run: u64,
        mark: &str,
        begin: Begin<'_>,
        ways: Receiver<Turned>,
    ) -> Result<Self, String> {
        let named = |e: String| format!("channel {}: {e}", channel.name());
        let way = Way::open(channel, run).map_err(named)?;
        let books = Arc::new(Books::default());
        let say = |line: &str| eprintln!("{line}");
        let (name, every_ns) = (channel.name().to_owned(), channel.every_ns());
        let plate = Plate { name, run, mark: mark.to_owned(), every_ns };
        let mut desk = Desk::new(plate, way, Arc::clone(&books), say);
        let (mut raised, began) = (Raised::above(channel.level.level()), Instant::now());
        match begin {
            Begin::Alone => {}
            Begin::New(folder, messages) => desk = desk.keeping(folder, messages),
            Begin::After(former, folder) => {
                let last = former.signals.last().map(|(run, report)| (*run, report.seq));
                let receipt = Receipt::open(folder, channel.name(), last.unwrap_or_default());
                let left = raised.left(former, receipt.told().upto);
                desk = desk.after(receipt, &left, now(began).wall);
            }
        }
        let work = move |errand: Errand<'_, Note>| {
            for Turned { way, mark, every_ns } in ways.try_iter() {
                desk.turn_to(way, mark, every_ns);
            }
            if let Errand::Parcel(note) = &errand {
                desk.take(note);
            }
            match errand {
                Errand::End => desk.finish(now(began)),
                Errand::Parcel(_) | Errand::Pause => desk.turn(now(began)),
            }
        };
        let blank = Note { run, at: Millis(0), news: News::Test };
        let thread = format!("alert-{}", channel.name());
        let courier = Courier::start(&thread, vec![blank; QUEUE], LOOK, work);
        Ok(Self {
            name: channel.name().to_owned(),
            courier: courier.map_err(|e| named(e.to_string()))?,
            books,
            run,
            raised,
            leaves: false,
        })
    }

    pub fn tell(&mut self, at: Millis, news: News) {
        if self.leaves {
            return;
        }
        let note = Note { run: self.run, at, news };
        self.books.notes.fetch_add(1, Ordering::Relaxed);
        // The parcel that comes back is only the permission to send one.
        let handed = self.courier.blank().is_some_and(|_| self.courier.send(note).is_ok());
        if !handed {
            self.books.overrun.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn change(&mut self, report: &Report, at: Millis) {
        if let Some(news) = self.raised.change(report) {
            self.tell(at, news);
        }
    }

    /// Whether it has ended, now that it is told nothing more and nothing of it waits.
    pub fn has_left(&mut self) -> bool {
        if self.leaves && self.books.waiting() == 0 {
            self.courier.end();
        }
        self.leaves && self.courier.is_done()
    }

    pub fn ledger(&self, ledger: &mut Ledger) {
        let (name, books) = (&self.name, &self.books);
        for (count_name, n) in [
            ("alert_notes", count(&books.notes)),
            ("alert_delivered", count(&books.delivered)),
            ("alert_waiting", books.waiting()),
            ("alert_messages", count(&books.messages)),
        ] {
            ledger.add(&format!("{count_name}{{{name}}}"), n);
        }
        for (reason, lost) in [
            ("refused", count(&books.refused)),
            ("given_up", count(&books.given_up)),
            ("overrun", count(&books.overrun)),
        ] {
            if lost > 0 {
                ledger.add(&format!("alert_lost{{{name},{reason}}}"), lost);
            }
        }
    }
}

/// Notes, notes that arrived, and notes that never will.
pub fn sums(books: &Books) -> [u64; 3] {
    let lost = [&books.refused, &books.given_up, &books.overrun].map(count);
    [count(&books.notes), count(&books.delivered), lost.into_iter().sum()]
}

/// What a channel is told of the levels.
pub struct Raised {
    pub level: Level,
    /// Symbols that were last told to be at or above it.
    pub symbols: Vec<Symbol>,
}

impl Raised {
    fn above(level: Level) -> Self {
        Self { level, symbols: Vec::with_capacity(RAISED) }
    }

    /// A change of level: told at or above the channel's, and the first time below it again.
    fn change(&mut self, report: &Report) -> Option<News> {
        let place = self.symbols.iter().position(|symbol| *symbol == report.symbol);
        if report.level >= self.level {
            // Room was made for more symbols than the engine has rows.
            if place.is_none() && self.symbols.len() < RAISED {
                self.symbols.push(report.symbol);
            }
            return Some(News::Signal(*report));
        }
        self.symbols.swap_remove(place?);
        Some(News::Calm(*report))
    }

    /// What the channel would have been told of `former` signals, as far as it comes after `told`.
    fn left(&mut self, former: &Former, told: Id) -> Vec<Note> {
        let changes =
            former.signals.iter().filter(|(_, report)| report.kind == signal::Kind::Change);
        let note = |(run, report): &(u64, Report)| {
            // The steady clock began at the wall's.
            let at = Millis(report.at.millis());
            self.change(report).map(|news| Note { run: *run, at, news })
        };
        changes.filter_map(note).filter(|note| note.id() > told).collect()
    }
}

/// The thread's own clock: what is late is late by the wall, whatever a recording says.
fn now(began: Instant) -> Now {
    let mono = Nanos(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX));
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Now { mono, wall: Millis(i64::try_from(wall.as_millis()).unwrap_or(i64::MAX)) }
}
