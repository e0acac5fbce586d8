//! The real program, in a process of its own.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc,
};

use super::{Api, Home, PATIENCE, admin_token};

/// `metagov serve` in a home.
pub(crate) struct Binary {
    child: Child,
    /// Where gRPC is served.
    pub(crate) endpoint: String,
    /// Where webhooks are.
    pub(crate) public: String,
    /// The one that the first start made.
    pub(crate) token: String,
    /// Lines of the log from here on.
    pub(crate) log: mpsc::Receiver<String>,
}

impl Binary {
    /// The program that the same build made.
    pub(crate) fn path() -> PathBuf {
        let test = std::env::current_exe().unwrap();
        let folder = test.parent().and_then(Path::parent).unwrap();
        let path = folder.join("metagov");
        assert!(
            path.exists(),
            "{} is missing: build the workspace first",
            path.display()
        );
        path
    }

    /// The program with these arguments and none of this process's METAGOV_ variables.
    pub(crate) fn command(args: &[&str]) -> Command {
        let mut command = Command::new(Self::path());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("METAGOV_")) {
            command.env_remove(name);
        }
        command.args(args);
        command
    }

    /// Serves on ports that the system chooses; returns once it does.
    pub(crate) fn serve(home: &Home, args: &[&str]) -> Self {
        Self::serve_in(home, args, &[])
    }

    /// The same, with more in its environment.
    pub(crate) fn serve_in(home: &Home, args: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::start(home, &home.data(), args, environment)
    }

    /// One more on a database that is served, which must be a Postgres.
    pub(crate) fn replica(home: &Home, args: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::start(home, &home.another_data(), args, environment)
    }

    fn start(home: &Home, data: &Path, args: &[&str], environment: &[(&str, &str)]) -> Self {
        let own = [
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--public-listen",
            "127.0.0.1:0",
            "--data-dir",
            data.to_str().unwrap(),
            // Platforms are faked on this machine, over http.
            "--allow-http",
            "--allow-cidr",
            "127.0.0.0/8",
        ];
        let mut command = Self::command(&[&own, args].concat());
        home.let_in(&mut command)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = lines(child.stderr.take().unwrap());
        let serving = std::iter::from_fn(|| log.recv_timeout(PATIENCE).ok())
            .find(|line| line.contains("\"serving\""))
            .expect("it says where it serves");
        let said: serde_json::Value = serde_json::from_str(&serving).unwrap();
        let address = |key: &str| {
            let found = said.get(key).or_else(|| said.get("fields")?.get(key));
            format!(
                "http://{}",
                found.and_then(|a| a.as_str()).expect("an address")
            )
        };
        let (endpoint, public) = (address("api"), address("public"));
        Self {
            child,
            endpoint,
            public,
            token: admin_token(&home.data()),
            log,
        }
    }

    pub(crate) async fn api(&self) -> Api {
        Api::connect(&self.endpoint, &self.token).await
    }

    /// The most memory that it has held, in KiB.
    pub(crate) fn peak_memory(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.unwrap().parse().unwrap()
    }

    /// How much memory it holds, in bytes.
    pub(crate) fn memory(&self) -> usize {
        let file = format!("/proc/{}/statm", self.child.id());
        let pages = std::fs::read_to_string(file).unwrap();
        let resident: usize = pages.split(' ').nth(1).unwrap().parse().unwrap();
        resident * 4096
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL: it has no chance to write anything.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; its exit code.
    pub(crate) fn terminate(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
        self.child.wait().unwrap().code()
    }
}

impl Binary {
    /// Ends it, which must go well; its log since the last line that was read.
    pub(crate) fn terminate_with_log(mut self) -> Vec<String> {
        let (_, nothing) = mpsc::channel();
        let log = std::mem::replace(&mut self.log, nothing);
        assert_eq!(self.terminate(), Some(0));
        log.iter().collect()
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        // Whatever became of the test, nothing of it stays.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(stderr: impl std::io::Read + Send + 'static) -> mpsc::Receiver<String> {
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                // Nobody reads any more; go on, or the pipe fills and blocks it.
                continue;
            }
        }
    });
    receive
}
