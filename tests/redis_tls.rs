//! Redis over TLS, against a real server: what is believed, what is refused and in which words, and that
//! every limit and the promise of exactly once hold there too.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "peer/mod.rs"]
mod peer;
#[path = "support/redis.rs"]
mod server;
#[path = "support/scratch.rs"]
mod scratch;
#[path = "support/sink.rs"]
mod sink;

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use foreshock::publish::Fate;
use foreshock::publish::redis::{Former, Redis, Settings};
use peer::{Certificate, Papers};
use scratch::Scratch;
use server::{Server, free_port, skipped};
use sink::{Bench, RUN, numbers, times};

/// A server with a certificate, and who vouches for it.
struct Guarded {
    server: Server,
    port: u16,
    folder: Scratch,
}

impl Guarded {
    fn start(certificate: Certificate, more: &[&str]) -> Self {
        let (folder, port) = (Scratch::new("redis-tls"), free_port());
        let Papers { leaf, key, ca_pem } = peer::papers(certificate, "127.0.0.1");
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let mut options = vec![
            format!("tls-port {port}"),
            format!("tls-cert-file {}", file("cert.pem", &leaf.pem())),
            format!("tls-key-file {}", file("key.pem", &key.serialize_pem())),
            format!("tls-ca-cert-file {}", file("ca.pem", &ca_pem)),
            "tls-auth-clients no".to_owned(),
        ];
        options.extend(more.iter().map(|option| (*option).to_owned()));
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        Self { server: Server::start(&options), port, folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn settings(&self) -> Settings {
        let url = format!("rediss://localhost:{}", self.port);
        Settings { url, ca_file: self.file("ca.pem"), ..Settings::default() }
    }
}

/// What is said about a server that is reached so; nothing may be published, nor tried often.
fn words(settings: &Settings) -> String {
    let mut bench = Bench::with(settings, Some("sesame"));
    bench.signals(2);
    bench.until("something is said", |bench| !bench.words().is_empty());
    let said = bench.words();
    let end = Instant::now() + Duration::from_millis(700);
    bench.until("a while passes", |_| Instant::now() > end);
    assert_eq!(bench.sink.status().attempts.load(Ordering::Relaxed), 1, "{said}");
    assert!(!said.contains("sesame"), "{said}");
    assert_eq!(bench.close(), Fate { published: 0, retained: 2, evicted: 0 });
    said
}

#[test]
fn signals_arrive_under_a_name_and_a_password() {
    if skipped() {
        return;
    }
    let guarded = Guarded::start(
        Certificate::Good,
        &["user engine on >sesame ~* &* +@all", "user default off"],
    );
    let url = guarded.settings().url.replace("//", "//engine@");
    let settings = Settings { url: format!("{url}/2"), ..guarded.settings() };
    let mut bench = Bench::with(&settings, Some("sesame"));
    bench.signals(500);
    bench.settle();
    assert_eq!(bench.words(), "");
    let mut client = guarded.server.client();
    client.ask(&["AUTH", "engine", "sesame"]);
    client.ask(&["SELECT", "2"]);
    assert_eq!(numbers(&mut client, RUN), (1..=500).collect::<Vec<_>>());
    let mut stranger = Bench::with(&settings, Some("wrong"));
    stranger.signals(1);
    stranger.until("it is said", |bench| bench.words().contains("refuses this user"));
}

#[test]
fn a_certificate_that_is_not_right_is_refused_in_words_that_help() {
    if skipped() {
        return;
    }
    for (certificate, said) in [
        (Certificate::OtherHost, "tls: certificate is for another host than localhost; use a name"),
        (
            Certificate::Expired,
            "tls: certificate of localhost expired on 2020-02-03, and this machine",
        ),
        (
            Certificate::Future,
            "tls: certificate of localhost begins on 2999-02-03, and this machine",
        ),
        (Certificate::Own, "tls: certificate of localhost"),
    ] {
        let guarded = Guarded::start(certificate, &[]);
        let words = words(&guarded.settings());
        assert!(words.starts_with(said), "{words}");
    }
    let (guarded, other) =
        (Guarded::start(Certificate::Good, &[]), Guarded::start(Certificate::Good, &[]));
    for ca_file in [other.file("ca.pem"), PathBuf::new()] {
        let words = words(&Settings { ca_file, ..guarded.settings() });
        assert!(words.ends_with("is not trusted; name its authority in redis.ca_file"), "{words}");
    }
}

#[test]
fn tls_where_there_is_none_and_none_where_there_is_are_told_apart() {
    if skipped() {
        return;
    }
    let guarded = Guarded::start(Certificate::Good, &[]);
    let url = format!("rediss://localhost:{}", guarded.server.port);
    let mut bench = Bench::with(&Settings { url, ..guarded.settings() }, None);
    bench.signals(1);
    bench.until("it is said", |bench| bench.words().contains("redis:// is without TLS"));
    assert_eq!(bench.close().published, 0);
    let mut bench = Bench::new(&format!("redis://localhost:{}", guarded.port));
    bench.signals(1);
    bench.until("it is said", |bench| bench.words().contains("rediss://"));
    assert_eq!(bench.close().published, 0);
}

#[test]
fn a_server_that_wants_to_know_its_clients_is_shown_a_certificate() {
    if skipped() {
        return;
    }
    let guarded = Guarded::start(Certificate::Good, &["tls-auth-clients yes"]);
    let said = words(&guarded.settings());
    assert!(
        said.ends_with("wants a certificate of ours; set redis.cert_file and redis.key_file"),
        "{said}"
    );
    let [cert_file, key_file] = ["cert.pem", "key.pem"].map(|name| guarded.file(name));
    let settings = Settings { cert_file, key_file: key_file.clone(), ..guarded.settings() };
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = Redis::open(&settings, RUN, None, &Former::default()).err().unwrap();
    assert!(refused.contains("others can read it"), "{refused}");
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600)).unwrap();
    let mut bench = Bench::with(&settings, None);
    bench.signals(3);
    bench.settle();
    assert_eq!(numbers(&mut guarded.server.client(), RUN), [1, 2, 3]);
}

#[test]
fn what_is_set_for_tls_is_used_or_refused() {
    let here = PathBuf::from("/nowhere/x.pem");
    let url = |url: &str| Settings { url: url.to_owned(), ..Settings::default() };
    let plain = Settings { ca_file: here.clone(), ..url("redis://h") };
    assert!(plain.check().unwrap_err().contains("only rediss://"));
    let half = Settings { cert_file: here.clone(), ..url("rediss://h") };
    assert!(half.check().unwrap_err().contains("without the other"));
    let missing = Settings { ca_file: here, ..url("rediss://h") };
    assert_eq!(missing.check(), Ok(()));
    let words = Redis::open(&missing, RUN, None, &Former::default()).err().unwrap();
    assert!(words.starts_with("ca_file: /nowhere/x.pem: "), "{words}");
}

#[test]
fn a_server_killed_again_and_again_loses_and_doubles_nothing_over_tls() {
    if skipped() {
        return;
    }
    let mut guarded =
        Guarded::start(Certificate::Good, &["appendonly yes", "appendfsync everysec"]);
    let mut bench = Bench::with(&guarded.settings(), None);
    let kills = times(10, 100);
    for round in 0..kills {
        for _ in 0..20 {
            bench.signals(10);
            bench.turn();
            std::thread::sleep(Duration::from_micros(500 * (round % 4)));
        }
        guarded.server.kill();
        bench.signals(30);
        std::thread::sleep(Duration::from_millis(5));
        guarded.server.launch();
    }
    bench.settle();
    let all = bench.given;
    assert_eq!(numbers(&mut guarded.server.client(), RUN), (1..=all).collect::<Vec<_>>());
    eprintln!("{kills} kills over TLS, {all} signals: each once and in order");
}

#[test]
fn a_server_that_freezes_delays_nobody_and_gets_everything_once_over_tls() {
    if skipped() {
        return;
    }
    let guarded = Guarded::start(Certificate::Good, &[]);
    let mut bench = Bench::with(&guarded.settings(), None);
    bench.signals(5);
    bench.settle();
    guarded.server.signal("-STOP");
    // More than the kernel's buffers and TLS's own take: both directions stall.
    for _ in 0..40 {
        bench.signals(200);
        bench.turn();
        std::thread::sleep(Duration::from_millis(5));
    }
    bench.until("it is said", |bench| bench.words() == "Redis does not answer in time");
    guarded.server.signal("-CONT");
    bench.settle();
    let all = bench.given;
    assert_eq!(numbers(&mut guarded.server.client(), RUN), (1..=all).collect::<Vec<_>>());
}

#[test]
fn a_handshake_that_stalls_ends_with_the_deadline_of_a_batch() {
    let half_hello = &[0x16, 3, 3, 0, 80, 2][..];
    let drips = |mut tcp: TcpStream| {
        let hello = [&[0x16, 3, 3, 0x40, 0][..], &[2; 4_000]].concat();
        hello.chunks(1).for_each(|byte| {
            peer::send(&mut tcp, byte);
            std::thread::sleep(Duration::from_millis(20));
        });
    };
    let silent = peer::raw_peer(|_, tcp| peer::linger(tcp));
    let half = peer::raw_peer(move |_, mut tcp| {
        peer::send(&mut tcp, half_hello);
        peer::linger(tcp);
    });
    let dripping = peer::raw_peer(move |_, tcp| drips(tcp));
    let mute = peer::peer(Certificate::Good, |_, mut stream| {
        while stream.conn.is_handshaking() && stream.conn.complete_io(&mut stream.sock).is_ok() {}
        peer::linger(stream);
    });
    let folder = Scratch::new("redis-tls");
    let ca_file = folder.path().join("ca.pem");
    fs::write(&ca_file, &mute.ca_pem).unwrap();
    for port in [silent, half, dripping, mute.port] {
        let url = format!("rediss://localhost:{port}");
        let mut bench =
            Bench::with(&Settings { url, ca_file: ca_file.clone(), ..Settings::default() }, None);
        bench.signals(2);
        bench.until("it is said", |bench| bench.words().contains("not answer in time"));
        bench.until("it is tried again", |bench| {
            bench.sink.status().attempts.load(Ordering::Relaxed) >= 3
        });
        assert_eq!(bench.close(), Fate { published: 0, retained: 2, evicted: 0 });
    }
}
