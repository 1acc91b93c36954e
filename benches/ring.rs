//! One event through a ring on one thread: what the first door costs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use foreshock::event::Event;
use foreshock::ring::ring;
use foreshock::time::Nanos;

fn push_and_pop(c: &mut Criterion) {
    let (mut outlet, mut inlet) = ring(1_024);
    let event = Event::tick(Nanos(7));
    outlet.push(event).unwrap();
    assert_eq!(inlet.pop(), Some(event), "the ring must work before it is timed");
    c.bench_function("ring/push and pop", |b| {
        b.iter(|| {
            outlet.push(black_box(event)).unwrap();
            black_box(inlet.pop())
        });
    });
}

criterion_group!(benches, push_and_pop);
criterion_main!(benches);
