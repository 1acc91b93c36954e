//! The thread that talks to PostgreSQL.
//!
//! It always takes what it is handed, and stores when it can: one batch of one table in one transaction,
//! signals before liquidations before states. A table that is locked or refused rests; the others go on.
//! One overall deadline per transaction; after any trouble the connection is dropped and opened again
//! with growing pauses.
//!
//! # Exactly once
//!
//! A transaction first moves the table's row in `progress` to the batch's number, and does nothing more
//! when it is there already. When it is not known whether a batch got in (the connection died before the
//! answer to COMMIT), it is simply tried again: if the first attempt succeeded, the number says so; if the
//! server is still busy with it, the row is locked until it is known. So neither a repeat nor a hole can
//! come of it, and no row is compared with any other.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustls::ClientConfig;

use super::address::Address;
use super::lane::Lane;
use super::link::Link;
use super::rows::{self, HEAD, TABLES, TAIL, Table};
use super::trouble::{Cure, Trouble};
use super::{Parcel, Settings, Status};
use crate::publish::courier::{CLOSE_DEADLINE, Errand};
use crate::publish::redis::link::Dialer;
use crate::publish::redis::{RARELY, Secret};

/// The tables that this program writes.
const VERSION: &str = "1";
const SCHEMA: &str = include_str!("schema.sql");
const HYPERTABLES: &str = include_str!("hypertables.sql");

/// Pauses between attempts grow from the first to the second.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(2)];
/// A batch of signals that is not full goes after this, any other after the longer time.
const AGES: [Duration; 2] = [Duration::from_millis(50), Duration::from_millis(500)];
/// What came meanwhile is taken at least this often while there is much to store.
const STRETCH: Duration = Duration::from_millis(250);
/// Of the time to close, what is left for the last words.
const SPARED: Duration = Duration::from_millis(200);

pub(super) struct Worker {
    pub(super) run: u64,
    /// Tells this process from another that writes for the same run.
    pub(super) writer: u64,
    pub(super) address: Address,
    pub(super) password: Option<Secret>,
    pub(super) tls: Option<Arc<ClientConfig>>,
    dialer: Dialer,
    deadline: Duration,
    room: usize,
    lanes: [Lane; 3],
    link: Option<Link>,
    retry_at: Instant,
    pause: Duration,
    text: String,
    down: bool,
    status: Arc<Status>,
}

impl Worker {
    pub(super) fn new(
        settings: &Settings,
        address: Address,
        password: Option<Secret>,
        tls: Option<Arc<ClientConfig>>,
        (run, writer): (u64, u64),
        status: Arc<Status>,
    ) -> Self {
        Self {
            run,
            writer,
            dialer: Dialer::new(address.place.clone()),
            address,
            password,
            tls,
            deadline: Duration::from_millis(settings.deadline_ms),
            room: settings.backlog_mb << 20,
            lanes: TABLES.map(Lane::new),
            link: None,
            retry_at: Instant::now(),
            pause: PAUSES[0],
            text: String::with_capacity(4096),
            down: false,
            status,
        }
    }

    pub(super) fn work(&mut self, errand: Errand<'_, Parcel>) {
        match errand {
            Errand::Parcel(parcel) => {
                self.take(parcel);
                self.turn(Instant::now() + STRETCH, AGES);
            }
            Errand::Pause => self.turn(Instant::now() + STRETCH, AGES),
            Errand::End => self.finish(),
        }
    }

    fn take(&mut self, parcel: &mut Parcel) {
        let Self { run, lanes, text, status, .. } = self;
        let lane = |table: Table| table as usize;
        for (event, ordinal, now) in parcel.events.drain(..) {
            let at = lane(Table::Liquidations);
            lanes[at].push(&status.counts[at], |out| {
                rows::put_event(&event, *run, ordinal, now, out);
            });
        }
        for (report, now) in parcel.reports.drain(..) {
            let at = lane(Table::of(&report));
            lanes[at].push(&status.counts[at], |out| {
                rows::put_report(&report, *run, now, text, out);
            });
        }
        self.make_room();
    }

    /// The last table gives way first.
    fn make_room(&mut self) {
        let mut place = self.lanes.len();
        while self.lanes.iter().map(Lane::bytes).sum::<usize>() > self.room && place > 0 {
            let at = place - 1;
            if !self.lanes[at].evict(&self.status.counts[at]) {
                place = at;
            }
        }
    }

    /// Stores what is due, until then at the latest or until something is in the way.
    fn turn(&mut self, until: Instant, ages: [Duration; 2]) {
        loop {
            let now = Instant::now();
            if now >= until || now < self.retry_at {
                return;
            }
            let due = |(at, lane): (usize, &Lane)| {
                lane.is_due(now, ages[usize::from(at > 0)]).then_some(at)
            };
            let Some(at) = self.lanes.iter().enumerate().find_map(due) else { return };
            if let Err((trouble, lane)) = self.step(at) {
                self.lose(&trouble, lane);
            }
        }
    }

    /// At the end nothing need ripen.
    fn finish(&mut self) {
        let end = Instant::now() + CLOSE_DEADLINE - SPARED;
        self.deadline = self.deadline.min(CLOSE_DEADLINE / 2);
        while Instant::now() < end && !self.lanes.iter().all(Lane::is_empty) {
            self.turn(end, [Duration::ZERO; 2]);
            if self.retry_at >= end {
                return;
            }
            let rest = self.retry_at.saturating_duration_since(Instant::now()).min(AGES[0]);
            std::thread::sleep(rest.max(Duration::from_millis(1)));
        }
    }

    /// One step under one deadline: connect, or store one batch. With the trouble comes the lane it
    /// concerns, if it concerns one alone.
    fn step(&mut self, at: usize) -> Result<(), (Trouble, Option<usize>)> {
        let deadline = Instant::now() + self.deadline;
        let Some(mut link) = self.link.take() else {
            self.link = Some(self.connect(deadline).map_err(|trouble| (trouble, None))?);
            return Ok(());
        };
        match self.store(&mut link, at, deadline) {
            Ok(()) => {
                self.link = Some(link);
                self.lanes[at].stored(&self.status.counts[at]);
                self.recover();
                Ok(())
            }
            Err(trouble) => {
                let own = trouble.of_server.then_some(at);
                Err((trouble, own))
            }
        }
    }

    fn connect(&mut self, deadline: Instant) -> Result<Link, Trouble> {
        self.status.attempts.fetch_add(1, Ordering::Relaxed);
        let Self { dialer, address, tls, password, .. } = self;
        let mut link = Link::open(dialer, address, tls.as_ref(), password.as_ref(), deadline)?;
        let half = self.deadline.as_millis() / 2;
        let limits = format!(
            "SET lock_timeout = {half}; SET statement_timeout = {}; \
             SET idle_in_transaction_session_timeout = {}",
            self.deadline.as_millis(),
            10 * self.deadline.as_millis()
        );
        link.query(&limits, deadline)?;
        if !has_tables(&mut link, deadline)? {
            install(&mut link, deadline)?;
        }
        let found = link.query("SELECT max(version) FROM foreshock.schema_version", deadline)?;
        match found.cell.as_deref() {
            Some(VERSION) => Ok(link),
            other => Err(Trouble::change(format!(
                "the schema foreshock has version {}, this program writes version {VERSION}",
                other.unwrap_or("none")
            ))),
        }
    }

    fn store(&mut self, link: &mut Link, at: usize, deadline: Instant) -> Result<(), Trouble> {
        let (run, writer) = (self.run, self.writer);
        let lane = &mut self.lanes[at];
        let table = lane.table;
        let Some(batch) = lane.front() else { return Ok(()) };
        let begin = format!(
            "BEGIN; INSERT INTO foreshock.progress AS p (run, writer, lane, batch) \
             VALUES ({run}, {writer}, '{}', {}) ON CONFLICT (run, writer, lane) \
             DO UPDATE SET batch = excluded.batch WHERE p.batch < excluded.batch",
            table.name(),
            batch.number
        );
        if link.query(&begin, deadline)?.tag != "INSERT 0 1" {
            // An earlier attempt got in; its answer did not reach us.
            return link.query("ROLLBACK", deadline).map(drop);
        }
        let rows = link.copy(&table.copy(), &[HEAD, &batch.bytes, TAIL], deadline)?;
        if rows != batch.rows {
            return Err(Trouble::wait(format!("PostgreSQL took {rows} of {} rows", batch.rows)));
        }
        match link.query("COMMIT", deadline)?.tag.as_str() {
            "COMMIT" => Ok(()),
            _ => Err(Trouble::wait("PostgreSQL does not commit".to_owned())),
        }
    }

    /// The link is gone: says why, and waits a while before the next attempt.
    fn lose(&mut self, trouble: &Trouble, lane: Option<usize>) {
        self.link = None;
        let pause = if trouble.cure == Cure::Change { RARELY } else { self.pause };
        self.pause = (self.pause * 2).min(PAUSES[1]);
        match lane {
            Some(at) if trouble.cure == Cure::Drop => {
                let rows = self.lanes[at].refused(&self.status.counts[at]);
                let name = self.lanes[at].table.name();
                eprintln!("history: {}; {rows} rows of {name} are given up", trouble.words);
                return;
            }
            Some(at) => self.lanes[at].retry_at = Some(Instant::now() + pause),
            None => self.retry_at = Instant::now() + pause,
        }
        self.say(trouble);
    }

    /// Says what is wrong, once.
    fn say(&mut self, trouble: &Trouble) {
        self.down = true;
        let Ok(mut words) = self.status.words.lock() else { return };
        if *words != trouble.words {
            eprintln!("history: {} ({}); the run goes on, rows wait", trouble.words, self.address);
            words.clone_from(&trouble.words);
        }
    }

    /// Something got in. All is well again once no table rests.
    fn recover(&mut self) {
        self.pause = PAUSES[0];
        if !self.down || self.lanes.iter().any(|lane| lane.retry_at.is_some()) {
            return;
        }
        self.down = false;
        eprintln!("history: well again ({})", self.address);
        if let Ok(mut words) = self.status.words.lock() {
            words.clear();
        }
    }
}

fn has_tables(link: &mut Link, deadline: Instant) -> Result<bool, Trouble> {
    let found = link.query("SELECT to_regclass('foreshock.schema_version')", deadline)?;
    Ok(found.cell.is_some())
}

/// Makes the tables; two that start at once wait for each other.
fn install(link: &mut Link, deadline: Instant) -> Result<(), Trouble> {
    link.query("BEGIN; SELECT pg_advisory_xact_lock(7305515512345)", deadline)?;
    if !has_tables(link, deadline)? {
        link.query(SCHEMA, deadline)?;
        let sql = "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'";
        if link.query(sql, deadline)?.cell.is_some() {
            partition(link, deadline)?;
        }
    }
    link.query("COMMIT", deadline).map(drop)
}

/// Makes hypertables; where that fails, plain tables serve as well.
fn partition(link: &mut Link, deadline: Instant) -> Result<(), Trouble> {
    link.query("SAVEPOINT hypertables", deadline)?;
    if let Err(trouble) = link.query(HYPERTABLES, deadline) {
        eprintln!("history: no hypertables: {}; plain tables are used", trouble.words);
        link.query("ROLLBACK TO hypertables", deadline)?;
    }
    Ok(())
}
