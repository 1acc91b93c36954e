//! History: every liquidation, the state of every second and every signal, in PostgreSQL or TimescaleDB.
//!
//! The sink hands over and goes on; a thread ([`worker`]) does the talking, by binary COPY, into the
//! tables of `schema.sql`, which it makes itself. Whatever the server does, nobody waits for it: rows
//! gather in batches ([`lane`]), and when more waits than there is room for, states give way first, then
//! liquidations, signals last.
//!
//! ```text
//! handed = stored + waiting + dropped{hand_over, backlog, refused}
//! ```
//!
//! `hand_over`: the thread was busy for so long that all parcels were full; `backlog`: more waited than
//! `backlog_mb`; `refused`: the server said that it will never take these rows.

mod address;
mod lane;
mod link;
pub mod rows;
pub mod seconds;
mod trouble;
mod worker;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use serde::{Deserialize, Serialize};

pub use self::address::{Address, PASSWORD_VARIABLE};
pub use self::trouble::{Cure, TABLE, Trouble};

use self::lane::Counts;
use self::rows::{TABLES, Table};
use self::seconds::Seconds;
use self::worker::Worker;
use super::Sink;
use super::courier::Courier;
use super::redis::Secret;
use crate::event::{Body, Event};
use crate::ledger::Ledger;
use crate::output::Message;
use crate::signal::Report;
use crate::stage::Turn;
use crate::time::{NS_PER_MS, Nanos, Now};

/// How to reach PostgreSQL and how much to keep for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// `postgres://[user@]host[:port]/database` or `postgres://[user@]/database?host=/run/postgresql`;
    /// empty for no history.
    pub url: String,
    /// A file, readable by its owner only, that holds the password. The environment goes before it.
    pub password_file: PathBuf,
    /// Certificates to trust beside the built-in roots, PEM.
    pub ca_file: PathBuf,
    /// Everything about one transaction happens within this, ms.
    pub deadline_ms: u64,
    /// Rows that wait take at most this much memory, MB.
    pub backlog_mb: usize,
    /// Whether the state of every second is kept too, beside liquidations and signals.
    pub states: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            url: String::new(),
            password_file: PathBuf::new(),
            ca_file: PathBuf::new(),
            deadline_ms: 2_000,
            backlog_mb: 64,
            states: true,
        }
    }
}

impl Settings {
    /// Whether a history is wanted.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.url.is_empty()
    }

    /// Whether the settings make sense.
    ///
    /// # Errors
    /// Says what does not.
    pub fn check(&self) -> Result<(), String> {
        if self.is_on() {
            Address::parse(&self.url).map_err(|e| format!("url: {e}"))?;
        }
        if !(50..=60_000).contains(&self.deadline_ms) {
            return Err(format!("deadline_ms = {}: 50 to 60000", self.deadline_ms));
        }
        if !(1..=65_536).contains(&self.backlog_mb) {
            return Err(format!("backlog_mb = {}: 1 to 65536", self.backlog_mb));
        }
        Ok(())
    }
}

/// Parcels on their way at most, and what one holds: about 7 MB in all.
const PARCELS: usize = 64;
const EVENTS: usize = 512;
const REPORTS: usize = 64;
/// Parcels that are kept for signals.
const RESERVED: usize = 8;
/// A parcel goes off after this.
const FLUSH_NS: u64 = 50 * NS_PER_MS;
/// The thread looks up at least this often.
const PAUSE: Duration = Duration::from_millis(100);
/// Most states handed over in one turn.
const STATES_PER_TURN: usize = 256;

/// What is handed over.
#[derive(Debug)]
struct Parcel {
    events: Vec<(Event, u64, Now)>,
    reports: Vec<(Report, Now)>,
}

impl Parcel {
    fn new() -> Self {
        Self { events: Vec::with_capacity(EVENTS), reports: Vec::with_capacity(REPORTS) }
    }
}

/// What the outside can see of the thread.
#[derive(Debug, Default)]
pub struct Status {
    attempts: AtomicU64,
    counts: [Counts; 3],
    words: Mutex<String>,
}

impl Status {
    /// What is the matter, in words; empty while all is well.
    #[must_use]
    pub fn words(&self) -> String {
        self.words.lock().map(|words| words.clone()).unwrap_or_default()
    }

    /// Rows that are in the tables.
    #[must_use]
    pub fn stored(&self) -> u64 {
        self.counts.iter().map(|counts| counts.stored.load(Ordering::Relaxed)).sum()
    }
}

/// The sink.
pub struct History {
    courier: Courier<Parcel>,
    status: Arc<Status>,
    parcel: Option<Parcel>,
    since: Nanos,
    /// Events the engine took so far.
    ordinal: u64,
    seconds: Option<Seconds>,
    handed: [u64; 3],
    /// Rows of each table that no parcel had room for.
    dropped: [u64; 3],
}

impl History {
    /// Starts the thread, for a run whose engine took `events` events already. Does not wait for
    /// PostgreSQL to be there.
    ///
    /// # Errors
    /// When the settings are wrong, or the password or the certificates cannot be had.
    pub fn open(settings: &Settings, run: u64, events: u64) -> Result<Self, String> {
        settings.check()?;
        let password = Secret::named(PASSWORD_VARIABLE, &settings.password_file)?;
        Self::start(settings, password, run, events)
    }

    /// The same with the password in hand.
    ///
    /// # Errors
    /// When the settings are wrong, the certificates cannot be had, or the system gives no thread.
    pub fn start(
        settings: &Settings,
        password: Option<Secret>,
        run: u64,
        events: u64,
    ) -> Result<Self, String> {
        let address = Address::parse(&settings.url)?;
        let tls = address.tls.then(|| trust(&settings.ca_file)).transpose()?;
        let status = Arc::new(Status::default());
        let seen = Arc::clone(&status);
        let me = (run, writer());
        let mut worker = Worker::new(settings, address, password, tls, me, seen);
        let parcels = (0..PARCELS).map(|_| Parcel::new()).collect();
        let courier = Courier::start("history", parcels, PAUSE, move |errand| worker.work(errand));
        Ok(Self {
            courier: courier.map_err(|e| e.to_string())?,
            status,
            parcel: None,
            since: Nanos::default(),
            ordinal: events,
            seconds: settings.states.then(Seconds::default),
            handed: [0; 3],
            dropped: [0; 3],
        })
    }

    /// How the thread is doing.
    #[must_use]
    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status)
    }

    fn event(&mut self, event: &Event, now: Now) {
        self.ordinal += 1;
        let ordinal = self.ordinal;
        if matches!(event.body, Body::Liquidation { .. }) {
            let room = |parcel: &Parcel| parcel.events.len() < EVENTS;
            let parcel = self.room(Table::Liquidations, now, room);
            if let Some(parcel) = parcel {
                parcel.events.push((*event, ordinal, now));
            }
        }
    }

    fn report(&mut self, report: &Report, now: Now) {
        let room = |parcel: &Parcel| parcel.reports.len() < REPORTS;
        if let Some(parcel) = self.room(Table::of(report), now, room) {
            parcel.reports.push((*report, now));
        }
    }

    /// The parcel being filled, if there is one with room; counts what is handed over and what cannot be.
    fn room(
        &mut self,
        table: Table,
        now: Now,
        room: impl Fn(&Parcel) -> bool,
    ) -> Option<&mut Parcel> {
        if self.parcel.as_ref().is_some_and(|parcel| !room(parcel)) {
            self.send();
        }
        let reserved = if table == Table::Signals { 0 } else { RESERVED };
        if self.parcel.is_none() && self.courier.spare() > reserved {
            self.parcel = self.courier.blank();
            self.since = now.mono;
        }
        self.handed[table as usize] += 1;
        self.dropped[table as usize] += u64::from(self.parcel.is_none());
        self.parcel.as_mut()
    }

    fn send(&mut self) {
        let Some(parcel) = self.parcel.take() else { return };
        if let Err(parcel) = self.courier.send(parcel) {
            self.dropped[Table::Liquidations as usize] += parcel.events.len() as u64;
            for (report, _) in &parcel.reports {
                self.dropped[Table::of(report) as usize] += 1;
            }
        }
    }

    /// States whose second is over.
    fn send_states(&mut self, now: Now) -> bool {
        for sent in 0..STATES_PER_TURN {
            let Some(report) = self.seconds.as_mut().and_then(|seconds| seconds.due(now)) else {
                return sent > 0;
            };
            self.report(&report, now);
        }
        true
    }

    /// What the thread has not told of yet is waiting.
    fn waiting(&self, table: usize) -> u64 {
        let counts = &self.status.counts[table];
        if self.courier.is_finished() {
            return counts.waiting.load(Ordering::Relaxed);
        }
        self.handed[table].saturating_sub(settled(counts) + self.dropped[table])
    }
}

fn settled(counts: &Counts) -> u64 {
    let Counts { stored, backlog, refused, .. } = counts;
    [stored, backlog, refused].into_iter().map(|n| n.load(Ordering::Relaxed)).sum()
}

impl Sink for History {
    fn name(&self) -> &'static str {
        "history"
    }

    fn write(&mut self, now: Now, batch: &[Message]) {
        let mut urgent = false;
        for message in batch {
            match message {
                Message::Event(event) => self.event(event, now),
                Message::Report(report) if report.is_signal() => {
                    self.report(report, now);
                    urgent = true;
                }
                Message::Report(report) => {
                    let former = self.seconds.as_mut().and_then(|seconds| seconds.put(report));
                    if let Some(former) = former {
                        self.report(&former, now);
                    }
                }
            }
        }
        if urgent && self.courier.spare() >= PARCELS / 2 {
            self.send();
        }
    }

    fn turn(&mut self, now: Now) -> Turn {
        if self.courier.is_done() {
            return Turn::Done;
        }
        let mut worked = self.send_states(now);
        if self.parcel.is_some() && now.mono.since(self.since) >= FLUSH_NS {
            self.send();
            worked = true;
        }
        if worked { Turn::Worked } else { Turn::Idle }
    }

    fn close(&mut self, now: Now) {
        while let Some(report) = self.seconds.as_mut().and_then(Seconds::any) {
            self.report(&report, now);
        }
        self.send();
        self.courier.end();
    }

    fn ledger(&self, ledger: &mut Ledger) {
        for (table, counts) in TABLES.into_iter().zip(&self.status.counts) {
            let (at, name) = (table as usize, table.name());
            let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
            ledger.add("history_handed", self.handed[at]);
            ledger.add("history_stored", read(&counts.stored));
            ledger.add("history_waiting", self.waiting(at));
            for (reason, n) in [
                ("hand_over", self.dropped[at]),
                ("backlog", read(&counts.backlog)),
                ("refused", read(&counts.refused)),
            ] {
                ledger.add("history_dropped", n);
                ledger.add(&format!("history_dropped{{{name} {reason}}}"), n);
            }
        }
        ledger.add("history_attempts", self.status.attempts.load(Ordering::Relaxed));
    }
}

/// A number that no other process has: the wall clock, ns.
fn writer() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX) & i64::MAX.unsigned_abs()
}

/// The built-in roots, and those in `own` beside them unless its path is empty.
fn trust(own: &Path) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if !own.as_os_str().is_empty() {
        let failed = |e: &dyn std::fmt::Display| format!("{}: {e}", own.display());
        for certificate in CertificateDer::pem_file_iter(own).map_err(|e| failed(&e))? {
            roots.add(certificate.map_err(|e| failed(&e))?).map_err(|e| failed(&e))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("tls: {e}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
