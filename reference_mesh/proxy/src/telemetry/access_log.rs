//! The access log: one line for each inbound request, as linkerd2-proxy writes it.
//!
//! A line is written when the head of the response is there, whoever made it, or when the client no
//! longer waits for one. Sizes are the lengths that the heads declare. Everything on a line but the
//! time may be of a client's choice: what could end a line or a field is escaped, what is long is cut.
//!
//! As with the log of this process, lines are written by a thread of their own, and what there is no
//! room for is dropped and counted.

mod line;

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use ::http::header::{CONTENT_LENGTH, HOST, USER_AGENT};
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, Version};
use tokio::time::Instant;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking};

use super::log::{self, Flush};

/// Lines that wait to be written: what a busy proxy serves while whoever reads them takes a breath.
const MAX_WAITING_LINES: usize = 4096;

/// Headers that name a request's trace; the first that is there does.
const TRACE_IDS: [HeaderName; 3] = [
    HeaderName::from_static("x-b3-traceid"),
    HeaderName::from_static("x-request-id"),
    HeaderName::from_static("x-amzn-trace-id"),
];

/// Lines of this process's access log that were dropped.
static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

/// How requests are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `client id - [time] "method uri version" status`, much like Apache's common log.
    Apache,
    /// One JSON object per line.
    Json,
}

/// Writes requests; each thread that serves some has its own clone.
#[derive(Clone)]
pub struct AccessLog {
    format: Format,
    out: RefCell<Out>,
}

#[derive(Clone)]
struct Out {
    writer: NonBlocking,
    /// Used again for each line.
    line: String,
}

/// A request under way. Dropped, it is written.
pub struct Entry<'a> {
    log: &'a AccessLog,
    client: Client<'a>,
    at: SystemTime,
    started: Instant,
    /// Time that went into the request, not into waiting for others.
    processing: Duration,
    method: Method,
    uri: Uri,
    version: Version,
    host: Option<HeaderValue>,
    user_agent: Option<HeaderValue>,
    trace_id: Option<HeaderValue>,
    bytes: Option<HeaderValue>,
    answer: Option<Answer>,
}

/// The connection that a request came on.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    /// The other end.
    pub addr: SocketAddr,
    /// Its proven identity.
    pub id: Option<&'a str>,
    /// Where it connected to.
    pub target: SocketAddr,
}

struct Answer {
    status: u16,
    bytes: Option<HeaderValue>,
    total: Duration,
}

/// Lines that were dropped, as `/metrics` tells; none when nobody asked for the log.
pub(super) fn dropped_lines() -> Option<usize> {
    DROPPED.get().map(ErrorCounter::dropped_lines)
}

// === impl AccessLog ===

impl AccessLog {
    /// A log to standard error, and what gives its last lines time to be written.
    #[must_use]
    pub fn start(format: Format) -> (Self, Flush) {
        let (log, flush) = Self::to(io::stderr(), format);
        let _ = DROPPED.set(log.out.borrow().writer.error_counter());
        (log, flush)
    }

    fn to(out: impl io::Write + Send + 'static, format: Format) -> (Self, Flush) {
        let (writer, flush) = log::beside(out, MAX_WAITING_LINES, "access-log");
        let line = String::new();
        let out = RefCell::new(Out { writer, line });
        (Self { format, out }, flush)
    }

    /// Notes a request whose head arrived. In a box, so that nobody has to hold room for one while
    /// there is no log.
    #[must_use]
    pub fn begin<'a, B>(&'a self, client: Client<'a>, request: &Request<B>) -> Box<Entry<'a>> {
        let headers = request.headers();
        let trace_id = TRACE_IDS.iter().find_map(|name| headers.get(name));
        Box::new(Entry {
            log: self,
            client,
            at: SystemTime::now(),
            started: Instant::now(),
            processing: Duration::ZERO,
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            host: header(headers, HOST),
            user_agent: header(headers, USER_AGENT),
            trace_id: trace_id.cloned(),
            bytes: header(headers, CONTENT_LENGTH),
            answer: None,
        })
    }

    fn write(&self, entry: &Entry<'_>) {
        let Out { writer, line } = &mut *self.out.borrow_mut();
        line.clear();
        line::write(line, self.format, entry);
        // It never fails: what there is no room for is counted.
        let _ = writer.write(line.as_bytes());
    }
}

fn header(headers: &HeaderMap, name: HeaderName) -> Option<HeaderValue> {
    headers.get(name).cloned()
}

// === impl Entry ===

impl Entry<'_> {
    /// Waits for `work`, which answers the request, and measures what it takes of this thread.
    pub async fn measure<F: Future>(&mut self, mut work: Pin<&mut F>) -> F::Output {
        poll_fn(|cx| {
            let entered = Instant::now();
            let polled = work.as_mut().poll(cx);
            self.processing += entered.elapsed();
            polled
        })
        .await
    }

    /// Notes the response, and with it writes the line.
    pub fn answered<B>(mut self: Box<Self>, response: &Response<B>) {
        self.answer = Some(Answer {
            status: response.status().as_u16(),
            bytes: header(response.headers(), CONTENT_LENGTH),
            total: self.started.elapsed(),
        });
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.log.write(self);
    }
}

#[cfg(test)]
mod tests {
    use super::{AccessLog, Client, Entry, Format};
    use std::io::Read as _;
    use std::time::{Duration, SystemTime};

    use ::http::{Request, Response};

    const ID: &str = "web.shop.serviceaccount.identity.linkerd.cluster.local";

    fn client(id: Option<&str>) -> Client<'_> {
        Client {
            addr: "10.42.0.63:51160".parse().expect("address"),
            id,
            target: "10.42.0.7:7000".parse().expect("address"),
        }
    }

    /// What comes of one request, seen at a time that is the same in each test.
    fn line(
        format: Format,
        id: Option<&str>,
        request: &Request<()>,
        end: impl FnOnce(Box<Entry<'_>>),
    ) -> String {
        let (mut reader, pipe) = std::io::pipe().expect("pipe");
        let (log, flush) = AccessLog::to(pipe, format);
        let mut entry = log.begin(client(id), request);
        entry.at = SystemTime::UNIX_EPOCH + Duration::new(1_661_286_500, 71_809_491);
        end(entry);
        drop((log, flush));
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("text");
        text
    }

    /// As [`line`], with the answer of Linkerd's documentation.
    fn answered(format: Format, id: Option<&str>, request: &Request<()>) -> String {
        line(format, id, request, |mut entry| {
            entry.processing = Duration::from_nanos(39_826);
            let response = Response::builder().header("content-length", "19627");
            entry.answered(&response.body(()).expect("response"));
        })
    }

    /// The value of a JSON field whose value is no constant.
    fn without_total(line: &str) -> String {
        let (before, rest) = line.split_once(r#""total_ns":""#).expect("total");
        let (total, after) = rest.split_once('"').expect("quoted");
        assert!(total.parse::<u64>().is_ok(), "{total}");
        format!("{before}\"total_ns\":\"\"{after}")
    }

    #[test]
    fn apache_lines_are_those_of_linkerds_documentation() {
        let request = Request::get("http://webapp:7000/authors/104?a=b")
            .version(::http::Version::HTTP_2)
            .body(())
            .expect("request");
        assert_eq!(
            answered(Format::Apache, Some(ID), &request),
            format!(
                "10.42.0.63:51160 {ID} - [2022-08-23T20:28:20.071809491Z] \
                 \"GET http://webapp:7000/authors/104?a=b HTTP/2.0\" 200\n"
            )
        );
    }

    #[test]
    fn json_lines_are_those_of_linkerds_documentation() {
        let request = Request::post("/authors")
            .header("host", "webapp:7000")
            .header("user-agent", "Go-http-client/1.1")
            .header("content-length", "33")
            .header("x-request-id", "second")
            .header("x-b3-traceid", "first");
        let request = request.body(()).expect("request");
        assert_eq!(
            without_total(&answered(Format::Json, Some(ID), &request)),
            format!(
                r#"{{"client.addr":"10.42.0.63:51160","client.id":"{ID}","host":"webapp:7000","method":"POST","processing_ns":"39826","request_bytes":"33","response_bytes":"19627","status":200,"timestamp":"2022-08-23T20:28:20.071809491Z","total_ns":"","trace_id":"first","uri":"http://webapp:7000/authors","user_agent":"Go-http-client/1.1","version":"HTTP/1.1"}}"#
            ) + "\n"
        );
    }

    #[test]
    fn a_request_without_host_and_answer_is_one_of_the_target() {
        let request = Request::get("/ping").body(()).expect("request");
        let line = |format| line(format, None, &request, |_unanswered| ());
        assert_eq!(
            line(Format::Apache),
            "10.42.0.63:51160 - - [2022-08-23T20:28:20.071809491Z] \
             \"GET http://10.42.0.7:7000/ping HTTP/1.1\"\n"
        );
        let json = line(Format::Json);
        assert!(json.contains(
            r#""client.id":"-","host":"","method":"GET","request_bytes":"","timestamp":"#
        ));
        assert!(!json.contains("status") && !json.contains("_ns"), "{json}");
    }

    #[test]
    fn no_client_writes_lines_or_fields_of_its_own() {
        let request = Request::get("/a\"b{}?q=\u{85}\u{2028}\u{1f600}\\")
            .header("host", "x\" 200\\")
            .header("user-agent", "a\t\"b\"\\")
            .header("x-request-id", &b"\xff"[..])
            .body(())
            .expect("request");
        let apache = answered(Format::Apache, None, &request);
        let uri = r#"/a\"b{}?q=\xc2\x85\xe2\x80\xa8\xf0\x9f\x98\x80\\ HTTP/1.1" 200"#;
        assert!(apache.ends_with(&format!("{uri}\n")), "{apache}");
        let json = answered(Format::Json, None, &request);
        for part in [
            r#""host":"x\" 200\\""#,
            r#""trace_id":"""#,
            r#"/a\"b{}?q=\u0085\u2028\ud83d\ude00\\","#,
            r#""user_agent":"a\u0009\"b\"\\""#,
        ] {
            assert!(json.contains(part), "no {part} in {json}");
        }
        for line in [apache, json] {
            assert_eq!(
                line.find(|c: char| !(' '..='~').contains(&c)),
                Some(line.len() - 1)
            );
        }
    }

    #[test]
    fn what_is_long_is_cut() {
        let request = Request::get(format!("http://h/{}", "a".repeat(60_000)))
            .header("user-agent", "b".repeat(60_000))
            .body(())
            .expect("request");
        let json = answered(Format::Json, Some(ID), &request);
        assert!(json.len() < 4096, "{}", json.len());
        assert!(
            json.contains("aa...\"") && json.contains("bb...\""),
            "{json}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_is_no_processing() {
        let request = Request::get("/").body(()).expect("request");
        let (log, _flush) = AccessLog::to(std::io::sink(), Format::Json);
        let mut entry = log.begin(client(None), &request);
        let work = std::pin::pin!(async {
            tokio::time::advance(Duration::from_millis(3)).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        });
        entry.measure(work).await;
        assert_eq!(entry.started.elapsed(), Duration::from_millis(1003));
        assert_eq!(entry.processing, Duration::from_millis(3));
    }
}
