//! What holds of every request head.

use ::http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use bytes::BytesMut;
use proptest::prelude::*;

use super::{Refusal, RequestHead, parse_request};
use crate::http::body::Length;

/// A head of the usual kind.
fn well_formed() -> impl Strategy<Value = String> {
    let field = "X-[A-Za-z0-9-]{1,20}: [!-~]([ -~]{0,30}[!-~])?\r\n";
    let fields = proptest::collection::vec(field, 0..20).prop_map(|all| all.concat());
    ("[A-Z]{1,8}", "/[a-z0-9/?=&.-]{0,60}", fields)
        .prop_map(|(method, target, fields)| format!("{method} {target} HTTP/1.1\r\n{fields}\r\n"))
        .prop_filter("its target has another form", |head| {
            !head.starts_with("CONNECT ")
        })
}

/// Lines about the length of the body, right and wrong, in any number and order.
fn framing() -> impl Strategy<Value = Vec<String>> {
    let length = "Content-Length: ([0-9]{1,20}|[+-]?[0-9]{1,3}|[0-9]{1,2}, ?[0-9]{1,2}|)";
    let coding = "Transfer-Encoding: (chunked|Chunked|gzip|identity|gzip, chunked|chunked;a|)";
    proptest::collection::vec(prop_oneof![length, coding, Just("X: y".to_owned())], 0..4)
}

fn parse(bytes: &[u8]) -> (Result<Option<RequestHead>, Refusal>, BytesMut) {
    let mut buf = BytesMut::from(bytes);
    (parse_request(&mut buf), buf)
}

proptest! {
    #[test]
    fn a_head_is_taken_whole_however_it_arrives(
        head in well_formed(),
        after in proptest::collection::vec(any::<u8>(), 0..50),
        cut in any::<prop::sample::Index>(),
    ) {
        let cut = cut.index(head.len());
        prop_assert!(matches!(parse(&head.as_bytes()[..cut]).0, Ok(None)), "{}", cut);
        let (parsed, rest) = parse(&[head.as_bytes(), &after].concat());
        let request = parsed.expect("valid").expect("complete").request;
        prop_assert_eq!(&rest[..], &after[..]);
        let start = format!("{} {} HTTP/1.1\r\n", request.method(), request.uri());
        prop_assert!(head.starts_with(&start), "{start:?}");
        let names = head.matches("\r\nX-").count();
        prop_assert_eq!(request.headers().len(), names);
    }

    /// No two readers may differ about the end of what is passed on.
    #[test]
    fn a_body_has_one_end_or_the_request_is_refused(lines in framing()) {
        let text = format!("POST / HTTP/1.1\r\nHost: a\r\n{}\r\n\r\n", lines.join("\r\n"));
        if let Ok(Some(head)) = parse(text.as_bytes()).0 {
            let headers = head.request.headers();
            let lengths: Vec<_> = headers.get_all(CONTENT_LENGTH).iter().collect();
            let codings: Vec<_> = headers.get_all(TRANSFER_ENCODING).iter().collect();
            match (&lengths[..], &codings[..]) {
                ([], []) => prop_assert_eq!(head.length, Length::Known(0)),
                ([one], []) => {
                    let digits = one.to_str().expect("text");
                    prop_assert!(digits.bytes().all(|b| b.is_ascii_digit()), "{digits:?}");
                    prop_assert_eq!(head.length, Length::Known(digits.parse().expect("a number")));
                }
                ([], [one]) => {
                    prop_assert!(one.as_bytes().eq_ignore_ascii_case(b"chunked"), "{one:?}");
                    prop_assert_eq!(head.length, Length::Unknown);
                }
                _ => prop_assert!(false, "taken: {text:?}"),
            }
        }
    }

    /// What is taken is lines that end in CRLF, without the bytes that other readers end lines at.
    #[test]
    fn no_mutation_panics_or_gets_a_bare_line_end_through(
        head in well_formed(),
        changes in proptest::collection::vec(
            (any::<prop::sample::Index>(), prop_oneof![Just(b'\r'), Just(b'\n'), Just(0), any::<u8>()]),
            1..4,
        ),
    ) {
        let mut bytes = head.into_bytes();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        let (parsed, rest) = parse(&bytes);
        if let Ok(Some(_)) = parsed {
            let taken = &bytes[..bytes.len() - rest.len()];
            let text = String::from_utf8_lossy(taken).replace("\r\n", "");
            prop_assert!(!text.contains(['\r', '\n', '\0']), "{text:?}");
        }
    }

    #[test]
    fn noise_never_panics(noise in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse(&noise);
    }
}
