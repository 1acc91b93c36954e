//! TLS to Redis: whom we believe, and who we say we are.
//!
//! The server's certificate is always checked, against the authorities in `ca_file` or else the built-in
//! ones. A server that wants to know its clients (Redis does by default) is shown the certificate in
//! `cert_file`, whose key only its owner may read.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection};

use super::Settings;
use super::address::{Address, Secret};
use crate::tls;

/// How TLS is spoken with one server.
#[derive(Clone, Debug)]
pub struct Trust {
    client: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Trust {
    /// `None` where the address is not reached over TLS.
    ///
    /// # Errors
    /// When a file of certificates or the key cannot be had.
    pub fn find(settings: &Settings, address: &Address) -> Result<Option<Self>, String> {
        if !address.tls {
            return Ok(None);
        }
        let host = address.place.host().into_owned();
        let name = ServerName::try_from(host.clone());
        let name = name.map_err(|_| format!("url: {host:?} is not a host name"))?;
        let client = Arc::new(client(settings)?);
        Ok(Some(Self { client, name }))
    }

    /// A connection that has said nothing yet.
    ///
    /// # Errors
    /// When the library has none to give.
    pub fn begin(&self) -> Result<ClientConnection, rustls::Error> {
        ClientConnection::new(Arc::clone(&self.client), self.name.clone())
    }
}

fn client(settings: &Settings) -> Result<ClientConfig, String> {
    let roots = tls::roots(&settings.ca_file).map_err(|e| format!("ca_file: {e}"))?;
    let client = tls::believing(roots)?;
    let own = tls::file_of_certificates(&settings.cert_file);
    let Some(own) = own.map_err(|e| format!("cert_file: {e}"))? else {
        return Ok(client.with_no_client_auth());
    };
    let key = Secret::read(&settings.key_file).map_err(|e| format!("key_file: {e}"))?;
    let shown = settings.key_file.display();
    let key = PrivateKeyDer::from_pem_slice(key.reveal().as_bytes())
        .map_err(|_| format!("key_file: {shown}: no private key in it"))?;
    client.with_client_auth_cert(own, key).map_err(|e| format!("cert_file, key_file: {e}"))
}
