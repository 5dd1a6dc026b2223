//! Which variables nothing comes of, so that a start can say so.

use super::env::{Reader, Strings};
use super::read::{PREFIX, key};

/// Variables that are heeded, though `config` may not ask for them.
const HEEDED: [&str; 4] = [
    // Read before there is a configuration.
    "LOG",
    "LOG_FORMAT",
    // Others that are set hold in their place.
    "OUTBOUND_LISTEN_ADDR",
    "IDENTITY_SERVER_ID",
];

/// Of the tap server; without tap there is none, whatever its address.
const TAP_LISTEN_ADDR: &str = "CONTROL_LISTEN_ADDR";
const TAP_NAME: &str = "TAP_SVC_NAME";

/// Names of variables that are set and that nothing comes of; right when all others have been read.
pub(super) fn variables<S: Strings>(r: &Reader<'_, S>) -> Vec<String> {
    let mut unasked = r.unasked(PREFIX);
    let taps = unasked.contains(&key(TAP_NAME));
    unasked.retain(|name| {
        let name = &name[PREFIX.len()..];
        !HEEDED.contains(&name) && (taps || name != TAP_LISTEN_ADDR)
    });
    unasked
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::config::Config;

    /// What the injector gives a sidecar when nothing was chosen; a test of its own holds it to that.
    fn injected() -> BTreeMap<String, String> {
        let lines = include_str!("../../tests/injected.env").lines();
        let parts = lines.map(|line| line.split_once('=').expect("NAME=value"));
        parts
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    fn unheeded(more: &[(&str, &str)]) -> Vec<String> {
        let mut env = injected();
        for (key, value) in more {
            env.insert(format!("LINKERD2_PROXY_{key}"), (*value).to_owned());
        }
        env.insert("PATH".into(), "/bin".into());
        Config::from_env(&env).expect("valid").unheeded
    }

    #[test]
    fn all_that_is_injected_unasked_is_heeded() {
        assert_eq!(unheeded(&[]), [""; 0]);
    }

    #[test]
    fn what_nothing_comes_of_is_known() {
        let more = [
            ("OUTBOUND_LISTEN_ADDRS", "127.0.0.1:4140,[::1]:4140"),
            ("INGRESS_MODE", "true"),
            ("INBOUND_CONNECT_TIMEOUTS", "1s"),
            ("ACCESS_LOG", ""),
        ];
        assert_eq!(unheeded(&more), ["LINKERD2_PROXY_INBOUND_CONNECT_TIMEOUTS"]);
    }

    #[test]
    fn a_tap_server_that_was_asked_for_is_missed() {
        assert_eq!(
            unheeded(&[("TAP_SVC_NAME", "tap.linkerd-viz")]),
            [
                "LINKERD2_PROXY_CONTROL_LISTEN_ADDR",
                "LINKERD2_PROXY_TAP_SVC_NAME"
            ]
        );
    }
}
