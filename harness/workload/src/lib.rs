//! The test application of the harness.
