//! The control port: a small HTTP/1.1 server for the harness.
//!
//! It is reached through the API server's pod proxy only, speaks JSON and JSON lines, and bounds
//! what it takes. An answer that is made while it is sent (calls, long ledgers) is produced by a
//! future that the connection drives: when the harness goes away, the work ends with it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use serde::Serialize;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::http1::{Error, Framing, Head, Inbound, Reader, head};

/// Longest request body: a plan with ten thousand fields.
const BODY_LIMIT_BYTES: usize = 4 << 20;

/// Connections served at once; more wait in the listen queue.
const CONNECTIONS: usize = 64;

/// Longest time to send a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A request to the control port.
pub struct Request {
    /// `GET`, `POST` or `DELETE`.
    pub method: String,
    /// Path, split at its slashes.
    pub path: Vec<String>,
    /// Query parameters as written.
    pub query: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

impl Request {
    /// Method and path, for matching.
    pub fn route(&self) -> (&str, Vec<&str>) {
        (&self.method, self.path.iter().map(String::as_str).collect())
    }

    /// A number in the query, or `default`.
    pub fn number(&self, name: &str, default: u64) -> Result<u64, Response> {
        match self.query.iter().find(|(key, _)| key == name) {
            None => Ok(default),
            Some((_, value)) => value
                .parse()
                .map_err(|_| Response::error(400, format!("{name}={value:?} is not a number"))),
        }
    }

    /// The body as JSON.
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, Response> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Response::error(400, format!("request body: {error}")))
    }
}

/// An answer of the control port.
pub enum Response {
    /// One that is ready.
    Whole {
        /// Status.
        status: u16,
        /// Content type.
        kind: &'static str,
        /// Body.
        body: Vec<u8>,
    },
    /// Lines that `producer` sends while it runs.
    Lines {
        /// Makes the lines; dropped when the reader goes away.
        producer: Pin<Box<dyn Future<Output = ()> + Send>>,
        /// Where they arrive, without their line ends.
        lines: mpsc::Receiver<String>,
    },
}

impl Response {
    /// A value as JSON.
    pub fn json(value: &impl Serialize) -> Self {
        Self::with_status(200, value)
    }

    /// An error in words.
    pub fn error(status: u16, why: impl Into<String>) -> Self {
        Self::with_status(status, &json!({"error": why.into()}))
    }

    /// The path leads nowhere.
    pub fn not_found(request: &Request) -> Self {
        let path = request.path.join("/");
        Self::error(
            404,
            format!("{} /{path}: no such operation", request.method),
        )
    }

    /// A value as JSON, with a status.
    pub fn with_status(status: u16, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self::Whole {
                status,
                kind: "application/json",
                body,
            },
            Err(error) => Self::Whole {
                status: 500,
                kind: "text/plain",
                body: error.to_string().into_bytes(),
            },
        }
    }
}

/// What a control port offers.
pub trait Api: Send + Sync + 'static {
    /// Answers a request.
    fn handle(self: Arc<Self>, request: Request) -> impl Future<Output = Response> + Send;
}

/// Serves `api` until dropped.
pub async fn listen<A: Api>(api: Arc<A>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS => {
                if let Ok((stream, _)) = accepted {
                    let api = api.clone();
                    connections.spawn(async move {
                        // A control connection that breaks is the harness's to notice.
                        let _ = serve(api, stream).await;
                    });
                }
            }
        }
    }
}

async fn serve<A: Api>(api: Arc<A>, stream: TcpStream) -> Result<(), Error> {
    stream.set_nodelay(true)?;
    let mut inbound = Inbound::new(stream, BytesMut::new());
    loop {
        let head = match inbound.head().await {
            Ok(head) => Head::parse(&head)?,
            Err(_) => return Ok(()),
        };
        let read = tokio::time::timeout(REQUEST_TIMEOUT, read(&mut inbound, &head)).await;
        let response = match read {
            Ok(Ok(Some(request))) => api.clone().handle(request).await,
            Ok(Ok(None)) => {
                let why = format!("request body is longer than {BODY_LIMIT_BYTES} bytes");
                write(&mut inbound, Response::error(413, why)).await?;
                return Ok(());
            }
            Ok(Err(error)) => return Err(error),
            Err(_) => return Ok(()),
        };
        write(&mut inbound, response).await?;
        if head::has_token(&head.fields, "connection", "close") {
            return Ok(());
        }
    }
}

/// Reads the rest of a request; `None` when it is too long.
async fn read(inbound: &mut Inbound<TcpStream>, head: &Head) -> Result<Option<Request>, Error> {
    let minor = head.request_version()?;
    let mut reader = Reader::new(Framing::of_request(&head.fields, minor)?);
    if head::has_token(&head.fields, "expect", "100-continue") {
        inbound
            .io_mut()
            .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
            .await?;
    }
    let mut body = Vec::new();
    while let Some(piece) = reader.next(inbound).await? {
        if body.len() + piece.len() > BODY_LIMIT_BYTES {
            return Ok(None);
        }
        body.extend_from_slice(&piece);
    }
    let (path, query) = head.start[1]
        .split_once('?')
        .unwrap_or((&head.start[1], ""));
    Ok(Some(Request {
        method: head.start[0].clone(),
        path: path
            .split('/')
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect(),
        query: query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        body,
    }))
}

async fn write(inbound: &mut Inbound<TcpStream>, response: Response) -> Result<(), Error> {
    let stream = inbound.io_mut();
    match response {
        Response::Whole { status, kind, body } => {
            let fields = vec![
                ("content-type".to_owned(), kind.to_owned()),
                ("content-length".to_owned(), body.len().to_string()),
            ];
            let reason = http::StatusCode::from_u16(status)
                .ok()
                .and_then(|status| status.canonical_reason())
                .unwrap_or_default();
            let mut message = head::render(&format!("HTTP/1.1 {status} {reason}"), &fields);
            message.extend_from_slice(&body);
            stream.write_all(&message).await?;
        }
        Response::Lines {
            producer,
            mut lines,
        } => {
            let fields = vec![
                ("content-type".to_owned(), "application/jsonl".to_owned()),
                ("transfer-encoding".to_owned(), "chunked".to_owned()),
            ];
            stream
                .write_all(&head::render("HTTP/1.1 200 OK", &fields))
                .await?;
            let writing = async {
                let mut batch = Vec::new();
                while lines.recv_many(&mut batch, 256).await > 0 {
                    let text = batch
                        .drain(..)
                        .fold(String::new(), |text, line| text + &line + "\n");
                    let chunk = format!("{:x}\r\n{text}\r\n", text.len());
                    stream.write_all(chunk.as_bytes()).await?;
                }
                stream.write_all(b"0\r\n\r\n").await
            };
            tokio::pin!(producer);
            tokio::pin!(writing);
            let mut producing = true;
            loop {
                tokio::select! {
                    () = &mut producer, if producing => producing = false,
                    written = &mut writing => break written?,
                }
            }
        }
    }
    Ok(())
}
