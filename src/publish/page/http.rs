//! HTTP/1.1 as far as the page needs it: one request for each connection, read within limits.
//!
//! A page on the internet can make a browser ask us things: by a name that it points at 127.0.0.1 (DNS
//! rebinding) or straight away. So a server on loopback answers only to loopback names, requests that
//! another site's page makes are refused, nothing is ever allowed across origins, and there is nothing
//! to change here in the first place: only GET and HEAD.

use std::net::IpAddr;

/// Largest head of a request, bytes.
pub const HEAD_MAX: usize = 8 * 1024;
/// Most headers of a request.
const HEADERS_MAX: usize = 64;

/// A request that may be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Only the head of the answer is wanted.
    pub head_only: bool,
    /// Up to the `?`.
    pub path: String,
    /// Behind it.
    pub query: String,
}

impl Request {
    /// A value of the query, decoded; `None` when it is not there or not text.
    pub fn value(&self, key: &str) -> Option<String> {
        let pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        let (_, value) = pairs.into_iter().find(|(name, _)| *name == key)?;
        decoded(value)
    }
}

/// `%e5%b8%81` is a character.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// What a request is refused with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status line's number and word.
    pub status: &'static str,
    /// One word for the books.
    pub reason: &'static str,
}

const fn refuse(status: &'static str, reason: &'static str) -> Refusal {
    Refusal { status, reason }
}

/// Whom to answer.
#[derive(Clone, Debug)]
pub struct Guard {
    /// Whether only this machine can reach us.
    pub is_loopback: bool,
    /// Names that are ours beside those of loopback.
    pub hosts: Vec<String>,
}

impl Guard {
    /// Reads a request; `None` while it is not complete.
    ///
    /// # Errors
    /// Why it is not answered.
    pub fn read(&self, bytes: &[u8]) -> Result<Option<Request>, Refusal> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut parsed = httparse::Request::new(&mut headers);
        match parsed.parse(bytes) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) if bytes.len() < HEAD_MAX => return Ok(None),
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
                return Err(refuse("431 Request Header Fields Too Large", "too_large"));
            }
            Err(_) => return Err(refuse("400 Bad Request", "malformed")),
        }
        let (Some(method), Some(target)) = (parsed.method, parsed.path) else {
            return Err(refuse("400 Bad Request", "malformed"));
        };
        if !matches!(method, "GET" | "HEAD") {
            return Err(refuse("405 Method Not Allowed", "method"));
        }
        self.admit(parsed.headers)?;
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (path, query) = (path.to_owned(), query.to_owned());
        Ok(Some(Request { head_only: method == "HEAD", path, query }))
    }

    fn admit(&self, headers: &[httparse::Header<'_>]) -> Result<(), Refusal> {
        let all = |name: &str| {
            let named: Vec<&[u8]> = headers
                .iter()
                .filter(|header| header.name.eq_ignore_ascii_case(name))
                .map(|header| header.value)
                .collect();
            named
        };
        let one = |name: &str| all(name).first().and_then(|value| std::str::from_utf8(value).ok());
        if !all("transfer-encoding").is_empty() || one("content-length").is_some_and(|n| n != "0") {
            return Err(refuse("413 Content Too Large", "body"));
        }
        let hosts = all("host");
        let [host] = hosts.as_slice() else { return Err(refuse("400 Bad Request", "host")) };
        let host = std::str::from_utf8(host).unwrap_or_default();
        if !self.is_ours(name_of(host)) {
            return Err(refuse("421 Misdirected Request", "host"));
        }
        // A link on another page may lead here; what that page asks for by itself may not.
        let site = one("sec-fetch-site").unwrap_or("none");
        let linked = one("sec-fetch-mode") == Some("navigate");
        if matches!(site, "cross-site" | "same-site") && !linked {
            return Err(refuse("403 Forbidden", "cross_site"));
        }
        Ok(())
    }

    fn is_ours(&self, name: &str) -> bool {
        let ip = name.trim_matches(['[', ']']).parse::<IpAddr>();
        let is_loopback =
            name.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback());
        let is_named = self.hosts.iter().any(|own| own.eq_ignore_ascii_case(name));
        !self.is_loopback || is_loopback || is_named
    }
}

/// A `Host` without its port.
fn name_of(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

/// What an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// A page.
    Html,
    /// Its look.
    Css,
    /// What makes it move.
    Script,
    /// Its picture.
    Svg,
    /// For programs.
    Json,
    /// For people.
    Text,
    /// Prometheus' own.
    Metrics,
    /// Server-sent events.
    Events,
}

impl Content {
    const fn mime(self) -> &'static str {
        match self {
            Self::Html => "text/html; charset=utf-8",
            Self::Css => "text/css; charset=utf-8",
            Self::Script => "text/javascript; charset=utf-8",
            Self::Svg => "image/svg+xml",
            Self::Json => "application/json",
            Self::Text => "text/plain; charset=utf-8",
            Self::Metrics => "text/plain; version=0.0.4; charset=utf-8",
            Self::Events => "text/event-stream",
        }
    }
}

/// What every answer forbids: anything from elsewhere, anything inline, any frame around it.
pub const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                          connect-src 'self'; base-uri 'none'; form-action 'none'; \
                          frame-ancestors 'none'; require-trusted-types-for 'script'";

/// The head of an answer; `length` is that of its body, where it has an end.
pub fn head(status: &str, content: Content, length: Option<usize>) -> String {
    let mime = content.mime();
    let mut head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {mime}\r\nCache-Control: no-store\r\n\
         Content-Security-Policy: {POLICY}\r\nX-Content-Type-Options: nosniff\r\n\
         Referrer-Policy: no-referrer\r\nCross-Origin-Resource-Policy: same-origin\r\n\
         Cross-Origin-Opener-Policy: same-origin\r\nConnection: close\r\n"
    );
    if let Some(length) = length {
        head.push_str(&format!("Content-Length: {length}\r\n"));
    }
    if status.starts_with("405") {
        head.push_str("Allow: GET, HEAD\r\n");
    }
    if status.starts_with("503") {
        head.push_str("Retry-After: 2\r\n");
    }
    head.push_str("\r\n");
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local() -> Guard {
        Guard { is_loopback: true, hosts: vec!["page.example".to_owned()] }
    }

    fn status(head: &str) -> &'static str {
        match local().read(format!("{head}\r\n\r\n").as_bytes()) {
            Ok(Some(_)) => "200",
            Ok(None) => "more",
            Err(refusal) => &refusal.status[..3],
        }
    }

    #[test]
    fn only_loopback_names_and_own_ones_are_answered() {
        for host in ["localhost:9310", "127.0.0.1:9310", "[::1]:9310", "LOCALHOST", "page.example"]
        {
            assert_eq!(status(&format!("GET / HTTP/1.1\r\nHost: {host}")), "200", "{host}");
        }
        for host in [
            "evil.example:9310",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "",
            "10.0.0.1",
        ] {
            assert_eq!(status(&format!("GET / HTTP/1.1\r\nHost: {host}")), "421", "{host:?}");
        }
        assert_eq!(status("GET / HTTP/1.1"), "400");
        assert_eq!(status("GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example"), "400");
        let open = Guard { is_loopback: false, hosts: Vec::new() };
        let request = b"GET /metrics HTTP/1.1\r\nHost: engine.lan:9310\r\n\r\n";
        assert!(open.read(request).is_ok_and(|request| request.is_some()));
    }

    #[test]
    fn what_changes_or_carries_something_is_refused() {
        let with = |first: &str, more: &str| format!("{first} HTTP/1.1\r\nHost: localhost{more}");
        for (first, more, expected) in [
            ("HEAD /", "", "200"),
            ("POST /", "", "405"),
            ("OPTIONS /", "\r\nOrigin: http://evil.example", "405"),
            ("GET /", "\r\nContent-Length: 5", "413"),
            ("GET /", "\r\nTransfer-Encoding: chunked", "413"),
            ("GET /", "\r\nSec-Fetch-Site: same-origin", "200"),
            ("GET /events", "\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: cors", "403"),
            ("GET /events", "\r\nSec-Fetch-Site: same-site\r\nSec-Fetch-Mode: cors", "403"),
            ("GET /", "\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate", "200"),
        ] {
            assert_eq!(status(&with(first, more)), expected, "{first} {more}");
        }
    }

    #[test]
    fn a_request_has_an_end_and_a_largest_size() {
        assert_eq!(local().read(b"GET / HTTP/1.1\r\nHost: loc"), Ok(None));
        let long = format!("GET /{} HTTP/1.1\r\n", "x".repeat(HEAD_MAX));
        assert!(local().read(long.as_bytes()).is_err_and(|refusal| refusal.reason == "too_large"));
        let many = format!("GET / HTTP/1.1\r\n{}", "A: b\r\n".repeat(HEADERS_MAX + 1));
        assert!(local().read(many.as_bytes()).is_err_and(|refusal| refusal.reason == "too_large"));
        assert!(local().read(b"\x16\x03\x01\x02\x00").is_err());
    }

    #[test]
    fn a_query_is_decoded_or_not_there() {
        let request = |query: &str| Request {
            head_only: false,
            path: String::new(),
            query: query.to_owned(),
        };
        assert_eq!(request("a=1&symbol=%e5%b8%81USDT").value("symbol").as_deref(), Some("币USDT"));
        for bad in ["", "symbol", "symbol=%", "symbol=%zz", "symbol=%ff", "xsymbol=a"] {
            assert_eq!(request(bad).value("symbol"), None, "{bad}");
        }
    }
}
