//! A step is taken whole or not at all, on a database whose driver does not see to it.

use sea_orm_migration::{
    prelude::{SchemaManager, Table},
    schema::integer,
    sea_orm::Database,
};

use super::*;

struct Broken;

impl MigrationName for Broken {
    fn name(&self) -> &str {
        "broken"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Broken {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create().table("half").col(integer("id")).to_owned();
        manager.create_table(table).await?;
        Err(DbErr::Custom("cut off".to_owned()))
    }
}

struct Cut;

#[async_trait::async_trait]
impl MigratorTrait for Cut {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        let mut steps = Migrator::migrations();
        steps.push(Box::new(Whole(Box::new(Broken))));
        steps
    }
}

#[tokio::test]
async fn a_step_that_is_cut_off_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/test.db?mode=rwc", folder.path().display());
    let db = Database::connect(&url).await.unwrap();
    assert!(Cut::up(&db, None).await.is_err());
    let manager = SchemaManager::new(&db);
    assert!(!manager.has_table("half").await.unwrap());
    assert!(manager.has_table("event").await.unwrap());
    // The steps before it were taken, and the build that knows no other goes on.
    let pending = Migrator::get_pending_migrations(&db).await.unwrap();
    assert!(pending.is_empty());
}
