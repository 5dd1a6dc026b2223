//! Plain TCP: an echo that greets first or waits, and that knows half-closed connections.
//!
//! A client may begin with a line `meshmark <id> <steering>\n`, which gives the record its id and
//! steers it; the line is echoed like all else. `size` then means: read until the client is done
//! sending, answer with that many made bytes and close, which only works where half-closing does.

use std::sync::Arc;

use bytes::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::App;
use super::attempt::{Attempt, Start};
use super::connections::Connection;
use super::ledger::Outcome;
use super::steering::{Cut, Steering};
use crate::clock::pause;
use crate::http1::{Fields, Inbound};
use crate::seeded::{BLOCK_BYTES, Seeded};
use crate::transport::Transport;

/// Longest first line that is looked at.
const OPENING_LIMIT_BYTES: usize = 4096;

/// Word that an opening line begins with.
pub const OPENING: &str = "meshmark ";

/// Serves one connection; with `greets`, a line goes out before anything is read.
pub async fn echo(app: Arc<App>, stream: TcpStream, connection: Connection, greets: bool) {
    connection.speaks("tcp");
    let mut inbound = Inbound::new(stream, bytes::BytesMut::new());
    if greets {
        let greeting = format!("220 {} ready\r\n", app.pod);
        if let Err(error) = inbound.io_mut().write_all(greeting.as_bytes()).await {
            return connection.ends(error.to_string());
        }
    }
    // A connection that sends nothing is an attempt too: it did reach the application.
    let mut waited = Ok(true);
    while waited.is_ok() && !is_opening_whole(inbound.buffered()) {
        waited = tokio::select! {
            filled = inbound.fill() => filled.map(|count| count > 0),
            () = app.drained() => Ok(false),
        };
        if matches!(waited, Ok(false)) {
            break;
        }
    }
    let (id, steering) = opening(inbound.buffered(), &app.steering());
    let start = Start {
        protocol: "tcp",
        method: "",
        target: "",
        authority: None,
        scheme: None,
    };
    let mut attempt = Attempt::begin_as(&app, &connection, start, Fields::new(), id);
    let steering = steering.unwrap_or_else(|why| {
        attempt.note(why);
        Steering::default()
    });
    let served = match waited {
        Ok(_) => serve(&app, &mut inbound, &steering, &mut attempt).await,
        Err(error) => Err(error),
    };
    match served {
        Ok(outcome) => {
            connection.ends("complete");
            attempt.finish(outcome);
        }
        Err(error) => {
            connection.ends(error.to_string());
            attempt.note(error.to_string());
            attempt.finish(Outcome::Abandoned);
        }
    }
}

async fn serve(
    app: &App,
    inbound: &mut Inbound<TcpStream>,
    steering: &Steering,
    attempt: &mut Attempt,
) -> std::io::Result<Outcome> {
    pause(steering.delay).await;
    if steering.reset == Some(Cut::Request) {
        inbound.io_mut().reset_on_close();
        return Ok(Outcome::Steered);
    }
    attempt.responds(None);
    if steering.close == Some(Cut::Request) {
        // The other half stays open: what the client still sends is read and recorded.
        inbound.io_mut().shutdown().await?;
    }
    loop {
        let piece = tokio::select! {
            piece = inbound.some(u64::MAX) => piece?,
            () = app.drained() => None,
        };
        let Some(piece) = piece else { break };
        attempt.received(&piece);
        if steering.size.is_none() && steering.close != Some(Cut::Request) {
            write(inbound, attempt, &piece, steering).await?;
        }
        if steering.reset == Some(Cut::Body) {
            inbound.io_mut().reset_on_close();
            return Ok(Outcome::Steered);
        }
    }
    let block = steering.block.unwrap_or(BLOCK_BYTES);
    for piece in Seeded::new(steering.seed, steering.size.unwrap_or(0), block) {
        write(inbound, attempt, &piece, steering).await?;
    }
    inbound.io_mut().shutdown().await?;
    Ok(Outcome::Complete)
}

async fn write(
    inbound: &mut Inbound<TcpStream>,
    attempt: &mut Attempt,
    piece: &Bytes,
    steering: &Steering,
) -> std::io::Result<()> {
    pause(steering.pace).await;
    inbound.io_mut().write_all(piece).await?;
    attempt.sent(piece);
    Ok(())
}

/// Whether no further byte can change what the opening line says.
fn is_opening_whole(data: &[u8]) -> bool {
    let compared = data.len().min(OPENING.len());
    !data.is_empty()
        && (data[..compared] != OPENING.as_bytes()[..compared]
            || data.contains(&b'\n')
            || data.len() > OPENING_LIMIT_BYTES)
}

/// Id and steering of an opening line, when there is one.
fn opening(data: &[u8], default: &Steering) -> (Option<String>, Result<Steering, String>) {
    let line = data.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let text = String::from_utf8_lossy(line);
    let Some(rest) = text.strip_prefix(OPENING) else {
        return (None, Ok(default.clone()));
    };
    let (id, steering) = rest
        .trim_end()
        .split_once(' ')
        .unwrap_or((rest.trim_end(), ""));
    (Some(id.to_owned()), default.with(steering))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opening_lines() {
        assert!(is_opening_whole(b"hello"));
        assert!(!is_opening_whole(b"mesh"));
        assert!(!is_opening_whole(b"meshmark a"));
        assert!(is_opening_whole(b"meshmark a\n"));
        let (id, steering) = opening(b"meshmark a size=3\nrest", &Steering::default());
        assert_eq!(id.as_deref(), Some("a"));
        assert_eq!(steering.unwrap().size, Some(3));
        assert_eq!(opening(b"else\n", &Steering::default()).0, None);
    }
}
