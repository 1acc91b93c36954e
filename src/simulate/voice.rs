//! How a venue speaks: what it tells on its own, and what it answers.
//!
//! One file per venue, all with the same items in the same order.

use super::coins::Listing;
use super::market::Item;
use super::{binance, bybit, hyperliquid, okx};
use crate::event::Venue;

/// The address whose fills Hyperliquid's voice tells: every liquidation there is its own.
pub const WATCHED: &str = "0x5eed0000000000000000000000000000000f0e5c";

/// One message, for everybody who joined one of its topics on its route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The route it is on.
    pub route: &'static str,
    /// The subscription that brings it.
    pub topic: String,
    /// The frame.
    pub text: String,
    /// Liquidations in it.
    pub liquidations: u32,
}

/// What a venue does with a frame from a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Says this.
    Say(String),
    /// Sends the messages of this topic from now on.
    Join(String),
    /// Stops sending them.
    Leave(String),
    /// Cuts the connection without a word.
    HangUp,
}

/// A venue's way of speaking.
pub trait Voice: Send {
    /// Which venue.
    fn venue(&self) -> Venue;
    /// Its routes, and the path of each below the venue's own.
    fn routes(&self) -> &'static [(&'static str, &'static str)];
    /// Puts an item into words, now or in a later [`Self::flush`].
    fn tell(&mut self, item: &Item, listing: &Listing, out: &mut Vec<Message>);
    /// Says what was held back until `now_ms`.
    fn flush(&mut self, now_ms: i64, out: &mut Vec<Message>);
    /// Answers a frame on `route`.
    fn answer(&self, listings: &[Listing], route: &str, frame: &str) -> Vec<Answer>;
    /// Answers a REST request; `None`: no such thing.
    fn rest(&self, listings: &[Listing], path: &str, body: &str) -> Option<String>;
    /// How a message looks to a client that connected to `path`.
    fn dress(&self, message: &Message, path: &str) -> String {
        let _ = path;
        message.text.clone()
    }
}

/// Every venue's voice.
#[must_use]
pub fn voices() -> Vec<Box<dyn Voice>> {
    vec![
        Box::new(binance::Binance::default()),
        Box::new(bybit::Bybit::default()),
        Box::new(okx::Okx::default()),
        Box::new(hyperliquid::Hyperliquid::default()),
    ]
}
