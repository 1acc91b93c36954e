//! What a user reads before the first run: help with examples, completions, manual pages.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::io::Write;
use std::process::{Command, Output, Stdio};

fn foreshock(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_foreshock"))
        .args(args)
        // A setting that cannot be read must not keep anybody from the manual.
        .env("FORESHOCK_CONFIG", "/no/such/file.toml")
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn printed(args: &[&str]) -> String {
    let output = foreshock(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Names of the commands, as the help lists them.
fn commands() -> Vec<String> {
    let help = printed(&["help"]);
    let list = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let names = list.lines().filter(|line| !line.starts_with("   "));
    let names = names.map(|line| line.split_whitespace().next().unwrap().to_owned());
    names.filter(|name| name != "help").collect()
}

#[test]
fn every_command_has_an_example_that_begins_with_its_name() {
    let commands = commands();
    assert!(commands.len() >= 15, "{commands:?}");
    for name in &commands {
        let help = printed(&["help", name]);
        let examples = help.split("Example").nth(1).unwrap_or_else(|| panic!("{name}: {help}"));
        assert!(examples.contains(&format!("foreshock {name}")), "{help}");
    }
}

#[test]
fn without_a_command_it_says_what_to_do_next() {
    let text = printed(&[]);
    for next in ["foreshock demo", "foreshock check", "foreshock doctor"] {
        assert!(text.contains(next), "{text}");
    }
}

/// Whether a program takes `text` without a word; a program that is not here takes everything.
fn accepts(program: &str, args: &[&str], text: &str) -> bool {
    let child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        eprintln!("skipped: there is no {program} here");
        return true;
    };
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if !said.is_empty() {
        eprintln!("{program}: {said}");
    }
    output.status.success() && said.is_empty()
}

#[test]
fn completions_are_scripts_that_know_every_command() {
    assert!(!accepts("sh", &["-n"], "if"), "a broken script must be seen to be one");
    for shell in ["bash", "zsh", "fish"] {
        let script = printed(&["completions", shell]);
        for name in commands() {
            assert!(script.contains(&name), "{shell}: no {name}");
        }
        assert!(shell != "bash" || accepts("bash", &["-n"], &script));
    }
}

#[test]
fn manual_pages_are_clean_and_keep_the_lines_of_examples() {
    let mut pages = vec![printed(&["man"])];
    pages.extend(commands().iter().map(|name| printed(&["man", name])));
    for page in &pages {
        assert!(page.contains(".SH NAME") && page.contains(".SH EXAMPLES\n.nf\n"), "{page}");
        assert!(accepts("groff", &["-man", "-ww", "-Tutf8"], page), "{page}");
    }
    let refused = foreshock(&["man", "nonsense"]);
    let stderr = String::from_utf8(refused.stderr).unwrap();
    assert_eq!((refused.status.code(), stderr.lines().count()), (Some(2), 1), "{stderr}");
}
