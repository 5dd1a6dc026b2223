//! What a capture finds in packets: who talks to whom, how much, and whether a pattern shows.
//!
//! A pattern counts wherever it lies in a flow's bytes, across packets too: the end of each
//! payload is kept until the next one in sequence. Retransmitted bytes are searched again.

use std::collections::HashMap;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::http1::stream::find;

/// Flows that are told apart. Packets of further flows are counted by port and searched one by one.
pub const FLOWS_KEPT: usize = 2048;

/// Bytes kept from the start of each direction of a flow: room for a TLS ClientHello.
pub const START_KEPT_BYTES: usize = 1536;

/// Places where patterns were found that are told one by one; all are counted.
const FINDS_KEPT: usize = 100;

/// The parts of a packet that matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Sender.
    pub source: (IpAddr, u16),
    /// Receiver.
    pub destination: (IpAddr, u16),
    /// `tcp` or `udp`.
    pub protocol: &'static str,
    /// TCP sequence number.
    pub sequence: u32,
    /// Whether it opens a TCP connection: SYN without ACK.
    pub opens: bool,
    /// Whether it resets a TCP connection.
    pub resets: bool,
    /// What it carries.
    pub payload: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads an IP packet; `None` for what is neither TCP nor UDP, or is cut short.
    pub fn parse(data: &'a [u8]) -> Option<Self> {
        let (addresses, protocol, rest) = match data.first()? >> 4 {
            4 => {
                let header = usize::from(data[0] & 0x0f) * 4;
                let total = usize::from(u16::from_be_bytes([*data.get(2)?, *data.get(3)?]));
                // A packet that segmentation offload made longer than 64 KiB states a length of 0.
                let end = if total == 0 {
                    data.len()
                } else {
                    total.min(data.len())
                };
                let source: [u8; 4] = data.get(12..16)?.try_into().ok()?;
                let destination: [u8; 4] = data.get(16..20)?.try_into().ok()?;
                // A later fragment has no ports.
                if u16::from_be_bytes([data[6], data[7]]) & 0x1fff != 0 {
                    return None;
                }
                (
                    (IpAddr::from(source), IpAddr::from(destination)),
                    data[9],
                    data.get(header..end)?,
                )
            }
            6 => {
                let source: [u8; 16] = data.get(8..24)?.try_into().ok()?;
                let destination: [u8; 16] = data.get(24..40)?.try_into().ok()?;
                (
                    (IpAddr::from(source), IpAddr::from(destination)),
                    data[6],
                    data.get(40..)?,
                )
            }
            _ => return None,
        };
        let source = u16::from_be_bytes([*rest.first()?, *rest.get(1)?]);
        let destination = u16::from_be_bytes([*rest.get(2)?, *rest.get(3)?]);
        let (name, header, sequence, flags) = match protocol {
            6 => {
                let sequence = u32::from_be_bytes(rest.get(4..8)?.try_into().ok()?);
                (
                    "tcp",
                    usize::from(rest.get(12)? >> 4) * 4,
                    sequence,
                    *rest.get(13)?,
                )
            }
            17 => ("udp", 8, 0, 0),
            _ => return None,
        };
        Some(Self {
            source: (addresses.0, source),
            destination: (addresses.1, destination),
            protocol: name,
            sequence,
            opens: flags & 0x12 == 0x02,
            resets: flags & 0x04 != 0,
            payload: rest.get(header..)?,
        })
    }
}

/// Packets and bytes in one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes that they carried above TCP or UDP.
    pub payload_bytes: u64,
    /// TCP connections opened.
    pub opened: u64,
    /// TCP resets.
    pub resets: u64,
}

impl Count {
    fn add(&mut self, packet: &Packet<'_>) {
        self.packets += 1;
        self.payload_bytes += packet.payload.len() as u64;
        self.opened += u64::from(packet.opens);
        self.resets += u64::from(packet.resets);
    }
}

/// One direction of a flow.
#[derive(Clone, Debug, Serialize)]
pub struct Flow {
    /// `tcp` or `udp`.
    pub protocol: &'static str,
    /// Sender as `address:port`.
    pub source: String,
    /// Receiver as `address:port`.
    pub destination: String,
    /// Whether its packets were leaving this pod.
    pub outgoing: bool,
    /// How much flowed.
    #[serde(flatten)]
    pub count: Count,
    /// The first payload bytes, base64, up to [`START_KEPT_BYTES`].
    pub start: String,
}

/// A pattern in a packet.
#[derive(Clone, Debug, Serialize)]
pub struct Find {
    /// Number of the pattern in the list that was given.
    pub pattern: usize,
    /// Sender as `address:port`.
    pub source: String,
    /// Receiver as `address:port`.
    pub destination: String,
    /// Whether the packet was leaving this pod.
    pub outgoing: bool,
}

/// Everything found so far.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Findings {
    /// Packets looked at.
    pub packets: u64,
    /// Packets that were neither TCP nor UDP.
    pub other_packets: u64,
    /// How often each pattern was seen, in the order given.
    pub matches: Vec<u64>,
    /// Where, the first hundred times.
    pub finds: Vec<Find>,
    /// Packets that came in, by the local port that they came to.
    pub received: HashMap<u16, Count>,
    /// Packets that left, by the local port that they left from.
    pub sent: HashMap<u16, Count>,
    /// Packets that came in, by the peer's port.
    pub received_from: HashMap<u16, Count>,
    /// Packets that left, by the peer's port.
    pub sent_to: HashMap<u16, Count>,
    /// Flows that found no place in `flows`.
    pub flows_dropped: u64,
    /// Both directions of each flow, each on its own.
    pub flows: Vec<Flow>,
}

/// Searches and counts.
pub struct Analyser {
    patterns: Vec<Vec<u8>>,
    ignored_ports: Vec<u16>,
    only_ports: Vec<u16>,
    overlap: usize,
    findings: Findings,
    flows: HashMap<Key, State>,
}

type Key = (&'static str, (IpAddr, u16), (IpAddr, u16), bool);

struct State {
    count: Count,
    start: Vec<u8>,
    tail: Vec<u8>,
    next: u32,
}

impl Analyser {
    /// An analyser for `patterns` that skips packets from or to `ignored_ports`, and all but those
    /// from or to `only_ports` when there are any.
    pub fn new(patterns: Vec<Vec<u8>>, ignored_ports: Vec<u16>, only_ports: Vec<u16>) -> Self {
        let overlap = patterns
            .iter()
            .map(Vec::len)
            .max()
            .unwrap_or(0)
            .saturating_sub(1);
        let findings = Findings {
            matches: vec![0; patterns.len()],
            ..Findings::default()
        };
        Self {
            patterns,
            ignored_ports,
            only_ports,
            overlap,
            findings,
            flows: HashMap::new(),
        }
    }

    /// Looks at one IP packet.
    pub fn look(&mut self, data: &[u8], outgoing: bool) {
        let Some(packet) = Packet::parse(data) else {
            self.findings.packets += 1;
            self.findings.other_packets += 1;
            return;
        };
        let ports = [packet.source.1, packet.destination.1];
        let skipped = ports.iter().any(|port| self.ignored_ports.contains(port));
        let wanted =
            self.only_ports.is_empty() || ports.iter().any(|port| self.only_ports.contains(port));
        if skipped || !wanted {
            return;
        }
        self.findings.packets += 1;
        let findings = &mut self.findings;
        let (by_local, by_peer) = match outgoing {
            true => (&mut findings.sent, &mut findings.sent_to),
            false => (&mut findings.received, &mut findings.received_from),
        };
        let (local, peer) = if outgoing {
            (ports[0], ports[1])
        } else {
            (ports[1], ports[0])
        };
        by_local.entry(local).or_default().add(&packet);
        by_peer.entry(peer).or_default().add(&packet);
        self.follow(&packet, outgoing);
    }

    /// What was found so far.
    pub fn findings(&self) -> Findings {
        let mut findings = self.findings.clone();
        findings.flows = self
            .flows
            .iter()
            .map(|((protocol, source, destination, outgoing), state)| Flow {
                protocol,
                source: shown(*source),
                destination: shown(*destination),
                outgoing: *outgoing,
                count: state.count.clone(),
                start: STANDARD.encode(&state.start),
            })
            .collect();
        findings
    }

    fn follow(&mut self, packet: &Packet<'_>, outgoing: bool) {
        let key = (packet.protocol, packet.source, packet.destination, outgoing);
        if !self.flows.contains_key(&key) && self.flows.len() == FLOWS_KEPT {
            self.findings.flows_dropped += u64::from(packet.opens || packet.protocol == "udp");
            self.search(packet, outgoing, packet.payload, 0);
            return;
        }
        let state = self.flows.entry(key).or_insert_with(|| State {
            count: Count::default(),
            start: Vec::new(),
            tail: Vec::new(),
            next: packet.sequence,
        });
        state.count.add(packet);
        let payload = packet.payload;
        if payload.is_empty() {
            return;
        }
        let room = START_KEPT_BYTES - state.start.len();
        state
            .start
            .extend_from_slice(&payload[..payload.len().min(room)]);
        let joins = packet.protocol == "tcp" && state.next == packet.sequence;
        let before = if joins {
            std::mem::take(&mut state.tail)
        } else {
            Vec::new()
        };
        let carried = before.len();
        let mut joined = before;
        joined.extend_from_slice(payload);
        state.next = packet.sequence.wrapping_add(payload.len() as u32);
        state.tail = joined[joined.len().saturating_sub(self.overlap)..].to_vec();
        self.search(packet, outgoing, &joined, carried);
    }

    /// Counts patterns in `data` that end behind its first `carried` bytes.
    fn search(&mut self, packet: &Packet<'_>, outgoing: bool, data: &[u8], carried: usize) {
        for (number, pattern) in self.patterns.iter().enumerate() {
            let mut from = 0;
            while let Some(at) = find(&data[from..], pattern) {
                from += at + 1;
                if from - 1 + pattern.len() <= carried {
                    continue;
                }
                self.findings.matches[number] += 1;
                if self.findings.finds.len() < FINDS_KEPT {
                    self.findings.finds.push(Find {
                        pattern: number,
                        source: shown(packet.source),
                        destination: shown(packet.destination),
                        outgoing,
                    });
                }
            }
        }
    }
}

fn shown((address, port): (IpAddr, u16)) -> String {
    std::net::SocketAddr::new(address, port).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(from: u16, to: u16, sequence: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![
            0x45, 0, 0, 0, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
        ];
        packet[2..4].copy_from_slice(&((40 + payload.len()) as u16).to_be_bytes());
        packet.extend_from_slice(&from.to_be_bytes());
        packet.extend_from_slice(&to.to_be_bytes());
        packet.extend_from_slice(&sequence.to_be_bytes());
        packet.extend_from_slice(&[0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0]);
        packet.extend_from_slice(payload);
        packet
    }

    fn analyser(patterns: &[&str]) -> Analyser {
        let patterns = patterns
            .iter()
            .map(|text| text.as_bytes().to_vec())
            .collect();
        Analyser::new(patterns, vec![9901], vec![])
    }

    #[test]
    fn a_pattern_across_packets_is_found_once() {
        let mut analyser = analyser(&["canary", "absent"]);
        analyser.look(&tcp(1, 2, 10, 0x10, b"xxcan"), true);
        analyser.look(&tcp(1, 2, 15, 0x10, b"aryxx"), true);
        analyser.look(&tcp(1, 2, 20, 0x10, b"yy"), true);
        assert_eq!(analyser.findings().matches, [1, 0]);
        assert!(analyser.findings().finds[0].outgoing);
    }

    #[test]
    fn packets_that_do_not_follow_are_not_joined() {
        let mut analyser = analyser(&["canary"]);
        analyser.look(&tcp(1, 2, 10, 0x10, b"can"), true);
        analyser.look(&tcp(1, 2, 99, 0x10, b"ary"), true);
        analyser.look(&tcp(3, 2, 13, 0x10, b"ary"), true);
        assert_eq!(analyser.findings().matches, [0]);
    }

    #[test]
    fn ports_are_counted_and_ignored() {
        let mut analyser = analyser(&["x"]);
        analyser.look(&tcp(5, 80, 0, 0x02, b""), false);
        analyser.look(&tcp(5, 80, 1, 0x10, b"abc"), false);
        analyser.look(&tcp(80, 5, 1, 0x04, b""), true);
        analyser.look(&tcp(5, 9901, 1, 0x10, b"x"), false);
        let findings = analyser.findings();
        let expected = Count {
            packets: 2,
            payload_bytes: 3,
            opened: 1,
            resets: 0,
        };
        assert_eq!(findings.received[&80], expected);
        assert_eq!(findings.sent[&80].resets, 1);
        assert_eq!(findings.matches, [0]);
        assert_eq!(findings.flows.len(), 2);
    }

    #[test]
    fn short_packets_are_counted_and_harm_nothing() {
        let whole = tcp(1, 2, 0, 0x10, b"payload");
        for length in 0..whole.len() {
            analyser(&["x"]).look(&whole[..length], true);
        }
        let mut analyser = analyser(&[]);
        analyser.look(&[0x45], false);
        assert_eq!(analyser.findings().other_packets, 1);
    }
}
