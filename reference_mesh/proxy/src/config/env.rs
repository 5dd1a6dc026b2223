//! Reading typed values out of the environment.
//!
//! Tests pass a map in place of the process's environment. An empty value counts as unset, as the
//! injector's templates leave some variables empty. Each bad variable is remembered, so that one
//! start shows all of them.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

/// A place that holds named strings.
pub trait Strings {
    /// The value of `key`, if it is set and valid UTF-8.
    fn get(&self, key: &str) -> Option<String>;

    /// All names.
    fn names(&self) -> BTreeSet<String>;
}

/// The environment of this process.
#[derive(Clone, Copy, Debug)]
pub struct ProcessEnv;

/// Why a variable cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{key}: {reason}")]
pub struct BadVariable {
    /// The variable.
    pub key: String,
    /// What is wrong with it and what it should be.
    pub reason: String,
}

/// Reads variables and collects what is wrong with them.
pub struct Reader<'a, S> {
    strings: &'a S,
    asked: RefCell<BTreeSet<String>>,
    bad: RefCell<Vec<BadVariable>>,
}

// === impl Strings ===

impl Strings for ProcessEnv {
    fn get(&self, key: &str) -> Option<String> {
        std::env::var(key).ok()
    }

    fn names(&self) -> BTreeSet<String> {
        let names = std::env::vars_os().map(|(name, _)| name.into_string());
        names.filter_map(Result::ok).collect()
    }
}

impl Strings for std::collections::BTreeMap<String, String> {
    fn get(&self, key: &str) -> Option<String> {
        Self::get(self, key).cloned()
    }

    fn names(&self) -> BTreeSet<String> {
        self.keys().cloned().collect()
    }
}

// === impl Reader ===

impl<'a, S: Strings> Reader<'a, S> {
    /// Reads from `strings`.
    pub fn new(strings: &'a S) -> Self {
        Self {
            strings,
            asked: RefCell::default(),
            bad: RefCell::default(),
        }
    }

    /// What was wrong so far, in the order of reading.
    pub fn into_bad(self) -> Vec<BadVariable> {
        self.bad.into_inner()
    }

    /// The variables that start with `prefix`, are not empty, and were not asked for so far.
    pub fn unasked(&self, prefix: &str) -> Vec<String> {
        let asked = self.asked.borrow();
        let names = self.strings.names().into_iter();
        names
            .filter(|name| name.starts_with(prefix) && !asked.contains(name))
            .filter(|name| self.strings.get(name).is_some_and(|v| !v.trim().is_empty()))
            .collect()
    }

    /// The text of `key`; none when unset or empty.
    pub fn text(&self, key: &str) -> Option<String> {
        self.asked.borrow_mut().insert(key.to_owned());
        self.strings
            .get(key)
            .map(|v| v.trim().to_owned())
            .filter(|v| !v.is_empty())
    }

    /// The text of `key`, which must be there; empty when it is not.
    pub fn required(&self, key: &str) -> String {
        self.text(key).unwrap_or_else(|| {
            self.reject(key, "must be set");
            String::new()
        })
    }

    /// The value of `key` by `parse`; none when unset, or when the text is bad.
    pub fn parsed<T>(&self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        match parse(&self.text(key)?) {
            Ok(value) => Some(value),
            Err(reason) => {
                self.reject(key, &reason);
                None
            }
        }
    }

    /// Remembers that `key` cannot be used.
    pub fn reject(&self, key: &str, reason: &str) {
        self.bad.borrow_mut().push(BadVariable {
            key: key.to_owned(),
            reason: reason.to_owned(),
        });
    }

    /// A duration, or `default`.
    pub fn duration(&self, key: &str, default: Duration) -> Duration {
        self.parsed(key, parse_duration).unwrap_or(default)
    }

    /// A number, or `default`.
    pub fn number<T: FromStr>(&self, key: &str, default: T) -> T {
        self.parsed(key, parse_number).unwrap_or(default)
    }

    /// A socket address, or `default`.
    pub fn addr(&self, key: &str, default: SocketAddr) -> SocketAddr {
        self.parsed(key, parse_addr).unwrap_or(default)
    }

    /// `true` or `false`, or `default`.
    pub fn flag(&self, key: &str, default: bool) -> bool {
        self.parsed(key, |text| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            other => Err(format!("{other:?} is neither true nor false")),
        })
        .unwrap_or(default)
    }

    /// Values between commas, each by `parse`.
    pub fn list<T>(&self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Vec<T> {
        let split = |text: &str| {
            let parts = text
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty());
            parts.map(&parse).collect::<Result<Vec<_>, _>>()
        };
        self.parsed(key, split).unwrap_or_default()
    }
}

/// Reads an integer with a unit: `ms`, `s`, `m`, `h` or `d`.
///
/// # Errors
/// Text that says what was expected.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let unit_at = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let invalid = || format!("{text:?} is not a duration such as 250ms, 10s, 5m, 1h or 1d");
    let count: u64 = number.parse().map_err(|_| invalid())?;
    let ms_per_unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" if count == 0 => 0,
        _ => return Err(invalid()),
    };
    count
        .checked_mul(ms_per_unit)
        .map(Duration::from_millis)
        .ok_or_else(invalid)
}

/// Reads a number.
///
/// # Errors
/// Text that says what was expected.
pub fn parse_number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not a number in range"))
}

/// Reads `ip:port`.
///
/// # Errors
/// Text that says what was expected.
pub fn parse_addr(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is not an address of the form ip:port"))
}

/// Reads ports and inclusive ranges of ports: `25`, `8000-8010`. 0 is none, which nobody can dial.
///
/// # Errors
/// Text that says what was expected.
pub fn parse_ports(text: &str) -> Result<std::ops::RangeInclusive<u16>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let first: u16 = parse_number(first.trim())?;
    let last: u16 = parse_number(last.trim())?;
    if first > last {
        return Err(format!("{text:?} is not a port or a range of ports"));
    }
    Ok(first.max(1)..=last)
}

#[cfg(test)]
mod tests {
    use super::{Reader, parse_duration, parse_ports};
    use std::collections::BTreeMap;
    use std::time::Duration;

    #[test]
    fn durations_are_integers_with_a_unit() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse_duration("0"), Ok(Duration::ZERO));
        for bad in ["", "1", "1.5s", "1m30s", "s", "99999999999999999999s"] {
            assert!(parse_duration(bad).is_err(), "{bad:?} must be refused");
        }
    }

    #[test]
    fn port_ranges_are_inclusive() {
        assert_eq!(parse_ports("25"), Ok(25..=25));
        assert_eq!(parse_ports("1-3"), Ok(1..=3));
        assert_eq!(parse_ports("80 - 90"), Ok(80..=90));
        assert_eq!(parse_ports("0-2"), Ok(1..=2));
        assert_eq!(parse_ports("0").expect("none").count(), 0);
        for bad in ["3-1", "-1", "1-", "x", "65536", "1-2-3"] {
            assert!(parse_ports(bad).is_err(), "{bad:?} must be refused");
        }
    }

    #[test]
    fn every_bad_variable_is_reported() {
        let env: BTreeMap<String, String> = [("A", "x"), ("B", "y"), ("C", "")]
            .map(|(k, v)| (k.into(), v.into()))
            .into();
        let reader = Reader::new(&env);
        assert_eq!(reader.number("A", 7_u16), 7);
        assert_eq!(reader.duration("B", Duration::ZERO), Duration::ZERO);
        assert_eq!(reader.text("C"), None);
        let keys: Vec<_> = reader.into_bad().into_iter().map(|bad| bad.key).collect();
        assert_eq!(keys, ["A", "B"]);
    }
}
