//! Start lines and fields, kept as received.

use super::Error;

/// Field names and values in the order and case of the wire. Bytes above 0x7f are kept as the
/// Latin-1 characters of the same number, so nothing is lost.
pub type Fields = Vec<(String, String)>;

/// Longest head that is read: room for ten thousand fields of a hundred bytes.
pub const HEAD_LIMIT_BYTES: usize = 1 << 20;

/// A start line and its fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The three words of the start line; the last one of a response may have spaces or be empty.
    pub start: [String; 3],
    /// The fields as received.
    pub fields: Fields,
}

impl Head {
    /// Reads a head, without the empty line that ends it.
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        let text = latin1(text);
        let mut lines = text.split("\r\n");
        let first = lines.next().unwrap_or_default();
        if text
            .split("\r\n")
            .any(|line| line.contains(['\r', '\n', '\0']))
        {
            return Err(Error::Malformed("bare CR, LF or NUL in the head".into()));
        }
        let mut words = first.splitn(3, ' ').map(str::to_owned);
        let (Some(one), Some(two)) = (words.next(), words.next()) else {
            return Err(Error::Malformed(format!("start line {:?}", shown(first))));
        };
        let start = [one, two, words.next().unwrap_or_default()];
        if start[0].is_empty() || start[1].is_empty() {
            return Err(Error::Malformed(format!("start line {:?}", shown(first))));
        }
        let fields = lines.map(field).collect::<Result<_, _>>()?;
        Ok(Self { start, fields })
    }

    /// Checks the start line as a request's; gives back the minor version.
    pub fn request_version(&self) -> Result<u8, Error> {
        if !self.start[0].bytes().all(is_token) {
            return Err(Error::Malformed(format!(
                "method {:?}",
                shown(&self.start[0])
            )));
        }
        version(&self.start[2])
    }

    /// Checks the start line as a response's; gives back the minor version and the status.
    pub fn response_status(&self) -> Result<(u8, u16), Error> {
        let minor = version(&self.start[0])?;
        let digits = &self.start[1];
        match digits.parse::<u16>() {
            Ok(status) if digits.len() == 3 && status >= 100 => Ok((minor, status)),
            _ => Err(Error::Malformed(format!("status {:?}", shown(digits)))),
        }
    }
}

/// Value of the first field called `name`, whatever its case.
pub fn first<'a>(fields: &'a Fields, name: &str) -> Option<&'a str> {
    all(fields, name).next()
}

/// Values of every field called `name`, whatever its case, in order.
pub fn all<'a>(fields: &'a Fields, name: &str) -> impl Iterator<Item = &'a str> {
    fields
        .iter()
        .filter(move |(field, _)| field.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
}

/// Whether a comma-separated field called `name` has `token` among its members.
pub fn has_token(fields: &Fields, name: &str, token: &str) -> bool {
    all(fields, name)
        .flat_map(|value| value.split(','))
        .any(|member| member.trim().eq_ignore_ascii_case(token))
}

/// Bytes as Latin-1 characters.
pub fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| byte as char).collect()
}

/// Latin-1 characters as bytes; a character outside Latin-1 becomes its UTF-8 bytes.
pub fn octets(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        match u8::try_from(c as u32) {
            Ok(byte) => bytes.push(byte),
            Err(_) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

/// Writes a start line and fields, with the empty line that ends them.
pub fn render(start: &str, fields: &Fields) -> Vec<u8> {
    let mut bytes = octets(start);
    bytes.extend_from_slice(b"\r\n");
    for (name, value) in fields {
        bytes.extend(octets(name));
        bytes.extend_from_slice(b": ");
        bytes.extend(octets(value));
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

pub(super) fn field(line: &str) -> Result<(String, String), Error> {
    let (name, value) = line
        .split_once(':')
        .ok_or_else(|| Error::Malformed(format!("field without a colon: {:?}", shown(line))))?;
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(Error::Malformed(format!("field name {:?}", shown(name))));
    }
    Ok((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()))
}

fn version(word: &str) -> Result<u8, Error> {
    match word {
        "HTTP/1.1" => Ok(1),
        "HTTP/1.0" => Ok(0),
        other => Err(Error::Malformed(format!("version {:?}", shown(other)))),
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The beginning of a text from the wire, short enough for an error message.
fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_order_survive() {
        let head = Head::parse(b"GET /a HTTP/1.1\r\nhOsT: x\r\nB: 1\r\na:  2 \r\nB: \xff").unwrap();
        let expected = [("hOsT", "x"), ("B", "1"), ("a", "2"), ("B", "\u{ff}")];
        assert_eq!(
            head.fields,
            expected.map(|(n, v)| (n.to_owned(), v.to_owned()))
        );
        assert_eq!(head.request_version().unwrap(), 1);
        assert_eq!(octets(&head.fields[3].1), b"\xff");
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        for text in [
            b"GET / HTTP/1.1\r\nA: b\nC: d".as_slice(),
            b"GET / HTTP/1.1\r\nA : b",
            b"GET / HTTP/1.1\r\n folded: b",
            b"GET / HTTP/1.1\r\nnocolon",
            b"GET / HTTP/1.1\r\nA: \0",
            b"GET\r\nA: b",
        ] {
            assert!(
                matches!(Head::parse(text), Err(Error::Malformed(_))),
                "{text:?}"
            );
        }
        assert!(
            Head::parse(b"GET / HTTP/2.0")
                .unwrap()
                .request_version()
                .is_err()
        );
        assert!(
            Head::parse(b"G@T / HTTP/1.1")
                .unwrap()
                .request_version()
                .is_err()
        );
    }

    #[test]
    fn responses_may_lack_a_reason() {
        assert_eq!(
            Head::parse(b"HTTP/1.0 204")
                .unwrap()
                .response_status()
                .unwrap(),
            (0, 204)
        );
        assert!(
            Head::parse(b"HTTP/1.1 20 OK")
                .unwrap()
                .response_status()
                .is_err()
        );
    }
}
