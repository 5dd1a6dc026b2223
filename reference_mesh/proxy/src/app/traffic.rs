//! The threads that carry traffic.
//!
//! Each has its own runtime, connections, balancers and routes, so that a request stays on one core.
//! What must hold for the proxy as a whole is shared: discovery, rate limits, the limits of requests
//! under way, metrics (with a cache line for each thread), the drain. On a request's way none of it
//! takes a lock, unless a rate limit or labels by name ask for one.
//!
//! The price: with more threads there are more connections to the same endpoints, and queues, pools of
//! idle connections and latencies are a thread's own. Gauges of a balancer show what one of the threads
//! saw last.

use std::io;
use std::net::TcpListener;
use std::sync::{Arc, mpsc};

use tokio::runtime::{self, LocalOptions, LocalRuntime};
use tokio::task::JoinSet;

use super::thread::Thread;
use crate::config::Config;
use crate::discovery::Discovery;
use crate::drain;
use crate::http::in_flight;
use crate::inbound::{self, Inbound};
use crate::outbound::Outbound;
use crate::telemetry::{AccessLog, Distinct, Telemetry, set_worker};
use crate::tls::Credentials;
use crate::transport::deal::{self, Incoming};

/// Which way the connections of a listener go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Inbound,
    Outbound,
}

/// What every data thread is given.
#[derive(Clone)]
pub(super) struct Traffic {
    config: Arc<Config>,
    discovery: Discovery,
    telemetry: Telemetry,
    access_log: Option<AccessLog>,
    credentials: Credentials,
    drain: drain::Watch,
    inbound: Arc<inbound::Common>,
    outbound_in_flight: Arc<in_flight::Limit>,
    outbound_hosts: Option<Arc<Distinct>>,
}

/// Traffic that is being served. Dropped, it ends at once.
pub(super) struct Serving {
    /// The servers of this thread, or the dealers to the others.
    tasks: JoinSet<()>,
    threads: Vec<Thread>,
}

/// A runtime for tasks that stay on the thread.
///
/// # Errors
/// When the system gives no timer or no event queue.
pub(super) fn local_runtime() -> io::Result<LocalRuntime> {
    runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
}

// === impl Traffic ===

impl Traffic {
    pub(super) fn new(
        config: Arc<Config>,
        discovery: Discovery,
        telemetry: Telemetry,
        access_log: Option<AccessLog>,
        credentials: Credentials,
        drain: drain::Watch,
    ) -> Self {
        let outbound = &config.outbound;
        Self {
            inbound: inbound::Common::new(&config),
            outbound_in_flight: in_flight::Limit::new(outbound.direction.max_in_flight),
            outbound_hosts: outbound.hostname_labels.then(Arc::default),
            config,
            discovery,
            telemetry,
            access_log,
            credentials,
            drain,
        }
    }

    /// Serves `ports` until the drain: on this thread, if one is enough, else on others, to which this
    /// one deals.
    ///
    /// # Errors
    /// When the system gives no thread or no runtime, or a port cannot be registered.
    pub(super) fn start(self, ports: Vec<(Side, TcpListener)>) -> io::Result<Serving> {
        tracing::info!(threads = self.config.cores, "Serving");
        if self.config.cores.get() > 1 {
            return self.deal(ports);
        }
        set_worker(0);
        let own = |(side, port)| {
            let port = tokio::net::TcpListener::from_std(port)?;
            Ok((side, Incoming::Own(port)))
        };
        let incoming: io::Result<_> = ports.into_iter().map(own).collect();
        Ok(Serving {
            tasks: self.serve(incoming?),
            threads: Vec::new(),
        })
    }

    fn deal(self, ports: Vec<(Side, TcpListener)>) -> io::Result<Serving> {
        let mut seats: Vec<Vec<_>> = ports.iter().map(|_| Vec::new()).collect();
        let mut threads = Vec::new();
        for index in 0..self.config.cores.get() {
            let open = Arc::default();
            let place = |(port, seats): (&(Side, TcpListener), &mut Vec<_>)| {
                let (seat, incoming) = deal::seat(&open);
                seats.push(seat);
                (port.0, incoming)
            };
            let incoming = ports.iter().zip(&mut seats).map(place).collect();
            threads.push(self.clone().start_thread(index, incoming)?);
        }
        let mut tasks = JoinSet::new();
        for ((_, port), seats) in ports.into_iter().zip(seats) {
            let port = tokio::net::TcpListener::from_std(port)?;
            tasks.spawn_local(deal::deal(port, seats, self.drain.clone()));
        }
        Ok(Serving { tasks, threads })
    }

    fn start_thread(self, index: usize, incoming: Vec<(Side, Incoming)>) -> io::Result<Thread> {
        let (sender, built) = mpsc::sync_channel(1);
        let thread = Thread::start(format!("data-{index}"), move |stop| {
            set_worker(index);
            let runtime = match local_runtime() {
                Ok(runtime) => runtime,
                Err(error) => return sender.send(Err(error)).unwrap_or_default(),
            };
            // Whoever started this thread is waiting for it.
            let _ = sender.send(Ok(()));
            runtime.block_on(async move {
                let mut servers = self.serve(incoming);
                tokio::select! {
                    () = stop.notified() => {}
                    () = all(&mut servers) => {}
                }
            });
        })?;
        built.recv().map_err(io::Error::other)??;
        Ok(thread)
    }

    /// Starts both directions on this thread.
    fn serve(self, incoming: Vec<(Side, Incoming)>) -> JoinSet<()> {
        let outbound = Outbound::new(
            Arc::clone(&self.config),
            self.discovery.clone(),
            self.telemetry.clone(),
            self.credentials.clone(),
            self.drain.clone(),
            self.outbound_in_flight,
            self.outbound_hosts,
        );
        let inbound = Inbound::new(
            self.config,
            self.discovery,
            self.telemetry,
            self.access_log,
            self.credentials,
            self.drain,
            self.inbound,
        );
        let mut servers = JoinSet::new();
        for (side, incoming) in incoming {
            match side {
                Side::Inbound => servers.spawn_local(inbound.clone().serve(incoming)),
                Side::Outbound => servers.spawn_local(outbound.clone().serve(incoming)),
            };
        }
        servers
    }
}

// === impl Serving ===

impl Serving {
    /// Waits until all connections have ended, after the drain has begun.
    pub(super) async fn ended(mut self) {
        all(&mut self.tasks).await;
        self.threads.into_iter().for_each(Thread::join);
    }
}

async fn all(tasks: &mut JoinSet<()>) {
    while tasks.join_next().await.is_some() {}
}
