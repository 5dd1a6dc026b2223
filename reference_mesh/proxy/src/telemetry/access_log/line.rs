//! How a request is written.

use std::fmt::{self, Display, Write};
use std::time::SystemTime;

use ::http::uri::Authority;
use ::http::{HeaderValue, Version};
use time::OffsetDateTime;

use super::{Entry, Format};

/// Longest target that is written, in bytes of the request.
const MAX_TARGET_BYTES: usize = 2048;
/// Longest other field.
const MAX_FIELD_BYTES: usize = 512;
/// What follows a field that was cut.
const CUT: &str = "...";

/// Appends `entry` to `line`, and what ends it.
pub(super) fn write(line: &mut String, format: Format, entry: &Entry<'_>) {
    let mut to = Line { text: line, format };
    match format {
        Format::Apache => apache(&mut to, entry),
        Format::Json => json(&mut to, entry),
    }
    line.push('\n');
}

fn apache(line: &mut Line<'_>, entry: &Entry<'_>) {
    line.field("", &entry.client.addr);
    line.field(" ", &entry.client.id.unwrap_or("-"));
    line.field(" - [", &Timestamp(entry.at));
    line.field("] \"", &entry.method);
    line.target(" ", entry);
    line.field(" ", &format_args!("{:?}", entry.version));
    line.text.push('"');
    if let Some(answer) = &entry.answer {
        line.field(" ", &answer.status);
    }
}

/// Keys in the order of linkerd2-proxy, that of the alphabet; all but the status are strings there.
fn json(line: &mut Line<'_>, entry: &Entry<'_>) {
    line.field("{\"client.addr\":\"", &entry.client.addr);
    line.field("\",\"client.id\":\"", &entry.client.id.unwrap_or("-"));
    line.field("\",\"host\":\"", &text(entry.host.as_ref()));
    line.field("\",\"method\":\"", &entry.method);
    if entry.answer.is_some() {
        line.field("\",\"processing_ns\":\"", &entry.processing.as_nanos());
    }
    line.field("\",\"request_bytes\":\"", &text(entry.bytes.as_ref()));
    if let Some(answer) = &entry.answer {
        if answer.bytes.is_some() {
            line.field("\",\"response_bytes\":\"", &text(answer.bytes.as_ref()));
        }
        line.field("\",\"status\":", &answer.status);
        line.field(",\"timestamp\":\"", &Timestamp(entry.at));
        line.field("\",\"total_ns\":\"", &answer.total.as_nanos());
    } else {
        line.field("\",\"timestamp\":\"", &Timestamp(entry.at));
    }
    line.field("\",\"trace_id\":\"", &text(entry.trace_id.as_ref()));
    line.target("\",\"uri\":\"", entry);
    line.field("\",\"user_agent\":\"", &text(entry.user_agent.as_ref()));
    line.field("\",\"version\":\"", &format_args!("{:?}", entry.version));
    line.text.push_str("\"}");
}

/// The text of a header; empty when it is not there, or is no text.
fn text(value: Option<&HeaderValue>) -> &str {
    let text = value.and_then(|value| value.to_str().ok());
    text.unwrap_or_default()
}

/// A time in UTC.
struct Timestamp(SystemTime);

impl Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = OffsetDateTime::from(self.0);
        let (year, month, day) = at.to_calendar_date();
        let month = u8::from(month);
        write!(f, "{year:04}-{month:02}-{day:02}T")?;
        let (hour, minute, second, nanos) = at.to_hms_nano();
        write!(f, "{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
    }
}

/// What was asked for, with the host that HTTP/1 says beside it, or the address that was dialled.
struct Target<'a>(&'a Entry<'a>);

impl Display for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry = self.0;
        if entry.uri.authority().is_some() || entry.version > Version::HTTP_11 {
            return write!(f, "{}", entry.uri);
        }
        let host = entry.host.as_ref();
        match host.and_then(|host| Authority::try_from(host.as_bytes()).ok()) {
            Some(host) => write!(f, "http://{host}{}", entry.uri),
            None => write!(f, "http://{}{}", entry.client.target, entry.uri),
        }
    }
}

/// A line that grows.
struct Line<'a> {
    text: &'a mut String,
    format: Format,
}

/// Writes a field in printable ASCII without bare quotes: the rest as JSON writes it, or as Apache does.
struct Field<'a> {
    line: &'a mut String,
    format: Format,
    left_bytes: usize,
}

// === impl Line ===

impl Line<'_> {
    /// Appends `before` as it is, and the first bytes of `value`.
    fn field(&mut self, before: &str, value: &dyn Display) {
        self.cut(before, value, MAX_FIELD_BYTES);
    }

    fn target(&mut self, before: &str, entry: &Entry<'_>) {
        self.cut(before, &Target(entry), MAX_TARGET_BYTES);
    }

    fn cut(&mut self, before: &str, value: &dyn Display, max_bytes: usize) {
        self.text.push_str(before);
        let mut field = Field {
            line: self.text,
            format: self.format,
            left_bytes: max_bytes,
        };
        // It fails where it is cut.
        let _ = write!(field, "{value}");
    }
}

impl Write for Field<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            let Some(left) = self.left_bytes.checked_sub(c.len_utf8()) else {
                self.line.push_str(CUT);
                return Err(fmt::Error);
            };
            self.left_bytes = left;
            match (c, self.format) {
                ('"' | '\\', _) => self.line.extend(['\\', c]),
                (' '..='~', _) => self.line.push(c),
                (_, Format::Json) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        write!(self.line, "\\u{unit:04x}")?;
                    }
                }
                (_, Format::Apache) => {
                    for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                        write!(self.line, "\\x{byte:02x}")?;
                    }
                }
            }
        }
        Ok(())
    }
}
