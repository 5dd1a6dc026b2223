//! Two network namespaces joined by a cable, as two pods are.

use std::fs::File;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A network namespace; it and its links go when this is dropped.
pub(crate) struct Netns {
    name: String,
}

impl Netns {
    fn new(role: &str) -> Self {
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("mmproxy-{}-{number}-{role}", std::process::id());
        run(Command::new("ip").args(["netns", "add", &name]));
        let netns = Self { name };
        netns.ip("link set lo up");
        netns
    }

    /// Runs `work` on a thread inside; sockets and processes that it makes stay inside.
    pub(crate) fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let file = File::open(format!("/run/netns/{}", self.name)).expect("namespace");
        thread::scope(|scope| {
            let inside = scope.spawn(move || {
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("these tests make network namespaces: run them as root");
                work()
            });
            inside.join().expect("work inside the namespace")
        })
    }

    pub(crate) fn listen(&self, addr: &str) -> tokio::net::TcpListener {
        let listener = self.enter(|| TcpListener::bind(addr)).expect("bind");
        listener.set_nonblocking(true).expect("socket");
        tokio::net::TcpListener::from_std(listener).expect("runtime")
    }

    pub(crate) fn connect(&self, addr: SocketAddr) -> std::io::Result<tokio::net::TcpStream> {
        let stream = self.enter(|| TcpStream::connect(addr))?;
        stream.set_nonblocking(true)?;
        tokio::net::TcpStream::from_std(stream)
    }

    fn ip(&self, args: &str) {
        run(Command::new("ip")
            .args(["-n", &self.name])
            .args(args.split(' ')));
    }

    /// What the init container does: all goes through the proxy, except what it sends itself.
    pub(crate) fn redirect(&self, proxy_uid: u32) {
        let rules = format!(
            "table ip mesh {{
                chain inbound {{
                    type nat hook prerouting priority dstnat;
                    tcp dport {{ 4190, 4191 }} return
                    meta l4proto tcp redirect to :4143
                }}
                chain outbound {{
                    type nat hook output priority -100;
                    meta skuid {proxy_uid} return
                    oifname lo return
                    meta l4proto tcp redirect to :4140
                }}
            }}"
        );
        let mut nft = Command::new("ip");
        nft.args(["netns", "exec", &self.name, "nft", "-f", "-"])
            .stdin(Stdio::piped());
        let mut nft = nft.spawn().expect("nft");
        nft.stdin
            .take()
            .expect("piped")
            .write_all(rules.as_bytes())
            .expect("nft");
        assert!(nft.wait().expect("nft").success(), "nft refused the rules");
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["netns", "del", &self.name])
            .status();
    }
}

/// A client's and a server's namespace: 10.77.0.1 and 10.77.0.2, with default routes to each other.
pub(crate) fn pair() -> (Netns, Netns) {
    let (client, server) = (Netns::new("client"), Netns::new("server"));
    client.ip(&format!(
        "link add eth0 type veth peer name eth0 netns {}",
        server.name
    ));
    for (netns, own, other) in [
        (&client, "10.77.0.1", "10.77.0.2"),
        (&server, "10.77.0.2", "10.77.0.1"),
    ] {
        netns.ip(&format!("addr add {own}/24 dev eth0"));
        netns.ip("link set eth0 up");
        netns.ip(&format!("route add default via {other}"));
    }
    (client, server)
}

fn run(command: &mut Command) {
    let status = command.status().expect("ip");
    assert!(
        status.success(),
        "{command:?}: {status}; these tests are to be run as root"
    );
}
