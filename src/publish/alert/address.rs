//! Which addresses a message may go to.
//!
//! A webhook's URL is text somebody wrote, and a name may mean any address. So the address itself is
//! looked at, after the name has been resolved and before a connection is made to exactly that address:
//! whatever spelling was used, what is not on the public internet is refused, unless it is allowed.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tungstenite::http::Uri;
use ureq::Error;
use ureq::config::Config;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// Blocks of IPv4 that are not public hosts: address and length.
const CLOSED_V4: [(Ipv4Addr, u32); 15] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// Blocks within the public part of IPv6 (2000::/3) that are not public hosts. 2001::/23 holds Teredo,
/// 2002::/16 is 6to4: both hide an IPv4 address.
const CLOSED_V6: [(Ipv6Addr, u32); 4] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// Whether an address is that of a host on the public internet.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => match hidden_v4(v6) {
            Some(v4) => is_public_v4(v4),
            None => v6.segments()[0] >> 13 == 1 && !CLOSED_V6.iter().any(|block| holds(block, v6)),
        },
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let bits = address.to_bits();
    !CLOSED_V4.iter().any(|(block, length)| (bits ^ block.to_bits()) >> (32 - length) == 0)
}

fn holds((block, length): &(Ipv6Addr, u32), address: Ipv6Addr) -> bool {
    (address.to_bits() ^ block.to_bits()) >> (128 - length) == 0
}

/// The IPv4 address that a connection to this one ends at: mapped (`::ffff:a.b.c.d`), or translated by
/// the network (`64:ff9b::a.b.c.d`).
fn hidden_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let nat64 = (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);
    let [.., a, b, c, d] = address.octets();
    let low = Ipv4Addr::new(a, b, c, d);
    address.to_ipv4_mapped().or_else(|| holds(&nat64, address).then_some(low))
}

/// An address that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused(pub IpAddr);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not a public address: refused (see allow_private)", self.0)
    }
}

impl std::error::Error for Refused {}

/// Refuses all of them when one is not public: a name that means both is a trick.
///
/// # Errors
/// The first that is not.
pub fn admit(addresses: &[SocketAddr]) -> Result<(), Refused> {
    let inside = addresses.iter().find(|address| !is_public(address.ip()));
    inside.map_or(Ok(()), |address| Err(Refused(address.ip())))
}

/// Resolves names and looks at what they mean. The connection is made to what it gives, so a name
/// cannot mean something else a moment later.
#[derive(Debug, Default)]
pub struct Checked {
    /// Whether any address will do.
    pub allow_private: bool,
    system: DefaultResolver,
}

impl Checked {
    /// A resolver that refuses what is not public, unless that is allowed.
    #[must_use]
    pub fn new(allow_private: bool) -> Self {
        Self { allow_private, ..Self::default() }
    }
}

impl Resolver for Checked {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let found = self.system.resolve(uri, config, timeout)?;
        if !self.allow_private {
            admit(&found).map_err(|refused| Error::Other(Box::new(refused)))?;
        }
        Ok(found)
    }
}

/// A URL that a message may be posted to: https, a host, nobody's name or password in it.
///
/// # Errors
/// Says what is wrong, without repeating it: it may be a secret.
pub fn https(url: &str) -> Result<Uri, String> {
    let uri: Uri = url.parse().map_err(|_| "not a URL".to_owned())?;
    if uri.scheme_str() != Some("https") {
        return Err("only https:// is allowed".to_owned());
    }
    let authority = uri.authority().ok_or("no host")?;
    if authority.as_str().contains('@') {
        return Err("a name or password does not belong into a URL".to_owned());
    }
    if authority.host().is_empty() {
        return Err("no host".to_owned());
    }
    Ok(uri)
}

#[cfg(test)]
mod tests {
    use std::net::ToSocketAddrs;

    use super::*;

    /// What names mean here, so that no name server is asked.
    fn look_up(host: &str, port: u16) -> Vec<SocketAddr> {
        let numbers: &[&str] = match host {
            "hooks.example.com" => &["93.184.215.14", "2606:4700::6810:84e5"],
            "inside.example.com" => &["10.1.2.3"],
            "rebound.example.com" => &["93.184.215.14", "127.0.0.1"],
            "six.example.com" => &["93.184.215.14", "fd00::1"],
            // Numbers in any spelling: the system's resolver reads them without asking anyone.
            spelled => {
                return (spelled, port)
                    .to_socket_addrs()
                    .map_or_else(|_| Vec::new(), Iterator::collect);
            }
        };
        numbers.iter().map(|number| SocketAddr::new(number.parse().unwrap(), port)).collect()
    }

    fn admitted(url: &str) -> bool {
        let Ok(uri) = https(url) else { return false };
        let host = uri.host().unwrap().trim_matches(['[', ']']).to_owned();
        let found = look_up(&host, uri.port_u16().unwrap_or(443));
        !found.is_empty() && admit(&found).is_ok()
    }

    #[test]
    fn public_hosts_are_admitted() {
        for url in [
            "https://hooks.example.com/x",
            "https://hooks.example.com:8443/x?y=z",
            "https://93.184.215.14/",
            "https://1.1.1.1/",
            "https://11.0.0.1/",
            "https://100.63.255.255/",
            "https://100.128.0.1/",
            "https://172.15.255.255/",
            "https://172.32.0.1/",
            "https://192.167.255.255/",
            "https://223.255.255.255/",
            "https://[2606:4700::6810:84e5]/",
            "https://[::ffff:93.184.215.14]/",
            "https://[64:ff9b::5db8:d70e]/",
            "https://[2400::1]/",
        ] {
            assert!(admitted(url), "{url}");
        }
    }

    #[test]
    fn everything_else_is_refused_however_it_is_spelled() {
        for url in [
            "http://hooks.example.com/x",
            "ftp://hooks.example.com/x",
            "file:///etc/passwd",
            "gopher://hooks.example.com/",
            "hooks.example.com/x",
            "//hooks.example.com/x",
            "https:///x",
            "https://",
            "",
            "https://user@hooks.example.com/",
            "https://user:word@hooks.example.com/",
            "https://hooks.example.com@127.0.0.1/",
            "https://127.0.0.1/",
            "https://127.1/",
            "https://127.255.255.254:8443/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0x7f.1/",
            "https://0177.0.0.1/",
            "https://017700000001/",
            "https://0/",
            "https://0.0.0.0/",
            "https://0.1.2.3/",
            "https://10.0.0.1/",
            "https://10.255.255.255/",
            "https://0xa.0.0.1/",
            "https://172.16.0.1/",
            "https://172.31.255.255/",
            "https://192.168.1.1/",
            "https://3232235777/",
            "https://169.254.169.254/latest/meta-data/",
            "https://2852039166/",
            "https://0xa9fea9fe/",
            "https://0251.0376.0251.0376/",
            "https://100.64.0.1/",
            "https://192.0.0.8/",
            "https://198.18.0.1/",
            "https://224.0.0.1/",
            "https://255.255.255.255/",
            "https://[::]/",
            "https://[::1]/",
            "https://[0:0:0:0:0:0:0:1]/",
            "https://[::127.0.0.1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:7f00:1]/",
            "https://[::ffff:a9fe:a9fe]/",
            "https://[::ffff:10.0.0.1]/",
            "https://[64:ff9b::7f00:1]/",
            "https://[64:ff9b:1::1]/",
            "https://[2002:7f00:1::]/",
            "https://[2001::1]/",
            "https://[2001:db8::1]/",
            "https://[fc00::1]/",
            "https://[fd12:3456::1]/",
            "https://[fe80::1]/",
            "https://[fec0::1]/",
            "https://[ff02::1]/",
            "https://[100::1]/",
            "https://inside.example.com/",
            "https://rebound.example.com/",
            "https://six.example.com/",
        ] {
            assert!(!admitted(url), "{url}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_url_is_said_without_the_url() {
        for url in ["http://h/hunter2", "https://u:hunter2@h/", "https://h h/hunter2"] {
            let why = https(url).unwrap_err();
            assert!(!why.contains("hunter2"), "{why}");
        }
    }
}
