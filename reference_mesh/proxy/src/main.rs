//! The sidecar: configured by the environment, as linkerd2-proxy is.

use std::process::ExitCode;

use meshmark_proxy::app::App;
use meshmark_proxy::config::Config;
use meshmark_proxy::config::env::{ProcessEnv, Strings as _};
use meshmark_proxy::telemetry::log::{self, Format};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// One arena, as one thread does the work unless a pod is given several CPUs: then they share it, beyond
/// what their caches hold; what that costs is not measured. Small thread caches; memory goes back
/// within a second, by a thread of its own: without, a proxy that has become idle would keep it.
// SAFETY: jemalloc reads this symbol as a pointer to a C string, which a reference to an array that
// ends in a zero byte is. Nothing else has its name.
#[unsafe(export_name = "_rjem_malloc_conf")]
static MALLOC_CONF: &[u8; 109] =
    b"narenas:1,lg_tcache_max:12,dirty_decay_ms:1000,muzzy_decay_ms:0,metadata_thp:disabled,background_thread:true\0";

/// The environment cannot be used (`EX_USAGE`).
const BAD_CONFIG: u8 = 64;

fn main() -> ExitCode {
    let env = ProcessEnv;
    let format = match env.get("LINKERD2_PROXY_LOG_FORMAT").as_deref() {
        Some("json") => Format::Json,
        _ => Format::Plain,
    };
    let filter = env
        .get("LINKERD2_PROXY_LOG")
        .filter(|filter| !filter.is_empty());
    // Last to go, after what is said at the end.
    let (level, _flush) = match log::init(filter.as_deref().unwrap_or(log::DEFAULT_FILTER), format)
    {
        Ok(started) => started,
        Err(error) => {
            eprintln!("LINKERD2_PROXY_LOG: {error}");
            return ExitCode::from(BAD_CONFIG);
        }
    };
    let config = match Config::from_env(&env) {
        Ok(config) => config,
        Err(invalid) => {
            for bad in &invalid.0 {
                tracing::error!("Invalid configuration: {bad}");
            }
            return ExitCode::from(BAD_CONFIG);
        }
    };
    if !config.unheeded.is_empty() {
        let names = config.unheeded.join(", ");
        tracing::warn!("Set, but this proxy does not act on it: {names}");
    }
    match App::new(config, Some(level)).and_then(App::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("Cannot start: {error}");
            ExitCode::FAILURE
        }
    }
}
