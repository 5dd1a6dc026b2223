//! Sends the pod's traffic through the proxy: redirect rules for incoming and outgoing TCP.
//!
//! Takes the flags of Linkerd's proxy-init. The rules go in by one transaction, of `nft` where there
//! is one and of `iptables-nft-restore` otherwise; running it again replaces them.

#![forbid(unsafe_code)]

mod flags;
mod iptables;
mod nft;

use std::env;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use thiserror::Error;

use self::flags::Flags;

/// Where programs are looked for beyond `PATH`, which may lack the administrator's directories.
const SYSTEM_PATHS: [&str; 2] = ["/usr/sbin", "/sbin"];

#[derive(Debug, Error)]
enum Error {
    #[error(transparent)]
    Flags(#[from] flags::Error),
    #[error("neither nft nor {0}-restore is installed")]
    NoFirewall(String),
    #[error("cannot run {0:?}: {1}")]
    Run(PathBuf, io::Error),
    #[error(
        "{program:?} failed ({status}): {message}\nSetting rules needs the capability NET_ADMIN."
    )]
    Failed {
        program: PathBuf,
        status: std::process::ExitStatus,
        message: String,
    },
}

fn main() -> ExitCode {
    let result = Flags::parse(env::args().skip(1))
        .map_err(Error::from)
        .and_then(|flags| run(&flags));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Error::Flags(flags::Error::Help)) => {
            print!("{}", flags::USAGE);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("linkerd2-proxy-init: {error}");
            ExitCode::from(if matches!(error, Error::Flags(_)) {
                64
            } else {
                1
            })
        }
    }
}

fn run(flags: &Flags) -> Result<(), Error> {
    if flags.simulate {
        print!("{}", nft::rules(flags));
        return Ok(());
    }
    if let Some(nft) = find("nft") {
        return feed(&nft, &["-f", "-"], &nft::rules(flags));
    }
    iptables::install(flags)
}

/// The program's path, if it is installed.
fn find(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(|path| path.is_file());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(SYSTEM_PATHS.map(PathBuf::from));
    folders
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// Runs a program with `input` on its standard input.
fn feed(program: &Path, arguments: &[&str], input: &str) -> Result<(), Error> {
    let failed = |error| Error::Run(program.into(), error);
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends early says why on standard error.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Failed {
        program: program.into(),
        status: output.status,
        message: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}
