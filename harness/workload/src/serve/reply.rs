//! What a request is answered with, before a protocol puts it on the wire.

use bytes::Bytes;

use super::App;
use super::attempt::Attempt;
use super::steering::Steering;
use crate::http1::Fields;
use crate::seeded::{BLOCK_BYTES, Seeded};

/// A response: status, fields without framing, and where the body comes from.
pub struct Reply {
    /// Final status.
    pub status: u16,
    /// Fields, framing and connection management excepted.
    pub fields: Fields,
    /// The body.
    pub body: Body,
}

/// Where a response body comes from.
pub enum Body {
    /// From memory.
    Whole(Bytes),
    /// From a seed: this many bytes.
    Made(Seeded, u64),
    /// From the request, as it arrives.
    Echo,
}

impl Reply {
    /// The answer that `steering` asks for. Without a size the body is the pod's name.
    pub fn to(app: &App, steering: &Steering, attempt: &Attempt) -> Self {
        let status = steering.status_of(attempt.number());
        let block = steering.block.unwrap_or(BLOCK_BYTES);
        let body = match steering.size {
            _ if steering.echo => Body::Echo,
            Some(size) => Body::Made(Seeded::new(steering.seed, size, block), size),
            None => Body::Whole(Bytes::from(format!("{}\n", app.pod))),
        };
        let mut fields = marks(app, attempt);
        fields.extend(steering.headers.iter().cloned());
        Self {
            status,
            fields,
            body,
        }
    }

    /// A refusal that says why.
    pub fn refusal(app: &App, attempt: &Attempt, status: u16, why: &str) -> Self {
        let body = Body::Whole(Bytes::from(format!("{why}\n")));
        Self {
            status,
            fields: marks(app, attempt),
            body,
        }
    }

    /// Length of the body where it is known beforehand.
    pub fn length(&self) -> Option<u64> {
        match &self.body {
            Body::Whole(bytes) => Some(bytes.len() as u64),
            Body::Made(_, total) => Some(*total),
            Body::Echo => None,
        }
    }
}

impl Body {
    /// The pieces of a body that does not come from the request.
    pub fn pieces(self) -> Box<dyn Iterator<Item = Bytes> + Send> {
        match self {
            Self::Whole(bytes) => Box::new(std::iter::once(bytes).filter(|b| !b.is_empty())),
            Self::Made(seeded, _) => Box::new(seeded),
            Self::Echo => Box::new(std::iter::empty()),
        }
    }
}

/// Fields that tell a client who answered: pod, attempt and connection of the application.
pub fn marks(app: &App, attempt: &Attempt) -> Fields {
    vec![
        ("content-type".into(), "application/octet-stream".into()),
        ("x-meshmark-pod".into(), app.pod.clone()),
        ("x-meshmark-attempt".into(), attempt.number().to_string()),
        (
            "x-meshmark-connection".into(),
            attempt.connection().to_string(),
        ),
    ]
}
