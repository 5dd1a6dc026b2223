//! What the variables say of HTTP/2 connections.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::env::{Reader, Strings, parse_number};
use super::read::{key, limit};
use crate::http::h2::{self, KeepAlive, Settings};

/// How long a ping may stay unanswered where only the pause between pings is set, as in hyper.
const DEFAULT_PING_TIMEOUT: Duration = Duration::from_secs(20);

/// What holds for HTTP/2 connections of both roles.
pub(super) fn base<S: Strings>(r: &Reader<'_, S>) -> Settings {
    let default = Settings::default();
    let window = |name: &str, default| within(r, &key(name), h2::WINDOWS).unwrap_or(default);
    Settings {
        stream_window: window("HTTP2_INITIAL_STREAM_WINDOW_SIZE", default.stream_window),
        connection_window: window(
            "HTTP2_INITIAL_CONNECTION_WINDOW_SIZE",
            default.connection_window,
        ),
        ..default
    }
}

/// What clients of one side get. `ADAPTIVE_FLOW_CONTROL` is not among it: windows are fixed.
pub(super) fn server<S: Strings>(r: &Reader<'_, S>, side: &str, base: Settings) -> Settings {
    let own = |name: &str| key(&format!("{side}_SERVER_HTTP2_{name}"));
    let window = |name: &str| within(r, &own(name), h2::WINDOWS);
    let time = |name: &str| limit(r, &format!("{side}_SERVER_HTTP2_{name}"));
    let interval = time("KEEP_ALIVE_INTERVAL");
    let timeout = time("KEEP_ALIVE_TIMEOUT").unwrap_or(DEFAULT_PING_TIMEOUT);
    Settings {
        stream_window: window("INITIAL_STREAM_WINDOW_SIZE").unwrap_or(base.stream_window),
        connection_window: window("INITIAL_CONNECTION_WINDOW_SIZE")
            .unwrap_or(base.connection_window),
        max_streams: r.number(&own("MAX_CONCURRENT_STREAMS"), base.max_streams),
        max_frame: within(r, &own("MAX_FRAME_SIZE"), h2::FRAME_SIZES).unwrap_or(base.max_frame),
        max_header_list: r.number(&own("MAX_HEADER_LIST_SIZE"), base.max_header_list),
        max_send_buffer: r.number(&own("MAX_SEND_BUF_SIZE"), base.max_send_buffer),
        max_reset_streams: r.parsed(&own("MAX_PENDING_ACCEPT_RESET_STREAMS"), parse_number),
        keep_alive: interval.map(|interval| KeepAlive {
            interval,
            timeout,
            while_idle: true,
        }),
    }
}

fn within<S: Strings>(r: &Reader<'_, S>, key: &str, range: RangeInclusive<u32>) -> Option<u32> {
    r.parsed(key, |text| {
        let number = parse_number(text)?;
        range
            .contains(&number)
            .then_some(number)
            .ok_or_else(|| format!("{text} is not in {}..={}", range.start(), range.end()))
    })
}
