//! `events`: what happens, as it happens.

use std::time::Duration;

use ballast_client::{Client, ClientError, EventStream};
use ballast_model::event::{Event, EventBody};
use ballast_model::ha::HaTransition;
use ballast_model::status::Health;
use clap::{Args, ValueEnum};

use super::Context;
use crate::failure::Failure;
use crate::output::{self, Tone};
use crate::text::{safe, utc};

/// First wait before the stream is opened again; doubled each time.
const RECONNECT_MIN: Duration = Duration::from_millis(500);
/// Longest wait.
const RECONNECT_MAX: Duration = Duration::from_secs(10);

/// Print what happens, as it happens, until Ctrl-C
#[derive(Debug, Args)]
pub(crate) struct Events {
    /// Only these kinds
    #[arg(long, value_enum, value_delimiter = ',')]
    kinds: Vec<EventKind>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum EventKind {
    /// Changes of the configuration
    Config,
    /// A node's part in a traffic group changes
    Ha,
    /// A member is found up or down
    Health,
    /// Another node leads
    Leader,
}

impl Events {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let kinds: Vec<&str> = self.kinds.iter().map(|kind| kind.as_str()).collect();
        let client = context.client()?;
        let mut last_id = None;
        let mut stream = client.events(&kinds, None).await?;
        loop {
            match stream.next().await {
                Ok(Some(event)) => {
                    last_id = Some(event.id);
                    print(context, &event)?;
                }
                Ok(None) => {
                    output::note("the node stopped; trying again");
                    stream = reconnect(&client, &kinds, last_id).await?;
                }
                Err(error @ ClientError::Transport { .. }) => {
                    output::note(&format!("{}; trying again", safe(&error.chain())));
                    stream = reconnect(&client, &kinds, last_id).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Opens the stream again after the last event; gives up only where the server refuses for good.
async fn reconnect(
    client: &Client,
    kinds: &[&str],
    last_id: Option<u64>,
) -> Result<EventStream, Failure> {
    let mut wait = RECONNECT_MIN;
    loop {
        tokio::time::sleep(wait).await;
        match client.events(kinds, last_id).await {
            Ok(stream) => return Ok(stream),
            Err(ClientError::Transport { .. }) => {}
            Err(error) if error.status().is_some_and(|status| status >= 500) => {}
            Err(error) => return Err(error.into()),
        }
        wait = (wait * 2).min(RECONNECT_MAX);
    }
}

fn print(context: &Context, event: &Event) -> Result<(), Failure> {
    if context.output.is_json() {
        context.output.json_line(event)
    } else {
        context.output.print(&render(event, context.output.colours()))
    }
}

pub(super) fn render(event: &Event, colours: bool) -> String {
    let what = match &event.body {
        EventBody::Config { index, changed, origin } => {
            let changed: Vec<_> = changed.iter().map(ToString::to_string).collect();
            let (changed, actor) = (changed.join(", "), &origin.actor);
            safe(&format!("{changed} changed by {actor} (index {index})")).into_owned()
        }
        EventBody::Ha { transition } => {
            let HaTransition { group, from, to, message, .. } = transition;
            format!("{} {from} → {to}: {}", safe(group), safe(message))
        }
        EventBody::Health { pool, member, health, reason } => {
            let (word, tone) = health_word(*health);
            let word = tone.paint(word, colours);
            format!("{}/{} {word}: {}", safe(pool), safe(member), safe(reason))
        }
        EventBody::Leader { leader: Some(leader) } => format!("{} leads", safe(leader)),
        EventBody::Leader { leader: None } => Tone::Bad.paint("nobody leads", colours),
        EventBody::Lagged => Tone::Between.paint("some events were missed", colours),
    };
    let (at, node, kind) = (utc(event.at_ms), safe(&event.node), event.body.kind());
    format!("{at}  {node}  {kind:<6}  {what}")
}

/// What the monitors found, in a word.
pub(super) fn health_word(health: Health) -> (&'static str, Tone) {
    match health {
        Health::Checking => ("checking", Tone::Between),
        Health::Down => ("down", Tone::Bad),
        Health::Unmonitored => ("unmonitored", Tone::Good),
        Health::Up => ("up", Tone::Good),
    }
}

impl EventKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Ha => "ha",
            Self::Health => "health",
            Self::Leader => "leader",
        }
    }
}
