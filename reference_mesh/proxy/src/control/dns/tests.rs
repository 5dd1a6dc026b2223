use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::{Message, OpCode};
use hickory_resolver::proto::rr::rdata::{A, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;
use tokio::sync::OnceCell;
use tokio::task::JoinSet;

use super::{ResolveError, Resolved, Resolver};
use crate::telemetry::Telemetry;

const HOST: &str = "policy.mesh.svc.cluster.local";

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("name")
}

fn a(owner: &str, last: u8) -> Record {
    let data = RData::A(A(Ipv4Addr::new(10, 0, 0, last)));
    Record::from_rdata(name(owner), 30, data)
}

fn srv(port: u16, target: &str) -> Record {
    let data = RData::SRV(SRV::new(0, 100, port, name(target)));
    Record::from_rdata(name(&format!("{HOST}.")), 5, data)
}

/// Resolves against a name server that has these records; additional ones only go along.
async fn resolve(
    records: Vec<Record>,
    additional: Vec<Record>,
    ttl: (Option<Duration>, Option<Duration>),
) -> (Result<Resolved, ResolveError>, Telemetry) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("bound");
    let port = socket.local_addr().expect("bound").port();
    let mut server = JoinSet::new();
    server.spawn(async move {
        let mut buf = [0; 512];
        loop {
            let (len, client) = socket.recv_from(&mut buf).await.expect("query");
            let query = Message::from_vec(&buf[..len]).expect("query");
            let asked = query.queries[0].clone();
            let mut answer = Message::response(query.metadata.id, OpCode::Query);
            answer.add_query(asked.clone());
            let fits = |record: &&Record| {
                record.name == *asked.name() && record.record_type() == asked.query_type()
            };
            answer.add_answers(records.iter().filter(fits).cloned());
            if asked.query_type() == RecordType::SRV {
                answer.add_additionals(additional.iter().cloned());
            }
            let bytes = answer.to_vec().expect("answer");
            socket.send_to(&bytes, client).await.expect("sent");
        }
    });
    let mut connection = ConnectionConfig::udp();
    connection.port = port;
    let nameserver = NameServerConfig::new(Ipv4Addr::LOCALHOST.into(), true, vec![connection]);
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![nameserver]);
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    super::configure(builder.options_mut());
    let telemetry = Telemetry::new(Duration::from_secs(1));
    let resolver = Resolver {
        inner: OnceCell::new_with(Some(builder.build().expect("resolver"))),
        telemetry: telemetry.clone(),
        ttl,
    };
    (resolver.resolve("policy", HOST, 8090).await, telemetry)
}

fn addresses(found: Result<Resolved, ResolveError>) -> Vec<SocketAddr> {
    found.expect("resolved").addresses
}

#[tokio::test]
async fn srv_records_name_the_pods_and_their_ports() {
    let records = vec![
        srv(8090, "p-1.mesh."),
        srv(8090, "p-2.mesh."),
        srv(9990, "p-1.mesh."),
        a("p-2.mesh.", 2),
    ];
    let (found, telemetry) = resolve(records, vec![a("p-1.mesh.", 1)], (None, None)).await;
    let found = found.expect("resolved");
    let expected = ["10.0.0.1:8090", "10.0.0.2:8090"].map(|addr| addr.parse().expect("address"));
    assert_eq!(found.addresses, expected);
    assert_eq!(found.ttl, Some(Duration::from_secs(5)));
    let mut text = String::new();
    telemetry.encode(&mut text);
    assert!(
        text.contains("record_type=\"SRV\",result=\"ok\"} 1"),
        "{text}"
    );
    assert!(!text.contains("A/AAAA"), "{text}");
}

#[tokio::test]
async fn a_port_that_is_only_known_to_dns_is_used() {
    let records = vec![srv(7000, "p-1.mesh."), a("p-1.mesh.", 1)];
    let (found, _) = resolve(records, Vec::new(), (None, None)).await;
    assert_eq!(
        addresses(found),
        ["10.0.0.1:7000".parse().expect("address")]
    );
}

#[tokio::test]
async fn addresses_are_used_where_there_is_no_srv_record() {
    let records = vec![a(&format!("{HOST}."), 7)];
    let bounds = (Some(Duration::from_secs(60)), None);
    let (found, _) = resolve(records, Vec::new(), bounds).await;
    let found = found.expect("resolved");
    assert_eq!(found.addresses, ["10.0.0.7:8090".parse().expect("address")]);
    assert_eq!(found.ttl, bounds.0, "held up by its lower bound");
}

#[tokio::test]
async fn a_name_without_addresses_is_an_error() {
    let (found, _) = resolve(Vec::new(), Vec::new(), (None, None)).await;
    let error = found.expect_err("nothing there").to_string();
    assert!(error.contains(HOST), "{error}");
}
