//! JSON as a tape of nodes, walked without building anything.
//!
//! A frame is copied into a padded buffer of our own, simd-json checks it and writes one node per
//! value into a tape that is reused, and [`Json`] walks that tape. What is [`plain`] needs neither
//! the copy nor all that simd-json is ready for, and gets onto the same tape by itself. Nothing here depends on the order
//! of keys; of a key that occurs twice, the first counts; keys that differ in case are different.
//! After the first frames no call allocates.

use std::fmt;
use std::mem;

use super::plain;
use simd_json::{Buffers, ErrorType, INPUT_PADDING, Node, StaticNode, Tape};

/// Largest frame that is read, bytes.
pub const FRAME_MAX: usize = 1 << 20;
/// Largest answer of a listing that is read, bytes.
pub const LISTING_MAX: usize = 32 << 20;
/// Deepest nesting of arrays and objects that is read.
pub const DEPTH_MAX: usize = 32;
/// Longest number written as text, bytes.
const NUMBER_MAX: usize = 40;
/// Frames up to this size never make the buffers grow, bytes, unless they are denser than market data
/// is: one value in six bytes.
const WARM_BYTES: usize = 64 << 10;

/// The buffers of one reader.
pub struct Scratch {
    limit: usize,
    bytes: Vec<u8>,
    buffers: Buffers,
    nodes: Vec<Node<'static>>,
    /// Whether plain frames are read without simd-json.
    pub plain: bool,
}

impl Scratch {
    /// For the answer of a listing, once: larger than a frame may be, and nothing kept warm.
    pub fn for_listing() -> Self {
        let buffers = Buffers::with_max_depth(0, DEPTH_MAX);
        Self { limit: LISTING_MAX, bytes: Vec::new(), buffers, nodes: Vec::new(), plain: false }
    }

    /// Parses a frame and hands its root to `walk`.
    ///
    /// # Errors
    /// Why the frame is not readable: `empty`, `too_large`, `too_deep`, `utf8` or `json`.
    pub fn read<R>(
        &mut self,
        frame: &[u8],
        walk: impl FnOnce(Json<'_>) -> R,
    ) -> Result<R, &'static str> {
        match frame.len() {
            0 => return Err("empty"),
            len if len > self.limit => return Err("too_large"),
            _ => {}
        }
        let mut tape = Tape(mem::take(&mut self.nodes)).reset();
        if self.plain && plain::fill(frame, &mut tape.0).is_some() {
            let answer = walk(Json(&tape.0));
            self.nodes = tape.reset().0;
            return Ok(answer);
        }
        let mut tape = tape.reset();
        self.bytes.clear();
        self.bytes.extend_from_slice(frame);
        self.bytes.resize(frame.len() + INPUT_PADDING, b' ');
        let filled =
            simd_json::fill_tape_padded(&mut self.bytes, frame.len(), &mut self.buffers, &mut tape);
        let answer = match filled {
            Ok(()) => Ok(walk(Json(&tape.0))),
            Err(error) => Err(reason(error.error())),
        };
        self.nodes = tape.reset().0;
        answer
    }
}

fn reason(error: &ErrorType) -> &'static str {
    match error {
        ErrorType::InvalidUtf8 => "utf8",
        ErrorType::DepthLimitExceeded => "too_deep",
        _ => "json",
    }
}

impl Default for Scratch {
    /// Grown once to what [`WARM_BYTES`] of dense JSON need.
    fn default() -> Self {
        let mut scratch = Self {
            limit: FRAME_MAX,
            bytes: Vec::with_capacity(WARM_BYTES + INPUT_PADDING),
            buffers: Buffers::with_max_depth(WARM_BYTES, DEPTH_MAX),
            nodes: Vec::new(),
            plain: false,
        };
        let dense = [b"[0", &b",\"123\"".repeat(WARM_BYTES / 6)[..], b"]"].concat();
        let nested = [b"[".repeat(DEPTH_MAX - 1), b"]".repeat(DEPTH_MAX - 1)].concat();
        for frame in [dense, nested] {
            let read = scratch.read(&frame, |_| ());
            debug_assert_eq!(read, Ok(()), "the warm-up frame is JSON");
        }
        scratch.plain = true;
        scratch
    }
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scratch({} bytes, {} nodes)", self.bytes.capacity(), self.nodes.capacity())
    }
}

/// One value on the tape.
#[derive(Clone, Copy)]
pub struct Json<'t>(&'t [Node<'t>]);

impl<'t> Json<'t> {
    fn node(self) -> Option<&'t Node<'t>> {
        self.0.first()
    }

    fn inside(self) -> &'t [Node<'t>] {
        self.0.get(1..).unwrap_or_default()
    }

    /// Keys and values of an object; nothing for any other value.
    pub fn entries(self) -> Entries<'t> {
        match self.node() {
            Some(Node::Object { .. }) => Entries(self.inside()),
            _ => Entries(&[]),
        }
    }

    /// The value of a key in an object, the first if there are several.
    pub fn get(self, key: &str) -> Option<Self> {
        self.entries().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// Elements of an array; nothing for any other value.
    pub fn elements(self) -> Elements<'t> {
        match self.node() {
            Some(Node::Array { .. }) => Elements(self.inside()),
            _ => Elements(&[]),
        }
    }

    /// Elements of an array, or an object as the only element: venues change between the two.
    /// `None` for any other value.
    pub fn rows(self) -> Option<Elements<'t>> {
        match self.node()? {
            Node::Array { .. } => Some(Elements(self.inside())),
            Node::Object { .. } => Some(Elements(self.0)),
            _ => None,
        }
    }

    /// Whether this is an array.
    pub fn is_array(self) -> bool {
        matches!(self.node(), Some(Node::Array { .. }))
    }

    /// Whether this is an object.
    pub fn is_object(self) -> bool {
        matches!(self.node(), Some(Node::Object { .. }))
    }

    /// The text of a string.
    pub fn text(self) -> Option<&'t str> {
        match self.node()? {
            Node::String(text) => Some(text),
            _ => None,
        }
    }

    /// `true` or `false`.
    pub fn flag(self) -> Option<bool> {
        match self.node()? {
            Node::Static(StaticNode::Bool(flag)) => Some(*flag),
            _ => None,
        }
    }

    /// Whether the venue left the value out: `null` or `""`.
    pub fn is_blank(self) -> bool {
        matches!(self.node(), Some(Node::Static(StaticNode::Null) | Node::String("")))
    }

    /// A finite number, written as a number or as text.
    pub fn number(self) -> Option<f64> {
        match self.node()? {
            Node::String(text) => decimal(text),
            Node::Static(number) => static_number(*number),
            _ => None,
        }
    }

    /// What a venue numbers a trade by: a whole number above 0, or any other text mixed into 64 bits.
    pub fn identity(self) -> Option<u64> {
        let id = match self.node()? {
            Node::String(text) => text.parse().unwrap_or_else(|_| mixed(text)),
            Node::Static(StaticNode::I64(number)) => u64::try_from(*number).ok()?,
            Node::Static(StaticNode::U64(number)) => *number,
            _ => return None,
        };
        Some(id).filter(|id| *id != 0)
    }

    /// A whole number with all its digits, written as a number or as text.
    pub fn integer(self) -> Option<i64> {
        match self.node()? {
            Node::String(text) if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok(),
            Node::Static(StaticNode::I64(number)) => Some(*number),
            Node::Static(StaticNode::U64(number)) => i64::try_from(*number).ok(),
            _ => None,
        }
    }
}

/// The number in a field that is there.
pub fn number(field: Option<Json<'_>>) -> Option<f64> {
    field.and_then(Json::number)
}

/// The text in a field that is there.
pub fn text<'t>(field: Option<Json<'t>>) -> Option<&'t str> {
    field.and_then(Json::text)
}

#[expect(clippy::cast_precision_loss, reason = "a price or size, not an identity")]
fn static_number(number: StaticNode) -> Option<f64> {
    match number {
        StaticNode::F64(number) => Some(number).filter(|n| n.is_finite()),
        StaticNode::I64(number) => Some(number as f64),
        StaticNode::U64(number) => Some(number as f64),
        _ => None,
    }
}

/// FNV-1a; 0 for no text.
fn mixed(text: &str) -> u64 {
    let step = |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    if text.is_empty() { 0 } else { text.bytes().fold(0xcbf2_9ce4_8422_2325, step) }
}

/// Splits the value at the front of a run of nodes from the rest.
fn next_value<'t>(nodes: &mut &'t [Node<'t>]) -> Option<Json<'t>> {
    let size = match nodes.first()? {
        Node::Object { count, .. } | Node::Array { count, .. } => count + 1,
        _ => 1,
    };
    let (value, rest) = nodes.split_at_checked(size)?;
    *nodes = rest;
    Some(Json(value))
}

/// Keys and values of an object, in the order of the frame.
pub struct Entries<'t>(&'t [Node<'t>]);

impl<'t> Iterator for Entries<'t> {
    type Item = (&'t str, Json<'t>);

    fn next(&mut self) -> Option<Self::Item> {
        let (Node::String(key), rest) = self.0.split_first()? else {
            return None;
        };
        self.0 = rest;
        next_value(&mut self.0).map(|value| (*key, value))
    }
}

/// Elements of an array.
pub struct Elements<'t>(&'t [Node<'t>]);

impl<'t> Iterator for Elements<'t> {
    type Item = Json<'t>;

    fn next(&mut self) -> Option<Self::Item> {
        next_value(&mut self.0)
    }
}

/// Binds the values of several keys of an object in one pass over it, each an `Option<Json>`.
macro_rules! fields {
    ($json:expr => $($name:ident = $key:literal),+ $(,)?) => {
        $(let mut $name: Option<$crate::ingest::exchange::json::Json<'_>> = None;)+
        for (key, value) in $json.entries() {
            match key {
                $($key => { $name.get_or_insert(value); })+
                _ => {}
            }
        }
    };
}
pub(super) use fields;

/// Powers of ten that a double holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];
const MANTISSA_MAX: u64 = 1 << 53;
/// Digits that always fit the mantissa's 64 bits.
const DIGITS_MAX: usize = 19;

/// A number in plain or scientific notation: `-?digits[.digits][e[+-]digits]` and nothing else, so
/// no `NaN`, `inf`, `+1`, `0x10`, `1_000` or blanks. A mantissa below 2^53 divided by a power of ten
/// up to 22 is rounded once, so the short way gives the same double as the long one.
fn decimal(text: &str) -> Option<f64> {
    if text.len() > NUMBER_MAX {
        return None;
    }
    let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
    let mut mantissa = 0_u64;
    let mut count = 0;
    let mut point = None;
    for byte in digits {
        match byte {
            b'0'..=b'9' => {
                mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(byte - b'0'));
                count += 1;
            }
            b'.' if point.is_none() && count > 0 => point = Some(count),
            b'e' | b'E' => return scientific(text),
            _ => return None,
        }
    }
    let fraction = count - point.unwrap_or(count);
    if count == 0 || (point.is_some() && fraction == 0) {
        return None;
    }
    if count > DIGITS_MAX || mantissa > MANTISSA_MAX {
        return text.parse().ok();
    }
    #[expect(clippy::cast_precision_loss, reason = "at most 2^53")]
    let size = mantissa as f64 / POWERS.get(fraction)?;
    Some(if digits.len() < text.len() { -size } else { size })
}

fn scientific(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once(['e', 'E'])?;
    let digits = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    let short = (1..=3).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    if !short || mantissa.contains(['e', 'E']) {
        return None;
    }
    decimal(mantissa)?;
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_strict_and_exact() {
        for (text, number) in [
            ("0.0711500", 0.07115),
            ("9910.12345678", 9910.12345678),
            ("-0.00000795", -0.00000795),
            ("1e-7", 1e-7),
            ("5.0E-5", 5e-5),
            ("1E+3", 1000.0),
            ("9007199254740993", 9007199254740992.0),
            ("143.330431857868123456789", 143.33043185786812),
            ("007", 7.0),
        ] {
            assert_eq!(decimal(text), Some(number), "{text}");
        }
        for bad in [
            "",
            "-",
            ".",
            "5.",
            ".5",
            "+1",
            "NaN",
            "inf",
            "-inf",
            "Infinity",
            "0x10",
            "1_000",
            " 1",
            "1 ",
            "1e",
            "e5",
            "1e1e1",
            "1.2.3",
            "1e400",
            "--1",
            "1,5",
            "١",
            "11111111111111111111111111111111111111111",
        ] {
            assert_eq!(decimal(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_short_way_gives_the_same_double_as_the_standard_library() {
        let mut seed = 7_u64;
        for _ in 0..20_000 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let text =
                format!("{}.{:0width$}", seed >> 40, seed % 1000, width = 3 + (seed % 9) as usize);
            assert_eq!(decimal(&text), text.parse().ok(), "{text}");
        }
    }

    #[test]
    fn the_first_of_two_equal_keys_counts_and_case_matters() {
        let frame = br#"{"b":{"x":[1,2]},"B":"2","b":"3","n":null,"e":"","t":true}"#;
        Scratch::default()
            .read(frame, |json| {
                fields!(json => small = "b", large = "B", none = "c");
                assert!(small.is_some_and(Json::is_object) && none.is_none());
                assert_eq!(large.and_then(Json::number), Some(2.0));
                assert_eq!(json.get("B").and_then(Json::text), Some("2"));
                assert!(json.get("n").is_some_and(Json::is_blank));
                assert!(json.get("e").is_some_and(Json::is_blank));
                assert_eq!(json.get("t").and_then(Json::flag), Some(true));
            })
            .unwrap();
    }

    #[test]
    fn rows_are_the_elements_or_the_object_itself() {
        let count = |frame: &[u8]| {
            Scratch::default().read(frame, |json| json.rows().map(Iterator::count)).unwrap()
        };
        assert_eq!(count(b"[{},{}]"), Some(2));
        assert_eq!(count(b"{\"a\":[1,2,3]}"), Some(1));
        assert_eq!(count(b"[]"), Some(0));
        assert_eq!(count(b"7"), None);
    }

    #[test]
    fn what_is_not_readable_is_named() {
        let mut scratch = Scratch::default();
        let mut refused = |frame: &[u8]| scratch.read(frame, |_| ()).err();
        assert_eq!(refused(b""), Some("empty"));
        assert_eq!(refused(&vec![b' '; FRAME_MAX + 1]), Some("too_large"));
        assert_eq!(refused(&[b"[".repeat(40), b"]".repeat(40)].concat()), Some("too_deep"));
        assert_eq!(refused(b"\"\xff\""), Some("utf8"));
        for bad in [&b"{"[..], b"{\"a\":1,}", b"pong", b"{} {}", b"{}\0", b"[1e400]", b"[NaN]"] {
            assert_eq!(refused(bad), Some("json"), "{bad:?}");
        }
        assert_eq!(refused(b"{}"), None);
    }

    #[test]
    fn whole_numbers_keep_all_their_digits() {
        let frame = br#"[9007199254740993,"9007199254740993",18446744073709551615,"1.5",""]"#;
        let read = |json: Json<'_>| json.elements().map(Json::integer).collect::<Vec<_>>();
        let numbers = Scratch::default().read(frame, read).unwrap();
        assert_eq!(
            numbers,
            [Some(9_007_199_254_740_993), Some(9_007_199_254_740_993), None, None, None]
        );
    }
}
