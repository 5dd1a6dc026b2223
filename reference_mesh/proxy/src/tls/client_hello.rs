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

#[cfg(test)]
mod tests {
    use super::{ClientHello, MAX_CLIENT_HELLO_BYTES, peek};
    use crate::identity::Id;
    use crate::tls::ClientAlpn;
    use crate::tls::test_pki::Authority;
    use rustls::ClientConnection;
    use rustls::pki_types::ServerName;

    const NAME: &str = "web.ns.serviceaccount.identity.linkerd.cluster.local";

    /// What a mesh client sends first: one record with a post-quantum key share, over 1 KiB.
    fn hello() -> Vec<u8> {
        let id = Id::parse(NAME).expect("valid");
        let config = Authority::new()
            .credentials(NAME)
            .client_config(&id, ClientAlpn::None);
        let sni = ServerName::try_from(NAME).expect("valid");
        let mut client = ClientConnection::new(config, sni).expect("valid");
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).expect("in memory");
        bytes
    }

    /// The same handshake message in records of at most `size` bytes.
    fn fragment(hello: &[u8], size: usize) -> Vec<u8> {
        let records = hello[5..].chunks(size).map(|chunk| {
            let length = u16::try_from(chunk.len()).expect("short").to_be_bytes();
            [&[22, 3, 1], &length[..], chunk].concat()
        });
        records.collect::<Vec<_>>().concat()
    }

    #[test]
    fn every_prefix_is_incomplete_until_all_is_there() {
        let whole = hello();
        let sni = ClientHello::Sni(Some(NAME.to_owned()));
        for bytes in [whole.clone(), fragment(&whole, 100), fragment(&whole, 3)] {
            for end in 0..bytes.len() {
                assert_eq!(peek(&bytes[..end]), ClientHello::Incomplete, "{end} bytes");
            }
            assert_eq!(peek(&bytes), sni);
            assert_eq!(peek(&[&bytes[..], b"early data"].concat()), sni);
        }
    }

    #[test]
    fn other_protocols_are_told_at_once() {
        for bytes in [
            b"GET / HTTP/1.1\r\n\r\n".as_slice(),
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"SSH-2.0-x",
            &[22, 2],
            &[22, 3, 1, 0, 0],
            &[22, 3, 1, 0x40, 1],
            &[22, 3, 1, 0, 4, 2],
        ] {
            assert_eq!(peek(bytes), ClientHello::NotTls, "{bytes:?}");
        }
    }

    #[test]
    fn a_hello_beyond_the_limit_is_not_waited_for() {
        let mut bytes = vec![22, 3, 1, 0x30, 0, 1, 0, 0x30, 0];
        assert_eq!(peek(&bytes), ClientHello::Incomplete);
        bytes.resize(MAX_CLIENT_HELLO_BYTES, 0);
        assert_eq!(peek(&bytes), ClientHello::NotTls);
    }

    #[test]
    fn no_mutation_panics_or_finds_another_name() {
        let whole = hello();
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..20_000 {
            let mut bytes = whole.clone();
            for _ in 0..random.usize(1..4) {
                let at = random.usize(..bytes.len().min(300));
                bytes[at] = random.u8(..);
            }
            bytes.truncate(random.usize(..=bytes.len()));
            if let ClientHello::Sni(Some(name)) = peek(&bytes) {
                assert!(name.len() <= bytes.len() && name.is_ascii());
            }
        }
    }

    #[test]
    fn noise_never_panics() {
        let mut random = fastrand::Rng::with_seed(11);
        for _ in 0..20_000 {
            let mut bytes: Vec<u8> = (0..random.usize(..400)).map(|_| random.u8(..)).collect();
            if let [kind, major, _, high, ..] = &mut bytes[..] {
                (*kind, *major, *high) = (22, 3, 0);
            }
            let _ = peek(&bytes);
        }
    }
}
