//! The system calls that no safe library offers: packet sockets and signals.
//!
//! The only module of this program with unsafe code. Each call gets memory that outlives it and
//! lengths that are taken from that memory.

#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// A socket that sees every packet of a network namespace, from the network header on.
#[derive(Debug)]
pub struct PacketSocket(OwnedFd);

/// Where a packet was seen.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Length of the packet in the buffer.
    pub length: usize,
    /// Whether it was leaving.
    pub outgoing: bool,
    /// Whether the interface is a loopback.
    pub loopback: bool,
}

/// Packets that the kernel passed on and dropped since it was last asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Statistics {
    /// Packets that were queued.
    pub packets: u32,
    /// Packets that found the queue full.
    pub drops: u32,
}

impl PacketSocket {
    /// Opens a socket on one interface, or on all. Needs CAP_NET_RAW.
    pub fn open(interface: Option<&str>, receive_buffer_bytes: usize) -> io::Result<Self> {
        let protocol = (libc::ETH_P_ALL as u16).to_be();
        // SAFETY: no pointers are passed.
        let fd = check(unsafe {
            libc::socket(
                libc::AF_PACKET,
                libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK,
                libc::c_int::from(protocol),
            )
        })?;
        // SAFETY: the descriptor is new and nobody else's.
        let socket = Self(unsafe { OwnedFd::from_raw_fd(fd) });
        let bytes = receive_buffer_bytes as libc::c_int;
        // Going past the system's limit needs CAP_NET_ADMIN; within it is better than nothing.
        if socket.set(libc::SO_RCVBUFFORCE, bytes).is_err() {
            socket.set(libc::SO_RCVBUF, bytes)?;
        }
        if let Some(name) = interface {
            socket.bind(name, protocol)?;
        }
        Ok(socket)
    }

    fn set(&self, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
        // SAFETY: `value` lives through the call and its size is given.
        check(unsafe {
            libc::setsockopt(
                self.fd(),
                libc::SOL_SOCKET,
                option,
                (&raw const value).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        })?;
        Ok(())
    }

    fn bind(&self, interface: &str, protocol: u16) -> io::Result<()> {
        let name = CString::new(interface).map_err(io::Error::other)?;
        // SAFETY: `name` is a string that ends in NUL and lives through the call.
        let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
        if index == 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: all-zero bytes are a valid sockaddr_ll.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = protocol;
        address.sll_ifindex = index as libc::c_int;
        // SAFETY: `address` lives through the call and its size is given.
        check(unsafe {
            libc::bind(
                self.fd(),
                (&raw const address).cast(),
                size_of::<libc::sockaddr_ll>() as libc::socklen_t,
            )
        })?;
        Ok(())
    }

    /// Waits up to `time` for a packet.
    pub fn wait(&self, time: Duration) -> io::Result<bool> {
        let mut poll = libc::pollfd {
            fd: self.fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one pollfd is passed, and it lives through the call.
        match check(unsafe { libc::poll(&raw mut poll, 1, time.as_millis() as libc::c_int) }) {
            Ok(count) => Ok(count > 0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The next packet, if there is one.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<Seen>> {
        // SAFETY: all-zero bytes are a valid sockaddr_ll.
        let mut from: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        let mut size = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        // SAFETY: buffer and address live through the call, with the lengths given.
        let count = unsafe {
            libc::recvfrom(
                self.fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                0,
                (&raw mut from).cast(),
                &raw mut size,
            )
        };
        if count < 0 {
            let error = io::Error::last_os_error();
            return match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
                _ => Err(error),
            };
        }
        Ok(Some(Seen {
            length: count as usize,
            outgoing: from.sll_pkttype == libc::PACKET_OUTGOING,
            loopback: from.sll_hatype == libc::ARPHRD_LOOPBACK,
        }))
    }

    /// What the kernel counted since the last call.
    pub fn statistics(&self) -> io::Result<Statistics> {
        // `struct tpacket_stats`: two unsigned ints.
        let mut counts = [0u32; 2];
        let mut size = size_of::<[u32; 2]>() as libc::socklen_t;
        // SAFETY: `counts` has the size of the struct and lives through the call.
        check(unsafe {
            libc::getsockopt(
                self.fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                counts.as_mut_ptr().cast(),
                &raw mut size,
            )
        })?;
        Ok(Statistics {
            packets: counts[0],
            drops: counts[1],
        })
    }

    fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Sends `signal` to one process.
pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    if pid <= 1 {
        return Err(io::Error::other(
            "only a single process other than the first can be signalled",
        ));
    }
    // SAFETY: no pointers are passed.
    check(unsafe { libc::kill(pid, signal) })?;
    Ok(())
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
