//! What every contender is told, and what it must answer for.

use std::fmt::Write as _;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::clock;
use crate::figures::{Spread, spread};

/// Who listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// Reads and stamps.
    Floor,
    /// foreshock's own parts.
    Foreshock,
    /// What one would otherwise write.
    Baseline,
    /// The same, with deques that are walked anew for each event.
    Naive,
}

/// All of them, in the order of their turns.
pub const ALL: [Who; 4] = [Who::Floor, Who::Foreshock, Who::Baseline, Who::Naive];

impl Who {
    /// Its name on the command line and in the tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Foreshock => "foreshock",
            Self::Baseline => "baseline",
            Self::Naive => "naive",
        }
    }
}

/// What to listen to.
#[derive(Clone, Debug)]
pub struct Task {
    /// `ws://127.0.0.1:PORT/market/ws`, or `wss`.
    pub url: String,
    /// The authority to trust, in PEM.
    pub ca: Option<PathBuf>,
    /// Messages that will come.
    pub count: usize,
    /// Whether each is stamped, or only all of them timed.
    pub stamped: bool,
}

/// Without a message for so long it is given up, ns.
pub const PATIENCE_NS: u64 = 5_000_000_000;
/// The all-market stream of forced orders.
pub const SUBSCRIBE: &str = r#"{"method":"SUBSCRIBE","params":["!forceOrder@arr"],"id":1}"#;

impl Task {
    /// Host and port.
    #[must_use]
    pub fn address(&self) -> &str {
        let rest = self.url.split_once("://").map_or("", |(_, rest)| rest);
        rest.split_once('/').map_or(rest, |(address, _)| address)
    }

    /// A connection that is not upgraded yet.
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn connect(&self) -> Result<TcpStream, String> {
        let tcp = TcpStream::connect(self.address()).map_err(|e| format!("connect: {e}"))?;
        tcp.set_nodelay(true).map_err(|e| format!("connect: {e}"))?;
        Ok(tcp)
    }

    /// TLS that believes the authority; `None` without one.
    ///
    /// # Errors
    /// When its certificate cannot be used.
    pub fn tls(&self) -> Result<Option<Arc<ClientConfig>>, String> {
        self.ca.as_deref().map(believing).transpose()
    }
}

fn believing(ca: &Path) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_file(ca).map_err(|e| format!("ca: {e}"))?;
    roots.add(authority).map_err(|e| format!("ca: {e}"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("tls: {e}"))?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

/// What a contender counts, stamps and adds up.
#[derive(Debug)]
pub struct Book {
    count: usize,
    warm: usize,
    /// Decided so far.
    pub messages: usize,
    /// Bytes of payload, by the one that looks no deeper.
    pub bytes: u64,
    /// Value understood, micro-dollars.
    pub micros: u64,
    /// When the message was read and when decided.
    stamps: Option<Vec<[u64; 2]>>,
    /// From read to parsed, where that is known.
    parsed: Option<Spread>,
    /// Time and allocations when warm, and at the end.
    marks: [[u64; 2]; 2],
}

impl Book {
    /// An empty one.
    #[must_use]
    pub fn new(task: &Task) -> Self {
        let Task { count, stamped, .. } = *task;
        Self {
            count,
            warm: warm(count),
            messages: 0,
            bytes: 0,
            micros: 0,
            // Touched here, so that no page is missing later.
            stamps: stamped.then(|| vec![[1; 2]; count]),
            parsed: None,
            marks: [[0; 2]; 2],
        }
    }

    /// Whether messages are stamped.
    #[must_use]
    pub fn is_stamped(&self) -> bool {
        self.stamps.is_some()
    }

    /// The next message, read and decided at these times.
    #[inline]
    pub fn decided(&mut self, micros: u64, read: u64, decided: u64) {
        if let Some(stamp) = self.stamps.as_mut().and_then(|all| all.get_mut(self.messages)) {
            *stamp = [read, decided];
        }
        self.messages += 1;
        self.micros += micros;
        if self.messages == self.warm {
            self.marks[0] = [clock::now(), clock::allocations()];
        } else if self.messages == self.count {
            self.marks[1] = [clock::now(), clock::allocations()];
        }
    }

    /// Puts the times of reading and parsing in, where they were kept elsewhere; the latest `messages`
    /// count.
    pub fn was_read(&mut self, at: &[[u64; 2]]) {
        let at = &at[at.len().saturating_sub(self.messages)..];
        for (stamp, [read, _]) in self.stamps.iter_mut().flatten().zip(at) {
            stamp[0] = *read;
        }
        let parsed = at.iter().skip(self.warm).map(|[read, parsed]| parsed.saturating_sub(*read));
        self.parsed = spread(parsed.collect());
    }

    /// Whether all have come.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.messages >= self.count
    }

    /// Words for the one who compares: a count a line.
    #[must_use]
    pub fn words(&self) -> String {
        let mut words = String::new();
        let [warm, end] = self.marks;
        for (name, value) in [
            ("messages", self.messages as u64),
            ("bytes", self.bytes),
            ("micros", self.micros),
            ("nanos", end[0].saturating_sub(warm[0])),
            ("allocations", end[1].saturating_sub(warm[1])),
        ] {
            let _ = writeln!(words, "{name} {value}");
        }
        if let Some(Spread { p50, p99 }) = self.parsed {
            let _ = writeln!(words, "parsed50 {p50}\nparsed99 {p99}");
        }
        words
    }

    /// The stamps, for the one who compares.
    #[must_use]
    pub fn stamps(&self) -> &[[u64; 2]] {
        self.stamps.as_deref().unwrap_or_default()
    }
}

/// Messages of `count` that come before anything is measured.
#[must_use]
pub const fn warm(count: usize) -> usize {
    count / 5
}
