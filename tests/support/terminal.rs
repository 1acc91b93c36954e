//! A terminal for a program: a pseudo terminal, and what would be seen on it.

#![allow(dead_code, reason = "each test file uses its part")]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

const PATIENCE: Duration = Duration::from_secs(20);

/// A terminal with a program in it. It is ended when this is dropped.
pub struct Terminal {
    master: File,
    slave: OwnedFd,
    child: Child,
    said: Receiver<Vec<u8>>,
    /// Nobody reads what it says.
    is_held: Arc<AtomicBool>,
    /// What is seen.
    pub glass: Glass,
}

impl Terminal {
    /// Starts `command` (a program and its arguments) in a terminal of this size; nothing where that
    /// cannot be done.
    pub fn start(command: &[&str], set: &[(&str, &str)], size: (u16, u16)) -> Option<Self> {
        if !Command::new("setsid").arg("--version").output().is_ok_and(|o| o.status.success()) {
            eprintln!("skipped: there is no setsid here");
            return None;
        }
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let slave = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        resize(&slave, size);
        let end = || Stdio::from(slave.try_clone().unwrap());
        let child = Command::new("setsid")
            .arg("--ctty")
            .args(command)
            .env_remove("NO_COLOR")
            .env("TERM", "xterm-256color")
            .env("LC_ALL", "C.UTF-8")
            .envs(set.iter().copied())
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        let master = File::from(master);
        let is_held = Arc::new(AtomicBool::new(false));
        let said = listen(master.try_clone().unwrap(), Arc::clone(&is_held));
        Some(Self { master, slave, child, said, is_held, glass: Glass::new(size) })
    }

    /// Nobody reads any more what is said, as at the other end of a line that hangs.
    pub fn hang(&self) {
        self.is_held.store(true, Ordering::Release);
    }

    /// What the system says it does: `S` when it waits, `T` when it was stopped.
    pub fn state(&self) -> String {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        stat.rsplit_once(") ").unwrap().1.chars().take(1).collect()
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Types.
    pub fn press(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Another size.
    pub fn resize(&mut self, size: (u16, u16)) {
        self.glass = Glass { raw: std::mem::take(&mut self.glass.raw), ..Glass::new(size) };
        resize(&self.slave, size);
    }

    /// Waits until it shows what is wanted, and gives that.
    pub fn until(&mut self, what: &str, seen: impl Fn(&Glass) -> bool) -> String {
        let began = Instant::now();
        while !seen(&self.glass) {
            let text = self.glass.text();
            assert!(began.elapsed() < PATIENCE, "never {what}:\n{text}");
            if let Ok(bytes) = self.said.recv_timeout(Duration::from_millis(100)) {
                self.glass.take(&bytes);
            }
        }
        self.glass.text()
    }

    /// Waits for its end.
    pub fn finish(&mut self) -> ExitStatus {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(began.elapsed() < PATIENCE, "it does not end:\n{}", self.glass.text());
            thread::sleep(Duration::from_millis(20));
        };
        while let Ok(bytes) = self.said.recv_timeout(Duration::from_millis(200)) {
            self.glass.take(&bytes);
        }
        status
    }

    /// Whether lines are edited and shown as they are typed, as in a shell.
    pub fn is_sane(&self) -> bool {
        let modes = tcgetattr(&self.slave).unwrap().local_modes;
        modes.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn resize(slave: &OwnedFd, (columns, lines): (u16, u16)) {
    let size = Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(slave, size).unwrap();
}

fn listen(mut master: File, is_held: Arc<AtomicBool>) -> Receiver<Vec<u8>> {
    let (tell, said) = channel();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = master.read(&mut buffer) {
            while is_held.load(Ordering::Acquire) {
                thread::sleep(Duration::from_millis(10));
            }
            if tell.send(buffer[..n].to_vec()).is_err() {
                return;
            }
        }
    });
    said
}

/// What is seen: as much of a terminal as a program that paints lines needs.
pub struct Glass {
    cells: Vec<Vec<char>>,
    at: (usize, usize),
    /// The other screen is shown.
    pub is_other: bool,
    /// There is no cursor.
    pub is_blind: bool,
    /// Bytes as they came.
    pub raw: Vec<u8>,
    rest: Vec<u8>,
    size: (usize, usize),
}

impl Glass {
    fn new((columns, lines): (u16, u16)) -> Self {
        let size = (usize::from(columns), usize::from(lines));
        let (at, raw, rest) = ((0, 0), Vec::new(), Vec::new());
        let cells = vec![vec![' '; size.0]; size.1];
        Self { cells, at, is_other: false, is_blind: false, raw, rest, size }
    }

    /// The lines.
    pub fn text(&self) -> String {
        let line = |line: &Vec<char>| line.iter().collect::<String>().trim_end().to_owned() + "\n";
        self.cells.iter().map(line).collect()
    }

    /// A line, from 0.
    pub fn line(&self, n: usize) -> String {
        self.text().lines().nth(n).unwrap_or_default().to_owned()
    }

    fn take(&mut self, bytes: &[u8]) {
        self.raw.extend_from_slice(bytes);
        self.rest.extend_from_slice(bytes);
        let mut bytes = std::mem::take(&mut self.rest);
        if let Err(e) = std::str::from_utf8(&bytes)
            && e.error_len().is_none()
        {
            // The rest of the character is still on its way.
            self.rest = bytes.split_off(e.valid_up_to());
        }
        let text = String::from_utf8(bytes).expect("only text is sent to a terminal");
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            let code: String = match c {
                '\x1b' => {
                    let mut code = String::new();
                    for c in chars.by_ref() {
                        code.push(c);
                        if code.len() > 1 && ('@'..='~').contains(&c) {
                            break;
                        }
                    }
                    code
                }
                c => {
                    self.put(c);
                    continue;
                }
            };
            let is_whole = code.len() > 1 && code.ends_with(|c| ('@'..='~').contains(&c));
            if !is_whole && chars.peek().is_none() {
                let mut held = format!("\x1b{code}").into_bytes();
                held.append(&mut self.rest);
                self.rest = held;
                return;
            }
            self.obey(&code);
        }
    }

    fn put(&mut self, c: char) {
        match c {
            '\r' => self.at.1 = 0,
            '\n' => self.at.0 += 1,
            c => {
                let place = self.cells.get_mut(self.at.0).and_then(|line| line.get_mut(self.at.1));
                if let Some(cell) = place {
                    *cell = c;
                }
                self.at.1 += 1;
            }
        }
    }

    fn obey(&mut self, code: &str) {
        let numbers: Vec<usize> = code
            .trim_matches(|c: char| !c.is_ascii_digit() && c != ';')
            .split(';')
            .map(|n| n.parse().unwrap_or(1))
            .collect();
        match (code, code.chars().last()) {
            ("[?1049h", _) => self.is_other = true,
            ("[?1049l", _) => self.is_other = false,
            ("[?25l", _) => self.is_blind = true,
            ("[?25h", _) => self.is_blind = false,
            ("[2J", _) => self.cells = vec![vec![' '; self.size.0]; self.size.1],
            (_, Some('H')) => {
                let place = |n: usize| numbers.get(n).copied().unwrap_or(1).max(1) - 1;
                self.at = (place(0), place(1));
            }
            ("[K", _) => {
                if let Some(line) = self.cells.get_mut(self.at.0) {
                    line.iter_mut().skip(self.at.1).for_each(|cell| *cell = ' ');
                }
            }
            ("[J", _) => {
                for line in self.cells.iter_mut().skip(self.at.0) {
                    line.fill(' ');
                }
            }
            (_, Some('m')) | ("[?7l" | "[?7h", _) => {}
            _ => panic!("nobody told the terminal what {code:?} is"),
        }
    }
}
