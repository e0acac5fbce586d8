//! The program: its verbs, its settings, its log, and how it ends.

use std::{
    net::TcpListener,
    path::Path,
    process::{Command, Output},
};

use metagov_proto::v1::{CreateCommunityRequest, GetCommunityRequest};
use serde_json::Value;
use tonic::Request;

use crate::harness::{Binary, Home, Kind, PATIENCE};

fn run(command: &mut Command) -> Output {
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The one line with which a command refuses to go on.
fn refusal(command: &mut Command) -> (Option<i32>, String) {
    let output = run(command);
    let said = text(&output.stderr);
    let said = said.trim_end();
    assert!(said.starts_with("error: "), "{said}");
    assert_eq!(said.lines().count(), 1, "one line, not {said}");
    assert_eq!(text(&output.stdout), "");
    (output.status.code(), said.to_owned())
}

/// `serve` on ports that the system chooses.
fn serve(data: &Path) -> Command {
    let data = data.to_str().unwrap();
    let mut command = Binary::command(&["serve", "--data-dir", data]);
    command.env("METAGOV_LISTEN", "127.0.0.1:0");
    command.env("METAGOV_PUBLIC_LISTEN", "127.0.0.1:0");
    command
}

fn migrate(home: &Home) -> Command {
    let mut command = Binary::command(&["migrate"]);
    home.let_in(&mut command);
    command
}

#[test]
fn the_version_is_said() {
    for line in ["version", "--version"] {
        let output = run(&mut Binary::command(&[line]));
        assert!(output.status.success());
        let expected = format!("metagov {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(text(&output.stdout), expected);
    }
}

#[test]
fn the_help_names_every_verb() {
    let output = run(&mut Binary::command(&["--help"]));
    assert!(output.status.success());
    for verb in [
        "serve", "migrate", "rekey", "apply", "token", "audit", "delivery", "webhook", "version",
    ] {
        assert!(text(&output.stdout).contains(verb), "{verb}");
    }
}

#[test]
fn an_unknown_flag_exits() {
    let (code, line) = refusal(&mut Binary::command(&["serve", "--lissten", "x"]));
    assert_eq!(code, Some(2));
    assert!(
        line.contains("--lissten") && line.contains("--listen"),
        "{line}"
    );
    let (code, line) = refusal(&mut Binary::command(&["sreve"]));
    assert_eq!(code, Some(2));
    assert!(line.contains("sreve") && line.contains("serve"), "{line}");
    let (code, line) = refusal(&mut Binary::command(&["serve", "--listen"]));
    assert_eq!(code, Some(2));
    assert!(
        line.contains("--listen") && line.contains("value"),
        "{line}"
    );
    let (code, line) = refusal(&mut Binary::command(&["apply"]));
    assert_eq!(code, Some(2));
    assert!(line.contains("<FILE>"), "{line}");
}

#[test]
fn a_malformed_setting_is_one_line_that_names_flag_and_variable() {
    let folder = tempfile::tempdir().unwrap();
    for (variable, bad) in [
        ("METAGOV_LISTEN", "localhost"),
        ("METAGOV_PUBLIC_LISTEN", "8080"),
        ("METAGOV_PUBLIC_URL", "example.org"),
        ("METAGOV_EVENT_RETENTION", "forever"),
        ("METAGOV_EVENT_RETENTION", "59s"),
        ("METAGOV_POLL_INTERVAL", "60"),
        ("METAGOV_MAX_REQUEST_SIZE", "-1"),
        ("METAGOV_CORS_ORIGINS", "*"),
        ("METAGOV_LOG", "=loud="),
        ("METAGOV_LOG_FORMAT", "xml"),
        ("METAGOV_DISCOURSE_API_URL", "ftp://forum"),
    ] {
        let flag = variable.trim_start_matches("METAGOV_");
        let flag = format!("--{}", flag.to_lowercase().replace('_', "-"));
        let named = format!("error: {flag} ({variable}): ");
        let (code, line) = refusal(serve(folder.path()).env(variable, bad));
        assert_eq!(code, Some(2), "{line}");
        assert!(line.starts_with(&named), "{variable}={bad}: {line}");
        if !["METAGOV_LISTEN", "METAGOV_PUBLIC_LISTEN"].contains(&variable) {
            let (code, line) = refusal(serve(folder.path()).arg(format!("{flag}={bad}")));
            assert_eq!(code, Some(2), "{line}");
            assert!(line.starts_with(&named), "{flag}={bad}: {line}");
        }
    }
}

#[test]
fn a_port_in_use_is_named_by_its_setting() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (variable, flag) in [
        ("METAGOV_LISTEN", "--listen"),
        ("METAGOV_PUBLIC_LISTEN", "--public-listen"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (code, line) = refusal(serve(folder.path()).env(variable, &address));
        assert_eq!(code, Some(1), "{line}");
        assert!(
            line.starts_with(&format!("error: {flag} ({variable}): ")),
            "{line}"
        );
        assert!(line.contains(&address), "{line}");
    }
}

#[test]
fn a_data_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "no folder").unwrap();
    for place in [file.clone(), file.join("below")] {
        let (code, line) = refusal(&mut serve(&place));
        assert_eq!(code, Some(1), "{line}");
        assert!(
            line.starts_with("error: --data-dir (METAGOV_DATA_DIR): "),
            "{line}"
        );
        assert!(line.contains(place.to_str().unwrap()), "{line}");
    }
}

#[test]
fn a_database_that_is_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("metagov.db"),
        "no database at all".repeat(100),
    )
    .unwrap();
    let (code, line) = refusal(&mut serve(folder.path()));
    assert_eq!(code, Some(1), "{line}");
    assert!(
        line.starts_with("error: --data-dir (METAGOV_DATA_DIR): "),
        "{line}"
    );
}

/// As `systemctl reload` does, whether or not there are certificates.
#[tokio::test]
async fn a_hangup_ends_no_gateway() {
    let home = Home::new();
    let server = Binary::serve(&home, &[]);
    let pid = server.pid().to_string();
    let hangup = Command::new("kill").args(["-HUP", &pid]).status();
    assert!(hangup.unwrap().success());
    read_to(&server, |line| line.to_string().contains("SIGHUP"));
    server.api().await.community("a").await;
    assert_eq!(server.terminate(), Some(0));
}

#[tokio::test]
async fn two_servers_never_share_a_data_folder() {
    let folder = Home::on(Kind::Sqlite);
    let first = Binary::serve(&folder, &[]);
    let (code, line) = refusal(&mut serve(&folder.data()));
    assert_eq!(code, Some(1), "{line}");
    assert!(
        line.starts_with("error: --data-dir (METAGOV_DATA_DIR): "),
        "{line}"
    );
    let (_, line) = refusal(&mut migrate(&folder));
    assert!(line.contains("another gateway"), "{line}");
    first.api().await.community("a").await;
}

#[test]
fn migrate_makes_the_tables_and_ends() {
    let home = Home::bare();
    let (first, second) = (run(&mut migrate(&home)), run(&mut migrate(&home)));
    for output in [&first, &second] {
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    let said = |output: &Output| text(&output.stdout) + &text(&output.stderr);
    assert!(said(&first).contains("m0001"), "{}", said(&first));
    assert!(!said(&second).contains("m0001"), "{}", said(&second));
    assert!(said(&second).contains("nothing to do"), "{}", said(&second));
    let server = Binary::serve(&home, &[]);
    assert_eq!(server.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_a_newer_version_is_refused() {
    let home = Home::bare();
    assert!(run(&mut migrate(&home)).status.success());
    let newer = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m9999_future', 0)";
    home.run(newer).await;
    for command in [home.let_in(&mut serve(&home.data())), &mut migrate(&home)] {
        let (code, line) = refusal(command);
        assert_eq!(code, Some(1), "{line}");
        assert!(
            line.contains("m9999_future") || line.contains("newer"),
            "{line}"
        );
    }
}

/// Reads the log on to a line that fits; all lines so far.
fn read_to(server: &Binary, fits: impl Fn(&Value) -> bool) -> Vec<Value> {
    let mut lines = Vec::new();
    loop {
        let line = server.log.recv_timeout(PATIENCE).expect("the line comes");
        let line: Value = serde_json::from_str(&line).expect("each line is JSON");
        lines.push(line);
        if lines.last().is_some_and(&fits) {
            return lines;
        }
    }
}

#[tokio::test]
async fn logs_are_json_without_a_terminal() {
    let home = Home::new();
    let server = Binary::serve(&home, &[]);
    let api = server.api().await;
    let mut request = Request::new(GetCommunityRequest {
        community_id: "nobody".into(),
    });
    request
        .metadata_mut()
        .insert("x-request-id", "call-7".parse().unwrap());
    api.communities().get_community(request).await.unwrap_err();
    let lines = read_to(&server, |line| line.to_string().contains("call-7"));
    let line = lines.last().unwrap();
    for (key, value) in [
        ("request_id", "call-7"),
        ("method", "metagov.v1.CommunityService/GetCommunity"),
    ] {
        let span = line["spans"].as_array().and_then(|spans| spans.last());
        let said = line.get(key).or_else(|| span?.get(key));
        assert_eq!(said.and_then(Value::as_str), Some(value), "{line}");
    }
    assert_eq!(line["code"], "NotFound", "{line}");
    for line in lines {
        assert!(
            line["timestamp"].is_string() && line["level"].is_string(),
            "{line}"
        );
    }
}

#[tokio::test]
async fn an_unknown_variable_is_a_warning_with_the_nearest_name() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = serve(folder.path());
    command
        .env("METAGOV_POL_INTERVAL", "5s")
        .env("METAGOV_LOG_FORMAT", "json");
    command.stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let stderr = child.stderr.take().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(stderr));
    let warning = lines.find_map(|line| line.ok().filter(|line| line.contains("POL_INTERVAL")));
    let serving = lines.find_map(|line| line.ok().filter(|line| line.contains("serving")));
    child.kill().unwrap();
    child.wait().unwrap();
    let warning = warning.expect("a warning");
    assert!(
        warning.contains("WARN") && warning.contains("METAGOV_POLL_INTERVAL"),
        "{warning}"
    );
    assert!(serving.is_some(), "it serves all the same");
}

#[tokio::test]
async fn sigterm_drains_and_exits_with_0() {
    let home = Home::new();
    let server = Binary::serve(&home, &[]);
    let api = server.api().await;
    let mut watcher = api.watch().await;
    api.community("a").await;
    assert_eq!(watcher.next().await.community_id, "a");
    let ended = tokio::task::spawn_blocking(move || server.terminate());
    let end = watcher.try_next().await.unwrap_err();
    assert_eq!(end.code(), tonic::Code::Unavailable);
    assert_eq!(ended.await.unwrap(), Some(0));
    // It starts again on what it left, and an idle one ends just as well.
    let server = Binary::serve(&home, &[]);
    assert_eq!(server.api().await.log().await.len(), 1);
    let ended = tokio::task::spawn_blocking(move || server.terminate());
    assert_eq!(ended.await.unwrap(), Some(0));
    let server = Binary::serve(&home, &[]);
    assert_eq!(server.terminate(), Some(0));
}

#[tokio::test]
async fn a_request_id_is_known_after_sigkill() {
    let home = Home::new();
    let server = Binary::serve(&home, &[]);
    let request = CreateCommunityRequest {
        community: Some(metagov_proto::v1::Community {
            community_id: "a".into(),
            ..Default::default()
        }),
        request_id: "once".into(),
    };
    let create = async |server: &Binary| {
        let mut communities = server.api().await.communities();
        let answer = communities.create_community(request.clone()).await;
        answer.unwrap().into_inner()
    };
    let first = create(&server).await;
    server.kill();
    let server = Binary::serve(&home, &[]);
    assert_eq!(create(&server).await, first);
    assert_eq!(server.api().await.log().await.len(), 1);
}

#[test]
fn the_data_folder_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new();
    let server = Binary::serve(&home, &["--drain-timeout", "1s"]);
    let mode = std::fs::metadata(home.data()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    assert_eq!(server.terminate(), Some(0));
}
