//! WebSocket calls.

use std::pin::pin;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};

use super::dial::{Connection, Dialer};
use super::http1::fields;
use super::messages::{Flow, Message, Sink, pump};
use super::outcome::Progress;
use super::plan::Plan;
use super::stop::Stop;
use crate::http1::{Error, Head, Inbound, head};
use crate::seeded::fill;
use crate::transport::Boxed;
use crate::websocket::{FRAME_LIMIT_BYTES, Frame, Opcode, accept_of, read_frame};

/// Close code of a client that is done (RFC 6455 section 7.4.1).
const NORMAL: u16 = 1000;

/// Makes one call over a connection of its own.
pub async fn call(plan: &Plan, dialer: &Dialer, stop: &Stop, progress: &mut Progress) {
    let Some(mut connection) = dialer.open(progress).await else {
        return;
    };
    connection.carries(progress);
    match handshake(plan, &mut connection, progress).await {
        Ok(true) => {
            if let Err(error) = converse(plan, &mut connection, stop, progress).await {
                progress.fail_h1(&error);
            }
        }
        Ok(false) => {}
        Err(error) => progress.fail_h1(&error),
    }
}

/// Asks for the upgrade; whether it was granted. A refusal is an outcome like any status.
async fn handshake(
    plan: &Plan,
    connection: &mut Connection,
    progress: &mut Progress,
) -> Result<bool, Error> {
    let mut nonce = [0; 16];
    fill(progress.outcome.started_ns, progress.outcome.n, &mut nonce);
    let key = STANDARD.encode(nonce);
    let mut request = fields(plan, progress).map_err(Error::Malformed)?;
    for (name, value) in [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", &key),
    ] {
        request.push((name.to_owned(), value.to_owned()));
    }
    let (_, path) = plan.target().map_err(Error::Malformed)?;
    let message = head::render(&format!("GET {path} HTTP/1.1"), &request);
    connection.writer.write_all(&message).await?;
    connection.writer.flush().await?;
    let head = Head::parse(&connection.inbound.head().await?)?;
    let (_, status) = head.response_status()?;
    progress.head();
    progress.outcome.version = Some(head.start[0].clone());
    progress.outcome.status = Some(status);
    let accepted = head::first(&head.fields, "sec-websocket-accept").map(str::to_owned);
    progress.fields(head.fields);
    if status != 101 {
        return Ok(false);
    }
    match accepted {
        Some(accepted) if accepted == accept_of(&key) => Ok(true),
        _ => Err(Error::Malformed(
            "Sec-WebSocket-Accept does not fit the key".into(),
        )),
    }
}

async fn converse(
    plan: &Plan,
    connection: &mut Connection,
    stop: &Stop,
    progress: &mut Progress,
) -> Result<(), Error> {
    let flow = progress.flow.clone();
    let mut frames = Frames {
        writer: &mut connection.writer,
        flow: &flow,
    };
    let sending = async {
        pump(&plan.messages, stop, &flow, &mut frames).await?;
        frames
            .send(Opcode::Close, NORMAL.to_be_bytes().to_vec())
            .await
    };
    let mut sending = pin!(sending);
    let mut receiving = pin!(receive(plan, &mut connection.inbound, &flow, progress));
    let mut sent = false;
    loop {
        tokio::select! {
            // A failed send shows up again, with its cause, on the receiving side.
            _ = &mut sending, if !sent => sent = true,
            result = &mut receiving => return result,
        }
    }
}

struct Frames<'a> {
    writer: &'a mut WriteHalf<Boxed>,
    flow: &'a Flow,
}

impl Frames<'_> {
    async fn send(&mut self, opcode: Opcode, payload: Vec<u8>) -> Result<(), Error> {
        // The mask keeps proxies from reading payload as HTTP; here any value serves.
        let mask = [0x5a, 0xc3, 0x17, 0x88];
        let frame = Frame {
            last: true,
            opcode,
            payload,
        };
        self.writer.write_all(&frame.render(Some(mask))).await?;
        self.writer.flush().await?;
        Ok(())
    }
}

impl Sink for Frames<'_> {
    type Error = Error;

    async fn message(&mut self, message: Message) -> Result<(), Error> {
        if message.length() > FRAME_LIMIT_BYTES {
            return Err(Error::TooLong(
                "a WebSocket message",
                FRAME_LIMIT_BYTES as usize,
            ));
        }
        let payload: Vec<u8> = message.pieces().flatten().collect();
        self.flow.sends(&payload);
        self.send(Opcode::Binary, payload).await
    }
}

/// Reads until the server answers the close, or closes by itself.
async fn receive(
    plan: &Plan,
    inbound: &mut Inbound<ReadHalf<Boxed>>,
    flow: &Flow,
    progress: &mut Progress,
) -> Result<(), Error> {
    loop {
        let frame = read_frame(inbound).await?;
        match frame.opcode {
            Opcode::Close => {
                progress.outcome.end = Some("fin");
                return Ok(());
            }
            Opcode::Ping | Opcode::Pong => {}
            Opcode::Text | Opcode::Binary | Opcode::Continuation => {
                progress.received(&frame.payload);
                flow.received(frame.payload.len(), u64::from(frame.last));
                plan.slow_down(frame.payload.len()).await;
            }
        }
    }
}
