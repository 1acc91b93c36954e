//! The page in a real Chromium, with a real run behind it and venues that are other processes: it shows
//! what there is, moves, says so when a venue is deaf and when nobody is there, comes back after a
//! restart, asks nobody else for anything, and takes hostile names for what they are.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "support/browser.rs"]
mod browser;
#[path = "support/http.rs"]
mod http;
#[path = "support/scratch.rs"]
mod scratch;

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use browser::Browser;
use scratch::Scratch;
use serde_json::json;

/// A process of this program, ended when this is dropped.
struct Process(Child);

impl Process {
    fn start(args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_foreshock"));
        command.args(args).env_remove("FORESHOCK_CONFIG").stdin(Stdio::null());
        Self(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn signal(&self, name: &str) {
        let mut kill = Command::new("kill");
        kill.args([&format!("-{name}"), &self.0.id().to_string()]);
        assert!(kill.status().is_ok_and(|status| status.success()));
    }

    fn end(mut self) {
        self.signal("INT");
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Simulated venues in a process of their own; gives its `venue/route url` lines.
fn street(ca: &Path, seed: &str) -> (Process, Vec<(String, String)>) {
    let mut street = Process::start(&["simulate", "--seed", seed, "--ca", ca.to_str().unwrap()]);
    let said = BufReader::new(street.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    let urls = said
        .filter(|line| line.contains("wss://"))
        .map(|line| line.split_once(' ').map(|(name, url)| (name.to_owned(), url.to_owned())))
        .take(7)
        .map(Option::unwrap)
        .collect();
    (street, urls)
}

/// A configuration that hears OKX from the second street and the others from the first.
fn config(folder: &Path, streets: [&[(String, String)]; 2], port: u16) -> String {
    let pem: String = ["a", "b"]
        .map(|name| std::fs::read_to_string(folder.join(format!("{name}.pem"))).unwrap())
        .concat();
    std::fs::write(folder.join("ca.pem"), pem).unwrap();
    let ca = folder.join("ca.pem").display().to_string();
    let status = folder.display().to_string();
    let mut text = format!("[page]\nlisten = \"127.0.0.1:{port}\"\n[run]\nstatus = {status:?}\n");
    // Deafness is found out sooner than by default.
    text += &format!("[feeds]\nca_file = {ca:?}\ndead_ms = 1500\ncanary_ms = 1500\n");
    for venue in ["binance", "bybit", "hyperliquid", "okx"] {
        let street = streets[usize::from(venue == "okx")];
        let own = |(name, _): &&(String, String)| name.starts_with(&format!("{venue}/"));
        let urls: Vec<String> = street
            .iter()
            .filter(own)
            .map(|(name, url)| format!("{} = {url:?}", name.split_once('/').unwrap().1))
            .collect();
        let port = street[0].1.split(['/', ':']).nth(4).unwrap();
        text += &format!("[feeds.venues.{venue}]\nurls = {{ {} }}\n", urls.join(", "));
        text += &format!("rest = \"https://localhost:{port}/{venue}\"\n");
    }
    let path = folder.join("page.toml");
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// What every look at the page compares: text that moves, and pixels.
const LOOK: &str = "JSON.stringify([document.getElementById('clock').textContent, \
                    document.getElementById('v-price').textContent, \
                    document.getElementById('c-price').toDataURL().length, \
                    document.getElementById('feeds').innerText])";

/// Names that would be markup, leave an attribute, or turn the text around, wherever a name is shown.
const HOSTILE: &str = r#"
const Real = window.EventSource;
const names = ['<img src=x onerror=window.hit=1>', '"><script>window.hit=1</script>', "' onfocus='window.hit=1' autofocus='", '\u202EKCAB', '${window.hit=1}'];
window.EventSource = class extends Real {
  set onmessage(take) {
    super.onmessage = message => {
      const frame = JSON.parse(message.data);
      names.forEach((symbol, i) => {
        const [at, venue] = [frame.now - i, symbol];
        frame.tape.push({ at, symbol, venue, side: symbol, price: 1, usd: 5000, flags: [symbol] });
        frame.signals.push({ seq: 1000 + i, at, symbol, kind: 'change', level: symbol, probability: 0.5, risk: 1, why: symbol });
        if (frame.list) frame.list.push([symbol, symbol, 1, 1, 1]);
        if (frame.feeds) frame.feeds.push({ venue, route: symbol, copy: 1, state: symbol, code: 0, why: symbol, completeness: symbol, last_frame_ms: null, won: null, beaten: null, frames: 1 });
        if (frame.health) { frame.health.deaf.push(symbol); frame.health.stuck.push(symbol); }
        if (frame.latency) frame.latency.push({ stage: symbol, count: 1, ns: Array(13).fill(5) });
      });
      frame.mark = names[0];
      take({ data: JSON.stringify(frame) });
    };
  }
};
"#;

#[test]
fn the_page_lives_in_a_real_browser() {
    if browser::skipped() {
        return;
    }
    let scratch = Scratch::new("page");
    let folder = scratch.path();
    let profile = folder.join("profile");
    let browser = std::thread::spawn(move || Browser::start(&profile));
    let (_first, urls) = street(&folder.join("a.pem"), "1");
    let (second, others) = street(&folder.join("b.pem"), "2");
    let port = free_port();
    let config = config(folder, [&urls, &others], port);
    let run = || Process::start(&["run", "--config", &config]);
    let engine = run();
    let origin = format!("http://127.0.0.1:{port}/");
    browser::until("the page", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());

    let mut browser = browser.join().unwrap();
    browser.open(&format!("{origin}#BTCUSDT"));
    browser.until("document.readyState === 'complete' && !!document.getElementById('feeds')");
    it_shows_what_there_is_and_moves(&mut browser);
    it_says_when_a_venue_is_deaf(&mut browser, &second);
    assert_eq!(browser.complaints, [], "until here all is well");
    let _engine = it_survives_a_restart(&mut browser, engine, run);
    hostile_names_are_text(&mut browser, &origin);

    let elsewhere: Vec<_> = browser.asked.iter().filter(|url| !url.starts_with(&origin)).collect();
    assert!(elsewhere.is_empty() && browser.asked.len() > 5, "{elsewhere:?}");
    // What a browser says of a server that is away is all that was said.
    browser.complaints.retain(|(words, url)| !(url.contains("/events") && words.contains("ERR_")));
    assert_eq!(browser.complaints, []);
}

fn it_shows_what_there_is_and_moves(browser: &mut Browser) {
    browser.until("document.body.dataset.state === 'live'");
    browser.until("document.querySelectorAll('#feeds tr').length >= 6");
    browser.until("document.getElementById('v-price').textContent !== '–'");
    browser.until("document.querySelectorAll('#latency tr').length >= 4");
    browser.until("document.getElementById('m-venues').textContent === '4 of 4'");
    let before = browser.value(LOOK);
    browser.until(&format!("{LOOK} !== {before}"));
    let price = "document.getElementById('v-price').textContent";
    let before = browser.value(price);
    browser.until(&format!("{price} !== {before}"));
    assert_eq!(browser.value("document.getElementById('symbol').textContent"), "BTCUSDT");
    assert_eq!(browser.value("document.getElementById('warnings').textContent"), "");
}

fn it_says_when_a_venue_is_deaf(browser: &mut Browser, okx: &Process) {
    let warnings = "document.getElementById('warnings').textContent";
    okx.signal("STOP");
    browser.until(&format!("/deaf.*okx/.test({warnings})"));
    browser.until("/okx public.*deaf/.test(document.querySelector('tr.deaf').innerText)");
    browser.until("document.getElementById('m-venues').textContent === '3 of 4'");
    assert_eq!(browser.value("document.body.dataset.state"), "live", "the others are heard");
    okx.signal("CONT");
    browser.until(&format!("{warnings} === ''"));
}

fn it_survives_a_restart(
    browser: &mut Browser,
    engine: Process,
    run: impl Fn() -> Process,
) -> Process {
    let numbers = "['v-price','level','m-velocity','risk','m-venues']\
                   .map(id => document.getElementById(id).textContent).join('')";
    engine.end();
    browser.until("document.body.dataset.state === 'gone'");
    browser.until("/^disconnected since/.test(document.getElementById('link').textContent)");
    assert_eq!(browser.value(numbers), "–––––", "nothing old is shown as if it were now");
    assert_eq!(browser.value("document.querySelectorAll('#feeds tr').length"), 0);
    let engine = run();
    browser.until("document.body.dataset.state === 'live'");
    browser.until("document.getElementById('v-price').textContent !== '–'");
    engine
}

fn hostile_names_are_text(browser: &mut Browser, origin: &str) {
    browser.call("Page.addScriptToEvaluateOnNewDocument", json!({ "source": HOSTILE }));
    browser.open(&format!("{origin}?hostile"));
    browser.until("document.querySelectorAll('#signals li').length >= 5");
    browser.until("document.querySelectorAll('#list button').length >= 6");
    browser.until("document.getElementById('warnings').textContent.includes('<img')");
    browser.until("document.getElementById('mark').textContent.startsWith('<img')");
    browser.until("document.getElementById('tape').textContent.includes('<script>')");
    assert_eq!(browser.value("window.hit === undefined"), true);
    let made =
        "document.querySelectorAll('img, main script, [onfocus], [onerror], [autofocus]').length";
    assert_eq!(browser.value(made), 0);
    // What would turn the rest of a line around is shown as a character that is not there.
    assert_eq!(browser.value("document.body.textContent.includes('\u{fffd}KCAB')"), true);
    assert_eq!(browser.value("document.body.textContent.includes('\\u202E')"), false);
}
