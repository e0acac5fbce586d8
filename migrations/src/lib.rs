//! The tables of the gateway, step by step. One file a step; a step is never edited
//! after its release, a later one changes what it made.
//!
//! Everything is said through sea-query, so that SQLite and Postgres get the same
//! tables. Times are microseconds since 1970 in UTC, JSON is text, ids are UUIDv7.

mod m0001_tables;
mod m0002_access;

use sea_orm_migration::{MigrationTrait, async_trait};
pub use sea_orm_migration::{MigratorTrait, sea_orm::DbErr};

/// All steps, in order.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_tables::Migration),
            Box::new(m0002_access::Migration),
        ]
    }
}
