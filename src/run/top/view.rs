//! What whoever looks has chosen: which pane, which order, how far down, which symbols.

use super::frame::Listed;
use super::keys::Key;
use crate::signal::Level;

/// Longest filter, characters.
const FILTER_MAX: usize = 16;

/// A part of the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pane {
    /// Symbols.
    #[default]
    Symbols,
    /// Feeds.
    Feeds,
    /// The latest liquidations.
    Tape,
    /// The latest signals.
    Signals,
    /// Latencies and counts.
    Latency,
}

impl Pane {
    /// All of them, from the top down.
    pub const ALL: [Self; 5] =
        [Self::Symbols, Self::Feeds, Self::Tape, Self::Signals, Self::Latency];

    /// From 0.
    #[must_use]
    pub fn place(self) -> usize {
        Self::ALL.iter().position(|pane| *pane == self).unwrap_or(0)
    }

    fn away(self, steps: usize) -> Self {
        Self::ALL.get((self.place() + steps) % Self::ALL.len()).copied().unwrap_or_default()
    }
}

/// By what the symbols are sorted, most first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Level, then risk, then money: most in danger first.
    #[default]
    Risk,
    /// Liquidations per second.
    Velocity,
    /// USD in 60 s.
    Money,
}

impl Order {
    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Risk => "risk",
            Self::Velocity => "velocity",
            Self::Money => "USD",
        }
    }

    fn next(self) -> Self {
        match self {
            Self::Risk => Self::Velocity,
            Self::Velocity => Self::Money,
            Self::Money => Self::Risk,
        }
    }

    /// The symbols in this order.
    #[must_use]
    pub fn sort<'a>(self, list: impl Iterator<Item = &'a Listed>) -> Vec<&'a Listed> {
        let mut sorted: Vec<_> = list.collect();
        let level = |listed: &Listed| Level::ALL.iter().position(|level| level.name() == listed.1);
        let known = |value: Option<f64>| value.unwrap_or(f64::NEG_INFINITY);
        sorted.sort_by(|a, b| {
            let by =
                |value: fn(&Listed) -> Option<f64>| known(value(b)).total_cmp(&known(value(a)));
            let first = match self {
                Self::Risk => level(b).cmp(&level(a)),
                Self::Velocity => by(|listed| listed.3),
                Self::Money => by(|listed| listed.4),
            };
            first
                .then_with(|| by(|listed| listed.2))
                .then_with(|| by(|listed| listed.4))
                .then_with(|| a.0.cmp(&b.0))
        });
        sorted
    }
}

/// What a key asks for beyond the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Nothing.
    None,
    /// To stop.
    Quit,
    /// To be left alone for a while.
    Suspend,
    /// The whole screen anew.
    Redraw,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The pane that has the keys.
    pub pane: Pane,
    /// How symbols are sorted.
    pub order: Order,
    /// Lines that are scrolled away, pane by pane.
    pub scrolled: [usize; Pane::ALL.len()],
    /// Lines that are shown of the pane that has the keys.
    pub page: usize,
    /// What a symbol must contain.
    pub filter: String,
    /// The filter is being typed.
    pub typing: bool,
    /// What is shown stands still.
    pub paused: bool,
    /// The keys are explained.
    pub help: bool,
}

impl View {
    /// Does what a key asks for.
    pub fn obey(&mut self, key: Key) -> Wish {
        match key {
            Key::Quit => return Wish::Quit,
            Key::Suspend => return Wish::Suspend,
            Key::Redraw => return Wish::Redraw,
            key if self.typing => self.type_in(key),
            Key::Escape | Key::Char('q') if self.help => self.help = false,
            Key::Escape | Key::Char('q') => return Wish::Quit,
            key => self.choose(key),
        }
        Wish::None
    }

    fn type_in(&mut self, key: Key) {
        match key {
            Key::Enter => self.typing = false,
            Key::Escape => {
                self.typing = false;
                self.filter.clear();
            }
            Key::Back => {
                self.filter.pop();
            }
            Key::Char(c) if self.filter.chars().count() < FILTER_MAX => {
                self.filter.extend(c.to_uppercase());
            }
            _ => {}
        }
        self.scrolled = Default::default();
    }

    fn choose(&mut self, key: Key) {
        match key {
            Key::Tab => self.pane = self.pane.away(1),
            Key::BackTab => self.pane = self.pane.away(Pane::ALL.len() - 1),
            Key::Char('?' | 'h') => self.help = !self.help,
            Key::Char('p' | ' ') => self.paused = !self.paused,
            Key::Char('/') => {
                self.typing = true;
                self.filter.clear();
            }
            Key::Char('s') => {
                self.order = self.order.next();
                self.scrolled = Default::default();
            }
            Key::Char(c @ '1'..='5') => {
                let place = c.to_digit(10).and_then(|n| usize::try_from(n).ok()).unwrap_or(1);
                self.pane = Pane::ALL.get(place - 1).copied().unwrap_or_default();
            }
            key => self.scroll(key),
        }
    }

    fn scroll(&mut self, key: Key) {
        let page = self.page.max(2) - 1;
        let Some(scrolled) = self.scrolled.get_mut(self.pane.place()) else { return };
        *scrolled = match key {
            Key::Up | Key::Char('k') => scrolled.saturating_sub(1),
            Key::Down | Key::Char('j') => scrolled.saturating_add(1),
            Key::PageUp => scrolled.saturating_sub(page),
            Key::PageDown => scrolled.saturating_add(page),
            Key::Home | Key::Char('g') => 0,
            Key::End | Key::Char('G') => usize::MAX,
            _ => *scrolled,
        };
    }

    /// How far this pane is scrolled when it has so many lines and shows `page` of them.
    pub fn top(&mut self, pane: Pane, lines: usize, page: usize) -> usize {
        let Some(scrolled) = self.scrolled.get_mut(pane.place()) else { return 0 };
        // Beyond the end there is nothing to scroll back from.
        *scrolled = (*scrolled).min(lines.saturating_sub(page));
        *scrolled
    }

    /// Whether a symbol is to be shown.
    #[must_use]
    pub fn wants(&self, symbol: &str) -> bool {
        self.filter.is_empty() || symbol.to_uppercase().contains(&self.filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(symbol: &str, level: &str, risk: f64, velocity: f64, usd: f64) -> Listed {
        Listed(
            symbol.to_owned(),
            level.to_owned(),
            Some(risk),
            Some(velocity),
            Some(usd),
            None,
            None,
            None,
        )
    }

    fn press(view: &mut View, text: &str) {
        for c in text.chars() {
            assert_eq!(view.obey(Key::Char(c)), Wish::None, "{c}");
        }
    }

    #[test]
    fn symbols_are_sorted_by_what_is_asked_for() {
        let mut list = vec![
            listed("A", "NONE", 30.0, 1.0, 9.0),
            listed("B", "ALERT", 10.0, 2.0, 5.0),
            listed("C", "NONE", 30.0, 7.0, 10.0),
        ];
        list.push(Listed("D".to_owned(), "ODD".to_owned(), None, None, None, None, None, None));
        let names = |order: Order| {
            order.sort(list.iter()).iter().map(|listed| listed.0.as_str()).collect::<String>()
        };
        assert_eq!(
            [names(Order::Risk), names(Order::Velocity), names(Order::Money)],
            ["BCAD", "CBAD", "CABD"]
        );
    }

    #[test]
    fn keys_choose_panes_orders_and_places() {
        let mut view = View::default();
        press(&mut view, "3s");
        assert_eq!((view.pane, view.order), (Pane::Tape, Order::Velocity));
        view.obey(Key::Tab);
        view.obey(Key::Tab);
        view.obey(Key::Tab);
        assert_eq!(view.pane, Pane::Symbols);
        view.obey(Key::BackTab);
        assert_eq!(view.pane, Pane::Latency);
        press(&mut view, "jjG");
        assert_eq!(view.top(Pane::Latency, 10, 4), 6);
        press(&mut view, "k");
        assert_eq!(view.top(Pane::Latency, 10, 4), 5);
        assert_eq!(view.top(Pane::Latency, 3, 4), 0);
    }

    #[test]
    fn a_filter_takes_letters_and_escape_ends_it_first() {
        let mut view = View::default();
        press(&mut view, "/btq");
        view.obey(Key::Back);
        assert!(view.wants("BTCUSDT") && !view.wants("ETHUSDT") && view.typing);
        view.obey(Key::Enter);
        assert!(!view.typing && view.filter == "BT");
        press(&mut view, "/");
        assert_eq!(view.obey(Key::Escape), Wish::None);
        assert!(view.wants("ETHUSDT"));
        press(&mut view, &format!("/{}", "x".repeat(99)));
        assert_eq!(view.filter.len(), FILTER_MAX);
    }

    #[test]
    fn the_program_is_left_by_each_of_its_keys() {
        for key in [Key::Char('q'), Key::Escape, Key::Quit] {
            assert_eq!(View::default().obey(key), Wish::Quit);
        }
        let mut view = View { help: true, ..View::default() };
        assert_eq!((view.obey(Key::Escape), view.obey(Key::Escape)), (Wish::None, Wish::Quit));
        let mut view = View { typing: true, ..View::default() };
        assert_eq!(view.obey(Key::Quit), Wish::Quit);
    }
}
