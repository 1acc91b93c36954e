//! The Redis contract and its faults, against real servers.
//!
//! What happens to the stream when servers die, freeze and forget is in `redis_cascade.rs`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/redis.rs"]
mod server;
#[path = "support/scratch.rs"]
mod scratch;
#[path = "support/sink.rs"]
mod sink;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use foreshock::event::{Body, Completeness, Event, FeedState, Price, Side, Taker, Usd, Venue};
use foreshock::output::Message;
use foreshock::publish::redis::{Address, Former, RARELY, Redis, STREAM, Settings, Trouble};
use foreshock::publish::{Fate, Sink};
use foreshock::signal::{Kind, Report};
use foreshock::symbol::Symbol;
use foreshock::time::Nanos;
use redis::Value;
use server::{Server, skipped, text_of};
use sink::{Bench, RUN, START_MS, numbers, signal};

fn event(body: Body) -> Message {
    let received = Nanos::from_millis(START_MS);
    let completeness = Completeness::Complete;
    let base = Event::tick(received);
    Message::Event(Event { symbol: Symbol::BTC, body, venue: Venue::Bybit, completeness, ..base })
}

fn liquidation() -> Message {
    let (price, usd) = (Price::new(112_000.5), Usd::new(50_000.0));
    event(Body::Liquidation { side: Some(Side::Long), price, usd })
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

#[test]
fn every_key_has_its_type_its_fields_and_a_time_to_live() {
    if skipped() {
        return;
    }
    let server = Server::start(&[]);
    let mut client = server.client();
    let mut listener = server.client();
    let channels = ["cascade:signals", "cascade:alerts", "cascade:critical", "foreshock:feeds"];
    for channel in channels {
        listener.ask(&["SUBSCRIBE", channel]);
    }
    let mut bench = Bench::new(&server.url());
    let market = Report { btc_price: Some(112_000.5), ..Report::empty(Symbol::MARKET, Nanos(0)) };
    let state = Report { counts: [1; 7], ..signal(0) };
    let state = Report { kind: Kind::State, ..state };
    let (price, usd) = (Price::new(112_001.0).unwrap(), Usd::new(250.0));
    let batch = [
        event(Body::Feed { state: FeedState::Live, code: 0 }),
        liquidation(),
        event(Body::Trade { taker: Taker::Sell, price, usd }),
        Message::Report(market),
        Message::Report(state),
    ];
    let now = bench.now();
    bench.sink.write(now, &batch);
    bench.signals(1);
    bench.settle();
    bench.until("the states are there", |_| client.number(&["EXISTS", "regime:current"]) == 1);
    bench.until("the symbol is there", |_| {
        client.number(&["EXISTS", "velocity:BTCUSDT:current", "btc:price:current"]) == 2
    });

    let mut keys: Vec<_> = client.list(&["KEYS", "*"]).iter().map(text_of).collect();
    keys.sort();
    let expected = [
        ("btc:price:current", "string", 60),
        ("cascade:events:buffer", "list", 600),
        ("cascade:probability:BTCUSDT", "string", 60),
        ("cascade:probability:MARKET", "string", 60),
        ("cascade:signals:history", "zset", 604_800),
        ("cascade:signals:history:BTCUSDT", "zset", 604_800),
        ("foreshock:feeds", "hash", 60),
        ("foreshock:signals", "stream", 604_800),
        ("regime:current", "string", 600),
        ("velocity:BTCUSDT:current", "hash", 600),
        ("velocity:MARKET:current", "hash", 600),
    ];
    assert_eq!(keys, expected.map(|(key, ..)| key));
    for (key, kind, ttl) in expected {
        assert_eq!(client.text(&["TYPE", key]), kind, "{key}");
        let left = client.number(&["TTL", key]);
        assert!(left <= ttl && left > ttl - 30, "{key}: {left} of {ttl} s");
    }

    let velocity = client.list(&["HGETALL", "velocity:BTCUSDT:current"]);
    let names: BTreeSet<_> = velocity.iter().step_by(2).map(text_of).collect();
    for window in ["100ms", "500ms", "2s", "10s", "30s", "60s", "300s"] {
        for prefix in ["event_count_", "velocity_", "value_velocity_"] {
            assert!(names.contains(&format!("{prefix}{window}")), "{prefix}{window}");
        }
    }
    for name in ["symbol", "timestamp", "acceleration", "jerk", "acceleration_significance"] {
        assert!(names.contains(name), "{name}");
    }
    for name in ["jerk_significance", "total_value_usd", "volatility_factor", "coverage"] {
        assert!(names.contains(name), "{name}");
    }
    assert!(!names.contains("btc_price"), "what is missing is not there");
    let price = client.text(&["HGET", "velocity:MARKET:current", "btc_price"]);
    assert_eq!(price, "112000.5");

    let bitcoin = json(&client.text(&["GET", "btc:price:current"]));
    assert!(bitcoin["price"].is_number() && bitcoin["timestamp"].is_number(), "{bitcoin}");
    assert_eq!(bitcoin["volume"], 250);
    let probability = json(&client.text(&["GET", "cascade:probability:BTCUSDT"]));
    assert_eq!(
        (&probability["probability"], &probability["signal"]),
        (&0.75.into(), &"CRITICAL".into())
    );
    assert!(probability["risk"].is_number() && probability["coverage"].is_number());
    let regime = json(&client.text(&["GET", "regime:current"]));
    assert_eq!(
        (&regime["regime"], &regime["multipliers"]["volume"]),
        (&"NORMAL".into(), &1.into())
    );
    let feed = json(&client.text(&["HGET", "foreshock:feeds", "bybit/0"]));
    assert_eq!((&feed["state"], &feed["completeness"]), (&"live".into(), &"complete".into()));
    bench.until("its age is told", |_| {
        json(&client.text(&["HGET", "foreshock:feeds", "bybit/0"]))["age_ms"].is_number()
    });
    let event = json(&client.text(&["LINDEX", "cascade:events:buffer", "0"]));
    assert_eq!((&event["liquidated"], &event["value_usd"]), (&"long".into(), &50_000.into()));

    let entries = client.stream(STREAM);
    let (id, fields) = &entries[0];
    assert_eq!(*id, format!("{RUN}-1"));
    let at = fields.iter().position(|field| field == "json").unwrap();
    let told = json(&fields[at + 1]);
    assert_eq!((&told["meta"]["seq"], &told["meta"]["run"]), (&1.into(), &RUN.into()));
    let score = client.text(&["ZSCORE", "cascade:signals:history", &fields[at + 1]]);
    assert_eq!(score, told["timestamp"].to_string());

    let mut heard = BTreeSet::new();
    for _ in channels {
        let Value::Array(message) = listener.reply().unwrap() else { panic!("no message") };
        heard.insert(text_of(&message[1]));
    }
    assert_eq!(heard, channels.map(str::to_owned).into());
    assert_eq!(bench.close(), Fate { published: 1, retained: 0, evicted: 0 });
}

#[test]
fn histories_and_the_tape_keep_their_newest_thousand() {
    if skipped() {
        return;
    }
    let server = Server::start(&[]);
    let mut client = server.client();
    let mut bench = Bench::new(&server.url());
    let now = bench.now();
    for _ in 0..3 {
        bench.sink.write(now, &vec![liquidation(); 600]);
        bench.signals(600);
        bench.settle();
    }
    bench.until("the tape is full", |_| client.number(&["LLEN", "cascade:events:buffer"]) == 1000);
    assert_eq!(client.number(&["ZCARD", "cascade:signals:history"]), 1000);
    let oldest = client.list(&["ZRANGE", "cascade:signals:history", "0", "0"]);
    assert_eq!(json(&text_of(&oldest[0]))["meta"]["seq"], 801);
    assert_eq!(numbers(&mut client, RUN), (1..=1800).collect::<Vec<_>>());
}

#[test]
fn a_unix_socket_serves_as_well() {
    if skipped() {
        return;
    }
    let server = Server::start(&[]);
    let mut bench = Bench::new(&format!("unix://{}?db=3", server.socket().display()));
    bench.signals(5);
    bench.settle();
    let mut client = server.client();
    client.ask(&["SELECT", "3"]);
    assert_eq!(numbers(&mut client, RUN), [1, 2, 3, 4, 5]);
}

#[test]
fn what_was_evicted_leaves_a_gap_that_says_so() {
    if skipped() {
        return;
    }
    let mut server = Server::start(&[]);
    let settings = Settings { url: server.url(), retain: 100, ..Settings::default() };
    let mut bench = Bench::with(&settings, None);
    bench.signals(10);
    bench.settle();
    server.kill();
    bench.signals(500);
    bench.until("the backlog is at its limit", |bench| bench.fate().evicted == 400);
    server.launch();
    bench.settle();
    let mut client = server.client();
    let entries = client.stream(STREAM);
    assert_eq!(entries[0].0, format!("{RUN}-410"));
    assert_eq!(entries[0].1, ["kind", "gap", "from", "1", "to", "410"]);
    assert_eq!(numbers(&mut client, RUN), (410..=510).collect::<Vec<_>>());
    assert_eq!(bench.close(), Fate { published: 110, retained: 0, evicted: 400 });
}

#[test]
fn a_frozen_server_delays_nobody_and_gets_everything_once() {
    if skipped() {
        return;
    }
    let server = Server::start(&[]);
    // Over a unix socket, where the kernel never gives up by itself: only our deadline ends a wait.
    let mut bench = Bench::new(&format!("unix://{}", server.socket().display()));
    bench.signals(5);
    bench.settle();
    server.signal("-STOP");
    let mut longest = Duration::ZERO;
    for _ in 0..200 {
        let start = Instant::now();
        bench.signals(20);
        bench.turn();
        longest = longest.max(start.elapsed());
        std::thread::sleep(Duration::from_millis(2));
    }
    eprintln!("longest turn against a frozen server: {longest:?}");
    assert!(longest < Duration::from_millis(200), "waited for Redis: {longest:?}");
    bench.until("it is said", |bench| bench.words() == "Redis does not answer in time");
    server.signal("-CONT");
    bench.settle();
    let all = bench.given;
    assert_eq!(numbers(&mut server.client(), RUN), (1..=all).collect::<Vec<_>>());
}

#[test]
fn closing_against_a_frozen_server_ends_and_says_what_is_left() {
    if skipped() {
        return;
    }
    let server = Server::start(&[]);
    let mut bench = Bench::new(&server.url());
    bench.signals(5);
    bench.settle();
    server.signal("-STOP");
    bench.signals(7);
    let start = Instant::now();
    assert_eq!(bench.close(), Fate { published: 5, retained: 7, evicted: 0 });
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[test]
fn without_a_server_the_run_goes_on() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut bench = Bench::new(&format!("redis://127.0.0.1:{port}"));
    bench.signals(3);
    bench.until("it is said", |bench| bench.words().starts_with("cannot reach Redis"));
    assert_eq!(bench.close(), Fate { published: 0, retained: 3, evicted: 0 });
}

#[test]
fn a_wrong_password_is_tried_rarely_and_never_shown() {
    if skipped() {
        return;
    }
    let server = Server::start(&["requirepass sesame-right"]);
    let settings = Settings { url: server.url(), ..Settings::default() };
    for (password, said) in
        [(None, "wants a password"), (Some("sesame-wrong"), "refuses this user")]
    {
        let mut bench = Bench::with(&settings, password);
        bench.signals(1);
        bench.until("it is said", |bench| bench.words().contains(said));
        let end = Instant::now() + RARELY / 5;
        bench.until("a second passes", |_| Instant::now() > end);
        assert_eq!(bench.sink.status().attempts.load(Ordering::Relaxed), 1);
        assert!(!bench.words().contains("sesame"));
        assert_eq!(bench.close().retained, 1);
    }
    let mut bench = Bench::with(&settings, Some("sesame-right"));
    bench.signals(1);
    bench.settle();
}

#[test]
fn a_full_server_is_named_and_gets_everything_once_it_has_room() {
    if skipped() {
        return;
    }
    let server = Server::start(&["maxmemory 1000"]);
    let mut bench = Bench::new(&server.url());
    bench.signals(300);
    bench.until("it is said", |bench| bench.words().contains("out of memory"));
    assert_eq!(bench.fate().published, 0);
    server.client().ask(&["CONFIG", "SET", "maxmemory", "0"]);
    bench.settle();
    assert_eq!(numbers(&mut server.client(), RUN), (1..=300).collect::<Vec<_>>());
    assert_eq!(bench.words(), "");
}

#[test]
fn a_replica_that_is_promoted_gets_everything_once() {
    if skipped() {
        return;
    }
    let server = Server::start(&["replica-serve-stale-data yes"]);
    server.client().ask(&["REPLICAOF", "127.0.0.1", "1"]);
    let mut bench = Bench::new(&server.url());
    bench.signals(30);
    bench.until("it is said", |bench| bench.words().contains("read-only replica"));
    server.client().ask(&["REPLICAOF", "NO", "ONE"]);
    bench.settle();
    assert_eq!(numbers(&mut server.client(), RUN), (1..=30).collect::<Vec<_>>());
}

#[test]
fn a_user_without_rights_is_told_so() {
    if skipped() {
        return;
    }
    let server = Server::start(&["user limited on >pw ~* &* +@all -xadd"]);
    let url = format!("redis://limited@127.0.0.1:{}", server.port);
    let mut bench = Bench::with(&Settings { url, ..Settings::default() }, Some("pw"));
    bench.signals(3);
    bench.until("it is said", |bench| bench.words().contains("may not run our commands"));
    server.client().ask(&["ACL", "SETUSER", "limited", "+@all"]);
    bench.settle();
    assert_eq!(numbers(&mut server.client(), RUN), [1, 2, 3]);
}

#[test]
fn a_key_that_holds_something_else_does_not_stop_the_rest() {
    if skipped() {
        return;
    }
    let server = Server::start(&[]);
    let mut client = server.client();
    client.ask(&["SET", "cascade:signals:history", "mine"]);
    client.ask(&["SET", "velocity:MARKET:current", "mine"]);
    let mut bench = Bench::new(&server.url());
    bench.signals(3);
    let now = bench.now();
    bench.sink.write(now, &[Message::Report(Report::empty(Symbol::MARKET, Nanos(0)))]);
    bench.settle();
    bench.until("the state is there", |_| client.number(&["EXISTS", "regime:current"]) == 1);
    assert_eq!(numbers(&mut client, RUN), [1, 2, 3]);
    assert_eq!(client.text(&["GET", "cascade:signals:history"]), "mine");
    assert!(bench.sink.status().refused.load(Ordering::Relaxed) > 0);
}

#[test]
fn a_stream_key_that_holds_something_else_acknowledges_nothing() {
    if skipped() {
        return;
    }
    let server = Server::start(&[]);
    let mut client = server.client();
    let mut bench = Bench::new(&server.url());
    bench.signals(3);
    bench.settle();
    client.ask(&["SET", STREAM, "mine"]);
    bench.signals(2);
    bench.until("it is said", |bench| bench.words().contains("holds something else"));
    assert_eq!(bench.fate(), Fate { published: 3, retained: 2, evicted: 0 });
}

#[test]
fn a_stream_somebody_deleted_or_trimmed_is_gone_on_with() {
    if skipped() {
        return;
    }
    let server = Server::start(&[]);
    let mut client = server.client();
    let mut bench = Bench::new(&server.url());
    bench.signals(3);
    bench.settle();
    client.ask(&["XTRIM", STREAM, "MAXLEN", "0"]);
    bench.signals(2);
    bench.settle();
    assert_eq!(numbers(&mut client, RUN), [4, 5]);
    client.ask(&["DEL", STREAM]);
    bench.signals(2);
    bench.settle();
    assert_eq!(numbers(&mut client, RUN), [6, 7]);
}

#[test]
fn a_later_run_in_the_stream_is_gone_above_and_never_taken_for_ours() {
    if skipped() {
        return;
    }
    let server = Server::start(&[]);
    let mut client = server.client();
    let later = RUN + 5_000;
    client.ask(&["XADD", STREAM, &format!("{later}-9"), "kind", "change"]);
    let mut bench = Bench::new(&server.url());
    bench.signals(3);
    bench.settle();
    let ids: Vec<_> = client.stream(STREAM).into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids[1..], [1, 2, 3].map(|seq| format!("{}-{seq}", later + 1)));
    client.ask(&["XADD", STREAM, &format!("{}-1", later + 7), "kind", "change"]);
    bench.signals(2);
    bench.settle();
    let ids: Vec<_> = client.stream(STREAM).into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids[5..], [4, 5].map(|seq| format!("{}-{seq}", later + 8)), "no gap, no repeat");
}

#[test]
fn what_an_earlier_run_left_goes_in_once_under_its_own_ids_and_is_no_news() {
    if skipped() {
        return;
    }
    let server = Server::start(&[]);
    let mut client = server.client();
    let mut listener = server.client();
    let before = RUN - 1_000;
    client.ask(&["XADD", STREAM, &format!("{before}-6"), "kind", "change"]);
    listener.ask(&["SUBSCRIBE", "cascade:signals"]);
    let signals = [6, 8, 9].map(|seq| (before, signal(seq))).to_vec();
    let former = Former { seq: 9, signals };
    let address = Address::parse(&server.url()).unwrap();
    let settings = Settings { url: server.url(), ..Settings::default() };
    let sink = Redis::follow(&settings, address, None, RUN, None, &former).unwrap();
    let mut bench = Bench { sink, now_ms: START_MS, given: 0 };
    let news: Vec<_> = [10, 11].map(|seq| Message::Report(signal(seq))).to_vec();
    for news in [&news[..1], &news[1..]] {
        bench.given += 1;
        bench.sink.write(bench.now(), news);
        bench.settle();
    }
    let stream = client.stream(STREAM);
    let ids: Vec<_> = stream.iter().map(|(id, _)| id.as_str()).collect();
    let [old, new] = [before, RUN].map(|run| move |seq| format!("{run}-{seq}"));
    assert_eq!(ids, [old(6), old(7), old(8), old(9), new(10), new(11)]);
    assert_eq!(stream[1].1, ["kind", "gap", "from", "7", "to", "7"]);
    for seq in [10, 11] {
        let Value::Array(message) = listener.reply().unwrap() else { panic!("no message") };
        assert_eq!(json(&text_of(&message[2]))["meta"]["seq"], seq);
    }
    assert_eq!(bench.close(), Fate { published: 2, retained: 0, evicted: 0 });
}

/// A server of thirty lines that answers every command with the same error.
fn liar(error: &'static str) -> (String, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://127.0.0.1:{}", listener.local_addr().unwrap().port());
    let serve = move || {
        let Ok((mut stream, _)) = listener.accept() else { return };
        let mut buffer = [0; 4096];
        while let Ok(n) = stream.read(&mut buffer) {
            let commands = buffer[..n].iter().filter(|&&b| b == b'*').count();
            if n == 0 || stream.write_all(error.repeat(commands).as_bytes()).is_err() {
                return;
            }
        }
    };
    (url, std::thread::spawn(serve))
}

#[test]
fn every_error_of_a_server_has_words_and_loses_nothing() {
    for code in
        ["LOADING", "MOVED", "CLUSTERDOWN", "MASTERDOWN", "TRYAGAIN", "MISCONF", "READONLY", "OOM"]
    {
        let error: &'static str = Box::leak(format!("-{code} so it is\r\n").into_boxed_str());
        let (url, server) = liar(error);
        let mut bench = Bench::new(&url);
        bench.signals(2);
        let expected = Trouble::of_reply(code, "so it is").words;
        bench.until(code, |bench| bench.words() == expected);
        assert_eq!(bench.close(), Fate { published: 0, retained: 2, evicted: 0 }, "{code}");
        server.join().unwrap();
    }
}

#[test]
fn what_is_no_redis_is_not_believed() {
    let (url, server) = liar("HTTP/1.1 400 Bad Request\r\n\r\n");
    let mut bench = Bench::new(&url);
    bench.signals(1);
    bench.until("it is said", |bench| bench.words().contains("does not speak the Redis protocol"));
    assert_eq!(bench.close().published, 0);
    server.join().unwrap();
}
