//! What a request gets when the proxy answers it.
