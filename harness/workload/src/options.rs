//! Command line of the program.

use std::net::SocketAddr;
use std::time::Duration;

use crate::clock::parse_duration;
use crate::serve::Speech;
use crate::serve::ledger::LEDGER_BYTES;
use crate::serve::steering::Steering;

/// What `--help` prints.
pub const HELP: &str = "\
meshmark-workload: the test application of meshmark

  meshmark-workload serve [OPTIONS]    the application and its control port
      --ctrl ADDR:PORT       control port [0.0.0.0:9900]
      --http PORT            HTTP/1, HTTP/2, gRPC and WebSocket; repeatable [8080]
      --tcp PORT             TCP echo, client speaks first; repeatable [9000]
      --banner PORT          TCP echo, server speaks first; repeatable [9001]
      --bind ADDR            address of the application's ports [0.0.0.0]
      --ready-after TIME     not ready for so long after the start [0s]
      --linger TIME          after SIGTERM keep accepting for so long [0s]
      --drain TIME           then wait so long for what is in progress [10s]
      --on-start PLAN        make these calls (JSON) before listening
      --on-term PLAN         make these calls (JSON) once everything was drained
      --ledger-bytes N       memory for records [67108864]
      --steer VALUE          steering of requests that say nothing themselves
      --pod NAME             name in answers [HOSTNAME]
  meshmark-workload call PLAN          make calls (JSON), print outcomes; 1 when one failed
  meshmark-workload helper [OPTIONS]   capture, rogue TLS peers, signals
      --ctrl ADDR:PORT       control port [0.0.0.0:9901]
  meshmark-workload relay --to HOST:PORT [OPTIONS]    copy bytes, as a proxy that does nothing
      --listen ADDR:PORT     where from [0.0.0.0:8080]
  meshmark-workload version

A port of 0 is chosen by the system; the first line of output tells all ports as JSON.
";

/// What to do.
#[derive(Clone, Debug)]
pub enum Command {
    /// Be the application.
    Serve(Box<Serve>),
    /// Make calls and end.
    Call(String),
    /// Be the helper.
    Helper(SocketAddr),
    /// Relay connections that come here to `HOST:PORT`.
    Relay(SocketAddr, String),
    /// Print the version.
    Version,
    /// Print the help.
    Help,
}

/// Options of `serve`.
#[derive(Clone, Debug)]
pub struct Serve {
    /// Control port.
    pub ctrl: SocketAddr,
    /// Address of the application's ports.
    pub bind: std::net::IpAddr,
    /// The application's ports.
    pub ports: Vec<(Speech, u16)>,
    /// Not ready for so long after the start.
    pub ready_after: Duration,
    /// After SIGTERM keep accepting for so long.
    pub linger: Duration,
    /// Then wait so long for what is in progress.
    pub drain: Duration,
    /// Calls before listening.
    pub on_start: Option<String>,
    /// Calls at the very end.
    pub on_term: Option<String>,
    /// Memory for records.
    pub ledger_bytes: usize,
    /// Steering of requests that say nothing themselves.
    pub steering: Steering,
    /// Name in answers.
    pub pod: String,
}

impl Command {
    /// Reads the arguments that follow the program's name.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut arguments = arguments.into_iter();
        match arguments.next().as_deref() {
            Some("serve") => Ok(Self::Serve(Box::new(serve(arguments)?))),
            Some("helper") => helper(arguments),
            Some("relay") => relay(arguments),
            Some("call") => Ok(Self::Call(arguments.next().ok_or("call: no plan given")?)),
            Some("version" | "--version") => Ok(Self::Version),
            Some("help" | "--help" | "-h") => Ok(Self::Help),
            Some(other) => Err(format!("{other:?}: no such command; see --help")),
            None => Err("no command; see --help".into()),
        }
    }
}

fn serve(mut arguments: impl Iterator<Item = String>) -> Result<Serve, String> {
    let mut options = Serve {
        ctrl: SocketAddr::from(([0, 0, 0, 0], 9900)),
        bind: std::net::IpAddr::from([0, 0, 0, 0]),
        ports: Vec::new(),
        ready_after: Duration::ZERO,
        linger: Duration::ZERO,
        drain: Duration::from_secs(10),
        on_start: None,
        on_term: None,
        ledger_bytes: LEDGER_BYTES,
        steering: Steering::default(),
        pod: std::env::var("HOSTNAME").unwrap_or_else(|_| "workload".into()),
    };
    while let Some(flag) = arguments.next() {
        let value = arguments
            .next()
            .ok_or_else(|| format!("{flag}: needs a value"))?;
        let named = |why: String| format!("{flag}: {why}");
        match flag.as_str() {
            "--ctrl" => options.ctrl = parsed(&flag, &value)?,
            "--bind" => options.bind = parsed(&flag, &value)?,
            "--http" => options.ports.push((Speech::Http, parsed(&flag, &value)?)),
            "--tcp" => options.ports.push((Speech::Echo, parsed(&flag, &value)?)),
            "--banner" => options.ports.push((Speech::Banner, parsed(&flag, &value)?)),
            "--ready-after" => options.ready_after = parse_duration(&value).map_err(named)?,
            "--linger" => options.linger = parse_duration(&value).map_err(named)?,
            "--drain" => options.drain = parse_duration(&value).map_err(named)?,
            "--on-start" => options.on_start = Some(value),
            "--on-term" => options.on_term = Some(value),
            "--ledger-bytes" => options.ledger_bytes = parsed(&flag, &value)?,
            "--steer" => options.steering = Steering::parse(&value).map_err(named)?,
            "--pod" => options.pod = value,
            _ => return Err(format!("{flag}: no such option; see --help")),
        }
    }
    for (speech, port) in [
        (Speech::Http, 8080),
        (Speech::Echo, 9000),
        (Speech::Banner, 9001),
    ] {
        if !options.ports.iter().any(|(given, _)| *given == speech) {
            options.ports.push((speech, port));
        }
    }
    Ok(options)
}

fn helper(mut arguments: impl Iterator<Item = String>) -> Result<Command, String> {
    let mut ctrl = SocketAddr::from(([0, 0, 0, 0], 9901));
    while let Some(flag) = arguments.next() {
        let value = arguments
            .next()
            .ok_or_else(|| format!("{flag}: needs a value"))?;
        match flag.as_str() {
            "--ctrl" => ctrl = parsed(&flag, &value)?,
            _ => return Err(format!("{flag}: no such option; see --help")),
        }
    }
    Ok(Command::Helper(ctrl))
}

fn relay(mut arguments: impl Iterator<Item = String>) -> Result<Command, String> {
    let mut listen = SocketAddr::from(([0, 0, 0, 0], 8080));
    let mut to = None;
    while let Some(flag) = arguments.next() {
        let value = arguments
            .next()
            .ok_or_else(|| format!("{flag}: needs a value"))?;
        match flag.as_str() {
            "--listen" => listen = parsed(&flag, &value)?,
            "--to" => to = Some(value),
            _ => return Err(format!("{flag}: no such option; see --help")),
        }
    }
    Ok(Command::Relay(
        listen,
        to.ok_or("relay: --to is not given")?,
    ))
}

fn parsed<T: std::str::FromStr>(flag: &str, value: &str) -> Result<T, String> {
    value
        .parse()
        .map_err(|_| format!("{flag}: cannot use {value:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, String> {
        Command::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn ports_have_defaults_one_by_one() {
        let Ok(Command::Serve(options)) = parse("serve --http 81 --http 82") else {
            panic!()
        };
        let expected = [
            (Speech::Http, 81),
            (Speech::Http, 82),
            (Speech::Echo, 9000),
            (Speech::Banner, 9001),
        ];
        assert_eq!(options.ports, expected);
    }

    #[test]
    fn mistakes_are_named() {
        for (line, word) in [
            ("srve", "srve"),
            ("serve --htpp 1", "--htpp"),
            ("serve --http", "--http"),
            ("serve --http x", "x"),
            ("serve --drain 5", "--drain"),
            ("call", "plan"),
            ("relay", "--to"),
            ("relay --listen 80", "80"),
        ] {
            assert!(parse(line).unwrap_err().contains(word), "{line}");
        }
    }
}
