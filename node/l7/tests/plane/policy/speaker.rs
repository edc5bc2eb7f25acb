//! A client that is asked in the words of HTTP/1.1, whatever it speaks: rules mean the same over both.

use http::Request;

use crate::harness::*;
use crate::http2_client::{self, Client};

pub(crate) enum Speaker {
    Http1(Io),
    Http2(Client),
}

impl Speaker {
    /// One of each.
    pub(crate) async fn each(site: &Site) -> [Self; 2] {
        [Self::Http1(site.connect().await), Self::Http2(Client::connect(site).await)]
    }

    /// Sends that request; what came is told as HTTP/1.1 would.
    pub(crate) async fn ask(&mut self, request: &str) -> Message {
        match self {
            Self::Http1(client) => client.ask(request).await,
            Self::Http2(client) => {
                let (head, body) = request.split_once("\r\n\r\n").expect("a whole request");
                told(client.ask(translated(head), body.as_bytes()).await.expect("a response"))
            }
        }
    }

    pub(crate) async fn get(&mut self, target: &str) -> Message {
        match self {
            Self::Http1(client) => client.get(target).await,
            Self::Http2(client) => told(client.get(target).await),
        }
    }
}

/// The request of that head; its length is that of the content that follows.
fn translated(head: &str) -> Request<()> {
    let (line, fields) = head.split_once("\r\n").expect("fields");
    let (method, rest) = line.split_once(' ').expect("a method");
    let (target, _) = rest.split_once(' ').expect("a target");
    let fields = fields.lines().map(|field| field.split_once(": ").expect("a field"));
    let (hosts, others): (Vec<_>, Vec<_>) =
        fields.partition(|(name, _)| name.eq_ignore_ascii_case("host"));
    let mut request =
        Request::builder().method(method).uri(format!("http://{}{target}", hosts[0].1));
    for (name, value) in others {
        request = request.header(name, value);
    }
    request.body(()).expect("a request")
}

fn told(answer: http2_client::Answer) -> Message {
    let mut head = format!("HTTP/2 {} -\r\n", answer.status);
    for (name, value) in &answer.fields {
        head.push_str(&format!("{name}: {}\r\n", value.to_str().expect("text")));
    }
    Message { head, body: answer.body, trailer: Vec::new() }
}
