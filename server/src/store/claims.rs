//! Claims: which of several gateways does what is due, and who of them lives.
//!
//! A gateway that runs says so in a row of its own (`replica`), every second, by the
//! database's clock. What it does it has claimed before: its id stands in the row of the
//! thing, with a number that counts the claims of it. A thing may be claimed if nobody
//! has it, or a gateway whose own row ran out: so one that was killed is followed within
//! seconds, however long it had wanted to take. Whoever was asleep meanwhile finds the
//! number changed when it writes what it did ([`release`], [`hold`]), and writes nothing.
//!
//! A gateway that lives may not know of a claim of its own: the answer to its COMMIT was
//! lost, or it had given the thing up, too late by its own clock and not by the
//! database's. So it says what it is doing ([`Claimer`]); what else stands under its id
//! is free for it, and the new claim's number again tells the old one from it.

use sea_orm::{
    ConnectionTrait, ExprTrait, QueryResult,
    sea_query::{Expr, LockBehavior, LockType, Order, Query, SelectStatement, SimpleExpr},
};
use uuid::Uuid;

use super::{Rows, Tx, failed, installations};
use crate::{
    error::{Error, Result},
    model::{InstallationId, Time},
    proof::{Bug, is},
};

/// What can be claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Work {
    /// A start that never ended, to be marked as lost.
    LostStart,
    /// A process whose close_time has come.
    Close,
    /// A process that is to be asked how it stands.
    Refresh,
    /// A platform that is asked in intervals.
    Poll,
    /// A delivery that waits.
    Delivery,
    /// Something that a platform is to be asked.
    Fetch,
    /// Credentials that are to be renewed. They are never due: steps want them.
    Credentials,
}

/// Where the claims of some work stand.
struct Place {
    table: &'static str,
    id: &'static str,
    due: &'static str,
    installation: &'static str,
    replica: &'static str,
    number: &'static str,
}

impl Work {
    /// What becomes due, the most urgent first.
    pub const DUE: [Self; 6] = [
        Self::Close,
        Self::LostStart,
        Self::Delivery,
        Self::Refresh,
        Self::Fetch,
        Self::Poll,
    ];

    fn place(self) -> Place {
        let process = Place {
            table: "process",
            id: "id",
            due: "timer_time",
            installation: "installation_id",
            replica: "claim_replica_id",
            number: "claim_number",
        };
        match self {
            Self::Close => process,
            Self::LostStart => Place {
                due: "lease_time",
                ..process
            },
            Self::Refresh => Place {
                due: "refresh_time",
                replica: "refresh_claim_replica_id",
                number: "refresh_claim_number",
                ..process
            },
            Self::Poll => Place {
                table: "installation",
                due: "poll_time",
                installation: "id",
                ..process
            },
            Self::Delivery => Place {
                table: "delivery",
                due: "next_attempt_time",
                ..process
            },
            Self::Fetch => Place {
                table: "fetch",
                due: "next_time",
                ..process
            },
            Self::Credentials => Place {
                table: "credential",
                id: "installation_id",
                due: "expire_time",
                ..process
            },
        }
    }
}

/// A claim of one thing by one gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// What is to be done.
    pub work: Work,
    /// With what.
    pub id: Uuid,
    /// Of which installation it is.
    pub installation_id: InstallationId,
    /// Whose claim it is.
    pub replica: Uuid,
    /// The how manyth claim of the thing.
    pub number: i64,
}

/// A gateway that claims some work.
#[derive(Clone, Debug, Default)]
pub struct Claimer {
    /// Its id.
    pub replica: Uuid,
    /// What of that work it is doing under this id.
    pub doing: Vec<Uuid>,
}

/// What to claim of some work.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// For this one.
    pub by: Claimer,
    /// So many at most.
    pub limit: u64,
    /// Nothing of these installations.
    pub not_of: Vec<InstallationId>,
}

/// Claims what is due by now, longest due first. What another transaction has in its
/// hands is left to it. Nothing, if this gateway's own time ran out: its claims would be
/// free to all, and to itself, as soon as they are made.
pub async fn claim_due(tx: &Tx, work: Work, wanted: &Wanted) -> Result<Vec<Claim>> {
    let place = work.place();
    let mut due = free(&place, &wanted.by, tx.now);
    let now = match is(Bug::LocalClock) {
        true => Time::now(),
        false => tx.now,
    };
    due.and_where(Expr::col(place.due).lte(now.0))
        .order_by(place.due, Order::Asc)
        .limit(wanted.limit)
        .lock_with_behavior(LockType::NoKeyUpdate, LockBehavior::SkipLocked);
    leave_out(&mut due, &place, wanted);
    claim(tx, wanted.by.replica, work, due).await
}

/// Claims one thing, due or not; `None` if another has it, it is gone, or this gateway's
/// own time ran out.
pub async fn claim_one(tx: &Tx, by: &Claimer, work: Work, id: Uuid) -> Result<Option<Claim>> {
    let place = work.place();
    let mut one = free(&place, by, tx.now);
    one.and_where(Expr::col(place.id).eq(id))
        .lock(LockType::NoKeyUpdate);
    Ok(claim(tx, by.replica, work, one).await?.pop())
}

async fn claim(tx: &Tx, replica: Uuid, work: Work, which: SelectStatement) -> Result<Vec<Claim>> {
    let place = work.place();
    let mut update = Query::update();
    update
        .table(place.table)
        .value(place.replica, replica)
        .value(place.number, Expr::col(place.number).add(1))
        .and_where(Expr::col(place.id).in_subquery(which))
        .and_where(Expr::val(replica).in_subquery(living(tx.now)))
        .returning(Query::returning().columns([place.id, place.installation, place.number]));
    let rows = tx.rows().query_all(&update).await.map_err(failed)?;
    let read = |row: QueryResult| -> Result<Claim> {
        Ok(Claim {
            work,
            id: row.try_get("", place.id).map_err(failed)?,
            installation_id: InstallationId(row.try_get("", place.installation).map_err(failed)?),
            replica,
            number: row.try_get("", place.number).map_err(failed)?,
        })
    };
    rows.into_iter().map(read).collect()
}

/// When the next thing that may be claimed is due.
pub async fn next_due(
    at: &impl Rows,
    work: Work,
    wanted: &Wanted,
    now: Time,
) -> Result<Option<Time>> {
    let place = work.place();
    let mut next = free(&place, &wanted.by, now);
    next.column(place.due)
        .and_where(Expr::col(place.due).is_not_null())
        .order_by(place.due, Order::Asc)
        .limit(1);
    leave_out(&mut next, &place, wanted);
    let row = at.rows().query_one(&next).await.map_err(failed)?;
    let time = row.map(|row| row.try_get("", place.due).map_err(failed));
    Ok(time.transpose()?.map(Time))
}

/// Gives a claim back, in the transaction of what was done under it. It is
/// [`Error::ClaimLost`] if another has taken the thing meanwhile: then nothing of the
/// transaction may stay.
pub async fn release(tx: &Tx, claim: &Claim) -> Result<()> {
    keep_installation(tx, claim).await?;
    let place = claim.work.place();
    let mut update = Query::update();
    update
        .table(place.table)
        .value(place.replica, Option::<Uuid>::None)
        .and_where(is_held(&place, claim));
    let released = tx.rows().execute(&update).await.map_err(failed)?;
    match released.rows_affected() {
        0 if is(Bug::NoFencing) => Ok(()),
        0 => Err(Error::ClaimLost),
        _ => Ok(()),
    }
}

/// The same, for what is not yet all: the claim is kept, and nobody takes it before the
/// commit.
pub async fn hold(tx: &Tx, claim: &Claim) -> Result<()> {
    keep_installation(tx, claim).await?;
    let place = claim.work.place();
    let mut select = Query::select();
    select
        .column(place.id)
        .from(place.table)
        .and_where(is_held(&place, claim))
        .lock(LockType::NoKeyUpdate);
    let held = tx.rows().query_one(&select).await.map_err(failed)?;
    held.map(drop).ok_or(Error::ClaimLost)
}

/// Whoever deletes an installation has it before what is to be done for it.
async fn keep_installation(tx: &Tx, claim: &Claim) -> Result<()> {
    match installations::keep(tx, claim.installation_id).await {
        // Its row says whether that is left; a process is.
        Err(Error::NotFound(_)) => Ok(()),
        kept => kept,
    }
}

fn is_held(place: &Place, claim: &Claim) -> SimpleExpr {
    Expr::col(place.id)
        .eq(claim.id)
        .and(Expr::col(place.number).eq(claim.number))
        .and(Expr::col(place.replica).eq(claim.replica))
}

/// The things that no gateway has that lives, or this one without knowing it.
fn free(place: &Place, by: &Claimer, now: Time) -> SelectStatement {
    let nobody = Expr::col(place.replica).is_null();
    let dead = Expr::col(place.replica).not_in_subquery(living(now));
    let mut free = Query::select();
    free.column(place.id)
        .from(place.table)
        .and_where(nobody.or(dead).or(is_forgotten(place, by)));
    free
}

fn is_forgotten(place: &Place, by: &Claimer) -> SimpleExpr {
    let own = Expr::col(place.replica).eq(by.replica);
    let Some(last) = by.doing.last() else {
        return own;
    };
    // Few lengths make few statements, which the database then knows already.
    let mut doing = by.doing.clone();
    doing.resize(doing.len().next_power_of_two(), *last);
    own.and(Expr::col(place.id).is_not_in(doing))
}

/// The gateways that said lately enough that they run.
fn living(now: Time) -> SelectStatement {
    Query::select()
        .column("id")
        .from("replica")
        .and_where(Expr::col("expire_time").gt(now.0))
        .to_owned()
}

fn leave_out(select: &mut SelectStatement, place: &Place, wanted: &Wanted) {
    if !wanted.not_of.is_empty() {
        let ids = wanted.not_of.iter().map(|id| id.0);
        select.and_where(Expr::col(place.installation).is_not_in(ids));
    }
}

/// A gateway that runs.
#[derive(Clone, Debug)]
pub struct Replica {
    /// Random, and another each time it has to begin anew.
    pub id: Uuid,
    /// Its build.
    pub version: &'static str,
}

/// Says that a gateway runs, until then. What another of its ids has claimed may be taken.
pub async fn begin(tx: &Tx, replica: &Replica, until: Time) -> Result<()> {
    let mut insert = Query::insert();
    insert
        .into_table("replica")
        .columns(["id", "expire_time", "version", "start_time"])
        .values_panic([
            replica.id.into(),
            until.0.into(),
            replica.version.into(),
            tx.now.0.into(),
        ]);
    tx.rows().execute(&insert).await.map_err(failed)?;
    Ok(())
}

/// Says that it still runs. False if its time has run out: others may have taken what it
/// had, so it must begin anew.
pub async fn renew(tx: &Tx, id: Uuid, until: Time) -> Result<bool> {
    let mut update = Query::update();
    update
        .table("replica")
        .value("expire_time", until.0)
        .and_where(Expr::col("id").eq(id))
        .and_where(Expr::col("expire_time").gt(tx.now.0));
    let renewed = tx.rows().execute(&update).await.map_err(failed)?;
    Ok(renewed.rows_affected() > 0)
}

/// Says that it ends: what it has may be taken at once.
pub async fn end(tx: &Tx, id: Uuid) -> Result<()> {
    let mut delete = Query::delete();
    delete
        .from_table("replica")
        .and_where(Expr::col("id").eq(id));
    tx.rows().execute(&delete).await.map_err(failed)?;
    Ok(())
}

/// Forgets gateways whose time ran out before then. How many.
pub async fn trim(tx: &Tx, before: Time) -> Result<u64> {
    let mut delete = Query::delete();
    delete
        .from_table("replica")
        .and_where(Expr::col("expire_time").lt(before.0));
    let gone = tx.rows().execute(&delete).await.map_err(failed)?;
    Ok(gone.rows_affected())
}

/// What only one gateway does at a time, in a transaction. Taken as late in it as can be:
/// all others wait for the commit.
#[derive(Clone, Copy, Debug)]
pub enum Turn {
    /// Appending to the audit.
    Audit,
    /// Creating tokens.
    Token,
}

/// Waits for a turn, which ends with the transaction.
pub async fn turn(tx: &Tx, turn: Turn) -> Result<()> {
    let name = match turn {
        Turn::Audit => "audit",
        Turn::Token => "token",
    };
    let mut select = Query::select();
    select
        .column("name")
        .from("turn")
        .and_where(Expr::col("name").eq(name))
        .lock(LockType::Update);
    let row = tx.rows().query_one(&select).await.map_err(failed)?;
    row.map(drop)
        .ok_or_else(|| Error::internal(format!("the turn {name} has no row")))
}
