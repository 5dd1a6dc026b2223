//! Accepting connections, and finding out where they were meant to go.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};

/// Connections that the kernel holds for us between two accepts.
const BACKLOG: i32 = 4096;

/// Pause after a failed accept: it fails for want of descriptors or memory, at once and again.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Settings of a socket.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Probes after this long without traffic.
    pub keepalive: Option<Duration>,
    /// How long sent bytes may stay unacknowledged.
    pub user_timeout: Option<Duration>,
}

/// An accepted connection.
#[derive(Debug)]
pub struct Accepted {
    /// The socket.
    pub tcp: TcpStream,
    /// The client.
    pub client: SocketAddr,
    /// Where the client meant to connect to.
    pub original_dst: SocketAddr,
    /// Counts the connection for as long as it is held.
    pub open: Option<Arc<()>>,
}

// === impl Accepted ===

impl Accepted {
    /// This connection, counted by `open`.
    pub(super) fn counted(self, open: Arc<()>) -> Self {
        let open = Some(open);
        Self { open, ..self }
    }
}

/// Listens on `addr`.
///
/// # Errors
/// When the address cannot be had.
pub fn bind(addr: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Accepts a connection, however often that fails.
pub async fn accept(listener: &TcpListener, options: Options) -> Accepted {
    loop {
        let Some((tcp, client)) = survived(listener.accept().await).await else {
            continue;
        };
        match prepare(tcp, client, options) {
            Ok(accepted) => return accepted,
            Err(error) => tracing::debug!(%client, %error, "Connection lost at accept"),
        }
    }
}

/// What was accepted; none, after a pause, when that failed.
pub(super) async fn survived<T>(accepted: io::Result<T>) -> Option<T> {
    match accepted {
        Ok(accepted) => Some(accepted),
        Err(error) => {
            tracing::warn!(%error, "Server failed to accept connection");
            tokio::time::sleep(ACCEPT_RETRY).await;
            None
        }
    }
}

/// Sets up an accepted connection, and finds out where it was meant to go.
pub(super) fn prepare(
    tcp: TcpStream,
    client: SocketAddr,
    options: Options,
) -> io::Result<Accepted> {
    configure(&tcp, options)?;
    let original_dst = original_dst(&tcp)?;
    Ok(Accepted {
        client: canonical(client),
        original_dst,
        tcp,
        open: None,
    })
}

/// Sets what every connection of the proxy has.
///
/// # Errors
/// When the socket refuses.
pub fn configure(tcp: &TcpStream, options: Options) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let socket = SockRef::from(tcp);
    if let Some(time) = options.keepalive {
        socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(time))?;
    }
    if options.user_timeout.is_some() {
        socket.set_tcp_user_timeout(options.user_timeout)?;
    }
    Ok(())
}

/// The destination before redirection; the local address of a connection that was not redirected.
fn original_dst(tcp: &TcpStream) -> io::Result<SocketAddr> {
    let local = canonical(tcp.local_addr()?);
    let socket = SockRef::from(tcp);
    let looked_up = if local.is_ipv4() {
        socket.original_dst_v4()
    } else {
        socket.original_dst_v6()
    };
    Ok(looked_up
        .ok()
        .and_then(|addr| addr.as_socket())
        .map_or(local, canonical))
}

/// An IPv4 address in IPv6 clothes, without them.
fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}
