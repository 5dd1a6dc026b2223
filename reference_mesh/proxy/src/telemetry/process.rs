//! The process itself, read when scraped: `process_*`, build and TLS information.

use std::fs;
use std::sync::LazyLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::labels::LabelSet;
use super::registry::{write_head, write_sample};
use crate::tls::describe_provider;

/// Clock ticks of `/proc/self/stat` per second: fixed at 100 in the kernel's user interface.
const TICKS_PER_SECOND: f64 = 100.0;
/// Bytes per page of `/proc/self/stat`'s resident set: 4096 on the platforms that this builds for.
const PAGE_BYTES: u64 = 4096;

/// When this module was first used, which the registry does as the process starts.
static STARTED: LazyLock<(Instant, f64)> = LazyLock::new(|| (Instant::now(), unix_now()));

static BUILD: LazyLock<LabelSet> = LazyLock::new(|| {
    LabelSet::new()
        .with("date", "")
        .with("git_sha", "")
        .with(
            "profile",
            if cfg!(debug_assertions) {
                "debug"
            } else {
                "release"
            },
        )
        .with("vendor", "meshmark")
        .with("version", env!("CARGO_PKG_VERSION"))
});

static TLS: LazyLock<LabelSet> = LazyLock::new(|| {
    let (suites, groups) = describe_provider();
    LabelSet::new()
        .with("tls_suites", suites)
        .with("tls_kx_groups", groups)
        .with("tls_rand", "AwsLcRs")
        .with("tls_key_provider", "AwsLcRs")
        .with("tls_fips", false)
});

/// Starts the clock of `process_uptime_seconds_total`.
pub(super) fn started() {
    LazyLock::force(&STARTED);
}

/// Appends the metrics of the process. What `/proc` does not tell is left out.
// Precision is lost only above 2^53 lines.
#[allow(clippy::cast_precision_loss)]
pub(super) fn encode(out: &mut String) {
    let none = LabelSet::new();
    let mut write = |name: &str, kind: &str, help: &str, labels: &LabelSet, value: f64| {
        write_head(out, name, help, kind);
        write_sample(out, name, "", labels, value);
    };
    write(
        "proxy_build_info",
        "gauge",
        "Proxy build info.",
        &BUILD,
        1.0,
    );
    write("rustls_info", "gauge", "Proxy TLS info.", &TLS, 1.0);
    let (since, at) = *STARTED;
    write(
        "process_start_time_seconds",
        "gauge",
        "Time that the process started (in seconds since the UNIX epoch).",
        &none,
        at,
    );
    write(
        "process_uptime_seconds_total",
        "counter",
        "Total time since the process started (in seconds).",
        &none,
        since.elapsed().as_secs_f64(),
    );
    write(
        "process_clock_time_seconds",
        "gauge",
        "Current system time for this proxy.",
        &none,
        unix_now(),
    );
    if let Some(dropped) = super::log::dropped_lines() {
        write(
            "log_lines_dropped_total",
            "counter",
            "Log lines for which there was no room: standard error took none.",
            &none,
            dropped as f64,
        );
    }
    if let Some(dropped) = super::access_log::dropped_lines() {
        write(
            "access_log_lines_dropped_total",
            "counter",
            "Lines of the access log for which there was no room: standard error took none.",
            &none,
            dropped as f64,
        );
    }
    for (name, kind, help, value) in from_proc() {
        write(name, kind, help, &none, value);
    }
}

type Sample = (&'static str, &'static str, &'static str, f64);

// Precision is lost only above 2^53 bytes.
#[allow(clippy::cast_precision_loss)]
fn from_proc() -> Vec<Sample> {
    let mut samples = Vec::new();
    if let Some(stat) = fs::read_to_string("/proc/self/stat")
        .ok()
        .as_deref()
        .and_then(parse_stat)
    {
        samples.extend([
            (
                "process_cpu_seconds_total",
                "counter",
                "Total user and system CPU time spent in seconds.",
                stat.cpu_ticks as f64 / TICKS_PER_SECOND,
            ),
            (
                "process_threads",
                "gauge",
                "Number of OS threads in the process.",
                stat.threads as f64,
            ),
            (
                "process_virtual_memory_bytes",
                "gauge",
                "Virtual memory size in bytes.",
                stat.virtual_bytes as f64,
            ),
            (
                "process_resident_memory_bytes",
                "gauge",
                "Resident memory size in bytes.",
                stat.resident_bytes as f64,
            ),
        ]);
    }
    if let Ok(fds) = fs::read_dir("/proc/self/fd") {
        let open = fds.count() as f64;
        samples.push((
            "process_open_fds",
            "gauge",
            "Number of open file descriptors.",
            open,
        ));
    }
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    if let Some(max) = parse_max_fds(&limits) {
        let help = "Maximum number of open file descriptors.";
        samples.push(("process_max_fds", "gauge", help, max as f64));
    }
    let network = fs::read_to_string("/proc/self/net/netstat").unwrap_or_default();
    if let Some((received, sent)) = parse_octets(&network) {
        samples.extend([
            (
                "process_network_receive_bytes_total",
                "counter",
                "Total bytes received by the process from the network.",
                received as f64,
            ),
            (
                "process_network_transmit_bytes_total",
                "counter",
                "Total bytes sent by the process to the network.",
                sent as f64,
            ),
        ]);
    }
    samples
}

#[derive(Debug, PartialEq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    virtual_bytes: u64,
    resident_bytes: u64,
}

/// Reads `/proc/self/stat`. The name may have spaces and brackets, so fields count from the last.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<_> = rest.split_whitespace().collect();
    // proc(5) numbers fields from 1; the first here is number 3.
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some(Stat {
        cpu_ticks: field(14)? + field(15)?,
        threads: field(20)?,
        virtual_bytes: field(23)?,
        resident_bytes: field(24)? * PAGE_BYTES,
    })
}

fn parse_max_fds(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// `InOctets` and `OutOctets` of the `IpExt` table: a line of names, then a line of values.
fn parse_octets(netstat: &str) -> Option<(u64, u64)> {
    let mut lines = netstat
        .lines()
        .filter_map(|line| line.strip_prefix("IpExt: "));
    let (names, values) = (lines.next()?, lines.next()?);
    let find = |wanted: &str| {
        let mut pairs = names.split_whitespace().zip(values.split_whitespace());
        pairs.find(|(name, _)| *name == wanted)?.1.parse().ok()
    };
    Some((find("InOctets")?, find("OutOctets")?))
}

fn unix_now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::{Stat, parse_max_fds, parse_octets, parse_stat};

    #[test]
    fn stat_is_read_past_an_odd_name() {
        let text =
            "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 110 20 0 0 20 0 3 0 99 4096 2 18446744073709551615";
        let wanted = Stat {
            cpu_ticks: 130,
            threads: 3,
            virtual_bytes: 4096,
            resident_bytes: 8192,
        };
        assert_eq!(parse_stat(text), Some(wanted));
        assert_eq!(parse_stat("7 (short) S 1"), None);
    }

    #[test]
    fn limits_and_octets_are_found_by_name() {
        let limits =
            "Limit  Soft  Hard\nMax open files            1024                 4096   files";
        assert_eq!(parse_max_fds(limits), Some(1024));
        let netstat = "TcpExt: A\nTcpExt: 1\nIpExt: X InOctets OutOctets\nIpExt: 9 5 6\n";
        assert_eq!(parse_octets(netstat), Some((5, 6)));
    }
}
