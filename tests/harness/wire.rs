//! A way to Postgres that can be cut at the worst moment: when a COMMIT is done, and
//! before its answer is heard; or while it is done.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
};
use url::Url;

use super::Cluster;

/// A port that leads to the socket of a cluster. Its clones are one.
#[derive(Clone)]
pub(crate) struct Wire {
    url: String,
    socket: PathBuf,
    /// What the change says of which the answer will be lost, and how long nobody is
    /// heard after that.
    word: &'static str,
    away: Duration,
    /// Whether it is cut while the COMMIT is done.
    is_early: bool,
    was_cut: Arc<AtomicBool>,
    /// Whether all are cut off.
    cut: watch::Sender<bool>,
}

impl Wire {
    /// To a cluster, until a transaction with this word in a statement is committed; then
    /// cut for so long, and whole from then on. A word counts when a session says it for
    /// the first time: later the statement is known by a name.
    pub(crate) async fn to(cluster: &Cluster, word: &'static str, away: Duration) -> Self {
        Self::open(cluster, word, away, false).await
    }

    /// The same, but cut as soon as that COMMIT is asked for, and whole at once.
    pub(crate) async fn to_the_midst(cluster: &Cluster, word: &'static str) -> Self {
        Self::open(cluster, word, Duration::ZERO, true).await
    }

    async fn open(cluster: &Cluster, word: &'static str, away: Duration, is_early: bool) -> Self {
        let mut url = Url::parse(cluster.url()).unwrap();
        let folder = url.query_pairs().find(|(key, _)| key == "host");
        let socket = PathBuf::from(folder.unwrap().1.as_ref()).join(".s.PGSQL.5432");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        url.set_query(Some("sslmode=disable"));
        url.set_host(Some("127.0.0.1")).unwrap();
        let port = listener.local_addr().unwrap().port();
        url.set_port(Some(port)).unwrap();
        let wire = Self {
            url: url.into(),
            socket,
            word,
            away,
            is_early,
            was_cut: Arc::default(),
            cut: watch::Sender::new(false),
        };
        tokio::spawn(wire.clone().serve(listener));
        wire
    }

    /// Of the cluster's database, by this way.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Whether that has happened.
    pub(crate) fn was_cut(&self) -> bool {
        self.was_cut.load(Ordering::Relaxed)
    }

    async fn serve(self, listener: TcpListener) {
        while let Ok((client, _)) = listener.accept().await {
            let wire = self.clone();
            let mut cut = wire.cut.subscribe();
            if *cut.borrow_and_update() {
                continue;
            }
            tokio::spawn(async move {
                tokio::select! {
                    _ = cut.changed() => {}
                    () = wire.carry(client) => {}
                }
            });
        }
    }

    async fn carry(&self, mut client: TcpStream) {
        let Ok(mut server) = UnixStream::connect(&self.socket).await else {
            return;
        };
        let (mut asked, mut answered) = (vec![0; 1 << 20], vec![0; 1 << 20]);
        let (mut has_word, mut is_last) = (false, false);
        loop {
            tokio::select! {
                read = client.read(&mut asked) => {
                    let Ok(bytes @ 1..) = read else { return };
                    let said = &asked[..bytes];
                    has_word |= holds(said, self.word);
                    is_last |= has_word && !self.was_cut() && holds(said, "COMMIT");
                    if server.write_all(said).await.is_err() { return }
                    if is_last && self.is_early {
                        return self.part();
                    }
                }
                read = server.read(&mut answered) => {
                    let Ok(bytes @ 1..) = read else { return };
                    if is_last {
                        return self.part();
                    }
                    if client.write_all(&answered[..bytes]).await.is_err() { return }
                }
            }
        }
    }

    /// Cuts all off, and lets them come again when the time is over.
    fn part(&self) {
        self.was_cut.store(true, Ordering::Relaxed);
        self.cut.send_replace(true);
        let wire = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(wire.away).await;
            wire.cut.send_replace(false);
        });
    }
}

fn holds(said: &[u8], word: &str) -> bool {
    said.windows(word.len()).any(|part| part == word.as_bytes())
}
