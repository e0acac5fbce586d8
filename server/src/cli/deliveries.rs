//! `metagov delivery`: what platforms delivered to webhooks, and what became of it.

use std::io::Write;

use clap::{Args, Subcommand, ValueEnum};
use metagov_proto::v1::{
    Delivery, DeliveryState, ListDeliveriesRequest, ListDeliveriesResponse, RetryDeliveryRequest,
};

use super::{
    Connection, Failure,
    common::Place,
    output::{Columns, Output, time, word},
    pages,
};

/// Lists what platforms delivered, and tries again what was parked.
#[derive(Clone, Subcommand)]
pub enum Deliveries {
    /// Lists what was delivered to a community's webhooks, newest first.
    List(List),
    /// Tries a parked delivery again.
    Retry(Retry),
}

impl Deliveries {
    /// Runs it. Answers go to `out`.
    pub async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        match self {
            Self::List(list) => list.run(out).await,
            Self::Retry(retry) => retry.run(out).await,
        }
    }
}

/// Which deliveries.
#[derive(Clone, Args)]
pub struct List {
    #[command(flatten)]
    place: Place,

    /// Only those to this installation.
    #[arg(long, value_name = "ID", hide_env = true)]
    installation: Option<String>,

    /// Only those in this state; may be repeated.
    #[arg(long = "state", value_name = "STATE", hide_env = true)]
    states: Vec<State>,

    /// The most to list. Default 50.
    #[arg(long, value_name = "N", default_value = "50", value_parser = pages::limit)]
    #[arg(hide_env = true, hide_default_value = true)]
    limit: usize,

    #[command(flatten)]
    output: Output,

    #[command(flatten)]
    connection: Connection,
}

/// A state as people write it.
#[derive(Clone, Copy, ValueEnum)]
enum State {
    /// Stored, to be processed.
    Pending,
    /// Processed.
    Done,
    /// Given up; see `metagov delivery retry`.
    Parked,
}

const COLUMNS: Columns<Delivery, 7> = Columns {
    heads: [
        "DELIVERY",
        "INSTALLATION",
        "STATE",
        "RECEIVED",
        "TRIES",
        "NEXT TRY",
        "PROBLEM",
    ],
    cells: |delivery| {
        [
            delivery.delivery_id.clone(),
            delivery.installation_id.clone(),
            state(delivery),
            time(delivery.receive_time.as_ref()),
            delivery.attempt_count.to_string(),
            time(delivery.next_attempt_time.as_ref()),
            delivery.problem.clone(),
        ]
    },
};

fn state(delivery: &Delivery) -> String {
    word(delivery.state().as_str_name(), "DELIVERY_STATE_")
}

impl List {
    async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let mut client = self.connection.open().await?;
        let doing = format!("community {}", self.place.community);
        let deliveries = pages::all(&doing, self.limit, async |page_size, page_token| {
            let request = ListDeliveriesRequest {
                page_size,
                page_token,
                ..self.request()
            };
            let page = client.plugins.list_deliveries(request).await?.into_inner();
            Ok((page.deliveries, page.next_page_token))
        });
        let deliveries = deliveries.await?;
        let next_page_token = String::new();
        let all = ListDeliveriesResponse {
            deliveries,
            next_page_token,
        };
        let answer = ("ListDeliveriesResponse", &all);
        self.output.list(out, &COLUMNS, &all.deliveries, answer)
    }

    fn request(&self) -> ListDeliveriesRequest {
        let states = self.states.iter().map(|state| match state {
            State::Pending => DeliveryState::Pending,
            State::Done => DeliveryState::Done,
            State::Parked => DeliveryState::Parked,
        });
        ListDeliveriesRequest {
            community_id: self.place.community.clone(),
            installation_id: self.installation.clone().unwrap_or_default(),
            states: states.map(i32::from).collect(),
            ..ListDeliveriesRequest::default()
        }
    }
}

/// Which delivery.
#[derive(Clone, Args)]
pub struct Retry {
    /// Its id, as `metagov delivery list` shows it.
    #[arg(value_name = "ID")]
    id: String,

    #[command(flatten)]
    output: Output,

    #[command(flatten)]
    connection: Connection,
}

impl Retry {
    async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let doing = format!("delivery {}", self.id);
        let mut client = self.connection.open().await?;
        let delivery_id = self.id;
        let answer = client
            .plugins
            .retry_delivery(RetryDeliveryRequest { delivery_id });
        let answer = answer.await.map_err(|s| Failure::answered(&doing, &s))?;
        let answer = answer.into_inner();
        let now = answer.delivery.as_ref().map(state).unwrap_or_default();
        let text = format!("{doing} {now}");
        self.output
            .answer(out, text, ("RetryDeliveryResponse", &answer))
    }
}
