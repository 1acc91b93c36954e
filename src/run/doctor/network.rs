//! The card and the sockets: how a packet comes from the wire to the reader.
//!
//! The card is the one with the default route. `ethtool` is asked for what only the driver knows.

use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::check::{Check, Finding, Level, Scope};
use super::host::{Cannot, Look, field};
use super::running;
use crate::ingest::wire::Pipe;

/// From the wire to the socket.
pub const CHECKS: &[Check] = &[
    Check {
        name: "nic-coalescing",
        level: Level::Warn,
        scope: Scope::Kernel,
        why: "A card that gathers packets before it interrupts adds that time to every message.",
        ask: coalescing,
    },
    Check {
        name: "nic-drops",
        level: Level::Warn,
        scope: Scope::Kernel,
        why: "A packet that the card or the cloud's shaper dropped comes again after a retransmit: \
              tens of milliseconds late.",
        ask: drops,
    },
    Check {
        name: "steering",
        level: Level::Info,
        scope: Scope::Kernel,
        why: "Which core a packet is worked on decides whose cache it is in.",
        ask: steering,
    },
    Check {
        name: "busy-poll",
        level: Level::Info,
        scope: Scope::Kernel,
        why: "Asking the card instead of waiting for its interrupt saves microseconds a message, \
              where the driver can.",
        ask: busy_poll,
    },
    Check {
        name: "socket-options",
        level: Level::Warn,
        scope: Scope::Own,
        why: "A kernel that takes an option and ignores it leaves a dead connection unnoticed.",
        ask: socket_options,
    },
    Check {
        name: "tcp-settings",
        level: Level::Warn,
        scope: Scope::Kernel,
        why: "A window that shrinks when a feed was quiet, or is too small for a burst, spreads the \
              burst over round trips.",
        ask: tcp,
    },
    Check {
        name: "path",
        level: Level::Info,
        scope: Scope::Own,
        why: "Round trip and retransmits of each venue's connection are a bound for what tuning here \
              can gain.",
        ask: path,
    },
    Check {
        name: "timestamping",
        level: Level::Warn,
        scope: Scope::Kernel,
        why: "Without receive stamps the time a packet waited in the kernel is in nobody's books.",
        ask: timestamping,
    },
];

/// What the card may gather, us; the smallest receive window, bytes: 100 ms at 80 Mbit/s.
const GATHER_MAX_US: u64 = 20;
const WINDOW_LEAST: u64 = 1 << 20;

/// The card with the default route.
///
/// # Errors
/// When there is none, or its name is not one that is safe in a command.
pub fn card(look: &Look) -> Result<String, Cannot> {
    let routes = look.text("/proc/net/route")?;
    let default = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let name = words.next()?;
        (words.next()? == "00000000").then(|| name.to_owned())
    };
    let safe = |name: &String| {
        name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
            && !name.starts_with(['-', '.'])
    };
    let name = routes.lines().skip(1).find_map(default).filter(safe);
    name.ok_or_else(|| Cannot::Read("/proc/net/route: no default route".to_owned()))
}

fn coalescing(look: &Look) -> Result<Finding, Cannot> {
    let card = card(look)?;
    let text = look.answer(&["ethtool", "-c", &card])?;
    let adaptive = field(&text, "Adaptive RX").is_some_and(|value| value.starts_with("on"));
    let gathers = field(&text, "rx-usecs").and_then(|value| value.parse::<u64>().ok());
    if !adaptive && gathers.is_none() {
        return Ok(Finding::told(format!("the driver of {card} has no such setting")));
    }
    let gathers = gathers.unwrap_or(0);
    let found =
        format!("{card}: adaptive {}, rx-usecs {gathers}", if adaptive { "on" } else { "off" });
    if !adaptive && gathers <= GATHER_MAX_US {
        return Ok(Finding::good(found));
    }
    Ok(Finding::short(found, [format!("ethtool -C {card} adaptive-rx off rx-usecs 0")]))
}

fn drops(look: &Look) -> Result<Finding, Cannot> {
    let card = card(look)?;
    let mut lost = Vec::new();
    let mut fix = Vec::new();
    for name in ["rx_dropped", "rx_missed_errors"] {
        let n = look.number(&format!("/sys/class/net/{card}/statistics/{name}"))?;
        if n > 0 {
            lost.push(format!("{card}: {name} {n}"));
            fix = vec![format!(
                "ethtool -G {card} rx 4096 # or as many as `ethtool -g {card}` allows"
            )];
        }
    }
    // What the cloud held back, where its driver counts it.
    let counted = look.answer(&["ethtool", "-S", &card]);
    if let Ok(text) = &counted {
        let shaped = text.lines().filter_map(|line| line.trim().split_once(": "));
        for (name, n) in
            shaped.filter(|(name, n)| name.ends_with("_allowance_exceeded") && *n != "0")
        {
            lost.push(format!("{card}: {name} {n}"));
            fix.push("# the instance's own allowance is used up: take a larger one".to_owned());
        }
    }
    fix.dedup();
    let unknown = match counted {
        Ok(_) => "",
        Err(_) => "; what its driver and the cloud's shaper count is unknown (no `ethtool -S`)",
    };
    Ok(Finding::of(&lost, format!("{card} has dropped nothing since boot{unknown}"), fix))
}

fn steering(look: &Look) -> Result<Finding, Cannot> {
    let card = card(look)?;
    let queues = look.each(&format!("/sys/class/net/{card}/queues/rx-*/rps_cpus"));
    if queues.is_empty() {
        return Err(Cannot::Read(format!("/sys/class/net/{card}/queues: no receive queues")));
    }
    let flows = look.number("/proc/sys/net/core/rps_sock_flow_entries").unwrap_or(0);
    let steered =
        queues.iter().filter(|(_, mask)| mask.contains(|c: char| c != '0' && c != ',')).count();
    let irqs = look.each(&format!("/sys/class/net/{card}/device/msi_irqs/*"));
    let cores: Vec<String> = irqs
        .iter()
        .filter_map(|(path, _)| path.rsplit('/').next())
        .filter_map(|irq| look.text(&format!("/proc/irq/{irq}/effective_affinity_list")).ok())
        .collect();
    let cores = if cores.is_empty() { "unknown".to_owned() } else { cores.join(" ") };
    Ok(Finding::told(format!(
        "{card}: {} receive queues, {steered} steered by RPS, {flows} RFS entries, interrupts on cores {cores}",
        queues.len()
    )))
}

fn busy_poll(look: &Look) -> Result<Finding, Cannot> {
    let read = look.number("/proc/sys/net/core/busy_read")?;
    let poll = look.number("/proc/sys/net/core/busy_poll")?;
    let card = card(look)?;
    let of_card = |name| {
        let n = look.number(&format!("/sys/class/net/{card}/{name}"));
        n.map_or("unknown".to_owned(), |n| n.to_string())
    };
    Ok(Finding::told(format!(
        "busy_read {read}, busy_poll {poll}; {card}: napi_defer_hard_irqs {}, gro_flush_timeout {}",
        of_card("napi_defer_hard_irqs"),
        of_card("gro_flush_timeout")
    )))
}

/// Opens a connection to ourselves the way venues are dialled, and asks what the kernel made of it.
fn socket_options(look: &Look) -> Result<Finding, Cannot> {
    look.note("getsockopt on a connection to ourselves");
    let wrong = kept().map_err(|e| Cannot::Read(format!("loopback connection: {e}")))?;
    let mut idle = Vec::new();
    for &pid in &look.scene.runs {
        idle.extend(without_keepalive(look, pid)?);
    }
    let fix = vec![
        "# the kernel or sandbox ignores socket options: run it on a plain Linux kernel".to_owned(),
    ];
    let wrong: Vec<String> = wrong.into_iter().chain(idle).collect();
    Ok(Finding::of(&wrong, "nodelay, keepalive 10 s, user timeout 4 s as asked", fix))
}

fn kept() -> std::io::Result<Vec<String>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let tcp = TcpStream::connect(listener.local_addr()?)?;
    let twin = tcp.try_clone()?;
    drop(Pipe::new(tcp, Instant::now())?);
    let socket = SockRef::from(&twin);
    let mut wrong = Vec::new();
    let mut expect = |name: &str, is: String, should: &str| {
        if is != should {
            wrong.push(format!("{name} is {is}, not {should}"));
        }
    };
    expect("TCP_NODELAY", socket.tcp_nodelay()?.to_string(), "true");
    expect("SO_KEEPALIVE", socket.keepalive()?.to_string(), "true");
    expect("TCP_KEEPIDLE", format!("{:?}", socket.tcp_keepalive_time()?), "10s");
    let timeout = socket.tcp_user_timeout()?;
    expect("TCP_USER_TIMEOUT", format!("{:?}", timeout.unwrap_or(Duration::ZERO)), "4s");
    Ok(wrong)
}

/// Connections of a run to other machines that have neither a keepalive timer nor another one running.
fn without_keepalive(look: &Look, pid: u32) -> Result<Vec<String>, Cannot> {
    let mut bare = Vec::new();
    for table in ["tcp", "tcp6"] {
        let text = look.text(&format!("/proc/{pid}/net/{table}"));
        // There is no second table where the kernel has no IPv6.
        let text = if table == "tcp" { text? } else { text.unwrap_or_default() };
        let own = sockets(look, pid);
        if own.is_empty() {
            return Err(Cannot::Read(format!("/proc/{pid}/fd: no socket seen")));
        }
        for line in text.lines().skip(1) {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let (Some(peer), Some(&state), Some(timer), Some(inode)) =
                (words.get(2), words.get(3), words.get(5), words.get(9))
            else {
                continue;
            };
            let far = !peer.starts_with("0100007F") && state == "01";
            if far && timer.starts_with("00:") && own.iter().any(|known| known == inode) {
                bare.push(format!("run {pid}: a connection to {peer} has no keepalive"));
            }
        }
    }
    Ok(bare)
}

/// Inodes of a process's sockets.
fn sockets(look: &Look, pid: u32) -> Vec<String> {
    look.scene.host.links(&format!("/proc/{pid}/fd/*"), "socket:[", "]")
}

fn tcp(look: &Look) -> Result<Finding, Cannot> {
    let of = |name: &str| look.text(&format!("/proc/sys/net/ipv4/{name}"));
    let window = of("tcp_rmem")?;
    let largest = window.split_ascii_whitespace().nth(2).and_then(|word| word.parse::<u64>().ok());
    let mut wrong = Vec::new();
    let mut fix = Vec::new();
    if largest.is_none_or(|bytes| bytes < WINDOW_LEAST) {
        wrong.push(format!("tcp_rmem is {window}"));
        fix.push("sysctl -w net.ipv4.tcp_rmem='4096 131072 6291456'".to_owned());
    }
    for (name, should) in
        [("tcp_slow_start_after_idle", "0"), ("tcp_sack", "1"), ("tcp_timestamps", "1")]
    {
        let is = of(name)?;
        if is != should {
            wrong.push(format!("{name} is {is}"));
            fix.push(format!("sysctl -w net.ipv4.{name}={should}"));
        }
    }
    let probing = of("tcp_mtu_probing").unwrap_or_else(|_| "unknown".to_owned());
    Ok(Finding::of(
        &wrong,
        format!("window up to {} KiB, mtu probing {probing}", largest.unwrap_or(0) >> 10),
        fix,
    ))
}

fn path(look: &Look) -> Result<Finding, Cannot> {
    running::needed(look)?;
    let text = look.answer(&["ss", "-tinpH", "state", "established"])?;
    let mut paths = Vec::new();
    let lines: Vec<&str> = text.lines().collect();
    for pair in lines.windows(2) {
        let [head, tail] = pair else { continue };
        let own = look.scene.runs.iter().any(|pid| head.contains(&format!("pid={pid},")));
        let peer = head.split_ascii_whitespace().nth(3);
        let (true, Some(peer)) = (own, peer) else { continue };
        let of = |key: &str| tail.split_ascii_whitespace().find_map(|word| word.strip_prefix(key));
        let retrans = of("retrans:").unwrap_or("0/0");
        paths.push(format!("{peer}: rtt {} ms, retrans {retrans}", of("rtt:").unwrap_or("?")));
    }
    if paths.is_empty() {
        return Err(Cannot::Read("`ss`: shows no connection of the run".to_owned()));
    }
    Ok(Finding::told(paths.join("; ")))
}

fn timestamping(look: &Look) -> Result<Finding, Cannot> {
    let card = card(look)?;
    let text = look.answer(&["ethtool", "-T", &card])?;
    let has = |word: &str| text.contains(word);
    if has("hardware-receive") {
        return Ok(Finding::good(format!(
            "{card} stamps in hardware; foreshock does not use it yet"
        )));
    }
    if has("software-receive") {
        return Ok(Finding::good(format!(
            "the kernel stamps for {card}; foreshock does not use it yet"
        )));
    }
    let fix = format!(
        "# {card}'s driver gives no receive stamps: take an instance type with ENA, or a card with a PHC"
    );
    Ok(Finding::short(format!("{card} gives no receive stamps: times are from user space"), [fix]))
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::super::fake::{Fake, missing, three_ways};
    use super::*;

    const ROUTE: (&str, &str) =
        ("/proc/net/route", "Iface\tDestination\nlo\t0000007F\neth0\t00000000\n");

    fn fake() -> Fake {
        Fake::new().files(&[ROUTE])
    }

    #[test]
    fn a_name_that_a_shell_would_obey_is_no_card() {
        let scene = fake().scene();
        assert_eq!(card(&Look::at(&scene)), Ok("eth0".to_owned()));
        let scene = Fake::new().file("/proc/net/route", "h\n$(id)\t00000000\n").scene();
        assert!(card(&Look::at(&scene)).is_err());
    }

    #[test]
    fn a_card_that_gathers_is_told_not_to() {
        let command = "/commands/ethtool -c eth0";
        let text = |adaptive, us| {
            format!(
                "Coalesce parameters for eth0:\nAdaptive RX: {adaptive}  TX: n/a\nrx-usecs:\t{us}\n"
            )
        };
        three_ways(
            CHECKS,
            "nic-coalescing",
            &[ROUTE, (command, &text("off", 0))],
            &[ROUTE, (command, &text("on", 0))],
        );
        three_ways(
            CHECKS,
            "nic-coalescing",
            &[ROUTE, (command, &text("off", 20))],
            &[ROUTE, (command, &text("off", 64))],
        );
        let silent =
            fake().file(command, "Adaptive RX: n/a\nrx-usecs: n/a").check(CHECKS, "nic-coalescing");
        assert_eq!(silent.verdict, Verdict::Info);
        assert_eq!(fake().check(CHECKS, "nic-coalescing").verdict, Verdict::Unread, "no ethtool");
    }

    #[test]
    fn what_the_card_or_the_cloud_dropped_is_named() {
        let of = |name: &str| format!("/sys/class/net/eth0/statistics/{name}");
        let (dropped, missed) = (of("rx_dropped"), of("rx_missed_errors"));
        let good = [ROUTE, (dropped.as_str(), "0"), (missed.as_str(), "0")];
        three_ways(CHECKS, "nic-drops", &good, &[ROUTE, (&dropped, "0"), (&missed, "4")]);
        let shaped =
            "NIC statistics:\n     bw_in_allowance_exceeded: 0\n     pps_allowance_exceeded: 7\n";
        let row = fake()
            .files(&good)
            .file("/commands/ethtool -S eth0", shaped)
            .check(CHECKS, "nic-drops");
        assert_eq!(
            (row.verdict, row.found.as_str()),
            (Verdict::Warn, "eth0: pps_allowance_exceeded 7")
        );
    }

    #[test]
    fn steering_and_busy_polling_are_told() {
        let queue = |n| format!("/sys/class/net/eth0/queues/rx-{n}/rps_cpus");
        let steered = fake().file(&queue(0), "00,0000000f").file(&queue(1), "00,00000000");
        let row = steered.check(CHECKS, "steering");
        assert!(
            row.verdict == Verdict::Info && row.found.contains("2 receive queues, 1 steered"),
            "{row:?}"
        );
        missing(CHECKS, "steering");
        let poll = fake()
            .file("/proc/sys/net/core/busy_read", "50")
            .file("/proc/sys/net/core/busy_poll", "0");
        assert!(
            poll.check(CHECKS, "busy-poll").found.starts_with("busy_read 50, busy_poll 0; eth0")
        );
        missing(CHECKS, "busy-poll");
    }

    #[test]
    fn options_are_what_was_asked_for_and_a_run_without_keepalive_is_found() {
        let alone = Fake::new().check(CHECKS, "socket-options");
        assert_eq!(alone.verdict, Verdict::Pass, "{alone:?}");
        let table = |timer| {
            format!("head\n 0: 0A0200C0:D431 08080808:01BB 01 0:0 {timer}:0 0 0 0 4711 1\n")
        };
        let run = |timer| {
            let fake = Fake::new().run(7).file("/proc/7/net/tcp", &table(timer));
            fake.link("/proc/7/fd/9", "socket:[4711]").check(CHECKS, "socket-options")
        };
        assert_eq!(run("02").verdict, Verdict::Pass);
        let bare = run("00");
        assert!(bare.verdict == Verdict::Warn && bare.found.contains("no keepalive"), "{bare:?}");
        assert_eq!(Fake::new().run(7).check(CHECKS, "socket-options").verdict, Verdict::Unread);
        let hidden = Fake::new().run(7).file("/proc/7/net/tcp", &table("00"));
        assert_eq!(hidden.check(CHECKS, "socket-options").verdict, Verdict::Unread);
    }

    #[test]
    fn tcp_keeps_its_window() {
        let files = |rmem, idle| {
            [
                ("/proc/sys/net/ipv4/tcp_rmem", rmem),
                ("/proc/sys/net/ipv4/tcp_slow_start_after_idle", idle),
                ("/proc/sys/net/ipv4/tcp_sack", "1"),
                ("/proc/sys/net/ipv4/tcp_timestamps", "1"),
            ]
        };
        let good = files("4096\t131072\t6291456", "0");
        three_ways(CHECKS, "tcp-settings", &good, &files("4096 131072 6291456", "1"));
        three_ways(CHECKS, "tcp-settings", &good, &files("4096 8192 65536", "0"));
    }

    #[test]
    fn the_path_of_each_connection_of_a_run_is_told() {
        let text = "0 0 10.0.0.1:5 8.8.8.8:443 users:((\"foreshock\",pid=7,fd=9))\n\t cubic rtt:1.5/0.2 retrans:0/3\n\
                    0 0 10.0.0.1:6 9.9.9.9:443 users:((\"x\",pid=77,fd=9))\n\t cubic rtt:9/9\n";
        let fake = || Fake::new().run(7).file("/proc/7/task/8/comm", "engine");
        let row = fake().file("/commands/ss -tinpH state established", text).check(CHECKS, "path");
        assert_eq!(row.found, "8.8.8.8:443: rtt 1.5/0.2 ms, retrans 0/3");
        assert_eq!(fake().check(CHECKS, "path").verdict, Verdict::Unread);
        assert_eq!(Fake::new().check(CHECKS, "path").verdict, Verdict::Skip);
    }

    #[test]
    fn stamps_are_the_cards_or_the_kernels() {
        let command = "/commands/ethtool -T eth0";
        let good = [ROUTE, (command, "Capabilities:\n\tsoftware-receive (SOF...)")];
        three_ways(
            CHECKS,
            "timestamping",
            &good,
            &[ROUTE, (command, "Capabilities:\n\tsoftware-transmit")],
        );
    }
}
