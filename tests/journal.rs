//! The journal, written by its sink and read back by its reader.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/scratch.rs"]
mod scratch;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use foreshock::event::{Body, Event, Flags, Price, Side, Stamp, Usd, Venue};
use foreshock::ledger::Ledger;
use foreshock::output::Message;
use foreshock::publish::Sink;
use foreshock::publish::journal::{Fsync, Journal, Note, Notes, Settings};
use foreshock::record::{Reader, files_in};
use foreshock::signal::{Kind, Report};
use foreshock::stage::Turn;
use foreshock::symbol::Symbol;
use foreshock::time::{Nanos, Now};
use scratch::Scratch;

fn event(n: u64) -> Message {
    Message::Event(Event {
        symbol: Symbol::BTC,
        body: Body::Liquidation {
            side: (!n.is_multiple_of(3)).then_some(Side::Long),
            price: Price::new(100.5 + n as f64),
            usd: Usd::from_micros(n),
        },
        received: Nanos(n),
        stamp: Stamp::new(Some(1_760_130_000_000), 3),
        parse_ns: 250,
        venue: Venue::Bybit,
        line: 1,
        flags: Flags::GAP,
        ..Event::tick(Nanos(n))
    })
}

fn signal(seq: u64) -> Message {
    let report = Report { kind: Kind::Change, seq, ..Report::empty(Symbol::MARKET, Nanos(seq)) };
    Message::Report(report)
}

fn settings(directory: &Path) -> Settings {
    Settings { directory: directory.to_owned(), ..Settings::default() }
}

/// Writes the batches, each in a block of its own, and ends.
fn write(settings: &Settings, run: u64, batches: &[Vec<Message>]) -> Ledger {
    let mut journal = Journal::open(settings, run).unwrap();
    for (i, batch) in (0..).zip(batches) {
        let start = Now::at_millis(1_000 * i);
        journal.write(start, batch);
        journal.turn(Now::at_millis(1_000 * i + 500));
    }
    journal.close(Now::default());
    while journal.turn(Now::default()) != Turn::Done {
        std::thread::yield_now();
    }
    let mut ledger = Ledger::default();
    journal.ledger(&mut ledger);
    ledger
}

fn only_file(directory: &Path) -> PathBuf {
    let files = files_in(directory).unwrap();
    assert_eq!(files.len(), 1);
    files[0].clone()
}

#[test]
fn what_was_written_is_read_back_in_order() {
    let scratch = Scratch::new("journal");
    let state = Message::Report(Report::empty(Symbol::BTC, Nanos(1)));
    let batches = vec![vec![event(1), signal(1), event(2), state], vec![signal(2), event(3)]];
    let ledger = write(&settings(scratch.path()), 7, &batches);
    assert_eq!((ledger.get("journal_records"), ledger.get("journal_lost")), (5, 0));
    let mut reader = Reader::open(scratch.path()).unwrap();
    let read: Vec<_> = reader.by_ref().map(Result::unwrap).collect();
    assert_eq!(read, [event(1), signal(1), event(2), signal(2), event(3)]);
    assert_eq!((reader.run(), reader.ordinal(), reader.missing()), (7, 3, 0));
}

#[test]
fn a_signal_is_written_at_once() {
    let scratch = Scratch::new("urgent");
    let mut journal = Journal::open(&settings(scratch.path()), 7).unwrap();
    journal.write(Now::at_millis(1), &[event(1), signal(1)]);
    let file = only_file(scratch.path());
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while Reader::open(&file).unwrap().flatten().count() < 2 {
        assert!(std::time::Instant::now() < end, "it waits for the block to be old");
        std::thread::yield_now();
    }
}

#[test]
fn the_end_of_a_journal_is_read_from_a_whole_block_and_knows_its_numbers() {
    let scratch = Scratch::new("tail");
    let batches: Vec<_> = (1..=9).map(|n| vec![event(n), signal(n)]).collect();
    write(&settings(scratch.path()), 6, &batches[..4]);
    write(&settings(scratch.path()), 7, &batches[4..]);
    let all: Vec<Message> = batches.concat();
    let bytes: u64 =
        files_in(scratch.path()).unwrap().iter().map(|f| fs::metadata(f).unwrap().len()).sum();
    let mut lengths = Vec::new();
    for left in 0..=bytes {
        let mut reader = Reader::tail(scratch.path(), left).unwrap();
        let read: Vec<_> = reader.by_ref().map(Result::unwrap).collect();
        assert_eq!(read, all[all.len() - read.len()..], "the last {left} bytes");
        assert_eq!(reader.numbers().0, if read.is_empty() { 0 } else { 9 });
        lengths.push(read.len());
    }
    lengths.dedup();
    assert_eq!(lengths, (0..=9).map(|n| 2 * n).collect::<Vec<_>>());
}

#[test]
fn wherever_it_is_cut_a_prefix_of_whole_blocks_remains() {
    let scratch = Scratch::new("cut");
    let batches = vec![vec![event(1), event(2)], vec![signal(1)], vec![event(3)]];
    write(&settings(scratch.path()), 7, &batches);
    let file = only_file(scratch.path());
    let whole = fs::read(&file).unwrap();
    let all: Vec<Message> = batches.concat();
    let mut lengths = Vec::new();
    for cut in 0..=whole.len() {
        fs::write(&file, &whole[..cut]).unwrap();
        let mut read = Vec::new();
        let mut torn = 0;
        for item in Reader::open(&file).unwrap() {
            match item {
                Ok(message) => read.push(message),
                Err(damage) => {
                    assert!(damage.torn, "cut at {cut}: {damage}");
                    torn += 1;
                }
            }
        }
        assert_eq!(read, all[..read.len()], "cut at {cut}");
        let boundary = [0, 2, 3, 4].contains(&read.len()) && torn == 0;
        assert!(boundary || torn == 1, "cut at {cut}");
        lengths.push(read.len());
    }
    lengths.dedup();
    assert_eq!(lengths, [0, 2, 3, 4], "only whole blocks count");
}

/// A journal of a run whose settings change before its third event.
fn write_tuned(settings: &Settings) {
    let note = |number, text: &str| Note { number, text: text.into() };
    let (tell, others) = crossbeam_channel::bounded(2);
    let notes = Notes { first: note(0, "a = 1\n"), others };
    let mut journal = Journal::beginning_with(settings, 7, &[], Some(notes)).unwrap();
    tell.send(note(1, "seven: 7")).unwrap();
    let tuned = Message::Event(Event::tuned(1, Nanos(2)));
    journal.write(Now::default(), &[event(1), event(2), tuned, event(3)]);
    journal.close(Now::default());
    while journal.turn(Now::default()) != Turn::Done {
        std::thread::yield_now();
    }
}

#[test]
fn settings_stand_before_what_was_judged_by_them() {
    let scratch = Scratch::new("notes");
    write_tuned(&settings(scratch.path()));
    let mut reader = Reader::open(scratch.path()).unwrap();
    let mut known = Vec::new();
    while let Some(message) = reader.next() {
        assert!(matches!(message, Ok(Message::Event(_))), "settings are no record: {message:?}");
        known.push(reader.settings().map(|(number, text)| (number, text.to_owned())));
    }
    let first = Some((0, "a = 1\n".to_owned()));
    let second = Some((1, "seven: 7".to_owned()));
    assert_eq!(known, [first.clone(), first, second.clone(), second]);
    assert_eq!((reader.ordinal(), reader.missing()), (4, 0));
    // Another run in the same folder knows nothing of them.
    write(&settings(scratch.path()), 8, &[vec![event(1)]]);
    let mut reader = Reader::open(scratch.path()).unwrap();
    assert_eq!(reader.by_ref().map(Result::unwrap).count(), 5);
    assert_eq!((reader.run(), reader.settings()), (8, None));
}

#[test]
fn every_file_knows_the_settings_in_force() {
    let scratch = Scratch::new("notes-rotate");
    let settings = Settings { file_mb: 1, fsync: Fsync::Never, ..settings(scratch.path()) };
    let note = |number, text: &str| Note { number, text: text.into() };
    let (tell, others) = crossbeam_channel::bounded(1);
    let notes = Notes { first: note(0, "a = 1\n"), others };
    let mut journal = Journal::beginning_with(&settings, 7, &[], Some(notes)).unwrap();
    let batch: Vec<_> = (0..4_000).map(event).collect();
    for i in 0..12 {
        if i == 6 {
            tell.send(note(1, "a = 2\n")).unwrap();
            journal.write(Now::default(), &[Message::Event(Event::tuned(1, Nanos(2)))]);
        }
        journal.write(Now::at_millis(1_000 * i), &batch);
        journal.turn(Now::at_millis(1_000 * i + 500));
    }
    journal.close(Now::default());
    while journal.turn(Now::default()) != Turn::Done {
        std::thread::yield_now();
    }
    let mut known = Vec::new();
    for file in files_in(scratch.path()).unwrap() {
        let mut reader = Reader::open(&file).unwrap();
        reader.next().unwrap().unwrap();
        known.extend(reader.settings().map(|(_, text)| text.to_owned()));
        assert_eq!(reader.by_ref().filter(Result::is_err).count(), 0);
    }
    assert!(known.len() >= 3, "{known:?}");
    assert_eq!((known[0].as_str(), known.last().unwrap().as_str()), ("a = 1\n", "a = 2\n"));
    let mut reader = Reader::open(scratch.path()).unwrap();
    assert_eq!(reader.by_ref().filter(Result::is_ok).count(), 48_001);
    assert_eq!(reader.missing(), 0);
}

#[test]
fn any_wrong_bit_in_settings_is_found() {
    let scratch = Scratch::new("notes-bit");
    write_tuned(&settings(scratch.path()));
    let file = only_file(scratch.path());
    let whole = fs::read(&file).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs::write(&file, &bytes).unwrap();
        let errors = Reader::open(&file).unwrap().filter(Result::is_err).count();
        assert_eq!(errors, 1, "byte {at}");
    }
}

#[test]
fn one_wrong_bit_is_found_and_named() {
    let scratch = Scratch::new("bit");
    write(&settings(scratch.path()), 7, &[vec![event(1)], vec![event(2)]]);
    let file = only_file(scratch.path());
    let whole = fs::read(&file).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs::write(&file, &bytes).unwrap();
        let items: Vec<_> = Reader::open(&file).unwrap().collect();
        let errors: Vec<_> = items.iter().filter_map(|item| item.as_ref().err()).collect();
        assert_eq!(errors.len(), 1, "byte {at}");
        assert!(errors[0].offset <= at as u64 && !errors[0].what.is_empty());
        assert_eq!(items.iter().flatten().count(), usize::from(at >= whole.len() / 2));
    }
}

#[test]
fn files_are_cut_at_a_size_and_the_oldest_go() {
    let scratch = Scratch::new("rotate");
    let settings =
        Settings { file_mb: 1, files: 2, fsync: Fsync::Never, ..settings(scratch.path()) };
    let batch: Vec<_> = (0..4_000).map(event).collect();
    let mut ledger = Ledger::default();
    for run in [1, 2] {
        ledger = write(&settings, run, &vec![batch.clone(); 20]);
    }
    let files = files_in(scratch.path()).unwrap();
    assert_eq!(files.len(), 2);
    assert!(files.iter().all(|file| fs::metadata(file).unwrap().len() < 2 << 20));
    let mut reader = Reader::open(scratch.path()).unwrap();
    let read = reader.by_ref().inspect(|item| assert!(item.is_ok())).count() as u64;
    assert_eq!(reader.run(), 2);
    assert_eq!(ledger.get("journal_records") + ledger.get("journal_lost"), 80_000);
    assert!(read < 80_000);
    assert_eq!(
        read + reader.missing(),
        reader.ordinal(),
        "what was removed is known to be missing"
    );
}

#[test]
fn many_short_runs_do_not_drive_out_a_long_one() {
    let scratch = Scratch::new("short-runs");
    let settings =
        Settings { file_mb: 1, files: 3, fsync: Fsync::Never, ..settings(scratch.path()) };
    let batch: Vec<_> = (0..4_000).map(event).collect();
    write(&settings, 1, &vec![batch.clone(); 5]);
    let long = files_in(scratch.path()).unwrap();
    (2..40).for_each(|run| drop(write(&settings, run, &[batch[..10].to_vec()])));
    let files = files_in(scratch.path()).unwrap();
    assert!(files.starts_with(&long) && files.len() == long.len() + 38, "{files:?}");
}

#[test]
fn a_full_disk_costs_records_and_nothing_else() {
    let scratch = Scratch::new("full");
    let Some(_disk) = SmallDisk::mount(scratch.path()) else {
        eprintln!("skipped: cannot mount a small tmpfs here (needs root)");
        return;
    };
    let settings = Settings { fsync: Fsync::Always, ..settings(scratch.path()) };
    let batch: Vec<_> = (0..3_000).map(event).collect();
    let ledger = write(&settings, 7, &vec![batch; 10]);
    assert!(ledger.get("journal_lost") > 0, "the disk was meant to be full");
    let mut reader = Reader::open(scratch.path()).unwrap();
    let read = reader.by_ref().inspect(|item| assert!(item.is_ok())).count() as u64;
    assert_eq!(read, ledger.get("journal_records"), "no torn record");
    assert!(read > 0);
}

struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(at);
        mount.output().ok()?.status.success().then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}
