//! Telling people: webhook, Telegram, Discord, Slack, e-mail.
//!
//! The sink looks at what passes and hands pieces of news ([`note`]) to one thread for each channel,
//! through a bounded queue: it never waits, and what a full queue cannot take is counted and told. The
//! thread gathers them ([`storm`]), sends and sends again ([`desk`]), in the form the place wants
//! ([`channel`]), over HTTPS ([`post`]) or SMTP ([`mail`]), to a checked address ([`address`]).
//!
//! What a sudden end left undelivered is in the journal, and a note of what was delivered beside it
//! ([`receipt`]): the next run sends the rest.
//!
//! A channel is told every change of a symbol at or above its level, the first one below it again,
//! and feeds and Redis that fall silent or come back ([`watch`]). Nothing here counts as the publishing
//! of a signal: that is Redis.

mod address;
mod channel;
mod desk;
mod mail;
mod message;
mod note;
mod post;
mod receipt;
mod settings;
mod storm;
mod watch;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

pub use self::address::{https, is_public};
pub use self::desk::{ATTEMPTS, Books, count};
pub use self::post::Outcome;
pub use self::settings::{Channel, Kind, Privacy, Settings, Threshold};
pub use self::storm::SHOWN;

use self::desk::{Carrier, Desk, Plate};
use self::mail::Mail;
use self::message::Message;
use self::note::{News, Note};
use self::post::Post;
use self::receipt::{Id, Receipt};
use self::storm::Storm;
use self::watch::Watch;
use super::Sink;
use super::courier::{Courier, Errand};
use super::redis::{Former, Secret, Status};
use crate::ledger::{Counts, Ledger};
use crate::output::Message as Line;
use crate::signal::{self, Level, Report};
use crate::stage::Turn;
use crate::symbol::Symbol;
use crate::time::{Millis, NS_PER_S, Nanos, Now};

/// Pieces of news on their way to one thread at most.
pub const QUEUE: usize = 256;
/// Symbols above a channel's level at the same time, at most.
const RAISED: usize = 2_048;
/// The thread looks at the time at least this often.
const LOOK: Duration = Duration::from_millis(50);

/// What makes the attempts of one channel.
enum Way {
    Post { channel: Channel, token: Option<Secret>, run: u64, post: Post },
    Mail(Mail),
}

impl Way {
    fn open(channel: &Channel, run: u64) -> Result<Self, String> {
        let token = channel.secret()?;
        channel::ready(channel, token.as_ref())?;
        if channel.kind == Kind::Mail {
            return Mail::new(channel, token).map(Self::Mail);
        }
        Ok(Self::Post { channel: channel.clone(), token, run, post: Post::new(channel)? })
    }
}

impl Carrier for Way {
    fn carry(&mut self, message: &Message, again: bool) -> Outcome {
        match self {
            Self::Mail(mail) => mail.send(message, again),
            Self::Post { channel, token, run, post } => {
                post.post(&channel::request(channel, token.as_ref(), *run, message, again))
            }
        }
    }
}

/// Sends one message to a channel, at once and once, and says what came of it.
///
/// # Errors
/// Why the channel cannot be used at all.
pub fn test(channel: &Channel, mark: &str, run: u64, at: Millis) -> Result<Outcome, String> {
    let mut way = Way::open(channel, run)?;
    let mut storm = Storm::new(0);
    storm.add(&Note { run, at, news: News::Test });
    let group = storm.due(Nanos(0)).unwrap_or_default();
    Ok(way.carry(&Message::new(run, 1, mark, group, at), false))
}

/// One channel, as the sink sees it.
struct Lane {
    name: String,
    courier: Courier<Note>,
    books: Arc<Books>,
    run: u64,
    raised: Raised,
}

impl Lane {
    fn start(
        channel: &Channel,
        run: u64,
        mark: &str,
        past: Option<(&Former, &Path)>,
    ) -> Result<Self, String> {
        let named = |e: String| format!("channel {}: {e}", channel.name());
        let way = Way::open(channel, run).map_err(named)?;
        let books = Arc::new(Books::default());
        let say = |line: &str| eprintln!("{line}");
        let (name, every_ns) = (channel.name().to_owned(), channel.every_ns());
        let plate = Plate { name, run, mark: mark.to_owned(), every_ns };
        let mut desk = Desk::new(plate, way, Arc::clone(&books), say);
        let (mut raised, began) = (Raised::above(channel.level.level()), Instant::now());
        if let Some((former, folder)) = past {
            let last = former.signals.last().map(|(run, report)| (*run, report.seq));
            let receipt = Receipt::open(folder, channel.name(), last.unwrap_or_default());
            let left = raised.left(former, receipt.told().upto);
            desk = desk.after(receipt, &left, now(began).wall);
        }
        let work = move |errand: Errand<'_, Note>| {
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
        })
    }

    fn tell(&mut self, at: Millis, news: News) {
        let note = Note { run: self.run, at, news };
        self.books.notes.fetch_add(1, Ordering::Relaxed);
        // The parcel that comes back is only the permission to send one.
        let handed = self.courier.blank().is_some_and(|_| self.courier.send(note).is_ok());
        if !handed {
            self.books.overrun.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn change(&mut self, report: &Report, at: Millis) {
        if let Some(news) = self.raised.change(report) {
            self.tell(at, news);
        }
    }
}

/// What a channel is told of the levels.
struct Raised {
    level: Level,
    /// Symbols that were last told to be at or above it.
    symbols: Vec<Symbol>,
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

/// The sink.
pub struct Alerts {
    lanes: Vec<Lane>,
    watch: Watch,
    redis: Option<Arc<Status>>,
}

impl Alerts {
    /// Starts a thread for each channel. `redis` is how that sink is doing, where there is one.
    ///
    /// # Errors
    /// When a channel's secret or certificates cannot be had, or the system gives no thread.
    pub fn open(settings: &Settings, run: u64, redis: Option<Arc<Status>>) -> Result<Self, String> {
        Self::after(settings, run, redis, None)
    }

    /// The same for a run that goes on after others: what they said, and the folder in which each channel
    /// keeps what it was told of it. What was not delivered is sent now.
    ///
    /// # Errors
    /// When a channel's secret or certificates cannot be had, or the system gives no thread.
    pub fn after(
        settings: &Settings,
        run: u64,
        redis: Option<Arc<Status>>,
        past: Option<(&Former, &Path)>,
    ) -> Result<Self, String> {
        settings.check()?;
        let start = |channel| Lane::start(channel, run, &settings.mark, past);
        let lanes: Result<_, String> = settings.channel.iter().map(start).collect();
        let watch = Watch::new(settings.silence_s.saturating_mul(NS_PER_S));
        Ok(Self { lanes: lanes?, watch, redis })
    }

    /// What became of the news of each channel, by name.
    pub fn books(&self) -> impl Iterator<Item = (&str, &Books)> + '_ {
        self.lanes.iter().map(|lane| (lane.name.as_str(), &*lane.books))
    }
}

fn tell_all(lanes: &mut [Lane], at: Millis, news: News) {
    for lane in lanes {
        lane.tell(at, news);
    }
}

impl Sink for Alerts {
    fn name(&self) -> &'static str {
        "alert"
    }

    fn write(&mut self, now: Now, batch: &[Line]) {
        for line in batch {
            match line {
                Line::Report(report) if report.kind == signal::Kind::Change => {
                    let at = now.wall_of(report.at);
                    self.lanes.iter_mut().for_each(|lane| lane.change(report, at));
                }
                Line::Report(_) => {}
                Line::Event(event) => self.watch.hear(event),
            }
        }
    }

    fn turn(&mut self, now: Now) -> Turn {
        if self.lanes.iter().all(|lane| lane.courier.is_done()) {
            return Turn::Done;
        }
        let Self { lanes, watch, redis } = self;
        watch.feeds(now.mono, |news| tell_all(lanes, now.wall, news));
        // Before the first attempt nobody knows.
        let tried = redis.as_ref().filter(|status| count(&status.attempts) > 0);
        let news =
            tried.and_then(|status| watch.redis(status.up.load(Ordering::Relaxed), now.mono));
        if let Some(news) = news {
            tell_all(lanes, now.wall, news);
        }
        Turn::Idle
    }

    fn close(&mut self, _: Now) {
        self.lanes.iter_mut().for_each(|lane| lane.courier.end());
    }

    fn count(&self, counts: &mut Counts) {
        for (_, books) in self.books() {
            counts.add("alert_notes", count(&books.notes));
            counts.add("alert_delivered", count(&books.delivered));
            counts.add("alert_waiting", books.waiting());
            let lost = [&books.refused, &books.given_up, &books.overrun].map(count);
            counts.add("alert_lost", lost.into_iter().sum());
        }
    }

    fn ledger(&self, ledger: &mut Ledger) {
        for (name, books) in self.books() {
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
}
