//! TLS as it is spoken from here: certificates are always checked, and there is no switch to leave that
//! out. What is wrong with one is said in words: which host, which dates, and what helps.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ConfigBuilder, Error, RootCertStore,
};

/// A client that believes `roots`; it only remains to say who it is itself.
///
/// # Errors
/// When the library has no version of TLS to offer.
pub fn believing(
    roots: RootCertStore,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("tls: {e}"))?;
    Ok(versions.with_root_certificates(roots))
}

/// The authorities whose certificates are built in.
#[must_use]
pub fn built_in() -> RootCertStore {
    RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }
}

/// The authorities in a PEM file and no other; the built-in ones where its path is empty.
///
/// # Errors
/// When it cannot be read or holds none.
pub fn roots(file: &Path) -> Result<RootCertStore, String> {
    let Some(own) = file_of_certificates(file)? else { return Ok(built_in()) };
    let mut roots = RootCertStore::empty();
    for certificate in own {
        roots.add(certificate).map_err(|e| format!("{}: {e}", file.display()))?;
    }
    Ok(roots)
}

/// The certificates in a PEM file; `None` where its path is empty.
///
/// # Errors
/// When it cannot be read or holds none.
pub fn file_of_certificates(file: &Path) -> Result<Option<Vec<CertificateDer<'static>>>, String> {
    if file.as_os_str().is_empty() {
        return Ok(None);
    }
    let shown = file.display();
    let pem = std::fs::read(file).map_err(|e| format!("{shown}: {e}"))?;
    certificates(&pem).map(Some).map_err(|e| format!("{shown}: {e}"))
}

/// The certificates in PEM; at least one.
///
/// # Errors
/// When there is none, or one is damaged.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err("no certificate in it".to_owned()),
        Ok(found) => Ok(found),
        Err(e) => Err(e.to_string()),
    }
}

/// What TLS says about an error of a connection, if it is the one that says it.
#[must_use]
pub fn said(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// An error of a conversation with `host`, in words that begin with `tls: `.
#[must_use]
pub fn words(host: &str, error: &Error) -> String {
    match error {
        Error::InvalidCertificate(e) => certificate_words(host, e),
        Error::InvalidMessage(_) => format!("tls: {host} does not speak TLS here"),
        Error::AlertReceived(AlertDescription::CertificateRequired) => {
            format!("tls: {host} wants a certificate of ours")
        }
        Error::AlertReceived(alert) => format!("tls: {host} breaks off: {alert:?}"),
        e => format!("tls: {e}"),
    }
}

fn certificate_words(host: &str, error: &CertificateError) -> String {
    match error {
        CertificateError::ExpiredContext { time, not_after } => format!(
            "tls: certificate of {host} expired on {}, and this machine says {}: check its clock",
            date(*not_after),
            date(*time)
        ),
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "tls: certificate of {host} begins on {}, and this machine says {}: check its clock",
            date(*not_before),
            date(*time)
        ),
        // Two authorities may bear the same name: then only the signature tells them apart.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            format!("tls: certificate of {host} is from an authority that is not trusted")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("tls: certificate is for another host than {host}")
        }
        other => format!("tls: certificate of {host}: {other}"),
    }
}

/// `2026-11-20`, by counting 400-year eras of days from 1 March of year 0.
fn date(time: UnixTime) -> String {
    let days = time.as_secs() / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year_of_era = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day_of_month:02}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn dates_are_the_calendar_s() {
        for (secs, text) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (1_795_132_800, "2026-11-20"),
            (4_102_444_799, "2099-12-31"),
        ] {
            assert_eq!(date(UnixTime::since_unix_epoch(Duration::from_secs(secs))), text);
        }
    }
}
