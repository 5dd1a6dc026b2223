"""
Building the Rust programs of this project, as the user who asked for it.

`cargo` decides what is out of date; when nothing is, a build takes a fraction of a second. Its
progress goes to the terminal as it is. Run under sudo, the build still is the invoking user's: so
are its files, its registry cache and its toolchain.

The programs are linked statically, so that they run on any node and alone in a container image.
RUSTFLAGS of the environment take the place of that.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from harness.errors import EnvironmentLacks, UsageError

__all__ = [
    "MINIMUM_RUST",
    "PROFILE_VARIABLE",
    "PROGRAMS_VARIABLE",
    "Person",
    "build",
    "find_cargo",
    "invoking_person",
    "run_as",
    "subcommand_version",
    "target_folder",
]

MINIMUM_RUST = (1, 90)
"""Oldest Rust that compiles the workspace; the `rust-version` of Cargo.toml."""

PROFILE_VARIABLE = "MESHMARK_CARGO_PROFILE"
"""Names another Cargo profile than `release`: `quick` compiles sooner and runs slower."""

PROGRAMS_VARIABLE = "MESHMARK_PROGRAMS"
"""Names a folder with programs built elsewhere, as `PACKAGE[-FEATURE…]/PROGRAM`; none are built."""

_ROOT = Path(__file__).resolve().parents[1]
_INSTALL = (
    "install it with `curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y`, "
    "or with your distribution's packages where they are new enough"
)


@dataclass(frozen=True, slots=True)
class Person:
    """Whose the files are that a command makes."""

    uid: int
    gid: int
    home: Path
    name: str


def invoking_person() -> Person:
    """Who asked: the user behind sudo, else the user of this process."""
    sudo_uid = os.environ.get("SUDO_UID", "")
    uid = int(sudo_uid) if os.geteuid() == 0 and sudo_uid.isdigit() else os.geteuid()
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:  # a uid without an account, as in some containers
        return Person(uid, os.getgid(), Path(os.environ.get("HOME", "/")), str(uid))
    home = Path(entry.pw_dir) if uid != os.geteuid() else Path.home()
    return Person(uid, entry.pw_gid, home, entry.pw_name)


def find_cargo(person: Person) -> Path:
    """
    Find a cargo that is new enough: on the path, or where rustup puts it for this person.

    Raises:
        EnvironmentLacks: there is none, or only an older one.

    """
    candidates = [shutil.which("cargo"), str(person.home / ".cargo/bin/cargo")]
    found: list[str] = []
    for candidate in filter(None, candidates):
        path = Path(candidate)
        if not os.access(path, os.X_OK):
            continue
        version = _version(path, person)
        if version is not None and version >= MINIMUM_RUST:
            return path
        found.append(f"{path} is {'.'.join(map(str, version)) if version else 'not working'}")
    minimum = ".".join(map(str, MINIMUM_RUST))
    what = "; ".join(dict.fromkeys(found)) or "no cargo was found"
    raise EnvironmentLacks(f"Rust {minimum} or newer is needed: {what}; {_INSTALL}")


def subcommand_version(subcommand: str, person: Person) -> str:
    """
    What `cargo SUBCOMMAND --version` says, with the cargo that `find_cargo` finds.

    Raises:
        EnvironmentLacks: there is no usable cargo, or it has no such part; says what brings it.

    """
    cargo = find_cargo(person)
    done = run_as(person, [str(cargo), subcommand, "--version"], stderr=subprocess.DEVNULL)
    if done.returncode != 0:
        raise EnvironmentLacks(
            f"`{cargo} {subcommand}` does not work: run `rustup component add rustfmt clippy`, or "
            "install your distribution's packages (Debian: rustfmt, rust-clippy)"
        )
    return done.stdout.strip()


def build(
    package: str, *, features: tuple[str, ...] = (), root: Path = _ROOT, commit: str = ""
) -> dict[str, Path]:
    """
    Build a package of the workspace and return its programs by name.

    Builds with different features are kept apart, so a program that runs is never replaced by one
    with other features.

    commit: `root` holds the sources of that commit. They are built where this clone's are, so that
        only what differs is compiled, and their programs are kept apart.

    Raises:
        EnvironmentLacks: no usable Rust, or this is not a clone of the sources.
        UsageError: the package does not compile; what the compiler said is on standard error.

    """
    if elsewhere := os.environ.get(PROGRAMS_VARIABLE):
        return _built_elsewhere(Path(elsewhere, _apart(package, *features, commit)))
    if not (root / "Cargo.toml").is_file():
        raise EnvironmentLacks(
            f"{root} has no Cargo.toml: the Rust programs are built from a clone of the sources; "
            "run meshmark from one"
        )
    person = invoking_person()
    profile = os.environ.get(PROFILE_VARIABLE, "release")
    target = target_folder(_ROOT if commit else root)
    cargo = find_cargo(person)
    command = [str(cargo), "build", "--locked", "--profile", profile]
    command += ["--package", package, "--target-dir", str(target), *_statically(cargo, person)]
    command += ["--message-format", "json-render-diagnostics"]
    if features:
        command += ["--features", ",".join(features)]
    completed = run_as(person, command, cwd=root)
    if completed.returncode != 0:
        _require_static_libc()
        raise UsageError(
            f"cargo could not build {package} (exit code {completed.returncode}); "
            f"what it said is above. To see it alone: {' '.join(command[:-2])}"
        )
    programs = _programs(completed.stdout)
    if not programs:
        raise UsageError(f"{package} is not a package with programs in {root / 'Cargo.toml'}")
    kept = target / "meshmark" / _apart(profile, *sorted(features), commit)
    return {name: _keep(path, kept / name, person) for name, path in programs.items()}


def target_folder(root: Path = _ROOT) -> Path:
    """Where cargo puts what it makes of the sources at `root`."""
    return Path(os.environ.get("CARGO_TARGET_DIR") or root / "target").absolute()


def run_as(
    person: Person, command: list[str], *, cwd: Path | None = None, stderr: int | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program as this person, and return its exit code and what it printed."""
    environment = dict(os.environ)
    other = person.uid != os.geteuid()
    if other:
        environment |= {"HOME": str(person.home), "USER": person.name, "LOGNAME": person.name}
        # sudo's root may have its own toolchain settings, which the person's files do not match.
        for name in ("CARGO_HOME", "RUSTUP_HOME"):
            environment.pop(name, None)
    return subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        check=False,
        user=person.uid if other else None,
        group=person.gid if other else None,
        extra_groups=os.getgrouplist(person.name, person.gid) if other else None,
    )


def _statically(cargo: Path, person: Person) -> list[str]:
    """
    Options that link the C library in.

    The target is named even though it is this machine: only then is what runs during the build, as
    procedural macros do, left as it is; those cannot be static.
    """
    told = run_as(person, [str(cargo), "--version", "--verbose"], stderr=subprocess.DEVNULL).stdout
    found = re.search(r"^host: (\S+)$", told, re.MULTILINE)
    if not found:
        return []
    # Panics name the file of a dependency, which lies in the person's home: without that, who built
    # it cannot be seen in a program, and two people's are the same.
    remap = f"--remap-path-prefix={_cargo_home(person)}=/cargo"
    flags = ["-C", "target-feature=+crt-static", remap]
    return ["--target", found[1], "--config", f"target.{found[1]}.rustflags={json.dumps(flags)}"]


def _cargo_home(person: Person) -> Path:
    """Where cargo keeps what it fetched. Only the person's own settings count, as in `run_as`."""
    set_here = os.environ.get("CARGO_HOME") if person.uid == os.geteuid() else None
    return Path(set_here or person.home / ".cargo")


def _require_static_libc() -> None:
    compiler = shutil.which("cc")
    if compiler:
        command = [compiler, "-print-file-name=libc.a"]
        told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        if not Path(told.strip()).is_absolute():
            raise EnvironmentLacks(
                "the programs are linked statically, and the C library's libc.a is missing: "
                "install it with `apt-get install libc6-dev` (Fedora: `dnf install glibc-static`)"
            )


def _apart(*words: str) -> str:
    return "-".join(filter(None, words))


def _built_elsewhere(folder: Path) -> dict[str, Path]:
    found = {path.name: path.absolute() for path in folder.glob("*") if os.access(path, os.X_OK)}
    if not found:
        raise EnvironmentLacks(
            f"{PROGRAMS_VARIABLE} is set, and {folder} holds no program; build it there, or unset "
            "the variable"
        )
    return found


def _programs(output: str) -> dict[str, Path]:
    programs = {}
    for line in output.splitlines():
        message = json.loads(line) if line.startswith("{") else {}
        if message.get("reason") == "compiler-artifact" and message.get("executable"):
            programs[message["target"]["name"]] = Path(message["executable"])
    return programs


def _keep(program: Path, kept: Path, person: Person) -> Path:
    """Link a program to where no other build replaces it; a running one stays untouched."""
    if kept.exists() and kept.samefile(program):
        return kept
    kept.parent.mkdir(parents=True, exist_ok=True)
    fresh = kept.with_suffix(f".{os.getpid()}")
    fresh.unlink(missing_ok=True)
    os.link(program, fresh)
    fresh.chmod(0o755)  # pods run it as another user, whatever the umask here
    fresh.replace(kept)
    if os.geteuid() == 0 and person.uid != 0:
        for path in (kept.parent.parent, kept.parent):
            os.chown(path, person.uid, person.gid)
    return kept


def _version(cargo: Path, person: Person) -> tuple[int, int] | None:
    completed = run_as(person, [str(cargo), "--version"], stderr=subprocess.DEVNULL)
    match = re.match(r"cargo (\d+)\.(\d+)", completed.stdout)
    return (int(match[1]), int(match[2])) if completed.returncode == 0 and match else None
