//! What a client is told to do.

use std::time::Duration;

use serde::Deserialize;

use crate::http1::Fields;
use crate::seeded::{BLOCK_BYTES, unhex};

/// Bytes of a response that an outcome may carry; more is only counted and hashed. Room for a page
/// of metrics.
pub const KEEP_LIMIT_BYTES: usize = 4 << 20;

/// Requests in progress at once.
pub const CONCURRENCY_LIMIT: usize = 4096;

/// Protocol of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.x.
    H1,
    /// HTTP/2 with prior knowledge.
    H2,
    /// gRPC over HTTP/2 with prior knowledge.
    Grpc,
    /// WebSocket over HTTP/1.1.
    Ws,
    /// Plain TCP.
    Tcp,
}

/// One or many calls of the same kind.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Protocol.
    pub protocol: Protocol,
    /// `http://host:port/path`, `tcp://host:port`.
    pub url: String,
    /// `host:port` to dial instead of the URL's.
    #[serde(default)]
    pub connect: Option<String>,
    /// Method.
    #[serde(default = "get")]
    pub method: String,
    /// Request fields, sent in this order and case.
    #[serde(default)]
    pub headers: Fields,
    /// Prefix of the request ids; the ids are `<id>-<number>`. Empty: no id is sent.
    #[serde(default)]
    pub id: String,
    /// Value of the steering header.
    #[serde(default)]
    pub steer: String,
    /// How many calls; 1 when there is no duration.
    #[serde(default)]
    pub count: Option<u64>,
    /// How long to start new calls, seconds.
    #[serde(default)]
    pub duration_s: Option<f64>,
    /// Calls started each second, whether or not those before have ended, up to `concurrency`
    /// at once; without it each of `concurrency` callers starts a call when its last one ended.
    #[serde(default)]
    pub rate_rps: Option<f64>,
    /// Calls in progress at once.
    #[serde(default = "one")]
    pub concurrency: usize,
    /// Connections kept and used again; 0 opens one for each call. Default: `concurrency` for
    /// HTTP/1, 1 for HTTP/2 and gRPC.
    #[serde(default)]
    pub connections: Option<usize>,
    /// Request body.
    #[serde(default)]
    pub body: Option<BodyPlan>,
    /// Trailer fields of the request.
    #[serde(default)]
    pub trailers: Fields,
    /// Longest time for one call, connecting included, seconds.
    #[serde(default = "ten")]
    pub deadline_s: f64,
    /// Longest time for connecting, seconds.
    #[serde(default = "five")]
    pub connect_timeout_s: f64,
    /// Read the response no faster than this, bytes per second.
    #[serde(default)]
    pub read_rate: Option<u64>,
    /// Bytes at the start of each response that its outcome carries.
    #[serde(default)]
    pub keep_bytes: usize,
    /// Leave fields out of the outcomes.
    #[serde(default)]
    pub brief: bool,
    /// Give a call up after this time, milliseconds (HTTP/2: RST_STREAM CANCEL).
    #[serde(default)]
    pub cancel_after_ms: Option<u64>,
    /// Messages of a gRPC, WebSocket or TCP call.
    #[serde(default)]
    pub messages: Messages,
    /// HTTP/1 particulars.
    #[serde(default)]
    pub http1: Http1,
    /// TCP particulars.
    #[serde(default)]
    pub tcp: Tcp,
}

/// A body made from a seed.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BodyPlan {
    /// Length.
    pub bytes: u64,
    /// Seed.
    #[serde(default)]
    pub seed: u64,
    /// Chunked instead of a length (HTTP/1).
    #[serde(default)]
    pub chunked: bool,
    /// Bytes per write, chunk or frame.
    #[serde(default = "block")]
    pub block: usize,
    /// Pause before each block, milliseconds.
    #[serde(default)]
    pub pace_ms: u64,
}

/// Messages of a call that has them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Messages {
    /// How many; 0 sends until the traffic is stopped.
    pub count: u64,
    /// Bytes of each.
    pub bytes: u64,
    /// Seed of the first; each message has the next one.
    pub seed: u64,
    /// Pause between messages, milliseconds.
    pub pace_ms: u64,
    /// Wait for the echo of each message before the next.
    pub lockstep: bool,
    /// Send these bytes (hex) as each message instead of made ones.
    pub payload_hex: Option<String>,
}

impl Default for Messages {
    fn default() -> Self {
        Self {
            count: 1,
            bytes: 16,
            seed: 0,
            pace_ms: 0,
            lockstep: false,
            payload_hex: None,
        }
    }
}

/// What an HTTP/1 request looks like on the wire.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http1 {
    /// `1.1` or `1.0`.
    pub version: Option<String>,
    /// Request target to send as it is, in place of the URL's path.
    pub target: Option<String>,
    /// Value of `Host` in place of the URL's authority.
    pub host: Option<String>,
    /// Send no `Host`.
    pub no_host: bool,
    /// Send `Expect: 100-continue` and wait up to a second for leave to send the body.
    pub expect: bool,
    /// Send this token in `Upgrade`, and after 101 the messages as plain bytes.
    pub upgrade: Option<String>,
    /// Send these bytes (hex) as the whole request instead of making one.
    pub raw_hex: Option<String>,
    /// End the sending half of the connection after the request.
    pub half_close: bool,
}

/// What a TCP call does.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tcp {
    /// Read a line before sending.
    pub greeted: bool,
    /// Leave out the opening line that carries id and steering.
    pub bare: bool,
    /// Keep the sending half open until everything sent has come back or the deadline passes.
    pub keep_open: bool,
}

impl Plan {
    /// Reads and checks a plan.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        let plan: Self = serde_json::from_slice(json).map_err(|error| format!("plan: {error}"))?;
        plan.check()?;
        Ok(plan)
    }

    fn check(&self) -> Result<(), String> {
        self.target()?;
        if self.concurrency == 0 || self.concurrency > CONCURRENCY_LIMIT {
            return Err(format!(
                "plan: concurrency: must be 1 to {CONCURRENCY_LIMIT}"
            ));
        }
        if self.keep_bytes > KEEP_LIMIT_BYTES {
            return Err(format!("plan: keep_bytes: at most {KEEP_LIMIT_BYTES}"));
        }
        if self
            .messages
            .payload_hex
            .as_deref()
            .is_some_and(|hex| unhex(hex).is_none())
        {
            return Err("plan: messages.payload_hex: is not hex".into());
        }
        for (name, seconds) in [
            ("deadline_s", Some(self.deadline_s)),
            ("connect_timeout_s", Some(self.connect_timeout_s)),
            ("duration_s", self.duration_s),
        ] {
            if seconds.is_some_and(|s| !(s > 0.0 && s <= 86_400.0)) {
                return Err(format!(
                    "plan: {name}: must be more than 0 and at most a day"
                ));
            }
        }
        if self
            .rate_rps
            .is_some_and(|rate| !(rate > 0.0 && rate <= 1e6))
        {
            return Err("plan: rate_rps: must be more than 0 and at most a million".into());
        }
        Ok(())
    }

    /// Authority and path of the URL.
    pub fn target(&self) -> Result<(String, String), String> {
        let rest = self
            .url
            .split_once("://")
            .map(|(_, rest)| rest)
            .ok_or_else(|| format!("plan: url {:?}: write scheme://host:port/path", self.url))?;
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(at);
        if authority.is_empty() {
            return Err(format!("plan: url {:?} names no host", self.url));
        }
        Ok((
            authority.to_owned(),
            if path.is_empty() {
                "/".into()
            } else {
                path.to_owned()
            },
        ))
    }

    /// `host:port` to dial; the port is 80 when the URL has none.
    pub fn dial(&self) -> Result<String, String> {
        let authority = match &self.connect {
            Some(address) => address.clone(),
            None => self.target()?.0,
        };
        let has_port = authority
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
        Ok(if has_port {
            authority
        } else {
            format!("{authority}:80")
        })
    }

    /// Id of the `n`-th call.
    pub fn id_of(&self, n: u64) -> Option<String> {
        (!self.id.is_empty()).then(|| format!("{}-{n}", self.id))
    }

    /// Longest time for one call.
    pub fn deadline(&self) -> Duration {
        Duration::from_secs_f64(self.deadline_s)
    }
}

fn get() -> String {
    "GET".into()
}

fn one() -> usize {
    1
}

fn ten() -> f64 {
    10.0
}

fn five() -> f64 {
    5.0
}

fn block() -> usize {
    BLOCK_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let plan = Plan::parse(br#"{"protocol":"h1","url":"http://a.b:81/c?d"}"#).unwrap();
        assert_eq!(plan.target().unwrap(), ("a.b:81".into(), "/c?d".into()));
        assert_eq!(plan.dial().unwrap(), "a.b:81");
        let plan = Plan::parse(br#"{"protocol":"h1","url":"http://a"}"#).unwrap();
        assert_eq!(plan.target().unwrap(), ("a".into(), "/".into()));
        assert_eq!(plan.dial().unwrap(), "a:80");
    }

    #[test]
    fn bad_plans_name_the_field() {
        for (plan, word) in [
            (r#"{"protocol":"h1","url":"a"}"#, "url"),
            (r#"{"protocol":"h3","url":"http://a"}"#, "h3"),
            (r#"{"protocol":"h1","url":"http://a","cuont":1}"#, "cuont"),
            (
                r#"{"protocol":"h1","url":"http://a","deadline_s":0}"#,
                "deadline_s",
            ),
            (
                r#"{"protocol":"h1","url":"http://a","concurrency":0}"#,
                "concurrency",
            ),
        ] {
            let error = Plan::parse(plan.as_bytes()).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }
}
