//! The command line of `metagov`: `serve`, `migrate`, `rekey`, `backup` and `restore`, and
//! the verbs that are clients.
//!
//! Exit codes: see [`metagov::cli`].

mod log;

use std::{
    env,
    future::Future,
    io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use metagov::{
    StartError,
    cli::{Completions, Exit, Failure, Manual, Verbs},
    config::{self, Config, Operator},
    plugins,
    traces::Traces,
};
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};

/// The Metagov gateway: one gRPC API over the tools communities govern themselves with.
#[derive(Parser)]
#[command(name = "metagov", version)]
struct Line {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Serves the gateway until SIGTERM or SIGINT.
    #[command(after_help = config::SYNTAX)]
    Serve(Box<Config>),
    /// Brings the database up to date, and ends. `serve` does that too.
    #[command(after_help = config::SYNTAX)]
    Migrate(Box<Config>),
    /// Encrypts all that is secret anew with another master key, while no gateway runs.
    ///
    /// Without `--new-master-key-file` a new key is made in `--data-dir`; the old one stays
    /// there under another name.
    #[command(after_help = config::SYNTAX)]
    Rekey {
        /// The file with the new key, 64 hex digits. Default: a new one in `--data-dir`.
        #[arg(long, value_name = "FILE")]
        new_master_key_file: Option<PathBuf>,
        #[command(flatten)]
        config: Box<Config>,
    },
    /// Writes all that the database holds into one file, also while a gateway serves it.
    ///
    /// The file holds personal data, and secrets only encrypted: what opens them, the
    /// master key, is not in it. Keep a copy of that key elsewhere.
    #[command(after_help = config::SYNTAX)]
    Backup {
        /// The file, `-` for the standard output.
        file: PathBuf,
        /// Replaces a file that is there already.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        config: Box<Config>,
    },
    /// Fills a new database from a backup, while no gateway runs; of whichever kind.
    ///
    /// Needs the master key of the gateway that was backed up. The feed gets a new id:
    /// cursors of before are refused as foreign.
    #[command(after_help = config::SYNTAX)]
    Restore {
        /// The file, `-` for the standard input.
        file: PathBuf,
        #[command(flatten)]
        config: Box<Config>,
    },
    #[command(flatten)]
    Client(Box<Verbs>),
    /// Prints what a shell needs to complete this command line.
    Completions(Completions),
    /// Prints the manual page, or writes the pages of all verbs into a folder.
    #[command(name = "man")]
    Manual(Manual),
    /// Prints the version.
    Version,
}

fn main() -> ExitCode {
    match begin() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(failure.exit as u8)
        }
    }
}

fn begin() -> Result<(), Failure> {
    let plugins = plugins::all();
    let schemas = plugins
        .iter()
        .map(|plugin| (plugin.descriptor.name.as_str(), &plugin.operator.document));
    let operator = Operator::of(schemas).map_err(other)?;
    let command = Line::command().mut_subcommand("serve", |serve| operator.add_to(serve));
    let command = config::with_variables(command);
    let matches = command.clone().try_get_matches();
    let matches = matches.unwrap_or_else(|error| misused(&error));
    let line = Line::from_arg_matches(&matches).unwrap_or_else(|error| misused(&error));
    match line.verb {
        Verb::Serve(mut config) => {
            if let Some(serve) = matches.subcommand_matches("serve") {
                config.operator = operator.given(serve);
            }
            let runtime = runtime(Builder::new_multi_thread())?;
            let traces = traces(&config, &runtime)?;
            log::start_with(&config, traces.as_ref()).map_err(other)?;
            warn_of_unknown_variables(&command);
            finish(runtime, async {
                let served = serve(*config, plugins).await;
                if let Some(traces) = traces {
                    // It waits without being asynchronous.
                    _ = tokio::task::spawn_blocking(|| traces.end()).await;
                }
                served
            })
        }
        Verb::Migrate(config) => {
            log::start(&config).map_err(other)?;
            finish(runtime(Builder::new_current_thread())?, migrate(&config))
        }
        Verb::Rekey {
            new_master_key_file,
            config,
        } => {
            log::start(&config).map_err(other)?;
            let rekey = rekey(&config, new_master_key_file.as_deref());
            finish(runtime(Builder::new_current_thread())?, rekey)
        }
        Verb::Backup {
            file,
            force,
            config,
        } => {
            log::start(&config).map_err(other)?;
            let backup = backup(&config, &file, force);
            finish(runtime(Builder::new_current_thread())?, backup)
        }
        Verb::Restore { file, config } => {
            log::start(&config).map_err(other)?;
            let restore = restore(&config, &file);
            finish(runtime(Builder::new_current_thread())?, restore)
        }
        Verb::Client(verbs) => call(verbs.run(&mut io::stdout())),
        Verb::Completions(completions) => completions.run(command, &mut io::stdout()),
        Verb::Manual(manual) => manual.run(command, &mut io::stdout()),
        Verb::Version => {
            println!("metagov {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
    }
}

/// Ends with what is wrong with the command line, and code 2; or with the help.
fn misused(error: &clap::Error) -> ! {
    match config::explain(error) {
        Some(line) => {
            eprintln!("error: {line}");
            std::process::exit(2)
        }
        None => error.exit(),
    }
}

fn warn_of_unknown_variables(command: &clap::Command) {
    let names = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for unknown in config::unknown_variables(command, names) {
        let (variable, nearest) = (unknown.name, unknown.nearest);
        tracing::warn!("{variable} is no setting; did you mean {nearest}?");
    }
}

/// The way to the collector, if there is one.
fn traces(config: &Config, runtime: &Runtime) -> Result<Option<Traces>, Failure> {
    let Some(endpoint) = &config.otlp_endpoint else {
        return Ok(None);
    };
    // Only the first call counts: https needs it, and what comes later takes the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let _inside = runtime.enter();
    let traces = Traces::to(endpoint.as_str());
    let failed = |why| other(format!("--otlp-endpoint (METAGOV_OTLP_ENDPOINT): {why}"));
    traces.map(Some).map_err(failed)
}

fn runtime(mut builder: Builder) -> Result<Runtime, Failure> {
    builder.enable_all().build().map_err(other)
}

/// Runs a verb that is a client.
fn call(verb: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    finish(runtime(Builder::new_current_thread())?, verb)
}

fn finish<T>(
    runtime: Runtime,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let done = runtime.block_on(work);
    // A look-up of a name that hangs in a thread must not hold the process.
    runtime.shutdown_background();
    done
}

async fn serve(config: Config, plugins: Vec<plugins::kit::Plugin>) -> Result<(), Failure> {
    // Only the first call counts, and there is no other.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let stopped = stop_signal().map_err(other)?;
    outlive_hangups().map_err(other)?;
    let mut running = metagov::run(config, plugins).await.map_err(failed)?;
    tracing::info!(api = %running.api, public = %running.public, "serving");
    tokio::select! {
        () = running.ended() => Err(other("the gateway ended by itself; its log says why")),
        signal = stopped => {
            tracing::info!(signal = signal.unwrap_or("none"), "draining");
            running.stop().await.map_err(failed)?;
            tracing::info!("stopped");
            Ok(())
        }
    }
}

/// Comes when the process is asked to stop. Asked a second time, it stops at once.
fn stop_signal() -> io::Result<oneshot::Receiver<&'static str>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (tell, told) = oneshot::channel();
    tokio::spawn(async move {
        let first = either(&mut terminate, &mut interrupt).await;
        // If nobody listens any more the process is ending already.
        let _ = tell.send(first);
        let second = either(&mut terminate, &mut interrupt).await;
        eprintln!("error: a second signal ({second}); stopped at once");
        std::process::exit(1)
    });
    Ok(told)
}

/// At SIGHUP the certificates are read again, by who uses them. It ends no process, neither
/// one without certificates nor one that still starts: a reload is never a restart.
fn outlive_hangups() -> io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            tracing::info!("SIGHUP: certificates, if there are any, are read again");
        }
    });
    Ok(())
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

async fn migrate(config: &Config) -> Result<(), Failure> {
    let applied = metagov::migrate(config).await.map_err(failed)?;
    for name in &applied {
        println!("applied {name}");
    }
    if applied.is_empty() {
        println!("nothing to do");
    }
    Ok(())
}

async fn rekey(config: &Config, file: Option<&Path>) -> Result<(), Failure> {
    let done = metagov::rekey(config, file).await.map_err(failed)?;
    println!("{done}");
    Ok(())
}

async fn backup(config: &Config, file: &Path, force: bool) -> Result<(), Failure> {
    let done = metagov::backup(config, file, force, &mut progress()).await;
    let done = done.map_err(failed)?;
    // The standard output may be the backup itself.
    eprintln!("{done}");
    Ok(())
}

async fn restore(config: &Config, file: &Path) -> Result<(), Failure> {
    let done = metagov::restore(config, file, &mut progress()).await;
    println!("{}", done.map_err(failed)?);
    Ok(())
}

/// On a terminal, one line that shows how far it is, and is gone in the end.
fn progress() -> impl FnMut(&str, u64) {
    let style = ProgressStyle::with_template("{spinner} {msg} {human_pos} rows, {elapsed}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
    let shown = ProgressBar::new_spinner().with_style(style);
    let shown = shown.with_finish(ProgressFinish::AndClear);
    move |table, rows| {
        shown.set_message(table.to_owned());
        shown.set_position(rows);
    }
}

fn failed(error: StartError) -> Failure {
    other(error)
}

fn other(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Other, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Also finds flags that two plugins, or a plugin and the gateway, both claim.
    #[test]
    fn the_command_line_is_sound() {
        let plugins = plugins::all();
        let schemas = plugins
            .iter()
            .map(|p| (p.descriptor.name.as_str(), &p.operator.document));
        let operator = Operator::of(schemas).unwrap();
        let command = Line::command().mut_subcommand("serve", |serve| operator.add_to(serve));
        config::with_variables(command).debug_assert();
    }

    /// A flag that says what to do this once is no setting: METAGOV_ROLE, say, must not
    /// decide what a token may do.
    #[test]
    fn verbs_of_clients_take_only_their_connection_from_variables() {
        let command = config::with_variables(Line::command());
        let connection = ["endpoint", "token", "data_dir", "ca", "insecure_plaintext"];
        let clients = Verbs::augment_subcommands(clap::Command::new("metagov"));
        let clients = clients.get_subcommands().map(clap::Command::get_name);
        let mut verbs: Vec<&clap::Command> = clients
            .map(|name| command.find_subcommand(name).unwrap())
            .collect();
        while let Some(verb) = verbs.pop() {
            verbs.extend(verb.get_subcommands());
            let with = verb.get_arguments().filter(|arg| arg.get_env().is_some());
            let with = with.map(|arg| arg.get_id().as_str());
            // Where they work is a setting, too.
            let with = with.filter(|id| !["community", "communities"].contains(id));
            let with: Vec<&str> = with.collect();
            let own = verb.get_subcommands().next().is_none();
            let expected = if own { &connection[..] } else { &[] };
            assert_eq!(with, expected, "{}", verb.get_name());
        }
    }

    #[test]
    fn an_unknown_flag_is_misuse() {
        let line = Line::try_parse_from(["metagov", "serve", "--listn", "x"]);
        assert_eq!(line.err().map(|e| e.exit_code()), Some(2));
    }
}
