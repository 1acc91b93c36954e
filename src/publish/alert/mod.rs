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
//! Channels may come, change and go while a run goes on ([`change`]).
//!
//! A channel is told every change of a symbol at or above its level, the first one below it again,
//! and feeds and Redis that fall silent or come back ([`watch`]). Nothing here counts as the publishing
//! of a signal: that is Redis.

mod address;
mod change;
mod channel;
mod desk;
mod lane;
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

use crossbeam_channel::never;

pub use self::address::{https, is_public};
pub use self::change::{Changes, Hand, Ready};
pub use self::desk::{ATTEMPTS, Books, count};
pub use self::post::Outcome;
pub use self::settings::{Channel, Kind, Privacy, Settings, Threshold};
pub use self::storm::SHOWN;

use self::change::{Back, LANES};
use self::desk::Carrier;
use self::lane::{Begin, Lane, sums};
use self::mail::Mail;
use self::message::Message;
use self::note::{News, Note};
use self::post::Post;
use self::storm::Storm;
use self::watch::Watch;
use super::Sink;
use super::redis::{Former, Secret, Status};
use crate::ledger::{Counts, Ledger};
use crate::output::Message as Line;
use crate::signal;
use crate::stage::Turn;
use crate::time::{Millis, NS_PER_S, Nanos, Now};

/// Pieces of news on their way to one thread at most.
pub const QUEUE: usize = 256;

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

/// The sink.
pub struct Alerts {
    lanes: Vec<Lane>,
    watch: Watch,
    redis: Option<Arc<Status>>,
    changes: Option<Changes>,
    /// Of channels that have ended.
    left: [u64; 3],
    closed: bool,
}

impl Alerts {
    /// Starts a thread for each channel. `redis` is how that sink is doing, where there is one.
    ///
    /// # Errors
    /// When a channel's secret or certificates cannot be had, or the system gives no thread.
    pub fn open(settings: &Settings, run: u64, redis: Option<Arc<Status>>) -> Result<Self, String> {
        Self::after(settings, run, redis, None, None)
    }

    /// The same for a run that goes on after others: what they said, and the folder in which each channel
    /// keeps what it was told of it. What was not delivered is sent now. `changes` is where other channels may
    /// come from, which began with the same settings.
    ///
    /// # Errors
    /// When a channel's secret or certificates cannot be had, or the system gives no thread.
    pub fn after(
        settings: &Settings,
        run: u64,
        redis: Option<Arc<Status>>,
        past: Option<(&Former, &Path)>,
        mut changes: Option<Changes>,
    ) -> Result<Self, String> {
        settings.check()?;
        let begin = || past.map_or(Begin::Alone, |(former, folder)| Begin::After(former, folder));
        let ways = changes.iter_mut().flat_map(|changes| changes.ways.drain(..));
        let mut ways = ways.chain(std::iter::repeat_with(never));
        let mut lanes = Vec::with_capacity(LANES);
        for channel in &settings.channel {
            let ways = ways.next().unwrap_or_else(never);
            lanes.push(Lane::start(channel, run, &settings.mark, begin(), ways)?);
        }
        drop(ways);
        if let Some(changes) = &changes {
            changes.run.get_or_init(|| run);
        }
        let watch = Watch::new(settings.silence_s.saturating_mul(NS_PER_S));
        Ok(Self { lanes, watch, redis, changes, left: [0; 3], closed: false })
    }

    /// Makes a change that has been handed in. Nothing is allocated or freed here.
    fn change(&mut self) {
        let Self { lanes, watch, changes, .. } = self;
        let Some(changes) = changes else { return };
        let Ok(mut change) = changes.next.try_recv() else { return };
        watch.patience(change.patience_ns);
        for lane in lanes.iter_mut() {
            let level = change.levels.iter().find(|(name, _)| *name == lane.name);
            level.into_iter().for_each(|(_, level)| lane.raised.level = *level);
            lane.leaves |= change.gone.contains(&lane.name);
        }
        let heirs = std::mem::take(&mut change.heirs);
        for (mut lane, heir) in change.fresh.drain(..).zip(&heirs) {
            let former = heir.as_ref().and_then(|name| lanes.iter_mut().find(|l| l.name == *name));
            if let Some(former) = former {
                std::mem::swap(&mut lane.raised.symbols, &mut former.raised.symbols);
            }
            // Room was made for all there may be.
            lanes.push(lane);
        }
        change.heirs = heirs;
        let _ = changes.back.try_send(Back::Change(change));
    }

    /// Gives back the channels that have ended.
    fn let_go(&mut self) {
        let Some(changes) = &self.changes else { return };
        while let Some(place) = self.lanes.iter_mut().position(Lane::has_left) {
            let lane = self.lanes.swap_remove(place);
            for (sum, n) in self.left.iter_mut().zip(sums(&lane.books)) {
                *sum += n;
            }
            let _ = changes.back.try_send(Back::Lane(lane));
        }
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
        if self.closed {
            let done = self.lanes.iter().all(|lane| lane.courier.is_done());
            return if done { Turn::Done } else { Turn::Idle };
        }
        self.change();
        self.let_go();
        let Self { lanes, watch, redis, .. } = self;
        if lanes.is_empty() {
            return Turn::Idle;
        }
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
        self.closed = true;
        self.lanes.iter_mut().for_each(|lane| lane.courier.end());
    }

    fn count(&self, counts: &mut Counts) {
        let names = ["alert_notes", "alert_delivered", "alert_lost"];
        let of_lanes = self.lanes.iter().map(|lane| sums(&lane.books));
        for sums in of_lanes.chain(Some(self.left).filter(|left| *left != [0; 3])) {
            names.into_iter().zip(sums).for_each(|(name, n)| counts.add(name, n));
        }
        for (_, books) in self.books() {
            counts.add("alert_waiting", books.waiting());
        }
    }

    fn ledger(&self, ledger: &mut Ledger) {
        self.lanes.iter().for_each(|lane| lane.ledger(ledger));
    }
}
