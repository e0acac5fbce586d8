//! Postgres: how it is reached, what is asserted of it, how its sessions are set.
//!
//! Everything is set by statements after connecting, not by start-up parameters, so that
//! it holds behind a proxy of sessions, too. What is asserted is asserted of every new
//! session: the server at the other end may be another one than a minute ago.

use std::{io, str::FromStr, time::Duration};

use sea_orm::{
    DatabaseConnection, SqlxPostgresConnector,
    sqlx::{
        AssertSqlSafe, ConnectOptions as _, Connection as _, Error as SqlxError, Executor,
        PgConnection, Row,
        postgres::{PgConnectOptions, PgPoolOptions},
    },
};
use tokio::time::{Instant, sleep, timeout};

use super::UNTIDIED;
use crate::{
    error::{Error, Result},
    proof::{Bug, is},
};

/// The oldest Postgres that is served.
const MIN_VERSION: i32 = 14;
/// How long a call waits for a connection.
const ACQUIRE: Duration = Duration::from_secs(5);
/// A connection that is older is replaced when it is next needed: what a session keeps in
/// memory only grows.
const MAX_AGE: Duration = Duration::from_secs(1800);
/// A connection that was idle for so long is asked whether it lives before it is used.
const PING_AFTER: Duration = Duration::from_secs(1);

/// How long a change may idle in its transaction. It is run with nothing else in between,
/// so one that idles belongs to a gateway that hangs or is paused, and keeps all others
/// waiting: it ends while the timers that came due can still be in time.
const IDLE: Duration = Duration::from_secs(1);
/// It idles between two statements for as long as the way to the gateway and back takes.
const IDLE_WAYS: u32 = 4;
/// But it ends before the others' patience with its locks does.
const MAX_IDLE: Duration = Duration::from_secs(10);

/// How long a server that does not answer is left alone.
const AGAIN: Duration = Duration::from_millis(500);
/// How often the log says that it is waited for.
const WORD_EVERY: Duration = Duration::from_secs(5);
/// How long the sessions of a gateway that has ended may last.
const LAST_BREATH: Duration = Duration::from_secs(2);
/// The advisory lock of the [`Turn`]: "metagov" and a number.
const TURN: i64 = 0x6d65_7461_676f_7601;
/// The advisory lock that all running gateways share.
const SERVING: i64 = 0x6d65_7461_676f_7602;

/// What a connection is for: how long its statements may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Tables are made, and steps of other gateways waited for: no limit.
    Migrates,
    /// Reads for calls and streams.
    Reads,
    /// Runs the changes, holding the log's row.
    Writes,
    /// Hears and looks what others commit. As long as such a session lives, the gateway
    /// counts as running.
    Watches,
}

/// Whether a URL names a Postgres.
pub(super) fn is_named_by(url: &str) -> bool {
    url.starts_with("postgres://") || url.starts_with("postgresql://")
}

/// What a URL says, without connecting.
pub(super) fn parse(url: &str) -> Result<PgConnectOptions> {
    let options = PgConnectOptions::from_str(url);
    let options = options.map_err(|error| Error::internal(format!("the URL: {error}")))?;
    Ok(options
        .application_name("metagov")
        // Such as that a table of the migrations is there already.
        .options([("client_min_messages", "warning")])
        .disable_statement_logging())
}

/// Connections, made when they are first needed.
pub(super) fn pool(options: &PgConnectOptions, role: Role, connections: u32) -> DatabaseConnection {
    let pool = PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE)
        .test_before_acquire(false)
        .idle_timeout(UNTIDIED)
        .max_lifetime(UNTIDIED)
        .before_acquire(|session, meta| {
            Box::pin(async move {
                if meta.age >= MAX_AGE {
                    return Ok(false);
                }
                if meta.idle_for >= PING_AFTER {
                    session.ping().await?;
                }
                Ok(true)
            })
        })
        .after_connect(move |session, _| {
            Box::pin(async move {
                let asked = Instant::now();
                session.execute(AssertSqlSafe(settings(role))).await?;
                assert_durable(session, idle(role, asked.elapsed())).await
            })
        })
        .connect_lazy_with(options.clone());
    SqlxPostgresConnector::from_sqlx_postgres_pool(pool)
}

/// The right to bring the tables up to date, which one gateway has at a time.
pub(super) struct Turn(PgConnection);

impl Turn {
    /// Whether no gateway runs; none can be started until the turn ends.
    /// Sessions of one that has just ended may still be there for a moment.
    pub(super) async fn is_alone(&mut self) -> Result<bool> {
        let until = Instant::now() + LAST_BREATH;
        loop {
            let is_alone = self.try_to_be_alone().await;
            if is_alone.map_err(|error| unanswered(&error))? {
                return Ok(true);
            }
            if Instant::now() >= until {
                return Ok(false);
            }
            sleep(LAST_BREATH / 20).await;
        }
    }

    async fn try_to_be_alone(&mut self) -> Result<bool, SqlxError> {
        let lock = format!("SELECT pg_try_advisory_lock({SERVING})");
        let row = self.0.fetch_one(AssertSqlSafe(lock)).await?;
        row.try_get(0)
    }

    pub(super) async fn end(self) {
        // The lock ends with its session, whether or not it says so.
        _ = self.0.close().await;
    }
}

/// Waits for the server, if it does not answer, and then for the turn.
pub(super) async fn take_turn(options: &PgConnectOptions, wait: Duration) -> Result<Turn> {
    let mut session = wait_for(options, wait).await?;
    let lock = format!("SELECT pg_advisory_lock({TURN})");
    let taken = session.execute(AssertSqlSafe(lock)).await;
    taken.map_err(|error| unanswered(&error))?;
    Ok(Turn(session))
}

/// A session on the server, which may still have to start.
async fn wait_for(options: &PgConnectOptions, wait: Duration) -> Result<PgConnection> {
    let until = Instant::now() + wait;
    let mut next_word = Instant::now();
    loop {
        let error = match timeout(ACQUIRE, writable_session(options)).await {
            Ok(Ok(session)) => return Ok(session),
            Ok(Err(error)) if !may_pass(&error) => return Err(unanswered(&error)),
            Ok(Err(error)) => error,
            Err(_) => SqlxError::PoolTimedOut,
        };
        let now = Instant::now();
        if now >= until {
            let waited = wait.as_secs();
            let error = unanswered(&error).to_string();
            let error = error.trim_start_matches("internal: ");
            return Err(Error::internal(format!(
                "{error}; waited {waited} s (--database-wait)"
            )));
        }
        if now >= next_word {
            let left = until.duration_since(now).as_secs();
            tracing::warn!(%error, "waiting for the database, for up to {left} s");
            next_word = now + WORD_EVERY;
        }
        sleep(AGAIN.min(until.duration_since(now))).await;
    }
}

/// Whether a server that cannot be reached now may be so soon.
fn may_pass(error: &SqlxError) -> bool {
    match error {
        SqlxError::Io(_) | SqlxError::PoolTimedOut => true,
        SqlxError::Database(error) => error
            .code()
            .is_some_and(|code| ["57P03", "57P01", "57P02", "53300"].contains(&&*code)),
        _ => false,
    }
}

fn unanswered(error: &SqlxError) -> Error {
    Error::internal(match error {
        // Our own sentence.
        SqlxError::Configuration(why) => why.to_string(),
        SqlxError::PoolTimedOut => "it does not answer".to_owned(),
        error => error.to_string(),
    })
}

/// A session outside of all pools, on a server that can be written.
async fn writable_session(options: &PgConnectOptions) -> Result<PgConnection, SqlxError> {
    let mut session = options.connect().await?;
    let role = Role::Migrates;
    session.execute(AssertSqlSafe(settings(role))).await?;
    assert_durable(&mut session, idle(role, Duration::ZERO)).await?;
    let row = session.fetch_one("SHOW transaction_read_only").await?;
    match row.try_get(0)? {
        "off" => Ok(session),
        // As after a fail-over, before the other one is promoted.
        _ => Err(SqlxError::Io(io::Error::other("it is read-only"))),
    }
}

/// How long a session may idle in a transaction, zero for ever, if so long is the way to
/// its server and back.
fn idle(role: Role, way: Duration) -> Duration {
    match role {
        Role::Migrates => Duration::ZERO,
        Role::Reads => Duration::from_secs(60),
        Role::Writes => (way * IDLE_WAYS).clamp(IDLE, MAX_IDLE),
        Role::Watches => Duration::from_secs(5),
    }
}

/// How a session is set, but for how long it may idle.
fn settings(role: Role) -> String {
    let (statement, lock) = match role {
        Role::Migrates => (0, 0),
        Role::Reads => (30, 10),
        Role::Writes => (60, 15),
        Role::Watches => (10, 10),
    };
    let commit = match is(Bug::LazySync) {
        true => "off",
        false => "on",
    };
    let serving = match role {
        Role::Watches => format!("; SELECT pg_advisory_lock_shared({SERVING})"),
        _ => String::new(),
    };
    format!(
        "SET statement_timeout = '{statement}s'; SET lock_timeout = '{lock}s'; \
         SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3; \
         SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED; \
         SELECT set_config('synchronous_commit', '{commit}', false) \
         WHERE current_setting('synchronous_commit') <> 'remote_apply'{serving}"
    )
}

/// A commit of Postgres is only durable with these settings. On the same way to the server
/// the session is told how long it may idle in a transaction.
async fn assert_durable(session: &mut PgConnection, idle: Duration) -> Result<(), SqlxError> {
    let asserted = format!(
        "SELECT current_setting('server_version_num')::int / 10000, \
         current_setting('fsync'), current_setting('full_page_writes'), \
         current_setting('synchronous_commit'), current_setting('server_encoding'), \
         set_config('idle_in_transaction_session_timeout', '{}', false)",
        idle.as_millis()
    );
    let row = session.fetch_one(AssertSqlSafe(asserted)).await?;
    let version: i32 = row.try_get(0)?;
    if version < MIN_VERSION {
        return Err(refused(format!(
            "Postgres is {version}, but must be at least {MIN_VERSION}; upgrade it"
        )));
    }
    for (column, name) in [(1, "fsync"), (2, "full_page_writes")] {
        let value: &str = row.try_get(column)?;
        if value != "on" {
            return Err(refused(format!(
                "Postgres runs with {name} = {value}, and would lose what was committed; set it to on"
            )));
        }
    }
    let commit: &str = row.try_get(3)?;
    if !["on", "remote_apply"].contains(&commit) && !is(Bug::LazySync) {
        return Err(refused(format!(
            "Postgres keeps synchronous_commit = {commit}; let it be on"
        )));
    }
    let encoding: &str = row.try_get(4)?;
    if encoding != "UTF8" {
        return Err(refused(format!(
            "the database's encoding is {encoding}; create one with ENCODING 'UTF8'"
        )));
    }
    Ok(())
}

/// What is wrong with the settings of the server, for its operator. The driver carries it
/// through its pool without a try again.
fn refused(why: String) -> SqlxError {
    SqlxError::Configuration(why.into())
}
