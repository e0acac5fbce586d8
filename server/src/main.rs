//! The command line of `metagov`: `serve`, `migrate` and `rekey`, and the verbs that are
//! clients.
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
use metagov::{
    StartError,
    cli::{Audit, Deliveries, Exit, Failure, Tokens, Webhooks, apply::Apply},
    config::{self, Config, Operator},
    plugins,
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
    /// Makes a community of a running gateway as a document says.
    Apply(Apply),
    /// Creates, lists and revokes the tokens of a running gateway.
    #[command(subcommand)]
    Token(Tokens),
    /// Lists who changed what or was refused, and verifies that nobody changed the list.
    #[command(subcommand)]
    Audit(Audit),
    /// Lists what platforms delivered to a running gateway, and tries again what failed.
    #[command(subcommand)]
    Delivery(Deliveries),
    /// Changes the addresses at which platforms reach a running gateway.
    #[command(subcommand)]
    Webhook(Webhooks),
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
            log::start(&config).map_err(other)?;
            warn_of_unknown_variables(&command);
            finish(
                runtime(Builder::new_multi_thread())?,
                serve(*config, plugins),
            )
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
        Verb::Apply(apply) => call(apply.run(&mut io::stdout())),
        Verb::Token(tokens) => call(tokens.run(&mut io::stdout())),
        Verb::Audit(audit) => call(audit.run(&mut io::stdout())),
        Verb::Delivery(deliveries) => call(deliveries.run(&mut io::stdout())),
        Verb::Webhook(webhooks) => call(webhooks.run(&mut io::stdout())),
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
        let clients = ["apply", "token", "audit", "delivery", "webhook"];
        let mut verbs: Vec<&clap::Command> = clients
            .iter()
            .map(|name| command.find_subcommand(name).unwrap())
            .collect();
        while let Some(verb) = verbs.pop() {
            verbs.extend(verb.get_subcommands());
            let with = verb.get_arguments().filter(|arg| arg.get_env().is_some());
            let with: Vec<&str> = with.map(|arg| arg.get_id().as_str()).collect();
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
