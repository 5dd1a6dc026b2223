//! Two network namespaces joined by a cable, as two pods are.
//!
//! They have no names: each is held by a thread of this process and by what that thread starts, which
//! dies with it. However the tests end, nothing is left.

use std::fs::File;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Mutex, PoisonError};
use std::thread;

use rustix::process::Uid;
use rustix::thread::{UnshareFlags, set_thread_res_uid, unshare_unsafe};

/// Said when the system refuses.
const NEEDS: &str = "these tests make network namespaces and redirect traffic in them: run them as \
                     root, with iproute2 (ip), nftables (nft) and util-linux (setpriv)";

type Job = Box<dyn FnOnce() + Send>;

/// Held while a program starts: until it runs it has all descriptors of this process, also those
/// that are closed meanwhile. Held, too, by what such a copy would disturb.
static STARTING: Mutex<()> = Mutex::new(());

/// Runs `work` while no program is about to start.
pub(crate) fn undisturbed<T>(work: impl FnOnce() -> T) -> T {
    let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    work()
}

/// A network namespace; it and its links go when this is dropped.
pub(crate) struct Netns {
    /// Work for the thread inside. It does one thing at a time, and nobody hands it more.
    jobs: SyncSender<Job>,
    file: File,
}

impl Netns {
    fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "{NEEDS}");
        let (jobs, todo) = mpsc::sync_channel::<Job>(1);
        let (opened, file) = mpsc::sync_channel(1);
        thread::spawn(move || {
            // SAFETY: only the network namespace is unshared; file descriptors stay common.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.expect(NEEDS);
            let own = File::open("/proc/thread-self/ns/net").expect("own namespace");
            opened.send(own).expect("waited for");
            todo.iter().for_each(|job| job());
        });
        let netns = Self {
            jobs,
            file: file.recv().expect("namespace"),
        };
        netns.ip("link set lo up");
        netns
    }

    /// Runs `work` on the thread inside; sockets and processes that it makes stay inside.
    pub(crate) fn enter<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = mpsc::sync_channel(1);
        let job = move || done.send(work()).expect("waited for");
        self.jobs.send(Box::new(job)).expect("thread inside");
        result.recv().expect("work inside the namespace")
    }

    pub(crate) fn listen(&self, addr: &str) -> tokio::net::TcpListener {
        let addr: SocketAddr = addr.parse().expect("address");
        // A copy of a listener that was here before would still have the address.
        let bind = move || undisturbed(|| TcpListener::bind(addr));
        let listener = self.enter(bind).expect("bind");
        listener.set_nonblocking(true).expect("socket");
        tokio::net::TcpListener::from_std(listener).expect("runtime")
    }

    pub(crate) fn connect(&self, addr: SocketAddr) -> std::io::Result<tokio::net::TcpStream> {
        let stream = self.enter(move || TcpStream::connect(addr))?;
        stream.set_nonblocking(true)?;
        tokio::net::TcpStream::from_std(stream)
    }

    /// Connects as `uid`, whose traffic may be spared by the redirection.
    pub(crate) fn connect_as(&self, uid: u32, addr: SocketAddr) -> tokio::net::TcpStream {
        let connect = move || {
            let uid = Uid::from_raw(uid);
            set_thread_res_uid(uid, uid, uid).expect(NEEDS);
            TcpStream::connect(addr).expect("connect")
        };
        // Of a thread that ends with it; it is in the namespace of the one that starts it.
        let stream = self.enter(move || thread::spawn(connect).join().expect("connect"));
        stream.set_nonblocking(true).expect("socket");
        tokio::net::TcpStream::from_std(stream).expect("runtime")
    }

    /// Starts `program` as `uid`, with `stderr` for its own. It dies with the thread inside.
    pub(crate) fn spawn(&self, program: Command, uid: u32, stderr: Stdio) -> Child {
        let uid = uid.to_string();
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", &uid, "--regid", &uid, "--clear-groups"])
            .args(["--pdeathsig", "KILL"])
            .arg(program.get_program())
            .args(program.get_args());
        command.stderr(stderr).env_clear();
        for (key, value) in program.get_envs() {
            command.env(key, value.expect("set, not removed"));
        }
        self.enter(move || undisturbed(|| command.spawn()))
            .expect(NEEDS)
    }

    /// Runs `ip` inside.
    pub(crate) fn ip(&self, args: &str) {
        let mut command = Command::new("ip");
        command.args(args.split(' '));
        let status = self.enter(move || undisturbed(|| command.status()));
        let status = status.expect(NEEDS);
        assert!(status.success(), "ip {args}: {status}; {NEEDS}");
    }

    /// A path by which other programs find the namespace.
    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.file.as_raw_fd())
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
        self.nft(&rules);
    }

    /// From now on nobody gets a new connection to `port`; those that are open stay.
    pub(crate) fn refuse_connections(&self, port: u16) {
        let rules = format!(
            "table ip refuse {{
                chain inbound {{
                    type filter hook input priority filter;
                    ct state new tcp dport {port} reject with tcp reset
                }}
            }}"
        );
        self.nft(&rules);
    }

    fn nft(&self, rules: &str) {
        let mut nft = Command::new("nft");
        nft.args(["-f", "-"]).stdin(Stdio::piped());
        let nft = self.enter(move || undisturbed(|| nft.spawn()));
        let mut nft = nft.expect(NEEDS);
        let mut stdin = nft.stdin.take().expect("piped");
        stdin.write_all(rules.as_bytes()).expect("nft");
        drop(stdin);
        assert!(nft.wait().expect("nft").success(), "nft refused the rules");
    }
}

/// A client's and a server's namespace: 10.77.0.1 and 10.77.0.2, with default routes to each other.
pub(crate) fn pair() -> (Netns, Netns) {
    let (client, server) = (Netns::new(), Netns::new());
    let cable = "link add eth0 type veth peer name eth0 netns";
    client.ip(&format!("{cable} {}", server.path()));
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
