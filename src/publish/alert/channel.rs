//! What a message looks like to each kind of place: one function each.
//!
//! The text is data everywhere: no markup is switched on, what a place would read as markup anyway is
//! escaped, nobody is called by it, and no link in it is fetched.

use super::address::https;
use super::message::Message;
use super::note::{News, Note};
use super::settings::{Channel, Kind};
use crate::publish::json::{self, Json, Sent, Value};
use crate::publish::redis::Secret;
use crate::signal::Report;
use crate::time::Now;

const TELEGRAM: &str = "https://api.telegram.org";
/// Characters a place takes in one message.
const TELEGRAM_MAX: usize = 4_096;
const DISCORD_MAX: usize = 2_000;
const SLACK_MAX: usize = 40_000;
/// Discord: no previews of links.
const SUPPRESS_EMBEDS: u64 = 4;

/// One POST.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where to; often a secret.
    pub url: Secret,
    /// What goes into `Authorization: Bearer`.
    pub bearer: Option<Secret>,
    /// The same for every attempt at the same message.
    pub key: String,
    /// JSON.
    pub body: String,
}

/// What each kind needs to begin with, so that a bad secret is known at the start.
///
/// # Errors
/// Says what is missing or wrong, without repeating it.
pub fn ready(channel: &Channel, token: Option<&Secret>) -> Result<(), String> {
    let needed = || format!("no secret: set {} or token_file", channel.variable());
    match channel.kind {
        Kind::Webhook if !channel.url.is_empty() => Ok(()),
        Kind::Mail if channel.user.is_empty() => Ok(()),
        Kind::Mail => token.map(drop).ok_or_else(needed),
        Kind::Telegram if is_bot_token(token.ok_or_else(needed)?) => Ok(()),
        Kind::Telegram => Err("the secret is not a bot's token".to_owned()),
        Kind::Webhook | Kind::Discord | Kind::Slack => {
            let url = token.ok_or_else(needed)?;
            https(url.reveal()).map(drop).map_err(|e| format!("the secret: {e}"))
        }
    }
}

/// Digits, a colon, and letters: nothing that would end or extend the path it is put into.
fn is_bot_token(token: &Secret) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    token.reveal().split_once(':').is_some_and(|(bot, key)| {
        let number = !bot.is_empty() && bot.chars().all(|c| c.is_ascii_digit());
        number && !key.is_empty() && key.chars().all(word)
    })
}

/// The POST that carries a message. `again` when an earlier attempt may have arrived.
#[must_use]
pub fn request(
    channel: &Channel,
    token: Option<&Secret>,
    run: u64,
    message: &Message,
    again: bool,
) -> Request {
    let secret = token.map_or("", Secret::reveal);
    let text = message.marked(again);
    let (url, body) = match channel.kind {
        Kind::Telegram => (telegram_url(&channel.url, secret), telegram(&channel.chat, &text)),
        Kind::Discord => (secret.to_owned(), discord(&text)),
        Kind::Slack => (secret.to_owned(), slack(&text)),
        Kind::Webhook if channel.url.is_empty() => (secret.to_owned(), webhook(run, message)),
        Kind::Webhook | Kind::Mail => (channel.url.clone(), webhook(run, message)),
    };
    let bears = channel.kind == Kind::Webhook && !channel.url.is_empty();
    let bearer = token.filter(|_| bears).cloned();
    Request { url: Secret::new(url), bearer, key: message.key.clone(), body }
}

fn telegram_url(server: &str, token: &str) -> String {
    let server = if server.is_empty() { TELEGRAM } else { server.trim_end_matches('/') };
    format!("{server}/bot{token}/sendMessage")
}

/// Without a `parse_mode` Telegram takes the text as it is.
fn telegram(chat: &str, text: &str) -> String {
    let mut out = String::new();
    Json::object(&mut out, |json| {
        json.put("chat_id", chat);
        json.put("text", clipped(text, TELEGRAM_MAX).as_str());
        json.nest("link_preview_options", |json| json.put("is_disabled", true));
    });
    out
}

fn discord(text: &str) -> String {
    let escaped = clipped(&escaped(text), DISCORD_MAX);
    let mut out = String::new();
    Json::object(&mut out, |json| {
        json.put("content", escaped.as_str());
        json.nest("allowed_mentions", |json| json.list("parse", std::iter::empty::<&str>()));
        json.put("flags", SUPPRESS_EMBEDS);
    });
    out
}

/// Discord has no way to switch markup off.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    for c in text.chars() {
        if matches!(c, '\\' | '*' | '_' | '~' | '`' | '|' | '<' | '>' | '[' | ']' | '#' | '@' | ':')
        {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn slack(text: &str) -> String {
    let safe = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let mut out = String::new();
    Json::object(&mut out, |json| {
        json.put("text", clipped(&safe, SLACK_MAX).as_str());
        json.put("mrkdwn", false);
        json.put("link_names", false);
        json.put("unfurl_links", false);
        json.put("unfurl_media", false);
    });
    out
}

/// Text for people and numbers for programs; the signals that are shown, whole.
fn webhook(run: u64, message: &Message) -> String {
    let mut out = String::new();
    let group = &message.group;
    Json::object(&mut out, |json| {
        json.put("id", message.key.as_str());
        json.put("run", run);
        json.put("timestamp", message.at.0);
        json.put("text", message.text.as_str());
        json.put("total", group.total());
        json.put("not_delivered_before", group.missed());
        json.nest("counts", |json| {
            for (word, n) in group.counts() {
                json.put(word, *n);
            }
        });
        json.list("signals", group.shown().iter().filter_map(signal));
    });
    out
}

/// A signal as Redis has it.
struct Whole(Report, Sent);

impl Value for Whole {
    fn write(&self, out: &mut String) {
        json::signal(&self.0, &self.1, out);
    }
}

fn signal(note: &Note) -> Option<Whole> {
    let (News::Signal(report) | News::Calm(report)) = note.news else { return None };
    // The note's time is the wall clock's for the moment the report is about.
    let now = Now { mono: report.at, wall: note.at };
    Some(Whole(report, Sent { run: note.run, now }))
}

/// At most this many characters.
fn clipped(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(4)).collect();
    // Half an escape would change what follows it.
    format!("{} ...", kept.trim_end_matches('\\'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::alert::storm::Storm;
    use crate::publish::explain::tests::sample;
    use crate::symbol::Symbol;
    use crate::time::{Millis, Nanos};

    const BOT: &str = "12345:AbC_d-ef";

    fn channel(kind: &str) -> Channel {
        let more = "url = \"https://h.example/x\"\nchat = \"-5\"";
        toml::from_str(&format!("kind = \"{kind}\"\n{more}")).unwrap()
    }

    fn message(symbol: &str) -> Message {
        let mut storm = Storm::new(0);
        let symbol = Symbol::parse(symbol).unwrap();
        let report = Report { symbol, ..sample(9) };
        storm.add(&Note { run: 7, at: Millis(1_760_130_000_009), news: News::Signal(report) });
        Message::new(7, 1, "", storm.due(Nanos(0)).unwrap(), Millis(1_760_130_000_100))
    }

    fn sent(kind: &str, token: &str, message: &Message) -> (Request, serde_json::Value) {
        let token = Secret::new(token);
        let request = request(&channel(kind), Some(&token), 7, message, false);
        let body = serde_json::from_str(&request.body).unwrap();
        (request, body)
    }

    #[test]
    fn each_place_gets_its_form() {
        let message = message("BTCUSDT");
        let (request, body) = sent("telegram", BOT, &message);
        assert_eq!(request.url.reveal(), format!("https://h.example/x/bot{BOT}/sendMessage"));
        assert_eq!(
            (body["chat_id"].as_str(), body["text"].as_str()),
            (Some("-5"), Some(&*message.text))
        );
        assert!(body.get("parse_mode").is_none() && request.bearer.is_none());
        let (_, body) = sent("discord", "https://d.example/hook", &message);
        assert_eq!(body["allowed_mentions"]["parse"].as_array().map(Vec::len), Some(0));
        let (request, body) = sent("slack", "https://s.example/hook", &message);
        assert_eq!(
            (request.url.reveal(), &body["mrkdwn"]),
            ("https://s.example/hook", &false.into())
        );
        let (request, body) = sent("webhook", "word", &message);
        assert_eq!(request.bearer.as_ref().map(Secret::reveal), Some("word"));
        assert_eq!((body["id"].as_str(), body["total"].as_u64()), (Some("7-1"), Some(1)));
        assert_eq!(body["counts"]["ALERT"], 1);
        let signal = &body["signals"][0];
        assert_eq!(
            (signal["symbol"].as_str(), signal["timestamp"].as_i64()),
            (Some("BTCUSDT"), Some(1_760_130_000_009))
        );
    }

    #[test]
    fn a_symbol_is_never_markup() {
        let message = message("__A:B/C.D__");
        let (_, body) = sent("discord", "https://d.example/hook", &message);
        assert!(body["content"].as_str().unwrap().contains(r"\_\_A\:B/C.D\_\_"), "{body}");
        let mut loud = message;
        loud.text = "<!channel> @everyone &amp; *b* [x](https://e)".to_owned();
        let (_, body) = sent("slack", "https://s.example/hook", &loud);
        assert_eq!(body["text"], "&lt;!channel&gt; @everyone &amp;amp; *b* [x](https://e)");
        let (_, body) = sent("discord", "https://d.example/hook", &loud);
        assert_eq!(body["content"], r"\<!channel\> \@everyone &amp; \*b\* \[x\](https\://e)");
        let (_, body) = sent("telegram", BOT, &loud);
        assert_eq!(body["text"], loud.text.as_str());
    }

    #[test]
    fn a_secret_that_does_not_fit_is_refused_and_not_repeated() {
        for (kind, secret) in [
            ("telegram", "hunter2"),
            ("telegram", "1:hunter2/../x"),
            ("telegram", "1:hunter2\r\nHost: x"),
            ("telegram", ":hunter2"),
            ("discord", "http://d.example/hunter2"),
            ("slack", "hunter2"),
        ] {
            let why = ready(&channel(kind), Some(&Secret::new(secret))).unwrap_err();
            assert!(!why.contains("hunter2"), "{why}");
        }
        for kind in ["telegram", "discord", "slack"] {
            assert!(ready(&channel(kind), None).unwrap_err().contains("FORESHOCK_ALERT_"));
        }
        assert_eq!(ready(&channel("telegram"), Some(&Secret::new(BOT))), Ok(()));
        assert_eq!(ready(&channel("webhook"), None), Ok(()));
        let hidden = Channel { url: String::new(), ..channel("webhook") };
        assert!(ready(&hidden, None).is_err() && ready(&hidden, Some(&Secret::new("x"))).is_err());
        let url = Secret::new("https://h.example/hidden");
        let request = request(&hidden, Some(&url), 7, &message("BTCUSDT"), false);
        assert!(request.url == url && request.bearer.is_none());
    }

    #[test]
    fn a_text_is_cut_at_the_place_s_limit() {
        let mut long = message("BTCUSDT");
        long.text = "_".repeat(5_000);
        for (kind, token, member, most) in [
            ("telegram", BOT, "text", TELEGRAM_MAX),
            ("discord", "https://d.example/hook", "content", DISCORD_MAX),
        ] {
            let (_, body) = sent(kind, token, &long);
            let text = body[member].as_str().unwrap();
            assert!(text.chars().count() <= most && text.ends_with("_ ..."), "{kind}");
        }
    }
}
