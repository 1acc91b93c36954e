//! Canonical symbols: one market per base asset, whatever the venue calls it.
//!
//! A [`Symbol`] is at most 16 bytes by value, so it crosses the rings inside the event and no thread
//! shares a table of names. The form is the base asset followed by `USDT`: every USD-like quote,
//! linear or inverse, perpetual or dated, is the same market, and multipliers are divided out before
//! a symbol is made (`1000PEPEUSDT`, `kPEPE` and `PEPE-USDT-SWAP` are all `PEPEUSDT`).

use std::fmt;

/// Longest symbol in bytes.
pub const SYMBOL_BYTES: usize = 16;

const QUOTE: &[u8] = b"USDT";

/// A canonical symbol, UTF-8, padded with zero bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Symbol([u8; SYMBOL_BYTES]);

impl Symbol {
    /// No symbol: an event that concerns none (a tick, a feed's state).
    pub const NONE: Self = Self([0; SYMBOL_BYTES]);
    /// The whole market, all symbols and venues together.
    pub const MARKET: Self = Self(*b"MARKET\0\0\0\0\0\0\0\0\0\0");
    /// Every symbol that has no row of its own: names too long, or beyond the limit of symbols.
    pub const OTHER: Self = Self(*b"OTHER\0\0\0\0\0\0\0\0\0\0\0");
    /// The reference market, whose price sets the regime.
    pub const BTC: Self = Self(*b"BTCUSDT\0\0\0\0\0\0\0\0\0");
    /// The second market, with BTC a major.
    pub const ETH: Self = Self(*b"ETHUSDT\0\0\0\0\0\0\0\0\0");

    /// The market of a base asset (`BTC` gives `BTCUSDT`). `None` when the name is empty, longer
    /// than 12 bytes, or holds anything but letters, digits and `_ . / : -`.
    #[must_use]
    pub fn of_base(base: &str) -> Option<Self> {
        let mut bytes = [0; SYMBOL_BYTES];
        let (name, rest) = bytes.split_at_mut_checked(base.len())?;
        if base.is_empty() || !base.chars().all(Self::allows) {
            return None;
        }
        name.copy_from_slice(base.as_bytes());
        name.make_ascii_uppercase();
        rest.get_mut(..QUOTE.len())?.copy_from_slice(QUOTE);
        Some(Self(bytes))
    }

    /// A symbol already in canonical form, such as one read back from a journal. `None` when it is
    /// empty, too long, or holds a character that is not allowed.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; SYMBOL_BYTES];
        if text.is_empty() || !text.chars().all(Self::allows) {
            return None;
        }
        bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        Some(Self(bytes))
    }

    /// Letters of any script and digits (venues list `币安人生USDT`), and the few marks venues use.
    /// No control character, space or quote ever gets into a symbol.
    fn allows(c: char) -> bool {
        c.is_alphanumeric() || matches!(c, '_' | '.' | '/' | ':' | '-')
    }

    /// The name without its padding.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let end = self.0.iter().position(|&b| b == 0).unwrap_or(SYMBOL_BYTES);
        self.0.get(..end).and_then(|name| std::str::from_utf8(name).ok()).unwrap_or("")
    }

    /// The 16 bytes, for hashing and for records on disk.
    #[must_use]
    pub fn to_bytes(self) -> [u8; SYMBOL_BYTES] {
        self.0
    }

    /// From 16 bytes of a record. `None` unless they are a valid symbol (or [`Symbol::NONE`]).
    #[must_use]
    pub fn from_bytes(bytes: [u8; SYMBOL_BYTES]) -> Option<Self> {
        let end = bytes.iter().position(|&b| b == 0).unwrap_or(SYMBOL_BYTES);
        let (name, padding) = bytes.split_at_checked(end)?;
        let valid = padding.iter().all(|&b| b == 0)
            && std::str::from_utf8(name).is_ok_and(|n| n.chars().all(Self::allows));
        valid.then_some(Self(bytes))
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_becomes_its_market() {
        assert_eq!(Symbol::of_base("BTC"), Some(Symbol::BTC));
        assert_eq!(Symbol::of_base("pepe").map(|s| s.to_string()).as_deref(), Some("PEPEUSDT"));
        assert_eq!(
            Symbol::of_base("币安人生").map(|s| s.to_string()).as_deref(),
            Some("币安人生USDT")
        );
    }

    #[test]
    fn names_that_could_inject_or_overflow_are_refused() {
        for bad in ["", "A B", "A\r\nSET x", "<img", "ABCDEFGHIJKLM", "A\0", "\u{1b}[31m", "\""] {
            assert_eq!(Symbol::of_base(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn bytes_round_trip_and_garbage_does_not() {
        assert_eq!(Symbol::from_bytes(Symbol::BTC.to_bytes()), Some(Symbol::BTC));
        assert_eq!(Symbol::from_bytes([0xff; 16]), None);
        assert_eq!(Symbol::from_bytes(*b"A\0B\0\0\0\0\0\0\0\0\0\0\0\0\0"), None);
    }
}
