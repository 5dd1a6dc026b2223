//! Entry point: reads the command line and runs one of the program's parts.

use std::process::ExitCode;

use meshmark_workload::application;
use meshmark_workload::options::{Command, HELP};

/// Exit code for a command line that makes no sense (BSD's EX_USAGE).
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let command = match Command::parse(std::env::args().skip(1)) {
        Ok(command) => command,
        Err(why) => {
            eprintln!("meshmark-workload: {why}");
            return ExitCode::from(USAGE);
        }
    };
    // One thread: the workload must not take a second core from the sidecar that is measured.
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("meshmark-workload: cannot start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(run(command));
    // A name that is still being looked up must not hold up the end.
    runtime.shutdown_background();
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("meshmark-workload: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<ExitCode, application::Error> {
    match command {
        Command::Serve(options) => application::run(*options).await?,
        Command::Call(plan) => {
            if !application::print_calls("call", &plan).await? {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Version => println!("meshmark-workload {}", env!("CARGO_PKG_VERSION")),
        Command::Help => print!("{HELP}"),
        Command::Helper(ctrl) => meshmark_workload::helper::run(ctrl).await?,
        Command::Relay(listen, to) => meshmark_workload::relay::run(listen, &to).await?,
    }
    Ok(ExitCode::SUCCESS)
}
