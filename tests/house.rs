//! The house rules, checked over the sources: who may name whom, and what the engine may hold.
//!
//! A folder under `src/` is a room. The table says which names a room must not mention outside its
//! tests (`#[cfg(test)]` modules stand last in a file, so everything from there on is skipped).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// A room, and the words that must not appear in it, with the reason.
struct Rule {
    room: &'static str,
    banned: &'static [&'static str],
    why: &'static str,
}

const ROOMS: [Rule; 7] = [
    Rule {
        room: "ingest/",
        banned: &[
            "crate::engine",
            "crate::publish",
            "crate::run",
            "crate::config",
            "crate::simulate",
        ],
        why: "ingest knows venues and nothing else",
    },
    Rule {
        room: "engine/",
        banned: &[
            "crate::ingest",
            "crate::publish",
            "crate::run",
            "crate::config",
            "crate::simulate",
        ],
        why: "the engine knows events and reports and nothing else",
    },
    Rule {
        room: "publish/",
        banned: &[
            "crate::ingest",
            "crate::engine",
            "crate::run",
            "crate::config",
            "crate::simulate",
        ],
        why: "publish knows messages and sinks and nothing else",
    },
    Rule {
        room: "simulate/",
        banned: &["crate::engine", "crate::publish", "crate::run", "crate::config"],
        why: "the street outside does not know what listens to it",
    },
    Rule {
        room: "engine/",
        banned: &["Instant", "SystemTime", "std::time", "Duration"],
        why: "the engine is told the time",
    },
    Rule {
        room: "engine/",
        banned: &[
            "std::fs",
            "std::net",
            "std::io",
            "std::thread",
            "println!",
            "print!",
            "std::env",
        ],
        why: "the engine does no I/O",
    },
    Rule {
        room: "engine/",
        banned: &[
            "Mutex", "RwLock", "Condvar", "Atomic", "Vec<", "Vec::", "vec!", "VecDeque", "String",
            "HashMap", "BTreeMap", "HashSet", "format!", "to_vec", "to_owned", "Rc<", "Arc<",
        ],
        why: "the engine holds no lock and no collection that grows",
    },
];

/// The doors stand between the rooms and may name none of them: whatever is not one of these.
const NO_DOORS: [&str; 8] =
    ["ingest/", "engine/", "publish/", "run/", "simulate/", "config.rs", "lib.rs", "main.rs"];
const ROOM_NAMES: &[&str] = &[
    "crate::ingest",
    "crate::engine",
    "crate::publish",
    "crate::run",
    "crate::config",
    "crate::simulate",
];

#[test]
fn every_room_keeps_to_itself() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = sources(&root);
    assert!(files.len() > 15, "only {} sources found under {}", files.len(), root.display());
    let offences: Vec<String> = files
        .iter()
        .flat_map(|path| {
            let name = path.strip_prefix(&root).unwrap().to_string_lossy().replace('\\', "/");
            offences(&name, &fs::read_to_string(path).unwrap())
        })
        .collect();
    assert!(offences.is_empty(), "\n{}\n", offences.join("\n"));
}

#[test]
fn a_planted_offence_is_named_with_file_and_line() {
    let clock = "//! Instant is fine in prose.\nfn f() {\n    let t = Instant::now();\n}\n";
    assert_eq!(
        offences("engine/window.rs", clock),
        ["src/engine/window.rs:3: `Instant`: the engine is told the time"]
    );
    for (file, line) in [
        ("engine/risk.rs", "use crate::publish::redis;"),
        ("engine/risk.rs", "let mut rows = Vec::new();"),
        ("engine/risk.rs", "use std::sync::Mutex;"),
        ("ingest/reader.rs", "use crate::engine::Engine;"),
        ("publish/redis.rs", "use crate::ingest::Frame;"),
        ("simulate/market.rs", "use crate::run::Clock;"),
        ("event.rs", "use crate::engine::Engine;"),
        ("record/reader.rs", "use crate::engine::Engine;"),
    ] {
        assert_eq!(offences(file, line).len(), 1, "{file}: {line}");
    }
    assert!(offences("engine/window.rs", "#[cfg(test)]\nmod tests { use std::fs; }").is_empty());
    assert!(offences("run/live.rs", "use crate::engine::Engine;").is_empty());
}

#[test]
fn unsafe_code_is_forbidden_in_the_library() {
    let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs");
    assert!(fs::read_to_string(lib).unwrap().contains("#![forbid(unsafe_code)]"));
}

/// What a file says that its room forbids, one line each: `src/file:line: word: reason`.
fn offences(name: &str, text: &str) -> Vec<String> {
    let is_door = !NO_DOORS.iter().any(|room| name.starts_with(room));
    let doors = is_door.then_some((ROOM_NAMES, "a door names no room"));
    let rooms = ROOMS.iter().filter(|rule| name.starts_with(rule.room));
    let rules: Vec<_> = rooms.map(|rule| (rule.banned, rule.why)).chain(doors).collect();
    let code = text.lines().enumerate().take_while(|(_, line)| !line.contains("#[cfg(test)]"));
    code.filter(|(_, line)| !line.trim_start().starts_with("//"))
        .flat_map(|(i, line)| {
            let line_no = i + 1;
            rules.iter().flat_map(move |(banned, why)| {
                let found = banned.iter().find(|word| mentions(line, word));
                found.map(|word| format!("src/{name}:{line_no}: `{word}`: {why}"))
            })
        })
        .collect()
}

/// Whether a line has `word` as a whole name: `Instant` is not found in `Instantaneous`.
fn mentions(line: &str, word: &str) -> bool {
    let code = line.split("//").next().unwrap_or(line);
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        let joins = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let ends_open = word.ends_with(|c: char| c.is_alphanumeric()) && word != "Atomic";
        !(joins(before) || ends_open && joins(after))
    })
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}
