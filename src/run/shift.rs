//! A sink that another may take the place of, while a run goes on.

use crossbeam_channel::{Receiver, Sender};

use crate::ledger::Ledger;
use crate::output::Message;
use crate::publish::Sink;
use crate::stage::Turn;
use crate::time::Now;

/// Where another sink comes from, and where the one before it goes.
#[derive(Debug)]
pub struct Relief {
    pub(super) next: Receiver<Box<dyn Sink>>,
    pub(super) former: Sender<Box<dyn Sink>>,
}

/// A sink that another may take the place of.
pub struct Shift {
    sink: Box<dyn Sink>,
    leaving: Option<Box<dyn Sink>>,
    relief: Relief,
    closed: bool,
}

impl Shift {
    /// Begins with `sink`.
    #[must_use]
    pub fn new(sink: Box<dyn Sink>, relief: Relief) -> Self {
        Self { sink, leaving: None, relief, closed: false }
    }

    /// Lets the old one finish, then gives it back.
    fn let_go(&mut self, now: Now) -> Turn {
        let Some(mut sink) = self.leaving.take() else { return Turn::Done };
        if sink.turn(now) == Turn::Done {
            self.leaving = self.relief.former.try_send(sink).err().map(|e| e.into_inner());
        } else {
            self.leaving = Some(sink);
        }
        Turn::Idle
    }

    fn change(&mut self, now: Now) {
        let Ok(next) = self.relief.next.try_recv() else { return };
        let mut former = std::mem::replace(&mut self.sink, next);
        former.close(now);
        self.leaving = Some(former);
    }
}

impl Sink for Shift {
    fn name(&self) -> &'static str {
        self.sink.name()
    }

    fn write(&mut self, now: Now, batch: &[Message]) {
        self.sink.write(now, batch);
    }

    fn turn(&mut self, now: Now) -> Turn {
        let leaving = self.let_go(now);
        if self.leaving.is_none() && !self.closed {
            self.change(now);
        }
        match self.sink.turn(now) {
            Turn::Done => leaving,
            turn => turn,
        }
    }

    fn close(&mut self, now: Now) {
        self.closed = true;
        self.sink.close(now);
    }

    fn ledger(&self, ledger: &mut Ledger) {
        self.sink.ledger(ledger);
        if let Some(leaving) = &self.leaving {
            leaving.ledger(ledger);
        }
    }
}
