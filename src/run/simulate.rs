//! `foreshock simulate`: only the venues, for others to connect to.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::crew::Stop;
use super::{Failure, pipeline};
use crate::simulate::market::Schedule;
use crate::simulate::street::Street;

/// Opens the street on `port` until interrupted, or for `duration`. The story of the demo is told
/// once a client has subscribed.
///
/// # Errors
/// When the port is in use or the certificate cannot be written.
pub fn simulate(
    port: u16,
    seed: u64,
    ca: &Path,
    duration: Option<Duration>,
) -> Result<(), Failure> {
    let stop = Stop::default();
    pipeline::stop_on_signals(&stop)?;
    let schedule = Schedule { lines: 1, patience_ms: u64::MAX, ..Schedule::demo() };
    let street = Street::start(seed, schedule, port).map_err(Failure::running)?;
    let written = fs::write(ca, street.ca_pem());
    written.map_err(|e| Failure::running(format!("{}: {e}", ca.display())))?;
    println!("certificate to trust: {}", ca.display());
    for (venue, route, url) in street.urls() {
        println!("{}/{route} {url}", venue.name());
    }
    let deadline = duration.map(|duration| Instant::now() + duration);
    while !stop.requested() && deadline.is_none_or(|deadline| Instant::now() < deadline) {
        thread::sleep(Duration::from_millis(50));
    }
    street.stop();
    Ok(())
}
