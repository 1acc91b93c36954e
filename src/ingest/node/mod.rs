//! What a node of our own writes, as its files grow: every fill of Hyperliquid.
//!
//! A node started with `--write-fills` appends one line per fill or block to a file per hour:
//!
//! ```text
//! node_fills_by_block/hourly/20261120/13   {"block_time":..,"events":[["0xuser",{fill}],..]}
//! node_fills/hourly/20261120/13            ["0xuser",{fill}]
//! ```
//!
//! A thread of its own follows the newest file from its end on ([`follower`]) and hands whole lines to
//! the reader; what it cannot hand over yet waits in the file. A line that is still being written waits
//! too. A file that was replaced or cut is noticed and read from its beginning; the next hour's is taken
//! up when the present one is read to its end. Buffers go back to the thread, so that the reader neither
//! takes nor frees memory.

mod follower;

use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use serde_json::{Value, json};

use self::follower::{Follower, Step};
use super::Frame;
use super::exchange::Verdict;
use super::line::Plan;
use super::source::{FeedChange, Heard, Read, Source};
use super::twins::link_of;
use crate::event::{FeedState, Venue};
use crate::ledger::{Ledger, Tally};
use crate::time::{NS_PER_MS, NS_PER_S, Nanos, Now};

/// The name of this way in, and the number of its line: the venue's own routes have the first two.
pub const ROUTE: &str = "node";
const LINE: u8 = Plan::number(2, 0);

/// A longer line is handed over in parts of so many fills: no turn of the reader is long.
const PIECE: usize = 64 << 10;
const FILLS: usize = 100;
/// How often the file is looked at.
const EVERY: Duration = Duration::from_millis(20);
/// Lines handed over and not read yet.
const WAITING: usize = 256;
/// A node that writes nothing for this long is behind or dead: blocks come several times a second.
pub const STALE_MS: u64 = 10_000;
/// What it writes then is counted in no rate.
const BEHIND: &str = "the node is behind: what it writes is older than the age gate";
/// Live without a liquidation for this long is quiet.
const QUIET_AFTER: u64 = 60 * NS_PER_S;

/// A line in parts that are short enough to be read in one turn. What cannot be taken apart stays as it
/// is: whoever parses it says what is wrong with it.
pub fn pieces(line: &[u8], out: &mut dyn FnMut(&[u8])) {
    let parsed = (line.len() > PIECE).then(|| serde_json::from_slice(line).ok()).flatten();
    match parsed.as_ref().and_then(|block: &Value| block.get("events")?.as_array()) {
        Some(events) => {
            for events in events.chunks(FILLS) {
                out(json!({ "events": events }).to_string().as_bytes());
            }
        }
        None => out(line),
    }
}

/// What the thread tells.
enum Told {
    Line(Vec<u8>),
    Missing(String),
}

/// The source of what a node writes.
#[derive(Debug)]
pub struct Node {
    told: Receiver<Told>,
    spent: Sender<Vec<u8>>,
    /// The thread ends when this is gone.
    running: Option<Sender<()>>,
    noticed: Receiver<Tally>,
    state: FeedState,
    change: Option<FeedChange>,
    /// When a line, and a liquidation, last came.
    heard: Nanos,
    rare: Nanos,
    lines: u64,
}

impl Node {
    /// Follows the files in `at`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(at: PathBuf) -> io::Result<Self> {
        let (tell, told) = bounded(WAITING);
        let (spent, blank) = bounded(WAITING);
        let (running, stopped) = bounded::<()>(0);
        let (count, noticed) = bounded(1);
        let work = move || {
            let mut follower = Follower::new(at);
            follow(&mut follower, &tell, &blank, &stopped);
            drop(count.send(follower.noticed));
        };
        thread::Builder::new().name(ROUTE.to_owned()).spawn(work)?;
        let state = FeedState::Connecting;
        Ok(Self {
            told,
            spent,
            running: Some(running),
            noticed,
            state,
            change: Some(changed(state, String::new())),
            heard: Nanos(0),
            rare: Nanos(0),
            lines: 0,
        })
    }

    fn change(&mut self, state: FeedState, why: String) {
        if self.state != state {
            self.state = state;
            self.change = Some(changed(state, why));
        }
    }

    fn hear(&mut self, heard: Heard, now: Nanos) {
        if heard.verdict != Verdict::Decoded {
            return;
        }
        self.heard = now;
        if heard.late {
            return self.change(FeedState::Suspect, BEHIND.to_owned());
        }
        if heard.rare || !self.state.hears() {
            self.rare = now;
            self.change(FeedState::Live, String::new());
        }
    }

    fn age(&mut self, now: Nanos) {
        if !self.state.hears() {
            return;
        }
        if now.since(self.heard) > STALE_MS * NS_PER_MS {
            self.change(FeedState::Stale, "the node wrote nothing for 10 s".to_owned());
        } else if self.state == FeedState::Live && now.since(self.rare) > QUIET_AFTER {
            self.change(FeedState::Quiet, String::new());
        }
    }
}

fn changed(state: FeedState, why: String) -> FeedChange {
    let venue = Venue::Hyperliquid;
    FeedChange { venue, line: LINE, route: ROUTE, rare: true, state, code: 0, why }
}

/// Follows until nobody listens any more.
fn follow(
    follower: &mut Follower,
    tell: &Sender<Told>,
    blank: &Receiver<Vec<u8>>,
    stopped: &Receiver<()>,
) {
    let (began, mut said) = (Instant::now(), false);
    loop {
        let mut wanted = true;
        let now = Nanos(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX));
        let turn = follower.turn(now, &mut |line| {
            pieces(line, &mut |piece| {
                let mut buffer = blank.try_recv().unwrap_or_default();
                buffer.clear();
                buffer.extend_from_slice(piece);
                // Waits while the reader is behind: the file keeps what comes meanwhile.
                wanted &= tell.send(Told::Line(buffer)).is_ok();
            });
            wanted
        });
        let why = match turn {
            Ok(Step::Read) if wanted => continue,
            Ok(Step::Read | Step::Idle) => None,
            Ok(Step::Missing) => Some(format!("no file of fills in {}", follower.at.display())),
            Err(e) => Some(format!("{}: {e}", follower.at.display())),
        };
        // Said once, and again next time if there is no room.
        said = why.is_some_and(|why| said || tell.try_send(Told::Missing(why)).is_ok());
        if !wanted || stopped.recv_timeout(EVERY) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

impl Source for Node {
    fn name(&self) -> String {
        "hyperliquid/node".to_owned()
    }

    fn read(&mut self, now: Now, most: usize, take: &mut dyn FnMut(Frame<'_>) -> Heard) -> Read {
        if self.running.is_none() {
            return Read::Ended;
        }
        let (mut given, venue, link) = (0, Venue::Hyperliquid, link_of(LINE, 1));
        while given < most {
            match self.told.try_recv() {
                Ok(Told::Line(bytes)) => {
                    given += 1;
                    let heard =
                        take(Frame { venue, line: LINE, link, bytes: &bytes, received: now });
                    self.hear(heard, now.mono);
                    // A buffer for which there is no room is freed; there never is one too many.
                    drop(self.spent.try_send(bytes));
                }
                Ok(Told::Missing(why)) => self.change(FeedState::Down, why),
                Err(_) => break,
            }
        }
        self.lines += given as u64;
        self.age(now.mono);
        if given > 0 { Read::Frames } else { Read::Idle }
    }

    fn feed(&mut self) -> Option<FeedChange> {
        self.change.take()
    }

    fn stop(&mut self) {
        self.running = None;
        // Room for a thread that waits to hand over a line.
        while self.told.try_recv().is_ok() {}
    }

    fn ledger(&self, ledger: &mut Ledger) {
        ledger.add("line_frames{hyperliquid/node}", self.lines);
        if let Ok(noticed) = self.noticed.recv_timeout(EVERY * 10) {
            ledger.add_tally("node_file", &noticed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use follower::tests::Folder;

    #[test]
    fn a_block_of_a_cascade_is_handed_over_in_parts() {
        let fill = r#"["0xab",{"coin":"BTC","px":"60000","sz":"1","side":"A"}]"#;
        let block =
            |n: usize| format!(r#"{{"block_number":1,"events":[{}]}}"#, [fill].repeat(n).join(","));
        for (n, parts) in [(1, 1), (2_050, 21)] {
            let (mut told, mut fills) = (0, 0);
            pieces(block(n).as_bytes(), &mut |piece| {
                told += 1;
                fills += piece.windows(6).filter(|w| w == b"\"0xab\"").count();
                assert!(piece.len() <= PIECE);
            });
            assert_eq!((told, fills), (parts, n));
        }
        let broken = vec![b'{'; PIECE + 1];
        let mut told = Vec::new();
        pieces(&broken, &mut |piece| told.push(piece.len()));
        assert_eq!(told, [PIECE + 1]);
    }

    #[test]
    fn a_node_that_is_behind_is_suspect_until_it_has_caught_up() {
        let folder = Folder::new("behind");
        folder.append("9", "");
        let mut node = Node::start(folder.0.clone()).unwrap();
        let mut until = |late, state| {
            for ms in 0..2_000 {
                folder.append("9", "line\n");
                let heard = Heard { late, ..Verdict::Decoded.into() };
                node.read(Now::at_millis(1_000_000 + ms), 9, &mut |_| heard);
                if let Some(change) = node.feed().filter(|change| change.state == state) {
                    return change.why;
                }
                thread::sleep(Duration::from_millis(1));
            }
            panic!("never {state:?}");
        };
        assert_eq!(until(false, FeedState::Live), "");
        assert_eq!(until(true, FeedState::Suspect), BEHIND);
        assert_eq!(until(false, FeedState::Live), "");
    }

    #[test]
    fn a_node_says_what_state_it_is_in() {
        let folder = Folder::new("states");
        let mut node = Node::start(folder.0.clone()).unwrap();
        let (mut states, mut frames) = (Vec::new(), Vec::new());
        let mut ms = 0;
        let mut until = |state, states: &mut Vec<FeedState>, frames: &mut Vec<String>| {
            for _ in 0..2_000 {
                ms += 10;
                node.read(Now::at_millis(1_000_000 + ms), 9, &mut |frame| {
                    frames.push(String::from_utf8_lossy(frame.bytes).into_owned());
                    Verdict::Decoded.into()
                });
                states.extend(node.feed().map(|change| change.state));
                if states.last() == Some(&state) {
                    return;
                }
                thread::sleep(Duration::from_millis(1));
            }
            panic!("{states:?}, never {state:?}");
        };
        until(FeedState::Down, &mut states, &mut frames);
        folder.append("9", "one\n");
        until(FeedState::Live, &mut states, &mut frames);
        until(FeedState::Stale, &mut states, &mut frames);
        use FeedState::{Connecting, Down, Live, Stale};
        // Whether it is asked before it has looked is up to the machine.
        states.retain(|&state| state != Connecting);
        assert_eq!((states, frames), (vec![Down, Live, Stale], vec!["one".to_owned()]));
        node.stop();
        assert_eq!(node.read(Now::at_millis(1), 9, &mut |_| Verdict::Decoded.into()), Read::Ended);
    }
}
