//! The live page at a glance in a terminal, for whoever works over ssh.
//!
//! ```text
//! foreshock run: page ══/events══▶ watch ─frames─▶ sight ─▶ draw ─lines─▶ terminal
//!                                  (link)                └▶ plain ─▶ pipe      ▲ keys: view
//! ```
//!
//! It asks for what a browser asks for, so there is one protocol: a stream of frames with what is new
//! ([`mod@frame`]), and `/status` for programs. A thread listens ([`mod@watch`]) and comes back when the run
//! does; what is known ([`mod@sight`]) becomes lines ([`mod@draw`], [`mod@pane`], [`mod@plain`]). Whoever answers at that
//! address may be a stranger: sizes and waits are bounded ([`mod@link`]), and no text that came can do
//! anything to the terminal ([`words::harmless`]).

mod draw;
mod frame;
mod keys;
mod line;
mod link;
mod pane;
mod place;
mod plain;
mod sight;
pub mod terminal;
mod view;
mod watch;
mod words;

use std::io::{self, ErrorKind, IsTerminal as _, Write as _};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, select};
use serde::de::IgnoredAny;

use self::draw::{Scene, draw};
use self::keys::Keyboard;
use self::link::{Trouble, ask};
use self::place::Place;
use self::sight::Sight;
use self::terminal::{Look, Sign, Terminal, keyboard, signs};
use self::view::{View, Wish};
use self::watch::{Heard, watch};
use super::Failure;
use crate::config::Config;

/// Whatever happens, the screen is looked at this often: ages grow.
const TICK: Duration = Duration::from_millis(500);
/// A lone escape is the key when nothing follows within this.
const ESCAPE: Duration = Duration::from_millis(60);
/// The first answer comes within this, or it is said that none does.
const FIRST: Duration = Duration::from_secs(10);

/// What a user wants to see.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the page is, `HOST:PORT`; where the settings say when not given.
    pub address: Option<String>,
    /// Lines, even for a terminal.
    pub plain: bool,
    /// What is known now, and no more.
    pub once: bool,
    /// Between two updates.
    pub every: Duration,
    /// One JSON document a line.
    pub json: bool,
}

/// Shows a run that is alive.
///
/// # Errors
/// When there is none, or the terminal is gone.
pub fn top(config: &Config, options: &Options) -> Result<(), Failure> {
    let place = match &options.address {
        Some(text) => {
            Place::parse(text).map_err(|e| Failure::usage(format!("--address {text:?}: {e}")))?
        }
        None => Place::of(&config.page)
            .map_err(|e| Failure::usage(format!("{e}; say where: --address HOST:PORT")))?,
    };
    let ended = if options.json {
        documents(&place, options)
    } else {
        let heard = watch(place.clone()).map_err(Failure::running)?;
        let sight = first(&heard, &place)?;
        if options.plain || options.once || !is_screen() {
            blocks(&place, &heard, sight, options)
        } else {
            screen(&place, &heard, sight)
        }
    };
    match ended {
        // Whoever reads has seen enough.
        Err(End::Output(e)) if e.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(End::Output(e)) => Err(Failure::running(format!("standard output: {e}"))),
        Err(End::Failed(failure)) => Err(failure),
        Ok(()) => Ok(()),
    }
}

/// Why it is over before anybody wanted it to be.
enum End {
    Output(io::Error),
    Failed(Failure),
}

impl From<io::Error> for End {
    fn from(e: io::Error) -> Self {
        Self::Output(e)
    }
}

/// Whether there is somebody at a terminal that can be drawn on, with a keyboard.
fn is_screen() -> bool {
    let is_dumb = std::env::var("TERM").is_ok_and(|term| term == "dumb");
    io::stdout().is_terminal() && io::stdin().is_terminal() && !is_dumb
}

/// What is told first.
fn first(heard: &Receiver<Heard>, place: &Place) -> Result<Sight, Failure> {
    match heard.recv_timeout(FIRST) {
        Ok(Heard::Lost(trouble)) => Err(nothing(place, &trouble)),
        Err(_) => Err(nothing(place, &Trouble::Silent)),
        Ok(frame) => {
            let mut sight = Sight::default();
            sight.hear(frame, Instant::now());
            Ok(sight)
        }
    }
}

/// Says where it was looked for, and what to do next.
fn nothing(place: &Place, trouble: &Trouble) -> Failure {
    let next = match trouble {
        Trouble::Nobody(_) => {
            "start `foreshock run` or `foreshock demo`, or say where its page is \
             (it prints `page: http://HOST:PORT/`): --address HOST:PORT"
        }
        Trouble::Silent | Trouble::Ended(_) => {
            "if that is foreshock, see how it is: foreshock doctor; else: --address HOST:PORT"
        }
        Trouble::Stranger(_) => "a run prints `page: http://HOST:PORT/`: --address HOST:PORT",
        Trouble::Refused(_) => "close one of those that look, or change its settings",
    };
    let said = words::clean(&trouble.to_string());
    Failure::running(format!("top: no foreshock at {place}: {said}; {next}"))
}

// ---- for a pipe ----

fn blocks(
    place: &Place,
    heard: &Receiver<Heard>,
    mut sight: Sight,
    options: &Options,
) -> Result<(), End> {
    loop {
        say(&plain::block(&sight, place, Instant::now()))?;
        if options.once {
            return Ok(());
        }
        let next = Instant::now() + options.every;
        loop {
            match heard.recv_deadline(next) {
                Ok(news) => sight.hear(news, Instant::now()),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return Err(End::Failed(gone())),
            }
        }
    }
}

/// What `/status` says, one document a line; `{"lost": why}` while nothing is heard.
fn documents(place: &Place, options: &Options) -> Result<(), End> {
    let mut began = false;
    loop {
        match status(place) {
            Ok(json) => say(&json)?,
            Err(trouble) if !began => return Err(End::Failed(nothing(place, &trouble))),
            Err(trouble) => say(&lost(&trouble))?,
        }
        if options.once {
            return Ok(());
        }
        began = true;
        thread::sleep(options.every);
    }
}

fn status(place: &Place) -> Result<String, Trouble> {
    let text = ask(place, "/status", "application/json")?.body()?;
    serde_json::from_str::<IgnoredAny>(&text)
        .map_err(|e| Trouble::Stranger(format!("no JSON: {e}")))?;
    Ok(one_line(&text))
}

/// A document in one line: JSON has line ends only between its words. What a terminal might obey
/// stands in strings only, where it can be written otherwise.
fn one_line(json: &str) -> String {
    let mut line = String::with_capacity(json.len());
    for c in json.lines().flat_map(|line| line.trim().chars()) {
        if words::harmless(c) == c {
            line.push(c);
        } else {
            line.push_str(&format!("\\u{:04x}", u32::from(c)));
        }
    }
    line.push('\n');
    line
}

fn lost(trouble: &Trouble) -> String {
    let document = serde_json::json!({ "lost": trouble.to_string() });
    one_line(&document.to_string())
}

fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn gone() -> Failure {
    Failure::running("top: the thread that listens is gone; start it again")
}

// ---- for a terminal ----

fn screen(place: &Place, heard: &Receiver<Heard>, mut sight: Sight) -> Result<(), End> {
    let look = Look::of(|name| std::env::var(name).ok());
    let signs = signs()?;
    let mut terminal = Terminal::open(look)?;
    let typed = keyboard()?;
    let (mut keyboard, mut view) = (Keyboard::default(), View::default());
    let mut held: Option<(Sight, Instant)> = None;
    loop {
        show(&mut terminal, place, &sight, held.as_ref(), &mut view)?;
        let wait = if keyboard.is_waiting() { ESCAPE } else { TICK };
        let mut keys = Vec::new();
        select! {
            recv(heard) -> news => match news {
                Ok(news) => sight.hear(news, Instant::now()),
                Err(_) => return Err(End::Failed(gone())),
            },
            recv(typed) -> bytes => match bytes {
                Ok(bytes) => keys = keyboard.hear(&bytes),
                // The terminal is gone, and we with it.
                Err(_) => return Ok(()),
            },
            recv(signs) -> sign => match sign {
                Ok(Sign::Resized) => terminal.wipe()?,
                Ok(Sign::Continued) => terminal.retake()?,
                Ok(Sign::End) | Err(_) => return Ok(()),
            },
            default(wait) => keys.extend(keyboard.settle()),
        }
        for key in keys {
            match view.obey(key) {
                Wish::None => {}
                Wish::Quit => return Ok(()),
                Wish::Suspend => terminal.suspend()?,
                Wish::Redraw => terminal.wipe()?,
            }
        }
        held = match (view.paused, held) {
            (true, None) => Some((sight.clone(), Instant::now())),
            (true, held) => held,
            (false, _) => None,
        };
    }
}

fn show(
    terminal: &mut Terminal,
    place: &Place,
    sight: &Sight,
    held: Option<&(Sight, Instant)>,
    view: &mut View,
) -> io::Result<()> {
    let now = Instant::now();
    let stale = sight.stale(now);
    let paused = held.map(|(_, since)| now.saturating_duration_since(*since));
    let (sight, now) = held.map_or((sight, now), |(sight, since)| (sight, *since));
    let scene = Scene { sight, place, now, stale, paused };
    let size = terminal.size();
    terminal.paint(draw(&scene, view, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_in_one_line_is_the_same_document_and_bites_nobody() {
        let json = "{\n  \"a\": [\n    1.25,\n    \"b \u{9b}2J\u{7f}\u{202e}\"\n  ]\n}";
        let line = one_line(json);
        assert!(!line.trim_end().chars().any(|c| words::harmless(c) != c), "{line:?}");
        assert_eq!(line.matches('\n').count(), 1);
        let read = |json: &str| serde_json::from_str::<serde_json::Value>(json).unwrap();
        assert_eq!(read(&line), read(json));
    }

    #[test]
    fn each_trouble_says_where_and_what_to_do_next() {
        let place = Place::parse("127.0.0.1:9310").unwrap();
        let why = || "x\u{1b}[2J".to_owned();
        for trouble in [
            Trouble::Nobody(why()),
            Trouble::Silent,
            Trouble::Stranger(why()),
            Trouble::Ended(why()),
        ] {
            let line = nothing(&place, &trouble).line;
            assert!(line.contains("at 127.0.0.1:9310: ") && line.contains("--address"), "{line}");
            assert!(!line.contains('\u{1b}') && !line.contains('\n'), "{line}");
        }
    }
}
