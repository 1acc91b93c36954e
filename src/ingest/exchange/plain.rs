//! The plain part of JSON, which is nearly all that venues send, onto the same tape but quicker.
//!
//! Plain is: an object or array without blanks between its tokens, strings without escapes, whole
//! numbers without a sign and of at most 18 digits, `true`, `false`, `null`, and little nesting. What
//! is plain is read here, eight bytes of a string at a time; where any byte is not, the
//! frame is left to simd-json as if nothing had happened. Nothing depends on positions or on the
//! order of keys, and nothing is accepted here that simd-json would not make the same tape of: it is
//! the reference, and tests hold this against it.

use simd_json::{Node, StaticNode};

/// Deepest nesting that is plain.
const DEPTH: usize = 12;
/// Digits that always fit.
const DIGITS: usize = 18;

/// The low and the high bit of each byte of a word.
const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Writes the nodes of a plain frame; `None`, and some nodes of no use, where it is not plain.
pub fn fill<'t>(frame: &'t [u8], nodes: &mut Vec<Node<'t>>) -> Option<()> {
    let text = std::str::from_utf8(frame).ok()?;
    // No escape and no control character anywhere: a string ends at the next quote.
    if frame.iter().fold(false, |found, &byte| found | (byte < 0x20) | (byte == b'\\')) {
        return None;
    }
    let mut plain = Plain { text, bytes: text.as_bytes(), at: 0, nodes };
    match plain.next()? {
        b'{' => plain.inside::<true>(DEPTH)?,
        b'[' => plain.inside::<false>(DEPTH)?,
        _ => return None,
    }
    (plain.at == frame.len()).then_some(())
}

struct Plain<'t, 'n> {
    text: &'t str,
    bytes: &'t [u8],
    at: usize,
    nodes: &'n mut Vec<Node<'t>>,
}

impl Plain<'_, '_> {
    #[inline]
    fn next(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    #[inline]
    fn require(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    /// Passes `byte` if it is next.
    #[inline]
    fn passes(&mut self, byte: u8) -> bool {
        let is_next = self.bytes.get(self.at) == Some(&byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// The rest of an object (`KEYED`) or array whose bracket has been read; `depth` more may open,
    /// itself included.
    fn inside<const KEYED: bool>(&mut self, depth: usize) -> Option<()> {
        let close = if KEYED { b'}' } else { b']' };
        let depth = depth.checked_sub(1)?;
        let place = self.nodes.len();
        self.nodes.push(container::<KEYED>(0, 0));
        if self.passes(close) {
            return Some(());
        }
        let mut len = 0;
        loop {
            if KEYED {
                self.require(b'"')?;
                self.string()?;
                self.require(b':')?;
            }
            self.value(depth)?;
            len += 1;
            match self.next()? {
                b',' => {}
                byte if byte == close => break,
                _ => return None,
            }
        }
        let count = self.nodes.len() - place - 1;
        *self.nodes.get_mut(place)? = container::<KEYED>(len, count);
        Some(())
    }

    #[inline]
    fn value(&mut self, depth: usize) -> Option<()> {
        match self.next()? {
            b'"' => self.string(),
            b'{' => self.inside::<true>(depth),
            b'[' => self.inside::<false>(depth),
            digit @ b'0'..=b'9' => self.number(digit),
            b't' => self.word("rue", StaticNode::Bool(true)),
            b'f' => self.word("alse", StaticNode::Bool(false)),
            b'n' => self.word("ull", StaticNode::Null),
            _ => None,
        }
    }

    /// The rest of a string whose first quote has been read.
    #[inline]
    fn string(&mut self) -> Option<()> {
        let end = self.at + quote(self.bytes.get(self.at..)?)?;
        self.nodes.push(Node::String(self.text.get(self.at..end)?));
        self.at = end + 1;
        Some(())
    }

    /// The rest of a whole number.
    #[inline]
    fn number(&mut self, first: u8) -> Option<()> {
        let from = self.at;
        let mut number = u64::from(first - b'0');
        while let Some(digit @ b'0'..=b'9') = self.bytes.get(self.at) {
            number = number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            self.at += 1;
        }
        let more = self.at - from;
        if more >= DIGITS || (first == b'0' && more > 0) {
            return None;
        }
        // A point or an exponent is none of the delimiters that may follow.
        self.nodes.push(Node::Static(StaticNode::U64(number)));
        Some(())
    }

    #[inline]
    fn word(&mut self, rest: &str, node: StaticNode) -> Option<()> {
        let end = self.at + rest.len();
        (self.bytes.get(self.at..end)? == rest.as_bytes()).then_some(())?;
        self.at = end;
        self.nodes.push(Node::Static(node));
        Some(())
    }
}

fn container<const KEYED: bool>(len: usize, count: usize) -> Node<'static> {
    if KEYED { Node::Object { len, count } } else { Node::Array { len, count } }
}

/// Where the next quote is.
#[inline]
fn quote(bytes: &[u8]) -> Option<usize> {
    let (words, rest) = bytes.as_chunks();
    let mut at = 0;
    for word in words {
        let word = u64::from_le_bytes(*word) ^ LOW.wrapping_mul(b'"'.into());
        // The high bit of each byte that is 0. Bits above the lowest may be wrong; that one never is.
        let zeros = word.wrapping_sub(LOW) & !word & HIGH;
        if zeros != 0 {
            return Some(at + zeros.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    rest.iter().position(|byte| *byte == b'"').map(|more| at + more)
}

#[cfg(test)]
mod tests {
    use super::*;
    use simd_json::{Buffers, INPUT_PADDING, Tape};

    /// Frames of every shape that venues send, and what lies just beside them.
    const SEEDS: [&str; 14] = [
        r#"{"e":"forceOrder","E":1790000001007,"o":{"s":"SOLUSDT","S":"SELL","q":"2049.1","p":"140.1150","ap":"141.2187","T":1790000000003,"st":1}}"#,
        r#"{"topic":"allLiquidation.SOLUSDT","type":"snapshot","ts":1790000000551,"data":[{"T":1790000000156,"s":"SOLUSDT","S":"Buy","v":"20.9","p":"140.65"}]}"#,
        r#"{"arg":{"channel":"bbo-tbt","instId":"BTC-USDT-SWAP"},"data":[{"asks":[["60000.2","15","0","1"]],"bids":[],"ts":"1790000000955","seqId":5}]}"#,
        r#"{"channel":"bbo","data":{"coin":"BTC","time":1790000000009,"bbo":[{"px":"60000.0","n":43},null]}}"#,
        r#"{"a":true,"b":false,"c":null,"d":[],"e":{},"f":"","g":0,"h":[[[1,2],[3]],{"x":[{}]}]}"#,
        r#"[{"s":"币安人生USDT"},"\u00e9","a\\b","tab	"]"#,
        r#"{"n":-1,"f":1.5,"e":1e5,"z":00,"big":123456789012345678901,"m":999999999999999999}"#,
        r#"{ "blank" : 1 }"#,
        r#"{"a":1,}"#,
        r#"[1,2"#,
        r#"{"a":1}}"#,
        r#"{"a":1} "#,
        r#"[truefalse,nul]"#,
        r#"[[[[[[[[[[[[[[1]]]]]]]]]]]]]]"#,
    ];

    fn reference(frame: &[u8]) -> Option<Vec<String>> {
        let mut bytes = frame.to_vec();
        bytes.resize(frame.len() + INPUT_PADDING, b' ');
        let mut tape = Tape(Vec::new());
        let mut buffers = Buffers::with_max_depth(frame.len(), 32);
        let read = simd_json::fill_tape_padded(&mut bytes, frame.len(), &mut buffers, &mut tape);
        read.ok().map(|()| tape.0.iter().map(|node| format!("{node:?}")).collect())
    }

    /// Whether the frame is plain; if so, the reference reads the same.
    fn agrees(frame: &[u8]) -> bool {
        let mut nodes = Vec::new();
        if fill(frame, &mut nodes).is_none() {
            return false;
        }
        let nodes: Vec<String> = nodes.iter().map(|node| format!("{node:?}")).collect();
        assert_eq!(Some(nodes), reference(frame), "{}", String::from_utf8_lossy(frame));
        true
    }

    #[test]
    fn what_is_plain_is_read_as_the_reference_reads_it() {
        let plain = SEEDS.map(|seed| agrees(seed.as_bytes()));
        assert_eq!(plain[..5], [true; 5]);
        assert_eq!(plain[5..], [false; 9]);
        assert!(agrees(r#"{"s":"币安人生USDT","n":999999999999999999}"#.as_bytes()));
        assert!(
            !agrees(b"\"text\"") && !agrees(b"1") && !agrees(b"") && !agrees(b"{\"a\":\"\xff\"}")
        );
    }

    #[test]
    fn every_frame_cut_anywhere_is_left_to_the_reference() {
        for seed in &SEEDS[..5] {
            (0..seed.len()).for_each(|end| assert!(!agrees(&seed.as_bytes()[..end])));
        }
    }

    /// Changes bytes, cuts and joins at random; what is still plain must be read alike.
    /// `FORESHOCK_FULL=1 cargo test --release --lib plain` tries 1e8.
    #[test]
    fn frames_changed_at_random_are_read_alike_or_left() {
        let tries: u64 =
            if std::env::var_os("FORESHOCK_FULL").is_some() { 100_000_000 } else { 300_000 };
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        let mut draw = |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            usize::try_from(random >> 33).unwrap() % below.max(1)
        };
        let bytes = br#"{}[]",:\/0123456789-+.eEtrufalsn xX"#;
        let (mut plain, mut frame) = (0_u64, Vec::new());
        for _ in 0..tries {
            let seed = SEEDS[draw(SEEDS.len())].as_bytes();
            frame.clear();
            frame.extend_from_slice(seed);
            for _ in 0..=draw(3) {
                let at = draw(frame.len());
                match draw(6) {
                    0 => frame[at] = bytes[draw(bytes.len())],
                    1 => frame.insert(at, bytes[draw(bytes.len())]),
                    2 => drop(frame.remove(at)),
                    3 => frame[at] = u8::try_from(draw(256)).unwrap(),
                    4 => {
                        let end = at + draw((frame.len() - at).min(40));
                        let piece = frame[at..end].to_vec();
                        let to = draw(frame.len());
                        frame.splice(to..to, piece);
                    }
                    _ => frame.truncate(frame.len() - draw(2)),
                }
                if frame.is_empty() {
                    frame.push(b'[');
                }
            }
            plain += u64::from(agrees(&frame));
        }
        assert!(plain > tries / 20, "{plain} of {tries} were plain");
    }

    #[test]
    fn the_next_quote_is_found_wherever_it_is() {
        for at in 0..20 {
            for (other, length) in (0x20..=0xff).flat_map(|b| [(b, 21), (b, at + 1)]) {
                let mut bytes = vec![if other == b'"' { b'!' } else { other }; length];
                assert_eq!(quote(&bytes), None, "{other:#x}");
                bytes[at] = b'"';
                assert_eq!(quote(&bytes), Some(at), "{bytes:?}");
            }
        }
    }
}
