//! The keys, fields and channels that users know. A symbol is only ever part of an argument.
//!
//! Every key has a time to live, renewed with every write. A field of a hash whose value is missing
//! is deleted, so that `HGET` answers nil and never something old.

use redis::Cmd;

use super::backlog::Entry;
use super::link::Packet;
use crate::event::{Completeness, FeedState, Venue};
use crate::publish::json::{
    self, Figure, Json, Sent, motion_fields, total_value_usd, venues_of, windows,
};
use crate::signal::{Level, Report};
use crate::time::{Nanos, Now};

/// The stream of every signal.
pub const STREAM: &str = "foreshock:signals";
/// Hash and channel of the feeds.
pub const FEEDS: &str = "foreshock:feeds";
/// Channel of all signals, and key prefix of their history.
pub const SIGNALS: &str = "cascade:signals";
/// The latest liquidations.
pub const EVENTS: &str = "cascade:events:buffer";
/// Entries kept in a history and in the list of events.
pub const KEPT: usize = 1000;

const TTL_STATE: u32 = 600;
const TTL_NOW: u32 = 60;
const TTL_SIGNALS: u32 = 7 * 86_400;

/// State of one line of one venue.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Feed {
    pub(super) venue: Venue,
    pub(super) line: u8,
    pub(super) state: FeedState,
    pub(super) code: u16,
    pub(super) completeness: Completeness,
    pub(super) since: Nanos,
    pub(super) heard: Option<Nanos>,
    /// Whether the state is news.
    pub(super) changed: bool,
}

impl Feed {
    /// Takes over a state; `true` when it is news.
    pub(super) fn change(&mut self, state: FeedState, code: u16, at: Nanos) -> bool {
        if self.state != state {
            self.since = at;
        }
        self.changed |= self.state != state || self.code != code;
        (self.state, self.code) = (state, code);
        self.changed
    }
}

/// The reference price.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bitcoin {
    pub(super) price: f64,
    /// USD traded in the last 60 s; `None` when no trades are heard.
    pub(super) volume: Option<f64>,
}

fn expire(packet: &mut Packet, key: &str, seconds: u32) {
    packet.put("EXPIRE", |c| {
        c.arg(key).arg(seconds);
    });
}

fn set(packet: &mut Packet, key: &str, value: &str, seconds: u32) {
    packet.put("SET", |c| {
        c.arg(key).arg(value).arg("EX").arg(seconds);
    });
}

/// The stream entry that says which numbers are missing, from `from`. Its id is that of the last.
pub(super) fn gap(packet: &mut Packet, from: u64, (run, to): (u64, u64), maxlen: usize) {
    packet.put("XADD", |c| {
        c.arg(STREAM).arg("MAXLEN").arg("~").arg(maxlen).arg(format!("{run}-{to}"));
        c.arg("kind").arg("gap").arg("from").arg(from).arg("to").arg(to);
    });
}

/// One signal: the stream first, then whoever listens (unless this is a repeat), then the histories.
pub(super) fn signal(
    packet: &mut Packet,
    entry: &Entry,
    run: u64,
    maxlen: usize,
    news: bool,
    text: &mut String,
) {
    let report = &entry.report;
    text.clear();
    json::signal(report, &Sent { run, now: entry.now }, text);
    let timestamp = entry.now.wall_of(report.at).0;
    packet.put("XADD", |c| {
        c.arg(STREAM).arg("MAXLEN").arg("~").arg(maxlen).arg(format!("{run}-{}", report.seq));
        c.arg("kind").arg(report.kind.name()).arg("symbol").arg(report.symbol.as_str());
        c.arg("signal").arg(report.level.name()).arg("timestamp").arg(timestamp);
        c.arg("json").arg(text.as_str());
    });
    if news {
        for (channel, least) in [
            (SIGNALS, Level::None),
            ("cascade:alerts", Level::Alert),
            ("cascade:critical", Level::Critical),
        ] {
            if report.level >= least {
                packet.put("PUBLISH", |c| {
                    c.arg(channel).arg(text.as_str());
                });
            }
        }
    }
    if report.level >= Level::Alert {
        history(packet, "cascade:signals:history", timestamp, text);
        let own = format!("cascade:signals:history:{}", report.symbol);
        history(packet, &own, timestamp, text);
    }
}

fn history(packet: &mut Packet, key: &str, timestamp: i64, text: &str) {
    packet.put("ZADD", |c| {
        c.arg(key).arg(timestamp).arg(text);
    });
    packet.put("ZREMRANGEBYRANK", |c| {
        c.arg(key).arg(0).arg(-(KEPT as i64) - 1);
    });
    expire(packet, key, TTL_SIGNALS);
}

/// Renews the stream after signals were added.
pub(super) fn renew_stream(packet: &mut Packet) {
    expire(packet, STREAM, TTL_SIGNALS);
}

/// The state of one symbol or of the market.
pub(super) fn state(packet: &mut Packet, report: &Report, now: Now, text: &mut String) {
    velocity(packet, report, now);
    text.clear();
    Json::object(text, |json| {
        json.put("symbol", report.symbol.as_str());
        json.put("probability", report.probability);
        json.put("signal", report.level.name());
        json.put("risk", report.risk);
        json.put("timestamp", now.wall_of(report.at).0);
        json.put("coverage", report.coverage);
        json.put("gap", report.gap);
        json.list("live", venues_of(report.live));
    });
    let key = format!("cascade:probability:{}", report.symbol);
    set(packet, &key, text, TTL_NOW);
}

fn velocity(packet: &mut Packet, report: &Report, now: Now) {
    let key = format!("velocity:{}:current", report.symbol);
    let optional = [
        ("btc_price", report.btc_price),
        ("imbalance", report.imbalance),
        ("price", report.price),
        ("volatility", report.volatility),
    ];
    packet.put("HSET", |c| {
        c.arg(&key).arg("symbol").arg(report.symbol.as_str());
        c.arg("timestamp").arg(now.wall_of(report.at).0);
        windows(report, |name, figure| match figure {
            Figure::Count(n) => number(c, name, n),
            Figure::Rate(rate) => number(c, name, rate),
        });
        for (name, value) in motion_fields(&report.fast) {
            number(c, name, value);
        }
        for (name, value) in motion_fields(&report.slow) {
            c.arg(format!("{name}_10s")).arg(value);
        }
        number(c, "total_value_usd", total_value_usd(report));
        number(c, "volatility_factor", report.velocity_scale);
        number(c, "coverage", report.coverage);
        for (name, value) in optional {
            if let Some(value) = value {
                number(c, name, value);
            }
        }
    });
    if optional.iter().any(|(_, value)| value.is_none()) {
        packet.put("HDEL", |c| {
            c.arg(&key);
            for (name, _) in optional.iter().filter(|(_, value)| value.is_none()) {
                c.arg(*name);
            }
        });
    }
    expire(packet, &key, TTL_STATE);
}

fn number(command: &mut Cmd, name: &str, value: impl redis::ToRedisArgs) {
    command.arg(name).arg(value);
}

/// The regime, from the state of the market.
pub(super) fn regime(packet: &mut Packet, report: &Report, now: Now, text: &mut String) {
    text.clear();
    Json::object(text, |json| {
        json.put("regime", report.regime.name());
        json.put("liquidity", report.liquidity.name());
        json.put("trend", report.trend.name());
        json.nest("multipliers", |json| {
            json.put("velocity", report.velocity_scale);
            json.put("volume", report.volume_scale);
        });
        json.put("since", now.wall_of(report.regime_since).0);
        json.put("btc_price", report.btc_price);
        json.put("volatility", report.volatility);
        json.put("timestamp", now.wall_of(report.at).0);
    });
    set(packet, "regime:current", text, TTL_STATE);
}

/// The reference price.
pub(super) fn bitcoin(packet: &mut Packet, bitcoin: &Bitcoin, now: Now, text: &mut String) {
    text.clear();
    Json::object(text, |json| {
        json.put("price", bitcoin.price);
        json.put("timestamp", now.wall.0);
        json.put("volume", bitcoin.volume);
    });
    set(packet, "btc:price:current", text, TTL_NOW);
}

/// The state of one feed; on the channel too when it is news.
pub(super) fn feed(packet: &mut Packet, feed: &Feed, now: Now, text: &mut String) {
    text.clear();
    let age = |at: Nanos| now.mono.since(at) / crate::time::NS_PER_MS;
    Json::object(text, |json| {
        json.put("exchange", feed.venue.name());
        json.put("line", u32::from(feed.line));
        json.put("state", feed.state.name());
        json.put("code", (feed.code > 0).then_some(u32::from(feed.code)));
        json.put("since", now.wall_of(feed.since).0);
        json.put("age_ms", feed.heard.map(age));
        json.put("completeness", feed.completeness.name());
        json.put("timestamp", now.wall.0);
    });
    packet.put("HSET", |c| {
        c.arg(FEEDS).arg(format!("{}/{}", feed.venue.name(), feed.line)).arg(text.as_str());
    });
    expire(packet, FEEDS, TTL_NOW);
    if feed.changed {
        packet.put("PUBLISH", |c| {
            c.arg(FEEDS).arg(text.as_str());
        });
    }
}

/// Liquidations, oldest first.
pub(super) fn liquidations<'a>(packet: &mut Packet, texts: impl Iterator<Item = &'a str>) {
    packet.put("LPUSH", |c| {
        c.arg(EVENTS);
        for text in texts {
            c.arg(text);
        }
    });
    packet.put("LTRIM", |c| {
        c.arg(EVENTS).arg(0).arg(KEPT - 1);
    });
    expire(packet, EVENTS, TTL_STATE);
}
