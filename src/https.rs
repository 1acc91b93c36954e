//! HTTPS as it is asked for from here: certificates are always checked, no redirect is followed, no proxy
//! asked, no connection kept, and every wait has an end. Waits: never called from a stage.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::pki_types::CertificateDer;
use tungstenite::http::HeaderMap;
use ureq::config::Config;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// How a request is made that believes `roots`, finds and reaches its server within `connect` each,
/// and has its answer within `whole`. Whatever the status is, it is no error.
#[must_use]
pub fn config(roots: RootCerts, connect: Duration, whole: Duration) -> Config {
    let tls = TlsConfig::builder()
        .root_certs(roots)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
    ureq::Agent::config_builder()
        .tls_config(tls.build())
        .https_only(true)
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        // Requests are few: a connection kept for another is only one more that can fail.
        .max_idle_connections(0)
        .user_agent(concat!("foreshock/", env!("CARGO_PKG_VERSION")))
        .timeout_resolve(Some(connect))
        .timeout_connect(Some(connect))
        .timeout_global(Some(whole))
        .build()
}

/// These certificates, instead of the built-in ones.
#[must_use]
pub fn roots(certificates: &[CertificateDer<'_>]) -> RootCerts {
    let owned = certificates.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    RootCerts::Specific(Arc::new(owned))
}

/// How long a server wants to be left alone: `Retry-After` in seconds, or until a date. A date is counted
/// from the server's own `Date` where it says one, whatever our clock shows, else from `now`. What cannot
/// be read is not said; what has passed is no pause.
#[must_use]
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let said = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let text = said("Retry-After")?;
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds)
            .ok()
            .or((seconds >= 1.0).then_some(Duration::MAX));
    }
    let until = http_date(text)?;
    let now = said("Date").and_then(http_date).unwrap_or_else(|| {
        now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |passed| passed.as_secs())
    });
    Some(Duration::from_secs(until.saturating_sub(now)))
}

/// Seconds since 1970 at `Sun, 06 Nov 1994 08:49:37 GMT`, the one form of a date that is sent today.
fn http_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Jan", "Feb"];
    let mut words = text.split_once(", ")?.1.split(' ');
    let day: u64 = words.next()?.parse().ok().filter(|day| (1..=31).contains(day))?;
    let name = words.next()?;
    // Years that begin in March end with the leap day.
    let month = MONTHS.iter().position(|known| *known == name)? as u64;
    let year: u64 = words.next()?.parse().ok().filter(|year| (1970..=9999).contains(year))?;
    let year = if month < 10 { year } else { year - 1 };
    let clock = words.next()?;
    if words.next() != Some("GMT") || words.next().is_some() {
        return None;
    }
    let mut parts = clock.splitn(3, ':').map(|part| part.parse::<u64>().ok());
    let [h, m, s] = [parts.next()??, parts.next()??, parts.next()??];
    if h > 23 || m > 59 || s > 60 {
        return None;
    }
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    // 719,468 days from 0000-03-01 to 1970-01-01.
    Some(days.checked_sub(719_468)? * 86_400 + h * 3_600 + m * 60 + s)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(retry_after: &str, date: Option<&str>, now_s: u64) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert("Retry-After", retry_after.parse().unwrap());
        date.map(|date| headers.insert("Date", date.parse().unwrap()));
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now_s);
        super::retry_after(&headers, now).map(|pause| pause.as_secs())
    }

    #[test]
    fn a_pause_is_said_in_seconds_or_as_a_date() {
        let until = "Sun, 06 Nov 1994 08:49:37 GMT";
        for (text, date, now_s, pause) in [
            ("7", None, 0, Some(7)),
            (" 7 ", None, 0, Some(7)),
            ("0.5", None, 0, Some(0)),
            ("1e300", None, 0, Some(u64::MAX)),
            ("-1", None, 0, None),
            ("nan", None, 0, None),
            ("soon", None, 0, None),
            ("", None, 0, None),
            (until, None, 784_111_777 - 90, Some(90)),
            (until, None, 784_111_777 + 90, Some(0)),
            // Our clock is wrong by years: the server's own counts.
            (until, Some("Sun, 06 Nov 1994 08:48:37 GMT"), 1_795_132_800, Some(60)),
            (until, Some("yesterday"), 784_111_777 - 5, Some(5)),
            ("Sun, 06 Nov 1994 08:49:37 CET", None, 0, None),
            ("Sun, 06 Nov 1994 24:49:37 GMT", None, 0, None),
            ("Sun, 99 Nov 1994 08:49:37 GMT", None, 0, None),
            ("Sun, 06 Foo 1994 08:49:37 GMT", None, 0, None),
            ("Sun, 06 Nov 1994 08:49:37 GMT more", None, 0, None),
            ("Sun, 06 Nov 99999999999999999999 08:49:37 GMT", None, 0, None),
        ] {
            assert_eq!(asked(text, date, now_s), pause, "{text}");
        }
    }

    #[test]
    fn dates_are_the_calendar_s() {
        for (text, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Tue, 29 Feb 2000 12:00:00 GMT", 951_825_600),
            ("Wed, 01 Mar 2000 00:00:00 GMT", 951_868_800),
            ("Fri, 10 Oct 2025 21:00:00 GMT", 1_760_130_000),
            ("Thu, 31 Dec 2099 23:59:59 GMT", 4_102_444_799),
        ] {
            assert_eq!(http_date(text), Some(seconds), "{text}");
        }
    }
}
