//! Which columns are sealed, and all of them sealed anew: from plain text in a database
//! of before, and under another master key.
//!
//! A new sealed column is one line here. Its place, wherever it is read and written, is
//! its name and then what names its row, in this order.

use sea_orm::{
    ConnectionTrait, ExprTrait, JsonValue, Order, QueryResult, Value,
    sea_query::{Expr, Query, SimpleExpr},
};
use uuid::Uuid;

use super::{failed, from_text, seal::is_sealed, to_text};
use crate::{error::Result, model::Object};

/// How many rows are held at a time.
const PAGE: u64 = 500;

/// A column whose text is sealed.
#[derive(Debug)]
struct Column {
    table: &'static str,
    name: &'static str,
    /// What names a row, in the order of its place.
    row: &'static [(&'static str, Kind)],
    form: Form,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Uuid,
    Text,
}

#[derive(Clone, Copy, Debug)]
enum Form {
    /// The whole text. Null and the empty text hold nothing.
    Text,
    /// A JSON object, each property by itself: its name is the end of its place.
    Properties,
}

const fn column(
    table: &'static str,
    name: &'static str,
    row: &'static [(&'static str, Kind)],
) -> Column {
    let form = Form::Text;
    Column {
        table,
        name,
        row,
        form,
    }
}

const ID: &[(&str, Kind)] = &[("id", Kind::Uuid)];
const INSTALLATION: &[(&str, Kind)] = &[("community_id", Kind::Text), ("id", Kind::Uuid)];
const STATE: &[(&str, Kind)] = &[("installation_id", Kind::Uuid), ("key", Kind::Text)];
const REQUEST: &[(&str, Kind)] = &[("principal", Kind::Text), ("request_id", Kind::Text)];

const COLUMNS: [Column; 11] = [
    Column {
        table: "installation",
        name: "secrets",
        row: INSTALLATION,
        form: Form::Properties,
    },
    column("installation", "slug", INSTALLATION),
    column("installation", "old_slug", INSTALLATION),
    column("installation_state", "value", STATE),
    column("delivery", "hook", ID),
    column("fetch", "what", ID),
    column("process", "private", ID),
    column("request", "digest", REQUEST),
    column("request", "answer", REQUEST),
    column("credential", "granted", &[("installation_id", Kind::Uuid)]),
    column("authorization", "verifier", &[("state_hash", Kind::Text)]),
];

/// What becomes of a text that stands at a place.
pub(super) type Change<'a> = &'a (dyn Fn(&[&str], &str) -> Result<String> + Sync);

/// What was changed, and what could not be: a sentence for each, with table and row.
#[derive(Debug, Default)]
pub(super) struct Done {
    pub(super) rows: u64,
    pub(super) faults: Vec<String>,
}

/// Changes every sealed text of the database. To be committed only without faults.
pub(super) async fn change_all(at: &impl ConnectionTrait, change: Change<'_>) -> Result<Done> {
    let mut done = Done::default();
    for column in &COLUMNS {
        column.change(at, change, &mut done).await?;
    }
    Ok(done)
}

/// A row: what names it, and the text.
struct Row {
    key: Vec<Value>,
    names: Vec<String>,
    text: Option<String>,
}

impl Column {
    async fn change(
        &self,
        at: &impl ConnectionTrait,
        change: Change<'_>,
        done: &mut Done,
    ) -> Result<()> {
        let mut after = None;
        loop {
            let rows = self.page(at, after).await?;
            let Some(last) = rows.last() else {
                return Ok(());
            };
            after = Some(last.key.clone());
            for row in rows {
                match self.changed(&row, change) {
                    Ok(Some(text)) => {
                        self.write(at, row.key, text).await?;
                        done.rows += 1;
                    }
                    Ok(None) => {}
                    Err(error) => done.faults.push(error.to_string()),
                }
            }
        }
    }

    /// The new text of a row; none if it stays.
    fn changed(&self, row: &Row, change: Change<'_>) -> Result<Option<String>> {
        let Some(text) = row.text.as_deref().filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let column = format!("{}.{}", self.table, self.name);
        let mut place = vec![column.as_str()];
        place.extend(row.names.iter().map(String::as_str));
        let new = match self.form {
            Form::Text => change(&place, text)?,
            Form::Properties => to_text(&properties(&place, from_text(text)?, change)?)?,
        };
        Ok(Some(new).filter(|new| new != text))
    }

    async fn page(&self, at: &impl ConnectionTrait, after: Option<Vec<Value>>) -> Result<Vec<Row>> {
        let mut query = Query::select();
        query.from(self.table).column(self.name).limit(PAGE);
        for (name, _) in self.row {
            query.column(*name).order_by(*name, Order::Asc);
        }
        if let Some(after) = after {
            let names = self
                .row
                .iter()
                .map(|(name, _)| SimpleExpr::from(Expr::col(*name)));
            let values = after.into_iter().map(SimpleExpr::from);
            let names = Expr::tuple(names);
            query.and_where(names.gt(Expr::tuple(values)));
        }
        let rows = at.query_all(&query).await.map_err(failed)?;
        rows.iter().map(|row| self.read(row)).collect()
    }

    fn read(&self, row: &QueryResult) -> Result<Row> {
        let mut read = Row {
            key: Vec::new(),
            names: Vec::new(),
            text: row.try_get("", self.name).map_err(failed)?,
        };
        for (name, kind) in self.row {
            let (key, name): (Value, String) = match kind {
                Kind::Uuid => {
                    let id: Uuid = row.try_get("", name).map_err(failed)?;
                    (id.into(), id.to_string())
                }
                Kind::Text => {
                    let text: String = row.try_get("", name).map_err(failed)?;
                    (text.clone().into(), text)
                }
            };
            read.key.push(key);
            read.names.push(name);
        }
        Ok(read)
    }

    async fn write(&self, at: &impl ConnectionTrait, key: Vec<Value>, text: String) -> Result<()> {
        let mut update = Query::update();
        update.table(self.table).value(self.name, text);
        for ((name, _), value) in self.row.iter().zip(key) {
            update.and_where(Expr::col(*name).eq(value));
        }
        at.execute(&update).await.map_err(failed)?;
        Ok(())
    }
}

/// An object with each of its properties changed. Plain ones may be any JSON.
fn properties(place: &[&str], object: Object, change: Change<'_>) -> Result<Object> {
    let each = object.into_iter().map(|(name, value)| {
        let text = match value {
            JsonValue::String(sealed) if is_sealed(&sealed) => sealed,
            plain => to_text(&plain)?,
        };
        let place = [place, &[name.as_str()]].concat();
        let new = change(&place, &text)?;
        Ok((name, JsonValue::String(new)))
    });
    each.collect()
}
