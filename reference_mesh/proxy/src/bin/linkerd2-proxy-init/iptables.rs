//! The rules in iptables' language, for systems without `nft`.

use std::fmt::Write as _;
use std::process::{Command, Stdio};

use crate::flags::{Flags, Ports};
use crate::{Error, feed, find};

const INBOUND: &str = "PROXY_INIT_REDIRECT";
const OUTBOUND: &str = "PROXY_INIT_OUTPUT";
const HOOK_INBOUND: &str = "install-proxy-init-prerouting";
const HOOK_OUTBOUND: &str = "install-proxy-init-output";

/// Ports of one multiport match; a range counts as two.
const MULTIPORT_LIMIT: usize = 15;

/// Sets the rules for IPv4 and, if wanted, IPv6: one transaction each.
pub(crate) fn install(flags: &Flags) -> Result<(), Error> {
    install_family(flags, &flags.firewall, false)?;
    if flags.ipv6 {
        install_family(
            flags,
            &flags.firewall.replacen("iptables", "ip6tables", 1),
            true,
        )?;
    }
    Ok(())
}

fn install_family(flags: &Flags, program: &str, v6: bool) -> Result<(), Error> {
    let missing = || Error::NoFirewall(program.to_owned());
    let check = find(program).ok_or_else(missing)?;
    let restore = find(&format!("{program}-restore")).ok_or_else(missing)?;
    let hooked = |hook: &str, chain: &str, name: &str| {
        // The comment is part of the rule that is looked for.
        let comment = format!("proxy-init/{name}");
        let arguments = [
            "-t",
            "nat",
            "-C",
            hook,
            "-m",
            "comment",
            "--comment",
            &comment,
            "-j",
            chain,
        ];
        let run = Command::new(&check)
            .args(arguments)
            .stderr(Stdio::null())
            .status();
        run.is_ok_and(|status| status.success())
    };
    let hook_inbound = !hooked("PREROUTING", INBOUND, HOOK_INBOUND);
    let hook_outbound = !hooked("OUTPUT", OUTBOUND, HOOK_OUTBOUND);
    feed(
        &restore,
        &["--noflush"],
        &rules(flags, v6, hook_inbound, hook_outbound),
    )
}

/// Declaring a chain empties it, so only the hooks must not be added twice.
fn rules(flags: &Flags, v6: bool, hook_inbound: bool, hook_outbound: bool) -> String {
    let mut out = format!("*nat\n:{INBOUND} - [0:0]\n:{OUTBOUND} - [0:0]\n");
    let mut rule = |chain: &str, which: &str, action: &str, name: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(
            out,
            "-A {chain} {which} -m comment --comment proxy-init/{name} -j {action}"
        );
    };
    for ports in multiport(&flags.ignore_inbound) {
        rule(INBOUND, &ports, "RETURN", "ignore-port");
    }
    for net in flags
        .ignore_subnets
        .iter()
        .filter(|net| net.addr().is_ipv6() == v6)
    {
        rule(
            INBOUND,
            &format!("-p all -s {net}"),
            "RETURN",
            "ignore-subnet",
        );
    }
    let redirect = format!("REDIRECT --to-port {}", flags.incoming_port);
    let mut incoming = multiport(&flags.only_inbound);
    if incoming.is_empty() {
        incoming.push("-p tcp".to_owned());
    }
    for ports in incoming {
        rule(
            INBOUND,
            &ports,
            &redirect,
            "redirect-all-incoming-to-proxy-port",
        );
    }
    let uid = format!("-m owner --uid-owner {}", flags.proxy_uid);
    rule(OUTBOUND, &uid, "RETURN", "ignore-proxy-user-id");
    if let Some(gid) = flags.proxy_gid {
        let gid = format!("-m owner --gid-owner {gid}");
        rule(OUTBOUND, &gid, "RETURN", "ignore-proxy-group-id");
    }
    rule(OUTBOUND, "-o lo", "RETURN", "ignore-loopback");
    for ports in multiport(&flags.ignore_outbound) {
        rule(OUTBOUND, &ports, "RETURN", "ignore-port");
    }
    let redirect = format!("REDIRECT --to-port {}", flags.outgoing_port);
    rule(
        OUTBOUND,
        "-p tcp",
        &redirect,
        "redirect-all-outgoing-to-proxy-port",
    );
    if hook_inbound {
        rule("PREROUTING", "", INBOUND, HOOK_INBOUND);
    }
    if hook_outbound {
        rule("OUTPUT", "", OUTBOUND, HOOK_OUTBOUND);
    }
    out + "COMMIT\n"
}

fn multiport(ports: &[Ports]) -> Vec<String> {
    let mut matches: Vec<(usize, String)> = Vec::new();
    for ports in ports {
        let size = if ports.first == ports.last { 1 } else { 2 };
        let text = ports.to_string().replace('-', ":");
        match matches.last_mut() {
            Some((used, list)) if *used + size <= MULTIPORT_LIMIT => {
                *used += size;
                list.push(',');
                list.push_str(&text);
            }
            _ => matches.push((size, text)),
        }
    }
    matches
        .into_iter()
        .map(|(_, list)| format!("-p tcp -m multiport --dports {list}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{multiport, rules};
    use crate::flags::{Flags, Ports};

    #[test]
    fn long_port_lists_are_cut() {
        let ports: Vec<_> = (1..=20)
            .map(|port| Ports {
                first: port * 10,
                last: port * 10 + port % 2,
            })
            .collect();
        let matches = multiport(&ports);
        assert_eq!(matches.len(), 2, "{matches:?}");
        assert!(matches[0].ends_with("--dports 10:11,20,30:31,40,50:51,60,70:71,80,90:91,100"));
    }

    #[test]
    fn hooks_are_added_once_and_subnets_by_family() {
        let line = "--subnets-to-ignore 10.0.0.0/8,fd00::/8";
        let flags = Flags::parse(line.split_whitespace().map(str::to_owned)).expect("valid");
        let text = rules(&flags, false, false, true);
        assert!(text.contains("-s 10.0.0.0/8") && !text.contains("fd00::"));
        assert!(!text.contains("-A PREROUTING") && text.contains("-A OUTPUT "));
    }
}
