//! The tables of the gateway, step by step. One file a step; a step is never edited
//! after its release, a later one changes what it made.
//!
//! A step only adds: tables, columns that may be left out, indices. Gateways of the build
//! before go on beside it, and know nothing of it. What nobody needs any more is removed by
//! a step of a later release.
//!
//! Everything is said through sea-query, so that each kind of database gets the same
//! tables. Times are microseconds since 1970 in UTC, JSON is text, ids are UUIDv7. Text
//! is ordered by its bytes everywhere.

mod m0001_tables;
mod m0002_access;
mod m0003_subscriptions;
mod m0004_replicas;
#[cfg(test)]
mod tests;

use sea_orm_migration::{
    MigrationName, MigrationTrait, SchemaManager, async_trait,
    sea_orm::{ConnectionTrait, DbBackend},
};
pub use sea_orm_migration::{MigratorTrait, sea_orm::DbErr};

/// All steps, in order.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        let steps: Vec<Box<dyn MigrationTrait>> = vec![
            Box::new(m0001_tables::Migration),
            Box::new(m0002_access::Migration),
            Box::new(m0003_subscriptions::Migration),
            Box::new(m0004_replicas::Migration),
        ];
        let whole = |step| Box::new(Whole(step)) as Box<dyn MigrationTrait>;
        steps.into_iter().map(whole).collect()
    }
}

/// A step that is taken whole or not at all, and so is its record: in one transaction,
/// which only Postgres would get unasked.
struct Whole(Box<dyn MigrationTrait>);

impl MigrationName for Whole {
    fn name(&self) -> &str {
        self.0.name()
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Whole {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        self.0.up(manager).await?;
        if manager.get_database_backend() == DbBackend::Postgres {
            let db = manager.get_connection();
            db.execute_unprepared(ORDERED_BY_BYTES).await?;
        }
        Ok(())
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

/// Postgres orders text as its language does, unless a column says otherwise: those that
/// this transaction has made.
const ORDERED_BY_BYTES: &str = r#"
DO $$ DECLARE made record; BEGIN
    FOR made IN
        SELECT a.attrelid::regclass AS relation, a.attname AS name,
               format_type(a.atttypid, a.atttypmod) AS type
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        WHERE a.xmin = pg_current_xact_id()::xid AND c.relkind = 'r' AND a.attnum > 0
          AND NOT a.attisdropped AND a.attcollation NOT IN (0, 'pg_catalog."C"'::regcollation)
    LOOP
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %I TYPE %s COLLATE "C"',
                       made.relation, made.name, made.type);
    END LOOP;
END $$"#;
