//! The steering header: what a request asks the application to do.
//!
//! `x-meshmark: status=503;delay=50ms;size=1048576`. Unknown keys are refused, so that a check
//! with a misspelt key fails instead of passing for the wrong reason.

use std::time::Duration;

use crate::clock::parse_duration;
use crate::http1::Fields;

/// Name of the header. Several of them are read as one.
pub const STEERING: &str = "x-meshmark";

/// Name of the header that joins the ledgers: unique per request, kept over retries.
pub const REQUEST_ID: &str = "x-meshmark-id";

/// Longest response body that a request may ask for.
pub const SIZE_LIMIT_BYTES: u64 = 1 << 30;

/// Longest delay or pause that a request may ask for.
pub const DELAY_LIMIT: Duration = Duration::from_secs(600);

/// How the end of an HTTP/1 response body is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delimiting {
    /// By `Content-Length`.
    #[default]
    Length,
    /// By chunks.
    Chunked,
    /// By the end of the connection.
    Close,
}

/// Where a response is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Before anything was answered.
    Request,
    /// After the response's head.
    Headers,
    /// After half of the response's body.
    Body,
}

/// What the application does with `Expect: 100-continue`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Continue {
    /// Sends `100 Continue` and reads the body.
    #[default]
    Send,
    /// Reads the body without having asked for it.
    Never,
    /// Answers `417` and reads no body.
    Reject,
}

/// Everything that one request may ask for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Steering {
    /// `status=N`: the response's status. Default 200.
    pub status: Option<u16>,
    /// `fail-until=N`: attempts of this request id below N answer `fail-status`.
    pub fail_until: u32,
    /// `fail-status=N`. Default 503.
    pub fail_status: Option<u16>,
    /// `delay=50ms`: wait before the response's head.
    pub delay: Duration,
    /// `size=N`: response body of N bytes made from `seed`.
    pub size: Option<u64>,
    /// `seed=N`. Default 0.
    pub seed: u64,
    /// `block=N`: bytes per write, chunk or frame of the body.
    pub block: Option<usize>,
    /// `pace=10ms`: pause before each block.
    pub pace: Duration,
    /// `framing=length|chunked|close` (HTTP/1).
    pub delimiting: Delimiting,
    /// `trailers=1`: send `x-meshmark-sha256` and `x-meshmark-trailer` after the body.
    pub trailers: bool,
    /// `interim=103,102`: informational responses before the final one.
    pub interim: Vec<u16>,
    /// `continue=never|reject`.
    pub expectation: Continue,
    /// `header=Name:value`, repeatable; `%3B` stands for a semicolon, `%25` for a percent sign.
    pub headers: Fields,
    /// `reset=request|headers|body`: TCP reset (HTTP/1) or RST_STREAM (HTTP/2) there.
    pub reset: Option<Cut>,
    /// `reset-code=N`: HTTP/2 error code of the reset. Default 2, INTERNAL_ERROR.
    pub reset_code: Option<u32>,
    /// `close=headers|body`: orderly but early end of the connection there (HTTP/1).
    pub close: Option<Cut>,
    /// `connection=close`: close after this response.
    pub connection_close: bool,
    /// `read=none`: answer without reading the request body.
    pub ignore_body: bool,
    /// `read-rate=N`: read the request body at no more than N bytes a second.
    pub read_rate: Option<u64>,
    /// `echo=1`: the response body is the request body, sent as it arrives.
    pub echo: bool,
    /// `upgrade=1`: accept any `Upgrade` token and echo bytes.
    pub upgrade: bool,
    /// `grpc-status=N`: status in the trailers of a gRPC call.
    pub grpc_status: Option<u32>,
    /// `trailers-only=1`: gRPC status in the response's head, no message.
    pub trailers_only: bool,
    /// `messages=N`: answer a gRPC call with N messages of `size` bytes.
    pub messages: Option<u64>,
}

impl Steering {
    /// What the steering headers of a request change in this.
    pub fn with_fields(&self, fields: &Fields) -> Result<Self, String> {
        let mut steering = self.clone();
        for value in crate::http1::head::all(fields, STEERING) {
            steering.apply(value)?;
        }
        Ok(steering)
    }

    /// What one value changes in this.
    pub fn with(&self, text: &str) -> Result<Self, String> {
        let mut steering = self.clone();
        steering.apply(text)?;
        Ok(steering)
    }

    /// Reads one value.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::default().with(text)
    }

    fn apply(&mut self, text: &str) -> Result<(), String> {
        for item in text
            .split(';')
            .map(str::trim)
            .filter(|item| !item.is_empty())
        {
            let (key, value) = item
                .split_once('=')
                .ok_or_else(|| format!("{STEERING}: {item:?} is not key=value"))?;
            self.set(key.trim(), value.trim())
                .map_err(|why| format!("{STEERING}: {key}: {why}"))?;
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "status" => self.status = Some(status(value)?),
            "fail-until" => self.fail_until = number(value)?,
            "fail-status" => self.fail_status = Some(status(value)?),
            "delay" => self.delay = duration(value)?,
            "size" => self.size = Some(size(value)?),
            "seed" => self.seed = number(value)?,
            "block" => self.block = Some(number(value)?),
            "pace" => self.pace = duration(value)?,
            "framing" => {
                self.delimiting = match value {
                    "length" => Delimiting::Length,
                    "chunked" => Delimiting::Chunked,
                    "close" => Delimiting::Close,
                    _ => return Err("length, chunked or close".into()),
                }
            }
            "trailers" => self.trailers = switch(value)?,
            "interim" => self.interim = value.split(',').map(interim).collect::<Result<_, _>>()?,
            "continue" => {
                self.expectation = match value {
                    "never" => Continue::Never,
                    "reject" => Continue::Reject,
                    _ => return Err("never or reject".into()),
                }
            }
            "header" => self.headers.push(header(value)?),
            "reset" => self.reset = Some(cut(value)?),
            "reset-code" => self.reset_code = Some(number(value)?),
            "close" => self.close = Some(cut(value)?),
            "connection" if value == "close" => self.connection_close = true,
            "connection" => return Err("only close is known".into()),
            "read" if value == "none" => self.ignore_body = true,
            "read" => return Err("only none is known".into()),
            "read-rate" => self.read_rate = Some(number::<u64>(value)?.max(1)),
            "echo" => self.echo = switch(value)?,
            "upgrade" => self.upgrade = switch(value)?,
            "grpc-status" => self.grpc_status = Some(number(value)?),
            "trailers-only" => self.trailers_only = switch(value)?,
            "messages" => self.messages = Some(number(value)?),
            _ => return Err("no such key".into()),
        }
        Ok(())
    }

    /// Status of the `attempt`-th attempt.
    pub fn status_of(&self, attempt: u32) -> u16 {
        match attempt < self.fail_until {
            true => self.fail_status.unwrap_or(503),
            false => self.status.unwrap_or(200),
        }
    }
}

fn number<N: std::str::FromStr>(value: &str) -> Result<N, String> {
    value
        .parse()
        .map_err(|_| format!("{value:?} is not a number in range"))
}

fn status(value: &str) -> Result<u16, String> {
    match number(value)? {
        status @ 200..=599 => Ok(status),
        other => Err(format!("{other} is not a final status")),
    }
}

fn interim(value: &str) -> Result<u16, String> {
    match number(value)? {
        status @ 102..=199 => Ok(status),
        other => Err(format!(
            "{other} is not an informational status that can be sent"
        )),
    }
}

fn size(value: &str) -> Result<u64, String> {
    match number(value)? {
        size if size <= SIZE_LIMIT_BYTES => Ok(size),
        size => Err(format!("{size} is more than {SIZE_LIMIT_BYTES} bytes")),
    }
}

fn duration(value: &str) -> Result<Duration, String> {
    match parse_duration(value)? {
        duration if duration <= DELAY_LIMIT => Ok(duration),
        duration => Err(format!("{duration:?} is more than {DELAY_LIMIT:?}")),
    }
}

fn switch(value: &str) -> Result<bool, String> {
    match value {
        "1" => Ok(true),
        "0" => Ok(false),
        _ => Err("0 or 1".into()),
    }
}

fn cut(value: &str) -> Result<Cut, String> {
    match value {
        "request" => Ok(Cut::Request),
        "headers" => Ok(Cut::Headers),
        "body" => Ok(Cut::Body),
        _ => Err("request, headers or body".into()),
    }
}

fn header(value: &str) -> Result<(String, String), String> {
    let (name, text) = value.split_once(':').ok_or("Name:value")?;
    Ok((
        name.to_owned(),
        text.replace("%3B", ";").replace("%25", "%"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read() {
        let steering =
            Steering::parse("status=500; delay=50ms;header=A:b%3Bc;interim=103;echo=1;").unwrap();
        assert_eq!(steering.status, Some(500));
        assert_eq!(steering.delay, Duration::from_millis(50));
        assert_eq!(steering.headers, [("A".to_owned(), "b;c".to_owned())]);
        assert_eq!(steering.interim, [103]);
        assert!(steering.echo);
    }

    #[test]
    fn attempts_fail_until_they_may_pass() {
        let steering = Steering::parse("fail-until=3").unwrap();
        assert_eq!(
            [1, 2, 3, 4].map(|n| steering.status_of(n)),
            [503, 503, 200, 200]
        );
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in [
            "statsu=500",
            "status=99",
            "delay=5",
            "size=99999999999",
            "echo",
            "reset=x",
        ] {
            assert!(Steering::parse(text).is_err(), "{text}");
        }
    }
}
