//! Answers that the proxy gives in the application's place: one table from cause to status.

use std::sync::Arc;

use ::http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use ::http::{HeaderValue, Response, StatusCode, Version};
use h2::Reason;
use thiserror::Error;

use super::body::{Body, BodyError};
use super::headers::{PROXY_CONNECTION, PROXY_ERROR};
use super::{h1, h2 as http2};
use crate::transport::connect::ConnectError;

/// What is told of a request whose body breaks off or is no HTTP.
const BROKEN_BODY: &str = "malformed request body";

/// Why the proxy answers itself.
#[derive(Clone, Debug, Error)]
pub enum ProxyError {
    /// No endpoint has been ready for as long as may be waited.
    #[error("service in fail-fast")]
    FailFast,
    /// There are too many requests already.
    #[error("service overloaded")]
    LoadShed,
    /// Nothing accepted the connection in time.
    #[error("{0}")]
    ConnectTimeout(Arc<str>),
    /// The endpoint refused, or the connection broke.
    #[error("{0}")]
    Io(Arc<str>),
    /// The endpoint has another identity than the request asks for.
    #[error("required id not satisfied")]
    RequireId,
    /// The backend has no way to send requests.
    #[error("{0}")]
    Dispatcher(Arc<str>),
    /// A time limit of the route passed before the response began.
    #[error("{0}")]
    Timeout(&'static str),
    /// No authorization lets the client in.
    #[error("unauthorized request on route")]
    Unauthorized,
    /// The client has used up its requests.
    #[error("rate limited")]
    RateLimited,
    /// No route takes the request.
    #[error("no route found for request")]
    NoRoute,
    /// The control plane's message cannot be used.
    #[error("Client policy misconfigured: {0}")]
    InvalidPolicy(Arc<str>),
    /// The peer reset the stream.
    #[error("stream reset: {0}")]
    Reset(Reason),
    /// The message cannot be carried.
    #[error("{0}")]
    Unsupported(&'static str),
    /// A filter of the route answers.
    #[error("{1}")]
    Injected(StatusCode, Arc<str>),
    /// A filter of the route answers with a gRPC code.
    #[error("{1}")]
    InjectedGrpc(u16, Arc<str>),
    /// A filter of the route sends the client elsewhere.
    #[error("redirected")]
    Redirect(StatusCode, HeaderValue),
    /// The client's own message is broken.
    #[error("{0}")]
    BadRequest(&'static str),
}

/// What decides the form of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// The client's protocol.
    pub version: Version,
    /// Whether it speaks gRPC.
    pub grpc: bool,
    /// Whether it is told the cause.
    pub informed: bool,
    /// Whether it is a proxy, which is told to close its own client's connection.
    pub is_proxy: bool,
}

// === impl ProxyError ===

impl ProxyError {
    /// HTTP status of the answer.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::FailFast | Self::ConnectTimeout(_) | Self::Timeout(_) => {
                StatusCode::GATEWAY_TIMEOUT
            }
            Self::LoadShed => StatusCode::SERVICE_UNAVAILABLE,
            Self::Io(_) | Self::RequireId | Self::Dispatcher(_) | Self::Reset(_) => {
                StatusCode::BAD_GATEWAY
            }
            Self::Unauthorized => StatusCode::FORBIDDEN,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::NoRoute => StatusCode::NOT_FOUND,
            Self::InvalidPolicy(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Unsupported(_) => StatusCode::NOT_IMPLEMENTED,
            Self::Injected(status, _) | Self::Redirect(status, _) => *status,
            Self::InjectedGrpc(..) => StatusCode::OK,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
        }
    }

    /// gRPC code of the answer.
    #[must_use]
    pub const fn grpc_code(&self) -> u16 {
        match self {
            Self::FailFast | Self::ConnectTimeout(_) | Self::Timeout(_) => 4,
            Self::LoadShed
            | Self::Io(_)
            | Self::RequireId
            | Self::Dispatcher(_)
            | Self::Reset(_) => 14,
            Self::Unauthorized => 7,
            Self::RateLimited => 8,
            Self::NoRoute | Self::Redirect(..) => 5,
            Self::Injected(..) => 9,
            Self::InjectedGrpc(code, _) => *code,
            Self::InvalidPolicy(_) | Self::BadRequest(_) => 13,
            Self::Unsupported(_) => 12,
        }
    }

    /// Whether the client's connection is closed after the answer, so that it looks for another.
    #[must_use]
    pub const fn closes(&self) -> bool {
        !matches!(
            self,
            Self::Timeout(_)
                | Self::Unauthorized
                | Self::RateLimited
                | Self::NoRoute
                | Self::Injected(..)
                | Self::InjectedGrpc(..)
                | Self::Redirect(..)
        )
    }

    /// The `error` label of `{inbound,outbound}_http_errors_total`.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::FailFast => "failfast",
            Self::LoadShed => "loadshed",
            Self::ConnectTimeout(_) | Self::Io(_) | Self::Reset(_) => "i/o",
            Self::RequireId => "identity required",
            Self::Timeout(_) => "response timeout",
            Self::Unauthorized => "unauthorized",
            Self::RateLimited => "ratelimit",
            Self::Dispatcher(_)
            | Self::NoRoute
            | Self::InvalidPolicy(_)
            | Self::Unsupported(_)
            | Self::Injected(..)
            | Self::InjectedGrpc(..)
            | Self::Redirect(..)
            | Self::BadRequest(_) => "unexpected",
        }
    }

    /// The `error` label of route metrics.
    #[must_use]
    pub const fn route_label(&self) -> &'static str {
        match self {
            Self::FailFast => "FAIL_FAST",
            Self::LoadShed => "LOAD_SHED",
            Self::Timeout(_) => "REQUEST_TIMEOUT",
            Self::ConnectTimeout(_) | Self::Io(_) => "IO",
            Self::Reset(Reason::REFUSED_STREAM) => "REFUSED",
            Self::Reset(Reason::CANCEL) => "CANCEL",
            Self::Reset(Reason::ENHANCE_YOUR_CALM) => "ENHANCE_YOUR_CALM",
            Self::Reset(_) => "RESET",
            _ => "UNKNOWN",
        }
    }

    /// The answer.
    #[must_use]
    pub fn respond(&self, client: Client) -> Response<Body> {
        let mut response = Response::new(Body::Empty);
        let message = HeaderValue::from_str(&self.to_string())
            .unwrap_or_else(|_| HeaderValue::from_static("unexpected error"));
        let headers = response.headers_mut();
        if let Self::Redirect(_, location) = self {
            headers.insert(LOCATION, location.clone());
        }
        if client.grpc || matches!(self, Self::InjectedGrpc(..)) {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            headers.insert("grpc-status", self.grpc_code().into());
            headers.insert("grpc-message", message.clone());
        } else {
            headers.insert(CONTENT_LENGTH, 0.into());
        }
        if client.informed {
            headers.insert(PROXY_ERROR, message);
        }
        if client.is_proxy && self.closes() {
            headers.insert(PROXY_CONNECTION, HeaderValue::from_static("close"));
        }
        if !client.grpc {
            *response.status_mut() = self.status();
        }
        if let Self::Reset(reason) = self
            && client.version == Version::HTTP_2
        {
            response
                .extensions_mut()
                .insert(http2::UpstreamReset(*reason));
        }
        response
    }
}

impl From<ConnectError> for ProxyError {
    fn from(error: ConnectError) -> Self {
        let text = error.to_string().into();
        match error {
            ConnectError::Timeout(_) => Self::ConnectTimeout(text),
            ConnectError::Io(_) => Self::Io(text),
        }
    }
}

impl From<h1::SendError> for ProxyError {
    fn from(error: h1::SendError) -> Self {
        match error {
            h1::SendError::Request(BodyError::Malformed(_) | BodyError::Incomplete) => {
                Self::BadRequest(BROKEN_BODY)
            }
            h1::SendError::Request(BodyError::Reset(reason)) => Self::Reset(reason),
            error => Self::Io(error.to_string().into()),
        }
    }
}

impl From<http2::SendError> for ProxyError {
    fn from(error: http2::SendError) -> Self {
        match error {
            http2::SendError::Request => Self::BadRequest(BROKEN_BODY),
            http2::SendError::Reset(reason) => Self::Reset(reason),
            error => Self::Io(error.to_string().into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Client, ProxyError};
    use ::http::{StatusCode, Version};

    #[test]
    fn grpc_clients_get_their_own_kind_of_error() {
        let client = Client {
            version: Version::HTTP_2,
            grpc: true,
            informed: true,
            is_proxy: false,
        };
        let response = ProxyError::FailFast.respond(client);
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["grpc-status"], "4");
        assert_eq!(
            response.headers()["l5d-proxy-error"],
            "service in fail-fast"
        );

        let client = Client {
            grpc: false,
            informed: false,
            ..client
        };
        let response = ProxyError::Unauthorized.respond(client);
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        assert!(!response.headers().contains_key("l5d-proxy-error"));
    }
}
