//! Who has fallen silent, and who is heard again.
//!
//! A connection that is made anew within seconds is no news. One that is not heard for a while is,
//! once; and so is its return, but only after its silence was told. Told the time, no I/O.

use arrayvec::ArrayVec;

use super::note::News;
use crate::event::{Body, Event, FeedState, Venue};
use crate::time::Nanos;

/// Most lines of venues that are followed.
const LINES: usize = 64;

/// One thing that can be silent.
#[derive(Clone, Copy, Debug, Default)]
struct Silence {
    since: Option<Nanos>,
    told: bool,
}

impl Silence {
    /// `Some(true)` when silence becomes news, `Some(false)` when its end does.
    fn look(&mut self, hears: bool, now: Nanos, patience_ns: u64) -> Option<bool> {
        if hears {
            self.since = None;
            return std::mem::take(&mut self.told).then_some(false);
        }
        let since = *self.since.get_or_insert(now);
        let news = !self.told && now.since(since) >= patience_ns;
        self.told |= news;
        news.then_some(true)
    }
}

#[derive(Clone, Copy, Debug)]
struct Line {
    venue: Venue,
    line: u8,
    state: FeedState,
    code: u16,
    silence: Silence,
}

/// Follows feeds and Redis.
#[derive(Debug)]
pub struct Watch {
    patience_ns: u64,
    lines: ArrayVec<Line, LINES>,
    redis: Silence,
}

impl Watch {
    /// Silence is news after `patience_ns`.
    #[must_use]
    pub fn new(patience_ns: u64) -> Self {
        Self { patience_ns, lines: ArrayVec::new(), redis: Silence::default() }
    }

    /// Silence is news after `patience_ns` from here on.
    pub fn patience(&mut self, patience_ns: u64) {
        self.patience_ns = patience_ns;
    }

    /// Notes what an event says about a feed.
    pub fn hear(&mut self, event: &Event) {
        match event.body {
            Body::Feed { state, code } => self.note(event, state, code),
            Body::Reset => self.lines.clear(),
            _ => {}
        }
    }

    fn note(&mut self, event: &Event, state: FeedState, code: u16) {
        let same = |line: &&mut Line| line.venue == event.venue && line.line == event.line;
        if let Some(line) = self.lines.iter_mut().find(same) {
            (line.state, line.code) = (state, code);
            return;
        }
        let silence = Silence::default();
        let line = Line { venue: event.venue, line: event.line, state, code, silence };
        // There are never as many lines: each venue has a handful.
        let _ = self.lines.try_push(line);
    }

    /// Gives what has become news about feeds.
    pub fn feeds(&mut self, now: Nanos, mut tell: impl FnMut(News)) {
        for feed in &mut self.lines {
            let Line { venue, line, state, code, .. } = *feed;
            match feed.silence.look(state.hears(), now, self.patience_ns) {
                Some(true) => tell(News::Silent(venue, line, state, code)),
                Some(false) => tell(News::Heard(venue, line, state)),
                None => {}
            }
        }
    }

    /// What has become news about Redis, which takes what it is given or not.
    pub fn redis(&mut self, up: bool, now: Nanos) -> Option<News> {
        let silent = self.redis.look(up, now, self.patience_ns)?;
        Some(if silent { News::RedisDown } else { News::RedisUp })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::NS_PER_S;

    fn at(s: u64) -> Nanos {
        Nanos(s * NS_PER_S)
    }

    fn state(watch: &mut Watch, state: FeedState) {
        let body = Body::Feed { state, code: 0 };
        watch.hear(&Event { body, venue: Venue::Okx, line: 1, ..Event::tick(at(0)) });
    }

    fn told(watch: &mut Watch, s: u64) -> Vec<News> {
        let mut news = Vec::new();
        watch.feeds(at(s), |one| news.push(one));
        news
    }

    #[test]
    fn a_short_silence_is_no_news_and_a_long_one_is_told_once() {
        let mut watch = Watch::new(10 * NS_PER_S);
        state(&mut watch, FeedState::Live);
        assert_eq!(told(&mut watch, 1), []);
        state(&mut watch, FeedState::Down);
        assert_eq!(told(&mut watch, 2), []);
        state(&mut watch, FeedState::Live);
        assert_eq!(told(&mut watch, 11), []);
        state(&mut watch, FeedState::Down);
        assert_eq!(told(&mut watch, 12), []);
        state(&mut watch, FeedState::Connecting);
        assert_eq!(told(&mut watch, 21), []);
        assert_eq!(told(&mut watch, 22), [News::Silent(Venue::Okx, 1, FeedState::Connecting, 0)]);
        assert_eq!(told(&mut watch, 99), []);
        state(&mut watch, FeedState::Quiet);
        assert_eq!(told(&mut watch, 100), [News::Heard(Venue::Okx, 1, FeedState::Quiet)]);
        assert_eq!(told(&mut watch, 101), []);
    }

    #[test]
    fn redis_is_said_to_be_down_and_up_again() {
        let mut watch = Watch::new(10 * NS_PER_S);
        let news =
            [(true, 0), (false, 1), (false, 10), (false, 11), (false, 12), (true, 13), (true, 14)]
                .map(|(up, s)| watch.redis(up, at(s)));
        let expected = [None, None, None, Some(News::RedisDown), None, Some(News::RedisUp), None];
        assert_eq!(news, expected);
    }
}
