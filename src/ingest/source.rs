//! A source gives the frames that are ready, without waiting.
//!
//! A live [`socket`](super::socket), a recording or a simulation: the reader cannot tell which. Each
//! frame is handed to `take`, whose answer is what the venue's parser made of it: acknowledgements,
//! pongs and closing notices drive the connection without a second look at the bytes.

use std::io;

use mio::{Registry, Token};

use super::Frame;
use super::exchange::Verdict;
use super::repair::Gap;
use crate::event::{FeedState, Venue};
use crate::ledger::Ledger;
use crate::time::Now;

/// What became of a frame, for the connection that carried it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// What the venue's parser made of it.
    pub verdict: Verdict,
    /// It held a liquidation.
    pub rare: bool,
    /// What it held was past the age gate: history, that no rate counts.
    pub late: bool,
}

impl From<Verdict> for Heard {
    /// A frame in time, without a liquidation.
    fn from(verdict: Verdict) -> Self {
        Self { verdict, rare: false, late: false }
    }
}

/// What a call of [`Source::read`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// Frames were given; more may be waiting.
    Frames,
    /// Nothing was there.
    Idle,
    /// Nothing will ever come again.
    Ended,
}

/// A feed changed its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedChange {
    /// Whose feed.
    pub venue: Venue,
    /// Which of the venue's lines.
    pub line: u8,
    /// The name of its route.
    pub route: &'static str,
    /// Whether liquidations come on that route.
    pub rare: bool,
    /// The new state.
    pub state: FeedState,
    /// HTTP status where the venue refused us, else 0.
    pub code: u16,
    /// Why, in words for a person; empty when the state says it all.
    pub why: String,
}

/// A feed that says nothing, because nothing was configured to be heard: its venue's trades are no
/// coverage of its liquidations.
#[derive(Debug)]
pub struct Unheard {
    change: Option<FeedChange>,
    stopped: bool,
}

impl Unheard {
    /// Says once that the liquidations of `venue` are not heard on `route`, and why.
    #[must_use]
    pub fn new(venue: Venue, line: u8, route: &'static str, why: impl Into<String>) -> Self {
        let (state, why) = (FeedState::Down, why.into());
        let change = FeedChange { venue, line, route, rare: true, state, code: 0, why };
        Self { change: Some(change), stopped: false }
    }
}

impl Source for Unheard {
    fn name(&self) -> String {
        "unheard".to_owned()
    }

    fn read(&mut self, _: Now, _: usize, _: &mut dyn FnMut(Frame<'_>) -> Heard) -> Read {
        if self.stopped { Read::Ended } else { Read::Idle }
    }

    fn feed(&mut self) -> Option<FeedChange> {
        self.change.take()
    }

    fn stop(&mut self) {
        self.stopped = true;
    }

    fn ledger(&self, _: &mut Ledger) {}
}

/// Where frames come from.
pub trait Source: Send {
    /// What it is called in reports: `binance/market`, a file's name.
    fn name(&self) -> String;

    /// Gives at most `most` frames that are ready, in order, and never waits. A source may give fewer
    /// to keep a turn short.
    fn read(&mut self, now: Now, most: usize, take: &mut dyn FnMut(Frame<'_>) -> Heard) -> Read;

    /// Has `by` watch what there is to read, under `token`: from then on it is only looked for after
    /// [`Self::rouse`]. A source that does nothing here is asked in each turn.
    ///
    /// # Errors
    /// When it cannot be watched; it is asked in each turn then.
    fn watched(&mut self, _by: &Registry, _token: Token) -> io::Result<()> {
        Ok(())
    }

    /// There may be something to read.
    fn rouse(&mut self) {}

    /// How long at most what the last call of [`Self::read`] read had lain in the kernel, ns; `None` when
    /// nothing was read or the kernel does not say.
    fn waited(&mut self) -> Option<u64> {
        None
    }

    /// The next change of state since the last call, oldest first.
    fn feed(&mut self) -> Option<FeedChange> {
        None
    }

    /// Which venues (a set of bits) are mute while others cascade, told when that changes; `why` says
    /// who cascades.
    fn doubt(&mut self, _mute: u8, _why: &str, _now: Now) {}

    /// A venue is heard again; in `gap` it was not.
    fn heal(&mut self, _venue: Venue, _gap: Gap) {}

    /// The source's own time: ticks follow it, also while no frame comes. Live it is `now`; a replay
    /// answers with its recording's.
    fn time(&self, now: Now) -> Now {
        now
    }

    /// Asks for an orderly end: reads then say [`Read::Ended`].
    fn stop(&mut self);

    /// What was counted.
    fn ledger(&self, ledger: &mut Ledger);
}
