//! The terminal: taken, painted line by line, and always given back.
//!
//! It is given back when [`Terminal`] is dropped, before a panic speaks, and when a signal ends us
//! while a terminal that takes nothing holds us up. Only lines that changed are sent: whoever looks may
//! be at the other end of a slow line.

use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::panic;
use std::process;
use std::sync::{Mutex, Once, PoisonError};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGWINCH};
use signal_hook::iterator::Signals;

use super::draw::Size;
use super::line::{Ink, Line, PLAIN, Paint};

/// The other screen, no cursor, no line that goes on in the next.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
const LEAVE: &str = "\x1b[0m\x1b[?7h\x1b[?25h\x1b[?1049l";
/// Largest screen that is drawn.
const LARGEST: Size = Size { width: 400, height: 200 };
/// After a signal that ends us, this long is waited for a terminal that takes nothing.
const PATIENCE: Duration = Duration::from_secs(1);

/// How the terminal was before it was taken; `None` while it is not.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// What the terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Colours.
    pub colour: bool,
    /// Nothing but ASCII.
    pub ascii: bool,
}

impl Look {
    /// What the environment says it can.
    #[must_use]
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set);
        let utf8 = |locale: String| {
            let locale = locale.to_lowercase();
            locale.contains("utf-8") || locale.contains("utf8")
        };
        Self { colour: set("NO_COLOR").is_none(), ascii: !locale.is_none_or(utf8) }
    }
}

/// See the module.
pub struct Terminal {
    look: Look,
    shown: Vec<Line>,
}

impl Terminal {
    /// Takes the terminal.
    ///
    /// # Errors
    /// When standard input and output are none.
    pub fn open(look: Look) -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let speak = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                restore();
                speak(info);
            }));
        });
        let terminal = Self { look, shown: Vec::new() };
        take()?;
        Ok(terminal)
    }

    /// Its size now.
    #[must_use]
    pub fn size(&self) -> Size {
        let told =
            tcgetwinsize(io::stdout()).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
        let (width, height) =
            told.map_or((80, 24), |size| (size.ws_col.into(), size.ws_row.into()));
        Size { width: LARGEST.width.min(width), height: LARGEST.height.min(height) }
    }

    /// Shows these lines.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn paint(&mut self, lines: Vec<Line>) -> io::Result<()> {
        let codes = paint(&self.shown, &lines, self.look);
        self.shown = lines;
        send(&codes)
    }

    /// Everything is painted anew, as nobody knows what stands there.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn wipe(&mut self) -> io::Result<()> {
        self.shown.clear();
        send("\x1b[0m\x1b[2J")
    }

    /// Takes the terminal again after somebody else had it.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn retake(&mut self) -> io::Result<()> {
        self.shown.clear();
        restore();
        take()
    }

    /// Gives it back, and stops until somebody wants us to go on.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn suspend(&mut self) -> io::Result<()> {
        restore();
        signal_hook::low_level::emulate_default_handler(signal_hook::consts::SIGTSTP)?;
        self.retake()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        restore();
    }
}

fn take() -> io::Result<()> {
    let before = tcgetattr(io::stdin())?;
    let mut raw = before.clone();
    raw.make_raw();
    *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
    tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
    send(ENTER)
}

/// Gives the terminal back, if we have it.
pub fn restore() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(before) = before {
        // The mode first: it needs nobody who reads.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
        let _ = send(LEAVE);
    }
}

/// The same, when the terminal may take nothing: its mode is put right, and words are not waited for.
fn restore_in_time() {
    let (tell, done) = bounded::<()>(0);
    thread::spawn(move || {
        restore();
        drop(tell);
    });
    let _ = done.recv_timeout(PATIENCE / 4);
}

fn send(codes: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(codes.as_bytes())?;
    out.flush()
}

/// What makes `before` into `after`.
fn paint(before: &[Line], after: &[Line], look: Look) -> String {
    let mut codes = String::new();
    for (i, line) in after.iter().enumerate() {
        if before.get(i) == Some(line) {
            continue;
        }
        let _ = write!(codes, "\x1b[{};1H", i + 1);
        for (word, ink) in line.words() {
            begin(*ink, look, &mut codes);
            if look.ascii { codes.extend(word.chars().map(ascii)) } else { codes.push_str(word) }
        }
        codes.push_str("\x1b[0m");
        // Behind a full line the cursor stands on its last column, which would be wiped.
        if line.room() > 0 {
            codes.push_str("\x1b[K");
        }
    }
    if after.len() < before.len() {
        let _ = write!(codes, "\x1b[{};1H\x1b[J", after.len() + 1);
    }
    codes
}

fn begin(ink: Ink, look: Look, codes: &mut String) {
    codes.push_str("\x1b[0");
    let Ink { paint, bold, dim, inverse } = if ink == PLAIN { PLAIN } else { ink };
    for (is_so, code) in [(bold, ";1"), (dim, ";2"), (inverse, ";7")] {
        codes.push_str(if is_so { code } else { "" });
    }
    codes.push_str(match paint {
        _ if !look.colour => "",
        Paint::Plain => "",
        Paint::Red => ";31",
        Paint::Green => ";32",
        Paint::Yellow => ";33",
        Paint::Cyan => ";36",
    });
    codes.push('m');
}

/// What comes nearest.
fn ascii(c: char) -> char {
    match c {
        ' '..='~' => c,
        '▁' => '_',
        '·' | '▏' => '.',
        '▂' | '▎' => ':',
        '▃' | '▍' => '-',
        '▄' | '▌' => '=',
        '▅' | '▋' => '+',
        '▆' | '▊' | '✕' => 'x',
        '▇' | '▉' | '█' | '●' => '#',
        '○' | '◌' | '◔' | '◑' | '◕' => 'o',
        '▼' => 'v',
        '▲' => '^',
        '…' => '~',
        'µ' => 'u',
        '²' => '2',
        '³' => '3',
        _ => '?',
    }
}

/// What is typed, as it comes; ends with the terminal.
///
/// # Errors
/// When the system gives no thread.
pub fn keyboard() -> io::Result<Receiver<Vec<u8>>> {
    let (tell, typed) = bounded(16);
    thread::Builder::new().name("keys".to_owned()).spawn(move || {
        let mut buffer = [0; 256];
        while let Ok(n @ 1..) = io::stdin().lock().read(&mut buffer) {
            if tell.send(buffer.iter().take(n).copied().collect()).is_err() {
                return;
            }
        }
    })?;
    Ok(typed)
}

/// What the system wants of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// The terminal has another size.
    Resized,
    /// Somebody else had the terminal.
    Continued,
    /// To end.
    End,
}

/// Listens to signals. After one that ends us, the program ends, whatever the terminal does.
///
/// # Errors
/// When the system gives no thread.
pub fn signs() -> io::Result<Receiver<Sign>> {
    let (tell, told) = bounded(16);
    let mut signals = Signals::new([SIGWINCH, SIGCONT, SIGTERM, SIGINT, SIGHUP])?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            let sign = match signal {
                SIGWINCH => Sign::Resized,
                SIGCONT => Sign::Continued,
                _ => Sign::End,
            };
            // When many wait, the next is drawn for all of them.
            let _ = tell.try_send(sign);
            if sign == Sign::End {
                thread::sleep(PATIENCE);
                restore_in_time();
                process::exit(128 + signal);
            }
        }
    })?;
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::super::line::{BAD, BOLD};
    use super::*;

    const FULL: Look = Look { colour: true, ascii: false };

    fn line(text: &str, ink: Ink) -> Line {
        let mut line = Line::new(20);
        line.add(text, ink);
        line
    }

    #[test]
    fn only_what_changed_is_sent() {
        let before = [line("one", PLAIN), line("two", BAD)];
        let after = [line("one", PLAIN), line("2", BAD)];
        assert_eq!(paint(&before, &after, FULL), "\x1b[2;1H\x1b[0;1;31m2\x1b[0m\x1b[K");
        assert_eq!(paint(&after, &after, FULL), "");
        assert_eq!(paint(&after, &after[..1], FULL), "\x1b[2;1H\x1b[J");
    }

    #[test]
    fn a_full_line_keeps_its_last_column() {
        assert!(!paint(&[], &[line(&"x".repeat(30), PLAIN)], FULL).contains("\x1b[K"));
    }

    #[test]
    fn without_colours_and_utf_8_the_words_stay() {
        let poor = Look { colour: false, ascii: true };
        let shown = paint(&[], &[line("◕ CRITICAL ▃█ µs", BAD)], poor);
        assert_eq!(shown, "\x1b[1;1H\x1b[0;1mo CRITICAL -# us\x1b[0m\x1b[K");
        assert!(paint(&[], &[line("币", BOLD)], poor).contains('?'));
    }

    #[test]
    fn the_environment_says_what_can_be_shown() {
        let of = |pairs: &[(&str, &str)]| {
            let pairs: Vec<_> =
                pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            let look =
                Look::of(|name| pairs.iter().find(|(k, _)| k == name).map(|(_, v)| v.clone()));
            (look.colour, look.ascii)
        };
        assert_eq!(of(&[]), (true, false));
        assert_eq!(of(&[("NO_COLOR", "1"), ("LANG", "C")]), (false, true));
        assert_eq!(
            of(&[("NO_COLOR", ""), ("LANG", "C"), ("LC_ALL", "en_GB.UTF-8")]),
            (true, false)
        );
    }
}
