//! How answers are written: as a table for people, as JSON for scripts.

use std::{fmt::Display, io::Write};

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use metagov_proto::DESCRIPTORS;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};

use super::{Exit, Failure, failure::printable};

/// How the answer is written.
#[derive(Clone, Args)]
pub(super) struct Output {
    /// How the answer is written. Default table.
    #[arg(long = "output", value_name = "FORMAT", default_value = "table")]
    #[arg(hide_env = true, hide_default_value = true)]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// The response of the contract as JSON, as protobuf spells it.
    Json,
}

/// What is shown of each item: the heads of the columns, and an item's cells.
pub(super) struct Columns<T, const N: usize> {
    pub(super) heads: [&'static str; N],
    pub(super) cells: fn(&T) -> [String; N],
}

impl Output {
    /// Whether JSON is wanted.
    pub(super) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Writes a line for people, or the message for scripts.
    pub(super) fn answer<M: Message>(
        &self,
        out: &mut dyn Write,
        text: impl Display,
        answer: (&str, &M),
    ) -> Result<(), Failure> {
        match self.format {
            Format::Table => line(out, printable(&text.to_string())),
            Format::Json => line(out, json(answer)?),
        }
    }
}

/// Writes one line.
pub(super) fn line(out: &mut dyn Write, text: impl Display) -> Result<(), Failure> {
    writeln!(out, "{text}")
        .and_then(|()| out.flush())
        .map_err(|e| Failure::new(Exit::Other, format!("standard output: {e}")))
}

/// Writes a table with a line for each item.
pub(super) fn table<T, const N: usize>(
    out: &mut dyn Write,
    columns: &Columns<T, N>,
    items: &[T],
) -> Result<(), Failure> {
    let heads = columns.heads.map(str::to_owned);
    let items = items.iter().map(|item| (columns.cells)(item));
    let rows: Vec<[String; N]> = std::iter::once(heads).chain(items).collect();
    let rows: Vec<[String; N]> = rows
        .into_iter()
        .map(|row| {
            row.map(|cell| {
                if cell.is_empty() {
                    "-".into()
                } else {
                    printable(&cell)
                }
            })
        })
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; N] = std::array::from_fn(|column| width(column).unwrap_or_default());
    for row in &rows {
        let cells = row.iter().zip(widths);
        let text: String = cells
            .map(|(cell, width)| format!("{cell:width$}  "))
            .collect();
        line(out, text.trim_end())?;
    }
    Ok(())
}

/// A message of the contract, by its name, as protobuf's JSON.
pub(super) fn json<M: Message>((name, message): (&str, &M)) -> Result<String, Failure> {
    let broken = |e: &dyn Display| Failure::new(Exit::Other, format!("{name}: {e}"));
    let pool = DescriptorPool::decode(DESCRIPTORS).map_err(|e| broken(&e))?;
    let descriptor = pool.get_message_by_name(&format!("metagov.v1.{name}"));
    let descriptor = descriptor.ok_or_else(|| broken(&"is not in the contract"))?;
    let mut dynamic = DynamicMessage::new(descriptor);
    dynamic.transcode_from(message).map_err(|e| broken(&e))?;
    serde_json::to_string_pretty(&dynamic).map_err(|e| broken(&e))
}

/// A time as RFC 3339 in UTC, to the second; empty if there is none.
pub(super) fn time(time: Option<&prost_types::Timestamp>) -> String {
    let Some(time) = time else {
        return String::new();
    };
    match Timestamp::from_second(time.seconds) {
        Ok(time) => time.to_string(),
        Err(_) => "?".to_owned(),
    }
}

/// A value of an enum as people write it: `ROLE_READER` with the prefix `ROLE_` is `reader`.
pub(super) fn word(name: &str, prefix: &str) -> String {
    name.trim_start_matches(prefix).to_lowercase()
}
