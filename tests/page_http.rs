//! The server of the page, by hand: what it answers, whom it refuses, and that whatever a client does
//! costs the publisher nothing. Time is the test's own, except where a real crew is frozen.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "support/http.rs"]
mod http;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use foreshock::event::{Body, Event, Price, Side, Usd, Venue};
use foreshock::ledger::Ledger;
use foreshock::output::{Message, Output};
use foreshock::publish::page::{Feed, Heart, Opening, Page, Settings, Wires};
use foreshock::publish::redis::{self, Redis};
use foreshock::publish::{Publisher, Sink};
use foreshock::ring::{Inlet, Outlet, ring};
use foreshock::run::clock::Clock;
use foreshock::run::crew::{Bench, Crew, Idle, Stop};
use foreshock::signal::{Kind, Level, Report};
use foreshock::stage::{Stage, Turn};
use foreshock::symbol::Symbol;
use foreshock::time::{NS_PER_MS, Nanos, Now};
use http::{connect, get, raw};

const START_MS: u64 = 1_760_130_000_000;

/// A clock that the test moves.
#[derive(Clone, Default)]
struct Hands(Arc<AtomicU64>);

impl Hands {
    fn now(&self) -> Now {
        Now::at_millis(i64::try_from(START_MS + self.0.load(Ordering::Acquire)).unwrap())
    }

    fn pass(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::AcqRel);
    }
}

/// A page with nothing behind it but the test.
struct Stand {
    page: Page,
    hands: Hands,
    heart: Heart,
    feeds: crossbeam_channel::Sender<Vec<Feed>>,
}

fn settings() -> Settings {
    Settings { listen: "127.0.0.1:0".to_owned(), ..Settings::default() }
}

impl Stand {
    fn new() -> Self {
        Self::wired(Wires::default())
    }

    fn wired(mut wires: Wires) -> Self {
        let hands = Hands::default();
        let (heart, feeds) = (wires.heart(), wires.feeds());
        let clock = hands.clone();
        let page = Page::open(
            &settings(),
            Opening {
                run: 1_760_130_000_000,
                clock: Box::new(move || clock.now()),
                rings: [("event", 1_000), ("output", 1_000)],
            },
            wires,
        );
        Self { page: page.unwrap(), hands, heart, feeds }
    }

    fn place(&self) -> SocketAddr {
        self.page.place()
    }

    /// A tenth of a second in which everything is well.
    fn live(&mut self) {
        self.hands.pass(100);
        let now = self.hands.now();
        self.page.write(now, &[Message::Event(Event::tick(now.mono))]);
        self.page.turn(now);
        self.heart.beat(|beat| {
            (beat.at, beat.passes) = (now.mono, 7);
            beat.turns.push(("engine", 41_000));
            beat.counts.add("frames", 12);
            beat.counts.add("rejected", 2);
            beat.counts.add_under("rejected", "json", 2);
            beat.counts.add_under("waiting", "event", 250);
            beat.counts.add("console_lines", 4);
            beat.counts.add("console_lost", 1);
        });
        // The thread of the page has its own pace.
        std::thread::sleep(Duration::from_millis(2));
    }

    fn tell(&self, venues: &[(&str, &str)]) {
        let now = self.hands.now().wall.0;
        let feed = |(venue, state): &(&str, &str)| Feed {
            venue: (*venue).to_owned(),
            route: "public".to_owned(),
            copy: 1,
            state: (*state).to_owned(),
            code: 0,
            why: String::new(),
            since_ms: now - 5_000,
            last_frame_ms: (*state == "live").then_some(now - 40),
            last_liquidation_ms: None,
            completeness: Some("complete".to_owned()),
            frames: 9,
            won: Some(3),
            beaten: Some(1),
            lead_mean_us: None,
            lead_max_us: None,
        };
        self.feeds.try_send(venues.iter().map(feed).collect()).unwrap();
    }

    /// Lives on until the answer is as wanted.
    fn until(&mut self, path: &str, wanted: impl Fn(&http::Answer) -> bool) -> http::Answer {
        let began = Instant::now();
        loop {
            self.live();
            let answer = get(self.place(), path);
            if wanted(&answer) {
                return answer;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "{path}: {}", answer.body);
        }
    }
}

fn liquidation(now: Now) -> Event {
    let (price, usd) = (Price::new(100.25), Usd::new(5_000.0));
    let body = Body::Liquidation { side: Some(Side::Short), price, usd };
    Event { symbol: Symbol::BTC, body, venue: Venue::Bybit, ..Event::tick(now.mono) }
}

fn signal(now: Now, seq: u64) -> Report {
    let (kind, level) = (Kind::Change, Level::Critical);
    Report { kind, level, seq, risk: 61.0, ..Report::empty(Symbol::BTC, now.mono) }
}

#[test]
fn every_address_answers_and_forbids_everything_from_elsewhere() {
    let mut stand = Stand::new();
    let place = stand.place();
    stand.live();
    for (path, kind) in [
        ("/", "text/html"),
        ("/page.css", "text/css"),
        ("/page.js", "text/javascript"),
        ("/icon.svg", "image/svg+xml"),
        ("/status", "application/json"),
        ("/metrics", "text/plain; version=0.0.4"),
        ("/livez", "text/plain"),
    ] {
        let answer = get(place, path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        assert!(answer.head.contains(&format!("content-type: {kind}")), "{path}: {}", answer.head);
        for line in
            ["default-src 'none'", "x-content-type-options: nosniff", "cache-control: no-store"]
        {
            assert!(answer.head.contains(line), "{path}: {}", answer.head);
        }
        assert!(!answer.head.contains("access-control") && !answer.head.contains("unsafe"));
        let length = format!("content-length: {}", answer.body.len());
        assert!(answer.head.contains(&length), "{path}");
        let head = format!("HEAD {path} HTTP/1.1\r\nHost: {place}\r\n\r\n");
        let head = raw(place, head.as_bytes()).unwrap();
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
    }
    for (request, status) in [
        (format!("GET /nothing HTTP/1.1\r\nHost: {place}\r\n\r\n"), 404),
        (format!("GET /../etc/passwd HTTP/1.1\r\nHost: {place}\r\n\r\n"), 404),
        (format!("POST /status HTTP/1.1\r\nHost: {place}\r\nContent-Length: 0\r\n\r\n"), 405),
        ("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_owned(), 421),
        ("nonsense\r\n\r\n".to_owned(), 400),
        (format!("GET /{} HTTP/1.1\r\n", "x".repeat(9_000)), 431),
    ] {
        assert_eq!(raw(place, request.as_bytes()).unwrap().status, status, "{request:.60}");
    }
}

#[test]
fn the_document_names_nothing_that_is_elsewhere_or_inline() {
    let stand = Stand::new();
    let html = get(stand.place(), "/").body;
    for word in ["http:", "https:", "//", "style=", "<style", "onclick", "onload", "javascript:"] {
        assert!(!html.contains(word), "{word}");
    }
    let script = get(stand.place(), "/page.js").body;
    for word in ["innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "Function("]
    {
        assert!(!script.contains(word), "{word}");
    }
}

#[test]
fn live_is_not_ready_and_ready_is_not_fresh() {
    let mut stand = Stand::new();
    let place = stand.place();
    stand.live();
    assert_eq!((get(place, "/livez").status, get(place, "/readyz").status), (200, 503));
    stand.tell(&[("okx", "live"), ("bybit", "quiet"), ("binance", "down")]);
    let answer = stand.until("/readyz", |answer| answer.status == 200);
    assert!(answer.body.contains("2 of 3 venues heard, 2 needed"), "{}", answer.body);
    assert!(answer.body.contains("fresh: 1 of 3"), "{}", answer.body);
    stand.tell(&[("okx", "live"), ("bybit", "stale"), ("binance", "down")]);
    stand.until("/readyz", |answer| answer.status == 503);
    let text = get(place, "/metrics").body;
    for line in [
        "foreshock_live 1",
        "foreshock_ready 0",
        "foreshock_venue_heard{venue=\"bybit\"} 0",
        "foreshock_feed_up{venue=\"okx\",line=\"public\"} 1",
        "foreshock_ring_occupancy_ratio{ring=\"event\"} 0.25",
        "foreshock_frames_rejected_total{reason=\"json\"} 2",
        "foreshock_stage_turn_longest_seconds{stage=\"engine\"} 0.000041",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    let gap = text
        .lines()
        .find_map(|line| line.strip_prefix("foreshock_gap_seconds_total{venue=\"bybit\"} "));
    assert!(gap.is_some_and(|gap| gap.parse::<f64>().unwrap() > 0.0), "{text}");
}

#[test]
fn a_redis_that_is_away_is_told_with_the_reason() {
    // Nobody listens there.
    let settings = redis::Settings { url: "redis://127.0.0.1:1".into(), ..Default::default() };
    let redis = Redis::open(&settings, 1, None, &Default::default()).unwrap();
    let mut wires = Wires::default();
    wires.redis(redis.status());
    let mut stand = Stand::wired(wires);
    stand.until("/metrics", |answer| answer.body.contains("foreshock_sink_up{sink=\"redis\"} 0"));
    let mut stream = connect(stand.place());
    write!(stream, "GET /events HTTP/1.1\r\nHost: {}\r\n\r\n", stand.place()).unwrap();
    let mut text = String::new();
    while !text.contains("\"redis\":\"") {
        let mut buffer = [0; 4_096];
        let n = stream.read(&mut buffer).unwrap();
        text.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
        assert!(n > 0, "{text}");
    }
}

#[test]
fn a_list_is_as_long_as_is_asked_for_and_says_how_symbols_move() {
    let mut stand = Stand::new();
    let now = stand.hands.now();
    let reports: Vec<Message> = (0..70)
        .map(|n| {
            let symbol = Symbol::of_base(&format!("COIN{n}")).unwrap();
            let mut report = Report::empty(symbol, now.mono);
            (report.risk, report.price) = (f64::from(n), (n != 68).then_some(2.5));
            (report.fast.acceleration, report.fast.jerk) = (0.5, -0.25);
            Message::Report(report)
        })
        .collect();
    stand.page.write(now, &reports);
    stand.until("/status", |answer| answer.body.contains("COIN69USDT"));
    let mut list = |query: &str| -> Vec<serde_json::Value> {
        let mut stream = connect(stand.place());
        write!(stream, "GET /events{query} HTTP/1.1\r\nHost: {}\r\n\r\n", stand.place()).unwrap();
        let (mut bytes, mut buffer) = (Vec::new(), [0; 65_536]);
        while !bytes.ends_with(b"}\n\n") {
            let n = stream.read(&mut buffer).unwrap();
            bytes.extend_from_slice(&buffer[..n]);
            assert!(n > 0, "{}", String::from_utf8_lossy(&bytes));
        }
        stand.live();
        let text = String::from_utf8(bytes).unwrap();
        let frame = text.split("data: ").nth(1).unwrap();
        let frame: serde_json::Value = serde_json::from_str(frame).unwrap();
        frame["list"].as_array().unwrap().clone()
    };
    for (query, length) in [
        ("", 60),
        ("?list=2", 2),
        ("?list=512", 70),
        ("?list=99999999999999999999", 60),
        ("?list=x", 60),
    ] {
        assert_eq!(list(query).len(), length, "{query}");
    }
    let two = list("?list=2");
    let moving = |symbol: &str, risk: f64, price: Option<f64>| {
        serde_json::json!([symbol, "NONE", risk, 0.0, 0.0, 0.5, -0.25, price])
    };
    assert_eq!(two, [moving("COIN69USDT", 69.0, Some(2.5)), moving("COIN68USDT", 68.0, None)]);
}

#[test]
fn ticks_that_do_not_come_and_threads_that_do_not_beat_are_found_out() {
    let mut stand = Stand::new();
    let place = stand.place();
    stand.until("/livez", |answer| answer.status == 200);
    stand.hands.pass(6_000);
    let answer = get(place, "/livez");
    assert_eq!(answer.status, 503);
    assert!(answer.body.contains("no tick has come through for 6 s"), "{}", answer.body);
    assert!(answer.body.contains("no turn of engine for 6 s"), "{}", answer.body);
    stand.until("/livez", |answer| answer.status == 200);
}

/// Passes on what it takes, until it is frozen.
struct Engine {
    inlet: Inlet<Event>,
    outlet: Outlet<Output>,
    frozen: Arc<AtomicBool>,
}

impl Stage for Engine {
    fn name(&self) -> &'static str {
        "engine"
    }
    fn turn(&mut self, _: Now) -> Turn {
        while self.frozen.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(5));
        }
        match self.inlet.pop() {
            Some(event) => {
                self.outlet.push(Output::Event(event)).map_or(Turn::Idle, |()| Turn::Worked)
            }
            None if self.inlet.has_ended() => Turn::Done,
            None => Turn::Idle,
        }
    }
    fn ledger(&self, _: &mut Ledger) {}
}

/// Ticks ten times a second until it is stopped.
struct Ticker {
    outlet: Outlet<Event>,
    next: Nanos,
    stopped: bool,
}

impl Stage for Ticker {
    fn name(&self) -> &'static str {
        "reader"
    }
    fn turn(&mut self, now: Now) -> Turn {
        if self.stopped {
            return Turn::Done;
        }
        if now.mono >= self.next {
            let _ = self.outlet.push(Event::tick(now.mono));
            self.next = now.mono.plus(100 * NS_PER_MS);
        }
        Turn::Idle
    }
    fn stop(&mut self) {
        self.stopped = true;
    }
    fn ledger(&self, _: &mut Ledger) {}
}

#[test]
fn a_frozen_engine_fails_livez_by_name_and_a_thawed_one_passes_it() {
    let clock = Clock::start();
    let (outlet, inlet) = ring(1 << 10);
    let (to_publish, from_engine) = ring(1 << 10);
    let mut wires = Wires::default();
    let hearts = [wires.heart(), wires.heart(), wires.heart()];
    let rings = [("event", 1 << 10), ("output", 1 << 10)];
    let opening = Opening { run: clock.run(), clock: Box::new(move || clock.now()), rings };
    let page = Page::open(&settings(), opening, wires).unwrap();
    let place = page.place();
    let frozen = Arc::new(AtomicBool::new(false));
    let stages: [Box<dyn Stage>; 3] = [
        Box::new(Ticker { outlet, next: Nanos(0), stopped: false }),
        Box::new(Engine { inlet, outlet: to_publish, frozen: frozen.clone() }),
        Box::new(Publisher::new(from_engine, vec![Box::new(page)])),
    ];
    let bench = |(stage, heart): (Box<dyn Stage>, Heart)| Bench {
        name: stage.name().to_owned(),
        stages: vec![(stage, None)],
        core: None,
        idle: Idle::Park,
        heart: Some(heart),
        ..Bench::default()
    };
    let stop = Stop::default();
    let crew =
        Crew::start(stages.into_iter().zip(hearts).map(bench).collect(), clock, &stop).unwrap();
    let until = |status: u16, words: &str| {
        let began = Instant::now();
        loop {
            let answer = get(place, "/livez");
            if answer.status == status && answer.body.contains(words) {
                return answer;
            }
            assert!(began.elapsed() < Duration::from_secs(30), "{status}: {}", answer.body);
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    until(200, "live: yes");
    frozen.store(true, Ordering::Release);
    let answer = until(503, "no turn of engine");
    assert!(!answer.body.contains("no turn of reader"), "{}", answer.body);
    frozen.store(false, Ordering::Release);
    until(200, "live: yes");
    stop.request();
    let outcome = crew.join();
    assert!(outcome.troubles.is_empty(), "{:?}", outcome.troubles);
}

#[test]
fn a_stream_brings_what_is_new_and_nothing_twice() {
    let mut stand = Stand::new();
    let mut stream = connect(stand.place());
    write!(stream, "GET /events?symbol=BTCUSDT HTTP/1.1\r\nHost: {}\r\n\r\n", stand.place())
        .unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    let (mut text, mut seq) = (String::new(), 0);
    let began = Instant::now();
    while text.matches("data: ").count() < 12 {
        let now = stand.hands.now();
        seq += 1;
        let batch = [Message::Event(liquidation(now)), Message::Report(signal(now, seq))];
        stand.page.write(now, &batch);
        stand.live();
        let mut buffer = [0; 65_536];
        if let Ok(n) = stream.read(&mut buffer) {
            text.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{text}");
    }
    assert!(text.to_lowercase().contains("content-type: text/event-stream"), "{text:.400}");
    let whole = &text[..text.rfind("\n\n").unwrap()];
    let frames: Vec<serde_json::Value> = whole
        .split("\n\n")
        .filter_map(|part| part.strip_prefix("data: "))
        .map(|json| serde_json::from_str(json).unwrap())
        .collect();
    let all = |key: &str, of: &dyn Fn(&serde_json::Value) -> i64| -> Vec<i64> {
        frames.iter().flat_map(|frame| frame[key].as_array().unwrap()).map(of).collect()
    };
    let numbers = all("signals", &|signal| signal["seq"].as_i64().unwrap());
    assert!(numbers.len() > 3 && numbers.windows(2).all(|two| two[1] == two[0] + 1), "{numbers:?}");
    let times = all("tape", &|one| one["at"].as_i64().unwrap());
    assert!(times.windows(2).all(|two| two[0] < two[1]), "{times:?}");
    let last = frames.last().unwrap();
    assert_eq!((&last["row"]["level"], &last["row"]["risk"]), (&"CRITICAL".into(), &61.0.into()));
    assert!(last["row"]["price"].is_null(), "what is not known is not 0");
    let past: Vec<i64> = frames
        .iter()
        .flat_map(|frame| frame["past"]["t"].as_array().unwrap())
        .map(|t| t.as_i64().unwrap())
        .collect();
    assert!(past.len() > 2 && past.windows(2).all(|two| two[0] < two[1]), "{past:?}");
}

#[test]
fn who_asks_slowly_or_takes_nothing_is_cut_off_and_the_others_are_served() {
    let mut stand = Stand::new();
    let place = stand.place();
    let mut slow = connect(place);
    slow.write_all(b"GET / HTT").unwrap();
    let stuck = connect(place);
    socket2::SockRef::from(&stuck).set_recv_buffer_size(4_096).unwrap();
    write!(&stuck, "GET /events HTTP/1.1\r\nHost: {place}\r\n\r\n").unwrap();
    let mut seq = 0;
    let dropped = |text: &str, reason: &str| {
        text.contains(&format!("foreshock_page_clients_dropped_total{{reason=\"{reason}\"}} 1"))
    };
    let began = Instant::now();
    loop {
        let now = stand.hands.now();
        let batch: Vec<Message> = (0..200)
            .map(|_| {
                seq += 1;
                Message::Report(signal(now, seq))
            })
            .collect();
        stand.page.write(now, &batch);
        stand.live();
        stand.hands.pass(150);
        let text = get(place, "/metrics").body;
        if dropped(&text, "late") && dropped(&text, "stalled") {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{text}");
    }
    let mut rest = Vec::new();
    let _ = slow.read_to_end(&mut rest);
    assert_eq!(rest, b"", "cut off without an answer");
}

#[test]
fn more_clients_than_there_is_room_for_are_turned_away_and_counted() {
    let stand = Stand::new();
    let place = stand.place();
    let idle: Vec<TcpStream> = (0..40).map(|_| connect(place)).collect();
    let began = Instant::now();
    let mut closed = 0;
    while closed < 8 {
        closed = idle
            .iter()
            .filter(|stream| {
                stream.set_nonblocking(true).unwrap();
                let mut byte = [0];
                matches!((&**stream).read(&mut byte), Ok(0))
                    || matches!((&**stream).read(&mut byte), Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset)
            })
            .count();
        assert!(began.elapsed() < Duration::from_secs(20), "{closed}");
    }
    drop(idle);
    let began = Instant::now();
    let text = loop {
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {place}\r\n\r\n");
        if let Some(answer) = raw(place, request.as_bytes()) {
            break answer.body;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "never served again");
    };
    assert!(text.contains("foreshock_page_clients_dropped_total{reason=\"too_many\"}"), "{text}");
}

#[test]
fn streams_leave_room_for_those_who_ask_once() {
    let stand = Stand::new();
    let place = stand.place();
    let ask = format!("GET /events HTTP/1.1\r\nHost: {place}\r\n\r\n");
    let streams: Vec<TcpStream> = (0..16)
        .map(|_| {
            let mut stream = connect(place);
            stream.write_all(ask.as_bytes()).unwrap();
            let mut begun = [0; 12];
            stream.read_exact(&mut begun).unwrap();
            assert_eq!(&begun, b"HTTP/1.1 200");
            stream
        })
        .collect();
    assert_eq!(raw(place, ask.as_bytes()).unwrap().status, 503);
    assert_eq!(get(place, "/livez").status, 200);
    drop(streams);
}

#[test]
fn metrics_keep_to_the_conventions_and_promtool_likes_them() {
    let mut stand = Stand::new();
    stand.tell(&[("okx", "live"), ("bybit", "stale")]);
    let now = stand.hands.now();
    stand.page.write(now, &[Message::Report(signal(now, 1)), Message::Event(liquidation(now))]);
    for _ in 0..12 {
        stand.live();
    }
    let text = stand.until("/metrics", |answer| answer.body.contains("foreshock_gap_seconds")).body;
    let labels = ["venue", "line", "stage", "sink", "level", "reason", "ring", "le", "version"];
    let (mut typed, mut series) = (BTreeSet::new(), BTreeSet::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(typed.insert(name.to_owned()), "{name} is declared twice");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            continue;
        }
        if line.starts_with('#') {
            continue;
        }
        let (id, value) = line.rsplit_once(' ').unwrap();
        assert!(!text.contains(" \n# TYPE"), "each has a help");
        assert!(value.parse::<f64>().unwrap().is_finite(), "{line}");
        assert!(series.insert(id.to_owned()), "{id} twice");
        let (name, rest) = id.split_once('{').unwrap_or((id, ""));
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        assert!(typed.contains(name) || family.is_some_and(|name| typed.contains(name)), "{line}");
        for label in rest.trim_end_matches('}').split(',').filter(|label| !label.is_empty()) {
            let label = label.split_once('=').unwrap().0;
            assert!(labels.contains(&label), "{line}");
        }
    }
    assert!(series.len() > 30, "{text}");
    let tool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut tool) = tool else { return eprintln!("skipped: no promtool here") };
    tool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = tool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn a_port_that_is_taken_costs_the_page_and_not_the_run() {
    let first = Stand::new();
    let hands = first.hands.clone();
    let listen = first.place().to_string();
    let opening = || {
        let hands = hands.clone();
        let rings = [("event", 1), ("output", 1)];
        Opening { run: 1, clock: Box::new(move || hands.now()), rings }
    };
    let taken = Settings { listen: listen.clone(), ..Settings::default() };
    let mut second = Page::open(&taken, opening(), Wires::default()).unwrap();
    assert_eq!(second.turn(hands.now()), Turn::Idle);
    let anywhere = Settings { anywhere: true, ..taken };
    let third = Page::open(&anywhere, opening(), Wires::default()).unwrap();
    assert_ne!(third.place(), first.place());
    assert_eq!(get(third.place(), "/page.css").status, 200);
    // Once the port is free, the second one has it by itself.
    let place = first.place();
    drop(first);
    let began = Instant::now();
    while TcpStream::connect(place).is_ok() {
        assert!(began.elapsed() < Duration::from_secs(20), "the first one does not let go");
    }
    while TcpStream::connect(place).is_err() {
        hands.pass(1_000);
        std::thread::sleep(Duration::from_millis(20));
        assert!(began.elapsed() < Duration::from_secs(20), "never tried again");
    }
    assert_eq!(get(place, "/page.css").status, 200);
}

/// The folder with what watches a run.
fn monitor() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/monitor")
}

#[test]
fn rules_and_dashboard_name_only_what_is_measured() {
    let source = include_str!("../src/publish/page/metrics.rs");
    for file in ["alerts.yml", "dashboard.json"] {
        let text = std::fs::read_to_string(monitor().join(file)).unwrap();
        let mut found = 0;
        for (at, _) in text.match_indices("foreshock_") {
            let rest = &text[at + "foreshock_".len()..];
            let name = rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap();
            let name = name.strip_suffix("_bucket").unwrap_or(name);
            assert!(source.contains(&format!("\"{name}\"")), "{file}: foreshock_{name}");
            found += 1;
        }
        assert!(found > 10, "{file}");
    }
    let dashboard = std::fs::read_to_string(monitor().join("dashboard.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    assert!(dashboard["panels"].as_array().is_some_and(|panels| panels.len() > 10));
}

#[test]
fn the_rules_do_what_their_tests_say() {
    for args in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]] {
        let output = Command::new("promtool").args(args).current_dir(monitor()).output();
        let Ok(output) = output else { return eprintln!("skipped: no promtool here") };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
