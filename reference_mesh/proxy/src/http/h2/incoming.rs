//! A body that is read from an HTTP/2 stream.

use std::fmt;
use std::task::{Context, Poll, ready};

use h2::RecvStream;

use super::client::Sent;
use crate::http::body::{BodyError, Frame};
use crate::http::headers::strip_from_trailers;

/// Reads the body; in the client role it also keeps the request's upload going.
pub struct Incoming {
    recv: RecvStream,
    data_ended: bool,
    sent: Option<Sent>,
}

// === impl Incoming ===

impl Incoming {
    pub(super) fn new(recv: RecvStream, sent: Option<Sent>) -> Self {
        Self {
            recv,
            data_ended: false,
            sent,
        }
    }

    pub(in crate::http) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame, BodyError>>> {
        while !self.data_ended {
            match ready!(self.recv.poll_data(cx)) {
                Some(Ok(data)) => {
                    // What is handed on counts as read: the next hop's window limits the rest.
                    if let Err(error) = self.recv.flow_control().release_capacity(data.len()) {
                        return Poll::Ready(Some(Err(error.into())));
                    }
                    if !data.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::Data(data))));
                    }
                }
                // With NO_ERROR, too: after a whole body h2 shows no reset (RFC 9113 8.1), so this one
                // is cut short.
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                None => self.data_ended = true,
            }
        }
        match ready!(self.recv.poll_trailers(cx)) {
            Ok(Some(mut trailers)) => {
                strip_from_trailers(&mut trailers);
                Poll::Ready(Some(Ok(Frame::Trailers(trailers))))
            }
            Ok(None) => Poll::Ready(None),
            Err(error) => Poll::Ready(Some(Err(error.into()))),
        }
    }

    pub(in crate::http) fn is_end(&self) -> bool {
        self.recv.is_end_stream()
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("sent", &self.sent)
            .finish()
    }
}
