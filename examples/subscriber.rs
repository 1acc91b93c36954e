//! Every signal exactly once and in order, as soon as it is there.
//!
//! ```text
//! cargo run --example subscriber -- redis://127.0.0.1:6379 [LAST-ID]
//! ```
//!
//! Pub/sub is for speed, the stream is the truth. What is published right after the last signal is passed
//! on at once; whenever anything else may have happened (a start, a new connection, a hole in the numbers,
//! a new run, a long silence), the stream is read from the last signal on, by its id `<run>-<seq>`. An
//! entry of kind `gap` says which numbers are gone for good. Keep the last id that was printed and give it
//! as LAST-ID to go on after it.

use std::io::{self, Write};
use std::thread::sleep;
use std::time::Duration;

use redis::{Commands, Connection, RedisResult};

const STREAM: &str = "foreshock:signals";
const CHANNEL: &str = "cascade:signals";
/// After so long a silence the stream is asked, and connections that died are noticed.
const SILENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(200);

/// Run and number.
pub type Id = (u64, u64);
/// An entry of the stream: its id and its fields.
type Entry = (String, Vec<(String, String)>);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or("redis://127.0.0.1:6379".to_owned());
    let last = arguments.next().map_or(Some((0, 0)), |id| id_of(&id)).ok_or("LAST-ID: RUN-SEQ")?;
    subscribe(&url, last)?;
    Ok(())
}

/// Prints every signal after `last` until nobody reads them any more.
pub fn subscribe(url: &str, mut last: Id) -> RedisResult<()> {
    let client = redis::Client::open(url)?;
    loop {
        match follow(&client, &mut last) {
            Err(e) if e.is_timeout() => {}
            Err(e) => {
                eprintln!("redis: {e}; trying again");
                sleep(PAUSE);
            }
            Ok(()) => return Ok(()),
        }
    }
}

/// Passes signals on until the connection is of no use any more, or nobody reads us.
fn follow(client: &redis::Client, last: &mut Id) -> RedisResult<()> {
    let mut listener = client.get_connection_with_timeout(SILENCE)?;
    let mut reader = client.get_connection_with_timeout(SILENCE)?;
    for connection in [&listener, &reader] {
        connection.set_read_timeout(Some(SILENCE))?;
    }
    let mut channel = listener.as_pubsub();
    // First listen, then read what was: nothing falls between the two.
    channel.subscribe(CHANNEL)?;
    let mut open = catch_up(&mut reader, last)?;
    while open {
        let text: String = channel.get_message()?.get_payload()?;
        let Some(id) = id_in(&text) else { continue };
        if id <= *last {
            continue;
        }
        if id != (last.0, last.1 + 1) {
            open = catch_up(&mut reader, last)?;
        }
        // Unless the stream brought it just now.
        if id > *last {
            open = print(id, &text);
            *last = id;
        }
    }
    Ok(())
}

/// Prints what the stream holds after `last`.
fn catch_up(reader: &mut Connection, last: &mut Id) -> RedisResult<bool> {
    loop {
        let after = format!("({}-{}", last.0, last.1);
        let entries: Vec<Entry> = reader.xrange_count(STREAM, after, "+", 500)?;
        if entries.is_empty() {
            return Ok(true);
        }
        for (id, fields) in entries {
            let Some(id) = id_of(&id) else { continue };
            *last = id;
            let field =
                |name: &str| fields.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
            match field("json") {
                Some(text) if !print(id, text) => return Ok(false),
                Some(_) => {}
                None => {
                    let (from, to) = (field("from").unwrap_or("?"), field("to").unwrap_or("?"));
                    eprintln!("signals {from} to {to} of run {} are gone for good", id.0);
                }
            }
        }
    }
}

/// `false` when nobody reads us any more.
fn print((run, seq): Id, text: &str) -> bool {
    let mut out = io::stdout().lock();
    writeln!(out, "{run}-{seq} {text}").and_then(|()| out.flush()).is_ok()
}

/// `RUN-SEQ` taken apart.
pub fn id_of(text: &str) -> Option<Id> {
    let (run, seq) = text.split_once('-')?;
    Some((run.parse().ok()?, seq.parse().ok()?))
}

fn id_in(text: &str) -> Option<Id> {
    let json: serde_json::Value = serde_json::from_str(text).ok()?;
    Some((json["meta"]["run"].as_u64()?, json["meta"]["seq"].as_u64()?))
}
