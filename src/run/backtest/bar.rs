//! How far it is, on a terminal; nothing anywhere else.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicI64, Ordering};

const WIDTH: usize = 40;

/// A bar of recorded time, drawn on standard error when that is a terminal.
#[derive(Debug)]
pub struct Bar {
    shown: bool,
    total: i64,
    done: AtomicI64,
    percent: AtomicI64,
}

impl Bar {
    /// Of `total` milliseconds.
    #[must_use]
    pub fn new(total: i64) -> Self {
        let shown = io::stderr().is_terminal();
        Self { shown, total: total.max(1), done: AtomicI64::new(0), percent: AtomicI64::new(-1) }
    }

    /// The part of the bar that one recording of `length` milliseconds fills.
    #[must_use]
    pub fn share(&self, length: i64) -> Share<'_> {
        Share { bar: self, length, reached: 0 }
    }

    fn add(&self, ms: i64) {
        let done = self.done.fetch_add(ms, Ordering::Relaxed) + ms;
        let percent = (done * 100 / self.total).clamp(0, 100);
        if self.shown && self.percent.fetch_max(percent, Ordering::Relaxed) < percent {
            // A terminal that cannot be written to shows nothing, and nothing else depends on it.
            let _ = write!(io::stderr().lock(), "\r{}", line(percent));
        }
    }

    /// Takes the bar off the terminal.
    pub fn end(&self) {
        if self.shown {
            let _ = write!(io::stderr().lock(), "\r{:width$}\r", "", width = WIDTH + 9);
        }
    }
}

fn line(percent: i64) -> String {
    let filled = usize::try_from(percent).unwrap_or(0) * WIDTH / 100;
    format!("[{}{}] {percent:3} %", "#".repeat(filled), ".".repeat(WIDTH.saturating_sub(filled)))
}

/// One recording's part of the bar. What is left when it ends counts as done.
#[derive(Debug)]
pub struct Share<'a> {
    bar: &'a Bar,
    length: i64,
    reached: i64,
}

impl Share<'_> {
    /// This many milliseconds of the recording have been played.
    pub fn reached(&mut self, ms: i64) {
        let ms = ms.min(self.length);
        if ms > self.reached {
            self.bar.add(ms - self.reached);
            self.reached = ms;
        }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.reached(self.length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_fill_the_bar() {
        let bar = Bar::new(1_000);
        let mut one = bar.share(400);
        one.reached(100);
        one.reached(50);
        drop(one);
        drop(bar.share(600));
        assert_eq!(bar.done.load(Ordering::Relaxed), 1_000);
        assert_eq!(line(50).matches('#').count(), WIDTH / 2);
    }
}
