//! Bytes of a keyboard become keys.
//!
//! An arrow is an escape code of several bytes, and over a slow line they come one by one: a lone escape
//! is the key only when nothing follows it for a moment.

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A character.
    Char(char),
    /// Return.
    Enter,
    /// Escape.
    Escape,
    /// Backspace.
    Back,
    /// Tabulator.
    Tab,
    /// The same, backwards.
    BackTab,
    /// Arrows and their like.
    Up,
    /// See `Up`.
    Down,
    /// See `Up`.
    PageUp,
    /// See `Up`.
    PageDown,
    /// See `Up`.
    Home,
    /// See `Up`.
    End,
    /// Ctrl-C or Ctrl-D.
    Quit,
    /// Ctrl-Z.
    Suspend,
    /// Ctrl-L.
    Redraw,
}

/// Longest escape code, bytes.
const LONGEST: usize = 16;

/// See the module.
#[derive(Debug, Default)]
pub struct Keyboard {
    held: Vec<u8>,
}

impl Keyboard {
    /// The keys in what came. What makes no key is left out.
    pub fn hear(&mut self, bytes: &[u8]) -> Vec<Key> {
        let mut keys = Vec::new();
        for byte in bytes {
            self.held.push(*byte);
            match read(&self.held) {
                Read::More if self.held.len() < LONGEST => {}
                Read::More | Read::Nothing => self.held.clear(),
                Read::Key(key) => {
                    self.held.clear();
                    keys.push(key);
                }
            }
        }
        keys
    }

    /// Whether something may follow.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.held.is_empty()
    }

    /// Nothing follows: a lone escape was meant.
    pub fn settle(&mut self) -> Option<Key> {
        let held = std::mem::take(&mut self.held);
        (held == [0x1b]).then_some(Key::Escape)
    }
}

enum Read {
    More,
    Nothing,
    Key(Key),
}

fn read(bytes: &[u8]) -> Read {
    match bytes {
        [0x1b] | [0x1b, b'[' | b'O'] => Read::More,
        [0x1b, b'[' | b'O', middle @ .., last] => code(middle, *last),
        // Some other key with Alt.
        [0x1b, ..] => Read::Nothing,
        [b'\r' | b'\n'] => Read::Key(Key::Enter),
        [b'\t'] => Read::Key(Key::Tab),
        [0x7f | 0x08] => Read::Key(Key::Back),
        [0x03 | 0x04] => Read::Key(Key::Quit),
        [0x1a] => Read::Key(Key::Suspend),
        [0x0c] => Read::Key(Key::Redraw),
        bytes => character(bytes),
    }
}

fn code(middle: &[u8], last: u8) -> Read {
    match (middle, last) {
        (_, b'A') => Read::Key(Key::Up),
        (_, b'B') => Read::Key(Key::Down),
        (_, b'H') | (b"1" | b"7", b'~') => Read::Key(Key::Home),
        (_, b'F') | (b"4" | b"8", b'~') => Read::Key(Key::End),
        (_, b'Z') => Read::Key(Key::BackTab),
        (b"5", b'~') => Read::Key(Key::PageUp),
        (b"6", b'~') => Read::Key(Key::PageDown),
        (_, 0x40..=0x7e) => Read::Nothing,
        _ => Read::More,
    }
}

fn character(bytes: &[u8]) -> Read {
    match std::str::from_utf8(bytes) {
        Ok(text) => match text.chars().next() {
            Some(c) if !c.is_control() => Read::Key(Key::Char(c)),
            _ => Read::Nothing,
        },
        Err(e) if e.error_len().is_none() => Read::More,
        Err(_) => Read::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(bytes: &[u8]) -> Vec<Key> {
        Keyboard::default().hear(bytes)
    }

    #[test]
    fn keys_are_read_from_their_bytes() {
        assert_eq!(keys(b"qj1"), ['q', 'j', '1'].map(Key::Char));
        assert_eq!(
            keys(b"\x1b[A\x1bOB\x1b[5~\x1b[6~\x1b[H\x1b[4~"),
            [Key::Up, Key::Down, Key::PageUp, Key::PageDown, Key::Home, Key::End]
        );
        assert_eq!(
            keys(b"\r\t\x1b[Z\x7f\x03\x1a\x0c"),
            [Key::Enter, Key::Tab, Key::BackTab, Key::Back, Key::Quit, Key::Suspend, Key::Redraw]
        );
        assert_eq!(keys("币".as_bytes()), [Key::Char('币')]);
    }

    #[test]
    fn an_arrow_that_comes_in_pieces_is_no_escape() {
        let mut keyboard = Keyboard::default();
        assert!(keyboard.hear(b"\x1b").is_empty() && keyboard.is_waiting());
        assert_eq!(keyboard.hear(b"[B"), [Key::Down]);
        assert!(keyboard.hear(b"\x1b").is_empty());
        assert_eq!((keyboard.settle(), keyboard.settle()), (Some(Key::Escape), None));
    }

    #[test]
    fn what_is_no_key_is_left_out_and_has_an_end() {
        assert!(keys(b"\x1b[200;1;1;1;1x\x1bx\xff\xfe\x00\x01").is_empty());
        let mut keyboard = Keyboard::default();
        keyboard.hear(&[b"\x1b[".as_slice(), &[b'1'; 1_000]].concat());
        assert!(keyboard.held.len() < LONGEST);
    }
}
