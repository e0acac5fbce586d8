//! Who may do what: tokens, the audit, keys, authorizations.

use sea_orm_migration::{
    prelude::*,
    schema::{big_integer, big_integer_null, string, text, uuid, uuid_null},
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [
            token(),
            audit_entry(),
            master_key(),
            authorization(),
            credential(),
        ] {
            manager.create_table(table).await?;
        }
        let by_community = Index::create()
            .name("audit_entry_community_id_number")
            .table("audit_entry")
            .col("community_id")
            .col("number")
            .to_owned();
        manager.create_index(by_community).await
    }
}

fn token() -> TableCreateStatement {
    Table::create()
        .table("token")
        .col(string("id").primary_key())
        // SHA-256 of the secret, in hex.
        .col(string("secret_hash"))
        .col(text("display_name"))
        .col(string("role"))
        // A list; empty means all.
        .col(text("community_ids"))
        .col(string("principal"))
        .col(big_integer_null("expire_time"))
        .col(big_integer("create_time"))
        .col(big_integer_null("last_use_time"))
        .to_owned()
}

fn audit_entry() -> TableCreateStatement {
    Table::create()
        .table("audit_entry")
        .col(big_integer("number").primary_key())
        .col(big_integer("record_time"))
        .col(string("token_id"))
        .col(string("rpc"))
        .col(string("community_id"))
        .col(text("subject"))
        .col(string("code"))
        // SHA-256 of this row and of the hash before it, in hex.
        .col(string("hash"))
        .to_owned()
}

/// The one row says which key the encrypted columns need.
fn master_key() -> TableCreateStatement {
    Table::create()
        .table("master_key")
        .col(string("fingerprint").primary_key())
        .col(big_integer("create_time"))
        .to_owned()
}

/// An authorization that somebody has begun and the platform has not answered.
fn authorization() -> TableCreateStatement {
    Table::create()
        .table("authorization")
        // SHA-256 of the state, in hex.
        .col(string("state_hash").primary_key())
        .col(string("community_id"))
        .col(string("plugin"))
        .col(string("purpose"))
        .col(uuid_null("identity_id"))
        .col(text("redirect_uri"))
        .col(text("caller_state"))
        // What proves to the platform that we have begun it (PKCE); encrypted.
        .col(text("verifier"))
        .col(big_integer("expire_time"))
        .to_owned()
}

/// What a platform granted to an installation; encrypted.
fn credential() -> TableCreateStatement {
    Table::create()
        .table("credential")
        .col(uuid("installation_id").primary_key())
        .col(text("granted"))
        .col(big_integer_null("expire_time"))
        .to_owned()
}
