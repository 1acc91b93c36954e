//! One connection to PostgreSQL: who we are, one query, one COPY; each before a deadline.
//!
//! The crate `postgres-protocol` packs messages and takes them apart; the socket is ours, because a
//! server that is frozen must not hold us longer than we say, and on a unix socket nothing else ends a
//! wait. After any trouble the connection is dropped: a late reply would be taken for another's.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256};
use postgres_protocol::message::backend::{ErrorResponseBody, Header, Message};
use postgres_protocol::message::frontend;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Stream};
use socket2::Socket;

use super::address::{Address, PASSWORD_VARIABLE};
use super::trouble::Trouble;
use crate::publish::redis::link::{Dialer, Timed};
use crate::publish::redis::{Place, Secret};

/// Longest message taken from a server, bytes.
const MESSAGE_MAX: i32 = 1 << 20;

/// What came of a query.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// The first column of the last row; `None` where there is no row, or it is NULL.
    pub(super) cell: Option<String>,
    /// What the server calls it: `INSERT 0 1`.
    pub(super) tag: String,
}

/// A connection.
pub(super) struct Link {
    socket: Socket,
    tls: Option<ClientConnection>,
    incoming: BytesMut,
    outgoing: BytesMut,
}

impl Link {
    /// Connects and says who we are.
    pub(super) fn open(
        dialer: &mut Dialer,
        address: &Address,
        tls: Option<&Arc<ClientConfig>>,
        password: Option<&Secret>,
        deadline: Instant,
    ) -> Result<Self, Trouble> {
        let socket = dialer.socket(deadline)?;
        let (incoming, outgoing) = (BytesMut::new(), BytesMut::new());
        let mut link = Self { socket, tls: None, incoming, outgoing };
        if let (Some(config), Place::Tcp(host, _)) = (tls, &address.place) {
            link.secure(config, host, deadline)?;
        }
        let names = [
            ("user", address.user.as_str()),
            ("database", &address.database),
            ("application_name", "foreshock"),
            ("client_encoding", "UTF8"),
        ];
        frontend::startup_message(names, &mut link.outgoing)?;
        link.send(deadline)?;
        link.authenticate(address, password, deadline)?;
        Ok(link)
    }

    /// Runs `sql`, which may be several statements.
    pub(super) fn query(&mut self, sql: &str, deadline: Instant) -> Result<Answer, Trouble> {
        frontend::query(sql, &mut self.outgoing)?;
        self.send(deadline)?;
        self.answer(deadline)
    }

    /// What comes of a query, once the server is ready for another.
    fn answer(&mut self, deadline: Instant) -> Result<Answer, Trouble> {
        let (mut answer, mut refused) = (Answer::default(), None);
        loop {
            // A server that ends says why, and is ready for nothing more.
            let message = self.receive(deadline).map_err(|e| refused.take().unwrap_or(e))?;
            match message {
                Message::DataRow(row) => answer.cell = first_cell(&row)?,
                Message::CommandComplete(done) => answer.tag = done.tag()?.to_owned(),
                Message::ReadyForQuery(_) => return refused.map_or(Ok(answer), Err),
                Message::ErrorResponse(body) => refused = Some(refusal(&body)),
                Message::RowDescription(_) | Message::EmptyQueryResponse => {}
                _ => return Err(strange()),
            }
        }
    }

    /// Runs `sql`, a COPY from us, with `data`; the number of rows the server took.
    pub(super) fn copy(
        &mut self,
        sql: &str,
        data: &[&[u8]],
        deadline: Instant,
    ) -> Result<u64, Trouble> {
        frontend::query(sql, &mut self.outgoing)?;
        self.send(deadline)?;
        match self.receive(deadline)? {
            Message::CopyInResponse(_) => {}
            Message::ErrorResponse(body) => return Err(refusal(&body)),
            _ => return Err(strange()),
        }
        for part in data {
            frontend::CopyData::new(*part)?.write(&mut self.outgoing);
        }
        frontend::copy_done(&mut self.outgoing);
        self.send(deadline)?;
        copied(&self.answer(deadline)?.tag).ok_or_else(strange)
    }

    /// Asks for TLS and begins it.
    fn secure(
        &mut self,
        config: &Arc<ClientConfig>,
        host: &str,
        deadline: Instant,
    ) -> Result<(), Trouble> {
        frontend::ssl_request(&mut self.outgoing);
        self.send(deadline)?;
        let mut answer = [0];
        Timed { socket: &self.socket, deadline }.read_exact(&mut answer)?;
        if answer != *b"S" {
            return Err(Trouble::change(
                "this PostgreSQL offers no TLS: use a unix socket or a tunnel, or say \
                 sslmode=disable",
            ));
        }
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|_| Trouble::change("tls: not a host's name"))?;
        let tls = ClientConnection::new(Arc::clone(config), name);
        self.tls = Some(tls.map_err(|e| Trouble::change(format!("tls: {e}")))?);
        Ok(())
    }

    fn authenticate(
        &mut self,
        address: &Address,
        password: Option<&Secret>,
        deadline: Instant,
    ) -> Result<(), Trouble> {
        let secret = || {
            let missing = || format!("PostgreSQL wants a password: set {PASSWORD_VARIABLE}");
            password.map(|p| p.reveal().as_bytes()).ok_or_else(|| Trouble::change(missing()))
        };
        let mut scram = None;
        loop {
            match self.receive(deadline)? {
                Message::AuthenticationOk | Message::BackendKeyData(_) => {}
                Message::AuthenticationCleartextPassword if address.is_private() => {
                    frontend::password_message(secret()?, &mut self.outgoing)?;
                }
                Message::AuthenticationCleartextPassword => {
                    return Err(Trouble::change("PostgreSQL wants the password in the clear"));
                }
                Message::AuthenticationMd5Password(body) => {
                    let hash = md5_hash(address.user.as_bytes(), secret()?, body.salt());
                    frontend::password_message(hash.as_bytes(), &mut self.outgoing)?;
                }
                Message::AuthenticationSasl(body) => {
                    if !body.mechanisms().any(|name| Ok(name == SCRAM_SHA_256))? {
                        return Err(Trouble::change("PostgreSQL wants another proof than SCRAM"));
                    }
                    let begun = ScramSha256::new(secret()?, ChannelBinding::unsupported());
                    let out = &mut self.outgoing;
                    frontend::sasl_initial_response(SCRAM_SHA_256, begun.message(), out)?;
                    scram = Some(begun);
                }
                Message::AuthenticationSaslContinue(body) => {
                    let scram = scram.as_mut().ok_or_else(strange)?;
                    scram.update(body.data())?;
                    frontend::sasl_response(scram.message(), &mut self.outgoing)?;
                }
                Message::AuthenticationSaslFinal(body) => {
                    // The server proves that it knows the password too.
                    scram.as_mut().ok_or_else(strange)?.finish(body.data())?;
                }
                Message::ReadyForQuery(_) => return Ok(()),
                Message::ErrorResponse(body) => return Err(refusal(&body)),
                _ => {
                    return Err(Trouble::change("PostgreSQL wants a proof that is not known here"));
                }
            }
            self.send(deadline)?;
        }
    }

    fn send(&mut self, deadline: Instant) -> io::Result<()> {
        let mut timed = Timed { socket: &self.socket, deadline };
        match &mut self.tls {
            Some(tls) => Stream::new(tls, &mut timed).write_all(&self.outgoing)?,
            None => timed.write_all(&self.outgoing)?,
        }
        self.outgoing.clear();
        Ok(())
    }

    /// The next message that is for us: not a notice, nor a setting of the server.
    fn receive(&mut self, deadline: Instant) -> Result<Message, Trouble> {
        loop {
            let header = Header::parse(&self.incoming)?;
            if header.is_some_and(|header| header.len() > MESSAGE_MAX) {
                return Err(strange());
            }
            match Message::parse(&mut self.incoming)? {
                Some(
                    Message::NoticeResponse(_)
                    | Message::ParameterStatus(_)
                    | Message::NotificationResponse(_),
                ) => {}
                Some(message) => return Ok(message),
                None => self.read(deadline)?,
            }
        }
    }

    fn read(&mut self, deadline: Instant) -> io::Result<()> {
        let mut timed = Timed { socket: &self.socket, deadline };
        let mut bytes = [0; 4096];
        let n = match &mut self.tls {
            Some(tls) => Stream::new(tls, &mut timed).read(&mut bytes)?,
            None => timed.read(&mut bytes)?,
        };
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.incoming.extend_from_slice(bytes.get(..n).unwrap_or_default());
        Ok(())
    }
}

fn first_cell(
    row: &postgres_protocol::message::backend::DataRowBody,
) -> Result<Option<String>, Trouble> {
    let range = row.ranges().next()?.flatten();
    let bytes = range.and_then(|range| row.buffer().get(range));
    Ok(bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
}

/// The rows in `COPY 12`.
fn copied(tag: &str) -> Option<u64> {
    tag.strip_prefix("COPY ")?.parse().ok()
}

fn refusal(body: &ErrorResponseBody) -> Trouble {
    let (mut state, mut message) = (String::new(), String::new());
    let mut fields = body.fields();
    while let Ok(Some(field)) = fields.next() {
        let text = || String::from_utf8_lossy(field.value_bytes()).into_owned();
        match field.type_() {
            b'C' => state = text(),
            b'M' => message = text(),
            _ => {}
        }
    }
    Trouble::of_reply(&state, &message)
}

fn strange() -> Trouble {
    Trouble::wait("this does not speak as PostgreSQL does".to_owned())
}
