//! A gRPC service that takes any method and any message.
//!
//! Messages are opaque bytes, so no schema is needed: whatever arrives is sent back frame by frame
//! as it arrives, which is a correct echo for unary and all three streaming kinds. With `messages`
//! the call is answered with made messages once the client has finished.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use super::App;
use super::attempt::Attempt;
use super::http2::{Exchange, cut, read, reason_of, respond, send_trailers, wait};
use super::ledger::Outcome;
use super::reply::marks;
use super::steering::Cut;
use crate::clock::pause;
use crate::h2io;
use crate::http1::{Fields, head};
use crate::seeded::{BLOCK_BYTES, Seeded};

/// gRPC status of a call that failed as steered by `fail-until`.
const UNAVAILABLE: u32 = 14;

/// Whether the fields are those of a gRPC request.
pub fn is_grpc(fields: &Fields) -> bool {
    head::first(fields, "content-type").is_some_and(|kind| kind.starts_with("application/grpc"))
}

/// Answers a call.
pub(super) async fn answer(
    app: &Arc<App>,
    exchange: &mut Exchange,
    attempt: &mut Attempt,
) -> Result<Outcome, h2::Error> {
    let steering = exchange.steering.clone();
    let fails = attempt.number() < steering.fail_until;
    let status = if fails {
        UNAVAILABLE
    } else {
        steering.grpc_status.unwrap_or(0)
    };
    let answers_at_end = steering.messages.is_some() || steering.trailers_only || fails;
    if answers_at_end && !steering.ignore_body {
        while let Some(piece) = read(exchange).await? {
            attempt.received(&piece);
        }
    }
    wait(exchange).await?;
    if steering.reset == Some(Cut::Request) {
        exchange.respond.send_reset(reason_of(&steering));
        return Ok(Outcome::Steered);
    }
    let mut fields = marks(app, attempt);
    fields[0].1 = "application/grpc".to_owned();
    fields.extend(steering.headers.iter().cloned());
    let trailers = vec![
        ("grpc-status".to_owned(), status.to_string()),
        (
            "grpc-message".to_owned(),
            if status == 0 { "" } else { "as steered" }.to_owned(),
        ),
    ];
    let http_status = if fails {
        200
    } else {
        steering.status.unwrap_or(200)
    };
    attempt.responds(Some(http_status));
    if steering.trailers_only || fails {
        fields.extend(trailers);
        respond(exchange, http_status, &fields, true)?;
        return Ok(Outcome::Complete);
    }
    let mut stream = respond(exchange, http_status, &fields, false)?;
    if cut(&steering, Cut::Headers) {
        stream.send_reset(reason_of(&steering));
        return Ok(Outcome::Steered);
    }
    match steering.messages {
        None => {
            while let Some(piece) = read(exchange).await? {
                attempt.received(&piece);
                h2io::send(&mut stream, piece.clone()).await?;
                attempt.sent(&piece);
                if cut(&steering, Cut::Body) {
                    stream.send_reset(reason_of(&steering));
                    return Ok(Outcome::Steered);
                }
            }
        }
        Some(count) => {
            for _ in 0..count {
                pause(steering.pace).await;
                let size = steering.size.unwrap_or(0);
                let prefix = std::iter::once(prefix(size));
                for piece in prefix.chain(Seeded::new(steering.seed, size, BLOCK_BYTES)) {
                    h2io::send(&mut stream, piece.clone()).await?;
                    attempt.sent(&piece);
                }
                if cut(&steering, Cut::Body) {
                    stream.send_reset(reason_of(&steering));
                    return Ok(Outcome::Steered);
                }
            }
        }
    }
    send_trailers(&mut stream, &trailers)?;
    Ok(Outcome::Complete)
}

/// The five bytes before a message: not compressed, and its length.
pub fn prefix(length: u64) -> Bytes {
    let mut prefix = BytesMut::with_capacity(5);
    prefix.put_u8(0);
    // Steering and plans bound a message to 1 GiB.
    prefix.put_u32(length as u32);
    prefix.freeze()
}
