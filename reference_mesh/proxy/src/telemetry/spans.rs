//! Exports of trace spans, by Linkerd's names: a proxy that traces nothing exports none.

use super::labels::LabelSet;
use super::registry::{write_head, write_sample};

const NAMES: [(&str, &str); 3] = [
    (
        "opentelemetry_span_export_requests",
        "Total count of requests to export spans.",
    ),
    (
        "opentelemetry_span_export_streams",
        "Total count of streams opened to export spans.",
    ),
    (
        "opentelemetry_span_exports",
        "Total count of spans exported.",
    ),
];

/// Appends the counters, which dashboards and alerts expect to be there.
pub(super) fn encode(out: &mut String) {
    let none = LabelSet::new();
    for (name, help) in NAMES {
        write_head(out, name, help, "counter");
        write_sample(out, name, "", &none, 0);
    }
}
