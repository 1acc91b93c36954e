//! What the sink hands to the page's thread: the latest of each row, and what happened one by one.
//!
//! A row's state and price replace the ones before them, so however long the thread takes, the next
//! parcel holds no more than one of each; signals and liquidations are kept in order, and those that
//! find no room are counted. Everything is allocated at the start.

use crate::event::{Body, Event};
use crate::quote;
use crate::signal::Report;
use crate::symbol::Symbol;
use crate::time::{Nanos, Now};

/// Rows of one parcel: as many as the engine may have, and those it has no row for.
const ROWS: usize = 4_160;
/// Places of the index; twice the rows, so that a search is short.
const PLACES: usize = 16_384;
/// Signals of one parcel.
const SIGNALS: usize = 256;
/// Liquidations of one parcel.
const TAPE: usize = 512;
/// A place of the index that leads nowhere.
const NOWHERE: u16 = u16::MAX;

/// The latest of one symbol.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub symbol: Symbol,
    pub report: Option<Report>,
    /// What a trade, a mark or a book said last, and when.
    pub price: Option<(f64, Nanos)>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Parcel {
    /// When it was handed over.
    pub now: Now,
    /// The latest tick that came all the way.
    pub tick: Option<Nanos>,
    pub rows: Vec<Row>,
    pub signals: Vec<Report>,
    pub tape: Vec<Event>,
    /// Signals and liquidations that found no room.
    pub lost: u64,
    index: Box<[u16]>,
}

impl Parcel {
    pub fn new() -> Self {
        Self {
            now: Now::default(),
            tick: None,
            rows: Vec::with_capacity(ROWS),
            signals: Vec::with_capacity(SIGNALS),
            tape: Vec::with_capacity(TAPE),
            lost: 0,
            index: vec![NOWHERE; PLACES].into(),
        }
    }

    pub fn clear(&mut self) {
        self.tick = None;
        self.rows.clear();
        self.signals.clear();
        self.tape.clear();
        self.lost = 0;
        self.index.fill(NOWHERE);
    }

    pub fn report(&mut self, report: &Report) {
        if let Some(row) = self.row(report.symbol) {
            row.report = Some(*report);
        }
        if report.is_signal() {
            self.lost += u64::from(!push(&mut self.signals, *report));
        }
    }

    pub fn event(&mut self, event: &Event) {
        match event.body {
            Body::Tick => self.tick = Some(event.received),
            Body::Liquidation { .. } => self.lost += u64::from(!push(&mut self.tape, *event)),
            ref body => {
                if let Some(price) = quote::price(body)
                    && let Some(row) = self.row(event.symbol)
                {
                    row.price = Some((price, event.received));
                }
            }
        }
    }

    /// The symbol's row; made when there is none, and `None` when there is no room.
    fn row(&mut self, symbol: Symbol) -> Option<&mut Row> {
        let mut place = place(symbol);
        loop {
            let at = self.index.get_mut(place)?;
            match self.rows.get(usize::from(*at)) {
                Some(row) if row.symbol == symbol => break,
                Some(_) => place = (place + 1) % PLACES,
                None if self.rows.len() == ROWS => return None,
                None => {
                    *at = u16::try_from(self.rows.len()).ok()?;
                    self.rows.push(Row { symbol, report: None, price: None });
                    break;
                }
            }
        }
        let at = self.index.get(place).copied()?;
        self.rows.get_mut(usize::from(at))
    }
}

/// Where the search for a symbol begins.
fn place(symbol: Symbol) -> usize {
    let mixed = u128::from_le_bytes(symbol.to_bytes())
        .wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    usize::try_from(mixed >> 114).unwrap_or(0) % PLACES
}

fn push<T>(to: &mut Vec<T>, item: T) -> bool {
    let room = to.len() < to.capacity();
    if room {
        to.push(item);
    }
    room
}
