//! Recording a street with the real program, and playing it back: whole, killed, and on a full disk.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod support {
    pub mod scratch;
}

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use foreshock::event::Venue;
use foreshock::ingest::Frame;
use foreshock::ingest::capture::{Block, Reader, Record, Writer};
use foreshock::simulate::market::{Act, Schedule};
use foreshock::simulate::street::Street;
use foreshock::simulate::voice::WATCHED;
use foreshock::time::Now;
use support::scratch::Scratch;

const PROGRAM: &str = env!("CARGO_BIN_EXE_foreshock");

/// A configuration that points every venue at the street.
fn config(street: &Street, folder: &Path, lines: u8) -> String {
    let ca = folder.join("ca.pem");
    fs::write(&ca, street.ca_pem()).unwrap();
    let mut text = format!("[feeds]\nca_file = {:?}\n", ca.display().to_string());
    for venue in [Venue::Binance, Venue::Bybit, Venue::Okx, Venue::Hyperliquid] {
        let name = venue.name();
        text +=
            &format!("[feeds.venues.{name}]\nlines = {lines}\nrest = {:?}\n", street.rest(venue));
        if venue == Venue::Hyperliquid {
            text += &format!("addresses = [{WATCHED:?}]\n");
        }
        text += &format!("[feeds.venues.{name}.urls]\n");
        for (_, route, url) in street.urls().iter().filter(|(of, _, _)| *of == venue) {
            text += &format!("{route} = {url:?}\n");
        }
    }
    let path = folder.join(format!("{lines}.toml"));
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn start(command: &mut Command) -> Child {
    command
        .env_remove("FORESHOCK_CONFIG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn replay(file: &Path) -> (Output, String) {
    let output = Command::new(PROGRAM)
        .args(["replay", file.to_str().unwrap()])
        .env_remove("FORESHOCK_CONFIG")
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout.clone()).unwrap();
    (output, stdout)
}

/// Frames in a capture; fails when anything in it is damaged.
fn frames(file: &Path) -> (usize, u64) {
    let mut reader = Reader::open(file).unwrap();
    let mut n = 0;
    while let Some(record) = reader.next_record().unwrap() {
        n += usize::from(matches!(record, Record::Frame { .. }));
    }
    (n, reader.missing())
}

#[test]
fn k1_k2_what_is_recorded_is_played_back_also_after_a_kill_and_on_a_full_disk() {
    let folder = Scratch::new("record");
    let folder = folder.path();
    let (quiet_s, build_s, cascade_s, calm_s) = (0.5, 1.0, 4.0, 0.5);
    let story =
        Schedule { quiet_s, build_s, cascade_s, calm_s, lines: 6 + 12 + 6, patience_ms: 15_000 };
    let street = Street::start(5, story, 0).unwrap();
    let (one, two) = (config(&street, folder, 1), config(&street, folder, 2));
    let [whole, killed, full] =
        ["whole", "killed", "full"].map(|n| folder.join(format!("{n}.fsraw")));
    let whole_run = start(Command::new(PROGRAM).args([
        "record",
        whole.to_str().unwrap(),
        "--config",
        &two,
        "--duration",
        "14s",
    ]));
    let mut killed_run =
        start(Command::new(PROGRAM).args(["record", killed.to_str().unwrap(), "--config", &one]));
    // A file may grow to 100 blocks of 512 bytes; the signal about it is ignored, so that the write fails.
    let full_run = start(Command::new("sh").args([
        "-c",
        "trap '' XFSZ; ulimit -f 100; exec \"$0\" record \"$1\" --config \"$2\" --duration 14s",
        PROGRAM,
        full.to_str().unwrap(),
        &one,
    ]));
    let began = Instant::now();
    while street.act() < Act::Cascade && began.elapsed() < Duration::from_secs(30) {
        thread::sleep(Duration::from_millis(20));
    }
    thread::sleep(Duration::from_millis(1_500));
    killed_run.kill().unwrap();
    killed_run.wait().unwrap();

    let recorded = whole_run.wait_with_output().unwrap();
    let said = String::from_utf8(recorded.stderr).unwrap();
    assert!(recorded.status.success(), "{said}");
    assert_eq!(count(&said, "record_lost"), None, "{said}");
    let (n, missing) = frames(&whole);
    assert_eq!((Some(n), missing), (count(&said, "record_frames"), 0));
    // Both lines of every route brought everything; played back, each event counts once.
    let (output, first) = replay(&whole);
    let books = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && first.contains("sha256"), "{books}");
    assert!(count(&books, "refused{duplicate}").is_some_and(|n| n > 100), "{books}");
    assert_eq!(replay(&whole).1, first, "the same bytes give the same signals");

    let (n, missing) = frames(&killed);
    assert!(n > 100 && missing == 0, "{n} frames before the kill, {missing} missing");
    let (output, _) = replay(&killed);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let recorded = full_run.wait_with_output().unwrap();
    let said = String::from_utf8(recorded.stderr).unwrap();
    assert!(recorded.status.success(), "{said}");
    assert!(said.contains("record: cannot write"), "{said}");
    assert!(count(&said, "record_lost").is_some_and(|n| n > 0), "{said}");
    let (n, _) = frames(&full);
    assert!(n > 0 && fs::metadata(&full).unwrap().len() <= 51_200, "{n} frames");
    assert!(replay(&full).0.status.success());
    street.join();
}

/// A disk of one megabyte; `None` without the right to mount one.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let mut mount = Command::new("mount");
        let mount = mount.args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(at);
        let mounted = mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        mounted.then(|| Self(at.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(&self.0).status());
    }
}

#[test]
fn k1_a_disk_that_fills_in_the_middle_of_a_block_leaves_whole_blocks_and_is_used_again() {
    let folder = Scratch::new("record-disk");
    let Some(disk) = SmallDisk::mount(&folder.path().join("disk")) else {
        eprintln!("skipped: a tmpfs can be mounted by root only");
        return;
    };
    let (file, ballast) = (disk.0.join("small.fsraw"), disk.0.join("ballast"));
    fs::write(&ballast, vec![1; 500_000]).unwrap();
    let mut writer = Writer::create(&file, 1).unwrap();
    let (mut block, mut ordinal, mut written) = (Block::default(), 0, 0);
    // Noise, so that it cannot be packed: blocks of 40 kB.
    let mut noise = 1_u64;
    let mut fill = |block: &mut Block| {
        block.clear();
        for _ in 0..40 {
            let bytes: Vec<u8> = (0..1_000)
                .map(|_| {
                    noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    noise.to_le_bytes()[6]
                })
                .collect();
            let (venue, received) = (Venue::Okx, Now::at_millis(1_000 + ordinal));
            let frame = Frame { venue, line: 0, link: 1, bytes: &bytes, received };
            assert!(block.frame(&frame, u64::try_from(ordinal).unwrap()));
            ordinal += 1;
        }
    };
    let full = loop {
        fill(&mut block);
        match writer.append(&block) {
            Ok(_) => written += 40,
            Err(e) => break e,
        }
    };
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull, "{full}");
    assert_eq!(frames(&file), (written, 0), "whole blocks only");
    fs::remove_file(&ballast).unwrap();
    fill(&mut block);
    writer.append(&block).unwrap();
    assert_eq!(frames(&file), (written + 40, 40), "what was lost in between is counted");
}

/// A count in the printed books.
fn count(books: &str, name: &str) -> Option<usize> {
    let words: Vec<&str> = books.split([' ', ',', '\n']).filter(|word| !word.is_empty()).collect();
    words.windows(2).find(|pair| pair[0] == name).and_then(|pair| pair[1].parse().ok())
}
