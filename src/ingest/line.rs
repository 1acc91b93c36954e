//! One line of a venue as a state machine: told bytes' meaning and the time, it says what to do.
//!
//! ```text
//!        due ──▶ calling ──▶ link: subscribing ─▶ acknowledged ─▶ live ─▶ draining
//!         ▲         │                      │
//!         └─────────┴── at once, then 1..30 s, never giving up ◀┘
//! ```
//!
//! Nothing here reads a clock or a socket, so simulated time can test years of it; [`socket`] does the
//! I/O around it. A line has at most two links. The second comes when the first will be closed (the
//! venue says so, it is a day old, the operator wants it) or is in doubt; the first is hung up when the
//! second is settled and both have been heard for a while, so that a planned change loses nothing.
//! What both carry is told apart by [`twins`].
//!
//! *Invariant*: a line that is not stopped has a link, an answer that is awaited, or a time at which it
//! will call ([`Line::is_attended`]).
//!
//! [`socket`]: super::socket
//! [`twins`]: super::twins

use std::collections::VecDeque;

use super::backoff::Backoff;
use super::exchange::{Control, Verdict};
use super::link::{Link, Need};
use super::source::{FeedChange, Heard};
use crate::event::{FeedState, Venue};
use crate::ledger::{Ledger, Tally};
use crate::time::{NS_PER_MS, NS_PER_S, Nanos, Now};

/// Venues cut a connection after 24 hours; it is replaced before, each line at its own time.
const REPLACE_AFTER: u64 = (23 * 60 + 30) * 60 * NS_PER_S;
const APART: u64 = 10 * 60 * NS_PER_S;
/// A link younger than this is not rotated: one minute is one rotation.
const TOO_YOUNG: u64 = 120 * NS_PER_S;
/// A venue that warns of the end gives at least this long.
const NOTICE: u64 = 10 * NS_PER_S;
/// How long both links are heard: longer than any venue gathers a batch.
const OVERLAP: u64 = 2 * NS_PER_S;
/// A dial thread that has not answered by now hangs in the resolver.
const ANSWER_WITHIN: u64 = 60 * NS_PER_S;
/// A venue that refuses our region or address is left alone this long.
const BLOCKED_FOR: u64 = 300 * NS_PER_S;
/// A venue that finds us too eager, and does not say for how long.
const EAGER_FOR: u64 = 60 * NS_PER_S;
/// Live without a liquidation for this long is quiet.
const QUIET_AFTER: u64 = 60 * NS_PER_S;
/// A longer time between two turns means that we were not running.
const PAUSE: u64 = 2 * NS_PER_S;
/// Deaf connections in a row after which the route itself is blamed.
const DEAF_MAX: u32 = 3;
/// A subscription that closed the connection is tried again after this.
const QUARANTINE: u64 = 6 * 3_600 * NS_PER_S;
/// Messages after which it is asked how many were not understood, and how many may be.
const DRIFT_OF: u32 = 100;
const DRIFT_MAX: u32 = 1;
const DRIFT: &str = "more than 1 % of messages not understood: has the format changed?";
/// Changes of state waiting to be asked for.
const CHANGES_MAX: usize = 64;
/// Refusals that are remembered, so that each is said once.
const COMPLAINTS_MAX: usize = 256;

/// What a line is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Whose.
    pub venue: Venue,
    /// Which of the venue's lines: its route, and its copy of it ([`Plan::number`]).
    pub line: u8,
    /// The route's name.
    pub route: &'static str,
    /// Whether liquidations come on this route.
    pub rare: bool,
    /// Frames that subscribe, in order.
    pub subscriptions: Vec<String>,
    /// Answers they will get in all.
    pub answers: u32,
    /// Whether the venue closes the connection over one bad subscription.
    pub fragile: bool,
    /// How often a heartbeat goes out, ns.
    pub heartbeat_ns: u64,
    /// Dead when nothing arrives for this long, ns.
    pub dead_ns: u64,
    /// Deaf when no data arrives for this long, ns.
    pub canary_ns: u64,
    /// Minute of the day (UTC) at which the connection is replaced.
    pub rotate_at: Option<u16>,
}

/// Routes of a venue at most: the lower bits of a line's number.
pub const ROUTES_MAX: u8 = 8;

impl Plan {
    /// The number of the line that is the given copy (from 0) of a route.
    #[must_use]
    pub const fn number(route: u8, copy: u8) -> u8 {
        copy * ROUTES_MAX + route
    }

    /// Which copy of its route it is.
    #[must_use]
    pub const fn copy(&self) -> u8 {
        self.line / ROUTES_MAX
    }
}

/// One of a line's two places for a connection.
pub type Slot = usize;

/// What to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Say {
    /// The subscription of this number.
    Subscription(usize),
    /// What keeps the connection open.
    Heartbeat,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Ask a dial thread for a connection.
    Call,
    /// The dial thread hangs: whatever it still answers is to be dropped.
    Forget,
    /// Send something.
    Send(Slot, Say),
    /// Say goodbye and close.
    Hang(Slot),
}

/// Why a connection ends: the name it is counted under, the state users see, the words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Counted under this name.
    pub name: &'static str,
    /// What users see.
    pub state: FeedState,
    /// In words.
    pub why: String,
}

impl Loss {
    /// A loss that users see as `state`.
    pub fn new(name: &'static str, state: FeedState, why: impl Into<String>) -> Self {
        Self { name, state, why: why.into() }
    }

    /// The connection is down.
    pub fn down(name: &'static str, why: impl Into<String>) -> Self {
        Self::new(name, FeedState::Down, why)
    }

    /// The venue closed it, in these words.
    #[must_use]
    pub fn closed(words: &str) -> Self {
        Self::down("closed", format!("closed by the venue {words}").trim_end())
    }

    /// Whether the venue hung up without saying why.
    fn is_wordless(&self) -> bool {
        self.name == "reset" || self.why == "closed by the venue"
    }
}

/// Why there is no connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// In words for a person.
    pub why: String,
    /// HTTP status, or 0.
    pub code: u16,
    /// Seconds the venue asked us to stay away.
    pub retry_after: Option<u64>,
}

impl Refusal {
    /// For this reason.
    pub fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), ..Self::default() }
    }
}

/// A line.
#[derive(Clone, Debug)]
pub struct Line {
    plan: Plan,
    links: [Option<Link>; 2],
    /// When to call next; `None` while an answer is awaited or nothing is to be done.
    due: Option<Nanos>,
    /// Since when an answer is awaited.
    calling: Option<Nanos>,
    stopped: bool,
    backoff: Backoff,
    /// The time of the last turn.
    seen: Nanos,
    /// Since when both links are settled.
    both: Option<Nanos>,
    /// Deaf connections in a row.
    deaf: u32,
    /// When a liquidation last came, or the line began to hear.
    rare: Nanos,
    /// In doubt because other venues cascade and this one does not.
    doubted: bool,
    /// Messages of the present hundred, those not understood, and whether the last hundred had too many.
    messages: (u32, u32),
    drifting: bool,
    /// Frames to send, by their number in the plan, and those left out with the time.
    order: Vec<usize>,
    left_out: Vec<(usize, Nanos)>,
    careful: bool,
    complaints: Vec<String>,
    reported: Option<FeedChange>,
    changes: VecDeque<FeedChange>,
    /// What was counted.
    pub counts: Counts,
}

/// What a line counts.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Connections that came about.
    pub opened: u64,
    /// Calls that led to none.
    pub refused: u64,
    /// Subscriptions the venue refused.
    pub denied: u64,
    /// Times we were not running.
    pub paused: u64,
    /// Subscriptions left out because they close the connection.
    pub quarantined: u64,
    /// Connections that ended, by reason.
    pub lost: Tally,
}

impl Line {
    /// A line that calls at once.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        let seed = plan.venue.index() as u64 * 256 + u64::from(plan.line);
        Self {
            links: [None, None],
            due: Some(Nanos(0)),
            calling: None,
            stopped: false,
            backoff: Backoff::new(seed),
            seen: Nanos(0),
            both: None,
            deaf: 0,
            rare: Nanos(0),
            doubted: false,
            messages: (0, 0),
            drifting: false,
            order: (0..plan.subscriptions.len()).collect(),
            left_out: Vec::new(),
            careful: false,
            complaints: Vec::new(),
            reported: None,
            changes: VecDeque::with_capacity(CHANGES_MAX),
            counts: Counts::default(),
            plan,
        }
    }

    /// What it is made from.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The frame that [`Say::Subscription`] means.
    #[must_use]
    pub fn subscription(&self, nth: usize) -> Option<&str> {
        let frame = *self.order.get(nth)?;
        self.plan.subscriptions.get(frame).map(String::as_str)
    }

    /// The number of the connection in a slot, for telling events apart.
    #[must_use]
    pub fn number(&self, slot: Slot) -> u32 {
        self.link(slot).map_or(0, |link| link.number)
    }

    fn link(&self, slot: Slot) -> Option<&Link> {
        self.links.get(slot)?.as_ref()
    }

    fn link_mut(&mut self, slot: Slot) -> Option<&mut Link> {
        self.links.get_mut(slot)?.as_mut()
    }

    /// The invariant: it is stopped, or something will happen without anybody's help.
    #[must_use]
    pub fn is_attended(&self) -> bool {
        let up = self.links.iter().any(Option::is_some);
        self.stopped || up || self.calling.is_some() || self.due.is_some()
    }

    /// Whether data comes on any link.
    #[must_use]
    pub fn hears(&self) -> bool {
        self.links.iter().flatten().any(Link::hears)
    }

    /// The state users see.
    #[must_use]
    pub fn state(&self) -> FeedState {
        self.reported.as_ref().map_or(FeedState::Connecting, |change| change.state)
    }

    /// What is to be done now; asked until there is nothing.
    pub fn order(&mut self, now: Now) -> Option<Order> {
        if self.stopped {
            return self.hang_up();
        }
        let Now { mono, .. } = now;
        self.wake(mono);
        if self.calling.is_some_and(|since| mono.since(since) > ANSWER_WITHIN) {
            self.refused(Refusal::new("dial: no answer in time (the resolver hangs?)"), mono);
            return Some(Order::Forget);
        }
        self.plan_ahead(now);
        if self.due.is_some_and(|due| mono >= due) {
            return Some(self.call(mono));
        }
        (0..self.links.len())
            .find_map(|slot| self.attend(slot, mono))
            .or_else(|| self.change_over(mono))
    }

    fn hang_up(&mut self) -> Option<Order> {
        let slot = self.links.iter().position(Option::is_some)?;
        self.links[slot] = None;
        Some(Order::Hang(slot))
    }

    /// After a pause of ours nothing is judged by what did not come meanwhile.
    fn wake(&mut self, now: Nanos) {
        if self.seen != Nanos(0) && now.since(self.seen) > PAUSE {
            self.counts.paused += 1;
            self.links.iter_mut().flatten().for_each(|link| link.excuse(now));
        }
        self.seen = now;
    }

    fn call(&mut self, now: Nanos) -> Order {
        if self.reported.is_none() {
            self.change(FeedState::Connecting, 0, String::new());
        }
        self.due = None;
        self.calling = Some(now);
        Order::Call
    }

    /// Plans a call, unless one is planned or under way, or both places are taken.
    fn call_at(&mut self, at: Nanos) {
        let room = self.links.iter().any(Option::is_none);
        if room && self.calling.is_none() && self.due.is_none() {
            self.due = Some(at);
        }
    }

    /// The connection will be closed soon, or should be.
    fn plan_ahead(&mut self, now: Now) {
        self.fall_quiet(now.mono);
        let ([Some(link), None] | [None, Some(link)]) = &self.links else { return };
        if let Some(at) = link.leaves {
            return self.call_at(at);
        }
        let age = now.mono.since(link.since);
        let apart = u64::from(self.plan.copy()) * APART + u64::from(self.plan.line) * NS_PER_S;
        let minute = self
            .plan
            .rotate_at
            .map(|at| (i64::from(at) + i64::from(self.plan.copy()) * 5).rem_euclid(1_440));
        let rotate = minute == Some(now.wall.0.div_euclid(60_000).rem_euclid(1_440));
        if age + apart > REPLACE_AFTER || rotate && age > TOO_YOUNG {
            self.call_at(now.mono);
        }
    }

    fn fall_quiet(&mut self, now: Nanos) {
        let live = self.plan.rare && self.state() == FeedState::Live;
        if live && now.since(self.rare) > QUIET_AFTER {
            self.change(FeedState::Quiet, 0, String::new());
        }
    }

    /// What one link needs.
    fn attend(&mut self, slot: Slot, now: Nanos) -> Option<Order> {
        let (frames, careful) = (self.order.len(), self.careful);
        let link = self.links.get_mut(slot)?.as_mut()?;
        match link.need(&self.plan, frames, careful, now)? {
            Need::Say(say) => Some(Order::Send(slot, say)),
            Need::End(loss) => {
                self.lost(slot, loss, now);
                Some(Order::Hang(slot))
            }
            Need::Doubt => self.fell_silent(slot, now),
            Need::Unanswered(n, of) => {
                self.say(format!("subscribe: {n} of {of} subscriptions were not acknowledged"));
                None
            }
        }
    }

    /// A link is alive and acknowledged, and no data comes. It is kept while there is no better one.
    fn fell_silent(&mut self, slot: Slot, now: Nanos) -> Option<Order> {
        self.deaf += 1;
        let spare = self.hears();
        if spare {
            self.counts.lost.add("deaf", 1);
            self.links[slot] = None;
            self.both = None;
        } else {
            let (ms, n) = (self.plan.canary_ns / NS_PER_MS, self.deaf);
            let why = if self.link(slot).is_some_and(|link| link.late) {
                format!("late: for {ms} ms all that came was older than the age gate")
            } else if n < DEAF_MAX {
                format!("connected, canary missing for {ms} ms")
            } else {
                format!("connected, canary missing on {n} connections in a row: is the route dead?")
            };
            self.change(FeedState::Suspect, 0, why);
        }
        let at = now.plus(self.backoff.next(now));
        self.call_at(at);
        spare.then_some(Order::Hang(slot))
    }

    /// Hangs up the first link when the second has taken over.
    fn change_over(&mut self, now: Nanos) -> Option<Order> {
        let [Some(a), Some(b)] = &self.links else { return None };
        let (old, new) = if a.number < b.number { (0, b) } else { (1, a) };
        if !new.is_settled(&self.plan, self.order.len(), now) {
            self.both = None;
            return None;
        }
        let since = *self.both.get_or_insert(now);
        (now.since(since) >= OVERLAP).then(|| self.replace(old, now))
    }

    fn replace(&mut self, old: Slot, now: Nanos) -> Order {
        self.both = None;
        self.counts.lost.add("replaced", 1);
        if let Some(link) = self.links[old].take() {
            self.backoff.lived(link.lived(now));
        }
        Order::Hang(old)
    }

    /// A connection came about. Gives the slot it takes, and whether another is to be hung up first.
    pub fn opened(&mut self, now: Nanos) -> (Slot, Option<Slot>) {
        self.calling = None;
        self.due = None;
        self.counts.opened += 1;
        self.release(now);
        let old = self.links.iter().position(Option::is_some);
        let slot = usize::from(old == Some(0));
        let number = u32::try_from(self.counts.opened).unwrap_or(u32::MAX);
        let before = self.links.get(slot).is_some_and(Option::is_some);
        self.links[slot] = Some(Link::new(number, now));
        self.both = None;
        // A deaf link has nothing to hand over.
        let deaf = old.filter(|&old| self.link(old).is_some_and(|link| link.suspect));
        if let Some(deaf) = deaf {
            self.counts.lost.add("deaf", 1);
            self.links[deaf] = None;
        }
        if old.is_none() && self.state() != FeedState::Suspect {
            self.change(FeedState::Connecting, 0, String::new());
        }
        (slot, deaf.or(before.then_some(slot)))
    }

    /// There is no connection.
    pub fn refused(&mut self, refusal: Refusal, now: Nanos) {
        self.calling = None;
        self.counts.refused += 1;
        let wait = match refusal.code {
            403 | 451 => BLOCKED_FOR.max(refusal.retry_after.unwrap_or(0) * NS_PER_S),
            418 | 429 => refusal.retry_after.map_or(EAGER_FOR, |s| s * NS_PER_S),
            _ => refusal.retry_after.unwrap_or(0) * NS_PER_S,
        };
        let blocked = matches!(refusal.code, 403 | 418 | 429 | 451);
        let state = if blocked { FeedState::Blocked } else { FeedState::Down };
        self.due = Some(now.plus(wait.max(self.backoff.next(now))));
        if self.links.iter().all(Option::is_none) {
            self.change(state, refusal.code, refusal.why);
        }
    }

    /// The call could not be made yet.
    pub fn postpone(&mut self, at: Nanos) {
        self.calling = None;
        self.due = Some(at);
    }

    /// A frame came.
    pub fn frame(&mut self, slot: Slot, heard: Heard, now: Nanos) {
        let Some(link) = self.link_mut(slot) else { return };
        link.frame(heard, now);
        self.judge_format(heard.verdict, now);
        match heard.verdict {
            Verdict::Decoded if !heard.late => self.hear(heard.rare, now),
            Verdict::Control(Control::Closing) => self.closing(slot, now),
            Verdict::Control(Control::Refused) => self.counts.denied += 1,
            _ => {}
        }
    }

    /// A format that changed shows in messages that are no longer understood.
    fn judge_format(&mut self, verdict: Verdict, now: Nanos) {
        let bad = matches!(verdict, Verdict::Rejected(_));
        if !bad && verdict != Verdict::Decoded {
            return;
        }
        self.messages.0 += 1;
        self.messages.1 += u32::from(bad);
        if self.messages.0 < DRIFT_OF {
            return;
        }
        let before = std::mem::replace(&mut self.drifting, self.messages.1 > DRIFT_MAX);
        self.messages = (0, 0);
        match (before, self.drifting) {
            (false, true) => self.change(FeedState::Suspect, 0, DRIFT.to_owned()),
            (true, false) if self.hears() => self.hear(false, now),
            _ => {}
        }
    }

    /// The venue will close this connection. One that says so of every new one is not called at once.
    fn closing(&mut self, slot: Slot, now: Nanos) {
        let Some(link) = self.links.get_mut(slot).and_then(Option::as_mut) else { return };
        let young = now.since(link.since) < TOO_YOUNG;
        let wait = if young { self.backoff.next(now).min(NOTICE) } else { 0 };
        link.leaves.get_or_insert(now.plus(wait));
    }

    fn hear(&mut self, rare: bool, now: Nanos) {
        self.deaf = 0;
        if rare {
            self.rare = now;
            self.doubted = false;
        }
        match self.state() {
            FeedState::Live => {}
            FeedState::Quiet if !rare => {}
            FeedState::Suspect if self.doubted || self.drifting => {}
            state => {
                if !state.hears() {
                    self.rare = now;
                }
                self.change(FeedState::Live, 0, String::new());
            }
        }
    }

    /// A ping or pong came.
    ///
    /// # Errors
    /// When there are too many: the connection is to be ended.
    pub fn control(&mut self, slot: Slot, now: Nanos) -> Result<(), Loss> {
        let flood = self.link_mut(slot).and_then(|link| link.control(now));
        flood.map_or(Ok(()), Err)
    }

    /// The venue said goodbye.
    pub fn goodbye(&mut self, slot: Slot, words: String, now: Nanos) {
        if let Some(link) = self.link_mut(slot) {
            link.goodbye(words, now);
        }
    }

    /// What the venue says about a subscription it refuses; said once.
    pub fn complaint(&mut self, words: &str) {
        if self.complaints.len() < COMPLAINTS_MAX && !self.complaints.iter().any(|c| c == words) {
            self.complaints.push(words.to_owned());
            self.say(format!("refused: {words}"));
        }
    }

    /// Something worth saying that changes no state.
    fn say(&mut self, why: String) {
        self.change(self.state(), 0, why);
    }

    /// A connection ended.
    pub fn lost(&mut self, slot: Slot, loss: Loss, now: Nanos) {
        let Some(mut link) = self.links.get_mut(slot).and_then(Option::take) else { return };
        self.both = None;
        self.backoff.lived(link.lived(now));
        let loss = link.last_words().map_or(loss, |words| Loss::closed(&words));
        if loss.is_wordless() {
            self.blame(&link, now);
        }
        self.counts.lost.add(loss.name, 1);
        let other = self.links.iter().flatten().next();
        let settled = other.is_some_and(|l| l.is_settled(&self.plan, self.order.len(), now));
        if !settled {
            self.change(loss.state, 0, loss.why);
        }
        // A second link that lives is enough, unless it is deaf or will be closed.
        let other = self.links.iter().flatten().next();
        if other.is_some_and(|other| !other.suspect && other.leaves.is_none()) {
            return;
        }
        let again = now.plus(self.backoff.next(now));
        match self.links.iter_mut().flatten().next() {
            Some(other) if other.leaves.is_some() => other.leaves = Some(again),
            _ => self.call_at(again),
        }
    }

    /// A fragile venue hangs up over one bad subscription. The first time the line becomes careful and
    /// waits for each answer; then the frame that was sent last is to blame, if others were answered.
    fn blame(&mut self, link: &Link, now: Nanos) {
        let Some((nth, others)) = link.blames(now).filter(|_| self.plan.fragile) else { return };
        if !self.careful || self.order.len() < 2 {
            self.careful = true;
            return;
        }
        let frame = self.order.remove(nth.min(self.order.len() - 1));
        if !others {
            // Nothing was answered: it may not be this frame. It is tried again as the last one.
            return self.order.push(frame);
        }
        self.left_out.push((frame, now));
        self.counts.quarantined += 1;
        let text = self.plan.subscriptions.get(frame).cloned().unwrap_or_default();
        self.say(format!("left out a subscription that closes the connection: {text}"));
    }

    /// What was left out long ago is tried again.
    fn release(&mut self, now: Nanos) {
        let order = &mut self.order;
        self.left_out.retain(|&(frame, since)| {
            let keep = now.since(since) < QUARANTINE;
            if !keep {
                order.push(frame);
            }
            keep
        });
    }

    /// Other venues cascade and this one is silent: it is called again beside the open connection.
    pub fn doubt(&mut self, why: &str, now: Nanos) {
        if self.state().hears() && !self.doubted {
            self.doubted = true;
            self.change(FeedState::Suspect, 0, why.to_owned());
            self.call_at(now);
        }
    }

    /// The doubt is over.
    pub fn trust(&mut self, now: Nanos) {
        if std::mem::take(&mut self.doubted) && self.hears() {
            self.hear(false, now);
        }
    }

    /// Asks for an end: what is open is hung up.
    pub fn stop(&mut self) {
        self.stopped = true;
    }

    /// The next change of state, oldest first.
    pub fn next_change(&mut self) -> Option<FeedChange> {
        self.changes.pop_front()
    }

    /// Reports a state, unless the same was reported last.
    fn change(&mut self, state: FeedState, code: u16, why: String) {
        let Plan { venue, line, route, rare, .. } = self.plan;
        let change = FeedChange { venue, line, route, rare, state, code, why };
        if self.reported.as_ref() == Some(&change) {
            return;
        }
        if self.changes.len() == CHANGES_MAX {
            // The oldest is of least interest; the newest must get through.
            self.changes.pop_front();
        }
        self.changes.push_back(change.clone());
        self.reported = Some(change);
    }

    /// Writes the books under the line's name.
    pub fn ledger(&self, name: &str, ledger: &mut Ledger) {
        for (what, n) in [
            ("opened", self.counts.opened),
            ("refused", self.counts.refused),
            ("paused", self.counts.paused),
            ("subscriptions_refused", self.counts.denied),
            ("subscriptions_left_out", self.counts.quarantined),
        ] {
            ledger.add(&format!("line_{what}{{{name}}}"), n);
        }
        ledger.add_tally("line_lost", &self.counts.lost);
    }
}
