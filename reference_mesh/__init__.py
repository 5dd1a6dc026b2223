"""The reference mesh: a small, complete service mesh that speaks the wire API of Linkerd."""
