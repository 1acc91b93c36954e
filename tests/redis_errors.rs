//! Every error that a server can be brought to, from a real one: it is named, loses nothing, and once it
//! has passed everything is published, each once.
//!
//! OOM, READONLY, NOAUTH, WRONGPASS, NOPERM and WRONGTYPE are in `tests/redis.rs`. TRYAGAIN answers a
//! command with several keys while their slot moves: ours have one, so only a made-up server says it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "support/redis.rs"]
mod server;
#[path = "support/scratch.rs"]
mod scratch;
#[path = "support/sink.rs"]
mod sink;

use std::fs;
use std::time::{Duration, Instant};

use foreshock::publish::Fate;
use foreshock::publish::redis::{Cure, STREAM, TABLE};
use server::{Client, Server, free_port, skipped};
use sink::{Bench, RUN, numbers};

/// Waits until the sink says this error in its words.
fn named(bench: &mut Bench, code: &str) {
    let (.., words) = TABLE.iter().find(|(known, ..)| *known == code).unwrap();
    let expected = format!("{words} ({code})");
    bench.until(code, |bench| bench.words() == expected);
    assert_eq!(bench.fate().published, 0, "{code}");
}

/// The error passes, and everything arrives.
fn passes(mut bench: Bench, server: &Server) {
    bench.signals(5);
    bench.settle();
    assert_eq!(bench.words(), "");
    let all = bench.given;
    assert_eq!(numbers(&mut server.client(), RUN), (1..=all).collect::<Vec<_>>());
}

/// An error that only a change can help: tried once, nothing lost.
fn stays(mut bench: Bench, code: &str) {
    named(&mut bench, code);
    let (_, cure, _) = TABLE.iter().find(|(known, ..)| *known == code).unwrap();
    assert_eq!(*cure, Cure::Change);
    let given = bench.given;
    assert_eq!(bench.close(), Fate { published: 0, retained: given, evicted: 0 });
}

fn bench(server: &Server) -> Bench {
    let mut bench = Bench::new(&server.url());
    bench.signals(30);
    bench
}

/// Asks until the answer holds `words`.
fn until_said(client: &mut Client, command: &[&str], words: &str) {
    let end = Instant::now() + Duration::from_secs(15);
    loop {
        let said = client.text(command);
        if said.contains(words) {
            return;
        }
        assert!(Instant::now() < end, "{command:?} never says {words}: {said}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_server_that_loads_its_data_is_waited_for() {
    if skipped() {
        return;
    }
    // Each key takes a while, and clients are answered in between.
    let options = ["key-load-delay 100", "loading-process-events-interval-bytes 1024"];
    let mut server = Server::start(&options);
    let fill = "for i = 1, 20000 do redis.call('SET', 'key' .. i, i) end";
    let mut client = server.client();
    client.ask(&["EVAL", fill, "0"]);
    assert_eq!(client.text(&["SAVE"]), "OK");
    server.kill();
    server.launch();
    let mut bench = bench(&server);
    named(&mut bench, "LOADING");
    passes(bench, &server);
}

#[test]
fn a_server_that_cannot_save_is_named_until_it_can() {
    if skipped() {
        return;
    }
    let server = Server::start(&[]);
    let (mut client, dump) = (server.client(), server.scratch.path().join("dump.rdb"));
    // It listens before it has looked for a dump to load.
    client.ask(&["PING"]);
    fs::create_dir(&dump).unwrap();
    client.ask(&["CONFIG", "SET", "save", "900 1"]);
    client.ask(&["BGSAVE"]);
    until_said(&mut client, &["INFO", "persistence"], "rdb_last_bgsave_status:err");
    let mut bench = bench(&server);
    named(&mut bench, "MISCONF");
    fs::remove_dir(&dump).unwrap();
    client.ask(&["BGSAVE"]);
    passes(bench, &server);
}

#[test]
fn a_replica_that_has_lost_its_master_is_named_until_it_is_promoted() {
    if skipped() {
        return;
    }
    let server = Server::start(&["replica-serve-stale-data no", "replicaof 127.0.0.1 1"]);
    let mut bench = bench(&server);
    named(&mut bench, "MASTERDOWN");
    server.client().ask(&["REPLICAOF", "NO", "ONE"]);
    passes(bench, &server);
}

#[test]
fn a_server_that_wants_replicas_is_named_until_it_does_not() {
    if skipped() {
        return;
    }
    let server = Server::start(&["min-replicas-to-write 1"]);
    let mut bench = bench(&server);
    named(&mut bench, "NOREPLICAS");
    server.client().ask(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    passes(bench, &server);
}

#[test]
fn a_server_that_is_busy_with_a_script_is_waited_for() {
    if skipped() {
        return;
    }
    let server = Server::start(&["lua-time-limit 50"]);
    let mut script = server.client();
    script.send(&["EVAL", "while true do end", "0"]);
    let mut bench = bench(&server);
    named(&mut bench, "BUSY");
    server.client().ask(&["SCRIPT", "KILL"]);
    passes(bench, &server);
}

fn cluster_node() -> Server {
    Server::start(&["cluster-enabled yes", &format!("cluster-port {}", free_port())])
}

/// Gives all slots to a node.
fn own_all(client: &mut Client) {
    let slots: Vec<String> = (0..16_384).map(|slot| slot.to_string()).collect();
    let slots = slots.iter().map(String::as_str);
    let command: Vec<&str> = ["CLUSTER", "ADDSLOTS"].into_iter().chain(slots).collect();
    assert_eq!(client.text(&command), "OK");
    until_said(client, &["CLUSTER", "INFO"], "cluster_state:ok");
}

#[test]
fn a_cluster_is_named_whether_it_is_down_or_well() {
    if skipped() {
        return;
    }
    let server = cluster_node();
    let mut bench = bench(&server);
    named(&mut bench, "CLUSTERDOWN");
    own_all(&mut server.client());
    // Our keys lie in many slots, and one transaction writes to them.
    stays(bench, "CROSSSLOT");
}

#[test]
fn a_node_of_a_cluster_that_sends_us_elsewhere_is_named() {
    if skipped() {
        return;
    }
    let (owner, other) = (cluster_node(), cluster_node());
    let (mut client, mut guest) = (owner.client(), other.client());
    own_all(&mut client);
    let (id, guest_id) = (client.text(&["CLUSTER", "MYID"]), guest.text(&["CLUSTER", "MYID"]));
    let bus = client.text(&["CONFIG", "GET", "cluster-port"]);
    let bus = bus.chars().filter(char::is_ascii_digit).collect::<String>();
    let at = owner.port.to_string();
    guest.ask(&["CLUSTER", "MEET", "127.0.0.1", &at, &bus]);
    until_said(&mut guest, &["CLUSTER", "INFO"], "cluster_state:ok");
    until_said(&mut guest, &["CLUSTER", "NODES"], &id);
    until_said(&mut client, &["CLUSTER", "NODES"], &guest_id);
    stays(self::bench(&other), "MOVED");
    let slot = client.number(&["CLUSTER", "KEYSLOT", STREAM]).to_string();
    assert_eq!(client.text(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &guest_id]), "OK");
    stays(self::bench(&owner), "ASK");
}
