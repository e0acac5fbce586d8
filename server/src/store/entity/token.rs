//! Tokens.

use sea_orm::entity::prelude::*;

#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "token")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub secret_hash: String,
    #[sea_orm(column_type = "Text")]
    pub display_name: String,
    pub role: String,
    #[sea_orm(column_type = "Text")]
    pub community_ids: String,
    pub principal: String,
    pub expire_time: Option<i64>,
    pub create_time: i64,
    pub last_use_time: Option<i64>,
}

#[derive(Clone, Copy, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
