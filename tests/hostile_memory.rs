//! What an attack may cost in memory: two megabytes at its peak. The servers are in a process of their
//! own, and one test does it all, so that nothing else allocates meanwhile.
//!
//! `FORESHOCK_FULL=1` meets also those behaviours that last as long as a handshake may.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

mod peer;
#[path = "support/child.rs"]
mod child;

use child::{Other, role};
use peer::behaviours::{serve_all, served};

const MOST: u64 = 2 << 20;

/// A line of `/proc/self/status` in bytes: `VmRSS`, or its peak `VmHWM`.
fn memory(what: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(what))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? << 10)
}

/// Forgets the peak so far.
fn forget_peak() -> std::io::Result<()> {
    std::fs::write("/proc/self/clear_refs", "5")
}

#[test]
fn f8_f9_f10_f14_no_attack_costs_two_megabytes() {
    if role().is_some() {
        return serve_all();
    }
    if memory("VmHWM").is_none() || forget_peak().is_err() {
        eprintln!("skipped: no resettable peak of memory here");
        return;
    }
    let is_full = std::env::var_os("FORESHOCK_FULL").is_some();
    let mut servers = Other::start(&[], "f8_f9_f10_f14_no_attack_costs_two_megabytes", "servers");
    let mut attacks = served(servers.said.by_ref().map_while(Result::ok));
    attacks.retain(|(behaviour, _)| is_full || !behaviour.is_slow());
    // The first of each kind warm up what is made once: TLS, threads, the allocator.
    for (behaviour, served) in attacks.iter().filter(|(b, _)| ["1m", "reset"].contains(&b.name)) {
        behaviour.meet(served).unwrap();
    }
    let mut costs = Vec::new();
    let at_first = memory("VmRSS").unwrap();
    for (behaviour, served) in &attacks {
        forget_peak().unwrap();
        let before = memory("VmRSS").unwrap();
        behaviour.meet(served).unwrap();
        costs.push((memory("VmHWM").unwrap().saturating_sub(before), &served.url));
    }
    let left = memory("VmRSS").unwrap().saturating_sub(at_first);
    costs.sort_unstable();
    costs.iter().rev().take(8).for_each(|(cost, url)| eprintln!("{:5} KiB {url}", cost >> 10));
    eprintln!("{} attacks, which left {} KiB in all", costs.len(), left >> 10);
    assert!(costs.len() > 100, "only {} attacks", costs.len());
    let (cost, url) = costs[costs.len() - 1];
    assert!(cost <= MOST, "{url}: {cost} bytes");
}
