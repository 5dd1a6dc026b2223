//! One attempt while it lasts, and the record that remains of it.

use std::sync::Arc;

use super::App;
use super::connections::Connection;
use super::ledger::{FIELDS_KEPT, Outcome, Record};
use super::steering::REQUEST_ID;
use crate::clock::unix_ns;
use crate::http1::{Fields, head};
use crate::seeded::{Tally, hex};

/// An attempt in progress. It is filed once, at the latest when it is dropped.
pub struct Attempt {
    app: Arc<App>,
    record: Record,
    request: Tally,
    response: Tally,
    filed: bool,
}

/// What the start of a request says of it.
pub struct Start<'a> {
    /// Protocol name of the record.
    pub protocol: &'static str,
    /// Method.
    pub method: &'a str,
    /// Target as received.
    pub target: &'a str,
    /// Authority of an HTTP/2 request; HTTP/1 has it in a field.
    pub authority: Option<&'a str>,
    /// Scheme of an HTTP/2 request.
    pub scheme: Option<&'a str>,
}

impl Attempt {
    /// Notes the arrival of a request.
    pub fn begin(app: &Arc<App>, on: &Connection, start: Start<'_>, fields: Fields) -> Self {
        let id = head::first(&fields, REQUEST_ID).map(str::to_owned);
        Self::begin_as(app, on, start, fields, id)
    }

    /// Notes the arrival of a request whose id is not in its fields.
    pub fn begin_as(
        app: &Arc<App>,
        on: &Connection,
        start: Start<'_>,
        mut fields: Fields,
        id: Option<String>,
    ) -> Self {
        let (peer, local) = on.addresses();
        let hash = hash(&fields);
        let header_count = fields.len();
        let authority = start
            .authority
            .or_else(|| head::first(&fields, "host"))
            .map(str::to_owned);
        fields.truncate(FIELDS_KEPT);
        let record = Record {
            seq: 0,
            attempt: app.ledger.arrive(id.as_deref()),
            id,
            port: on.port,
            protocol: start.protocol,
            method: start.method.to_owned(),
            target: start.target.to_owned(),
            authority,
            scheme: start.scheme.map(str::to_owned),
            headers: fields,
            header_count,
            headers_sha256: hash,
            trailers: Fields::new(),
            connection: on.number,
            nth_on_connection: on.next_request(),
            peer,
            local,
            arrived_ns: unix_ns(),
            responded_ns: None,
            finished_ns: 0,
            body_bytes: 0,
            body_sha256: String::new(),
            status: None,
            sent_bytes: 0,
            sent_sha256: String::new(),
            outcome: Outcome::Aborted,
            note: String::new(),
        };
        Self {
            app: app.clone(),
            record,
            request: Tally::default(),
            response: Tally::default(),
            filed: false,
        }
    }

    /// Which attempt of its id this is, from 1.
    pub fn number(&self) -> u32 {
        self.record.attempt
    }

    /// The connection that it arrived on.
    pub fn connection(&self) -> u64 {
        self.record.connection
    }

    /// A piece of the request body.
    pub fn received(&mut self, piece: &[u8]) {
        self.request.add(piece);
    }

    /// The request's trailer fields.
    pub fn trailers(&mut self, trailers: Fields) {
        self.record.trailers = trailers;
    }

    /// The response's head goes out now.
    pub fn responds(&mut self, status: Option<u16>) {
        self.record.status = status;
        self.record.responded_ns = Some(unix_ns());
    }

    /// A piece of the response body.
    pub fn sent(&mut self, piece: &[u8]) {
        self.response.add(piece);
    }

    /// SHA-256 of the response body so far.
    pub fn sent_sha256(&self) -> String {
        self.response.sha256()
    }

    /// Something worth telling the reader of the record.
    pub fn note(&mut self, note: impl Into<String>) {
        self.record.note = note.into();
    }

    /// Files the record.
    pub fn finish(mut self, outcome: Outcome) {
        self.file(outcome);
    }

    fn file(&mut self, outcome: Outcome) {
        if std::mem::replace(&mut self.filed, true) {
            return;
        }
        let mut record = self.record.clone();
        record.finished_ns = unix_ns();
        record.body_bytes = self.request.bytes();
        record.body_sha256 = self.request.sha256();
        record.sent_bytes = self.response.bytes();
        record.sent_sha256 = self.response.sha256();
        record.outcome = outcome;
        self.app.ledger.finish(record);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.file(Outcome::Aborted);
    }
}

fn hash(fields: &Fields) -> String {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for (name, value) in fields {
        for part in [name, ": ", value, "\n"] {
            context.update(&head::octets(part));
        }
    }
    hex(context.finish().as_ref())
}
