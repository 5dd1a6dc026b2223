//! Dealing connections to data threads.
//!
//! A sidecar has few connections and they live long: one from a peer's proxy carries all requests of
//! that peer. Sharing a port by the hash of addresses (`SO_REUSEPORT`) spreads a few of them by luck,
//! and a race for one queue gives them to whoever is awake. Here one thread accepts, and each
//! connection goes to the data thread that has the fewest open: exact, at the price of a hand-over
//! per connection and nothing per request. With one data thread there is no dealer.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::listen::{self, Accepted, Options};
use crate::drain;

/// Connections that wait for a data thread. A thread that does not come to them keeps the dealer,
/// and then clients, waiting in the kernel's queue: it is longer and costs this process nothing.
const HAND: usize = 16;

/// Where the connections of one data thread come from.
#[derive(Debug)]
pub enum Incoming {
    /// It accepts by itself.
    Own(TcpListener),
    /// They are dealt to it.
    Dealt(mpsc::Receiver<Dealt>),
}

/// A connection on its way to a data thread.
#[derive(Debug)]
pub struct Dealt {
    tcp: std::net::TcpStream,
    client: SocketAddr,
    open: Arc<()>,
}

/// A data thread, as the dealer of one listener sees it.
#[derive(Debug)]
pub struct Seat {
    sender: mpsc::Sender<Dealt>,
    /// As many handles as the thread has connections open, and as many more on each thread.
    open: Arc<()>,
}

/// A seat for the thread whose open connections `open` counts, and what arrives there.
#[must_use]
pub fn seat(open: &Arc<()>) -> (Seat, Incoming) {
    let (sender, receiver) = mpsc::channel(HAND);
    let open = Arc::clone(open);
    (Seat { sender, open }, Incoming::Dealt(receiver))
}

/// Accepts and deals until the proxy drains; then the port is closed.
pub async fn deal(listener: TcpListener, seats: Vec<Seat>, mut drain: drain::Watch) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = drain.signaled() => return,
        };
        // Off this thread's runtime, so that another's can have it.
        let accepted = accepted.and_then(|(tcp, client)| Ok((tcp.into_std()?, client)));
        let Some((tcp, client)) = listen::survived(accepted).await else {
            continue;
        };
        let seats = seats.iter();
        if let Some(seat) = seats.min_by_key(|seat| Arc::strong_count(&seat.open)) {
            let open = Arc::clone(&seat.open);
            // A thread that has ended takes none.
            let _ = seat.sender.send(Dealt { tcp, client, open }).await;
        }
    }
}

// === impl Incoming ===

impl Incoming {
    /// The next connection, however often one is lost; for ever none when no more are dealt.
    /// Dropped early, it loses none.
    pub async fn accept(&mut self, options: Options) -> Accepted {
        let dealt = match self {
            Self::Own(listener) => return listen::accept(listener, options).await,
            Self::Dealt(dealt) => dealt,
        };
        loop {
            let Some(Dealt { tcp, client, open }) = dealt.recv().await else {
                return std::future::pending().await;
            };
            let tcp = TcpStream::from_std(tcp);
            let prepared = tcp.and_then(|tcp| listen::prepare(tcp, client, options));
            match prepared {
                Ok(accepted) => return accepted.counted(open),
                Err(error) => tracing::debug!(%client, %error, "Connection lost at accept"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;

    use tokio::net::{TcpListener, TcpStream};

    use super::{Incoming, Seat, deal, seat};
    use crate::drain;
    use crate::transport::listen::{Accepted, Options, bind};

    struct Table {
        at: SocketAddr,
        threads: [Incoming; 2],
        _drain: drain::Trigger,
    }

    fn table() -> Table {
        let listener = bind("127.0.0.1:0".parse().expect("address")).expect("listen");
        let at = listener.local_addr().expect("bound");
        let (seats, threads): (Vec<Seat>, Vec<_>) = (0..2).map(|_| seat(&Arc::default())).unzip();
        let (drain, watch) = drain::channel();
        let listener = TcpListener::from_std(listener).expect("register");
        tokio::spawn(deal(listener, seats, watch));
        Table {
            at,
            threads: threads.try_into().expect("two"),
            _drain: drain,
        }
    }

    impl Table {
        async fn connect(&mut self) -> (usize, Accepted, TcpStream) {
            let client = TcpStream::connect(self.at).await.expect("connect");
            let [first, second] = &mut self.threads;
            let (thread, accepted) = tokio::select! {
                accepted = first.accept(Options::default()) => (0, accepted),
                accepted = second.accept(Options::default()) => (1, accepted),
            };
            let from = client.local_addr().expect("connected");
            assert_eq!((accepted.client, accepted.original_dst), (from, self.at));
            (thread, accepted, client)
        }
    }

    #[tokio::test]
    async fn each_connection_goes_where_the_fewest_are_open() {
        let mut table = table();
        let mut open = [Vec::new(), Vec::new()];
        for _ in 0..6 {
            let (thread, accepted, client) = table.connect().await;
            open[thread].push((accepted, client));
        }
        assert_eq!([open[0].len(), open[1].len()], [3, 3]);
        open[1].clear();
        for _ in 0..3 {
            let (thread, accepted, client) = table.connect().await;
            assert_eq!(thread, 1);
            open[1].push((accepted, client));
        }
    }
}
