//! The rules in nftables' language.

use std::fmt::{Display, Write as _};

use ipnet::IpNet;

use crate::flags::Flags;

/// Own table, so that replacing it touches nothing of anybody else.
const TABLE: &str = "linkerd_proxy_init";

/// One transaction that replaces whatever was set before.
///
/// IPv6 comes by the family: one `inet` table covers both.
pub(crate) fn rules(flags: &Flags) -> String {
    let family = if flags.ipv6 { "inet" } else { "ip" };
    let mut out = String::new();
    // Adding first makes deleting succeed on a pod that has no rules yet. Both families, since the
    // flag may have changed.
    for family in ["ip", "inet"] {
        line(&mut out, format_args!("add table {family} {TABLE}"));
        line(&mut out, format_args!("delete table {family} {TABLE}"));
    }
    line(&mut out, format_args!("table {family} {TABLE} {{"));
    inbound(&mut out, flags);
    outbound(&mut out, flags);
    line(&mut out, "}");
    out
}

fn inbound(out: &mut String, flags: &Flags) {
    line(out, "  chain inbound {");
    line(
        out,
        "    type nat hook prerouting priority dstnat; policy accept;",
    );
    rule(
        out,
        "ignore-port",
        set("tcp dport", &flags.ignore_inbound),
        "return",
    );
    let subnets = IpNet::aggregate(&flags.ignore_subnets);
    let (v4, v6): (Vec<_>, Vec<_>) = subnets.into_iter().partition(|net| net.addr().is_ipv4());
    rule(out, "ignore-subnet", set("ip saddr", &v4), "return");
    if flags.ipv6 {
        rule(out, "ignore-subnet", set("ip6 saddr", &v6), "return");
    }
    let ports = set("tcp dport", &flags.only_inbound);
    let which = ports.unwrap_or_else(|| "meta l4proto tcp".to_owned());
    let action = format!("redirect to :{}", flags.incoming_port);
    rule(
        out,
        "redirect-all-incoming-to-proxy-port",
        Some(which),
        &action,
    );
    line(out, "  }");
}

fn outbound(out: &mut String, flags: &Flags) {
    line(out, "  chain outbound {");
    line(
        out,
        "    type nat hook output priority -100; policy accept;",
    );
    rule(
        out,
        "ignore-proxy-user-id",
        Some(format!("meta skuid {}", flags.proxy_uid)),
        "return",
    );
    let group = flags.proxy_gid.map(|gid| format!("meta skgid {gid}"));
    rule(out, "ignore-proxy-group-id", group, "return");
    rule(
        out,
        "ignore-loopback",
        Some("oifname \"lo\"".to_owned()),
        "return",
    );
    rule(
        out,
        "ignore-port",
        set("tcp dport", &flags.ignore_outbound),
        "return",
    );
    let action = format!("redirect to :{}", flags.outgoing_port);
    let which = Some("meta l4proto tcp".to_owned());
    rule(out, "redirect-all-outgoing-to-proxy-port", which, &action);
    line(out, "  }");
}

/// A rule, unless there is nothing to match.
fn rule(out: &mut String, name: &str, which: Option<String>, action: &str) {
    if let Some(which) = which {
        line(
            out,
            format_args!("    {which} {action} comment \"proxy-init/{name}\""),
        );
    }
}

/// `KEY { A, B }`; none without values. The values must not overlap: nft refuses that.
fn set<T: Display>(key: &str, values: &[T]) -> Option<String> {
    match values {
        [] => None,
        [one] => Some(format!("{key} {one}")),
        many => {
            let list: Vec<_> = many.iter().map(ToString::to_string).collect();
            Some(format!("{key} {{ {} }}", list.join(", ")))
        }
    }
}

fn line(out: &mut String, text: impl Display) {
    // Writing to a string cannot fail.
    let _ = writeln!(out, "{text}");
}

#[cfg(test)]
mod tests {
    use super::rules;
    use crate::flags::Flags;

    #[test]
    fn exceptions_come_before_the_redirect() {
        let line = "--inbound-ports-to-ignore 4190,4567-4568 --outbound-ports-to-ignore 4567 \
                    --subnets-to-ignore 10.1.2.3/8,fd00::/8";
        let flags = Flags::parse(line.split_whitespace().map(str::to_owned)).expect("valid");
        let text = rules(&flags);
        let at = |needle: &str| {
            text.find(needle)
                .unwrap_or_else(|| panic!("no {needle} in {text}"))
        };
        assert!(at("tcp dport { 4190, 4567-4568 } return") < at("redirect to :4143"));
        assert!(at("ip saddr 10.0.0.0/8 return") < at("ip6 saddr fd00::/8 return"));
        assert!(at("meta skuid 2102 return") < at("oifname \"lo\" return"));
        assert!(at("tcp dport 4567 return") < at("redirect to :4140"));
        assert!(text.starts_with("add table ip linkerd_proxy_init\ndelete table ip"));
    }
}
