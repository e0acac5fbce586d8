//! Several gateways on one database: who of them lives, and what each has claimed.

use sea_orm_migration::{
    prelude::*,
    schema::{big_integer, string, string_null, text, uuid, uuid_null},
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// What is claimed, by the beginning of the names of its claim's columns. A process has
/// two: asking how it stands must not put off its close.
const CLAIMS: [(&str, &str); 6] = [
    ("process", "claim"),
    ("process", "refresh_claim"),
    ("installation", "claim"),
    ("delivery", "claim"),
    ("fetch", "claim"),
    ("credential", "claim"),
];

/// What only one gateway does at a time, in a transaction.
const TURNS: [&str; 2] = ["audit", "token"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [replica(), turn()] {
            manager.create_table(table).await?;
        }
        for name in TURNS {
            let mut row = Query::insert();
            row.into_table("turn").columns(["name"]);
            row.values_panic([name.into()]);
            manager.execute(row).await?;
        }
        for (table, claim) in CLAIMS {
            for column in columns(claim) {
                manager.alter_table(added(table, column)).await?;
            }
        }
        // What the operator's credentials reach is of one installation in the gateway.
        let exclusive = string_null("exclusive_platform_id");
        manager
            .alter_table(added("installation", exclusive))
            .await?;
        let unique = Index::create()
            .name("installation_plugin_exclusive_platform_id")
            .table("installation")
            .col("plugin")
            .col("exclusive_platform_id")
            .unique()
            .to_owned();
        manager.create_index(unique).await
    }
}

/// A gateway that runs, for as long as it says so.
fn replica() -> TableCreateStatement {
    Table::create()
        .table("replica")
        .col(uuid("id").primary_key())
        .col(big_integer("expire_time"))
        .col(text("version"))
        .col(big_integer("start_time"))
        .to_owned()
}

/// Rows to be locked.
fn turn() -> TableCreateStatement {
    Table::create()
        .table("turn")
        .col(string("name").primary_key())
        .to_owned()
}

/// Who has it, and the how manyth claim of it that is.
fn columns(claim: &str) -> [ColumnDef; 2] {
    let mut number = big_integer(format!("{claim}_number"));
    number.default(0);
    [uuid_null(format!("{claim}_replica_id")), number]
}

fn added(table: &'static str, mut column: ColumnDef) -> TableAlterStatement {
    Table::alter()
        .table(table)
        .add_column(&mut column)
        .to_owned()
}
