//! Two networks of their own, and a road between them with any weather ([`weather.py`] is the road: a
//! kernel without netem needs one). Needs root, `ip` and `python3`.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// The address of the end where venues are.
pub const THERE: &str = "10.77.0.2";

/// Delay each way and how much more or less, ms; loss, percent; kbit/s or 0.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    pub delay_ms: u32,
    pub jitter_ms: u32,
    pub loss: u32,
    pub kbit: u32,
}

/// The networks; they are gone when this is dropped.
pub struct Road {
    pub here: String,
    pub there: String,
    between: String,
    road: Option<Child>,
}

fn script() -> String {
    format!("{}/tests/support/weather.py", env!("CARGO_MANIFEST_DIR"))
}

fn run(command: &str) -> Result<(), String> {
    let mut words = command.split(' ');
    let done = Command::new(words.next().unwrap()).args(words).output();
    let done = done.map_err(|e| format!("{command}: {e}"))?;
    let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
    if done.status.success() { Ok(()) } else { Err(format!("{command}: {said}")) }
}

impl Road {
    /// # Errors
    /// Says what this machine does not allow.
    pub fn open(weather: Weather) -> Result<Self, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = |end: &str| format!("fsk-{}-{n}-{end}", std::process::id());
        let (here, there, between) = (name("here"), name("there"), name("between"));
        let mut road = Self { here, there, between, road: None };
        road.build()?;
        road.pave(weather)?;
        Ok(road)
    }

    fn build(&self) -> Result<(), String> {
        let Self { here, there, between, .. } = self;
        for net in [here, there, between] {
            run(&format!("ip netns add {net}"))?;
            run(&format!("ip -n {net} link set lo up"))?;
        }
        for (net, inner, outer, address) in
            [(here, "v0", "m0", "10.77.0.1"), (there, "v1", "m1", THERE)]
        {
            run(&format!(
                "ip link add {inner} netns {net} type veth peer name {outer} netns {between}"
            ))?;
            run(&format!("ip -n {net} addr add {address}/24 dev {inner}"))?;
            run(&format!("ip -n {net} link set {inner} up"))?;
            run(&format!("ip -n {between} link set {outer} promisc on up"))?;
            run(&format!("ip netns exec {net} python3 {} plain {inner}", script()))?;
        }
        Ok(())
    }

    /// From here on every packet vanishes.
    pub fn cut(&mut self) {
        if let Some(mut road) = self.road.take() {
            drop(road.kill());
            drop(road.wait());
        }
    }

    /// Opens the road that was cut.
    ///
    /// # Errors
    /// When it does not open.
    pub fn pave(&mut self, weather: Weather) -> Result<(), String> {
        let Weather { delay_ms, jitter_ms, loss, kbit } = weather;
        let numbers = [delay_ms, jitter_ms, loss, kbit, 7].map(|n| n.to_string());
        let mut road = Command::new("ip")
            .args(["netns", "exec", &self.between, "python3", &script(), "road", "m0", "m1"])
            .args(numbers)
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("python3: {e}"))?;
        let mut said = String::new();
        let heard = road.stdout.take().map(|out| BufReader::new(out).read_line(&mut said));
        self.road = Some(road);
        match (heard, said.trim()) {
            (Some(Ok(_)), "open") => Ok(()),
            other => Err(format!("the road did not open: {other:?}")),
        }
    }

    /// The command that runs another in a network.
    pub fn in_net(net: &str) -> [&str; 4] {
        ["ip", "netns", "exec", net]
    }
}

impl Drop for Road {
    fn drop(&mut self) {
        self.cut();
        for net in [&self.here, &self.there, &self.between] {
            drop(run(&format!("ip netns del {net}")));
        }
    }
}
