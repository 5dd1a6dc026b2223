//! Applications that answer with what is not HTTP: their clients learn of it, and of nothing else.

use std::io::ErrorKind;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::{Mesh, exchange, in_time, plain_state, read_head};

/// What the application does after its answer.
#[derive(Clone, Copy)]
enum Then {
    Close,
    /// Nothing: a proxy that waits for more waits for ever.
    Hold,
}

type Answer = (String, Then);

/// Serves the request for `/N` with the Nth answer, one request on each connection.
fn answer(listener: TcpListener, answers: Vec<Answer>) {
    let answers = Arc::new(answers);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answers = Arc::clone(&answers);
            tokio::spawn(async move {
                let head = read_head(&mut stream).await.unwrap_or_default();
                let number = head.split(['/', ' ']).nth(2).and_then(|n| n.parse().ok());
                let (text, then) = &answers[number.unwrap_or(0_usize)];
                // Of a long answer not all need be taken.
                let _ = stream.write_all(text.as_bytes()).await;
                if let Then::Hold = then {
                    let _ = stream.read_to_end(&mut Vec::new()).await;
                }
            });
        }
    });
}

fn request(number: usize) -> String {
    format!("GET /{number} HTTP/1.1\r\nHost: web\r\n\r\n")
}

/// After its answer the connection ends.
fn last_request(number: usize) -> String {
    format!("GET /{number} HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")
}

/// All that a client gets of an answer that may break off, up to the end of its connection.
async fn cut(mut stream: TcpStream, number: usize) -> String {
    let sent = stream.write_all(request(number).as_bytes()).await;
    sent.expect("write");
    let mut answer = Vec::new();
    // How it is told, by a reset or an end, is not the point.
    let _ = in_time(stream.read_to_end(&mut answer)).await;
    String::from_utf8(answer).expect("text")
}

#[tokio::test]
async fn a_head_that_is_none_is_answered_with_502() {
    let ok = "HTTP/1.1 200 OK\r\n";
    let body = "\r\nabc";
    let held = [
        "NONSENSE\r\n\r\n".to_owned(),
        "SSH-2.0-server\r\n".to_owned(),
        "HTTP/1.1 2000 OK\r\n\r\n".to_owned(),
        "HTTP/1.1 099 Low\r\n\r\n".to_owned(),
        "HTTP/2.0 200 OK\r\n\r\n".to_owned(),
        format!("{ok}no colon\r\n\r\n"),
        format!("{ok}name : value\r\n\r\n"),
        format!("{ok}X: a\r\n folded\r\n\r\n"),
        format!("{ok}X: a\0b\r\n\r\n"),
        format!("{ok}Content-Length: +3\r\n{body}"),
        format!("{ok}Content-Length: 3\r\nContent-Length: 4\r\n{body}"),
        format!("{ok}Transfer-Encoding: gzip\r\n{body}"),
        format!("{ok}Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n{body}"),
        format!("{ok}Transfer-Encoding: chunked, identity\r\n{body}"),
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned(),
        format!("{ok}X: {}\r\n\r\n", "a".repeat(200_000)),
        format!("{ok}{}\r\n", "X: a\r\n".repeat(500)),
    ];
    let early = ["", "HTTP/1.", "HTTP/1.1 200 OK\r\nContent-Le"];
    let held = held.map(|text| (text, Then::Hold));
    let early = early.map(|text| (text.to_owned(), Then::Close));
    let answers: Vec<Answer> = held.into_iter().chain(early).collect();

    let mesh = Mesh::start(plain_state()).await;
    answer(mesh.listen(), answers.clone());
    for (number, (text, _)) in answers.iter().enumerate() {
        let seen = exchange(mesh.dial(), last_request(number)).await;
        let told = &text[..text.len().min(60)];
        assert!(seen.starts_with("HTTP/1.1 502 "), "{told:?}: {seen}");
        assert_eq!(seen.matches("HTTP/1.1").count(), 1, "{told:?}: {seen}");
    }
}

#[tokio::test]
async fn a_body_that_breaks_is_never_taken_for_whole() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
    let held = [
        "zz\r\n",
        "-1\r\n",
        "3\nabc\r\n",
        "1\r\nabc\r\n",
        "0\r\nno colon\r\n\r\n",
    ];
    let held = held.map(|rest| (format!("{chunked}{rest}"), Then::Hold));
    let early = [
        chunked.to_owned(),
        format!("{chunked}5\r\nab"),
        format!("{chunked}0\r\n"),
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc".to_owned(),
    ];
    let early = early.map(|text| (text, Then::Close));
    let answers: Vec<Answer> = held.into_iter().chain(early).collect();

    let mesh = Mesh::start(plain_state()).await;
    answer(mesh.listen(), answers.clone());
    for (number, (text, _)) in answers.iter().enumerate() {
        let seen = cut(mesh.dial(), number).await;
        if seen.starts_with("HTTP/1.1 502 ") {
            continue;
        }
        let (head, body) = seen.split_once("\r\n\r\n").expect("a head");
        if head.contains("content-length: 10") {
            assert!(body.len() < 10, "{text:?}: {seen}");
        } else {
            assert!(head.contains("chunked"), "{text:?}: {seen}");
            assert!(!body.ends_with("\r\n\r\n"), "{text:?}: {seen}");
        }
    }
}

/// An ordinary end would make whole what an HTTP/1.0 client has.
#[tokio::test]
async fn a_body_that_breaks_resets_an_old_client() {
    let mesh = Mesh::start(plain_state()).await;
    let listener = mesh.listen();
    let (breaks, broken) = oneshot::channel::<()>();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accept");
        read_head(&mut stream).await.expect("request");
        let began = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n";
        stream.write_all(began.as_bytes()).await.expect("write");
        // Its end is when the client has this.
        let _ = broken.await;
    });
    let mut stream = mesh.dial();
    let sent = stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await;
    sent.expect("write");
    let head = in_time(read_head(&mut stream)).await.expect("response");
    assert!(head.starts_with("HTTP/1.0 200 "), "{head}");
    in_time(stream.read_exact(&mut [0; 3])).await.expect("abc");
    drop(breaks);
    let end = in_time(stream.read_to_end(&mut Vec::new())).await;
    let error = end.expect_err("no ordinary end");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
}

/// RFC 9112 6.3: what names both is read by its coding, loses its length, and ends the connection.
#[tokio::test]
async fn a_length_beside_chunks_is_dropped() {
    let chunks = "\r\n3\r\nabc\r\n0\r\n\r\n";
    let smuggled = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled";
    let both = "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n";
    let answers = vec![
        (
            format!("HTTP/1.1 200 OK\r\n{both}{chunks}{smuggled}"),
            Then::Hold,
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext".to_owned(),
            Then::Hold,
        ),
    ];
    let mesh = Mesh::start(plain_state()).await;
    answer(mesh.listen(), answers);
    let mut stream = mesh.dial();
    let sent = stream.write_all(request(0).as_bytes()).await;
    sent.expect("write");
    let head = read_head(&mut stream).await.expect("response");
    assert!(!head.contains("content-length"), "{head}");
    let mut body = [0; "3\r\nabc\r\n0\r\n\r\n".len()];
    stream.read_exact(&mut body).await.expect("body");
    assert_eq!(&body, b"3\r\nabc\r\n0\r\n\r\n");
    let seen = exchange(stream, last_request(1)).await;
    assert!(seen.ends_with("\r\n\r\nnext"), "{seen}");
}

#[tokio::test]
async fn what_follows_a_response_is_no_other_ones() {
    let first = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc";
    let smuggled = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled";
    let next = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext";
    let answers = [format!("{first}{smuggled}"), next.to_owned()];
    let mesh = Mesh::start(plain_state()).await;
    answer(
        mesh.listen(),
        answers.map(|text| (text, Then::Hold)).to_vec(),
    );
    for (number, body) in [(0, "abc"), (1, "next")] {
        let seen = exchange(mesh.dial(), last_request(number)).await;
        assert!(seen.ends_with(&format!("\r\n\r\n{body}")), "{seen}");
    }
}
