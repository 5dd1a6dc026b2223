//! Entry point of the workload program.

fn main() {
    println!("meshmark-workload {}", env!("CARGO_PKG_VERSION"));
}
