//! Which tables are kept, and how a value of theirs is written down.
//!
//! A new table is one line here; a test compares the list with what the migrations make.

use sea_orm::{
    ColumnTrait, ColumnType, EntityTrait, IdenStatic, Iterable, JsonValue, PrimaryKeyToColumn,
    QueryResult, TryGetable, Value, prelude::Uuid,
};
use serde::{Deserialize, Serialize};

use super::super::{entity, failed};
use crate::error::{Error, Result};

/// What is never written down: the feed of a restored database gets a key of its own.
const BLANK: [(&str, &str); 1] = [("feed", "cursor_key")];

/// What is of the processes that serve, or made by a migration: not kept. So are the
/// columns of claims, which a restored row has none of.
pub(super) const LEFT_OUT: [&str; 2] = ["replica", "turn"];

/// Columns that are written and never read, so that no entity has them.
const MORE: [(&str, &str, Kind); 1] = [("installation", "exclusive_platform_id", Kind::Text)];

/// A table that is kept.
pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<Column>,
    /// The names of the columns of its primary key.
    pub(super) key: Vec<String>,
}

/// A column, as the file names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Column {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: Kind,
}

/// What a column holds, null aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Uuid,
    Text,
    Integer,
    BigInteger,
    Boolean,
}

/// Every table that is kept.
pub(super) fn all() -> Result<Vec<Table>> {
    macro_rules! tables {
        ($($name:ident)*) => { vec![$(table::<entity::$name::Entity>()?),*] };
    }
    Ok(tables! {
        feed community installation installation_state credential authorization request
        process ballot identity account delivery fetch token audit_entry master_key subscription subscription_epoch event
    })
}

fn table<E: EntityTrait>() -> Result<Table> {
    let column = |column: E::Column| {
        let name = column.as_str().to_owned();
        let kind = Kind::of(column.def().get_column_type())
            .ok_or_else(|| Error::internal(format!("no backup knows the type of {name}")))?;
        Ok(Column { name, kind })
    };
    let key = E::PrimaryKey::iter().map(|key| key.into_column().as_str().to_owned());
    let name = E::default().table_name().to_owned();
    let mut columns: Vec<Column> = E::Column::iter().map(column).collect::<Result<_>>()?;
    let more = MORE.iter().filter(|(table, ..)| *table == name);
    columns.extend(more.map(|(_, name, kind)| Column {
        name: (*name).to_owned(),
        kind: *kind,
    }));
    Ok(Table {
        name,
        columns,
        key: key.collect(),
    })
}

impl Table {
    /// A row, in the order of the columns.
    pub(super) fn read(&self, row: &QueryResult) -> Result<Vec<JsonValue>> {
        let values = self.columns.iter().map(|column| {
            match BLANK.contains(&(self.name.as_str(), column.name.as_str())) {
                true => Ok(JsonValue::String(String::new())),
                false => column.read(row),
            }
        });
        values.collect()
    }
}

impl Column {
    fn read(&self, row: &QueryResult) -> Result<JsonValue> {
        fn get<T: TryGetable>(row: &QueryResult, name: &str) -> Result<Option<T>> {
            row.try_get("", name).map_err(failed)
        }
        let name = &self.name;
        Ok(match self.kind {
            Kind::Uuid => get::<Uuid>(row, name)?.map(|id| id.to_string()).into(),
            Kind::Text => get::<String>(row, name)?.into(),
            Kind::Integer => get::<i32>(row, name)?.into(),
            Kind::BigInteger => get::<i64>(row, name)?.into(),
            Kind::Boolean => get::<bool>(row, name)?.into(),
        })
    }

    /// The value for the database; none if it is of another type.
    pub(super) fn value(&self, json: JsonValue) -> Option<Value> {
        let null = json.is_null();
        let text = json.as_str();
        Some(match self.kind {
            Kind::Uuid if null => Value::from(None::<Uuid>),
            Kind::Uuid => Uuid::parse_str(text?).ok()?.into(),
            Kind::Text if null => Value::from(None::<String>),
            Kind::Text => text?.into(),
            Kind::Integer if null => Value::from(None::<i32>),
            Kind::Integer => i32::try_from(json.as_i64()?).ok()?.into(),
            Kind::BigInteger if null => Value::from(None::<i64>),
            Kind::BigInteger => json.as_i64()?.into(),
            Kind::Boolean if null => Value::from(None::<bool>),
            Kind::Boolean => json.as_bool()?.into(),
        })
    }
}

impl Kind {
    fn of(column: &ColumnType) -> Option<Self> {
        Some(match column {
            ColumnType::Uuid => Self::Uuid,
            ColumnType::Text | ColumnType::String(_) => Self::Text,
            ColumnType::Integer => Self::Integer,
            ColumnType::BigInteger => Self::BigInteger,
            ColumnType::Boolean => Self::Boolean,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_column_of_every_table_has_a_type_that_is_known() {
        let tables = all().unwrap();
        assert!(tables.iter().all(|table| !table.key.is_empty()));
        let mut names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), tables.len(), "none is there twice");
    }

    #[test]
    fn a_value_of_another_type_is_none() {
        for (kind, good, bad) in [
            (
                Kind::Uuid,
                json!("01900000-0000-7000-8000-000000000000"),
                json!("0190"),
            ),
            (Kind::Text, json!("a"), json!(1)),
            (Kind::Integer, json!(7), json!(1_i64 << 40)),
            (Kind::BigInteger, json!(1_i64 << 40), json!(1.5)),
            (Kind::Boolean, json!(true), json!(1)),
        ] {
            let name = "a".to_owned();
            let column = Column { name, kind };
            assert!(column.value(good).is_some() && column.value(bad).is_none());
            assert!(column.value(JsonValue::Null).is_some());
        }
    }
}
