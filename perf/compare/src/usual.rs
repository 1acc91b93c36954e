//! What a good engineer would otherwise write.
//!
//! ```text
//! tokio, 2 workers:  tokio-tungstenite ─▶ serde_json, typed and borrowed ─▶ mpsc ─▶ windows ─▶ level
//! ```
//! Libraries as they come, with their default buffers. One task reads and parses; symbols are numbers
//! from there on, so that nothing is copied into the channel but 40 bytes. The other keeps the same
//! seven windows in count and money, acceleration and jerk on two scales, for the symbol and the market,
//! and makes of them the four scores and a level. Evidence against the usual, calibration, regimes,
//! clustering, deduplication, staleness and reports are left out, to the advantage of this side.

use std::collections::HashMap;

use foreshock::engine::Settings;
use foreshock::time::Nanos;
use futures_util::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tungstenite::Message;

use crate::clock;
use crate::contender::{Book, SUBSCRIBE, Task};
use crate::windows::Windows;

#[path = "../../../benches/rescan/mod.rs"]
pub mod rescan;

use rescan::{Answer, Deques};

/// Events on their way from one task to the other.
const CHANNEL: usize = 1 << 16;
/// Rows: the market and the symbols.
const ROWS: usize = 1_024;
const MARKET: usize = 0;

#[derive(Deserialize)]
struct ForceOrder<'a> {
    #[serde(rename = "E")]
    _pushed: i64,
    #[serde(borrow)]
    o: Order<'a>,
}

#[derive(Deserialize)]
struct Order<'a> {
    s: &'a str,
    #[serde(rename = "S")]
    side: &'a str,
    ap: &'a str,
    z: &'a str,
    #[serde(rename = "T")]
    at_ms: i64,
}

/// What crosses the channel.
#[derive(Clone, Copy, Debug)]
struct Event {
    row: usize,
    micros: u64,
    is_long: bool,
    at_ms: i64,
    read: u64,
}

/// Numbers symbols as they appear.
#[derive(Debug, Default)]
struct Names(HashMap<Box<str>, usize>);

impl Names {
    fn row(&mut self, name: &str) -> usize {
        match self.0.get(name) {
            Some(row) => *row,
            None => {
                let row = (self.0.len() + 1).min(ROWS - 1);
                *self.0.entry(name.into()).or_insert(row)
            }
        }
    }
}

fn parse(text: &str, names: &mut Names) -> Option<Event> {
    let ForceOrder { o, .. } = serde_json::from_str(text).ok()?;
    let (price, amount): (f64, f64) = (o.ap.parse().ok()?, o.z.parse().ok()?);
    let row = names.row(o.s);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "as casts saturate"
    )]
    let micros = (price * amount * 1e6).round() as u64;
    let is_long = o.side == "SELL";
    Some(Event { row, micros, is_long, at_ms: o.at_ms, read: clock::last_read() })
}

/// How windows are kept.
pub trait Memory: Send + 'static {
    /// Counts an event, and says what its row is judged by.
    fn judge(&mut self, row: usize, at: u64, micros: u64) -> Answer;
}

/// Kept up.
#[derive(Debug)]
pub struct Kept(Vec<Windows>);

impl Default for Kept {
    fn default() -> Self {
        Self(vec![Windows::default(); ROWS])
    }
}

impl Memory for Kept {
    fn judge(&mut self, row: usize, at: u64, micros: u64) -> Answer {
        self.0[row].put(at, micros);
        self.0[row].answer(at)
    }
}

/// Walked anew for each event.
pub struct Walked(Deques);

impl Default for Walked {
    fn default() -> Self {
        Self(Deques::new(ROWS))
    }
}

impl Memory for Walked {
    fn judge(&mut self, row: usize, at: u64, micros: u64) -> Answer {
        self.0.remember(row, Nanos(at), micros);
        self.0.walk(row, Nanos(at))
    }
}

/// Decides levels.
struct Decider<M> {
    memory: M,
    settings: Settings,
    /// Of each row.
    levels: Vec<u8>,
    longs: u64,
    latest_ms: i64,
    /// Levels that changed.
    changes: u64,
}

impl<M: Memory> Decider<M> {
    fn new(memory: M) -> Self {
        let levels = vec![0; ROWS];
        Self { memory, settings: Settings::default(), levels, longs: 0, latest_ms: 0, changes: 0 }
    }

    fn take(&mut self, event: &Event) {
        self.longs += u64::from(event.is_long);
        self.latest_ms = self.latest_ms.max(event.at_ms);
        let at = clock::now();
        for row in [event.row, MARKET] {
            let answer = self.memory.judge(row, at, event.micros);
            let level = level(&answer, &self.settings);
            self.changes += u64::from(self.levels[row] != level);
            self.levels[row] = level;
        }
    }
}

/// The scores weighed, and the rung they reach.
fn level(answer: &Answer, settings: &Settings) -> u8 {
    let scores = answer.scores(settings);
    let weighed: f64 = scores.iter().zip([0.3, 0.25, 0.15, 0.3]).map(|(s, w)| s * w).sum();
    [0.2, 0.4, 0.6, 0.8].iter().fold(0, |level, rung| level + u8::from(weighed >= *rung))
}

/// Listens until all have come.
///
/// # Errors
/// When the connection fails.
pub fn run<M: Memory + Default>(task: &Task) -> Result<Book, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| format!("tokio: {e}"))?;
    let task = task.clone();
    // On a worker: what `block_on` itself runs would be a third thread.
    let listening = runtime.spawn(async move { connected::<M>(&task).await });
    runtime.block_on(listening).map_err(|e| format!("tokio: {e}"))?
}

async fn connected<M: Memory + Default>(task: &Task) -> Result<Book, String> {
    let tcp = task.connect()?;
    tcp.set_nonblocking(true).map_err(|e| format!("connect: {e}"))?;
    let tcp = tokio::net::TcpStream::from_std(tcp).map_err(|e| format!("connect: {e}"))?;
    match task.tls()? {
        None => listen::<M, _>(task, tcp).await,
        Some(config) => {
            let name = "127.0.0.1".try_into().map_err(|e| format!("tls: {e}"))?;
            let tls = TlsConnector::from(config).connect(name, tcp).await;
            listen::<M, _>(task, tls.map_err(|e| format!("tls: {e}"))?).await
        }
    }
}

async fn listen<M, S>(task: &Task, stream: S) -> Result<Book, String>
where
    M: Memory + Default,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let upgraded = tokio_tungstenite::client_async(task.url.as_str(), stream).await;
    let (mut socket, _) = upgraded.map_err(|e| format!("upgrade: {e}"))?;
    let asked = socket.send(Message::text(SUBSCRIBE)).await;
    asked.map_err(|e| format!("subscribe: {e}"))?;
    let (events, channel) = mpsc::channel(CHANNEL);
    let reading = tokio::spawn(read(socket, events));
    let deciding = tokio::spawn(decide(Book::new(task), Decider::new(M::default()), channel));
    let book = deciding.await.map_err(|e| format!("tokio: {e}"))?;
    reading.abort();
    Ok(book)
}

async fn read<S>(mut socket: WebSocketStream<S>, events: mpsc::Sender<Event>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut names = Names::default();
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else { continue };
        let Some(event) = parse(&text, &mut names) else { continue };
        if events.send(event).await.is_err() {
            return;
        }
    }
}

async fn decide<M: Memory>(
    mut book: Book,
    mut decider: Decider<M>,
    mut events: mpsc::Receiver<Event>,
) -> Book {
    while !book.is_full() {
        let Some(event) = events.recv().await else { return book };
        decider.take(&event);
        let decided = if book.is_stamped() { clock::now() } else { 0 };
        book.decided(event.micros, event.read, decided);
    }
    std::hint::black_box((decider.changes, decider.longs, decider.latest_ms));
    book
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Flow, digits};

    #[test]
    fn every_message_of_the_flow_is_understood_to_the_micro_dollar() {
        let (flow, mut names, mut sum) = (Flow::default(), Names::default(), 0);
        for n in 0..5_000 {
            let mut frame = Vec::new();
            flow.message(n).put(&digits(1_790_000_000_000), &mut frame);
            let event = parse(std::str::from_utf8(&frame[4..]).unwrap(), &mut names).unwrap();
            sum += event.micros;
        }
        assert_eq!(sum, flow.sum(5_000).micros);
    }

    #[test]
    fn many_liquidations_raise_the_level() {
        let mut decider = Decider::new(Kept::default());
        for _ in 0..10_000 {
            decider.take(&Event { row: 3, micros: 1 << 40, is_long: true, at_ms: 5, read: 0 });
        }
        assert!(decider.levels[3] > 0 && decider.levels[4] == 0, "{:?}", &decider.levels[..5]);
        assert!(decider.changes > 0);
    }
}
