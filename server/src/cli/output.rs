//! How answers are written: as a table for people, as JSON or YAML for scripts.

use std::{fmt::Display, io::Write};

use clap::{Args, ValueEnum};
use console::{Alignment, measure_text_width, pad_str};
use jiff::Timestamp;
use prost::Message;
use serde_json::Value;

use super::{
    Exit, Failure,
    failure::printable,
    written::{Answer, Written},
};

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
    /// The same as YAML.
    Yaml,
}

/// What is shown of each item: the heads of the columns, and an item's cells.
pub(super) struct Columns<T, const N: usize> {
    pub(super) heads: [&'static str; N],
    pub(super) cells: fn(&T) -> [String; N],
}

impl Output {
    /// Whether people read it, and no script.
    pub(super) fn is_for_people(&self) -> bool {
        self.format == Format::Table
    }

    /// Writes a line for people, or the message for scripts.
    pub(super) fn answer<M: Message>(
        &self,
        out: &mut dyn Write,
        text: impl Display,
        answer: Answer<'_, M>,
    ) -> Result<(), Failure> {
        match self.is_for_people() {
            true => line(out, printable(&text.to_string())),
            false => self.message(out, answer),
        }
    }

    /// Writes a table of items for people, or the message that has them for scripts.
    pub(super) fn list<T, M: Message, const N: usize>(
        &self,
        out: &mut dyn Write,
        columns: &Columns<T, N>,
        items: &[T],
        answer: Answer<'_, M>,
    ) -> Result<(), Failure> {
        match self.is_for_people() {
            true => table(out, columns, items),
            false => self.message(out, answer),
        }
    }

    /// Writes the message for scripts.
    pub(super) fn message<M: Message>(
        &self,
        out: &mut dyn Write,
        answer: Answer<'_, M>,
    ) -> Result<(), Failure> {
        self.written(out, &Written::of(answer)?)
    }

    /// Writes what is no message of the contract for scripts.
    pub(super) fn value(&self, out: &mut dyn Write, value: &Value) -> Result<(), Failure> {
        self.written(out, &Written::of_value(value))
    }

    fn written(&self, out: &mut dyn Write, written: &Written) -> Result<(), Failure> {
        let text = match self.format {
            Format::Yaml => written.yaml(),
            Format::Table | Format::Json => written.json(),
        };
        line(out, text?)
    }

    /// Writes one of many messages that never end: JSON in one line, YAML as a document
    /// of its own.
    pub(super) fn next<M: Message>(
        &self,
        out: &mut dyn Write,
        answer: Answer<'_, M>,
    ) -> Result<(), Failure> {
        let written = Written::of(answer)?;
        match self.format {
            Format::Yaml => line(out, format!("---\n{}", written.yaml()?)),
            Format::Table | Format::Json => line(out, written.json_line()),
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
fn table<T, const N: usize>(
    out: &mut dyn Write,
    columns: &Columns<T, N>,
    items: &[T],
) -> Result<(), Failure> {
    let rows = items.iter().map(|item| (columns.cells)(item).to_vec());
    grid(out, &columns.heads, rows.collect())
}

/// Writes rows of cells below their heads, each column as wide as it needs.
pub(super) fn grid(
    out: &mut dyn Write,
    heads: &[&str],
    rows: Vec<Vec<String>>,
) -> Result<(), Failure> {
    aligned(heads, rows)
        .into_iter()
        .try_for_each(|row| line(out, row))
}

/// The lines of such a table.
pub(super) fn aligned(heads: &[&str], rows: Vec<Vec<String>>) -> Vec<String> {
    let heads = heads.iter().map(ToString::to_string).collect();
    let rows = std::iter::once(heads).chain(rows);
    let shown = |cell: &String| match cell.is_empty() {
        true => "-".to_owned(),
        false => printable(cell),
    };
    let rows: Vec<Vec<String>> = rows.map(|row| row.iter().map(shown).collect()).collect();
    let width = |column: usize| rows.iter().map(move |row| measure_text_width(&row[column]));
    let columns = 0..rows[0].len();
    let widths: Vec<usize> = columns
        .map(|column| width(column).max().unwrap_or_default())
        .collect();
    let padded = |row: &Vec<String>| -> String {
        let cells = row.iter().zip(&widths);
        let cells = cells.map(|(cell, width)| pad_str(cell, *width, Alignment::Left, None));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(padded).collect()
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
