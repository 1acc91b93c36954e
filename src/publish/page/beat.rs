//! Heartbeats: once a second each thread of the pipeline tells that its loop goes round, and what its
//! stages have counted.
//!
//! The boxes go to and fro like those of a [`Tap`](crate::tap::Tap): nobody waits and
//! nothing is allocated. A thread that hangs in a turn does not beat, which is how it is found out.

use arrayvec::ArrayVec;
use crossbeam_channel::{Receiver, Sender, bounded};

use crate::ledger::Counts;
use crate::time::Nanos;

/// Stages that share one thread, at most.
pub const STAGES_MAX: usize = 8;

/// What one thread tells.
#[derive(Clone, Debug, Default)]
pub struct Beat {
    /// When, on the steady clock.
    pub at: Nanos,
    /// Passes of the thread's loop so far.
    pub passes: u64,
    /// Its stages, and the longest turn of each so far, ns.
    pub turns: ArrayVec<(&'static str, u64), STAGES_MAX>,
    /// What they have counted.
    pub counts: Counts,
}

/// The thread's side.
#[derive(Debug)]
pub struct Heart {
    full: Sender<Box<Beat>>,
    empty: Receiver<Box<Beat>>,
}

impl Heart {
    /// Hands over a beat that `fill` writes; nothing while none has come back.
    pub fn beat(&self, fill: impl FnOnce(&mut Beat)) {
        let Ok(mut beat) = self.empty.try_recv() else { return };
        beat.turns.clear();
        beat.counts.clear();
        fill(&mut beat);
        let _ = self.full.try_send(beat);
    }
}

/// The listener's side, and the last beat it heard.
#[derive(Debug)]
pub(super) struct Ear {
    full: Receiver<Box<Beat>>,
    back: Sender<Box<Beat>>,
    pub last: Beat,
}

impl Ear {
    /// Takes what came.
    pub fn listen(&mut self) {
        while let Ok(beat) = self.full.try_recv() {
            self.last.clone_from(&beat);
            let _ = self.back.try_send(beat);
        }
    }
}

/// A heart and the ear that hears it.
pub(super) fn pair() -> (Heart, Ear) {
    let (full, filled) = bounded(1);
    let (back, empty) = bounded(1);
    let _ = back.try_send(Box::default());
    (Heart { full, empty }, Ear { full: filled, back, last: Beat::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beat_is_heard_once_and_an_ear_that_does_not_listen_costs_nothing() {
        let (heart, mut ear) = pair();
        for n in 1..=3 {
            heart.beat(|beat| {
                beat.passes = n;
                beat.counts.add("consumed", n);
            });
        }
        ear.listen();
        assert_eq!((ear.last.passes, ear.last.counts.get("consumed")), (1, 1), "the box was away");
        heart.beat(|beat| beat.passes = 4);
        ear.listen();
        assert_eq!((ear.last.passes, ear.last.counts.get("consumed")), (4, 0));
    }
}
