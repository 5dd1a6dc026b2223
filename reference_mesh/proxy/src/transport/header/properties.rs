//! What holds of every transport header, however it arrives.

use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Empty, Header, Kind, MAX_MESSAGE_BYTES, PREFACE};

fn header() -> impl Strategy<Value = Header> {
    let kind = prop_oneof![
        Just(None),
        Just(Some(Kind::Http1(Empty {}))),
        Just(Some(Kind::Http2(Empty {}))),
    ];
    (
        any::<u16>(),
        kind,
        proptest::option::of("[a-z0-9.-]{1,253}"),
    )
        .prop_map(|(port, kind, name)| Header::new(port, kind, name.as_deref()))
}

/// What is read of `wire` when at most `step` bytes arrive at a time: the header and all after it.
fn read(wire: &[u8], step: usize) -> Option<(Header, Vec<u8>)> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("runtime").block_on(async {
        let (mut near, mut far) = tokio::io::duplex(step);
        let write = async {
            // The reader stops where it finds no header.
            let _ = far.write_all(wire).await;
            drop(far);
        };
        let read = async {
            let (header, rest) = Header::read(&mut near).await.ok()?;
            let mut rest = rest.to_vec();
            near.read_to_end(&mut rest).await.ok()?;
            Some((header, rest))
        };
        // Dropped when it is through, so that the writer is not waited for in vain.
        tokio::select! {
            biased;
            found = read => found,
            () = async { write.await; std::future::pending().await } => None,
        }
    })
}

proptest! {
    #[test]
    fn a_header_is_read_back_and_nothing_after_it_is_lost(
        header in header(),
        after in proptest::collection::vec(any::<u8>(), 0..600),
        step in 1_usize..700,
    ) {
        let wire = [&header.encode_framed()[..], &after].concat();
        prop_assert_eq!(read(&wire, step), Some((header, after)));
    }

    #[test]
    fn part_of_a_header_is_none(header in header(), cut in any::<prop::sample::Index>()) {
        let wire = header.encode_framed();
        prop_assert_eq!(read(&wire[..cut.index(wire.len())], 64), None);
    }

    #[test]
    fn noise_after_the_preface_never_panics_nor_goes_beyond_its_length(
        noise in proptest::collection::vec(any::<u8>(), 0..200),
        length in 0_u32..300,
    ) {
        let wire = [PREFACE, &length.to_be_bytes(), &noise].concat();
        if let Some((_, rest)) = read(&wire, 64) {
            prop_assert_eq!(&rest[..], &noise[length as usize..]);
        }
    }

    #[test]
    fn a_length_above_the_limit_is_not_waited_for(length in MAX_MESSAGE_BYTES as u32 + 1..) {
        let wire = [PREFACE, &length.to_be_bytes()].concat();
        prop_assert_eq!(read(&wire, 64), None);
    }
}
