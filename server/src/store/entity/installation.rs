//! Plugins enabled for communities.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "installation")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub community_id: String,
    pub plugin: String,
    pub platform_id: String,
    #[sea_orm(column_type = "Text")]
    pub config: String,
    #[sea_orm(column_type = "Text")]
    pub secrets: String,
    pub slug: String,
    pub old_slug: Option<String>,
    pub old_slug_expire_time: Option<i64>,
    pub create_time: i64,
    pub update_time: i64,
    pub etag: String,
    #[sea_orm(column_type = "Text")]
    pub problem: Option<String>,
    pub problem_time: Option<i64>,
    pub poll_time: Option<i64>,
    pub poll_failures: i32,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
