//! Rows to look at again, in the order in which they are due.
//!
//! Every row waits equally long, so first in, first out is in order of time, and fair. A row is in
//! it once at most: the queue is as long as there are rows, and never full.

/// The queue.
#[derive(Debug)]
pub struct Queue {
    rows: Box<[u16]>,
    first: usize,
    len: usize,
}

impl Queue {
    /// Room for `rows` rows.
    #[must_use]
    pub fn new(rows: usize) -> Self {
        Self { rows: std::iter::repeat_n(0, rows).collect(), first: 0, len: 0 }
    }

    /// Puts a row that is not in it at the end.
    #[expect(clippy::cast_possible_truncation, reason = "at most 4,096 rows")]
    pub fn push(&mut self, row: usize) {
        debug_assert!(self.len < self.rows.len());
        let end = (self.first + self.len) % self.rows.len();
        self.rows[end] = row as u16;
        self.len += 1;
    }

    /// The row that is due first.
    #[must_use]
    pub fn first(&self) -> Option<usize> {
        (self.len > 0).then(|| usize::from(self.rows[self.first]))
    }

    /// Takes the first row out.
    pub fn pop(&mut self) {
        if self.len > 0 {
            self.first = (self.first + 1) % self.rows.len();
            self.len -= 1;
        }
    }

    /// Rows in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no row waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes every row out.
    pub fn clear(&mut self) {
        self.len = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_out_in_the_order_they_went_in_round_the_end() {
        let mut queue = Queue::new(3);
        for row in 0..10 {
            queue.push(row);
            queue.push(row + 100);
            assert_eq!((queue.first(), queue.len()), (Some(row), 2));
            queue.pop();
            queue.pop();
        }
        assert_eq!(queue.first(), None);
    }
}
