//! The venues themselves, asked over the network: their clocks, their addresses, whether they keep the
//! contract. Only when the user wants it; every wait has an end, and all venues are asked at once.

use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tungstenite::{Error, Message};

use super::check::{Check, Finding, Level, Scope};
use super::host::{Cannot, Look};
use crate::config::Config;
use crate::event::{Event, Venue};
use crate::ingest::dial::{Trust, dial};
use crate::ingest::exchange::{Desk, Items, Origin, Verdict};
use crate::ingest::intake::spoken;
use crate::ingest::resolve::Resolver;
use crate::ingest::rest::Rest;
use crate::ingest::settings::Settings;
use crate::ingest::socket::Setup;
use crate::run::clock::Clock;
use crate::run::crew::Stop;
use crate::run::live::ask_all;

/// The venues.
pub const CHECKS: &[Check] = &[
    Check {
        name: "venue-clock",
        level: Level::Warn,
        scope: Scope::Own,
        why: "The age of an event is our clock against the venue's.",
        ask: clock,
    },
    Check {
        name: "venue-addresses",
        level: Level::Warn,
        scope: Scope::Own,
        why: "One name has many addresses, and some are further away than others.",
        ask: addresses,
    },
    Check {
        name: "venue-contract",
        level: Level::Fail,
        scope: Scope::Own,
        why: "A feed that connects, acknowledges and stays silent is worse than one that is down.",
        ask: contract,
    },
];

/// Addresses tried for each endpoint; a connection each.
const ADDRESSES_MAX: usize = 4;
/// How long a venue has for its first word, and a connection to come about.
const FIRST: Duration = Duration::from_secs(5);
const CONNECT: Duration = Duration::from_secs(2);
/// How far clocks may be apart beyond what cannot be told, ms.
const APART_MAX_MS: i64 = 50;
/// An address this much slower than the fastest is worth a word.
const SLOWER: Duration = Duration::from_millis(2);

/// Where a venue tells its time, and where in the answer. Hyperliquid does not.
const CLOCKS: [(Venue, &str, &str); 3] = [
    (Venue::Binance, "https://fapi.binance.com/fapi/v1/time", "/serverTime"),
    (Venue::Bybit, "https://api.bybit.com/v5/market/time", "/time"),
    (Venue::Okx, "https://www.okx.com/api/v5/public/time", "/data/0/ts"),
];

/// A venue's time, by ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offset {
    /// The venue's clock minus ours, ms.
    pub ms: i64,
    /// What it may be off by, ms: half of the time the answer took.
    pub within_ms: i64,
}

/// One address of an endpoint.
#[derive(Clone, Debug)]
pub struct Reached {
    /// The address.
    pub peer: SocketAddr,
    /// How long TCP took.
    pub connect: Duration,
    /// How long it was from nothing to an open WebSocket.
    pub open: Duration,
    /// How long the first word took after subscribing; or why there was none.
    pub first: Result<Duration, String>,
}

/// One endpoint.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// `venue/route`.
    pub name: String,
    /// Its addresses; or why there are none.
    pub reached: Result<Vec<Reached>, String>,
}

/// What the venues showed.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// By venue.
    pub clocks: Vec<(Venue, Result<Offset, String>)>,
    /// By route.
    pub endpoints: Vec<Endpoint>,
}

impl Shown {
    /// Asks every venue that is enabled.
    ///
    /// # Errors
    /// When the certificates or URLs in the settings are of no use.
    pub fn ask(config: &Config) -> Result<Self, String> {
        let feeds = &config.feeds;
        let pem =
            feeds.ca_file.as_ref().map(std::fs::read).transpose().map_err(|e| e.to_string())?;
        let trust = Trust::new(pem.as_deref())?;
        let rest = Rest::new(pem.as_deref())?;
        let enabled: Vec<_> = spoken().filter(|e| feeds.venue(e.venue()).enabled).collect();
        let mut setups = Vec::new();
        for (exchange, instruments) in ask_all(&enabled, &rest, feeds, &Stop::default()) {
            setups.extend(Setup::of(exchange, feeds, &instruments)?);
        }
        setups.retain(|setup| setup.plan.copy() == 0);
        Ok(thread::scope(|scope| {
            let clocks: Vec<_> = CLOCKS
                .iter()
                .filter(|(venue, ..)| feeds.venue(*venue).enabled)
                .map(|row| (row.0, scope.spawn(|| ask_clock(&rest, feeds, *row))))
                .collect();
            let trust = &trust;
            let endpoints: Vec<_> = setups
                .iter()
                .map(|setup| (name(setup), scope.spawn(move || reach_all(setup, trust))))
                .collect();
            let lost = |_| Err("the asking thread panicked".to_owned());
            let clocks =
                clocks.into_iter().map(|(venue, t)| (venue, t.join().unwrap_or_else(lost)));
            let endpoints = endpoints.into_iter().map(|(name, thread)| {
                let reached =
                    thread.join().unwrap_or_else(|_| Err("the asking thread panicked".to_owned()));
                Endpoint { name, reached }
            });
            Self { clocks: clocks.collect(), endpoints: endpoints.collect() }
        }))
    }
}

fn name(setup: &Setup) -> String {
    format!("{}/{}", setup.plan.venue.name(), setup.plan.route)
}

fn ask_clock(rest: &Rest, feeds: &Settings, row: (Venue, &str, &str)) -> Result<Offset, String> {
    let (venue, url, pointer) = row;
    let clock = Clock::start();
    let base = feeds.venue(venue).rest;
    let before = clock.now().wall.0;
    let body = rest.get(url, base.as_deref())?;
    offset(&body, pointer, before, clock.now().wall.0)
}

/// The venue's clock against ours, which said `before` and `after` around its answer.
fn offset(body: &[u8], pointer: &str, before: i64, after: i64) -> Result<Offset, String> {
    let json: Value = serde_json::from_slice(body).map_err(|e| format!("not JSON: {e}"))?;
    let told = json.pointer(pointer);
    let told = told.and_then(|v| v.as_i64().or_else(|| v.as_str()?.parse().ok()));
    let told = told.ok_or_else(|| format!("no time at {pointer} in its answer"))?;
    let within_ms = (after - before + 1) / 2;
    Ok(Offset { ms: told.saturating_sub(before + (after - before) / 2), within_ms })
}

fn reach_all(setup: &Setup, trust: &Trust) -> Result<Vec<Reached>, String> {
    let resolver = Resolver::start().map_err(|e| e.to_string())?;
    let found = resolver.resolve(&setup.endpoint.host, setup.endpoint.port)?;
    let mut reached: Vec<Reached> = Vec::new();
    let mut why = "no address".to_owned();
    for nth in 0..found.len().min(ADDRESSES_MAX) {
        match reach(setup, nth, trust) {
            Ok(one) if reached.iter().any(|known| known.peer == one.peer) => {}
            Ok(one) => reached.push(one),
            Err(e) => why = e,
        }
    }
    if reached.is_empty() { Err(why) } else { Ok(reached) }
}

fn reach(setup: &Setup, nth: usize, trust: &Trust) -> Result<Reached, String> {
    let began = Instant::now();
    let mut opened = dial(&setup.endpoint, None, nth, trust).map_err(|refusal| refusal.why)?;
    let open = began.elapsed();
    let peer = opened.peer;
    let began = Instant::now();
    drop(TcpStream::connect_timeout(&peer, CONNECT).map_err(|e| e.to_string())?);
    let connect = began.elapsed();
    let began = Instant::now();
    for frame in &setup.plan.subscriptions {
        send(&mut opened.socket, frame, began)?;
    }
    let first = first_word(setup, &mut opened.socket, began);
    drop(opened.socket.close(None));
    Ok(Reached { peer, connect, open, first })
}

type Socket = tungstenite::WebSocket<crate::ingest::wire::Wire>;

fn send(socket: &mut Socket, frame: &str, began: Instant) -> Result<(), String> {
    let mut sent = socket.send(Message::text(frame.to_owned()));
    while began.elapsed() < FIRST && matches!(&sent, Err(Error::Io(e)) if would_block(e)) {
        thread::sleep(Duration::from_millis(1));
        sent = socket.flush();
    }
    sent.map_err(|e| format!("subscribe: {e}"))
}

fn would_block(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::WouldBlock
}

/// Waits for the first frame that holds data.
fn first_word(setup: &Setup, socket: &mut Socket, began: Instant) -> Result<Duration, String> {
    let spoken = spoken().find(|exchange| exchange.venue() == setup.plan.venue);
    let exchange = spoken.ok_or("nobody speaks this venue's format")?;
    let mut desk = Desk::new(exchange);
    let mut last = "nothing came".to_owned();
    while began.elapsed() < FIRST {
        socket.get_mut().pipe_mut().allow(1 << 16);
        match socket.read() {
            Ok(Message::Close(_)) => return Err(format!("closed by the venue; {last}")),
            Ok(message) if message.is_text() || message.is_binary() => {
                match exchange.parse(&message.into_data(), &mut desk, &mut Nowhere) {
                    Verdict::Decoded => return Ok(began.elapsed()),
                    Verdict::Control(control) => last = format!("last: {}", control.name()),
                    Verdict::Ignored(what) => last = format!("last: {what}"),
                    Verdict::Rejected(why) => last = format!("last: not understood ({why})"),
                }
            }
            Ok(_) => {}
            Err(Error::Io(e)) if would_block(&e) => thread::sleep(Duration::from_millis(1)),
            Err(e) => return Err(format!("{e}; {last}")),
        }
    }
    Err(format!("no data within {} s; {last}", FIRST.as_secs()))
}

/// What a frame holds is of no interest here.
struct Nowhere;

impl Items for Nowhere {
    fn event(&mut self, _: Event, _: Origin<'_>) {}
    fn refuse(&mut self, _: &'static str) {}
}

fn shown<'a>(look: &Look<'a>) -> Result<&'a Shown, Cannot> {
    match &look.scene.venues {
        Some(Ok(shown)) => Ok(shown),
        Some(Err(why)) => Err(Cannot::Read(why.clone())),
        None => Err(Cannot::Apply("not asked for: `foreshock doctor --venues` does".to_owned())),
    }
}

fn clock(look: &Look) -> Result<Finding, Cannot> {
    let shown = shown(look)?;
    let (mut told, mut wrong, mut unread) = (Vec::new(), false, Vec::new());
    for (venue, offset) in &shown.clocks {
        look.note(&format!("{}'s time over HTTPS", venue.name()));
        match offset {
            Ok(Offset { ms, within_ms }) => {
                told.push(format!("{}: {ms:+} ms +- {within_ms}", venue.name()));
                wrong |= ms.abs() > within_ms + APART_MAX_MS;
            }
            Err(why) => unread.push(format!("{}: {why}", venue.name())),
        }
    }
    if told.is_empty() {
        return Err(Cannot::Read(unread.join("; ")));
    }
    told.extend(unread);
    let found = told.join("; ");
    let fix = ["chronyc makestep # see clock-sync".to_owned()];
    Ok(if wrong { Finding::short(found, fix) } else { Finding::good(found) })
}

fn addresses(look: &Look) -> Result<Finding, Cannot> {
    let shown = shown(look)?;
    let (mut told, mut slow) = (Vec::new(), false);
    for Endpoint { name, reached } in &shown.endpoints {
        look.note(&format!("{name}: every address of its name"));
        let Ok(reached) = reached else { continue };
        let by_time = |one: &&Reached| one.connect;
        let (Some(fast), Some(late)) =
            (reached.iter().min_by_key(by_time), reached.iter().max_by_key(by_time))
        else {
            continue;
        };
        slow |= late.connect > fast.connect * 2 + SLOWER;
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let first = fast.first.as_ref().map_or("none".to_owned(), |d| format!("{:.1} ms", ms(*d)));
        told.push(format!(
            "{name}: fastest of {} is {}: connect {:.1} ms, open {:.1} ms, first message {first}; slowest connects in {:.1} ms",
            reached.len(),
            fast.peer.ip(),
            ms(fast.connect),
            ms(fast.open),
            ms(late.connect)
        ));
    }
    if told.is_empty() {
        return Err(Cannot::Read("no endpoint could be reached: see venue-contract".to_owned()));
    }
    let fix = [
        "# a resolver of your own that gives the fastest address first; /etc/hosts has no second one"
            .to_owned(),
    ];
    let found = told.join("; ");
    Ok(if slow { Finding::short(found, fix) } else { Finding::good(found) })
}

fn contract(look: &Look) -> Result<Finding, Cannot> {
    let shown = shown(look)?;
    let mut broken = Vec::new();
    for Endpoint { name, reached } in &shown.endpoints {
        look.note(&format!("{name}: subscribe, first data within {} s", FIRST.as_secs()));
        match reached {
            Err(why) => broken.push(format!("{name}: {why}")),
            Ok(reached) => broken.extend(reached.iter().filter_map(|one| {
                let why = one.first.as_ref().err()?;
                Some(format!("{name} at {}: {why}", one.peer.ip()))
            })),
        }
    }
    if shown.endpoints.is_empty() {
        return Err(Cannot::Apply("every venue is disabled".to_owned()));
    }
    let fix =
        vec!["foreshock venues # which endpoints are gone, and what replaced them".to_owned()];
    Ok(Finding::of(
        &broken,
        format!("{} endpoints subscribe and speak", shown.endpoints.len()),
        fix,
    ))
}

#[cfg(test)]
mod tests {
    use super::super::check::{Row, Verdict, judge};
    use super::super::fake::Fake;
    use super::*;
    use crate::simulate::market::Schedule;
    use crate::simulate::street::Street;
    use std::net::TcpListener;

    fn row(name: &str, shown: Option<Result<Shown, String>>) -> Row {
        let mut scene = Fake::new().scene();
        scene.venues = shown;
        judge("venues", CHECKS.iter().find(|check| check.name == name).unwrap(), &scene)
    }

    #[test]
    fn an_offset_is_told_with_what_it_may_be_off_by() {
        let told = |body: &str, pointer| offset(body.as_bytes(), pointer, 1_000, 1_041);
        assert_eq!(
            told(r#"{"serverTime":1020}"#, "/serverTime"),
            Ok(Offset { ms: 0, within_ms: 21 })
        );
        assert_eq!(told(r#"{"data":[{"ts":"1520"}]}"#, "/data/0/ts").map(|o| o.ms), Ok(500));
        assert!(told("{}", "/time").unwrap_err().contains("/time"));
        assert!(told("<html>", "/time").is_err());
        let clocks = |ms| Shown {
            clocks: vec![(Venue::Okx, Ok(Offset { ms, within_ms: 20 }))],
            ..Shown::default()
        };
        assert_eq!(row("venue-clock", Some(Ok(clocks(-70)))).verdict, Verdict::Pass);
        assert_eq!(row("venue-clock", Some(Ok(clocks(-71)))).verdict, Verdict::Warn);
    }

    fn endpoint(connects_ms: &[u64], first: Result<Duration, String>) -> Shown {
        let one = |(i, ms): (usize, &u64)| Reached {
            peer: SocketAddr::from(([10, 0, 0, u8::try_from(i).unwrap()], 443)),
            connect: Duration::from_millis(*ms),
            open: Duration::from_millis(3 * ms),
            first: first.clone(),
        };
        let reached = Ok(connects_ms.iter().enumerate().map(one).collect());
        Shown {
            endpoints: vec![Endpoint { name: "okx/public".to_owned(), reached }],
            ..Shown::default()
        }
    }

    #[test]
    fn a_slow_address_is_pointed_out_and_the_fastest_named() {
        let good = Ok(Duration::from_millis(9));
        let near = row("venue-addresses", Some(Ok(endpoint(&[2, 1], good.clone()))));
        assert!(
            near.verdict == Verdict::Pass && near.found.contains("fastest of 2 is 10.0.0.1"),
            "{near:?}"
        );
        assert_eq!(
            row("venue-addresses", Some(Ok(endpoint(&[1, 9], good)))).verdict,
            Verdict::Warn
        );
        assert_eq!(row("venue-addresses", Some(Ok(Shown::default()))).verdict, Verdict::Unread);
    }

    #[test]
    fn a_venue_that_stays_silent_breaks_the_contract() {
        let silent = row("venue-contract", Some(Ok(endpoint(&[1], Err("no data".to_owned())))));
        assert!(
            silent.verdict == Verdict::Fail
                && silent.found.contains("okx/public at 10.0.0.0: no data")
        );
        for check in CHECKS {
            assert_eq!(row(check.name, None).verdict, Verdict::Skip);
            assert_eq!(row(check.name, Some(Err("bad".to_owned()))).verdict, Verdict::Unread);
        }
    }

    #[test]
    fn an_acknowledgement_is_no_data() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}/", listener.local_addr().unwrap());
        thread::spawn(move || {
            for tcp in listener.incoming() {
                let Ok(mut socket) = tungstenite::accept(tcp.unwrap()) else { continue };
                socket.send(Message::text(r#"{"result":null,"id":1}"#)).unwrap();
                socket.close(None).unwrap();
                while socket.read().is_ok() {}
            }
        });
        let mut feeds = Settings::default();
        let own = feeds.venues.entry("binance".to_owned()).or_default();
        own.urls.insert("market".to_owned(), url);
        let exchange = spoken().find(|exchange| exchange.venue() == Venue::Binance).unwrap();
        let known = Desk::new(exchange).instruments;
        let setup = Setup::of(exchange, &feeds, &known).unwrap().swap_remove(0);
        let reached = reach(&setup, 0, &Trust::new(None).unwrap()).unwrap();
        assert_eq!(reached.first.unwrap_err(), "closed by the venue; last: ack");
    }

    #[test]
    fn simulated_venues_are_reached_asked_and_keep_the_contract() {
        let schedule = Schedule { lines: 1, ..Schedule::demo() };
        let street = Street::start(3, schedule, 0).unwrap();
        let ca = std::env::temp_dir().join(format!("fsk-doctor-ca-{}.pem", std::process::id()));
        std::fs::write(&ca, street.ca_pem()).unwrap();
        let mut config = Config::default();
        crate::run::demo::point_at(&mut config, &street, &ca);
        let shown = Shown::ask(&config).unwrap();
        let clock = row("venue-clock", Some(Ok(shown.clone())));
        assert!(clock.verdict == Verdict::Pass && clock.found.contains("bybit"), "{clock:?}");
        let contract = row("venue-contract", Some(Ok(shown.clone())));
        assert_eq!(contract.verdict, Verdict::Pass, "{contract:?}");
        assert!(shown.endpoints.len() >= 6, "{shown:?}");
        street.join();
        let gone = Shown::ask(&config).unwrap();
        std::fs::remove_file(ca).unwrap();
        assert_eq!(
            row("venue-contract", Some(Ok(gone.clone()))).verdict,
            Verdict::Fail,
            "{gone:?}"
        );
        assert_eq!(row("venue-clock", Some(Ok(gone))).verdict, Verdict::Unread);
    }
}
