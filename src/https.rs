//! HTTPS as it is asked for from here: certificates are always checked, no redirect is followed, no proxy
//! asked, no connection kept, and every wait has an end. Waits: never called from a stage.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
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
