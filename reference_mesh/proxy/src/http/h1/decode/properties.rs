//! What holds of every chunked body.

use proptest::prelude::*;

use super::parse_chunk_size;
use super::tests::decode;

/// Pieces of a body, and how their sizes are written: leading zeros, capitals, an extension.
fn chunks() -> impl Strategy<Value = Vec<(Vec<u8>, usize, bool, String)>> {
    let data = proptest::collection::vec(any::<u8>(), 1..300);
    let extension = "(;[a-z]{1,5}(=[a-z0-9]{1,5})?)?";
    proptest::collection::vec((data, 1_usize..9, any::<bool>(), extension), 0..6)
}

proptest! {
    #[test]
    fn a_body_is_what_its_chunks_hold_and_what_follows_stays(
        chunks in chunks(),
        after in proptest::collection::vec(any::<u8>(), 0..40),
        step in 1_usize..500,
    ) {
        let (mut wire, mut body) = (Vec::new(), Vec::new());
        for (data, width, capitals, extension) in &chunks {
            let len = data.len();
            let size = if *capitals { format!("{len:0width$X}") } else { format!("{len:0width$x}") };
            wire.extend_from_slice(format!("{size}{extension}\r\n").as_bytes());
            wire.extend_from_slice(data);
            wire.extend_from_slice(b"\r\n");
            body.extend_from_slice(data);
        }
        wire.extend_from_slice(b"0\r\n\r\n");
        let end = wire.len();
        wire.extend_from_slice(&after);
        let (found, trailers, rest) = decode(&wire, step).expect("valid");
        prop_assert_eq!((found, trailers), (body, 0));
        prop_assert!(after.starts_with(&rest), "what came with the end, and no more");
        prop_assert!(decode(&wire[..end - 1], step).is_err(), "it has ended too early");
    }

    /// RFC 9112 7.1: hexadecimal digits and then, at most, an extension.
    #[test]
    fn a_size_is_digits_and_nothing_else(line in "[+ -]?(0x)?[0-9a-fA-Fg]{0,18}[ _]?(;[a-z]*)?") {
        let digits = line.split(';').next().unwrap_or_default().trim_end();
        let is_size = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
        match parse_chunk_size(line.as_bytes()) {
            Ok(size) => {
                prop_assert!(is_size, "{line:?}");
                prop_assert_eq!(Some(size), u64::from_str_radix(digits, 16).ok());
            }
            Err(_) => prop_assert!(!is_size || digits.len() > 16, "{line:?}"),
        }
    }

    #[test]
    fn noise_never_panics_nor_grows(
        noise in proptest::collection::vec(any::<u8>(), 0..200),
        size in 0_usize..40,
        step in 1_usize..50,
    ) {
        let wire = [format!("{size:x}\r\n").as_bytes(), &noise].concat();
        if let Ok((body, _, rest)) = decode(&wire, step) {
            prop_assert!(body.len() + rest.len() < wire.len());
        }
    }
}
