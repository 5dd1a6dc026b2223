//! The log: what is written, and how. Both can be asked for in Linkerd's words.
//!
//! Lines are written by a thread of their own. Whoever reads them may stop to, and clients decide how
//! many there are: traffic waits for neither. What there is no room for is dropped and counted.

use std::io;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use thiserror::Error;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

/// What is logged when nothing else is said.
pub const DEFAULT_FILTER: &str = "warn,linkerd=info,meshmark_proxy=info";

/// Longest filter that is taken, in bytes.
const MAX_FILTER_BYTES: usize = 4096;

/// Lines that wait to be written. More than a start or a change of policy makes at once.
const MAX_WAITING_LINES: usize = 1024;

/// Lines of this process's log that were dropped.
static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

/// How lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// For people.
    #[default]
    Plain,
    /// One JSON object per line.
    Json,
}

/// Changes the filter while the process runs. Cheap to clone.
#[derive(Clone)]
pub struct Level(Arc<Inner>);

struct Inner {
    handle: reload::Handle<EnvFilter, Registry>,
    /// As it was asked for: the parsed form also has the names that stand in for Linkerd's.
    text: Mutex<String>,
}

/// Dropped at the end of the process, it gives the lines that wait a moment to be written.
pub struct Flush(#[expect(dead_code, reason = "held for its drop")] WorkerGuard);

/// A filter that cannot be used.
#[derive(Debug, Error)]
pub enum Error {
    /// It does not parse.
    #[error("log filter {0:?}: {1}")]
    Filter(String, tracing_subscriber::filter::ParseError),
    /// It is too long.
    #[error("the log filter is longer than {MAX_FILTER_BYTES} bytes")]
    TooLong,
    /// The log is gone.
    #[error(transparent)]
    Reload(#[from] reload::Error),
    /// A log was set up before.
    #[error(transparent)]
    Init(#[from] TryInitError),
}

/// Starts logging to standard error, as `filter` says (`warn,linkerd=info`).
///
/// # Errors
/// When the filter does not parse, or a log was started before.
pub fn init(filter: &str, format: Format) -> Result<(Level, Flush), Error> {
    let (layer, handle) = reload::Layer::new(parse(filter)?);
    let (writer, flush) = beside(io::stderr(), MAX_WAITING_LINES, "log");
    let dropped = writer.error_counter();
    let lines = fmt::layer().with_writer(writer);
    let lines = match format {
        Format::Plain => {
            Box::new(lines.with_ansi(false)) as Box<dyn tracing_subscriber::Layer<_> + Send + Sync>
        }
        Format::Json => Box::new(lines.json().with_span_list(true).flatten_event(false)),
    };
    tracing_subscriber::registry()
        .with(layer)
        .with(lines)
        .try_init()?;
    let _ = DROPPED.set(dropped);
    let level = Level(Arc::new(Inner {
        handle,
        text: Mutex::new(filter.to_owned()),
    }));
    Ok((level, flush))
}

/// Lines that were dropped, as `/metrics` tells; none when no log was started.
pub(super) fn dropped_lines() -> Option<usize> {
    DROPPED.get().map(ErrorCounter::dropped_lines)
}

/// A writer to `out` that waits for nothing: `max_lines` may wait for the thread that writes them.
pub(super) fn beside(
    out: impl io::Write + Send + 'static,
    max_lines: usize,
    thread: &str,
) -> (NonBlocking, Flush) {
    let (writer, guard) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(max_lines)
        .thread_name(thread)
        .finish(out);
    (writer, Flush(guard))
}

// === impl Level ===

impl Level {
    /// The filter, as it was asked for.
    #[must_use]
    pub fn get(&self) -> String {
        self.0.text.lock().clone()
    }

    /// Replaces the filter.
    ///
    /// # Errors
    /// When it does not parse; the old one then stays.
    pub fn set(&self, filter: &str) -> Result<(), Error> {
        let parsed = parse(filter)?;
        self.0.handle.reload(parsed)?;
        filter.clone_into(&mut self.0.text.lock());
        Ok(())
    }
}

/// Parses a filter. What it says of `linkerd` holds for this proxy, whose modules have another name.
fn parse(filter: &str) -> Result<EnvFilter, Error> {
    if filter.len() > MAX_FILTER_BYTES {
        return Err(Error::TooLong);
    }
    let translated: Vec<_> = filter.split(',').flat_map(translate).collect();
    let text = translated.join(",");
    EnvFilter::builder()
        .parse(&text)
        .map_err(|error| Error::Filter(filter.to_owned(), error))
}

fn translate(directive: &str) -> Vec<String> {
    let directive = directive.trim();
    let name_ends = directive.find(['=', ':', '[']).unwrap_or(directive.len());
    let (name, rest) = directive.split_at(name_ends);
    match name {
        "linkerd" | "linkerd2_proxy" | "linkerd_app" => {
            vec![directive.to_owned(), format!("meshmark_proxy{rest}")]
        }
        _ => vec![directive.to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::{Error, MAX_WAITING_LINES, beside, parse, translate};
    use std::io::{Read as _, Write as _};

    #[test]
    fn linkerds_name_stands_for_this_proxy() {
        assert_eq!(
            translate("linkerd=debug"),
            ["linkerd=debug", "meshmark_proxy=debug"]
        );
        assert_eq!(translate("warn"), ["warn"]);
        assert!(parse("warn,linkerd=info,hickory=error").is_ok());
    }

    #[test]
    fn bad_filters_are_refused() {
        assert!(matches!(parse("linkerd=loud"), Err(Error::Filter(..))));
        assert!(matches!(parse(&"x".repeat(5000)), Err(Error::TooLong)));
    }

    /// It holds 64 KiB, which the first lines fill.
    #[test]
    fn a_log_that_nobody_reads_costs_lines_and_no_time() {
        let (mut reader, pipe) = std::io::pipe().expect("pipe");
        let (mut writer, flush) = beside(pipe, MAX_WAITING_LINES, "log");
        let line = [b'x'; 1000];
        for _ in 0..10 * MAX_WAITING_LINES {
            writer.write_all(&line).expect("no failure either");
        }
        let dropped = writer.error_counter().dropped_lines();
        assert!(dropped > 8 * MAX_WAITING_LINES, "{dropped}");
        let read = std::thread::spawn(move || {
            let mut lines = Vec::new();
            reader.read_to_end(&mut lines).map(|_| lines.len() / 1000)
        });
        drop((writer, flush));
        let written = read.join().expect("joined").expect("read");
        assert_eq!(written + dropped, 10 * MAX_WAITING_LINES);
    }
}
