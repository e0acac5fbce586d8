//! `metagov subscription`: cursors that the gateway keeps for a driver.

use std::io::Write;

use clap::{Args, Subcommand};
use metagov_proto::v1::{
    AcknowledgeEventsRequest, CreateSubscriptionRequest, DeleteSubscriptionRequest,
    GetSubscriptionRequest, ListSubscriptionsRequest, ListSubscriptionsResponse,
    SeekSubscriptionRequest, Subscription, create_subscription_request, seek_subscription_request,
};

use super::{
    Failure,
    common::{Common, Limit, Once},
    failure::answered,
    filter::{Beginning, Filter},
    output::{Columns, time},
    pages,
};

/// Creates, shows, moves and deletes subscriptions: cursors that the gateway keeps.
#[derive(Clone, Subcommand)]
pub enum Subscriptions {
    /// Creates a subscription. You choose its id.
    Create(Create),
    /// Shows a subscription, and how far behind it is.
    Get(Get),
    /// Lists your subscriptions.
    List(List),
    /// Moves a subscription, to read again or to skip.
    Seek(Seek),
    /// Records that everything up to a cursor is dealt with.
    Acknowledge(Acknowledge),
    /// Deletes a subscription. Streams that watch it end.
    Delete(Delete),
}

impl Subscriptions {
    /// Runs it. Answers go to `out`.
    pub async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        match self {
            Self::Create(create) => create.run(out).await,
            Self::Get(get) => get.run(out).await,
            Self::List(list) => list.run(out).await,
            Self::Seek(seek) => seek.run(out).await,
            Self::Acknowledge(acknowledge) => acknowledge.run(out).await,
            Self::Delete(delete) => delete.run(out).await,
        }
    }
}

const COLUMNS: Columns<Subscription, 5> = Columns {
    heads: [
        "SUBSCRIPTION",
        "LAG",
        "LAG SINCE",
        "CREATED",
        "ACKNOWLEDGED",
    ],
    cells: |subscription| {
        [
            subscription.subscription_id.clone(),
            subscription.lag_count.to_string(),
            time(subscription.lag_since.as_ref()),
            time(subscription.create_time.as_ref()),
            subscription.acknowledged_cursor.clone(),
        ]
    },
};

/// Which subscription there shall be. What it is about stays for ever.
#[derive(Clone, Args)]
pub struct Create {
    /// Its id: [a-z0-9], then [a-z0-9-], at most 63.
    #[arg(value_name = "ID")]
    id: String,

    #[command(flatten)]
    filter: Filter,

    #[command(flatten)]
    from: Beginning,

    #[command(flatten)]
    once: Once,

    #[command(flatten)]
    common: Common,
}

impl Create {
    async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        use create_subscription_request::Start;
        let doing = format!("subscription {}", self.id);
        let request_id = self.once.id();
        let request = CreateSubscriptionRequest {
            subscription: Some(Subscription {
                subscription_id: self.id,
                filter: Some(self.filter.message()),
                ..Subscription::default()
            }),
            start: self
                .from
                .start(Start::AfterCursor, Start::StartTime, Start::StartAt),
            request_id,
        };
        let mut client = self.common.open().await?;
        let answer = client.subscriptions.create_subscription(request).await;
        let answer = answered(&doing, answer)?;
        let answer = ("CreateSubscriptionResponse", &answer);
        let output = self.common.output;
        output.answer(out, format!("{doing} created"), answer)
    }
}

/// Which subscription.
#[derive(Clone, Args)]
pub struct Get {
    /// Its id.
    #[arg(value_name = "ID")]
    id: String,

    #[command(flatten)]
    common: Common,
}

impl Get {
    async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let doing = format!("subscription {}", self.id);
        let subscription_id = self.id;
        let mut client = self.common.open().await?;
        let request = GetSubscriptionRequest { subscription_id };
        let answer = client.subscriptions.get_subscription(request).await;
        let answer = answered(&doing, answer)?;
        let found = answer.subscription.as_slice();
        let answer = ("GetSubscriptionResponse", &answer);
        self.common.output.list(out, &COLUMNS, found, answer)
    }
}

/// How many subscriptions.
#[derive(Clone, Args)]
pub struct List {
    #[command(flatten)]
    limit: Limit,

    #[command(flatten)]
    common: Common,
}

impl List {
    async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let mut client = self.common.open().await?;
        let subscriptions = pages::all(
            "subscriptions",
            self.limit.limit,
            async |page_size, page_token| {
                let request = ListSubscriptionsRequest {
                    page_size,
                    page_token,
                };
                let page = client.subscriptions.list_subscriptions(request).await?;
                let page = page.into_inner();
                Ok((page.subscriptions, page.next_page_token))
            },
        );
        let subscriptions = subscriptions.await?;
        let next_page_token = String::new();
        let all = ListSubscriptionsResponse {
            subscriptions,
            next_page_token,
        };
        let answer = ("ListSubscriptionsResponse", &all);
        let output = self.common.output;
        output.list(out, &COLUMNS, &all.subscriptions, answer)
    }
}

/// Which subscription, and where to. To read again, stop acknowledging first.
#[derive(Clone, Args)]
pub struct Seek {
    /// Its id.
    #[arg(value_name = "ID")]
    id: String,

    #[command(flatten)]
    from: Beginning,

    #[command(flatten)]
    common: Common,
}

impl Seek {
    async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        use seek_subscription_request::Start;
        let doing = format!("subscription {}", self.id);
        let start = self
            .from
            .start(Start::AfterCursor, Start::StartTime, Start::StartAt);
        let request = SeekSubscriptionRequest {
            subscription_id: self.id,
            start,
        };
        let mut client = self.common.open().await?;
        let answer = client.subscriptions.seek_subscription(request).await;
        let answer = answered(&doing, answer)?;
        let lag = answer
            .subscription
            .as_ref()
            .map_or(0, |moved| moved.lag_count);
        let answer = ("SeekSubscriptionResponse", &answer);
        let output = self.common.output;
        output.answer(out, format!("{doing} moved, {lag} behind"), answer)
    }
}

/// Which subscription, and up to where.
#[derive(Clone, Args)]
pub struct Acknowledge {
    /// Its id.
    #[arg(value_name = "ID")]
    id: String,

    /// The cursor of the last event that is dealt with.
    #[arg(value_name = "CURSOR")]
    cursor: String,

    #[command(flatten)]
    common: Common,
}

impl Acknowledge {
    async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let doing = format!("subscription {}", self.id);
        let request = AcknowledgeEventsRequest {
            subscription_id: self.id,
            cursor: self.cursor,
        };
        let mut client = self.common.open().await?;
        let answer = client.subscriptions.acknowledge_events(request).await;
        let answer = answered(&doing, answer)?;
        let answer = ("AcknowledgeEventsResponse", &answer);
        let output = self.common.output;
        output.answer(out, format!("{doing} acknowledged"), answer)
    }
}

/// Which subscription.
#[derive(Clone, Args)]
pub struct Delete {
    /// Its id.
    #[arg(value_name = "ID")]
    id: String,

    #[command(flatten)]
    common: Common,
}

impl Delete {
    async fn run(self, out: &mut dyn Write) -> Result<(), Failure> {
        let doing = format!("subscription {}", self.id);
        let subscription_id = self.id;
        let mut client = self.common.open().await?;
        let request = DeleteSubscriptionRequest { subscription_id };
        let answer = client.subscriptions.delete_subscription(request).await;
        let answer = answered(&doing, answer)?;
        let answer = ("DeleteSubscriptionResponse", &answer);
        let output = self.common.output;
        output.answer(out, format!("{doing} deleted"), answer)
    }
}
