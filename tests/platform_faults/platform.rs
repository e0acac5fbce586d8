//! A platform that breaks as it is told, below what a mock of HTTP can do.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Behaviour {
    /// It is answered.
    Healthy,
    /// It is answered so: status, more headers, body.
    Says(&'static str, &'static str, &'static str),
    /// It is heard and never answered.
    Silent,
    /// It is heard, and the connection reset.
    Reset,
    /// The answer ends in its midst.
    Cut,
    /// The connection is reset in the midst of the answer.
    ResetInBody,
    /// The answer does not end.
    Endless,
    /// The answer comes at a byte a second.
    Trickle,
    /// The answer is no HTTP.
    Garbage,
    /// Nobody listens.
    Gone,
}

/// A SourceCred instance and a Discourse at one address.
pub(super) struct Platform {
    pub(super) url: String,
    behaviour: Arc<Mutex<Behaviour>>,
    heard: Arc<Mutex<Vec<String>>>,
    listening: JoinHandle<()>,
}

impl Platform {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let behaviour = Arc::new(Mutex::new(Behaviour::Healthy));
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (now, ears) = (behaviour.clone(), heard.clone());
        let listening = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(answer(stream, now.clone(), ears.clone()));
            }
        });
        Self {
            url,
            behaviour,
            heard,
            listening,
        }
    }

    /// From now on. What is gone does not come back.
    pub(super) async fn set(&mut self, behaviour: Behaviour) {
        *self.behaviour.lock().unwrap() = behaviour;
        if behaviour == Behaviour::Gone {
            self.listening.abort();
            // Then the listener is dropped.
            let _ = (&mut self.listening).await;
        }
    }

    /// The first lines of the requests that came.
    pub(super) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    /// How often something was to be posted.
    pub(super) fn posts(&self) -> usize {
        let heard = self.heard();
        heard.iter().filter(|line| line.starts_with("POST")).count()
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn answer(
    mut stream: TcpStream,
    behaviour: Arc<Mutex<Behaviour>>,
    heard: Arc<Mutex<Vec<String>>>,
) {
    let Some(line) = request(&mut stream).await else {
        return;
    };
    heard.lock().unwrap().push(line.clone());
    let behaviour = *behaviour.lock().unwrap();
    // An error means that the gateway hung up, which is its right.
    let _ = behave(behaviour, &line, &mut stream).await;
}

/// Reads a whole request; its first line.
async fn request(stream: &mut TcpStream) -> Option<String> {
    let mut text = Vec::new();
    loop {
        let mut part = [0; 4096];
        let count = stream
            .read(&mut part)
            .await
            .ok()
            .filter(|count| *count > 0)?;
        text.extend_from_slice(&part[..count]);
        let head = String::from_utf8_lossy(&text).to_lowercase();
        let Some((head, body)) = head.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|l| l.strip_prefix("content-length: "));
        let length: usize = length.map_or(0, |length| length.trim().parse().unwrap());
        if body.len() >= length {
            let text = String::from_utf8_lossy(&text);
            return text.lines().next().map(str::to_owned);
        }
    }
}

async fn behave(behaviour: Behaviour, line: &str, stream: &mut TcpStream) -> std::io::Result<()> {
    let begun = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    match behaviour {
        Behaviour::Healthy => say(stream, "200 OK", "", &healthy(line).to_string()).await,
        Behaviour::Says(status, headers, body) => say(stream, status, headers, body).await,
        Behaviour::Silent => {
            // Until the other side hangs up.
            stream.read_u8().await.map(drop)
        }
        Behaviour::Reset | Behaviour::Gone => stream.set_zero_linger(),
        Behaviour::Cut | Behaviour::ResetInBody => {
            let text = format!("{begun}content-length: 1000\r\n\r\n{{\"accounts\": [");
            stream.write_all(text.as_bytes()).await?;
            if behaviour == Behaviour::ResetInBody {
                stream.flush().await?;
                stream.set_zero_linger()?;
            }
            Ok(())
        }
        Behaviour::Endless => {
            stream.write_all(format!("{begun}\r\n[").as_bytes()).await?;
            loop {
                stream.write_all(&[b' '; 64 << 10]).await?;
            }
        }
        Behaviour::Trickle => {
            let head = format!("{begun}content-length: 1000\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
            loop {
                stream.write_all(b" ").await?;
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
        Behaviour::Garbage => stream.write_all(b"\0\x01\x02 what?\r\n\r\n").await,
    }
}

async fn say(
    stream: &mut TcpStream,
    status: &str,
    headers: &str,
    body: &str,
) -> std::io::Result<()> {
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
    );
    stream.write_all(text.as_bytes()).await
}

fn healthy(line: &str) -> Value {
    match line.split(['?', ' ']).nth(1).unwrap_or_default() {
        "/output/accounts.json" => {
            let identity = json!({"name": "miriam", "aliases": []});
            json!({"accounts": [{"account": {"identity": identity}, "totalCred": 5}]})
        }
        "/about.json" => json!({"about": {"title": "The commons"}}),
        "/admin/users/list/active.json" => json!([]),
        "/directory_items.json" => json!({"directory_items": [], "meta": null}),
        "/posts.json" => {
            json!({"id": 31, "topic_id": 9, "topic_slug": "shed", "post_number": 2})
        }
        _ => json!({}),
    }
}
