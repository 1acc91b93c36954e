//! A real Chromium without a window, driven over its DevTools protocol.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use super::http;

/// What a page may take.
const PATIENCE: Duration = Duration::from_secs(40);

/// The browser with one page. It is ended when this is dropped.
pub struct Browser {
    child: Child,
    socket: WebSocket<TcpStream>,
    last: u64,
    /// What the page said on its console, threw, was refused or could not load: words and address.
    pub complaints: Vec<(String, String)>,
    /// Every address that was asked for.
    pub asked: Vec<String>,
}

/// Whether there is a Chromium here; says so if not.
pub fn skipped() -> bool {
    let mut command = Command::new("chromium");
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    let there = command.status().is_ok_and(|status| status.success());
    if !there {
        eprintln!("skipped: no chromium here");
    }
    !there
}

impl Browser {
    /// Starts it with an empty profile in `folder`.
    pub fn start(folder: &Path) -> Self {
        let child = Command::new("chromium")
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
            ])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ])
            .args(["--remote-debugging-port=0", "--window-size=1440,1000"])
            .arg(format!("--user-data-dir={}", folder.display()))
            .arg("about:blank")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let place = debugging(folder);
        let target = until("a page in the browser", || {
            let list: Value = serde_json::from_str(&http::get(place, "/json/list").body).ok()?;
            let pages = list.as_array()?.iter();
            let page = pages.into_iter().find(|target| target["type"] == "page")?;
            Some(page["webSocketDebuggerUrl"].as_str()?.to_owned())
        });
        let stream = TcpStream::connect(place).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (socket, _) = tungstenite::client(target, stream).unwrap();
        let (complaints, asked) = (Vec::new(), Vec::new());
        let mut browser = Self { child, socket, last: 0, complaints, asked };
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser
    }

    /// Calls a method, and takes note of what happens meanwhile.
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let id = self.last;
        let request = json!({ "id": id, "method": method, "params": params }).to_string();
        self.socket.send(Message::text(request)).unwrap();
        loop {
            let message = self.socket.read().unwrap();
            let Ok(text) = message.to_text() else { continue };
            let Ok(mut heard) = serde_json::from_str::<Value>(text) else { continue };
            if heard["id"] == id {
                assert!(heard["error"].is_null(), "{method}: {heard}");
                return heard["result"].take();
            }
            self.note(&heard);
        }
    }

    fn note(&mut self, heard: &Value) {
        let params = &heard["params"];
        match heard["method"].as_str() {
            Some("Network.requestWillBeSent") => {
                self.asked.push(params["request"]["url"].as_str().unwrap().to_owned());
            }
            Some("Runtime.consoleAPICalled" | "Runtime.exceptionThrown") => {
                self.complaints.push((params.to_string(), String::new()));
            }
            Some("Log.entryAdded") => {
                let entry = &params["entry"];
                let url = entry["url"].as_str().unwrap_or_default().to_owned();
                self.complaints.push((entry["text"].as_str().unwrap_or_default().to_owned(), url));
            }
            _ => {}
        }
    }

    /// Opens an address.
    pub fn open(&mut self, url: &str) {
        self.call("Page.navigate", json!({ "url": url }));
    }

    /// What an expression comes to on the page.
    pub fn value(&mut self, expression: &str) -> Value {
        let params = json!({ "expression": expression, "returnByValue": true });
        let mut result = self.call("Runtime.evaluate", params);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {result}");
        result["result"]["value"].take()
    }

    /// Waits until an expression is true on the page.
    pub fn until(&mut self, what: &str) {
        let began = Instant::now();
        while self.value(what) != true {
            let text = self.value("document.body ? document.body.innerText.slice(0, 3000) : ''");
            assert!(began.elapsed() < PATIENCE, "never: {what}\n{}", text.as_str().unwrap_or(""));
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where it can be driven.
fn debugging(folder: &Path) -> SocketAddr {
    until("a browser", || {
        let text = std::fs::read_to_string(folder.join("DevToolsActivePort")).ok()?;
        let port: u16 = text.lines().next()?.parse().ok()?;
        Some(SocketAddr::from(([127, 0, 0, 1], port)))
    })
}

/// Waits for something.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "{what} never came");
        std::thread::sleep(Duration::from_millis(50));
    }
}
