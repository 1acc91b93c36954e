//! Which row a symbol has: an open-addressed table of a fixed size, keyed by the symbol's 16 bytes.
//!
//! Rows are handed out in the order symbols are first seen and never taken back but by a reset.
//! `MARKET` is row 0 and `OTHER` row 1; what finds no row is `OTHER`'s.

use crate::symbol::Symbol;

/// Row of [`Symbol::MARKET`].
pub const MARKET: usize = 0;
/// Row of [`Symbol::OTHER`].
pub const OTHER: usize = 1;

const FREE: u16 = u16::MAX;

/// The table.
#[derive(Debug)]
pub struct Symbols {
    /// Row of a symbol at its hash, or further on; at most half are taken.
    slots: Box<[u16]>,
    /// Symbol of each row.
    names: Box<[Symbol]>,
    used: usize,
}

impl Symbols {
    /// Room for `rows` rows, the two fixed ones included.
    #[must_use]
    pub fn new(rows: usize) -> Self {
        let slots = (rows * 2).next_power_of_two();
        let mut table = Self {
            slots: std::iter::repeat_n(FREE, slots).collect(),
            names: std::iter::repeat_n(Symbol::NONE, rows).collect(),
            used: 0,
        };
        table.clear();
        table
    }

    /// Forgets every symbol but the two fixed ones.
    pub fn clear(&mut self) {
        self.slots.fill(FREE);
        self.used = 2;
        self.names[MARKET] = Symbol::MARKET;
        self.names[OTHER] = Symbol::OTHER;
    }

    /// Rows handed out.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used
    }

    /// The symbol of a row.
    #[must_use]
    pub fn name(&self, row: usize) -> Symbol {
        self.names[row]
    }

    /// The row of a symbol, a new one where it has none; [`OTHER`] when there are no more, or when
    /// it is no symbol of a market.
    pub fn row(&mut self, symbol: Symbol) -> usize {
        if matches!(symbol, Symbol::NONE | Symbol::MARKET | Symbol::OTHER) {
            return OTHER;
        }
        let mask = self.slots.len() - 1;
        let mut slot = hash(symbol) & mask;
        loop {
            match self.slots[slot] {
                FREE => return self.add(slot, symbol),
                row if self.names[usize::from(row)] == symbol => return usize::from(row),
                _ => slot = (slot + 1) & mask,
            }
        }
    }

    fn add(&mut self, slot: usize, symbol: Symbol) -> usize {
        let row = self.used;
        match (self.names.get_mut(row), u16::try_from(row)) {
            (Some(name), Ok(number)) => {
                *name = symbol;
                self.slots[slot] = number;
                self.used += 1;
                row
            }
            _ => OTHER,
        }
    }
}

/// Both halves of the name, folded by multiplication.
#[expect(clippy::cast_possible_truncation, reason = "the table takes the low bits")]
fn hash(symbol: Symbol) -> usize {
    let bits = u128::from_le_bytes(symbol.to_bytes());
    let mixed = (bits as u64 ^ 0x9e37_79b9_7f4a_7c15)
        .wrapping_mul(0xd6e8_feb8_6659_fd93)
        .wrapping_add((bits >> 64) as u64)
        .wrapping_mul(0xa076_1d64_78bd_642f);
    (mixed ^ mixed >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbol(i: usize) -> Symbol {
        Symbol::of_base(&format!("S{i}")).unwrap()
    }

    #[test]
    fn every_symbol_keeps_its_row_until_there_are_no_more() {
        let mut table = Symbols::new(4_096);
        for i in 0..4_094 {
            assert_eq!(table.row(symbol(i)), i + 2);
        }
        for i in (0..4_094).rev() {
            assert_eq!((table.row(symbol(i)), table.name(i + 2)), (i + 2, symbol(i)));
        }
        assert_eq!(table.row(symbol(5_000)), OTHER);
        assert_eq!(table.used(), 4_096);
        table.clear();
        assert_eq!(table.row(symbol(9)), 2);
    }

    #[test]
    fn what_is_no_market_of_its_own_is_other() {
        let mut table = Symbols::new(3);
        for odd in [Symbol::NONE, Symbol::MARKET, Symbol::OTHER] {
            assert_eq!(table.row(odd), OTHER);
        }
    }
}
