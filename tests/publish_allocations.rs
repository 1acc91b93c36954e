//! The publisher's thread allocates nothing once it runs, whatever the sinks do.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/scratch.rs"]
mod scratch;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use std::io::{Read, Write};
use std::net::TcpStream;

use foreshock::event::{Body, Event, Price, Side, Usd, Venue};
use foreshock::output::{Output, lines};
use foreshock::publish::console::{self, Lines};
use foreshock::publish::history::{self, History};
use foreshock::publish::journal::{self, Journal};
use foreshock::publish::latency::{self, Latency};
use foreshock::publish::page::{self, Opening, Page, Wires};
use foreshock::publish::redis::{self, Redis};
use foreshock::publish::{Publisher, Sink};
use foreshock::ring::{Outlet, ring};
use foreshock::signal::{Kind, Level, Report};
use foreshock::stage::Stage;
use foreshock::symbol::Symbol;
use foreshock::tap::Taps;
use foreshock::time::{Nanos, Now};
use scratch::Scratch;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// Counts per thread, so that other threads do not disturb.
struct Counting;

fn count() {
    let _ = ALLOCATIONS.try_with(|n| n.set(n.get() + 1));
}

// SAFETY: every call goes to the system's allocator unchanged; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const SYMBOLS: [&str; 4] = ["BTCUSDT", "ETHUSDT", "币安人生USDT", "MARKET"];

fn push(outlet: &mut Outlet<Output>, report: &Report) {
    for line in lines(report) {
        outlet.push(line).unwrap();
    }
}

fn feed(outlet: &mut Outlet<Output>, at: Nanos, seq: u64) {
    let (price, usd) = (Price::new(100.25), Usd::new(5_000.0));
    let body = Body::Liquidation { side: Some(Side::Short), price, usd };
    let event = Event { symbol: Symbol::BTC, body, venue: Venue::Bybit, ..Event::tick(at) };
    outlet.push(Output::Event(event)).unwrap();
    for name in SYMBOLS {
        let symbol = Symbol::parse(name).unwrap();
        push(outlet, &Report { btc_price: Some(1.0), ..Report::empty(symbol, at) });
    }
    let level = Level::Critical;
    let kind = Kind::Change;
    let (bid, ask) = (Price::new(99.0).unwrap(), Price::new(101.0).unwrap());
    let body = Body::Book { depth_usd: None, bid, ask };
    outlet.push(Output::Event(Event { symbol: Symbol::ETH, body, ..Event::tick(at) })).unwrap();
    outlet.push(Output::Event(Event::tick(at))).unwrap();
    push(outlet, &Report { kind, seq, level, ..Report::empty(Symbol::BTC, at) });
}

#[test]
fn after_the_first_turns_nothing_is_allocated() {
    let scratch = Scratch::new("allocations");
    let journal = journal::Settings { directory: scratch.path().into(), ..Default::default() };
    let latency = latency::Settings { file: scratch.path().join("x.hlog"), ..Default::default() };
    // Nobody listens there: the sink must not grow on this thread while its own keeps trying.
    let redis = redis::Settings { url: "redis://127.0.0.1:1".into(), ..Default::default() };
    let history = history::Settings { url: "postgres://127.0.0.1:1".into(), ..Default::default() };
    let mut wires = Wires::default();
    let heart = wires.heart();
    let listen = "127.0.0.1:0".to_owned();
    let settings = page::Settings { listen, ..Default::default() };
    let clock = Box::new(|| Now::at_millis(1_760_130_000_000));
    let opening = Opening { run: 1, clock, rings: [("event", 1), ("output", 1 << 12)] };
    let page = Page::open(&settings, opening, wires).unwrap();
    // One browser that reads, and one that never does.
    let place = page.place();
    let clients = [(); 2].map(|()| {
        let mut client = TcpStream::connect(place).unwrap();
        write!(client, "GET /events HTTP/1.1\r\nHost: {place}\r\n\r\n").unwrap();
        client
    });
    let mut reading = clients[0].try_clone().unwrap();
    let reads = std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        let mut total = 0;
        while let Ok(n @ 1..) = reading.read(&mut buffer) {
            total += n;
        }
        total
    });
    let out = Box::new(std::io::sink());
    let sinks: Vec<Box<dyn Sink>> = vec![
        Box::new(Journal::open(&journal, 1).unwrap()),
        Box::new(Redis::open(&redis, 1, None, &Default::default()).unwrap()),
        Box::new(History::open(&history, 1, 0).unwrap()),
        Box::new(Lines::console(&console::Settings::default(), true, out).unwrap()),
        Box::new(Lines::json(Box::new(std::io::sink()))),
        Box::new(Latency::open(&latency, Taps::default()).unwrap()),
        Box::new(page),
    ];
    let (mut outlet, inlet) = ring(1 << 12);
    let mut publisher = Publisher::new(inlet, sinks);
    let mut warm = 0;
    for seq in 1..=3_000_u64 {
        let now = Now::at_millis(1_760_130_000_000 + 5 * i64::try_from(seq).unwrap());
        feed(&mut outlet, now.mono, seq);
        publisher.turn(now);
        if seq.is_multiple_of(10) {
            heart.beat(|beat| publisher.count(&mut beat.counts));
        }
        if seq == 300 {
            warm = ALLOCATIONS.get();
        }
        std::thread::sleep(std::time::Duration::from_micros(100));
    }
    assert!(warm > 0, "the counter counts");
    assert_eq!(ALLOCATIONS.get() - warm, 0);
    drop(publisher);
    assert!(reads.join().unwrap() > 1_000, "the browser was shown something");
}
