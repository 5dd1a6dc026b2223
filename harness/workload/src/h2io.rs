//! HTTP/2 bodies: flow control obeyed, fields converted, errors named.

use std::future::poll_fn;

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::http1::{Fields, head};

/// Stream window: enough for a gigabit at a millisecond, small enough to show back-pressure.
pub const STREAM_WINDOW_BYTES: u32 = 1 << 20;

/// Connection window, shared by the streams.
pub const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// Longest header list that is taken: as for HTTP/1.
pub const HEADER_LIST_LIMIT_BYTES: u32 = head::HEAD_LIMIT_BYTES as u32;

/// Sends all of `data` as the peer gives room for it.
pub async fn send(stream: &mut SendStream<Bytes>, mut data: Bytes) -> Result<(), h2::Error> {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let room = poll_fn(|cx| stream.poll_capacity(cx))
            .await
            .transpose()?
            .unwrap_or(0);
        if room == 0 {
            // The stream ended; its reason is what `poll_reset` tells.
            let reason = poll_fn(|cx| stream.poll_reset(cx)).await?;
            return Err(reason.into());
        }
        stream.send_data(data.split_to(room.min(data.len())), false)?;
    }
    Ok(())
}

/// The next piece of a body; room for as much is given back at once.
pub async fn receive(stream: &mut RecvStream) -> Option<Result<Bytes, h2::Error>> {
    let piece = stream.data().await?;
    Some(piece.and_then(|piece| {
        stream.flow_control().release_capacity(piece.len())?;
        Ok(piece)
    }))
}

/// The trailers of a body that was read to its end.
pub async fn trailers(stream: &mut RecvStream) -> Result<Fields, h2::Error> {
    Ok(stream
        .trailers()
        .await?
        .map(|map| fields(&map))
        .unwrap_or_default())
}

/// Fields of a header map; values byte by byte as Latin-1.
pub fn fields(map: &HeaderMap) -> Fields {
    map.iter()
        .map(|(name, value)| (name.as_str().to_owned(), head::latin1(value.as_bytes())))
        .collect()
}

/// A header map of fields; the first one that HTTP cannot carry is named.
pub fn map(fields: &Fields) -> Result<HeaderMap, String> {
    let mut map = HeaderMap::with_capacity(fields.len());
    for (name, value) in fields {
        let header =
            HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("field name {name:?}"))?;
        let value = HeaderValue::from_bytes(&head::octets(value))
            .map_err(|_| format!("value of field {name:?}"))?;
        map.append(header, value);
    }
    Ok(map)
}
