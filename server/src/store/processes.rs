//! Processes, and the ballots of those whose votes the gateway holds.

use sea_orm::{
    ActiveModelTrait,
    ActiveValue::{NotSet, Set},
    ColumnTrait, EntityTrait, ExprTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect,
    QueryTrait,
    sea_query::{Expr, LockType, OnConflict},
};
use uuid::Uuid;

use super::{
    Keys, Rows, Tx, communities,
    entity::{ballot, process},
    failed, from_text, from_word, storable, to_text, to_word,
};
use crate::{
    error::{Error, Result, Thing},
    model::{Ballot, CommunityId, InstallationId, Process, ProcessId, ProcessState, Scope, Time},
};

/// One process.
pub async fn find(at: &impl Rows, id: ProcessId) -> Result<Process> {
    let Some(cache) = at.cache() else {
        return find_row(at, id).await;
    };
    let rows = &cache.processes;
    rows.get(cache, id.0, find_row(at, id)).await
}

async fn find_row(at: &impl Rows, id: ProcessId) -> Result<Process> {
    let row = process::Entity::find_by_id(id.0)
        .one(at.rows())
        .await
        .map_err(failed)?;
    let row = row.ok_or(Error::NotFound(Thing::Process(id)))?;
    read(at.keys(), row)
}

/// The process that a platform calls `key`.
pub async fn find_by_key(
    at: &impl Rows,
    installation: InstallationId,
    key: &str,
) -> Result<Option<Process>> {
    let row = process::Entity::find()
        .filter(process::Column::InstallationId.eq(installation.0))
        .filter(process::Column::Key.eq(storable(key)))
        .one(at.rows())
        .await
        .map_err(failed)?;
    row.map(|row| read(at.keys(), row)).transpose()
}

/// Which processes to list.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Within this.
    pub scope: Scope,
    /// Of any of these communities; empty means of all.
    pub community_ids: Vec<CommunityId>,
    /// Of this installation.
    pub installation_id: Option<InstallationId>,
    /// In any of these states; empty means in all.
    pub states: Vec<ProcessState>,
    /// Of this full name.
    pub process_type: Option<String>,
    /// Started before this one.
    pub before: Option<ProcessId>,
}

impl Wanted {
    /// Those of one installation, in any of these states.
    pub fn of(installation: InstallationId, states: &[ProcessState]) -> Self {
        Self {
            installation_id: Some(installation),
            states: states.to_vec(),
            ..Self::default()
        }
    }
}

/// Up to `limit` processes, newest first.
pub async fn list(at: &impl Rows, wanted: &Wanted, limit: u64) -> Result<Vec<Process>> {
    let mut query = process::Entity::find()
        .order_by_desc(process::Column::Id)
        .limit(limit);
    if let Scope::Only(communities) = &wanted.scope {
        let ids = communities.iter().map(CommunityId::as_str);
        query = query.filter(process::Column::CommunityId.is_in(ids));
    }
    if !wanted.community_ids.is_empty() {
        let ids = wanted.community_ids.iter().map(CommunityId::as_str);
        query = query.filter(process::Column::CommunityId.is_in(ids));
    }
    if let Some(id) = wanted.installation_id {
        query = query.filter(process::Column::InstallationId.eq(id.0));
    }
    if !wanted.states.is_empty() {
        let words = wanted
            .states
            .iter()
            .map(to_word)
            .collect::<Result<Vec<_>>>()?;
        query = query.filter(process::Column::State.is_in(words));
    }
    if let Some(name) = &wanted.process_type {
        query = query.filter(process::Column::ProcessType.eq(name.as_str()));
    }
    if let Some(before) = wanted.before {
        query = query.filter(process::Column::Id.lt(before.0));
    }
    let rows = query.all(at.rows()).await.map_err(failed)?;
    rows.into_iter().map(|row| read(at.keys(), row)).collect()
}

/// Adds a process that is starting, until `lease` at most.
pub async fn insert(tx: &Tx, process: &Process, lease: Time) -> Result<()> {
    let mut row = row(tx.keys(), process)?;
    // Nobody may find it by a key before its platform gave one.
    row.key = None;
    row.lease_time = Some(lease.0);
    let insert = process::Entity::insert(row.into_active_model());
    insert
        .exec_without_returning(tx.rows())
        .await
        .map_err(failed)?;
    Ok(())
}

/// Replaces a process, if it still has the revision and state that were read; else
/// [`Error::Changed`].
pub async fn save(tx: &Tx, process: &Process, read: (i64, ProcessState)) -> Result<()> {
    let done = process.state.is_done();
    let mut row = row(tx.keys(), process)?.into_active_model().reset_all();
    // Written once, by `insert`; rows are rewritten whole, so keep them small.
    row.not_set(process::Column::Parameters);
    row.lease_time = Set(None);
    if done {
        row.refresh_time = Set(None);
    } else {
        // A change does not make up for what is still to be asked.
        row.not_set(process::Column::RefreshTime);
    }
    row.refresh_failures = Set(0);
    row.timer_time = match process.close_time.filter(|_| !done) {
        // Closing is being tried again already, at its own pace.
        Some(time) if time <= process.update_time && read.0 > 0 => NotSet,
        time => Set(time.map(|time| time.0)),
    };
    let saved = process::Entity::update_many()
        .set(row)
        .filter(process::Column::Id.eq(process.id.0))
        .filter(process::Column::Revision.eq(read.0))
        .filter(process::Column::State.eq(to_word(&read.1)?))
        .exec(tx.rows())
        .await
        .map_err(failed)?;
    if saved.rows_affected == 0 {
        Err(Error::Changed)
    } else {
        Ok(())
    }
}

/// Replaces what only the plugin knows of an open process; outside it looks the same.
pub async fn save_private(tx: &Tx, process: &Process) -> Result<()> {
    let saved = process::Entity::update_many()
        .col_expr(
            process::Column::Private,
            Expr::value(seal_private(tx.keys(), process)?),
        )
        .filter(process::Column::Id.eq(process.id.0))
        .filter(process::Column::Revision.eq(process.revision))
        .exec(tx.rows())
        .await
        .map_err(failed)?;
    if saved.rows_affected == 0 {
        Err(Error::Changed)
    } else {
        Ok(())
    }
}

/// Takes a process for this transaction: others that take it wait for the commit.
pub async fn take(tx: &Tx, id: ProcessId) -> Result<Process> {
    let community: Option<String> = process::Entity::find_by_id(id.0)
        .select_only()
        .column(process::Column::CommunityId)
        .into_tuple()
        .one(tx.rows())
        .await
        .map_err(failed)?;
    let community = community.ok_or(Error::NotFound(Thing::Process(id)))?;
    take_in(tx, &CommunityId::trusted(community), id).await
}

/// The same for one whose community is known. Whoever deletes a community has it before
/// its processes; so have the others, or each would wait for the other.
pub async fn take_in(tx: &Tx, community: &CommunityId, id: ProcessId) -> Result<Process> {
    communities::find(tx, community).await?;
    let row = process::Entity::find_by_id(id.0)
        .lock(LockType::NoKeyUpdate)
        .one(tx.rows())
        .await
        .map_err(failed)?;
    let row = row.ok_or(Error::NotFound(Thing::Process(id)))?;
    read(tx.keys(), row)
}

/// Removes a process that is still starting: nobody was told of it, and it has no
/// ballots.
pub async fn delete_starting(tx: &Tx, id: ProcessId) -> Result<()> {
    process::Entity::delete_by_id(id.0)
        .filter(process::Column::State.eq(to_word(&ProcessState::Starting)?))
        .exec(tx.rows())
        .await
        .map_err(failed)?;
    Ok(())
}

/// Removes all processes of a community with their ballots.
pub async fn delete_all(tx: &Tx, community: &CommunityId) -> Result<()> {
    // Nobody votes any more: a ballot that came now would stay without its process.
    let taken: Vec<Uuid> = process::Entity::find()
        .select_only()
        .column(process::Column::Id)
        .filter(process::Column::CommunityId.eq(community.as_str()))
        .order_by_asc(process::Column::Id)
        .lock(LockType::Update)
        .into_tuple()
        .all(tx.rows())
        .await
        .map_err(failed)?;
    if taken.is_empty() {
        return Ok(());
    }
    let ids = process::Entity::find()
        .select_only()
        .column(process::Column::Id)
        .filter(process::Column::CommunityId.eq(community.as_str()))
        .into_query();
    ballot::Entity::delete_many()
        .filter(ballot::Column::ProcessId.in_subquery(ids))
        .exec(tx.rows())
        .await
        .map_err(failed)?;
    process::Entity::delete_many()
        .filter(process::Column::CommunityId.eq(community.as_str()))
        .exec(tx.rows())
        .await
        .map_err(failed)?;
    Ok(())
}

/// Which clock of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// When the gateway closes it.
    Timer,
    /// When the platform is asked how it stands.
    Refresh,
}

impl Clock {
    fn column(self) -> process::Column {
        match self {
            Self::Timer => process::Column::TimerTime,
            Self::Refresh => process::Column::RefreshTime,
        }
    }
}

/// Sets one clock of a process, unless it is done.
pub async fn set_clock(tx: &Tx, id: ProcessId, clock: Clock, time: Option<Time>) -> Result<()> {
    process::Entity::update_many()
        .col_expr(clock.column(), Expr::value(time.map(|time| time.0)))
        .filter(process::Column::Id.eq(id.0))
        .filter(process::Column::EndTime.is_null())
        .exec(tx.rows())
        .await
        .map_err(failed)?;
    Ok(())
}

/// Forgets what was to be asked by then, and how often that had failed. What became due
/// later still is.
pub async fn refreshed(tx: &Tx, id: ProcessId, asked: Time) -> Result<()> {
    process::Entity::update_many()
        .col_expr(process::Column::RefreshTime, Expr::value(None::<i64>))
        .col_expr(process::Column::RefreshFailures, Expr::value(0))
        .filter(process::Column::Id.eq(id.0))
        .filter(process::Column::RefreshTime.lte(asked.0))
        .exec(tx.rows())
        .await
        .map_err(failed)?;
    Ok(())
}

/// Counts a refresh that failed, and says when to ask again.
pub async fn refresh_failed(tx: &Tx, id: ProcessId, again: Time) -> Result<()> {
    let failures = Expr::col(process::Column::RefreshFailures).add(1);
    process::Entity::update_many()
        .col_expr(process::Column::RefreshTime, Expr::value(again.0))
        .col_expr(process::Column::RefreshFailures, failures)
        .filter(process::Column::Id.eq(id.0))
        .filter(process::Column::EndTime.is_null())
        .exec(tx.rows())
        .await
        .map_err(failed)?;
    Ok(())
}

/// How often in a row asking how a process stands has failed.
pub async fn refresh_failures(at: &impl Rows, id: ProcessId) -> Result<i32> {
    let failures: Option<i32> = process::Entity::find_by_id(id.0)
        .select_only()
        .column(process::Column::RefreshFailures)
        .into_tuple()
        .one(at.rows())
        .await
        .map_err(failed)?;
    Ok(failures.unwrap_or(0))
}

/// A voter's ballot.
pub async fn ballot(
    at: &impl Rows,
    id: ProcessId,
    voter: &str,
    subject: &str,
) -> Result<Option<Ballot>> {
    let key = (id.0, voter.to_owned(), subject.to_owned());
    let row = ballot::Entity::find_by_id(key)
        .one(at.rows())
        .await
        .map_err(failed)?;
    row.map(read_ballot).transpose()
}

/// All ballots of a process, by voter and subject; at most `limit`.
pub async fn ballots(at: &impl Rows, id: ProcessId, limit: Option<u64>) -> Result<Vec<Ballot>> {
    let rows = ballot::Entity::find()
        .filter(ballot::Column::ProcessId.eq(id.0))
        .order_by_asc(ballot::Column::Voter)
        .order_by_asc(ballot::Column::Subject)
        .limit(limit)
        .all(at.rows())
        .await
        .map_err(failed)?;
    rows.into_iter().map(read_ballot).collect()
}

/// Keeps a ballot in place of the voter's ballot before.
pub async fn put_ballot(tx: &Tx, id: ProcessId, ballot: &Ballot) -> Result<()> {
    let row = ballot::Model {
        process_id: id.0,
        voter: ballot.voter.clone(),
        subject: ballot.subject.clone(),
        choices: to_text(&ballot.choices)?,
        cast_time: tx.now.0,
    };
    let key = [
        ballot::Column::ProcessId,
        ballot::Column::Voter,
        ballot::Column::Subject,
    ];
    let new = [ballot::Column::Choices, ballot::Column::CastTime];
    ballot::Entity::insert(row.into_active_model())
        .on_conflict(OnConflict::columns(key).update_columns(new).to_owned())
        .exec_without_returning(tx.rows())
        .await
        .map_err(failed)?;
    Ok(())
}

fn read_ballot(row: ballot::Model) -> Result<Ballot> {
    Ok(Ballot {
        voter: row.voter,
        subject: row.subject,
        choices: from_text(&row.choices)?,
    })
}

/// What only the plugin knows of a process may be what its platform told it alone.
fn private_place(id: &str) -> [&str; 2] {
    ["process.private", id]
}

fn seal_private(keys: &Keys, process: &Process) -> Result<String> {
    let id = process.id.0.to_string();
    keys.seal_json(&private_place(&id), &process.private)
}

fn row(keys: &Keys, process: &Process) -> Result<process::Model> {
    Ok(process::Model {
        id: process.id.0,
        community_id: process.community_id.to_string(),
        installation_id: process.installation_id.0,
        process_type: process.process_type.clone(),
        state: to_word(&process.state)?,
        key: Some(storable(&process.key)).filter(|key| !key.is_empty()),
        url: storable(&process.url),
        title: storable(&process.title),
        parameters: to_text(&process.parameters)?,
        private: seal_private(keys, process)?,
        outcome: to_text(&process.outcome)?,
        tally: process.tally.as_ref().map(to_text).transpose()?,
        error: process.error.as_ref().map(to_text).transpose()?,
        end_reason: storable(&process.end_reason),
        revision: process.revision,
        create_time: process.create_time.0,
        update_time: process.update_time.0,
        end_time: process.end_time.map(|time| time.0),
        close_time: process.close_time.map(|time| time.0),
        lease_time: None,
        timer_time: None,
        refresh_time: None,
        refresh_failures: 0,
    })
}

fn read(keys: &Keys, row: process::Model) -> Result<Process> {
    let private = keys.open_json(&private_place(&row.id.to_string()), &row.private)?;
    Ok(Process {
        id: ProcessId(row.id),
        community_id: CommunityId::trusted(row.community_id),
        installation_id: InstallationId(row.installation_id),
        process_type: row.process_type,
        state: from_word(row.state)?,
        url: row.url,
        parameters: from_text(&row.parameters)?,
        outcome: from_text(&row.outcome)?,
        error: row.error.as_deref().map(from_text).transpose()?,
        create_time: Time(row.create_time),
        update_time: Time(row.update_time),
        end_time: row.end_time.map(Time),
        revision: row.revision,
        title: row.title,
        close_time: row.close_time.map(Time),
        tally: row.tally.as_deref().map(from_text).transpose()?,
        end_reason: row.end_reason,
        key: row.key.unwrap_or_default(),
        private,
    })
}
