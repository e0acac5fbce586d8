//! What the catalogue says of plugins, actions and processes, as pages for people.

use std::io::Write;

use metagov_proto::v1::{ActionDescriptor, Plugin, ProcessDescriptor};
use prost_types::Struct;

use super::{
    Failure,
    failure::printable,
    output::{grid, line, word},
    parameters::HEADS,
    schema::Schema,
};

/// A plugin: what it is, how it is set up, and the names of what it offers.
pub(super) fn plugin(out: &mut dyn Write, plugin: &Plugin) -> Result<(), Failure> {
    text(out, &format!("{}: {}", plugin.name, plugin.description))?;
    let proves = word(plugin.auth_kind().as_str_name(), "AUTH_KIND_");
    text(
        out,
        &format!("It proves itself to the platform by: {proves}."),
    )?;
    if plugin.uses_webhook {
        text(
            out,
            "The platform must be given the webhook of its installation.",
        )?;
    }
    if !plugin.unavailable_reason.is_empty() {
        let why = &plugin.unavailable_reason;
        text(out, &format!("It cannot be enabled here: {why}"))?;
    }
    if !plugin.setup_help.is_empty() {
        text(out, "")?;
        plugin
            .setup_help
            .lines()
            .try_for_each(|help| text(out, help))?;
    }
    schema(out, "CONFIGURATION", plugin.config_schema.as_ref())?;
    let actions = plugin.actions.iter();
    names(out, "ACTION", actions.map(|a| (&a.action, &a.description)))?;
    let processes = plugin.processes.iter();
    let processes = processes.map(|p| (&p.process_type, &p.description));
    names(out, "PROCESS", processes)?;
    let events = plugin.events.iter();
    names(
        out,
        "EVENT",
        events.map(|e| (&e.event_type, &e.description)),
    )
}

/// An action: what it does, what it takes, what it answers.
pub(super) fn action(out: &mut dyn Write, action: &ActionDescriptor) -> Result<(), Failure> {
    text(out, &format!("{}: {}", action.action, action.description))?;
    let effect = match action.read_only {
        true => "It only reads.",
        false => "It changes something.",
    };
    text(out, effect)?;
    schema(out, "PARAMETER", action.parameters_schema.as_ref())?;
    schema(out, "RESULT", action.result_schema.as_ref())
}

/// A process: what it does, what it takes, how it ends.
pub(super) fn process(out: &mut dyn Write, process: &ProcessDescriptor) -> Result<(), Failure> {
    let name = &process.process_type;
    text(out, &format!("{name}: {}", process.description))?;
    let can = |can, what: &str| format!("{what}: {}", if can { "yes" } else { "no" });
    let support = process.close_time_support().as_str_name();
    let facts = [
        can(process.is_vote, "a vote"),
        can(process.closable, "may be closed"),
        can(
            process.cancellable,
            "is withdrawn from the platform when cancelled",
        ),
        format!("a time to close: {}", word(support, "CLOSE_TIME_SUPPORT_")),
    ];
    text(out, &facts.join("; "))?;
    schema(out, "PARAMETER", process.parameters_schema.as_ref())?;
    schema(out, "OUTCOME", process.outcome_schema.as_ref())
}

/// The properties of a schema, if it has some, below an empty line.
fn schema(out: &mut dyn Write, head: &str, schema: Option<&Struct>) -> Result<(), Failure> {
    let rows = Schema::of(schema.cloned()).rows();
    if rows.is_empty() {
        return Ok(());
    }
    text(out, "")?;
    let [_, kind, needed, about] = HEADS;
    grid(out, &[head, kind, needed, about], rows)
}

fn names<'a>(
    out: &mut dyn Write,
    head: &str,
    named: impl Iterator<Item = (&'a String, &'a String)>,
) -> Result<(), Failure> {
    let rows = named.map(|(name, about)| vec![name.clone(), about.clone()]);
    let rows: Vec<Vec<String>> = rows.collect();
    if rows.is_empty() {
        return Ok(());
    }
    text(out, "")?;
    grid(out, &[head, "DESCRIPTION"], rows)
}

fn text(out: &mut dyn Write, text: &str) -> Result<(), Failure> {
    line(out, printable(text))
}
