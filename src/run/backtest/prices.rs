//! Prices beside the events: candles, and recorded trades.
//!
//! A candle `ts_ms,open,high,low,close,volume` is known only when it has ended, and says nothing of
//! single seconds. What the engine is shown is a walk, one candle late: while the next one runs, one
//! mark a second moves evenly from the last close to this one, and zigzags about that line so that
//! the returns of 1 s have the variance that the candle's range stands for (Parkinson 1980):
//!
//! ```text
//! sd of 1 s = ln(high / low) / sqrt(4 ln 2 * seconds)
//! ```
//! So the regime sees how far the price moved, up to two candles late, and never ahead of time; trend
//! is as late. The symbol is the part of the file's name that ends in `USDT`. Where several candles
//! cover a session, the shortest are taken. Recorded trades go to the engine as they are.
//!
//! Only what lies within [`WARM_MS`] before a session of the events, and within it, is played.

use std::io::BufRead;
use std::path::{Path, PathBuf};

use crate::event::{Body, Completeness, Event, Price, Venue};
use crate::ingest::recording::{self, Entry, Recording, unpacked};
use crate::symbol::Symbol;
use crate::time::Nanos;

/// Prices are played from this long before a session, ms: the slowest volatility looks back 1 h.
pub const WARM_MS: i64 = 65 * 60_000;
const CANDLES: &str = "ts_ms,open,high,low,close,volume";
const SECOND: i64 = 1_000;

/// One candle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bar {
    /// When it begins, ms.
    pub at: i64,
    /// First price.
    pub open: f64,
    /// Highest.
    pub high: f64,
    /// Lowest.
    pub low: f64,
    /// Last.
    pub close: f64,
}

/// The candles of one file.
#[derive(Clone, Debug)]
pub struct Series {
    /// Whose price it is.
    pub symbol: Symbol,
    /// Length of a candle, ms.
    pub length: i64,
    /// By time.
    pub bars: Vec<Bar>,
}

/// Everything that was given.
#[derive(Clone, Debug, Default)]
pub struct Prices {
    series: Vec<Series>,
    trades: Vec<PathBuf>,
}

/// From and until, ms.
pub type Span = (i64, i64);

impl Prices {
    /// Reads what lies within `spans` of each file of candles.
    ///
    /// # Errors
    /// One line: the file, the line in it, and what is wrong.
    pub fn read(files: &[PathBuf], spans: &[Span]) -> Result<Self, String> {
        let mut prices = Self::default();
        for path in files {
            match candles(path, spans)? {
                Some(series) if series.bars.is_empty() => {}
                Some(series) => prices.series.push(series),
                None => prices.trades.push(path.clone()),
            }
        }
        Ok(prices)
    }

    /// The shortest candles of `symbol` that know something of `span`.
    #[must_use]
    pub fn series(&self, symbol: Symbol, span: Span) -> Option<&Series> {
        let of = self.series.iter().filter(|series| series.symbol == symbol);
        let knows = |series: &&Series| !series.within((span.0 - series.length, span.1)).is_empty();
        of.filter(knows).min_by_key(|series| series.length)
    }

    /// What the engine is shown during `spans`: one recording per symbol and file of trades.
    ///
    /// # Errors
    /// When a file of trades cannot be read.
    pub fn recordings(&self, spans: &[Span]) -> Result<Vec<Box<dyn Recording>>, String> {
        let mut symbols: Vec<Symbol> = self.series.iter().map(|series| series.symbol).collect();
        symbols.sort_unstable();
        symbols.dedup();
        let mut all: Vec<Box<dyn Recording>> = Vec::new();
        for symbol in symbols {
            let legs = spans.iter().flat_map(|&span| self.legs(symbol, span)).collect();
            all.push(Box::new(Walk { symbol, legs, leg: 0, second: 0 }));
        }
        for path in &self.trades {
            all.push(Box::new(Within { inner: recording::open(path)?, spans: spans.to_vec() }));
        }
        Ok(all)
    }

    fn legs(&self, symbol: Symbol, span: Span) -> Vec<Leg> {
        let Some(series) = self.series(symbol, span) else { return Vec::new() };
        let (from, until) = span;
        let bars = series.within((from - series.length, until));
        let pairs = bars.windows(2).filter_map(|pair| <&[Bar; 2]>::try_from(pair).ok());
        let legs = pairs.map(|[last, bar]| Leg::of(last, bar, series.length, until));
        legs.filter(|leg| leg.at <= until).collect()
    }
}

impl Series {
    /// The candles that begin within `span`.
    #[must_use]
    pub fn within(&self, (from, until): Span) -> &[Bar] {
        let first = self.bars.partition_point(|bar| bar.at < from);
        let last = self.bars.partition_point(|bar| bar.at <= until);
        self.bars.get(first..last).unwrap_or_default()
    }
}

/// What one candle makes the marks of the time after it do.
#[derive(Clone, Copy, Debug)]
struct Leg {
    /// When the candle has ended, ms.
    at: i64,
    seconds: i64,
    from: f64,
    to: f64,
    /// Standard deviation of a return of 1 s.
    sd: f64,
}

impl Leg {
    fn of(last: &Bar, bar: &Bar, length: i64, until: i64) -> Self {
        let at = bar.at + length;
        let seconds = real(length / SECOND);
        let sd = (bar.high / bar.low).ln() / (4.0 * std::f64::consts::LN_2 * seconds).sqrt();
        let seconds = (length.min(until - at + 1) / SECOND).max(0);
        Self { at, seconds, from: last.close, to: bar.close, sd }
    }

    /// The mark of the given second after the candle has ended.
    fn mark(&self, second: i64, length: i64) -> f64 {
        let share = real(second + 1) / real(length);
        let zig = if second % 2 == 0 { 0.5 } else { -0.5 };
        self.from * (self.to / self.from).powf(share) * (self.sd * zig).exp()
    }
}

#[expect(clippy::cast_precision_loss, reason = "seconds of a candle")]
fn real(n: i64) -> f64 {
    n as f64
}

/// Marks, second by second.
struct Walk {
    symbol: Symbol,
    legs: Vec<Leg>,
    leg: usize,
    second: i64,
}

impl Recording for Walk {
    fn next(&mut self) -> Result<Option<Entry>, String> {
        loop {
            let Some(leg) = self.legs.get(self.leg) else { return Ok(None) };
            if self.second < leg.seconds {
                let price = leg.mark(self.second, leg.seconds);
                let at = leg.at + self.second * SECOND;
                self.second += 1;
                let Some(price) = Price::new(price) else { continue };
                return Ok(Some(Entry::Event(Event {
                    symbol: self.symbol,
                    venue: Venue::Binance,
                    completeness: Completeness::Complete,
                    body: Body::Mark { price, index: None },
                    ..Event::tick(Nanos::from_millis(at))
                })));
            }
            self.leg += 1;
            self.second = 0;
        }
    }
}

/// A recording of which only some stretches are played.
struct Within {
    inner: Box<dyn Recording>,
    spans: Vec<Span>,
}

impl Recording for Within {
    fn next(&mut self) -> Result<Option<Entry>, String> {
        loop {
            let Some(entry) = self.inner.next()? else { return Ok(None) };
            let Some(at) = entry.at().map(Nanos::millis) else { continue };
            if self.spans.iter().any(|&(from, until)| (from..=until).contains(&at)) {
                return Ok(Some(entry));
            }
        }
    }
}

/// The candles of a file within `spans`; `None` when it holds something else.
fn candles(path: &Path, spans: &[Span]) -> Result<Option<Series>, String> {
    let shown = path.display();
    let mut lines = open(path).map_err(|e| format!("{shown}: {e}"))?.lines();
    let header = lines.next().transpose().map_err(|e| format!("{shown}: {e}"))?;
    if header.as_deref() != Some(CANDLES) {
        return Ok(None);
    }
    let symbol = symbol(path).ok_or_else(|| {
        format!("{shown}: whose price is it? name the file like `venue_BTCUSDT_5m.csv`")
    })?;
    let (mut bars, mut last, mut length) = (Vec::new(), 0, i64::MAX);
    for (i, line) in lines.enumerate() {
        let fail = |e: &dyn std::fmt::Display| format!("{shown}, line {}: {e}", i + 2);
        let line = line.map_err(|e| fail(&e))?;
        let at = time(&line).ok_or_else(|| fail(&"no time in ms"))?;
        if at <= last {
            return Err(fail(&"not later than the line before"));
        }
        length = if last > 0 { length.min(at - last) } else { length };
        last = at;
        if spans.iter().any(|&(from, until)| from - 600_000 <= at && at <= until + 600_000) {
            bars.push(bar(at, &line).ok_or_else(|| fail(&"expected open, high, low, close"))?);
        }
    }
    if !bars.is_empty() && !(SECOND..=3_600_000).contains(&length) {
        return Err(format!("{shown}: candles of 1 s to 1 h are read, not of {length} ms"));
    }
    Ok(Some(Series { symbol, length, bars }))
}

fn open(path: &Path) -> std::io::Result<Box<dyn BufRead>> {
    Ok(unpacked(std::fs::File::open(path)?)?)
}

fn time(line: &str) -> Option<i64> {
    line.split(',').next()?.parse().ok().filter(|ms| (1..1 << 43).contains(ms))
}

fn bar(at: i64, line: &str) -> Option<Bar> {
    let mut prices = line.split(',').skip(1).map(|field| Price::new(field.parse().ok()?));
    let mut price = || Some(prices.next()??.get());
    let bar = Bar { at, open: price()?, high: price()?, low: price()?, close: price()? };
    let inside = |price: f64| (bar.low..=bar.high).contains(&price);
    (inside(bar.open) && inside(bar.close)).then_some(bar)
}

fn symbol(path: &Path) -> Option<Symbol> {
    let name = path.file_name()?.to_str()?;
    name.split(['_', '.', '-']).find_map(|part| Symbol::of_base(part.strip_suffix("USDT")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(at: i64, open: f64, high: f64, low: f64, close: f64) -> Bar {
        Bar { at, open, high, low, close }
    }

    fn marks(bars: Vec<Bar>, length: i64, span: Span) -> Vec<(i64, f64)> {
        let series = vec![Series { symbol: Symbol::BTC, length, bars }];
        let prices = Prices { series, trades: Vec::new() };
        let mut recording = prices.recordings(&[span]).unwrap().remove(0);
        std::iter::from_fn(|| recording.next().unwrap())
            .map(|entry| match entry {
                Entry::Event(Event { body: Body::Mark { price, .. }, received, .. }) => {
                    (received.millis(), price.get())
                }
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn a_candle_is_shown_only_after_its_end_and_with_its_variance() {
        let bars = vec![
            bar(0, 100.0, 100.0, 100.0, 100.0),
            bar(60_000, 100.0, 102.0, 100.0, 101.0),
            bar(120_000, 101.0, 101.0, 90.0, 90.0),
        ];
        let marks = marks(bars, 60_000, (0, 179_999));
        assert_eq!(marks.first().map(|m| m.0), Some(120_000), "the second candle has ended then");
        assert_eq!(marks.len(), 60, "the third one ends after the session");
        assert!(
            marks.iter().all(|m| (99.0..102.0).contains(&m.1)),
            "nothing of the third is known"
        );
        let squares = marks.windows(2).map(|w| (w[1].1 / w[0].1).ln().powi(2)).sum::<f64>() / 59.0;
        let parkinson = 1.02_f64.ln() / (4.0 * 2_f64.ln() * 60.0).sqrt();
        assert!((squares.sqrt() / parkinson - 1.0).abs() < 0.02, "{} {parkinson}", squares.sqrt());
    }

    #[test]
    fn the_shortest_candles_are_taken() {
        let of = |length, at| Series {
            symbol: Symbol::BTC,
            length,
            bars: vec![bar(at, 1.0, 1.0, 1.0, 1.0)],
        };
        let series = vec![of(300_000, 0), of(60_000, 600_000), of(60_000, 0)];
        let prices = Prices { series, trades: Vec::new() };
        let length = |span| prices.series(Symbol::BTC, span).map(|s| s.length);
        assert_eq!(length((0, 1_000)), Some(60_000));
        assert_eq!(length((301_000, 302_000)), None);
        assert_eq!(length((601_000, 602_000)), Some(60_000), "a candle that has begun before");
    }

    #[test]
    fn the_symbol_is_in_the_name() {
        let of = |name: &str| symbol(Path::new(name)).map(|s| s.to_string());
        assert_eq!(of("x/binance_um_ETHUSDT_5m_2023.csv.gz").as_deref(), Some("ETHUSDT"));
        assert_eq!(of("prices.csv"), None);
    }
}
