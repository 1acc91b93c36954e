//! Endpoints and topics that no longer give anything, and what replaced them.
//!
//! The worst of them answer, subscribe and acknowledge, and never send a word: a configuration that
//! names one is refused before anybody waits for it.

use super::dial::Endpoint;
use crate::event::Venue;

/// Something that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retired {
    /// Whose.
    pub venue: Venue,
    /// What it was.
    pub what: &'static str,
    /// Since when, as far as it is known.
    pub since: &'static str,
    /// How it shows.
    pub shows: &'static str,
    /// What to use.
    pub instead: &'static str,
}

const UNROUTED: Retired = Retired {
    venue: Venue::Binance,
    what: "fstream.binance.com/ws and /stream, without /market or /public",
    since: "2026-04-23",
    shows: "subscribes, acknowledges and stays silent",
    instead: "wss://fstream.binance.com/market/ws (liquidations, trades, mark price) and \
              wss://fstream.binance.com/public/ws (top of the book)",
};
const OTHER_ROUTE: Retired = Retired {
    venue: Venue::Binance,
    what: "a stream on the other route of fstream.binance.com",
    since: "2026-04-23",
    shows: "subscribes, acknowledges and stays silent",
    instead: "/market for liquidations, trades and mark price; /public for the top of the book",
};
const ALL_FORCE_ORDERS: Retired = Retired {
    venue: Venue::Binance,
    what: "REST allForceOrders",
    since: "2021",
    shows: "\"out of maintenance\"",
    instead: "nothing: there is no public backfill of Binance liquidations",
};
const ONE_A_SECOND: Retired = Retired {
    venue: Venue::Bybit,
    what: "topic liquidation.{symbol}",
    since: "2025",
    shows: "\"handler not found\"",
    instead: "topic allLiquidation.{symbol}, which shows every liquidation",
};
const BEFORE_V5: Retired = Retired {
    venue: Venue::Bybit,
    what: "stream.bybit.com/realtime and other paths before v5",
    since: "2023",
    shows: "refuses the upgrade, or gives other formats",
    instead: "wss://stream.bybit.com/v5/public/linear and .../inverse",
};
const AWS: Retired = Retired {
    venue: Venue::Okx,
    what: "the AWS domain (wsaws.okx.com)",
    since: "2025-04-28",
    shows: "cannot be reached",
    instead: "wss://ws.okx.com:8443/ws/v5/public",
};
const OLD_CHANNEL: Retired = Retired {
    venue: Venue::Okx,
    what: "channel liquidations",
    since: "2023",
    shows: "error 60018",
    instead: "channel liquidation-orders with instType only",
};

/// Everything that is known to be gone.
pub const RETIRED: [Retired; 7] =
    [UNROUTED, OTHER_ROUTE, ALL_FORCE_ORDERS, ONE_A_SECOND, BEFORE_V5, AWS, OLD_CHANNEL];

/// What is gone about an endpoint that a user wants for `route`.
#[must_use]
pub fn retired(endpoint: &Endpoint, route: &str) -> Option<Retired> {
    let Endpoint { host, url, .. } = endpoint;
    let host = host.to_ascii_lowercase();
    let after = url.split_once("://").map_or("", |(_, rest)| rest);
    let path = after.find('/').and_then(|at| after.get(at..)).unwrap_or("/");
    let first = path.split(['/', '?']).nth(1).unwrap_or("");
    let old_topic = path.contains("liquidation.") && !path.contains("allLiquidation.");
    match (host.as_str(), first) {
        ("fstream.binance.com", "market" | "public") if first == route => None,
        ("fstream.binance.com", "market" | "public" | "private") => Some(OTHER_ROUTE),
        ("fstream.binance.com", _) => Some(UNROUTED),
        ("stream.bybit.com" | "stream.bytick.com", _) if old_topic => Some(ONE_A_SECOND),
        ("stream.bybit.com" | "stream.bytick.com", first) if first != "v5" => Some(BEFORE_V5),
        (okx, _) if okx.starts_with("wsaws") && okx.ends_with("okx.com") => Some(AWS),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingest::exchange::EXCHANGES;

    fn of(url: &str, route: &str) -> Option<Retired> {
        retired(&Endpoint::parse(url).unwrap(), route)
    }

    #[test]
    fn f4_dead_endpoints_are_known_before_they_are_called() {
        for (url, route, expected) in [
            ("wss://fstream.binance.com/ws", "market", Some(UNROUTED)),
            ("wss://fstream.binance.com/stream?streams=!forceOrder@arr", "market", Some(UNROUTED)),
            ("wss://FSTREAM.binance.com:443/ws/btcusdt@bookTicker", "public", Some(UNROUTED)),
            ("wss://fstream.binance.com", "market", Some(UNROUTED)),
            ("wss://fstream.binance.com/public/ws", "market", Some(OTHER_ROUTE)),
            ("wss://fstream.binance.com/market/stream", "public", Some(OTHER_ROUTE)),
            ("wss://fstream.binance.com/market/stream", "market", None),
            ("wss://stream.bybit.com/realtime_public", "linear", Some(BEFORE_V5)),
            (
                "wss://stream.bybit.com/v5/public/linear?args=liquidation.BTCUSDT",
                "linear",
                Some(ONE_A_SECOND),
            ),
            ("wss://stream.bybit.com/v5/public/linear?args=allLiquidation.X", "linear", None),
            ("wss://wsaws.okx.com:8443/ws/v5/public", "public", Some(AWS)),
            ("wss://wseea.okx.com:8443/ws/v5/public", "public", None),
            ("ws://localhost:9/ws", "market", None),
        ] {
            assert_eq!(of(url, route), expected, "{url}");
        }
    }

    #[test]
    fn our_own_endpoints_are_alive() {
        for route in EXCHANGES.iter().flat_map(|exchange| exchange.routes()) {
            assert_eq!(of(route.url, route.name), None, "{}", route.url);
        }
    }
}
