//! Long operation in simulated time: the lines as they are, venues that drop, freeze, warn, cut, refuse
//! and slow down, and an operator who rotates. No socket, no clock; the same seed is the same year.
//!
//! `cargo test` plays some days. `FORESHOCK_FULL=1` plays a year; `FORESHOCK_SEED=n` another one.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers")]

use foreshock::event::{Body, Event, FeedState, Flags, Side, Stamp, Usd, Venue};
use foreshock::ingest::backoff::Pace;
use foreshock::ingest::coverage::Coverage;
use foreshock::ingest::exchange::{Control, Verdict};
use foreshock::ingest::line::{Line, Loss, Order, Plan, Refusal, Say, Slot};
use foreshock::ingest::source::{FeedChange, Heard};
use foreshock::ingest::twins::{Twins, link_of};
use foreshock::symbol::Symbol;
use foreshock::time::{Millis, NS_PER_MS, Nanos, Now};

const DAY: i64 = 86_400_000;

/// splitmix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: i64) -> i64 {
        (self.roll() % n as u64) as i64
    }

    /// Exponential with this mean.
    fn wait(&mut self, mean_ms: i64) -> i64 {
        let u = (self.roll() >> 11) as f64 / (1_u64 << 53) as f64;
        (-(1.0 - u).ln() * mean_ms as f64) as i64 + 1
    }
}

/// What goes wrong. Mean times between faults of one connection, ms; `None`: never.
#[derive(Clone, Copy)]
struct Weather {
    reset: Option<i64>,
    freeze: Option<i64>,
    deaf: Option<i64>,
    notice: Option<i64>,
    /// The venue cuts every connection at this age.
    cut: i64,
    /// Calls out of a hundred that are refused.
    refused: i64,
    /// Our own pauses.
    pause: Option<i64>,
    rotate_at: Option<u16>,
    /// Most time a message takes, ms.
    slow: i64,
}

const STORM: Weather = Weather {
    reset: Some(6 * 3_600_000),
    freeze: Some(18 * 3_600_000),
    deaf: Some(24 * 3_600_000),
    notice: Some(30 * 3_600_000),
    cut: DAY,
    refused: 20,
    pause: Some(9 * 3_600_000),
    rotate_at: Some(210),
    slow: 2_000,
};

const PLANNED: Weather = Weather {
    reset: None,
    freeze: None,
    deaf: None,
    notice: Some(7 * 3_600_000),
    cut: DAY,
    refused: 0,
    pause: None,
    rotate_at: Some(210),
    slow: 300,
};

/// A connection as the venue sees it.
struct Remote {
    link: u32,
    /// When answers arrive: acknowledgements of subscriptions, and pongs.
    acks: Vec<i64>,
    pongs: Vec<i64>,
    subscribed: [Option<i64>; 2],
    /// Nothing is sent from here on: gone, frozen, deaf.
    dies: i64,
    frozen: i64,
    deaf: i64,
    notice: i64,
    warned: bool,
    latency: i64,
    /// Liquidations under way: when they arrive, and which.
    under_way: Vec<(i64, usize)>,
}

/// One line, its two places at the venue, and the answer that is awaited.
struct Local {
    line: Line,
    remotes: [Option<Remote>; 2],
    answer: Option<(i64, Option<Refusal>)>,
    opened: u64,
    steady_from: i64,
}

/// One venue with all its lines.
struct World {
    dice: Dice,
    weather: Weather,
    now: i64,
    locals: Vec<Local>,
    pace: Pace,
    calls: Vec<i64>,
    twins: Twins,
    coverage: Coverage,
    changes: Vec<(i64, FeedChange)>,
    /// When each liquidation happened, how often it was delivered, and how it passed.
    told: Vec<Told>,
    next: i64,
    next_pause: i64,
    pauses: u64,
}

#[derive(Clone, Copy)]
struct Told {
    at: i64,
    delivered: u32,
    passed: u32,
    flagged: bool,
}

fn plan(copy: u8, rotate_at: Option<u16>) -> Plan {
    Plan {
        venue: Venue::Okx,
        line: Plan::number(0, copy),
        route: "public",
        rare: true,
        subscriptions: vec!["liquidations".to_owned(), "canary".to_owned()],
        answers: 2,
        fragile: true,
        heartbeat_ns: 20_000 * NS_PER_MS,
        dead_ns: 4_500 * NS_PER_MS,
        canary_ns: 4_500 * NS_PER_MS,
        rotate_at,
    }
}

const START: i64 = 1_767_225_600_000;

impl World {
    fn new(seed: u64, weather: Weather, lines: u8) -> Self {
        let mut dice = Dice(seed);
        let local = |copy| Local {
            line: Line::new(plan(copy, weather.rotate_at)),
            remotes: [None, None],
            answer: None,
            opened: 0,
            steady_from: START,
        };
        let next_pause = weather.pause.map_or(i64::MAX, |mean| START + dice.wait(mean));
        Self {
            weather,
            now: START,
            locals: (0..lines).map(local).collect(),
            pace: Pace::default(),
            calls: Vec::new(),
            twins: Twins::default(),
            coverage: Coverage::default(),
            changes: Vec::new(),
            told: Vec::new(),
            // Before anything is connected nothing can be missed.
            next: START + 10_000,
            next_pause,
            pauses: 0,
            dice,
        }
    }

    fn play(&mut self, days: i64) {
        let end = START + days * DAY;
        while self.now < end {
            let steady = self.locals.iter().all(|local| self.now - local.steady_from > 15_000);
            self.now += if steady { 1_000 } else { 50 };
            if self.now >= self.next_pause {
                self.now += 2_500 + self.dice.below(20_000);
                self.next_pause = self.now + self.dice.wait(self.weather.pause.unwrap());
                self.pauses += 1;
            }
            self.step();
        }
    }

    fn step(&mut self) {
        let from = self.told.len();
        while self.next <= self.now {
            self.told.push(Told { at: self.next, delivered: 0, passed: 0, flagged: false });
            self.next += self.dice.wait(20_000);
        }
        for i in 0..self.locals.len() {
            self.answer(i);
            for slot in 0..2 {
                self.deliver(i, slot, from);
            }
            self.obey(i);
            let local = &mut self.locals[i];
            assert!(
                local.line.is_attended(),
                "neither a link nor a call is planned at {}",
                self.now
            );
            let lone = local.remotes.iter().flatten().count() == 1 && local.answer.is_none();
            if !(lone && local.line.hears()) {
                local.steady_from = self.now;
            }
            while let Some(change) = local.line.next_change() {
                self.coverage.change(&change, Millis(self.now));
                self.changes.push((self.now, change));
            }
        }
    }

    fn time(&self) -> Now {
        Now::at_millis(self.now)
    }

    /// What the dial thread says.
    fn answer(&mut self, i: usize) {
        let mono = self.time().mono;
        let local = &mut self.locals[i];
        let Some((_, refusal)) = local.answer.take_if(|(at, _)| *at <= self.now) else { return };
        if let Some(refusal) = refusal {
            return local.line.refused(refusal, mono);
        }
        let (slot, gone) = local.line.opened(mono);
        if let Some(gone) = gone {
            local.remotes[gone] = None;
        }
        let link = link_of(local.line.plan().line, local.line.number(slot));
        local.opened += 1;
        let Weather { reset, freeze, deaf, notice, cut, slow, .. } = self.weather;
        let (now, dice) = (self.now, &mut self.dice);
        let mut at = |mean: Option<i64>| mean.map_or(i64::MAX, |mean| now + dice.wait(mean));
        let (reset, frozen, deaf, notice) = (at(reset), at(freeze), at(deaf), at(notice));
        local.remotes[slot] = Some(Remote {
            link,
            acks: Vec::new(),
            pongs: Vec::new(),
            subscribed: [None; 2],
            dies: reset.min(now + cut).min(notice.saturating_add(30_000)),
            frozen,
            deaf,
            notice,
            warned: false,
            latency: 20 + dice.below(slow),
            under_way: Vec::new(),
        });
    }

    /// What reaches us over one connection.
    fn deliver(&mut self, i: usize, slot: Slot, from: usize) {
        let (now, mono) = (self.now, self.time().mono);
        let local = &mut self.locals[i];
        let Some(remote) = local.remotes[slot].as_mut() else { return };
        let silent = remote.dies.min(remote.frozen);
        if let Some(since) = remote.subscribed[0] {
            let sent = |told: &Told| told.at >= since && told.at < silent.min(remote.deaf);
            for (id, _) in self.told.iter().enumerate().skip(from).filter(|(_, told)| sent(told)) {
                remote.under_way.push((self.told[id].at + remote.latency, id));
            }
        }
        // What has arrived is read before anything is judged; what is still under way dies with it.
        let alive_at = |at: i64| at <= now && at < silent;
        let line = &mut local.line;
        let heard = |verdict, rare| Heard { verdict, rare, late: false };
        for at in remote.acks.extract_if(.., |at| *at <= now) {
            if at < silent {
                line.frame(slot, heard(Verdict::Control(Control::Ack), false), mono);
            }
        }
        for at in remote.pongs.extract_if(.., |at| *at <= now) {
            if at < silent {
                line.frame(slot, heard(Verdict::Control(Control::Pong), false), mono);
            }
        }
        let deaf = remote.deaf;
        if remote.subscribed[1].is_some_and(|at| alive_at(at + remote.latency))
            && now < silent.min(deaf)
        {
            line.frame(slot, heard(Verdict::Decoded, false), mono);
        }
        for (at, id) in remote.under_way.extract_if(.., |(at, _)| *at <= now) {
            if at >= silent {
                continue;
            }
            line.frame(slot, heard(Verdict::Decoded, true), mono);
            let told = &mut self.told[id];
            told.delivered += 1;
            let mut event = liquidation(id, told.at, line.plan().line, mono);
            if self.twins.is_new(&event, None, remote.link, mono) {
                told.passed += 1;
                self.coverage.mark(&mut event);
                told.flagged = event.flags.has(Flags::GAP);
            }
        }
        if !remote.warned && alive_at(remote.notice) {
            remote.warned = true;
            line.frame(slot, heard(Verdict::Control(Control::Closing), false), mono);
        }
        if remote.dies <= now && remote.dies < remote.frozen {
            line.lost(slot, Loss::down("reset", "connection reset"), mono);
            local.remotes[slot] = None;
        }
    }

    fn obey(&mut self, i: usize) {
        let now = self.time();
        while let Some(order) = self.locals[i].line.order(now) {
            match order {
                Order::Call => self.call(i),
                Order::Forget => self.locals[i].answer = None,
                Order::Hang(slot) => self.locals[i].remotes[slot] = None,
                Order::Send(slot, say) => {
                    let Some(remote) = self.locals[i].remotes[slot].as_mut() else { continue };
                    match say {
                        Say::Subscription(nth) => {
                            remote.subscribed[nth] = Some(self.now + remote.latency / 2);
                            remote.acks.push(self.now + remote.latency);
                        }
                        Say::Heartbeat => remote.pongs.push(self.now + remote.latency),
                    }
                }
            }
        }
    }

    fn call(&mut self, i: usize) {
        let mono = self.time().mono;
        if let Err(free) = self.pace.ask(mono) {
            return self.locals[i].line.postpone(free);
        }
        self.calls.push(self.now);
        let refused = self.dice.below(100) < self.weather.refused;
        let took = 30 + self.dice.below(400);
        let refusal = match (refused, self.dice.below(10)) {
            (false, _) => None,
            // The resolver hangs: no answer at all.
            (true, 0) => return self.locals[i].answer = Some((i64::MAX, None)),
            (true, 1) => Some(Refusal { code: 451, ..Refusal::new("http 451") }),
            (true, 2) => {
                Some(Refusal { code: 429, retry_after: Some(90), ..Refusal::new("http 429") })
            }
            (true, _) => Some(Refusal::new("connection refused")),
        };
        self.locals[i].answer = Some((self.now + took, refusal));
    }

    /// The laws, at the end.
    fn settle(&self) {
        for told in &self.told[..self.told.len().saturating_sub(5)] {
            assert_eq!(told.passed, u32::from(told.delivered > 0), "counted once if heard at all");
        }
        for pair in self.calls.windows(4) {
            assert!(pair[3] - pair[0] >= 1_000, "four calls within a second");
        }
        for pair in self.calls.windows(21) {
            assert!(pair[20] - pair[0] >= 60_000, "21 calls within a minute");
        }
    }

    fn missed(&self) -> usize {
        self.told[..self.told.len().saturating_sub(5)].iter().filter(|t| t.passed == 0).count()
    }

    fn states(&self, state: FeedState) -> usize {
        self.changes.iter().filter(|(_, change)| change.state == state).count()
    }
}

fn liquidation(id: usize, at: i64, line: u8, now: Nanos) -> Event {
    let usd = Usd::new(1.0 + (id % 1_000) as f64);
    Event {
        symbol: Symbol::BTC,
        body: Body::Liquidation { side: Some(Side::Long), price: None, usd },
        stamp: Stamp::new(Some(at), 0),
        venue: Venue::Okx,
        line,
        ..Event::tick(now)
    }
}

/// Days to play, and the first seed.
fn extent(days: i64) -> (i64, u64) {
    let full = std::env::var_os("FORESHOCK_FULL").is_some();
    let seed = std::env::var("FORESHOCK_SEED").ok().and_then(|seed| seed.parse().ok());
    (if full { 365 } else { days }, seed.unwrap_or(1))
}

/// Plays and, when anything fails, says with which seed.
fn play(name: &str, seed: u64, weather: Weather, lines: u8, days: i64) -> World {
    eprintln!("{name}: {days} days, {lines} lines, FORESHOCK_SEED={seed}");
    let mut world = World::new(seed, weather, lines);
    world.play(days);
    world.settle();
    let opened: u64 = world.locals.iter().map(|local| local.opened).sum();
    eprintln!(
        "  {} liquidations, {} missed, {opened} connections, {} gaps, {} pauses of ours",
        world.told.len(),
        world.missed(),
        world.coverage.gaps,
        world.pauses,
    );
    world
}

#[test]
fn f1_to_f28_a_storm_loses_only_what_a_gap_says() {
    let (days, seed) = extent(10);
    for seed in seed..seed + 3 {
        let world = play("storm", seed, STORM, 1, days);
        assert!(world.missed() > 0 && world.coverage.gaps > 0, "the storm did nothing");
        let told = &world.told[..world.told.len() - 5];
        for (before, after) in told.iter().zip(&told[1..]) {
            let behind_a_gap = before.passed == 0 && after.passed > 0;
            assert!(
                !behind_a_gap || after.flagged,
                "missed at {}, not flagged at {}",
                before.at,
                after.at
            );
        }
        assert!(world.states(FeedState::Blocked) > 0 && world.states(FeedState::Stale) > 0);
    }
}

#[test]
fn f22_planned_changes_miss_nothing_in_a_year() {
    let (days, seed) = extent(30);
    let world = play("planned", seed, PLANNED, 1, days);
    assert_eq!((world.missed(), world.coverage.gaps), (0, 0));
    assert!(world.told.iter().any(|told| told.delivered > 1), "connections never overlapped");
    assert!(world.locals[0].opened as i64 > days, "{} connections", world.locals[0].opened);
    for state in [FeedState::Down, FeedState::Stale, FeedState::Suspect] {
        assert_eq!(world.states(state), 0, "{state:?}");
    }
}

#[test]
fn two_lines_miss_less_than_one() {
    let (days, seed) = extent(10);
    let alone = play("one line", seed, STORM, 1, days);
    let both = play("two lines", seed, STORM, 2, days);
    assert!(both.missed() * 5 < alone.missed(), "{} of {}", both.missed(), alone.missed());
    assert!(both.coverage.gaps < alone.coverage.gaps);
}

/// A canary whose messages are up to three seconds apart, a venue that answers slowly, no fault.
#[test]
fn f6_no_false_alarm_in_24_quiet_hours() {
    let mut line = Line::new(plan(0, None));
    let (mut dice, mut next, mut pong) = (Dice(7), START, None);
    line.order(Now::at_millis(START));
    line.opened(Now::at_millis(START).mono);
    let mut states = Vec::new();
    for now in (START..START + DAY).step_by(50) {
        let time = Now::at_millis(now);
        if now >= next {
            line.frame(0, Verdict::Decoded.into(), time.mono);
            next = now + dice.wait(400).min(3_000);
        }
        if pong.take_if(|at| *at <= now).is_some() {
            line.frame(0, Verdict::Control(Control::Pong).into(), time.mono);
        }
        while let Some(order) = line.order(time) {
            match order {
                Order::Send(_, Say::Heartbeat) => pong = Some(now + 1_500),
                Order::Send(..) => line.frame(0, Verdict::Control(Control::Ack).into(), time.mono),
                // After 23.5 hours the planned change, to which nobody answers: no alarm either, since
                // the connection still stands.
                Order::Call | Order::Forget => {}
                other => panic!("{other:?} at {}", now - START),
            }
        }
        states.extend(std::iter::from_fn(|| line.next_change()).map(|change| change.state));
    }
    assert_eq!(states, [FeedState::Connecting, FeedState::Live, FeedState::Quiet]);
}
