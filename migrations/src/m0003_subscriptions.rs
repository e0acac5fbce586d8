//! Subscriptions: cursors that the gateway keeps for drivers.

use sea_orm_migration::{
    prelude::*,
    schema::{big_integer, integer, string, text},
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(subscription()).await?;
        manager.create_table(subscription_epoch()).await
    }
}

fn subscription() -> TableCreateStatement {
    Table::create()
        .table("subscription")
        .col(string("principal"))
        .col(string("subscription_id"))
        .col(text("filter"))
        // Everything up to this position is dealt with.
        .col(big_integer("acknowledged"))
        .col(big_integer("epoch"))
        .col(big_integer("create_time"))
        .primary_key(Index::create().col("principal").col("subscription_id"))
        .to_owned()
}

/// The one row counts what is created, moved and deleted: who watches looks at no other
/// row as long as it stays.
fn subscription_epoch() -> TableCreateStatement {
    Table::create()
        .table("subscription_epoch")
        .col(integer("id").primary_key())
        .col(big_integer("number"))
        .to_owned()
}
