//! The street outside: venues that speak their real wire format over real sockets.
//!
//! ```text
//! seed ─▶ market ─▶ items (plain truth) ─▶ a voice per venue ─▶ messages ─▶ street (TLS, WebSocket)
//! ```
//!
//! [`market`] makes prices, trades and liquidations from a seed and the time it is told: same seed and
//! start, same items. Each venue's voice puts them into that venue's own words, with that venue's own
//! habits: Binance shows the largest liquidation per symbol and second, at the end of the second; Bybit
//! batches half seconds and names the position's side; OKX counts contracts; Hyperliquid tells only
//! about an address that is watched. [`street`] serves them all on one loopback port.

pub mod random;
pub mod coins;
pub mod market;
pub mod voice;
pub mod binance;
pub mod bybit;
pub mod okx;
pub mod hyperliquid;
pub mod street;
