//! A thread that does the slow part, and a fixed number of parcels that go to and fro.
//!
//! The giver fills an empty parcel and sends it; the thread works on it and sends it back to be
//! filled again. Nobody waits and nothing is allocated: when every parcel is on its way there is
//! none to fill, and the giver counts what it could not hand over.

use std::io;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

/// After the end, the thread has this long to finish what it was given.
pub const CLOSE_DEADLINE: Duration = Duration::from_millis(1_500);

/// What the thread is told.
#[derive(Debug)]
pub enum Errand<'a, T> {
    /// Work on this; leave it empty.
    Parcel(&'a mut T),
    /// Nothing came for a while.
    Pause,
    /// Nothing will come any more.
    End,
}

/// The giver's side.
#[derive(Debug)]
pub struct Courier<T> {
    full: Option<Sender<T>>,
    empty: Receiver<T>,
    thread: JoinHandle<()>,
    ended: Option<Instant>,
}

impl<T: Send + 'static> Courier<T> {
    /// Starts a thread called `name` that does `work`, at least once every `pause`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        name: &str,
        parcels: Vec<T>,
        pause: Duration,
        mut work: impl FnMut(Errand<'_, T>) + Send + 'static,
    ) -> io::Result<Self> {
        let (full, incoming) = bounded::<T>(parcels.len());
        let (back, empty) = bounded(parcels.len());
        for parcel in parcels {
            // Room for all of them was just made.
            let _ = back.try_send(parcel);
        }
        let run = move || {
            loop {
                match incoming.recv_timeout(pause) {
                    Ok(mut parcel) => {
                        work(Errand::Parcel(&mut parcel));
                        let _ = back.try_send(parcel);
                    }
                    Err(RecvTimeoutError::Timeout) => work(Errand::Pause),
                    Err(RecvTimeoutError::Disconnected) => return work(Errand::End),
                }
            }
        };
        let thread = Builder::new().name(name.to_owned()).spawn(run)?;
        Ok(Self { full: Some(full), empty, thread, ended: None })
    }

    /// An empty parcel; `None` while all are on their way.
    pub fn blank(&mut self) -> Option<T> {
        self.empty.try_recv().ok()
    }

    /// Empty parcels at hand.
    #[must_use]
    pub fn spare(&self) -> usize {
        self.empty.len()
    }

    /// Hands a parcel over. Gives it back when the thread is gone or the end was announced.
    ///
    /// # Errors
    /// The parcel.
    pub fn send(&mut self, parcel: T) -> Result<(), T> {
        match &self.full {
            // The channel holds as many as there are parcels, so it is never full.
            Some(full) => full.try_send(parcel).map_err(|e| e.into_inner()),
            None => Err(parcel),
        }
    }

    /// Announces the end.
    pub fn end(&mut self) {
        self.full = None;
        self.ended.get_or_insert_with(Instant::now);
    }

    /// Whether the thread has finished.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Whether the thread has finished after [`Self::end`], or its time to do so is over.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.thread.is_finished()
            || self.ended.is_some_and(|ended| ended.elapsed() >= CLOSE_DEADLINE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parcels_come_back_and_none_is_lost_at_the_end() {
        let (seen, got) = bounded(16);
        let work = move |errand: Errand<'_, Vec<u8>>| match errand {
            Errand::Parcel(parcel) => {
                seen.send(parcel.len()).unwrap();
                parcel.clear();
            }
            Errand::Pause => {}
            Errand::End => seen.send(99).unwrap(),
        };
        let parcels = vec![Vec::new(), Vec::new()];
        let mut courier = Courier::start("t", parcels, Duration::from_millis(1), work).unwrap();
        for n in 1..=5 {
            let mut parcel = loop {
                match courier.blank() {
                    Some(parcel) => break parcel,
                    None => std::thread::yield_now(),
                }
            };
            assert!(parcel.is_empty());
            parcel.resize(n, 0_u8);
            courier.send(parcel).unwrap();
        }
        courier.end();
        while !courier.is_done() {
            std::thread::yield_now();
        }
        assert_eq!(got.try_iter().collect::<Vec<_>>(), [1, 2, 3, 4, 5, 99]);
    }
}
