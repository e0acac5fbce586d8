//! What only the proof's build has (`tests/proof`): places where the gateway may die or
//! dawdle, and bugs that can be switched on, to see whether the proof catches them.
//!
//! Without the feature `proof`, as in every release, [`reached`] does nothing and [`is`]
//! is a constant `false`, so the compiler removes both and what they guard.
//!
//! `METAGOV_FAILPOINTS` says what happens where, such as
//! `after-commit=kill@3,between-read-and-send=sleep@50`: SIGKILL when it is reached the
//! third time, or 50 ms of sleep each time. `METAGOV_SEEDED_BUG` names one bug. A delivery
//! whose body has the text `METAGOV_POISON` in it cannot be processed.

/// A place that a request or an event passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    /// Everything of a batch is written, nothing is committed.
    BeforeCommit,
    /// Committed, nobody was told.
    AfterCommit,
    /// A reader whose place was checked is about to read the table.
    BeforeTableRead,
    /// A stream has read rows and not yet looked at them.
    BetweenReadAndSend,
    /// A stream has something to send.
    BeforeSend,
    /// A stream has sent something.
    AfterSend,
    /// A hook is kept, its platform was not told.
    BeforeHookAnswer,
    /// The platform was told.
    AfterHookAnswer,
    /// A call is done, its caller was not told.
    BeforeCallAnswer,
    /// The caller was told.
    AfterCallAnswer,
    /// A process was closed at its platform, and nothing of that is kept.
    BetweenCloseAndKeep,
    /// Old events are about to be removed.
    BeforeTrim,
    /// Old events were removed.
    AfterTrim,
}

/// A mistake that somebody could have made. What each one does stands where it is asked
/// for; which harness must catch it, in `tests/proof/seeded.py`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// A platform is told 2xx before the commit.
    AnswerBeforeCommit,
    /// A stream goes on with the event of its cursor, not after it.
    InclusiveResume,
    /// A bookmark names the head of the log instead of the place that was read.
    BookmarkBeforeSend,
    /// A filtered stream for which nothing matches does not get on.
    NoBookmark,
    /// Rows that are missing after a trim are passed over.
    TrimWithoutCheck,
    /// A batch ends wherever it is full.
    CutInsideChange,
    /// Positions are taken before it is known whether the change is good.
    PositionBeforeRollback,
    /// Positions are given out outside of the transaction, as a sequence does.
    Sequence,
    /// A repeat is known by the id in a header that nobody signed.
    RepeatById,
    /// A delivery that cannot be processed is dropped.
    DropPoison,
    /// Answers to request ids are not kept.
    ForgetRequests,
    /// An acknowledgement is kept in memory, and written down some time.
    AcknowledgeInMemory,
    /// The lag is a difference of positions.
    LagByPositions,
    /// Other replicas' commits are heard of by notification alone.
    NoPoll,
    /// Commits do not wait for the disk.
    LazySync,
    /// An action whose outcome is unknown is tried again.
    RetryUnknown,
    /// A claim is forgotten before the platform is called.
    CallBeforeClaim,
    /// The effect of a lease does not check that it still holds.
    NoFencing,
    /// Timers go by this machine's clock.
    LocalClock,
    /// The tally that ran along is the outcome.
    NoRecount,
    /// Ballots count after the close.
    LateBallot,
    /// A place that reads rows forgets to ask for their community.
    AnyCommunity,
    /// A drain cuts running calls off.
    NoDrain,
    /// A connection that a full disk left in a transaction is used again.
    KeepConnection,
    /// A stream is read ahead of its reader, into memory.
    EagerStream,
    /// A cancelled process has no event.
    SilentTransition,
}

#[cfg(not(feature = "proof"))]
mod absent {
    use std::time::Duration;

    use super::{Bug, Point};

    /// As it is.
    pub(crate) const fn hasty(wait: Duration) -> Duration {
        wait
    }

    /// Does nothing.
    pub(crate) const fn reached(_: Point) {}

    /// Does nothing.
    pub(crate) const fn answering(_before: Point, _after: Point) {}

    /// Never.
    pub(crate) const fn is(_: Bug) -> bool {
        false
    }

    /// Does nothing.
    pub(crate) async fn lingered(_: Point) {}

    /// As said.
    pub(crate) const fn in_ring(events: usize) -> usize {
        events
    }

    /// As said.
    pub(crate) const fn trimming(every: Duration, retention: Duration) -> (Duration, Duration) {
        (every, retention)
    }

    /// Never.
    pub(crate) const fn is_poison(_: &[u8]) -> bool {
        false
    }
}

#[cfg(not(feature = "proof"))]
pub(crate) use absent::{answering, hasty, in_ring, is, is_poison, lingered, reached, trimming};

#[cfg(feature = "proof")]
mod present {
    use std::{
        env, fmt,
        sync::{
            LazyLock,
            atomic::{AtomicU64, Ordering},
        },
        time::Duration,
    };

    use super::{Bug, Point};

    static SEEDED: LazyLock<String> =
        LazyLock::new(|| env::var("METAGOV_SEEDED_BUG").unwrap_or_default());

    static POISON: LazyLock<String> =
        LazyLock::new(|| env::var("METAGOV_POISON").unwrap_or_default());

    static HASTE: LazyLock<u32> = LazyLock::new(|| {
        let haste = env::var("METAGOV_HASTE").ok();
        haste.and_then(|times| times.parse().ok()).unwrap_or(1)
    });

    static RING: LazyLock<Option<usize>> = LazyLock::new(|| {
        let few = env::var("METAGOV_RING_EVENTS").ok();
        few.and_then(|few| few.parse().ok())
    });

    static ARMED: LazyLock<Vec<Armed>> = LazyLock::new(|| {
        let settings = env::var("METAGOV_FAILPOINTS").unwrap_or_default();
        settings.split(',').filter_map(Armed::parse).collect()
    });

    /// Dies or sleeps here, if the place is armed.
    pub(crate) fn reached(point: Point) {
        if ARMED.is_empty() {
            return;
        }
        let place = name(point);
        for armed in ARMED.iter().filter(|armed| armed.place == place) {
            armed.act();
        }
    }

    /// Dies or sleeps here, and keeps no other from going on meanwhile.
    pub(crate) async fn lingered(point: Point) {
        let place = name(point);
        for armed in ARMED.iter().filter(|armed| armed.place == place) {
            match armed.act {
                Act::Sleep(time) => tokio::time::sleep(time).await,
                Act::Kill(_) => armed.act(),
            }
        }
    }

    /// An answer is handed over now. It counts as sent a moment later: nothing says when
    /// it has left.
    pub(crate) fn answering(before: Point, after: Point) {
        reached(before);
        if ARMED.is_empty() {
            return;
        }
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(2)).await;
            reached(after);
        });
    }

    /// So many times shorter as `METAGOV_HASTE` says: ten tries of a delivery take two
    /// hours.
    pub(crate) fn hasty(wait: Duration) -> Duration {
        wait / *HASTE
    }

    /// Whether the bug is switched on.
    pub(crate) fn is(bug: Bug) -> bool {
        !SEEDED.is_empty() && *SEEDED == name(bug)
    }

    /// Whether this delivery cannot be processed, since it has `METAGOV_POISON` in it.
    pub(crate) fn is_poison(body: &[u8]) -> bool {
        let poison = POISON.as_bytes();
        !poison.is_empty() && body.windows(poison.len()).any(|part| part == poison)
    }

    /// How many events are kept in memory: as said, or `METAGOV_RING_EVENTS`.
    pub(crate) fn in_ring(events: usize) -> usize {
        RING.unwrap_or(events)
    }

    /// How often old events are looked for, and when they are old: as said, or both
    /// `METAGOV_TRIM_MILLIS`.
    pub(crate) fn trimming(every: Duration, retention: Duration) -> (Duration, Duration) {
        let hasty = env::var("METAGOV_TRIM_MILLIS").ok();
        let hasty = hasty.and_then(|millis| millis.parse().ok());
        hasty.map_or((every, retention), |millis| {
            let hasty = Duration::from_millis(millis);
            (hasty, hasty)
        })
    }

    /// What happens at a place.
    struct Armed {
        place: String,
        act: Act,
        hits: AtomicU64,
    }

    enum Act {
        /// Dies when it is reached so often.
        Kill(u64),
        Sleep(Duration),
    }

    impl Armed {
        fn parse(setting: &str) -> Option<Self> {
            let (place, what) = setting.split_once('=')?;
            let (what, number) = what.split_once('@')?;
            let number = number.parse().ok()?;
            let act = match what {
                "kill" => Act::Kill(number),
                "sleep" => Act::Sleep(Duration::from_millis(number)),
                _ => return None,
            };
            let (place, hits) = (place.to_owned(), AtomicU64::new(0));
            Some(Self { place, act, hits })
        }

        fn act(&self) {
            let hits = self.hits.fetch_add(1, Ordering::Relaxed) + 1;
            match self.act {
                Act::Kill(at) if hits == at => kill(),
                Act::Kill(_) => {}
                Act::Sleep(time) => std::thread::sleep(time),
            }
        }
    }

    /// As a power cut would: nothing is flushed, nothing is said.
    fn kill() {
        let own = rustix::process::getpid();
        _ = rustix::process::kill_process(own, rustix::process::Signal::KILL);
        // Until the kernel has done it.
        std::thread::sleep(Duration::from_secs(60));
    }

    /// `AfterCommit` is `after-commit`.
    fn name(variant: impl fmt::Debug) -> String {
        let mut name = String::new();
        for letter in format!("{variant:?}").chars() {
            if letter.is_ascii_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.push(letter.to_ascii_lowercase());
        }
        name
    }
}

#[cfg(feature = "proof")]
pub(crate) use present::{answering, hasty, in_ring, is, is_poison, lingered, reached, trimming};
