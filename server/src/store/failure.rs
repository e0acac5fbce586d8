//! What the database's errors mean.

use sea_orm::{DbErr, RuntimeErr, SqlErr, sqlx::Error as SqlxError};

use crate::error::Error;

/// How a file says that it cannot be used now, and perhaps can later.
const AWAY: [&str; 5] = [
    "database is locked",
    "disk I/O error",
    "unable to open database",
    // SQLite has ended it by itself, as on a full disk: what the others wanted may do well.
    "no such savepoint",
    "no transaction is active",
];

/// What an error is for the caller. What the operator must see is logged here.
pub(super) fn failed(error: DbErr) -> Error {
    if matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_))) {
        // Every caller looks first, so somebody else was quicker.
        return Error::Changed;
    }
    if let Some(said) = sql_state(&error).and_then(|state| stated(&state, &error)) {
        return said;
    }
    let text = error.to_string();
    if text.contains("database or disk is full") || text.contains("No space left") {
        tracing::error!(%error, "the disk is full");
        return Error::StorageFull;
    }
    if text.contains("attempt to write a readonly database") {
        tracing::error!(%error, "the database's file may not be written");
        return Error::StoreReadOnly;
    }
    let is_away = |sign: &&str| text.contains(*sign);
    if AWAY.iter().any(is_away) || is_lost(&error) {
        tracing::error!(%error, "the database does not answer");
        return Error::StoreUnavailable;
    }
    Error::Internal(format!("database: {text}"))
}

/// What a server means by its code: https://www.postgresql.org/docs/current/errcodes-appendix.html
fn stated(state: &str, error: &DbErr) -> Option<Error> {
    match state {
        // Two changes at once that could not both be: the one that lost is run again.
        "40001" | "40P01" => Some(Error::Contended),
        "53100" => {
            tracing::error!(%error, "the disk of the database is full");
            Some(Error::StorageFull)
        }
        "25006" => {
            tracing::error!(%error, "the database is read-only: a standby, or default_transaction_read_only is on; lead the gateway to one that can be written");
            Some(Error::StoreReadOnly)
        }
        "57014" | "55P03" => {
            tracing::error!(%error, "the database took too long");
            Some(Error::StoreUnavailable)
        }
        // Connections, resources, an operator's hand, the system, a session that idled.
        _ if ["08", "53", "57P", "58"]
            .iter()
            .any(|class| state.starts_with(class)) =>
        {
            tracing::error!(%error, "the database does not answer");
            Some(Error::StoreUnavailable)
        }
        "25P03" | "25P04" => {
            tracing::error!(%error, "the database ended a session that took too long");
            Some(Error::StoreUnavailable)
        }
        "22021" => Some(Error::internal(
            "database: a text holds a NUL character, which it cannot keep",
        )),
        _ => None,
    }
}

/// The code with which a server said no. A file's errors have other ones: plain numbers.
fn sql_state(error: &DbErr) -> Option<String> {
    match driver(error)? {
        SqlxError::Database(error) => {
            let code = error.code()?;
            (code.len() == 5).then(|| code.into_owned())
        }
        _ => None,
    }
}

/// Whether there is no connection, or none any more.
fn is_lost(error: &DbErr) -> bool {
    let lost = |error| {
        matches!(
            error,
            &SqlxError::Io(_)
                | &SqlxError::Tls(_)
                | &SqlxError::Protocol(_)
                | &SqlxError::PoolTimedOut
                | &SqlxError::PoolClosed
                | &SqlxError::WorkerCrashed
        )
    };
    matches!(error, DbErr::Conn(_) | DbErr::ConnectionAcquire(_)) || driver(error).is_some_and(lost)
}

fn driver(error: &DbErr) -> Option<&SqlxError> {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(error))
        | DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error)) => Some(error),
        _ => None,
    }
}
