//! Other channels while a run goes on.
//!
//! A channel is its name: by that go its receipt, its secret and its counts. One that stays keeps its thread
//! and all that waits there; where its place or its secret is another, the thread gets another way and goes on
//! with it, so that nothing is lost, told twice or told out of turn, and what a wrong address kept from
//! arriving goes to the right one. One that is gone is told nothing more, and ends when what it was given is
//! settled. One that is new hears what comes; where it leads to the place of one that is gone, it knows what
//! that place was told, so that it calms it too.
//!
//! The attending thread makes ways and threads ([`Hand`]); the sink takes them on its next turn ([`Changes`])
//! and gives back what it no longer needs, to be counted and freed there.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::Way;
use super::lane::{Begin, Lane};
use super::receipt::Receipt;
use super::settings::{CHANNELS_MAX, Channel, Settings};
use crate::ledger::Ledger;
use crate::signal::Level;
use crate::time::NS_PER_S;

/// Lanes there may be, those that end among them.
pub const LANES: usize = 2 * CHANNELS_MAX;
/// Keys of messages that a channel which comes leaves to those before it: a place that has seen a key takes no
/// message under it again.
const KEYS: u64 = 1_000_000;
/// Ways waiting for one thread.
const WAYS: usize = 4;
const BUSY: &str = "alert: the change before this one is still under way; ask again";

/// Another way for a desk.
pub struct Turned {
    pub way: Way,
    pub mark: String,
    pub every_ns: u64,
}

/// What the sink is to change.
#[derive(Default)]
pub struct Change {
    pub patience_ns: u64,
    /// The lowest level that each of those which stay is told.
    pub levels: Vec<(String, Level)>,
    pub gone: Vec<String>,
    /// Those that come, and the one whose place each takes.
    pub fresh: Vec<Lane>,
    pub heirs: Vec<Option<String>>,
}

/// What comes back from the sink.
pub enum Back {
    /// It has been made.
    Change(Box<Change>),
    /// It has ended.
    Lane(Lane),
}

/// The sink's side.
pub struct Changes {
    pub(super) next: Receiver<Box<Change>>,
    pub(super) back: Sender<Back>,
    /// For each channel it begins with, in order.
    pub(super) ways: Vec<Receiver<Turned>>,
    pub(super) run: Arc<OnceLock<u64>>,
}

/// The attending thread's side.
pub struct Hand {
    settings: Settings,
    /// For each channel, in order.
    ways: Vec<Sender<Turned>>,
    /// Names of channels that are gone and have not ended.
    leaving: Vec<String>,
    next: Sender<Box<Change>>,
    back: Receiver<Back>,
    run: Arc<OnceLock<u64>>,
    /// Where receipts are kept.
    folder: Option<PathBuf>,
    /// Channels that came so far.
    came: u64,
}

/// A change that can be made: nothing of it fails any more.
pub struct Ready {
    settings: Settings,
    ways: Vec<Sender<Turned>>,
    turned: Vec<(Sender<Turned>, Turned)>,
    change: Box<Change>,
}

impl Hand {
    /// Begins with `settings`; receipts are kept in `folder`.
    #[must_use]
    pub fn pair(settings: &Settings, folder: Option<PathBuf>) -> (Self, Changes) {
        let ((next, changes), (back, returned)) = (bounded(1), bounded(2 * LANES));
        let (ways, ends) = settings.channel.iter().map(|_| bounded(WAYS)).unzip();
        let run = Arc::default();
        let changes = Changes { next: changes, back, ways: ends, run: Arc::clone(&run) };
        let (settings, leaving) = (settings.clone(), Vec::new());
        let (back, came) = (returned, 0);
        (Self { settings, ways, leaving, next, back, run, folder, came }, changes)
    }

    /// Whether the sink has taken the last change.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.next.is_empty()
    }

    /// Frees and counts what has come back.
    pub fn settle(&mut self, ledger: &mut Ledger) {
        for back in self.back.try_iter() {
            match back {
                Back::Change(change) => drop(change),
                Back::Lane(lane) => {
                    self.leaving.retain(|name| *name != lane.name);
                    lane.ledger(ledger);
                }
            }
        }
    }

    /// Makes what other settings need.
    ///
    /// # Errors
    /// A secret or certificates cannot be had, the system gives no thread, or an earlier change is still under
    /// way; nothing has been changed then.
    pub fn ready(&mut self, wanted: &Settings) -> Result<Ready, String> {
        let run = *self.run.get().ok_or(BUSY)?;
        if !self.is_free() {
            return Err(BUSY.to_owned());
        }
        let patience_ns = wanted.silence_s.saturating_mul(NS_PER_S);
        let mut change = Box::new(Change { patience_ns, ..Change::default() });
        let now = self.settings.clone();
        let gone = now.channel.iter().filter(|old| find(wanted, old.name()).is_none());
        let gone: Vec<&Channel> = gone.collect();
        change.gone = gone.iter().map(|old| old.name().to_owned()).collect();
        let (mut ways, mut turned) = (Vec::new(), Vec::new());
        for channel in &wanted.channel {
            let name = channel.name();
            let mut known = now.channel.iter().zip(self.ways.clone());
            let stays = known.find(|(old, _)| old.name() == name);
            if let Some((old, way)) = stays {
                change.levels.push((name.to_owned(), channel.level.level()));
                if wanted.mark != now.mark || !differs_in_level_alone(old, channel) {
                    turned.push((way.clone(), self.turned(channel, run, wanted)?));
                }
                ways.push(way);
            } else {
                let heir = gone.iter().find(|old| same_place(old, channel));
                let (way, end) = bounded(WAYS);
                let lane = self.lane(channel, run, wanted, end)?;
                change.fresh.push(lane);
                change.heirs.push(heir.map(|old| old.name().to_owned()));
                ways.push(way);
            }
        }
        if self.leaving.len() + change.gone.len() + wanted.channel.len() > LANES
            || turned.iter().any(|(way, _)| way.is_full())
        {
            return Err(BUSY.to_owned());
        }
        Ok(Ready { settings: wanted.clone(), ways, turned, change })
    }

    /// Makes the change.
    pub fn commit(&mut self, ready: Ready) {
        let Ready { settings, ways, turned, change } = ready;
        // The desk first: what is told after the sink's change goes the new way.
        for (way, turned) in turned {
            let _ = way.try_send(turned);
        }
        self.leaving.extend(change.gone.iter().cloned());
        let _ = self.next.try_send(change);
        (self.settings, self.ways) = (settings, ways);
    }

    fn turned(&self, channel: &Channel, run: u64, wanted: &Settings) -> Result<Turned, String> {
        let way = Way::open(channel, run).map_err(|e| format!("channel {}: {e}", channel.name()));
        Ok(Turned { way: way?, mark: wanted.mark.clone(), every_ns: channel.every_ns() })
    }

    fn lane(
        &mut self,
        channel: &Channel,
        run: u64,
        wanted: &Settings,
        ways: Receiver<Turned>,
    ) -> Result<Lane, String> {
        let name = channel.name();
        if self.leaving.iter().any(|leaving| leaving == name) {
            let why = "still has to send what it was given before it was taken out; ask again";
            return Err(format!("alert: channel {name} {why}"));
        }
        if let Some(folder) = &self.folder {
            Receipt::forget(folder, name);
        }
        self.came += 1;
        let begin = Begin::New(self.folder.clone(), self.came * KEYS);
        Lane::start(channel, run, &wanted.mark, begin, ways)
    }
}

fn find<'a>(settings: &'a Settings, name: &str) -> Option<&'a Channel> {
    settings.channel.iter().find(|channel| channel.name() == name)
}

fn differs_in_level_alone(old: &Channel, new: &Channel) -> bool {
    *old == Channel { level: old.level, ..new.clone() }
}

fn same_place(old: &Channel, new: &Channel) -> bool {
    let place = |channel: &Channel| {
        let Channel { kind, url, chat, to, token_file, .. } = channel.clone();
        (kind, url, chat, to, token_file)
    };
    place(old) == place(new)
}
