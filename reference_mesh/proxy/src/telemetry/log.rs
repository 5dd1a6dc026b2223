//! The log: what is written, and how. Both can be asked for in Linkerd's words.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use thiserror::Error;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

/// What is logged when nothing else is said.
pub const DEFAULT_FILTER: &str = "warn,linkerd=info,meshmark_proxy=info";

/// Longest filter that is taken, in bytes.
const MAX_FILTER_BYTES: usize = 4096;

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
pub fn init(filter: &str, format: Format) -> Result<Level, Error> {
    let (layer, handle) = reload::Layer::new(parse(filter)?);
    let lines = fmt::layer().with_writer(io::stderr);
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
    Ok(Level(Arc::new(Inner {
        handle,
        text: Mutex::new(filter.to_owned()),
    })))
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
    use super::{Error, parse, translate};

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
}
