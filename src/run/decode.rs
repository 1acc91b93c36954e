//! `foreshock decode`: raw messages in, normalised events out.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, ErrorKind, Write};
use std::path::Path;

use super::Failure;
use crate::event::Venue;
use crate::ingest::decode;
use crate::ingest::exchange::{Exchange, exchange};
use crate::ingest::intake::spoken;

/// Decodes `file`, or standard input.
///
/// # Errors
/// An unknown venue (with a suggestion), or a file that cannot be read.
pub fn decode(venue: &str, file: Option<&Path>) -> Result<(), Failure> {
    let exchange = named(venue)?;
    let input: Box<dyn BufRead> = match file {
        Some(path) => {
            let file = File::open(path);
            let file = file.map_err(|e| Failure::running(format!("{}: {e}", path.display())))?;
            Box::new(BufReader::new(file))
        }
        None => Box::new(io::stdin().lock()),
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let read = decode::decode(exchange, input, &mut out, &mut io::stderr().lock());
    match read.and_then(|_| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => {
            let name = file.map_or("standard input".to_owned(), |path| path.display().to_string());
            Err(Failure::running(format!("{name}: {e}")))
        }
        _ => Ok(()),
    }
}

fn named(name: &str) -> Result<&'static dyn Exchange, Failure> {
    let known = Venue::named(&name.to_lowercase()).and_then(exchange);
    known.ok_or_else(|| {
        let names: Vec<&str> = spoken().map(|e| e.venue().name()).collect();
        let near = names.iter().min_by_key(|known| strsim::damerau_levenshtein(known, name));
        let near = near.filter(|known| strsim::damerau_levenshtein(known, name) <= 3);
        let hint = near.map_or(String::new(), |near| format!(" Did you mean {near}?"));
        Failure::usage(format!("unknown venue {name:?}.{hint} Known: {}", names.join(", ")))
    })
}
