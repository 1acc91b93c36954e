//! `foreshock alert test`: one message to every channel, and what came of it.

use std::io::{self, Write};

use super::Failure;
use super::clock::Clock;
use crate::config::Config;
use crate::publish::alert::{self, Channel, Outcome};
use crate::time::Millis;

/// Sends a test message to every channel that is configured, once, and prints a line for each.
///
/// # Errors
/// No channel is configured (3), or one could not be reached (1).
pub fn test(config: &Config) -> Result<(), Failure> {
    let channels = &config.alert.channel;
    if channels.is_empty() {
        return Err(Failure::config(
            "alert: no channel; add [[alert.channel]] to the configuration",
        ));
    }
    let clock = Clock::start();
    let run = u64::try_from(clock.run()).unwrap_or(0);
    let mut failed = 0;
    for channel in channels {
        let answer = tried(channel, &config.alert.mark, run, clock.now().wall);
        failed += usize::from(answer.is_err());
        let words = answer.unwrap_or_else(|why| why);
        let line = format!("{} ({}): {words}", channel.name(), channel.kind.name());
        // Whoever hung up does not want to know.
        let _ = writeln!(io::stdout().lock(), "{line}");
    }
    match failed {
        0 => Ok(()),
        n => Err(Failure::running(format!("alert: {n} of {} not delivered", channels.len()))),
    }
}

fn tried(channel: &Channel, mark: &str, run: u64, at: Millis) -> Result<String, String> {
    match alert::test(channel, mark, run, at)? {
        Outcome::Delivered => Ok("delivered".to_owned()),
        Outcome::Refused(why) => Err(format!("refused: {why}")),
        Outcome::Later { why, after: None, .. } => Err(why),
        Outcome::Later { why, after: Some(after), .. } => {
            Err(format!("{why}; to be left alone for {} s", after.as_secs()))
        }
    }
}
