//! Bytes in both directions, until both ends have closed.
//!
//! A direction holds memory only while the receiver is slower than the sender: reads land in a
//! buffer of the thread and are written at once. Each side's end is passed on by itself, so a peer
//! that has finished sending still gets its answer.
//!
//! A side that breaks is passed on, too: the other one is reset. An ordinary end would say of what
//! it got that it is the whole.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::Io;
use crate::mutants::{self, Mutant};

/// One read. Four TLS records.
const READ_BYTES: usize = 64 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into_boxed_slice());
}

/// One direction of a copy.
#[derive(Default)]
struct Way {
    unsent: BytesMut,
    state: State,
    total: u64,
}

#[derive(Default)]
enum State {
    #[default]
    Copying,
    Closing,
    /// The receiver takes no more; what still comes is dropped, so that closing resets nothing that
    /// is on its way back.
    Refused(io::Error),
    Done,
}

/// Why a direction ended.
enum Broken {
    Read(io::Error),
    Write(io::Error),
}

/// The two sides. Dropped before both have ended, also because the copy is given up, they are reset.
struct Pair {
    a: Io,
    b: Io,
    ended: bool,
}

/// Copies from `a` to `b` and from `b` to `a`. Returns when both have closed.
///
/// # Errors
/// When either breaks; both are then reset. A side that takes no more, but had ended its sending
/// before, is no break for what it sent: that is delivered, with an ordinary end.
pub async fn duplex(a: Io, b: Io) -> io::Result<()> {
    let mut pair = Pair { a, b, ended: false };
    let (mut forth, mut back) = (Way::default(), Way::default());
    poll_fn(|cx| {
        let Pair { a, b, .. } = &mut pair;
        let forth_done = forth.poll(cx, a, b, back.is_reset())?.is_ready();
        let back_done = back.poll(cx, b, a, forth.is_reset())?.is_ready();
        let half_close_lost = mutants::active(Mutant::HalfCloseLost) && (forth_done || back_done);
        if (forth_done && back_done) || half_close_lost {
            Poll::Ready(io::Result::Ok(()))
        } else {
            Poll::Pending
        }
    })
    .await?;
    pair.ended = !forth.is_reset() && !back.is_reset();
    forth.result().and(back.result())
}

// === impl Pair ===

impl Drop for Pair {
    fn drop(&mut self) {
        if !self.ended {
            self.a.reset_when_dropped();
            self.b.reset_when_dropped();
        }
    }
}

// === impl Way ===

impl Way {
    /// Ready when this direction carries no more; `reset` when the sender has broken the other one.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Io,
        to: &mut Io,
        reset: bool,
    ) -> Poll<io::Result<()>> {
        if !matches!(self.state, State::Refused(_)) {
            match ready!(self.poll_copy(cx, from, to, reset)) {
                Ok(()) => self.state = State::Done,
                Err(Broken::Read(error)) => return Poll::Ready(Err(error)),
                Err(Broken::Write(error)) => self.state = State::Refused(error),
            }
        }
        if matches!(self.state, State::Refused(_)) {
            poll_discard(cx, from);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_copy(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Io,
        to: &mut Io,
        reset: bool,
    ) -> Poll<Result<(), Broken>> {
        // A fast pair of sockets must not keep the thread: the budget of the runtime ends the turn.
        while matches!(self.state, State::Copying) {
            while !self.unsent.is_empty() {
                let written = ready!(poll_write(cx, to, &self.unsent))?;
                self.unsent.advance(written);
            }
            self.unsent = BytesMut::new();
            match self.poll_pass(cx, from, to) {
                Poll::Ready(Ok(true)) => {}
                // A reset that a write was told of reads as an end.
                Poll::Ready(Ok(false)) if reset => {
                    let error = io::ErrorKind::ConnectionReset.into();
                    return Poll::Ready(Err(Broken::Read(error)));
                }
                Poll::Ready(Ok(false)) => self.state = State::Closing,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    ready!(Pin::new(&mut *to).poll_flush(cx)).map_err(Broken::Write)?;
                    return Poll::Pending;
                }
            }
        }
        if matches!(self.state, State::Closing) {
            match ready!(Pin::new(&mut *to).poll_shutdown(cx)) {
                // The receiver may have closed first.
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotConnected => {}
                Err(error) => return Poll::Ready(Err(Broken::Write(error))),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once and writes what it can; false at the end.
    fn poll_pass(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Io,
        to: &mut Io,
    ) -> Poll<Result<bool, Broken>> {
        BUFFER.with_borrow_mut(|buffer| {
            let mut read = ReadBuf::new(buffer);
            ready!(Pin::new(from).poll_read(cx, &mut read)).map_err(Broken::Read)?;
            let mut bytes = read.filled();
            if bytes.is_empty() {
                return Poll::Ready(Ok(false));
            }
            self.total += bytes.len() as u64;
            if mutants::active(Mutant::BodyTruncated) && self.total > 1 << 20 {
                return Poll::Ready(Ok(false));
            }
            while !bytes.is_empty() {
                match poll_write(cx, to, bytes)? {
                    Poll::Ready(written) => bytes = &bytes[written..],
                    Poll::Pending => {
                        self.unsent.extend_from_slice(bytes);
                        break;
                    }
                }
            }
            Poll::Ready(Ok(true))
        })
    }

    /// Whether the receiver has broken. One that takes no more after it ended its own sending has
    /// not: the kernel then calls it a broken pipe.
    fn is_reset(&self) -> bool {
        matches!(&self.state, State::Refused(error) if error.kind() != io::ErrorKind::BrokenPipe)
    }

    fn result(self) -> io::Result<()> {
        match self.state {
            State::Refused(error) => Err(error),
            State::Copying | State::Closing | State::Done => Ok(()),
        }
    }
}

/// Writes some of `bytes`, at least one.
fn poll_write(cx: &mut Context<'_>, to: &mut Io, bytes: &[u8]) -> Poll<Result<usize, Broken>> {
    match ready!(Pin::new(to).poll_write(cx, bytes)) {
        Ok(0) => Poll::Ready(Err(Broken::Write(io::ErrorKind::WriteZero.into()))),
        result => Poll::Ready(result.map_err(Broken::Write)),
    }
}

/// Reads what there is, and what will come at the next turns.
fn poll_discard(cx: &mut Context<'_>, from: &mut Io) {
    BUFFER.with_borrow_mut(|buffer| {
        loop {
            let mut read = ReadBuf::new(buffer);
            match Pin::new(&mut *from).poll_read(cx, &mut read) {
                Poll::Ready(Ok(())) if !read.filled().is_empty() => {}
                Poll::Ready(_) | Poll::Pending => return,
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::duplex;
    use crate::http::test_service::connection;
    use std::io::ErrorKind;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;
    use tokio::task::JoinHandle;

    /// A client and a server, and a copy between them.
    async fn connected() -> (TcpStream, TcpStream, JoinHandle<std::io::Result<()>>) {
        let (client, of_client) = connection().await;
        let (server, of_server) = connection().await;
        let copy = duplex(of_client, of_server);
        (client, server, tokio::spawn(copy))
    }

    #[tokio::test]
    async fn an_end_is_passed_on_by_itself() {
        let (mut client, mut server, copied) = connected().await;
        let client = async {
            client.write_all(&[7; 5000]).await.expect("write");
            client.shutdown().await.expect("shutdown");
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.expect("read");
            answer
        };
        let server = async {
            let mut request = Vec::new();
            server.read_to_end(&mut request).await.expect("read");
            server.write_all(&request[..3000]).await.expect("write");
            drop(server);
            request.len()
        };
        let (answer, request) = tokio::join!(client, server);
        copied.await.expect("joined").expect("copy");
        assert_eq!((request, answer.len()), (5000, 3000));
    }

    #[tokio::test]
    async fn a_client_that_breaks_off_is_not_taken_for_one_that_ended() {
        let (mut client, mut server, copied) = connected().await;
        client.write_all(b"half").await.expect("write");
        server.read_exact(&mut [0; 4]).await.expect("read");
        client.set_zero_linger().expect("socket");
        drop(client);
        let error = server.read(&mut [0; 4]).await.expect_err("no ordinary end");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
        copied.await.expect("joined").expect_err("broken");
    }

    #[tokio::test]
    async fn a_copy_that_is_given_up_resets_both() {
        let (mut client, mut server, copied) = connected().await;
        client.write_all(b"half").await.expect("write");
        server.read_exact(&mut [0; 4]).await.expect("read");
        copied.abort();
        for mut end in [client, server] {
            let error = end.read(&mut [0; 4]).await.expect_err("no ordinary end");
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
        }
    }

    /// It answers, ends, and is gone while its client still sends.
    #[tokio::test]
    async fn an_answer_arrives_although_its_server_takes_no_more() {
        let (client, mut server, copied) = connected().await;
        let (mut reader, mut writer) = client.into_split();
        let sends =
            tokio::spawn(async move { while writer.write_all(&[7; 50_000]).await.is_ok() {} });
        server.read_exact(&mut [0; 4]).await.expect("read");
        server.write_all(&[8; 1000]).await.expect("write");
        server.shutdown().await.expect("shutdown");
        drop(server);
        let mut answer = Vec::new();
        reader.read_to_end(&mut answer).await.expect("read");
        assert_eq!(answer.len(), 1000);
        drop(copied.await.expect("joined"));
        sends.abort();
    }
}
