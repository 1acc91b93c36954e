//! Listens to the page on a thread of its own, and comes back to it when it is gone.

use std::io;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::frame::{Frame, STREAM};
use super::link::{Answer, Trouble, ask};
use super::place::Place;

/// Before it is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// Between two frames at least: a page sends four a second, a stranger as many as he can.
const PACE: Duration = Duration::from_millis(40);
/// Frames that wait to be shown; whoever shows them slowly holds the page up, not the memory.
const WAITING: usize = 4;

/// What is heard of the page.
#[derive(Debug)]
pub enum Heard {
    /// A frame; the first since a connection was made holds everything.
    Frame(Box<Frame>, bool),
    /// Nothing any more.
    Lost(Trouble),
}

/// Listens at `place` until nobody wants to hear it any more.
///
/// # Errors
/// When the system gives no thread.
pub fn watch(place: Place) -> io::Result<Receiver<Heard>> {
    let (tell, heard) = bounded(WAITING);
    thread::Builder::new().name("top".to_owned()).spawn(move || {
        loop {
            let Err(Some(trouble)) = listen(&place, &tell) else { return };
            if tell.send(Heard::Lost(trouble)).is_err() {
                return;
            }
            thread::sleep(AGAIN);
        }
    })?;
    Ok(heard)
}

/// Passes frames on until there is trouble, or (`None`) nobody wants them.
fn listen(place: &Place, tell: &Sender<Heard>) -> Result<(), Option<Trouble>> {
    let mut answer = ask(place, STREAM, "text/event-stream")?;
    let mut first = true;
    loop {
        let frame = next(&mut answer)?;
        tell.send(Heard::Frame(Box::new(frame), first)).map_err(|_| None)?;
        first = false;
        thread::sleep(PACE);
    }
}

fn next(answer: &mut Answer) -> Result<Frame, Trouble> {
    Frame::read(&answer.event()?)
}
