//! Processes of the pod: who runs, and signals to them.

use std::fs;
use std::io;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::sys;
use crate::control::Response;

/// One process, as far as `/proc` tells this container.
#[derive(Clone, Debug, Serialize)]
pub struct Process {
    /// Number in the namespace that the pod's containers share.
    pub pid: i32,
    /// Parent.
    pub parent: i32,
    /// Base name of the program as it was started.
    pub name: String,
    /// Arguments.
    pub command: Vec<String>,
    /// State letter of proc(5): R, S, D, Z, T …
    pub state: String,
    /// Real user.
    pub uid: u32,
    /// Start, in clock ticks after boot: tells a restarted process from the one before.
    pub start_ticks: u64,
    /// Proportional share of memory, bytes; needs the right to look.
    pub pss_bytes: Option<u64>,
    /// Resident memory, bytes.
    pub rss_bytes: Option<u64>,
    /// Largest resident memory so far, bytes.
    pub high_water_bytes: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
}

/// Which processes get which signal.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// Base name of the program.
    #[serde(default)]
    name: Option<String>,
    /// One process.
    #[serde(default)]
    pid: Option<i32>,
    /// `TERM`, `KILL`, `STOP`, `CONT`, `INT`, `HUP`, `USR1` or `USR2`.
    signal: String,
}

/// All processes, by number.
pub fn list() -> io::Result<Vec<Process>> {
    let mut found: Vec<Process> = fs::read_dir("/proc")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        // A process may end while it is looked at.
        .filter_map(|pid| read(pid).ok())
        .collect();
    found.sort_by_key(|process| process.pid);
    Ok(found)
}

/// Sends a signal, and tells to whom.
pub fn signal(order: &Order) -> Result<Response, Response> {
    let number = match order.signal.as_str() {
        "TERM" => libc::SIGTERM,
        "KILL" => libc::SIGKILL,
        "STOP" => libc::SIGSTOP,
        "CONT" => libc::SIGCONT,
        "INT" => libc::SIGINT,
        "HUP" => libc::SIGHUP,
        "USR1" => libc::SIGUSR1,
        "USR2" => libc::SIGUSR2,
        other => {
            return Err(Response::error(
                400,
                format!("signal {other:?} is not known"),
            ));
        }
    };
    let targets: Vec<i32> = match (&order.name, order.pid) {
        (None, Some(pid)) => vec![pid],
        (Some(name), None) => list()
            .map_err(|error| Response::error(500, format!("/proc: {error}")))?
            .into_iter()
            .filter(|process| process.name == *name && process.state != "Z")
            .map(|process| process.pid)
            .collect(),
        _ => return Err(Response::error(400, "name or pid: give one of them")),
    };
    if targets.is_empty() {
        let name = order.name.as_deref().unwrap_or_default();
        let why = format!("no process {name:?}: does the pod share its process namespace?");
        return Err(Response::error(404, why));
    }
    for pid in &targets {
        sys::kill(*pid, number).map_err(|error| {
            let why = format!("signal {} to {pid}: {error}", order.signal);
            Response::error(500, why)
        })?;
    }
    Ok(Response::json(&json!({"pids": targets})))
}

fn read(pid: i32) -> io::Result<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let command: Vec<String> = fs::read(format!("/proc/{pid}/cmdline"))?
        .split(|&byte| byte == 0)
        .filter(|part| !part.is_empty())
        .map(|part| String::from_utf8_lossy(part).into_owned())
        .collect();
    // The name in parentheses may have spaces and parentheses of its own.
    let (start, rest) = stat.rsplit_once(')').unwrap_or((&stat, ""));
    let short = start.split_once('(').map_or("", |(_, name)| name);
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |at: usize| fields.get(at).copied().unwrap_or_default();
    let name = command
        .first()
        .and_then(|path| path.rsplit('/').next())
        .filter(|name| !name.is_empty())
        .unwrap_or(short);
    let line = |key: &str| {
        status
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
            .map(str::trim)
    };
    let kilobytes = |key: &str| line(key).and_then(kilobytes_of);
    Ok(Process {
        pid,
        parent: field(1).parse().unwrap_or(0),
        name: name.to_owned(),
        state: field(0).to_owned(),
        uid: line("Uid")
            .and_then(|ids| ids.split_whitespace().next()?.parse().ok())
            .unwrap_or(0),
        start_ticks: field(19).parse().unwrap_or(0),
        pss_bytes: fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))
            .ok()
            .and_then(|text| {
                text.lines()
                    .find_map(|line| kilobytes_of(line.strip_prefix("Pss:")?))
            }),
        rss_bytes: kilobytes("VmRSS"),
        high_water_bytes: kilobytes("VmHWM"),
        threads: line("Threads").and_then(|count| count.parse().ok()),
        command,
    })
}

fn kilobytes_of(text: &str) -> Option<u64> {
    text.trim()
        .strip_suffix("kB")?
        .trim()
        .parse::<u64>()
        .ok()
        .map(|count| count * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_found() {
        let own = std::process::id() as i32;
        let process = list()
            .unwrap()
            .into_iter()
            .find(|process| process.pid == own)
            .unwrap();
        assert!(process.name.starts_with("meshmark_workload"));
        assert!(process.rss_bytes.unwrap() > 0);
        assert!(process.start_ticks > 0);
    }

    #[test]
    fn nobody_is_signalled_by_mistake() {
        for json in [
            r#"{"signal":"KILL"}"#,
            r#"{"signal":"KILL","pid":1}"#,
            r#"{"signal":"KILL","pid":-1}"#,
            r#"{"signal":"KILL","pid":0}"#,
            r#"{"signal":"NONE","name":"x"}"#,
            r#"{"signal":"KILL","name":"no-such-program"}"#,
        ] {
            assert!(
                signal(&serde_json::from_str(json).unwrap()).is_err(),
                "{json}"
            );
        }
    }
}
