//! hyperliquid
