//! `metagov completions` and `metagov man`: what a shell and `man` are told of the
//! command line.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use clap::{Args, Command, ValueEnum};
use clap_complete::Shell;
use clap_mangen::Man;

use super::{Exit, Failure};

/// For which shell.
///
///   metagov completions bash > ~/.local/share/bash-completion/completions/metagov
///   metagov completions zsh  > "${fpath[1]}/_metagov"
///   metagov completions fish > ~/.config/fish/completions/metagov.fish
#[derive(Clone, Args)]
#[command(verbatim_doc_comment)]
pub struct Completions {
    /// The shell.
    #[arg(value_name = "SHELL")]
    shell: Known,
}

#[derive(Clone, Copy, ValueEnum)]
enum Known {
    Bash,
    Zsh,
    Fish,
}

impl Completions {
    /// Writes the script.
    pub fn run(&self, mut command: Command, out: &mut dyn Write) -> Result<(), Failure> {
        let shell = match self.shell {
            Known::Bash => Shell::Bash,
            Known::Zsh => Shell::Zsh,
            Known::Fish => Shell::Fish,
        };
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut command, "metagov", &mut script);
        let written = out.write_all(&script).and_then(|()| out.flush());
        written.map_err(|e| failed(&"standard output", &e))
    }
}

/// Which pages.
#[derive(Clone, Args)]
pub struct Manual {
    /// The verb whose page is printed, such as `events list`. Default: the page of metagov.
    #[arg(value_name = "VERB", conflicts_with = "folder")]
    verb: Vec<String>,

    /// Writes the pages of all verbs into this folder, such as ~/.local/share/man/man1.
    #[arg(long, value_name = "FOLDER", hide_env = true)]
    folder: Option<PathBuf>,
}

impl Manual {
    /// Writes the page, or the folder.
    pub fn run(&self, mut command: Command, out: &mut dyn Write) -> Result<(), Failure> {
        command.set_bin_name("metagov");
        command.build();
        match &self.folder {
            Some(folder) => pages(&command, folder),
            None => {
                let page = page(self.named(&command)?)?;
                let written = out.write_all(&page).and_then(|()| out.flush());
                written.map_err(|e| failed(&"standard output", &e))
            }
        }
    }

    fn named<'a>(&self, command: &'a Command) -> Result<&'a Command, Failure> {
        self.verb.iter().try_fold(command, |above, verb| {
            above.find_subcommand(verb).ok_or_else(|| {
                let above = above.get_bin_name().unwrap_or_default();
                Failure::new(Exit::Refused, format!("{above} has no verb {verb}"))
            })
        })
    }
}

/// Writes the pages of a command and of those below it.
fn pages(command: &Command, folder: &Path) -> Result<(), Failure> {
    fs::create_dir_all(folder).map_err(|e| failed(&folder.display(), &e))?;
    let name = command.get_bin_name().unwrap_or_default().replace(' ', "-");
    let file = folder.join(format!("{name}.1"));
    fs::write(&file, page(command)?).map_err(|e| failed(&file.display(), &e))?;
    let below = command.get_subcommands();
    let mut below = below.filter(|below| below.get_name() != "help");
    below.try_for_each(|below| pages(below, folder))
}

fn page(command: &Command) -> Result<Vec<u8>, Failure> {
    let name = command.get_bin_name().unwrap_or_default().replace(' ', "-");
    let mut page = Vec::new();
    let man = Man::new(command.clone().name(name.clone()));
    man.render(&mut page).map_err(|e| failed(&name, &e))?;
    Ok(page)
}

fn failed(what: &dyn std::fmt::Display, why: &std::io::Error) -> Failure {
    Failure::new(Exit::Other, format!("{what}: {why}"))
}
