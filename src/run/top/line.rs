//! A line of the screen: words with their ink, as wide as there is room.
//!
//! Whatever is shown goes through [`Line::add`], which is where foreign text loses its teeth.

use super::words::{columns, harmless, width};

/// How a word is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ink {
    /// Its colour.
    pub paint: Paint,
    /// Stronger than the rest.
    pub bold: bool,
    /// Weaker than the rest.
    pub dim: bool,
    /// Light on dark becomes dark on light.
    pub inverse: bool,
}

/// A colour, as far as all terminals have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Paint {
    /// That of the terminal.
    #[default]
    Plain,
    /// All is well.
    Green,
    /// Worth a look.
    Cyan,
    /// Take care.
    Yellow,
    /// It is bad.
    Red,
}

/// Nothing special.
pub const PLAIN: Ink = Ink { paint: Paint::Plain, bold: false, dim: false, inverse: false };
/// Stronger.
pub const BOLD: Ink = Ink { bold: true, ..PLAIN };
/// Weaker.
pub const DIM: Ink = Ink { dim: true, ..PLAIN };
/// Bad.
pub const BAD: Ink = Ink { paint: Paint::Red, bold: true, ..PLAIN };
/// Take care.
pub const CARE: Ink = Ink { paint: Paint::Yellow, ..PLAIN };

/// The ink of a level; its word stands beside it.
#[must_use]
pub fn of_level(level: &str) -> Ink {
    let paint = match level {
        "WATCH" => Paint::Cyan,
        "ALERT" => Paint::Yellow,
        "CRITICAL" | "EXTREME" => Paint::Red,
        _ => Paint::Plain,
    };
    Ink { paint, bold: level == "EXTREME", ..PLAIN }
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Line {
    words: Vec<(String, Ink)>,
    room: usize,
}

impl Line {
    /// An empty one of so many columns.
    #[must_use]
    pub fn new(room: usize) -> Self {
        Self { words: Vec::new(), room }
    }

    /// Columns left.
    #[must_use]
    pub fn room(&self) -> usize {
        self.room
    }

    /// The words with their ink.
    #[must_use]
    pub fn words(&self) -> &[(String, Ink)] {
        &self.words
    }

    /// Adds as much of a text as there is room for.
    pub fn add(&mut self, text: &str, ink: Ink) -> &mut Self {
        let mut word = String::with_capacity(text.len());
        for c in text.chars().map(harmless) {
            let wide = columns(c);
            // What has no width would join what stands before it.
            if wide == 0 {
                continue;
            }
            if wide > self.room {
                self.room = 0;
                break;
            }
            self.room -= wide;
            word.push(c);
        }
        if !word.is_empty() {
            self.words.push((word, ink));
        }
        self
    }

    /// A text in a column of its own, from the left; what is too long ends in `…`.
    pub fn left(&mut self, text: &str, column: usize, ink: Ink) -> &mut Self {
        let (text, pad) = fit(text, column);
        self.add(&text, ink).gap(pad)
    }

    /// A text in a column of its own, to the right.
    pub fn right(&mut self, text: &str, column: usize, ink: Ink) -> &mut Self {
        let (text, pad) = fit(text, column);
        self.gap(pad).add(&text, ink)
    }

    /// Empty columns.
    pub fn gap(&mut self, columns: usize) -> &mut Self {
        self.add(&" ".repeat(columns.min(self.room)), PLAIN)
    }

    /// Everything in the ink of what is old.
    pub fn fade(&mut self) {
        for (_, ink) in &mut self.words {
            *ink = Ink { inverse: ink.inverse, ..DIM };
        }
    }

    /// Without ink.
    #[must_use]
    pub fn text(&self) -> String {
        self.words.iter().map(|(word, _)| word.as_str()).collect()
    }
}

/// As much of a text as fits, and the columns that are left.
fn fit(text: &str, column: usize) -> (String, usize) {
    let wide = width(text);
    if wide <= column {
        return (text.to_owned(), column - wide);
    }
    let mut cut = String::new();
    let mut left = column.saturating_sub(1);
    for c in text.chars() {
        let wide = columns(harmless(c));
        if wide > left {
            break;
        }
        left -= wide;
        cut.push(c);
    }
    if column > 0 {
        cut.push('…');
    }
    (cut, left)
}

/// A text over several lines of `room` columns, broken between words where it can be.
#[must_use]
pub fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let Some(last) = lines.last_mut() else { break };
        if last.is_empty() {
            last.push_str(word);
        } else if width(last) + 1 + width(word) <= room {
            last.push(' ');
            last.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_never_wider_than_its_room() {
        let mut line = Line::new(10);
        line.left("币安人生USDT", 6, PLAIN).right("1,234", 4, PLAIN).add("more", PLAIN);
        assert_eq!((line.text().as_str(), line.room()), ("币安… 1,2…", 0));
        let mut line = Line::new(3);
        line.add("币安", PLAIN).add("x", PLAIN);
        assert_eq!(line.text(), "币");
    }

    #[test]
    fn columns_stand_under_each_other() {
        let mut line = Line::new(20);
        line.left("BTC", 5, PLAIN).right("7", 3, PLAIN).gap(2).add("x", PLAIN);
        assert_eq!(line.text(), "BTC    7  x");
    }

    #[test]
    fn foreign_text_does_nothing_in_a_line() {
        let mut line = Line::new(40);
        line.left("\x1b[2J\u{9b}31m", 12, PLAIN).add("\u{202e}a\u{301}\r\n", PLAIN);
        assert!(
            line.text().chars().all(|c| !c.is_control() && c != '\u{202e}' && columns(c) > 0),
            "{line:?}"
        );
    }

    #[test]
    fn a_text_is_broken_between_words() {
        assert_eq!(wrap("velocity 7.2/s, led by bybit", 16), ["velocity 7.2/s,", "led by bybit"]);
        assert_eq!(wrap("", 5), [""]);
        assert_eq!(wrap("unbreakable", 4), ["unbreakable"]);
    }
}
