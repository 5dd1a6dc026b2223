//! Bodies that are made from a seed and hashed while they flow.
//!
//! Neither side stores a body: the sender computes each block from the seed and the offset, both
//! sides hash what passes, and only lengths and hashes cross the control port.

use std::fmt::Write as _;

use aws_lc_rs::digest;

/// Largest block that is in memory at once for one body.
pub const BLOCK_BYTES: usize = 64 * 1024;

/// Fills `out` with the bytes that a body made from `seed` has at `offset`.
///
/// The stream is SplitMix64 in counter mode: word *i* depends on the seed and *i* alone, so any
/// part can be made without the parts before it.
pub fn fill(seed: u64, offset: u64, out: &mut [u8]) {
    let lead = ((8 - offset % 8) % 8) as usize;
    let (head, rest) = out.split_at_mut(lead.min(out.len()));
    head.copy_from_slice(&word(seed, offset / 8).to_le_bytes()[8 - lead..][..head.len()]);
    let mut index = offset.div_ceil(8);
    // Whole words in one loop: at a hundred megabytes the odd bytes must not set the pace.
    let mut words = rest.chunks_exact_mut(8);
    for chunk in &mut words {
        chunk.copy_from_slice(&word(seed, index).to_le_bytes());
        index += 1;
    }
    let tail = words.into_remainder();
    tail.copy_from_slice(&word(seed, index).to_le_bytes()[..tail.len()]);
}

fn word(seed: u64, index: u64) -> u64 {
    let mut z = seed.wrapping_add(index.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The blocks of one body, in order.
#[derive(Clone, Debug)]
pub struct Seeded {
    seed: u64,
    offset: u64,
    total: u64,
    block: usize,
}

impl Seeded {
    /// A body of `total` bytes, handed out in blocks of `block` bytes (bounded by [`BLOCK_BYTES`]).
    pub fn new(seed: u64, total: u64, block: usize) -> Self {
        Self {
            seed,
            offset: 0,
            total,
            block: block.clamp(1, BLOCK_BYTES),
        }
    }
}

impl Iterator for Seeded {
    type Item = bytes::Bytes;

    fn next(&mut self) -> Option<Self::Item> {
        let left = self.total - self.offset;
        if left == 0 {
            return None;
        }
        let mut block = vec![0; left.min(self.block as u64) as usize];
        fill(self.seed, self.offset, &mut block);
        self.offset += block.len() as u64;
        Some(block.into())
    }
}

/// Length and SHA-256 of everything that was passed through it.
#[derive(Clone)]
pub struct Tally {
    bytes: u64,
    context: digest::Context,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            bytes: 0,
            context: digest::Context::new(&digest::SHA256),
        }
    }
}

impl Tally {
    /// Counts and hashes `data`.
    pub fn add(&mut self, data: &[u8]) {
        self.bytes += data.len() as u64;
        self.context.update(data);
    }

    /// Bytes seen so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// SHA-256 of the bytes so far, in lower-case hex.
    pub fn sha256(&self) -> String {
        hex(self.context.clone().finish().as_ref())
    }
}

/// Lower-case hex of `data`.
pub fn hex(data: &[u8]) -> String {
    data.iter()
        .fold(String::with_capacity(data.len() * 2), |mut out, byte| {
            // Writing to a String cannot fail.
            let _ = write!(out, "{byte:02x}");
            out
        })
}

/// The bytes that `text` states in hex; `None` when it is not hex.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits
        .chunks(2)
        .map(|pair| Some((nibble(pair[0])? << 4) | nibble(pair[1])?))
        .collect()
}

fn nibble(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_any_size_give_the_same_body() {
        let whole: Vec<u8> = Seeded::new(7, 1000, 1000).flatten().collect();
        let pieces: Vec<u8> = Seeded::new(7, 1000, 13).flatten().collect();
        assert_eq!(whole, pieces);
        assert_ne!(
            whole,
            Seeded::new(8, 1000, 1000).flatten().collect::<Vec<u8>>()
        );
    }

    #[test]
    fn tally_agrees_with_the_published_hash() {
        let mut tally = Tally::default();
        tally.add(b"a");
        tally.add(b"bc");
        assert_eq!(tally.bytes(), 3);
        assert_eq!(
            tally.sha256(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn hex_round_trip() {
        assert_eq!(unhex("00 ff1a"), Some(vec![0, 255, 26]));
        assert_eq!(unhex("0"), None);
        assert_eq!(unhex("zz"), None);
    }
}
