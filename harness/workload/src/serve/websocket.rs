//! WebSocket echo (RFC 6455) on the server side.

use std::sync::Arc;

use tokio::io::AsyncWriteExt;

use super::App;
use super::attempt::Attempt;
use crate::http1::{Error, Inbound};
use crate::transport::Boxed;
use crate::websocket::{Frame, Opcode, read_frame};

pub use crate::websocket::accept_of;

/// Close code of a server that goes away (RFC 6455 section 7.4.1).
const GOING_AWAY: u16 = 1001;

/// Sends each message back until either side closes.
pub async fn echo(
    app: &Arc<App>,
    inbound: &mut Inbound<Boxed>,
    attempt: &mut Attempt,
) -> Result<(), Error> {
    loop {
        let frame = tokio::select! {
            frame = read_frame(inbound) => frame?,
            () = app.drained() => {
                let payload = GOING_AWAY.to_be_bytes().to_vec();
                let close = Frame { last: true, opcode: Opcode::Close, payload };
                inbound.io_mut().write_all(&close.render(None)).await?;
                return Ok(());
            }
        };
        let answer = match frame.opcode {
            Opcode::Ping => Frame {
                opcode: Opcode::Pong,
                ..frame
            },
            Opcode::Pong => continue,
            Opcode::Text | Opcode::Binary | Opcode::Continuation => {
                attempt.received(&frame.payload);
                attempt.sent(&frame.payload);
                frame
            }
            Opcode::Close => frame,
        };
        inbound.io_mut().write_all(&answer.render(None)).await?;
        if answer.opcode == Opcode::Close {
            return Ok(());
        }
    }
}
