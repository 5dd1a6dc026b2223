//! A proxy that does nothing: what two more processes on a request's way cost by themselves.
//!
//! It stands where a sidecar would and copies bytes, with the runtime that the reference mesh's proxy
//! has. What it adds to a request is the machine's, not the mesh's.

use std::net::SocketAddr;

use serde_json::json;
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::application::{Error, bind};
use crate::serve::ACCEPT_PAUSE;

/// Relays each connection to `to`, `HOST:PORT`, until SIGTERM or SIGINT; open ones end with it.
pub async fn run(listen: SocketAddr, to: &str) -> Result<(), Error> {
    let mut term = signal(SignalKind::terminate()).map_err(Error::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signal)?;
    let (listener, bound) = bind(listen).await?;
    println!("{}", json!({"event": "listening", "port": bound.port()}));
    let mut relays = JoinSet::new();
    loop {
        tokio::select! {
            _ = term.recv() => break,
            _ = interrupt.recv() => break,
            Some(_) = relays.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    relays.spawn(relay(stream, to.to_owned()));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }
    relays.shutdown().await;
    Ok(())
}

/// Either end sees a close where the other is not there or goes away.
async fn relay(mut near: TcpStream, to: String) -> std::io::Result<()> {
    let mut far = TcpStream::connect(&to).await.inspect_err(|error| {
        eprintln!("relay: cannot connect to {to}: {error}");
    })?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    copy_bidirectional(&mut near, &mut far).await?;
    Ok(())
}
