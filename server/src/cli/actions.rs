//! `metagov action`: one call to a platform, answered at once.

use std::io::Write;

use clap::{Args, Subcommand};
use metagov_proto::{
    json,
    v1::{ActionDescriptor, ListPluginsRequest, ListPluginsResponse, PerformActionRequest, Plugin},
};
use serde_json::Value;

use super::{
    Failure,
    client::Client,
    common::{Common, Once, Place},
    describe,
    failure::{answered, printable},
    output::{Columns, grid, line},
    parameters::Input,
    plugins::offered,
    schema::Schema,
};

/// Performs actions on platforms, and says what there are.
#[derive(Clone, Subcommand)]
pub enum Actions {
    /// Lists the actions of all plugins, or of one.
    List(List),
    /// Shows what an action does, takes and answers.
    Describe(Describe),
    /// Performs an action and prints its result.
    Perform(Perform),
}

impl Actions {
    /// Runs it. Answers go to `out`.
    pub async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        match self {
            Self::List(list) => list.run(out).await,
            Self::Describe(describe) => describe.run(out).await,
            Self::Perform(perform) => perform.run(out).await,
        }
    }
}

/// Which actions.
#[derive(Clone, Args)]
pub struct List {
    /// Only those of this plugin.
    #[arg(long, value_name = "NAME", hide_env = true)]
    plugin: Option<String>,

    #[command(flatten)]
    common: Common,
}

const COLUMNS: Columns<ActionDescriptor, 3> = Columns {
    heads: ["ACTION", "ONLY READS", "DESCRIPTION"],
    cells: |action| {
        let reads = if action.read_only { "yes" } else { "no" };
        [
            action.action.clone(),
            reads.to_owned(),
            action.description.clone(),
        ]
    },
};

impl List {
    async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let mut client = self.common.open().await?;
        let answer = client.plugins.list_plugins(ListPluginsRequest {}).await;
        let plugins = answered("plugins", answer)?.plugins.into_iter();
        let wanted = |plugin: &Plugin| {
            let name = self.plugin.as_ref();
            name.is_none_or(|name| plugin.name == *name) && !plugin.actions.is_empty()
        };
        // Of a plugin only what was asked for.
        let plugins = plugins.filter(wanted).map(|plugin| Plugin {
            name: plugin.name,
            actions: plugin.actions,
            ..Plugin::default()
        });
        let plugins = plugins.collect();
        let all = ListPluginsResponse { plugins };
        let actions = all.plugins.iter().flat_map(|plugin| plugin.actions.clone());
        let actions: Vec<ActionDescriptor> = actions.collect();
        let answer = ("ListPluginsResponse", &all);
        self.common.output.list(out, &COLUMNS, &actions, answer)
    }
}

/// Which action.
#[derive(Clone, Args)]
pub struct Describe {
    /// Its full name, such as randomness.random-int.
    #[arg(value_name = "PLUGIN.ACTION")]
    action: String,

    #[command(flatten)]
    common: Common,
}

impl Describe {
    async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let mut client = self.common.open().await?;
        let action = described(&mut client, &self.action).await?;
        let output = self.common.output;
        match output.is_for_people() {
            true => describe::action(out, &action),
            false => output.message(out, ("ActionDescriptor", &action)),
        }
    }
}

/// Which action, with which parameters.
///
/// Parameters are checked before they are sent: `metagov action describe` shows them.
#[derive(Clone, Args)]
pub struct Perform {
    /// Its full name, such as randomness.random-int.
    #[arg(value_name = "PLUGIN.ACTION")]
    action: String,

    #[command(flatten)]
    input: Input,

    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    once: Once,

    #[command(flatten)]
    common: Common,
}

impl Perform {
    async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let doing = format!("action {}", self.action);
        let parameters = self.input.read()?;
        let mut client = self.common.open().await?;
        let schema = described(&mut client, &self.action)
            .await?
            .parameters_schema;
        let parameters = parameters.fit(&Schema::of(schema), &doing, false)?;
        let request = PerformActionRequest {
            community_id: self.place.community,
            action: self.action,
            installation_id: self.input.installation.unwrap_or_default(),
            parameters: Some(json::from_json(parameters)),
            request_id: self.once.id(),
        };
        let answer = answered(&doing, client.actions.perform_action(request).await)?;
        let output = self.common.output;
        if !output.is_for_people() {
            return output.message(out, ("PerformActionResponse", &answer));
        }
        result(out, json::value_to_json(answer.result.unwrap_or_default()))
    }
}

/// A result for people: the fields of an object and the items of a list in lines of their
/// own.
fn result(out: &mut dyn Write, value: Value) -> Result<(), Failure> {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter();
            let rows = fields.map(|(name, value)| vec![name, cell(&value)]);
            grid(out, &["NAME", "VALUE"], rows.collect())
        }
        Value::Array(items) => items
            .iter()
            .try_for_each(|item| line(out, printable(&cell(item)))),
        value => line(out, printable(&cell(&value))),
    }
}

/// A text as it is, all else as JSON.
pub(super) fn cell(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

async fn described(client: &mut Client, name: &str) -> Result<ActionDescriptor, Failure> {
    let named = |plugin: &Plugin| plugin.actions.clone().into_iter();
    let find = |plugin: &Plugin| named(plugin).find(|action| action.action == name);
    let all = |plugin: &Plugin| named(plugin).map(|action| action.action).collect();
    offered(client, ("action", name), find, all).await
}
