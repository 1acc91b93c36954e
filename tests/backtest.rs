//! Markets whose outcome is known, and what `foreshock backtest` says of them.
#![expect(clippy::cast_precision_loss, clippy::unwrap_used, reason = "small known values")]

#[path = "support/scratch.rs"]
mod scratch;

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use scratch::Scratch;
use serde_json::Value;

/// 2026-09-21 14:20:00 UTC.
const START: i64 = 1_790_000_400_000;
const HEAD: &str = "ts_ms,recv_ms,exchange,symbol,side,price,qty,notional_usd\n";
const MINUTE: i64 = 60_000;

/// A market in a scratch directory, and the lists that say what is in it.
struct Market {
    scratch: Scratch,
    events: Vec<PathBuf>,
    labels: String,
    negatives: String,
    quiet: String,
}

impl Market {
    fn new(name: &str) -> Self {
        let lists = "dataset,start_ms,peak_ms,end_ms,kind\n";
        Self {
            scratch: Scratch::new(name),
            events: Vec::new(),
            labels: lists.to_owned(),
            negatives: lists.to_owned(),
            quiet: "dataset,start_ms,end_ms\n".to_owned(),
        }
    }

    /// A recording of (ms after the start, symbol, USD).
    fn recording(&mut self, name: &str, rows: &[(i64, String, f64)]) {
        let mut text = HEAD.to_owned();
        for (ms, symbol, usd) in rows {
            writeln!(text, "{},,bybit,{symbol}USDT,long,100,{},{usd}", START + ms, usd / 100.0)
                .unwrap();
        }
        self.events.push(self.file(&format!("{name}/events.csv"), &text));
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.scratch.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_foreshock"));
        command.arg("backtest").arg("--events").args(&self.events);
        for (flag, text) in
            [("--labels", &self.labels), ("--negatives", &self.negatives), ("--quiet", &self.quiet)]
        {
            command.arg(flag).arg(self.file(&format!("lists/{}.csv", &flag[2..]), text));
        }
        command.args(args).output().unwrap()
    }

    fn text(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && error.is_empty(), "{error}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, args: &[&str]) -> Value {
        let text = self.text(&[&["--format", "json"], args].concat());
        serde_json::from_str(&text).unwrap()
    }
}

/// Six minutes of a little, then from 360 s on a rate that doubles every 2 s for 12 s over 60 symbols,
/// of 40,000 USD each.
fn cascade() -> Vec<(i64, String, f64)> {
    let quiet = (0..36).map(|i| (i * 10_000, format!("COIN{}", i % 7), 100.0));
    let mut ramp = Vec::new();
    let mut at = 0.0_f64;
    for i in 0.. {
        at += 1_000.0 / (2.0 * (at / 2_000.0).exp2());
        if at > 12_000.0 {
            break;
        }
        #[expect(clippy::cast_possible_truncation, reason = "at most twelve seconds")]
        ramp.push((360_000 + at as i64, format!("COIN{}", i * 7 % 60), 40_000.0));
    }
    quiet.chain(ramp).collect()
}

fn with_cascade(name: &str) -> Market {
    let mut market = Market::new(name);
    market.recording("ramp", &cascade());
    let (start, end) = (START + 360_000, START + 372_000);
    writeln!(market.labels, "ramp,{start},{start},{end},fast").unwrap();
    market
}

fn detector<'a>(all: &'a Value, name: &str) -> &'a Value {
    let found = all.as_array().unwrap().iter().find(|one| one["detector"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {all:#}"))
}

const MARKET: &str = "foreshock MARKET";
const MONEY: &str = "(a) >1M USD/10s";
const COUNT: &str = "(b) >=5, >100k/300s";

#[test]
fn a_cascade_is_hit_at_the_moment_that_replay_gives() {
    let market = with_cascade("backtest-hit");
    let report = market.json(&[]);
    let cascade = &report["recordings"][0]["cascades"][0];
    let alarm = &detector(&cascade["alarms"], MARKET)["alarm"];

    // The same file through the whole pipeline: its first ALERT of the market.
    let out = market.scratch.path().join("signals.jsonl");
    let mut replay = Command::new(env!("CARGO_BIN_EXE_foreshock"));
    replay.arg("replay").arg(&market.events[0]).arg("--out").arg(&out);
    assert!(replay.output().unwrap().status.success());
    let signals = fs::read_to_string(out).unwrap();
    let signals = signals.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let is_alert = |signal: &Value| {
        signal["symbol"] == "MARKET"
            && ["ALERT", "CRITICAL", "EXTREME"].contains(&signal["signal"].as_str().unwrap())
    };
    let first = signals.into_iter().find(is_alert).expect("an alert");
    assert_eq!(alarm["at_ms"], first["timestamp"], "{first:#}");

    let at = alarm["at_ms"].as_i64().unwrap();
    assert!(at > START + 360_000 && at < START + 372_000, "{at}");
    for moment in ["onset", "peak"] {
        let expected = (cascade[format!("{moment}_ms")].as_i64().unwrap() - at) as f64 / 1e3;
        assert_eq!(alarm["lead_s"][moment].as_f64(), Some(expected), "{moment}");
    }
    let sum = detector(&report["all"], MARKET);
    assert_eq!((&sum["fast"], &sum["fast_hit"]), (&1.into(), &1.into()));
}

#[test]
fn a_rule_alarms_with_the_event_that_exceeds_it() {
    let rows = cascade();
    // 26 of 40,000 USD are the first that are more than a million.
    let exceeds = rows.iter().filter(|row| row.2 > 1_000.0).nth(25).unwrap().0;
    let report = with_cascade("backtest-rule").json(&[]);
    let cascade = &report["recordings"][0]["cascades"][0];
    let alarm = &detector(&cascade["alarms"], MONEY)["alarm"];
    assert_eq!(alarm["at_ms"].as_i64(), Some(START + exceeds));
}

#[test]
fn a_portfolio_at_a_flat_price_is_a_false_alarm_of_the_rule_and_not_of_the_engine() {
    let mut market = Market::new("backtest-flat");
    let quiet = (0..60).map(|i| (i * 10_000, format!("COIN{}", i % 7), 100.0));
    let portfolio = (0..10).map(|i| (600_000, format!("COIN{i}"), 200_000.0));
    let after = (0..30).map(|i| (610_000 + i * 10_000, format!("COIN{}", i % 7), 100.0));
    market.recording("flat", &quiet.chain(portfolio).chain(after).collect::<Vec<_>>());
    let at = START + 600_000;
    writeln!(market.negatives, "flat,{at},{at},{at},none").unwrap();
    let report = market.json(&[]);
    let alarmed = |name: &str| detector(&report["all"], name)["negatives_alarmed"].clone();
    assert_eq!((alarmed(MARKET), alarmed(MONEY), alarmed(COUNT)), (0.into(), 1.into(), 1.into()));
    // Asked for no more false alarms than the engine, the rule must be twice as strict.
    let matched = report["at_no_more_false_alarms"].as_array().unwrap();
    assert!(matched.iter().any(|rule| rule["detector"] == "(a) >1M USD/10s x2"), "{matched:#?}");
    assert!(matched.iter().all(|rule| rule["negatives_alarmed"] == 0));
}

#[test]
fn alarms_in_quiet_time_are_counted_per_day() {
    let mut market = Market::new("backtest-quiet");
    // Ten of 30,000 USD within five minutes, twice, two hours apart.
    let burst = |from: i64| (0..10).map(move |i| (from + i * 20_000, "COIN1".to_owned(), 3e4));
    market.recording("calm", &burst(0).chain(burst(120 * MINUTE)).collect::<Vec<_>>());
    writeln!(market.quiet, "calm,{START},{}", START + 180 * MINUTE).unwrap();
    let report = market.json(&[]);
    assert_eq!(report["recordings"][0]["sessions"], 2);
    assert_eq!(report["recordings"][0]["quiet_hours"], 3.0);
    let of = |name: &str| {
        let sum = detector(&report["all"], name);
        (sum["quiet_alarms"].as_u64().unwrap(), sum["quiet_alarms_per_24h"].as_f64().unwrap())
    };
    assert_eq!((of(MARKET), of(COUNT)), ((0, 0.0), (2, 16.0)));
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let mut market = with_cascade("backtest-bytes");
    market.recording("again", &cascade());
    let args = ["--format", "json", "--ablate", "--hold-out", "--invent", "1"];
    let first = market.text(&args);
    assert_eq!(first, market.text(&args));
    let report: Value = serde_json::from_str(&first).unwrap();
    let one = |i: usize| &report["recordings"][i];
    assert_eq!((one(0)["name"].as_str(), one(1)["name"].as_str()), (Some("ramp"), Some("again")));
    let risk = report["ablations"].as_array().unwrap().iter();
    let mut parts = risk.filter_map(|group| group["parts"].as_array()).flatten();
    assert!(parts.any(|part| part["detector"] == "jerk"));
}

/// Eleven minutes of a little over 62 coins, BTC and ETH among them, and what is added.
fn ordinary(more: impl IntoIterator<Item = (i64, usize, f64)>) -> Vec<(i64, String, f64)> {
    let name = |coin: usize| match coin {
        0 => "BTC".to_owned(),
        1 => "ETH".to_owned(),
        coin => format!("COIN{coin}"),
    };
    let usual = (0..330_usize).map(|i| (i as i64 * 2_000, i % 62, 200.0));
    let mut all: Vec<_> = usual.chain(more).map(|(at, coin, usd)| (at, name(coin), usd)).collect();
    all.sort_by_key(|row| row.0);
    all
}

/// So many coins within so many ms, `usd` each, from `at` on.
fn burst(at: i64, coins: usize, within: i64, usd: f64) -> impl Iterator<Item = (i64, usize, f64)> {
    (0..60_i64).zip((0..coins).cycle()).map(move |(i, coin)| (at + i * within / 60, coin, usd))
}

/// Four bursts at the same moment, each of which lacks one thing that a cascade has.
fn look_alikes(name: &str) -> Market {
    let mut market = Market::new(name);
    let again = (0..41).flat_map(|i| burst(i * 15_000, 60, 1_500, 5_000.0));
    market.recording("no-surprise", &ordinary(again));
    market.recording("one-instant", &ordinary(burst(600_000, 60, 20, 5_000.0)));
    market.recording("few-coins", &ordinary(burst(600_000, 5, 1_500, 5_000.0)));
    market.recording("dust", &ordinary(burst(600_000, 60, 1_500, 100.0)));
    let at = START + 600_000;
    for one in ["no-surprise", "one-instant", "few-coins", "dust"] {
        writeln!(market.negatives, "{one},{at},{at},{},none", at + 1_500).unwrap();
    }
    market
}

#[test]
fn each_condition_alone_keeps_out_what_lacks_only_that() {
    let market = look_alikes("backtest-ablation");
    let report = market.json(&["--ablate"]);
    let group = &report["ablations"][0];
    let alarmed = |of: &Value| of["negatives_alarmed"].as_u64().unwrap();
    assert_eq!(alarmed(&group["whole"]), 0);
    assert_eq!(alarmed(detector(&report["all"], MARKET)), 0, "nor does the engine");
    for (part, recording) in [
        ("significance", "no-surprise"),
        ("dispersion", "one-instant"),
        ("breadth", "few-coins"),
        ("money", "dust"),
    ] {
        let without = detector(&group["parts"], part);
        assert_eq!(alarmed(without), 1, "{part}: {without:#}");
        let says = without["says"].as_str().unwrap();
        let words = format!("{recording}: hard negatives alarmed 0 to 1");
        assert!(says.contains(&words), "{part}: {says}");
    }
    // What adds nothing here is said to.
    let seconds = detector(&group["parts"], "seconds");
    assert_eq!(seconds["says"], "no hit, lead or alarm changes");
}

#[test]
fn what_is_kept_of_a_run_gives_the_alarms_that_the_engine_gave() {
    let market = with_cascade("backtest-held");
    let report = market.json(&["--hold-out"]);
    let (held, own) = (&report["held_out"], detector(&report["all"], MARKET));
    let ships = detector(&held["sums"], "as it ships");
    for count in ["fast_hit", "fast_in_time", "alarms", "elsewhere", "median_lead_s"] {
        assert_eq!(ships[count], own[count], "{count}");
    }
    assert_eq!(ships["fast_hit"], 1);
    let step = |name: &str| detector(&held["sensitivity"], name)["median_lead_s"]["peak"].as_f64();
    assert!(step("dispersion x2") < step("dispersion x0.5"), "a threshold that does nothing");
}

#[test]
fn a_burst_at_a_price_that_is_known_to_be_flat_is_no_alarm_and_one_that_is_not_known_is() {
    let mut market = Market::new("backtest-price");
    market.recording("burst", &ordinary(burst(600_000, 60, 1_500, 5_000.0)));
    let at = START + 600_000;
    writeln!(market.labels, "burst,{at},{at},{},fast", at + 1_500).unwrap();
    let trades = |name: &str, moved: f64| {
        let head = "ts_ms,event_ms,symbol,price,qty,taker_side\n";
        let price = |i: i64| if i > 1_150 { 1e5 * (1.0 - moved) } else { 1e5 };
        let row = |i: i64| {
            let at = START + i * 500;
            format!("{at},{at},BTCUSDT,{},0.1,sell\n", price(i))
        };
        market.file(name, &(head.to_owned() + &(0..1_300).map(row).collect::<String>()))
    };
    let hit = |args: &[&str]| detector(&market.json(args)["all"], MARKET)["fast_hit"].clone();
    let with = |moved| {
        let name = format!("trades-{moved}.csv");
        let path = trades(&name, moved);
        hit(&["--prices", path.to_str().unwrap()])
    };
    assert_eq!((with(0.0), with(0.0007), with(0.0009)), (0.into(), 0.into(), 1.into()));
    assert_eq!(hit(&[]), 1, "a price that is not known is held against nobody");
}

/// By default a few of each plot; `FORESHOCK_FULL=1` plays 200.
#[test]
fn invented_cascades_are_seen_and_what_only_looks_like_one_is_not() {
    let each = if std::env::var_os("FORESHOCK_FULL").is_some() { 200 } else { 4 };
    let mut command = Command::new(env!("CARGO_BIN_EXE_foreshock"));
    command.args(["backtest", "--format", "json", "--invent", &each.to_string()]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let sum = |what: &str, is: &dyn Fn(&str) -> bool| -> u64 {
        let plots = report["invented"]["plots"].as_array().unwrap().iter();
        let of = plots.filter(|plot| is(plot["plot"].as_str().unwrap()));
        of.map(|plot| plot[what].as_u64().unwrap_or(0)).sum()
    };
    let cascade = |plot: &str| plot.starts_with("cascade");
    let (seen, in_time, all) =
        (sum("market", &cascade), sum("in_time", &cascade), sum("stories", &cascade));
    assert_eq!(all, each);
    assert!(seen * 10 >= all * 9 && in_time * 10 >= all * 7, "{in_time}, {seen} of {all}");
    // Small coins alone are told from a market by its price, which by chance moves now and then.
    let small = |plot: &str| plot == "small coins, price known";
    let flat = |plot: &str| plot.ends_with("price known") && !cascade(plot) && !small(plot);
    for (flat, most) in [(&flat as &dyn Fn(&str) -> bool, 50), (&small, 5)] {
        let (alarmed, all) = (sum("market", flat), sum("stories", flat));
        assert!(alarmed <= 1 + all / most, "{alarmed} of {all}: {:#}", report["invented"]);
    }
}

#[test]
fn a_candle_moves_the_break_and_nothing_before_its_end() {
    let market = with_cascade("backtest-candles");
    // Candles of a minute from an hour before; the one at 6 min moves by 1 %.
    let candle = |i: i64| {
        let high = if i == 6 { 101.0 } else { 100.01 };
        format!("{},100,{high},100,100,1\n", START + i * MINUTE)
    };
    let candles: String = (-60..20).map(candle).collect();
    let text = format!("ts_ms,open,high,low,close,volume\n{candles}");
    let prices = market.file("venue_BTCUSDT_1m.csv", &text);
    let report = market.json(&["--prices", prices.to_str().unwrap()]);
    let cascade = &report["recordings"][0]["cascades"][0];
    assert_eq!(cascade["break_ms"], START + 6 * MINUTE);
    // What the last candles did is not known before the cascade is over.
    let lines: Vec<&str> = text.lines().collect();
    let cut = market.file("cut_BTCUSDT_1m.csv", &(lines[..67].join("\n") + "\n"));
    let without = market.json(&["--prices", cut.to_str().unwrap()]);
    let alarm = |report: &Value| {
        detector(&report["recordings"][0]["cascades"][0]["alarms"], MARKET)["alarm"]["at_ms"]
            .clone()
    };
    assert_eq!(alarm(&report), alarm(&without));
}

#[test]
fn pictures_and_a_calibration_are_written() {
    let market = with_cascade("backtest-files");
    let (svg, table) =
        (market.scratch.path().join("svg"), market.scratch.path().join("table.json"));
    let text = market.text(&[
        "--svg",
        svg.to_str().unwrap(),
        "--calibrate",
        table.to_str().unwrap(),
        "--symbol",
        "any",
    ]);
    assert!(text.contains("calibration: ") && text.contains("foreshock any row"));
    let picture = fs::read_to_string(svg.join("ramp-1-fast.svg")).unwrap();
    for word in ["ALERT 14:26:", "onset 14:26:", "velocity 10 s", "jerk 2 s", "time, UTC"] {
        assert!(picture.contains(word), "{word}");
    }
    let table: Value = serde_json::from_str(&fs::read_to_string(table).unwrap()).unwrap();
    for knots in ["shipped", "fitted"] {
        let knots = table[knots].as_array().unwrap();
        let rising = |i: usize| knots.windows(2).all(|w| w[0][i].as_f64() <= w[1][i].as_f64());
        assert!(knots.len() > 1 && rising(0) && rising(1), "{table:#}");
    }
}

#[test]
fn what_cannot_be_read_is_named() {
    let mut market = with_cascade("backtest-bad");
    market.labels.push_str("ramp,soon,1,2,fast\n");
    let output = market.run(&[]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains("labels.csv, line 3: \"soon\" is no time in ms"), "{error}");
    let candles =
        market.file("x_BTCUSDT_5m.csv", "ts_ms,open,high,low,close,volume\n1,2,1,1,1,1\n");
    market.labels = "dataset,start_ms,end_ms\n".to_owned();
    let output = market.run(&["--prices", candles.to_str().unwrap()]);
    assert!(output.status.success(), "a candle outside of every session is not even read");
    let text = format!("ts_ms,open,high,low,close,volume\n{START},2,1,1,1,1\n");
    let candles = market.file("y_BTCUSDT_5m.csv", &text);
    let output = market.run(&["--prices", candles.to_str().unwrap()]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("y_BTCUSDT_5m.csv, line 2: expected open"), "{error}");
}
