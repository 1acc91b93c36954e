//! One clock for both processes, and what is read from outside while a contender works.
//!
//! `CLOCK_MONOTONIC` is the same in every process of a machine, so a stamp of the sender and one of the
//! listener may be subtracted. The program puts its own `recv` and allocator in front of the system's
//! (`main.rs`); what they see is kept here: when bytes were last returned by the kernel, and how often
//! memory was asked for. Both are the same code under every contender.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Nanoseconds of `CLOCK_MONOTONIC`.
#[must_use]
pub fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of ours; the clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

/// Milliseconds since the Unix epoch.
#[must_use]
pub fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(0)
}

static LAST_READ: AtomicU64 = AtomicU64::new(0);

/// The kernel has just returned bytes.
pub fn bytes_came() {
    LAST_READ.store(now(), Ordering::Relaxed);
}

/// When the kernel last returned bytes; 0 before.
#[must_use]
pub fn last_read() -> u64 {
    LAST_READ.load(Ordering::Relaxed)
}

/// Each thread counts on a cache line of its own.
#[repr(align(128))]
struct Shard(AtomicU64);

const SHARDS: usize = 64;
static ALLOCATIONS: [Shard; SHARDS] = [const { Shard(AtomicU64::new(0)) }; SHARDS];
static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static OWN: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Memory was asked for, or asked to grow.
pub fn memory_asked() {
    let mut own = OWN.get();
    if own == usize::MAX {
        own = THREADS.fetch_add(1, Ordering::Relaxed) % SHARDS;
        OWN.set(own);
    }
    if let Some(Shard(count)) = ALLOCATIONS.get(own) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// How often any thread has asked for memory.
#[must_use]
pub fn allocations() -> u64 {
    ALLOCATIONS.iter().map(|Shard(count)| count.load(Ordering::Relaxed)).sum()
}
