//! Which channels there are, and what each is told.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::address::https;
use crate::publish::redis::Secret;
use crate::signal::Level;
use crate::time::NS_PER_S;

/// Most channels; each has a thread.
pub const CHANNELS_MAX: usize = 16;
/// Longest mark, bytes.
const MARK_MAX: usize = 40;

/// Who is told what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// A feed, or Redis, is said to be silent after this many seconds.
    pub silence_s: u64,
    /// A word before every message, such as the name of the machine.
    pub mark: String,
    /// The channels.
    pub channel: Vec<Channel>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { silence_s: 10, mark: String::new(), channel: Vec::new() }
    }
}

impl Settings {
    /// Whether anybody is to be told.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.channel.is_empty()
    }

    /// Whether the settings make sense.
    ///
    /// # Errors
    /// Says what does not, and never repeats what may be a secret.
    pub fn check(&self) -> Result<(), String> {
        if !(1..=3_600).contains(&self.silence_s) {
            return Err(format!("silence_s = {}: 1 to 3600", self.silence_s));
        }
        if self.mark.len() > MARK_MAX || self.mark.chars().any(char::is_control) {
            return Err(format!("mark: at most {MARK_MAX} bytes, without control characters"));
        }
        if self.channel.len() > CHANNELS_MAX {
            return Err(format!("{} channels: at most {CHANNELS_MAX}", self.channel.len()));
        }
        for (i, channel) in self.channel.iter().enumerate() {
            let name = channel.name();
            channel.check().map_err(|e| format!("channel {name}: {e}"))?;
            if self.channel.iter().take(i).any(|other| other.name() == name) {
                return Err(format!("channel {name}: there are two; give each a name"));
            }
        }
        Ok(())
    }
}

/// What kind of place a channel leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// JSON, posted to a URL.
    Webhook,
    /// A chat of a Telegram bot.
    Telegram,
    /// A Discord webhook.
    Discord,
    /// A Slack webhook.
    Slack,
    /// E-mail over SMTP.
    Mail,
}

impl Kind {
    /// The word users write.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Telegram => "telegram",
            Self::Discord => "discord",
            Self::Slack => "slack",
            Self::Mail => "mail",
        }
    }
}

/// The lowest level that is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Threshold {
    /// WATCH and above.
    Watch,
    /// ALERT and above.
    #[default]
    Alert,
    /// CRITICAL and above.
    Critical,
    /// EXTREME only.
    Extreme,
}

impl Threshold {
    /// As a level.
    #[must_use]
    pub const fn level(self) -> Level {
        match self {
            Self::Watch => Level::Watch,
            Self::Alert => Level::Alert,
            Self::Critical => Level::Critical,
            Self::Extreme => Level::Extreme,
        }
    }
}

/// How a connection to a mail server is kept private.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Privacy {
    /// STARTTLS, and nothing is said without it. Port 587.
    #[default]
    Starttls,
    /// TLS from the first byte. Port 465.
    Tls,
    /// None: for a server on this machine, and never with a password. Port 25.
    None,
}

/// One channel. Its secret is no setting: it comes from `FORESHOCK_ALERT_<NAME>_TOKEN` or from
/// `token_file`. For Telegram that is the bot's token, for Discord and Slack the webhook's URL, for a
/// webhook what goes into `Authorization: Bearer` (or the whole URL, where `url` is empty), for mail the
/// password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// What kind of place it leads to.
    pub kind: Kind,
    /// Small letters and digits; the kind's name when empty.
    #[serde(default)]
    pub name: String,
    /// The lowest level that is told.
    #[serde(default)]
    pub level: Threshold,
    /// Where to post (webhook), another server for the bot (Telegram), or `host[:port]` (mail).
    #[serde(default)]
    pub url: String,
    /// Which chat (Telegram).
    #[serde(default)]
    pub chat: String,
    /// Sender (mail).
    #[serde(default)]
    pub from: String,
    /// Recipients (mail).
    #[serde(default)]
    pub to: Vec<String>,
    /// Who logs in (mail); nobody when empty.
    #[serde(default)]
    pub user: String,
    /// How the connection is kept private (mail).
    #[serde(default)]
    pub privacy: Privacy,
    /// A file, readable by its owner only, that holds the secret. The environment goes before it.
    #[serde(default)]
    pub token_file: PathBuf,
    /// PEM certificates to believe instead of the built-in roots.
    #[serde(default)]
    pub ca_file: PathBuf,
    /// Whether an address that is not on the public internet will do.
    #[serde(default)]
    pub allow_private: bool,
}

const NAME_MAX: usize = 16;

impl Channel {
    /// The name it goes by.
    #[must_use]
    pub fn name(&self) -> &str {
        if self.name.is_empty() { self.kind.name() } else { &self.name }
    }

    /// Name of the environment variable that holds the secret.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("FORESHOCK_ALERT_{}_TOKEN", self.name().to_ascii_uppercase())
    }

    /// The secret, from the environment or the file.
    ///
    /// # Errors
    /// When the file cannot be read, or others than its owner can read it.
    pub fn secret(&self) -> Result<Option<Secret>, String> {
        Secret::named(&self.variable(), &self.token_file)
    }

    /// The shortest pause between two messages: what the place allows, per chat.
    #[must_use]
    pub fn every_ns(&self) -> u64 {
        match self.kind {
            Kind::Webhook | Kind::Slack => NS_PER_S,
            // A group or a public channel takes 20 a minute.
            Kind::Telegram if self.chat.starts_with(['-', '@']) => 3 * NS_PER_S,
            Kind::Telegram => NS_PER_S,
            // Thirty a minute for each webhook.
            Kind::Discord => 2 * NS_PER_S,
            Kind::Mail => 60 * NS_PER_S,
        }
    }

    fn check(&self) -> Result<(), String> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        if self.name().len() > NAME_MAX || !self.name().chars().all(plain) {
            return Err(format!("a name has at most {NAME_MAX} small letters and digits"));
        }
        self.check_url().map_err(|e| format!("url: {e}"))?;
        match self.kind {
            Kind::Telegram if !is_chat(&self.chat) => {
                Err("chat: a number such as -1001234567890, or @name".to_owned())
            }
            Kind::Mail => self.check_mail(),
            _ => Ok(()),
        }
    }

    fn check_url(&self) -> Result<(), String> {
        match self.kind {
            // The secret is the URL, or the usual server is meant.
            Kind::Webhook | Kind::Telegram | Kind::Discord | Kind::Slack if self.url.is_empty() => {
                Ok(())
            }
            Kind::Webhook | Kind::Telegram => https(&self.url).map(drop),
            Kind::Discord | Kind::Slack => {
                Err(format!("it is a secret: set {} or token_file", self.variable()))
            }
            Kind::Mail => place(&self.url, self.privacy).map(drop),
        }
    }

    fn check_mail(&self) -> Result<(), String> {
        if self.to.is_empty() {
            return Err("to: nobody to write to".to_owned());
        }
        for address in self.to.iter().chain([&self.from]) {
            if !is_mail_address(address) {
                return Err("from, to: plain addresses such as me@example.com".to_owned());
            }
        }
        if self.privacy == Privacy::None && !self.user.is_empty() {
            return Err("privacy: a password is not sent in the clear".to_owned());
        }
        Ok(())
    }
}

/// The host and port of a mail server.
///
/// # Errors
/// When it is no `host[:port]`.
pub fn place(text: &str, privacy: Privacy) -> Result<(String, u16), String> {
    let usual = match privacy {
        Privacy::Starttls => 587,
        Privacy::Tls => 465,
        Privacy::None => 25,
    };
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().map_err(|_| "not a port".to_owned())?),
        None => (text, usual),
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    let named = !host.is_empty() && host.chars().all(plain);
    named.then(|| (host.to_owned(), port)).ok_or_else(|| "host[:port] of a mail server".to_owned())
}

fn is_chat(text: &str) -> bool {
    let number = text.strip_prefix('-').unwrap_or(text);
    let digits = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    digits(number) || text.strip_prefix('@').is_some_and(|name| name.chars().all(word))
}

/// No space, bracket, quote or control character, so that it cannot end a line or a header.
fn is_mail_address(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+' | '=');
    let part = |part: &str| !part.is_empty() && part.len() <= 64 && part.chars().all(plain);
    text.split_once('@').is_some_and(|(name, host)| part(name) && part(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Settings, String> {
        let settings: Settings = toml::from_str(text).map_err(|e| e.message().to_owned())?;
        settings.check().map(|()| settings)
    }

    #[test]
    fn channels_are_read_and_have_names() {
        let settings = read(
            "[[channel]]\nkind = \"telegram\"\nchat = \"-1001\"\nlevel = \"CRITICAL\"\n\
             [[channel]]\nkind = \"webhook\"\nname = \"ops\"\nurl = \"https://h.example/x\"\n",
        )
        .unwrap();
        let [chat, hook] = &settings.channel[..] else { panic!("{settings:?}") };
        assert_eq!((chat.name(), chat.level.level()), ("telegram", Level::Critical));
        assert_eq!(
            (hook.variable().as_str(), hook.level),
            ("FORESHOCK_ALERT_OPS_TOKEN", Threshold::Alert)
        );
        assert_eq!((chat.every_ns(), hook.every_ns()), (3 * NS_PER_S, NS_PER_S));
    }

    #[test]
    fn what_cannot_work_is_refused_in_words() {
        for (text, words) in [
            ("kind = \"webhook\"\nurl = \"h/x\"", "url: not a URL"),
            ("kind = \"webhook\"\nurl = \"http://h/x\"", "only https"),
            ("kind = \"telegram\"", "chat: a number"),
            ("kind = \"telegram\"\nchat = \"1&text=x\"", "chat: a number"),
            ("kind = \"discord\"\nurl = \"https://h/hunter2\"", "FORESHOCK_ALERT_DISCORD_TOKEN"),
            ("kind = \"slack\"\nname = \"A B\"", "small letters"),
            ("kind = \"mail\"\nurl = \"h\"\nfrom = \"a@b\"", "nobody to write to"),
            (
                "kind = \"mail\"\nurl = \"h\"\nfrom = \"a@b\"\nto = [\"a@b\\r\\nRCPT\"]",
                "plain addresses",
            ),
            ("kind = \"mail\"\nurl = \"h:x\"\nfrom = \"a@b\"\nto = [\"a@b\"]", "not a port"),
            (
                "kind = \"mail\"\nurl = \"h\"\nfrom = \"a@b\"\nto = [\"a@b\"]\nprivacy = \"none\"\nuser = \"u\"",
                "in the clear",
            ),
            ("kind = \"slack\"\n[[channel]]\nkind = \"slack\"", "there are two"),
            ("kind = \"fax\"", "unknown variant"),
            ("kind = \"slack\"\ntoken = \"hunter2\"", "unknown field"),
        ] {
            let why = read(&format!("[[channel]]\n{text}\n")).unwrap_err();
            assert!(why.contains(words) && !why.contains("hunter2"), "{text}: {why}");
        }
    }
}
