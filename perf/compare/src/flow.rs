//! The messages: Binance forced orders, the same for every contender.
//!
//! ```text
//! {"e":"forceOrder","E":1790000000001,"o":{"s":"COIN17USDT","S":"SELL","o":"LIMIT","f":"IOC","q":"2.345",
//!  "p":"431.00","ap":"433.17","X":"FILLED","l":"2.345","z":"2.345","T":1790000000001,"ps":"COIN17USDT","st":1}}
//! ```
//! [`DISTINCT`] of them are made from a fixed seed and go round; what is written into each anew is the
//! venue's time, which is now. Prices have two decimals and amounts three, so that the value of every
//! order is a whole number of micro-dollars and sums are exact, whoever works them out.

/// Symbols that are liquidated.
pub const SYMBOLS: u64 = 100;
/// Messages before they come again.
pub const DISTINCT: usize = 1 << 14;

/// A message as it is on the wire, with its WebSocket header.
#[derive(Clone, Debug)]
pub struct Message {
    bytes: Vec<u8>,
    /// Bytes before the payload.
    header: usize,
    /// Where the thirteen digits of the time stand.
    times: [usize; 2],
    micros: u64,
}

/// All messages of a run, in order, without end.
#[derive(Debug)]
pub struct Flow {
    messages: Vec<Message>,
}

/// What everyone must come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Messages.
    pub messages: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Their value, micro-dollars.
    pub micros: u64,
}

/// The name of a symbol of the flow.
#[must_use]
pub fn symbol(n: u64) -> String {
    format!("COIN{n}USDT")
}

/// The same numbers each time (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ x >> 31) % below
    }
}

impl Default for Flow {
    fn default() -> Self {
        let mut dice = Dice(7);
        Self { messages: (0..DISTINCT).map(|_| Message::new(&mut dice)).collect() }
    }
}

impl Flow {
    /// Message number `n`.
    #[must_use]
    pub fn message(&self, n: usize) -> &Message {
        &self.messages[n % DISTINCT]
    }

    /// What the first `n` messages come to.
    #[must_use]
    pub fn sum(&self, n: usize) -> Sum {
        let mut sum = Sum::default();
        for message in (0..n).map(|n| self.message(n)) {
            sum.messages += 1;
            sum.bytes += (message.bytes.len() - message.header) as u64;
            sum.micros += message.micros;
        }
        sum
    }
}

impl Message {
    fn new(dice: &mut Dice) -> Self {
        let name = symbol(dice.roll(SYMBOLS));
        let side = ["SELL", "BUY"][usize::from(dice.roll(4) == 0)];
        let scale = match dice.roll(3) {
            0 => 100,
            1 => 10_000,
            _ => 1_000_000,
        };
        let (cents, thousandths) = (scale + dice.roll(scale * 9), 1 + dice.roll(99_999));
        let price = format!("{}.{:02}", cents / 100, cents % 100);
        let limit = format!("{}.{:02}", cents / 101, cents % 100);
        let amount = format!("{}.{:03}", thousandths / 1_000, thousandths % 1_000);
        let ms = "0000000000000";
        let text = format!(
            r#"{{"e":"forceOrder","E":{ms},"o":{{"s":"{name}","S":"{side}","o":"LIMIT","f":"IOC","q":"{amount}","p":"{limit}","ap":"{price}","X":"FILLED","l":"{amount}","z":"{amount}","T":{ms},"ps":"{name}","st":1}}}}"#
        );
        let mut bytes = header(text.len());
        let header = bytes.len();
        bytes.extend_from_slice(text.as_bytes());
        let times = [r#""E":"#, r#""T":"#].map(|key| {
            let at = text.find(key).unwrap_or(0);
            header + at + key.len()
        });
        Self { bytes, header, times, micros: cents * thousandths * 10 }
    }

    /// Appends it to `out`, as of the time `ms` in digits.
    pub fn put(&self, ms: &[u8; 13], out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(&self.bytes);
        for at in self.times {
            out[begin + at..begin + at + ms.len()].copy_from_slice(ms);
        }
    }
}

/// The header of a text message that is not masked.
fn header(length: usize) -> Vec<u8> {
    let mut header = vec![0x81];
    match u16::try_from(length) {
        Ok(short) if short < 126 => header.push(short.to_be_bytes()[1]),
        Ok(long) => {
            header.push(126);
            header.extend(long.to_be_bytes());
        }
        Err(_) => unreachable!("no message of the flow is that long"),
    }
    header
}

/// Thirteen digits.
#[must_use]
pub fn digits(ms: i64) -> [u8; 13] {
    let mut digits = [b'0'; 13];
    let mut rest = ms.unsigned_abs();
    for digit in digits.iter_mut().rev() {
        *digit += u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_json_of_its_time_and_its_value_is_whole() {
        let flow = Flow::default();
        let mut sum = 0.0;
        for n in 0..1_000 {
            let mut frame = Vec::new();
            flow.message(n).put(&digits(1_790_000_000_123), &mut frame);
            let json: serde_json::Value = serde_json::from_slice(&frame[4..]).unwrap();
            let number = |key| json["o"][key].as_str().unwrap().parse::<f64>().unwrap();
            assert_eq!((&json["E"], &json["o"]["T"]), (&json["o"]["T"], &json["E"]));
            assert_eq!(json["E"], 1_790_000_000_123_i64);
            sum += (number("ap") * number("z") * 1e6).round();
        }
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let truth = flow.sum(1_000).micros as f64;
        assert_eq!(sum, truth);
    }

    #[test]
    fn the_flow_goes_round_and_its_sums_with_it() {
        let flow = Flow::default();
        let (once, twice) = (flow.sum(DISTINCT), flow.sum(2 * DISTINCT));
        assert_eq!((once.micros * 2, once.bytes * 2), (twice.micros, twice.bytes));
    }
}
