//! The command line.

use std::fmt;
use std::str::FromStr;

use ipnet::IpNet;
use thiserror::Error;

/// What `--help` prints.
pub(crate) const USAGE: &str = "\
linkerd2-proxy-init: redirects the pod's TCP traffic to its proxy

  -p, --incoming-proxy-port PORT       port of the proxy for incoming traffic (4143)
  -o, --outgoing-proxy-port PORT       port of the proxy for outgoing traffic (4140)
  -u, --proxy-uid UID                  the proxy's user, whose traffic is left alone (2102)
  -g, --proxy-gid GID                  the proxy's group, likewise
      --inbound-ports-to-ignore LIST   incoming ports and ranges (80,8000-8999) left alone
      --outbound-ports-to-ignore LIST  outgoing ports and ranges left alone
      --subnets-to-ignore LIST         subnets whose incoming traffic is left alone
      --ports-to-redirect LIST         redirect only these incoming ports
      --ipv6[=BOOL]                    also IPv6 (true)
      --firewall-bin-path PROGRAM      used where nft is not installed (iptables-nft)
      --firewall-save-bin-path PROGRAM taken for compatibility, not used
      --timeout-close-wait-secs N      taken for compatibility; only 0 is possible
      --log-level, --log-format VALUE  taken for compatibility, not used
  -w, --use-wait-flag                  taken for compatibility, not used
      --simulate                       print the rules instead of setting them
";

/// What to redirect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flags {
    pub(crate) incoming_port: u16,
    pub(crate) outgoing_port: u16,
    pub(crate) proxy_uid: u32,
    pub(crate) proxy_gid: Option<u32>,
    pub(crate) ignore_inbound: Vec<Ports>,
    pub(crate) ignore_outbound: Vec<Ports>,
    pub(crate) ignore_subnets: Vec<IpNet>,
    pub(crate) only_inbound: Vec<Ports>,
    pub(crate) ipv6: bool,
    pub(crate) firewall: String,
    pub(crate) simulate: bool,
}

/// A port, or a range of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ports {
    pub(crate) first: u16,
    pub(crate) last: u16,
}

/// A command line that cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum Error {
    #[error("help was asked for")]
    Help,
    #[error("unknown argument {0:?}; --help lists the flags")]
    Unknown(String),
    #[error("{0} needs a value")]
    NoValue(String),
    #[error("{flag}: {value:?} is not {wanted}")]
    Value {
        flag: String,
        value: String,
        wanted: &'static str,
    },
    #[error("--timeout-close-wait-secs {0}: not possible from here; leave it at 0")]
    CloseWait(u32),
}

// === impl Flags ===

impl Default for Flags {
    fn default() -> Self {
        Self {
            incoming_port: 4143,
            outgoing_port: 4140,
            proxy_uid: 2102,
            proxy_gid: None,
            ignore_inbound: Vec::new(),
            ignore_outbound: Vec::new(),
            ignore_subnets: Vec::new(),
            only_inbound: Vec::new(),
            ipv6: true,
            firewall: "iptables-nft".to_owned(),
            simulate: false,
        }
    }
}

impl Flags {
    /// Reads the arguments after the program's name.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, Error> {
        let mut flags = Self::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let (flag, inline) = match argument.split_once('=') {
                Some((flag, value)) => (flag.to_owned(), Some(value.to_owned())),
                None => (argument, None),
            };
            let mut flag = Argument {
                flag,
                inline,
                rest: &mut arguments,
            };
            flags.take(&mut flag)?;
        }
        Ok(flags)
    }

    fn take<I: Iterator<Item = String>>(&mut self, arg: &mut Argument<'_, I>) -> Result<(), Error> {
        const PORT: &str = "a port (1 to 65535)";
        const PORTS: &str = "a list of ports and ranges such as 80,8000-8999";
        match &*arg.flag {
            "-h" | "--help" => return Err(Error::Help),
            "-p" | "--incoming-proxy-port" => self.incoming_port = arg.port(PORT)?,
            "-o" | "--outgoing-proxy-port" => self.outgoing_port = arg.port(PORT)?,
            "-u" | "--proxy-uid" => self.proxy_uid = arg.parsed("a user number")?,
            "-g" | "--proxy-gid" => self.proxy_gid = Some(arg.parsed("a group number")?),
            "--inbound-ports-to-ignore" => self.ignore_inbound = merged(arg.list(PORTS)?),
            "--outbound-ports-to-ignore" => self.ignore_outbound = merged(arg.list(PORTS)?),
            "--subnets-to-ignore" => {
                self.ignore_subnets = arg.list("a list of subnets such as 10.0.0.0/8")?;
            }
            "-r" | "--ports-to-redirect" => self.only_inbound = merged(arg.list(PORTS)?),
            "--ipv6" => self.ipv6 = arg.switch()?,
            "--simulate" => self.simulate = arg.switch()?,
            "--firewall-bin-path" => self.firewall = arg.value()?,
            "-w" | "--use-wait-flag" => drop(arg.switch()?),
            "--firewall-save-bin-path" | "--log-level" | "--log-format" => drop(arg.value()?),
            "--timeout-close-wait-secs" => match arg.parsed("a number of seconds")? {
                0 => {}
                seconds => return Err(Error::CloseWait(seconds)),
            },
            _ => return Err(Error::Unknown(arg.flag.clone())),
        }
        Ok(())
    }
}

/// A flag, and where its value is to be found.
struct Argument<'a, I> {
    flag: String,
    inline: Option<String>,
    rest: &'a mut I,
}

// === impl Argument ===

impl<I: Iterator<Item = String>> Argument<'_, I> {
    fn value(&mut self) -> Result<String, Error> {
        let value = self.inline.take().or_else(|| self.rest.next());
        value.ok_or_else(|| Error::NoValue(self.flag.clone()))
    }

    fn parsed<T: FromStr>(&mut self, wanted: &'static str) -> Result<T, Error> {
        let value = self.value()?;
        value.parse().map_err(|_| Error::Value {
            flag: self.flag.clone(),
            value,
            wanted,
        })
    }

    fn port(&mut self, wanted: &'static str) -> Result<u16, Error> {
        match self.parsed(wanted)? {
            0 => Err(Error::Value {
                flag: self.flag.clone(),
                value: "0".to_owned(),
                wanted,
            }),
            port => Ok(port),
        }
    }

    /// A list with commas; empty items and an empty list are fine.
    fn list<T: FromStr>(&mut self, wanted: &'static str) -> Result<Vec<T>, Error> {
        let value = self.value()?;
        let items = value
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty());
        let list: Result<_, _> = items.map(str::parse).collect();
        list.map_err(|_| Error::Value {
            flag: self.flag.clone(),
            value: value.clone(),
            wanted,
        })
    }

    /// A switch is on unless its inline value says otherwise.
    fn switch(&mut self) -> Result<bool, Error> {
        let Some(value) = self.inline.take() else {
            return Ok(true);
        };
        let wanted = "true or false";
        value.parse().map_err(|_| Error::Value {
            flag: self.flag.clone(),
            value,
            wanted,
        })
    }
}

// === impl Ports ===

impl FromStr for Ports {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let port = |text: &str| {
            text.trim()
                .parse::<u16>()
                .ok()
                .filter(|port| *port > 0)
                .ok_or(())
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let ports = Self {
            first: port(first)?,
            last: port(last)?,
        };
        if ports.first <= ports.last {
            Ok(ports)
        } else {
            Err(())
        }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// The same ports, in order and without overlaps.
fn merged(mut list: Vec<Ports>) -> Vec<Ports> {
    list.sort_by_key(|ports| ports.first);
    let mut merged: Vec<Ports> = Vec::with_capacity(list.len());
    for ports in list {
        match merged.last_mut() {
            Some(last) if ports.first <= last.last => last.last = last.last.max(ports.last),
            _ => merged.push(ports),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::{Error, Flags, Ports};

    fn parse(line: &str) -> Result<Flags, Error> {
        Flags::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn linkerds_command_line_is_understood() {
        let flags = parse(
            "--firewall-bin-path iptables-nft --ipv6=false --incoming-proxy-port 4143 \
             --outgoing-proxy-port=4140 --proxy-uid 2102 -w \
             --inbound-ports-to-ignore 4190,4191,4567-4568 --outbound-ports-to-ignore 4567",
        );
        let flags = flags.expect("valid");
        assert!(!flags.ipv6);
        let ports = |first, last| Ports { first, last };
        assert_eq!(
            flags.ignore_inbound,
            [ports(4190, 4190), ports(4191, 4191), ports(4567, 4568)]
        );
    }

    #[test]
    fn overlaps_are_merged() {
        let flags = parse("--inbound-ports-to-ignore 90,80-95,80,95-100,7").expect("valid");
        let text: Vec<_> = flags
            .ignore_inbound
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(text, ["7", "80-100"]);
    }

    #[test]
    fn bad_values_name_their_flag() {
        for (line, wanted) in [
            (
                "--proxy-uid root",
                "--proxy-uid: \"root\" is not a user number",
            ),
            ("-p 0", "-p: \"0\" is not a port (1 to 65535)"),
            ("--inbound-ports-to-ignore 9-8", "is not a list of ports"),
            ("--subnets-to-ignore 10.0.0.0", "is not a list of subnets"),
            ("--proxy-uid", "--proxy-uid needs a value"),
            ("--nonsense", "unknown argument \"--nonsense\""),
            ("--timeout-close-wait-secs 60", "not possible from here"),
        ] {
            let error = parse(line).expect_err(line).to_string();
            assert!(error.contains(wanted), "{line}: {error}");
        }
    }
}
