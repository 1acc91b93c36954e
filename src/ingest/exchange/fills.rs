//! Hyperliquid's fills, and what they say about liquidations.
//!
//! A fill is one party's side of a trade; both parties' fills carry the trade's `tid`, and in a
//! liquidation both carry `liquidation`, which names who was liquidated.
//!
//! ```text
//! source                          a liquidation is                                  shown
//! fills of a watched address      a fill with `liquidation`, its own or another's    watched
//! a node's fill files             the fill of the one who was liquidated             complete
//! trades                          one with a liquidator vault: only suspected        unknown
//! ```
//!
//! The liquidated user's own fill sells a long; the other party's fill is the opposite. A liquidator
//! vault takes over what the market would not (backstop), and later trades out of it: its trades alone
//! do not tell the two apart, nor the side. When the vault itself is the one who is "liquidated", its
//! counterparties are deleveraged, which is no liquidation.

use super::json::{Json, fields, number, text};
use super::page::{Item, Page, Time};
use crate::event::{Completeness, Flags, Side, Taker};

/// The vaults that take over positions, of the venue's own liquidity pool and the older stand-alone one.
pub const VAULTS: [&str; 5] = [
    "0x2e3d94f0562703b25c83308a05046ddaf9a8dd14",
    "0xb0a55f13d22f66e6d495ac98113841b2326e9540",
    "0x5e177e5e39c0f4e421f5865a6d8beed8d921cb70",
    "0x2ed5c4484ea3ff8b57d5f2fb152a40d9f2b68308",
    "0x63c621a33714ec48660e32f2374895c8026a3a00",
];

/// Fills that are no trades, by `dir`.
const NOT_TRADES: [&str; 4] =
    ["Auto-Deleveraging", "Net Child Vaults", "Spot Dust Conversion", "Settlement"];

/// `B` buys, `A` (ask) sells.
pub fn taker(side: Option<Json<'_>>) -> Option<Taker> {
    match text(side)? {
        "B" => Some(Taker::Buy),
        "A" => Some(Taker::Sell),
        _ => None,
    }
}

/// Whether this is the address of one of the `vaults`.
fn is_vault(address: &str, vaults: &[String]) -> bool {
    vaults.iter().any(|vault| vault.eq_ignore_ascii_case(address))
}

/// A public trade; with exactly one vault among its parties it is a suspected liquidation as well.
pub fn trade(row: Json<'_>, vaults: &[String], page: &mut Page<'_>) {
    fields!(row => coin = "coin", side = "side", price = "px", size = "sz", time = "time",
        id = "tid", users = "users");
    let Some(mut item) = page.item(coin, Time::In(time)) else {
        return;
    };
    item.numbered(id);
    let (price, size) = (number(price), number(size));
    item.trade(taker(side), price, size);
    let parties = users.into_iter().flat_map(Json::elements).filter_map(Json::text);
    if parties.filter(|party| is_vault(party, vaults)).count() == 1 {
        item.flag(Flags::SUSPECTED);
        item.liquidation(Completeness::Unknown, None, price, size);
    }
}

/// What a fill says.
struct Fill<'t> {
    taker: Option<Taker>,
    price: Option<f64>,
    size: Option<f64>,
    /// Its order took liquidity.
    crossed: bool,
    party: Party,
    /// The position went over to a vault, outside the book.
    backstop: bool,
    dir: &'t str,
}

/// Whose fill this is, in a liquidation.
#[derive(Clone, Copy, PartialEq)]
enum Party {
    /// No liquidation.
    None,
    /// The liquidated user's.
    Liquidated,
    /// The other party's.
    Other,
    /// The message does not say.
    Unknown,
    /// The liquidated user is a vault: its counterparties are deleveraged.
    Vault,
}

impl<'t> Fill<'t> {
    fn read(row: Json<'t>, user: Option<&str>, vaults: &[String]) -> Self {
        fields!(row => price = "px", size = "sz", side = "side", dir = "dir", crossed = "crossed",
            liquidation = "liquidation");
        let liquidation = liquidation.filter(|liquidation| liquidation.is_object());
        let part = |name| liquidation.and_then(|l| l.get(name)).and_then(Json::text);
        let (dir, of) = (text(dir).unwrap_or(""), part("liquidatedUser"));
        let party = match (user, of) {
            (_, Some(of)) if is_vault(of, vaults) => Party::Vault,
            _ if dir.starts_with("Liquidated ") => Party::Liquidated,
            _ if liquidation.is_none() => Party::None,
            (Some(user), Some(of)) if user.eq_ignore_ascii_case(of) => Party::Liquidated,
            (Some(_), Some(_)) => Party::Other,
            _ => Party::Unknown,
        };
        Self {
            taker: taker(side),
            price: number(price),
            size: number(size),
            crossed: crossed.and_then(Json::flag) == Some(true),
            party,
            backstop: part("method") == Some("backstop"),
            dir,
        }
    }

    /// Why it is no trade, if it is none.
    fn is_no_trade(&self) -> Option<&'static str> {
        if NOT_TRADES.contains(&self.dir) {
            return Some("no_trade");
        }
        (self.party == Party::Vault).then_some("deleveraging")
    }

    fn liquidated(&self, seen: Completeness, item: &mut Item<'_>) {
        let Some(taker) = self.taker else {
            return item.refuse("side");
        };
        let side = match (self.party, taker) {
            (Party::Liquidated, Taker::Sell) | (Party::Other, Taker::Buy) => Some(Side::Long),
            (Party::Liquidated, Taker::Buy) | (Party::Other, Taker::Sell) => Some(Side::Short),
            _ => None,
        };
        item.liquidation(seen, side, self.price, self.size);
    }
}

/// A fill of an address that is watched; `user` is missing where the message does not say whose.
pub fn watched(
    row: Json<'_>,
    user: Option<&str>,
    flags: Flags,
    vaults: &[String],
    page: &mut Page<'_>,
) {
    let Some(mut item) = item(row, page) else {
        return;
    };
    item.flag(flags);
    let fill = Fill::read(row, user, vaults);
    match (fill.is_no_trade(), fill.party) {
        (Some(reason), _) => item.refuse(reason),
        (None, Party::None) => item.fill(fill.taker, fill.price, fill.size),
        (None, _) => fill.liquidated(Completeness::Watched, &mut item),
    }
}

/// `[user, fill]`, as a node writes it: every fill of the venue, both parties' of every trade. The fill
/// that took liquidity is the trade; the liquidated user's is the liquidation.
pub fn of_node(pair: Json<'_>, vaults: &[String], page: &mut Page<'_>) {
    let mut parts = pair.elements();
    let (Some(user), Some(row)) = (parts.next().and_then(Json::text), parts.next()) else {
        return page.refuse("schema");
    };
    let Some(mut item) = item(row, page) else {
        return;
    };
    let fill = Fill::read(row, Some(user), vaults);
    let liquidated = matches!(fill.party, Party::Liquidated | Party::Unknown);
    let traded = fill.crossed && !fill.backstop;
    if let Some(reason) = fill.is_no_trade() {
        return item.refuse(reason);
    }
    if traded {
        item.trade(fill.taker, fill.price, fill.size);
    }
    if liquidated {
        fill.liquidated(Completeness::Complete, &mut item);
    }
    if !traded && !liquidated {
        item.refuse("other_side");
    }
}

fn item<'p>(row: Json<'p>, page: &'p mut Page<'_>) -> Option<Item<'p>> {
    fields!(row => coin = "coin", time = "time", id = "tid");
    let mut item = page.item(coin, Time::In(time))?;
    item.numbered(id);
    Some(item)
}
