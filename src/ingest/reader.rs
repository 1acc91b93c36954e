//! The live reader: asks each source in turn, and pushes what it heard through the first door.
//!
//! This is the one place where anything may be lost. When the ring is full the event is dropped and
//! counted, and the next event that gets through is marked [`Flags::GAP`], so that the engine knows
//! what it did not hear. The reader also makes the ticks, one each 100 ms.

use std::time::Duration;

use crossbeam_channel::Sender;
use mio::{Events, Poll, Token};

use super::content::Content;
use super::coverage::Coverage;
use super::exchange::EXCHANGES;
use super::intake::Intake;
use super::playback::TICK_NS;
use super::source::{FeedChange, Heard, Read, Source};
use super::vitals::{Pulse, Vitals};
use crate::event::{Body, Completeness, Event, Flags};
use crate::ledger::{Counts, Ledger};
use crate::ring::Outlet;
use crate::stage::{Stage, Turn};
use crate::tap::Tap;
use crate::time::{Nanos, Now};

/// Frames taken from one source in one turn: fair over sources, and no turn is long.
const FRAMES_PER_SOURCE: usize = 32;

/// Reads live sources into a ring.
pub struct Reader {
    sources: Vec<Box<dyn Source>>,
    watch: Option<Watch>,
    intake: Intake,
    door: Door,
    /// The clock, for the stamp "parsed" only.
    stamp: Box<dyn Fn() -> Nanos + Send>,
    /// Changes of feeds in words, for people. A full channel loses words, never events.
    notices: Sender<FeedChange>,
    next_tick: Nanos,
    coverage: Coverage,
    content: Content,
    /// Venues that are mute while others cascade: a set of bits.
    mute: u8,
    pulse: Option<Pulse>,
    /// Where it is recorded how long what was read had lain in the kernel.
    arrivals: Option<Tap>,
}

/// One question to the kernel a turn, for all sources together.
#[derive(Debug)]
struct Watch {
    poll: Poll,
    events: Events,
}

impl Watch {
    /// `None` when the system gives no poll: every source then asks for itself.
    fn over(sources: &mut [Box<dyn Source>]) -> Option<Self> {
        let poll = Poll::new().ok()?;
        for (n, source) in sources.iter_mut().enumerate() {
            // Who cannot be watched goes on asking.
            let _ = source.watched(poll.registry(), Token(n));
        }
        Some(Self { poll, events: Events::with_capacity(sources.len().max(1)) })
    }

    fn rouse(&mut self, sources: &mut [Box<dyn Source>]) {
        // An interrupted poll is an empty one: its edges come with the next.
        if self.poll.poll(&mut self.events, Some(Duration::ZERO)).is_err() {
            return;
        }
        for event in &self.events {
            if let Some(source) = sources.get_mut(event.token().0) {
                source.rouse();
            }
        }
    }
}

/// The first ring, and the books about it.
#[derive(Debug)]
struct Door {
    outlet: Outlet<Event>,
    /// Something was dropped and nothing has got through since.
    gap: bool,
    offered: u64,
    pushed: u64,
    dropped: u64,
    own: u64,
}

impl Door {
    fn new(outlet: Outlet<Event>) -> Self {
        Self { outlet, gap: false, offered: 0, pushed: 0, dropped: 0, own: 0 }
    }

    fn offer(&mut self, mut event: Event) {
        self.offered += 1;
        if self.gap {
            event.flags = event.flags.with(Flags::GAP);
        }
        self.gap = self.outlet.push(event).is_err();
        if self.gap {
            self.dropped += 1;
        } else {
            self.pushed += 1;
        }
    }

    /// An event of our own: a tick, a feed's state.
    fn offer_own(&mut self, event: Event) {
        self.own += 1;
        self.offer(event);
    }
}

impl Reader {
    /// Reads `sources` into `outlet`. `stamp` is the steady clock.
    pub fn new(
        mut sources: Vec<Box<dyn Source>>,
        intake: Intake,
        outlet: Outlet<Event>,
        stamp: Box<dyn Fn() -> Nanos + Send>,
        notices: Sender<FeedChange>,
    ) -> Self {
        let door = Door::new(outlet);
        let watch = Watch::over(&mut sources);
        Self {
            sources,
            watch,
            intake,
            door,
            stamp,
            notices,
            next_tick: Nanos::default(),
            coverage: Coverage::default(),
            content: Content::default(),
            mute: 0,
            pulse: None,
            arrivals: None,
        }
    }

    /// Tells `vitals` once a second how every line is.
    #[must_use]
    pub fn telling(mut self, vitals: Sender<Vitals>) -> Self {
        self.pulse = Some(Pulse::new(vitals));
        self
    }

    /// Records into `arrivals`, per source and turn, how long what was read had lain in the kernel.
    #[must_use]
    pub fn timing(mut self, arrivals: Option<Tap>) -> Self {
        self.arrivals = arrivals;
        self
    }

    /// Reads all sources once.
    fn read(&mut self, now: Now) -> Turn {
        let Self {
            sources, intake, door, stamp, notices, coverage, content, pulse, arrivals, ..
        } = self;
        if let Some(watch) = &mut self.watch {
            watch.rouse(sources);
        }
        let mut turn = Turn::Done;
        let mut healed = None;
        for (n, source) in sources.iter_mut().enumerate() {
            let read = source.read(now, FRAMES_PER_SOURCE, &mut |frame| {
                let (verdict, events) = intake.frame(&frame);
                let parsed = stamp().since(frame.received.mono);
                let mut news = 0;
                for event in events {
                    event.parse_ns = u32::try_from(parsed).unwrap_or(u32::MAX);
                    coverage.mark(event);
                    door.offer(*event);
                    news += u32::from(is_news(event));
                }
                if news > 0 {
                    content.heard(frame.venue, news);
                }
                let (rare, late) = (intake.held_liquidation(), intake.was_late());
                if let Some(pulse) = pulse {
                    pulse.frame(n, rare, now.mono);
                }
                Heard { verdict, rare, late }
            });
            if let Some((arrivals, waited)) = arrivals.as_mut().zip(source.waited()) {
                arrivals.record(waited.max(1));
            }
            turn = match (read, turn) {
                (Read::Frames, _) | (_, Turn::Worked) => Turn::Worked,
                (Read::Idle, _) => Turn::Idle,
                (Read::Ended, turn) => turn,
            };
            while let Some(change) = source.feed() {
                let gap = coverage.change(&change, now.wall);
                if let Some(pulse) = pulse {
                    pulse.change(n, &change, now.mono);
                }
                healed = gap.map(|gap| (change.venue, gap)).or(healed);
                // The engine's coverage is of liquidations: other routes are for people.
                if change.rare {
                    door.offer_own(feed_event(&change, now));
                }
                let _ = notices.try_send(change);
            }
        }
        if let Some((venue, gap)) = healed {
            sources.iter_mut().for_each(|source| source.heal(venue, gap));
        }
        turn
    }

    /// Tells the sources of venues that are mute while others cascade.
    fn compare(&mut self, now: Now) {
        let Self { coverage, content, mute, .. } = self;
        let heard = || {
            let compared = EXCHANGES.iter().filter(|e| e.completeness() != Completeness::Watched);
            let heard = compared.map(|e| e.venue()).filter(|venue| coverage.hears(*venue));
            // One that is in doubt is not heard, and still compared.
            heard.fold(*mute, |set, venue| set | venue.bit())
        };
        if let Some(found) = content.turn(now.mono, heard).filter(|found| found != mute) {
            *mute = found;
            let why = self.content.words();
            self.sources.iter_mut().for_each(|source| source.doubt(found, &why, now));
        }
    }

    fn tick(&mut self, now: Now) {
        if now.mono >= self.next_tick {
            self.door.offer_own(Event::tick(now.mono));
            self.next_tick = Nanos(now.mono.0 / TICK_NS * TICK_NS).plus(TICK_NS);
        }
    }
}

fn is_news(event: &Event) -> bool {
    let uncounted = Flags::BACKFILL.with(Flags::SNAPSHOT).with(Flags::SUSPECTED);
    matches!(event.body, Body::Liquidation { .. }) && !event.flags.has(uncounted)
}

fn feed_event(change: &FeedChange, now: Now) -> Event {
    let body = Body::Feed { state: change.state, code: change.code };
    Event { body, venue: change.venue, line: change.line, ..Event::tick(now.mono) }
}

impl Stage for Reader {
    fn name(&self) -> &'static str {
        "reader"
    }

    fn turn(&mut self, now: Now) -> Turn {
        let turn = self.read(now);
        self.compare(now);
        self.tick(now);
        if let Some(pulse) = &mut self.pulse {
            pulse.turn(now.mono, |venue, line| self.intake.race(venue, line));
        }
        if let Some(arrivals) = &mut self.arrivals {
            arrivals.offer_each_second(now.mono);
        }
        turn
    }

    fn stop(&mut self) {
        self.sources.iter_mut().for_each(|source| source.stop());
    }

    fn count(&self, counts: &mut Counts) {
        self.intake.count_all(counts);
        counts.add("gaps", self.coverage.gaps);
        counts.add("ticks", self.door.own);
        counts.add("offered", self.door.offered);
        counts.add("pushed", self.door.pushed);
        counts.add("dropped", self.door.dropped);
    }

    fn ledger(&self, ledger: &mut Ledger) {
        ledger.add_counts(|counts| self.count(counts));
        self.intake.details(ledger);
        self.sources.iter().for_each(|source| source.ledger(ledger));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{FeedState, Venue};
    use crate::ingest::Frame;
    use crate::ring::ring;

    /// Says `n` times that its feed changed, then ends.
    struct Restless(u32);

    impl Source for Restless {
        fn name(&self) -> String {
            "restless".to_owned()
        }
        fn read(&mut self, _: Now, _: usize, _: &mut dyn FnMut(Frame<'_>) -> Heard) -> Read {
            if self.0 == 0 { Read::Ended } else { Read::Idle }
        }
        fn feed(&mut self) -> Option<FeedChange> {
            self.0 = self.0.checked_sub(1)?;
            let (venue, why) = (Venue::Okx, String::new());
            let state = FeedState::Live;
            Some(FeedChange { venue, line: 0, route: "public", rare: true, state, code: 0, why })
        }
        fn stop(&mut self) {}
        fn ledger(&self, _: &mut Ledger) {}
    }

    #[test]
    fn d11_what_a_full_ring_loses_is_counted_and_the_next_event_says_so() {
        let (outlet, mut inlet) = ring(4);
        let (notices, heard) = crossbeam_channel::bounded(2);
        let sources: Vec<Box<dyn Source>> = vec![Box::new(Restless(9))];
        let clock = Box::new(|| Nanos(0));
        let mut reader = Reader::new(sources, Intake::new(10_000), outlet, clock, notices);
        assert_eq!(reader.turn(Now::at_millis(1)), Turn::Idle);
        assert_eq!(
            std::iter::from_fn(|| inlet.pop()).filter(|e| e.flags.has(Flags::GAP)).count(),
            0
        );
        assert_eq!(reader.turn(Now::at_millis(200)), Turn::Done);
        assert!(inlet.pop().is_some_and(|event| event.flags.has(Flags::GAP)));
        let mut ledger = Ledger::default();
        reader.ledger(&mut ledger);
        drop(reader);
        while inlet.pop().is_some() {}
        assert!(inlet.has_ended() && heard.len() == 2);
        assert_eq!((ledger.get("offered"), ledger.get("dropped")), (11, 6));
        ledger.add("consumed", inlet.taken());
        assert!(ledger.laws().all(|law| law.holds), "{:?}", ledger.laws().collect::<Vec<_>>());
    }
}
