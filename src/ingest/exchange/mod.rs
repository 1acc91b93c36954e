//! The venues: one file each, all with the same items in the same order.
//!
//! [`EXCHANGES`] is the table; everything else loops over it. Adding a venue is one file here, one
//! row in that table and one in [`Venue`].

pub mod json;
mod plain;
mod page;
pub mod tops;
mod binance;
mod bybit;
mod okx;
mod hyperliquid;
mod fills;

use super::instrument::{Instrument, Instruments};
use crate::event::{Completeness, Event, Venue};
use crate::symbol::Symbol;
use json::{Json, Scratch};
use tops::Tops;

/// What a frame came to. Exactly one verdict per frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Understood; it may still have held no event (`"data":[]`).
    Decoded,
    /// Understood and of no interest, by name: `ack`, `pong`, `kline`...
    Ignored(&'static str),
    /// Not understood, by reason: `json`, `schema`...
    Rejected(&'static str),
    /// The venue says something that the connection must act on.
    Control(Control),
}

/// What a venue says about the connection. Counted as ignored, under [`Control::name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// A subscription was acknowledged.
    Ack,
    /// A subscription was refused.
    Refused,
    /// The answer to our heartbeat.
    Pong,
    /// The venue will close this connection soon.
    Closing,
    /// Any other notice.
    Notice,
}

impl Control {
    /// The name it is counted under.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ack => "ack",
            Self::Refused => "refused",
            Self::Pong => "pong",
            Self::Closing => "closing",
            Self::Notice => "notice",
        }
    }
}

/// What the venue said beside the normalised event, for `decode`.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The venue's own symbol.
    pub symbol: &'a str,
    /// Base quantity; `None` when the contract's size is unknown.
    pub quantity: Option<f64>,
    /// The venue's own number of the trade or fill, or what stands for it in 64 bits; `None` where it
    /// gives none. Within a market and a millisecond no two have the same.
    pub id: Option<u64>,
}

/// Where parsed items go, in the order of the frame.
pub trait Items {
    /// One event. `received`, `stamp.back_ms`, `parse_ns` and `line` are filled in by the reader.
    fn event(&mut self, event: Event, origin: Origin<'_>);
    /// One item that was refused, by reason: `price`, `quantity`, `symbol`...
    fn refuse(&mut self, reason: &'static str);
}

/// One kind of connection to a venue.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// Its name within the venue: `market`, `public`, `linear`...
    pub name: &'static str,
    /// The real endpoint, `wss://host[:port]/path`.
    pub url: &'static str,
    /// Whether liquidations come on it.
    pub liquidations: bool,
}

/// What to subscribe to.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Symbols whose trades, book top, mark, funding and open interest are heard.
    pub reference: Vec<Symbol>,
    /// Addresses whose fills are heard (Hyperliquid).
    pub addresses: Vec<String>,
    /// Vaults that take over positions; their fills are heard as far as the addresses leave room.
    pub vaults: Vec<String>,
}

impl Wanted {
    /// Everybody whose fills are wanted, none twice, the addresses first.
    #[must_use]
    pub fn users(&self) -> Vec<&str> {
        let mut users: Vec<&str> = Vec::new();
        for user in self.addresses.iter().chain(&self.vaults) {
            if !users.iter().any(|known| known.eq_ignore_ascii_case(user)) {
                users.push(user);
            }
        }
        users
    }
}

/// What keeps a connection open from our side.
#[derive(Clone, Copy, Debug)]
pub struct Heartbeat {
    /// How often, ms.
    pub every_ms: u64,
    /// The text frame to send; `None` for a WebSocket ping.
    pub text: Option<&'static str>,
}

/// A REST request that lists instruments.
#[derive(Clone, Copy, Debug)]
pub struct Listing {
    /// `https://host/path?query`.
    pub url: &'static str,
    /// Body of a POST; `None` for a GET.
    pub body: Option<&'static str>,
}

/// What parsing needs, made once per reader and reused for every frame: no allocation per frame.
#[derive(Debug, Default)]
pub struct Desk {
    /// The venue's instruments.
    pub instruments: Instruments,
    /// Where JSON is parsed.
    pub scratch: Scratch,
    /// Book tops that a venue sends as differences.
    pub tops: Tops,
    /// Vaults whose trades are suspected liquidations.
    pub vaults: Vec<String>,
}

impl Desk {
    /// A desk that knows the exchange's built-in instruments and vaults.
    #[must_use]
    pub fn new(exchange: &dyn Exchange) -> Self {
        let vaults = exchange.vaults().iter().map(|&vault| vault.to_owned()).collect();
        let mut desk = Self { vaults, ..Self::default() };
        desk.instruments.extend(exchange.built_in());
        desk
    }
}

/// The venues that are spoken.
pub static EXCHANGES: [&dyn Exchange; 4] =
    [&binance::Binance, &bybit::Bybit, &okx::Okx, &hyperliquid::Hyperliquid];

/// The exchange of a venue; `None` for [`Venue::Other`].
#[must_use]
pub fn exchange(venue: Venue) -> Option<&'static dyn Exchange> {
    EXCHANGES.iter().copied().find(|exchange| exchange.venue() == venue)
}

/// A venue.
pub trait Exchange: Sync {
    /// Which.
    fn venue(&self) -> Venue;
    /// Its connections.
    fn routes(&self) -> &'static [Route];
    /// Text frames that subscribe on `route`, chunked within the venue's limits.
    fn subscriptions(&self, route: &Route, known: &Instruments, wanted: &Wanted) -> Vec<String>;
    /// Answers the venue gives to one of these frames.
    fn answers(&self, _frame: &str) -> u32 {
        1
    }
    /// Whether the venue hangs up over one bad subscription instead of refusing it.
    fn fragile(&self) -> bool {
        false
    }
    /// What keeps a connection open.
    fn heartbeat(&self) -> Heartbeat;
    /// How much of the truth its liquidation feed shows.
    fn completeness(&self) -> Completeness;
    /// The chatty stream on `route` that tells a live connection from a deaf one.
    fn canary(&self, route: &Route) -> &'static str;
    /// What of all liquidations is sent on `route`, and when, in words.
    fn sampling(&self, route: &Route) -> &'static str;
    /// The limits its connections are kept within, in words.
    fn limits(&self) -> &'static str;
    /// Addresses that take over positions from the liquidated, where the venue shows them.
    fn vaults(&self) -> &'static [&'static str] {
        &[]
    }
    /// REST requests that list its instruments, in order; each answer goes to [`Self::listed`].
    fn listings(&self) -> &'static [Listing];
    /// Instruments in a REST answer. Rows that cannot be used are left out.
    ///
    /// # Errors
    /// Says what is wrong with the answer.
    fn listed(&self, body: &[u8]) -> Result<Vec<Instrument>, String>;
    /// Where the next page of a listing begins, by an answer: what is added to the request's URL.
    /// `None` when this was the last.
    ///
    /// # Errors
    /// Says what is wrong with it.
    fn next_page(&self, _body: &[u8]) -> Result<Option<String>, String> {
        Ok(None)
    }
    /// Instruments known without asking.
    fn built_in(&self) -> Vec<Instrument>;
    /// What a symbol that is in no table must mean, where the venue's documentation leaves only one
    /// possibility (every USD-M contract of Binance is one unit of the base asset it names).
    /// `None`: unknown.
    fn implied(&self, symbol: &str) -> Option<Instrument>;
    /// Parses one frame.
    fn parse(&self, frame: &[u8], desk: &mut Desk, out: &mut dyn Items) -> Verdict;
}

/// The venue's names for the symbols that are wanted, [`Symbol::BTC`] always first because the canary
/// is its chatter. Of several instruments of a symbol the one of lowest rank is taken, then the first
/// by name; those without a rank do not belong on the route. A symbol the venue does not list is left
/// out: a wrong name can close the connection.
fn names<'k>(
    known: &'k Instruments,
    wanted: &Wanted,
    rank: impl Fn(&Instrument) -> Option<u8>,
) -> Vec<&'k str> {
    let ranked: Vec<_> =
        known.sorted().into_iter().filter_map(|i| rank(i).map(|rank| (rank, i))).collect();
    let mut names: Vec<&str> = Vec::new();
    for symbol in std::iter::once(&Symbol::BTC).chain(&wanted.reference) {
        let of_symbol = ranked.iter().filter(|(_, instrument)| instrument.symbol == *symbol);
        let best = of_symbol.min_by_key(|(rank, _)| *rank).map(|(_, i)| i.name.as_str());
        names.extend(best.filter(|name| !names.contains(name)));
    }
    names
}

/// The name a message is ignored under, if it is one of those `known` to be of no interest; else the
/// message is refused.
fn of_no_interest(name: &str, known: &[&'static str]) -> Verdict {
    match known.iter().find(|known| **known == name) {
        Some(known) => Verdict::Ignored(known),
        None => Verdict::Rejected("channel"),
    }
}

/// The rows of a REST answer, each turned into an instrument where it can be.
fn listing(
    body: &[u8],
    rows: impl for<'t> Fn(Json<'t>) -> Option<Json<'t>>,
    row: impl Fn(Json<'_>) -> Option<Instrument>,
) -> Result<Vec<Instrument>, String> {
    let read = |json: Json<'_>| match rows(json) {
        Some(rows) if rows.is_array() => Ok(rows.elements().filter_map(&row).collect()),
        _ => Err("the answer holds no list of instruments".to_owned()),
    };
    Scratch::for_listing().read(body, read).map_err(|reason| format!("not JSON: {reason}"))?
}

#[cfg(test)]
mod tests;
