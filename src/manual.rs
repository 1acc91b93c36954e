//! What others print from the same source as `--help`: shell completions and manual pages.

use std::io;

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

/// A script that completes the command line in a shell.
pub fn completions(mut cli: Command, shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut cli, "foreshock", &mut script);
    script
}

/// The manual page of the program, or of one of its commands.
///
/// # Errors
/// Names the command when there is none such.
pub fn page(mut cli: Command, name: Option<&str>) -> Result<Vec<u8>, String> {
    cli.build();
    let command = match name {
        None => cli,
        Some(name) => match cli.find_subcommand(name) {
            Some(found) => found.clone(),
            None => return Err(format!("no command {name:?}; `foreshock help` lists them")),
        },
    };
    roff(command).map_err(|e| e.to_string())
}

fn roff(command: Command) -> io::Result<Vec<u8>> {
    let has_commands = command.get_subcommands().next().is_some();
    let has_examples = command.get_after_help().is_some();
    let man = Man::new(command);
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if has_commands {
        man.render_subcommands_section(&mut page)?;
    }
    if has_examples {
        let mut examples = Vec::new();
        man.render_extra_section(&mut examples)?;
        // Examples are lines, not prose to be filled.
        let text = String::from_utf8_lossy(&examples);
        page.extend(text.replacen(".SH EXTRA\n", ".SH EXAMPLES\n.nf\n", 1).bytes());
        page.extend(b"\n.fi\n");
    }
    Ok(page)
}
