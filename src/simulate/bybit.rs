//! bybit
