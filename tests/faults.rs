//! Every fault of a feed and of its data that the catalogue knows has a test that names it: `f7_...`,
//! `d12_...`, several in a row where one test stands for several.
//!
//! `cargo test --test faults -- --nocapture` prints which tests those are.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What can go wrong with a feed, and what with its data.
const FAULTS: [(&str, &[&str]); 2] = [
    (
        "f",
        &[
            "reset in mid-stream",
            "half-open: packets vanish",
            "the peer is frozen",
            "the transport lives, the route is silent",
            "the canary lives, liquidations are missing",
            "the peer never pings or never answers one",
            "pings are answered only in words",
            "a flood of pings, and nobody reads the answers",
            "a flood of empty fragments",
            "frames and lengths beyond all measure",
            "a frame that drips",
            "what is not the protocol",
            "text that is no UTF-8, or cut inside a letter",
            "a deflate bomb",
            "a redirect",
            "403 and 451",
            "418 and 429",
            "an upgrade that is none, or never ends",
            "TLS that is broken or not to be trusted",
            "a wrong local clock",
            "a goodbye, and the socket stays open",
            "the venue cuts, or warns that it will",
            "a subscription is refused or never answered",
            "names are not resolved",
            "a connection that comes and goes",
            "loss, delay, disorder, a narrow road",
            "system calls that fail",
            "one feed down for hours",
        ],
    ),
    (
        "d",
        &[
            "duplicates",
            "late and out of order",
            "times that are none",
            "numbers that are none",
            "a price a thousand times off",
            "symbols that are new, or not what they look like",
            "a flood of symbols",
            "JSON that is too deep, too large, or none",
            "a format that changed",
            "a burst",
            "a ring that is full",
            "our own pause",
            "a clock that jumps",
        ],
    ),
];

/// Faults without a test: an open end, said aloud.
const OPEN: [&str; 0] = [];

#[test]
fn every_fault_has_a_test_that_names_it() {
    let mut named = BTreeMap::<String, Vec<String>>::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    collect(&root.join("tests"), &mut named);
    collect(&root.join("src"), &mut named);
    let mut missing = Vec::new();
    for (kind, faults) in FAULTS {
        for (i, fault) in faults.iter().enumerate() {
            let id = format!("{kind}{}", i + 1);
            let tests = named.get(&id).cloned().unwrap_or_default();
            println!("{id:4} {fault}");
            tests.iter().for_each(|test| println!("       {test}"));
            if tests.is_empty() {
                missing.push(id);
            }
        }
    }
    assert_eq!(missing, OPEN, "faults without a test");
}

/// The tests under `folder` by the faults that they name.
fn collect(folder: &Path, named: &mut BTreeMap<String, Vec<String>>) {
    each_source(folder, &mut |path, text| {
        let at = path.file_name().unwrap().to_string_lossy();
        for test in tests_in(text) {
            for fault in faults_of(test) {
                named.entry(fault.to_owned()).or_default().push(format!("{at}: {test}"));
            }
        }
    });
}

fn each_source(folder: &Path, look: &mut dyn FnMut(&Path, &str)) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            each_source(&path, look);
        } else if path.extension().is_some_and(|end| end == "rs") {
            look(&path, &fs::read_to_string(&path).unwrap());
        }
    }
}

/// The names of the functions that come after `#[test]`.
fn tests_in(text: &str) -> impl Iterator<Item = &str> {
    text.split("#[test]\n").skip(1).filter_map(|rest| {
        let name = rest.trim_start().strip_prefix("fn ")?;
        name.split('(').next()
    })
}

/// `f2_f3_silence` names `f2` and `f3`.
fn faults_of(test: &str) -> impl Iterator<Item = &str> {
    let is_fault = |word: &&str| {
        let digits = word.strip_prefix(['f', 'd']).unwrap_or("");
        !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
    };
    test.split('_').take_while(is_fault)
}

/// Words by which a certificate would be believed unchecked.
const SWITCHES: [&str; 5] =
    ["dangerous", "danger_accept", "set_certificate_verifier", "disable_verification", "insecure"];

#[test]
fn f19_nothing_switches_the_check_of_certificates_off() {
    let mut found = Vec::new();
    each_source(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut |path, text| {
        let said = |word: &&&str| text.to_lowercase().contains(**word);
        found.extend(SWITCHES.iter().filter(said).map(|word| (path.to_owned(), *word)));
    });
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_name_says_which_faults_it_stands_for() {
    let named = |test| faults_of(test).collect::<Vec<_>>();
    assert_eq!(named("f2_f3_silence"), ["f2", "f3"]);
    assert_eq!(named("d12_a_pause"), ["d12"]);
    assert!(named("frames_f1").is_empty() && named("f_1").is_empty() && named("a").is_empty());
    let text = "#[test]\nfn f9_x() {\n}\nfn f8_y() {}\n    #[test]\n    fn d1_z() {";
    assert_eq!(tests_in(text).collect::<Vec<_>>(), ["f9_x", "d1_z"]);
}
