//! The sidecar of the reference mesh.
