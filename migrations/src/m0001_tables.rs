//! The first tables.

use sea_orm_migration::{
    prelude::*,
    schema::{
        big_integer, big_integer_null, boolean, integer, string, string_null, text, text_null,
        uuid, uuid_null,
    },
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in tables() {
            manager.create_table(table).await?;
        }
        for index in indexes() {
            manager.create_index(index).await?;
        }
        Ok(())
    }
}

fn tables() -> Vec<TableCreateStatement> {
    let mut tables = feed();
    tables.extend(communities());
    tables.extend(processes());
    tables.extend(identities());
    tables.extend(hooks());
    tables
}

/// The log, and the one row that counts it.
fn feed() -> Vec<TableCreateStatement> {
    vec![
        Table::create()
            .table("feed")
            .col(integer("id").primary_key())
            .col(uuid("feed_id"))
            .col(string("cursor_key"))
            .col(big_integer("position"))
            .col(big_integer("record_time"))
            .to_owned(),
        Table::create()
            .table("event")
            // Given by the counter, never by a sequence.
            .col(big_integer("position").primary_key())
            .col(uuid("event_id"))
            .col(string("community_id"))
            .col(big_integer("record_time"))
            .col(boolean("ends"))
            // Null once its community was deleted.
            .col(text_null("payload"))
            .to_owned(),
    ]
}

fn communities() -> Vec<TableCreateStatement> {
    vec![
        Table::create()
            .table("community")
            .col(string("id").primary_key())
            .col(text("display_name"))
            .col(big_integer("create_time"))
            .col(big_integer("update_time"))
            .col(string("etag"))
            .to_owned(),
        Table::create()
            .table("installation")
            .col(uuid("id").primary_key())
            .col(string("community_id"))
            .col(string("plugin"))
            .col(string("platform_id"))
            .col(text("config"))
            .col(text("secrets"))
            .col(string("slug"))
            .col(string_null("old_slug"))
            .col(big_integer_null("old_slug_expire_time"))
            .col(big_integer("create_time"))
            .col(big_integer("update_time"))
            .col(string("etag"))
            .col(text_null("problem"))
            .col(big_integer_null("problem_time"))
            .col(big_integer_null("poll_time"))
            .col(integer("poll_failures"))
            .to_owned(),
        Table::create()
            .table("installation_state")
            .col(uuid("installation_id"))
            .col(string("key"))
            .col(text("value"))
            .primary_key(Index::create().col("installation_id").col("key"))
            .to_owned(),
        Table::create()
            .table("request")
            .col(string("principal"))
            .col(string("request_id"))
            .col(string_null("community_id"))
            .col(string("digest"))
            .col(text_null("answer"))
            .col(big_integer("lease_time"))
            .col(big_integer("create_time"))
            .primary_key(Index::create().col("principal").col("request_id"))
            .to_owned(),
    ]
}

fn processes() -> Vec<TableCreateStatement> {
    vec![
        Table::create()
            .table("process")
            .col(uuid("id").primary_key())
            .col(string("community_id"))
            .col(uuid("installation_id"))
            .col(string("process_type"))
            .col(string("state"))
            .col(string_null("key"))
            .col(text("url"))
            .col(text("title"))
            .col(text("parameters"))
            .col(text("private"))
            .col(text("outcome"))
            .col(text_null("tally"))
            .col(text_null("error"))
            .col(text("end_reason"))
            .col(big_integer("revision"))
            .col(big_integer("create_time"))
            .col(big_integer("update_time"))
            .col(big_integer_null("end_time"))
            .col(big_integer_null("close_time"))
            // Until when a start may still be running; set while STARTING only.
            .col(big_integer_null("lease_time"))
            // When the gateway closes it, or tries so again.
            .col(big_integer_null("timer_time"))
            // When the platform is asked how it stands, since a signal wants so.
            .col(big_integer_null("refresh_time"))
            .col(integer("refresh_failures"))
            .to_owned(),
        Table::create()
            .table("ballot")
            .col(uuid("process_id"))
            .col(string("voter"))
            .col(string("subject"))
            .col(text("choices"))
            .col(big_integer("cast_time"))
            .primary_key(
                Index::create()
                    .col("process_id")
                    .col("voter")
                    .col("subject"),
            )
            .to_owned(),
    ]
}

fn identities() -> Vec<TableCreateStatement> {
    vec![
        Table::create()
            .table("identity")
            .col(uuid("id").primary_key())
            .col(string("community_id"))
            .col(uuid_null("merged_into"))
            .to_owned(),
        Table::create()
            .table("account")
            .col(string("community_id"))
            .col(string("provider"))
            .col(string("platform_id"))
            .col(string("user_id"))
            .col(uuid("identity_id"))
            .col(string("link_method"))
            .col(integer("link_quality"))
            .col(text("custom_data"))
            .primary_key(
                Index::create()
                    .col("community_id")
                    .col("provider")
                    .col("platform_id")
                    .col("user_id"),
            )
            .to_owned(),
    ]
}

fn hooks() -> Vec<TableCreateStatement> {
    vec![
        Table::create()
            .table("delivery")
            .col(uuid("id").primary_key())
            .col(uuid("installation_id"))
            // What a repeat is known by; null where equal bodies may be honest.
            .col(string_null("repeat_key"))
            .col(string("state"))
            .col(big_integer("receive_time"))
            .col(integer("attempt_count"))
            .col(big_integer_null("next_attempt_time"))
            .col(text("problem"))
            // The request itself, while it is still to be processed.
            .col(text_null("hook"))
            .to_owned(),
        Table::create()
            .table("fetch")
            .col(uuid("id").primary_key())
            .col(uuid("installation_id"))
            .col(text("what"))
            .col(big_integer("next_time"))
            .col(integer("failures"))
            .to_owned(),
    ]
}

fn indexes() -> Vec<IndexCreateStatement> {
    let index = |table: &'static str, columns: &[&'static str]| {
        let mut index = Index::create();
        index
            .name(format!("{table}_{}", columns.join("_")))
            .table(table);
        for column in columns {
            index.col(*column);
        }
        index
    };
    vec![
        index("event", &["record_time"]),
        index("installation", &["community_id", "plugin", "platform_id"])
            .unique()
            .to_owned(),
        index("installation", &["poll_time"]),
        index("request", &["create_time"]),
        index("process", &["installation_id", "key"])
            .unique()
            .to_owned(),
        index("process", &["community_id", "id"]),
        index("process", &["timer_time"]),
        index("process", &["refresh_time"]),
        index("process", &["lease_time"]),
        index("identity", &["community_id", "id"]),
        index("account", &["identity_id"]),
        index("delivery", &["installation_id", "repeat_key"])
            .unique()
            .to_owned(),
        index("delivery", &["next_attempt_time"]),
        index("delivery", &["receive_time"]),
        index("fetch", &["next_time"]),
        index("fetch", &["installation_id"]),
    ]
}
