//! The history in PostgreSQL and its faults, against real servers.
//!
//! By default a server is killed a few times; `FORESHOCK_FULL=1 cargo test --test history` does it often.
//! TimescaleDB is not in Debian: what is asked of it is held against its documented functions by stand-ins
//! of the same names and parameters.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

#[path = "support/postgres.rs"]
mod postgres;
#[path = "support/scratch.rs"]
mod scratch;

use std::io::Read;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use foreshock::event::{Body, Completeness, Event, Flags, Price, Side, Stamp, Usd, Venue};
use foreshock::ledger::Ledger;
use foreshock::output::Message;
use foreshock::publish::Sink;
use foreshock::publish::history::{History, Settings};
use foreshock::publish::json::{self, Sent};
use foreshock::publish::redis::Secret;
use foreshock::signal::{Kind, Level, Report};
use foreshock::stage::Turn;
use foreshock::symbol::Symbol;
use foreshock::time::{Nanos, Now};
use postgres::{Server, skipped};

const RUN: u64 = 1_760_130_000_000;
const START_MS: i64 = 1_760_130_000_000;

/// The sink and the clock it is told.
struct Bench {
    sink: History,
    now_ms: i64,
    signals: u64,
    events: u64,
}

impl Bench {
    fn new(url: &str) -> Self {
        Self::with(&Settings { url: url.to_owned(), ..Settings::default() }, None)
    }

    fn with(settings: &Settings, password: Option<&str>) -> Self {
        let sink = History::start(settings, password.map(Secret::new), RUN, 0).unwrap();
        Self { sink, now_ms: START_MS, signals: 0, events: 0 }
    }

    fn now(&self) -> Now {
        Now::at_millis(self.now_ms)
    }

    fn turn(&mut self) {
        self.now_ms += 1;
        let now = self.now();
        self.sink.turn(now);
    }

    /// Hands over so many signals, four times as many liquidations, and a state.
    fn burst(&mut self, n: u64) {
        let mut batch = Vec::new();
        for _ in 0..n {
            self.signals += 1;
            for _ in 0..4 {
                self.events += 1;
                batch.push(Message::Event(liquidation(self.events)));
            }
            batch.push(Message::Report(signal(self.signals)));
        }
        let at = Nanos::from_millis(self.now_ms);
        batch.push(Message::Report(Report::empty(Symbol::MARKET, at)));
        let now = self.now();
        self.sink.write(now, &batch);
    }

    fn ledger(&self) -> Ledger {
        let mut ledger = Ledger::default();
        self.sink.ledger(&mut ledger);
        let law = ledger.laws().find(|law| law.text.starts_with("history")).unwrap();
        assert!(law.holds, "{}", law.text);
        ledger
    }

    fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(20);
        while !done(self) {
            assert!(Instant::now() < end, "never: {what}; {}", self.words());
            self.turn();
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Everything but the state of the second that is not over.
    fn settle(&mut self) {
        self.until("everything stored", |bench| bench.ledger().get("history_waiting") == 0);
    }

    fn words(&self) -> String {
        self.sink.status().words()
    }

    fn close(mut self) -> Ledger {
        let now = self.now();
        self.sink.close(now);
        while self.sink.turn(now) != Turn::Done {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.ledger()
    }
}

fn signal(seq: u64) -> Report {
    let at = Nanos::from_millis(START_MS).plus(seq * 1_000_000);
    let (kind, level) = (Kind::Change, Level::Critical);
    Report { kind, seq, level, probability: 0.1 + 0.2, ..Report::empty(Symbol::BTC, at) }
}

/// One of many kinds: what may be missing is missing now and then.
fn liquidation(n: u64) -> Event {
    let body = Body::Liquidation {
        side: [Some(Side::Long), Some(Side::Short), None][n as usize % 3],
        price: if n.is_multiple_of(5) { None } else { Price::new(1e-9 + 0.1 * n as f64) },
        usd: if n.is_multiple_of(7) { None } else { Usd::from_micros(n * 999_999_999_937) },
    };
    Event {
        symbol: Symbol::parse("币安人生USDT").unwrap(),
        body,
        venue: Venue::Okx,
        line: 3,
        completeness: Completeness::Lossy,
        flags: if n.is_multiple_of(2) { Flags::GAP.with(Flags::BACKFILL) } else { Flags(0) },
        stamp: Stamp::new((!n.is_multiple_of(4)).then_some(START_MS + n as i64), (n % 3) as u16),
        ..Event::tick(Nanos::from_millis(START_MS).plus(n * 1_000_000))
    }
}

/// Signals by number and liquidations by ordinal: each once, in order, none missing.
fn check(server: &Server, bench_signals: u64, bench_events: u64) {
    for (column, table, n) in
        [("seq", "signals", bench_signals), ("ordinal", "liquidations", bench_events)]
    {
        let sql = format!(
            "SELECT count(*), count(DISTINCT {column}), min({column}), max({column}) \
             FROM foreshock.{table} WHERE run = {RUN}"
        );
        let n = n.to_string();
        assert_eq!(server.rows(&sql), [[n.as_str(), &n, "1", &n]], "{table}");
    }
}

#[test]
fn every_row_is_there_and_equal_to_what_was_sent() {
    if skipped() {
        return;
    }
    let server = Server::start(&[]);
    let mut bench = Bench::new(&server.url("foreshock"));
    let full = Report {
        counts: [1, 2, 3, 4, 5, 6, u32::MAX],
        usd: [1, 2, 3, 4, 5, 9_007_199_254_740_993, u64::MAX],
        imbalance: Some(-0.1),
        btc_price: Some(112_345.678_9),
        oi_change: Some(-5e-324),
        live: Venue::Binance.bit() | Venue::Okx.bit(),
        gap: true,
        ..Report::empty(Symbol::BTC, Nanos::from_millis(START_MS))
    };
    let earlier = Report { gap: false, ..full };
    let now = bench.now();
    bench.sink.write(now, &[Message::Report(earlier), Message::Report(full)]);
    bench.burst(100);
    bench.settle();
    check(&server, 100, 400);

    let sql = "SELECT at AT TIME ZONE 'UTC', received = at, extract(epoch FROM venue_time) * 1000, \
               venue, line, symbol, side, price, usd_micros, completeness, flags \
               FROM foreshock.liquidations ORDER BY ordinal";
    for (n, row) in (1..).zip(server.rows(sql)) {
        let event = liquidation(n);
        let Body::Liquidation { side, price, usd } = event.body else { unreachable!() };
        let null = || "(null)".to_owned();
        assert_eq!(row[1], if n % 3 == 0 { "t" } else { "f" }, "{n}");
        let venue_ms = event.stamp.venue_ms().map_or_else(null, |ms| format!("{ms}.000000"));
        assert_eq!(row[2], venue_ms, "{n}");
        assert_eq!(row[3..6], ["okx", "3", "币安人生USDT"], "{n}");
        assert_eq!(row[6], side.map_or_else(null, |side| side.name().to_owned()), "{n}");
        match price {
            Some(price) => assert_eq!(row[7].parse(), Ok(price.get()), "{n}"),
            None => assert_eq!(row[7], null(), "{n}"),
        }
        assert_eq!(row[8], usd.map_or_else(null, |usd| usd.micros().to_string()), "{n}");
        let flags = if n.is_multiple_of(2) { "backfill gap" } else { "" };
        assert_eq!(row[9..], ["lossy", flags], "{n}");
    }
    let first =
        server.cell("SELECT at AT TIME ZONE 'UTC' FROM foreshock.liquidations ORDER BY 1 LIMIT 1");
    assert_eq!(first, "2025-10-10 21:00:00", "ordinal 1, moved back by its ms");

    for (seq, row) in (1..).zip(server.rows("SELECT json FROM foreshock.signals ORDER BY seq")) {
        let mut text = String::new();
        json::signal(&signal(seq), &Sent { run: RUN, now }, &mut text);
        assert_eq!(row, [text], "byte for byte");
    }
    let sql = "SELECT probability, level, symbol, seq = cause + seq FROM foreshock.signals LIMIT 1";
    assert_eq!(server.rows(sql), [["0.30000000000000004", "CRITICAL", "BTCUSDT", "t"]]);

    let sql = "SELECT gap, event_count_300s, usd_micros_60s, usd_micros_300s, imbalance, btc_price, \
               oi_change, funding, live, clustering, acceleration, symbol FROM foreshock.states \
               WHERE symbol <> 'MARKET'";
    let expected = [
        "t",
        "4294967295",
        "9007199254740993",
        "(null)",
        "-0.1",
        "112345.6789",
        "-5e-324",
        "(null)",
        "binance okx",
        "(null)",
        "0",
        "BTCUSDT",
    ];
    bench.now_ms += 1_000;
    bench.until("its second is over", |_| !server.rows(sql).is_empty());
    assert_eq!(server.rows(sql), [expected], "the last of the second, once");
    let ledger = bench.close();
    assert_eq!((ledger.get("history_stored"), ledger.get("history_dropped")), (502, 0));
    assert_eq!(server.cell("SELECT count(*) FROM foreshock.states"), "2");
}

/// How often a fault is repeated: `few` times by default, `all` times in full.
fn times(few: u64, all: u64) -> u64 {
    let full = std::env::var_os("FORESHOCK_FULL").is_some_and(|value| value == "1");
    if full { all } else { few }
}

#[test]
fn a_server_killed_again_and_again_loses_and_doubles_nothing() {
    if skipped() {
        return;
    }
    let mut server = Server::start(&[]);
    let mut bench = Bench::new(&server.url("foreshock"));
    let kills = times(4, 100);
    for round in 0..kills {
        for _ in 0..20 {
            bench.burst(10);
            bench.turn();
            std::thread::sleep(Duration::from_millis(round % 4));
        }
        server.kill();
        bench.burst(30);
        server.launch();
        bench.burst(5);
    }
    bench.settle();
    let (signals, events) = (bench.signals, bench.events);
    check(&server, signals, events);
    let ledger = bench.close();
    assert_eq!(ledger.get("history_dropped"), 0);
    eprintln!("{kills} kills, {signals} signals, {events} liquidations: each once");
}

#[test]
fn a_frozen_server_delays_nobody_and_gets_everything_once() {
    if skipped() {
        return;
    }
    let server = Server::start(&[]);
    let settings =
        Settings { url: server.url("foreshock"), deadline_ms: 200, ..Settings::default() };
    let mut bench = Bench::with(&settings, None);
    for _ in 0..times(3, 50) {
        bench.burst(5);
        bench.settle();
        bench.burst(20);
        server.signal("-STOP");
        for _ in 0..40 {
            bench.burst(2);
            bench.turn();
            std::thread::sleep(Duration::from_millis(10));
        }
        bench.until("it is said", |bench| bench.words().contains("does not answer in time"));
        server.signal("-CONT");
    }
    bench.settle();
    check(&server, bench.signals, bench.events);
    assert_eq!(bench.close().get("history_dropped"), 0);
}

#[test]
fn an_answer_that_never_comes_is_settled_by_the_number_of_the_batch() {
    if skipped() {
        return;
    }
    let server = Server::start(&[]);
    let settings =
        Settings { url: server.url("foreshock"), deadline_ms: 300, ..Settings::default() };
    let mut bench = Bench::with(&settings, None);
    bench.burst(1);
    bench.settle();
    // A commit that takes longer than anybody waits, and succeeds.
    let slow = "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                PERFORM pg_sleep(0.45); RETURN NULL; END $$";
    let sql = "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON foreshock.signals \
               DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (new.seq = 2) EXECUTE FUNCTION slow()";
    let lenient = "ALTER ROLE foreshock SET statement_timeout = 0";
    for sql in [slow, sql, lenient] {
        server.try_psql("foreshock", sql).unwrap();
    }
    bench.burst(1);
    bench.until("it is tried", |bench| !bench.words().is_empty());
    bench.settle();
    check(&server, bench.signals, bench.events);
    assert_eq!(bench.close().get("history_dropped"), 0);
}

#[test]
fn a_locked_table_stops_itself_alone() {
    if skipped() {
        return;
    }
    let server = Server::start(&[]);
    let settings =
        Settings { url: server.url("foreshock"), deadline_ms: 300, ..Settings::default() };
    let mut bench = Bench::with(&settings, None);
    bench.burst(1);
    bench.settle();
    std::thread::scope(|scope| {
        // The table that is served first.
        let lock = "BEGIN; LOCK TABLE foreshock.signals; SELECT pg_sleep(1.5); COMMIT";
        scope.spawn(|| server.try_psql("foreshock", lock).unwrap());
        let held = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted";
        bench.until("the lock is held", |_| server.cell(held) != "0");
        bench.burst(10);
        bench.until("it is said", |bench| bench.words().contains("somebody holds a lock"));
        let events = "SELECT count(*) FROM foreshock.liquidations";
        bench.until("liquidations go on", |_| server.cell(events) == "44");
        assert!(server.cell(held) != "0", "while it is locked");
        assert!(bench.ledger().get("history_waiting") >= 10, "signals wait");
    });
    bench.settle();
    check(&server, bench.signals, bench.events);
    assert!(bench.words().is_empty(), "{}", bench.words());
}

#[test]
fn what_is_too_much_goes_oldest_first_and_states_before_signals() {
    if skipped() {
        return;
    }
    let mut server = Server::start(&[]);
    let settings = Settings { url: server.url("foreshock"), backlog_mb: 1, ..Settings::default() };
    let mut bench = Bench::with(&settings, None);
    bench.burst(1);
    bench.settle();
    server.kill();
    for _ in 0..60 {
        bench.burst(20);
        bench.now_ms += 1_000;
        let mut states = Vec::new();
        for n in 0..40 {
            let symbol = Symbol::of_base(&format!("C{n}")).unwrap();
            states.push(Message::Report(Report::empty(symbol, Nanos::from_millis(bench.now_ms))));
        }
        let now = bench.now();
        bench.sink.write(now, &states);
        bench.turn();
        std::thread::sleep(Duration::from_millis(5));
    }
    bench.until("the backlog is at its limit", |bench| {
        bench.ledger().get("history_dropped{states backlog}") > 2_000
    });
    let dropped =
        |ledger: &Ledger, table: &str| ledger.get(&format!("history_dropped{{{table} backlog}}"));
    let ledger = bench.ledger();
    assert!(dropped(&ledger, "liquidations") > 0 && dropped(&ledger, "signals") > 0);
    assert!(dropped(&ledger, "signals") < 900, "{}", dropped(&ledger, "signals"));
    server.launch();
    bench.settle();
    let ledger = bench.ledger();
    assert_eq!(ledger.get("history_dropped{signals hand_over}"), 0);
    let kept = bench.signals - dropped(&ledger, "signals");
    assert_eq!(server.cell("SELECT count(*) FROM foreshock.signals"), kept.to_string());
    let last = "SELECT max(seq) FROM foreshock.signals";
    assert_eq!(server.cell(last), bench.signals.to_string(), "the newest are kept");
    bench.close();
}

#[test]
fn who_may_not_is_told_why_and_gets_in_once_he_may() {
    if skipped() {
        return;
    }
    let server = Server::start(&[]);
    server.psql(
        "CREATE ROLE guarded LOGIN PASSWORD 'right'; CREATE ROLE reader LOGIN; \
         CREATE ROLE clear LOGIN PASSWORD 'right'; SET password_encryption = 'md5'",
    );
    server
        .try_psql(
            "postgres",
            "SET password_encryption = 'md5'; CREATE ROLE old LOGIN PASSWORD 'right'",
        )
        .unwrap();
    let try_as = |role: &str, password: Option<&str>| {
        let settings = Settings { url: server.url(role), ..Settings::default() };
        let mut bench = Bench::with(&settings, password);
        bench.burst(1);
        bench.until("it is said", |bench| !bench.words().is_empty());
        let words = bench.words();
        assert!(!words.contains("right") && !words.contains("wrong"), "{words}");
        let ledger = bench.close();
        assert_eq!((ledger.get("history_stored"), ledger.get("history_waiting")), (0, 6));
        words
    };
    assert!(try_as("guarded", Some("wrong")).contains("refuses this user and password"));
    assert!(try_as("guarded", None).contains("FORESHOCK_HISTORY_PASSWORD"));
    assert!(try_as("reader", None).contains("may not do what is needed"), "no schema yet");
    assert!(try_as("nobody", None).contains("does not let this user in"));
    // The tables made by hand, and as little allowed as their file says.
    let schema = include_str!("../src/publish/history/schema.sql");
    server.try_psql("foreshock", schema).unwrap();
    for role in ["guarded", "old", "clear"] {
        for line in schema.lines().filter_map(|line| line.strip_prefix("--     GRANT")) {
            let sql = format!("GRANT{}", line.replace("TO foreshock;", &format!("TO {role}")));
            server.try_psql("foreshock", &sql).unwrap();
        }
    }
    assert!(try_as("reader", None).contains("may not do what is needed"));
    for (round, role) in (1..).zip(["guarded", "old", "clear"]) {
        server.try_psql("foreshock", "TRUNCATE foreshock.signals, foreshock.liquidations").unwrap();
        let settings = Settings { url: server.url(role), ..Settings::default() };
        let mut bench = Bench::with(&settings, Some("right"));
        bench.burst(3);
        bench.settle();
        check(&server, 3, 12);
        bench.close();
        let writers = server.cell("SELECT count(DISTINCT writer) FROM foreshock.progress");
        assert_eq!(writers, round.to_string());
    }
}

#[test]
fn tables_of_another_version_are_left_alone() {
    if skipped() {
        return;
    }
    let server = Server::start(&[]);
    let mut bench = Bench::new(&server.url("foreshock"));
    bench.burst(1);
    bench.settle();
    bench.close();
    server.try_psql("foreshock", "UPDATE foreshock.schema_version SET version = 2").unwrap();
    let mut bench = Bench::new(&server.url("foreshock"));
    bench.burst(1);
    bench.until("it is said", |bench| bench.words().contains("version 2"));
    assert_eq!(bench.close().get("history_stored"), 0);
}

#[test]
fn rows_that_are_there_already_are_given_up_and_counted() {
    if skipped() {
        return;
    }
    let server = Server::start(&[]);
    for (stored, refused) in [(5, 0), (0, 5)] {
        let mut bench = Bench::new(&server.url("foreshock"));
        bench.burst(1);
        bench.until("it is settled", |bench| bench.ledger().get("history_waiting") == 0);
        let ledger = bench.ledger();
        let found = ledger.get("history_dropped{signals refused}")
            + ledger.get("history_dropped{liquidations refused}");
        assert_eq!((ledger.get("history_stored"), found), (stored, refused));
        bench.close();
    }
    check(&server, 1, 4);
}

#[test]
fn a_server_that_says_nothing_is_left_after_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = format!("postgres://127.0.0.1:{port}/foreshock");
    let settings = Settings { url, deadline_ms: 100, ..Settings::default() };
    let mut bench = Bench::with(&settings, None);
    bench.burst(1);
    let (mut silent, _) = listener.accept().unwrap();
    bench.until("it is said", |bench| bench.words().contains("does not answer in time"));
    let mut all = Vec::new();
    silent.read_to_end(&mut all).unwrap();
    assert!(String::from_utf8_lossy(&all).contains("foreshock"), "we spoke first");
    let ledger = bench.close();
    assert_eq!((ledger.get("history_stored"), ledger.get("history_waiting")), (0, 6));
}

#[test]
fn a_server_across_the_network_is_known_by_its_certificate() {
    if skipped() {
        return;
    }
    let server = Server::start(&["ssl=on"]);
    server.psql("ALTER ROLE foreshock PASSWORD 'right'");
    let url = format!("postgres://localhost:{}/foreshock?sslmode=verify-full", server.port);
    let settings = Settings { url: url.clone(), ..Settings::default() };
    let mut bench = Bench::with(&settings, Some("right"));
    bench.burst(1);
    bench.until("it is said", |bench| bench.words().contains("UnknownIssuer"));
    assert_eq!(bench.close().get("history_stored"), 0);

    let settings = Settings { ca_file: server.certificate(), ..settings };
    let mut bench = Bench::with(&settings, Some("right"));
    bench.burst(50);
    bench.settle();
    check(&server, 50, 200);
    let spoken = "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                  WHERE application_name = 'foreshock'";
    assert_eq!(server.cell(spoken), "t");
    bench.close();

    // The certificate is of localhost.
    let url = url.replace("localhost", "127.0.0.1");
    let mut bench = Bench::with(&Settings { url, ..settings }, Some("right"));
    bench.burst(1);
    bench.until("it is said", |bench| bench.words().contains("not valid for name"));
    assert_eq!(bench.close().get("history_stored"), 0);
}

#[test]
fn a_server_without_tls_is_not_spoken_to_in_the_clear() {
    if skipped() {
        return;
    }
    let server = Server::start(&[]);
    let url = format!("postgres://localhost:{}/foreshock?sslmode=verify-full", server.port);
    let mut bench = Bench::with(&Settings { url, ..Settings::default() }, Some("right"));
    bench.burst(1);
    bench.until("it is said", |bench| bench.words().contains("offers no TLS"));
    assert_eq!(bench.close().get("history_stored"), 0);
}

/// What stands in for the extension: its row in the catalogue, and the two functions with the parameters
/// that their documentation gives. They write down what they were asked.
const STAND_INS: [&str; 4] = [
    "INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion) \
     VALUES (99999, 'timescaledb', 10, 2200, false, '2.17.2')",
    "CREATE TABLE public.asked (what text)",
    "CREATE FUNCTION public.by_range(column_name name, partition_interval interval) RETURNS text \
     LANGUAGE sql AS $$ SELECT column_name || ' ' || partition_interval $$",
    "CREATE FUNCTION public.create_hypertable(relation regclass, dimension text, \
     create_default_indexes boolean DEFAULT true, if_not_exists boolean DEFAULT false, \
     migrate_data boolean DEFAULT false) RETURNS void SECURITY DEFINER LANGUAGE sql AS $$ \
     INSERT INTO public.asked VALUES (relation || ' by ' || dimension || ' ' || create_default_indexes) $$",
];

#[test]
fn hypertables_are_asked_for_where_the_extension_is_there() {
    if skipped() {
        return;
    }
    let server = Server::start(&[]);
    for sql in STAND_INS {
        server.try_psql("foreshock", sql).unwrap();
    }
    let mut bench = Bench::new(&server.url("foreshock"));
    bench.burst(1);
    bench.settle();
    let asked = server.rows("SELECT what FROM public.asked");
    let expected = ["liquidations", "states"].map(|t| [format!("foreshock.{t} by at 1 day false")]);
    assert_eq!(asked, expected);
    bench.close();
}

#[test]
fn an_extension_that_cannot_do_it_leaves_plain_tables() {
    if skipped() {
        return;
    }
    let server = Server::start(&[]);
    server.try_psql("foreshock", STAND_INS[0]).unwrap();
    let mut bench = Bench::new(&server.url("foreshock"));
    bench.burst(2);
    bench.settle();
    check(&server, 2, 8);
    bench.close();
}
