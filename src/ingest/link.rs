//! One connection of a line, as far as time and messages tell: what it owes, and whether it lives.
//!
//! Three facts, each with its own deadline:
//!
//! ```text
//! transport   a complete message of any kind; asked for by a heartbeat when half the time is gone
//! route       a frame of data: a subscription that is acknowledged and silent is deaf
//! subscribed  every frame sent at the venue's pace, acknowledged within 5 s
//! ```
//!
//! Bytes that never finish a message are silence.

use super::exchange::{Control, Verdict};
use super::line::{Loss, Plan, Say};
use super::source::Heard;
use crate::event::FeedState;
use crate::time::{NS_PER_MS, NS_PER_S, Nanos};

/// Frames that subscribe go out at this pace: Binance hangs up above ten messages a second.
const SUBSCRIBE_EVERY: u64 = 125 * NS_PER_MS;
/// An acknowledgement comes within this.
const ACK_WITHIN: u64 = 5 * NS_PER_S;
/// How long a peer that said goodbye may leave its socket open.
const GOODBYE: u64 = NS_PER_S;
/// Pings and pongs from the peer within [`CONTROL_WINDOW`].
const CONTROL_MAX: u32 = 500;
const CONTROL_WINDOW: u64 = 5 * NS_PER_S;
/// A venue that hangs up this soon after a subscription may mean that subscription.
const BLAMED_WITHIN: u64 = NS_PER_S;

/// One connection.
#[derive(Clone, Debug)]
pub struct Link {
    /// Which of the line's connections, from 1.
    pub number: u32,
    /// Since when it is up.
    pub since: Nanos,
    /// When the last complete message came.
    heard: Nanos,
    /// When data first and last came.
    data: Option<(Nanos, Nanos)>,
    /// What came last was past the age gate.
    pub late: bool,
    /// When the last heartbeat went out.
    beat: Nanos,
    /// Frames sent, when the last one went, and when the next may go.
    sent: usize,
    sent_at: Nanos,
    next_at: Nanos,
    /// Acknowledgements and refusals, and when the first came.
    answers: u32,
    answered: Option<Nanos>,
    /// In careful mode each frame waits for its answer: answers when the last frame went.
    before: u32,
    /// The missing answers have been complained about.
    complained: bool,
    /// Acknowledged, alive, and silent.
    pub suspect: bool,
    /// The venue will close it: another is to be called from this time on.
    pub leaves: Option<Nanos>,
    goodbye: Option<(Nanos, String)>,
    /// Control frames in the present window, and when it began.
    control: (u32, Nanos),
}

/// What a connection needs now.
#[derive(Clone, Debug, PartialEq)]
pub enum Need {
    /// Something is to be sent.
    Say(Say),
    /// It is over.
    End(Loss),
    /// It just became suspect.
    Doubt,
    /// So many of so many subscriptions were never answered.
    Unanswered(u32, u32),
}

impl Link {
    /// A connection that is up.
    #[must_use]
    pub fn new(number: u32, now: Nanos) -> Self {
        Self {
            number,
            since: now,
            heard: now,
            data: None,
            late: false,
            beat: now,
            sent: 0,
            sent_at: now,
            next_at: now,
            answers: 0,
            answered: None,
            before: 0,
            complained: false,
            suspect: false,
            leaves: None,
            goodbye: None,
            control: (0, now),
        }
    }

    /// A frame came.
    pub fn frame(&mut self, heard: Heard, now: Nanos) {
        self.heard = now;
        match heard.verdict {
            // What tells of the past only shows that the connection works, not that we are told.
            Verdict::Decoded if heard.late => self.late = true,
            Verdict::Decoded => {
                self.late = false;
                let first = self.data.map_or(now, |(first, _)| first);
                self.data = Some((first, now));
                self.suspect = false;
            }
            Verdict::Control(Control::Ack | Control::Refused) => {
                self.answers += 1;
                self.answered.get_or_insert(now);
            }
            _ => {}
        }
    }

    /// A ping or pong came.
    pub fn control(&mut self, now: Nanos) -> Option<Loss> {
        self.heard = now;
        if now.since(self.control.1) > CONTROL_WINDOW {
            self.control = (0, now);
        }
        self.control.0 += 1;
        let flood = self.control.0 > CONTROL_MAX;
        flood.then(|| Loss::down("abuse", "abuse: a flood of pings"))
    }

    /// The venue said goodbye, and why.
    pub fn goodbye(&mut self, words: String, now: Nanos) {
        self.heard = now;
        self.goodbye = Some((now, words));
    }

    /// The words of the goodbye, if it was said: they explain the end better than the socket does.
    pub fn last_words(&mut self) -> Option<String> {
        self.goodbye.take().map(|(_, words)| words)
    }

    /// Time stood still for us: what is waiting in the kernel must be read before it is judged.
    pub fn excuse(&mut self, now: Nanos) {
        self.heard = now;
        self.answered = self.answered.map(|_| now);
        self.sent_at = now;
        if let Some((_, last)) = &mut self.data {
            *last = now;
        }
    }

    /// Whether data comes.
    #[must_use]
    pub fn hears(&self) -> bool {
        self.data.is_some() && !self.suspect
    }

    /// How long data has come, ns.
    #[must_use]
    pub fn lived(&self, now: Nanos) -> u64 {
        self.data.map_or(0, |(first, _)| now.since(first))
    }

    /// Whether everything was subscribed to, as far as the venue will say, and data comes.
    #[must_use]
    pub fn is_settled(&self, plan: &Plan, frames: usize, now: Nanos) -> bool {
        let answered = self.answers >= plan.answers || now.since(self.sent_at) > ACK_WITHIN;
        self.hears() && self.sent >= frames && answered && self.goodbye.is_none()
    }

    /// The frame to blame if the venue hung up now without a word: the last one sent, if it was not
    /// answered; and whether another was.
    #[must_use]
    pub fn blames(&self, now: Nanos) -> Option<(usize, bool)> {
        let last = self.sent.checked_sub(1)?;
        let soon = now.since(self.sent_at) <= BLAMED_WITHIN;
        (soon && self.answers <= self.before).then_some((last, self.answers > 0))
    }

    /// What it needs now; asked until there is nothing. `frames` subscribe, one at a time; a careful
    /// line waits for the answer to each.
    pub fn need(&mut self, plan: &Plan, frames: usize, careful: bool, now: Nanos) -> Option<Need> {
        if let Some((since, words)) = &self.goodbye {
            let over = now.since(*since) >= GOODBYE;
            return over.then(|| Need::End(Loss::closed(words)));
        }
        let silent = now.since(self.heard);
        if silent > plan.dead_ns {
            let why = format!("nothing arrived for {} ms", plan.dead_ns / NS_PER_MS);
            return Some(Need::End(Loss::new("stale", FeedState::Stale, why)));
        }
        if let Some(say) = self.owes(plan, frames, careful, silent, now) {
            return Some(Need::Say(say));
        }
        self.unanswered(plan, frames, now).or_else(|| self.deaf(plan, now))
    }

    fn owes(
        &mut self,
        plan: &Plan,
        frames: usize,
        careful: bool,
        silent: u64,
        now: Nanos,
    ) -> Option<Say> {
        let waits = careful && self.answers == self.before && self.sent > 0;
        let waits = waits && now.since(self.sent_at) <= BLAMED_WITHIN;
        if self.sent < frames && now >= self.next_at && !waits {
            self.sent += 1;
            self.before = self.answers;
            (self.sent_at, self.next_at) = (now, now.plus(SUBSCRIBE_EVERY));
            return Some(Say::Subscription(self.sent - 1));
        }
        let since = now.since(self.beat);
        if since >= plan.heartbeat_ns || silent.min(since) >= plan.dead_ns / 2 {
            self.beat = now;
            return Some(Say::Heartbeat);
        }
        None
    }

    fn unanswered(&mut self, plan: &Plan, frames: usize, now: Nanos) -> Option<Need> {
        let late = self.sent >= frames && now.since(self.sent_at) > ACK_WITHIN;
        if !late || self.complained || self.answers >= plan.answers {
            return None;
        }
        self.complained = true;
        if self.answers == 0 && self.data.is_none() {
            let why = "subscribe: no acknowledgement within 5 s";
            return Some(Need::End(Loss::down("subscribe", why)));
        }
        Some(Need::Unanswered(plan.answers - self.answers, plan.answers))
    }

    fn deaf(&mut self, plan: &Plan, now: Nanos) -> Option<Need> {
        let since = self.data.map(|(_, last)| last).or(self.answered);
        let since = since.or((plan.answers == 0).then_some(self.since))?;
        if self.suspect || now.since(since) <= plan.canary_ns {
            return None;
        }
        self.suspect = true;
        Some(Need::Doubt)
    }
}
