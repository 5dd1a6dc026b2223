//! Recognising mesh TLS before answering it.
//!
//! The inbound side peeks at the first bytes and terminates only a ClientHello whose SNI is its own
//! name; all else must reach the application untouched. So this reads a ClientHello without
//! consuming it, without a TLS library's state, and without trusting a length in it.

/// Bytes that are looked at. A ClientHello that needs more is not for this proxy.
pub const MAX_CLIENT_HELLO_BYTES: usize = 8192;

const RECORD_HANDSHAKE: u8 = 22;
const MESSAGE_CLIENT_HELLO: u8 = 1;
const EXTENSION_SERVER_NAME: u16 = 0;
const NAME_TYPE_HOST: u8 = 0;

/// What the first bytes of a connection are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientHello {
    /// Too few bytes to tell; read more.
    Incomplete,
    /// Something else, or a ClientHello that breaks the grammar or exceeds the limit.
    NotTls,
    /// A whole ClientHello.
    Sni(Option<String>),
}

/// Reads the SNI from the first bytes of a connection.
#[must_use]
pub fn peek(bytes: &[u8]) -> ClientHello {
    let mut message = Vec::new();
    let complete = match reassemble(bytes, &mut message) {
        Some(complete) => complete,
        None => return ClientHello::NotTls,
    };
    if !complete {
        return if bytes.len() >= MAX_CLIENT_HELLO_BYTES {
            ClientHello::NotTls
        } else {
            ClientHello::Incomplete
        };
    }
    read_sni(&message).map_or(ClientHello::NotTls, ClientHello::Sni)
}

/// Joins the handshake records into the body of one ClientHello. `Some(false)` wants more bytes.
fn reassemble(mut bytes: &[u8], message: &mut Vec<u8>) -> Option<bool> {
    loop {
        if let Some((header, body)) = message.split_at_checked(4) {
            if header[0] != MESSAGE_CLIENT_HELLO {
                return None;
            }
            let length =
                usize::from(header[1]) << 16 | usize::from(header[2]) << 8 | usize::from(header[3]);
            if length > MAX_CLIENT_HELLO_BYTES {
                return None;
            }
            if body.len() >= length {
                message.drain(..4);
                message.truncate(length);
                return Some(true);
            }
        }
        if bytes.first().is_some_and(|kind| *kind != RECORD_HANDSHAKE)
            || bytes.get(1).is_some_and(|major| *major != 3)
        {
            return None;
        }
        let Some((header, rest)) = bytes.split_at_checked(5) else {
            return Some(false);
        };
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        // RFC 8446 5.1: at most 2^14, and no empty handshake record.
        if length == 0 || length > 1 << 14 {
            return None;
        }
        let Some((fragment, rest)) = rest.split_at_checked(length) else {
            return match (message.first(), rest.first()) {
                (None, Some(kind)) if *kind != MESSAGE_CLIENT_HELLO => None,
                _ => Some(false),
            };
        };
        message.extend_from_slice(fragment);
        bytes = rest;
    }
}

/// The host name in a ClientHello's body; the outer `None` is a broken body.
fn read_sni(body: &[u8]) -> Option<Option<String>> {
    let mut hello = Reader(body);
    hello.take(2 + 32)?; // legacy version, random
    hello.vector_u8()?; // session id
    hello.vector_u16()?; // cipher suites
    hello.vector_u8()?; // compression methods
    if hello.0.is_empty() {
        return Some(None);
    }
    let mut extensions = Reader(hello.vector_u16()?);
    while !extensions.0.is_empty() {
        let kind = extensions.u16()?;
        let data = extensions.vector_u16()?;
        if kind == EXTENSION_SERVER_NAME {
            return read_server_name(data).map(Some);
        }
    }
    Some(None)
}

fn read_server_name(data: &[u8]) -> Option<String> {
    let mut names = Reader(Reader(data).vector_u16()?);
    let kind = names.take(1)?[0];
    let name = names.vector_u16()?;
    if kind != NAME_TYPE_HOST || name.is_empty() || !name.iter().all(u8::is_ascii_graphic) {
        return None;
    }
    String::from_utf8(name.to_ascii_lowercase()).ok()
}

/// A cursor that never reads past its end.
struct Reader<'a>(&'a [u8]);

// === impl Reader ===

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)
            .map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn vector_u8(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(self.take(1)?[0]);
        self.take(length)
    }

    fn vector_u16(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(self.u16()?);
        self.take(length)
    }
}
